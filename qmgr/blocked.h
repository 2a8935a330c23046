/*
 * Domains whose next hops are all dead at the moment, or that have as much waiting in the active
 * queue as they may: what waits for them in DEFEDB need not be read back before that may have
 * changed. Pure: no clock, no input or output; times are monotonic milliseconds. Bounded: the
 * oldest entry makes room.
 */
#ifndef QM_BLOCKED_H
#define QM_BLOCKED_H

#include "libsm/hash.h"
#include "libsm/list.h"

struct qm_blocked {
	struct sm_hash by_domain; /* without case */
	struct sm_list all;       /* in the order they came */
	size_t max;
};

void qm_blocked_init(struct qm_blocked *b, size_t max);
void qm_blocked_fini(struct qm_blocked *b);
void qm_blocked_clear(struct qm_blocked *b);
void qm_blocked_forget(struct qm_blocked *b, struct sm_str domain);
enum qm_block {
	QM_BLOCK_DEAD,   /* a failure by proxy: old mail is to have it, to be given up or told of */
	QM_BLOCK_CROWDED /* it would only have to go back */
};
void qm_blocked_put(struct qm_blocked *b, struct sm_str domain, enum qm_block kind,
                    int64_t until_ms, struct sm_str why, int64_t now_ms);
/* Until when nothing is to be read back for it; 0: it may be. `old`: mail that a failure means
 * something for. *why (may be NULL) is borrowed until the next change. */
int64_t qm_blocked_until(const struct qm_blocked *b, struct sm_str domain, bool old, int64_t now_ms,
                         struct sm_str *why);

#endif
