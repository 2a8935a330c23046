/* When to try again: pure functions of (state, now, chance). */
#ifndef QM_RETRY_H
#define QM_RETRY_H

#include "libsm/base.h"

struct qm_retry_conf {
	int64_t min_s, max_s, return_s;
};
/*
 * The delay grows with the age of the mail (so it doubles from try to try) between min and max,
 * spread by up to a tenth so that mail which failed together does not come back together. `chance`
 * is any random number. Gives wall seconds > now_s, never later than a try right after the return
 * time-out.
 */
int64_t qm_retry_next(const struct qm_retry_conf *c, int64_t received_s, int64_t now_s,
                      uint64_t chance);
/* Is it time to give up? Never before at least one try (tries > 0), and never because the clock
 * jumped: a try after the time-out is needed. */
bool qm_retry_expired(const struct qm_retry_conf *c, int64_t received_s, int64_t now_s,
                      unsigned tries);

#endif
