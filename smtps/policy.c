/*
 * The relay decision. Invariant: nothing is relayed that nobody allowed, and what cannot be known
 * now is a temporary error, never a permanent one. Pure.
 */
#include "smtps/policy.h"

enum ss_policy_result ss_policy_rcpt(const struct ss_policy *p)
{
	bool allowed = (p->local && !p->local_needs_right) || p->map_relays || p->domain_listed ||
	               p->session_may_relay;

	/* A temporary verdict may mean that `local` and `map_relays` are not known. */
	if (p->code >= 400 && p->code < 500)
		return SS_POLICY_SAY_VERDICT;
	if (!allowed)
		return SS_POLICY_NO_RELAY;
	return p->code >= 400 ? SS_POLICY_SAY_VERDICT : SS_POLICY_ACCEPT;
}

bool ss_policy_local_session(bool client_is_loopback, bool flag, bool listener_listed)
{
	return client_is_loopback && (flag || listener_listed);
}
