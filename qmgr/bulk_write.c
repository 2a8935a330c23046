/*
 * The chunks of an act in the journal. Loop thread.
 *
 * Invariant: one chunk at a time is on its way to the disk, the last one only when all that the act
 * hits is known; chunks stand when that one is durable, and before anything of the act is applied.
 */
#include "qmgr/bulk_int.h"

/* Waits for a chunk; apart from the act, because the store frees what still waits at the end. */
struct writing {
	struct qm_wait wait;
	struct qm *q;
};

static void stand(struct qm *q, struct qm_bulk_act *b)
{
	struct sm_list *e;

	b->chunk = SM_LIST_FIRST(&b->chunks, struct qm_chunk, link);
	while ((e = sm_list_shift(&b->chunks)) != NULL)
		qm_marks_stand(q->store, SM_LIST_ENTRY(e, struct qm_chunk, link));
	b->phase = QM_BULK_APPLY;
}

static void chunk_durable(void *arg)
{
	struct writing *wr = arg;
	struct qm *q = wr->q;
	struct qm_bulk_act *b = qm_bulk_current(q);

	sm_free(wr);
	b->writing = false;
	if (b->err)
		qm_bulk_finish(q, b, b->err, b->diag);
	else if (b->chosen && sm_list_empty(&b->pieces))
		stand(q, b);
	else
		qm_bulk_write(q, b);
}

/* One chunk at a time, so that mail that comes in meanwhile has the disk to itself but for one: the
 * one that is being filled only when it is the last. */
void qm_bulk_write(struct qm *q, struct qm_bulk_act *b)
{
	struct qm_bulk_piece *p = SM_LIST_FIRST(&b->pieces, struct qm_bulk_piece, link);
	bool last = p && p->link.next == &b->pieces;
	struct qm_chunk *c;
	struct writing *wr;
	uint64_t lsn;

	if (b->writing || p == NULL || (last && !b->chosen))
		return;
	if (b->act.number == 0)
		b->act.number = qm_marks_number(q->store);
	sm_list_remove(&p->link);
	c = qm_marks_write(q->store, &b->act, b->parts++, last, p->marks, p->count, &lsn);
	sm_free(p);
	sm_list_push(&b->chunks, &c->link);
	wr = sm_calloc(1, sizeof(*wr));
	wr->q = q;
	b->writing = true;
	qm_store_after(q->store, qm_store_ibdb(q->store), lsn, &wr->wait, chunk_durable, wr);
}
