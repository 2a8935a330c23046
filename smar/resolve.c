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
static int known(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str rcpt)
{
	struct sm_str mailbox;
	struct ar_parts parts;
	bool local;
	int rc;

	/* What is malformed gets its answer from the route. */
	if (ar_alias_mailbox(ar, ctx->a, rcpt, &mailbox) != 0)
		return 0;
	ar_parts_of(ar_address_key(ctx->a, mailbox), ar->conf->address_delimiter.p[0], &parts);
	rc = ar_alias_local(ar, ctx, &parts, &local);
	return rc == 0 && local ? ar_local_known(ar, ctx, &parts) : rc;
}

/* Its mail waits, unless it is asked for now; 0: no more is to be said of it. */
static int wait_or_go(const struct ar *ar, const struct ar_ctx *ctx,
                      const struct sm_msg_route_get *m, struct ar_demand *demand,
                      struct sm_msg_route *out)
{
	int rc = ar_on_demand_rcpt(ar, ctx, m->rcpt, demand);

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

int ar_resolve(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_route_get *m,
               struct sm_msg_route *out)
{
	struct ar_demand demand;
	int rc;

	if (m->flags & SM_ROUTE_ASK_WAIT)
		return wait_or_go(ar, ctx, m, &demand, out);
	if (!sm_str_empty(m->route)) {
		rc = ar_route(ar, ctx, m, out);
		return rc == 0 ? ar_rcpt_conf(ar, ctx, m->rcpt, out) : rc;
	}
	rc = ar_alias_route(ar, ctx, m, out);
	if (rc != SM_E_NOTFOUND)
		return rc;
	rc = known(ar, ctx, m->rcpt);
	if (rc == 0) {
		rc = wait_or_go(ar, ctx, m, &demand, out);
		if (rc != SM_E_NOTFOUND)
			return rc;
		rc = ar_route(ar, ctx, m, out);
		out->wait = (uint8_t)demand.wait;
		return rc == 0 ? ar_rcpt_conf(ar, ctx, m->rcpt, out) : rc;
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
