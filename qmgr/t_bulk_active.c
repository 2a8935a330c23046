/* Acts of operators on a whole queue manager: a transaction is caught wherever it is on its way. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "qmgr/t_bulk.h"

/* ---- in the active queue ---- */

static void before_smar_is_there(void **state)
{
	(void)state;
	t_slow_retries();
	w.conf.wait_for_server_ms = 60000;
	t_qm_start();
	t_smtps_up(&w.ss, 1);
	t_taken("a@a.test", "x@b.test");
	t_taken("b@a.test", "x@b.test");
	t_act(QM_MARK_REMOVE, "sender=a@a.test", 1);
	t_act(QM_MARK_HOLD, "sender=b@a.test", 1);
	t_wait_n(t_held, 1);
	t_act(QM_MARK_BOUNCE, "", 1);
	t_smar_up();
	t_smtpc_up(&w.sc, 10);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 1);
	assert_int_equal(w.sc.task[0].dsn_count, 1);
}

static void while_smar_thinks(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	w.smar_hold = true;
	t_taken("a@a.test", "x@b.test");
	t_taken("b@a.test", "x@b.test");
	t_wait_n(t_asked, 2);
	t_act(QM_MARK_REMOVE, "sender=a@a.test", 1);
	t_act(QM_MARK_HOLD, "sender=b@a.test", 1);
	assert_int_equal(w.q.txns.by_id.count, 2);
	w.smar_hold = false;
	t_down(&w.smar); /* the questions are lost */
	t_smar_up();
	t_wait_n(t_held, 1);
	assert_int_equal(qm_edbc_count(w.q.edbc), 1);
	assert_int_equal(w.sc.tasks, 0);
	t_act(QM_MARK_RELEASE, "", 1);
	t_wait_over();
	assert_int_equal(w.q.stats.delivered, 1);
}

static bool three_ready(void)
{
	unsigned n = 0;

	SM_LIST_FOR (txn, &w.q.txns.active, struct qm_txn, link)
		n += txn->rcpts[0].state == QM_RCPT_READY;
	return n == 3;
}

static void while_it_waits_for_smtpc(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_no_smtpc();
	t_taken("a@a.test", "x@b.test");
	t_taken("b@a.test", "x@b.test");
	t_taken("c@a.test", "x@b.test");
	assert_true(t_wait(three_ready));
	t_act(QM_MARK_REMOVE, "sender=a@a.test", 1);
	t_act(QM_MARK_HOLD, "sender=b@a.test", 1);
	assert_int_equal(qm_edbc_held_count(w.q.edbc) + w.q.txns.by_id.count >= 2, 1);
	t_smtpc_up(&w.sc, 10);
	t_wait_n(t_held, 1);
	assert_int_equal(w.sc.tasks, 1);
	assert_string_equal(w.sc.task[0].sender, "c@a.test");
	t_act(QM_MARK_RELEASE, "", 1);
	t_wait_over();
}

static bool one_ready(void)
{
	const struct qm_txn *txn = SM_LIST_FIRST(&w.q.txns.active, struct qm_txn, link);

	return txn && txn->rcpts[0].state == QM_RCPT_READY &&
	       txn->rcpts[1].state == QM_RCPT_DEFERRED && txn->rcpts[2].state == QM_RCPT_DEFERRED;
}

/* The first one that is hit sends the mail to DEFEDB: the snapshot there must not claim to have
 * what has not yet hit the others. */
static void some_of_what_waits_together(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_no_smtpc();
	t_taken("a@a.test", "x@b.test y@later.test z@later.test");
	assert_true(t_wait(one_ready));
	t_act(QM_MARK_HOLD, "rcpt=x@*,y@*", 2);
	t_wait_n(t_held, 2);
	t_qm_stop();
	t_turns(5);
	t_qm_start();
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 2);
	t_act(QM_MARK_REMOVE, "", 3);
	t_smtps_up(&w.ss, 1);
	t_wait_over();
}

static void while_smtpc_has_it(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	w.sc.hold = true;
	t_taken("a@a.test", "temp@b.test");
	t_taken("b@a.test", "temp@b.test");
	t_taken("c@a.test", "temp@b.test");
	t_taken("d@a.test", "ok@b.test");
	t_wait_n(t_tasks, 4);
	t_act(QM_MARK_REMOVE, "sender=a@a.test,d@a.test", 2);
	t_act(QM_MARK_HOLD, "sender=b@a.test", 1);
	t_act(QM_MARK_BOUNCE, "sender=c@a.test", 1);
	w.sc.hold = false;
	for (unsigned i = 0; i < 4; i++)
		t_answer(&w.sc, &w.sc.task[i]);
	t_wait_n(t_held, 1);
	t_turns(100);
	assert_int_equal(w.q.stats.delivered, 2); /* d@ and the DSN */
	assert_int_equal(w.sc.tasks, 5);
	assert_int_equal(w.sc.task[4].dsn_count, 1);
	assert_int_equal(qm_edbc_count(w.q.edbc), 1);
	t_act(QM_MARK_REMOVE, "", 1);
	t_wait_over();
}

static bool moving(void)
{
	SM_LIST_FOR (txn, &w.q.txns.active, struct qm_txn, link)
		if (txn->state == QM_TXN_MOVING)
			return true;
	return false;
}

static void while_it_moves(void **state)
{
	unsigned seen = 0;

	(void)state;
	t_slow_retries();
	t_qm_all();
	for (int i = 0; i < 10; i++) {
		t_taken("a@a.test", "temp@b.test");
		if (t_wait(moving) && moving()) {
			seen++;
			t_act(QM_MARK_HOLD, "!state=held", 1);
		}
		t_wait_n(t_deferred, (unsigned)i + 1);
		assert_int_equal(qm_edbc_held_count(w.q.edbc), seen);
	}
	assert_int_equal(seen, 10);
	t_act(QM_MARK_REMOVE, "", 10);
	t_wait_over();
}

static void while_it_is_read_back(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	for (int i = 0; i < 10; i++)
		t_waiting("a@a.test", "temp@b.test");
	w.sc.tasks = 0;
	qm_defer_flush(&w.q, (struct sm_id){0});
	assert_true(qm_defer_loads(&w.q) > 0);
	t_act(QM_MARK_HOLD, "", 10);
	t_turns(50);
	t_wait_n(t_held, 10);
	t_act(QM_MARK_REMOVE, "", 10);
	t_wait_over();
}

/* ---- what is remembered of it ---- */

static bool is_remembered(struct sm_id id, enum qm_mark_verb verb)
{
	struct qm_marks *m = qm_store_marks(w.q.store);

	m->sweep = &m->chunks;
	while (qm_marks_sweep(w.q.store, qm_bulk_needed, &w.q))
		;
	return qm_marks_find(m, id, 0, verb) != NULL;
}

/* Held and released: its snapshot needs neither, also while it is tried. What came since is needed
 * until a snapshot has it. */
static void undone_before_it_was_read_back(void **state)
{
	struct sm_id one, other;

	(void)state;
	t_slow_retries();
	t_qm_all();
	one = t_waiting("a@a.test", "temp@b.test x@b.test");
	other = t_waiting("b@a.test", "temp@b.test");
	w.sc.tasks = 0;
	t_act(QM_MARK_HOLD, "", 2);
	w.sc.hold = true;
	t_act(QM_MARK_RELEASE, "sender=a@a.test", 1);
	t_wait_n(t_tasks, 1);
	assert_false(is_remembered(one, QM_MARK_HOLD));
	assert_false(is_remembered(one, QM_MARK_RELEASE));
	assert_true(is_remembered(other, QM_MARK_HOLD));
	t_act(QM_MARK_HOLD, "sender=a@a.test", 1);
	assert_true(is_remembered(one, QM_MARK_HOLD));
	w.sc.hold = false;
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_n(t_held, 2);
	assert_false(is_remembered(one, QM_MARK_HOLD));
	assert_true(is_remembered(other, QM_MARK_HOLD));
	t_act(QM_MARK_REMOVE, "", 2);
	t_wait_over();
}

#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup, t_qm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(before_smar_is_there),     T(while_smar_thinks),
	    T(while_it_waits_for_smtpc), T(some_of_what_waits_together),
	    T(while_smtpc_has_it),       T(while_it_moves),
	    T(while_it_is_read_back),    T(undone_before_it_was_read_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
