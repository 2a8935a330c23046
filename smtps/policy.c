/*
 * The relay decision. Invariant: nothing is relayed that nobody allowed, and what cannot be known
 * now is a temporary error, never a permanent one. smar decides the same with more knowledge; what
 * is missing in its answer makes this stricter, never laxer. Pure.
 */
#include "smtps/policy.h"

#include "libsm/msg.h"

enum ss_policy_result ss_policy_rcpt(const struct ss_policy *p)
{
	bool allowed = ((p->local || p->on_demand) && !p->local_needs_right) || p->map_relays ||
	               p->domain_listed || p->session_may_relay;

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

void ss_policy_connection(const struct ss_conf *conf, uint32_t flags, struct ss_standing *who)
{
	if (!(conf->flags & SS_F_ACCESS))
		return;
	if (flags & SM_VERDICT_RELAY) {
		who->may_relay = true;
		who->verdict |= SM_CHECK_SESSION_RELAY;
	}
	if (flags & SM_VERDICT_OK)
		who->verdict |= SM_CHECK_SESSION_OK;
	if (who->verdict != 0 && (flags & SM_VERDICT_QUICK))
		who->verdict |= SM_CHECK_SESSION_QUICK;
	who->discard = (flags & SM_VERDICT_DISCARD) != 0;
}

bool ss_policy_later(const struct ss_conf *conf, int code, uint32_t flags)
{
	return code >= 400 && (conf->flags & SS_F_DELAY_CHECKS) &&
	       !(flags & (SM_VERDICT_CLOSE | SM_VERDICT_QUICK));
}

bool ss_policy_grey_later(const struct ss_conf *conf, uint32_t flags)
{
	return (flags & SM_VERDICT_GREYLISTED) != 0 && (conf->flags & SS_F_GREY_AT_DATA) != 0;
}

bool ss_policy_listed(const struct ss_conf *conf, struct sm_str domain)
{
	return ss_conf_domain_in(&conf->relay_to, domain);
}

uint32_t ss_policy_check_flags(const struct ss_conf *conf, const struct ss_standing *who,
                               bool listed, bool stored)
{
	uint32_t flags = ss_conf_check_flags(conf) | who->verdict;

	if (who->may_relay || listed)
		flags |= SM_CHECK_MAY_RELAY;
	if (stored)
		flags |= SM_CHECK_STORED;
	/* Those who are known need not come twice. */
	if ((conf->flags & SS_F_GREYLISTING) && who->verdict == 0 && !who->may_relay)
		flags |= SM_CHECK_GREYLIST;
	return flags;
}

struct ss_policy ss_policy_of(const struct ss_conf *conf, const struct ss_standing *who, int code,
                              uint32_t flags, bool listed, bool stored)
{
	const uint32_t ok_or_relay = SM_VERDICT_OK | SM_VERDICT_RELAY;
	bool map = (conf->flags & SS_F_ACCESS) != 0;

	return (struct ss_policy){
	    .code = ss_policy_grey_later(conf, flags) ? 0 : code,
	    .local = (flags & SM_VERDICT_LOCAL) != 0,
	    .on_demand = (flags & SM_VERDICT_ON_DEMAND) != 0,
	    .map_relays = map && (flags & SM_VERDICT_RELAY) != 0,
	    .domain_listed = listed,
	    .session_may_relay = who->may_relay,
	    .local_needs_right = ss_conf_local_needs_right(conf),
	    .stored = stored,
	    .overrides = map && (flags & SM_VERDICT_QUICK) != 0 && (flags & ok_or_relay) != 0,
	};
}

bool ss_policy_local_session(bool client_is_loopback, bool flag, bool listener_listed)
{
	return client_is_loopback && (flag || listener_listed);
}
