/*
 * The deferred index by time: a binary heap of entry numbers.
 *
 * Invariant: heap[v[i].heap_at] == i for each entry in use, and no entry is due before its parent.
 * Loop thread only.
 */
#include "qmgr/edbc_int.h"

static void place(struct qm_edbc *e, uint32_t at, uint32_t i)
{
	e->heap[at] = i;
	e->v[i].heap_at = at;
}

static uint32_t key(const struct qm_edbc *e, uint32_t at)
{
	return e->v[e->heap[at]].next_try_s;
}

/* Move the hole down until its children are later than entry i, and fill it. */
static void settle_down(struct qm_edbc *e, uint32_t at, uint32_t i)
{
	uint32_t t = e->v[i].next_try_s;

	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child + 1 < e->count && key(e, child + 1) < key(e, child))
			child++;
		if (child >= e->count || key(e, child) >= t)
			break;
		place(e, at, e->heap[child]);
		at = child;
	}
	place(e, at, i);
}

void qm_edbc_heap_settle(struct qm_edbc *e, uint32_t at, uint32_t i)
{
	uint32_t t = e->v[i].next_try_s;

	while (at > 0 && t < key(e, (at - 1) / 2)) {
		place(e, at, e->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	settle_down(e, at, i);
}

void qm_edbc_heap_order(struct qm_edbc *e)
{
	for (uint32_t at = e->count / 2; at-- > 0;)
		settle_down(e, at, e->heap[at]);
}
