/*
 * The checks of a recipient: does it exist if it is ours, may this client have it relayed, may this
 * sender write to it, what says the access map of it.
 *
 * smtps decides about relaying once more (smtps/policy.c); what is said here is never more than
 * what was found. Thread: the loop's; coroutine when it may wait.
 */
#include "smar/check_int.h"

#include "libsm/err.h"
#include "libsm/log.h"
#include "smar/greylist.h"
#include "smar/local.h"
#include "smar/protect.h"

int ar_check_domain(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                    bool *routed, bool *local, struct sm_msg_verdict *out)
{
	const struct ar_mt_entry *e = NULL;
	int rc = ar_mt_lookup(ar, ctx, domain, &e);

	*routed = rc == 0 && e != NULL && ar_mt_is_routed(e);
	*local = *routed && ar_mt_is_local(e);
	if (rc == 0 || rc == SM_E_AGAIN)
		return rc;
	sm_log(SM_WARN, "ar.mailertable", "domain=%S error=%E", domain, rc);
	ar_trace_failed(ctx, domain, sm_diag());
	return ar_refuse(out, 451, "4.3.0 Routes cannot be looked up now, try again later");
}

int ar_check_demand(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                    struct ar_demand *demand, struct sm_msg_verdict *out)
{
	int rc = ar_on_demand(ar, ctx, domain, demand);

	if (rc == 0 || rc == SM_E_AGAIN)
		return rc;
	sm_log(SM_WARN, "ar.on_demand", "domain=%S error=%E", domain, rc);
	ar_trace_failed(ctx, domain, sm_diag());
	return ar_refuse(out, 451, "4.3.0 Routes cannot be looked up now, try again later");
}

int ar_check_local(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_parts *parts,
                   uint16_t code, const char *text, struct sm_msg_verdict *out)
{
	int rc = ar_local_known(ar, ctx, parts);

	if (rc == 0 || rc == SM_E_AGAIN)
		return rc;
	if (rc == SM_E_NOTFOUND)
		return ar_refuse(out, code, text);
	sm_log(SM_WARN, "ar.local", "address=<%S@%S> error=%E", parts->local, parts->domain, rc);
	ar_trace_failed(ctx, parts->local, sm_diag());
	return ar_refuse(out, 451, "4.3.0 Addresses cannot be checked now, try again later");
}

/* ---- relaying ---- */

struct rcpt {
	const struct sm_msg_rcpt_check *m;
	struct ar_address address;
	bool local;              /* its domain is */
	struct ar_demand demand; /* what mail for its domain waits for */
	bool allowed;            /* to have it relayed, or it need not be */
	struct ar_action action; /* of its to: entry */
};

static bool has(const struct rcpt *r, uint32_t flags)
{
	return (r->m->flags & flags) == flags;
}

/* Is it allowed whatever its entry says? */
static bool allowed_without_map(const struct rcpt *r)
{
	return ((r->local || r->demand.relay) && !has(r, SM_CHECK_LMTP_NO_RELAY)) ||
	       has(r, SM_CHECK_MAY_RELAY) || has(r, SM_CHECK_SESSION_RELAY);
}

/*
 * The entry is asked for to see whether it allows relaying, and for what else it says; not at all
 * for sessions that were told "quick:", unless they need it to relay.
 */
static int find_entry(const struct ar *ar, const struct ar_ctx *ctx, struct rcpt *r)
{
	struct ar_keys keys;
	int rc;

	r->action = (struct ar_action){.kind = AR_ACTION_CONT, .none = true};
	if (!has(r, SM_CHECK_ACCESS) || (has(r, SM_CHECK_SESSION_QUICK) && r->allowed))
		return 0;
	ar_keys_address(&keys, SM_STR("to:"), &r->address.parts, AR_KEYS_LOCALPART);
	rc = ar_access_find(ar, ctx, &keys, &r->action);
	r->allowed = r->allowed || r->action.kind == AR_ACTION_RELAY;
	return rc;
}

/* ---- greylisting ---- */

/* Will it be rejected for what was found before it? */
static bool is_rejected(const struct sm_msg_rcpt_check *m, const struct sm_msg_verdict *v)
{
	bool overrides =
	    (v->flags & SM_VERDICT_QUICK) && (v->flags & (SM_VERDICT_OK | SM_VERDICT_RELAY));

	return (m->flags & SM_CHECK_STORED) && !overrides;
}

/*
 * It comes last: only a client with a good recipient is one that has come. Who need not come twice
 * is smtps' to say: it does not ask then. What the next hop says of the recipient
 * (verify_recipient) comes behind it all the same: others are asked nothing for somebody who comes
 * once, and a client that has come twice has shown what it was to show.
 */
static int check_greylist(const struct ar *ar, const struct ar_ctx *ctx,
                          const struct sm_msg_rcpt_check *m, struct sm_msg_verdict *out)
{
	bool accept;
	int rc;

	if (is_rejected(m, out))
		return 0;
	rc = ar_greylist_check(ar->grey, ctx, &m->client, &accept);
	if (rc != 0 || accept)
		return rc;
	out->flags |= SM_VERDICT_GREYLISTED;
	return ar_refuse(out, 450, "4.7.1 Greylisted, try again later");
}

/* ---- all of it ---- */

int ar_check_rcpt(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_rcpt_check *m,
                  struct sm_msg_verdict *out)
{
	struct rcpt r = {.m = m};
	bool routed;
	int rc;

	*out = (struct sm_msg_verdict){.text = SM_STR("")};
	if (ar_address_of(ar, ctx->a, m->rcpt, &r.address) != 0)
		return ar_refuse(out, 553, "5.1.3 malformed recipient address");
	rc = ar_check_domain(ar, ctx, r.address.parts.domain, &routed, &r.local, out);
	if (rc != 0 || out->code != 0)
		return rc;
	rc = ar_check_demand(ar, ctx, r.address.parts.domain, &r.demand, out);
	if (rc != 0 || out->code != 0)
		return rc;
	out->flags = r.local ? SM_VERDICT_LOCAL : r.demand.relay ? SM_VERDICT_ON_DEMAND : 0;
	r.allowed = allowed_without_map(&r);
	rc = find_entry(ar, ctx, &r);
	if (rc != 0)
		return rc;
	/* What overrides a rejection of before does so also if something else is wrong now. */
	if (r.action.kind == AR_ACTION_OK || r.action.kind == AR_ACTION_RELAY)
		(void)ar_access_apply(ctx, &r.action, out);
	if (!r.allowed && !r.action.failed)
		return ar_refuse(out, 550, "5.7.1 Relaying denied");
	if (r.local)
		rc = ar_check_local(ar, ctx, &r.address.parts, 550, "5.1.1 User unknown", out);
	if (rc == 0 && out->code == 0 && has(&r, SM_CHECK_ACCESS))
		rc = ar_protect(ar, ctx, m, &r.address.parts, out);
	if (rc != 0 || out->code != 0)
		return rc;
	if (r.action.kind == AR_ACTION_ERROR || r.action.kind == AR_ACTION_DISCARD)
		(void)ar_access_apply(ctx, &r.action, out);
	/* Who vanishes is not written down, and learns nothing. */
	if (out->code != 0 || (out->flags & SM_VERDICT_DISCARD))
		return 0;
	/* Who is called on demand only is not called for a question. */
	if (r.demand.wait == SM_WAIT_NO)
		rc = ar_check_verify(ar, ctx, r.address.parts.domain, out);
	if (rc != 0 || out->code != 0 || !has(&r, SM_CHECK_GREYLIST))
		return rc;
	return check_greylist(ar, ctx, m, out);
}
