/* Do all clients seem to be one? Then somebody stands between, and hides them. Pure. */
#ifndef SS_ONE_CLIENT_H
#define SS_ONE_CLIENT_H

#include "libsm/net.h"

struct ss_one_client {
	struct sm_sa first; /* len 0: there was none yet */
	int64_t sessions;   /* all of them from there */
	bool over;          /* another one came, or it was said */
};
/* Another session. True, once: it is the `enough`th, and all were from the same private address.
 * `enough` 0: never. */
bool ss_one_client_seen(struct ss_one_client *o, const struct sm_sa *client, int64_t enough);

#endif
