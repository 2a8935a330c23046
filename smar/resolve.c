/*
 * The order of aliases, local users and routes for a recipient in the queue. What was told its way
 * skips the former: who is there knows them. Thread: the loop's; coroutine when it may wait.
 */
#include "smar/resolve.h"

#include "libsm/log.h"
#include "smar/alias.h"
#include "smar/local.h"
#include "smar/on_demand.h"
#include "smar/route.h"
#include "smar/server_conf.h"

/* 0: it may be there. */
static int known(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_parts *rcpt)
{
	bool local;
	int rc = ar_alias_local(ar, ctx, rcpt, &local);

	return rc == 0 && local ? ar_local_known(ar, ctx, rcpt) : rc;
}

/* Its mail waits, unless it is asked for now; 0: no more is to be said of it. */
static int wait_or_go(const struct ar *ar, const struct ar_ctx *ctx,
                      const struct sm_msg_route_get *m, const struct ar_address *rcpt,
                      struct ar_demand *demand, struct sm_msg_route *out)
{
	int rc = ar_on_demand(ar, ctx, rcpt->parts.domain, demand);

	if (rc == SM_E_AGAIN)
		return rc;
	*out = (struct sm_msg_route){.ttl_s = 60, .wait = (uint8_t)demand->wait};
	if (rc != 0) {
		sm_log(SM_WARN, "ar.on_demand", "ss_ta=%?I rcpt=<%S> error=%E", m->ta, m->rcpt, rc);
		ar_trace_failed(ctx, m->rcpt, sm_diag());
		out->status = SM_ROUTE_TEMP;
		out->code = 451;
		out->text = SM_STR("4.3.0 the domains that wait cannot be looked up now");
		return 0;
	}
	out->status = demand->wait == SM_WAIT_NO ? SM_ROUTE_OK : SM_ROUTE_WAIT;
	if (m->flags & SM_ROUTE_ASK_WAIT)
		return 0;
	return demand->wait == SM_WAIT_NO || (m->flags & SM_ROUTE_RUN) ? SM_E_NOTFOUND : 0;
}

static int go(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_route_get *m,
              const struct ar_address *rcpt, struct sm_msg_route *out)
{
	int rc = ar_route(ar, ctx, m, rcpt, out);

	return rc == 0 ? ar_rcpt_conf(ar, ctx, rcpt, out) : rc;
}

/* What is malformed waits for nothing, and goes nowhere. */
static int malformed(const struct sm_msg_route_get *m, struct sm_msg_route *out)
{
	*out = (struct sm_msg_route){.ttl_s = 60};
	if (m->flags & SM_ROUTE_ASK_WAIT)
		return 0;
	out->status = SM_ROUTE_PERM;
	out->code = 553;
	out->text = SM_STR("5.1.3 malformed recipient address");
	return 0;
}

int ar_resolve(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_route_get *m,
               struct sm_msg_route *out)
{
	struct ar_address rcpt;
	struct ar_demand demand;
	int rc;

	if (ar_address_of(ar, ctx->a, m->rcpt, &rcpt) != 0)
		return malformed(m, out);
	if (m->flags & SM_ROUTE_ASK_WAIT)
		return wait_or_go(ar, ctx, m, &rcpt, &demand, out);
	if (!sm_str_empty(m->route))
		return go(ar, ctx, m, &rcpt, out);
	rc = ar_alias_route(ar, ctx, m, &rcpt, out);
	if (rc != SM_E_NOTFOUND)
		return rc;
	rc = known(ar, ctx, &rcpt.parts);
	if (rc == 0) {
		rc = wait_or_go(ar, ctx, m, &rcpt, &demand, out);
		if (rc != SM_E_NOTFOUND)
			return rc;
		rc = go(ar, ctx, m, &rcpt, out);
		out->wait = (uint8_t)demand.wait;
		return rc;
	}
	if (rc == SM_E_AGAIN)
		return rc;
	*out = (struct sm_msg_route){.ttl_s = 60};
	if (rc == SM_E_NOTFOUND) {
		out->status = SM_ROUTE_PERM;
		out->code = 550;
		out->text = SM_STR("5.1.1 User unknown");
	} else {
		sm_log(SM_ERROR, "ar.local", "ss_ta=%?I rcpt=<%S> error=%E", m->ta, m->rcpt, rc);
		ar_trace_failed(ctx, m->rcpt, sm_diag());
		out->status = SM_ROUTE_TEMP;
		out->code = 451;
		out->text = SM_STR("4.3.0 local users cannot be looked up now");
	}
	return 0;
}
