/* Acts of operators on a whole queue manager: a transaction is caught wherever it is, all that was
 * chosen is hit, and it lasts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "libsm/time.h"
#include "qmgr/filter.h"
#include "qmgr/t_qm.h"

static unsigned want;
static struct sm_id the_mail;

static struct answer {
	unsigned count;
	int err;
	size_t txns, rcpts;
} answer;

static void done(void *arg, const struct qm_bulk_done *d)
{
	struct answer *a = arg;

	*a = (struct answer){a->count + 1, d->err, d->txns, d->rcpts};
}

static bool answered(void)
{
	return answer.count >= want;
}

static struct qm_filter *filter(const char *conditions)
{
	struct sm_str v[8], rest = sm_str(conditions);
	struct qm_filter *f;
	size_t n = 0;

	while (rest.n > 0)
		v[n++] = sm_str_split(rest, ' ', &rest);
	if (qm_filter_new(v, n, sm_wall_s(), &f) != 0)
		fail_msg("filter: %s", sm_diag());
	return f;
}

/* Begun, not waited for. */
static void ask(enum qm_mark_verb verb, const char *conditions, bool dry_run)
{
	const struct qm_bulk_ask a = {
	    .verb = verb,
	    .filter = filter(conditions),
	    .text = sm_str(conditions),
	    .reason = SM_STR("for a test"),
	    .uid = 42,
	    .dry_run = dry_run,
	    .cb = done,
	    .arg = &answer,
	};

	assert_int_equal(qm_bulk_begin(&w.q, &a), 0);
}

static void act(enum qm_mark_verb verb, const char *conditions, size_t rcpts)
{
	want = answer.count + 1;
	ask(verb, conditions, false);
	assert_true(t_wait(answered));
	assert_int_equal(answer.err, 0);
	assert_int_equal(answer.rcpts, rcpts);
}

/* ---- conditions ---- */

static bool verdicts(void)
{
	return w.ss.verdicts >= want;
}

static bool tasks(void)
{
	return w.sc.tasks >= want;
}

static bool deferred(void)
{
	return qm_edbc_count(w.q.edbc) >= want && w.q.txns.by_id.count == 0;
}

static bool held(void)
{
	return qm_edbc_held_count(w.q.edbc) >= want && w.q.txns.by_id.count == 0;
}

static bool asked(void)
{
	return w.unanswered >= want;
}

static void wait_n(bool (*until)(void), unsigned n)
{
	want = n;
	if (!t_wait(until))
		fail_msg("waited for %u: tasks %u, deferred %zu, held %zu, active %zu", n,
		         w.sc.tasks, qm_edbc_count(w.q.edbc), qm_edbc_held_count(w.q.edbc),
		         w.q.txns.by_id.count);
}

static void wait_over(void)
{
	if (!t_wait(t_all_over))
		fail_msg("left: active %zu, deferred %zu, contents %zu", w.q.txns.by_id.count,
		         qm_edbc_count(w.q.edbc), t_contents());
}

static struct sm_id taken(const char *sender, const char *rcpts)
{
	struct sm_id id = t_commit(sender, rcpts);

	wait_n(verdicts, w.ss.verdicts + 1);
	assert_int_equal(w.ss.code, 0);
	return id;
}

/* One that waits in DEFEDB. */
static struct sm_id waiting(const char *sender, const char *rcpts)
{
	size_t before = qm_edbc_count(w.q.edbc);
	struct sm_id id = taken(sender, rcpts);

	wait_n(deferred, (unsigned)before + 1);
	return id;
}

static void slow_retries(void)
{
	w.conf.retry_min_ms = 3600 * 1000;
	w.conf.retry_max_ms = 7200 * 1000;
}

/* ---- in DEFEDB ---- */

static void held_until_released(void **state)
{
	(void)state;
	w.conf.retry_min_ms = 1000;
	t_qm_all();
	waiting("a@a.test", "temp@b.test");
	waiting("b@a.test", "temp@b.test");
	act(QM_MARK_HOLD, "sender=a@*", 1);
	assert_int_equal(answer.txns, 1);
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 1);
	w.sc.tasks = 0;
	w.sc.fine = true;
	wait_n(tasks, 1); /* the other one */
	t_turns(1500);
	assert_int_equal(w.sc.tasks, 1);
	assert_string_equal(w.sc.task[0].sender, "b@a.test");
	act(QM_MARK_HOLD, "", 0); /* it is */
	act(QM_MARK_RELEASE, "", 1);
	wait_over();
	assert_int_equal(w.sc.tasks, 2);
}

static void release_is_now(void **state)
{
	(void)state;
	slow_retries();
	t_qm_all();
	waiting("a@a.test", "temp@b.test");
	act(QM_MARK_HOLD, "", 1);
	w.sc.tasks = 0;
	w.sc.fine = true;
	act(QM_MARK_RELEASE, "state=held", 1); /* although its time has not come */
	wait_over();
	assert_int_equal(w.sc.tasks, 1);
}

static void what_comes_later_is_not_hit(void **state)
{
	(void)state;
	slow_retries();
	t_qm_all();
	waiting("a@a.test", "temp@b.test");
	act(QM_MARK_HOLD, "", 1);
	taken("a@a.test", "ok@b.test");
	wait_n(deferred, 1);
	assert_int_equal(w.q.stats.delivered, 1);
	act(QM_MARK_REMOVE, "", 1);
	wait_over();
}

static void some_recipients(void **state)
{
	(void)state;
	slow_retries();
	t_qm_all();
	waiting("a@a.test", "temp@b.test temp@c.test temp@d.test");
	act(QM_MARK_HOLD, "domain=c.test", 1);
	act(QM_MARK_REMOVE, "domain=d.test", 1);
	w.sc.tasks = 0;
	w.sc.fine = true;
	wait_n(tasks, 0);
	act(QM_MARK_NONE, "", 1);
	wait_n(held, 1);
	assert_int_equal(w.sc.tasks, 1);
	assert_string_equal(w.sc.task[0].rcpt[0], "temp@b.test");
	assert_int_equal(qm_edbc_rcpt_count(w.q.edbc), 1);
	act(QM_MARK_RELEASE, "rcpt=temp@c.test", 1);
	wait_over();
	assert_int_equal(w.sc.tasks, 2);
	assert_int_equal(w.q.stats.delivered, 2);
}

static void returned_to_the_sender(void **state)
{
	(void)state;
	slow_retries();
	t_qm_all();
	the_mail = waiting("s@a.test", "temp@b.test temp@c.test");
	w.sc.tasks = 0;
	act(QM_MARK_BOUNCE, "", 2);
	wait_over();
	assert_int_equal(w.sc.tasks, 1); /* one DSN about both */
	assert_true(sm_id_eq(w.sc.task[0].dsn_of, the_mail));
	assert_int_equal(w.sc.task[0].dsn_count, 2);
	assert_string_equal(w.sc.task[0].dsn[0].text,
	                    "5.7.0 returned by the administrator: for a test");
	assert_int_equal(w.sc.task[0].dsn[0].code, 554);
}

static void requeued_as_if_it_came_now(void **state)
{
	(void)state;
	slow_retries();
	w.conf.return_timeout_ms = 86400 * 1000;
	t_qm_all();
	t_commit_at("s@a.test", "temp@b.test", sm_wall_s() - 3600, 0);
	wait_n(deferred, 1);
	w.conf.return_timeout_ms = 1800 * 1000;
	w.sc.tasks = 0;
	act(QM_MARK_REQUEUE, "", 1);
	wait_n(tasks, 1);
	wait_n(deferred, 1); /* not returned */
	act(QM_MARK_NONE, "", 1);
	wait_n(tasks, 2);
	wait_n(deferred, 1);
	assert_int_equal(w.q.stats.failed, 0);
	act(QM_MARK_REMOVE, "", 1);
	wait_over();
}

static void only_counted(void **state)
{
	(void)state;
	slow_retries();
	t_qm_all();
	the_mail = waiting("s@a.test", "temp@b.test temp@c.test");
	want = answer.count + 1;
	ask(QM_MARK_REMOVE, "", true);
	assert_true(t_wait(answered));
	assert_int_equal(answer.txns, 1);
	assert_int_equal(answer.rcpts, 2);
	t_turns(50);
	assert_int_equal(qm_edbc_rcpt_count(w.q.edbc), 2);
	assert_int_equal(qm_store_marks(w.q.store)->count, 0);
	act(QM_MARK_REMOVE, "", 2);
	wait_over();
}

static void named_by_id(void **state)
{
	char cond[80], id[SM_ID_SIZE];
	struct sm_id one;

	(void)state;
	slow_retries();
	t_qm_all();
	one = waiting("s@a.test", "temp@b.test");
	waiting("s@a.test", "temp@b.test");
	sm_id_text(one, id);
	snprintf(cond, sizeof(cond), "id=%s,%s,S0000000000000001FE", id, id);
	act(QM_MARK_REMOVE, cond, 1);
	wait_n(deferred, 1);
	assert_true(t_wait(deferred));
	t_turns(100);
	assert_null(qm_edbc_find(w.q.edbc, one));
	assert_int_equal(qm_edbc_count(w.q.edbc), 1);
	act(QM_MARK_REMOVE, "", 1);
	wait_over();
}

static void acts_take_turns(void **state)
{
	(void)state;
	slow_retries();
	t_qm_all();
	for (int i = 0; i < 20; i++)
		waiting("s@a.test", "temp@b.test");
	want = answer.count + 4;
	ask(QM_MARK_HOLD, "", false);
	ask(QM_MARK_RELEASE, "", false);
	ask(QM_MARK_HOLD, "", false);
	ask(QM_MARK_REMOVE, "", false);
	assert_true(t_wait(answered));
	assert_int_equal(answer.rcpts, 20); /* what was held is released, held, removed */
	wait_over();
	assert_int_equal(w.q.stats.dsns, 0);
}

static void who_asked_may_go(void **state)
{
	(void)state;
	slow_retries();
	t_qm_all();
	waiting("s@a.test", "temp@b.test");
	want = answer.count;
	ask(QM_MARK_REMOVE, "", false);
	qm_bulk_forget(&w.q, &answer);
	wait_over();
	assert_int_equal(answer.count, want);
}

static void too_many_wait(void **state)
{
	struct qm_bulk_ask a = {.verb = QM_MARK_HOLD, .text = SM_STR(""), .reason = SM_STR("")};
	unsigned n = 0;
	int err;

	(void)state;
	t_qm_all();
	do {
		a.filter = filter("");
		err = qm_bulk_begin(&w.q, &a);
	} while (err == 0 && n++ < 100);
	assert_int_equal(err, SM_E_BUSY);
	assert_int_equal(n, 16);
}

/*
 * So many that the walk takes many turns. They are in the index only. Meanwhile one mail goes from
 * smtpc to DEFEDB, and another comes and goes there: the first is hit once, the other not at all.
 */
#define MANY 30000u
#define EACH 50u

static void what_moves_during_the_walk(void **state)
{
	struct qm_rec_rcpt r[EACH];
	struct qm_rec_txn rec = {
	    .sender = SM_STR(""), .envid = SM_STR(""), .rcpts_count = EACH, .rcpts = r};
	struct sm_id old, new;

	for (unsigned i = 0; i < EACH; i++)
		r[i] = (struct qm_rec_rcpt){.index = (uint16_t)i,
		                            .addr = SM_STR("x@fake.test"),
		                            .orcpt = SM_STR(""),
		                            .text = SM_STR(""),
		                            .host = SM_STR(""),
		                            .next_try_s = sm_wall_s() + 86400};
	(void)state;
	slow_retries();
	w.conf.retry_max_ms = 7 * 86400 * 1000LL;
	w.conf.edbc_max_entries = 2 * MANY;
	t_qm_all();
	for (uint64_t i = 1; i <= MANY; i++) {
		rec.ta = (struct sm_id){i, 7};
		qm_edbc_put_rec(w.q.edbc, &rec, (struct qm_loc){0});
	}
	w.sc.hold = true;
	old = taken("s@a.test", "temp@b.test");
	wait_n(tasks, 1);
	want = answer.count + 1;
	ask(QM_MARK_HOLD, "", false);
	t_turns(2);
	assert_int_equal(answer.count, want - 1);
	w.sc.hold = false;
	t_answer(&w.sc, &w.sc.task[0]);
	t_turns(5);
	new = t_commit("s@a.test", "temp@b.test");
	assert_true(t_wait(answered));
	assert_int_equal(answer.err, 0);
	assert_int_equal(answer.rcpts, MANY * EACH + 1);
	wait_n(deferred, MANY + 2);
	for (uint64_t i = 1; i <= MANY; i++)
		qm_edbc_remove(w.q.edbc, (struct sm_id){i, 7});
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 1);
	assert_int_equal(qm_edbc_next_try(qm_edbc_find(w.q.edbc, old)), QM_EDBC_NEVER);
	assert_true(qm_edbc_next_try(qm_edbc_find(w.q.edbc, new)) != QM_EDBC_NEVER);
	act(QM_MARK_REMOVE, "", 2);
	wait_over();
}

/* ---- in the active queue ---- */

static void before_smar_is_there(void **state)
{
	(void)state;
	slow_retries();
	w.conf.wait_for_server_ms = 60000;
	t_qm_start();
	t_smtps_up(&w.ss, 1);
	taken("a@a.test", "x@b.test");
	taken("b@a.test", "x@b.test");
	act(QM_MARK_REMOVE, "sender=a@a.test", 1);
	act(QM_MARK_HOLD, "sender=b@a.test", 1);
	wait_n(held, 1);
	act(QM_MARK_BOUNCE, "", 1);
	t_smar_up();
	t_smtpc_up(&w.sc, 10);
	wait_over();
	assert_int_equal(w.sc.tasks, 1);
	assert_int_equal(w.sc.task[0].dsn_count, 1);
}

static void while_smar_thinks(void **state)
{
	(void)state;
	slow_retries();
	t_qm_all();
	w.smar_hold = true;
	taken("a@a.test", "x@b.test");
	taken("b@a.test", "x@b.test");
	wait_n(asked, 2);
	act(QM_MARK_REMOVE, "sender=a@a.test", 1);
	act(QM_MARK_HOLD, "sender=b@a.test", 1);
	assert_int_equal(w.q.txns.by_id.count, 2);
	w.smar_hold = false;
	t_down(&w.smar); /* the questions are lost */
	t_smar_up();
	wait_n(held, 1);
	assert_int_equal(qm_edbc_count(w.q.edbc), 1);
	assert_int_equal(w.sc.tasks, 0);
	act(QM_MARK_RELEASE, "", 1);
	wait_over();
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
	slow_retries();
	w.conf.wait_for_client_ms = 60000;
	t_qm_start();
	t_smar_up();
	t_smtps_up(&w.ss, 1);
	taken("a@a.test", "x@b.test");
	taken("b@a.test", "x@b.test");
	taken("c@a.test", "x@b.test");
	assert_true(t_wait(three_ready));
	act(QM_MARK_REMOVE, "sender=a@a.test", 1);
	act(QM_MARK_HOLD, "sender=b@a.test", 1);
	assert_int_equal(qm_edbc_held_count(w.q.edbc) + w.q.txns.by_id.count >= 2, 1);
	t_smtpc_up(&w.sc, 10);
	wait_n(held, 1);
	assert_int_equal(w.sc.tasks, 1);
	assert_string_equal(w.sc.task[0].sender, "c@a.test");
	act(QM_MARK_RELEASE, "", 1);
	wait_over();
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
	slow_retries();
	w.conf.wait_for_client_ms = 60000;
	t_qm_start();
	t_smar_up();
	t_smtps_up(&w.ss, 1);
	taken("a@a.test", "x@b.test y@later.test z@later.test");
	assert_true(t_wait(one_ready));
	act(QM_MARK_HOLD, "rcpt=x@*,y@*", 2);
	wait_n(held, 2);
	t_qm_stop();
	t_turns(5);
	t_qm_start();
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 2);
	act(QM_MARK_REMOVE, "", 3);
	t_smtps_up(&w.ss, 1);
	wait_over();
}

static void while_smtpc_has_it(void **state)
{
	(void)state;
	slow_retries();
	t_qm_all();
	w.sc.hold = true;
	taken("a@a.test", "temp@b.test");
	taken("b@a.test", "temp@b.test");
	taken("c@a.test", "temp@b.test");
	taken("d@a.test", "ok@b.test");
	wait_n(tasks, 4);
	act(QM_MARK_REMOVE, "sender=a@a.test,d@a.test", 2);
	act(QM_MARK_HOLD, "sender=b@a.test", 1);
	act(QM_MARK_BOUNCE, "sender=c@a.test", 1);
	w.sc.hold = false;
	for (unsigned i = 0; i < 4; i++)
		t_answer(&w.sc, &w.sc.task[i]);
	wait_n(held, 1);
	t_turns(100);
	assert_int_equal(w.q.stats.delivered, 2); /* d@ and the DSN */
	assert_int_equal(w.sc.tasks, 5);
	assert_int_equal(w.sc.task[4].dsn_count, 1);
	assert_int_equal(qm_edbc_count(w.q.edbc), 1);
	act(QM_MARK_REMOVE, "", 1);
	wait_over();
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
	slow_retries();
	t_qm_all();
	for (int i = 0; i < 10; i++) {
		taken("a@a.test", "temp@b.test");
		if (t_wait(moving) && moving()) {
			seen++;
			act(QM_MARK_HOLD, "!state=held", 1);
		}
		wait_n(deferred, (unsigned)i + 1);
		assert_int_equal(qm_edbc_held_count(w.q.edbc), seen);
	}
	assert_int_equal(seen, 10);
	act(QM_MARK_REMOVE, "", 10);
	wait_over();
}

static void while_it_is_read_back(void **state)
{
	(void)state;
	slow_retries();
	t_qm_all();
	for (int i = 0; i < 10; i++)
		waiting("a@a.test", "temp@b.test");
	w.sc.tasks = 0;
	qm_defer_flush(&w.q, (struct sm_id){0});
	assert_true(qm_defer_loads(&w.q) > 0);
	act(QM_MARK_HOLD, "", 10);
	t_turns(50);
	wait_n(held, 10);
	act(QM_MARK_REMOVE, "", 10);
	wait_over();
}

/* ---- it lasts ---- */

static void over_a_restart(void **state)
{
	(void)state;
	slow_retries();
	t_qm_all();
	waiting("a@a.test", "temp@b.test");
	waiting("b@a.test", "temp@b.test temp@c.test");
	waiting("c@a.test", "temp@b.test");
	act(QM_MARK_HOLD, "sender=a@a.test", 1);
	act(QM_MARK_HOLD, "rcpt=temp@c.test", 1);
	for (int i = 0; i < 3; i++) {
		t_qm_stop();
		t_turns(5);
		t_qm_start();
		assert_int_equal(qm_edbc_held_count(w.q.edbc), 2);
		assert_int_equal(qm_edbc_count(w.q.edbc), 3);
	}
	t_smtpc_up(&w.sc, 10);
	w.sc.tasks = 0;
	w.sc.fine = true;
	act(QM_MARK_NONE, "", 2);
	t_turns(500); /* smar is found again */
	wait_n(held, 2);
	wait_n(tasks, 2);
	t_turns(50);
	assert_int_equal(w.sc.tasks, 2);
	act(QM_MARK_RELEASE, "", 2);
	wait_over();
	assert_int_equal(w.sc.tasks, 4);
}

static void carried_out_after_a_restart(void **state)
{
	int64_t room = w.conf.aq_max_entries;

	(void)state;
	slow_retries();
	w.conf.return_timeout_ms = 7200 * 1000;
	t_qm_all();
	waiting("a@a.test", "temp@b.test");
	waiting("b@a.test", "temp@b.test");
	t_commit_at("c@a.test", "temp@b.test", sm_wall_s() - 3600, 0);
	wait_n(deferred, 3);
	w.conf.aq_max_entries = 0; /* nothing can be read back */
	act(QM_MARK_REMOVE, "sender=a@a.test", 1);
	act(QM_MARK_BOUNCE, "sender=b@a.test", 1);
	act(QM_MARK_REQUEUE, "sender=c@a.test", 1);
	assert_int_equal(qm_edbc_count(w.q.edbc), 3);
	t_qm_stop();
	t_turns(5);
	w.conf.aq_max_entries = room;
	w.conf.return_timeout_ms = 1800 * 1000;
	w.sc.tasks = 0;
	t_qm_start();
	t_smtpc_up(&w.sc, 10);
	t_smtps_up(&w.ss, 1); /* it says that it has nothing open: what is removed is an orphan */
	wait_n(tasks, 2);
	wait_n(deferred, 1);
	assert_int_equal(w.sc.task[0].dsn_count + w.sc.task[1].dsn_count, 1);
	assert_int_equal(w.q.stats.failed, 0);
	act(QM_MARK_REMOVE, "", 1);
	wait_over();
}

static bool marks_moved(void)
{
	const struct qm_marks *m = qm_store_marks(w.q.store);
	struct qm_log_stat st;

	qm_log_stat(qm_store_ibdb(w.q.store), &st);
	return SM_LIST_FIRST(&m->chunks, struct qm_chunk, link)->loc.seq > want &&
	       st.oldest_seq > want;
}

static void marks_hold_no_segment(void **state)
{
	uint32_t seq;

	(void)state;
	slow_retries();
	w.conf.ibdb.size_bytes = w.conf.defedb.size_bytes = QM_LOG_SEGMENT_LEAST;
	t_qm_all();
	waiting("a@a.test", "temp@b.test");
	waiting("b@a.test", "temp@b.test");
	act(QM_MARK_HOLD, "", 2);
	seq = SM_LIST_FIRST(&qm_store_marks(w.q.store)->chunks, struct qm_chunk, link)->loc.seq;
	for (int i = 0; i < 900; i++) {
		t_commit("c@a.test", "ok@b.test");
		if (i % 50 == 0)
			t_turns(1);
	}
	wait_n(deferred, 2);
	want = seq;
	assert_true(t_wait(marks_moved)); /* the segment of the act is free, the act stands */
	t_qm_stop();
	t_turns(5);
	t_qm_start();
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 2);
	act(QM_MARK_REMOVE, "", 2);
	wait_over();
}

static bool mark_moved(void)
{
	const struct qm_marks *m = qm_store_marks(w.q.store);

	return SM_LIST_FIRST(&m->chunks, struct qm_chunk, link)->loc.seq > want;
}

/* The newest act that a replay would find in it. */
static uint64_t act_in_snapshot(const struct qm_txn *txn)
{
	struct sm_arena a;
	struct sm_buf body;
	struct qm_rec_txn rec;

	sm_buf_init(&body, QM_LOG_RECORD_MAX);
	sm_arena_init(&a, "snapshot", 1024, 1 << 20);
	assert_int_equal(qm_store_decode_at(txn->log, txn->loc, &body, &a, &rec), 0);
	sm_buf_fini(&body);
	sm_arena_fini(&a);
	return rec.act;
}

/* The segment with a mail at smtpc is copied forward while an act waits for its return. */
static void smtpc_has_it_for_long(void **state)
{
	(void)state;
	slow_retries();
	w.conf.ibdb.size_bytes = w.conf.defedb.size_bytes = QM_LOG_SEGMENT_LEAST;
	t_qm_all();
	w.sc.hold = true;
	taken("a@a.test", "temp@b.test");
	wait_n(tasks, 1);
	act(QM_MARK_REMOVE, "", 1);
	assert_int_equal(w.q.txns.by_id.count, 1);
	want = SM_LIST_FIRST(&qm_store_marks(w.q.store)->chunks, struct qm_chunk, link)->loc.seq;
	w.sc.hold = false;
	for (int i = 0; i < 900; i++) {
		t_commit("c@a.test", "ok@c.test");
		if (i % 50 == 0)
			t_turns(1);
	}
	assert_true(t_wait(mark_moved));
	t_turns(100);
	assert_true(act_in_snapshot(SM_LIST_FIRST(&w.q.txns.active, struct qm_txn, link)) <
	            qm_store_marks(w.q.store)->applied);
	t_answer(&w.sc, &w.sc.task[0]);
	wait_over();
	assert_int_equal(w.q.stats.deferred, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup, t_qm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(held_until_released),
	    T(release_is_now),
	    T(what_comes_later_is_not_hit),
	    T(some_recipients),
	    T(returned_to_the_sender),
	    T(requeued_as_if_it_came_now),
	    T(only_counted),
	    T(named_by_id),
	    T(acts_take_turns),
	    T(who_asked_may_go),
	    T(too_many_wait),
	    T(what_moves_during_the_walk),
	    T(before_smar_is_there),
	    T(while_smar_thinks),
	    T(while_it_waits_for_smtpc),
	    T(some_of_what_waits_together),
	    T(while_smtpc_has_it),
	    T(while_it_moves),
	    T(while_it_is_read_back),
	    T(over_a_restart),
	    T(carried_out_after_a_restart),
	    T(marks_hold_no_segment),
	    T(smtpc_has_it_for_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
