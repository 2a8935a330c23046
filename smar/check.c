/*
 * The checks of connection, sender and recipient.
 *
 * The name of a client is believed only when it leads back to the client's address; a name server
 * that does not answer makes the name unknown for now, never wrong. Thread: the loop's; coroutine
 * when it may wait.
 */
#include "smar/check.h"

#include <stdio.h>

#include "libsm/addr.h"
#include "libsm/log.h"
#include "smar/dns_cache.h"

enum { CLIENT_NAMES_MAX = 4, REVERSE_MAX = 80 };

/* ---- the client's name ---- */

/* "4.3.2.1.in-addr.arpa"; RFC 3596 2.5 for IPv6. False: not an Internet address. */
static bool reverse_name(const struct sm_sa *sa, char out[REVERSE_MAX])
{
	const uint8_t *p;
	size_t n = 0;

	if (sa->len == 0)
		return false;
	if (sa->u.sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&sa->u.in6.sin6_addr)) {
		p = &sa->u.in6.sin6_addr.s6_addr[12];
	} else if (sa->u.sa.sa_family == AF_INET6) {
		p = sa->u.in6.sin6_addr.s6_addr;
		for (int i = 15; i >= 0; i--)
			n += (size_t)snprintf(out + n, REVERSE_MAX - n, "%x.%x.", p[i] & 15U,
			                      p[i] >> 4);
		snprintf(out + n, REVERSE_MAX - n, "ip6.arpa");
		return true;
	} else if (sa->u.sa.sa_family == AF_INET) {
		p = (const uint8_t *)&sa->u.in4.sin_addr;
	} else {
		return false;
	}
	snprintf(out, REVERSE_MAX, "%u.%u.%u.%u.in-addr.arpa", p[3], p[2], p[1], p[0]);
	return true;
}

static bool has_addr(const struct ar_answer *a, uint16_t type, const struct sm_sa *client)
{
	for (size_t i = 0; i < a->count; i++) {
		struct sm_sa sa = {0};

		if (type == AR_DNS_A) {
			sa.len = sizeof(sa.u.in4);
			sa.u.in4.sin_family = AF_INET;
			memcpy(&sa.u.in4.sin_addr, a->rr[i].addr, 4);
		} else {
			sa.len = sizeof(sa.u.in6);
			sa.u.in6.sin6_family = AF_INET6;
			memcpy(&sa.u.in6.sin6_addr, a->rr[i].addr, 16);
		}
		if (sm_sa_eq_host(&sa, client))
			return true;
	}
	return false;
}

static struct ar_answer *dns(struct sm_str name, uint16_t type, const struct ar_ctx *ctx)
{
	return ctx->may_wait ? ar_cache_wait(name, type, ctx->deadline_ms)
	                     : ar_cache_get(name, type);
}

/* Does `name` lead to the client? */
static int confirm(struct sm_str name, const struct sm_sa *client, const struct ar_ctx *ctx,
                   enum sm_resolve *out)
{
	bool v4 =
	    client->u.sa.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&client->u.in6.sin6_addr);
	uint16_t type = v4 ? AR_DNS_A : AR_DNS_AAAA;
	struct ar_answer *a = dns(name, type, ctx);

	if (a == NULL)
		return SM_E_AGAIN;
	if (has_addr(a, type, client))
		*out = SM_RESOLVE_OK;
	else if (a->status == AR_DNS_TEMP && *out != SM_RESOLVE_OK)
		*out = SM_RESOLVE_TEMP_A;
	ar_answer_put(&a);
	return 0;
}

static int resolve_client(const struct ar_ctx *ctx, const struct sm_sa *client,
                          struct sm_msg_conn_verdict *out)
{
	enum sm_resolve resolve = SM_RESOLVE_NO;
	char name[REVERSE_MAX];
	struct ar_answer *ptr;
	int rc = 0;

	if (!reverse_name(client, name)) {
		out->resolve = SM_RESOLVE_NONE;
		return 0;
	}
	ptr = dns(sm_str(name), AR_DNS_PTR, ctx);
	if (ptr == NULL)
		return SM_E_AGAIN;
	if (ptr->status == AR_DNS_TEMP)
		resolve = SM_RESOLVE_TEMP_PTR;
	for (size_t i = 0;
	     i < ptr->count && i < CLIENT_NAMES_MAX && rc == 0 && resolve != SM_RESOLVE_OK; i++) {
		rc = confirm(ptr->rr[i].name, client, ctx, &resolve);
		if (resolve == SM_RESOLVE_OK)
			out->client_name = sm_arena_str(ctx->a, ptr->rr[i].name);
	}
	ar_answer_put(&ptr);
	out->resolve = (uint8_t)resolve;
	return rc;
}

/* ---- the checks ---- */

int ar_check_conn(const struct ar *ar SM_UNUSED, const struct ar_ctx *ctx,
                  const struct sm_msg_conn_check *m, struct sm_msg_conn_verdict *out)
{
	*out = (struct sm_msg_conn_verdict){.code = 0};
	return resolve_client(ctx, &m->client, out);
}

static int refuse(struct sm_msg_verdict *out, uint16_t code, const char *text)
{
	out->code = code;
	out->text = sm_str(text);
	return 0;
}

int ar_check_mail(const struct ar *ar SM_UNUSED, const struct ar_ctx *ctx,
                  const struct sm_msg_mail_check *m, struct sm_msg_verdict *out)
{
	struct sm_addr addr;

	*out = (struct sm_msg_verdict){.code = 0};
	if (m->sender.n > 0 && sm_addr_mailbox(m->sender, ctx->a, &addr) != 0)
		return refuse(out, 553, "5.1.7 malformed sender address");
	return 0;
}

int ar_check_rcpt(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_rcpt_check *m,
                  struct sm_msg_verdict *out)
{
	const struct ar_mt_entry *e;
	struct sm_str domain;
	int rc;

	*out = (struct sm_msg_verdict){.code = 0};
	if (ar_route_domain(ar, m->rcpt, ctx->a, &domain) != 0)
		return refuse(out, 553, "5.1.3 malformed recipient address");
	rc = ar_mt_lookup(ar, ctx, domain, &e);
	if (rc == SM_E_AGAIN)
		return rc;
	if (rc != 0) {
		sm_log(SM_WARN, "ar.mailertable", "rcpt=<%S> error=%E", m->rcpt, rc);
		return refuse(out, 451, "4.3.0 the table of routes cannot be read");
	}
	if (e != NULL && e->agent == SM_AGENT_LMTP)
		out->flags |= SM_VERDICT_LOCAL;
	return 0;
}
