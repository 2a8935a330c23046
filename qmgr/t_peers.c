/* Peers of the queue manager that go, come back or are rude, and a crash of its own: nothing is
 * lost, and nothing is told twice. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <malloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "libsm/fault.h"
#include "libsm/time.h"
#include "qmgr/t_qm.h"

static bool tasks2(void)
{
	return w.sc2.tasks >= t_want;
}

static bool outcomes(void)
{
	return w.ss.outcomes >= t_want;
}

/* ---- peers that go ---- */

static void an_smtpc_dies_with_its_task(void **state)
{
	(void)state;
	t_qm_all();
	w.sc.hold = true;
	t_taken("s@a.test", "x@b.test y@b.test");
	t_wait_n(t_tasks, 1);
	t_smtpc_up(&w.sc2, 10);
	w.sc2.hold = true;
	t_down(&w.sc.p);
	t_wait_n(tasks2, 1);
	assert_int_equal(w.sc2.task[0].count, 2);
	t_answer(&w.sc2, &w.sc2.task[0]);
	t_wait_over();
	/* One that kills every smtpc is set aside. */
	t_taken("s@a.test", "x@b.test");
	t_wait_n(tasks2, 2);
	t_smtpc_up(&w.sc, 10);
	t_down(&w.sc2.p);
	t_wait_n(t_tasks, 2);
	t_down(&w.sc.p);
	t_wait_n(t_deferred, 1);
	w.sc.hold = false;
	t_smtpc_up(&w.sc, 10);
	t_ask_ctl("flush", NULL);
	t_wait_over();
}

static void nonsense_decides_nothing(void **state)
{
	(void)state;
	t_qm_all();
	w.sc.nonsense = true;
	w.sc.hold = true;
	t_taken("s@a.test", "x@b.test");
	t_wait_n(t_tasks, 1);
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_n(t_tasks, 2);
	w.sc.nonsense = false;
	t_answer(&w.sc, &w.sc.task[1]);
	t_wait_over();
}

static void smar_goes_with_its_questions(void **state)
{
	(void)state;
	w.conf.wait_for_server_ms = 300;
	t_qm_all();
	w.smar_hold = true;
	t_taken("s@a.test", "x@b.test y@b.test z@c.test");
	t_wait_n(t_asked, 3);
	w.smar_hold = false;
	t_down(&w.smar);
	t_smar_up(); /* in time: t_asked again, nothing is t_deferred */
	t_wait_over();
	assert_int_equal(w.questions, 6);
	assert_int_equal(w.q.stats.deferred, 0);
	t_down(&w.smar);
	t_taken("s@a.test", "x@b.test");
	t_wait_n(t_deferred, 1);
	t_smar_up();
	t_ask_ctl("flush", NULL);
	t_wait_over();
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
	t_wait_n(t_tasks, 1);
	t_smtps_up(&w.ss, 1);
	m.ta = id;
	t_send(&w.ss.p, SM_MSG_ta_query, &m, true);
	t_wait_n(outcomes, 1);
	assert_int_equal(w.ss.taken, 1);
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_over();
	t_send(&w.ss.p, SM_MSG_ta_query, &m, true);
	t_wait_n(outcomes, 2);
	assert_int_equal(w.ss.taken, 1); /* and it is over already */
	m.ta = other;
	t_send(&w.ss.p, SM_MSG_ta_query, &m, true);
	t_wait_n(outcomes, 3);
	assert_int_equal(w.ss.taken, 0);
	/* And over a restart of qmgr. */
	t_down(&w.ss.p);
	t_down(&w.sc.p);
	t_qm_stop();
	t_qm_start();
	t_smtps_up(&w.ss, 1);
	m.ta = id;
	t_send(&w.ss.p, SM_MSG_ta_query, &m, true);
	t_wait_n(outcomes, 4);
	assert_int_equal(w.ss.taken, 1);
	t_wait_over();
}

/* What is answered too late does not stay with whom it was for. */
static void who_misses_answers_is_forgotten(void **state)
{
	enum { WARM_UP = 100, TIMES = 300, BYTES_EACH = 100, TURNS_MS = 5 };
	size_t before = 0;

	(void)state;
	t_qm_all();
	for (int i = 0; i < WARM_UP + TIMES; i++) {
		if (i == WARM_UP)
			before = mallinfo2().uordblks;
		t_smtps_up(&w.ss2, 2);
		t_send(&w.ss2.p, SM_MSG_id_block_get, &(struct sm_msg_id_block_get){0}, true);
		t_down(&w.ss2.p);
		t_turns(TURNS_MS);
	}
	t_turns(100);
	assert_in_range(mallinfo2().uordblks, 0, before + (size_t)TIMES * BYTES_EACH);
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
	t_wait_n(t_verdicts, 1);
	t_commit_raw(&w.ss, id, "s@a.test", "x@b.test", sm_wall_s(), 0); /* twice */
	assert_true(t_wait(rude_is_gone));
	t_wait_n(t_tasks, 1);
	t_answer(&w.sc, &w.sc.task[0]);
	t_smtps_up(&w.ss, 1);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 1);
}

static struct puppet *asks;

static bool asker_is_gone(void)
{
	return asks->fd < 0;
}

static void loses_it(struct puppet *p, uint16_t type, const void *m)
{
	asks = p;
	t_send(p, type, m, false);
	assert_true(t_wait(asker_is_gone));
}

/* Nobody could be told what came of it. */
static void questions_without_a_tag(void **state)
{
	struct sm_msg_sess_open session = {.sess = {77, 1}, .listener = SM_STR("l")};
	struct sm_msg_rcpt_new to = {.addr = SM_STR("x@b.test"), .orcpt = SM_STR("")};
	struct sm_msg_ta_commit mail = {
	    .sender = SM_STR("s@a.test"), .rcpts = &to, .rcpts_count = 1};
	const struct sm_msg_ss_start server = {.max_sessions = 1};
	const struct sm_msg_sc_start client = {.max_tasks = 1};
	const struct sm_msg_ta_query query = {.ta = {1, 1}};
	const struct sm_msg_id_block_get block = {0};
	const struct sm_msg_ctl_request verb = {.verb = SM_STR("status")};

	(void)state;
	t_qm_all();
	assert_int_equal(sm_sa_ip(&session.client, SM_STR("192.0.2.1"), 25), 0);
	mail.ta = mail.content = t_content();
	loses_it(&w.ss.p, SM_MSG_sess_open, &session);
	t_smtps_up(&w.ss, 1);
	loses_it(&w.ss.p, SM_MSG_ta_commit, &mail);
	t_smtps_up(&w.ss, 1);
	loses_it(&w.ss.p, SM_MSG_ta_query, &query);
	t_smtps_up(&w.ss, 1);
	loses_it(&w.ss.p, SM_MSG_id_block_get, &block);
	t_smtps_up(&w.ss, 1);
	loses_it(&w.ss.p, SM_MSG_ss_start, &server);
	loses_it(&w.sc.p, SM_MSG_sc_start, &client);
	t_ask_ctl("status", NULL);
	loses_it(&w.ctl, SM_MSG_ctl_request, &verb);
	t_smtpc_up(&w.sc, 1);
	t_smtps_up(&w.ss, 1);
	t_taken("s@a.test", "x@b.test");
	t_wait_over();
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
	t_taken("s@a.test", "temp@b.test perm@b.test");
	t_wait_n(t_tasks, 1);
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
	t_wait_over();
}
#endif

#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup, t_qm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(an_smtpc_dies_with_its_task),      T(nonsense_decides_nothing),
	    T(smar_goes_with_its_questions),     T(an_smtps_misses_the_answer),
	    T(rude_peers_lose_their_connection), T(who_misses_answers_is_forgotten),
	    T(questions_without_a_tag),          T(who_misses_answers_is_forgotten),
#ifdef SM_TESTING
	    T(a_crash_between_the_logs),
#endif
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
