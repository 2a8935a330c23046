/*
 * Where a recipient goes: mailertable, address literal, MX, address records; RFC 5321 5.1.
 */
#ifndef AR_ROUTE_H
#define AR_ROUTE_H

#include "libsm/msg.h"
#include "smar/ar.h"

/*
 * Fill `out` (strings in ctx->a or static). 0: done, whatever out->status says. SM_E_AGAIN, only
 * without may_wait: DNS has to be asked, and has been. With may_wait it yields, at the longest
 * until the deadline, and ends at once when cancelled.
 */
int ar_route(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str rcpt,
             struct sm_msg_route *out) SM_YIELDS SM_MUST_CHECK;
/* The same for mail that goes the way of a right hand side of the mailertable, whoever it is for.
 */
int ar_route_told(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str rhs,
                  struct sm_msg_route *out) SM_YIELDS SM_MUST_CHECK;

#endif
