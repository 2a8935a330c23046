/*
 * What stands behind XCLIENT and XFORWARD, Postfix's extensions by which another tells of a client.
 *
 *   1*( SP keyword "=" value )       ; values are xtext (RFC 3461), keywords in any case
 */
#ifndef SS_ATTRIBUTES_H
#define SS_ATTRIBUTES_H

#include "libsm/arena.h"
#include "libsm/net.h"

struct ss_attribute {
	const char *keyword;
	struct sm_str value; /* decoded, printable ASCII; p NULL: not given */
	bool unknown, later; /* [UNAVAILABLE], [TEMPUNAVAIL] */
};
/*
 * `all` has the `n` keywords that there are, and nothing else yet; values are in the arena.
 * SM_E_SYNTAX: *what is the attribute, or "syntax"; one that is not among them, or comes twice, is
 * an error. Pure.
 */
int ss_attributes_parse(struct sm_str arg, struct sm_arena *a, struct ss_attribute *all, size_t n,
                        struct sm_str *what) SM_MUST_CHECK;
/* It was given, and with a value. */
bool ss_attribute_known(const struct ss_attribute *a);

#endif
