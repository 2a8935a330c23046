/* Mail that waits for a queue run, or until it is asked for, on a whole queue manager. */
#include "qmgr/t_run.h"

#include "libsm/time.h"
#include "qmgr/atoms.h"
#include "qmgr/filter.h"
#include "qmgr/run_int.h"
#include "qmgr/t_full.h"

/* The first recipient of the first entry. */
static struct qm_edbc_rcpt first(void)
{
	uint64_t cursor = 0;
	struct qm_edbc_reader in = qm_edbc_read(w.q.edbc, qm_edbc_walk(w.q.edbc, &cursor));
	struct qm_edbc_rcpt x;

	assert_true(qm_edbc_read_rcpt(&in, &x));
	return x;
}

/* ---- by the way it came ---- */

static void nobody_is_asked_before(void **state)
{
	(void)state;
	w.deliver = SM_DELIVER_QUEUE;
	t_qm_all();
	(void)t_waiting("s@a.test", "x@b.test y@c.test");
	t_turns(1200);
	assert_int_equal(w.questions, 0);
	assert_int_equal(w.sc.tasks, 0);
	assert_int_equal(waits(SM_WAIT_RUN), 2);
	assert_int_equal(first().wait, SM_WAIT_RUN);
	assert_false(first().by_dest);
	assert_true(sm_str_eq(qm_atoms_text(qm_edbc_reasons(w.q.edbc), first().reason),
	                      SM_STR("451 4.4.0 waits for the next queue run")));
	run_of("", false);
	assert_int_equal(last.mails, 1);
	assert_int_equal(last.rcpts, 2);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 2);
	run_of("", true);
	assert_int_equal(last.mails, 0);
}

static void what_fails_waits_for_the_next_run(void **state)
{
	(void)state;
	w.deliver = SM_DELIVER_QUEUE;
	w.conf.retry_min_ms = w.conf.retry_max_ms = 1000;
	t_qm_all();
	(void)t_waiting("s@a.test", "temp@b.test");
	for (unsigned i = 1; i <= 3; i++) {
		run_of("", false);
		assert_int_equal(last.rcpts, 1);
		t_wait_n(t_tasks, i);
		t_wait_n(t_deferred, 1);
		t_turns(1300); /* beyond its retry time */
		assert_int_equal(w.sc.tasks, i);
		assert_int_equal(first().tries, i);
		assert_int_equal(waits(SM_WAIT_RUN), 1);
	}
	w.sc.fine = true;
	run_of("b.test", false);
	t_wait_over();
}

static void hold_waits_for_who_asks(void **state)
{
	(void)state;
	w.deliver = SM_DELIVER_HOLD;
	t_qm_all();
	(void)t_waiting("s@a.test", "x@b.test");
	(void)t_waiting("s@a.test", "x@sub.b.test");
	run_of("", false); /* the schedule's */
	assert_int_equal(last.mails, 0);
	assert_true(last.waited);
	run_of("c.test", false);
	assert_int_equal(last.mails, 0);
	assert_false(last.waited);
	run_of("B.Test", false);
	assert_int_equal(last.mails, 1);
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.sc.tasks, 1);
	run_of("@test", false);
	assert_int_equal(last.mails, 1);
	t_wait_over();
	(void)t_waiting("s@a.test", "x@b.test");
	run_of("", true);
	assert_int_equal(last.mails, 1);
	t_wait_over();
}

/* ---- by where it goes ---- */

static void one_customer_only(void **state)
{
	(void)state;
	t_qm_all();
	(void)t_waiting("s@a.test", "x@hold.test");
	(void)t_waiting("s@a.test", "x@hold2.test");
	(void)t_waiting("s@a.test", "y@hold.test x@hold2.test z@b.test");
	assert_int_equal(w.sc.tasks, 1); /* z */
	assert_int_equal(waits(SM_WAIT_ASKED), 4);
	run_of("", false);
	assert_int_equal(last.mails, 0);
	run_of("hold.test", false);
	assert_int_equal(last.mails, 2);
	assert_int_equal(last.rcpts, 2);
	assert_int_equal(last.ours, QM_RUN_OURS);
	t_wait_n(t_deferred, 2);
	assert_int_equal(waits(SM_WAIT_ASKED), 2);
	for (unsigned i = 1; i < w.sc.tasks; i++)
		assert_true(sm_str_has_suffix(sm_str(w.sc.task[i].rcpt[0]), SM_STR("@hold.test")));
	run_of("b.test", false);
	assert_int_equal(last.ours, QM_RUN_NOT_OURS);
	assert_false(last.waited);
	run_of("hold2.test", false);
	assert_int_equal(last.mails, 2);
	t_wait_over();
}

static void runs_of_nonsense(void **state)
{
	struct qm_run_ask ask = {.dest = SM_STR("x@y"), .by = "operator"};

	(void)state;
	t_qm_all();
	assert_int_equal(qm_run(&w.q, &ask), SM_E_SYNTAX);
	ask.dest = SM_STR("@");
	assert_int_equal(qm_run(&w.q, &ask), SM_E_SYNTAX);
	t_down(&w.smar);
	t_turns(50);
	run_of("b.test", false);
	assert_int_equal(last.ours, QM_RUN_UNKNOWN);
}

/* A customer who has come over to us for good, one whose mail now waits for the schedule. */
static void the_table_changes(void **state)
{
	(void)state;
	w.sc.fine = true;
	t_qm_all();
	(void)t_waiting("s@a.test", "x@hold.test");
	(void)t_waiting("s@a.test", "x@queue.test");
	assert_int_equal(waits(SM_WAIT_RUN), 1);
	qm_run_check(&w.q);
	t_turns(100);
	assert_int_equal(w.sc.tasks, 0);
	w.no_on_demand = true;
	qm_run_check(&w.q);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 2);
	/* What is tried after all waits for its time as all mail, and for no run. */
	w.sc.fine = w.no_on_demand = false;
	w.conf.retry_min_ms = w.conf.retry_max_ms = 1000;
	(void)t_waiting("s@a.test", "temp@hold.test");
	w.no_on_demand = true;
	run_of("hold.test", false);
	t_wait_n(t_tasks, 4); /* by its retry time */
	w.sc.fine = true;
	t_wait_over();
}

static void from_hold_to_queue(void **state)
{
	struct qm_call call = {
	    .dest = SM_STR("hold.test"), .by_dest = true, .waits = 1u << SM_WAIT_ASKED};

	(void)state;
	t_qm_all();
	(void)t_waiting("s@a.test", "x@hold.test");
	w.deliver = SM_DELIVER_HOLD; /* not because of its domain */
	(void)t_waiting("s@a.test", "y@hold.test");
	qm_run_change(&w.q, &call, SM_WAIT_RUN);
	t_turns(50);
	assert_int_equal(waits(SM_WAIT_RUN), 1);
	assert_int_equal(waits(SM_WAIT_ASKED), 1);
	run_of("", false);
	assert_int_equal(last.mails, 1);
	t_wait_n(t_deferred, 1);
	run_of("hold.test", false);
	t_wait_over();
}

/* ---- wherever it is ---- */

static bool active(void)
{
	return w.q.txns.by_id.count == t_want;
}

static void waits_beside_others(void **state)
{
	(void)state;
	t_qm_no_smtpc();
	t_taken("s@a.test", "z@b.test x@hold.test");
	t_turns(100); /* z is ready: the mail stays in memory */
	t_wait_n(active, 1);
	run_of("hold.test", false);
	assert_int_equal(last.rcpts, 1);
	t_smtpc_up(&w.sc, 10);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 2);
}

static bool all_wait(void)
{
	return t_deferred() && waits(SM_WAIT_ASKED) == t_want;
}

static void its_hosts_are_dead(void **state)
{
	(void)state;
	w.conf.smtpc.initial_connections = 1;
	w.conf.smtpc.dead_host_min_ms = w.conf.retry_min_ms = 3600 * 1000;
	w.conf.aq_max_entries = 8; /* most are in the index when it is known */
	t_qm_all();
	for (int i = 0; i < 30; i++)
		(void)t_waiting("s@a.test", "dead@hold.test");
	run_of("hold.test", false);
	assert_int_equal(last.mails, 30);
	t_wait_n(t_tasks, 1);
	t_wait_n(all_wait, 30); /* they had their run, by proxy */
	assert_in_range(w.sc.tasks, 1, 2);
	/* The next who asks finds the host tried again. */
	w.sc.fine = true;
	run_of("hold.test", false);
	assert_int_equal(last.mails, 30);
	t_wait_over();
}

static void members_have_the_run_of_their_alias(void **state)
{
	(void)state;
	w.deliver = SM_DELIVER_QUEUE;
	w.members = 3;
	t_qm_all();
	(void)t_waiting("s@a.test", "list@alias.test");
	assert_int_equal(w.questions, 0);
	run_of("", false);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 1);
}

/* A run is for what waits for it, and for nobody who is beside. */
static void others_of_the_mail(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	(void)t_waiting("s@a.test", "x@hold.test temp@b.test temp@queue.test");
	assert_int_equal(w.sc.tasks, 1);
	run_of("hold.test", false);
	t_wait_n(t_tasks, 2);
	t_wait_n(t_deferred, 1);
	t_turns(200);
	assert_int_equal(w.sc.tasks, 2);
	assert_string_equal(w.sc.task[1].rcpt[0], "x@hold.test");
	assert_int_equal(waits(SM_WAIT_RUN), 1);
	w.sc.fine = true;
	t_ask_ctl("flush", NULL);
	t_wait_n(t_tasks, 3);
	t_wait_n(t_deferred, 1);
	t_turns(200);
	assert_int_equal(w.sc.tasks, 3); /* the one in b.test */
	run_of("", false);
	t_wait_over();
}

#ifdef SM_TESTING

static bool x_waits(void)
{
	SM_LIST_FOR (txn, &w.q.txns.active, struct qm_txn, link)
		return qm_rcpt_waits(&txn->rcpts[1]);
	return false;
}

/* DEFEDB has no room: it waits in the active queue, for the same. */
static void no_room_for_it(void **state)
{
	(void)state;
	w.conf.retry_min_ms = w.conf.retry_max_ms = 1000;
	t_qm_no_smtpc();
	t_taken("s@a.test", "temp@c.test temp@hold.test");
	assert_true(t_wait(x_waits));
	t_fill();
	t_smtpc_up(&w.sc, 10);
	t_wait_n(t_tasks, 2); /* by its retry time */
	t_wait_n(t_kept, 1);
	assert_int_equal(t_given("temp@hold.test"), 0);
	run_of("hold.test", false);
	assert_int_equal(last.mails, 1);
	t_wait_n(t_tasks, w.sc.tasks + 3);
	assert_int_equal(t_given("temp@hold.test"), 1);
	t_still_full();
	t_make_room();
	t_wait_n(t_deferred, 1);
	assert_int_equal(waits(SM_WAIT_ASKED), 1);
	w.sc.fine = true;
	run_of("hold.test", false);
	t_wait_over();
}

#endif

static bool delay_told(void)
{
	return w.sc.tasks >= 1 && w.sc.task[0].dsn_kind == SM_DSN_DELAYED;
}

static bool failure_told(void)
{
	return w.sc.tasks > 0 && w.sc.task[w.sc.tasks - 1].dsn_kind == SM_DSN_FAILED;
}

/* As ever: a warning, then it goes back; but not without having been tried. */
static void too_long(void **state)
{
	(void)state;
	w.deliver = SM_DELIVER_HOLD;
	w.conf.delay_timeout_ms = 1000;
	w.conf.return_timeout_ms = 3000;
	t_qm_all();
	(void)t_commit_at("s@a.test", "temp@b.test", sm_wall_s(),
	                  SM_NOTIFY_DELAY | SM_NOTIFY_FAILURE);
	assert_true(t_wait(delay_told));
	assert_int_equal(w.sc.tasks, 1);
	assert_string_equal(w.sc.task[0].dsn[0].text, "4.4.0 waits until it is asked for");
	assert_true(t_wait(failure_told));
	assert_int_equal(w.sc.tasks, 3);
	assert_string_equal(w.sc.task[1].rcpt[0], "temp@b.test");
	assert_string_equal(w.sc.task[2].dsn[0].text, "4.2.0 come again");
	t_wait_over();
}

/* ---- restarts ---- */

static void waits_over_a_restart(void **state)
{
	(void)state;
	t_qm_all();
	w.deliver = SM_DELIVER_QUEUE;
	(void)t_waiting("s@a.test", "x@b.test");
	w.deliver = SM_DELIVER_BACKGROUND;
	(void)t_waiting("s@a.test", "x@hold.test");
	w.questions = 0;
	for (int i = 0; i < 2; i++) {
		t_qm_again();
		t_turns(300);
		assert_int_equal(w.sc.tasks, 0);
		assert_int_equal(w.questions, 0);
		assert_int_equal(waits(SM_WAIT_RUN), 1);
		assert_int_equal(waits(SM_WAIT_ASKED), 1);
		assert_int_equal(
		    qm_edbc_dest_mails(w.q.edbc, qm_edbc_dest_find(w.q.edbc, SM_STR("hold.test"))),
		    1);
	}
	run_of("", true);
	assert_int_equal(last.mails, 2);
	t_wait_over();
}

static void take_and_die(void)
{
	t_qm_all();
	w.deliver = SM_DELIVER_QUEUE;
	t_taken("s@a.test", "x@b.test");
	(void)t_waiting("s@a.test", "y@b.test");
	w.deliver = SM_DELIVER_BACKGROUND;
	t_taken("s@a.test", "x@hold.test");
}

static void waits_over_a_crash(void **state)
{
	(void)state;
	t_crash_after(take_and_die);
	t_qm_all();
	t_wait_n(t_deferred, 3);
	t_turns(300);
	assert_int_equal(w.sc.tasks, 0);
	run_of("", true);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 3);
}

/* ---- operators ---- */

static void act(enum qm_mark_verb verb, const char *condition)
{
	struct sm_str s = sm_str(condition);
	struct qm_bulk_ask a = {.verb = verb, .text = SM_STR(""), .reason = SM_STR("")};

	assert_int_equal(qm_filter_new(&s, s.n > 0, 0, &a.filter), 0);
	assert_int_equal(qm_bulk_begin(&w.q, &a), 0);
	while (qm_bulk_busy(&w.q))
		t_turns(5);
}

static void acts_on_what_waits(void **state)
{
	(void)state;
	t_qm_all();
	(void)t_waiting("s@a.test", "x@hold.test");
	(void)t_waiting("s@a.test", "y@hold.test");
	(void)t_waiting("s@a.test", "z@hold.test");
	act(QM_MARK_NONE, ""); /* flush */
	act(QM_MARK_REMOVE, "rcpt=x@hold.test");
	t_wait_n(t_deferred, 2);
	act(QM_MARK_HOLD, "rcpt=y@hold.test");
	run_of("hold.test", false);
	assert_int_equal(last.mails, 1); /* z */
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.sc.tasks, 1);
	assert_string_equal(w.sc.task[0].rcpt[0], "z@hold.test");
	act(QM_MARK_RELEASE, "state=held");
	t_wait_over();
	(void)t_waiting("s@a.test", "x@hold.test");
	act(QM_MARK_RELEASE, "state=on_demand");
	t_wait_over();
	assert_int_equal(w.sc.tasks, 3);
}

static void release_and_die(void)
{
	t_qm_no_smtpc();
	(void)t_waiting("s@a.test", "x@hold.test");
	act(QM_MARK_RELEASE, "");
}

/* An operator was told so. */
static void released_before_a_crash(void **state)
{
	(void)state;
	t_crash_after(release_and_die);
	t_qm_all();
	t_wait_over();
	assert_int_equal(w.sc.tasks, 1);
}

static void suspended_beside_waiting(void **state)
{
	(void)state;
	t_qm_all();
	(void)t_waiting("s@a.test", "x@hold.test");
	assert_int_equal(qm_halt_suspend(&w.q, SM_STR("hold.test"), 0, 42, SM_STR(""), NULL, NULL),
	                 0);
	run_of("hold.test", false);
	t_turns(200);
	assert_int_equal(w.sc.tasks, 0);
	/* It was asked for: with the suspension over it goes. */
	assert_int_equal(qm_halt_resume(&w.q, SM_STR("hold.test"), 42, NULL, NULL), 0);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 1);
}

/* ---- the schedule ---- */

static void by_the_schedule(void **state)
{
	(void)state;
	w.deliver = SM_DELIVER_QUEUE;
	t_qm_all();
	assert_true(qm_run_next_s(&w.q) == QM_NO_RUN);
	w.conf.run.interval_ms = 60000;
	qm_run_reload(&w.q);
	assert_in_range(qm_run_next_s(&w.q), sm_wall_s(), sm_wall_s() + 60);
	(void)t_waiting("s@a.test", "x@b.test");
	/* As if the clock had been set over it. */
	w.q.runs->due_s = sm_wall_s() - 7200;
	qm_run_look(&w.q);
	t_wait_over();
	assert_true(qm_run_last_s(&w.q) >= sm_wall_s() - 60);
	assert_in_range(qm_run_next_s(&w.q), sm_wall_s(), sm_wall_s() + 60);
	/* Set back: no waiting for a time that is far again. */
	w.q.runs->due_s = sm_wall_s() + 86400;
	w.q.runs->looked_s = sm_wall_s() + 86000;
	qm_run_look(&w.q);
	assert_in_range(qm_run_next_s(&w.q), sm_wall_s(), sm_wall_s() + 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(nobody_is_asked_before),
	    T(what_fails_waits_for_the_next_run),
	    T(hold_waits_for_who_asks),
	    T(one_customer_only),
	    T(runs_of_nonsense),
	    T(the_table_changes),
	    T(from_hold_to_queue),
	    T(waits_beside_others),
	    T(its_hosts_are_dead),
	    T(members_have_the_run_of_their_alias),
	    T(others_of_the_mail),
#ifdef SM_TESTING
	    T(no_room_for_it),
#endif
	    T(too_long),
	    T(waits_over_a_restart),
	    T(waits_over_a_crash),
	    T(acts_on_what_waits),
	    T(released_before_a_crash),
	    T(suspended_beside_waiting),
	    T(by_the_schedule),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
