/* Maps whose files other libraries make: lmdb and cdb, damaged ones, and regular expressions. Each
 * through the driver's own functions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cdb.h>
#include <cmocka.h>
#include <fcntl.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/mapdb.h"
#include "libsm/rand.h"
#include "smar/map_int.h"

enum { MANY = 5000 };

static char path[64];
static struct sm_arena arena;
static struct ar_map_conf conf;
static const struct ar_ctx ctx = {.a = &arena};
static const struct ar_map_driver *driver;
static void *handle;

static int set_up(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "/tmp/t_map_files.%d", (int)getpid());
	sm_arena_init(&arena, "test", 65536, 1 << 24);
	conf = (struct ar_map_conf){.file = sm_str(path)};
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (handle != NULL)
		driver->close(handle);
	handle = NULL;
	sm_arena_fini(&arena);
	(void)unlink(path);
	return 0;
}

static int open_it(const struct ar_map_driver *d, size_t *entries)
{
	driver = d;
	return d->open(&conf, &handle, entries);
}

static int ask(struct sm_str key, struct sm_str *value)
{
	*value = SM_STR_NONE;
	return driver->get(handle, &ctx, key, value);
}

static void expect(const char *key, const char *want)
{
	struct sm_str value;
	int rc = ask(sm_str(key), &value);

	if (want == NULL) {
		assert_int_equal(rc, SM_E_NOTFOUND);
		return;
	}
	if (rc != 0)
		fail_msg("%s: %d %s", key, rc, rc == SM_E_NOTFOUND ? "" : sm_diag());
	assert_string_equal(sm_arena_str(&arena, value).p, want);
}

static void write_file(const void *p, size_t n)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

/* ---- the same content for both ---- */

static struct sm_str nth_key(int i)
{
	return sm_arena_printf(&arena, "user%d@example.org", i);
}

/* Some values take several pages. */
static struct sm_str nth_value(int i)
{
	return sm_arena_printf(&arena, "value %d %0*d", i, i % 1000 == 0 ? 10000 : 1, i);
}

static void make_lmdb(void)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_mapsize(env, 1 << 26), 0);
	assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	for (int i = 0; i < MANY; i++) {
		struct sm_str key = nth_key(i), value = nth_value(i);
		MDB_val k = {key.n, (void *)(uintptr_t)key.p};
		MDB_val v = {value.n, (void *)(uintptr_t)value.p};

		assert_int_equal(mdb_put(txn, dbi, &k, &v, 0), 0);
	}
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static void make_cdb(void)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct cdb_make make;

	assert_true(fd >= 0);
	assert_int_equal(cdb_make_start(&make, fd), 0);
	for (int i = 0; i < MANY; i++) {
		struct sm_str key = nth_key(i), value = nth_value(i);

		assert_int_equal(
		    cdb_make_add(&make, key.p, (unsigned)key.n, value.p, (unsigned)value.n), 0);
	}
	assert_int_equal(cdb_make_finish(&make), 0);
	close(fd);
}

static void check_all(size_t entries)
{
	char long_key[700];
	struct sm_str value;

	assert_int_equal(entries, MANY);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(ask(nth_key(i), &value), 0);
		assert_true(sm_str_eq(value, nth_value(i)));
		assert_int_equal(ask(sm_arena_printf(&arena, "none%d", i), &value), SM_E_NOTFOUND);
	}
	memset(long_key, 'x', sizeof(long_key));
	assert_int_equal(ask(sm_str_n(long_key, sizeof(long_key)), &value), SM_E_NOTFOUND);
	assert_int_equal(ask(SM_STR(""), &value), SM_E_NOTFOUND);
}

static void lmdb(void **state)
{
	size_t entries;
	(void)state;

	make_lmdb();
	assert_int_equal(open_it(&ar_map_lmdb, &entries), 0);
	check_all(entries);
	/* Replaced by another file, what is open stays. */
	assert_int_equal(unlink(path), 0);
	check_all(entries);
}

static void cdb(void **state)
{
	size_t entries;
	(void)state;

	make_cdb();
	assert_int_equal(open_it(&ar_map_cdb, &entries), 0);
	check_all(entries);
	/* Even when it is written over in place. */
	write_file("", 0);
	check_all(entries);
}

static void no_such_file(void **state)
{
	static const struct ar_map_driver *const all[] = {&ar_map_lmdb, &ar_map_cdb, &ar_map_regex};
	size_t entries;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(all); i++) {
		assert_int_equal(open_it(all[i], &entries), SM_E_NOTFOUND);
		assert_non_null(strstr(sm_diag(), path));
	}
}

static void no_database(void **state)
{
	static const char zeros[100000], text[5000] = "this is text";
	size_t entries;
	(void)state;

	for (int i = 0; i < 4; i++) {
		write_file(i % 2 ? zeros : text, i < 2 ? 5000 : 30);
		assert_int_equal(open_it(&ar_map_cdb, &entries), SM_E_CORRUPT);
		assert_true(open_it(&ar_map_lmdb, &entries) < 0);
	}
	write_file("", 0);
	assert_int_equal(open_it(&ar_map_cdb, &entries), SM_E_CORRUPT);
	assert_true(open_it(&ar_map_lmdb, &entries) < 0);
}

static void cut_off(void **state)
{
	struct stat st;
	size_t entries;
	(void)state;

	make_lmdb();
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size / 2), 0);
	assert_int_equal(open_it(&ar_map_lmdb, &entries), SM_E_CORRUPT);
	(void)unlink(path);
	make_cdb();
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(truncate(path, st.st_size - 1), 0);
	assert_int_equal(open_it(&ar_map_cdb, &entries), SM_E_CORRUPT);
}

/* As if somebody overwrote it in the middle of reading. */
static int count_and_cut(void *arg, struct sm_str key, struct sm_str value)
{
	size_t *n = arg;

	if ((*n)++ == 0)
		assert_int_equal(truncate(path, 0), 0);
	assert_true(key.n > 0 && value.n > 0);
	return 0;
}

static void overwritten_while_it_is_read(void **state)
{
	size_t n = 0;

	(void)state;
	make_lmdb();
	assert_int_equal(sm_mapdb_lmdb(path, count_and_cut, &n), 0);
	assert_int_equal(n, MANY);
	n = 0;
	(void)unlink(path);
	make_cdb();
	assert_int_equal(sm_mapdb_cdb(path, count_and_cut, &n), 0);
	assert_int_equal(n, MANY);
}

/* Whatever is wrong with a cdb: an answer or an error, and nothing is read beyond it. */
static void cdb_noise(void **state)
{
	struct sm_str value;
	struct stat st;
	size_t entries, answers = 0, errors = 0;
	int fd;
	(void)state;

	make_cdb();
	assert_int_equal(stat(path, &st), 0);
	fd = open(path, O_WRONLY);
	for (int i = 0; i < 2000; i++) {
		uint8_t b = (uint8_t)sm_rand_u64();

		assert_int_equal(pwrite(fd, &b, 1, (off_t)sm_rand_below((uint64_t)st.st_size)), 1);
	}
	/* The tables at its start lead to places in it. */
	for (int i = 0; i < 40; i++) {
		uint32_t at = (uint32_t)sm_rand_below((uint64_t)st.st_size - 80000);

		at = at < 2048 ? 2048 : at;
		assert_int_equal(pwrite(fd, &at, 4, (off_t)(sm_rand_below(256) * 8)), 4);
	}
	close(fd);
	if (open_it(&ar_map_cdb, &entries) != 0)
		return;
	for (int i = 0; i < MANY; i++) {
		int rc = ask(nth_key(i), &value);

		answers += rc == 0;
		errors += rc == SM_E_CORRUPT;
		assert_true(rc == 0 || rc == SM_E_CORRUPT || rc == SM_E_NOTFOUND);
		for (size_t k = 0; rc == 0 && k < value.n; k++)
			entries += (uint8_t)value.p[k];
	}
	assert_true(answers + errors <= MANY);
}

/* ---- regular expressions ---- */

static void rules(const char *text)
{
	size_t entries;

	if (handle != NULL)
		driver->close(handle);
	handle = NULL;
	write_file(text, strlen(text));
	if (open_it(&ar_map_regex, &entries) != 0)
		fail_msg("%s", sm_diag());
}

static void wrong_rules(const char *text, const char *diag)
{
	char want[200];
	size_t entries;

	write_file(text, strlen(text));
	assert_true(open_it(&ar_map_regex, &entries) < 0);
	snprintf(want, sizeof(want), "%s%s", path, diag);
	assert_string_equal(sm_diag(), want);
}

static void regex_matches(void **state)
{
	(void)state;
	rules("/^to:postmaster@/ ok\n/^to:/i\t error:550 5.7.1 no\n\tmail to you\n"
	      "/^a b\\/c$/ slash\n/^ d \\  e $/x  extended\n/^UPPER$/ folded\n");
	expect("to:postmaster@x.example", "ok");
	expect("to:x@x.example", "error:550 5.7.1 no mail to you");
	expect("from:x", NULL);
	expect("a b/c", "slash");
	expect("d e", "extended");
	expect("upper", "folded");
	expect("upper\n", NULL);
	expect("", NULL);
}

static void regex_groups(void **state)
{
	(void)state;
	rules("/^(.*)@(.*)[.]example$/ <$1.$2@new.example>\n"
	      "/^p(x)?(y)$/ [$1][$2][${2}0]\n"
	      "/^cost$/ $$5 ${user} $\n"
	      "/^(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)$/ $9$1\n");
	expect("a@b.example", "<a.b@new.example>");
	expect("py", "[][y][y0]");
	expect("cost", "$5 ${user} $");
	expect("0123456789a", "80");
	/* Not what may stand in a value: another one would be made of it. */
	expect("\"a> <c\"@b.example", NULL);
	expect("a b@b.example", NULL);
	expect("a\n@b.example", NULL);
	/* Without groups it does not matter. */
	rules("/^.*@b$/ fine\n");
	expect("\"a> <c\"@b", "fine");
}

static void regex_limits(void **state)
{
	char key[200];
	struct sm_str value;
	(void)state;

	rules("/^(a+)+$/ x\n/b/ y\n");
	memset(key, 'a', sizeof(key));
	key[60] = 'b';
	assert_int_equal(ask(sm_str_n(key, 61), &value), SM_E_BUSY);
	assert_non_null(strstr(sm_diag(), "line 1: the pattern needs too much"));
	expect("b", "y");
}

static void regex_wrong(void **state)
{
	(void)state;
	wrong_rules("/a/ b\nkey value\n", ":2: an entry is /pattern/ and a value");
	wrong_rules("/a b\n", ":1: an entry is /pattern/ and a value");
	wrong_rules("/a/\n", ":1: nothing behind the pattern");
	wrong_rules("/a/q b\n", ":1: behind the pattern: 'q' is no flag (i, x)");
	wrong_rules("/(a)/ $1$2\n", ":1: the pattern has no group 2");
	wrong_rules("/(a)/ ${0}\n", ":1: the pattern has no group 0");
	wrong_rules("/(a/ b\n", ":1: pattern, character 3: missing closing parenthesis");
	wrong_rules("/(*UTF)a/ b\n", ":1: pattern, character 7: using UTF is disabled by the "
	                             "application");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(lmdb, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(cdb, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(no_such_file, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(no_database, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(cut_off, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(overwritten_while_it_is_read, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(cdb_noise, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(regex_matches, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(regex_groups, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(regex_limits, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(regex_wrong, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
