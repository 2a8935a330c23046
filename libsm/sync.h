/* Waiting for each other, between coroutines of one loop (no locks: nothing runs at the same time).
 */
#ifndef SM_SYNC_H
#define SM_SYNC_H

#include "libsm/co.h"
#include "libsm/list.h"

/* Condition: wait in a loop over what you wait for; wake-ups may be spurious. */
struct sm_cond {
	struct sm_list waiters;
};
void sm_cond_init(struct sm_cond *c);
int sm_cond_wait(struct sm_cond *c, const char *doing,
                 int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK; /* 0, SM_E_TIMEOUT, SM_E_CANCEL */
void sm_cond_signal(struct sm_cond *c);                        /* one, the longest waiting */
void sm_cond_broadcast(struct sm_cond *c);

/* A counted limit: at most `max` holders, served in order. */
struct sm_limit {
	size_t max, held;
	struct sm_cond cond;
};
void sm_limit_init(struct sm_limit *l, size_t max);
int sm_limit_take(struct sm_limit *l, const char *doing,
                  int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;
bool sm_limit_try(struct sm_limit *l);
void sm_limit_give(struct sm_limit *l);

/* Wait for a number of things to end. */
struct sm_wg {
	size_t open;
	struct sm_cond cond;
};
void sm_wg_init(struct sm_wg *w);
void sm_wg_add(struct sm_wg *w);
void sm_wg_done(struct sm_wg *w);
int sm_wg_wait(struct sm_wg *w, const char *doing, int64_t deadline_ms) SM_YIELDS SM_MUST_CHECK;

#endif
