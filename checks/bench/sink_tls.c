/*
 * TLS for the sink: what it needs after STARTTLS (RFC 3207), with one certificate; clients are not
 * asked for theirs. TLS 1.3 and nothing before it, so that all who are measured do the same. One
 * thread.
 *
 * Invariant: between tls_begin and the end of the handshake nothing but tls_handshake touches the
 * connection's bytes.
 */
#include "config.h"
#include "checks/bench/sink.h"

#include <errno.h>

#ifdef SM_HAVE_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *ctx;

void tls_init(const char *cert, const char *key)
{
	if (!cert && !key)
		return;
	if (!cert || !key)
		die_text("-c and -k go together");
	ctx = SSL_CTX_new(TLS_server_method());
	if (!ctx || SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1 ||
	    SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1 ||
	    SSL_CTX_check_private_key(ctx) != 1)
		die_text("%s, %s: no certificate and key that belong together", cert, key);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
	                          SSL_MODE_RELEASE_BUFFERS);
}

bool tls_offered(void)
{
	return ctx != NULL;
}

void tls_begin(struct conn *c)
{
	c->ssl = SSL_new(ctx);
	if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1)
		die_text("OpenSSL");
	SSL_set_accept_state(c->ssl);
	c->shaking = true;
}

/* As recv(2) and send(2) tell it. */
static ssize_t result(struct conn *c, int ret, size_t n)
{
	if (ret == 1)
		return (ssize_t)n;
	switch (SSL_get_error(c->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		c->wants_write = false;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_WANT_WRITE:
		c->wants_write = true;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_ZERO_RETURN:
		return 0;
	default:
		ERR_clear_error();
		errno = EPROTO;
		return -1;
	}
}

int tls_handshake(struct conn *c)
{
	int ret;

	ERR_clear_error();
	ret = SSL_do_handshake(c->ssl);
	if (ret == 1) {
		c->shaking = c->wants_write = false;
		count.handshakes++;
		count.resumed += SSL_session_reused(c->ssl) == 1;
		return 1;
	}
	(void)result(c, ret, 0);
	return errno == EAGAIN ? 0 : -1;
}

ssize_t tls_read(struct conn *c, void *p, size_t size)
{
	size_t n = 0;
	int ret;

	ERR_clear_error();
	ret = SSL_read_ex(c->ssl, p, size, &n);
	return result(c, ret, n);
}

ssize_t tls_write(struct conn *c, const void *p, size_t size)
{
	size_t n = 0;
	int ret;

	ERR_clear_error();
	ret = SSL_write_ex(c->ssl, p, size, &n);
	return result(c, ret, n);
}

void tls_end(struct conn *c)
{
	if (!c->ssl)
		return;
	ERR_clear_error();
	if (!c->shaking)
		(void)SSL_shutdown(c->ssl);
	ERR_clear_error();
	SSL_free(c->ssl);
	c->ssl = NULL;
}

#else

void tls_init(const char *cert, const char *key)
{
	if (cert || key)
		die_text("this build has no TLS");
}
bool tls_offered(void)
{
	return false;
}
void tls_begin(struct conn *c)
{
	(void)c;
}
int tls_handshake(struct conn *c)
{
	(void)c;
	return -1;
}
ssize_t tls_read(struct conn *c, void *p, size_t size)
{
	(void)c;
	(void)p;
	(void)size;
	errno = EPROTO;
	return -1;
}
ssize_t tls_write(struct conn *c, const void *p, size_t size)
{
	(void)c;
	(void)p;
	(void)size;
	errno = EPROTO;
	return -1;
}
void tls_end(struct conn *c)
{
	(void)c;
}
#endif
