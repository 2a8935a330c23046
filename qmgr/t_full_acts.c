/* What operators do to mail while DEFEDB's file system is full: it reaches what is kept and what
 * goes back, and lasts, also over a crash. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "libsm/fault.h"
#include "qmgr/t_bulk.h"
#include "qmgr/t_full.h"

#ifdef SM_TESTING

static bool ended(void)
{
	return w.q.stats.ended >= t_want;
}

static void acts_reach_what_is_kept(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	w.sc.hold = true;
	t_taken("s@a.test", "temp@b.test");
	t_taken("s@a.test", "temp@c.test");
	t_wait_n(t_tasks, 2);
	t_fill();
	w.sc.hold = false;
	t_answer(&w.sc, &w.sc.task[0]);
	t_answer(&w.sc, &w.sc.task[1]);
	t_wait_n(t_kept, 2);
	t_act(QM_MARK_HOLD, "rcpt=temp@b.test", 1);
	t_act(QM_MARK_REMOVE, "rcpt=temp@c.test", 1);
	t_wait_n(ended, 1);
	qm_defer_flush(&w.q, (struct sm_id){0});
	t_turns(100); /* for nothing: it is held */
	assert_int_equal(w.sc.tasks, 2);
	assert_int_equal(qm_kept_count(&w.q), 1);
	w.sc.fine = true;
	t_act(QM_MARK_RELEASE, "rcpt=temp@b.test", 1);
	t_wait_over();
	t_still_full();
	assert_int_equal(w.sc.tasks, 3);
}

/* In DEFEDB: the act is in a snapshot in IBDB, and the mark is needed no more. */
static void acts_reach_what_goes_back(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	t_waiting("s@a.test", "temp@b.test");
	t_fill();
	t_act(QM_MARK_REQUEUE, "rcpt=temp@b.test", 1);
	t_wait_n(t_tasks, 2);
	t_wait_n(t_kept, 1); /* IBDB has it, as it is with the act */
	w.sc.fine = true;
	qm_defer_flush(&w.q, (struct sm_id){0});
	t_wait_over();
	t_still_full();
}

/* Carried out in memory; the journal has the act, and got no further. */
static void die_before_it_is_over(void)
{
	t_qm_all();
	t_waiting("s@a.test", "temp@b.test");
	t_fill();
	t_act(QM_MARK_REMOVE, "", 1);
	assert_int_equal(sm_fault_arm("defedb.create=enospc,ibdb.write=delay:600000"), 0);
	t_turns(50);
}

/* It waits in the index to be removed, and is not tried. */
static void what_was_answered_lasts(void **state)
{
	const struct qm_edbc_entry *e;
	bool held;

	(void)state;
	t_slow_retries();
	t_crash_after(die_before_it_is_over);
	w.conf.aq_max_entries = 0; /* it is looked at in the index */
	t_qm_start();
	e = qm_edbc_top(w.q.edbc);
	assert_non_null(e);
	assert_int_equal(qm_edbc_marked(w.q.edbc, e, 0, &held), QM_MARK_REMOVE);
	w.conf.aq_max_entries = 100;
	t_smar_up();
	t_smtpc_up(&w.sc, 100);
	qm_defer_run(&w.q);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 0);
}

/* Both are on a mail when it is read back: the snapshot that says so has both. */
static void die_with_two_acts(void)
{
	t_qm_all();
	t_waiting("s@a.test", "temp@b.test temp@c.test");
	t_fill();
	t_act(QM_MARK_HOLD, "rcpt=temp@c.test", 1);
	t_act(QM_MARK_REMOVE, "rcpt=temp@b.test", 1);
	t_wait_n(t_kept, 1);
	assert_true(t_wait(t_all_written));
	t_still_full();
}

static void acts_that_come_together_last(void **state)
{
	(void)state;
	t_slow_retries();
	t_crash_after(die_with_two_acts);
	t_qm_all();
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 1);
	t_ask_ctl("flush", NULL);
	t_turns(100); /* for nothing: one is held, the other is gone */
	assert_int_equal(w.sc.tasks, 0);
	w.sc.fine = true;
	t_act(QM_MARK_RELEASE, "state=held", 1);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 1);
	assert_int_equal(t_given("temp@c.test"), 1);
}

/* Its server refused it before: what an operator wanted is no reason to let its sender wait. */
static void an_act_that_came_too_late(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	t_waiting("s@a.test", "temp@b.test");
	w.sc.hold = true;
	t_ask_ctl("flush", NULL);
	t_wait_n(t_tasks, 2);
	t_fill();
	t_act(QM_MARK_REMOVE, "rcpt=temp@b.test", 1);
	strcpy(w.sc.task[1].rcpt[0], "perm");
	w.sc.hold = false;
	t_answer(&w.sc, &w.sc.task[1]);
	t_wait_n(t_tasks, 3);
	assert_int_equal(w.sc.task[2].dsn_kind, SM_DSN_FAILED);
	t_wait_over();
	t_still_full();
}

static void resumed_while_it_is_kept(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	w.sc.hold = true;
	t_taken("s@a.test", "x@b.test");
	t_wait_n(t_tasks, 1);
	t_fill();
	assert_int_equal(qm_halt_suspend(&w.q, SM_STR("b.test"), 0, 42, SM_STR("moon"), NULL, NULL),
	                 0);
	strcpy(w.sc.task[0].rcpt[0], "temp");
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_n(t_kept, 1);
	w.sc.hold = false;
	qm_defer_flush(&w.q, (struct sm_id){0});
	t_turns(200); /* for nothing: it is suspended, and put off for long */
	assert_int_equal(w.sc.tasks, 1);
	assert_int_equal(qm_kept_count(&w.q), 1);
	assert_int_equal(qm_halt_resume(&w.q, SM_STR("b.test"), 42, NULL, NULL), 0);
	t_wait_over();
	t_still_full();
	assert_int_equal(w.sc.tasks, 2);
}

static int setup(void **state)
{
	assert_int_equal(sm_fault_arm(NULL), 0);
	return t_qm_setup(state);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, t_qm_teardown)

#endif

int main(void)
{
#ifdef SM_TESTING
	const struct CMUnitTest tests[] = {
	    T(acts_reach_what_is_kept),   T(acts_reach_what_goes_back),
	    T(what_was_answered_lasts),   T(acts_that_come_together_last),
	    T(an_act_that_came_too_late), T(resumed_while_it_is_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
#else
	return 77; /* needs fault points */
#endif
}
