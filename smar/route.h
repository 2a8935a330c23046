/*
 * Where a recipient goes: mailertable, address literal, MX, address records; RFC 5321 5.1.
 */
#ifndef AR_ROUTE_H
#define AR_ROUTE_H

#include "libsm/msg.h"
#include "smar/address.h"

/*
 * Where `rcpt` (m->rcpt) goes: by m->route if that is not empty, else as the mailertable or DNS
 * says. Of several ways the first from m->way on that is for such a mail, and for which somebody
 * can be found.
 *
 * Fill `out` (strings in ctx->a or static). 0: done, whatever out->status says. SM_E_AGAIN, only
 * without may_wait: DNS has to be asked, and has been. With may_wait it yields, at the longest
 * until the deadline, and ends at once when cancelled.
 */
int ar_route(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_route_get *m,
             const struct ar_address *rcpt, struct sm_msg_route *out) SM_YIELDS SM_MUST_CHECK;

#endif
