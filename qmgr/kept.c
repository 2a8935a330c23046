/*
 * Mail that is put off while DEFEDB has no room for it: it waits in the active queue, which has it
 * all the time, and is tried when it is due. Loop thread.
 *
 * Invariants: a kept transaction is ACTIVE and IBDB has it; nothing of it is on its way to DEFEDB,
 * so no snapshot of before can turn up there after something newer was said of it. Its times are
 * only in memory: after a crash it is due at once. It counts as active, so the active queue's limit
 * bounds what is kept. When there is room, what is still open moves as ever (defer.c).
 */
#include "qmgr/qm.h"

#include "libsm/time.h"

#define LOOK_MS       20        /* for room that comes soon: a segment is being prepared */
#define LOOK_FULL_MS  500       /* for room on a full disk */
#define PENDING_BYTES (1 << 20) /* not more at once to DEFEDB */
#define WAIT_MAX_S    60        /* the clock may be set: look at least so often */
#define DUE_SLACK_S   5         /* recipients of a transaction that are due so soon go together */

struct qm_kept {
	struct sm_list link;
	struct sm_timer timer; /* it is due */
	struct qm *q;
	struct qm_txn *txn;
};

struct qm_keeping {
	struct sm_list all;
	size_t count;
	struct sm_timer look;
};

void qm_unkeep(struct qm *q, struct qm_txn *txn)
{
	struct qm_kept *k = txn->kept;

	if (k == NULL)
		return;
	sm_timer_cancel(&k->timer);
	sm_list_remove(&k->link);
	q->keeping->count--;
	txn->kept = NULL;
	sm_free(k);
}

/* What is due, or all that is open when the clock was set back far. */
static void make_new(struct qm *q, struct qm_txn *txn)
{
	int64_t now_s = sm_wall_s(), far_s = qm_defer_far_s(q, now_s);

	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		struct qm_rcpt *r = &txn->rcpts[i];

		if (r->state != QM_RCPT_DEFERRED || (r->flags & QM_RCPT_HELD))
			continue;
		if (qm_rcpt_waits(r)
		        ? qm_run_due(q, r, now_s)
		        : r->next_try_s <= now_s + DUE_SLACK_S || r->next_try_s > far_s)
			qm_rcpt_set(r, QM_RCPT_NEW);
	}
}

static bool is_due(const struct qm *q, const struct qm_txn *txn)
{
	int64_t now_s = sm_wall_s(), far_s = qm_defer_far_s(q, now_s);

	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		const struct qm_rcpt *r = &txn->rcpts[i];

		if (r->state != QM_RCPT_SETTLED && !(r->flags & QM_RCPT_HELD) &&
		    (r->next_try_s <= now_s || (r->next_try_s > far_s && !qm_rcpt_waits(r))))
			return true;
	}
	return false;
}

static void wake(struct qm *q, struct qm_txn *txn)
{
	bool rests = txn->state == QM_TXN_ACTIVE && txn->busy == 0;

	if (rests && is_due(q, txn))
		make_new(q, txn);
	if (txn->busy > 0)
		qm_unkeep(q, txn); /* in work: it comes by again */
	if (!rests)
		return;
	if (txn->busy > 0)
		qm_resolve(q, txn);
	if (txn->owed > 0 || txn->busy == 0)
		qm_progress(q, txn); /* keeps it again, or not */
}

static void on_time(void *arg)
{
	struct qm_kept *k = arg;

	wake(k->q, k->txn);
}

/* Is there room by now? */
static void look(void *arg)
{
	struct qm *q = arg;
	struct qm_keeping *all = q->keeping;
	struct qm_log *defedb = qm_store_defedb(q->store);

	while (!sm_list_empty(&all->all) && qm_log_pending_bytes(defedb) < PENDING_BYTES) {
		struct qm_txn *txn = SM_LIST_FIRST(&all->all, struct qm_kept, link)->txn;

		if (txn->busy == 0 && !qm_store_fits(q->store, txn))
			break;
		qm_unkeep(q, txn);
		qm_progress(q, txn);
	}
	if (!sm_list_empty(&all->all))
		sm_timer_set(&all->look,
		             sm_loop_now_ms() + (qm_log_low_space(defedb) ? LOOK_FULL_MS : LOOK_MS),
		             look, q);
}

void qm_keep(struct qm *q, struct qm_txn *txn)
{
	int64_t wait_s = qm_txn_due_s(txn) - sm_wall_s();
	struct qm_kept *k = txn->kept;

	if (k == NULL) {
		k = txn->kept = sm_calloc(1, sizeof(*k));
		k->q = q;
		k->txn = txn;
		sm_list_push(&q->keeping->all, &k->link);
		q->keeping->count++;
	}
	wait_s = SM_MAX(1, SM_MIN(wait_s, (int64_t)WAIT_MAX_S));
	sm_timer_set(&k->timer, sm_loop_now_ms() + wait_s * 1000, on_time, k);
	if (!sm_timer_is_set(&q->keeping->look))
		sm_timer_set(&q->keeping->look, sm_loop_now_ms() + LOOK_MS, look, q);
}

void qm_kept_wake(struct qm *q)
{
	SM_LIST_FOR_SAFE (k, &q->keeping->all, struct qm_kept, link)
		if (is_due(q, k->txn))
			wake(q, k->txn);
}

size_t qm_kept_count(const struct qm *q)
{
	return q->keeping->count;
}

int qm_kept_open(struct qm *q)
{
	q->keeping = sm_calloc(1, sizeof(*q->keeping));
	sm_list_init(&q->keeping->all);
	return 0;
}

void qm_kept_close(struct qm *q)
{
	if (q->keeping == NULL)
		return;
	sm_timer_cancel(&q->keeping->look);
	SM_LIST_FOR_SAFE (k, &q->keeping->all, struct qm_kept, link)
		qm_unkeep(q, k->txn);
	SM_FREE(q->keeping);
}
