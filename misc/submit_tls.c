/*
 * STARTTLS for the client's side of SMTP in programs of this host (submit.h). submit.c reads and
 * writes streams and waits for them; TLS is of libsm's nets, which are waited for in coroutines. So
 * each read and write of the streams that are given to it here is a coroutine, and the loop runs
 * until it is over. Invariant: no byte that came in clear is taken for one of TLS. One thread; the
 * loop is nobody else's.
 */
#include "misc/submit.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "libsm/co.h"
#include "libsm/err.h"
#include "libsm/loop.h"
#include "libsm/tls.h"

#define WAIT_MS 600000

/* A connection, with two streams. */
struct tls {
	struct sm_net net;
	unsigned streams;
};

struct job {
	struct tls *t;
	struct sm_tls_ctx *ctx;
	const struct sm_tls_peer *peer; /* not NULL: the handshake */
	char *to;                       /* not NULL: read */
	const char *from;
	size_t n;
	ssize_t done;
};

static void work(void *arg)
{
	struct job *j = arg;
	int64_t deadline = sm_now_ms() + WAIT_MS;

	if (j->peer != NULL)
		j->done = sm_tls_connect(&j->t->net, j->ctx, j->peer, deadline);
	else if (j->to != NULL)
		j->done = sm_net_read(&j->t->net, j->to, j->n, deadline);
	else
		j->done = sm_net_write(&j->t->net, j->from, j->n, deadline);
	sm_loop_stop(0);
}

static ssize_t run(struct job *j)
{
	if (sm_co_spawn("tls", work, j) == NULL)
		return SM_E_SYS;
	(void)sm_loop_run();
	return j->done;
}

/* ---- the streams ---- */

static ssize_t on_read(void *cookie, char *p, size_t n)
{
	struct job j = {.t = cookie, .to = p, .n = n};
	ssize_t got = run(&j);

	if (got == SM_E_EOF)
		return 0;
	errno = got == SM_E_TIMEOUT ? EAGAIN : EIO;
	return got < 0 ? -1 : got;
}

static ssize_t on_write(void *cookie, const char *p, size_t n)
{
	struct job j = {.t = cookie, .from = p, .n = n};

	if (run(&j) == 0)
		return (ssize_t)n;
	errno = EPIPE;
	return 0;
}

static int on_close(void *cookie)
{
	struct tls *t = cookie;

	if (--t->streams > 0)
		return 0;
	sm_net_close(&t->net);
	sm_free(t);
	return 0;
}

/* ---- what submit.h has ---- */

static struct tls *handshake(int fd, struct sm_tls_ctx *ctx, const char *name, bool verify)
{
	const struct sm_tls_peer peer = {.sni = sm_str(name), .verify = verify};
	struct tls *t = sm_calloc(1, sizeof(*t));
	struct job j = {.t = t, .ctx = ctx, .peer = &peer};
	int own = dup(fd);

	if (own == -1) {
		(void)sm_fail_sys(errno, "dup");
		sm_free(t);
		return NULL;
	}
	if (sm_net_open(&t->net, own) == 0) {
		if (run(&j) == 0)
			return t;
		sm_net_close(&t->net);
	}
	sm_free(t);
	return NULL;
}

int sb_starttls(struct sb *s, struct sm_tls_ctx *ctx, const char *name, bool verify)
{
	static const cookie_io_functions_t reads = {.read = on_read, .close = on_close},
					   writes = {.write = on_write, .close = on_close};
	struct tls *t;
	FILE *in, *out;
	int rc = sb_command(s, "STARTTLS", 220);

	if (rc != 0)
		return rc;
	t = handshake(sb_fd(s), ctx, name, verify);
	if (t == NULL) {
		sb_give_up(s);
		return sm_fail(SM_E_TLS, "STARTTLS: %s", sm_diag());
	}
	t->streams = 2;
	in = fopencookie(t, "r", reads);
	out = fopencookie(t, "w", writes);
	sm_assert(in != NULL && out != NULL);
	return sb_begin_again(s, in, out);
}
