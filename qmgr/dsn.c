/*
 * Delivery status notifications (RFC 3461, 3464): which failures are reported to whom, as child
 * transactions.
 *
 * A DSN has the null sender, one recipient (the sender of the failed mail), and no content of its
 * own: qmgr stores what it says, smtpc composes it from that and the content of the original. The
 * change of the parent and the child are one record, so a crash makes neither twice.
 */
#include "qmgr/qm.h"

#include "libsm/time.h"

/* RFC 3461 4.1: NEVER, or a list without FAILURE, asks for silence. */
static bool wants_failure(const struct qm_rcpt *r)
{
	return r->notify == 0 || (r->notify & SM_NOTIFY_FAILURE);
}

/* Nobody is told: logged, and that is its end. */
static void drop(struct qm *q, struct qm_rcpt *r, const char *why)
{
	sm_log(SM_WARN, "qm.drop", "ss_ta=%I rcpt=<%S> rcpt_idx=%u why=%s reply=%u text=%S",
	       r->txn->id, r->addr, r->index, why, r->code, r->text);
	qm_rcpt_set(r, QM_RCPT_SETTLED);
	if (r->txn->open > 0)
		qm_store_rcpt(q->store, r);
}

static struct sm_str keep(struct qm_txn *txn, struct sm_str s)
{
	return s.n ? sm_arena_str(&txn->arena, s) : SM_STR("");
}

static struct qm_txn *make_child(struct qm *q, struct sm_id id, struct qm_txn *parent,
                                 struct qm_rcpt *const *failed, unsigned count)
{
	struct qm_txn *child = qm_txn_new(&q->txns, id, 1);

	child->sender = child->envid = SM_STR("");
	child->content = parent->content;
	child->content_offset = parent->content_offset;
	child->size = parent->size;
	child->body = parent->body;
	child->ret = parent->ret;
	child->envid = keep(child, parent->envid);
	child->received_s = child->queued_s = sm_wall_s();
	child->rcpts[0].addr = keep(child, parent->sender);
	child->rcpts[0].orcpt = SM_STR("");
	child->rcpts[0].text = child->rcpts[0].host = SM_STR("");
	child->rcpts[0].notify = SM_NOTIFY_NEVER;
	child->dsn_kind = SM_DSN_FAILED;
	child->dsn_of = parent->id;
	child->dsn_received_s = parent->received_s;
	child->dsn_sender = keep(child, parent->sender);
	child->dsn_rcpts = sm_arena_must(&child->arena, count * sizeof(*child->dsn_rcpts));
	child->dsn_count = count;
	for (unsigned i = 0; i < count; i++) {
		const struct qm_rcpt *r = failed[i];

		child->dsn_rcpts[i] = (struct sm_msg_dsn_rcpt){
		    .addr = keep(child, r->addr),
		    .orcpt = keep(child, r->orcpt),
		    .action = SM_DSN_FAILED,
		    .code = r->code,
		    .text = keep(child, r->text),
		    .host = keep(child, r->host),
		    .last_try_s = r->last_try_s,
		};
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

static bool report(struct qm *q, struct qm_txn *parent, struct qm_rcpt **failed, unsigned count)
{
	struct birth *b;
	struct sm_id id;

	if (!qm_incoming_own_id(q, &id))
		return false;
	b = sm_calloc(1, sizeof(*b));
	b->q = q;
	b->child = make_child(q, id, parent, failed, count);
	qm_content_child(&q->txns, parent->content, sm_id_eq(parent->id, parent->content));
	for (unsigned i = 0; i < count; i++)
		qm_rcpt_set(failed[i], QM_RCPT_SETTLED);
	q->stats.dsns++;
	sm_log(SM_NOTICE, "qm.dsn", "ss_ta=%I dsn_ta=%I mail=<%S> rcpts=%u", parent->id, id,
	       parent->sender, count);
	qm_store_after(q->store, parent->log,
	               qm_store_child(q->store, parent, failed, count, b->child), &b->wait,
	               child_durable, b);
	return true;
}

bool qm_dsn_report(struct qm *q, struct qm_txn *txn)
{
	struct qm_rcpt *failed[100];
	unsigned count = 0, max = (unsigned)q->conf->dsn.max_errors;

	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		struct qm_rcpt *r = &txn->rcpts[i];

		if (r->state != QM_RCPT_FAILED)
			continue;
		if (txn->sender.n == 0) {
			/* RFC 5321 6.1: never a DSN about a DSN. */
			q->stats.double_bounces++;
			drop(q, r, "null sender");
		} else if (!wants_failure(r)) {
			drop(q, r, "sender asked for no notification");
		} else {
			failed[count++] = r;
			if (count == max) {
				if (!report(q, txn, failed, count))
					return false;
				count = 0;
			}
		}
	}
	return count == 0 || report(q, txn, failed, count);
}
