/*
 * The index of the deferred queue: for each transaction in DEFEDB when it is due and where its
 * snapshot is, in about 50 bytes.
 *
 * Everything else stays on disk. Pure: no clock, no input or output. Pointers to entries are good
 * until the next change of the index.
 */
#ifndef QM_EDBC_H
#define QM_EDBC_H

#include "libsm/id.h"
#include "qmgr/log.h"

struct qm_edbc;
struct qm_edbc_entry;

struct qm_edbc *qm_edbc_new(void) __attribute__((returns_nonnull));
void qm_edbc_free(struct qm_edbc **e);

/* Insert, or change what is there. `next_try_s`: wall seconds; less than 0 and beyond the year 2106
 * are cut. */
void qm_edbc_put(struct qm_edbc *e, struct sm_id id, int64_t next_try_s, struct qm_loc loc,
                 unsigned rcpts);
void qm_edbc_remove(struct qm_edbc *e, struct sm_id id); /* harmless when it is not there */
const struct qm_edbc_entry *qm_edbc_find(const struct qm_edbc *e, struct sm_id id);
/* The one that is due first, NULL: empty. */
const struct qm_edbc_entry *qm_edbc_top(const struct qm_edbc *e);
/* Change when it is due: false when it is not there. */
bool qm_edbc_set(struct qm_edbc *e, struct sm_id id, int64_t next_try_s);
/* All of them to the same time. Gives their number. */
size_t qm_edbc_set_all(struct qm_edbc *e, int64_t next_try_s);
size_t qm_edbc_count(const struct qm_edbc *e);
size_t qm_edbc_bytes(const struct qm_edbc *e); /* memory it takes */

/* Walk in pieces: start with *cursor 0; NULL is the end. What comes or goes meanwhile may be seen
 * or not, the others are seen once. */
const struct qm_edbc_entry *qm_edbc_walk(const struct qm_edbc *e, uint64_t *cursor);

struct sm_id qm_edbc_id(const struct qm_edbc_entry *x);
struct qm_loc qm_edbc_loc(const struct qm_edbc_entry *x);
int64_t qm_edbc_next_try(const struct qm_edbc_entry *x);
unsigned qm_edbc_rcpts(const struct qm_edbc_entry *x);

#endif
