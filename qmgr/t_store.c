/*
 * The store while it runs: who waits is told, holds and drops balance, segments become free, the
 * journal of before the start goes first.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "libsm/loop.h"
#include "qmgr/t_store.h"

static struct t_store t;
static uint64_t next_id;

static int setup(void **state)
{
	(void)state;
	t_store_dir(&t, QM_LOG_SEGMENT_LEAST);
	next_id = 1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	t_store_rm(&t);
	return 0;
}

static struct qm_txn *mail(unsigned rcpts)
{
	struct sm_id id = {next_id++, 1};
	struct qm_txn *txn = qm_txn_new(&t.txns, id, rcpts);

	txn->content = id;
	txn->sender = txn->envid = SM_STR("");
	for (unsigned i = 0; i < rcpts; i++) {
		txn->rcpts[i].addr = SM_STR("somebody@example.test");
		txn->rcpts[i].orcpt = txn->rcpts[i].text = txn->rcpts[i].host = SM_STR("");
	}
	qm_store_txn(t.st, txn, qm_store_ibdb(t.st));
	return txn;
}

static void end(struct qm_txn *txn)
{
	qm_store_end(t.st, txn);
	qm_txn_free(&t.txns, &txn);
}

static bool only_current(struct qm_log *log)
{
	struct qm_log_stat st;

	qm_log_stat(log, &st);
	return st.oldest_seq == st.current_seq;
}

static bool all_free(struct t_store *w)
{
	return only_current(qm_store_ibdb(w->st)) && only_current(qm_store_defedb(w->st));
}

/* ---- waits ---- */

struct note {
	struct qm_wait wait;
	unsigned n;
};
static unsigned order[8], noted;

static void told(void *arg)
{
	struct note *n = arg;

	order[noted++] = n->n;
	sm_free(n);
}

static void wait_for(struct qm_log *log, uint64_t lsn, unsigned n)
{
	struct note *note = sm_calloc(1, sizeof(*note));

	note->n = n;
	qm_store_after(t.st, log, lsn, &note->wait, told, note);
}

static void waits_are_told_in_order(void **state)
{
	struct qm_txn *a, *b;

	(void)state;
	t_store_open(&t);
	t_store_settle(&t);
	noted = 0;
	a = mail(1);
	b = mail(1);
	wait_for(qm_store_ibdb(t.st), b->last_lsn, 2);
	wait_for(qm_store_ibdb(t.st), a->last_lsn, 1); /* not the newest */
	wait_for(qm_store_ibdb(t.st), b->last_lsn, 3);
	assert_int_equal(noted, 0);
	t_flush(&t);
	assert_int_equal(noted, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(order[i], i + 1);
	wait_for(qm_store_ibdb(t.st), qm_store_txn(t.st, a, qm_store_ibdb(t.st)),
	         9); /* left to the end */
	t_store_close(&t);
}

/* ---- segments ---- */

static unsigned rolled(struct qm_log *log)
{
	struct qm_log_stat st;

	qm_log_stat(log, &st);
	return st.current_seq;
}

static void holds_balance(void **state)
{
	(void)state;
	t_store_open(&t);
	t_store_settle(&t);
	for (unsigned i = 0; i < 600; i++) {
		struct qm_txn *txn = mail(1 + i % 7), *child;
		struct qm_rcpt *r = &txn->rcpts[0];

		qm_rcpt_set(r, QM_RCPT_FAILED);
		qm_store_rcpt(t.st, r);
		if (i % 2) {
			struct qm_loc old = txn->loc;

			qm_store_txn(t.st, txn, qm_store_defedb(t.st));
			qm_store_moved(t.st, txn, old);
			qm_store_txn(t.st, txn, qm_store_defedb(t.st));
		}
		child = qm_txn_new(&t.txns, (struct sm_id){next_id++, SM_ID_PROC_QMGR}, 1);
		child->content = txn->content;
		child->dsn_kind = SM_DSN_FAILED;
		qm_rcpt_set(r, QM_RCPT_SETTLED);
		qm_store_child(t.st, txn, &r, 1, child);
		if (i % 3 == 0)
			qm_store_txn(t.st, child, child->log); /* copied forward */
		end(txn);
		end(child);
		if (i % 64 == 0)
			t_flush(&t);
	}
	qm_store_id_block(t.st, 900000, 10, 1, 1); /* else the grant holds an old one */
	t_flush(&t);
	assert_true(rolled(qm_store_ibdb(t.st)) > 3);
	assert_true(rolled(qm_store_defedb(t.st)) > 3);
	t_until(all_free, &t);
	t_store_close(&t);
	/* And a start finds nothing, and frees what it found. */
	t_store_open(&t);
	assert_int_equal(t.found.deferred, 0);
	t_store_settle(&t);
	t_until(all_free, &t);
	t_store_close(&t);
}

static uint32_t oldest(struct qm_log *log)
{
	struct qm_log_stat st;

	qm_log_stat(log, &st);
	return st.oldest_seq;
}

static void roll(struct qm_log *log)
{
	uint32_t seq = rolled(log);

	while (rolled(log) == seq) {
		struct qm_txn *txn = mail(20);
		struct qm_loc old = txn->loc;

		if (log != qm_store_ibdb(t.st)) {
			qm_store_txn(t.st, txn, log);
			qm_store_moved(t.st, txn, old);
		}
		end(txn);
		t_flush(&t);
	}
}

static bool nothing(struct t_store *w)
{
	static int turns;

	(void)w;
	return ++turns % 20 == 0;
}

/* An `end` in DEFEDB is all that tells that a mail of the old journal is over: it stays as long as
 * that journal does. */
static void the_old_journal_goes_first(void **state)
{
	const struct sm_id id = {1, 1};
	struct qm_loc first = {0};
	struct qm_txn *txn;
	uint32_t before;

	(void)state;
	t_store_open(&t);
	t_store_settle(&t);
	mail(1);
	t_flush(&t);
	t_store_close(&t);

	t_store_open(&t);
	assert_int_equal(t.found.from_ibdb, 1);
	first.seq = oldest(qm_store_ibdb(t.st));
	qm_log_hold(qm_store_ibdb(t.st), first); /* its removal takes long */
	before = oldest(qm_store_defedb(t.st));
	t_store_settle(&t);
	txn = qm_txn_new(&t.txns, id, 1);
	txn->log = qm_store_defedb(t.st);
	txn->loc = qm_edbc_loc(qm_edbc_find(t.edbc, id));
	qm_edbc_remove(t.edbc, id);
	end(txn);
	next_id = 2;
	roll(qm_store_defedb(t.st));
	roll(qm_store_defedb(t.st));
	t_until(nothing, &t);
	assert_int_equal(oldest(qm_store_ibdb(t.st)), first.seq);
	assert_int_equal(oldest(qm_store_defedb(t.st)), before);
	qm_log_drop(qm_store_ibdb(t.st), first, 0);
	while (oldest(qm_store_defedb(t.st)) == before)
		t_until(nothing, &t);
	t_store_close(&t);
}

static void waste_is_seen(void **state)
{
	uint32_t seq;
	struct qm_txn *old;

	(void)state;
	t_store_open(&t);
	t_store_settle(&t);
	old = mail(1);
	assert_false(qm_store_wasteful(t.st, qm_store_ibdb(t.st), 1, &seq));
	for (unsigned i = 0; i < 6; i++)
		roll(qm_store_ibdb(t.st));
	assert_true(qm_store_wasteful(t.st, qm_store_ibdb(t.st), 1, &seq));
	assert_int_equal(seq, old->loc.seq);
	/* As much lives there as could be: no use. */
	assert_false(qm_store_wasteful(t.st, qm_store_ibdb(t.st), 1000, &seq));
	qm_store_copy_id_block(t.st, seq);
	qm_store_txn(t.st, old, qm_store_ibdb(t.st));
	t_flush(&t);
	t_until(all_free, &t);
	t_store_close(&t);
	t_store_open(&t);
	assert_int_equal(t.found.from_ibdb, 1);
	t_store_settle(&t);
	t_store_close(&t);
}

/* The longest record there can be: a thousand recipients, all strings as long as they may be. */
static void the_largest_fits(void **state)
{
	static char addr[321], orcpt[601], text[513], host[257];
	struct qm_txn *txn;

	(void)state;
	memset(addr, 'a', 320);
	memset(orcpt, 'o', 600);
	memset(text, 't', 512);
	memset(host, 'h', 256);
	t_store_rm(&t);
	t_store_dir(&t, 2 * 1024 * 1024);
	t_store_open(&t);
	t_store_settle(&t);
	txn = qm_txn_new(&t.txns, (struct sm_id){1, 1}, 1000);
	txn->sender = txn->dsn_sender = sm_str(addr);
	txn->envid = sm_str_n(orcpt, 400);
	for (unsigned i = 0; i < 1000; i++) {
		txn->rcpts[i].addr = sm_str(addr);
		txn->rcpts[i].orcpt = sm_str(orcpt);
		qm_rcpt_note(&txn->rcpts[i], 451, sm_str(text), sm_str(host), 5);
	}
	qm_store_txn(t.st, txn, qm_store_ibdb(t.st));
	t_flush(&t);
	t_store_close(&t);
	t_store_open(&t);
	assert_int_equal(t.found.from_ibdb, 1);
	t_store_settle(&t);
	t_store_close(&t);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(waits_are_told_in_order), T(holds_balance),    T(the_old_journal_goes_first),
	    T(waste_is_seen),           T(the_largest_fits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
