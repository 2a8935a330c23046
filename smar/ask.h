/* Asking DNS within a decision. */
#ifndef AR_ASK_H
#define AR_ASK_H

#include "smar/dns_cache.h"
#include "smar/map.h"

/*
 * The answer of DNS, which the caller puts back. NULL, only without may_wait: it is not here yet,
 * and has been asked for. With may_wait never NULL: TEMP at the deadline, or when cancelled. Who
 * traces the decision is told.
 */
static inline struct ar_answer *ar_ask(const struct ar_ctx *ctx, struct sm_str name, uint16_t type)
{
	const struct ar_trace *t = ctx->trace;
	bool known = t != NULL && ar_cache_has(name, type);
	struct ar_answer *a =
	    ctx->may_wait ? ar_cache_wait(name, type, ctx->deadline_ms) : ar_cache_get(name, type);

	if (t != NULL && a != NULL)
		t->asked(t->arg, name, type, known, a);
	return a;
}

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

#endif
