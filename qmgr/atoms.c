/*
 * The table of interned strings: one array of atoms, a hash by text, the texts in a pool. The hash
 * grows by a bucket a string, as that of the index does (edbc.c).
 *
 * Invariant: an atom with users is in exactly one hash chain and its text is in the pool; one
 * without is in the free list and its `text` is 0. Loop thread only.
 */
#include "qmgr/atoms.h"

#include "libsm/hash.h"
#include "qmgr/pool.h"

#define FIRST_BUCKETS 64
#define LITTLE        4096 /* worth keeping when nothing is left */

struct atom {
	uint32_t text; /* in the pool; 0: free */
	uint32_t users;
	uint32_t chain; /* next in its bucket, or in the free list; 0: the end */
	uint32_t stamp;
};

struct qm_atoms {
	struct atom *v; /* v[0] is the empty string */
	uint32_t *bucket;
	uint32_t used, cap; /* of v */
	uint32_t buckets, bucket_cap;
	uint32_t mask;  /* 2^n - 1, the least that is not below buckets - 1 */
	uint32_t count; /* with users */
	uint32_t free_list;
	uint32_t stamp; /* of the newest */
	struct qm_pool texts;
};

static uint32_t *place(void *arg, uint32_t owner)
{
	const struct qm_atoms *a = arg;

	return &a->v[owner].text;
}

static void init(struct qm_atoms *a)
{
	a->used = 1;
	a->free_list = 0;
	a->cap = FIRST_BUCKETS;
	a->v = sm_calloc(a->cap, sizeof(*a->v));
	a->buckets = a->bucket_cap = FIRST_BUCKETS;
	a->mask = FIRST_BUCKETS - 1;
	a->bucket = sm_calloc(FIRST_BUCKETS, sizeof(*a->bucket));
	qm_pool_init(&a->texts, place, a);
}

static void fini(struct qm_atoms *a)
{
	qm_pool_fini(&a->texts);
	sm_free(a->v);
	sm_free(a->bucket);
}

struct qm_atoms *qm_atoms_new(void)
{
	struct qm_atoms *a = sm_calloc(1, sizeof(*a));

	init(a);
	return a;
}

void qm_atoms_free(struct qm_atoms **ap)
{
	if (*ap == NULL)
		return;
	fini(*ap);
	SM_FREE(*ap);
}

struct sm_str qm_atoms_text(const struct qm_atoms *a, uint32_t atom)
{
	return atom ? qm_pool_get(&a->texts, a->v[atom].text) : SM_STR("");
}

uint32_t qm_atoms_stamp(const struct qm_atoms *a, uint32_t atom)
{
	return a->v[atom].stamp;
}

static uint32_t *bucket_of(const struct qm_atoms *a, struct sm_str s)
{
	uint32_t b = (uint32_t)sm_hash_str(s) & a->mask;

	return &a->bucket[b < a->buckets ? b : b & a->mask >> 1];
}

static uint32_t find_in(const struct qm_atoms *a, uint32_t i, struct sm_str s)
{
	while (i != 0 && !sm_str_eq(qm_atoms_text(a, i), s))
		i = a->v[i].chain;
	return i;
}

uint32_t qm_atoms_find(const struct qm_atoms *a, struct sm_str s)
{
	return s.n ? find_in(a, *bucket_of(a, s), s) : 0;
}

static void chain_in(struct qm_atoms *a, uint32_t i)
{
	uint32_t *b = bucket_of(a, qm_atoms_text(a, i));

	a->v[i].chain = *b;
	*b = i;
}

static uint32_t larger(uint32_t cap)
{
	sm_assert(cap < UINT32_MAX / 2);
	return cap + cap / 8 + FIRST_BUCKETS;
}

/* One more bucket, of half of what is in another. */
static void split(struct qm_atoms *a)
{
	uint32_t fresh = a->buckets, next, i;

	if (fresh == a->bucket_cap) {
		a->bucket_cap = larger(a->bucket_cap);
		a->bucket = sm_realloc(a->bucket, a->bucket_cap, sizeof(*a->bucket));
	}
	if (fresh > a->mask)
		a->mask = a->mask * 2 + 1;
	i = a->bucket[fresh & a->mask >> 1];
	a->bucket[fresh & a->mask >> 1] = a->bucket[fresh] = 0;
	a->buckets++;
	for (; i != 0; i = next) {
		next = a->v[i].chain;
		chain_in(a, i);
	}
}

static uint32_t take_free(struct qm_atoms *a)
{
	uint32_t i = a->free_list;

	if (i != 0) {
		a->free_list = a->v[i].chain;
		return i;
	}
	if (a->used == a->cap) {
		a->cap = larger(a->cap);
		a->v = sm_realloc(a->v, a->cap, sizeof(*a->v));
	}
	return a->used++;
}

uint32_t qm_atoms_take_bounded(struct qm_atoms *a, struct sm_str s, size_t most)
{
	uint32_t i;

	if (s.n == 0)
		return 0;
	i = find_in(a, *bucket_of(a, s), s);
	if (i != 0) {
		a->v[i].users++;
		return i;
	}
	if (a->count >= most)
		return 0;
	i = take_free(a);
	a->v[i] = (struct atom){.users = 1, .stamp = ++a->stamp};
	a->v[i].text = qm_pool_put(&a->texts, i, s);
	if (++a->count > a->buckets)
		split(a);
	chain_in(a, i);
	return i;
}

uint32_t qm_atoms_take(struct qm_atoms *a, struct sm_str s)
{
	return qm_atoms_take_bounded(a, s, SIZE_MAX);
}

void qm_atoms_drop(struct qm_atoms *a, uint32_t atom)
{
	struct atom *x = &a->v[atom];
	uint32_t *link, text;

	if (atom == 0 || --x->users > 0)
		return;
	for (link = bucket_of(a, qm_atoms_text(a, atom)); *link != atom;)
		link = &a->v[*link].chain;
	*link = x->chain;
	text = x->text;
	x->text = 0;
	x->chain = a->free_list;
	a->free_list = atom;
	a->count--;
	qm_pool_drop(&a->texts, text);
	if (a->count == 0 && a->cap > LITTLE) {
		fini(a); /* the stamp goes on: numbers begin anew */
		init(a);
	}
}

size_t qm_atoms_count(const struct qm_atoms *a)
{
	return a->count;
}

size_t qm_atoms_bytes(const struct qm_atoms *a)
{
	return sizeof(*a) + a->cap * sizeof(*a->v) + a->bucket_cap * sizeof(*a->bucket) +
	       qm_pool_bytes(&a->texts);
}
