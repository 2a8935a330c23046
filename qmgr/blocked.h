/*
 * Domains whose next hops are all dead at the moment: what waits for them in DEFEDB need not be
 * read back before they may be tried again. Pure: no clock, no input or output; times are monotonic
 * milliseconds. Bounded: the oldest entry makes room.
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
void qm_blocked_put(struct qm_blocked *b, struct sm_str domain, int64_t until_ms, struct sm_str why,
                    int64_t now_ms);
/* Until when nothing is to be tried there; 0: it may be. *why (may be NULL) is borrowed until the
 * next change. */
int64_t qm_blocked_until(const struct qm_blocked *b, struct sm_str domain, int64_t now_ms,
                         struct sm_str *why);

#endif
