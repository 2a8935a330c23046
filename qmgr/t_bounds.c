/* What bounds the queue manager: the disk, the index, the active queue, next hops, and the segments
 * of its logs. What does not fit waits; nothing fails for it. */
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
	t_wait_n(t_verdicts, 1);
	assert_int_equal(w.ss.code, 452);
	assert_int_equal(w.q.txns.by_id.count, 0);
	assert_true(t_content_there(id)); /* refused: it is smtps's */
	assert_int_equal(cdb_unlink(w.q.cdb, id), 0);
	other = w.conf;
	other.min_disk_bytes = other.ok_disk_bytes = 0;
	qm_queue_reload(&w.q, &other);
	assert_true(t_wait(credit_0)); /* told without asking */
	t_taken("s@a.test", "x@b.test");
	t_wait_over();
}

static void a_full_index(void **state)
{
	(void)state;
	w.conf.edbc_max_entries = 2;
	w.conf.retry_min_ms = 60000;
	t_qm_all();
	t_taken("s@a.test", "temp@b.test");
	t_taken("s@a.test", "temp@b.test");
	t_wait_n(t_deferred, 2);
	assert_true(t_wait(credit_452));
	(void)t_commit("s@a.test", "x@b.test");
	t_wait_n(t_verdicts, 3);
	assert_int_equal(w.ss.code, 452);
	w.sc.hold = true;
	t_ask_ctl("flush", NULL);
	t_wait_n(t_tasks, 4);
	for (unsigned i = 2; i < 4; i++) {
		strcpy(w.sc.task[i].rcpt[0], "fine");
		t_answer(&w.sc, &w.sc.task[i]);
	}
	assert_true(t_wait(credit_0));
	assert_int_equal(cdb_unlink(w.q.cdb, (struct sm_id){w.ss.next_id - 1, 1}), 0);
	t_wait_over();
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
	t_wait_n(t_verdicts, 30);
	assert_int_equal(w.ss.code, 0);
	if (!t_wait(most_are_deferred))
		fail_msg("active %zu, t_deferred %zu", w.q.txns.rcpts, qm_edbc_count(w.q.edbc));
	w.sc.hold = false;
	for (unsigned i = 0; i < w.sc.tasks; i++)
		t_answer(&w.sc, &w.sc.task[i]);
	t_wait_over();
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
	t_taken("s@a.test", "dead1@b.test");
	t_taken("s@a.test", "dead2@b.test");
	t_taken("s@a.test", "ok@c.test"); /* another one does not care */
	t_wait_n(t_tasks, 2);
	t_turns(20); /* for nothing: one connection, one task */
	assert_int_equal(w.sc.tasks, 2);
	t_answer(&w.sc, &w.sc.task[0]);
	t_answer(&w.sc, &w.sc.task[1]);
	t_wait_n(t_deferred, 2);
	assert_int_equal(w.sc.tasks, 2); /* the second was not tried */
	t_taken("s@a.test", "dead3@b.test");
	t_wait_n(t_deferred, 3);
	assert_int_equal(w.sc.tasks, 2); /* nor the third */
	w.sc.hold = true;
	t_ask_ctl("flush", NULL);
	t_wait_n(t_tasks, 3);
	for (unsigned i = 2; i < 5; i++) {
		t_wait_n(t_tasks, i + 1);
		strcpy(w.sc.task[i].rcpt[0], "alive");
		t_answer(&w.sc, &w.sc.task[i]);
	}
	t_wait_over();
}

static void limits_change_at_a_reload(void **state)
{
	static struct qm_conf other;

	(void)state;
	w.conf.smtpc.initial_connections = w.conf.smtpc.max_connections = 1;
	t_qm_all();
	w.sc.hold = true;
	t_taken("s@a.test", "x@b.test");
	t_taken("s@a.test", "x@b.test");
	t_taken("s@a.test", "x@b.test");
	t_wait_n(t_tasks, 1);
	t_turns(20); /* for nothing: one connection, one task */
	assert_int_equal(w.sc.tasks, 1);
	other = w.conf;
	other.smtpc.max_connections = 10;
	other.smtps.max_transactions = 7;
	w.ss.credits = 0;
	qm_queue_reload(&w.q, &other);
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_n(t_tasks, 3);
	assert_true(w.ss.credits > 0);
	t_answer(&w.sc, &w.sc.task[1]);
	t_answer(&w.sc, &w.sc.task[2]);
	t_wait_over();
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
	return qm_edbc_count(w.q.edbc) >= t_want;
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
	old_one = t_taken("s@a.test", "temp@old.test"); /* stays in DEFEDB */
	t_wait_n(t_deferred, 1);
	w.sc.hold = true;
	t_taken("s@a.test", "slow@old.test"); /* stays in IBDB, at smtpc */
	t_wait_n(t_tasks, 2);
	w.sc.hold = false;
	for (int i = 0; i < 15; i++) {
		w.sc.fine = false;
		for (int k = 0; k < 20; k++)
			t_taken("s@a.test", many_rcpts);
		t_wait_n(all_tried, 21);
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
	t_wait_over();
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
		t_taken("s@a.test", "temp@b.test");
	t_wait_n(t_deferred, 3);
	w.sc.fine = true;
	first = qm_edbc_id(qm_edbc_top(w.q.edbc));
	assert_true(qm_defer_forward(&w.q, first));
	qm_defer_flush(&w.q, (struct sm_id){0});
	assert_int_equal(qm_defer_loads(&w.q), 3); /* a copy, and the other two */
	assert_int_equal(qm_edbc_next_try(qm_edbc_find(w.q.edbc, first)), QM_EDBC_NEVER);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 6);
}

#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup, t_qm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(a_full_disk),
	    T(a_full_index),
	    T(a_full_active_queue),
	    T(a_dead_next_hop),
	    T(limits_change_at_a_reload),
	    T(one_old_mail_holds_nothing),
	    T(a_copy_holds_up_nobody),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
