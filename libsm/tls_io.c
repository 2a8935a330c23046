/*
 * TLS as a layer of struct sm_net: handshake, reading, writing, the end.
 *
 * Invariants: OpenSSL never waits, it says what it waits for and the coroutine parks; its queue of
 * errors is empty before and after each call; after a close_notify, an error or an abuse not a byte
 * is read or written any more, in clear least of all; KeyUpdates and renegotiation by the peer are
 * bounded by what it has sent us. Thread: the loop's.
 */
#include "libsm/tls_int.h"

#ifdef SM_HAVE_TLS
#include <errno.h>
#include <malloc.h>
#include <openssl/err.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "libsm/co.h"
#include "libsm/err.h"

enum {
	RECORD = 16384, /* most bytes of a record (RFC 8446 5.1) */
	/* KeyUpdates: so many, and one for each so many bytes. RFC 8446 5.5 wants one for some
	 * gigabytes. */
	UPDATES = 32,
	UPDATE_BYTES_SHIFT = 20,
	TRIM_EACH = 256, /* handshakes */
};

static BIO_METHOD *socket_method;

/* ---- the socket, for OpenSSL ---- */

static int bio_read(BIO *b, char *p, int size)
{
	struct sm_tls *t = BIO_get_data(b);
	struct sm_fd *f = &t->net->f;

	BIO_clear_retry_flags(b);
	if (t->abuse != NULL)
		return -1;
	while (f->ready & SM_RD) {
		ssize_t got = recv(f->fd, p, (size_t)size, 0);
		if (got > 0) {
			if (got < size)
				sm_fd_drained(f, SM_RD);
			return (int)got;
		}
		if (got == 0) {
			t->eof = true;
			return 0;
		}
		if (errno == EAGAIN) {
			f->hup = false;
			sm_fd_drained(f, SM_RD);
		} else if (errno != EINTR) {
			t->sys_errno = errno;
			return -1;
		}
	}
	BIO_set_retry_read(b);
	return -1;
}

static int bio_write(BIO *b, const char *p, int size)
{
	struct sm_tls *t = BIO_get_data(b);
	struct sm_fd *f = &t->net->f;

	BIO_clear_retry_flags(b);
	while (f->ready & SM_WR) {
		ssize_t put = send(f->fd, p, (size_t)size, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (put >= 0)
			return (int)put;
		if (errno == EAGAIN) {
			sm_fd_drained(f, SM_WR);
		} else if (errno != EINTR) {
			t->sys_errno = errno;
			return -1;
		}
	}
	BIO_set_retry_write(b);
	return -1;
}

static long bio_ctrl(BIO *b, int cmd, long n, void *arg)
{
	const struct sm_tls *t = BIO_get_data(b);

	(void)n;
	(void)arg;
	switch (cmd) {
	case BIO_CTRL_FLUSH:
		return 1;
	case BIO_CTRL_EOF:
		return t->eof;
	default:
		return 0;
	}
}

static BIO *bio_new(struct sm_tls *t)
{
	BIO *b;

	if (socket_method == NULL) {
		socket_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sm_net");
		sm_assert(socket_method != NULL);
		(void)BIO_meth_set_read(socket_method, bio_read);
		(void)BIO_meth_set_write(socket_method, bio_write);
		(void)BIO_meth_set_ctrl(socket_method, bio_ctrl);
	}
	b = BIO_new(socket_method);
	sm_assert(b != NULL);
	BIO_set_data(b, t);
	BIO_set_init(b, 1);
	return b;
}

/* ---- what went wrong ---- */

/* OpenSSL has given up: why, once and for all. */
static int failed(struct sm_tls *t, const char *doing)
{
	unsigned long e = ERR_peek_error();
	bool cut = t->eof && (e == 0 || ERR_GET_REASON(e) == SSL_R_UNEXPECTED_EOF_WHILE_READING);
	int rc;

	if (t->abuse != NULL)
		rc = sm_fail(SM_E_TLS, "%s: %s", doing, t->abuse);
	else if (t->sys_errno != 0 && t->up)
		/* Not SM_E_EOF: that is an end that the peer has said. */
		rc = sm_fail(SM_E_TLS, "%s: %s", doing, strerror(t->sys_errno));
	else if (t->sys_errno != 0)
		rc = sm_fail_sys(t->sys_errno, "%s", doing);
	else if (cut && !t->up)
		rc = sm_fail(SM_E_EOF, "%s: connection closed by peer", doing);
	else if (cut)
		rc = sm_fail(SM_E_TLS, "%s: connection closed without close_notify", doing);
	else
		rc = sm_tls_fail("%s", doing);
	ERR_clear_error();
	t->dead = rc;
	return rc;
}

static int is_dead(const struct sm_tls *t)
{
	return t->dead == SM_E_EOF ? sm_fail(SM_E_EOF, "TLS was closed by peer")
	                           : sm_fail(SM_E_TLS, "TLS has ended");
}

/* An operation gave `ret`: park for what it waits for, or say why it failed. */
static int wait_for(struct sm_tls *t, int ret, const char *doing, int64_t deadline_ms)
{
	int rc;

	switch (SSL_get_error(t->ssl, ret)) {
	case SSL_ERROR_WANT_READ:
		rc = sm_fd_wait(&t->net->f, SM_RD, doing, deadline_ms);
		break;
	case SSL_ERROR_WANT_WRITE:
		rc = sm_fd_wait(&t->net->f, SM_WR, doing, deadline_ms);
		break;
	case SSL_ERROR_ZERO_RETURN:
		t->dead = SM_E_EOF;
		rc = sm_fail(SM_E_EOF, "%s: TLS was closed by peer", doing);
		break;
	default:
		return failed(t, doing);
	}
	if (rc == SM_E_TIMEOUT)
		return sm_fail(SM_E_TIMEOUT, "%s: no progress in time", doing);
	return rc;
}

/* ---- what a peer must not do ---- */

/* Messages of the handshake protocol behind the handshake. */
static void on_message(int write_p, int version, int type, const void *buf, size_t n, SSL *ssl,
                       void *arg)
{
	struct sm_tls *t = arg;
	unsigned char kind;

	(void)version;
	(void)ssl;
	if (write_p || type != SSL3_RT_HANDSHAKE || n == 0)
		return;
	kind = *(const unsigned char *)buf;
	if (kind == SSL3_MT_KEY_UPDATE) {
		if (++t->updates > UPDATES + (t->net->in_bytes >> UPDATE_BYTES_SHIFT))
			t->abuse = "too many key updates";
	} else if (t->ctx->server || kind != SSL3_MT_NEWSESSION_TICKET) {
		t->abuse = "renegotiation is not allowed";
	} else if (++t->updates > UPDATES) {
		t->abuse = "too many tickets";
	}
}

/* ---- the layer ---- */

static ssize_t tls_read(struct sm_net *n, void *p, size_t size, int64_t deadline_ms)
{
	struct sm_tls *t = n->tls;
	size_t got, all = 0;
	int ret, rc;

	for (;;) {
		if (t->dead != 0)
			return is_dead(t);
		if (sm_co_cancelled())
			return sm_fail(SM_E_CANCEL, "read: cancelled");
		ERR_clear_error();
		/* Small records are gathered: what is here already costs no wait. */
		while ((ret = SSL_read_ex(t->ssl, (char *)p + all, size - all, &got)) == 1) {
			all += got;
			if (t->abuse != NULL || all == size || SSL_has_pending(t->ssl) == 0)
				break;
		}
		if (t->abuse != NULL)
			return failed(t, "read");
		n->in_bytes += all;
		if (all == 0) {
			rc = wait_for(t, ret, "read", deadline_ms);
			if (rc != 0)
				return rc;
			continue;
		}
		/* What ends it comes behind what was read. */
		if (ret != 1) {
			int why = SSL_get_error(t->ssl, ret);
			if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
				(void)wait_for(t, ret, "read", deadline_ms);
		}
		return (ssize_t)all;
	}
}

/* All of it. The memory must stay as it is across waits: OpenSSL takes a record at a time. */
static int write_all(struct sm_tls *t, const char *p, size_t size, int64_t deadline_ms)
{
	while (size > 0) {
		size_t put;
		int ret, rc;

		if (t->dead != 0)
			return is_dead(t);
		if (sm_co_cancelled())
			return sm_fail(SM_E_CANCEL, "write: cancelled");
		ERR_clear_error();
		ret = SSL_write_ex(t->ssl, p, size, &put);
		if (ret == 1) {
			t->net->out_bytes += put;
			p += put;
			size -= put;
			if (size > 0)
				sm_co_fair();
		} else if ((rc = wait_for(t, ret, "write", deadline_ms)) != 0) {
			/* A record was begun: there is no other way to go on but this. */
			if (t->dead == 0)
				t->dead = rc;
			return rc;
		}
	}
	return 0;
}

static int tls_writev(struct sm_net *n, struct iovec *v, int count, int64_t deadline_ms)
{
	size_t size = 0, at = 0;
	char *all;
	int rc;

	for (int i = 0; i < count; i++)
		size += v[i].iov_len;
	if (count == 1)
		return write_all(n->tls, v->iov_base, size, deadline_ms);
	/* A record for each piece would cost more than the copy. */
	all = sm_malloc(RECORD);
	for (rc = 0; rc == 0 && count > 0; v++, count--) {
		const char *p = v->iov_base;
		size_t left = v->iov_len;
		while (rc == 0 && left > 0) {
			size_t step = SM_MIN(left, (size_t)RECORD - at);
			memcpy(all + at, p, step);
			p += step;
			left -= step;
			at += step;
			if (at == RECORD) {
				rc = write_all(n->tls, all, at, deadline_ms);
				at = 0;
			}
		}
	}
	if (rc == 0 && at > 0)
		rc = write_all(n->tls, all, at, deadline_ms);
	sm_free(all);
	return rc;
}

static void tls_try_write(struct sm_net *n, const void *p, size_t size)
{
	struct sm_tls *t = n->tls;
	size_t put;

	if (t->dead != 0 || !t->up || size == 0)
		return;
	ERR_clear_error();
	if (SSL_write_ex(t->ssl, p, size, &put) != 1 || put < size)
		t->dead = SM_E_TLS;
	else
		n->out_bytes += put;
	ERR_clear_error();
}

static bool tls_pending(struct sm_net *n)
{
	struct sm_tls *t = n->tls;
	char c;
	size_t got;
	int ret, why;

	if (t->dead != 0)
		return true;
	ERR_clear_error();
	ret = SSL_peek_ex(t->ssl, &c, 1, &got);
	why = SSL_get_error(t->ssl, ret);
	ERR_clear_error();
	return t->abuse != NULL || (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE);
}

static void say_bye(struct sm_tls *t)
{
	if (t->up && !t->said_bye && (t->dead == 0 || t->dead == SM_E_EOF)) {
		ERR_clear_error();
		(void)SSL_shutdown(t->ssl);
		ERR_clear_error();
	}
	t->said_bye = true;
}

static void tls_end_write(struct sm_net *n)
{
	say_bye(n->tls);
}

static void tls_end(struct sm_net *n)
{
	struct sm_tls *t = n->tls;

	say_bye(t);
	n->layer = NULL;
	n->tls = NULL;
	SSL_free(t->ssl);
	ERR_clear_error();
	sm_tls_ctx_unref(&t->ctx);
	sm_free(t->cache_key);
	sm_free(t);
}

static const struct sm_net_layer tls_layer = {
    .read = tls_read,
    .writev = tls_writev,
    .try_write = tls_try_write,
    .pending = tls_pending,
    .end_write = tls_end_write,
    .end = tls_end,
};

/* ---- begin ---- */

struct sm_tls *sm_tls_put(struct sm_net *n, struct sm_tls_ctx *ctx)
{
	struct sm_tls *t = sm_calloc(1, sizeof(*t));
	BIO *b;

	sm_assert(n->layer == NULL);
	t->net = n;
	t->ctx = sm_tls_ctx_ref(ctx);
	t->ssl = SSL_new(ctx->ssl);
	sm_assert(t->ssl != NULL);
	SSL_set_app_data(t->ssl, t);
	b = bio_new(t);
	SSL_set_bio(t->ssl, b, b);
	n->tls = t;
	n->layer = &tls_layer;
	return t;
}

/* A handshake takes tens of kilobytes for a moment, from a heap in which what stays has come to lie
 * between: after many at once that would be most of the memory of idle sessions. */
static void give_back(void)
{
#ifdef __GLIBC__
	static unsigned handshakes;

	if (++handshakes % TRIM_EACH == 0)
		(void)malloc_trim(0);
#endif
}

int sm_tls_handshake(struct sm_tls *t, const char *doing, int64_t deadline_ms)
{
	int ret, rc;

	for (;;) {
		ERR_clear_error();
		ret = SSL_do_handshake(t->ssl);
		if (ret == 1)
			break;
		rc = wait_for(t, ret, doing, deadline_ms);
		if (rc == 0 && sm_loop_now_ms() >= deadline_ms)
			rc = sm_fail(SM_E_TIMEOUT, "%s: took too long", doing);
		if (rc != 0) {
			t->dead = rc;
			return rc;
		}
	}
	ERR_clear_error();
	give_back();
	t->up = true;
	SSL_set_msg_callback(t->ssl, on_message);
	SSL_set_msg_callback_arg(t->ssl, t);
	return 0;
}

int sm_tls_accept(struct sm_net *n, struct sm_tls_ctx *ctx, int64_t deadline_ms)
{
	struct sm_tls *t = sm_tls_put(n, ctx);

	SSL_set_accept_state(t->ssl);
	return sm_tls_handshake(t, "TLS handshake", deadline_ms);
}

#endif
