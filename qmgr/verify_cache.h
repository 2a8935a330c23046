/*
 * What next hops said of recipients (verify_recipient): a bounded memory. Pure: the caller passes
 * the time, monotonic milliseconds.
 *
 * That an address is known is kept for long, and looked at again when it is old, before it is
 * forgotten: so the users of a server that is down for days are known all that time. That it is
 * unknown is kept for less, because people create addresses and wonder. That nothing could be
 * learnt is kept for a moment only, for those who ask at the same time; what is known of an address
 * stays then. When there is no more room, what was used longest ago goes; who asks for
 * any number of addresses that do not exist takes a quarter of it from those that do, at the most.
 *
 * Domains are compared without case, local parts are not.
 */
#ifndef QM_VERIFY_CACHE_H
#define QM_VERIFY_CACHE_H

#include "libsm/hash.h"
#include "libsm/list.h"
#include "libsm/str.h"

enum qm_known { QM_KNOWN, QM_UNKNOWN, QM_NOT_TOLD };

enum { QM_VERIFY_TEXT = 400 }; /* bytes of what was said; longer ones are cut */

struct qm_verify_times {
	int64_t known_ms, recheck_ms, unknown_ms, not_told_ms;
};

struct qm_verify_cache {
	struct qm_verify_times times;
	size_t max;
	struct sm_hash by_addr;
	struct sm_list known, others; /* used longest ago first */
	size_t other_count;
	uint64_t hits, misses;
};

struct qm_verified {
	enum qm_known known;
	uint16_t code; /* 0 when known */
	struct sm_str text;
	bool old; /* known, and worth to be looked at again */
};

void qm_verify_cache_init(struct qm_verify_cache *c, size_t max,
                          const struct qm_verify_times *times);
void qm_verify_cache_fini(struct qm_verify_cache *c);
/* New times hold for what is learnt from now on; a smaller max at once. */
void qm_verify_cache_reload(struct qm_verify_cache *c, size_t max,
                            const struct qm_verify_times *times);

/* False: nothing is known of it. out->text is good until the next call. Counts as a use, a hit or a
 * miss. */
bool qm_verify_cache_find(struct qm_verify_cache *c, struct sm_str addr, int64_t now_ms,
                          struct qm_verified *out);
void qm_verify_cache_put(struct qm_verify_cache *c, struct sm_str addr, const struct qm_verified *v,
                         int64_t now_ms);
/* Forget one, or all of a domain ("@domain"), or all (empty). Gives how many. */
size_t qm_verify_cache_drop(struct qm_verify_cache *c, struct sm_str which);
size_t qm_verify_cache_count(const struct qm_verify_cache *c);

/* Of addresses as they are compared here. */
uint64_t qm_verify_hash(struct sm_str addr);
bool qm_verify_eq(struct sm_str a, struct sm_str b);

#endif
