/*
 * Lookups for smtpc. Invariant: what cannot be told is a temporary failure, so that no mail goes
 * out with less protection than somebody wanted, and no secret leaves in a log line or a trace.
 * Thread: the loop's; coroutine when it may wait.
 */
#include "smar/server_conf.h"

#include <stdio.h>

#include "libsm/log.h"
#include "smar/access.h"
#include "smar/alias.h"

enum {
	CONF_MAX = 8192, /* as in msg.def */
	AUTH_MAX = 2048,
	KEY_MAX = 600,
	KEY_SUFFIX = 20,
	FAILED_TTL_S = 60,
};

/* One key that names the port, behind a name or an address. */
static int find_port(struct ar_map *map, const struct ar_ctx *ctx, struct sm_str tag,
                     struct sm_str host, const struct sm_sa *sa, struct sm_str *value)
{
	bool brackets = sm_str_chr(host, ':') >= 0;
	struct ar_keys keys;

	ar_keys_word(&keys, tag,
	             sm_arena_printf(ctx->a, "%s" SM_STR_FMT "%s:%u", brackets ? "[" : "",
	                             SM_STR_ARG(host), brackets ? "]" : "",
	                             (unsigned)sm_sa_port(sa)));
	return ar_map_find(map, ctx, &keys, value);
}

/*
 * Who names the port goes first: the server's name and its address with it. Then the name and its
 * parents, then the address and its networks. 0, SM_E_NOTFOUND, or as ar_map_find.
 */
static int find_server(struct ar_map *map, const struct ar_ctx *ctx, struct sm_str tag,
                       const struct sm_msg_server_conf *m, struct sm_str *value)
{
	/* An address literal is no name: it is found by the address. */
	bool named = m->name.n > 0 && m->name.p[0] != '[';
	struct ar_keys keys;
	int rc = SM_E_NOTFOUND;

	if (map == NULL)
		return rc;
	if (named && sm_sa_port(&m->sa) != 0)
		rc = find_port(map, ctx, tag, ar_address_key(ctx->a, m->name), &m->sa, value);
	if (rc == SM_E_NOTFOUND && sm_sa_port(&m->sa) != 0) {
		ar_keys_ip(&keys, SM_STR(""), &m->sa, AR_KEYS_EXACT);
		if (ar_keys_next(&keys))
			rc = find_port(map, ctx, tag, keys.key, &m->sa, value);
	}
	if (rc == SM_E_NOTFOUND && named) {
		ar_keys_domain(&keys, tag, ar_address_key(ctx->a, m->name), 0);
		rc = ar_map_find(map, ctx, &keys, value);
	}
	if (rc != SM_E_NOTFOUND)
		return rc;
	ar_keys_ip(&keys, tag, &m->sa, 0);
	return ar_map_find(map, ctx, &keys, value);
}

/* A value that is there fits, or it is no answer. */
static int fits(int rc, struct sm_str *value, size_t max)
{
	if (rc == SM_E_NOTFOUND) {
		*value = SM_STR("");
		return 0;
	}
	if (rc == 0 && value->n > max)
		return sm_fail(SM_E_TOOBIG, "the value has more than %zu bytes", max);
	return rc;
}

static int failed(const struct ar_ctx *ctx, const char *what, struct sm_str who, int rc)
{
	sm_log(SM_WARN, "ar.server_conf", "map=%s server=%S error=%E", what, who, rc);
	ar_trace_failed(ctx, who, sm_diag());
	return rc;
}

int ar_server_conf(const struct ar *ar, const struct ar_ctx *ctx,
                   const struct sm_msg_server_conf *m, struct sm_msg_server_confd *out)
{
	/* Nobody is shown a secret: the keys of server_auth are not traced. */
	struct ar_ctx quiet = *ctx;
	int rc;

	quiet.trace = NULL;
	*out = (struct sm_msg_server_confd){
	    .text = SM_STR(""), .conf = SM_STR(""), .auth = SM_STR("")};
	rc = find_server(ar_maps_access(ar->maps), ctx, SM_STR("smtpc_session_conf:"), m,
	                 &out->conf);
	if (rc == SM_E_AGAIN)
		return rc;
	rc = fits(rc, &out->conf, CONF_MAX);
	if (rc != 0) {
		(void)failed(ctx, "access_map", m->name, rc);
	} else {
		rc = find_server(ar_maps_server_auth(ar->maps), &quiet, SM_STR(""), m, &out->auth);
		if (rc == SM_E_AGAIN)
			return rc;
		rc = fits(rc, &out->auth, AUTH_MAX);
		if (rc != 0)
			(void)failed(ctx, "server_auth", m->name, rc);
	}
	if (rc == 0)
		return 0;
	*out = (struct sm_msg_server_confd){
	    .code = 451,
	    .text = SM_STR("4.3.0 how to treat this server cannot be told now"),
	    .conf = SM_STR(""),
	    .auth = SM_STR("")};
	return 0;
}

/* What the access map says of the recipient: "" for nothing. */
static int find_rcpt(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_address *rcpt,
                     struct sm_str *value)
{
	struct ar_keys keys;
	int rc;

	ar_keys_address(&keys, SM_STR("smtpc_rcpt_conf:"), &rcpt->parts, AR_KEYS_LOCALPART);
	rc = ar_access_value(ar, ctx, &keys, value);
	return fits(rc, value, CONF_MAX);
}

int ar_rcpt_conf(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_address *rcpt,
                 struct sm_msg_route *route)
{
	struct sm_str key = route->key, value = SM_STR("");
	unsigned long long hash;
	int rc;

	route->conf = SM_STR("");
	if (ar_maps_access(ar->maps) == NULL || route->status != SM_ROUTE_OK)
		return 0;
	rc = find_rcpt(ar, ctx, rcpt, &value);
	if (rc == SM_E_AGAIN)
		return rc;
	if (rc != 0) {
		(void)failed(ctx, "access_map", rcpt->mailbox, rc);
		*route = (struct sm_msg_route){
		    .status = SM_ROUTE_TEMP,
		    .code = 451,
		    .text = SM_STR("4.3.0 what the recipient requires cannot be told now"),
		    .ttl_s = FAILED_TTL_S,
		    .conf = SM_STR("")};
		return 0;
	}
	if (value.n == 0)
		return 0;
	route->conf = sm_arena_str(ctx->a, value);
	if (key.n > KEY_MAX - KEY_SUFFIX)
		key = sm_arena_printf(ctx->a, "#%016llx",
		                      (unsigned long long)sm_def_hash(key.p, key.n));
	hash = sm_def_hash(value.p, value.n);
	route->key = sm_arena_printf(ctx->a, SM_STR_FMT " +%016llx", SM_STR_ARG(key), hash);
	return 0;
}
