/*
 * TLS for the load generator: STARTTLS, a new handshake for each connection, or one that resumes
 * the session before in the same place. Whom it talks to is not checked. One thread.
 */
#include "config.h"
#include "checks/bench/load_int.h"

#include <errno.h>

#ifdef SM_HAVE_TLS
#include "checks/bench/tls_io.h"

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

int tls_handshake(struct session *s)
{
	int rc = tls_io_handshake(s->ssl, &s->tls_wants_write);

	if (rc != 1)
		return rc;
	fig->handshakes++;
	fig->resumed += SSL_session_reused(s->ssl) == 1;
	return 1;
}

ssize_t tls_read(struct session *s, void *p, size_t size)
{
	return tls_io_read(s->ssl, &s->tls_wants_write, p, size);
}

ssize_t tls_write(struct session *s, const void *p, size_t size)
{
	return tls_io_write(s->ssl, &s->tls_wants_write, p, size);
}

void tls_end(struct session *s)
{
	tls_io_end(s->ssl);
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
