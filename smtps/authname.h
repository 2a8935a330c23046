/*
 * Whose password a response is about to prove: the user's name, before anybody has checked it. Only
 * for the limits of authlimit.h, so a name that cannot be found is no error. Pure.
 */
#ifndef SS_AUTHNAME_H
#define SS_AUTHNAME_H

#include "libsm/str.h"

/*
 * The name in `response` (decoded), the `step`th of the exchange, 0 the first, of `mech` (upper
 * case); empty: it has none. As the tables have it, in `out`: lower case, without blanks around it
 * and without "@realm"; cut to `size`.
 */
struct sm_str ss_auth_name(struct sm_str mech, unsigned step, struct sm_str response,
                           struct sm_str realm, char *out, size_t size);

#endif
