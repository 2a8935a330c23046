/*
 * The address that a question is about: read once, then handed on.
 */
#ifndef AR_ADDRESS_H
#define AR_ADDRESS_H

#include "smar/ar.h"
#include "smar/lookup.h"

struct ar_address {
	struct sm_str mailbox; /* canonical, as it would be sent */
	struct sm_str domain;  /* of the mailbox, in ASCII */
	struct sm_str key;     /* as maps know it (lookup.h) */
	struct ar_parts parts; /* of the key, cut at the configured delimiter */
};
/* Strings in the arena. The domain of a bare <postmaster> is the host's (RFC 5321 4.5.1).
 * SM_E_SYNTAX. */
int ar_address_of(const struct ar *ar, struct sm_arena *a, struct sm_str mailbox,
                  struct ar_address *out) SM_MUST_CHECK;

#endif
