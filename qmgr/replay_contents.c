/*
 * Where contents are, as far as more than one transaction may use them: remembered while the logs
 * are read, counted when it is known what is open.
 *
 * A transaction has a snapshot in DEFEDB for each time that it was written again, and with segments
 * nearly each has a content that is not its own file. So a place is kept by the number of the index
 * entry, one for each that is open, however often it is seen; a queue without segments has none.
 * Invariant: while the logs are read, whoever puts an entry into the index tells it here next, so
 * a number that has gone to another one never keeps the place of the former. At the start, before
 * the loop runs.
 */
#include "qmgr/replay.h"

#include <stdlib.h>
#include <string.h>

static struct qm_replay_place *place_of(const struct qm_replay *rp, const struct qm_edbc_entry *e)
{
	uint32_t i = qm_edbc_number(rp->edbc, e);

	return i < rp->place_cap ? &rp->places[i] : NULL;
}

static struct qm_replay_place *make_place(struct qm_replay *rp, const struct qm_edbc_entry *e)
{
	size_t i = qm_edbc_number(rp->edbc, e), cap = i + i / 8 + 256;

	if (i >= rp->place_cap) {
		rp->places = sm_realloc(rp->places, cap, sizeof(*rp->places));
		memset(rp->places + rp->place_cap, 0, (cap - rp->place_cap) * sizeof(*rp->places));
		rp->place_cap = cap;
	}
	return &rp->places[i];
}

static bool is_set(const struct qm_replay_place *p)
{
	return p != NULL && (p->counter != 0 || p->proc != 0);
}

static struct cdb_place unpacked(const struct qm_replay_place *p)
{
	if (!is_set(p))
		return (struct cdb_place){0};
	return (struct cdb_place){{p->counter, p->proc}, p->offset, p->size};
}

/* ---- children ---- */

static int child_cmp(const void *a, const void *b)
{
	const struct qm_replay_child *x = a, *y = b;

	return x->id.counter < y->id.counter   ? -1
	       : x->id.counter > y->id.counter ? 1
	                                       : (int)x->id.proc - (int)y->id.proc;
}

/* Oldest first, and each once: whose child one is never changes. */
static void sort_children(struct qm_replay *rp)
{
	size_t n = 0;

	if (rp->child_count > 0)
		qsort(rp->children, rp->child_count, sizeof(*rp->children), child_cmp);
	for (size_t i = 0; i < rp->child_count; i++)
		if (n == 0 || !sm_id_eq(rp->children[i].id, rp->children[n - 1].id))
			rp->children[n++] = rp->children[i];
	rp->child_count = n;
}

static void add_child(struct qm_replay *rp, struct sm_id id, struct sm_id of, bool dsn)
{
	if (rp->child_count == rp->child_cap) {
		sort_children(rp);
		if (rp->child_count >= rp->child_cap / 2)
			rp->child_cap = rp->child_cap ? rp->child_cap * 2 : 64;
		rp->children = sm_realloc(rp->children, rp->child_cap, sizeof(*rp->children));
	}
	rp->children[rp->child_count++] = (struct qm_replay_child){id, of, dsn};
}

/* ---- what is seen ---- */

void qm_replay_saw_content(struct qm_replay *rp, struct sm_id id, const struct cdb_place *at,
                           struct sm_id of, bool dsn)
{
	const struct qm_edbc_entry *e = qm_edbc_find(rp->edbc, id);
	struct qm_replay_place *p;

	if (e == NULL)
		return;
	if (sm_id_eq(id, at->content)) {
		if ((p = place_of(rp, e)) != NULL)
			*p = (struct qm_replay_place){0};
		return;
	}
	p = make_place(rp, e);
	*p = (struct qm_replay_place){.counter = at->content.counter,
	                              .offset = at->offset,
	                              .size = (uint32_t)SM_MIN(at->size, UINT32_MAX),
	                              .proc = at->content.proc};
	if (id.proc == SM_ID_PROC_QMGR)
		add_child(rp, id, of, dsn);
}

/* ---- what is counted ---- */

static int place_cmp(const void *a, const void *b, void *arg)
{
	const struct qm_replay_place *places = arg;
	const struct qm_replay_place *x = &places[*(const uint32_t *)a];
	const struct qm_replay_place *y = &places[*(const uint32_t *)b];

	if (x->counter != y->counter)
		return x->counter < y->counter ? -1 : 1;
	if (x->proc != y->proc)
		return (int)x->proc - (int)y->proc;
	return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* In the order of their places: each is behind all that the segment has so far. */
static void count_members(struct qm_replay *rp)
{
	const struct qm_edbc_entry *e;
	uint32_t *order;
	uint64_t cursor = 0;
	size_t n = 0;

	if (rp->place_cap == 0)
		return;
	order = sm_calloc(qm_edbc_count(rp->edbc) + 1, sizeof(*order));
	while ((e = qm_edbc_walk(rp->edbc, &cursor)) != NULL)
		if (qm_edbc_id(e).proc != SM_ID_PROC_QMGR && is_set(place_of(rp, e)))
			order[n++] = qm_edbc_number(rp->edbc, e);
	qsort_r(order, n, sizeof(*order), place_cmp, rp->places);
	for (size_t i = 0; i < n; i++) {
		const struct cdb_place at = unpacked(&rp->places[order[i]]);

		qm_content_member(&rp->txns->contents, &at);
	}
	sm_free(order);
}

static void count_children(struct qm_replay *rp)
{
	sort_children(rp);
	for (size_t i = 0; i < rp->child_count; i++) {
		const struct qm_replay_child *c = &rp->children[i];
		const struct qm_edbc_entry *e = qm_edbc_find(rp->edbc, c->id);
		struct cdb_place at;

		if (e == NULL)
			continue; /* over since */
		at = unpacked(place_of(rp, e));
		qm_content_child(&rp->txns->contents, &at, c->id, c->of, c->dsn,
		                 qm_edbc_find(rp->edbc, at.content) != NULL);
	}
}

void qm_replay_count_contents(struct qm_replay *rp)
{
	count_members(rp);
	count_children(rp);
	qm_content_recovered(&rp->txns->contents);
	qm_replay_forget_contents(rp);
}

void qm_replay_forget_contents(struct qm_replay *rp)
{
	SM_FREE(rp->places);
	SM_FREE(rp->children);
	rp->place_cap = rp->child_count = rp->child_cap = 0;
}
