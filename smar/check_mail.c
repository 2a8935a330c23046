/*
 * The checks of a sender: could a report be sent back to its domain, does it exist if it is ours,
 * what says the access map of it and of the addresses of its domain.
 *
 * Nothing is refused for good by a name server's bad day: as long as one question has no answer and
 * nothing was found, the refusal is temporary. Thread: the loop's; coroutine when it may wait.
 */
#include "smar/check_int.h"
#include "smar/mx.h"

enum { EXCHANGERS_MAX = 20, ADDRS_MAX = 100 };

/* The addresses behind a domain. */
struct found {
	size_t count;
	bool missing;    /* without may_wait: something has to be asked first */
	bool temp;       /* something had no answer */
	bool no_mail;    /* null MX (RFC 7505) */
	bool routed;     /* the mailertable says where it goes: nothing is asked */
	struct sm_sa *v; /* room for ADDRS_MAX, from the first one on */
};

static void add(const struct ar_ctx *ctx, struct found *f, struct sm_sa sa)
{
	if (f->count == ADDRS_MAX)
		return;
	if (f->v == NULL)
		f->v = sm_arena_must(ctx->a, ADDRS_MAX * sizeof(*f->v));
	f->v[f->count++] = sa;
}

/* ---- is it routable? ---- */

static const uint16_t types[] = {AR_DNS_A, AR_DNS_AAAA};

static bool wanted(const struct ar *ar, uint16_t type)
{
	return ar->conf->address_family != (type == AR_DNS_A ? AR_FAMILY_IPV6 : AR_FAMILY_IPV4);
}

/* Ask, so that the answers come while others are waited for. */
static void prefetch(const struct ar *ar, struct sm_str host)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(types); i++) {
		struct ar_answer *a = wanted(ar, types[i]) ? ar_cache_get(host, types[i]) : NULL;

		ar_answer_put(&a);
	}
}

static void add_host(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str host,
                     struct found *f)
{
	prefetch(ar, host);
	for (size_t i = 0; i < SM_ARRAY_SIZE(types); i++) {
		struct ar_answer *a;

		if (!wanted(ar, types[i]))
			continue;
		a = ar_ask(ctx, host, types[i]);
		if (a == NULL) {
			f->missing = true;
			continue;
		}
		f->temp = f->temp || a->status == AR_DNS_TEMP;
		for (size_t k = 0; k < a->count; k++)
			add(ctx, f, ar_rr_sa(&a->rr[k], types[i]));
		ar_answer_put(&a);
	}
}

static void add_exchangers(const struct ar *ar, const struct ar_ctx *ctx,
                           const struct ar_answer *answer, struct found *f)
{
	struct ar_mx only = {answer->rr[0].pref, answer->rr[0].name};
	size_t n;

	if (answer->count == 1 && ar_mx_is_null(&only, 1)) {
		f->no_mail = true;
		return;
	}
	n = SM_MIN(answer->count, (size_t)EXCHANGERS_MAX);
	for (size_t i = 0; i < n; i++)
		if (answer->rr[i].name.n > 0)
			prefetch(ar, answer->rr[i].name);
	for (size_t i = 0; i < n; i++)
		if (answer->rr[i].name.n > 0)
			add_host(ar, ctx, answer->rr[i].name, f);
}

static void find_addresses(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                           struct found *f)
{
	struct ar_answer *a;
	struct sm_sa literal;

	if (domain.p[0] == '[') {
		if (sm_sa_ip(&literal, domain, 0) == 0)
			add(ctx, f, literal);
		return;
	}
	a = ar_ask(ctx, domain, AR_DNS_MX);
	if (a == NULL) {
		f->missing = true;
		return;
	}
	if (a->status == AR_DNS_OK && a->count > 0)
		add_exchangers(ar, ctx, a, f);
	else if (a->status == AR_DNS_NODATA)
		add_host(ar, ctx, domain, f);
	else if (a->status == AR_DNS_TEMP)
		f->temp = true;
	ar_answer_put(&a);
}

static int check_routable(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                          struct found *f, struct sm_msg_verdict *out)
{
	if (f->routed)
		return 0;
	find_addresses(ar, ctx, domain, f);
	if (f->missing)
		return SM_E_AGAIN;
	if (f->no_mail)
		return ar_refuse(out, 550, "5.7.27 The sender's domain takes no mail (null MX)");
	if (f->count == 0 && f->temp)
		return ar_refuse(out, 451,
		                 "4.1.8 The sender's domain cannot be looked up, try again later");
	if (f->count == 0)
		return ar_refuse(out, 553, "5.1.8 The sender's domain does not exist");
	return 0;
}

/* ---- the access map ---- */

static int check_sender(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_parts *parts,
                        struct ar_action *out)
{
	struct ar_keys keys;

	ar_keys_address(&keys, SM_STR("from:"), parts, AR_KEYS_LOCALPART);
	return ar_access_find(ar, ctx, &keys, out);
}

static int check_addresses(const struct ar *ar, const struct ar_ctx *ctx, const struct found *f,
                           struct ar_action *out)
{
	struct ar_keys keys;
	int rc = 0;

	for (size_t i = 0; i < f->count && rc == 0 && out->kind == AR_ACTION_CONT; i++) {
		ar_keys_ip(&keys, SM_STR("mxbadip:"), &f->v[i], 0);
		rc = ar_access_find(ar, ctx, &keys, out);
	}
	return rc;
}

/* ---- all of it ---- */

int ar_check_mail(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_mail_check *m,
                  struct sm_msg_verdict *out)
{
	struct ar_action action = {.kind = AR_ACTION_CONT};
	bool access = (m->flags & SM_CHECK_ACCESS) != 0;
	struct ar_address sender;
	struct found *f;
	bool local;
	int rc;

	*out = (struct sm_msg_verdict){.text = SM_STR("")};
	if (m->sender.n == 0)
		return 0;
	if (ar_address_of(ar, ctx->a, m->sender, &sender) != 0)
		return ar_refuse(out, 553, "5.1.7 malformed sender address");
	if (m->flags & SM_CHECK_SESSION_QUICK)
		return 0;
	f = SM_ARENA_NEW(ctx->a, struct found);
	rc = ar_check_domain(ar, ctx, sender.parts.domain, &f->routed, &local, out);
	if (rc == 0 && out->code == 0 && access && !(m->flags & SM_CHECK_NO_DNS))
		rc = check_routable(ar, ctx, sender.parts.domain, f, out);
	if (rc == 0 && out->code == 0 && local)
		rc = ar_check_local(ar, ctx, &sender.parts, 550,
		                    "5.1.1 There is no such sender here", out);
	if (rc != 0 || out->code != 0 || !access)
		return rc;
	rc = check_sender(ar, ctx, &sender.parts, &action);
	if (rc == 0 && action.kind == AR_ACTION_CONT)
		rc = check_addresses(ar, ctx, f, &action);
	if (rc == 0)
		(void)ar_access_apply(ctx, &action, out);
	return rc;
}
