/* The queue manager as its peers see it: all real parts, puppets around it. What becomes of mail,
 * and the end. Every test ends with nothing left anywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "libsm/time.h"
#include "qmgr/t_qm.h"

static bool smar_is_up(void)
{
	return w.smar.up;
}

static bool two_delivered(void)
{
	return w.q.stats.delivered == 2;
}

/* ---- the straight way ---- */

static void delivered(void **state)
{
	struct sm_id id;

	(void)state;
	t_qm_all();
	id = t_taken("s@a.test", "x@b.test y@b.test z@c.test");
	t_wait_over();
	assert_int_equal(w.sc.tasks, 2); /* two routes */
	assert_true(sm_id_eq(w.sc.task[0].ta, id) && sm_id_eq(w.sc.task[0].content, id));
	assert_string_equal(w.sc.task[0].sender, "s@a.test");
	assert_string_equal(w.sc.task[0].envid, "env");
	assert_int_equal(w.sc.task[0].count + w.sc.task[1].count, 3);
	assert_int_equal(w.q.stats.delivered, 3);
	assert_int_equal(w.q.stats.ended, 1);
}

static uint64_t records(void)
{
	struct qm_log_stat s;

	qm_log_stat(qm_store_ibdb(w.q.store), &s);
	return s.records;
}

static void the_end_says_all_of_the_last_task(void **state)
{
	uint64_t before;

	(void)state;
	t_qm_all();
	w.sc.hold = true;
	t_taken("s@a.test", "v@b.test x@b.test y@c.test z@c.test");
	t_wait_n(t_tasks, 2);
	assert_true(t_wait(t_all_written));
	before = records();
	t_answer(&w.sc, &w.sc.task[0]);
	assert_true(t_wait(two_delivered));
	assert_true(t_wait(t_all_written));
	assert_int_equal(records(), before + 2); /* the others are open: a crash may come */
	t_answer(&w.sc, &w.sc.task[1]);
	t_wait_over();
	assert_int_equal(records(), before + 3);
}

static void a_thousand_recipients(void **state)
{
	static char rcpts[1000 * 12];
	unsigned seen = 0;
	size_t at = 0;

	(void)state;
	t_qm_all();
	for (int i = 0; i < 1000; i++)
		at += (size_t)snprintf(rcpts + at, sizeof(rcpts) - at, "%su%d@b.test", i ? " " : "",
		                       i);
	w.sc.hold = true;
	t_taken("s@a.test", rcpts);
	t_wait_n(t_asked, 1000);
	t_turns(20); /* t_tasks that come later are answered as they come */
	w.sc.hold = false;
	for (unsigned i = 0; i < w.sc.tasks; i++)
		t_answer(&w.sc, &w.sc.task[i]);
	t_wait_over();
	for (unsigned i = 0; i < w.sc.tasks; i++) {
		assert_true(w.sc.task[i].count <= 100);
		seen += w.sc.task[i].count;
	}
	assert_int_equal(seen, 1000);
}

/* ---- company ---- */

static void session(uint64_t number, bool open)
{
	struct sm_msg_sess_open m = {.sess = {number, w.ss.p.proc}};
	struct sm_msg_sess_close end = {.sess = m.sess};
	unsigned before = w.ss.verdicts;

	if (!open) {
		t_send(&w.ss.p, SM_MSG_sess_close, &end, false);
		return;
	}
	assert_int_equal(sm_sa_ip(&m.client, SM_STR("192.0.2.1"), 4000), 0);
	t_send(&w.ss.p, SM_MSG_sess_open, &m, true);
	t_wait_n(t_verdicts, before + 1);
	assert_int_equal(w.ss.code, 0);
}

/* max_commit_delay: a commit waits for other clients as long as there are any, and not for its own.
 */
static void company_is_waited_for(void **state)
{
	unsigned before;

	(void)state;
	w.conf.ibdb.max_commit_delay_us = 3600 * INT64_C(1000000);
	t_qm_all();
	t_taken("s@a.test", "x@b.test");
	session(1, true);
	t_taken("s@a.test", "x@b.test");
	session(2, true);
	before = w.ss.verdicts;
	t_commit("s@a.test", "x@b.test");
	t_turns(200); /* for nothing */
	assert_int_equal(w.ss.verdicts, before);
	session(2, false);
	t_wait_n(t_verdicts, before + 1);
	assert_int_equal(w.ss.code, 0);
	t_wait_n(t_tasks, 3);
	/* Clients whose smtps is gone are no company. */
	session(2, true);
	t_commit("s@a.test", "x@b.test");
	t_turns(200); /* for nothing */
	assert_int_equal(w.sc.tasks, 3);
	t_down(&w.ss.p);
	t_wait_n(t_tasks, 4);
	t_wait_over();
}

/* ---- not yet ---- */

static void tried_again(void **state)
{
	(void)state;
	t_qm_all();
	t_taken("s@a.test", "temp@b.test ok@b.test");
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.sc.tasks, 1);
	assert_int_equal(w.q.stats.delivered, 1);
	assert_int_equal(t_contents(), 1);
	strcpy(w.sc.task[0].rcpt[0], "");
	w.sc.hold = true; /* the second time it is fine */
	t_wait_n(t_tasks, 2);
	assert_int_equal(w.sc.task[1].count, 1); /* the other one has it */
	strcpy(w.sc.task[1].rcpt[0], "ok@b.test");
	t_answer(&w.sc, &w.sc.task[1]);
	t_wait_over();
}

static void a_restart_keeps_all(void **state)
{
	struct sm_id a, b, c;

	(void)state;
	w.conf.retry_min_ms = 60000;
	t_qm_all();
	a = t_taken("s@a.test", "temp@b.test ok@b.test perm@b.test");
	t_wait_n(t_deferred, 1); /* its DSN is delivered at once */
	w.sc.hold = true;
	b = t_taken("s@a.test", "u@c.test v@c.test");
	t_wait_n(t_tasks, w.sc.tasks + 1);
	c = t_content(); /* an smtps was about to commit it */
	t_qm_stop();
	w.sc.tasks = 0;
	w.sc.hold = false;
	w.questions = 0;
	t_qm_start();
	assert_int_equal(qm_edbc_count(w.q.edbc) + w.q.txns.by_id.count, 2);
	assert_true(t_wait(smar_is_up));
	t_smtpc_up(&w.sc, 100);
	t_wait_n(t_tasks, 1);
	assert_true(sm_id_eq(w.sc.task[0].ta, b));
	assert_int_equal(w.sc.task[0].count, 2);
	t_turns(50); /* for nothing: the other waits for its time */
	assert_int_equal(w.sc.tasks, 1);
	assert_int_equal(qm_edbc_count(w.q.edbc), 1);
	assert_true(t_content_there(c));
	qm_defer_run(&w.q);
	t_wait_n(t_indexed, 1);
	/* Its recipient says not yet. An operator says now. */
	assert_int_equal(w.sc.tasks, 1);
	t_ask_ctl("flush", NULL);
	assert_int_equal(w.ctl_status, 0);
	t_wait_n(t_tasks, 2);
	assert_true(sm_id_eq(w.sc.task[1].ta, a));
	assert_string_equal(w.sc.task[1].rcpt[0], "temp@b.test");
	w.sc.hold = true;
	t_wait_n(t_deferred, 1);
	t_ask_ctl("flush", NULL);
	t_wait_n(t_tasks, 3);
	strcpy(w.sc.task[2].rcpt[0], "now.fine");
	t_answer(&w.sc, &w.sc.task[2]);
	assert_int_equal(cdb_unlink(w.q.cdb, c), 0);
	t_wait_over();
}

static bool due_within_the_hour(void)
{
	uint64_t cursor = 0;
	const struct qm_edbc_entry *e = qm_edbc_walk(w.q.edbc, &cursor);

	return e && qm_edbc_next_try(e) < sm_wall_s() + 4000;
}

static void the_clock_was_set_back(void **state)
{
	struct sm_id id;

	(void)state;
	w.conf.retry_min_ms = w.conf.retry_max_ms = 3600000;
	t_qm_all();
	id = t_taken("s@a.test", "temp@b.test");
	t_wait_n(t_deferred, 1);
	qm_edbc_set(w.q.edbc, id, sm_wall_s() + 86400);
	qm_defer_run(&w.q);
	/* Read back, and its recipient is due within the hour: back it goes, at the right time. */
	assert_true(t_wait(due_within_the_hour));
	t_ask_ctl("flush", NULL);
	w.sc.hold = true;
	t_wait_n(t_tasks, 2);
	strcpy(w.sc.task[1].rcpt[0], "fine");
	t_answer(&w.sc, &w.sc.task[1]);
	t_wait_over();
}

/* ---- never ---- */

static void reported(void **state)
{
	struct sm_id id;
	int64_t before = sm_wall_s();
	struct t_task *t;

	(void)state;
	t_qm_all();
	w.sc.hold = true;
	id = t_commit_at("s@a.test", "perm@b.test", before - 100, SM_NOTIFY_FAILURE);
	t_wait_n(t_tasks, 1);
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_n(t_tasks, 2);
	assert_true(t_content_there(id)); /* the DSN wants it */
	t = &w.sc.task[1];
	assert_string_equal(t->sender, "");
	assert_string_equal(t->rcpt[0], "s@a.test");
	assert_string_equal(t->envid, "env");
	assert_int_equal(t->count, 1);
	assert_int_equal(t->notify, SM_NOTIFY_NEVER);
	assert_int_equal(t->dsn_kind, SM_DSN_FAILED);
	assert_true(sm_id_eq(t->dsn_of, id) && sm_id_eq(t->content, id) &&
	            t->ta.proc == SM_ID_PROC_QMGR);
	assert_int_equal(t->dsn_received_s, before - 100);
	assert_int_equal(t->dsn_count, 1);
	assert_string_equal(t->dsn[0].addr, "perm@b.test");
	assert_string_equal(t->dsn[0].orcpt, "rfc822;orig@x");
	assert_string_equal(t->dsn[0].text, "5.1.1 no such user");
	assert_string_equal(t->dsn[0].host, "mx.test");
	assert_int_equal(t->dsn[0].code, 550);
	assert_true(t->dsn[0].last_try_s >= before && t->dsn[0].last_try_s <= sm_wall_s());
	t_answer(&w.sc, t);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 2);
	assert_int_equal(w.q.stats.dsns, 1);
}

static void told_once_in_portions(void **state)
{
	static char rcpts[40 * 16];
	size_t at = 0;

	(void)state;
	t_qm_all();
	for (int i = 0; i < 40; i++)
		at += (size_t)snprintf(rcpts + at, sizeof(rcpts) - at, "%sperm%d@b.test",
		                       i ? " " : "", i);
	t_taken("s@a.test", rcpts);
	t_wait_over();
	assert_int_equal(w.q.stats.dsns, 3);
	unsigned reported_rcpts = 0;
	for (unsigned i = 0; i < w.sc.tasks; i++)
		reported_rcpts += w.sc.task[i].dsn_count;
	assert_int_equal(reported_rcpts, 40);
}

static void silence_is_kept(void **state)
{
	(void)state;
	t_qm_all();
	t_commit_at("s@a.test", "perm@b.test", sm_wall_s(), SM_NOTIFY_NEVER);
	t_commit_at("s@a.test", "perm@b.test", sm_wall_s(), SM_NOTIFY_SUCCESS);
	t_commit_at("", "perm@b.test", sm_wall_s(), 0); /* nobody to tell */
	t_commit_at("s@a.test", "x@nowhere.test", sm_wall_s(), SM_NOTIFY_NEVER | SM_NOTIFY_DELAY);
	t_wait_n(t_verdicts, 4);
	t_wait_over();
	assert_int_equal(w.q.stats.dsns, 0);
	assert_int_equal(w.q.stats.double_bounces, 1);
	assert_int_equal(w.q.stats.failed, 4);
}

static void a_dsn_that_waits_keeps_the_content(void **state)
{
	struct sm_id id;

	(void)state;
	t_qm_all();
	id = t_taken("temp.sender@a.test", "perm@b.test");
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.q.stats.ended, 1); /* the mail itself */
	assert_true(t_content_there(id));
	t_down(&w.sc.p);
	t_qm_stop();
	t_qm_start();
	t_turns(300); /* for nothing: it stays over a restart */
	assert_true(t_content_there(id));
	t_smtps_up(&w.ss, 1);
	t_turns(1300); /* and a search for orphans, which takes place in that time, passes it by */
	assert_true(t_content_there(id));
	w.sc.hold = true;
	w.sc.tasks = 0;
	t_smtpc_up(&w.sc, 10);
	t_ask_ctl("flush", NULL);
	t_wait_n(t_tasks, 1);
	assert_int_equal(w.sc.task[0].dsn_kind, SM_DSN_FAILED);
	strcpy(w.sc.task[0].rcpt[0], "fine");
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_over();
}

static void too_old(void **state)
{
	(void)state;
	t_qm_all();
	/* Five days and not delivered. */
	t_commit_at("s@a.test", "temp@b.test", sm_wall_s() - 6 * 86400, 0);
	t_wait_n(t_tasks, 2);
	assert_int_equal(w.sc.task[1].dsn_kind, SM_DSN_FAILED);
	assert_int_equal(w.sc.task[1].dsn[0].code, 451);
	t_wait_over();
}

static void our_own_trouble_fails_nothing(void **state)
{
	(void)state;
	w.conf.wait_for_client_ms = w.conf.wait_for_server_ms = 300;
	t_qm_all();
	t_commit_at("s@a.test", "x@b.test", sm_wall_s() - 6 * 86400, 0);
	t_wait_over();
	t_down(&w.smar);
	t_turns(20);
	t_commit_at("s@a.test", "x@b.test", sm_wall_s() - 6 * 86400, 0);
	t_wait_n(t_deferred, 1);
	t_smar_up();
	t_down(&w.sc.p);
	t_turns(20);
	t_ask_ctl("flush", NULL); /* out of the index before the answer comes */
	t_wait_n(t_deferred, 1);  /* no smtpc */
	assert_int_equal(w.q.stats.failed, 0);
	t_smtpc_up(&w.sc, 10);
	t_ask_ctl("flush", NULL);
	t_wait_over();
	assert_int_equal(w.q.stats.failed, 0);
	assert_int_equal(w.q.stats.dsns, 0);
}

/* No server does what is required, and the mail fails for it: when all of them were asked. */
static void fails_when_all_were_tried(void **state)
{
	(void)state;
	t_qm_all();
	t_taken("s@a.test", "unsafe@two.test");
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.q.stats.failed, 0);
	t_commit_at("s@a.test", "unsafe@b.test", sm_wall_s(), SM_NOTIFY_NEVER);
	while (w.q.stats.failed == 0)
		t_turns(1);
}

/* ---- operators, the end ---- */

static void operators_look(void **state)
{
	(void)state;
	w.conf.retry_min_ms = 60000;
	t_qm_all();
	t_taken("s\"q@a.test", "temp@b.test");
	t_wait_n(t_deferred, 1);
	w.sc.hold = true;
	t_taken("s@a.test", "x@b.test");
	t_wait_n(t_tasks, 2);
	t_ask_ctl("list", NULL);
	assert_non_null(strstr(w.ctl_text, "active"));
	assert_non_null(strstr(w.ctl_text, "deferred"));
	assert_non_null(strstr(w.ctl_text, "x@b.test"));
	t_ask_ctl("status", NULL);
	assert_non_null(strstr(w.ctl_text, "accepting"));
	t_ask_ctl("dance", NULL);
	assert_int_equal(w.ctl_status, 64);
	t_ask_ctl("flush", "no@id");
	assert_int_equal(w.ctl_status, 64);
	t_answer(&w.sc, &w.sc.task[1]);
	t_ask_ctl("flush", NULL);
	t_wait_n(t_tasks, 3);
	strcpy(w.sc.task[2].rcpt[0], "fine");
	t_answer(&w.sc, &w.sc.task[2]);
	t_wait_over();
}

static void the_end_waits_for_results(void **state)
{
	(void)state;
	t_qm_all();
	w.sc.hold = true;
	t_taken("s@a.test", "x@b.test");
	t_wait_n(t_tasks, 1);
	qm_queue_stop(&w.q);
	assert_false(t_ends(50)); /* only when the result is there */
	assert_int_equal(qm_delivery_tasks(&w.q), 1);
	(void)t_commit("s@a.test", "late@b.test");
	t_wait_n(t_verdicts, 2);
	assert_int_equal(w.ss.code, 451);
	assert_int_equal(cdb_unlink(w.q.cdb, (struct sm_id){w.ss.next_id - 1, 1}), 0);
	t_answer(&w.sc, &w.sc.task[0]);
	assert_true(t_ends(0));
	assert_int_equal(qm_delivery_tasks(&w.q), 0);
	t_down(&w.sc.p);
	t_down(&w.ss.p);
	t_qm_stop();
	t_qm_start();
	t_smtps_up(&w.ss, 1);
	assert_int_equal(qm_edbc_count(w.q.edbc) + w.q.txns.by_id.count,
	                 0); /* delivered, and known as such */
	t_smtpc_up(&w.sc, 1);
	t_wait_over(); /* its content may have been left to the search */
}

#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup, t_qm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(delivered),
	    T(the_end_says_all_of_the_last_task),
	    T(a_thousand_recipients),
	    T(company_is_waited_for),
	    T(tried_again),
	    T(a_restart_keeps_all),
	    T(the_clock_was_set_back),
	    T(reported),
	    T(told_once_in_portions),
	    T(silence_is_kept),
	    T(a_dsn_that_waits_keeps_the_content),
	    T(too_old),
	    T(our_own_trouble_fails_nothing),
	    T(fails_when_all_were_tried),
	    T(operators_look),
	    T(the_end_waits_for_results),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
