/*
 * What an act hits. Loop thread.
 *
 * It begins with the ids of what is in the active queue. Then the index is walked, and nothing is
 * read back from DEFEDB meanwhile, so all that was in the index stays there; what comes into it is
 * set aside. At last those ids are looked up, wherever they are by then. Invariant: so each
 * transaction of the beginning is looked at once, and none that came later.
 */
#include "qmgr/bulk_int.h"

#include <stdlib.h>
#include "libsm/time.h"

/* A transaction that the walk over the index is to leave out: it is looked up by its id. */
struct aside {
	struct sm_hash_node node;
	struct sm_id id;
};

/* ---- what was set aside ---- */

static bool aside_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct aside, node)->id, *(const struct sm_id *)key);
}

static bool is_aside(const struct qm_bulk_act *b, struct sm_id id)
{
	return b->asides.count > 0 && sm_hash_find(&b->asides, sm_id_hash(id), aside_eq, &id);
}

static void set_aside(struct qm_bulk_act *b, struct sm_id id)
{
	struct aside *a;

	if (is_aside(b, id))
		return;
	a = sm_calloc(1, sizeof(*a));
	a->id = id;
	sm_hash_insert(&b->asides, &a->node, sm_id_hash(id));
}

void qm_bulk_choose_end(struct qm_bulk_act *b)
{
	for (struct sm_hash_node *n = sm_hash_next(&b->asides, NULL), *next; n; n = next) {
		next = sm_hash_next(&b->asides, n);
		sm_hash_remove(&b->asides, n);
		sm_free(SM_CONTAINER_OF(n, struct aside, node));
	}
}

void qm_bulk_entered(struct qm *q, struct sm_id id)
{
	struct qm_bulk_act *b = qm_bulk_current(q);

	/* Before its first turn the act has no ids yet: the walk will come by. */
	if (b && b->began_ms != 0 && b->phase == QM_BULK_WALK)
		set_aside(b, id);
}

/* ---- choosing ---- */

static void add_mark(struct qm *q, struct qm_bulk_act *b, struct sm_id ta, uint16_t index)
{
	struct qm_bulk_piece *p = sm_list_empty(&b->pieces)
	                              ? NULL
	                              : SM_LIST_ENTRY(b->pieces.prev, struct qm_bulk_piece, link);
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
	case QM_VIEW_QUEUED:
	case QM_VIEW_ON_DEMAND:
		return verb != QM_MARK_NONE; /* who flushes does not run */
	case QM_VIEW_HELD:
		return verb != QM_MARK_HOLD && verb != QM_MARK_NONE;
	default:
		return false; /* a DSN that is owed is sent */
	}
}

static void choose(struct qm *q, struct qm_bulk_act *b, const struct qm_view *v)
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

static void choose_txn(struct qm *q, struct qm_bulk_act *b, const struct qm_txn *txn)
{
	struct qm_view v;

	if (txn->state == QM_TXN_COMMITTING || txn->state == QM_TXN_ENDING || txn->open == 0)
		return;
	sm_arena_reset(&q->bulk->arena);
	qm_view_of_txn(txn, &q->bulk->arena, &v);
	choose(q, b, &v);
}

static void choose_entry(struct qm *q, struct qm_bulk_act *b, const struct qm_edbc_entry *e)
{
	struct qm_view v;

	sm_arena_reset(&q->bulk->arena);
	qm_view_of_entry(q->edbc, e, &q->bulk->arena, &v);
	choose(q, b, &v);
}

bool qm_bulk_walk(struct qm *q, struct qm_bulk_act *b)
{
	const struct qm_edbc_entry *e = qm_edbc_walk(q->edbc, &b->cursor);

	if (e == NULL)
		return false;
	if (!is_aside(b, qm_edbc_id(e)))
		choose_entry(q, b, e);
	return true;
}

bool qm_bulk_look_up(struct qm *q, struct qm_bulk_act *b)
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
static void begin_named(struct qm_bulk_act *b, const struct sm_id *ids, size_t count)
{
	b->phase = QM_BULK_LOOK_UP;
	b->ids = sm_calloc(count, sizeof(*b->ids));
	memcpy(b->ids, ids, count * sizeof(*ids));
	qsort(b->ids, count, sizeof(*ids), id_cmp);
	for (size_t i = 0; i < count; i++)
		if (b->id_count == 0 || !sm_id_eq(b->ids[b->id_count - 1], b->ids[i]))
			b->ids[b->id_count++] = b->ids[i];
}

void qm_bulk_choose_begin(struct qm *q, struct qm_bulk_act *b)
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
