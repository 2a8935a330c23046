/* Completing addresses. Invariant: what was completed went through the one parser again. Pure. */
#include "smtps/qualify.h"

#include "libsm/err.h"

unsigned ss_qualify_flags(const struct ss_conf *c)
{
	return c->flags & SS_F_SUBMISSION ? SM_ADDR_NO_DOMAIN_OK : 0;
}

int ss_qualify(const struct ss_conf *c, struct sm_str hostname, struct sm_arena *a,
               struct sm_addr *addr)
{
	struct sm_str domain = hostname, full;

	if (addr->mailbox.n == 0 || addr->domain.n > 0)
		return 0;
	if (!sm_str_caseeq(addr->mailbox, SM_STR("postmaster")) && !sm_str_empty(c->qualify_domain))
		domain = c->qualify_domain;
	full = sm_arena_printf(a, SM_STR_FMT "@" SM_STR_FMT, SM_STR_ARG(addr->mailbox),
	                       SM_STR_ARG(domain));
	if (full.p == NULL)
		return sm_fail(SM_E_TOOBIG, "no room for another address");
	return sm_addr_mailbox(full, a, addr);
}
