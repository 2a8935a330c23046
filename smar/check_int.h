/* What the checks share. */
#ifndef AR_CHECK_INT_H
#define AR_CHECK_INT_H

#include "smar/access.h"
#include "smar/address.h"
#include "smar/ask.h"
#include "smar/check.h"
#include "smar/on_demand.h"

static inline int ar_refuse(struct sm_msg_verdict *out, uint16_t code, const char *text)
{
	out->code = code;
	out->text = sm_str(text);
	return 0;
}

/* What the mailertable says of a domain: goes somewhere, to us. What cannot be told refuses. 0 or
 * SM_E_AGAIN. */
int ar_check_domain(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                    bool *routed, bool *local, struct sm_msg_verdict *out) SM_YIELDS SM_MUST_CHECK;
/* Is this address of a local domain known? Refuses it with `code` and `text` if not. 0 or
 * SM_E_AGAIN. */
int ar_check_local(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_parts *parts,
                   uint16_t code, const char *text,
                   struct sm_msg_verdict *out) SM_YIELDS SM_MUST_CHECK;
/* Does mail for this domain wait? What cannot be told refuses. 0 or SM_E_AGAIN. */
int ar_check_demand(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                    struct ar_demand *demand, struct sm_msg_verdict *out) SM_YIELDS SM_MUST_CHECK;
/* Is the next hop to be asked whether it knows a recipient of this domain? Adds it to the flags of
 * the verdict. 0 or SM_E_AGAIN. */
int ar_check_verify(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                    struct sm_msg_verdict *out) SM_YIELDS SM_MUST_CHECK;

#endif
