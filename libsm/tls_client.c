/*
 * The client's side: whom it wants, whether it got that, and sessions for the next time. Invariant:
 * a session is resumed only by a connection that wants the same of its peer, so what was found out
 * about the certificate then is what would be found out now; a ticket of TLS 1.3 is used once (RFC
 * 8446 C.4). Thread: the loop's.
 */
#include "libsm/tls_int.h"

#ifdef SM_HAVE_TLS
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "libsm/buf.h"
#include "libsm/err.h"

enum { KEPT_MAX = 1000, KEY_MAX = 16384, SNI_MAX = 255 };

struct kept {
	struct sm_hash_node node;
	struct sm_list link;
	struct sm_str key; /* ours */
	SSL_SESSION *session;
};

/* ---- sessions ---- */

static bool key_is(const struct sm_hash_node *n, const void *key)
{
	return sm_str_eq(SM_CONTAINER_OF(n, const struct kept, node)->key,
	                 *(const struct sm_str *)key);
}

static struct kept *find(const struct sm_tls_ctx *c, struct sm_str key)
{
	struct sm_hash_node *n = sm_hash_find(&c->sessions, sm_hash_str(key), key_is, &key);

	return n != NULL ? SM_CONTAINER_OF(n, struct kept, node) : NULL;
}

static void forget(struct sm_tls_ctx *c, struct kept *k)
{
	sm_hash_remove(&c->sessions, &k->node);
	sm_list_remove(&k->link);
	SSL_SESSION_free(k->session);
	sm_free((void *)(uintptr_t)k->key.p);
	sm_free(k);
}

/* From OpenSSL, whenever there is one to resume: 1 takes it over. */
static int keep(SSL *ssl, SSL_SESSION *session)
{
	struct sm_tls *t = SSL_get_app_data(ssl);
	struct sm_tls_ctx *c = t->ctx;
	struct sm_str key = sm_str_n(t->cache_key, t->cache_key_n);
	struct kept *k;
	char *copy;

	if (t->cache_key == NULL || SSL_SESSION_is_resumable(session) != 1)
		return 0;
	if ((k = find(c, key)) != NULL)
		forget(c, k);
	if (c->sessions.count >= KEPT_MAX)
		forget(c, SM_LIST_FIRST(&c->oldest, struct kept, link));
	copy = sm_malloc(key.n);
	memcpy(copy, key.p, key.n);
	k = sm_calloc(1, sizeof(*k));
	k->key = sm_str_n(copy, key.n);
	k->session = session;
	sm_hash_insert(&c->sessions, &k->node, sm_hash_str(k->key));
	sm_list_push(&c->oldest, &k->link);
	return 1;
}

void sm_tls_client_rules(struct sm_tls_ctx *c)
{
	/* Whether the server is the right one is asked after the handshake. */
	SSL_CTX_set_verify(c->ssl, SSL_VERIFY_NONE, NULL);
	SSL_CTX_set_session_cache_mode(c->ssl, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(c->ssl, keep);
}

void sm_tls_sessions_init(struct sm_tls_ctx *c)
{
	sm_hash_init(&c->sessions);
	sm_list_init(&c->oldest);
}

void sm_tls_sessions_fini(struct sm_tls_ctx *c)
{
	struct kept *k;

	while ((k = SM_LIST_FIRST(&c->oldest, struct kept, link)) != NULL)
		forget(c, k);
	sm_hash_fini(&c->sessions);
}

static void put_part(struct sm_buf *b, struct sm_str s)
{
	sm_buf_printf(b, "%zu:", s.n);
	sm_buf_str(b, s);
}

static void resume(struct sm_tls *t, const struct sm_tls_peer *peer)
{
	struct sm_buf b;
	struct kept *k;

	if (sm_str_empty(peer->cache_key))
		return;
	sm_buf_init(&b, KEY_MAX);
	put_part(&b, peer->cache_key);
	put_part(&b, peer->sni);
	sm_buf_printf(&b, "%d %d ", peer->verify, peer->min_version);
	for (size_t i = 0; i < peer->names.count; i++)
		put_part(&b, peer->names.v[i]);
	if (sm_buf_err(&b) == 0) {
		t->cache_key = sm_malloc(b.len);
		t->cache_key_n = b.len;
		memcpy(t->cache_key, sm_buf_p(&b), b.len);
	}
	sm_buf_fini(&b);
	if (t->cache_key == NULL ||
	    (k = find(t->ctx, sm_str_n(t->cache_key, t->cache_key_n))) == NULL)
		return;
	if (SSL_SESSION_is_resumable(k->session) == 1)
		(void)SSL_set_session(t->ssl, k->session);
	if (SSL_SESSION_get_protocol_version(k->session) >= TLS1_3_VERSION)
		forget(t->ctx, k);
}

/* ---- the peer ---- */

static bool fits(X509 *x, struct sm_str name)
{
	char text[SNI_MAX + 1];
	struct sm_sa sa;

	if (sm_str_empty(name) || sm_str_copy(name, text, sizeof(text)) != 0)
		return false;
	if (sm_sa_ip(&sa, name, 0) == 0)
		return X509_check_ip_asc(x, text, 0) == 1;
	return X509_check_host(x, name.p, name.n, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
}

static void check_names(struct sm_tls *t, const struct sm_tls_peer *peer)
{
	X509 *x = SSL_get0_peer_certificate(t->ssl);
	const struct sm_str *v = peer->names.count > 0 ? peer->names.v : &peer->sni;
	size_t n = peer->names.count > 0 ? peer->names.count : 1;

	for (size_t i = 0; x != NULL && i < n && !t->name_ok; i++) {
		t->name_ok = fits(x, v[i]);
		if (t->name_ok)
			sm_str_cut(v[i], t->name, sizeof(t->name));
	}
	ERR_clear_error();
}

static int say_whom(struct sm_tls *t, const struct sm_tls_peer *peer)
{
	char name[SNI_MAX + 1];
	struct sm_sa sa;

	SSL_set_connect_state(t->ssl);
	if (peer->min_version > t->ctx->min_version &&
	    SSL_set_min_proto_version(t->ssl, sm_tls_version_number(peer->min_version)) != 1)
		return sm_tls_fail("TLS handshake: min_version");
	/* An address is no name (RFC 6066 3). */
	if (!sm_str_empty(peer->sni) && sm_sa_ip(&sa, peer->sni, 0) != 0 &&
	    (sm_str_copy(peer->sni, name, sizeof(name)) != 0 ||
	     SSL_set_tlsext_host_name(t->ssl, name) != 1))
		return sm_tls_fail("TLS handshake: name of the server");
	return 0;
}

int sm_tls_connect(struct sm_net *n, struct sm_tls_ctx *ctx, const struct sm_tls_peer *peer,
                   int64_t deadline_ms)
{
	struct sm_tls *t = sm_tls_put(n, ctx);
	struct sm_tls_facts facts;
	struct sm_arena a;
	int rc = say_whom(t, peer);

	if (rc != 0) {
		t->dead = rc;
		return rc;
	}
	resume(t, peer);
	if ((rc = sm_tls_handshake(t, "TLS handshake", deadline_ms)) != 0)
		return rc;
	check_names(t, peer);
	if (!peer->verify)
		return 0;
	sm_arena_init(&a, "tls", 4096, 16384);
	sm_tls_facts(n, &a, &facts);
	if (facts.verify != SM_TLS_OK)
		rc = t->dead = sm_fail(SM_E_TLS, "server is not who it should be: %s",
		                       facts.verify == SM_TLS_NO_CERT ? "it has no certificate"
		                                                      : facts.verify_text);
	sm_arena_fini(&a);
	return rc;
}

#endif
