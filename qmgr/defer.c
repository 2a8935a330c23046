/*
 * Transactions to DEFEDB, and back when they are due. In memory stays an index entry (edbc.h);
 * everything else is in the log.
 *
 * A transaction that is being read back or copied forward stays in the index, parked there when it
 * is to be tried, until it is in the table or has its new place: so whoever looks finds it, and
 * what operators do to it meanwhile is in its entry.
 *
 * To DEFEDB: the snapshot becomes durable there; for one that was in the journal, `moved` becomes
 * durable in IBDB; then the index has it. So at each moment at least one log has it, and replay
 * finds the newer one. Back: the snapshot is read by a helper, never by the loop.
 *
 * A move begins only when its snapshot goes into a segment that is there, so it never waits for
 * room on a full disk. Without room: what is in DEFEDB and not changed since goes back to its place
 * in the index, with its new time, and DEFEDB still has the truth; everything else is IBDB's, if
 * need be taken over (takeover.c), and waits in the active queue (kept.c). In both cases deliveries
 * go on, and what they come to is said by a log that has room for it.
 */
#include "qmgr/atoms.h"
#include "qmgr/qm.h"

#include "libsm/offload.h"
#include "libsm/time.h"

#define LOADS_MAX       32 /* reads under way */
#define DUE_SLACK_S     5  /* recipients of a transaction that are due so soon go together */
#define DAMAGED_RETRY_S 3600
#define FLUSHED_S       1    /* before all that is due: an operator wants it tried */
#define BLOCKED_MAX     2000 /* put off in one turn */
#define LARGE_S         30   /* so long one with several recipients waits for more room */
#define FORWARD_MAX     16   /* copies forward under way */

struct qm_defer {
	struct sm_timer timer;
	struct sm_list loads;
	unsigned load_count, forward_count;
	size_t load_rcpts; /* that the loads under way will bring */
	bool resting;      /* enough was put off in this turn: the timer goes on with it */
	struct sm_hash loading;
	struct sm_list back; /* moves to where DEFEDB has it already */
	struct sm_timer go_back;
};

struct move {
	struct qm_wait wait;
	struct sm_list link; /* in back */
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
	bool forward;  /* only to be copied */
	bool put_by;   /* became due meanwhile: tried when it is copied */
	int64_t due_s; /* as the index had it; the first one when it is put by */
	unsigned rcpts;
	struct sm_buf body;
	struct sm_arena arena;
	struct qm_rec_txn rec;
};

/* A copy of `load` that becomes durable. */
struct copy {
	struct qm_wait wait;
	struct load *load;
	struct qm_loc loc;
	uint64_t lsn;
};

static void arm(struct qm *q);
static void due(void *arg);

/* ---- to DEFEDB
 * ------------------------------------------------------------------------------------------------------
 */

static void settled(struct move *m)
{
	struct qm *q = m->q;
	struct qm_txn *txn = m->txn;

	/* The index has no bound of its own: commits are refused above EDBC_max_entries, so it is
	 * passed by what was under way at the most. */
	qm_edbc_put_txn(q->edbc, txn, txn->loc);
	qm_bulk_entered(q, txn->id);
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

static void move(void *arg)
{
	struct move *m = arg;
	struct qm_log *defedb = qm_store_defedb(m->q->store);

	if (m->txn->log != defedb) {
		if (!qm_store_fits(m->q->store, m->txn)) {
			m->txn->state = QM_TXN_ACTIVE;
			qm_keep(m->q, m->txn);
			sm_free(m);
			return;
		}
		m->journal = m->txn->loc;
	}
	qm_store_after(m->q->store, defedb, qm_store_txn(m->q->store, m->txn, defedb), &m->wait,
	               snapshot_durable, m);
}

static void go_back(void *arg)
{
	struct qm *q = arg;
	struct sm_list *e;

	while ((e = sm_list_shift(&q->defer->back)) != NULL)
		settled(SM_LIST_ENTRY(e, struct move, link));
}

void qm_defer(struct qm *q, struct qm_txn *txn)
{
	struct qm_log *ibdb = qm_store_ibdb(q->store);
	bool fits = qm_store_fits(q->store, txn), back = !fits && txn->log != ibdb && !txn->changed;
	struct move *m;

	if (!fits && !back && (txn->log == ibdb || qm_store_take_over(q->store, txn))) {
		qm_keep(q, txn);
		return;
	}
	qm_unkeep(q, txn);
	m = sm_calloc(1, sizeof(*m));
	m->q = q;
	m->txn = txn;
	txn->state = QM_TXN_MOVING;
	if (back) {
		/* In the next turn: who calls this may still look at the transaction. */
		sm_list_push(&q->defer->back, &m->link);
		sm_timer_set(&q->defer->go_back, sm_loop_now_ms(), go_back, q);
		return;
	}
	/* The snapshot has no more what its DSN reports. The DSN must be durable before, else a
	 * crash in between would lose both: nothing orders the syncs of two logs. */
	if (txn->log == ibdb && txn->child_lsn > qm_log_durable(ibdb))
		qm_store_after(q->store, ibdb, txn->child_lsn, &m->wait, move, m);
	else
		move(m);
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

int64_t qm_defer_far_s(const struct qm *q, int64_t now_s)
{
	int64_t max_s = q->conf->retry_max_ms / 1000;

	return now_s + SM_MAX(max_s + max_s / 10, (int64_t)DAMAGED_RETRY_S) + 60;
}

/* What is not due yet waits on, and what is held. */
static void wake_due(struct qm *q, struct qm_txn *txn, bool all)
{
	int64_t now_s = sm_wall_s(), far_s = qm_defer_far_s(q, now_s);

	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		struct qm_rcpt *r = &txn->rcpts[i];
		bool waits = !all && r->next_try_s > now_s + DUE_SLACK_S && r->next_try_s <= far_s;

		if (r->state != QM_RCPT_NEW)
			continue;
		if (qm_rcpt_waits(r))
			waits = !(r->flags & QM_RCPT_HELD) && !qm_run_due(q, r, now_s);
		if (waits || (r->flags & QM_RCPT_HELD))
			qm_rcpt_set(r, QM_RCPT_DEFERRED);
	}
}

/*
 * What operators did to it while it was in the index; true when it had to be read back for that.
 * All recipients know of theirs before anything is recorded: while DEFEDB is full that is a
 * snapshot, which says that it has all acts, and has to wait for the last one.
 */
static bool take_marks(struct qm *q, struct qm_txn *txn, const struct qm_edbc_entry *e)
{
	struct qm_edbc_reader in = qm_edbc_read(q->edbc, e);
	struct qm_edbc_rcpt x;
	bool waited = false;

	while (qm_edbc_read_rcpt(&in, &x)) {
		struct qm_rcpt *r = qm_txn_rcpt(txn, x.index);

		waited |= x.mark != QM_MARK_NONE;

		if (r == NULL || r->state != QM_RCPT_NEW)
			continue;
		if (!x.held && (r->flags & QM_RCPT_HELD))
			r->next_try_s = 0;
		r->flags = (uint8_t)((r->flags & ~QM_RCPT_HELD) | (x.held ? QM_RCPT_HELD : 0));
		r->mark = (uint8_t)x.mark;
	}
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		struct qm_rcpt *r = &txn->rcpts[i];
		bool held = r->flags & QM_RCPT_HELD;

		if (r->mark == QM_MARK_NONE)
			continue;
		(void)qm_bulk_caught(q, r);
		if (held && r->state == QM_RCPT_NEW)
			r->flags |= QM_RCPT_HELD; /* after it was requeued */
	}
	return waited;
}

static void activate(struct load *l)
{
	struct qm *q = l->q;
	const struct qm_edbc_entry *e = qm_edbc_find(q->edbc, l->id);
	struct qm_txn *txn = qm_txn_from_rec(&q->txns, &l->rec);
	/* Due before any of its recipients is, or again since: somebody wants it tried. */
	int64_t due_s = SM_MIN(l->due_s, qm_edbc_next_try(e));
	bool wanted = l->due_s < qm_txn_due_s(txn) || due_s != l->due_s;

	txn->log = qm_store_defedb(q->store);
	txn->loc = l->loc;
	txn->state = QM_TXN_ACTIVE;
	txn->changed = txn->acted = qm_edbc_is_marked(q->edbc, e);
	if (txn->changed && take_marks(q, txn, e))
		wanted = due_s <= FLUSHED_S;
	if (qm_run_loaded(q, txn, e))
		wanted = false; /* a run is for what waits for it */
	qm_edbc_remove(q->edbc, l->id);
	wake_due(q, txn, wanted);
	if (txn->busy > 0)
		qm_resolve(q, txn);
	if (txn->owed > 0 || txn->busy == 0)
		qm_progress(q, txn);
}

/* The next one that is due need not wait for a copy. */
static void put_by(struct load *l, int64_t due_s)
{
	l->due_s = l->put_by ? SM_MIN(l->due_s, due_s) : due_s;
	l->put_by = true;
	qm_edbc_set(l->q->edbc, l->id, QM_EDBC_NEVER);
}

static void put_back(struct load *l)
{
	const struct qm_edbc_entry *e = qm_edbc_find(l->q->edbc, l->id);

	if (e && l->put_by)
		qm_edbc_set(l->q->edbc, l->id, SM_MIN(l->due_s, qm_edbc_next_try(e)));
}

/* Until now a crash would have found the old place, which is still held. */
static void copy_durable(void *arg)
{
	struct copy *c = arg;
	struct load *l = c->load;
	struct qm *q = l->q;

	qm_store_copied(q->store, l->loc, c->lsn);
	sm_hash_remove(&q->defer->loading, &l->node);
	q->defer->forward_count--;
	qm_edbc_moved(q->edbc, l->id, c->loc);
	put_back(l);
	load_free(l);
	sm_free(c);
	qm_defer_run(q);
}

static void copy_forward(struct load *l)
{
	struct qm *q = l->q;
	struct copy *c = sm_calloc(1, sizeof(*c));

	c->load = l;
	c->lsn = qm_store_copy(q->store, &l->rec, &c->loc);
	qm_store_after(q->store, qm_store_defedb(q->store), c->lsn, &c->wait, copy_durable, c);
}

static void loaded(int rc, void *arg)
{
	struct load *l = arg;
	struct qm *q = l->q;

	if (rc == 0 && l->forward && qm_log_room(qm_store_defedb(q->store), l->body.len)) {
		copy_forward(l);
		return;
	}
	sm_hash_remove(&q->defer->loading, &l->node);
	if (l->forward) {
		q->defer->forward_count--;
		put_back(l);
	} else {
		q->defer->load_count--;
		q->defer->load_rcpts -= l->rcpts;
	}
	if (rc == 0 && !l->forward) {
		activate(l);
	} else if (rc != 0) {
		/* Kept, told, and tried again: the disk may recover, an operator may help. */
		sm_log(SM_CRIT, "qm.read_back", "ss_ta=%I error=%s diag=%s", l->id, sm_strerr(rc),
		       l->job.diag);
		if (!l->forward)
			qm_edbc_set(q->edbc, l->id, sm_wall_s() + DAMAGED_RETRY_S);
	}
	load_free(l);
	qm_defer_run(q);
}

/* `loading` knows it until it is a transaction again, or has its new place. */
static void load(struct qm *q, const struct qm_edbc_entry *e, bool forward)
{
	struct load *l = sm_calloc(1, sizeof(*l));

	l->q = q;
	l->log = qm_store_defedb(q->store);
	l->id = qm_edbc_id(e);
	l->loc = qm_edbc_loc(e);
	l->rcpts = qm_edbc_rcpts(e);
	l->due_s = qm_edbc_next_try(e);
	l->forward = forward;
	if (!forward)
		qm_edbc_set(q->edbc, l->id, QM_EDBC_NEVER);
	sm_buf_init(&l->body, QM_LOG_RECORD_MAX);
	sm_arena_init(&l->arena, "load", 1024, 16 * QM_LOG_RECORD_MAX);
	sm_hash_insert(&q->defer->loading, &l->node, sm_id_hash(l->id));
	sm_list_push(&q->defer->loads, &l->link);
	if (forward) {
		q->defer->forward_count++;
	} else {
		q->defer->load_count++;
		q->defer->load_rcpts += l->rcpts;
	}
	sm_offload_async(&l->job, load_job, loaded, l);
}

static bool is_due(const struct qm_edbc_entry *e, int64_t now_s, int64_t far_s)
{
	int64_t next_s = qm_edbc_next_try(e);

	return next_s <= now_s || (next_s > far_s && next_s != QM_EDBC_NEVER);
}

static bool loading_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct load, node)->id, *(const struct sm_id *)key);
}

static struct load *loading_of(const struct qm *q, struct sm_id id)
{
	struct sm_hash_node *n = sm_hash_find(&q->defer->loading, sm_id_hash(id), loading_eq, &id);

	return n ? SM_CONTAINER_OF(n, struct load, node) : NULL;
}

bool qm_defer_loading(const struct qm *q, struct sm_id id)
{
	return loading_of(q, id) != NULL;
}

/*
 * Everything in it goes where nothing can go now: it stays where it is until that may have changed.
 * Not what an operator asked for, and not what is so old that a failure by proxy may tell its
 * sender something.
 */
static bool put_off_blocked(struct qm *q, const struct qm_edbc_entry *e, int64_t now_s)
{
	int64_t old_s = SM_MIN(q->conf->return_timeout_ms, q->conf->delay_timeout_ms) / 1000;
	int64_t now_ms = sm_loop_now_ms(), first_ms = INT64_MAX;
	struct qm_edbc_reader reader;
	struct qm_edbc_rcpt rcpt;
	bool old;

	if (q->blocked.by_domain.count == 0 || qm_edbc_next_try(e) <= FLUSHED_S ||
	    qm_edbc_is_marked(q->edbc, e))
		return false;
	reader = qm_edbc_read(q->edbc, e);
	old = now_s - reader.received_s >= old_s;
	while (qm_edbc_read_rcpt(&reader, &rcpt)) {
		struct sm_str domain = qm_atoms_text(qm_edbc_names(q->edbc), rcpt.domain);
		int64_t until_ms = qm_blocked_until(&q->blocked, domain, old, now_ms, NULL);

		if (until_ms == 0)
			return false;
		first_ms = SM_MIN(first_ms, until_ms);
	}
	return qm_edbc_set(q->edbc, qm_edbc_id(e), now_s + (first_ms - now_ms) / 1000 + 1);
}

size_t qm_defer_loading_ids(const struct qm *q, struct sm_id *ids)
{
	size_t n = 0;

	_Static_assert(LOADS_MAX + FORWARD_MAX <= QM_DEFER_LOADS_MAX, "room for all loads");
	SM_LIST_FOR (l, &q->defer->loads, struct load, link)
		ids[n++] = l->id;
	return n;
}

/*
 * How full the active queue may be before this one is read back; `e` NULL: any. New mail may use
 * all of it, old mail leaves a quarter to new mail. There is none while DEFEDB is full, and what is
 * kept must not keep out what may be delivered. A mail with one recipient either goes or goes back:
 * for these there is a quarter more, which hardly anything stays in.
 */
static size_t room(const struct qm *q, const struct qm_edbc_entry *e)
{
	size_t max = (size_t)q->conf->aq_max_entries;

	if (!qm_log_low_space(qm_store_defedb(q->store)))
		return max * 3 / 4;
	return e == NULL || qm_edbc_rcpts(e) == 1 ? max + max / 4 : max;
}

static bool has_room(const struct qm *q, const struct qm_edbc_entry *e)
{
	return q->txns.rcpts + q->defer->load_rcpts < room(q, e);
}

/* There is room, but not for this one: those behind it come first. */
static bool put_off_large(struct qm *q, const struct qm_edbc_entry *e, int64_t now_s)
{
	return !has_room(q, e) && qm_edbc_set(q->edbc, qm_edbc_id(e), now_s + LARGE_S);
}

void qm_defer_run(struct qm *q)
{
	int blocked = 0;
	struct qm_defer *d = q->defer;
	int64_t now_s = sm_wall_s(), far_s = qm_defer_far_s(q, now_s);

	if (!q->running || q->stopping || d->resting)
		return;
	if (qm_bulk_choosing(q)) {
		arm(q);
		return; /* for less than a second; its end runs this again */
	}
	while (d->load_count < LOADS_MAX && has_room(q, NULL)) {
		const struct qm_edbc_entry *e = qm_edbc_top(q->edbc);
		struct load *l;

		if (e == NULL || !is_due(e, now_s, far_s))
			break;
		if ((l = loading_of(q, qm_edbc_id(e))) != NULL) {
			if (!l->forward)
				break; /* in a moment: its end runs this again */
			put_by(l, qm_edbc_next_try(e));
			continue;
		}
		if (qm_run_entry(q, e, now_s) || qm_halt_entry(q, e) ||
		    put_off_blocked(q, e, now_s) || put_off_large(q, e, now_s)) {
			if (++blocked == BLOCKED_MAX)
				break;
			continue;
		}
		load(q, e, false);
	}
	d->resting = blocked == BLOCKED_MAX; /* there may be more: in the next turn */
	arm(q);
}

bool qm_defer_forward(struct qm *q, struct sm_id id)
{
	const struct qm_edbc_entry *e = qm_edbc_find(q->edbc, id);

	if (q->defer->forward_count >= FORWARD_MAX)
		return false;
	if (e && !qm_defer_loading(q, id))
		load(q, e, true);
	return true;
}

size_t qm_defer_loads(const struct qm *q)
{
	return q->defer->load_count + q->defer->forward_count;
}

static void due(void *arg)
{
	struct qm *q = arg;

	q->defer->resting = false;
	qm_defer_run(q);
}

/* Wall time decides, so look again at least each minute: the clock may be set. */
static void arm(struct qm *q)
{
	const struct qm_edbc_entry *e = qm_edbc_top(q->edbc);
	int64_t wait_s = 60;

	if (e)
		wait_s = SM_MAX(1, SM_MIN(wait_s, qm_edbc_next_try(e) - sm_wall_s()));
	sm_timer_set(&q->defer->timer, sm_loop_now_ms() + (q->defer->resting ? 1 : wait_s * 1000),
	             due, q);
}

/* Those in memory that wait for others of their transaction: due as soon as they are in the index.
 */
static size_t flush_active(struct qm *q, struct sm_id id)
{
	size_t n = 0;

	SM_LIST_FOR (txn, &q->txns.active, struct qm_txn, link) {
		unsigned deferred = 0;

		if (!sm_id_none(id) && !sm_id_eq(id, txn->id))
			continue;
		for (unsigned i = 0; i < txn->rcpt_count; i++) {
			if (txn->rcpts[i].state != QM_RCPT_DEFERRED)
				continue;
			txn->rcpts[i].next_try_s = 0;
			deferred++;
		}
		n += deferred > 0;
	}
	return n;
}

size_t qm_defer_flush(struct qm *q, struct sm_id id)
{
	size_t n = flush_active(q, id);

	if (sm_id_none(id))
		n += qm_edbc_set_all(q->edbc, FLUSHED_S);
	else
		n += qm_edbc_set(q->edbc, id, FLUSHED_S);
	qm_kept_wake(q);
	qm_defer_run(q);
	return n;
}

int qm_defer_open(struct qm *q)
{
	q->defer = sm_calloc(1, sizeof(*q->defer));
	sm_list_init(&q->defer->loads);
	sm_list_init(&q->defer->back);
	sm_hash_init(&q->defer->loading);
	return 0;
}

/* The helpers have ended: nobody looks at a load any more. */
void qm_defer_close(struct qm *q)
{
	struct qm_defer *d = q->defer;

	if (d == NULL)
		return;
	sm_timer_cancel(&d->timer);
	sm_timer_cancel(&d->go_back);
	SM_LIST_FOR_SAFE (m, &d->back, struct move, link)
		sm_free(m);
	SM_LIST_FOR_SAFE (l, &d->loads, struct load, link)
		load_free(l);
	sm_hash_fini(&d->loading);
	SM_FREE(q->defer);
}
