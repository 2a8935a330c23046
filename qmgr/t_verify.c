/* rcpt_verify in a whole queue manager: who is asked, how often, and that everybody gets an answer.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "qmgr/t_qm.h"

static const struct sm_id ta = {.counter = 77, .proc = 1};

static void put_question(struct t_smtps *s, const char *rcpt)
{
	const struct sm_msg_rcpt_verify m = {.ta = ta, .rcpt = sm_str(rcpt)};

	t_send(&s->p, SM_MSG_rcpt_verify, &m, true);
}

/* The code of the answer. */
static unsigned ask(const char *rcpt)
{
	put_question(&w.ss, rcpt);
	t_wait_n(t_verdicts, w.ss.verdicts + 1);
	return w.ss.code;
}

static struct qm_verify_stat stat_now(void)
{
	struct qm_verify_stat s;

	qm_verify_stat(&w.q, &s);
	return s;
}

static bool cached(void)
{
	return stat_now().cached >= t_want;
}

static bool no_probe(void)
{
	return stat_now().probes == 0;
}

static void known_and_unknown(void **state)
{
	(void)state;
	t_qm_all();
	assert_int_equal(ask("x@b.test"), 0);
	assert_int_equal(w.sc.tasks, 1);
	assert_true(w.sc.task[0].probe_ms > 0);
	assert_int_equal(w.sc.task[0].count, 1);
	assert_string_equal(w.sc.task[0].rcpt[0], "x@b.test");
	assert_string_equal(w.sc.task[0].sender, "");
	assert_true(sm_id_none(w.sc.task[0].content));
	assert_true(sm_id_eq(w.sc.task[0].ta, ta));
	assert_int_equal(ask("perm@b.test"), 550);
	assert_int_equal(ask("temp@b.test"), 450);
	assert_int_equal(w.sc.tasks, 3);
	/* All three are remembered for now. */
	assert_int_equal(ask("x@B.test"), 0);
	assert_int_equal(ask("perm@b.test"), 550);
	assert_int_equal(ask("temp@b.test"), 450);
	assert_int_equal(w.sc.tasks, 3);
	assert_int_equal(w.questions, 3);
	assert_int_equal(stat_now().hits, 3);
	t_ask_ctl("forget", "temp@b.test");
	assert_int_equal(w.ctl_status, 0);
	assert_int_equal(ask("temp@b.test"), 450);
	assert_int_equal(w.sc.tasks, 4);
	t_ask_ctl("status", NULL);
	assert_non_null(strstr(w.ctl_text, "\"verify_cached\":3,\"verify_hits\":3,"
	                                   "\"verify_misses\":4,\"verify_waiting\":0,"
	                                   "\"verify_probes\":0,\"verify_known\":1,"
	                                   "\"verify_unknown\":1,\"verify_not_told\":2"));
	/* Nothing of it is mail. */
	assert_true(t_all_over());
	assert_int_equal(w.q.stats.delivered, 0);
}

/* Where the way itself is the answer nobody is asked. */
static void without_a_probe(void **state)
{
	(void)state;
	t_qm_all();
	w.members = 2;
	assert_int_equal(ask("x@alias.test"), 0);
	assert_int_equal(ask("x@nowhere.test"), 550);
	assert_int_equal(ask("x@later.test"), 450);
	assert_int_equal(w.sc.tasks, 0);
	/* LMTP servers can be asked as well. */
	assert_int_equal(ask("perm@local.test"), 550);
	assert_int_equal(w.sc.tasks, 1);
}

static void many_ask_one_probe(void **state)
{
	(void)state;
	t_qm_all();
	t_smtps_up(&w.ss2, 2);
	w.sc.hold = true;
	for (int i = 0; i < 20; i++)
		put_question(i % 2 ? &w.ss : &w.ss2, "perm@b.test");
	t_wait_n(t_tasks, 1);
	t_turns(50);
	assert_int_equal(w.sc.tasks, 1);
	assert_int_equal(stat_now().waiting, 20);
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_n(t_verdicts, 10);
	assert_int_equal(w.ss.code, 550);
	assert_int_equal(stat_now().waiting, 0);
}

static void late_answers_are_remembered(void **state)
{
	(void)state;
	w.conf.verify.timeout_ms = 200;
	t_qm_all();
	w.sc.hold = true;
	assert_int_equal(ask("x@b.test"), 450);
	/* Who asks while that one is late is not made to wait. */
	assert_int_equal(ask("x@b.test"), 450);
	assert_int_equal(w.sc.tasks, 1);
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_n(cached, 1);
	assert_int_equal(ask("x@b.test"), 0);
	assert_int_equal(w.sc.tasks, 1);
	/* smar hangs; no smtpc is there. */
	w.smar_hold = true;
	assert_int_equal(ask("y@b.test"), 450);
	w.smar_hold = false;
	t_down(&w.sc.p);
	assert_int_equal(ask("z@b.test"), 450);
}

static void an_smtpc_goes_with_a_probe(void **state)
{
	(void)state;
	t_qm_all();
	w.sc.hold = true;
	put_question(&w.ss, "x@b.test");
	t_wait_n(t_tasks, 1);
	t_down(&w.sc.p);
	t_wait_n(t_verdicts, 1);
	assert_int_equal(w.ss.code, 450);
	assert_true(t_wait(no_probe));
	w.sc.hold = false;
	t_smtpc_up(&w.sc, 10);
	assert_int_equal(ask("x@b.test"), 0);
	/* Outcomes that do not exist say nothing. */
	w.sc.nonsense = true;
	assert_int_equal(ask("y@b.test"), 450);
	w.sc.nonsense = false;
	assert_int_equal(ask("y@b.test"), 0);
	/* Trouble of smtpc's own is not remembered either. */
	assert_int_equal(ask("local@b.test"), 450);
	assert_int_equal(ask("local@b.test"), 450);
	assert_int_equal(w.sc.tasks, 6);
}

static void who_asked_goes(void **state)
{
	(void)state;
	t_qm_all();
	w.sc.hold = true;
	put_question(&w.ss, "x@b.test");
	t_wait_n(t_tasks, 1);
	t_down(&w.ss.p);
	t_turns(20);
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_n(cached, 1);
	assert_int_equal(stat_now().waiting, 0);
}

static void the_end_with_questions(void **state)
{
	(void)state;
	w.conf.verify.max_probes = 1;
	t_qm_all();
	w.sc.hold = true;
	put_question(&w.ss, "x@b.test");
	t_wait_n(t_tasks, 1);
	put_question(&w.ss, "y@b.test");
	t_wait_n(t_asked, 2);
	w.smar_hold = true;
	put_question(&w.ss, "z@b.test");
	t_wait_n(t_asked, 3);
	t_qm_stop();
}

/* A host that is dead for mail is so for probes, and the other way round. */
static void dead_hosts(void **state)
{
	(void)state;
	w.conf.verify.not_told_ms = 0;
	t_slow_retries();
	t_qm_all();
	assert_int_equal(ask("dead@d.test"), 450);
	assert_int_equal(w.sc.tasks, 1);
	assert_int_equal(ask("x@d.test"), 450);
	t_waiting("s@a.test", "m@d.test");
	assert_int_equal(w.sc.tasks, 1);
	assert_int_equal(ask("x@b.test"), 0);
}

static void suspended_is_not_asked(void **state)
{
	(void)state;
	t_qm_all();
	t_ask_ctl("suspend", "b.test");
	assert_int_equal(ask("x@b.test"), 450);
	t_ask_ctl("suspend", "mx.test");
	assert_int_equal(ask("x@c.test"), 450);
	t_ask_ctl("resume", "mx.test");
	t_ask_ctl("resume", "b.test");
	t_ask_ctl("stop", "delivering");
	assert_int_equal(ask("x@b.test"), 450);
	assert_int_equal(w.sc.tasks, 0);
	t_ask_ctl("start", "delivering");
	assert_int_equal(ask("x@b.test"), 0);
	assert_int_equal(ask("x@c.test"), 0);
}

/* An old one is answered from memory, and looked at again behind the client's back. */
static void looked_at_again(void **state)
{
	(void)state;
	w.conf.verify.recheck_ms = 0;
	t_qm_all();
	assert_int_equal(ask("x@b.test"), 0);
	assert_int_equal(ask("x@b.test"), 0);
	t_wait_n(t_tasks, 2);
	w.sc.hold = true;
	assert_true(t_wait(no_probe));
	assert_int_equal(ask("x@b.test"), 0);
	assert_int_equal(ask("x@b.test"), 0);
	assert_int_equal(ask("x@b.test"), 0);
	t_wait_n(t_tasks, 3);
	t_turns(20);
	assert_int_equal(w.sc.tasks, 3);
	/* It has gone meanwhile. */
	snprintf(w.sc.task[2].rcpt[0], sizeof(w.sc.task[2].rcpt[0]), "perm@b.test");
	t_answer(&w.sc, &w.sc.task[2]);
	assert_true(t_wait(no_probe));
	assert_int_equal(ask("x@b.test"), 550);
}

static void not_too_many(void **state)
{
	char addr[40];

	(void)state;
	w.conf.verify.max_waiting = 5;
	w.conf.verify.max_probes = 2;
	t_qm_all();
	w.sc.hold = true;
	for (int i = 0; i < 20; i++) {
		snprintf(addr, sizeof(addr), "x%d@b.test", i);
		put_question(&w.ss, addr);
	}
	t_wait_n(t_verdicts, 15);
	t_wait_n(t_tasks, 2);
	assert_int_equal(w.ss.code, 450);
	assert_int_equal(stat_now().waiting, 5);
	assert_int_equal(stat_now().probes, 2);
	w.sc.hold = false;
	t_answer(&w.sc, &w.sc.task[0]);
	t_answer(&w.sc, &w.sc.task[1]);
	t_wait_n(t_verdicts, 20);
	assert_int_equal(w.sc.tasks, 5);
	assert_int_equal(stat_now().cached, 5);
}

#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup, t_qm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(known_and_unknown),
	    T(without_a_probe),
	    T(many_ask_one_probe),
	    T(late_answers_are_remembered),
	    T(an_smtpc_goes_with_a_probe),
	    T(who_asked_goes),
	    T(the_end_with_questions),
	    T(dead_hosts),
	    T(suspended_is_not_asked),
	    T(looked_at_again),
	    T(not_too_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
