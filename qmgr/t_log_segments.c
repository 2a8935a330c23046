/* Segments of the record log from its caller's side: holds, recycling, spares, and what fails:
 * disks that are full, writes and syncs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "libsm/fault.h"
#include "qmgr/t_log.h"

/* ---- segments ---- */

static void hold_and_drop(void **state)
{
	struct t_log t;
	uint32_t seq, holds;

	(void)state;
	t_log_init(&t, SMALL);
	t.loose = true;
	t_log_start(&t);
	assert_false(qm_log_oldest(t.log, &seq, &holds));
	struct t_rec a = t_log_put(&t, 100), b = t_log_put(&t, 100);
	qm_log_hold(t.log, a.loc);
	qm_log_hold(t.log, b.loc);
	struct t_rec c = t_log_fill(&t, 2);
	qm_log_hold(t.log, c.loc);
	t_log_fill(&t, 3);
	assert_true(qm_log_oldest(t.log, &seq, &holds));
	assert_int_equal(seq, 1);
	assert_int_equal(holds, 2);
	/* The second is free of holds first, but only the oldest may go. */
	qm_log_drop(t.log, c.loc, c.lsn);
	qm_log_drop(t.log, a.loc, a.lsn);
	t_turns(t_never, NULL, 50);
	assert_true(t_exists(&t, 1));
	assert_true(t_exists(&t, 2));
	/* The last hold goes with a record that is not durable yet. */
	struct t_rec settled = t_log_put(&t, 10);
	qm_log_drop(t.log, b.loc, settled.lsn);
	assert_true(t_exists(&t, 1));
	t_turns(t_first_is_gone, &t, 30000);
	assert_false(t_exists(&t, 1));
	assert_true(qm_log_durable(t.log) >= settled.lsn);
	t_turns(t_never, NULL, 100);
	assert_false(qm_log_oldest(t.log, &seq, &holds));
	assert_false(t_exists(&t, 2));
	/* With the spares that were kept, nothing grows. */
	for (unsigned i = 4; i < 20; i++)
		t_log_fill(&t, i);
	t_turns(t_never, NULL, 100);
	assert_true(t_files(&t, "ibdb.0") <= 1 + t.conf.spare_segments);
	assert_true(t_log_stat(&t).ready <= t.conf.spare_segments);
	t_log_fini(&t);
}

/* Recycled segments are full of batches of former lives: none comes back. */
static void recycled_segments(void **state)
{
	struct t_log t;
	uint32_t last = 0;

	(void)state;
	t_log_init(&t, SMALL);
	t.loose = true;
	for (unsigned run = 0; run < 4; run++) {
		t_log_start(&t);
		qm_log_old_done(t.log, UINT32_MAX, 0);
		for (unsigned i = 0; i < 12; i++)
			last = t_log_fill(&t, last + 1).loc.seq;
		t_log_stop(&t);
		assert_int_equal(t_log_load(&t), 0);
		assert_int_equal(t.damages, 0);
		assert_true(t.found.n > 0 && t.found.n < t.wrote.n);
		/* What is there is the end of what was written. */
		t.wrote.n -= t.found.n;
		memmove(t.wrote.v, t.wrote.v + t.wrote.n, t.found.n * sizeof *t.wrote.v);
		t.wrote.n = t.found.n;
		t_log_same(&t, NULL);
		t_log_stop(&t);
	}
	t_log_fini(&t);
}

/* What was there at start stays until the caller has copied it. */
static void old_segments_stay(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	t.loose = true;
	t_log_start(&t);
	struct t_rec r = t_log_put(&t, 50);
	qm_log_hold(t.log, r.loc);
	t_log_fill(&t, 3);
	t_log_stop(&t);
	t_log_start(&t);
	r = t_log_put(&t, 50);
	t_log_wait(&t, r.lsn, 30000);
	t_turns(t_never, NULL, 50);
	assert_true(t_exists(&t, 1));
	qm_log_old_done(t.log, 1, r.lsn);
	t_turns(t_first_is_gone, &t, 30000);
	t_turns(t_never, NULL, 50);
	assert_false(t_exists(&t, 1));
	assert_true(t_exists(&t, 2));
	t_log_fini(&t);
}

/* Spares of a run that ended are the next one's: no new file is needed to start. */
static void spares_survive(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	t_log_start(&t);
	t_log_fill(&t, 2);
	t_turns(t_has_spare, &t, 30000);
	t_log_stop(&t);
	assert_true(t_exists(&t, 3));
#ifdef SM_TESTING
	assert_int_equal(sm_fault_arm("ibdb.create=enospc"), 0);
#endif
	t_log_start(&t);
	assert_int_equal(t_log_put(&t, 10).loc.seq, 3);
	t_log_stop(&t);
	/* A changed size makes them useless. */
#ifdef SM_TESTING
	assert_int_equal(sm_fault_arm(NULL), 0);
#endif
	t.conf.segment_bytes = 2 * SMALL;
	t_log_start(&t);
	t_log_same(&t, NULL);
	t_log_put(&t, 2 * SMALL - 2000);
	t_log_stop(&t);
	assert_int_equal(t_log_load(&t), 0);
	t_log_same(&t, NULL);
	t_log_fini(&t);
}

/* ---- failures ---- */

#ifdef SM_TESTING
static void fails_once(const char *fault, int err)
{
	struct t_log t;

	t_log_init(&t, SMALL);
	t.loose = true;
	t_log_start(&t);
	struct t_rec good = t_log_put(&t, 100);
	t_log_wait(&t, good.lsn, 30000);
	assert_int_equal(sm_fault_arm(fault), 0);
	struct t_rec bad = t_log_put(&t, 3000);
	t_log_wait(&t, bad.lsn, 30000);
	assert_int_equal(t.failures, 1);
	assert_int_equal(t.failed, err);
	assert_int_equal(t.told, good.lsn);
	assert_int_equal(sm_fault_arm(NULL), 0);
	/* The disk is well again, the log is not. */
	struct t_rec late = t_log_put(&t, 10);
	qm_log_hold(t.log, late.loc);
	assert_true(late.lsn > bad.lsn);
	t_turns(t_never, NULL, 100);
	assert_int_equal(qm_log_durable(t.log), good.lsn);
	assert_int_equal(t.failures, 1);
	qm_log_drop(t.log, late.loc, late.lsn);
	t_log_stop(&t);
	/* Whether the failed one is there nobody knows; the good one is, the late one is not. */
	assert_int_equal(t_log_load(&t), 0);
	assert_int_equal(t.damages, 0);
	assert_true(t.found.n == 1 || t.found.n == 2);
	assert_int_equal(t.found.v[0].lsn, good.lsn);
	t_log_fini(&t);
}

static void write_and_sync_failures(void **state)
{
	(void)state;
	fails_once("ibdb.write=eio", SM_E_IO);
	fails_once("ibdb.write=enospc", SM_E_FULL);
	fails_once("ibdb.write=short", SM_E_IO);
	fails_once("ibdb.sync=eio", SM_E_IO);
	fails_once("ibdb.sync=enospc@1", SM_E_FULL);
}

static void fault_at_open(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	assert_int_equal(sm_fault_arm("ibdb.open=emfile@1"), 0);
	assert_int_equal(t_log_load(&t), SM_E_SYS);
	assert_null(t.log);
	assert_int_equal(sm_fault_arm("ibdb.create=enospc"), 0);
	assert_int_equal(t_log_load(&t), 0);
	assert_int_equal(qm_log_start(t.log), SM_E_FULL);
	qm_log_close(&t.log);
	assert_int_equal(sm_fault_arm(NULL), 0);
	t_log_start(&t);
	t_log_put(&t, 10);
	t_log_stop(&t);
	assert_int_equal(sm_fault_arm("ibdb.read=eio"), 0);
	assert_int_equal(t_log_load(&t), SM_E_IO);
	t_log_stop(&t);
	assert_int_equal(sm_fault_arm(NULL), 0);
	assert_int_equal(t_log_load(&t), 0);
	t_log_same(&t, NULL);
	t_log_fini(&t);
}

static bool is_low(void *arg)
{
	return ((struct t_log *)arg)->low;
}

static bool is_not_low(void *arg)
{
	return !((struct t_log *)arg)->low;
}

/* No space for a further segment: told while a whole one is left, what is there goes on, and freed
 * ones bring it back. */
static void no_space(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	t.loose = true;
	t_log_start(&t);
	struct t_rec held = t_log_put(&t, 10);
	qm_log_hold(t.log, held.loc);
	t_turns(t_has_spare, &t, 30000);
	assert_int_equal(sm_fault_arm("ibdb.create=enospc"), 0);
	assert_false(qm_log_low_space(t.log));
	t_log_fill(&t, 2);
	t_turns(is_low, &t, 30000);
	assert_true(qm_log_low_space(t.log));
	t.loose = false;
	/* Nearly all of segment 2 is the reserve. */
	struct t_rec r;
	for (unsigned i = 0; i < 30; i++)
		r = t_log_put(&t, 1000);
	t_log_wait(&t, r.lsn, 30000);
	assert_int_equal(t.told, r.lsn);
	/* Behind it, appends wait, nothing fails. */
	for (unsigned i = 0; i < 60; i++)
		r = t_log_put(&t, 1000);
	assert_int_equal(r.loc.seq, 3);
	t_turns(t_never, NULL, 200);
	assert_true(t.told < r.lsn);
	assert_int_equal(t.failures, 0);
	assert_true(qm_log_pending_bytes(t.log) > 0);
	/* A freed segment is the next one. */
	qm_log_drop(t.log, held.loc, held.lsn);
	t_turns(is_not_low, &t, 30000);
	t_log_wait(&t, r.lsn, 30000);
	assert_int_equal(t.told, r.lsn);
	/* Full again, and closed so: what could not be written is not there, all before it is. */
	for (unsigned i = 0; i < 90; i++)
		r = t_log_put(&t, 1000);
	t_log_stop(&t);
	assert_int_equal(sm_fault_arm(NULL), 0);
	assert_int_equal(t_log_load(&t), 0);
	assert_int_equal(t.damages, 0);
	assert_true(t.found.v[t.found.n - 1].lsn < r.lsn);
	assert_true(t.found.v[t.found.n - 1].lsn >= t.told);
	t_log_fini(&t);
}

/* Space that comes back by itself is found by trying again. */
static void space_returns(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	t.loose = true;
	assert_int_equal(sm_fault_arm("ibdb.create=enospc@2"), 0);
	t_log_start(&t);
	t_turns(is_low, &t, 30000);
	assert_true(t.low);
	t_turns(is_not_low, &t, 30000);
	assert_false(t.low);
	assert_int_equal(t.lows, 2);
	t_log_fini(&t);
}

/* An old segment of which it is unknown whether it is gone could come back after a crash: the log
 * ends. */
static void recycling_fails(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	t.loose = true;
	t_log_start(&t);
	struct t_rec a = t_log_put(&t, 10);
	qm_log_hold(t.log, a.loc);
	struct t_rec r = t_log_fill(&t, 2);
	t_turns(t_has_spare, &t, 30000);
	assert_int_equal(sm_fault_arm("ibdb.prepare=eio"), 0);
	qm_log_drop(t.log, a.loc, a.lsn);
	t_log_wait(&t, r.lsn + 1, 30000);
	assert_int_equal(t.failed, SM_E_IO);
	assert_int_equal(sm_fault_arm(NULL), 0);
	t_log_fini(&t);
}
#endif

static void too_much_pending(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	t.conf.max_pending_bytes = 10000;
	t_log_start(&t);
	for (unsigned i = 0; i < 100; i++)
		t_log_put(&t, 5000);
	t_log_wait(&t, t.wrote.v[99].lsn, 30000);
	assert_int_equal(t.failed, SM_E_FULL);
	t_log_fini(&t);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, t_log_setup, t_log_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(hold_and_drop),           TEST(recycled_segments), TEST(old_segments_stay),
	    TEST(spares_survive),          TEST(too_much_pending),
#ifdef SM_TESTING
	    TEST(write_and_sync_failures), TEST(fault_at_open),     TEST(no_space),
	    TEST(space_returns),           TEST(recycling_fails),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
