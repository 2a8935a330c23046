/* Submission: an address without a domain gets one (RFC 6409 5.1). */
#ifndef SS_QUALIFY_H
#define SS_QUALIFY_H

#include "libsm/addr.h"
#include "smtps/conf.h"

/* SM_ADDR_*: what the parser may let pass for it. */
unsigned ss_qualify_flags(const struct ss_conf *c);
/*
 * Put the domain behind an address that has none; harmless for others and for <>. <postmaster> is
 * that of this host (RFC 5321 4.5.1), others are of qualify_domain. SM_E_TOOBIG, SM_E_SYNTAX. Pure.
 */
int ss_qualify(const struct ss_conf *c, struct sm_str hostname, struct sm_arena *a,
               struct sm_addr *addr) SM_MUST_CHECK;

#endif
