/* DEFEDB's file system is full, for as long as it takes: mail is tried all the same, what becomes
 * of it lasts, also over a crash, and when there is room everything is where it belongs. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "libsm/fault.h"
#include "libsm/time.h"
#include "qmgr/t_full.h"

#ifdef SM_TESTING

/* A mail that is tried while DEFEDB gets full: one that is put off stays IBDB's. */
static void keep(const char *rcpts)
{
	unsigned n = w.sc.tasks;

	w.sc.hold = true;
	t_taken("s@a.test", rcpts);
	t_wait_n(t_tasks, n + 1);
	t_fill();
	w.sc.hold = false;
	t_answer(&w.sc, &w.sc.task[n]);
	t_wait_n(t_kept, 1);
}

static bool deferred(void)
{
	return qm_edbc_count(w.q.edbc) == t_want && w.q.txns.by_id.count == 0 &&
	       qm_defer_loads(&w.q) == 0;
}

static bool all_said(void)
{
	return qm_store_overs(w.q.store) == 0 && qm_store_pending(w.q.store) == 0;
}

static bool ended(void)
{
	return w.q.stats.ended >= t_want;
}

/* ---- deliveries go on ---- */

/* New: IBDB has it. It is refused, waits its time, and is taken when its destination is back. */
static void what_ibdb_has(void **state)
{
	(void)state;
	t_qm_all();
	keep("temp@b.test x@b.test");
	assert_int_equal(qm_edbc_count(w.q.edbc), 0);
	t_wait_n(t_tasks, 3); /* as often as the schedule says */
	assert_int_equal(t_given("x@b.test"), 1);
	w.sc.fine = true;
	t_wait_over();
	t_still_full();
	assert_int_equal(qm_kept_count(&w.q), 0);
	assert_int_equal(qm_store_overs(w.q.store), 0); /* DEFEDB never heard of it */
}

/* Deferred before: back to its place in the index, nothing is written. */
static void what_defedb_has(void **state)
{
	struct qm_log_stat before, after;

	(void)state;
	t_qm_all();
	t_taken("s@a.test", "temp@b.test");
	t_taken("s@a.test", "temp@c.test");
	t_wait_n(deferred, 2);
	t_fill();
	qm_log_stat(qm_store_ibdb(w.q.store), &before);
	t_wait_n(t_tasks, w.sc.tasks + 4);
	t_wait_n(deferred, 2);
	qm_log_stat(qm_store_ibdb(w.q.store), &after);
	assert_int_equal(after.records, before.records);
	w.sc.fine = true;
	t_wait_over();
	t_still_full();
	assert_int_equal(qm_store_overs(w.q.store), 2);
	t_make_room();
	assert_true(t_wait(all_said));
}

/* With room again what is open moves, and DEFEDB is told what is over. */
static void then_there_is_room(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	t_taken("s@a.test", "temp@b.test");
	t_taken("s@a.test", "temp@c.test x@d.test");
	t_wait_n(deferred, 2);
	keep("temp@e.test");
	t_ask_ctl("flush", NULL); /* also what is kept */
	t_wait_n(t_tasks, 7);
	t_wait_n(t_kept, 1);
	t_make_room();
	t_wait_n(deferred, 3);
	assert_true(t_wait(all_said));
	t_qm_stop();
	t_down(&w.sc.p);
	t_qm_start();
	assert_int_equal(qm_edbc_count(w.q.edbc), 3);
	t_smtpc_up(&w.sc, 100);
	w.sc.fine = true;
	w.sc.tasks = 0;
	t_ask_ctl("flush", NULL);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 3);
}

/* More than the active queue may read back at other times: what is kept does not keep out others.
 */
static void kept_ones_leave_room(void **state)
{
	char rcpt[32];

	(void)state;
	w.conf.aq_max_entries = 8;
	t_slow_retries();
	t_qm_all();
	t_taken("s@a.test", "temp@old.test");
	t_wait_n(deferred, 1);
	w.sc.hold = true;
	for (int i = 0; i < 7; i++) {
		snprintf(rcpt, sizeof(rcpt), "temp@k%d.test", i);
		t_taken("s@a.test", rcpt);
	}
	t_wait_n(t_tasks, 8);
	t_fill();
	for (unsigned i = 1; i < 8; i++)
		t_answer(&w.sc, &w.sc.task[i]);
	t_wait_n(t_kept, 7);
	w.sc.hold = false;
	w.sc.fine = true;
	qm_edbc_set_all(w.q.edbc, 1);
	qm_defer_run(&w.q);
	t_wait_n(ended, 1);
	assert_int_equal(qm_kept_count(&w.q), 7);
	t_ask_ctl("flush", NULL);
	t_wait_over();
	t_still_full();
}

/* It is full of what was; when that is over, its segments are free without any room on the disk. */
static void it_frees_itself(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	t_taken("s@a.test", "temp@b.test");
	t_taken("s@a.test", "temp@c.test x@d.test");
	t_wait_n(deferred, 2);
	t_fill_up(false);
	w.sc.fine = true;
	t_ask_ctl("flush", NULL);
	t_wait_over();
	assert_true(t_wait(t_roomy));
	assert_true(t_wait(all_said));
	t_taken("s@a.test", "x@b.test");
	t_wait_over();
}

/* It was full of mail when DEFEDB had no room any more, and none of that goes. What has one
 * recipient is tried all the same, also behind what has to wait. */
static void nothing_but_kept_ones(void **state)
{
	char rcpts[256] = "";

	(void)state;
	w.conf.aq_max_entries = 8;
	t_slow_retries();
	t_qm_all();
	t_taken("s@a.test", "temp@two.test temp@two.test");
	t_taken("s@a.test", "temp@old.test");
	t_taken("s@a.test", "temp@older.test");
	t_wait_n(deferred, 3);
	w.sc.hold = true;
	for (int i = 0; i < 8; i++)
		snprintf(rcpts + strlen(rcpts), sizeof(rcpts) - strlen(rcpts), "%stemp@k%d.test",
		         i ? " " : "", i);
	t_taken("s@a.test", rcpts);
	t_wait_n(t_tasks, 11);
	t_fill();
	for (unsigned i = 3; i < 11; i++)
		t_answer(&w.sc, &w.sc.task[i]);
	t_wait_n(t_kept, 1);
	w.sc.hold = false;
	w.sc.fine = true;
	qm_edbc_set_all(w.q.edbc, 1);
	qm_defer_run(&w.q);
	t_wait_n(ended, 2);
	assert_int_equal(t_given("temp@two.test"), 2); /* as before */
	assert_int_equal(qm_kept_count(&w.q), 1);
	t_ask_ctl("flush", NULL);
	t_wait_n(ended, 3);
	t_ask_ctl("flush", NULL);
	t_wait_over();
	t_still_full();
}

/* ---- over a crash ---- */

/* Three mails of DEFEDB and one of IBDB; delivered, in part, reported, not at all. */
static void die_while_full(void)
{
	t_qm_all();
	t_taken("s@a.test", "temp@whole.test");
	t_taken("s@a.test", "temp@part.test tempkeep@part.test");
	t_taken("s@a.test", "temp@fail.test");
	t_wait_n(deferred, 3);
	w.sc.hold = true;
	t_taken("s@a.test", "tempnew@new.test");
	t_wait_n(t_tasks, 4);
	t_fill();
	t_answer(&w.sc, &w.sc.task[3]);
	t_wait_n(t_kept, 1);
	t_ask_ctl("flush", NULL);
	t_wait_n(t_tasks, 8);
	for (unsigned i = 4; i < 8; i++) {
		struct t_task *t = &w.sc.task[i];
		bool fails = strcmp(t->rcpt[0], "temp@fail.test") == 0;

		for (unsigned k = 0; k < t->count; k++)
			if (strncmp(t->rcpt[k], "temp@", 5) == 0)
				strcpy(t->rcpt[k], fails ? "perm" : "fine");
		t_answer(&w.sc, t);
	}
	t_wait_n(t_tasks, 9); /* the DSN */
	t_answer(&w.sc, &w.sc.task[8]);
	t_wait_n(ended, 3); /* whole, fail, and the DSN: durable, and content is removed */
	t_wait_n(t_kept, 2);
	t_still_full();
}

static bool both_were_tried(void)
{
	return t_given("tempkeep@part.test") > 0 && t_given("tempnew@new.test") > 0;
}

/* Each start knows the same: only those two are open, whoever says so by then. */
static void only_two_are_open(void)
{
	w.sc.tasks = 0;
	t_ask_ctl("flush", NULL);
	assert_true(t_wait(both_were_tried));
	t_wait_n(deferred, 2);
	assert_int_equal(w.sc.tasks, t_given("tempkeep@part.test") + t_given("tempnew@new.test"));
}

static void a_crash_while_it_is_full(void **state)
{
	(void)state;
	t_slow_retries();
	t_crash_after(die_while_full);
	t_qm_all();
	only_two_are_open();
	t_qm_again();
	only_two_are_open();
	w.sc.fine = true;
	t_ask_ctl("flush", NULL);
	t_wait_over();
}

/* The same, but there was room before the crash: some moved back, some is said to DEFEDB. */
static void die_when_there_is_room(void)
{
	die_while_full();
	t_make_room();
	assert_true(t_wait(all_said));
	t_wait_n(deferred, 2);
}

static void a_crash_when_there_is_room(void **state)
{
	(void)state;
	t_slow_retries();
	t_crash_after(die_when_there_is_room);
	t_qm_all();
	only_two_are_open();
	t_qm_again();
	only_two_are_open();
	w.sc.fine = true;
	t_ask_ctl("flush", NULL);
	t_wait_over();
}

static unsigned delays(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w.sc.tasks; i++)
		n += w.sc.task[i].dsn_kind == SM_DSN_DELAYED;
	return n;
}

/* In DEFEDB; late while that is full: IBDB has it, that it was told, and the DSN. */
static void die_when_it_was_told(void)
{
	w.conf.delay_timeout_ms = 4 * 3600 * 1000;
	t_qm_all();
	t_taken("s@a.test", "temp@b.test");
	t_wait_n(deferred, 1);
	w.conf.delay_timeout_ms = 0;
	t_fill();
	t_ask_ctl("flush", NULL);
	t_wait_n(ended, 1); /* the DSN */
	t_wait_n(t_kept, 1);
	assert_int_equal(delays(), 1);
	t_still_full();
}

static void a_delay_is_told_once(void **state)
{
	(void)state;
	t_slow_retries();
	w.conf.delay_timeout_ms = 0;
	t_crash_after(die_when_it_was_told);
	t_qm_all();
	for (int i = 0; i < 2; i++) {
		t_ask_ctl("flush", NULL);
		t_wait_n(t_tasks, w.sc.tasks + 1);
		t_wait_n(deferred, 1);
	}
	assert_int_equal(delays(), 0);
	w.sc.fine = true;
	t_ask_ctl("flush", NULL);
	t_wait_over();
}

/* ---- for hours ---- */

static unsigned used_segments(struct qm_log *log)
{
	struct qm_log_stat st;

	qm_log_stat(log, &st);
	return st.current_seq - st.oldest_seq + 1;
}

static bool few_segments(void)
{
	return used_segments(qm_store_ibdb(w.q.store)) <= 6;
}

/* What IBDB says for DEFEDB does not hold its segments, and neither does what is kept. */
static void for_long(void **state)
{
	struct qm_log_stat st;

	(void)state;
	w.conf.ibdb.size_bytes = QM_LOG_SEGMENT_LEAST;
	t_slow_retries();
	t_qm_all();
	for (int i = 0; i < 20; i++)
		t_taken("s@a.test", "temp@b.test");
	t_wait_n(deferred, 20);
	keep("temp@e.test");
	w.sc.fine = true;
	qm_edbc_set_all(w.q.edbc, 1);
	qm_defer_run(&w.q);
	t_wait_n(ended, 20);
	assert_int_equal(qm_store_overs(w.q.store), 20);
	/* Anything that goes through the journal; new mail is refused while DEFEDB is full. */
	qm_log_stat(qm_store_ibdb(w.q.store), &st);
	for (uint32_t from = st.current_seq; st.current_seq < from + 12;) {
		uint64_t next = (uint64_t)sm_wall_s() << QM_COUNTER_SHIFT;

		for (int i = 0; i < 100; i++)
			(void)qm_store_set_birth(w.q.store, next);
		t_turns(2);
		qm_log_stat(qm_store_ibdb(w.q.store), &st);
	}
	if (!t_wait(few_segments))
		fail_msg("segments in use: %u", used_segments(qm_store_ibdb(w.q.store)));
	assert_int_equal(qm_store_overs(w.q.store), 20);
	assert_int_equal(qm_kept_count(&w.q), 1);
	t_still_full();
	t_make_room();
	assert_true(t_wait(all_said));
	t_ask_ctl("flush", NULL);
	t_wait_over();
}

static int setup(void **state)
{
	assert_int_equal(sm_fault_arm(NULL), 0);
	return t_qm_setup(state);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, t_qm_teardown)

#endif

int main(void)
{
#ifdef SM_TESTING
	const struct CMUnitTest tests[] = {
	    T(what_ibdb_has),
	    T(what_defedb_has),
	    T(then_there_is_room),
	    T(kept_ones_leave_room),
	    T(nothing_but_kept_ones),
	    T(it_frees_itself),
	    T(a_crash_while_it_is_full),
	    T(a_crash_when_there_is_room),
	    T(a_delay_is_told_once),
	    T(for_long),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
#else
	return 77; /* needs fault points */
#endif
}
