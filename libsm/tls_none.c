/*
 * TLS in a build without OpenSSL: a configuration that wants it is refused, and nobody gets any
 * further. Any thread.
 */
#include "libsm/tls.h"

#include <unistd.h>

#include "libsm/err.h"

#ifndef SM_HAVE_TLS

#define NONE "this build has no TLS"

int sm_tls_server_new(const struct sm_tls_conf *c, const char *service, struct sm_tls_ctx **ctx)
{
	(void)c;
	(void)service;
	*ctx = NULL;
	return sm_fail(SM_E_NOTSUP, NONE);
}

int sm_tls_client_new(const struct sm_tls_conf *c, struct sm_tls_ctx **ctx)
{
	(void)c;
	*ctx = NULL;
	return sm_fail(SM_E_NOTSUP, NONE);
}

struct sm_tls_ctx *sm_tls_ctx_ref(struct sm_tls_ctx *ctx)
{
	return ctx;
}

void sm_tls_ctx_unref(struct sm_tls_ctx **ctx)
{
	*ctx = NULL;
}

int64_t sm_tls_ctx_until_s(const struct sm_tls_ctx *ctx)
{
	(void)ctx;
	return 0;
}

int sm_tls_accept(struct sm_net *n, struct sm_tls_ctx *ctx, int64_t deadline_ms)
{
	(void)n;
	(void)ctx;
	(void)deadline_ms;
	return sm_fail(SM_E_NOTSUP, NONE);
}

int sm_tls_connect(struct sm_net *n, struct sm_tls_ctx *ctx, const struct sm_tls_peer *peer,
                   int64_t deadline_ms)
{
	(void)n;
	(void)ctx;
	(void)peer;
	(void)deadline_ms;
	return sm_fail(SM_E_NOTSUP, NONE);
}

void sm_tls_facts(const struct sm_net *n, struct sm_arena *a, struct sm_tls_facts *out)
{
	(void)n;
	(void)a;
	*out = (struct sm_tls_facts){.protocol = "",
	                             .cipher = "",
	                             .verify_word = "NONE",
	                             .verify_text = "",
	                             .issuer = SM_STR(""),
	                             .subject = SM_STR(""),
	                             .name = SM_STR(""),
	                             .sni = SM_STR("")};
}

int sm_tls_dn(struct sm_str der, struct sm_arena *a, struct sm_str *out)
{
	(void)der;
	(void)a;
	*out = SM_STR("");
	return sm_fail(SM_E_NOTSUP, NONE);
}

#endif
