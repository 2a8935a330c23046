/* The record log from its caller's side: append, group commit, reading back, locks and versions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "libsm/crc32c.h"
#include "libsm/fault.h"
#include "libsm/rand.h"
#include "qmgr/log_batch.h"
#include "qmgr/t_log.h"

/* ---- round trip ---- */

static void empty_log(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	t_log_start(&t);
	assert_int_equal(t.lsn.next, 1);
	assert_int_equal(qm_log_durable(t.log), 0);
	t_log_stop(&t);
	assert_int_equal(t_log_load(&t), 0);
	assert_int_equal(t.found.n, 0);
	assert_int_equal(t.closed, 1);
	t_log_fini(&t);
}

static void round_trip(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	for (unsigned run = 0; run < 3; run++) {
		t_log_start(&t);
		t_log_same(&t, NULL);
		for (unsigned i = 0; i < 400; i++) {
			uint32_t size =
			    (uint32_t)sm_rand_below(i % 50 ? 900 : qm_log_record_max(t.log) + 1);
			struct t_rec r = t_log_put(&t, size);
			t.lsn.next += sm_rand_below(3); /* another log takes some */
			if (sm_rand_below(10) == 0)
				t_log_wait(&t, r.lsn, 30000);
		}
		t_log_wait(&t, t.wrote.v[t.wrote.n - 1].lsn, 30000);
		assert_int_equal(qm_log_pending_bytes(t.log), 0);
		assert_int_equal(t.failures, 0);
		t_log_stop(&t);
	}
	uint64_t next = t.lsn.next;
	t.lsn.next = 0;
	assert_int_equal(t_log_load(&t), 0);
	t_log_same(&t, NULL);
	assert_int_equal(t.damages, 0);
	assert_int_equal(t.torn, 0);
	assert_int_equal(t.lsn.next, t.wrote.v[t.wrote.n - 1].lsn + 1);
	assert_true(next >= t.lsn.next);
	t_log_fini(&t);
}

static void largest_record(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, 4 * 1024 * 1024);
	t_log_start(&t);
	assert_int_equal(qm_log_record_max(t.log), QM_LOG_RECORD_MAX);
	for (unsigned i = 0; i < 8; i++)
		t_log_put(&t, i % 2 ? QM_LOG_RECORD_MAX : 0);
	t_log_stop(&t); /* waits for the keeper, too: no turn of the loop was there */
	assert_int_equal(t_log_load(&t), 0);
	t_log_same(&t, NULL);
	t_log_fini(&t);
}

static void close_writes_all(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	t_log_start(&t);
	for (unsigned i = 0; i < 1000; i++)
		t_log_put(&t, 500);
	t_log_stop(&t);
	assert_int_equal(t_log_load(&t), 0);
	t_log_same(&t, NULL);
	assert_true(t.segments >= 8);
	t_log_fini(&t);
}

/* Much is appended before the loop runs: flush brings it to the disk, and tells when it cannot. */
static void flush(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	t_log_start(&t);
	for (unsigned i = 0; i < 1000; i++) {
		t_log_put(&t, 700);
		if (qm_log_pending_bytes(t.log) > 100000)
			assert_int_equal(qm_log_flush(t.log), 0);
	}
	assert_int_equal(qm_log_flush(t.log), 0);
	assert_int_equal(qm_log_flush(t.log), 0);
	assert_int_equal(qm_log_durable(t.log), 1000);
	assert_int_equal(qm_log_pending_bytes(t.log), 0);
#ifdef SM_TESTING
	assert_int_equal(sm_fault_arm("ibdb.create=enospc"), 0);
	for (unsigned i = 0; i < 300; i++)
		t_log_put(&t, 700);
	assert_int_equal(qm_log_flush(t.log), SM_E_FULL);
	assert_true(t.low);
	assert_int_equal(sm_fault_arm("ibdb.sync=eio"), 0);
	t_log_wait(&t, 1300, 30000);
	assert_int_equal(qm_log_flush(t.log), SM_E_IO);
#endif
	t_log_fini(&t);
}

static bool home_is_empty(void *arg)
{
	return t_files(arg, "ibdb.0") == 0;
}

/* Two directories, as ibdb/ and ibdb/ibdb/: what is in the home is read, what is new goes to the
 * other. */
static void two_directories(void **state)
{
	struct t_log t;
	struct stat st;
	char path[128];

	(void)state;
	t_log_init(&t, SMALL);
	t_log_start(&t);
	t_log_put(&t, 100);
	t_log_stop(&t);
	snprintf(t.log_dir, sizeof t.log_dir, "%s/new", t.dir);
	assert_int_equal(t_log_load(&t), SM_E_NOTFOUND);
	assert_int_equal(mkdir(t.log_dir, 0700), 0);
	t_log_start(&t);
	t_log_same(&t, NULL);
	struct t_rec r = t_log_put(&t, 100);
	t_log_wait(&t, r.lsn, 30000);
	t_path(&t, r.loc.seq, path);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, SMALL);
	/* The old ones are of another directory: removed, not recycled. */
	qm_log_old_done(t.log, UINT32_MAX, r.lsn);
	t.wrote.n = 0;
	r = t_log_put(&t, 1);
	t_log_wait(&t, r.lsn, 30000);
	t_turns(home_is_empty, &t, 30000);
	assert_int_equal(t_files(&t, "ibdb.0"), 0);
	t_log_stop(&t);
	assert_int_equal(t_log_load(&t), 0);
	assert_int_equal(t.found.n, 2);
	t_log_fini(&t);
}

/* ---- group commit ---- */

#ifdef SM_TESTING
static void group_commit(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, 1024 * 1024);
	t_log_start(&t);
	t_log_wait(&t, t_log_put(&t, 10).lsn, 30000);
	uint64_t syncs = t_log_stat(&t).syncs;
	assert_int_equal(sm_fault_arm("ibdb.sync=delay:300@1"), 0);
	struct t_rec first = t_log_put(&t, 10);
	qm_log_kick(t.log);
	while (sm_fault_passes("ibdb.sync") == 0)
		usleep(1000);
	for (unsigned i = 0; i < 200; i++)
		t_log_put(&t, 300);
	assert_true(qm_log_durable(t.log) < first.lsn);
	assert_true(qm_log_pending_bytes(t.log) >= 200 * 300);
	t_log_wait(&t, first.lsn + 200, 30000);
	assert_int_equal(t_log_stat(&t).syncs, syncs + 2);
	t_log_stop(&t);
	assert_int_equal(t_log_load(&t), 0);
	t_log_same(&t, NULL);
	t_log_fini(&t);
}
#endif

/* What nobody waits for goes with what somebody does, or by itself after a while; and t_never gets
 * lost. */
static void lazy_records(void **state)
{
	struct t_log t;
	uint64_t lsn;

	(void)state;
	t_log_init(&t, SMALL);
	t_log_start(&t);
	t_log_wait(&t, t_log_put(&t, 10).lsn, 30000);
	uint64_t syncs = t_log_stat(&t).syncs;

	for (int i = 0; i < 5; i++)
		lsn = qm_log_append_lazy(t.log, 7, SM_STR("lazy"), NULL);
	qm_log_kick(t.log);
	assert_int_equal(t_log_stat(&t).syncs, syncs); /* nobody hurries */
	t_log_wait(&t, t_log_put(&t, 10).lsn, 30000);
	assert_true(qm_log_durable(t.log) > lsn);
	assert_int_equal(t_log_stat(&t).syncs, syncs + 1);

	lsn = qm_log_append_lazy(t.log, 7, SM_STR("lazy"), NULL);
	t_log_wait(&t, lsn, 30000); /* by itself */
	assert_true(qm_log_durable(t.log) >= lsn);
	assert_int_equal(t_log_stat(&t).syncs, syncs + 2);

	qm_log_append_lazy(t.log, 7, SM_STR("lazy"), NULL);
	t_log_stop(&t); /* an orderly end writes it */
	assert_int_equal(t_log_load(&t), 0);
	assert_int_equal(t.found.n, 2 + 5 + 2);
	t_log_fini(&t);
}

/* A commit waits for others while they are expected, and no longer. */
static void commit_delay(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	t.conf.max_commit_delay_us = 20 * 1000 * 1000;
	t.conf.commit_records = 3;
	t_log_start(&t);
	t_log_wait(&t, t_log_put(&t, 10).lsn, 10000); /* nobody is expected */
	assert_int_equal(t.told, 1);
	qm_log_expect(t.log, 2);
	t_log_put(&t, 10);
	t_turns(t_never, NULL, 100);
	assert_int_equal(qm_log_durable(t.log), 1);
	t_log_put(&t, 10);
	t_log_wait(&t, t_log_put(&t, 10).lsn, 10000); /* the third ends it */
	assert_int_equal(t.told, 4);
	t_log_put(&t, 10);
	t_turns(t_never, NULL, 100);
	assert_int_equal(qm_log_durable(t.log), 4);
	qm_log_expect(t.log, 0);
	t_log_wait(&t, 5, 10000);
	assert_int_equal(t.told, 5);
	t_log_stop(&t);
	t.conf.max_commit_delay_us = 100 * 1000;
	t_log_start(&t);
	qm_log_expect(t.log, 1000);
	t_log_wait(&t, t_log_put(&t, 10).lsn, 10000); /* the time ends it */
	assert_int_equal(t.told, 6);
	t_log_fini(&t);
}

/* ---- reading back ---- */

static int count_records(void *arg, uint64_t lsn, struct qm_loc loc, uint16_t type,
                         struct sm_str body)
{
	(void)lsn, (void)loc, (void)type, (void)body;
	++*(unsigned *)arg;
	return 0;
}

static int give_up(void *arg, uint64_t lsn, struct qm_loc loc, uint16_t type, struct sm_str body)
{
	(void)arg, (void)lsn, (void)loc, (void)type, (void)body;
	return SM_E_CANCEL;
}

static void read_back(void **state)
{
	struct t_log t;
	struct sm_buf b;
	uint64_t lsn;
	uint16_t type;
	unsigned n = 0;

	(void)state;
	t_log_init(&t, SMALL);
	t_log_start(&t);
	for (unsigned i = 0; i < 200; i++)
		t_log_put(&t, i % 20 == 7 ? 20000 : i);
	t_log_wait(&t, t.wrote.v[199].lsn, 30000);
	sm_buf_init(&b, QM_LOG_RECORD_MAX);
	for (size_t i = 0; i < t.wrote.n; i++) {
		const struct t_rec *w = &t.wrote.v[(i * 77) % t.wrote.n];
		sm_buf_reset(&b);
		assert_int_equal(qm_log_read(t.log, w->loc, &lsn, &type, &b), 0);
		assert_int_equal(lsn, w->lsn);
		assert_int_equal(type, w->type);
		assert_int_equal(sm_buf_view(&b).n, w->size);
		assert_int_equal(sm_crc32c(0, sm_buf_view(&b).p, b.len), w->crc);
	}
	struct qm_loc wrong = t.wrote.v[0].loc;
	wrong.at++;
	assert_int_equal(qm_log_read(t.log, wrong, &lsn, &type, &b), SM_E_CORRUPT);
	wrong = t.wrote.v[0].loc;
	wrong.block = 0; /* the segment batch: no records */
	assert_int_equal(qm_log_read(t.log, wrong, &lsn, &type, &b), SM_E_CORRUPT);
	wrong.block = 1000000;
	assert_int_equal(qm_log_read(t.log, wrong, &lsn, &type, &b), SM_E_CORRUPT);
	wrong.seq = 4711;
	assert_int_equal(qm_log_read(t.log, wrong, &lsn, &type, &b), SM_E_NOTFOUND);
	sm_buf_fini(&b);
	sm_buf_init(&b, 1000);
	assert_int_equal(qm_log_read(t.log, t.wrote.v[7].loc, &lsn, &type, &b), SM_E_TOOBIG);
	sm_buf_fini(&b);
#ifdef SM_TESTING
	sm_buf_init(&b, 1000);
	assert_int_equal(sm_fault_arm("ibdb.read=eio"), 0);
	assert_int_equal(qm_log_read(t.log, t.wrote.v[3].loc, &lsn, &type, &b), SM_E_IO);
	assert_int_equal(sm_fault_arm(NULL), 0);
	sm_buf_fini(&b);
#endif
	for (uint32_t seq = 1; seq <= t.wrote.v[199].loc.seq; seq++)
		assert_int_equal(qm_log_scan(t.log, seq, count_records, &n), 0);
	assert_int_equal(n, 200);
	assert_int_equal(qm_log_scan(t.log, 1, give_up, NULL), SM_E_CANCEL);
	assert_int_equal(qm_log_scan(t.log, 4711, count_records, &n), SM_E_NOTFOUND);
	t_log_fini(&t);
}

/* ---- locks, versions, names ---- */

static void two_openers(void **state)
{
	struct t_log t;
	struct qm_log *second = NULL;
	int status;

	(void)state;
	t_log_init(&t, SMALL);
	t_log_start(&t);
	assert_int_equal(qm_log_open(&t.conf, &second), SM_E_BUSY);
	assert_null(second);
	pid_t pid = fork();
	if (pid == 0)
		_exit(qm_log_open(&t.conf, &second) == SM_E_BUSY ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	struct qm_log_conf tool = t.conf;
	tool.read_only = true;
	assert_int_equal(qm_log_open(&tool, &second), SM_E_BUSY);
	t_log_stop(&t);
	assert_int_equal(qm_log_open(&tool, &second), 0);
	qm_log_close(&second);
	t_log_fini(&t);
}

static void read_only(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	t.conf.read_only = true;
	assert_int_equal(t_log_load(&t), 0);
	assert_int_equal(t_files(&t, "ibdb"), 0);
	t_log_stop(&t);
	t.conf.read_only = false;
	t_log_start(&t);
	t_log_put(&t, 77);
	t_log_stop(&t);
	t.conf.read_only = true;
	assert_int_equal(t_log_load(&t), 0);
	t_log_same(&t, NULL);
	t_log_fini(&t);
}

static void other_log(void **state)
{
	struct t_log t;
	char path[128], moved[128];

	(void)state;
	t_log_init(&t, SMALL);
	t_log_start(&t);
	t_log_put(&t, 77);
	t_log_stop(&t);
	t_path(&t, 1, path);
	t.conf.name = "defedb";
	t_path(&t, 1, moved);
	assert_int_equal(rename(path, moved), 0);
	assert_int_equal(t_log_load(&t), SM_E_CORRUPT);
	assert_non_null(strstr(sm_diag(), "ibdb"));
	t_log_stop(&t);
	t_log_fini(&t);
}

static void bad_sizes(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, 1000);
	assert_int_equal(qm_log_open(&t.conf, &t.log), SM_E_RANGE);
	t.conf.segment_bytes = 0x7fffffff;
	assert_int_equal(qm_log_open(&t.conf, &t.log), SM_E_RANGE);
	t.conf.segment_bytes = SMALL + 1;
	t_log_start(&t);
	assert_int_equal(qm_log_record_max(t.log),
	                 SMALL + 4096 - QM_BLOCK - QM_BATCH_HEADER - QM_RECORD_HEADER);
	t_log_fini(&t);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, t_log_setup, t_log_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(empty_log),    TEST(round_trip),      TEST(largest_record), TEST(close_writes_all),
	    TEST(flush),        TEST(two_directories), TEST(commit_delay),   TEST(lazy_records),
	    TEST(read_back),    TEST(two_openers),     TEST(read_only),      TEST(other_log),
	    TEST(bad_sizes),
#ifdef SM_TESTING
	    TEST(group_commit),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
