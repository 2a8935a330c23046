/*
 * What qmgr knows after a crash: the life of a mail, cut after each of its records, once and twice.
 * Each run is a child that dies without an orderly end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "qmgr/t_store.h"

static const struct sm_id mail = {1000, 1}, dsn1 = {1001, SM_ID_PROC_QMGR},
			  dsn2 = {1002, SM_ID_PROC_QMGR};

static struct qm_loc journal; /* where IBDB held the mail */

/* ---- the life of a mail, as the handlers of qmgr write it ---- */

static struct qm_txn *find(struct t_store *t, struct sm_id id)
{
	struct qm_txn *txn = qm_txn_find(&t->txns, id);

	sm_assert(txn != NULL);
	return txn;
}

static void grant(struct t_store *t)
{
	qm_store_id_block(t->st, 1000, 64, 1, 77);
}

static void accept_mail(struct t_store *t)
{
	struct sm_msg_rcpt_new rcpts[3] = {{SM_STR("a@x.test"), SM_STR(""), 0},
	                                   {SM_STR("b@x.test"), SM_STR(""), 0},
	                                   {SM_STR("c@x.test"), SM_STR(""), 0}};
	struct sm_msg_ta_commit m = {.ta = mail,
	                             .content = mail,
	                             .sender = SM_STR("s@z.test"),
	                             .envid = SM_STR(""),
	                             .received_s = 1,
	                             .rcpts_count = 3,
	                             .rcpts = rcpts};

	qm_store_txn(t->st, qm_txn_from_commit(&t->txns, &m), qm_store_ibdb(t->st));
}

static void change(struct t_store *t, unsigned index, enum qm_rcpt_state state)
{
	struct qm_rcpt *r = qm_txn_rcpt(find(t, mail), (uint16_t)index);

	qm_rcpt_note(r, 550, SM_STR("5.1.1 no"), SM_STR("mx.test"), 9);
	qm_rcpt_set(r, state);
	qm_store_rcpt(t->st, r);
}

static void a_delivered(struct t_store *t)
{
	change(t, 0, QM_RCPT_SETTLED);
}

static void a_relayed(struct t_store *t)
{
	change(t, 0, QM_RCPT_RELAYED);
}

static void b_failed(struct t_store *t)
{
	change(t, 1, QM_RCPT_FAILED);
}

static void report_as(struct t_store *t, uint8_t kind, struct sm_id id, unsigned index)
{
	const struct qm_rec_index_item item = {(uint16_t)index};
	struct qm_txn *parent = find(t, mail), *child = qm_txn_new(&t->txns, id, 1);
	struct qm_rcpt *r = qm_txn_rcpt(parent, (uint16_t)index);

	child->sender = child->envid = SM_STR("");
	child->content = parent->content;
	child->rcpts[0].addr = SM_STR("s@z.test");
	child->rcpts[0].orcpt = child->rcpts[0].text = child->rcpts[0].host = SM_STR("");
	child->dsn_kind = kind;
	child->dsn_of = parent->id;
	child->dsn_sender = SM_STR("s@z.test");
	child->dsn_count = 0;
	qm_content_child(&t->txns.contents, &(struct cdb_place){.content = parent->content},
	                 child->id, parent->id, true, true);
	qm_txn_reported(parent, kind, &item, 1);
	qm_store_child(t->st, parent, &r, 1, child);
}

static void report(struct t_store *t, struct sm_id id, unsigned index)
{
	report_as(t, SM_DSN_FAILED, id, index);
}

static void b_reported(struct t_store *t)
{
	report(t, dsn1, 1);
}

static void a_told(struct t_store *t)
{
	report_as(t, SM_DSN_RELAYED, dsn2, 0);
}

static void b_delivered(struct t_store *t)
{
	change(t, 1, QM_RCPT_DELIVERED);
}

static void c_warned(struct t_store *t)
{
	report_as(t, SM_DSN_DELAYED, dsn1, 2);
}

static void c_deferred(struct t_store *t)
{
	struct qm_txn *txn = find(t, mail);
	struct qm_rcpt *r = qm_txn_rcpt(txn, 2);

	r->next_try_s = 5000;
	qm_rcpt_set(r, QM_RCPT_DEFERRED);
	qm_store_txn(t->st, txn, qm_store_defedb(t->st));
}

static void c_deferred_first(struct t_store *t)
{
	journal = find(t, mail)->loc;
	c_deferred(t);
}

static void moved(struct t_store *t)
{
	qm_store_moved(t->st, find(t, mail), journal);
}

static void moved_lost(struct t_store *t)
{
	(void)t;
}

static void dsn1_ends(struct t_store *t)
{
	qm_store_end(t->st, find(t, dsn1));
}

static void c_failed(struct t_store *t)
{
	change(t, 2, QM_RCPT_FAILED);
}

static void c_reported(struct t_store *t)
{
	report(t, dsn2, 2);
}

static void mail_ends(struct t_store *t)
{
	qm_store_end(t->st, find(t, mail));
}

static void dsn2_deferred(struct t_store *t)
{
	struct qm_txn *txn = find(t, dsn2);

	txn->rcpts[0].next_try_s = 7000;
	qm_rcpt_set(&txn->rcpts[0], QM_RCPT_DEFERRED);
	qm_store_txn(t->st, txn, qm_store_defedb(t->st));
}

static void dsn2_ends(struct t_store *t)
{
	qm_store_end(t->st, find(t, dsn2));
}

/* ---- a is an alias, expanded in two children ---- */

static struct qm_txn *part(struct t_store *t, struct sm_id id, const char *after,
                           enum qm_rcpt_state state)
{
	struct qm_txn *parent = find(t, mail), *child = qm_txn_new(&t->txns, id, 2);
	struct qm_rcpt *r = qm_txn_rcpt(parent, 0);

	child->sender = SM_STR("owner-a@x.test");
	child->envid = SM_STR("");
	child->content = parent->content;
	child->child_of = parent->id;
	child->level = 1;
	for (int i = 0; i < 2; i++) {
		child->rcpts[i].addr = SM_STR("member@y.test");
		child->rcpts[i].orcpt = child->rcpts[i].text = child->rcpts[i].host = SM_STR("");
	}
	qm_content_child(&t->txns.contents, &(struct cdb_place){.content = parent->content}, id,
	                 parent->id, false, true);
	qm_rcpt_cursor(r, sm_str(after));
	qm_rcpt_note(r, 250, SM_STR("2.1.5 alias expanded"), SM_STR(""), 9);
	qm_rcpt_set(r, state);
	qm_store_expand(t->st, r, child);
	return child;
}

static void a_begun(struct t_store *t)
{
	part(t, dsn1, "m2@y.test", QM_RCPT_EXPANDING);
}

static void a_done(struct t_store *t)
{
	part(t, dsn2, "m4@y.test", QM_RCPT_SETTLED);
}

static void a_done_owed(struct t_store *t)
{
	part(t, dsn2, "m4@y.test", QM_RCPT_EXPANDED);
}

static void a_no_more(struct t_store *t)
{
	struct qm_rcpt *r = qm_txn_rcpt(find(t, mail), 0);

	qm_rcpt_set(r, QM_RCPT_SETTLED);
	qm_store_expand(t->st, r, NULL);
}

/* The whole mail waits in the middle of the expansion: smar is away. */
static void all_deferred(struct t_store *t)
{
	struct qm_txn *txn = find(t, mail);

	journal = txn->loc;
	for (unsigned i = 0; i < 3; i++) {
		if (txn->rcpts[i].state == QM_RCPT_SETTLED)
			continue;
		txn->rcpts[i].next_try_s = 5000;
		qm_rcpt_set(&txn->rcpts[i], QM_RCPT_DEFERRED);
	}
	qm_store_txn(t->st, txn, qm_store_defedb(t->st));
}

static void child1_deferred(struct t_store *t)
{
	struct qm_txn *txn = find(t, dsn1);
	struct qm_loc old = txn->loc;
	bool was_journal = txn->log == qm_store_ibdb(t->st);

	qm_rcpt_set(&txn->rcpts[0], QM_RCPT_SETTLED);
	txn->rcpts[1].next_try_s = 7000;
	qm_rcpt_set(&txn->rcpts[1], QM_RCPT_DEFERRED);
	qm_store_txn(t->st, txn, qm_store_defedb(t->st));
	t_flush(t);
	if (was_journal)
		qm_store_moved(t->st, txn, old);
}

static void ab_told(struct t_store *t)
{
	const struct sm_id dsn3 = {1003, SM_ID_PROC_QMGR};

	report_as(t, SM_DSN_EXPANDED, dsn3, 0);
}

static void dsn3_ends(struct t_store *t)
{
	qm_store_end(t->st, find(t, (struct sm_id){1003, SM_ID_PROC_QMGR}));
}

struct step {
	void (*act)(struct t_store *t);
	const char *known; /* after a crash behind it */
};

static const struct step life[] = {
    {grant, ""},
    {accept_mail, "1000[0,1,2]"},
    {a_delivered, "1000[1,2]"},
    {b_failed, "1000[1F,2]"},
    {b_reported, "1000[2]+ 1001[0]"},
    {c_deferred_first, "1000[2]+ 1001[0]"},
    {moved, "1000[2]+ 1001[0]"},
    {dsn1_ends, "1000[2]"},
    {c_deferred, "1000[2]"},
    {c_failed, "1000[2F]"},
    {c_reported, "1002[0]"}, /* nothing is owed to anybody: a start ends it */
    {mail_ends, "1002[0]"},
    {dsn2_deferred, "1002[0]"},
    {dsn2_ends, ""},
};

/* The same with `moved` lost, and a shorter way to the end. */
static const struct step lost[] = {
    {grant, ""},
    {accept_mail, "1000[0,1,2]"},
    {a_delivered, "1000[1,2]"},
    {b_failed, "1000[1F,2]"},
    {c_deferred_first, "1000[1F,2]"},
    {moved_lost, "1000[1F,2]"},
    {b_reported, "1000[2]+ 1001[0]"},
    {c_failed, "1000[2F]+ 1001[0]"},
    {c_reported, "1001[0] 1002[0]"},
    {mail_ends, "1001[0] 1002[0]"},
    {dsn1_ends, "1002[0]"},
    {dsn2_ends, ""},
};

/* Delays and successes, which are told as well: R and D are owed a report, w was told of the delay.
 */
static const struct step told[] = {
    {grant, ""},
    {accept_mail, "1000[0,1,2]"},
    {a_relayed, "1000[0R,1,2]"},
    {b_delivered, "1000[0R,1D,2]"},
    {c_warned, "1000[0R,1D,2w]+ 1001[0]"},
    {c_deferred_first, "1000[0R,1D,2w]+ 1001[0]"},
    {moved, "1000[0R,1D,2w]+ 1001[0]"},
    {a_told, "1000[1D,2w]+ 1001[0] 1002[0]"},
    {dsn1_ends, "1000[1D,2w]+ 1002[0]"},
    {dsn2_ends, "1000[1D,2w]"},
    {c_deferred, "1000[1D,2w]"},
};

/* A list: in IBDB, in the middle of a move, in DEFEDB; its children end and move before and after
 * it. */
static const struct step list[] = {
    {grant, ""},
    {accept_mail, "1000[0,1,2]"},
    {a_begun, "1000[0,1,2,0>m2@y.test]+ 1001[0,1]"},
    {b_failed, "1000[0,1F,2,0>m2@y.test]+ 1001[0,1]"},
    {a_done, "1000[1F,2]+ 1001[0,1] 1002[0,1]"},
    {child1_deferred, "1000[1F,2]+ 1001[1] 1002[0,1]"},
    {dsn2_ends, "1000[1F,2]+ 1001[1]"},
    {dsn1_ends, "1000[1F,2]"},
    {c_deferred_first, "1000[1F,2]"},
};

/* In the middle of the expansion it goes to DEFEDB, with its cursor; the rest happens there. */
static const struct step list_deferred[] = {
    {grant, ""},
    {accept_mail, "1000[0,1,2]"},
    {a_begun, "1000[0,1,2,0>m2@y.test]+ 1001[0,1]"},
    {dsn1_ends, "1000[0,1,2,0>m2@y.test]"},
    {all_deferred, "1000[0,1,2,0>m2@y.test]"},
    {moved, "1000[0,1,2,0>m2@y.test]"},
    {a_done_owed, "1000[0E,1,2]+ 1002[0,1]"},
    {dsn2_ends, "1000[0E,1,2]"},
    {ab_told, "1000[1,2]+ 1003[0]"},
    {dsn3_ends, "1000[1,2]"},
};

/* The first part is made where DEFEDB has it already, and `moved` was lost. The list became shorter
 * meanwhile. */
static const struct step list_lost[] = {
    {grant, ""},
    {accept_mail, "1000[0,1,2]"},
    {all_deferred, "1000[0,1,2]"},
    {moved_lost, "1000[0,1,2]"},
    {a_begun, "1000[0,1,2,0>m2@y.test]+ 1001[0,1]"},
    {child1_deferred, "1000[0,1,2,0>m2@y.test]+ 1001[1]"},
    {a_no_more, "1000[1,2]+ 1001[1]"},
    {dsn1_ends, "1000[1,2]"},
};

struct run {
	struct t_store *t;
	const struct step *steps;
	unsigned count;
	enum { CRASH, CRASH_EARLY, CLOSE } end;
};

static void live(void *arg, char *out)
{
	struct run *r = arg;

	(void)out;
	t_store_open(r->t);
	t_store_settle(r->t);
	for (unsigned i = 0; i < r->count; i++)
		r->steps[i].act(r->t);
	t_flush(r->t);
	if (r->end == CLOSE)
		qm_store_close(&r->t->st);
}

/* A start: what does it know? Dies before or after its copies are durable. */
static void start(void *arg, char *out)
{
	struct run *r = arg;

	t_store_open(r->t);
	if (r->end == CRASH_EARLY)
		return;
	t_store_settle(r->t);
	t_known(r->t, out);
	sm_assert(r->count == 0 || r->t->found.next_counter >= 1064);
	sm_assert(r->t->found.quarantined == 0);
	if (r->end == CLOSE)
		qm_store_close(&r->t->st);
}

static void check_cut(const struct step *steps, unsigned count, int end)
{
	static char out[T_OUT_MAX];
	struct t_store t;
	struct run r = {&t, steps, count, end};
	const char *expect = count ? steps[count - 1].known : "";

	t_store_dir(&t, QM_LOG_SEGMENT_LEAST);
	t_crash(live, &r, out);
	/* Starts that die at once change nothing; each one that lives knows the same. */
	for (int i = 0; i < 4; i++) {
		r.end = i == 0 ? CRASH_EARLY : i == 3 ? CLOSE : CRASH;
		t_crash(start, &r, out);
		if (r.end == CRASH_EARLY)
			continue;
		if (strcmp(out, expect) != 0)
			print_message("after step %u, start %d\n", count, i);
		assert_string_equal(out, expect);
	}
	t_store_rm(&t);
}

static void cut_anywhere(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= SM_ARRAY_SIZE(life); i++)
		check_cut(life, i, CRASH);
}

static void cut_anywhere_without_moved(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= SM_ARRAY_SIZE(lost); i++)
		check_cut(lost, i, CRASH);
}

static void cut_anywhere_of_what_is_told(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= SM_ARRAY_SIZE(told); i++)
		check_cut(told, i, i % 2 ? CRASH : CLOSE);
}

static void cut_anywhere_of_a_list(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= SM_ARRAY_SIZE(list); i++)
		check_cut(list, i, i % 2 ? CRASH : CLOSE);
	for (unsigned i = 0; i <= SM_ARRAY_SIZE(list_deferred); i++)
		check_cut(list_deferred, i, i % 2 ? CLOSE : CRASH);
	for (unsigned i = 0; i <= SM_ARRAY_SIZE(list_lost); i++)
		check_cut(list_lost, i, CRASH);
}

static void orderly_ends_know_the_same(void **state)
{
	(void)state;
	for (unsigned i = 0; i <= SM_ARRAY_SIZE(life); i += 3)
		check_cut(life, i, CLOSE);
}

/* ---- what was taken ---- */

static void ended_are_told(void **state)
{
	static char out[T_OUT_MAX];
	struct t_store t;
	struct run r = {&t, life, SM_ARRAY_SIZE(life), CRASH};

	(void)state;
	t_store_dir(&t, QM_LOG_SEGMENT_LEAST);
	t_crash(live, &r, out);
	t_store_open(&t);
	/* The mail, by its `end`; DSNs are nobody's to ask for. */
	assert_int_equal(t.found.ended_count, 1);
	assert_true(sm_id_eq(t.found.ended[0], mail));
	t_store_settle(&t);
	t_store_close(&t);
	t_store_rm(&t);
}

/* The counters are known although the segment in which they were granted is gone. */
static void grant_and_roll(void *arg, char *out)
{
	struct t_store *t = arg;

	(void)out;
	t_store_open(t);
	t_store_settle(t);
	qm_store_id_block(t->st, 5000000, 65536, 1, 77);
	for (unsigned i = 0; i < 2000; i++) {
		struct qm_txn *txn = qm_txn_new(&t->txns, (struct sm_id){100 + i, 1}, 1);

		txn->sender = txn->envid = txn->rcpts[0].addr = txn->rcpts[0].orcpt =
		    txn->rcpts[0].text = txn->rcpts[0].host = SM_STR("");
		qm_store_txn(t->st, txn, qm_store_ibdb(t->st));
		qm_store_end(t->st, txn);
		qm_txn_free(&t->txns, &txn);
		if (i % 100 == 0) {
			uint32_t seq, holds;

			if (qm_log_oldest(qm_store_ibdb(t->st), &seq, &holds))
				qm_store_copy_id_block(t->st, seq);
			t_flush(t);
		}
	}
	t_flush(t);
}

static void counters_survive_their_segment(void **state)
{
	static char out[T_OUT_MAX];
	struct t_store t;

	(void)state;
	t_store_dir(&t, QM_LOG_SEGMENT_LEAST);
	t_crash(grant_and_roll, &t, out);
	for (int i = 0; i < 3; i++) {
		t_store_open(&t);
		assert_true(t.found.next_counter >= 5000000 + 65536);
		t_store_settle(&t);
		t_store_close(&t);
	}
	t_store_rm(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(cut_anywhere),
	    cmocka_unit_test(cut_anywhere_without_moved),
	    cmocka_unit_test(cut_anywhere_of_what_is_told),
	    cmocka_unit_test(cut_anywhere_of_a_list),
	    cmocka_unit_test(orderly_ends_know_the_same),
	    cmocka_unit_test(ended_are_told),
	    cmocka_unit_test(counters_survive_their_segment),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
