/* Acts of operators beside everything else that happens to the same mail: crashes of workers and of
 * qmgr, DSNs, what becomes due, copies forward, other acts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "libsm/fault.h"
#include "libsm/time.h"
#include "qmgr/bulk_int.h"
#include "qmgr/t_qm.h"

static unsigned answers;
static unsigned failed;

static void done(void *arg, const struct qm_bulk_done *d)
{
	(void)arg;
	answers++;
	failed += d->err != 0;
}

static bool answered(void)
{
	return answers >= t_want;
}

static void ask(enum qm_mark_verb verb)
{
	struct qm_bulk_ask a = {.verb = verb,
	                        .text = SM_STR(""),
	                        .reason = SM_STR("for a test"),
	                        .cb = done,
	                        .arg = &answers};

	assert_int_equal(qm_filter_new(NULL, 0, sm_wall_s(), &a.filter), 0);
	assert_int_equal(qm_bulk_begin(&w.q, &a), 0);
}

static void act(enum qm_mark_verb verb)
{
	ask(verb);
	t_want = answers + 1;
	assert_true(t_wait(answered));
	assert_int_equal(failed, 0);
}

static bool deferred(void)
{
	return qm_edbc_count(w.q.edbc) == t_want && w.q.txns.by_id.count == 0 &&
	       qm_defer_loads(&w.q) == 0;
}

static bool held(void)
{
	return qm_edbc_held_count(w.q.edbc) >= t_want && w.q.txns.by_id.count == 0;
}

/* ---- mail that crashes workers ---- */

/* Recipient `index` of the only transaction, which nobody has asked smar about: its worker dies. */
static struct qm_rcpt *crashes(unsigned index)
{
	struct qm_txn *txn = SM_LIST_FIRST(&w.q.txns.active, struct qm_txn, link);
	struct qm_rcpt *r = &txn->rcpts[index];

	assert_int_equal(r->state, QM_RCPT_NEW);
	sm_list_remove(&r->link);
	qm_suspect(&w.q, r, SM_STR("4.3.0 crashed with it"));
	if (r->state == QM_RCPT_NEW)
		qm_resolve(&w.q, txn);
	return r;
}

static void suspected_once(void)
{
	t_qm_start();
	t_smtps_up(&w.ss, 1);
	t_taken("s@a.test", "x@b.test y@b.test");
	assert_int_equal(crashes(0)->state, QM_RCPT_NEW);
	assert_true(t_wait(t_all_written));
}

static void held_then_released_then_held(void)
{
	t_qm_start();
	t_smtps_up(&w.ss, 1);
	t_taken("s@a.test", "x@b.test y@b.test");
	crashes(0);
	assert_true(crashes(0)->flags & QM_RCPT_HELD);
	act(QM_MARK_RELEASE);
	assert_true(crashes(0)->flags & QM_RCPT_HELD);
	assert_true(t_wait(t_all_written));
}

static bool two_wait_for_smar(void)
{
	const struct qm_txn *txn = SM_LIST_FIRST(&w.q.txns.active, struct qm_txn, link);

	return txn && txn->busy == 2;
}

/* The second crash holds it, also when qmgr has died since the first one. */
static void a_suspicion_lasts(void **state)
{
	(void)state;
	t_slow_retries();
	t_crash_after(suspected_once);
	t_qm_start();
	assert_true(t_wait(two_wait_for_smar));
	assert_true(crashes(0)->flags & QM_RCPT_HELD);
	assert_true(t_wait(t_all_written));
}

static void held_again_after_its_release(void **state)
{
	(void)state;
	t_slow_retries();
	t_crash_after(held_then_released_then_held);
	w.conf.aq_max_entries = 0; /* it is looked at in the index */
	t_qm_start();
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 1);
	t_qm_stop();
	t_qm_start(); /* and lasts */
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 1);
}

/* ---- what is told to senders ---- */

#ifdef SM_TESTING
static unsigned delays(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w.sc.tasks; i++)
		n += w.sc.task[i].dsn_kind == SM_DSN_DELAYED;
	return n;
}

static bool delay_is_over(void)
{
	return w.q.stats.ended >= 1;
}

/* Requeued while smtpc has it; late all the same; and the move to DEFEDB never gets there. */
static void told_after_a_requeue(void)
{
	t_qm_all();
	w.sc.hold = true;
	t_commit("s@a.test", "temp@b.test");
	t_wait_n(t_tasks, 1);
	act(QM_MARK_REQUEUE);
	assert_int_equal(sm_fault_arm("defedb.write=delay:600000"), 0);
	w.sc.hold = false;
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_n(t_tasks, 2);
	assert_int_equal(delays(), 1);
	assert_true(t_wait(delay_is_over)); /* durably */
}

static void a_delay_is_told_once(void **state)
{
	(void)state;
	t_slow_retries();
	w.conf.delay_timeout_ms = 0;
	t_crash_after(told_after_a_requeue);
	t_qm_all();
	for (int i = 0; i < 2; i++) {
		unsigned before = w.sc.tasks;

		t_ask_ctl("flush", NULL);
		t_wait_n(t_tasks, before + 1);
		t_wait_n(deferred, 1);
	}
	t_turns(100); /* for nothing: a DSN */
	assert_int_equal(delays(), 0);
	w.sc.fine = true;
	t_ask_ctl("flush", NULL);
	t_wait_over();
}
#endif

/* ---- while an act chooses ---- */

/* So many that the walk takes many turns. They are in the index only. */
#define MANY 30000u
#define EACH 50u
#define REAL 20u

static void fakes(void)
{
	struct qm_rec_rcpt r[EACH];
	struct qm_rec_txn rec = {
	    .sender = SM_STR(""), .envid = SM_STR(""), .rcpts_count = EACH, .rcpts = r};

	for (unsigned i = 0; i < EACH; i++)
		r[i] = (struct qm_rec_rcpt){.index = (uint16_t)i,
		                            .addr = SM_STR("x@fake.test"),
		                            .orcpt = SM_STR(""),
		                            .text = SM_STR(""),
		                            .host = SM_STR(""),
		                            .next_try_s = sm_wall_s() + 3600};
	for (uint64_t i = 1; i <= MANY; i++) {
		rec.ta = (struct sm_id){i, 7};
		qm_edbc_put_rec(w.q.edbc, &rec, (struct qm_loc){0});
	}
}

/* What becomes due waits until all is chosen, and what is copied forward stays: each is hit. */
static void nothing_leaves_while_one_chooses(void **state)
{
	struct sm_id real[REAL];
	unsigned choosing = 0;

	(void)state;
	t_slow_retries();
	w.conf.edbc_max_entries = 2 * MANY;
	t_qm_all();
	for (unsigned i = 0; i < REAL; i++) {
		if (i == REAL / 2)
			fakes(); /* some before, some behind them, in whatever order they are seen
			          */
		real[i] = t_taken("s@a.test", "temp@b.test");
		t_wait_n(deferred, i + 1 + (i >= REAL / 2 ? MANY : 0));
	}
	w.sc.fine = true;
	w.sc.tasks = 0;
	w.smar_hold = true; /* what is chosen may still go until that is durable */
	ask(QM_MARK_HOLD);
	assert_true(qm_bulk_choosing(&w.q)); /* before its first turn already */
	t_want = answers + 1;
	for (unsigned i = 0; i < REAL; i++)
		if (i % 2)
			(void)qm_defer_flush(&w.q, real[i]);
	assert_int_equal(qm_defer_loads(&w.q), 0);
	t_turns(2);
	for (unsigned i = 0; i < REAL && qm_bulk_choosing(&w.q); i++) {
		choosing++;
		(void)qm_defer_flush(&w.q, real[i]);
		assert_int_equal(qm_defer_loads(&w.q), i / 5);
		if (i % 5 == 4)
			assert_true(qm_defer_forward(&w.q, real[i]));
	}
	assert_int_equal(choosing, REAL);
	assert_true(t_wait(answered));
	assert_int_equal(failed, 0);
	for (uint64_t i = 1; i <= MANY; i++)
		qm_edbc_remove(w.q.edbc, (struct sm_id){i, 7});
	w.smar_hold = false;
	t_down(&w.smar); /* the questions are lost */
	t_smar_up();
	t_wait_n(held, REAL);
	assert_int_equal(w.sc.tasks, 0);
	act(QM_MARK_RELEASE);
	t_wait_over();
	assert_int_equal(w.sc.tasks, REAL);
}

/* ---- one after the other ---- */

static void undone_again_and_again(void **state)
{
	(void)state;
	t_slow_retries();
	w.conf.aq_max_entries = 10;
	w.conf.edbc_max_entries = 20;
	t_qm_all();
	for (unsigned i = 0; i < 16; i++) {
		t_taken("s@a.test", "temp@b.test");
		t_wait_n(deferred, i + 1);
	}
	w.conf.aq_max_entries = 0; /* released, but not read back */
	for (int i = 0; i < 10; i++) {
		/* All at once: between them is no time to sweep. */
		for (int k = 0; k < 4; k++) {
			ask(QM_MARK_HOLD);
			ask(QM_MARK_RELEASE);
		}
		t_want = answers + 8;
		assert_true(t_wait(answered));
		assert_int_equal(failed, 0);
	}
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 0);
	w.conf.aq_max_entries = 10;
	w.sc.fine = true;
	qm_defer_run(&w.q);
	t_wait_over();
}

/* ---- a snapshot in the middle ---- */

#ifdef SM_TESTING
static bool is_writing(void)
{
	const struct qm_bulk_act *b = qm_bulk_current(&w.q);

	return b && b->phase == QM_BULK_WRITE && b->writing;
}

static bool is_applying(void)
{
	return qm_bulk_current(&w.q)->phase == QM_BULK_APPLY;
}

/* It has what the act did so far, but not that all of the act is in it: as replay would apply it
 * once more, what follows needs another one before it. */
static void a_snapshot_in_the_middle(void **state)
{
	struct qm_txn *txn;

	(void)state;
	t_qm_all();
	w.sc.hold = true;
	t_taken("s@a.test", "x@b.test y@b.test");
	t_wait_n(t_tasks, 1);
	txn = SM_LIST_FIRST(&w.q.txns.active, struct qm_txn, link);
	assert_int_equal(sm_fault_arm("ibdb.sync=delay:100"), 0);
	ask(QM_MARK_HOLD);
	assert_true(t_wait(is_writing));
	assert_int_equal(sm_fault_arm(NULL), 0);
	w.q.stopping = true; /* no turns for acts: this one is applied by hand */
	assert_true(t_wait(is_applying));
	assert_true(qm_bulk_apply_next(&w.q, qm_bulk_current(&w.q)));
	qm_store_txn(w.q.store, txn, txn->log);
	w.q.stopping = false;
	t_want = 1;
	assert_true(t_wait(answered));
	assert_true(txn->acted);
	act(QM_MARK_RELEASE);
	w.sc.hold = false;
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_over();
}
#endif

#define T(f) cmocka_unit_test_setup_teardown(f, setup, t_qm_teardown)

static int setup(void **state)
{
#ifdef SM_TESTING
	assert_int_equal(sm_fault_arm(NULL), 0);
#endif
	answers = failed = 0;
	return t_qm_setup(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_suspicion_lasts),
	    T(held_again_after_its_release),
#ifdef SM_TESTING
	    T(a_delay_is_told_once),
	    T(a_snapshot_in_the_middle),
#endif
	    T(nothing_leaves_while_one_chooses),
	    T(undone_again_and_again),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
