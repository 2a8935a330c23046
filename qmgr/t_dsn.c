/* Who is told what, when, and how often: the whole queue manager with puppets around it. Every test
 * ends with nothing left anywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "libsm/time.h"
#include "qmgr/t_qm.h"

#define HOUR 3600

static void flush(void)
{
	t_ask_ctl("flush", NULL);
}

/* How many t_tasks were DSNs of this kind; *last is the last of them. */
static unsigned dsns(enum sm_dsn_kind kind, const struct t_task **last)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w.sc.tasks; i++) {
		if (w.sc.task[i].dsn_kind != kind)
			continue;
		if (last)
			*last = &w.sc.task[i];
		n++;
	}
	return n;
}

/* What is t_deferred is delivered at its next try. */
static void end_it(void)
{
	w.sc.fine = true;
	flush();
	t_wait_over();
}

/* ---- success ---- */

static void success_is_told_when_the_next_hop_does_not(void **state)
{
	const struct t_task *t = NULL;

	(void)state;
	t_qm_all();
	t_commit_at("s@a.test", "x@b.test y@b.test", sm_wall_s(), SM_NOTIFY_SUCCESS);
	t_wait_n(t_tasks, 2);
	t_wait_over();
	assert_int_equal(dsns(SM_DSN_RELAYED, &t), 1);
	assert_int_equal(t->dsn_count, 2);
	assert_string_equal(t->rcpt[0], "s@a.test");
	assert_string_equal(t->sender, "");
	assert_int_equal(t->dsn[0].action, SM_DSN_RELAYED);
	assert_int_equal(t->dsn[1].action, SM_DSN_RELAYED);
	assert_string_equal(t->dsn[0].orcpt, "rfc822;orig@x");
	assert_string_equal(t->dsn[0].text, "2.0.0 ok");
	assert_int_equal(t->ret, SM_RET_HDRS);
	/* To a mailbox. */
	t_commit_at("s@a.test", "x@local.test", sm_wall_s(), SM_NOTIFY_SUCCESS | SM_NOTIFY_FAILURE);
	t_wait_n(t_tasks, 4);
	t_wait_over();
	assert_int_equal(dsns(SM_DSN_DELIVERED, &t), 1);
	assert_int_equal(t->dsn[0].action, SM_DSN_DELIVERED);
	/* The next hop sees to it; or nobody wants to know; or nobody is there. */
	w.sc.dsn = true;
	t_commit_at("s@a.test", "x@b.test x@local.test", sm_wall_s(), SM_NOTIFY_SUCCESS);
	t_wait_n(t_tasks, 6);
	t_wait_over();
	w.sc.dsn = false;
	t_commit_at("s@a.test", "x@b.test", sm_wall_s(), SM_NOTIFY_FAILURE | SM_NOTIFY_DELAY);
	t_commit_at("s@a.test", "x@b.test", sm_wall_s(), SM_NOTIFY_NEVER);
	t_commit_at("s@a.test", "x@b.test", sm_wall_s(), 0);
	t_commit_at("", "x@b.test", sm_wall_s(), SM_NOTIFY_SUCCESS);
	t_wait_n(t_tasks, 10);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 10);
	assert_int_equal(w.q.stats.dsns, 2);
}

/* A success that is to be told is kept as long as something else is in work. */
static void success_survives_a_restart(void **state)
{
	const struct t_task *t = NULL;

	(void)state;
	t_qm_all();
	w.sc.hold = true;
	t_commit_at("s@a.test", "x@b.test temp@c.test", sm_wall_s(), SM_NOTIFY_SUCCESS);
	t_wait_n(t_tasks, 2);
	t_answer(&w.sc, &w.sc.task[strcmp(w.sc.task[0].rcpt[0], "x@b.test") ? 1 : 0]);
	t_turns(100);
	assert_int_equal(w.q.stats.delivered, 1);
	w.sc.hold = false;
	t_qm_again();
	t_wait_n(t_tasks, 4);
	assert_int_equal(dsns(SM_DSN_RELAYED, &t), 1);
	assert_int_equal(t->dsn_count, 1);
	assert_string_equal(t->dsn[0].addr, "x@b.test");
	t_wait_n(t_deferred, 1);
	end_it();
	assert_int_equal(dsns(SM_DSN_RELAYED, NULL), 2); /* of the other one */
}

/* ---- delay ---- */

static void delay_is_told_once(void **state)
{
	int64_t came = sm_wall_s() - 5 * HOUR;
	const struct t_task *t = NULL;

	(void)state;
	t_qm_all();
	t_commit_at("s@a.test", "temp1@b.test temp2@b.test", came, 0);
	t_wait_n(t_tasks, 2);
	t_wait_n(t_deferred, 1);
	assert_int_equal(dsns(SM_DSN_DELAYED, &t), 1);
	assert_int_equal(t->dsn_count, 2);
	assert_int_equal(t->dsn[1].action, SM_DSN_DELAYED);
	assert_string_equal(t->dsn[1].text, "4.2.0 come again");
	assert_int_equal(t->dsn_until_s, came + 5 * 24 * HOUR);
	assert_int_equal(t->dsn_received_s, came);
	assert_int_equal(t->ret, SM_RET_HDRS);
	for (int i = 0; i < 2; i++) {
		unsigned before = w.sc.tasks;
		flush();
		t_wait_n(t_tasks, before + 1);
		t_wait_n(t_deferred, 1);
		t_qm_again();
		t_turns(200);
	}
	t_wait_n(t_deferred, 1);
	assert_int_equal(dsns(SM_DSN_DELAYED, NULL), 1);
	end_it();
}

static void delay_is_told_in_time(void **state)
{
	(void)state;
	t_qm_all();
	/* The next try would be in an hour. */
	w.conf.retry_min_ms = HOUR * 1000;
	t_commit_at("s@a.test", "temp@b.test", sm_wall_s() - 4 * HOUR + 3, 0);
	t_wait_n(t_tasks, 1);
	t_wait_n(t_deferred, 1);
	assert_int_equal(dsns(SM_DSN_DELAYED, NULL), 0);
	t_wait_n(t_tasks, 3);
	assert_int_equal(dsns(SM_DSN_DELAYED, NULL), 1);
	end_it();
}

static void delay_is_not_told(void **state)
{
	int64_t came = sm_wall_s() - 5 * HOUR;

	(void)state;
	w.conf.wait_for_server_ms = 300;
	t_qm_all();
	t_commit_at("s@a.test", "temp@b.test", came, SM_NOTIFY_NEVER);
	t_commit_at("s@a.test", "temp@b.test", came, SM_NOTIFY_FAILURE | SM_NOTIFY_SUCCESS);
	t_commit_at("", "temp@b.test", came, SM_NOTIFY_DELAY);
	t_commit_at("s@a.test", "temp@b.test", sm_wall_s() - 3 * HOUR, SM_NOTIFY_DELAY);
	t_wait_n(t_tasks, 4);
	t_wait_n(t_deferred, 4);
	/* It will have failed by then. */
	w.conf.delay_timeout_ms = w.conf.return_timeout_ms;
	t_commit_at("s@a.test", "temp@b.test", came, SM_NOTIFY_DELAY);
	t_wait_n(t_tasks, 5);
	t_wait_n(t_deferred, 5);
	w.conf.delay_timeout_ms = 4 * HOUR * 1000;
	/* Our own trouble, however long it takes: in smtpc, or because smar is away. */
	t_commit_at("s@a.test", "local@b.test", sm_wall_s() - 6 * 24 * HOUR, SM_NOTIFY_DELAY);
	t_wait_n(t_tasks, 6);
	t_wait_n(t_deferred, 6);
	assert_int_equal(w.q.stats.failed, 0);
	t_down(&w.smar);
	t_turns(20);
	t_commit_at("s@a.test", "x@b.test", came, SM_NOTIFY_DELAY);
	t_wait_n(t_deferred, 7);
	assert_int_equal(w.q.stats.dsns, 0);
	t_smar_up();
	end_it();
	assert_int_equal(w.q.stats.dsns, 1); /* one of them wanted to know of the success */
}

/* ---- failures that wait for others ---- */

static void failures_are_merged(void **state)
{
	const struct t_task *t = NULL;

	(void)state;
	w.conf.dsn.merge_delay_max_ms = 60 * 1000;
	t_qm_all();
	t_commit_at("s@a.test", "perm1@b.test temp@c.test", sm_wall_s(), 0);
	t_wait_n(t_tasks, 2);
	t_wait_n(t_deferred, 1);
	t_turns(300);
	assert_int_equal(w.q.stats.dsns, 0);
	/* A crash changes nothing. */
	t_qm_again();
	t_turns(300);
	assert_int_equal(w.q.stats.dsns, 0);
	/* The last one that was open fails: both are told at once. */
	w.sc.hold = true;
	unsigned before = w.sc.tasks;
	flush();
	t_wait_n(t_tasks, before + 1);
	w.sc.hold = false;
	strcpy(w.sc.task[before].rcpt[0], "perm");
	t_answer(&w.sc, &w.sc.task[before]);
	t_wait_over();
	assert_int_equal(dsns(SM_DSN_FAILED, &t), 1);
	assert_int_equal(t->dsn_count, 2);
}

static void failures_do_not_wait_longer(void **state)
{
	int64_t began = sm_now_ms();

	(void)state;
	w.conf.dsn.merge_delay_max_ms = 2000;
	w.conf.retry_min_ms = HOUR * 1000;
	t_qm_all();
	t_commit_at("s@a.test", "perm1@b.test temp@c.test", sm_wall_s(), 0);
	t_wait_n(t_tasks, 2);
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.q.stats.dsns, 0);
	t_wait_n(t_tasks, 3);
	assert_true(sm_now_ms() - began >= 1000);
	assert_int_equal(dsns(SM_DSN_FAILED, NULL), 1);
	t_wait_n(t_deferred, 1); /* the other one waits on */
	/* No delay: at once. The configuration made it shorter: at the next look. */
	w.conf.dsn.merge_delay_max_ms = 60 * 1000;
	t_commit_at("s@a.test", "perm1@b.test temp@c.test", sm_wall_s(), 0);
	t_wait_n(t_tasks, 5);
	t_wait_n(t_deferred, 2);
	assert_int_equal(dsns(SM_DSN_FAILED, NULL), 1);
	w.conf.dsn.merge_delay_max_ms = 0;
	end_it();
	assert_int_equal(dsns(SM_DSN_FAILED, NULL), 2);
}

/* Others are still in work: they may fail too. A DSN that is full does not wait for them. */
static void failures_wait_for_what_is_in_work(void **state)
{
	const struct t_task *t = NULL;

	(void)state;
	t_qm_all();
	w.sc.hold = true;
	t_commit_at("s@a.test", "perm1@b.test perm2@c.test perm3@d.test", sm_wall_s(), 0);
	t_wait_n(t_tasks, 3);
	w.sc.hold = false;
	t_answer(&w.sc, &w.sc.task[0]);
	t_turns(200);
	assert_int_equal(w.q.stats.dsns, 0);
	w.conf.dsn.max_errors = 2;
	t_answer(&w.sc, &w.sc.task[1]);
	t_wait_n(t_tasks, 4);
	assert_int_equal(dsns(SM_DSN_FAILED, &t), 1);
	assert_int_equal(t->dsn_count, 2);
	t_answer(&w.sc, &w.sc.task[2]);
	t_wait_over();
	assert_int_equal(dsns(SM_DSN_FAILED, &t), 2);
	assert_int_equal(t->dsn_count, 1);
}

/* ---- what goes back ---- */

static void content_goes_back_once(void **state)
{
	(void)state;
	w.conf.dsn.max_errors = 1;
	w.conf.dsn.max_bytes = 4321;
	t_qm_all();
	t_commit_at("s@a.test", "perm1@b.test perm2@b.test", sm_wall_s(), 0);
	t_wait_n(t_tasks, 3);
	t_wait_over();
	assert_int_equal(w.sc.task[1].dsn_kind, SM_DSN_FAILED);
	assert_int_equal(w.sc.task[1].ret, SM_RET_NONE);
	assert_int_equal(w.sc.task[1].dsn_max_bytes, 4321);
	assert_int_equal(w.sc.task[2].dsn_kind, SM_DSN_FAILED);
	assert_int_equal(w.sc.task[2].ret, SM_RET_HDRS);
	w.conf.dsn.flags = QM_DSN_HEADER_ONLY;
	t_commit_at("s@a.test", "perm1@b.test", sm_wall_s(), 0);
	t_wait_n(t_tasks, 5);
	t_wait_over();
	assert_int_equal(w.sc.task[4].ret, SM_RET_HDRS);
}

/* ---- failures of DSNs ---- */

static void double_bounces_end(void **state)
{
	const struct t_task *t = NULL;

	(void)state;
	t_qm_all();
	t_commit_at("perm.sender@a.test", "perm@b.test", sm_wall_s(), 0);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 3);
	assert_int_equal(dsns(SM_DSN_BOUNCED, &t), 1);
	assert_string_equal(t->rcpt[0], "postmaster@mail.test");
	assert_string_equal(t->sender, "");
	assert_int_equal(t->dsn_count, 1);
	assert_string_equal(t->dsn[0].addr, "perm.sender@a.test");
	assert_int_equal(t->dsn[0].action, SM_DSN_FAILED);
	assert_true(sm_id_eq(t->dsn_of, w.sc.task[1].ta));
	/* Nobody wants that either: dropped. */
	w.conf.dsn.double_bounce_to = SM_STR("perm.master@c.test");
	t_commit_at("perm.sender@a.test", "perm@b.test", sm_wall_s(), 0);
	t_wait_n(t_tasks, 6);
	t_wait_over();
	assert_string_equal(w.sc.task[5].rcpt[0], "perm.master@c.test");
	t_turns(200);
	assert_int_equal(w.sc.tasks, 6);
	w.conf.dsn.double_bounce_to = SM_STR("");
	t_commit_at("perm.sender@a.test", "perm@b.test", sm_wall_s(), 0);
	t_wait_n(t_tasks, 8);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 8);
	assert_int_equal(dsns(SM_DSN_BOUNCED, NULL), 2);
}

/* ---- through smtps ---- */

static void dsns_are_submitted(void **state)
{
	(void)state;
	w.conf.dsn.submit = SM_STR("127.0.0.1:2525");
	t_qm_all();
	t_commit_at("perm.sender@a.test", "perm@b.test", sm_wall_s(), 0);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 3);
	assert_string_equal(w.sc.task[0].host, "mx.test");
	assert_string_equal(w.sc.task[1].host, "127.0.0.1:2525");
	assert_string_equal(w.sc.task[1].rcpt[0], "perm.sender@a.test");
	/* What failed there is told by another way. */
	assert_int_equal(w.sc.task[2].dsn_kind, SM_DSN_BOUNCED);
	assert_string_equal(w.sc.task[2].host, "mx.test");
	t_wait_n(t_asked, 2); /* smar was not asked for the DSN */
	assert_int_equal(w.questions, 2);
	/* A server that is away is one for DSNs, too. */
	t_commit_at("dead.sender@a.test", "perm@b.test", sm_wall_s(), 0);
	t_wait_n(t_tasks, 5);
	t_wait_n(t_deferred, 1);
	t_commit_at("s@a.test", "perm@b.test", sm_wall_s(), 0);
	t_wait_n(t_tasks, 6);
	t_wait_n(t_deferred, 2);
	end_it();
}

static void submit_is_an_address(void **state)
{
	static const struct {
		const char *text;
		bool good;
	} rows[] = {{"127.0.0.1:25", true},     {"[::1]:587", true},  {"/run/smx/submit", true},
	            {"localhost:25", false},    {"127.0.0.1", false}, {"127.0.0.1:0", false},
	            {"127.0.0.1:70000", false}, {":25", false}};
	struct sm_sa sa;

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++)
		if ((qm_conf_submit(sm_str(rows[i].text), &sa) == 0) != rows[i].good)
			fail_msg("%s", rows[i].text);
	w.conf.dsn.double_bounce_to = SM_STR("post master");
	assert_int_equal(qm_conf_check(&w.conf), SM_E_SYNTAX);
	w.conf.dsn.double_bounce_to = SM_STR("root@x.test");
	assert_int_equal(qm_conf_check(&w.conf), 0);
	w.conf.dsn.submit = SM_STR("localhost:25");
	assert_int_equal(qm_conf_check(&w.conf), SM_E_SYNTAX);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, t_qm_setup, t_qm_teardown)
	const struct CMUnitTest tests[] = {
	    T(success_is_told_when_the_next_hop_does_not),
	    T(success_survives_a_restart),
	    T(delay_is_told_once),
	    T(delay_is_told_in_time),
	    T(delay_is_not_told),
	    T(failures_are_merged),
	    T(failures_do_not_wait_longer),
	    T(failures_wait_for_what_is_in_work),
	    T(content_goes_back_once),
	    T(double_bounces_end),
	    T(dsns_are_submitted),
	    T(submit_is_an_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
