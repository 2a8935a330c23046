/*
 * What an act does to recipients: at once in the active queue, as a mark to what is in the index.
 * Loop thread.
 *
 * Invariants: a transaction that is moving to DEFEDB is waited for, so it is hit once, in one
 * place; none says that the act is in it before all marks of the act have hit it.
 */
#include "qmgr/bulk_int.h"

#include "libsm/time.h"

/* It is over for this recipient, or nearly so: told at once. */
static void record(struct qm *q, const struct qm_rcpt *r, const struct qm_act *act)
{
	qm_mark_log(r, act);
	if (r->txn->open > 0) /* else `end` follows */
		qm_store_rcpt(q->store, r);
}

void qm_bulk_apply(struct qm *q, struct qm_rcpt *r, const struct qm_act *act)
{
	if (!qm_mark_rcpt(r, act))
		return;
	switch (act->verb) {
	case QM_MARK_HOLD:
		qm_rcpt_set(r, QM_RCPT_DEFERRED);
		break;
	case QM_MARK_NONE:
	case QM_MARK_RELEASE:
	case QM_MARK_REQUEUE:
		/* Of a mail whose client waits each has one attempt, and what was decided stays. */
		if (!(r->flags & QM_RCPT_HELD) && r->txn->now == NULL)
			qm_rcpt_set(r, QM_RCPT_NEW);
		break;
	case QM_MARK_BOUNCE:
		q->stats.failed++;
		record(q, r, act);
		break;
	case QM_MARK_REMOVE:
		record(q, r, act);
		break;
	}
}

bool qm_bulk_caught(struct qm *q, struct qm_rcpt *r)
{
	enum qm_mark_verb verb = (enum qm_mark_verb)r->mark;

	if (verb != QM_MARK_NONE) {
		r->mark = QM_MARK_NONE;
		qm_bulk_apply_late(q, r, verb);
		return true;
	}
	if (!(r->flags & QM_RCPT_HELD))
		return false;
	qm_rcpt_set(r, QM_RCPT_DEFERRED);
	return true;
}

void qm_bulk_apply_late(struct qm *q, struct qm_rcpt *r, enum qm_mark_verb verb)
{
	const struct qm_act *act =
	    qm_marks_find(qm_store_marks(q->store), r->txn->id, r->index, verb);
	/* It stands as long as it is needed. Who reads it back late acts all the same. */
	const struct qm_act unknown = {.verb = verb, .at_s = sm_wall_s(), .reason = SM_STR("")};

	qm_bulk_apply(q, r, act ? act : &unknown);
}

/* A recipient in the active queue, wherever it is. */
static void reach(struct qm *q, struct qm_rcpt *r, const struct qm_act *act)
{
	bool stays = act->verb == QM_MARK_NONE || act->verb == QM_MARK_RELEASE ||
	             act->verb == QM_MARK_REQUEUE;

	switch (r->state) {
	case QM_RCPT_ROUTING:
	case QM_RCPT_EXPANDING:
	case QM_RCPT_DELIVERING:
		/* It is told when it comes back, if there is still something to do then. */
		if (stays || act->verb == QM_MARK_HOLD)
			(void)qm_mark_rcpt(r, act);
		else if (r->mark == QM_MARK_NONE)
			r->mark = (uint8_t)act->verb;
		break;
	case QM_RCPT_NEW:
	case QM_RCPT_READY:
		if (stays) {
			(void)qm_mark_rcpt(r, act);
			break;
		}
		if (r->state == QM_RCPT_READY)
			qm_sched_remove(&q->sched, r);
		else
			sm_list_remove(&r->link);
		qm_bulk_apply(q, r, act);
		break;
	case QM_RCPT_DEFERRED:
		qm_bulk_apply(q, r, act);
		break;
	default:
		break;
	}
}

static void reach_txn(struct qm *q, struct qm_txn *txn, uint16_t index, const struct qm_act *act)
{
	struct qm_rcpt *one = index == QM_MARK_ALL ? NULL : qm_txn_rcpt(txn, index);

	if (one)
		reach(q, one, act);
	for (unsigned i = 0; index == QM_MARK_ALL && i < txn->rcpt_count; i++)
		reach(q, &txn->rcpts[i], act);
}

/* All marks of the transaction that was reached have hit it: it goes on. Not before: a snapshot
 * that is written then says that the whole act is in it. */
static void let_go(struct qm *q, struct qm_bulk_act *b)
{
	struct qm_txn *txn = sm_id_none(b->reached) ? NULL : qm_txn_find(&q->txns, b->reached);

	b->reached = (struct sm_id){0};
	if (txn == NULL || txn->state != QM_TXN_ACTIVE)
		return;
	txn->act = SM_MAX(txn->act, b->act.number);
	/* A snapshot that was written after the first of its marks has what that did, but does not
	 * say so: replay would apply the act once more. */
	txn->acted |= b->act.verb != QM_MARK_NONE;
	qm_resolve(q, txn);
	qm_progress(q, txn);
}

/* False: it is on its way to the index. */
static bool hit(struct qm *q, struct qm_bulk_act *b, const struct qm_mark *m)
{
	struct sm_id id = qm_mark_id(m);
	struct qm_txn *txn;

	if (!sm_id_eq(id, b->reached))
		let_go(q, b);
	txn = qm_txn_find(&q->txns, id);
	if (txn && txn->state == QM_TXN_MOVING) {
		b->reached = (struct sm_id){0}; /* it will be back before this mark has hit it */
		return false;
	}
	if (txn && txn->state == QM_TXN_ACTIVE) {
		reach_txn(q, txn, m->index, &b->act);
		b->reached = id;
	} else if (txn == NULL && b->act.verb == QM_MARK_NONE) {
		(void)qm_edbc_set(q->edbc, id, b->act.at_s);
	} else if (txn == NULL) {
		(void)qm_edbc_mark(q->edbc, id, m->index, b->act.verb, b->act.at_s);
	}
	return true;
}

/* The next mark in the order in which they were chosen; NULL: all are done. */
static const struct qm_mark *next_mark(struct qm *q, struct qm_bulk_act *b)
{
	const struct sm_list *end = &qm_store_marks(q->store)->chunks;

	while (b->chunk && b->mark_at == b->chunk->count) {
		const struct sm_list *next = b->chunk->link.next;

		b->chunk = next == end ? NULL : SM_LIST_ENTRY(next, struct qm_chunk, link);
		b->mark_at = 0;
	}
	return b->chunk ? &b->chunk->marks[b->mark_at++] : NULL;
}

/* The same for an act that leaves no record. */
static const struct qm_mark *next_piece(struct qm_bulk_act *b)
{
	struct qm_bulk_piece *p = SM_LIST_FIRST(&b->pieces, struct qm_bulk_piece, link);

	if (p && b->mark_at == p->count) {
		sm_list_remove(&p->link);
		sm_free(p->marks);
		sm_free(p);
		b->mark_at = 0;
		p = SM_LIST_FIRST(&b->pieces, struct qm_bulk_piece, link);
	}
	return p ? &p->marks[b->mark_at++] : NULL;
}

bool qm_bulk_apply_next(struct qm *q, struct qm_bulk_act *b)
{
	const struct qm_mark *m = b->act.verb == QM_MARK_NONE ? next_piece(b) : next_mark(q, b);

	if (m == NULL) {
		let_go(q, b);
		return false;
	}
	if (!hit(q, b, m)) {
		if (b->moving_count == b->moving_cap) {
			b->moving_cap = b->moving_cap ? b->moving_cap * 2 : 64;
			b->moving = sm_realloc(b->moving, b->moving_cap, sizeof(*b->moving));
		}
		b->moving[b->moving_count++] = *m;
	}
	return true;
}

bool qm_bulk_apply_moving(struct qm *q, struct qm_bulk_act *b)
{
	size_t left = 0;

	for (size_t i = 0; i < b->moving_count; i++)
		if (!hit(q, b, &b->moving[i]))
			b->moving[left++] = b->moving[i];
	b->moving_count = left;
	let_go(q, b);
	return left == 0;
}
