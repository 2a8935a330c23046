/* Intrusive binary heap, least key first: timers, schedules. Insert, remove and change cost O(log
 * n). */
#ifndef SM_HEAP_H
#define SM_HEAP_H

#include "libsm/base.h"

struct sm_heap_node {
	int64_t key;
	size_t at; /* 1-based place in the heap; 0: not in it. Zeroed memory is a valid node outside
	              of any heap. */
};
struct sm_heap {
	struct sm_heap_node **v;
	size_t count, cap;
};

void sm_heap_init(struct sm_heap *h);
void sm_heap_fini(struct sm_heap *h); /* frees the array, not the members */
/* Insert, or move when it is in `h` already. */
void sm_heap_set(struct sm_heap *h, struct sm_heap_node *n, int64_t key);
void sm_heap_remove(struct sm_heap *h, struct sm_heap_node *n); /* harmless when it is not in */
static inline struct sm_heap_node *sm_heap_top(const struct sm_heap *h)
{
	return h->count ? h->v[0] : NULL;
}

#endif
