/*
 * The index of deferred transactions: one array of small entries, a hash by id and a heap by time,
 * all by 32-bit index instead of pointers; what is known of the transaction is in its tail.
 *
 * The hash grows by one bucket an entry (linear hashing): the loop never waits for a million to be
 * hashed anew.
 *
 * Invariant: a used entry is in exactly one hash chain and in the heap at `heap_at`, and has a
 * tail; a free one is in the free list. Loop thread only.
 */
#include "qmgr/edbc_int.h"

#define NONE   QM_EDBC_NONE
#define LITTLE 4096 /* entries: worth keeping when nothing is left */
#define FIRST  256  /* buckets */

static uint32_t *place(void *arg, uint32_t owner)
{
	const struct qm_edbc *e = arg;

	return &e->v[owner].tail;
}

/* Everything but atoms. */
static void init(struct qm_edbc *e)
{
	e->v = NULL;
	e->heap = NULL;
	e->used = e->cap = 0;
	e->free_list = NONE;
	e->buckets = e->bucket_cap = FIRST;
	e->mask = FIRST - 1;
	e->bucket = sm_calloc(FIRST, sizeof(*e->bucket));
	memset(e->bucket, 0xff, FIRST * sizeof(*e->bucket));
	qm_pool_init(&e->tails, place, e);
	qm_edbc_waits_init(e);
	sm_buf_init(&e->scratch, QM_POOL_MOST);
}

static void fini(struct qm_edbc *e)
{
	qm_edbc_waits_fini(e);
	qm_pool_fini(&e->tails);
	sm_buf_fini(&e->scratch);
	sm_free(e->v);
	sm_free(e->bucket);
	sm_free(e->heap);
}

struct qm_edbc *qm_edbc_new(void)
{
	struct qm_edbc *e = sm_calloc(1, sizeof(*e));

	e->names = qm_atoms_new();
	e->reasons = qm_atoms_new();
	init(e);
	return e;
}

void qm_edbc_free(struct qm_edbc **ep)
{
	struct qm_edbc *e = *ep;

	if (e == NULL)
		return;
	fini(e);
	qm_atoms_free(&e->names);
	qm_atoms_free(&e->reasons);
	SM_FREE(*ep);
}

/* ---- hash ---- */

static uint32_t *bucket_of(const struct qm_edbc *e, uint64_t counter, uint8_t proc)
{
	uint32_t b = (uint32_t)sm_id_hash((struct sm_id){counter, proc}) & e->mask;

	/* A bucket that is not there yet: its entries are still in the one it will be split from.
	 */
	return &e->bucket[b < e->buckets ? b : b & e->mask >> 1];
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

/* A little at a time: large blocks are moved by the system's page tables. */
static uint32_t larger(uint32_t cap)
{
	sm_assert(cap < UINT32_MAX / 2);
	return cap + cap / 8 + 256;
}

/* One more bucket, of half of what is in another. */
static void split(struct qm_edbc *e)
{
	uint32_t fresh = e->buckets, next, i;

	if (fresh == e->bucket_cap) {
		e->bucket_cap = larger(e->bucket_cap);
		e->bucket = sm_realloc(e->bucket, e->bucket_cap, sizeof(*e->bucket));
	}
	if (fresh > e->mask)
		e->mask = e->mask * 2 + 1;
	i = e->bucket[fresh & e->mask >> 1];
	e->bucket[fresh & e->mask >> 1] = e->bucket[fresh] = NONE;
	e->buckets++;
	for (; i != NONE; i = next) {
		next = e->v[i].chain;
		chain_in(e, i);
	}
}

/* ---- the index ---- */

static uint32_t cut_time(int64_t s)
{
	if (s == QM_EDBC_NEVER)
		return UINT32_MAX;
	return (uint32_t)SM_MAX(0, SM_MIN(s, QM_EDBC_NEVER - 1));
}

static uint32_t take_free(struct qm_edbc *e)
{
	uint32_t i = e->free_list;

	if (i != NONE) {
		e->free_list = e->v[i].chain;
		return i;
	}
	if (e->used == e->cap) {
		qm_edbc_waits_grow(e, larger(e->cap));
		e->cap = larger(e->cap);
		e->v = sm_realloc(e->v, e->cap, sizeof(*e->v));
		e->heap = sm_realloc(e->heap, e->cap, sizeof(*e->heap));
	}
	qm_edbc_wait_none(e, e->used);
	return e->used++;
}

/* The new tail is in the scratch buffer, and its atoms are counted. */
static void put(struct qm_edbc *e, struct sm_id id, const struct qm_edbc_draft *d,
                struct qm_loc loc)
{
	uint32_t i = find(e, id), at;
	struct qm_edbc_entry *x;

	if (i == NONE) {
		i = take_free(e);
		e->v[i] = (struct qm_edbc_entry){.counter = id.counter, .proc = id.proc};
		at = e->count++;
		e->v[i].heap_at = at;
		if (e->count > e->buckets)
			split(e);
		chain_in(e, i);
	} else {
		at = e->v[i].heap_at;
		qm_edbc_wait_out(e, i);
		qm_edbc_tail_drop(e, &e->v[i]);
	}
	x = &e->v[i];
	x->loc = loc;
	x->rcpts = (uint16_t)d->rcpts;
	x->next_try_s = cut_time(d->rcpts == 0         ? 0
	                         : d->held == d->rcpts ? QM_EDBC_NEVER
	                                               : d->due_s);
	e->rcpts += d->rcpts;
	e->held += d->held;
	x->tail = qm_pool_put(&e->tails, i, sm_buf_view(&e->scratch));
	qm_edbc_flags(e, x);
	qm_edbc_heap_settle(e, at, i);
	if (d->waits > 0)
		qm_edbc_wait_in(e, i);
}

void qm_edbc_put_txn(struct qm_edbc *e, const struct qm_txn *txn, struct qm_loc loc)
{
	struct qm_edbc_draft d;

	qm_edbc_draft_txn(e, txn, &d);
	put(e, txn->id, &d, loc);
}

void qm_edbc_put_rec(struct qm_edbc *e, const struct qm_rec_txn *rec, struct qm_loc loc)
{
	struct qm_edbc_draft d;

	qm_edbc_draft_rec(e, rec, &d);
	put(e, rec->ta, &d, loc);
}

void qm_edbc_remove(struct qm_edbc *e, struct sm_id id)
{
	uint32_t i = find(e, id), at;

	if (i == NONE)
		return;
	qm_edbc_wait_out(e, i);
	qm_edbc_tail_drop(e, &e->v[i]);
	chain_out(e, i);
	at = e->v[i].heap_at;
	e->count--;
	if (at != e->count)
		qm_edbc_heap_settle(e, at, e->heap[e->count]);
	e->v[i].heap_at = NONE;
	e->v[i].chain = e->free_list;
	e->free_list = i;
	if (e->count == 0 && e->cap > LITTLE) {
		fini(e);
		init(e);
	}
}

struct qm_edbc_entry *qm_edbc_entry_of(const struct qm_edbc *e, struct sm_id id)
{
	uint32_t i = find(e, id);

	return i == NONE ? NULL : &e->v[i];
}

const struct qm_edbc_entry *qm_edbc_find(const struct qm_edbc *e, struct sm_id id)
{
	return qm_edbc_entry_of(e, id);
}

const struct qm_edbc_entry *qm_edbc_top(const struct qm_edbc *e)
{
	return e->count ? &e->v[e->heap[0]] : NULL;
}

void qm_edbc_due(struct qm_edbc *e, struct qm_edbc_entry *x, int64_t next_try_s)
{
	x->next_try_s = cut_time(next_try_s);
	qm_edbc_heap_settle(e, x->heap_at, (uint32_t)(x - e->v));
}

bool qm_edbc_set(struct qm_edbc *e, struct sm_id id, int64_t next_try_s)
{
	struct qm_edbc_entry *x = qm_edbc_entry_of(e, id);

	if (x && !(x->flags & QM_EDBC_ALL_HELD))
		qm_edbc_due(e, x, next_try_s);
	return x != NULL;
}

size_t qm_edbc_set_all(struct qm_edbc *e, int64_t next_try_s)
{
	size_t n = 0;

	for (uint32_t at = 0; at < e->count; at++) {
		struct qm_edbc_entry *x = &e->v[e->heap[at]];

		if (x->flags & (QM_EDBC_ALL_HELD | QM_EDBC_ALL_WAITS))
			continue;
		x->next_try_s = cut_time(next_try_s);
		n++;
	}
	qm_edbc_heap_order(e);
	return n;
}

bool qm_edbc_moved(struct qm_edbc *e, struct sm_id id, struct qm_loc loc)
{
	struct qm_edbc_entry *x = qm_edbc_entry_of(e, id);

	if (x)
		x->loc = loc;
	return x != NULL;
}

size_t qm_edbc_count(const struct qm_edbc *e)
{
	return e->count;
}

size_t qm_edbc_rcpt_count(const struct qm_edbc *e)
{
	return e->rcpts;
}

size_t qm_edbc_held_count(const struct qm_edbc *e)
{
	return e->held;
}

size_t qm_edbc_bytes(const struct qm_edbc *e)
{
	return sizeof(*e) + e->cap * (sizeof(*e->v) + sizeof(*e->heap)) +
	       e->bucket_cap * sizeof(*e->bucket) + qm_edbc_waits_bytes(e) +
	       qm_pool_bytes(&e->tails) + qm_atoms_bytes(e->names) + qm_atoms_bytes(e->reasons);
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

uint32_t qm_edbc_number(const struct qm_edbc *e, const struct qm_edbc_entry *x)
{
	return (uint32_t)(x - e->v);
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

bool qm_edbc_is_marked(const struct qm_edbc *e, const struct qm_edbc_entry *x)
{
	(void)e;
	return x->flags & QM_EDBC_MARKED;
}

struct sm_str qm_edbc_domain(const struct qm_edbc *e, const struct qm_edbc_entry *x, unsigned i)
{
	struct qm_edbc_reader r = qm_edbc_read(e, x);
	struct qm_edbc_rcpt rcpt = {.domain = 0};

	sm_assert(i < x->rcpts);
	for (unsigned k = 0; k <= i; k++)
		(void)qm_edbc_read_rcpt(&r, &rcpt);
	return qm_atoms_text(e->names, rcpt.domain);
}

const struct qm_atoms *qm_edbc_names(const struct qm_edbc *e)
{
	return e->names;
}

const struct qm_atoms *qm_edbc_reasons(const struct qm_edbc *e)
{
	return e->reasons;
}
