/*
 * Counters for ids out of blocks that qmgr granted (and had on disk before it granted them): no id
 * is ever used twice, whoever crashes. Pure bookkeeping; who sends the question is peers.c.
 */
#ifndef SS_IDBLOCK_H
#define SS_IDBLOCK_H

#include "libsm/base.h"

struct ss_idblock {
	uint64_t next, end;             /* in use: next .. end - 1 */
	uint64_t spare_next, spare_end; /* granted, not begun */
	uint64_t size;                  /* of the last block */
	bool asked;                     /* a question is on its way */
};

/* The next counter; false: none is left. */
bool ss_idblock_take(struct ss_idblock *b, uint64_t *counter);
/* A grant came. Of more than two blocks the oldest is kept; what does not fit is never used. */
void ss_idblock_add(struct ss_idblock *b, uint64_t first, uint64_t count);
/* Is it time to ask for another? At half of a block, once until the answer or ss_idblock_lost. */
bool ss_idblock_wants(struct ss_idblock *b);
/* The question got no answer. */
void ss_idblock_lost(struct ss_idblock *b);
/* No id below this will be used any more by this process; 0: it has none. */
uint64_t ss_idblock_floor(const struct ss_idblock *b);

#endif
