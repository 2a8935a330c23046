/* Segments in the whole queue manager with puppets around it: one is there as long as a mail, or a
 * child of one, or its smtps needs it, whoever dies meanwhile, and not longer. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/time.h"
#include "qmgr/incoming_int.h"
#include "qmgr/t_qm.h"

static struct sm_id the_segment;

/* ---- what smtps would do ---- */

/* Each at a place of its own. */
static uint32_t next_offset = 32;

static void send_in(struct sm_id ta, struct sm_id content, const char *rcpt, uint8_t notify)
{
	const struct cdb_place at = {.content = content, .offset = next_offset, .size = 24};

	t_commit_in(ta, &at, rcpt, notify);
	next_offset += 64;
}

static void taken_in(struct sm_id content, const char *rcpt, uint8_t notify)
{
	send_in(t_next_id(), content, rcpt, notify);
	t_wait_n(t_verdicts, w.ss.verdicts + 1);
	assert_int_equal(w.ss.code, 0);
}

/* One mail of a segment, and it waits. */
static void one_waits(void)
{
	t_qm_all();
	the_segment = t_segment();
	taken_in(the_segment, "temp@b.test", 0);
	t_wait_n(t_deferred, 1);
}

static void seal(struct sm_id segment)
{
	struct sm_msg_content_sealed m = {.content = segment};

	t_send(&w.ss.p, SM_MSG_content_sealed, &m, false);
}

/* It comes back, and still needs these; NULL: nothing. */
static void comes_again(const struct sm_id *open)
{
	t_down(&w.ss.p);
	t_turns(50);
	w.ss.open_count = open != NULL;
	if (open != NULL)
		w.ss.open[0].id = *open;
	t_smtps_up(&w.ss, 1);
	w.ss.open_count = 0;
}

/* ---- what is waited for ---- */

static bool no_mail(void)
{
	return w.q.txns.by_id.count == 0 && qm_edbc_count(w.q.edbc) == 0 &&
	       qm_defer_loads(&w.q) == 0;
}

static size_t mails;
static bool so_many_mails(void)
{
	return w.q.txns.by_id.count + qm_edbc_count(w.q.edbc) == mails;
}

static void wait_mails(size_t n)
{
	mails = n;
	assert_true(t_wait(so_many_mails));
}

/* All that waits is delivered now. */
static void deliver_all(void)
{
	w.sc.fine = true;
	t_ask_ctl("flush", NULL);
	assert_true(t_wait(no_mail));
}

static void assert_stays(void)
{
	t_turns(100);
	assert_true(t_content_there(the_segment));
}

/* ---- the end of a segment ---- */

static void the_last_one_of_three(void **state)
{
	(void)state;
	t_qm_all();
	w.sc.hold = true;
	the_segment = t_segment();
	taken_in(the_segment, "x@b.test", 0);
	taken_in(the_segment, "x@c.test", 0);
	taken_in(the_segment, "x@d.test", 0);
	t_wait_n(t_tasks, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_true(sm_id_eq(w.sc.task[i].content, the_segment));
	t_answer(&w.sc, &w.sc.task[1]);
	wait_mails(2);
	seal(the_segment);
	assert_stays();
	t_answer(&w.sc, &w.sc.task[0]);
	wait_mails(1);
	assert_stays();
	t_answer(&w.sc, &w.sc.task[2]);
	t_wait_over();
}

static void sealed_after_the_last_one(void **state)
{
	(void)state;
	t_qm_all();
	w.conf.orphan_delay_ms = 1000;
	the_segment = t_segment();
	for (int i = 0; i < 3; i++) {
		taken_in(the_segment, "x@b.test", 0);
		assert_true(t_wait(no_mail));
		assert_stays(); /* the next one may be on its way */
	}
	t_turns(1500); /* nor does a search take it */
	assert_true(t_content_there(the_segment));
	seal(the_segment);
	t_wait_over();
	seal(the_segment); /* it does no harm */
	the_segment = t_segment();
	seal(the_segment); /* nobody ever was in it */
	t_wait_over();
	assert_false(w.ss.p.gone);
	assert_int_equal(w.q.stats.orphans, 0);
}

/* Its smtps had no chance to say so, or did and was not heard: it tells when it comes again. */
static void nobody_said_it_was_sealed(void **state)
{
	struct sm_id used;

	(void)state;
	t_slow_retries();
	t_qm_all();
	the_segment = t_segment();
	taken_in(the_segment, "x@b.test", 0);
	assert_true(t_wait(no_mail));
	used = t_segment();
	taken_in(used, "temp@b.test", 0);
	t_wait_n(t_deferred, 1);
	comes_again(&the_segment);
	assert_stays();
	assert_true(t_content_there(used));
	taken_in(the_segment, "x@b.test", 0); /* it goes on */
	wait_mails(1);
	assert_stays();
	comes_again(NULL);
	t_turns(100);
	assert_false(t_content_there(the_segment));
	assert_true(t_content_there(used));
	deliver_all();
	t_wait_over();
	assert_int_equal(w.q.stats.orphans, 0); /* at once, not by a search */
}

/* ---- restarts of qmgr ---- */

static void restart_without_smtps(void)
{
	t_qm_end();
	t_qm_start();
	t_smar_up();
	t_smtpc_up(&w.sc, 100);
}

static void restart(const struct sm_id *open)
{
	restart_without_smtps();
	comes_again(open);
}

static void it_outlives_qmgr(void **state)
{
	(void)state;
	t_slow_retries();
	for (int kept = 0; kept < 2; kept++) {
		t_qm_all();
		w.conf.orphan_delay_ms = 1000;
		w.sc.fine = false;
		the_segment = t_segment();
		taken_in(the_segment, "temp1@b.test", 0);
		taken_in(the_segment, "temp2@c.test", 0);
		t_wait_n(t_deferred, 2);
		restart(kept ? &the_segment : NULL);
		assert_int_equal(qm_edbc_count(w.q.edbc), 2);
		t_turns(1500); /* a search */
		assert_true(t_content_there(the_segment));
		deliver_all();
		if (kept) {
			t_turns(1500);
			assert_true(t_content_there(the_segment));
			/* More may come, and nothing of before is forgotten. */
			taken_in(the_segment, "x@b.test", 0);
			assert_true(t_wait(no_mail));
			assert_stays();
			seal(the_segment);
		}
		t_wait_over();
		assert_int_equal(w.q.stats.orphans, 0);
		t_qm_end();
	}
}

/* smtps was not there when qmgr came; its mails are delivered meanwhile. */
static void its_smtps_comes_late(void **state)
{
	(void)state;
	t_slow_retries();
	one_waits();
	restart_without_smtps();
	deliver_all();
	assert_stays();
	/* Another one has nothing to say about it. */
	t_smtps_up(&w.ss2, 2);
	assert_stays();
	comes_again(NULL);
	t_wait_over();
}

/* A death in the middle: what is durable is counted, whatever its record was. */
static void die_with_two(void)
{
	one_waits();
	w.sc.hold = true;
	taken_in(the_segment, "temp@c.test", 0); /* in the journal only */
	t_wait_n(t_tasks, 2);
}

static bool found_segment(struct sm_id id, void *arg)
{
	*(struct sm_id *)arg = id;
	return true;
}

static void qmgr_dies(void **state)
{
	(void)state;
	t_slow_retries();
	t_crash_after(die_with_two);
	w.sc.hold = false;
	t_qm_all();
	assert_int_equal(cdb_list(w.q.cdb, found_segment, &the_segment, NULL), 0);
	assert_true(cdb_is_segment(the_segment));
	t_wait_n(t_deferred, 2);
	assert_stays();
	deliver_all();
	t_wait_over();
}

/* ---- children ---- */

static const struct t_task *held_dsn(void)
{
	for (unsigned i = 0; i < w.sc.tasks; i++)
		if (w.sc.task[i].dsn_kind != SM_DSN_NONE && !w.sc.task[i].answered)
			return &w.sc.task[i];
	return NULL;
}

static bool a_dsn_is_held(void)
{
	return held_dsn() != NULL;
}

static void a_dsn_outlives_its_mail(void **state)
{
	(void)state;
	for (int restarted = 0; restarted < 2; restarted++) {
		t_qm_all();
		w.sc.hold = true;
		w.sc.tasks = 0;
		the_segment = t_segment();
		taken_in(the_segment, "perm@b.test", SM_NOTIFY_FAILURE);
		t_wait_n(t_tasks, 1);
		t_answer(&w.sc, &w.sc.task[0]);
		assert_true(t_wait(a_dsn_is_held));
		wait_mails(1);
		assert_true(sm_id_eq(held_dsn()->content, the_segment));
		seal(the_segment);
		assert_stays();
		if (restarted) {
			w.sc.tasks = 0;
			restart(NULL);
			assert_true(t_wait(a_dsn_is_held));
			assert_true(sm_id_eq(held_dsn()->content, the_segment));
			assert_stays();
		}
		t_answer(&w.sc, (struct t_task *)(uintptr_t)held_dsn());
		t_wait_over();
		t_qm_end();
	}
}

static void a_part_of_an_alias_outlives_its_mail(void **state)
{
	(void)state;
	w.members = 3;
	t_qm_all();
	w.sc.hold = true;
	the_segment = t_segment();
	taken_in(the_segment, "list@alias.test", 0);
	taken_in(the_segment, "x@b.test", 0);
	t_wait_n(t_tasks, 2);
	seal(the_segment);
	wait_mails(2); /* the alias itself is over */
	for (unsigned i = 0; i < 2; i++) {
		assert_stays();
		assert_true(sm_id_eq(w.sc.task[i].content, the_segment));
		t_answer(&w.sc, &w.sc.task[i]);
		wait_mails(1 - i);
	}
	t_wait_over();
}

/* ---- what no smtps of ours says ---- */

static bool is_cut_off(void)
{
	return w.ss.p.gone;
}

static void assert_refused(void)
{
	assert_true(t_wait(is_cut_off));
	assert_int_equal(w.q.stats.accepted, 0);
	assert_int_equal(w.q.txns.by_id.count, 0);
	assert_int_equal(w.q.txns.contents.by_id.count, 0);
	comes_again(NULL);
}

static void it_lies(void **state)
{
	struct sm_id ta, foreign;

	(void)state;
	t_qm_all();
	ta = t_next_id();
	foreign = (struct sm_id){ta.counter | CDB_SEGMENT_BIT, 2};
	send_in(ta, foreign, "x@b.test", 0);
	assert_refused();
	/* The segment of nobody: qmgr writes no content. */
	send_in(ta, (struct sm_id){foreign.counter, SM_ID_PROC_QMGR}, "x@b.test", 0);
	assert_refused();
	/* A transaction that is one. */
	ta.counter |= CDB_SEGMENT_BIT;
	send_in(ta, ta, "x@b.test", 0);
	assert_refused();
	send_in(ta, (struct sm_id){ta.counter + 1, 1}, "x@b.test", 0);
	assert_refused();
	/* The file of another mail. */
	send_in(t_next_id(), t_next_id(), "x@b.test", 0);
	assert_refused();
	/* What is another one's is not sealed, nor what is none. */
	the_segment = t_segment();
	seal(foreign);
	assert_refused();
	seal(t_next_id());
	assert_refused();
	seal((struct sm_id){0});
	assert_refused();
}

/* Two mails in one place: when one is over the other would lose its content. */
static void it_uses_a_place_twice(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	the_segment = t_segment();
	for (uint32_t more = 0; more < 24; more += 23) {
		taken_in(the_segment, "temp@b.test", 0);
		next_offset += more - 64;
		send_in(t_next_id(), the_segment, "x@b.test", 0);
		assert_true(t_wait(is_cut_off));
		comes_again(&the_segment);
	}
	assert_int_equal(w.q.stats.accepted, 2);
	deliver_all();
	seal(the_segment);
	t_wait_over();
}

/* What is sealed by one that lies goes, what others have in theirs stays. */
static void others_are_not_concerned(void **state)
{
	(void)state;
	t_slow_retries();
	one_waits();
	t_smtps_up(&w.ss2, 2);
	struct sm_msg_content_sealed m = {.content = the_segment};

	t_send(&w.ss2.p, SM_MSG_content_sealed, &m, false);
	t_turns(50);
	assert_true(w.ss2.p.gone);
	deliver_all();
	assert_stays();
	seal(the_segment);
	t_wait_over();
}

static void hours_pass(void)
{
	for (size_t i = 0; i < QM_HOLDERS; i++)
		w.q.in->holders.v[i].left_ms -= QM_HOLDER_AWAY_MS;
	qm_content_look(&w.q);
}

/* Its index is not in use any more: mail that it left is delivered by a later qmgr, and its files
 * go all the same. One without any mail, too. */
static void its_smtps_never_comes_back(void **state)
{
	struct sm_id empty;

	(void)state;
	t_slow_retries();
	one_waits();
	empty = t_segment();
	restart_without_smtps();
	t_smtps_up(&w.ss2, 2);
	deliver_all();
	assert_stays(); /* it may have something on its way */
	hours_pass();
	t_turns(100);
	assert_false(t_content_there(the_segment));
	qm_content_search_soon(&w.q);
	t_wait_over();
	assert_false(t_content_there(empty));
}

/* It was only stopped for long, or had no way to us. What it may still write to is gone: it has to
 * have done with that first. */
static void its_smtps_comes_too_late(void **state)
{
	(void)state;
	t_qm_all();
	the_segment = t_segment();
	for (int open = 0; open < 2; open++) {
		t_down(&w.ss.p);
		t_turns(50);
		hours_pass();
		comes_again(open ? &the_segment : NULL);
		if (open)
			assert_refused();
	}
	t_wait_over();
}

/* ---- orphans ---- */

static void an_abandoned_one_is_found(void **state)
{
	struct sm_id open, used;

	(void)state;
	t_slow_retries();
	t_qm_all();
	w.conf.orphan_delay_ms = 1000;
	the_segment = t_segment();
	open = t_segment();
	used = t_segment();
	taken_in(used, "temp@b.test", 0);
	t_wait_n(t_deferred, 1);
	comes_again(&open);
	struct sm_id young = t_segment(); /* after that was said */

	t_turns(2500);
	assert_false(t_content_there(the_segment));
	assert_true(t_content_there(open));
	assert_true(t_content_there(used));
	assert_true(t_content_there(young));
	assert_int_equal(w.q.stats.orphans, 1);
	/* It gives up one and fills the other. */
	taken_in(young, "x@b.test", 0);
	seal(young);
	seal(open);
	deliver_all();
	t_wait_over();
	assert_int_equal(w.q.stats.orphans, 1);
}

#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup, t_qm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(the_last_one_of_three),
	    T(sealed_after_the_last_one),
	    T(nobody_said_it_was_sealed),
	    T(it_outlives_qmgr),
	    T(its_smtps_comes_late),
	    T(qmgr_dies),
	    T(a_dsn_outlives_its_mail),
	    T(a_part_of_an_alias_outlives_its_mail),
	    T(it_lies),
	    T(it_uses_a_place_twice),
	    T(others_are_not_concerned),
	    T(its_smtps_never_comes_back),
	    T(its_smtps_comes_too_late),
	    T(an_abandoned_one_is_found),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
