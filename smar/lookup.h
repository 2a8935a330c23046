/* The order in which keys made of a domain are looked up in maps and tables. */
#ifndef AR_LOOKUP_H
#define AR_LOOKUP_H

#include "libsm/str.h"

/*
 * a.b.tld: "a.b.tld", ".b.tld", ".tld", and "." when `with_default`. An address literal has no
 * parents: "[1.2.3.4]", then ".". There is no implicit match of subdomains. Keys are views of the
 * domain, which has to be in lower case.
 */
struct ar_lookup {
	struct sm_str rest;
	bool first, with_default;
};
void ar_lookup_domain(struct ar_lookup *l, struct sm_str domain, bool with_default);
/* The next key; false at the end. */
bool ar_lookup_next(struct ar_lookup *l, struct sm_str *key);

#endif
