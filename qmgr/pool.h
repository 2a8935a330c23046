/*
 * Small pieces of bytes, packed: what the index of the deferred queue keeps of a million mails.
 *
 * Each piece has one owner, a number, who keeps the piece's place (a 32-bit reference). Pieces are
 * written one behind the other into chunks; when too much of them is dead, the emptiest chunk is
 * copied together and its owners are told the new places, one chunk at a time. So no piece costs
 * more than 5 to 8 bytes beside itself, whatever comes and goes.
 */
#ifndef QM_POOL_H
#define QM_POOL_H

#include "libsm/str.h"

#define QM_POOL_MOST (448u * 1024) /* bytes of one piece */

struct qm_pool_chunk;
struct qm_pool {
	struct qm_pool_chunk *chunk;
	uint32_t chunks;  /* slots of `chunk` in use; some may be empty */
	uint32_t cap;     /* of `chunk` */
	uint32_t current; /* written to */
	uint32_t spare;   /* first empty slot, linked */
	size_t mapped;    /* chunks that have memory */
	size_t live_bytes, dead_bytes;
	/* Where this owner keeps its reference; for an owner that has no piece any more it holds 0.
	 */
	uint32_t *(*place)(void *arg, uint32_t owner);
	void *arg;
};

void qm_pool_init(struct qm_pool *p, uint32_t *(*place)(void *arg, uint32_t owner), void *arg);
void qm_pool_fini(struct qm_pool *p);

/* A copy of `s` (at most QM_POOL_MOST bytes). Gives its reference, never 0, which the caller puts
 * where `place` finds it. May move others. */
uint32_t qm_pool_put(struct qm_pool *p, uint32_t owner, struct sm_str s);
/* The owner's place must hold 0 (or another piece) already. May move others. */
void qm_pool_drop(struct qm_pool *p, uint32_t ref);
/* Its bytes, until the next put or drop; the owner may change them in place. */
struct sm_str qm_pool_get(const struct qm_pool *p, uint32_t ref);
size_t qm_pool_bytes(const struct qm_pool *p);

#endif
