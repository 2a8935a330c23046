/*
 * Where a recipient goes: mailertable, address literal, MX, address records; RFC 5321 5.1.
 */
#ifndef AR_ROUTE_H
#define AR_ROUTE_H

#include "libsm/msg.h"
#include "smar/conf.h"
#include "smar/mailertable.h"

struct ar_router {
	const struct ar_conf *conf;
	struct sm_str hostname; /* domain of a bare <postmaster> */
	int64_t dns_timeout_ms;
	struct ar_mt *mt; /* replaced as a whole by a reload */
	bool loopback_ok; /* tests only: DNS may name loopback addresses */
};

/*
 * Fill `out` (strings in `a` or static). 0: done, whatever out->status says. SM_E_AGAIN, only
 * without may_wait: DNS has to be asked, and has been. With may_wait it yields, at the longest some
 * times the DNS timeout, and ends at once when cancelled.
 */
int ar_route(const struct ar_router *r, struct sm_str rcpt, bool may_wait, struct sm_arena *a,
             struct sm_msg_route *out) SM_YIELDS SM_MUST_CHECK;

/* The domain of a recipient as the mailertable knows it: that of <postmaster> is the host's.
 * SM_E_SYNTAX. */
int ar_route_domain(const struct ar_router *r, struct sm_str rcpt, struct sm_arena *a,
                    struct sm_str *domain) SM_MUST_CHECK;

#endif
