/*
 * Protected recipients: who may send to whom. An entry "protectedrcpt:" of the access map lists
 * restrictions (access_rhs.h); the recipient is accepted if one of them is met.
 */
#ifndef AR_PROTECT_H
#define AR_PROTECT_H

#include "libsm/msg.h"
#include "smar/access_rhs.h"
#include "smar/ar.h"

/*
 * Refuse the recipient in `out` if it is protected from this sender and client: SM_CHECK_PROTECT_*
 * of m->flags say what may open the way and how it is compared. 0 or SM_E_AGAIN. The recipient is
 * looked up with its detail matched implicitly, because aliases may do so, too.
 */
int ar_protect(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_rcpt_check *m,
               const struct ar_parts *rcpt, struct sm_msg_verdict *out) SM_YIELDS SM_MUST_CHECK;

/* Pure. Does a pattern of a restriction or the member of a list mean this sender? `flags` are
 * SM_CHECK_PROTECT_*. */
bool ar_protect_sender_is(struct sm_str pattern, const struct ar_parts *sender, uint32_t flags);
bool ar_protect_client_is(struct sm_str pattern, const struct sm_sa *client, uint32_t flags);

#endif
