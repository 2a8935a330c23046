/*
 * Contexts: what both sides of TLS are allowed, and the life of a context. Invariant: what a
 * configuration does not say is the strict choice, and no choice is left to the peer: no
 * renegotiation, no compression, no early data. Made in any thread, counted in the loop's.
 */
#include "libsm/tls_int.h"

#ifdef SM_HAVE_TLS
#include <openssl/err.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>

#include "libsm/err.h"

enum { CHAIN_MAX = 9, SESSION_S = 3600 };

int sm_tls_fail(const char *fmt, ...)
{
	char text[SM_DIAG_MAX];
	unsigned long e = ERR_peek_error();
	const char *reason = e != 0 ? ERR_reason_error_string(e) : NULL;
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	ERR_clear_error();
	return sm_fail(SM_E_TLS, "%s: %s", text, reason != NULL ? reason : "no reason was given");
}

int sm_tls_version_number(int version)
{
	switch ((enum sm_tls_version)version) {
	case SM_TLS_1_0:
		return TLS1_VERSION;
	case SM_TLS_1_1:
		return TLS1_1_VERSION;
	case SM_TLS_1_2:
		return TLS1_2_VERSION;
	case SM_TLS_1_3:
		break;
	}
	return TLS1_3_VERSION;
}

/* What has to be opened or learnt from the system is, now. */
static int set_up(void)
{
	unsigned char some[32];

	if (OPENSSL_init_ssl(OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS,
	                     NULL) != 1)
		return sm_tls_fail("OpenSSL does not start");
	if (RAND_bytes(some, sizeof(some)) != 1)
		return sm_tls_fail("no random numbers");
	return 0;
}

static int set_ciphers(SSL_CTX *ssl, const struct sm_tls_conf *conf)
{
	char text[4096];
	int rc;

	/* TLS 1.0 and 1.1 sign with SHA-1, which level 1 does not take. Level 1, not what the
	 * distribution made the default: the alternative to weak encryption is none. */
	SSL_CTX_set_security_level(ssl, conf->min_version < SM_TLS_1_2 ? 0 : 1);
	if (!sm_str_empty(conf->ciphers)) {
		if ((rc = sm_str_copy(conf->ciphers, text, sizeof(text))) != 0)
			return rc;
		if (SSL_CTX_set_cipher_list(ssl, text) != 1)
			return sm_tls_fail("ciphers");
	}
	if (!sm_str_empty(conf->ciphersuites)) {
		if ((rc = sm_str_copy(conf->ciphersuites, text, sizeof(text))) != 0)
			return rc;
		if (SSL_CTX_set_ciphersuites(ssl, text) != 1)
			return sm_tls_fail("ciphersuites");
	}
	return 0;
}

static int new_ctx(const struct sm_tls_conf *conf, bool server, struct sm_tls_ctx **out)
{
	struct sm_tls_ctx *c;
	int rc = set_up();

	*out = NULL;
	if (rc != 0)
		return rc;
	c = sm_calloc(1, sizeof(*c));
	c->refs = 1;
	c->server = server;
	c->min_version = conf->min_version;
	sm_tls_sessions_init(c);
	*out = c;
	c->ssl = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	if (c->ssl == NULL)
		return sm_tls_fail("SSL_CTX_new");
	SSL_CTX_set_app_data(c->ssl, c);
	SSL_CTX_set_options(c->ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
	                                SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_clear_options(c->ssl, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT |
	                                  SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
	SSL_CTX_set_mode(c->ssl, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
	                             SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_read_ahead(c->ssl, 1);
	SSL_CTX_set_verify_depth(c->ssl, CHAIN_MAX);
	SSL_CTX_set_timeout(c->ssl, SESSION_S);
	SSL_CTX_set_max_early_data(c->ssl, 0);
	/* A default of openssl.cnf is not ours. */
	if (SSL_CTX_set_min_proto_version(c->ssl, sm_tls_version_number(conf->min_version)) != 1 ||
	    SSL_CTX_set_max_proto_version(c->ssl, 0) != 1)
		return sm_tls_fail("min_version");
	if ((rc = set_ciphers(c->ssl, conf)) != 0 || (rc = sm_tls_load_pairs(c, conf)) != 0)
		return rc;
	return sm_tls_load_cas(c, conf);
}

/* ---- servers ---- */

/* Whom it trusts is the server's affair: a certificate that leads nowhere is no reason to end the
 * handshake (RFC 3207 4.1). */
static int go_on(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 1;
}

static bool is_for(const struct sm_tls_pair *p, struct sm_str name)
{
	for (size_t i = 0; i < p->names.count; i++)
		if (sm_tls_name_fits(p->names.v[i], name))
			return true;
	return false;
}

/* The client has said which name it wants: the certificates for that, one for each kind of key. For
 * another name, or none, it gets the default ones. */
static int choose(SSL *ssl, void *arg)
{
	const struct sm_tls_ctx *c = arg;
	struct sm_str name = sm_str(SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name));
	bool chosen = false;

	if (name.p == NULL)
		return 1;
	for (size_t i = 0; i < c->pair_count; i++) {
		const struct sm_tls_pair *p = &c->pairs[i];
		if (!is_for(p, name))
			continue;
		if (!chosen)
			SSL_certs_clear(ssl);
		chosen = true;
		/* Not over one of the same kind: the first one counts. */
		(void)SSL_use_cert_and_key(ssl, p->cert, p->key, p->chain, 0);
	}
	ERR_clear_error();
	return 1;
}

/* It is acknowledged, whatever it is: to refuse a name would help nobody (RFC 6066 3). */
static int named(SSL *ssl, int *alert, void *arg)
{
	(void)ssl;
	(void)alert;
	(void)arg;
	return SSL_TLSEXT_ERR_OK;
}

static int server_rules(struct sm_tls_ctx *c, const struct sm_tls_conf *conf, const char *service)
{
	unsigned char id[SSL_MAX_SSL_SESSION_ID_LENGTH];
	unsigned n = 0;

	if (EVP_Digest(service, strlen(service), id, &n, EVP_sha256(), NULL) != 1 ||
	    SSL_CTX_set_session_id_context(c->ssl, id, n) != 1)
		return sm_tls_fail("session context");
	if (SSL_CTX_set_dh_auto(c->ssl, 1) != 1)
		return sm_tls_fail("Diffie-Hellman");
	SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_OFF);
	if (conf->flags & SM_TLS_RESUME) {
		SSL_CTX_set_num_tickets(c->ssl, 1);
		sm_tls_tickets(c);
	} else {
		SSL_CTX_set_options(c->ssl, SSL_OP_NO_TICKET);
		SSL_CTX_set_num_tickets(c->ssl, 0);
	}
	c->asks = (conf->flags & SM_TLS_REQUEST_CERT) != 0 &&
	          (!sm_str_empty(conf->ca_file) || !sm_str_empty(conf->ca_dir));
	if (c->asks)
		SSL_CTX_set_verify(c->ssl, SSL_VERIFY_PEER | SSL_VERIFY_CLIENT_ONCE, go_on);
	SSL_CTX_set_cert_cb(c->ssl, choose, c);
	SSL_CTX_set_tlsext_servername_callback(c->ssl, named);
	return 0;
}

int sm_tls_server_new(const struct sm_tls_conf *conf, const char *service, struct sm_tls_ctx **ctx)
{
	int rc = new_ctx(conf, true, ctx);

	if (rc == 0 && (*ctx)->pair_count == 0)
		rc = sm_fail(SM_E_SYNTAX, "cert_file: a server needs a certificate");
	if (rc == 0)
		rc = server_rules(*ctx, conf, service);
	if (rc != 0)
		sm_tls_ctx_unref(ctx);
	ERR_clear_error();
	return rc;
}

int sm_tls_client_new(const struct sm_tls_conf *conf, struct sm_tls_ctx **ctx)
{
	int rc = new_ctx(conf, false, ctx);

	if (rc == 0)
		sm_tls_client_rules(*ctx);
	else
		sm_tls_ctx_unref(ctx);
	ERR_clear_error();
	return rc;
}

/* ---- life ---- */

struct sm_tls_ctx *sm_tls_ctx_ref(struct sm_tls_ctx *ctx)
{
	ctx->refs++;
	return ctx;
}

void sm_tls_ctx_unref(struct sm_tls_ctx **ctx)
{
	struct sm_tls_ctx *c = *ctx;

	*ctx = NULL;
	if (c == NULL || --c->refs > 0)
		return;
	sm_tls_sessions_fini(c);
	sm_tls_free_pairs(c);
	SSL_CTX_free(c->ssl);
	explicit_bzero(c->ticket, sizeof(c->ticket));
	sm_free(c);
}

int64_t sm_tls_ctx_until_s(const struct sm_tls_ctx *ctx)
{
	return ctx->until_s;
}

#endif
