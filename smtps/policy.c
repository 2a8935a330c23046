/*
 * The relay decision. Invariant: nothing is relayed that nobody allowed, and what cannot be known
 * now is a temporary error, never a permanent one. smar decides the same with more knowledge; what
 * is missing in its answer makes this stricter, never laxer. Pure.
 */
#include "smtps/policy.h"

enum ss_policy_result ss_policy_rcpt(const struct ss_policy *p)
{
	bool allowed = (p->local && !p->local_needs_right) || p->map_relays || p->domain_listed ||
	               p->session_may_relay;

	/* A temporary verdict may mean that `local`, `map_relays` and `overrides` are not known. */
	if (p->code >= 400 && p->code < 500)
		return SS_POLICY_SAY_VERDICT;
	/* Who was rejected before learns nothing about recipients. */
	if (p->stored && !p->overrides)
		return SS_POLICY_SAY_STORED;
	if (!allowed)
		return SS_POLICY_NO_RELAY;
	return p->code >= 400 ? SS_POLICY_SAY_VERDICT : SS_POLICY_ACCEPT;
}

bool ss_policy_local_session(bool client_is_loopback, bool flag, bool listener_listed)
{
	return client_is_loopback && (flag || listener_listed);
}
