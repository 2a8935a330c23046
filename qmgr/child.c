/*
 * Transactions of qmgr's own that share the content of another: DSNs (dsn.c) and members of aliases
 * (expand.c). Loop thread.
 *
 * Invariant: a child and what it changes in its parent are one record, so a crash makes neither
 * twice and loses neither; nothing of a child is handed out before that record is durable.
 */
#include "qmgr/qm.h"

struct qm_txn *qm_child_new(struct qm *q, struct sm_id id, const struct qm_txn *parent,
                            size_t rcpts)
{
	struct qm_txn *child = qm_txn_new(&q->txns, id, rcpts);

	child->sender = child->envid = child->auth = SM_STR("");
	child->content = parent->content;
	child->content_offset = parent->content_offset;
	child->size = parent->size;
	child->body = parent->body;
	child->utf8 = parent->utf8;
	for (size_t i = 0; i < rcpts; i++) {
		struct qm_rcpt *r = &child->rcpts[i];

		r->addr = r->orcpt = r->text = r->host = SM_STR("");
	}
	return child;
}

struct birth {
	struct qm_wait wait;
	struct qm *q;
	struct qm_txn *child;
};

static void child_durable(void *arg)
{
	struct birth *b = arg;
	struct qm *q = b->q;
	struct qm_txn *child = b->child;

	sm_free(b);
	qm_activate(q, child);
}

void qm_child_begin(struct qm *q, struct qm_txn *child, const struct qm_txn *parent)
{
	struct birth *b = sm_calloc(1, sizeof(*b));
	struct cdb_place at = qm_txn_place(child);

	b->q = q;
	b->child = child;
	qm_content_child(&q->txns.contents, &at, child->id,
	                 child->dsn_kind ? child->dsn_of : child->child_of,
	                 child->dsn_kind != SM_DSN_NONE, sm_id_eq(parent->id, parent->content));
	qm_store_after(q->store, child->log, child->last_lsn, &b->wait, child_durable, b);
}
