/*
 * Acts on many transactions: chosen, written, applied, each a little each turn. Loop thread.
 *
 * An act begins with the ids of what is in the active queue. Then the index is walked, and nothing
 * is read back from DEFEDB meanwhile, so all that was in the index stays there; what comes into it
 * is set aside. At last those ids are looked up, wherever they are by then. So each transaction of
 * the beginning is looked at once, and none that came later.
 *
 * Invariant: one act at a time; its chunks stand when the last one is durable, and before anything
 * of it is applied. A transaction that is moving to DEFEDB is waited for.
 */
#include "qmgr/bulk.h"

#include <stdlib.h>
#include "libsm/time.h"
#include "qmgr/filter.h"
#include "qmgr/qm.h"

#define SLICE_US   1000
#define SLICE_STEP 32 /* so many between two looks at the clock */
#define WAITING    16 /* acts */
#define TEXT_MAX   1000
#define REASON_MAX 200
#define SWEEP_MS   30000 /* so often all marks are looked at */
#define STEP_MS    20    /* between two chunks */

/* Marks that are to be written as one chunk. */
struct piece {
	struct sm_list link;
	uint32_t count;
	struct qm_mark *marks;
};

/* A transaction that the walk over the index is to leave out: it is looked up by its id. */
struct aside {
	struct sm_hash_node node;
	struct sm_id id;
};

enum phase { WALK, LOOK_UP, WRITE, APPLY };

struct bulk {
	struct sm_list link;
	enum phase phase;
	struct qm_filter *filter;
	struct qm_act act;
	char text[TEXT_MAX + 1], reason[REASON_MAX + 1];
	bool dry_run, chosen; /* all that it hits is known */
	qm_bulk_cb *cb;
	void *arg;
	int64_t began_ms;
	size_t txns, rcpts, marks;

	uint64_t cursor; /* of the walk */
	struct sm_id *ids;
	size_t id_count, id_at;
	struct sm_hash asides;

	struct sm_list pieces; /* the last one is being filled */
	struct sm_list chunks; /* written, the last one maybe not durable */
	uint32_t parts;
	bool writing;
	int err; /* it has failed: over when the chunk that is being written is durable */
	const char *diag;

	const struct qm_chunk *chunk; /* being applied */
	uint32_t mark_at;
	struct qm_mark *moving; /* to be applied when they are in the index */
	size_t moving_count, moving_cap;
};

struct qm_bulk {
	struct sm_list acts; /* the first one is under way */
	unsigned count;
	struct sm_hook hook;
	struct sm_timer sweep, look;
	struct sm_arena arena;
	uint32_t *which; /* recipients that a filter chose */
	size_t which_cap;
};

/* Waits for a chunk; apart from the act, because the store frees what still waits at the end. */
struct writing {
	struct qm_wait wait;
	struct qm *q;
};

static struct bulk *current(const struct qm *q)
{
	return SM_LIST_FIRST(&q->bulk->acts, struct bulk, link);
}

bool qm_bulk_busy(const struct qm *q)
{
	return !sm_list_empty(&q->bulk->acts);
}

bool qm_bulk_choosing(const struct qm *q)
{
	const struct bulk *b = current(q);

	return b && (b->phase == WALK || b->phase == LOOK_UP);
}

/* ---- what was set aside ---- */

static bool aside_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct aside, node)->id, *(const struct sm_id *)key);
}

static bool is_aside(const struct bulk *b, struct sm_id id)
{
	return b->asides.count > 0 && sm_hash_find(&b->asides, sm_id_hash(id), aside_eq, &id);
}

static void set_aside(struct bulk *b, struct sm_id id)
{
	struct aside *a;

	if (is_aside(b, id))
		return;
	a = sm_calloc(1, sizeof(*a));
	a->id = id;
	sm_hash_insert(&b->asides, &a->node, sm_id_hash(id));
}

static void forget_asides(struct bulk *b)
{
	for (struct sm_hash_node *n = sm_hash_next(&b->asides, NULL), *next; n; n = next) {
		next = sm_hash_next(&b->asides, n);
		sm_hash_remove(&b->asides, n);
		sm_free(SM_CONTAINER_OF(n, struct aside, node));
	}
}

void qm_bulk_entered(struct qm *q, struct sm_id id)
{
	struct bulk *b = current(q);

	if (b && b->phase == WALK)
		set_aside(b, id);
}

/* ---- choosing ---- */

static void add_mark(struct qm *q, struct bulk *b, struct sm_id ta, uint16_t index)
{
	struct piece *p =
	    sm_list_empty(&b->pieces) ? NULL : SM_LIST_ENTRY(b->pieces.prev, struct piece, link);
	uint32_t max = qm_marks_chunk_max(q->store);

	if (p == NULL || p->count == max) {
		p = sm_calloc(1, sizeof(*p));
		p->marks = sm_calloc(max, sizeof(*p->marks));
		sm_list_push(&b->pieces, &p->link);
	}
	p->marks[p->count++] = (struct qm_mark){ta.counter, index, ta.proc};
	b->marks++;
}

/* Can the act do anything to a recipient in this state? */
static bool concerns(enum qm_mark_verb verb, enum qm_view_state state)
{
	switch (state) {
	case QM_VIEW_ACTIVE:
		return verb != QM_MARK_RELEASE && verb != QM_MARK_NONE;
	case QM_VIEW_DEFERRED:
		return verb != QM_MARK_RELEASE;
	case QM_VIEW_HELD:
		return verb != QM_MARK_HOLD && verb != QM_MARK_NONE;
	default:
		return false; /* a DSN that is owed is sent */
	}
}

static void choose(struct qm *q, struct bulk *b, const struct qm_view *v)
{
	struct qm_bulk *all = q->bulk;
	unsigned n, hit = 0;

	if (all->which_cap < v->rcpt_count) {
		all->which_cap = v->rcpt_count;
		all->which = sm_realloc(all->which, all->which_cap, sizeof(*all->which));
	}
	n = qm_filter_match(b->filter, v, all->which);
	for (unsigned i = 0; i < n; i++)
		hit += concerns(b->act.verb, v->rcpts[all->which[i]].state);
	if (hit == 0)
		return;
	b->txns++;
	b->rcpts += hit;
	if (b->dry_run)
		return;
	if (n == v->rcpt_count) {
		add_mark(q, b, v->id, QM_MARK_ALL);
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		const struct qm_view_rcpt *r = &v->rcpts[all->which[i]];

		if (concerns(b->act.verb, r->state))
			add_mark(q, b, v->id, r->index);
	}
}

static void choose_txn(struct qm *q, struct bulk *b, const struct qm_txn *txn)
{
	struct qm_view v;

	if (txn->state == QM_TXN_ENDING || txn->open == 0)
		return;
	sm_arena_reset(&q->bulk->arena);
	qm_view_of_txn(txn, &q->bulk->arena, &v);
	choose(q, b, &v);
}

static void choose_entry(struct qm *q, struct bulk *b, const struct qm_edbc_entry *e)
{
	struct qm_view v;

	sm_arena_reset(&q->bulk->arena);
	qm_view_of_entry(q->edbc, e, &q->bulk->arena, &v);
	choose(q, b, &v);
}

/* One step; true: there is more. */
static bool walk(struct qm *q, struct bulk *b)
{
	const struct qm_edbc_entry *e = qm_edbc_walk(q->edbc, &b->cursor);

	if (e == NULL)
		return false;
	if (!is_aside(b, qm_edbc_id(e)))
		choose_entry(q, b, e);
	return true;
}

static bool look_up(struct qm *q, struct bulk *b)
{
	const struct qm_edbc_entry *e;
	const struct qm_txn *txn;
	struct sm_id id;

	if (b->id_at == b->id_count)
		return false;
	id = b->ids[b->id_at++];
	if ((txn = qm_txn_find(&q->txns, id)) != NULL)
		choose_txn(q, b, txn);
	else if ((e = qm_edbc_find(q->edbc, id)) != NULL)
		choose_entry(q, b, e);
	return true;
}

static int id_cmp(const void *a, const void *b)
{
	const struct sm_id *x = a, *y = b;

	if (x->counter != y->counter)
		return x->counter < y->counter ? -1 : 1;
	return (int)x->proc - (int)y->proc;
}

/* The ids that the filter names, each once. */
static void begin_named(struct bulk *b, const struct sm_id *ids, size_t count)
{
	b->phase = LOOK_UP;
	b->ids = sm_calloc(count, sizeof(*b->ids));
	memcpy(b->ids, ids, count * sizeof(*ids));
	qsort(b->ids, count, sizeof(*ids), id_cmp);
	for (size_t i = 0; i < count; i++)
		if (b->id_count == 0 || !sm_id_eq(b->ids[b->id_count - 1], b->ids[i]))
			b->ids[b->id_count++] = b->ids[i];
}

static void begin(struct qm *q, struct bulk *b)
{
	const struct sm_id *named;
	size_t count;

	b->began_ms = sm_now_ms();
	b->act.at_s = sm_wall_s();
	if ((named = qm_filter_ids(b->filter, &count)) != NULL) {
		begin_named(b, named, count);
		return;
	}
	b->ids = sm_calloc(q->txns.by_id.count + QM_DEFER_LOADS_MAX, sizeof(*b->ids));
	b->id_count = qm_defer_loading_ids(q, b->ids);
	for (size_t i = 0; i < b->id_count; i++)
		set_aside(b, b->ids[i]);
	SM_LIST_FOR (txn, &q->txns.active, struct qm_txn, link)
		if (txn->state != QM_TXN_COMMITTING) /* that is mail to come */
			b->ids[b->id_count++] = txn->id;
}

/* ---- the end of an act ---- */

static void bulk_free(struct qm *q, struct bulk *b)
{
	struct sm_list *e;

	sm_list_remove(&b->link);
	q->bulk->count--;
	while ((e = sm_list_shift(&b->pieces)) != NULL) {
		struct piece *p = SM_LIST_ENTRY(e, struct piece, link);

		sm_free(p->marks);
		sm_free(p);
	}
	qm_marks_discard(q->store, &b->chunks);
	forget_asides(b);
	sm_hash_fini(&b->asides);
	qm_filter_free(&b->filter);
	sm_free(b->ids);
	sm_free(b->moving);
	sm_free(b);
}

static void on_sweep(void *arg);

static void finish(struct qm *q, struct bulk *b, int err, const char *diag)
{
	const struct qm_bulk_done done = {.err = err,
	                                  .diag = diag,
	                                  .txns = b->txns,
	                                  .rcpts = b->rcpts,
	                                  .took_ms = sm_now_ms() - b->began_ms};

	sm_log(err ? SM_ERROR : SM_NOTICE, "qm.act",
	       "act=%llu uid=%u verb=%s filter=%S transactions=%zu recipients=%zu took_ms=%lld "
	       "stat=%s reason=%S",
	       (unsigned long long)b->act.number, b->act.uid, qm_mark_word(b->act.verb),
	       sm_str(b->text), b->txns, b->rcpts, (long long)done.took_ms,
	       err          ? diag
	       : b->dry_run ? "dry_run"
	                    : "done",
	       b->act.reason);
	if (b->cb)
		b->cb(b->arg, &done);
	bulk_free(q, b);
	if (!sm_timer_is_set(&q->bulk->sweep))
		sm_timer_set(&q->bulk->sweep, sm_now_ms() + STEP_MS, on_sweep, q);
	qm_defer_run(q);
}

/* ---- writing ---- */

static void write_next(struct qm *q, struct bulk *b);

static void stand(struct qm *q, struct bulk *b)
{
	struct sm_list *e;

	b->chunk = SM_LIST_FIRST(&b->chunks, struct qm_chunk, link);
	while ((e = sm_list_shift(&b->chunks)) != NULL)
		qm_marks_stand(q->store, SM_LIST_ENTRY(e, struct qm_chunk, link));
	b->phase = APPLY;
}

static void chunk_durable(void *arg)
{
	struct writing *wr = arg;
	struct qm *q = wr->q;
	struct bulk *b = current(q);

	sm_free(wr);
	b->writing = false;
	if (b->err)
		finish(q, b, b->err, b->diag);
	else if (b->chosen && sm_list_empty(&b->pieces))
		stand(q, b);
	else
		write_next(q, b);
}

/* One chunk at a time, so that mail that comes in meanwhile has the disk to itself but for one: the
 * one that is being filled only when it is the last. */
static void write_next(struct qm *q, struct bulk *b)
{
	struct piece *p = SM_LIST_FIRST(&b->pieces, struct piece, link);
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

static void chosen(struct qm *q, struct bulk *b)
{
	b->chosen = true;
	b->phase = WRITE;
	forget_asides(b);
	if (b->marks == 0)
		finish(q, b, 0, "");
	else if (b->act.verb == QM_MARK_NONE)
		b->phase = APPLY;
	else
		write_next(q, b);
}

/* ---- applying ---- */

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
		if (!(r->flags & QM_RCPT_HELD))
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
	for (unsigned i = 0; i < txn->rcpt_count; i++)
		if (index == QM_MARK_ALL || index == txn->rcpts[i].index)
			reach(q, &txn->rcpts[i], act);
	txn->act = SM_MAX(txn->act, act->number);
	qm_resolve(q, txn);
	qm_progress(q, txn);
}

/* False: it is on its way to the index. */
static bool hit(struct qm *q, struct bulk *b, const struct qm_mark *m)
{
	struct sm_id id = qm_mark_id(m);
	struct qm_txn *txn = qm_txn_find(&q->txns, id);

	if (txn && txn->state == QM_TXN_MOVING)
		return false;
	if (txn && txn->state == QM_TXN_ACTIVE)
		reach_txn(q, txn, m->index, &b->act);
	else if (txn == NULL && b->act.verb == QM_MARK_NONE)
		(void)qm_edbc_set(q->edbc, id, b->act.at_s);
	else if (txn == NULL)
		(void)qm_edbc_mark(q->edbc, id, m->index, b->act.verb, b->act.at_s);
	return true;
}

/* The next mark in the order in which they were chosen; NULL: all are done. */
static const struct qm_mark *next_mark(struct qm *q, struct bulk *b)
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
static const struct qm_mark *next_piece(struct bulk *b)
{
	struct piece *p = SM_LIST_FIRST(&b->pieces, struct piece, link);

	if (p && b->mark_at == p->count) {
		sm_list_remove(&p->link);
		sm_free(p->marks);
		sm_free(p);
		b->mark_at = 0;
		p = SM_LIST_FIRST(&b->pieces, struct piece, link);
	}
	return p ? &p->marks[b->mark_at++] : NULL;
}

static bool apply(struct qm *q, struct bulk *b)
{
	const struct qm_mark *m = b->act.verb == QM_MARK_NONE ? next_piece(b) : next_mark(q, b);

	if (m == NULL)
		return false;
	if (!hit(q, b, m)) {
		if (b->moving_count == b->moving_cap) {
			b->moving_cap = b->moving_cap ? b->moving_cap * 2 : 64;
			b->moving = sm_realloc(b->moving, b->moving_cap, sizeof(*b->moving));
		}
		b->moving[b->moving_count++] = *m;
	}
	return true;
}

/* Those that were on their way to the index; true when all have come. */
static bool apply_moving(struct qm *q, struct bulk *b)
{
	size_t left = 0;

	for (size_t i = 0; i < b->moving_count; i++)
		if (!hit(q, b, &b->moving[i]))
			b->moving[left++] = b->moving[i];
	b->moving_count = left;
	return left == 0;
}

/* ---- turns ---- */

static void fail(struct qm *q, struct bulk *b, int err)
{
	b->err = err;
	b->phase = WRITE;
	if (!b->writing)
		finish(q, b, err, b->diag);
}

/* What is chosen is kept in memory and in the journal: both have an end. */
static int bounds(const struct qm *q, struct bulk *b)
{
	size_t max = 2 * (size_t)(q->conf->edbc_max_entries + q->conf->aq_max_entries);

	if (b->marks + qm_store_marks(q->store)->count > max) {
		b->diag = "too many acts wait to be carried out";
		return SM_E_FULL;
	}
	if (b->marks > qm_marks_chunk_max(q->store) && qm_store_low(q->store)) {
		b->diag = "no room in the journal for so many at once";
		return SM_E_FULL;
	}
	return 0;
}

/* One step of the act; true: more can be done in this turn. */
static bool step(struct qm *q, struct bulk *b)
{
	switch (b->phase) {
	case WALK:
		if (!walk(q, b))
			b->phase = LOOK_UP;
		return true;
	case LOOK_UP:
		return look_up(q, b);
	case APPLY:
		return apply(q, b);
	default:
		return false;
	}
}

/* What follows when a phase has nothing more to do. */
static void next_phase(struct qm *q, struct bulk *b)
{
	struct qm_marks *m = qm_store_marks(q->store);

	if (b->phase == LOOK_UP) {
		chosen(q, b);
	} else if (b->phase == APPLY && apply_moving(q, b)) {
		m->applied = SM_MAX(m->applied, b->act.number);
		finish(q, b, 0, "");
	}
}

static void look(void *arg)
{
	(void)arg; /* the turn that this begins is all that is wanted */
}

/* A slice, once a turn. */
static bool turn(void *arg)
{
	struct qm *q = arg;
	struct bulk *b = current(q);
	int64_t until_us;
	bool more = true;
	int err;

	if (b == NULL || !q->running || q->stopping)
		return false;
	if (b->began_ms == 0)
		begin(q, b);
	if (b->phase == WRITE)
		return false; /* the disk's turn */
	until_us = sm_now_us() + SLICE_US;
	do {
		for (unsigned i = 0; i < SLICE_STEP && more; i++)
			more = step(q, b);
	} while (more && sm_now_us() < until_us);
	if ((b->phase == WALK || b->phase == LOOK_UP) && (err = bounds(q, b)) != 0) {
		fail(q, b, err);
		return true;
	}
	if (!more)
		next_phase(q, b);
	else if (b->phase != APPLY && b->act.verb != QM_MARK_NONE)
		write_next(q, b);
	/* What is moving comes with the disk: no hurry then, but somebody has to look. */
	if (!more && current(q) == b && b->phase == APPLY)
		sm_timer_set(&q->bulk->look, sm_loop_now_ms() + 1, look, q);
	return more || (current(q) && current(q) != b);
}

/* ---- what stands ---- */

bool qm_bulk_needed(void *arg, struct sm_id ta)
{
	const struct qm *q = arg;
	const struct qm_edbc_entry *e;

	if (qm_txn_find(&q->txns, ta))
		return true;
	e = qm_edbc_find(q->edbc, ta);
	return e && qm_edbc_is_marked(q->edbc, e);
}

static void on_sweep(void *arg)
{
	struct qm *q = arg;
	struct qm_marks *m = qm_store_marks(q->store);
	bool more = false;

	if (!qm_bulk_busy(q))
		more = qm_marks_sweep(q->store, qm_bulk_needed, q);
	if (m->count > 0)
		sm_timer_set(&q->bulk->sweep, sm_now_ms() + (more ? STEP_MS : SWEEP_MS), on_sweep,
		             q);
}

/* ---- the door ---- */

int qm_bulk_begin(struct qm *q, const struct qm_bulk_ask *ask)
{
	struct qm_filter *filter = ask->filter;
	struct bulk *b;

	if (q->bulk->count >= WAITING) {
		qm_filter_free(&filter);
		return sm_fail(SM_E_BUSY, "%d acts wait for their turn already", WAITING);
	}
	b = sm_calloc(1, sizeof(*b));
	b->filter = filter;
	b->dry_run = ask->dry_run;
	b->cb = ask->cb;
	b->arg = ask->arg;
	sm_str_cut(ask->text, b->text, sizeof(b->text));
	sm_str_cut(ask->reason, b->reason, sizeof(b->reason));
	b->act = (struct qm_act){.verb = ask->verb, .uid = ask->uid, .reason = sm_str(b->reason)};
	sm_hash_init(&b->asides);
	sm_list_init(&b->pieces);
	sm_list_init(&b->chunks);
	sm_list_push(&q->bulk->acts, &b->link);
	q->bulk->count++;
	return 0;
}

void qm_bulk_forget(struct qm *q, const void *arg)
{
	SM_LIST_FOR (b, &q->bulk->acts, struct bulk, link)
		if (b->arg == arg)
			b->cb = NULL;
}

int qm_bulk_open(struct qm *q)
{
	struct qm_bulk *all = sm_calloc(1, sizeof(*all));

	q->bulk = all;
	sm_list_init(&all->acts);
	sm_arena_init(&all->arena, "view", 16 * 1024, 4 * 1024 * 1024);
	sm_loop_before_sleep(&all->hook, turn, q);
	sm_timer_set(&all->sweep, sm_now_ms() + SWEEP_MS, on_sweep, q);
	return 0;
}

/* What was not yet a fact will never have been. */
void qm_bulk_close(struct qm *q)
{
	struct qm_bulk *all = q->bulk;

	if (all == NULL)
		return;
	sm_hook_remove(&all->hook);
	sm_timer_cancel(&all->sweep);
	sm_timer_cancel(&all->look);
	SM_LIST_FOR_SAFE (b, &all->acts, struct bulk, link)
		bulk_free(q, b);
	sm_arena_fini(&all->arena);
	sm_free(all->which);
	SM_FREE(q->bulk);
}
