/*
 * The two ends, and waiting for them. Invariant: nothing blocks but in ppoll, where signals are let
 * in and each wait has an end; a pipe gets no more at a time than it takes for sure, so that it
 * need not be made non-blocking for those who share it. One thread.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/time.h"
#include "misc/smxfeed.h"

enum { READ_BYTES = 64 * 1024 };

static volatile sig_atomic_t told_to_end;
static sigset_t while_waiting;

static void on_signal(int signo)
{
	(void)signo;
	told_to_end = 1;
}

void sf_signals(void)
{
	static const int ends[] = {SIGTERM, SIGINT, SIGHUP};
	const struct sigaction end = {.sa_handler = on_signal}, none = {.sa_handler = SIG_IGN};
	sigset_t blocked;

	(void)sigaction(SIGPIPE, &none, NULL);
	(void)sigprocmask(SIG_BLOCK, NULL, &while_waiting);
	blocked = while_waiting;
	for (size_t i = 0; i < SM_ARRAY_SIZE(ends); i++) {
		(void)sigaction(ends[i], &end, NULL);
		(void)sigaddset(&blocked, ends[i]);
		(void)sigdelset(&while_waiting, ends[i]);
	}
	(void)sigprocmask(SIG_BLOCK, &blocked, NULL);
}

void sf_log(const struct sf *f, int priority, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (f->opts.to_stderr)
		(void)fprintf(stderr, "smxfeed: %s\n", text);
	else
		syslog(priority, "%s", text);
}

/* `events` of `fd`, while the client is there to hear of it. */
static int wait_for(struct sf *f, int fd, short events, int64_t deadline_ms)
{
	/* Of a pipe that nobody reads any more only POLLERR tells. */
	struct pollfd p[] = {{.fd = fd, .events = events},
	                     {.fd = fd == f->server.in ? f->client.out : -1}};

	for (;;) {
		int64_t left_ms = deadline_ms - sm_now_ms();
		struct timespec ts = {.tv_sec = left_ms / 1000,
		                      .tv_nsec = left_ms % 1000 * 1000000};
		int n;

		if (told_to_end) {
			told_to_end = 0; /* so that a last word can be said */
			return sm_fail(SM_E_CANCEL, "told to end");
		}
		if (left_ms <= 0)
			return sm_fail(SM_E_TIMEOUT, "nothing happened in time");
		n = ppoll(p, SM_ARRAY_SIZE(p), &ts, &while_waiting);
		if (n == -1 && errno != EINTR)
			return sm_fail_sys(errno, "poll");
		if (n <= 0)
			continue;
		if (p[1].revents != 0)
			return sm_fail(SM_E_PEER, "the caller has gone");
		if (p[0].revents != 0)
			return 0;
	}
}

int sf_fill(struct sf *f, struct sf_end *e, int64_t deadline_ms)
{
	int rc =
	    e->in == -1 ? sm_fail(SM_E_EOF, "closed") : wait_for(f, e->in, POLLIN, deadline_ms);
	char *room;
	ssize_t n;

	if (rc != 0)
		return rc;
	room = sm_buf_reserve(&e->rd, READ_BYTES);
	if (room == NULL)
		return sm_fail(SM_E_TOOBIG, "%s: too much at once", e->who);
	do {
		n = read(e->in, room, READ_BYTES);
	} while (n == -1 && errno == EINTR);
	if (n == -1)
		return sm_fail_sys(errno, "%s", e->who);
	if (n == 0)
		return sm_fail(SM_E_EOF, "%s has closed", e->who);
	sm_buf_commit(&e->rd, (size_t)n);
	return 0;
}

int sf_flush(struct sf *f, struct sf_end *e, int64_t deadline_ms)
{
	while (e->wr.len > 0) {
		int rc = e->out == -1 ? sm_fail(SM_E_EOF, "closed")
		                      : wait_for(f, e->out, POLLOUT, deadline_ms);
		ssize_t n;

		if (rc != 0)
			return rc;
		n = write(e->out, sm_buf_p(&e->wr), SM_MIN(e->wr.len, (size_t)PIPE_BUF));
		if (n == -1 && errno != EINTR && errno != EAGAIN)
			return sm_fail_sys(errno, "%s", e->who);
		if (n > 0)
			sm_buf_consume(&e->wr, (size_t)n);
	}
	return 0;
}

/* What is behind the end of a line that is too long is not lost. */
static int skip_line(struct sf *f, struct sf_end *e, int64_t deadline_ms)
{
	for (;;) {
		const char *nl = memchr(sm_buf_p(&e->rd), '\n', e->rd.len);
		int rc;

		if (nl != NULL) {
			sm_buf_consume(&e->rd, (size_t)(nl - sm_buf_p(&e->rd)) + 1);
			return sm_fail(SM_E_TOOBIG, "line too long");
		}
		sm_buf_consume(&e->rd, e->rd.len);
		rc = sf_fill(f, e, deadline_ms);
		if (rc != 0)
			return rc;
	}
}

int sf_line(struct sf *f, struct sf_end *e, struct sm_str *line, bool *lf, int64_t deadline_ms)
{
	size_t seen = 0;

	for (;;) {
		struct sm_str all = sm_buf_view(&e->rd);
		const char *nl = all.n > seen ? memchr(all.p + seen, '\n', all.n - seen) : NULL;
		int rc;

		if (nl != NULL) {
			size_t n = (size_t)(nl - all.p);

			/* It stays where it is until something is read again. */
			sm_buf_consume(&e->rd, n + 1);
			*lf = n == 0 || all.p[n - 1] != '\r';
			*line = sm_str_n(all.p, *lf ? n : n - 1);
			return n > SF_LINE_MAX + 1 ? sm_fail(SM_E_TOOBIG, "line too long") : 0;
		}
		seen = all.n;
		if (seen > SF_LINE_MAX + 1)
			return skip_line(f, e, deadline_ms);
		rc = sf_fill(f, e, deadline_ms);
		if (rc != 0)
			return rc;
	}
}
