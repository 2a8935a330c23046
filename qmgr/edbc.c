/*
 * The index of deferred transactions: one array of small entries, a hash by id and a heap by time,
 * all by 32-bit index instead of pointers.
 *
 * Invariant: a used entry is in exactly one hash chain and in the heap at `heap_at`; a free one is
 * in the free list. Loop thread only.
 */
#include "qmgr/edbc.h"

#define NONE UINT32_MAX

struct qm_edbc_entry {
	uint64_t counter;
	struct qm_loc loc;
	uint32_t next_try_s; /* wall, until 2106 */
	uint32_t chain;      /* next in its hash bucket, or in the free list */
	uint32_t heap_at;    /* NONE: free */
	uint16_t rcpts;
	uint8_t proc;
};

struct qm_edbc {
	struct qm_edbc_entry *v;
	uint32_t *bucket, *heap;
	uint32_t used; /* entries of v ever used */
	uint32_t cap;  /* of v and heap */
	uint32_t mask; /* buckets - 1 */
	uint32_t count;
	uint32_t free_list;
};

struct qm_edbc *qm_edbc_new(void)
{
	struct qm_edbc *e = sm_calloc(1, sizeof(*e));

	e->free_list = NONE;
	e->mask = 255;
	e->bucket = sm_calloc(e->mask + 1, sizeof(*e->bucket));
	memset(e->bucket, 0xff, (e->mask + 1) * sizeof(*e->bucket));
	return e;
}

void qm_edbc_free(struct qm_edbc **ep)
{
	if (*ep == NULL)
		return;
	sm_free((*ep)->v);
	sm_free((*ep)->bucket);
	sm_free((*ep)->heap);
	SM_FREE(*ep);
}

/* ---- hash
 * ---------------------------------------------------------------------------------------------------------
 */

static uint32_t *bucket_of(const struct qm_edbc *e, uint64_t counter, uint8_t proc)
{
	return &e->bucket[sm_id_hash((struct sm_id){counter, proc}) & e->mask];
}

static uint32_t find(const struct qm_edbc *e, struct sm_id id)
{
	uint32_t i = *bucket_of(e, id.counter, id.proc);

	while (i != NONE && (e->v[i].counter != id.counter || e->v[i].proc != id.proc))
		i = e->v[i].chain;
	return i;
}

static void chain_in(struct qm_edbc *e, uint32_t i)
{
	uint32_t *b = bucket_of(e, e->v[i].counter, e->v[i].proc);

	e->v[i].chain = *b;
	*b = i;
}

static void chain_out(struct qm_edbc *e, uint32_t i)
{
	uint32_t *at = bucket_of(e, e->v[i].counter, e->v[i].proc);

	while (*at != i)
		at = &e->v[*at].chain;
	*at = e->v[i].chain;
}

static void rehash(struct qm_edbc *e)
{
	e->mask = e->mask * 2 + 1;
	e->bucket = sm_realloc(e->bucket, e->mask + (size_t)1, sizeof(*e->bucket));
	memset(e->bucket, 0xff, (e->mask + (size_t)1) * sizeof(*e->bucket));
	for (uint32_t i = 0; i < e->used; i++)
		if (e->v[i].heap_at != NONE)
			chain_in(e, i);
}

/* ---- heap
 * ---------------------------------------------------------------------------------------------------------
 */

static void heap_place(struct qm_edbc *e, uint32_t at, uint32_t i)
{
	e->heap[at] = i;
	e->v[i].heap_at = at;
}

static uint32_t key(const struct qm_edbc *e, uint32_t at)
{
	return e->v[e->heap[at]].next_try_s;
}

/* Put entry i where the heap has a hole at `at`, moving the hole up or down as its time asks. */
static void heap_settle(struct qm_edbc *e, uint32_t at, uint32_t i)
{
	uint32_t t = e->v[i].next_try_s;

	while (at > 0 && t < key(e, (at - 1) / 2)) {
		heap_place(e, at, e->heap[(at - 1) / 2]);
		at = (at - 1) / 2;
	}
	for (;;) {
		uint32_t child = 2 * at + 1;

		if (child + 1 < e->count && key(e, child + 1) < key(e, child))
			child++;
		if (child >= e->count || key(e, child) >= t)
			break;
		heap_place(e, at, e->heap[child]);
		at = child;
	}
	heap_place(e, at, i);
}

/* ---- the index
 * ----------------------------------------------------------------------------------------------------
 */

static uint32_t cut_time(int64_t s)
{
	return (uint32_t)SM_MAX(0, SM_MIN(s, (int64_t)UINT32_MAX));
}

static uint32_t take_free(struct qm_edbc *e)
{
	uint32_t i = e->free_list;

	if (i != NONE) {
		e->free_list = e->v[i].chain;
		return i;
	}
	if (e->used == e->cap) {
		/* By half: doubling a million entries would waste what a page file saves. */
		sm_assert(e->cap < UINT32_MAX / 2);
		e->cap = e->cap < 256 ? 256 : e->cap + e->cap / 2;
		e->v = sm_realloc(e->v, e->cap, sizeof(*e->v));
		e->heap = sm_realloc(e->heap, e->cap, sizeof(*e->heap));
	}
	return e->used++;
}

void qm_edbc_put(struct qm_edbc *e, struct sm_id id, int64_t next_try_s, struct qm_loc loc,
                 unsigned rcpts)
{
	uint32_t i = find(e, id), at;

	if (i == NONE) {
		i = take_free(e);
		e->v[i] = (struct qm_edbc_entry){.counter = id.counter, .proc = id.proc};
		at = e->count++;
		e->v[i].heap_at = at;
		if (e->count > e->mask)
			rehash(e); /* chains this one as well */
		else
			chain_in(e, i);
	} else {
		at = e->v[i].heap_at;
	}
	e->v[i].loc = loc;
	e->v[i].rcpts = (uint16_t)SM_MIN(rcpts, (unsigned)UINT16_MAX);
	e->v[i].next_try_s = cut_time(next_try_s);
	heap_settle(e, at, i);
}

void qm_edbc_remove(struct qm_edbc *e, struct sm_id id)
{
	uint32_t i = find(e, id), at;

	if (i == NONE)
		return;
	chain_out(e, i);
	at = e->v[i].heap_at;
	e->count--;
	if (at != e->count)
		heap_settle(e, at, e->heap[e->count]);
	e->v[i].heap_at = NONE;
	e->v[i].chain = e->free_list;
	e->free_list = i;
}

const struct qm_edbc_entry *qm_edbc_find(const struct qm_edbc *e, struct sm_id id)
{
	uint32_t i = find(e, id);

	return i == NONE ? NULL : &e->v[i];
}

const struct qm_edbc_entry *qm_edbc_top(const struct qm_edbc *e)
{
	return e->count ? &e->v[e->heap[0]] : NULL;
}

bool qm_edbc_set(struct qm_edbc *e, struct sm_id id, int64_t next_try_s)
{
	uint32_t i = find(e, id);

	if (i == NONE)
		return false;
	e->v[i].next_try_s = cut_time(next_try_s);
	heap_settle(e, e->v[i].heap_at, i);
	return true;
}

/* Equal keys are a heap in any order. */
size_t qm_edbc_set_all(struct qm_edbc *e, int64_t next_try_s)
{
	for (uint32_t at = 0; at < e->count; at++)
		e->v[e->heap[at]].next_try_s = cut_time(next_try_s);
	return e->count;
}

size_t qm_edbc_count(const struct qm_edbc *e)
{
	return e->count;
}

size_t qm_edbc_bytes(const struct qm_edbc *e)
{
	return sizeof(*e) + e->cap * (sizeof(*e->v) + sizeof(*e->heap)) +
	       (e->mask + (size_t)1) * sizeof(*e->bucket);
}

const struct qm_edbc_entry *qm_edbc_walk(const struct qm_edbc *e, uint64_t *cursor)
{
	while (*cursor < e->used) {
		const struct qm_edbc_entry *x = &e->v[(*cursor)++];

		if (x->heap_at != NONE)
			return x;
	}
	return NULL;
}

struct sm_id qm_edbc_id(const struct qm_edbc_entry *x)
{
	return (struct sm_id){x->counter, x->proc};
}

struct qm_loc qm_edbc_loc(const struct qm_edbc_entry *x)
{
	return x->loc;
}

int64_t qm_edbc_next_try(const struct qm_edbc_entry *x)
{
	return x->next_try_s;
}

unsigned qm_edbc_rcpts(const struct qm_edbc_entry *x)
{
	return x->rcpts;
}
