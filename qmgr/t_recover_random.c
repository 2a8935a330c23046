/*
 * What qmgr knows after a crash, many mails at random: accepted, moved to DEFEDB, copied, settled,
 * with DEFEDB full now and then. Each run is a child that dies without an orderly end; what it had
 * at last is the model for what the next one finds.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "libsm/fault.h"
#include "qmgr/t_store.h"

struct random {
	struct t_store *t;
	unsigned seed;
	unsigned rounds;
	struct qm_loc junk[256]; /* what fills DEFEDB, with all prepared segments */
	unsigned junk_count;
};

static unsigned rnd(struct random *r, unsigned n)
{
	r->seed = r->seed * 1103515245 + 12345;
	return (r->seed >> 16) % n;
}

static struct qm_txn *load(struct t_store *t, const struct qm_edbc_entry *e)
{
	struct qm_rec_txn rec;
	struct sm_buf body;
	struct sm_arena a;
	struct qm_txn *txn;

	sm_buf_init(&body, QM_LOG_RECORD_MAX);
	sm_arena_init(&a, "load", 4096, 16 * QM_LOG_RECORD_MAX);
	sm_assert(qm_store_decode_at(qm_store_defedb(t->st), qm_edbc_loc(e), &body, &a, &rec) == 0);
	txn = qm_txn_from_rec(&t->txns, &rec);
	txn->log = qm_store_defedb(t->st);
	txn->loc = qm_edbc_loc(e);
	qm_edbc_remove(t->edbc, txn->id);
	sm_buf_fini(&body);
	sm_arena_fini(&a);
	return txn;
}

static void model(struct t_store *t, char *out)
{
	size_t at = 0;
	uint64_t last = 0;

	/* By id: simple and slow, the tables are small. */
	for (;;) {
		const struct qm_txn *next = NULL;

		SM_LIST_FOR (txn, &t->txns.active, struct qm_txn, link)
			if (txn->id.counter > last && txn->open > 0 &&
			    (next == NULL || txn->id.counter < next->id.counter))
				next = txn;
		if (next == NULL)
			return;
		at += (size_t)snprintf(out + at, T_OUT_MAX - at, "%s%llu[", last ? " " : "",
		                       (unsigned long long)next->id.counter);
		for (unsigned i = 0, n = 0; i < next->rcpt_count; i++) {
			const struct qm_rcpt *r = &next->rcpts[i];

			if (r->state != QM_RCPT_SETTLED)
				at += (size_t)snprintf(out + at, T_OUT_MAX - at, "%s%u%s",
				                       n++ ? "," : "", r->index,
				                       r->state == QM_RCPT_FAILED ? "F" : "");
		}
		at += (size_t)snprintf(out + at, T_OUT_MAX - at, "]");
		last = next->id.counter;
	}
}

/* DEFEDB's disk is full: no segment can be made, and all that are there are needed; or not any
 * more. Without fault points it never is. */
#define JUNK_BYTES 9000

static bool not_full(struct t_store *t)
{
	return !qm_log_low_space(qm_store_defedb(t->st));
}

#ifdef SM_TESTING
static bool full(struct t_store *t)
{
	return !not_full(t);
}

static bool full_or_room(struct t_store *t)
{
	return full(t) || qm_log_room(qm_store_defedb(t->st), JUNK_BYTES);
}
#endif

/* That there is no room shows only when the log's thread wants a new segment. */
static void fill(struct random *r)
{
#ifdef SM_TESTING
	static char junk[JUNK_BYTES];
	struct qm_log *log = qm_store_defedb(r->t->st);

	sm_assert(sm_fault_arm("defedb.create=enospc") == 0);
	while (!full(r->t)) {
		bool more = r->junk_count < SM_ARRAY_SIZE(r->junk);

		if (more && qm_log_room(log, JUNK_BYTES)) {
			qm_log_append(log, QM_REC_mark, sm_str_n(junk, JUNK_BYTES),
			              &r->junk[r->junk_count]);
			qm_log_hold(log, r->junk[r->junk_count++]);
		}
		t_until(more ? full_or_room : full, r->t);
	}
#else
	(void)r;
#endif
}

static void make_room(struct random *r)
{
#ifdef SM_TESTING
	struct qm_log *log = qm_store_defedb(r->t->st);

	sm_assert(sm_fault_arm(NULL) == 0);
	while (r->junk_count > 0)
		qm_log_drop(log, r->junk[--r->junk_count], qm_log_durable(log));
#endif
	t_until(not_full, r->t);
	while (qm_store_say_over(r->t->st))
		t_flush(r->t);
}

static void random_step(struct random *r)
{
	struct t_store *t = r->t;
	struct qm_txn *txn = NULL;
	unsigned n = rnd(r, (unsigned)t->txns.by_id.count + 1), i = 0;

	SM_LIST_FOR (x, &t->txns.active, struct qm_txn, link)
		if (i++ == n)
			txn = x;
	if (txn == NULL || (rnd(r, 3) == 0 && t->txns.by_id.count < 40)) {
		static const char addr[] =
		    "somebody.with.a.name@a.domain.that.is.not.short.example";
		unsigned count = 1 + rnd(r, 20);
		struct sm_id id = {t->found.next_counter++, 1};

		txn = qm_txn_new(&t->txns, id, count);
		txn->content = id;
		txn->sender = txn->envid = SM_STR("");
		for (i = 0; i < count; i++) {
			txn->rcpts[i].addr = sm_str(addr);
			txn->rcpts[i].orcpt = txn->rcpts[i].text = txn->rcpts[i].host = SM_STR("");
		}
		qm_store_txn(t->st, txn, qm_store_ibdb(t->st));
		return;
	}
	struct qm_rcpt *rcpt = &txn->rcpts[rnd(r, txn->rcpt_count)];

	switch (rnd(r, 8)) {
	case 0: /* to DEFEDB, or a newer snapshot there */
	case 1: {
		struct qm_loc old = txn->loc;
		bool was = txn->log == qm_store_ibdb(t->st);

		if (!qm_store_fits(t->st, txn))
			break;
		qm_store_txn(t->st, txn, qm_store_defedb(t->st));
		if (was) {
			t_flush(t);
			qm_store_moved(t->st, txn, old);
		}
		break;
	}
	case 2: /* copied forward */
		if (txn->log == qm_store_ibdb(t->st) || qm_store_fits(t->st, txn))
			qm_store_txn(t->st, txn, txn->log);
		break;
	case 3:
		if (rcpt->state != QM_RCPT_SETTLED) {
			qm_rcpt_set(rcpt, QM_RCPT_FAILED);
			qm_store_rcpt(t->st, rcpt);
		}
		break;
	default:
		if (rcpt->state != QM_RCPT_SETTLED) {
			qm_rcpt_set(rcpt, QM_RCPT_SETTLED);
			qm_store_rcpt(t->st, rcpt);
		}
		break;
	}
	if (txn->open == 0) {
		qm_store_end(t->st, txn);
		qm_txn_free(&t->txns, &txn);
	}
}

/* Go on from what the last one left; say what must be known after the crash. */
static void random_life(void *arg, char *out)
{
	struct random *r = arg;
	const struct qm_edbc_entry *e;
	uint64_t cursor = 0;

	t_store_open(r->t);
	t_store_settle(r->t);
	while ((e = qm_edbc_walk(r->t->edbc, &cursor)) != NULL)
		load(r->t, e);
	r->t->found.next_counter += 1000;
	qm_store_id_block(r->t->st, r->t->found.next_counter, 10000, 1, 77);
	for (unsigned i = 0; i < r->rounds; i++) {
		random_step(r);
		if (i % 50 == 0)
			t_flush(r->t);
		if (i % 120 == 60)
			fill(r);
		else if (i % 120 == 110)
			make_room(r);
	}
	/* Some are on their way to DEFEDB, and `moved` is what the crash takes. */
	SM_LIST_FOR (txn, &r->t->txns.active, struct qm_txn, link)
		if (txn->log == qm_store_ibdb(r->t->st) && rnd(r, 4) == 0 &&
		    qm_store_fits(r->t->st, txn))
			qm_store_txn(r->t->st, txn, qm_store_defedb(r->t->st));
	t_flush(r->t);
	model(r->t, out);
	if (rnd(r, 4) == 0)
		qm_store_close(&r->t->st);
}

static void random_known(void *arg, char *out)
{
	struct random *r = arg;

	t_store_open(r->t);
	t_store_settle(r->t);
	t_known(r->t, out);
}

static void at_random(void **state)
{
	static char expect[T_OUT_MAX], out[T_OUT_MAX];
	struct t_store t;
	struct random r = {.t = &t};

	(void)state;
	t_store_dir(&t, QM_LOG_SEGMENT_LEAST);
	for (unsigned i = 0; i < 25; i++) {
		r.seed = 4711 + i * 7919;
		r.rounds = 20 + i * 25;
		t_crash(random_life, &r, expect);
		if (i % 2)
			t_crash(random_known, &r, out);
		t_crash(random_known, &r, out);
		assert_string_equal(out, expect);
	}
	t_store_rm(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(at_random)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
