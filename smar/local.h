/*
 * Which addresses of local domains exist.
 *
 * A domain is local when the mailertable sends it to "lmtp:". Its addresses are those that are in
 * the aliases, with whatever right hand side ("local:" is there for nothing else), and those in
 * local_user_map. When neither is configured every address exists. The postmaster always does, in
 * each domain (RFC 5321 4.5.1).
 */
#ifndef AR_LOCAL_H
#define AR_LOCAL_H

#include "smar/ar.h"

/* Is the domain (lower case) local? 0: yes. SM_E_NOTFOUND: no. Otherwise as below. */
int ar_local_domain(const struct ar *ar, const struct ar_ctx *ctx,
                    struct sm_str domain) SM_YIELDS SM_MUST_CHECK;
/*
 * Is this address of a local domain known? `parts` in lower case. 0: yes. SM_E_NOTFOUND: no.
 * SM_E_AGAIN: only without may_wait. Anything else is a temporary failure; the diag says why.
 */
int ar_local_known(const struct ar *ar, const struct ar_ctx *ctx,
                   const struct ar_parts *parts) SM_YIELDS SM_MUST_CHECK;

#endif
