/*
 * The checks of a connection: the client's address and its name.
 *
 * The name of a client is believed only when it leads back to the client's address; a name server
 * that does not answer makes the name unknown for now, never wrong. Thread: the loop's; coroutine
 * when it may wait.
 */
#include "libsm/addr.h"
#include "smar/check_int.h"
#include "smar/dnsbl.h"
#include "smar/reverse.h"

enum { CLIENT_NAMES_MAX = 4 };

/* ---- the client's name ---- */

static bool has_addr(const struct ar_answer *a, uint16_t type, const struct sm_sa *client)
{
	for (size_t i = 0; i < a->count; i++) {
		struct sm_sa sa = ar_rr_sa(&a->rr[i], type);

		if (sm_sa_eq_host(&sa, client))
			return true;
	}
	return false;
}

/* Does `name` lead to the client? */
static int confirm(struct sm_str name, const struct sm_sa *client, const struct ar_ctx *ctx,
                   enum sm_resolve *out)
{
	bool v4 =
	    client->u.sa.sa_family == AF_INET || IN6_IS_ADDR_V4MAPPED(&client->u.in6.sin6_addr);
	uint16_t type = v4 ? AR_DNS_A : AR_DNS_AAAA;
	struct ar_answer *a = ar_ask(ctx, name, type);

	if (a == NULL)
		return SM_E_AGAIN;
	if (has_addr(a, type, client))
		*out = SM_RESOLVE_OK;
	else if (a->status == AR_DNS_TEMP && *out != SM_RESOLVE_OK)
		*out = SM_RESOLVE_TEMP_A;
	ar_answer_put(&a);
	return 0;
}

/* A front end that is trusted has told it. */
static void take_name(struct sm_arena *a, const struct sm_msg_conn_check *m,
                      struct sm_msg_conn_verdict *out)
{
	struct sm_str given = m->client_name;
	bool good = m->resolve == SM_RESOLVE_OK && sm_domain_valid(given, true);
	char *name;

	out->resolve = SM_MIN(m->resolve, (uint8_t)SM_RESOLVE_TEMP_A);
	if (!good && out->resolve == SM_RESOLVE_OK)
		out->resolve = SM_RESOLVE_NO;
	if (!good)
		return;
	name = sm_arena_must(a, given.n);
	sm_str_lower(given, name);
	out->client_name = sm_str_n(name, given.n);
}

static int resolve_client(const struct ar_ctx *ctx, const struct sm_msg_conn_check *m,
                          struct sm_msg_conn_verdict *out)
{
	const struct sm_sa *client = &m->client;
	enum sm_resolve resolve = SM_RESOLVE_NO;
	char name[AR_DNS_NAME_MAX + 1];
	struct ar_answer *ptr;
	int rc = 0;

	if (ctx->dry != NULL && ctx->dry->client_name.p != NULL) {
		out->resolve = SM_RESOLVE_OK;
		out->client_name = ctx->dry->client_name;
		return 0;
	}
	if (m->resolve != SM_RESOLVE_NONE) {
		take_name(ctx->a, m, out);
		return 0;
	}
	if ((m->flags & SM_CHECK_NO_DNS) ||
	    !ar_reverse_name(client, SM_STR("in-addr.arpa"), SM_STR("ip6.arpa"), name)) {
		out->resolve = SM_RESOLVE_NONE;
		return 0;
	}
	ptr = ar_ask(ctx, sm_str(name), AR_DNS_PTR);
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

/* ---- the access map ---- */

static int find_address(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_sa *client,
                        struct ar_action *out)
{
	struct ar_keys keys;

	ar_keys_ip(&keys, SM_STR("cltaddr:"), client, 0);
	return ar_access_find(ar, ctx, &keys, out);
}

static int find_resolve(const struct ar *ar, const struct ar_ctx *ctx, unsigned resolve,
                        struct ar_action *out)
{
	static const struct sm_str words[] = {
	    [SM_RESOLVE_OK] = SM_STR("ok"),
	    [SM_RESOLVE_NO] = SM_STR("no"),
	    [SM_RESOLVE_TEMP_PTR] = SM_STR("tempptr"),
	    [SM_RESOLVE_TEMP_A] = SM_STR("tempa"),
	};
	struct ar_keys keys;

	*out = (struct ar_action){.kind = AR_ACTION_CONT};
	if (resolve == SM_RESOLVE_NONE)
		return 0;
	ar_keys_word(&keys, SM_STR("cltresolve:"), words[resolve]);
	return ar_access_find(ar, ctx, &keys, out);
}

static int find_name(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str name,
                     struct ar_action *out)
{
	struct ar_keys keys;

	*out = (struct ar_action){.kind = AR_ACTION_CONT};
	if (name.n == 0)
		return 0;
	ar_keys_domain(&keys, SM_STR("cltname:"), name, 0);
	return ar_access_find(ar, ctx, &keys, out);
}

/* What only matters when the address alone has not decided. */
static int check_name(const struct ar *ar, const struct ar_ctx *ctx,
                      struct sm_msg_conn_verdict *client, struct ar_action *out)
{
	int rc = find_resolve(ar, ctx, client->resolve, out);

	if (rc == 0 && out->kind == AR_ACTION_ERROR && !out->failed)
		client->flags |= SM_VERDICT_UNRESOLVED;
	if (rc == 0 && out->kind == AR_ACTION_CONT)
		rc = find_name(ar, ctx, client->client_name, out);
	return rc;
}

/* Configuration for the session; empty: none. What cannot be told is a refusal. */
static int find_conf(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_sa *client,
                     struct sm_msg_conn_verdict *out)
{
	static const struct sm_str tag = SM_STR("smtps_session_conf:");
	struct ar_action failed;
	struct ar_keys keys;
	int rc;

	ar_keys_ip(&keys, tag, client, 0);
	rc = ar_access_value(ar, ctx, &keys, &out->conf);
	if (rc == SM_E_NOTFOUND && out->client_name.n > 0) {
		ar_keys_domain(&keys, tag, out->client_name, 0);
		rc = ar_access_value(ar, ctx, &keys, &out->conf);
	}
	if (rc == 0)
		rc = ar_access_check_conf(out->conf);
	if (rc == 0 || rc == SM_E_AGAIN)
		return rc;
	out->conf = SM_STR("");
	if (rc == SM_E_NOTFOUND)
		return 0;
	ar_access_failed(ctx, &keys, rc, &failed);
	out->code = failed.code;
	out->text = failed.text;
	/* Now, not at RCPT: nobody knows what the session would be. */
	out->flags = SM_VERDICT_CLOSE;
	return 0;
}

int ar_check_conn(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_conn_check *m,
                  struct sm_msg_conn_verdict *out)
{
	bool access = (m->flags & SM_CHECK_ACCESS) != 0;
	bool lists = access && !(m->flags & SM_CHECK_NO_DNS);
	struct ar_action action = {.kind = AR_ACTION_CONT};
	struct sm_msg_verdict v = {.text = SM_STR("")};
	int rc = 0;

	*out = (struct sm_msg_conn_verdict){.text = SM_STR(""), .conf = SM_STR("")};
	if (access)
		rc = find_address(ar, ctx, &m->client, &action);
	if (rc == 0 && lists && action.kind == AR_ACTION_CONT)
		ar_dnsbl_ask(ar, &m->client);
	/* Who is refused at once needs no name. */
	if (rc == 0 && !(action.kind == AR_ACTION_ERROR && action.quick))
		rc = resolve_client(ctx, m, out);
	if (rc == 0 && access && action.kind == AR_ACTION_CONT)
		rc = check_name(ar, ctx, out, &action);
	if (rc == 0 && lists && action.kind == AR_ACTION_CONT)
		rc = ar_dnsbl_check(ar, ctx, &m->client, &action);
	if (rc == 0 && ar_access_apply(ctx, &action, &v)) {
		out->code = v.code;
		out->text = v.text;
		out->flags |= v.flags;
	}
	if (rc == 0 && access && (m->flags & SM_CHECK_SESSION_CONF) &&
	    !(action.kind == AR_ACTION_ERROR && action.quick))
		rc = find_conf(ar, ctx, &m->client, out);
	return rc;
}
