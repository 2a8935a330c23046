/* Acts of operators on a whole queue manager: all that was chosen in DEFEDB is hit, nothing else,
 * and it lasts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "libsm/time.h"
#include "qmgr/t_bulk.h"

/* ---- in DEFEDB ---- */

static void held_until_released(void **state)
{
	(void)state;
	w.conf.retry_min_ms = 1000;
	t_qm_all();
	t_waiting("a@a.test", "temp@b.test");
	t_waiting("b@a.test", "temp@b.test");
	t_act(QM_MARK_HOLD, "sender=a@*", 1);
	assert_int_equal(t_acts.txns, 1);
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 1);
	w.sc.tasks = 0;
	w.sc.fine = true;
	t_wait_n(t_tasks, 1); /* the other one */
	t_turns(1500);
	assert_int_equal(w.sc.tasks, 1);
	assert_string_equal(w.sc.task[0].sender, "b@a.test");
	t_act(QM_MARK_HOLD, "", 0); /* it is */
	t_act(QM_MARK_RELEASE, "", 1);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 2);
}

static void release_is_now(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	t_waiting("a@a.test", "temp@b.test");
	t_act(QM_MARK_HOLD, "", 1);
	w.sc.tasks = 0;
	w.sc.fine = true;
	t_act(QM_MARK_RELEASE, "state=held", 1); /* although its time has not come */
	t_wait_over();
	assert_int_equal(w.sc.tasks, 1);
}

static void what_comes_later_is_not_hit(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	t_waiting("a@a.test", "temp@b.test");
	t_act(QM_MARK_HOLD, "", 1);
	t_taken("a@a.test", "ok@b.test");
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.q.stats.delivered, 1);
	t_act(QM_MARK_REMOVE, "", 1);
	t_wait_over();
}

/* From the active queue into the index, before the act has looked at either. */
static void what_enters_before_the_first_turn(void **state)
{
	struct sm_id id;

	(void)state;
	t_slow_retries();
	t_qm_all();
	id = t_waiting("a@a.test", "temp@b.test");
	t_want = t_acts.count + 1;
	t_act_begin(QM_MARK_HOLD, "", false);
	qm_bulk_entered(&w.q, id);
	assert_true(t_wait(t_acts_over));
	assert_int_equal(t_acts.rcpts, 1);
	t_act(QM_MARK_REMOVE, "", 1);
	t_wait_over();
}

static void some_recipients(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	t_waiting("a@a.test", "temp@b.test temp@c.test temp@d.test");
	t_act(QM_MARK_HOLD, "domain=c.test", 1);
	t_act(QM_MARK_REMOVE, "domain=d.test", 1);
	w.sc.tasks = 0;
	w.sc.fine = true;
	t_wait_n(t_tasks, 0);
	t_act(QM_MARK_NONE, "", 1);
	t_wait_n(t_held, 1);
	assert_int_equal(w.sc.tasks, 1);
	assert_string_equal(w.sc.task[0].rcpt[0], "temp@b.test");
	t_wait_n(t_deferred, 1);
	t_act(QM_MARK_RELEASE, "rcpt=temp@c.test", 1);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 2);
	assert_int_equal(w.q.stats.delivered, 2);
}

static void returned_to_the_sender(void **state)
{
	struct sm_id id;

	(void)state;
	t_slow_retries();
	t_qm_all();
	id = t_waiting("s@a.test", "temp@b.test temp@c.test");
	w.sc.tasks = 0;
	t_act(QM_MARK_BOUNCE, "", 2);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 1); /* one DSN about both */
	assert_true(sm_id_eq(w.sc.task[0].dsn_of, id));
	assert_int_equal(w.sc.task[0].dsn_count, 2);
	assert_string_equal(w.sc.task[0].dsn[0].text,
	                    "5.7.0 returned by the administrator: for a test");
	assert_int_equal(w.sc.task[0].dsn[0].code, 554);
}

static void requeued_as_if_it_came_now(void **state)
{
	(void)state;
	t_slow_retries();
	w.conf.return_timeout_ms = 86400 * 1000;
	t_qm_all();
	t_commit_at("s@a.test", "temp@b.test", sm_wall_s() - 3600, 0);
	t_wait_n(t_deferred, 1);
	w.conf.return_timeout_ms = 1800 * 1000;
	w.sc.tasks = 0;
	t_act(QM_MARK_REQUEUE, "", 1);
	t_wait_n(t_tasks, 1);
	t_wait_n(t_deferred, 1); /* not returned */
	t_act(QM_MARK_NONE, "", 1);
	t_wait_n(t_tasks, 2);
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.q.stats.failed, 0);
	t_act(QM_MARK_REMOVE, "", 1);
	t_wait_over();
}

static void only_counted(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	t_waiting("s@a.test", "temp@b.test temp@c.test");
	t_want = t_acts.count + 1;
	t_act_begin(QM_MARK_REMOVE, "", true);
	assert_true(t_wait(t_acts_over));
	assert_int_equal(t_acts.txns, 1);
	assert_int_equal(t_acts.rcpts, 2);
	t_turns(50);
	assert_int_equal(qm_edbc_rcpt_count(w.q.edbc), 2);
	assert_int_equal(qm_store_marks(w.q.store)->count, 0);
	t_act(QM_MARK_REMOVE, "", 2);
	t_wait_over();
}

static void named_by_id(void **state)
{
	char cond[80], id[SM_ID_SIZE];
	struct sm_id one;

	(void)state;
	t_slow_retries();
	t_qm_all();
	one = t_waiting("s@a.test", "temp@b.test");
	t_waiting("s@a.test", "temp@b.test");
	sm_id_text(one, id);
	snprintf(cond, sizeof(cond), "id=%s,%s,S0000000000000001FE", id, id);
	t_act(QM_MARK_REMOVE, cond, 1);
	t_wait_n(t_deferred, 1);
	assert_true(t_wait(t_deferred));
	t_turns(100);
	assert_null(qm_edbc_find(w.q.edbc, one));
	assert_int_equal(qm_edbc_count(w.q.edbc), 1);
	t_act(QM_MARK_REMOVE, "", 1);
	t_wait_over();
}

static void acts_take_turns(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	for (int i = 0; i < 20; i++)
		t_waiting("s@a.test", "temp@b.test");
	t_want = t_acts.count + 4;
	t_act_begin(QM_MARK_HOLD, "", false);
	t_act_begin(QM_MARK_RELEASE, "", false);
	t_act_begin(QM_MARK_HOLD, "", false);
	t_act_begin(QM_MARK_REMOVE, "", false);
	assert_true(t_wait(t_acts_over));
	assert_int_equal(t_acts.rcpts, 20); /* what was held is released, t_held, removed */
	t_wait_over();
	assert_int_equal(w.q.stats.dsns, 0);
}

static void who_asked_may_go(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	t_waiting("s@a.test", "temp@b.test");
	t_want = t_acts.count;
	t_act_begin(QM_MARK_REMOVE, "", false);
	qm_bulk_forget(&w.q, &t_acts);
	t_wait_over();
	assert_int_equal(t_acts.count, t_want);
}

static void too_many_wait(void **state)
{
	struct qm_bulk_ask a = {.verb = QM_MARK_HOLD, .text = SM_STR(""), .reason = SM_STR("")};
	unsigned n = 0;
	int err;

	(void)state;
	t_qm_all();
	do {
		a.filter = t_filter("");
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
	t_slow_retries();
	w.conf.retry_max_ms = 7 * 86400 * 1000LL;
	w.conf.edbc_max_entries = 2 * MANY;
	t_qm_all();
	for (uint64_t i = 1; i <= MANY; i++) {
		rec.ta = (struct sm_id){i, 7};
		qm_edbc_put_rec(w.q.edbc, &rec, (struct qm_loc){0});
	}
	w.sc.hold = true;
	old = t_taken("s@a.test", "temp@b.test");
	t_wait_n(t_tasks, 1);
	t_want = t_acts.count + 1;
	t_act_begin(QM_MARK_HOLD, "", false);
	t_turns(2);
	assert_int_equal(t_acts.count, t_want - 1);
	w.sc.hold = false;
	t_answer(&w.sc, &w.sc.task[0]);
	t_turns(5);
	new = t_commit("s@a.test", "temp@b.test");
	assert_true(t_wait(t_acts_over));
	assert_int_equal(t_acts.err, 0);
	assert_int_equal(t_acts.rcpts, MANY * EACH + 1);
	t_wait_n(t_deferred, MANY + 2);
	for (uint64_t i = 1; i <= MANY; i++)
		qm_edbc_remove(w.q.edbc, (struct sm_id){i, 7});
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 1);
	assert_int_equal(qm_edbc_next_try(qm_edbc_find(w.q.edbc, old)), QM_EDBC_NEVER);
	assert_true(qm_edbc_next_try(qm_edbc_find(w.q.edbc, new)) != QM_EDBC_NEVER);
	t_act(QM_MARK_REMOVE, "", 2);
	t_wait_over();
}

/* ---- it lasts ---- */

static void over_a_restart(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	t_waiting("a@a.test", "temp@b.test");
	t_waiting("b@a.test", "temp@b.test temp@c.test");
	t_waiting("c@a.test", "temp@b.test");
	t_act(QM_MARK_HOLD, "sender=a@a.test", 1);
	t_act(QM_MARK_HOLD, "rcpt=temp@c.test", 1);
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
	t_act(QM_MARK_NONE, "", 2);
	t_turns(500); /* smar is found again */
	t_wait_n(t_held, 2);
	t_wait_n(t_tasks, 2);
	t_turns(50);
	assert_int_equal(w.sc.tasks, 2);
	t_act(QM_MARK_RELEASE, "", 2);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 4);
}

static void carried_out_after_a_restart(void **state)
{
	int64_t room = w.conf.aq_max_entries;

	(void)state;
	t_slow_retries();
	w.conf.return_timeout_ms = 7200 * 1000;
	t_qm_all();
	t_waiting("a@a.test", "temp@b.test");
	t_waiting("b@a.test", "temp@b.test");
	t_commit_at("c@a.test", "temp@b.test", sm_wall_s() - 3600, 0);
	t_wait_n(t_deferred, 3);
	w.conf.aq_max_entries = 0; /* nothing can be read back */
	t_act(QM_MARK_REMOVE, "sender=a@a.test", 1);
	t_act(QM_MARK_BOUNCE, "sender=b@a.test", 1);
	t_act(QM_MARK_REQUEUE, "sender=c@a.test", 1);
	assert_int_equal(qm_edbc_count(w.q.edbc), 3);
	t_qm_stop();
	t_turns(5);
	w.conf.aq_max_entries = room;
	w.conf.return_timeout_ms = 1800 * 1000;
	w.sc.tasks = 0;
	t_qm_start();
	t_smtpc_up(&w.sc, 10);
	t_smtps_up(&w.ss, 1); /* it says that it has nothing open: what is removed is an orphan */
	t_wait_n(t_tasks, 2);
	t_wait_n(t_deferred, 1);
	assert_int_equal(w.sc.task[0].dsn_count + w.sc.task[1].dsn_count, 1);
	assert_int_equal(w.q.stats.failed, 0);
	t_act(QM_MARK_REMOVE, "", 1);
	t_wait_over();
}

static bool marks_moved(void)
{
	const struct qm_marks *m = qm_store_marks(w.q.store);
	struct qm_log_stat st;

	qm_log_stat(qm_store_ibdb(w.q.store), &st);
	return SM_LIST_FIRST(&m->chunks, struct qm_chunk, link)->loc.seq > t_want &&
	       st.oldest_seq > t_want;
}

static void marks_hold_no_segment(void **state)
{
	uint32_t seq;

	(void)state;
	t_slow_retries();
	w.conf.ibdb.size_bytes = w.conf.defedb.size_bytes = QM_LOG_SEGMENT_LEAST;
	t_qm_all();
	t_waiting("a@a.test", "temp@b.test");
	t_waiting("b@a.test", "temp@b.test");
	t_act(QM_MARK_HOLD, "", 2);
	seq = SM_LIST_FIRST(&qm_store_marks(w.q.store)->chunks, struct qm_chunk, link)->loc.seq;
	for (int i = 0; i < 900; i++) {
		t_commit("c@a.test", "ok@b.test");
		if (i % 50 == 0)
			t_turns(1);
	}
	t_wait_n(t_deferred, 2);
	t_want = seq;
	assert_true(t_wait(marks_moved)); /* the segment of the act is free, the act stands */
	t_qm_stop();
	t_turns(5);
	t_qm_start();
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 2);
	t_act(QM_MARK_REMOVE, "", 2);
	t_wait_over();
}

static bool mark_moved(void)
{
	const struct qm_marks *m = qm_store_marks(w.q.store);

	return SM_LIST_FIRST(&m->chunks, struct qm_chunk, link)->loc.seq > t_want;
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
	t_slow_retries();
	w.conf.ibdb.size_bytes = w.conf.defedb.size_bytes = QM_LOG_SEGMENT_LEAST;
	t_qm_all();
	w.sc.hold = true;
	t_taken("a@a.test", "temp@b.test");
	t_wait_n(t_tasks, 1);
	t_act(QM_MARK_REMOVE, "", 1);
	assert_int_equal(w.q.txns.by_id.count, 1);
	t_want = SM_LIST_FIRST(&qm_store_marks(w.q.store)->chunks, struct qm_chunk, link)->loc.seq;
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
	t_wait_over();
	assert_int_equal(w.q.stats.deferred, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup, t_qm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(held_until_released),
	    T(release_is_now),
	    T(what_comes_later_is_not_hit),
	    T(what_enters_before_the_first_turn),
	    T(some_recipients),
	    T(returned_to_the_sender),
	    T(requeued_as_if_it_came_now),
	    T(only_counted),
	    T(named_by_id),
	    T(acts_take_turns),
	    T(who_asked_may_go),
	    T(too_many_wait),
	    T(what_moves_during_the_walk),
	    T(over_a_restart),
	    T(carried_out_after_a_restart),
	    T(marks_hold_no_segment),
	    T(smtpc_has_it_for_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
