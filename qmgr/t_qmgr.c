/* The queue manager as its peers see it: all real parts, puppets around it. Every test ends with
 * nothing left anywhere. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "libsm/fault.h"
#include "libsm/time.h"
#include "qmgr/t_qm.h"

static unsigned want; /* what the conditions below compare with */
static struct sm_id the_mail;

static bool verdicts(void)
{
	return w.ss.verdicts >= want;
}

static bool tasks(void)
{
	return w.sc.tasks >= want;
}

static bool tasks2(void)
{
	return w.sc2.tasks >= want;
}

static bool deferred(void)
{
	return qm_edbc_count(w.q.edbc) >= want && w.q.txns.by_id.count == 0 &&
	       qm_defer_loads(&w.q) == 0;
}

/* The same while others are active. */
static bool indexed(void)
{
	return qm_edbc_count(w.q.edbc) >= want && qm_defer_loads(&w.q) == 0;
}

static bool smar_is_up(void)
{
	return w.smar.up;
}

static bool outcomes(void)
{
	return w.ss.outcomes >= want;
}

static bool asked(void)
{
	return w.questions >= want;
}

static void wait_n(bool (*until)(void), unsigned n)
{
	want = n;
	if (!t_wait(until))
		fail_msg("waited for %u: verdicts %u, tasks %u %u, deferred %zu, active %zu, "
		         "questions %u",
		         n, w.ss.verdicts, w.sc.tasks, w.sc2.tasks, qm_edbc_count(w.q.edbc),
		         w.q.txns.by_id.count, w.questions);
}

static void wait_over(void)
{
	if (!t_wait(t_all_over))
		fail_msg(
		    "left: active %zu (%zu), deferred %zu, contents %zu, of DSNs %zu, tasks %zu",
		    w.q.txns.by_id.count, w.q.txns.rcpts, qm_edbc_count(w.q.edbc), t_contents(),
		    w.q.txns.contents.count, qm_delivery_tasks(&w.q));
}

static struct sm_id taken(const char *sender, const char *rcpts)
{
	struct sm_id id = t_commit(sender, rcpts);

	wait_n(verdicts, w.ss.verdicts + 1);
	assert_int_equal(w.ss.code, 0);
	return id;
}

/* ---- the straight way ---- */

static void delivered(void **state)
{
	struct sm_id id;

	(void)state;
	t_qm_all();
	id = taken("s@a.test", "x@b.test y@b.test z@c.test");
	wait_over();
	assert_int_equal(w.sc.tasks, 2); /* two routes */
	assert_true(sm_id_eq(w.sc.task[0].ta, id) && sm_id_eq(w.sc.task[0].content, id));
	assert_string_equal(w.sc.task[0].sender, "s@a.test");
	assert_string_equal(w.sc.task[0].envid, "env");
	assert_int_equal(w.sc.task[0].count + w.sc.task[1].count, 3);
	assert_int_equal(w.q.stats.delivered, 3);
	assert_int_equal(w.q.stats.ended, 1);
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
	taken("s@a.test", rcpts);
	wait_n(asked, 1000);
	t_turns(20); /* tasks that come later are answered as they come */
	w.sc.hold = false;
	for (unsigned i = 0; i < w.sc.tasks; i++)
		t_answer(&w.sc, &w.sc.task[i]);
	wait_over();
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
	wait_n(verdicts, before + 1);
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
	taken("s@a.test", "x@b.test");
	session(1, true);
	taken("s@a.test", "x@b.test");
	session(2, true);
	before = w.ss.verdicts;
	t_commit("s@a.test", "x@b.test");
	t_turns(200); /* for nothing */
	assert_int_equal(w.ss.verdicts, before);
	session(2, false);
	wait_n(verdicts, before + 1);
	assert_int_equal(w.ss.code, 0);
	wait_n(tasks, 3);
	/* Clients whose smtps is gone are no company. */
	session(2, true);
	t_commit("s@a.test", "x@b.test");
	t_turns(200); /* for nothing */
	assert_int_equal(w.sc.tasks, 3);
	t_down(&w.ss.p);
	wait_n(tasks, 4);
	wait_over();
}

/* ---- not yet ---- */

static void tried_again(void **state)
{
	(void)state;
	t_qm_all();
	taken("s@a.test", "temp@b.test ok@b.test");
	wait_n(deferred, 1);
	assert_int_equal(w.sc.tasks, 1);
	assert_int_equal(w.q.stats.delivered, 1);
	assert_int_equal(t_contents(), 1);
	strcpy(w.sc.task[0].rcpt[0], "");
	w.sc.hold = true; /* the second time it is fine */
	wait_n(tasks, 2);
	assert_int_equal(w.sc.task[1].count, 1); /* the other one has it */
	strcpy(w.sc.task[1].rcpt[0], "ok@b.test");
	t_answer(&w.sc, &w.sc.task[1]);
	wait_over();
}

static void a_restart_keeps_all(void **state)
{
	struct sm_id a, b, c;

	(void)state;
	w.conf.retry_min_ms = 60000;
	t_qm_all();
	a = taken("s@a.test", "temp@b.test ok@b.test perm@b.test");
	wait_n(deferred, 1); /* its DSN is delivered at once */
	w.sc.hold = true;
	b = taken("s@a.test", "u@c.test v@c.test");
	wait_n(tasks, w.sc.tasks + 1);
	c = t_content(); /* an smtps was about to commit it */
	t_qm_stop();
	w.sc.tasks = 0;
	w.sc.hold = false;
	w.questions = 0;
	t_qm_start();
	assert_int_equal(qm_edbc_count(w.q.edbc) + w.q.txns.by_id.count, 2);
	assert_true(t_wait(smar_is_up));
	t_smtpc_up(&w.sc, 100);
	wait_n(tasks, 1);
	assert_true(sm_id_eq(w.sc.task[0].ta, b));
	assert_int_equal(w.sc.task[0].count, 2);
	t_turns(50); /* for nothing: the other waits for its time */
	assert_int_equal(w.sc.tasks, 1);
	assert_int_equal(qm_edbc_count(w.q.edbc), 1);
	assert_true(t_content_there(c));
	qm_defer_run(&w.q);
	wait_n(indexed, 1);
	/* Its recipient says not yet. An operator says now. */
	assert_int_equal(w.sc.tasks, 1);
	t_ask_ctl("flush", NULL);
	assert_int_equal(w.ctl_status, 0);
	wait_n(tasks, 2);
	assert_true(sm_id_eq(w.sc.task[1].ta, a));
	assert_string_equal(w.sc.task[1].rcpt[0], "temp@b.test");
	w.sc.hold = true;
	wait_n(deferred, 1);
	t_ask_ctl("flush", NULL);
	wait_n(tasks, 3);
	strcpy(w.sc.task[2].rcpt[0], "now.fine");
	t_answer(&w.sc, &w.sc.task[2]);
	assert_int_equal(cdb_unlink(w.q.cdb, c), 0);
	wait_over();
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
	id = taken("s@a.test", "temp@b.test");
	wait_n(deferred, 1);
	qm_edbc_set(w.q.edbc, id, sm_wall_s() + 86400);
	qm_defer_run(&w.q);
	/* Read back, and its recipient is due within the hour: back it goes, at the right time. */
	assert_true(t_wait(due_within_the_hour));
	t_ask_ctl("flush", NULL);
	w.sc.hold = true;
	wait_n(tasks, 2);
	strcpy(w.sc.task[1].rcpt[0], "fine");
	t_answer(&w.sc, &w.sc.task[1]);
	wait_over();
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
	wait_n(tasks, 1);
	t_answer(&w.sc, &w.sc.task[0]);
	wait_n(tasks, 2);
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
	wait_over();
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
	taken("s@a.test", rcpts);
	wait_over();
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
	wait_n(verdicts, 4);
	wait_over();
	assert_int_equal(w.q.stats.dsns, 0);
	assert_int_equal(w.q.stats.double_bounces, 1);
	assert_int_equal(w.q.stats.failed, 4);
}

static void a_dsn_that_waits_keeps_the_content(void **state)
{
	struct sm_id id;

	(void)state;
	t_qm_all();
	id = taken("temp.sender@a.test", "perm@b.test");
	wait_n(deferred, 1);
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
	wait_n(tasks, 1);
	assert_int_equal(w.sc.task[0].dsn_kind, SM_DSN_FAILED);
	strcpy(w.sc.task[0].rcpt[0], "fine");
	t_answer(&w.sc, &w.sc.task[0]);
	wait_over();
}

static void too_old(void **state)
{
	(void)state;
	t_qm_all();
	/* Five days and not delivered. */
	t_commit_at("s@a.test", "temp@b.test", sm_wall_s() - 6 * 86400, 0);
	wait_n(tasks, 2);
	assert_int_equal(w.sc.task[1].dsn_kind, SM_DSN_FAILED);
	assert_int_equal(w.sc.task[1].dsn[0].code, 451);
	wait_over();
}

static void our_own_trouble_fails_nothing(void **state)
{
	(void)state;
	w.conf.wait_for_client_ms = w.conf.wait_for_server_ms = 300;
	t_qm_all();
	t_commit_at("s@a.test", "x@b.test", sm_wall_s() - 6 * 86400, 0);
	wait_over();
	t_down(&w.smar);
	t_turns(20);
	t_commit_at("s@a.test", "x@b.test", sm_wall_s() - 6 * 86400, 0);
	wait_n(deferred, 1);
	t_smar_up();
	t_down(&w.sc.p);
	t_turns(20);
	t_ask_ctl("flush", NULL); /* out of the index before the answer comes */
	wait_n(deferred, 1);      /* no smtpc */
	assert_int_equal(w.q.stats.failed, 0);
	t_smtpc_up(&w.sc, 10);
	t_ask_ctl("flush", NULL);
	wait_over();
	assert_int_equal(w.q.stats.failed, 0);
	assert_int_equal(w.q.stats.dsns, 0);
}

/* ---- peers that go ---- */

static void an_smtpc_dies_with_its_task(void **state)
{
	(void)state;
	t_qm_all();
	w.sc.hold = true;
	taken("s@a.test", "x@b.test y@b.test");
	wait_n(tasks, 1);
	t_smtpc_up(&w.sc2, 10);
	w.sc2.hold = true;
	t_down(&w.sc.p);
	wait_n(tasks2, 1);
	assert_int_equal(w.sc2.task[0].count, 2);
	t_answer(&w.sc2, &w.sc2.task[0]);
	wait_over();
	/* One that kills every smtpc is set aside. */
	taken("s@a.test", "x@b.test");
	wait_n(tasks2, 2);
	t_smtpc_up(&w.sc, 10);
	t_down(&w.sc2.p);
	wait_n(tasks, 2);
	t_down(&w.sc.p);
	wait_n(deferred, 1);
	w.sc.hold = false;
	t_smtpc_up(&w.sc, 10);
	t_ask_ctl("flush", NULL);
	wait_over();
}

static void nonsense_decides_nothing(void **state)
{
	(void)state;
	t_qm_all();
	w.sc.nonsense = true;
	w.sc.hold = true;
	taken("s@a.test", "x@b.test");
	wait_n(tasks, 1);
	t_answer(&w.sc, &w.sc.task[0]);
	wait_n(tasks, 2);
	w.sc.nonsense = false;
	t_answer(&w.sc, &w.sc.task[1]);
	wait_over();
}

static void smar_goes_with_its_questions(void **state)
{
	(void)state;
	w.conf.wait_for_server_ms = 300;
	t_qm_all();
	w.smar_hold = true;
	taken("s@a.test", "x@b.test y@b.test z@c.test");
	wait_n(asked, 3);
	w.smar_hold = false;
	t_down(&w.smar);
	t_smar_up(); /* in time: asked again, nothing is deferred */
	wait_over();
	assert_int_equal(w.questions, 6);
	assert_int_equal(w.q.stats.deferred, 0);
	t_down(&w.smar);
	taken("s@a.test", "x@b.test");
	wait_n(deferred, 1);
	t_smar_up();
	t_ask_ctl("flush", NULL);
	wait_over();
}

static void an_smtps_misses_the_answer(void **state)
{
	struct sm_msg_ta_query m;
	struct sm_id id, other = {1, 1};

	(void)state;
	t_qm_all();
	id = t_content();
	w.sc.hold = true;
	t_commit_raw(&w.ss, id, "s@a.test", "x@b.test", sm_wall_s(), 0);
	t_down(&w.ss.p); /* the frame has been read or will be; the answer goes to nobody */
	wait_n(tasks, 1);
	t_smtps_up(&w.ss, 1);
	m.ta = id;
	t_send(&w.ss.p, SM_MSG_ta_query, &m, true);
	wait_n(outcomes, 1);
	assert_int_equal(w.ss.taken, 1);
	t_answer(&w.sc, &w.sc.task[0]);
	wait_over();
	t_send(&w.ss.p, SM_MSG_ta_query, &m, true);
	wait_n(outcomes, 2);
	assert_int_equal(w.ss.taken, 1); /* and it is over already */
	m.ta = other;
	t_send(&w.ss.p, SM_MSG_ta_query, &m, true);
	wait_n(outcomes, 3);
	assert_int_equal(w.ss.taken, 0);
	/* And over a restart of qmgr. */
	t_down(&w.ss.p);
	t_down(&w.sc.p);
	t_qm_stop();
	t_qm_start();
	t_smtps_up(&w.ss, 1);
	m.ta = id;
	t_send(&w.ss.p, SM_MSG_ta_query, &m, true);
	wait_n(outcomes, 4);
	assert_int_equal(w.ss.taken, 1);
	wait_over();
}

static bool rude_is_gone(void)
{
	return w.ss.p.fd < 0;
}

static void rude_peers_lose_their_connection(void **state)
{
	struct sm_id id;

	(void)state;
	t_qm_all();
	id = t_content();
	t_commit_raw(&w.ss, (struct sm_id){id.counter, 2}, "s@a.test", "x@b.test", 1,
	             0); /* another's id */
	assert_true(t_wait(rude_is_gone));
	t_smtps_up(&w.ss, 1);
	t_commit_raw(&w.ss, id, "s@a.test", "", 1, 0); /* no recipients */
	assert_true(t_wait(rude_is_gone));
	t_smtps_up(&w.ss, 1);
	w.sc.hold = true;
	t_commit_raw(&w.ss, id, "s@a.test", "x@b.test", sm_wall_s(), 0);
	wait_n(verdicts, 1);
	t_commit_raw(&w.ss, id, "s@a.test", "x@b.test", sm_wall_s(), 0); /* twice */
	assert_true(t_wait(rude_is_gone));
	wait_n(tasks, 1);
	t_answer(&w.sc, &w.sc.task[0]);
	t_smtps_up(&w.ss, 1);
	wait_over();
	assert_int_equal(w.sc.tasks, 1);
}

#ifdef SM_TESTING
/* ---- crashes ---- */

static uint64_t defedb_lsn;

static uint64_t defedb_durable(void)
{
	return qm_log_durable(qm_store_defedb(w.q.store));
}

/* How often is a failure told to its sender? */
static unsigned dsns(unsigned *about)
{
	unsigned n = 0;

	*about = 0;
	for (unsigned i = 0; i < w.sc.tasks; i++) {
		n += w.sc.task[i].dsn_kind == SM_DSN_FAILED;
		*about += w.sc.task[i].dsn_count;
	}
	return n;
}

static bool a_dsn_came(void)
{
	unsigned about;

	return dsns(&about) > 0;
}

/*
 * The journal syncs slowly, DEFEDB could at once, and qmgr dies in between: what failed must be
 * known to one of them, as a recipient or as its DSN.
 */
static void die_between_the_logs(void)
{
	t_qm_all();
	w.sc.hold = true;
	taken("s@a.test", "temp@b.test perm@b.test");
	wait_n(tasks, 1);
	assert_int_equal(sm_fault_arm("ibdb.write=delay:600000"), 0);
	defedb_lsn = defedb_durable();
	t_answer(&w.sc, &w.sc.task[0]);
	t_turns(500); /* for nothing: DEFEDB has to wait for the journal */
	_exit(defedb_durable() > defedb_lsn);
}

static void a_crash_between_the_logs(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	w.conf.retry_min_ms = 60000;
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		die_between_the_logs();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	unlink(w.socks[2]);
	t_qm_all();
	unsigned about;
	assert_true(t_wait(a_dsn_came));
	t_ask_ctl("flush", NULL);
	t_turns(300); /* for nothing: a second one */
	assert_int_equal(dsns(&about), 1);
	assert_int_equal(about, 1);
	w.sc.fine = true;
	t_ask_ctl("flush", NULL);
	wait_over();
}
#endif

/* ---- limits ---- */

static bool credit_452(void)
{
	return w.ss.credit == 452;
}

static bool credit_0(void)
{
	return w.ss.credit == 0;
}

static void a_full_disk(void **state)
{
	static struct qm_conf other;
	struct sm_id id;

	(void)state;
	w.conf.min_disk_bytes = w.conf.ok_disk_bytes = INT64_MAX / 4;
	t_qm_all(); /* starting on a full disk is not the end */
	assert_true(t_wait(credit_452));
	id = t_commit("s@a.test", "x@b.test");
	wait_n(verdicts, 1);
	assert_int_equal(w.ss.code, 452);
	assert_int_equal(w.q.txns.by_id.count, 0);
	assert_true(t_content_there(id)); /* refused: it is smtps's */
	assert_int_equal(cdb_unlink(w.q.cdb, id), 0);
	other = w.conf;
	other.min_disk_bytes = other.ok_disk_bytes = 0;
	qm_queue_reload(&w.q, &other);
	assert_true(t_wait(credit_0)); /* told without asking */
	taken("s@a.test", "x@b.test");
	wait_over();
}

static void a_full_index(void **state)
{
	(void)state;
	w.conf.edbc_max_entries = 2;
	w.conf.retry_min_ms = 60000;
	t_qm_all();
	taken("s@a.test", "temp@b.test");
	taken("s@a.test", "temp@b.test");
	wait_n(deferred, 2);
	assert_true(t_wait(credit_452));
	(void)t_commit("s@a.test", "x@b.test");
	wait_n(verdicts, 3);
	assert_int_equal(w.ss.code, 452);
	w.sc.hold = true;
	t_ask_ctl("flush", NULL);
	wait_n(tasks, 4);
	for (unsigned i = 2; i < 4; i++) {
		strcpy(w.sc.task[i].rcpt[0], "fine");
		t_answer(&w.sc, &w.sc.task[i]);
	}
	assert_true(t_wait(credit_0));
	assert_int_equal(cdb_unlink(w.q.cdb, (struct sm_id){w.ss.next_id - 1, 1}), 0);
	wait_over();
}

static bool most_are_deferred(void)
{
	return w.q.txns.rcpts <= 12 && qm_edbc_count(w.q.edbc) > 20;
}

static void a_full_active_queue(void **state)
{
	(void)state;
	w.conf.aq_max_entries = 8;
	w.conf.retry_min_ms = 1000;
	t_qm_all();
	w.sc.hold = true;
	for (int i = 0; i < 30; i++)
		t_commit("s@a.test", "x@b.test y@c.test");
	wait_n(verdicts, 30);
	assert_int_equal(w.ss.code, 0);
	if (!t_wait(most_are_deferred))
		fail_msg("active %zu, deferred %zu", w.q.txns.rcpts, qm_edbc_count(w.q.edbc));
	w.sc.hold = false;
	for (unsigned i = 0; i < w.sc.tasks; i++)
		t_answer(&w.sc, &w.sc.task[i]);
	wait_over();
	assert_int_equal(w.q.stats.delivered, 60);
	assert_int_equal(w.q.stats.dsns, 0);
}

static void a_dead_next_hop(void **state)
{
	(void)state;
	w.conf.smtpc.initial_connections = w.conf.smtpc.max_connections = 1;
	w.conf.retry_min_ms = 30000;
	t_qm_all();
	w.sc.hold = true;
	taken("s@a.test", "dead1@b.test");
	taken("s@a.test", "dead2@b.test");
	taken("s@a.test", "ok@c.test"); /* another one does not care */
	wait_n(tasks, 2);
	t_turns(20); /* for nothing: one connection, one task */
	assert_int_equal(w.sc.tasks, 2);
	t_answer(&w.sc, &w.sc.task[0]);
	t_answer(&w.sc, &w.sc.task[1]);
	wait_n(deferred, 2);
	assert_int_equal(w.sc.tasks, 2); /* the second was not tried */
	taken("s@a.test", "dead3@b.test");
	wait_n(deferred, 3);
	assert_int_equal(w.sc.tasks, 2); /* nor the third */
	w.sc.hold = true;
	t_ask_ctl("flush", NULL);
	wait_n(tasks, 3);
	for (unsigned i = 2; i < 5; i++) {
		wait_n(tasks, i + 1);
		strcpy(w.sc.task[i].rcpt[0], "alive");
		t_answer(&w.sc, &w.sc.task[i]);
	}
	wait_over();
}

/* ---- contents ---- */

static bool only_open_left(void)
{
	return t_contents() == 1 && t_content_there(the_mail);
}

static void orphans_go_and_open_ones_stay(void **state)
{
	struct sm_msg_id_item open[1];
	struct sm_msg_ss_start m = {.max_sessions = 10, .open_count = 1, .open = open};
	struct sm_id young;

	(void)state;
	t_qm_all();
	w.conf.orphan_delay_ms = 1000;
	t_content();
	t_content();
	the_mail = t_content(); /* its client is sending the dot */
	open[0].id = the_mail;
	m.next_counter = w.ss.next_id;
	t_send(&w.ss.p, SM_MSG_ss_start, &m, true);
	young = t_content(); /* after that was said */
	t_turns(1300);       /* a search in that time must leave it */
	assert_true(t_content_there(young));
	assert_int_equal(cdb_unlink(w.q.cdb, young), 0);
	assert_true(t_wait(only_open_left));
	t_turns(1200); /* and each later one */
	assert_true(only_open_left());
	t_commit_raw(&w.ss, the_mail, "s@a.test", "x@b.test", sm_wall_s(), 0);
	wait_over();
	assert_int_equal(w.q.stats.orphans, 2);
}

/* The holder of the contents tells that it has nothing open: they were orphans, if the logs knew.
 */
static void nothing_is_open(void)
{
	struct sm_msg_ss_start m = {.max_sessions = 10, .next_counter = w.ss.next_id};

	t_smtps_up(&w.ss, 1);
	t_send(&w.ss.p, SM_MSG_ss_start, &m, true);
	t_turns(1300);
}

static void lose_logs(const char *dir)
{
	char cmd[200];

	snprintf(cmd, sizeof(cmd), "rm -f %s/*", dir);
	assert_int_equal(system(cmd), 0);
}

static bool no_content_left(void)
{
	return t_contents() == 0;
}

/* Whichever log is lost: contents may be all there is of a mail, also for the starts after that. */
static void contents_survive_the_logs(void **state)
{
	(void)state;
	for (int lost = 0; lost < 2; lost++) {
		t_qm_all();
		assert_int_equal(qm_content_kept(&w.q), 0);
		t_content();
		t_content();
		t_qm_stop();
		lose_logs(lost ? w.defedb : w.ibdb);
		for (int start = 0; start < 2; start++) {
			t_qm_start();
			nothing_is_open();
			assert_int_equal(t_contents(), 2);
			assert_int_equal(qm_content_kept(&w.q), 2);
			if (start == 0)
				t_qm_stop();
		}
		t_ask_ctl("orphans", "release");
		assert_int_equal(w.ctl_status, 0);
		assert_true(t_wait(no_content_left));
		t_turns(100);
		t_qm_stop();
		t_qm_start(); /* and it is remembered */
		assert_int_equal(qm_store_birth(w.q.store), 0);
		t_qm_stop();
	}
}

/* A batch of the journal that cannot be read any more may have been a mail. */
static void contents_survive_damage(void **state)
{
	static const char zeros[512];
	struct qm_log_stat log;
	char path[200];
	int fd;

	(void)state;
	t_qm_all();
	taken("s@a.test", "temp1@b.test");
	taken("s@a.test", "temp2@b.test");
	wait_n(deferred, 2);
	t_content();
	qm_log_stat(qm_store_ibdb(w.q.store), &log);
	t_qm_stop();
	snprintf(path, sizeof(path), "%s/ibdb.%08x", w.ibdb, log.current_seq);
	fd = open(path, O_WRONLY);
	assert_true(fd != -1);
	assert_int_equal(pwrite(fd, zeros, sizeof(zeros), sizeof(zeros)), sizeof(zeros));
	close(fd);
	t_qm_start();
	nothing_is_open();
	assert_int_equal(t_contents(), 3);
	assert_true(qm_content_kept(&w.q) >= 1);
}

/* What comes after a loss is an orphan as ever. */
static void a_loss_keeps_only_what_was_before(void **state)
{
	struct sm_id before, after;

	(void)state;
	t_qm_all();
	before = t_content();
	t_qm_stop();
	lose_logs(w.ibdb);
	lose_logs(w.defedb);
	w.ss.next_id = 0; /* counters that were granted before are older, whenever they are used */
	t_qm_all();
	after = t_content();
	assert_true(after.counter > before.counter);
	nothing_is_open();
	assert_true(t_content_there(before));
	assert_false(t_content_there(after));
}

/* ---- segments ---- */

static uint32_t used_segments(struct qm_log *log)
{
	struct qm_log_stat st;

	qm_log_stat(log, &st);
	return st.current_seq - st.oldest_seq + 1;
}

static bool few_segments(void)
{
	return used_segments(qm_store_ibdb(w.q.store)) <= 6 &&
	       used_segments(qm_store_defedb(w.q.store)) <= 6;
}

static char many_rcpts[100 * 20];

static bool all_tried(void)
{
	return qm_edbc_count(w.q.edbc) >= want;
}

static struct sm_id old_one;

/* What comes into the index is sent on at once, but for the old one. */
static bool only_the_old(void)
{
	const struct qm_edbc_entry *e;
	uint64_t cursor = 0;

	while ((e = qm_edbc_walk(w.q.edbc, &cursor)) != NULL)
		if (!sm_id_eq(qm_edbc_id(e), old_one) && qm_edbc_next_try(e) > 1) {
			qm_defer_flush(&w.q, qm_edbc_id(e));
			cursor = 0;
		}
	return w.q.txns.by_id.count == 1 && qm_edbc_count(w.q.edbc) == 1 &&
	       qm_defer_loads(&w.q) == 0;
}

static void one_old_mail_holds_nothing(void **state)
{
	struct qm_log_stat ib, de;
	size_t at = 0;

	(void)state;
	w.conf.ibdb.size_bytes = w.conf.defedb.size_bytes = QM_LOG_SEGMENT_LEAST;
	w.conf.retry_min_ms = w.conf.retry_max_ms = 100000;
	for (int i = 0; i < 100; i++)
		at += (size_t)snprintf(many_rcpts + at, sizeof(many_rcpts) - at, "%s%su%d@b.test",
		                       i ? " " : "", i < 30 ? "temp" : "", i);
	t_qm_all();
	old_one = taken("s@a.test", "temp@old.test"); /* stays in DEFEDB */
	wait_n(deferred, 1);
	w.sc.hold = true;
	taken("s@a.test", "slow@old.test"); /* stays in IBDB, at smtpc */
	wait_n(tasks, 2);
	w.sc.hold = false;
	for (int i = 0; i < 15; i++) {
		w.sc.fine = false;
		for (int k = 0; k < 20; k++)
			taken("s@a.test", many_rcpts);
		wait_n(all_tried, 21);
		w.sc.fine = true;
		assert_true(t_wait(only_the_old));
	}
	qm_log_stat(qm_store_ibdb(w.q.store), &ib);
	qm_log_stat(qm_store_defedb(w.q.store), &de);
	assert_true(ib.current_seq > 12 && de.current_seq > 12);
	if (!t_wait(few_segments))
		fail_msg("segments in use: %u %u", used_segments(qm_store_ibdb(w.q.store)),
		         used_segments(qm_store_defedb(w.q.store)));
	/* The copies are as good as the first ones. */
	assert_non_null(qm_edbc_find(w.q.edbc, old_one));
	t_down(&w.sc.p);
	t_qm_stop();
	w.sc.tasks = 0;
	t_qm_start();
	assert_int_equal(qm_edbc_count(w.q.edbc) + w.q.txns.by_id.count, 2);
	assert_true(t_wait(smar_is_up));
	t_smtpc_up(&w.sc, 1000);
	t_ask_ctl("flush", NULL);
	wait_over();
	assert_int_equal(w.sc.tasks, 2);
}

/* What is due behind a mail that is being copied is read back at once, and that mail after it. */
static void a_copy_holds_up_nobody(void **state)
{
	struct sm_id first;

	(void)state;
	w.conf.retry_min_ms = w.conf.retry_max_ms = 100000;
	t_qm_all();
	for (int i = 0; i < 3; i++)
		taken("s@a.test", "temp@b.test");
	wait_n(deferred, 3);
	w.sc.fine = true;
	first = qm_edbc_id(qm_edbc_top(w.q.edbc));
	assert_true(qm_defer_forward(&w.q, first));
	qm_defer_flush(&w.q, (struct sm_id){0});
	assert_int_equal(qm_defer_loads(&w.q), 3); /* a copy, and the other two */
	assert_int_equal(qm_edbc_next_try(qm_edbc_find(w.q.edbc, first)), QM_EDBC_NEVER);
	wait_over();
	assert_int_equal(w.sc.tasks, 6);
}

/* ---- operators, the end ---- */

static void operators_look(void **state)
{
	(void)state;
	w.conf.retry_min_ms = 60000;
	t_qm_all();
	taken("s\"q@a.test", "temp@b.test");
	wait_n(deferred, 1);
	w.sc.hold = true;
	taken("s@a.test", "x@b.test");
	wait_n(tasks, 2);
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
	wait_n(tasks, 3);
	strcpy(w.sc.task[2].rcpt[0], "fine");
	t_answer(&w.sc, &w.sc.task[2]);
	wait_over();
}

static void the_end_waits_for_results(void **state)
{
	(void)state;
	t_qm_all();
	w.sc.hold = true;
	taken("s@a.test", "x@b.test");
	wait_n(tasks, 1);
	qm_queue_stop(&w.q);
	assert_false(t_ends(50)); /* only when the result is there */
	assert_int_equal(qm_delivery_tasks(&w.q), 1);
	(void)t_commit("s@a.test", "late@b.test");
	wait_n(verdicts, 2);
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
	wait_over(); /* its content may have been left to the search */
}

static void limits_change_at_a_reload(void **state)
{
	static struct qm_conf other;

	(void)state;
	w.conf.smtpc.initial_connections = w.conf.smtpc.max_connections = 1;
	t_qm_all();
	w.sc.hold = true;
	taken("s@a.test", "x@b.test");
	taken("s@a.test", "x@b.test");
	taken("s@a.test", "x@b.test");
	wait_n(tasks, 1);
	t_turns(20); /* for nothing: one connection, one task */
	assert_int_equal(w.sc.tasks, 1);
	other = w.conf;
	other.smtpc.max_connections = 10;
	other.smtps.max_transactions = 7;
	w.ss.credits = 0;
	qm_queue_reload(&w.q, &other);
	t_answer(&w.sc, &w.sc.task[0]);
	wait_n(tasks, 3);
	assert_true(w.ss.credits > 0);
	t_answer(&w.sc, &w.sc.task[1]);
	t_answer(&w.sc, &w.sc.task[2]);
	wait_over();
}

#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup, t_qm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(delivered),
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
	    T(an_smtpc_dies_with_its_task),
	    T(nonsense_decides_nothing),
	    T(smar_goes_with_its_questions),
	    T(an_smtps_misses_the_answer),
	    T(rude_peers_lose_their_connection),
#ifdef SM_TESTING
	    T(a_crash_between_the_logs),
#endif
	    T(a_full_disk),
	    T(a_full_index),
	    T(a_full_active_queue),
	    T(a_dead_next_hop),
	    T(orphans_go_and_open_ones_stay),
	    T(contents_survive_the_logs),
	    T(contents_survive_damage),
	    T(a_loss_keeps_only_what_was_before),
	    T(one_old_mail_holds_nothing),
	    T(a_copy_holds_up_nobody),
	    T(operators_look),
	    T(the_end_waits_for_results),
	    T(limits_change_at_a_reload),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
