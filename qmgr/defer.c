/*
 * Transactions to DEFEDB, and back when they are due. In memory stays an index entry (edbc.h);
 * everything else is in the log.
 *
 * To DEFEDB: the snapshot becomes durable there; for one that was in the journal, `moved` becomes
 * durable in IBDB; then the index has it. So at each moment at least one log has it, and replay
 * finds the newer one. Back: the snapshot is read by a helper, never by the loop.
 */
#include "qmgr/qm.h"

#include "libsm/offload.h"
#include "libsm/time.h"

#define LOADS_MAX       32 /* reads under way */
#define DUE_SLACK_S     5  /* recipients of a transaction that are due so soon go together */
#define DAMAGED_RETRY_S 3600

struct qm_defer {
	struct sm_timer timer;
	struct sm_list loads;
	unsigned load_count;
	struct sm_hash loading;
};

struct move {
	struct qm_wait wait;
	struct qm *q;
	struct qm_txn *txn;
	struct qm_loc journal; /* where IBDB held it */
};

struct load {
	struct sm_hash_node node; /* in loading, by id */
	struct sm_list link;
	struct sm_offload_job job;
	struct qm *q;
	const struct qm_log *log;
	struct sm_id id;
	struct qm_loc loc;
	struct sm_buf body;
	struct sm_arena arena;
	struct qm_rec_txn rec;
	bool dropped; /* qmgr ends */
};

static void arm(struct qm *q);

/* ---- to DEFEDB
 * ------------------------------------------------------------------------------------------------------
 */

static int64_t due_s(const struct qm_txn *txn)
{
	int64_t next = INT64_MAX;

	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		const struct qm_rcpt *r = &txn->rcpts[i];

		if (r->state == QM_RCPT_DEFERRED)
			next = SM_MIN(next, r->next_try_s);
		else if (r->state == QM_RCPT_FAILED)
			next = 0; /* its DSN could not be made yet */
	}
	return next;
}

static void settled(struct move *m)
{
	struct qm *q = m->q;
	struct qm_txn *txn = m->txn;

	/* The index has no bound of its own: commits are refused above EDBC_max_entries, so it is
	 * passed by what was under way at the most. */
	qm_edbc_put(q->edbc, txn->id, due_s(txn), txn->loc, txn->open);
	if (txn->unconfirmed)
		qm_incoming_taken(q, txn->id);
	qm_txn_free(&q->txns, &txn);
	sm_free(m);
	arm(q);
}

static void moved_durable(void *arg)
{
	settled(arg);
}

static void snapshot_durable(void *arg)
{
	struct move *m = arg;
	uint64_t lsn;

	if (m->journal.seq == 0) {
		settled(m);
		return;
	}
	lsn = qm_store_moved(m->q->store, m->txn, m->journal);
	qm_store_after(m->q->store, qm_store_ibdb(m->q->store), lsn, &m->wait, moved_durable, m);
}

void qm_defer(struct qm *q, struct qm_txn *txn)
{
	struct qm_log *defedb = qm_store_defedb(q->store);
	struct move *m = sm_calloc(1, sizeof(*m));

	m->q = q;
	m->txn = txn;
	if (txn->log != defedb)
		m->journal = txn->loc;
	txn->state = QM_TXN_MOVING;
	qm_store_after(q->store, defedb, qm_store_txn(q->store, txn, defedb), &m->wait,
	               snapshot_durable, m);
}

/* ---- and back
 * -------------------------------------------------------------------------------------------------------
 */

static int load_job(void *arg)
{
	struct load *l = arg;

	return qm_store_decode_at(l->log, l->loc, &l->body, &l->arena, &l->rec);
}

static void load_free(struct load *l)
{
	sm_list_remove(&l->link);
	sm_buf_fini(&l->body);
	sm_arena_fini(&l->arena);
	sm_free(l);
}

static void wake_due(struct qm_txn *txn, int64_t now_s)
{
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		struct qm_rcpt *r = &txn->rcpts[i];

		if (r->state == QM_RCPT_NEW && r->next_try_s > now_s + DUE_SLACK_S)
			qm_rcpt_set(r, QM_RCPT_DEFERRED);
	}
}

static void loaded(int rc, void *arg)
{
	struct load *l = arg;
	struct qm *q = l->q;
	struct qm_txn *txn;

	if (l->dropped) {
		load_free(l);
		return;
	}
	sm_hash_remove(&q->defer->loading, &l->node);
	q->defer->load_count--;
	if (rc != 0) {
		/* Kept, told, and tried again: the disk may recover, an operator may help. */
		sm_log(SM_CRIT, "qm.read_back", "ss_ta=%I error=%s diag=%s", l->id, sm_strerr(rc),
		       l->job.diag);
		qm_edbc_put(q->edbc, l->id, sm_wall_s() + DAMAGED_RETRY_S, l->loc, 1);
	} else {
		txn = qm_txn_from_rec(&q->txns, &l->rec);
		txn->log = qm_store_defedb(q->store);
		txn->loc = l->loc;
		txn->state = QM_TXN_ACTIVE;
		wake_due(txn, sm_wall_s());
		if (txn->busy > 0)
			qm_resolve(q, txn);
		else
			qm_progress(q, txn);
	}
	load_free(l);
	qm_defer_run(q);
}

static void load(struct qm *q, struct sm_id id, struct qm_loc loc)
{
	struct load *l = sm_calloc(1, sizeof(*l));

	l->q = q;
	l->log = qm_store_defedb(q->store);
	l->id = id;
	l->loc = loc;
	sm_buf_init(&l->body, QM_LOG_RECORD_MAX);
	sm_arena_init(&l->arena, "load", 1024, 16 * QM_LOG_RECORD_MAX);
	sm_hash_insert(&q->defer->loading, &l->node, sm_id_hash(id));
	sm_list_push(&q->defer->loads, &l->link);
	q->defer->load_count++;
	sm_offload_async(&l->job, load_job, loaded, l);
}

void qm_defer_run(struct qm *q)
{
	struct qm_defer *d = q->defer;
	int64_t now = sm_wall_s();

	if (!q->running || q->stopping)
		return;
	/* New mail may use all of the active queue, old mail leaves a quarter of it to new mail. */
	while (d->load_count < LOADS_MAX &&
	       q->txns.rcpts < (size_t)q->conf->aq_max_entries * 3 / 4) {
		const struct qm_edbc_entry *e = qm_edbc_top(q->edbc);
		struct sm_id id;
		struct qm_loc loc;

		if (e == NULL || qm_edbc_next_try(e) > now)
			break;
		id = qm_edbc_id(e);
		loc = qm_edbc_loc(e);
		qm_edbc_remove(q->edbc, id);
		load(q, id, loc);
	}
	arm(q);
}

static void due(void *arg)
{
	qm_defer_run(arg);
}

/* Wall time decides, so look again at least each minute: the clock may be set. */
static void arm(struct qm *q)
{
	const struct qm_edbc_entry *e = qm_edbc_top(q->edbc);
	int64_t wait_s = 60;

	if (e)
		wait_s = SM_MAX(1, SM_MIN(wait_s, qm_edbc_next_try(e) - sm_wall_s()));
	sm_timer_set(&q->defer->timer, sm_loop_now_ms() + wait_s * 1000, due, q);
}

static bool loading_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct load, node)->id, *(const struct sm_id *)key);
}

bool qm_defer_loading(const struct qm *q, struct sm_id id)
{
	return sm_hash_find(&q->defer->loading, sm_id_hash(id), loading_eq, &id) != NULL;
}

size_t qm_defer_flush(struct qm *q, struct sm_id id)
{
	size_t n;

	if (sm_id_none(id))
		n = qm_edbc_set_all(q->edbc, 0);
	else
		n = qm_edbc_set(q->edbc, id, 0);
	qm_defer_run(q);
	return n;
}

int qm_defer_open(struct qm *q)
{
	q->defer = sm_calloc(1, sizeof(*q->defer));
	sm_list_init(&q->defer->loads);
	sm_hash_init(&q->defer->loading);
	return 0;
}

void qm_defer_close(struct qm *q)
{
	struct qm_defer *d = q->defer;

	if (d == NULL)
		return;
	sm_timer_cancel(&d->timer);
	SM_LIST_FOR (l, &d->loads, struct load, link)
		l->dropped = true;
	sm_hash_fini(&d->loading);
	SM_FREE(q->defer);
}
