/*
 * Operators' acts after a crash: all of an act or nothing of it, wherever its chunks are cut off,
 * and as often as qmgr starts again before it could carry it out. Each run is a child that dies
 * without an orderly end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "libsm/loop.h"
#include "qmgr/store_int.h"
#include "qmgr/t_store.h"

#define MAILS \
	1500u /* so many that the first ones are in older segments, which replay leaves alone */
#define FIRST 1000u

static struct t_store t;

static int setup(void **state)
{
	(void)state;
	t_store_dir(&t, QM_LOG_SEGMENT_LEAST);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	t_store_rm(&t);
	return 0;
}

/* ---- a run ---- */

static struct qm_txn *mail(uint64_t counter, struct qm_log *log)
{
	struct sm_id id = {counter, 1};
	struct qm_txn *txn = qm_txn_new(&t.txns, id, 2);

	txn->content = id;
	txn->sender = SM_STR("s@z.test");
	txn->envid = SM_STR("");
	for (unsigned i = 0; i < 2; i++) {
		txn->rcpts[i].addr = i ? SM_STR("b@x.test") : SM_STR("a@x.test");
		txn->rcpts[i].orcpt = txn->rcpts[i].text = txn->rcpts[i].host = SM_STR("");
		txn->rcpts[i].next_try_s = 5000;
	}
	qm_store_txn(t.st, txn, log);
	return txn;
}

static void begin(void)
{
	t_store_open(&t);
	t_store_settle(&t);
}

static void deferred_mails(void)
{
	for (unsigned i = 0; i < MAILS; i++) {
		struct qm_txn *txn = mail(FIRST + i, qm_store_defedb(t.st));

		qm_txn_free(&t.txns, &txn);
		if (i % 100 == 0)
			t_flush(&t);
	}
	t_flush(&t);
}

/* Marks on `count` mails from `first` on, as so many chunks, of which the last may be missing. */
static uint64_t act(enum qm_mark_verb verb, unsigned first, unsigned count, uint16_t index,
                    unsigned chunks, unsigned written)
{
	struct qm_act a = {.number = qm_marks_number(t.st),
	                   .verb = verb,
	                   .at_s = 777,
	                   .uid = 42,
	                   .reason = SM_STR("for a test")};
	uint64_t lsn;

	for (unsigned part = 0; part < written; part++) {
		unsigned from = count * part / chunks, to = count * (part + 1) / chunks;
		struct qm_mark *m = sm_calloc(to - from + 1, sizeof(*m));

		for (unsigned i = from; i < to; i++)
			m[i - from] = (struct qm_mark){FIRST + first + i, index, 1};
		qm_marks_stand(
		    t.st, qm_marks_write(t.st, &a, part, part == chunks - 1, m, to - from, &lsn));
		t_flush(&t);
	}
	return a.number;
}

static unsigned held(void)
{
	return (unsigned)qm_edbc_held_count(t.edbc);
}

static unsigned marked(enum qm_mark_verb verb)
{
	const struct qm_edbc_entry *e;
	uint64_t cursor = 0;
	unsigned n = 0;
	bool h;

	while ((e = qm_edbc_walk(t.edbc, &cursor)) != NULL)
		for (uint16_t i = 0; i < 2; i++)
			n += qm_edbc_marked(t.edbc, e, i, &h) == verb;
	return n;
}

static void crash(void (*fn)(void *arg, char *out), unsigned n)
{
	static char out[T_OUT_MAX];

	t_crash(fn, &n, out);
	assert_string_equal(out, "");
}

/* ---- tests ---- */

static void holding(void *arg, char *out)
{
	const unsigned *chunks = arg;

	(void)out;
	begin();
	deferred_mails();
	act(QM_MARK_HOLD, 0, MAILS, QM_MARK_ALL, 4, *chunks);
}

static void all_or_nothing(void **state)
{
	(void)state;
	for (unsigned cut = 0; cut <= 4; cut++) {
		if (cut > 0) {
			t_store_rm(&t);
			t_store_dir(&t, QM_LOG_SEGMENT_LEAST);
		}
		crash(holding, cut);
		for (int again = 0; again < 3; again++) {
			size_t standing;

			t_store_open(&t);
			assert_int_equal(qm_edbc_count(t.edbc), MAILS);
			assert_int_equal(held(), cut == 4 ? 2 * MAILS : 0);
			/* Those in the last segment were copied, and are held in their snapshots.
			 */
			standing = qm_store_marks(t.st)->count;
			if (cut == 4)
				assert_in_range(standing, 1, MAILS - 1);
			else
				assert_int_equal(standing, 0);
			t_store_settle(&t);
			t_store_close(&t);
		}
	}
}

static void sequence(void *arg, char *out)
{
	(void)arg;
	(void)out;
	begin();
	deferred_mails();
	act(QM_MARK_HOLD, 0, MAILS, QM_MARK_ALL, 1, 1);
	act(QM_MARK_RELEASE, 0, 100, QM_MARK_ALL, 2, 2);
	act(QM_MARK_HOLD, 50, 50, 1, 1, 1);
	act(QM_MARK_REMOVE, 200, 10, QM_MARK_ALL, 1, 1);
	act(QM_MARK_RELEASE, 200, 10, QM_MARK_ALL, 1, 1); /* too late for these */
	act(QM_MARK_BOUNCE, 300, 5, 0, 1, 1);
	act(QM_MARK_REQUEUE, 400, 3, QM_MARK_ALL, 1, 1);
	act(QM_MARK_REMOVE, 0, MAILS, QM_MARK_ALL, 2, 1); /* never became a fact */
}

/* All at once says what is found one by one. */
static void same_as_one_by_one(void)
{
	const struct qm_marks *m = qm_store_marks(t.st);
	size_t acts = 0;

	for (uint64_t counter = FIRST; counter < FIRST + MAILS; counter++) {
		const struct sm_id ta = {counter, 1};
		struct qm_marks_of of[2] = {0};

		qm_marks_of_txn(m, ta, of, SM_ARRAY_SIZE(of));
		for (uint16_t i = 0; i < SM_ARRAY_SIZE(of); i++)
			for (int v = QM_MARK_HOLD; v <= QM_MARK_REQUEUE; v++) {
				assert_ptr_equal(of[i].act[v],
				                 qm_marks_find(m, ta, i, (enum qm_mark_verb)v));
				acts += of[i].act[v] != NULL;
			}
	}
	assert_true(acts > 0);
}

static void in_their_order(void **state)
{
	(void)state;
	crash(sequence, 0);
	for (int again = 0; again < 3; again++) {
		const struct qm_act *why;

		t_store_open(&t);
		assert_int_equal(qm_edbc_count(t.edbc), MAILS);
		assert_int_equal(held(), 2 * MAILS - 200 + 50 - 20 - 5 - 6);
		assert_int_equal(marked(QM_MARK_REMOVE), 20);
		assert_int_equal(marked(QM_MARK_BOUNCE), 5);
		assert_int_equal(marked(QM_MARK_REQUEUE), 6);
		why = qm_marks_find(qm_store_marks(t.st), (struct sm_id){FIRST + 301, 1}, 0,
		                    QM_MARK_BOUNCE);
		assert_non_null(why);
		assert_int_equal(why->uid, 42);
		assert_int_equal(why->at_s, 777);
		assert_true(sm_str_eq(why->reason, SM_STR("for a test")));
		same_as_one_by_one();
		assert_null(qm_marks_find(qm_store_marks(t.st), (struct sm_id){FIRST + 301, 1}, 1,
		                          QM_MARK_BOUNCE));
		t_store_settle(&t);
		t_store_close(&t);
	}
}

static void in_the_journal(void *arg, char *out)
{
	(void)arg;
	(void)out;
	begin();
	for (unsigned i = 0; i < 5; i++)
		mail(FIRST + i, qm_store_ibdb(t.st));
	act(QM_MARK_HOLD, 0, 1, QM_MARK_ALL, 1, 1);
	act(QM_MARK_REMOVE, 1, 1, QM_MARK_ALL, 1, 1);
	act(QM_MARK_BOUNCE, 2, 1, 1, 1, 1);
	act(QM_MARK_REQUEUE, 3, 1, QM_MARK_ALL, 1, 1);
}

static void copied_with_its_acts(void **state)
{
	static char out[T_OUT_MAX];

	(void)state;
	crash(in_the_journal, 0);
	for (int again = 0; again < 2; again++) {
		const struct qm_edbc_entry *e;

		t_store_open(&t);
		t_store_settle(&t);
		t_known(&t, out);
		assert_string_equal(out, "1000[0,1] 1002[0,1F] 1003[0,1] 1004[0,1]");
		assert_int_equal(held(), 2);
		e = qm_edbc_find(t.edbc, (struct sm_id){FIRST, 1});
		assert_false(qm_edbc_is_marked(t.edbc, e));
		assert_int_equal(qm_edbc_next_try(e), QM_EDBC_NEVER);
		e = qm_edbc_find(t.edbc, (struct sm_id){FIRST + 3, 1});
		assert_int_equal(qm_edbc_next_try(e), 0);
		assert_int_equal(qm_store_marks(t.st)->count, 0); /* all are in snapshots */
		t_store_close(&t);
	}
}

static void newer_and_copied(void *arg, char *out)
{
	struct qm_txn *txn, *other;
	struct qm_rec_txn rec;
	struct qm_loc loc;

	(void)arg;
	(void)out;
	begin();
	txn = mail(FIRST, qm_store_defedb(t.st));
	other = mail(FIRST + 1, qm_store_defedb(t.st));
	t_flush(&t);
	qm_store_marks(t.st)->applied = act(QM_MARK_HOLD, 0, 2, QM_MARK_ALL, 1, 1);
	/* One has a newer snapshot, in which it is not held; the other is the old one elsewhere. */
	qm_store_txn(t.st, txn, qm_store_defedb(t.st));
	qm_txn_to_rec(other, &t.st->arena, &rec);
	rec.act = 0;
	qm_store_copy(t.st, &rec, &loc);
	t_flush(&t);
}

static void until_a_newer_snapshot(void **state)
{
	(void)state;
	crash(newer_and_copied, 0);
	t_store_open(&t);
	assert_int_equal(held(), 2);
	assert_int_equal(qm_edbc_next_try(qm_edbc_find(t.edbc, (struct sm_id){FIRST, 1})), 5000);
	t_store_settle(&t);
	t_store_close(&t);
}

static bool odd(void *arg, struct sm_id ta)
{
	(void)arg;
	return ta.counter % 2;
}

static bool none(void *arg, struct sm_id ta)
{
	(void)arg;
	(void)ta;
	return false;
}

static bool all(void *arg, struct sm_id ta)
{
	(void)arg;
	(void)ta;
	return true;
}

static void written_again(void *arg, char *out)
{
	const unsigned *before = arg;
	struct qm_marks *m;
	uint32_t seq;

	(void)out;
	begin();
	deferred_mails();
	act(QM_MARK_HOLD, 0, MAILS, QM_MARK_ALL, 3, 3);
	m = qm_store_marks(t.st);
	seq = SM_LIST_FIRST(&m->chunks, struct qm_chunk, link)->loc.seq;
	for (unsigned i = 0; i < *before; i++)
		sm_assert(qm_marks_copy(t.st, seq, odd, NULL));
	t_flush(&t);
}

/* An even one is in the old records still, which nothing has freed: what is asked for here is that
 * the copies are taken for the same acts. */
static void copies_are_no_new_acts(void **state)
{
	(void)state;
	crash(written_again, 2);
	t_store_open(&t);
	assert_int_equal(held(), 2 * MAILS);
	assert_in_range(qm_store_marks(t.st)->count, 1, MAILS - 1);
	t_store_settle(&t);
	t_store_close(&t);
}

static bool only_current(struct t_store *x)
{
	struct qm_log_stat st;

	qm_log_stat(qm_store_ibdb(x->st), &st);
	return st.oldest_seq == st.current_seq;
}

static void swept(void **state)
{
	struct qm_marks *m;
	struct qm_log_stat st;

	(void)state;
	begin();
	m = qm_store_marks(t.st);
	act(QM_MARK_HOLD, 0, 30, QM_MARK_ALL, 3, 3);
	assert_true(qm_marks_sweep(t.st, odd, NULL));
	assert_true(qm_marks_sweep(t.st, odd, NULL));
	assert_false(qm_marks_sweep(t.st, odd, NULL));
	assert_int_equal(m->count, 15);
	assert_null(qm_marks_find(m, (struct sm_id){FIRST, 1}, 0, QM_MARK_HOLD));
	assert_non_null(qm_marks_find(m, (struct sm_id){FIRST + 29, 1}, 0, QM_MARK_HOLD));
	do {
		mail(FIRST + 100 + (uint64_t)m->newest++, qm_store_ibdb(t.st));
		t_flush(&t);
		qm_log_stat(qm_store_ibdb(t.st), &st);
	} while (st.current_seq == st.oldest_seq);
	SM_LIST_FOR_SAFE (txn, &t.txns.active, struct qm_txn, link) {
		struct qm_txn *p = txn;

		qm_store_end(t.st, p);
		qm_txn_free(&t.txns, &p);
	}
	assert_true(qm_store_copy_id_block(t.st, st.oldest_seq));
	t_flush(&t);
	assert_false(only_current(&t)); /* the marks hold it */
	while (qm_marks_sweep(t.st, none, NULL))
		;
	assert_int_equal(m->count, 0);
	assert_int_equal(m->bytes, 0);
	assert_true(sm_list_empty(&m->chunks));
	mail(FIRST + 99, qm_store_ibdb(t.st));
	t_until(only_current, &t);
	t_store_close(&t);
}

/* A mark of an older act is not kept longer than one of a newer act that undid it. */
static void swept_from_the_oldest(void **state)
{
	struct qm_marks *m;

	(void)state;
	begin();
	m = qm_store_marks(t.st);
	act(QM_MARK_HOLD, 0, 10, QM_MARK_ALL, 1, 1);
	act(QM_MARK_HOLD, 20, 10, QM_MARK_ALL, 1, 1);
	assert_true(qm_marks_sweep(t.st, all, NULL)); /* the first one is needed now */
	act(QM_MARK_RELEASE, 0, 10, QM_MARK_ALL, 1, 1);
	assert_true(qm_marks_sweep(t.st, none, NULL));
	assert_null(qm_marks_find(m, (struct sm_id){FIRST, 1}, 0, QM_MARK_HOLD));
	assert_non_null(qm_marks_find(m, (struct sm_id){FIRST, 1}, 0, QM_MARK_RELEASE));
	while (qm_marks_sweep(t.st, none, NULL))
		;
	assert_int_equal(m->count, 0);
	t_store_close(&t);
}

static void next_segment(void)
{
	struct qm_log_stat before, st;

	qm_log_stat(qm_store_ibdb(t.st), &before);
	do {
		(void)qm_store_set_birth(t.st, 0);
		t_flush(&t);
		qm_log_stat(qm_store_ibdb(t.st), &st);
	} while (st.current_seq == before.current_seq);
}

/* Nor is it when it was written again behind the newer one: a crash would find it alone. */
static void what_undid_it_stays_as_long(void **state)
{
	struct qm_marks *m;
	uint32_t first;

	(void)state;
	begin();
	m = qm_store_marks(t.st);
	act(QM_MARK_HOLD, 0, 2, QM_MARK_ALL, 1, 1);
	first = SM_LIST_FIRST(&m->chunks, struct qm_chunk, link)->loc.seq;
	next_segment();
	act(QM_MARK_RELEASE, 0, 1, QM_MARK_ALL, 1, 1);
	next_segment();
	assert_true(qm_marks_copy(t.st, first, all, NULL));
	for (int pass = 0; pass < 2; pass++) {
		while (qm_marks_sweep(t.st, odd, NULL))
			;
		assert_non_null(qm_marks_find(m, (struct sm_id){FIRST, 1}, 0, QM_MARK_RELEASE));
	}
	assert_true(qm_marks_copy(t.st, first + 1, odd, NULL)); /* as it is */
	assert_non_null(qm_marks_find(m, (struct sm_id){FIRST, 1}, 0, QM_MARK_RELEASE));
	while (qm_marks_sweep(t.st, odd, NULL))
		;
	assert_int_equal(m->count, 1);
	t_store_close(&t);
}

static void chunks_fit_their_records(void **state)
{
	uint32_t max;
	uint64_t lsn;
	struct qm_act a = {.verb = QM_MARK_HOLD, .reason = SM_STR("")};
	char reason[400];

	(void)state;
	begin();
	memset(reason, 'x', sizeof(reason));
	a.reason = sm_str_n(reason, sizeof(reason)); /* is cut */
	a.number = qm_marks_number(t.st);
	max = qm_marks_chunk_max(t.st);
	assert_in_range(max, 1000, 10000);
	qm_marks_stand(t.st, qm_marks_write(t.st, &a, 0, true,
	                                    sm_calloc(max, sizeof(struct qm_mark)), max, &lsn));
	assert_true(qm_marks_number(t.st) > a.number);
	t_flush(&t);
	t_store_close(&t);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(all_or_nothing),           T(in_their_order),
	    T(copied_with_its_acts),     T(until_a_newer_snapshot),
	    T(copies_are_no_new_acts),   T(swept),
	    T(swept_from_the_oldest),    T(what_undid_it_stays_as_long),
	    T(chunks_fit_their_records),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
