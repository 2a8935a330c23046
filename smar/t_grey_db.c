/* The greylist's databases: what is committed is there after a kill, what is damaged is begun anew,
 * expired entries go in order, and nobody else can have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/time.h"
#include "smar/grey_db.h"

/* The library does not give back the memory of an environment that has failed. */
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libdb";
}

static char dir[64];
static struct ar_grey_conf conf = {
    .main_db = SM_STR("main.db"), .secondary_db = SM_STR("expire.db"), .cache_bytes = 4 << 20};

static int set_up(void **state SM_UNUSED)
{
	snprintf(dir, sizeof(dir), "/tmp/t_grey_db.%d", (int)getpid());
	conf.directory = sm_str(dir);
	return mkdir(dir, 0700);
}

static int tear_down(void **state SM_UNUSED)
{
	char command[100];

	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command);
}

static struct ar_grey_db *open_db(void)
{
	struct ar_grey_db *db;

	if (ar_grey_db_open(&conf, false, &db) != 0)
		fail_msg("%s", sm_diag());
	return db;
}

static struct ar_grey_key key_of(unsigned i)
{
	return (struct ar_grey_key){
	    5, {4, (uint8_t)(i >> 24), (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i}};
}

static void put(struct ar_grey_db *db, unsigned i, int64_t expires_s)
{
	struct ar_grey_entry e = {AR_GREY_WHITE, 1, 2, expires_s};
	struct ar_grey_key key = key_of(i);

	assert_int_equal(ar_grey_db_put(db, &key, &e), 0);
}

static bool has(struct ar_grey_db *db, unsigned i)
{
	struct ar_grey_key key = key_of(i);
	struct ar_grey_entry e;

	assert_int_equal(ar_grey_db_get(db, &key, &e), 0);
	return e.state == AR_GREY_WHITE;
}

static void begin(struct ar_grey_db *db)
{
	assert_int_equal(ar_grey_db_begin(db), 0);
}

static void commit(struct ar_grey_db *db)
{
	assert_int_equal(ar_grey_db_commit(db, sm_now_ms(), sm_wall_s()), 0);
}

static void fill(struct ar_grey_db *db, unsigned from, unsigned to)
{
	begin(db);
	for (unsigned i = from; i < to; i++)
		put(db, i, 1000 + (i * 7919) % 1000);
	commit(db);
}

static void stays(void **state SM_UNUSED)
{
	struct ar_grey_db *db = open_db(), *other;

	assert_null(ar_grey_db_renewed(db));
	fill(db, 0, 100);
	fill(db, 50, 120);
	assert_int_equal(ar_grey_db_count(db), 120);
	assert_int_equal(ar_grey_db_open(&conf, false, &other), SM_E_BUSY);
	assert_null(other);
	/* What was not committed is not there. */
	begin(db);
	put(db, 999, 5);
	ar_grey_db_close(&db);
	db = open_db();
	assert_null(ar_grey_db_renewed(db));
	assert_int_equal(ar_grey_db_count(db), 120);
	assert_true(has(db, 0) && has(db, 119));
	assert_false(has(db, 999));
	ar_grey_db_close(&db);
}

static void purge(void **state SM_UNUSED)
{
	struct ar_grey_db *db = open_db();
	unsigned removed, all = 0;

	begin(db);
	for (unsigned i = 0; i < 1000; i++)
		put(db, i, 1000 + (i * 7919) % 1000);
	put(db, 5, 90000); /* it came again: its place in the index is another one */
	assert_int_equal(ar_grey_db_purge(db, 1099, 64, &removed), 0);
	assert_int_equal(removed, 64);
	all += removed;
	do {
		assert_int_equal(ar_grey_db_purge(db, 1099, 64, &removed), 0);
		all += removed;
	} while (removed == 64);
	commit(db);
	assert_int_equal(all, 100 - ((5 * 7919) % 1000 < 100));
	assert_int_equal(ar_grey_db_count(db), 1000 - all);
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(has(db, i), i == 5 || (i * 7919) % 1000 > 99);
	ar_grey_db_close(&db);
}

struct seen {
	unsigned count, most;
	struct ar_grey_key last;
};

static bool see(void *arg, const struct ar_grey_key *key, const struct ar_grey_entry *e)
{
	struct seen *s = arg;

	if (s->count == s->most)
		return false;
	assert_int_equal(e->state, AR_GREY_WHITE);
	s->count++;
	s->last = *key;
	return true;
}

static unsigned walk(struct ar_grey_db *db, const struct ar_grey_key *net, unsigned bits,
                     bool remove)
{
	struct seen s = {.most = 7};
	unsigned all = 0;

	do {
		s.count = 0;
		begin(db);
		assert_int_equal(ar_grey_db_walk(db, net, bits, &s.last, remove, see, &s), 0);
		commit(db);
		all += s.count;
	} while (s.count == s.most);
	return all;
}

static void nets(void **state SM_UNUSED)
{
	struct ar_grey_db *db = open_db();
	struct ar_grey_key net = key_of(256), all = {0}, one = key_of(3);
	struct ar_grey_key v6 = {17, {6, 0x20, 1}}, v6_host = v6;
	struct ar_grey_entry e = {AR_GREY_WHITE, 1, 2, 3};

	fill(db, 0, 600);
	v6_host.p[16] = 1;
	begin(db);
	assert_int_equal(ar_grey_db_put(db, &v6_host, &e), 0);
	commit(db);
	assert_int_equal(walk(db, &all, 0, false), 601);
	assert_int_equal(walk(db, &net, 24, false), 256);
	assert_int_equal(walk(db, &v6, 16, false), 1);
	assert_int_equal(walk(db, &one, 32, true), 1);
	assert_false(has(db, 3));
	assert_int_equal(walk(db, &net, 24, true), 256);
	assert_int_equal(ar_grey_db_count(db), 601 - 257);
	assert_int_equal(walk(db, &all, 0, true), 601 - 257);
	assert_int_equal(ar_grey_db_count(db), 0);
	ar_grey_db_close(&db);
}

/* A writer is killed at random moments; what it said to be committed is there. */
static void killed(void **state SM_UNUSED)
{
	unsigned committed = 0;

	for (int round = 0; round < 15; round++) {
		int p[2], status;
		unsigned n;
		pid_t pid;

		assert_int_equal(pipe(p), 0);
		pid = fork();
		if (pid == 0) {
			struct ar_grey_db *db = open_db();

			if (ar_grey_db_renewed(db) != NULL)
				_exit(3);
			for (n = committed;; n += 50) {
				fill(db, n, n + 50);
				if (n % 500 == 0 && ar_grey_db_checkpoint(db) != 0)
					_exit(4);
				n += 50;
				if (write(p[1], &n, sizeof(n)) != sizeof(n))
					_exit(5);
				n -= 50;
			}
		}
		(void)close(p[1]);
		for (int i = 0; i < 5 + round * 3; i++)
			if (read(p[0], &n, sizeof(n)) == sizeof(n))
				committed = n;
		(void)kill(pid, SIGKILL);
		while (read(p[0], &n, sizeof(n)) == sizeof(n))
			committed = n;
		(void)close(p[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status));

		struct ar_grey_db *db = open_db();
		assert_null(ar_grey_db_renewed(db));
		assert_true(ar_grey_db_count(db) >= committed);
		for (n = 0; n < committed; n++)
			assert_true(has(db, n));
		committed = (unsigned)ar_grey_db_count(db);
		ar_grey_db_close(&db);
	}
	assert_true(committed > 500);
}

static void damage(const char *file, long at, size_t bytes)
{
	char path[100];
	uint8_t b[512];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	at %= st.st_size;
	assert_true(pread(fd, b, bytes, at) >= 0);
	for (size_t i = 0; i < bytes; i++)
		b[i] ^= 0x5A;
	assert_int_equal(pwrite(fd, b, bytes, at), (ssize_t)bytes);
	(void)close(fd);
}

/* Reads and writes all of it. */
static int use(struct ar_grey_db *db)
{
	struct ar_grey_entry e = {AR_GREY_WHITE, 1, 2, 3};
	struct seen s = {.most = 5000};
	struct ar_grey_key all = {0};
	int rc = ar_grey_db_begin(db);

	if (rc == 0)
		rc = ar_grey_db_walk(db, &all, 0, &all, false, see, &s);
	for (unsigned i = 0; i < 2000 && rc == 0; i++) {
		struct ar_grey_key key = key_of(i);

		rc = ar_grey_db_put(db, &key, &e);
	}
	return rc != 0 ? rc : ar_grey_db_commit(db, sm_now_ms(), sm_wall_s());
}

/* Whatever was damaged: it opens, perhaps anew. If using it fails, it does so with a word, and it
 * can be begun anew. */
static void damaged(void **state SM_UNUSED)
{
	static const char *const files[] = {"main.db", "expire.db", "log.0000000001"};
	unsigned renewed = 0, failed = 0;

	for (unsigned round = 0; round < 60; round++) {
		struct ar_grey_db *db = open_db();
		int rc;

		fill(db, 0, 2000);
		ar_grey_db_close(&db);
		damage(files[round % 3], (long)round * 2917 % 250000, 1 + round % 3 * 100);
		db = open_db();
		renewed += ar_grey_db_renewed(db) != NULL;
		rc = use(db);
		ar_grey_db_close(&db);
		failed += rc != 0;
		assert_true(rc == 0 || rc == SM_E_CORRUPT);
		assert_int_equal(ar_grey_db_open(&conf, rc != 0, &db), 0);
		assert_int_equal(use(db), 0);
		ar_grey_db_close(&db);
	}
	assert_true(renewed > 0 && failed > 0);
}

static void no_room(void **state SM_UNUSED)
{
	struct ar_grey_conf bad = conf;
	struct ar_grey_db *db;

	bad.directory = SM_STR("/nonexistent");
	assert_int_equal(ar_grey_db_open(&bad, false, &db), SM_E_NOTFOUND);
	assert_null(db);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(stays, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(purge, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(nets, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(killed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(damaged, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(no_room, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
