/* What becomes of a recipient: aliases first, then whether it exists, then its route. */
#ifndef AR_RESOLVE_H
#define AR_RESOLVE_H

#include "libsm/msg.h"
#include "smar/ar.h"

/* As ar_route (route.h), for everything that route_get says. */
int ar_resolve(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_route_get *m,
               struct sm_msg_route *out) SM_YIELDS SM_MUST_CHECK;

#endif
