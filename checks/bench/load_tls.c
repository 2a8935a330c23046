/*
 * TLS for the load generator: STARTTLS, a new handshake for each connection, or one that resumes
 * the session before in the same place. Whom it talks to is not checked. One thread.
 */
#include "config.h"
#include "checks/bench/load_int.h"

#include <errno.h>

#ifdef SM_HAVE_TLS
#include <openssl/err.h>
#include <openssl/ssl.h>

static SSL_CTX *ctx;

/* TLS 1.3 sends tickets when it likes: the newest one counts. */
static int keep(SSL *ssl, SSL_SESSION *session)
{
	struct session *s = SSL_get_app_data(ssl);

	SSL_SESSION_free(s->resume);
	s->resume = session;
	return 1;
}

void tls_init(void)
{
	ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx)
		die_text("OpenSSL");
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
	                          SSL_MODE_RELEASE_BUFFERS);
	if (opt->resume) {
		SSL_CTX_set_session_cache_mode(ctx,
		                               SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(ctx, keep);
	}
}

void tls_fini(void)
{
	SSL_CTX_free(ctx);
}

void tls_begin(struct session *s)
{
	s->ssl = SSL_new(ctx);
	if (!s->ssl || SSL_set_fd(s->ssl, s->fd) != 1)
		die_text("OpenSSL");
	SSL_set_app_data(s->ssl, s);
	if (s->resume) {
		(void)SSL_set_session(s->ssl, s->resume);
		SSL_SESSION_free(s->resume); /* a ticket is good for once */
		s->resume = NULL;
	}
	SSL_set_connect_state(s->ssl);
}

/* As read(2) tells it. */
static ssize_t result(struct session *s, int ret, size_t n)
{
	if (ret == 1)
		return (ssize_t)n;
	switch (SSL_get_error(s->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		s->tls_wants_write = false;
		errno = EAGAIN;
		return -1;
	case SSL_ERROR_WANT_WRITE:
		s->tls_wants_write = true;
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

int tls_handshake(struct session *s)
{
	int ret;

	ERR_clear_error();
	ret = SSL_do_handshake(s->ssl);
	if (ret == 1) {
		fig->handshakes++;
		fig->resumed += SSL_session_reused(s->ssl) == 1;
		return 1;
	}
	(void)result(s, ret, 0);
	return errno == EAGAIN ? 0 : -1;
}

ssize_t tls_read(struct session *s, void *p, size_t size)
{
	size_t n = 0;
	int ret;

	ERR_clear_error();
	ret = SSL_read_ex(s->ssl, p, size, &n);
	return result(s, ret, n);
}

ssize_t tls_write(struct session *s, const void *p, size_t size)
{
	size_t n = 0;
	int ret;

	ERR_clear_error();
	ret = SSL_write_ex(s->ssl, p, size, &n);
	return result(s, ret, n);
}

void tls_end(struct session *s)
{
	if (!s->ssl)
		return;
	ERR_clear_error();
	(void)SSL_shutdown(s->ssl);
	ERR_clear_error();
	SSL_free(s->ssl);
	s->ssl = NULL;
}

void tls_forget(struct session *s)
{
	SSL_SESSION_free(s->resume);
	s->resume = NULL;
}

#else

void tls_init(void)
{
	if (opt->starttls)
		die_text("this build has no TLS");
}
void tls_fini(void)
{
}
void tls_begin(struct session *s)
{
	(void)s;
}
int tls_handshake(struct session *s)
{
	(void)s;
	return -1;
}
ssize_t tls_read(struct session *s, void *p, size_t size)
{
	(void)s;
	(void)p;
	(void)size;
	errno = EPROTO;
	return -1;
}
ssize_t tls_write(struct session *s, const void *p, size_t size)
{
	(void)s;
	(void)p;
	(void)size;
	errno = EPROTO;
	return -1;
}
void tls_end(struct session *s)
{
	(void)s;
}
void tls_forget(struct session *s)
{
	(void)s;
}
#endif
