/*
 * What IBDB says of transactions that DEFEDB has, while DEFEDB has no room to say it, or only its
 * reserve. Loop thread.
 *
 * A transaction in DEFEDB of which more is to be said than a time is taken over: IBDB gets a whole
 * snapshot, with a larger lsn, and has it from then on; the one in DEFEDB is its shadow. When it is
 * over before it can move back, that is `over` in IBDB instead of `end` in DEFEDB.
 *
 * Invariants: of a shadowed transaction the newest record is in IBDB, and stays there until DEFEDB
 * has durably something newer: a snapshot (then `moved`), or `end` (then `over` is let go). A
 * shadow is held in DEFEDB until the same record. DEFEDB is told what is over only when IBDB
 * durably says so. So replay finds the truth by the larger lsn, in whatever order the two logs
 * reached the disk. What a DSN reports is missing in the snapshot, so that DSN is durable before.
 */
#include "qmgr/store_int.h"

#define SAY_BYTES 4096 /* more than any change but a snapshot takes */
#define SLICE     256
#define FIXED     64 /* bytes of numbers for a recipient */
#define FIXED_TXN 1024

struct over {
	struct qm_wait wait;
	struct sm_list link;
	struct qm_store *st;
	struct sm_id id;
	struct qm_loc loc;    /* in IBDB: held */
	struct qm_loc shadow; /* in DEFEDB: held */
	uint64_t lsn;         /* of the first time that IBDB said it */
};

bool qm_store_room(struct qm_store *st, size_t bytes)
{
	return qm_log_room(st->defedb, bytes);
}

/* Not less than its snapshot takes. */
static size_t snapshot_bytes(const struct qm_txn *txn)
{
	size_t n = FIXED_TXN + txn->sender.n + txn->envid.n + txn->auth.n + txn->dsn_sender.n +
	           txn->client.name.n + txn->client.helo.n + txn->client.xid.n + txn->route.n +
	           txn->msgid.n;

	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		const struct qm_rcpt *r = &txn->rcpts[i];

		n += FIXED + r->addr.n + r->orcpt.n + r->text.n + r->host.n + r->tls.n + r->after.n;
	}
	for (uint32_t i = 0; i < txn->dsn_count; i++) {
		const struct sm_msg_dsn_rcpt *r = &txn->dsn_rcpts[i];

		n += FIXED + r->addr.n + r->orcpt.n + r->text.n + r->host.n;
	}
	return n;
}

bool qm_store_fits(struct qm_store *st, const struct qm_txn *txn)
{
	return qm_store_room(st, snapshot_bytes(txn));
}

bool qm_store_may_take_over(struct qm_store *st, const struct qm_txn *txn)
{
	return txn->log == st->defedb && !qm_store_room(st, SAY_BYTES) &&
	       !qm_log_low_space(st->ibdb) && txn->child_lsn <= qm_log_durable(st->defedb) &&
	       !qm_txn_act_waits(txn);
}

bool qm_store_take_over(struct qm_store *st, struct qm_txn *txn)
{
	if (!qm_store_may_take_over(st, txn))
		return false;
	qm_store_txn(st, txn, st->ibdb);
	return true;
}

/* ---- what is over ---- */

static uint64_t write_over(struct qm_store *st, struct over *o)
{
	const struct qm_rec_over rec = {.ta = o->id};
	uint64_t lsn;

	sm_buf_reset(&st->scratch);
	qm_rec_over_encode(&st->scratch, &rec);
	lsn = qm_log_append_lazy(st->ibdb, QM_REC_over, sm_buf_view(&st->scratch), &o->loc);
	qm_log_hold(st->ibdb, o->loc);
	return lsn;
}

uint64_t qm_store_over(struct qm_store *st, struct qm_txn *txn)
{
	struct over *o = sm_calloc(1, sizeof(*o));

	o->st = st;
	o->id = txn->id;
	o->shadow = txn->shadow;
	o->lsn = txn->last_lsn = write_over(st, o);
	if (txn->loc.seq)
		qm_log_drop(st->ibdb, txn->loc, o->lsn);
	txn->loc = txn->shadow = (struct qm_loc){0};
	sm_list_push(&st->overs, &o->link);
	st->over_count++;
	return o->lsn;
}

static void said(void *arg)
{
	struct over *o = arg;

	qm_log_drop(o->st->ibdb, o->loc, qm_log_durable(o->st->ibdb));
	sm_free(o);
}

bool qm_store_say_over(struct qm_store *st)
{
	for (unsigned n = 0; n < SLICE && !sm_list_empty(&st->overs); n++) {
		struct over *o = SM_LIST_FIRST(&st->overs, struct over, link);
		const struct qm_rec_end rec = {.ta = o->id};
		uint64_t lsn;

		/* On a full disk it may take of the reserve: what it frees is a segment again, when
		 * nothing else of that is needed. */
		if (o->lsn > qm_log_durable(st->ibdb) || !qm_log_fits(st->defedb, SAY_BYTES))
			return false;
		sm_list_remove(&o->link);
		st->over_count--;
		sm_buf_reset(&st->scratch);
		qm_rec_end_encode(&st->scratch, &rec);
		lsn = qm_log_append_lazy(st->defedb, QM_REC_end, sm_buf_view(&st->scratch), NULL);
		qm_log_drop(st->defedb, o->shadow, lsn);
		qm_store_after(st, st->defedb, lsn, &o->wait, said, o);
	}
	return !sm_list_empty(&st->overs);
}

size_t qm_store_overs(const struct qm_store *st)
{
	return st->over_count;
}

bool qm_store_copy_overs(struct qm_store *st, uint32_t seq)
{
	unsigned n = 0;

	/* The first ones: what is written again goes to the end. */
	for (; n < SLICE && !sm_list_empty(&st->overs); n++) {
		struct over *o = SM_LIST_FIRST(&st->overs, struct over, link);
		struct qm_loc old = o->loc;

		if (old.seq != seq)
			break;
		qm_log_drop(st->ibdb, old, write_over(st, o));
		sm_list_remove(&o->link);
		sm_list_push(&st->overs, &o->link);
	}
	return n > 0;
}

void qm_store_overs_fini(struct qm_store *st)
{
	SM_LIST_FOR_SAFE (o, &st->overs, struct over, link)
		sm_free(o);
}
