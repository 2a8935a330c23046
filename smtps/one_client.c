/*
 * The sign of a gateway that hides all clients behind its own address. One other address is enough
 * to know better, for good. Pure.
 */
#include "smtps/one_client.h"

#include "smtps/nets.h"

bool ss_one_client_seen(struct ss_one_client *o, const struct sm_sa *client, int64_t enough)
{
	if (o->over || enough == 0)
		return false;
	if (o->first.len == 0)
		o->first = *client;
	if (!ss_net_is_private(client) || !sm_sa_eq_host(client, &o->first)) {
		o->over = true;
		return false;
	}
	o->over = ++o->sessions >= enough;
	return o->over;
}
