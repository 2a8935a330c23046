/* Suspended destinations, stopped deliveries and stopped acceptance, on a whole queue manager. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "libsm/time.h"
#include "qmgr/atoms.h"
#include "qmgr/filter.h"
#include "qmgr/t_qm.h"

static unsigned told;

static void tell(void *arg)
{
	(void)arg;
	told++;
}

static bool is_told(void)
{
	return told >= t_want;
}

static bool ready(void)
{
	unsigned n = 0;

	SM_LIST_FOR (txn, &w.q.txns.active, struct qm_txn, link)
		for (unsigned i = 0; i < txn->rcpt_count; i++)
			n += txn->rcpts[i].state == QM_RCPT_READY;
	return n >= t_want;
}

static bool refused(void)
{
	return w.ss.credit == 451;
}

static bool allowed(void)
{
	return w.ss.credit == 0;
}

static void suspend(const char *dest, int64_t until_s)
{
	t_want = told + 1;
	assert_int_equal(
	    qm_halt_suspend(&w.q, sm_str(dest), until_s, 42, SM_STR("the moon"), tell, NULL), 0);
	assert_true(t_wait(is_told));
}

static void resume(const char *dest)
{
	t_want = told + 1;
	assert_int_equal(qm_halt_resume(&w.q, sm_str(dest), 42, tell, NULL), 0);
	assert_true(t_wait(is_told));
}

/* Why the only recipient of the only entry waits; how often it was tried. */
static struct sm_str reason(unsigned *tries)
{
	uint64_t cursor = 0;
	struct qm_edbc_reader in = qm_edbc_read(w.q.edbc, qm_edbc_walk(w.q.edbc, &cursor));
	struct qm_edbc_rcpt x;

	assert_true(qm_edbc_read_rcpt(&in, &x));
	*tries = x.tries;
	return qm_atoms_text(qm_edbc_reasons(w.q.edbc), x.reason);
}

static int64_t next_try(void)
{
	uint64_t cursor = 0;

	return qm_edbc_next_try(qm_edbc_walk(w.q.edbc, &cursor));
}

static void a_domain(void **state)
{
	unsigned tries;

	(void)state;
	t_qm_all();
	suspend("B.test", 0);
	assert_true(qm_halted(&w.q, SM_STR("b.TEST")) != NULL);
	assert_null(qm_halted(&w.q, SM_STR("sub.b.test")));
	t_taken("s@a.test", "x@b.test y@c.test");
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.sc.tasks, 1);
	assert_string_equal(w.sc.task[0].rcpt[0], "y@c.test");
	assert_true(
	    sm_str_eq(reason(&tries),
	              SM_STR("451 4.3.2 deliveries to this destination are suspended: the moon")));
	assert_int_equal(tries, 0);
	resume("b.test");
	t_wait_over();
	assert_int_equal(w.sc.tasks, 2);
}

static void not_even_read_back(void **state)
{
	(void)state;
	w.conf.retry_min_ms = 1000;
	t_qm_all();
	t_taken("s@a.test", "temp@b.test");
	t_wait_n(t_deferred, 1);
	suspend("b.test", 0);
	t_turns(1500);
	assert_int_equal(w.sc.tasks, 1);
	assert_int_equal(w.questions, 1);
	assert_int_equal(next_try(), QM_EDBC_NEVER);
	qm_defer_flush(&w.q, (struct sm_id){0}); /* who flushes does not resume */
	t_turns(100);
	assert_int_equal(w.sc.tasks, 1);
	assert_int_equal(next_try(), QM_EDBC_NEVER);
	w.sc.fine = true;
	resume("b.test");
	t_wait_over();
	assert_int_equal(w.sc.tasks, 2);
}

static bool is_put_off(void)
{
	SM_LIST_FOR (txn, &w.q.txns.active, struct qm_txn, link)
		if (txn->state == QM_TXN_MOVING)
			return true;
	return false;
}

/* Neither in the active queue nor in the index yet. */
static void resumed_while_it_moves(void **state)
{
	(void)state;
	t_qm_all();
	suspend("b.test", 0);
	t_commit("s@a.test", "x@b.test");
	assert_true(t_wait(is_put_off));
	assert_int_equal(qm_edbc_count(w.q.edbc), 0);
	resume("b.test");
	t_wait_over();
	assert_int_equal(w.sc.tasks, 1);
}

static void a_host(void **state)
{
	unsigned tries;

	(void)state;
	t_qm_all();
	suspend("mx.test", 0); /* where all mail goes */
	t_taken("s@a.test", "x@b.test");
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.sc.tasks, 0);
	assert_true(sm_str_has_prefix(reason(&tries), SM_STR("451 4.3.2")));
	assert_int_equal(tries, 0);
	suspend("other.test", 0);
	resume("other.test"); /* not this one */
	t_turns(200);
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.sc.tasks, 0);
	resume("mx.test");
	t_wait_over();
	assert_int_equal(w.sc.tasks, 1);
}

static void what_is_ready_already(void **state)
{
	(void)state;
	t_qm_no_smtpc();
	t_taken("s@a.test", "x@b.test");
	t_taken("s@a.test", "x@c.test");
	t_wait_n(ready, 2);
	suspend("b.test", 0);
	t_wait_n(ready, 1);
	t_smtpc_up(&w.sc, 10);
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.sc.tasks, 1);
	assert_string_equal(w.sc.task[0].rcpt[0], "x@c.test");
	resume("b.test");
	t_wait_over();
}

static void for_a_while(void **state)
{
	(void)state;
	t_qm_all();
	suspend("b.test", sm_wall_s() + 2);
	t_taken("s@a.test", "x@b.test");
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.sc.tasks, 0);
	t_wait_over(); /* nobody resumed it */
	assert_int_equal(w.sc.tasks, 1);
	assert_false(qm_suspends_any(qm_store_suspends(w.q.store)));
	assert_int_equal(
	    qm_halt_suspend(&w.q, SM_STR("b.test"), sm_wall_s() - 1, 1, SM_STR(""), NULL, NULL),
	    SM_E_RANGE);
	assert_int_equal(qm_halt_suspend(&w.q, SM_STR("x@b.test"), 0, 1, SM_STR(""), NULL, NULL),
	                 SM_E_SYNTAX);
	assert_int_equal(qm_halt_resume(&w.q, SM_STR("b.test"), 1, NULL, NULL), SM_E_NOTFOUND);
}

static void all_deliveries(void **state)
{
	(void)state;
	w.conf.retry_min_ms = 1000;
	t_qm_all();
	t_taken("s@a.test", "temp@b.test");
	t_wait_n(t_deferred, 1);
	suspend("", 0);
	assert_true(qm_halt_all(&w.q));
	t_taken("s@a.test", "x@c.test");
	t_turns(1500);
	assert_int_equal(w.sc.tasks, 1);
	w.sc.fine = true;
	resume("");
	t_wait_over();
	assert_int_equal(w.sc.tasks, 3);
}

/* Who lets all go again means all but what is suspended by itself. */
static void a_domain_while_all_is_stopped(void **state)
{
	(void)state;
	t_qm_all();
	suspend("", 0);
	t_taken("s@a.test", "before@b.test");
	t_taken("s@a.test", "x@c.test");
	t_wait_n(ready, 2);
	suspend("b.test", 0);
	t_taken("s@a.test", "after@b.test");
	t_wait_n(t_indexed, 2);
	resume("");
	t_wait_n(t_deferred, 2);
	assert_int_equal(w.sc.tasks, 1);
	assert_string_equal(w.sc.task[0].rcpt[0], "x@c.test");
	resume("b.test");
	t_wait_over();
}

#define MANY 20000u

static size_t parked(void)
{
	const struct qm_edbc_entry *e;
	uint64_t cursor = 0;
	size_t n = 0;

	while ((e = qm_edbc_walk(w.q.edbc, &cursor)) != NULL)
		n += qm_edbc_next_try(e) == QM_EDBC_NEVER;
	return n;
}

static bool all_parked(void)
{
	return parked() == MANY;
}

/* However many mails end in a turn, each of which looks at what is due. */
static void many_are_put_off_bit_by_bit(void **state)
{
	struct qm_rec_rcpt r = {.addr = SM_STR("x@b.test"),
	                        .orcpt = SM_STR(""),
	                        .text = SM_STR(""),
	                        .host = SM_STR(""),
	                        .next_try_s = 1};
	struct qm_rec_txn rec = {
	    .sender = SM_STR(""), .envid = SM_STR(""), .rcpts_count = 1, .rcpts = &r};

	(void)state;
	t_qm_all();
	suspend("b.test", 0);
	for (uint64_t i = 1; i <= MANY; i++) {
		rec.ta = (struct sm_id){i, 7};
		qm_edbc_put_rec(w.q.edbc, &rec, (struct qm_loc){0});
	}
	for (int i = 0; i < 5; i++)
		qm_defer_run(&w.q);
	assert_in_range(parked(), 1, MANY / 5);
	assert_true(t_wait(all_parked));
	for (uint64_t i = 1; i <= MANY; i++)
		qm_edbc_remove(w.q.edbc, (struct sm_id){i, 7});
}

/* The snapshots of what comes back have the time that the suspension gave them. */
static void resumed_before_a_restart(void **state)
{
	(void)state;
	t_qm_all();
	suspend("b.test", 0);
	t_taken("s@a.test", "x@b.test");
	t_wait_n(t_deferred, 1);
	t_qm_stop();
	t_qm_start();
	resume("b.test");
	t_qm_stop();
	t_qm_start();
	t_smtpc_up(&w.sc, 10);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 1);
}

static void over_a_restart(void **state)
{
	struct sm_id id;

	(void)state;
	t_qm_all();
	suspend("b.test", 0);
	suspend("c.test", sm_wall_s() + 1);
	suspend("d.test", 0);
	resume("d.test");
	id = t_taken("s@a.test", "x@b.test");
	t_wait_n(t_deferred, 1);
	for (int i = 0; i < 3; i++) {
		const struct qm_suspension *s;

		t_qm_stop();
		t_turns(i == 0 ? 1100 : 5);
		t_qm_start();
		s = qm_halted(&w.q, SM_STR("b.test"));
		assert_non_null(s);
		assert_true(sm_str_eq(s->reason, SM_STR("the moon")));
		assert_int_equal(s->uid, 42);
		assert_null(qm_halted(&w.q, SM_STR("c.test")));
		assert_null(qm_halted(&w.q, SM_STR("d.test")));
	}
	t_smtpc_up(&w.sc, 10);
	t_turns(300);
	assert_int_equal(w.sc.tasks, 0);
	resume("b.test");
	t_wait_over();
	assert_int_equal(w.sc.tasks, 1);
	assert_true(sm_id_eq(w.sc.task[0].ta, id));
}

/* It is a fact that it is resumed, and qmgr dies before the walk has found what waits for that. */
static void die_when_resumed(void)
{
	uint64_t lsn;

	t_qm_all();
	suspend("b.test", 0);
	suspend("c.test", 0);
	t_taken("s@a.test", "x@b.test");
	t_taken("s@a.test", "x@c.test");
	t_wait_n(t_deferred, 2);
	assert_true(qm_suspends_remove(w.q.store, SM_STR("b.test"), 42, sm_wall_s(), &lsn));
	assert_true(t_wait(t_all_written));
}

static bool one_is_left(void)
{
	return qm_edbc_count(w.q.edbc) == 1 && w.q.txns.by_id.count == 0 &&
	       next_try() == QM_EDBC_NEVER;
}

static void a_crash_at_the_resume(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	w.conf.retry_min_ms = w.conf.retry_max_ms = 3600 * 1000;
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		die_when_resumed();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	unlink(w.socks[2]);
	t_qm_all();
	t_wait_n(t_tasks, 1);
	assert_string_equal(w.sc.task[0].rcpt[0], "x@b.test");
	assert_true(t_wait(one_is_left)); /* that is still suspended: parked, not read back */
	resume("c.test");
	t_wait_over();
	assert_int_equal(w.sc.tasks, 2);
}

static void acts_reach_what_is_suspended(void **state)
{
	const struct sm_str none = {0};
	struct qm_bulk_ask a = {.verb = QM_MARK_REMOVE, .text = SM_STR(""), .reason = SM_STR("")};

	(void)state;
	w.conf.retry_min_ms = 1000;
	t_qm_all();
	t_taken("s@a.test", "temp@b.test");
	t_wait_n(t_deferred, 1);
	suspend("", 0);
	t_turns(1500);
	assert_int_equal(next_try(), QM_EDBC_NEVER);
	t_taken("s@a.test", "x@b.test");
	w.sc.tasks = 0;
	assert_int_equal(qm_filter_new(&none, 0, 0, &a.filter), 0);
	assert_int_equal(qm_bulk_begin(&w.q, &a), 0);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 0);
}

static uint32_t oldest(void)
{
	struct qm_log_stat st;

	qm_log_stat(qm_store_ibdb(w.q.store), &st);
	return st.oldest_seq;
}

static bool freed(void)
{
	return oldest() > t_want;
}

static void suspensions_hold_no_segment(void **state)
{
	uint32_t seq;

	(void)state;
	w.conf.ibdb.size_bytes = w.conf.defedb.size_bytes = QM_LOG_SEGMENT_LEAST;
	t_qm_all();
	suspend("b.test", 0);
	qm_halt_accept(&w.q, false, 42, SM_STR("both"), NULL, NULL);
	qm_halt_accept(&w.q, true, 42, SM_STR(""), NULL, NULL);
	assert_true(t_wait(allowed));
	seq = qm_halted(&w.q, SM_STR("b.test"))->loc.seq;
	for (int i = 0; i < 900; i++) {
		t_commit("c@a.test", "ok@c.test");
		if (i % 50 == 0)
			t_turns(1);
	}
	t_wait_over();
	t_want = seq;
	assert_true(t_wait(freed));
	t_qm_stop();
	t_turns(5);
	t_qm_start();
	assert_non_null(qm_halted(&w.q, SM_STR("b.test")));
	assert_true(qm_halt_accepting(&w.q));
}

static void no_new_mail(void **state)
{
	(void)state;
	t_qm_all();
	t_want = told + 1;
	qm_halt_accept(&w.q, false, 42, SM_STR("full moon"), tell, NULL);
	assert_true(t_wait(is_told));
	assert_true(t_wait(refused));
	t_commit("s@a.test", "x@b.test");
	t_wait_n(t_verdicts, w.ss.verdicts + 1);
	assert_int_equal(w.ss.code, 451);
	t_down(&w.ss.p);
	for (int i = 0; i < 2; i++) {
		t_qm_stop();
		t_turns(5);
		t_qm_start();
		assert_false(qm_halt_accepting(&w.q));
		assert_string_equal(qm_store_suspends(w.q.store)->accept.reason, "full moon");
	}
	t_smtps_up(&w.ss, 1);
	assert_true(t_wait(refused));
	qm_halt_accept(&w.q, true, 42, SM_STR(""), NULL, NULL);
	assert_true(t_wait(allowed));
	t_smtpc_up(&w.sc, 10);
	t_taken("s@a.test", "x@b.test");
}

static void who_asked_may_go(void **state)
{
	unsigned before = told;

	(void)state;
	t_qm_all();
	assert_int_equal(qm_halt_suspend(&w.q, SM_STR("b.test"), 0, 42, SM_STR(""), tell, &t_want),
	                 0);
	qm_halt_forget(&w.q, &t_want);
	t_turns(100);
	assert_int_equal(told, before);
}

#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup, t_qm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_domain),
	    T(not_even_read_back),
	    T(resumed_while_it_moves),
	    T(a_host),
	    T(what_is_ready_already),
	    T(for_a_while),
	    T(all_deliveries),
	    T(a_domain_while_all_is_stopped),
	    T(many_are_put_off_bit_by_bit),
	    T(over_a_restart),
	    T(resumed_before_a_restart),
	    T(a_crash_at_the_resume),
	    T(acts_reach_what_is_suspended),
	    T(suspensions_hold_no_segment),
	    T(no_new_mail),
	    T(who_asked_may_go),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
