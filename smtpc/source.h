/* Which address of this host connections come from. Pure. */
#ifndef SC_SOURCE_H
#define SC_SOURCE_H

#include "libsm/conf.h"
#include "libsm/net.h"

struct sc_source {
	struct sm_sa in4, in6; /* len 0: the kernel chooses */
};

/* Of a list with at most one address of each family, as in "192.0.2.1", "2001:db8::1"; an empty
 * one: the kernel chooses. SM_E_SYNTAX with a diag. */
int sc_source_parse(const struct sm_conf_list *list, struct sc_source *out) SM_MUST_CHECK;
/* For a connection to this address, borrowed; NULL: the kernel chooses. */
const struct sm_sa *sc_source_for(const struct sc_source *s, const struct sm_sa *to);

#endif
