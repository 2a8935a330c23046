/* When to try again: pure functions of (state, now, chance). */
#ifndef QM_RETRY_H
#define QM_RETRY_H

#include "libsm/base.h"

struct qm_retry_conf {
	int64_t min_s, max_s, return_s, delay_s;
};
/*
 * The delay grows with the age of the mail (so it doubles from try to try) between min and max,
 * spread by up to a tenth so that mail which failed together does not come back together. `chance`
 * is any random number. Gives wall seconds > now_s, never later than a try right after the return
 * time-out.
 */
int64_t qm_retry_next(const struct qm_retry_conf *c, int64_t received_s, int64_t now_s,
                      uint64_t chance);
/*
 * Is it time to give up, now that a try has failed? `seen_s` is when the mail was tried before, or
 * else when it came. After the clock was set forward a mail only seems old: `stepped_s` (0: never)
 * must lie behind the try before, so each has one more retry time.
 */
bool qm_retry_expired(const struct qm_retry_conf *c, int64_t received_s, int64_t now_s,
                      unsigned tries, int64_t seen_s, int64_t stepped_s);

/*
 * Mail that came at `received_s` could not be delivered just now: is it time to tell its sender
 * that it takes long? If not, *next_s, its next try, comes no later than that time. Never when it
 * would be given up by then. `tried`: itself, not by proxy; after a step of the clock the proxy may
 * have been tried before it, so it counts only for mail that was seen since, as in
 * qm_retry_expired.
 */
bool qm_retry_late(const struct qm_retry_conf *c, int64_t received_s, int64_t now_s, bool tried,
                   int64_t seen_s, int64_t stepped_s, int64_t *next_s);

/* Watches the wall clock against the monotonic one. Zeroed memory is a watch that has seen nothing.
 */
struct qm_clock {
	int64_t ahead_s;   /* wall minus monotonic, the last time */
	int64_t stepped_s; /* wall time right after the last step forward; 0: none */
	bool seen;
};
/* To be told both times now and then. True: the clock was set forward by more than an hour since.
 */
bool qm_clock_look(struct qm_clock *c, int64_t wall_s, int64_t mono_ms);

#endif
