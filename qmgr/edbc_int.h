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
	QM_EDBC_ALL_HELD = 2,  /* and nothing waits to be done at once: never due */
	QM_EDBC_WAITS = 4,     /* something waits for a run, or one has begun for it */
	QM_EDBC_ALL_WAITS = 8, /* all does, but for what is held */
};

/* Its place in the list of a destination. */
struct qm_edbc_link {
	uint32_t prev, next; /* QM_EDBC_NONE: the end */
	uint32_t list;       /* 1 + its number; 0: in none */
	uint32_t serial;     /* ascends along a list */
};
struct qm_edbc_list;
struct qm_edbc_waits {
	struct qm_edbc_link *v;      /* as many as entries; NULL: nothing has waited yet */
	struct qm_edbc_list **dests; /* by number; NULL: free */
	uint32_t *free;              /* numbers, but 0 */
	uint32_t dest_count, dest_cap, free_count;
	struct sm_hash by_domain;
	uint32_t serial;
	size_t rcpts[3]; /* by enum sm_wait: that wait */
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
	struct qm_edbc_waits waits;
};

/* ---- edbc.c ---- */
struct qm_edbc_entry *qm_edbc_entry_of(const struct qm_edbc *e, struct sm_id id); /* or NULL */
void qm_edbc_due(struct qm_edbc *e, struct qm_edbc_entry *x, int64_t next_try_s);

/* ---- edbc_heap.c ---- */
/* Put entry i where the heap has a hole at `at`. */
void qm_edbc_heap_settle(struct qm_edbc *e, uint32_t at, uint32_t i);
/* Times changed at random: order all. */
void qm_edbc_heap_order(struct qm_edbc *e);

/* ---- edbc_wait.c ---- */
void qm_edbc_waits_init(struct qm_edbc *e);
void qm_edbc_waits_fini(struct qm_edbc *e);
void qm_edbc_waits_grow(struct qm_edbc *e, uint32_t cap); /* from e->cap entries */
void qm_edbc_wait_none(struct qm_edbc *e, uint32_t i);    /* is used for the first time */
void qm_edbc_wait_in(struct qm_edbc *e, uint32_t i);      /* has a tail, and is in no list */
size_t qm_edbc_waits_bytes(const struct qm_edbc *e);
void qm_edbc_wait_out(struct qm_edbc *e, uint32_t i); /* before its tail goes; harmless */
/* What was released is tried, whatever it waits for (`byte`; NULL: nothing). Gives whether that is
 * new. */
bool qm_edbc_wait_release(struct qm_edbc *e, const struct qm_edbc_entry *x, uint8_t *byte);

/* ---- edbc_tail.c ---- */
struct qm_edbc_draft {
	int64_t due_s; /* INT64_MAX: all held */
	unsigned rcpts, held, waits;
	uint8_t deliver;
};
void qm_edbc_draft_txn(struct qm_edbc *e, const struct qm_txn *txn, struct qm_edbc_draft *d);
void qm_edbc_draft_rec(struct qm_edbc *e, const struct qm_rec_txn *rec, struct qm_edbc_draft *d);
/* Flags that follow from the tail: MARKED, ALL_HELD, WAITS, ALL_WAITS. */
void qm_edbc_flags(struct qm_edbc *e, struct qm_edbc_entry *x);
/* The waiting byte of the recipient that `r` reads next; NULL: it does not wait. */
uint8_t *qm_edbc_wait_byte(const struct qm_edbc_reader *r);
enum {
	QM_EDBC_WAIT_KIND = 3,
	QM_EDBC_WAIT_RUN = 4,
	QM_EDBC_WAIT_RELEASED = 8,
	QM_EDBC_WAIT_DEST = 16
};
/* Forget what the tail of `x` uses; its reference becomes 0. */
void qm_edbc_tail_drop(struct qm_edbc *e, struct qm_edbc_entry *x);

#endif
