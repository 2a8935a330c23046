/*
 * The intrusive binary heap. Invariant: v[i]->at == i + 1, and no node's key is less than its
 * parent's. One thread per heap.
 */
#include "libsm/heap.h"

#define FIRST_NODES 16

void sm_heap_init(struct sm_heap *h)
{
	*h = (struct sm_heap){.v = NULL};
}

void sm_heap_fini(struct sm_heap *h)
{
	SM_FREE(h->v);
	sm_heap_init(h);
}

static void put(struct sm_heap *h, size_t i, struct sm_heap_node *n)
{
	h->v[i] = n;
	n->at = i + 1;
}

static void sift_up(struct sm_heap *h, size_t i, struct sm_heap_node *n)
{
	while (i > 0) {
		size_t parent = (i - 1) / 2;

		if (h->v[parent]->key <= n->key)
			break;
		put(h, i, h->v[parent]);
		i = parent;
	}
	put(h, i, n);
}

static void sift_down(struct sm_heap *h, size_t i, struct sm_heap_node *n)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= h->count)
			break;
		if (child + 1 < h->count && h->v[child + 1]->key < h->v[child]->key)
			child++;
		if (n->key <= h->v[child]->key)
			break;
		put(h, i, h->v[child]);
		i = child;
	}
	put(h, i, n);
}

/* `n` is to stand at `i`, whose present key may be too small or too large for that place. */
static void place(struct sm_heap *h, size_t i, struct sm_heap_node *n)
{
	if (i > 0 && n->key < h->v[(i - 1) / 2]->key)
		sift_up(h, i, n);
	else
		sift_down(h, i, n);
}

void sm_heap_set(struct sm_heap *h, struct sm_heap_node *n, int64_t key)
{
	n->key = key;
	if (n->at > 0) {
		sm_assert(n->at <= h->count && h->v[n->at - 1] == n);
		place(h, n->at - 1, n);
		return;
	}
	if (h->count == h->cap) {
		h->cap = h->cap ? h->cap * 2 : FIRST_NODES;
		h->v = sm_realloc(h->v, h->cap, sizeof(struct sm_heap_node *));
	}
	sift_up(h, h->count++, n);
}

void sm_heap_remove(struct sm_heap *h, struct sm_heap_node *n)
{
	if (n->at == 0)
		return;
	size_t i = n->at - 1;

	sm_assert(i < h->count && h->v[i] == n);
	struct sm_heap_node *last = h->v[--h->count];

	n->at = 0;
	if (last != n)
		place(h, i, last);
}
