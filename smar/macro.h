/*
 * Macros in the right hand side of a map: "${name}". Pure.
 *
 *   user       local part without delimiter and detail
 *   detail     what is behind the delimiter; empty without
 *   extension  delimiter and detail together; empty without a delimiter
 *   delimiter  the delimiter that is configured
 *   domain     domain of the address
 *   subdomain  what is before the dot, when a key with a leading dot matched the domain; else empty
 *   tag        tag of the key, without its colon; empty without
 *
 * A "$" that no "{" follows is itself.
 */
#ifndef AR_MACRO_H
#define AR_MACRO_H

#include "libsm/arena.h"
#include "smar/lookup.h"

enum { AR_MACRO_TEXT_MAX = 64 * 1024 }; /* longest result */

struct ar_macros {
	struct ar_parts parts; /* of the address, which need not be in lower case */
	struct sm_str subdomain, tag;
};

/* Is there a macro, a good one or a bad one? */
bool ar_macro_any(struct sm_str text);
/* Replace them all; *out is `text` itself or lives in the arena. SM_E_SYNTAX: an unknown one, or
 * one that is not closed; SM_E_TOOBIG. */
int ar_macro_replace(struct sm_str text, const struct ar_macros *m, struct sm_arena *a,
                     struct sm_str *out) SM_MUST_CHECK;

#endif
