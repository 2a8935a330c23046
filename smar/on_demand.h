/*
 * Domains whose mail waits: for a queue run, or until it is asked for (section on_demand).
 *
 * A domain that is local by the mailertable never waits, so "." means all mail that leaves this
 * host. Nothing here asks DNS.
 */
#ifndef AR_ON_DEMAND_H
#define AR_ON_DEMAND_H

#include "libsm/msg.h"
#include "smar/ar.h"

struct ar_demand {
	enum sm_wait wait;
	bool relay; /* whoever brings mail for it may: it is named, not only meant by "." */
};
/* What the configuration says of a domain (lower case, as it is compared). 0; SM_E_AGAIN, only
 * without may_wait; anything else: it cannot be told, with diag. */
int ar_on_demand(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                 struct ar_demand *out) SM_YIELDS SM_MUST_CHECK;

#endif
