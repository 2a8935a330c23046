/* What the configuration says about greylisting. */
#ifndef AR_GREY_CONF_H
#define AR_GREY_CONF_H

#include "libsm/conf.h"

struct ar_grey_conf {
	int64_t wait_ms, expire_ms, white_expire_ms, white_timeout_ms;
	struct sm_str directory, main_db, secondary_db;
	int64_t expire_limit, max_entries, cache_bytes;
	int64_t netmask, netmask6;
};
extern const struct sm_opt ar_grey_opts[];

/* Is there the section? The directory says so: the section need not name it (`written`). */
static inline bool ar_grey_used(const struct ar_grey_conf *c)
{
	return c->directory.n > 0;
}
/* How many bits `netmask` keeps: 0xFFFFFF00 and 24 are 24. -1: it is no netmask. */
int ar_grey_netmask_bits(int64_t netmask);

/* What the table cannot say: SM_E_SYNTAX with diag. */
int ar_grey_conf_check(const struct ar_grey_conf *conf) SM_MUST_CHECK;

#endif
