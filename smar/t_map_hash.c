/* Files of Berkeley DB: all that its library wrote is found, and of damaged ones nothing but an
 * error, or what is true, comes out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/mapdb.h"
#include "libsm/rand.h"
#include "smar/map_int.h"
#include "smar/t_bdb.h"

static char path[64];

static void plain(unsigned i, char *key, char *value)
{
	snprintf(key, 2001, "user%u@dom%u.example", i, i % 7);
	snprintf(value, 2001, "value of %u", i);
}

/* Every length up to far beyond a page's quarter, so that keys and values go off their pages. */
static void lengths(unsigned i, char *key, char *value)
{
	int n = snprintf(key, 2001, "%u", i);

	memset(key + n, 'k', i);
	key[n + (int)i] = '\0';
	memset(value, 'v', 2000 - i);
	value[2000 - i] = '\0';
}

static void empty_value(unsigned i, char *key, char *value)
{
	snprintf(key, 2001, "%u", i);
	value[0] = '\0';
}

static void upper(unsigned i, char *key, char *value)
{
	snprintf(key, 2001, "User%u", i);
	snprintf(value, 2001, "Value");
}

static void twice(unsigned i, char *key, char *value)
{
	snprintf(key, 2001, i % 2 ? "Key%u" : "key%u", i / 2);
	snprintf(value, 2001, "v");
}

static void same(unsigned i, char *key, char *value)
{
	snprintf(key, 2001, "key");
	snprintf(value, 2001, "v%u", i);
}

static struct sm_str slurp(void)
{
	FILE *f = fopen(path, "r");
	char *p;
	size_t n;

	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	n = (size_t)ftell(f);
	rewind(f);
	p = malloc(n);
	assert_non_null(p);
	assert_int_equal(fread(p, 1, n, f), n);
	(void)fclose(f);
	return sm_str_n(p, n);
}

static void put_back(struct sm_str file)
{
	free((void *)(uintptr_t)file.p);
}

static void write_file(struct sm_str s)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(s.p, 1, s.n, f), s.n);
	assert_int_equal(fclose(f), 0);
}

/* ---- the map ---- */

static void *map;
static size_t entries;

static int open_map(void)
{
	const struct ar_map_conf conf = {.file = sm_str(path)};

	map = NULL;
	return ar_map_hash.open(&conf, &map, &entries);
}

static void close_map(void)
{
	ar_map_hash.close(map);
}

static int ask(struct sm_str key, struct sm_str *value)
{
	const struct ar_ctx ctx = {0};

	return ar_map_hash.get(map, &ctx, key, value);
}

static void check_all(unsigned count, void (*entry)(unsigned i, char *key, char *value))
{
	static char key[2001], value[2001];
	struct sm_str got;

	assert_int_equal(entries, count);
	for (unsigned i = 0; i < count; i++) {
		entry(i, key, value);
		assert_int_equal(ask(sm_str(key), &got), 0);
		assert_true(sm_str_eq(got, sm_str(value)));
		key[strlen(key) - 1] ^= 0x40;
		assert_int_equal(ask(sm_str(key), &got), SM_E_NOTFOUND);
	}
	assert_int_equal(ask(SM_STR(""), &got), SM_E_NOTFOUND);
}

static void agree(struct t_bdb how, unsigned count,
                  void (*entry)(unsigned i, char *key, char *value))
{
	how.path = path;
	t_bdb_make(&how, count, entry);
	if (open_map() != 0)
		fail_msg("%u entries, btree %d: %s", count, how.btree, sm_diag());
	check_all(count, entry);
	close_map();
}

static void as_the_library_writes(void **state)
{
	static const unsigned counts[] = {0, 1, 2, 100, 5000};

	(void)state;
	for (int btree = 0; btree < 2; btree++) {
		for (size_t i = 0; i < SM_ARRAY_SIZE(counts); i++)
			agree((struct t_bdb){.btree = btree}, counts[i], plain);
		agree((struct t_bdb){.btree = btree, .order = 1234}, 1000, plain);
		agree((struct t_bdb){.btree = btree, .order = 4321}, 1000, plain);
		agree((struct t_bdb){.btree = btree, .page_bytes = 512}, 3000, plain);
		agree((struct t_bdb){.btree = btree, .page_bytes = 65536}, 3000, plain);
		agree((struct t_bdb){.btree = btree, .nul = true}, 1000, plain);
		agree((struct t_bdb){.btree = btree, .page_bytes = 512}, 1900, lengths);
		agree((struct t_bdb){.btree = btree, .nul = true}, 1900, lengths);
		agree((struct t_bdb){.btree = btree}, 100, empty_value);
		agree((struct t_bdb){.btree = btree, .nul = true}, 100, empty_value);
		agree((struct t_bdb){.btree = btree, .duplicates = true}, 100, plain);
	}
}

static void keys_in_upper_case(void **state)
{
	struct t_bdb how = {.path = path};
	struct sm_str got;

	(void)state;
	t_bdb_make(&how, 100, upper);
	assert_int_equal(open_map(), 0);
	assert_int_equal(ask(SM_STR("user42"), &got), 0);
	assert_true(sm_str_eq(got, SM_STR("Value")));
	close_map();
}

/* One line that names the file, and nothing else anywhere. */
static void refused_as(int err, const char *diag)
{
	char want[300], said[1];
	int saved = dup(2), quiet[2];

	snprintf(want, sizeof(want), "%s: %s", path, diag);
	assert_int_equal(pipe2(quiet, O_NONBLOCK), 0);
	assert_int_equal(dup2(quiet[1], 2), 2);
	assert_int_equal(open_map(), err);
	assert_int_equal(dup2(saved, 2), 2);
	assert_null(map);
	assert_string_equal(sm_diag(), want);
	assert_int_equal(read(quiet[0], said, 1), -1);
	close(saved);
	close(quiet[0]);
	close(quiet[1]);
}

static void refused(struct t_bdb how, unsigned count,
                    void (*entry)(unsigned i, char *key, char *value), int err, const char *diag)
{
	how.path = path;
	t_bdb_make(&how, count, entry);
	refused_as(err, diag);
}

static void not_maps(void **state)
{
	(void)state;
	for (int btree = 0; btree < 2; btree++) {
		refused((struct t_bdb){.btree = btree}, 2, twice, SM_E_EXISTS,
		        btree ? "the key \"key0\" is there twice"
		              : "the key \"key0\" is there twice");
		refused((struct t_bdb){.btree = btree, .subdb = "one"}, 2, plain, SM_E_NOTSUP,
		        "several databases in one file");
		refused((struct t_bdb){.btree = btree, .duplicates = true}, 2, same, SM_E_EXISTS,
		        "the key \"key\" is there twice");
		refused((struct t_bdb){.btree = btree, .password = "secret"}, 2, plain,
		        SM_E_CORRUPT,
		        "Berkeley DB: BDB0196 Encrypted checksum: no encryption key specified");
	}
	refused((struct t_bdb){.unchecked = true}, 2, plain, SM_E_NOTSUP,
	        "has no checksums: make it with createmap");
	write_file(SM_STR(""));
	refused_as(SM_E_CORRUPT, "no Berkeley DB file: too short");
	write_file(SM_STR("# no map at all, but the text that one could be made of\n"
	                  "to:abuse quick:ok\nto:postmaster quick:ok\n"));
	refused_as(SM_E_CORRUPT, "no hash or btree file of Berkeley DB");
}

static int count(void *arg, struct sm_str key, struct sm_str value)
{
	size_t *n = arg;

	assert_true(key.n > 0 && value.n > 0);
	return ++*n == 1000 ? SM_E_CANCEL : 0;
}

/* What createmap does with the files of other programs. */
static void without_checksums(void **state)
{
	(void)state;
	for (int btree = 0; btree < 2; btree++) {
		struct t_bdb how = {.path = path, .btree = btree, .unchecked = true};
		size_t n = 0;

		t_bdb_make(&how, 500, plain);
		assert_int_equal(sm_mapdb_bdb_any(path, count, &n), 0);
		assert_int_equal(n, 500);
		/* What the receiver says ends it. */
		assert_int_equal(sm_mapdb_bdb_any(path, count, &n), SM_E_CANCEL);
		assert_int_equal(sm_mapdb_bdb(path, count, &n), SM_E_NOTSUP);
	}
}

/* Of a file with one bit flipped: gives how many of these opened. */
struct outcome {
	unsigned opened;
	size_t asked, lost, wrong;
};

static struct outcome flip(struct t_bdb how, unsigned rounds)
{
	static char key[2001], value[2001];
	struct outcome o = {0};
	struct sm_str file, got;
	char *p;

	how.path = path;
	t_bdb_make(&how, 300, plain);
	file = slurp();
	p = (char *)(uintptr_t)file.p;
	for (size_t n = 0; n < file.n; n += 1 + n / 50) {
		write_file(sm_str_head(file, n));
		assert_int_equal(open_map(), SM_E_CORRUPT);
	}
	for (unsigned round = 0; round < rounds; round++) {
		size_t at = sm_rand_below(file.n);
		char was = p[at];

		p[at] ^= (char)(1 << sm_rand_below(8));
		write_file(file);
		if (open_map() == 0) {
			o.opened++;
			for (unsigned i = 0; i < 300; i++) {
				int rc;

				plain(i, key, value);
				rc = ask(sm_str(key), &got);
				o.asked++;
				o.lost += rc != 0;
				o.wrong += rc == 0 && !sm_str_eq(got, sm_str(value));
			}
			close_map();
		}
		p[at] = was;
	}
	put_back(file);
	return o;
}

/* Cut off anywhere, or with a flipped bit: found out wherever it matters. Without checksums there
 * is no telling, so no such file is even begun. */
static void damaged(void **state)
{
	(void)state;
	for (int btree = 0; btree < 2; btree++) {
		struct t_bdb how = {.btree = btree, .page_bytes = 512};
		struct outcome o = flip(how, 2000);

		print_message("of 2000 %u opened\n", o.opened);
		assert_int_equal(o.lost + o.wrong, 0);
		how.unchecked = true;
		o = flip(how, 2000);
		assert_int_equal(o.lost + o.wrong, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(as_the_library_writes),
	    cmocka_unit_test(keys_in_upper_case),
	    cmocka_unit_test(not_maps),
	    cmocka_unit_test(without_checksums),
	    cmocka_unit_test(damaged),
	};
	int failed;

	snprintf(path, sizeof(path), "/tmp/t_map_hash.%d", (int)getpid());
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	(void)unlink(path);
	return failed;
}
