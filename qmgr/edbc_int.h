/* What the files of the deferred index share: edbc.c (hash, public face), edbc_heap.c (by time),
 * edbc_tail.c (what an entry knows of its transaction). */
#ifndef QM_EDBC_INT_H
#define QM_EDBC_INT_H

#include "libsm/buf.h"
#include "qmgr/atoms.h"
#include "qmgr/edbc.h"
#include "qmgr/pool.h"
#include "qmgr/reason.h"

#define QM_EDBC_NONE UINT32_MAX

struct qm_edbc_entry {
	uint64_t counter;
	struct qm_loc loc;
	uint32_t next_try_s; /* wall, until 2106 */
	uint32_t chain;      /* next in its hash bucket, or in the free list */
	uint32_t heap_at;    /* QM_EDBC_NONE: free */
	uint32_t tail;       /* in the pool; 0: free */
	uint16_t rcpts;
	uint8_t proc;
	uint8_t flags; /* QM_EDBC_* */
};

enum {
	QM_EDBC_MARKED = 1,
	QM_EDBC_ALL_HELD = 2, /* and nothing waits to be done at once: never due */
};

struct qm_edbc {
	struct qm_edbc_entry *v;
	uint32_t *bucket, *heap;
	uint32_t used; /* entries of v ever used */
	uint32_t cap;  /* of v and heap */
	uint32_t buckets, bucket_cap;
	uint32_t mask; /* 2^n - 1, the least that is not below buckets - 1 */
	uint32_t count;
	uint32_t free_list;
	size_t rcpts, held;
	struct qm_atoms *names, *reasons;
	struct qm_pool tails;
	struct sm_buf scratch; /* a tail being made */
};

/* ---- edbc.c ---- */
struct qm_edbc_entry *qm_edbc_entry_of(const struct qm_edbc *e, struct sm_id id); /* or NULL */
void qm_edbc_due(struct qm_edbc *e, struct qm_edbc_entry *x, int64_t next_try_s);

/* ---- edbc_heap.c ---- */
/* Put entry i where the heap has a hole at `at`. */
void qm_edbc_heap_settle(struct qm_edbc *e, uint32_t at, uint32_t i);
/* Times changed at random: order all. */
void qm_edbc_heap_order(struct qm_edbc *e);

/* ---- edbc_tail.c ---- */
struct qm_edbc_draft {
	int64_t due_s; /* INT64_MAX: all held */
	unsigned rcpts, held;
};
void qm_edbc_draft_txn(struct qm_edbc *e, const struct qm_txn *txn, struct qm_edbc_draft *d);
void qm_edbc_draft_rec(struct qm_edbc *e, const struct qm_rec_txn *rec, struct qm_edbc_draft *d);
/* Forget what the tail of `x` uses; its reference becomes 0. */
void qm_edbc_tail_drop(struct qm_edbc *e, struct qm_edbc_entry *x);

#endif
