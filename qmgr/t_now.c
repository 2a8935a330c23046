/* Mail whose client waits, in a whole queue manager: each recipient is tried once and told of once,
 * whoever goes away in the middle. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/t_qm.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "libsm/time.h"
#include "qmgr/now.h"

static struct sm_id sess = {77, 1};
static unsigned heard; /* answers that were looked at */
static uint8_t notify; /* of recipients */

static bool decided(void)
{
	return w.ss.decisions == t_want;
}

static bool nobody_waits(void)
{
	return qm_now_count(&w.q) == 0;
}

static bool one_remembered(void)
{
	return qm_now_remembered(&w.q) == t_want;
}

/* Taken, not yet waited for. */
static struct sm_id commit_with(const char *xid, const char *rcpts, const char *hold)
{
	static struct sm_msg_rcpt_new r[16];
	struct sm_id id = t_content();
	struct sm_msg_ta_commit m = {.ta = id,
	                             .content = id,
	                             .sess = sess,
	                             .sender = SM_STR("s@a.test"),
	                             .size = 24,
	                             .received_s = sm_wall_s(),
	                             .hold = sm_str(hold),
	                             .xid = sm_str(xid),
	                             .deliver = SM_DELIVER_NOW,
	                             .rcpts = r};
	struct sm_str rest = sm_str(rcpts);

	while (rest.n > 0)
		r[m.rcpts_count++] = (struct sm_msg_rcpt_new){
		    .addr = sm_str_split(rest, ' ', &rest), .orcpt = SM_STR(""), .notify = notify};
	t_send(&w.ss.p, SM_MSG_ta_commit, &m, true);
	t_wait_n(t_verdicts, w.ss.verdicts + 1);
	assert_int_equal(w.ss.code, 0);
	return id;
}

static void wait_for(struct sm_id id, uint32_t within_ms)
{
	const struct sm_msg_ta_wait m = {.ta = id, .within_ms = within_ms};

	t_send(&w.ss.p, SM_MSG_ta_wait, &m, true);
}

static struct sm_id ask(const char *xid, const char *rcpts, uint32_t within_ms)
{
	struct sm_id id = commit_with(xid, rcpts, "");

	wait_for(id, within_ms);
	return id;
}

static void told(const char *codes)
{
	char text[128] = "";

	t_wait_n(decided, ++heard);
	for (unsigned i = 0; i < w.ss.decided_count; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%u", i ? " " : "",
		         w.ss.decided[i]);
	assert_string_equal(text, codes);
}

static void client_gone(void)
{
	const struct sm_msg_sess_close m = {.sess = sess};

	t_send(&w.ss.p, SM_MSG_sess_close, &m, false);
}

static void session(void)
{
	const struct sm_msg_sess_open m = {.sess = sess, .listener = SM_STR("l")};
	struct sm_msg_sess_open with = m;

	assert_int_equal(sm_sa_ip(&with.client, SM_STR("192.0.2.1"), 25), 0);
	t_send(&w.ss.p, SM_MSG_sess_open, &with, true);
	t_wait_n(t_verdicts, w.ss.verdicts + 1);
}

/* Nothing was put off, and nobody got a report. */
static void over(void)
{
	t_wait_over();
	assert_int_equal(w.q.stats.dsns, 0);
	assert_int_equal(qm_now_count(&w.q), 0);
}

static void each_its_own(void **state)
{
	(void)state;
	t_qm_all();
	ask("", "a@b.test perm@b.test temp@c.test x@nowhere.test y@later.test dead@d.test", 60000);
	told("250 550 451 550 451 451");
	assert_string_equal(w.ss.decided_text[0], "2.0.0 ok");
	assert_string_equal(w.ss.decided_text[1], "5.1.1 no such user");
	assert_string_equal(w.ss.decided_text[3], "5.1.2 no such domain");
	assert_true(w.sc.task[0].within_ms > 50000 && w.sc.task[0].within_ms <= 60000);
	over();
	assert_int_equal(qm_now_remembered(&w.q), 0); /* without an id there is no memory */
	/* An ordinary mail has no such time. */
	t_taken("s@a.test", "a@b.test");
	t_wait_over();
	assert_int_equal(w.sc.task[w.sc.tasks - 1].within_ms, 0);
}

static void nothing_begins_unasked(void **state)
{
	struct sm_id id;

	(void)state;
	t_qm_all();
	id = commit_with("", "a@b.test", "");
	t_turns(50);
	assert_int_equal(w.questions, 0);
	wait_for(id, 60000);
	told("250");
	over();
	wait_for(id, 60000); /* it is over: nobody knows */
	told("");
}

static void gone_in_the_middle(void **state)
{
	(void)state;
	t_qm_all();
	session();
	w.sc.hold = true;
	ask("Q1", "a@b.test perm@c.test", 60000);
	t_wait_n(t_tasks, 2);
	client_gone();
	told("451 451"); /* nobody reads it */
	/* What is under way is let go on, and remembered. */
	t_answer(&w.sc, &w.sc.task[0]);
	t_answer(&w.sc, &w.sc.task[1]);
	over();
	assert_int_equal(qm_now_remembered(&w.q), 1);
	w.sc.hold = false;
	ask("Q1", "a@b.test perm@c.test", 60000);
	told("250 550");
	assert_string_equal(w.ss.decided_text[0], "2.0.0 ok");
	assert_int_equal(w.sc.tasks, 3); /* but for the one that was not delivered */
	/* Another mail is another. */
	ask("Q2", "a@b.test", 60000);
	told("250");
	assert_int_equal(w.sc.tasks, 4);
	over();
}

static void gone_before_anything(void **state)
{
	(void)state;
	t_qm_all();
	session();
	w.smar_hold = true;
	ask("", "a@b.test", 60000);
	t_wait_n(t_asked, 1);
	client_gone();
	told("451");
	t_down(&w.smar); /* it will never say it */
	w.smar_hold = false;
	t_smar_up();
	over();
	assert_int_equal(w.sc.tasks, 0);
}

static void server_gone(void **state)
{
	(void)state;
	t_qm_all();
	session();
	w.sc.hold = true;
	ask("Q1", "a@b.test", 60000);
	t_wait_n(t_tasks, 1);
	t_down(&w.ss.p);
	t_turns(20);
	t_answer(&w.sc, &w.sc.task[0]);
	over();
	t_smtps_up(&w.ss, 1);
	ask("Q1", "a@b.test", 60000);
	told("250");
	assert_int_equal(w.sc.tasks, 1);
	over();
}

static void second_waits_for_the_first(void **state)
{
	(void)state;
	t_qm_all();
	w.sc.hold = true;
	ask("Q1", "a@b.test perm@c.test temp@d.test", 60000);
	t_wait_n(t_tasks, 3);
	ask("Q1", "a@b.test a@b.test perm@c.test temp@d.test", 60000);
	t_turns(30);
	assert_int_equal(w.sc.tasks, 3);
	for (unsigned i = 0; i < 3; i++)
		t_answer(&w.sc, &w.sc.task[i]);
	told("250 550 451");
	/* Only what came to nothing is tried by the second one. */
	t_wait_n(t_tasks, 4);
	t_answer(&w.sc, &w.sc.task[3]);
	told("250 250 550 451");
	over();
}

static void time_is_over(void **state)
{
	(void)state;
	t_qm_all();
	w.conf.now.grace_ms = 100;
	w.smar_hold = true;
	ask("", "a@b.test", 20);
	t_wait_n(t_asked, 1);
	told("451");
	assert_string_equal(w.ss.decided_text[0], "4.4.7 not delivered in time");
	t_down(&w.smar);
	w.smar_hold = false;
	t_smar_up();
	over();
	/* One that was begun has a little more. */
	w.conf.now.grace_ms = 60000;
	w.sc.hold = true;
	ask("Q1", "a@b.test b@b.test", 20);
	t_wait_n(t_tasks, 1);
	t_turns(50);
	assert_int_equal(w.ss.decisions, 1);
	t_answer(&w.sc, &w.sc.task[0]);
	told("250 250");
	over();
	/* ... and not more: it ends in the memory. */
	w.conf.now.grace_ms = 100;
	ask("Q2", "a@b.test", 20);
	t_wait_n(t_tasks, 2);
	told("451");
	t_answer(&w.sc, &w.sc.task[1]);
	over();
	ask("Q2", "a@b.test", 60000);
	told("250");
	assert_int_equal(w.sc.tasks, 2);
	over();
}

static void no_agent_in_time(void **state)
{
	(void)state;
	t_qm_no_smtpc();
	ask("", "a@b.test", 50);
	told("451");
	over();
}

static void agent_dies(void **state)
{
	(void)state;
	t_qm_all();
	w.sc.hold = true;
	ask("Q1", "a@b.test", 60000);
	t_wait_n(t_tasks, 1);
	t_down(&w.sc.p);
	told("451");
	over();
	assert_int_equal(qm_now_remembered(&w.q), 0);
}

static void alias_is_handed_over(void **state)
{
	unsigned tasks;

	(void)state;
	w.members = 3;
	t_qm_all();
	ask("Q1", "list@alias.test a@b.test", 60000);
	told("250 250");
	assert_non_null(strstr(w.ss.decided_text[0], "2.1.5"));
	t_wait_over();
	/* With that it is a mail as any: its sender wanted to hear of it. */
	assert_int_equal(w.q.stats.dsns, 1);
	tasks = w.sc.tasks;
	ask("Q1", "list@alias.test", 60000);
	told("250");
	t_wait_over();
	assert_int_equal(w.sc.tasks, tasks);
}

static void not_now(void **state)
{
	struct sm_id id;

	(void)state;
	t_qm_all();
	id = commit_with("", "a@b.test b@b.test", "quarantine");
	wait_for(id, 60000);
	told("450 450");
	over();
	t_ask_ctl("suspend", "b.test");
	ask("", "a@b.test a@c.test", 60000);
	told("451 250");
	over();
	t_ask_ctl("resume", "b.test");
	t_ask_ctl("stop", "delivering");
	assert_true(qm_halt_all(&w.q));
	ask("", "a@b.test", 60000);
	told("450");
	over();
}

static void operator_acts(void **state)
{
	char id[SM_ID_SIZE];
	struct sm_id ta;

	(void)state;
	t_qm_no_smtpc();
	ta = ask("Q1", "a@b.test", 60000);
	t_wait_n(t_asked, 1);
	t_ask_ctl("show", sm_id_text(ta, id));
	assert_non_null(strstr(w.ctl_text, "\"deliver\":\"now\""));
	assert_non_null(strstr(w.ctl_text, "\"xid\":\"Q1\""));
	t_ask_ctl("bounce", sm_id_text(ta, id));
	told("554");
	over();
	ta = ask("Q1", "a@b.test", 60000);
	t_ask_ctl("hold", sm_id_text(ta, id));
	told("451");
	over();
	ta = ask("Q1", "a@b.test", 60000);
	t_ask_ctl("remove", sm_id_text(ta, id));
	told("250");
	over();
}

static void crash(void)
{
	t_qm_all();
	w.sc.hold = true;
	ask("Q1", "a@b.test a@c.test list@alias.test", 60000);
	t_wait_n(t_tasks, 3); /* the members', too */
	for (unsigned i = 0; i < w.sc.tasks; i++)
		if (strcmp(w.sc.task[i].rcpt[0], "a@b.test") == 0)
			t_answer(&w.sc, &w.sc.task[i]);
	assert_true(t_wait(t_all_written));
	t_turns(200);
	assert_true(t_wait(t_all_written));
	_exit(0);
}

static void restart_in_the_middle(void **state)
{
	(void)state;
	w.members = 2;
	notify = 0;
	t_crash_after(crash);
	t_qm_all();
	t_want = 2;
	assert_true(t_wait(one_remembered));
	/* The members are mail as any; nothing of the other goes out by itself. */
	t_wait_n(t_tasks, 1);
	assert_string_equal(w.sc.task[0].rcpt[0], "m00000@m.test");
	assert_true(t_wait(nobody_waits));
	ask("Q1", "a@b.test a@c.test list@alias.test", 60000);
	told("250 250 250");
	assert_int_equal(w.sc.tasks, 2);
	assert_string_equal(w.sc.task[1].rcpt[0], "a@c.test");
	assert_int_equal(qm_edbc_count(w.q.edbc), 0);
}

static int setup(void **state)
{
	heard = 0;
	notify = SM_NOTIFY_SUCCESS | SM_NOTIFY_FAILURE;
	return t_qm_setup(state);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, t_qm_teardown)
	const struct CMUnitTest tests[] = {
	    T(each_its_own),
	    T(nothing_begins_unasked),
	    T(gone_in_the_middle),
	    T(gone_before_anything),
	    T(server_gone),
	    T(second_waits_for_the_first),
	    T(time_is_over),
	    T(no_agent_in_time),
	    T(agent_dies),
	    T(alias_is_handed_over),
	    T(not_now),
	    T(operator_acts),
	    T(restart_in_the_middle),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
