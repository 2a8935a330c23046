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
#include "checks/bench/tls_io.h"

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

int tls_handshake(struct conn *c)
{
	int rc = tls_io_handshake(c->ssl, &c->wants_write);

	if (rc != 1)
		return rc;
	c->shaking = false;
	count.handshakes++;
	count.resumed += SSL_session_reused(c->ssl) == 1;
	return 1;
}

ssize_t tls_read(struct conn *c, void *p, size_t size)
{
	return tls_io_read(c->ssl, &c->wants_write, p, size);
}

ssize_t tls_write(struct conn *c, const void *p, size_t size)
{
	return tls_io_write(c->ssl, &c->wants_write, p, size);
}

void tls_end(struct conn *c)
{
	tls_io_end(c->ssl);
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
