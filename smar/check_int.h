/* What the checks share. */
#ifndef AR_CHECK_INT_H
#define AR_CHECK_INT_H

#include "smar/access.h"
#include "smar/ask.h"
#include "smar/check.h"

/* The address of a record of type A or AAAA, without port. */
static inline struct sm_sa ar_rr_sa(const struct ar_rr *rr, uint16_t type)
{
	struct sm_sa sa = {0};

	if (type == AR_DNS_A) {
		sa.len = sizeof(sa.u.in4);
		sa.u.in4.sin_family = AF_INET;
		memcpy(&sa.u.in4.sin_addr, rr->addr, 4);
	} else {
		sa.len = sizeof(sa.u.in6);
		sa.u.in6.sin6_family = AF_INET6;
		memcpy(&sa.u.in6.sin6_addr, rr->addr, 16);
	}
	return sa;
}

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

#endif
