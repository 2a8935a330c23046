/*
 * Sessions of the load generator: their connections and times, on one epoll loop. What they say is
 * in load_smtp.c. One thread.
 *
 * Invariant: whatever ends a connection goes through lost(), which says what became of its message.
 */
#include "config.h"
#include "checks/bench/load_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

const struct load_options *opt;
struct load_figures *fig;
enum { OPENING_MAX = 500 };

static int ep;
static long live;
static struct session *sessions;
static volatile sig_atomic_t stopped;

void load_stop(void)
{
	stopped = 1;
}

static void interest(struct session *s, bool writable)
{
	struct epoll_event ev = {.events = EPOLLIN | (writable ? EPOLLOUT : 0u), .data.ptr = s};

	if (writable == s->writable_wanted)
		return;
	s->writable_wanted = writable;
	epoll_ctl(ep, EPOLL_CTL_MOD, s->fd, &ev);
}

static void forget_connection(struct session *s)
{
	tls_end(s);
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->connection++;
	s->in_len = s->out_at = s->out_len = 0;
	s->writable_wanted = false;
}

bool enough(void)
{
	if (opt->keep_going)
		return fig->acked >= opt->messages;
	return load_begun() >= opt->messages;
}

static void end_session(struct session *s)
{
	forget_connection(s);
	if (s->state != ST_END)
		live--;
	s->state = ST_END;
}

static void start_connect(struct session *s);

void lost(struct session *s, const char *why)
{
	bool failed = s->state != ST_QUIT && s->state != ST_END;

	if (s->sent) {
		ledger("UNKNOWN", s->n, why);
		fig->unknown++;
	} else if (s->n >= 0) {
		ledger("REFUSED", s->n, why);
		fig->refused++;
	}
	s->sent = false;
	s->n = -1;
	forget_connection(s);
	if (enough() || (opt->idle_seconds && failed)) {
		if (failed)
			fig->drops++;
		end_session(s);
		return;
	}
	if (failed) {
		fig->drops++;
		s->backoff_ms = s->backoff_ms ? s->backoff_ms * 2 : 10;
		if (s->backoff_ms > 500)
			s->backoff_ms = 500;
	} else if (!opt->pause_ms) {
		start_connect(s);
		return;
	}
	s->state = ST_WAIT;
	s->wake = now() + (double)(failed ? s->backoff_ms : opt->pause_ms) / 1e3;
}

void flush(struct session *s)
{
	while (s->out_at < s->out_len) {
		ssize_t n;

		/* The reply may be there before the write that has the final dot returns. */
		if (s->state == ST_DOT)
			s->dot_at = now();
		n = s->ssl ? tls_write(s, s->out + s->out_at, s->out_len - s->out_at)
		           : send(s->fd, s->out + s->out_at, s->out_len - s->out_at, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			interest(s, true);
			return;
		}
		if (n < 0) {
			lost(s, strerror(errno));
			return;
		}
		s->out_at += (size_t)n;
	}
	interest(s, false);
}

void step(struct session *s, enum state state, int expected)
{
	s->state = state;
	s->expected = expected;
	s->wake = now() + opt->reply_timeout;
}

static void start_connect(struct session *s)
{
	struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.ptr = s};
	int one = 1;

	s->fd = socket(opt->target.ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		die("socket");
	if (opt->target.ss.ss_family != AF_UNIX)
		setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	if (opt->sources > 0) {
		struct sockaddr_in from = {
		    .sin_family = AF_INET,
		    .sin_addr.s_addr = htonl(0x7f000101u + (uint32_t)(s->index % opt->sources))};

		if (bind(s->fd, (struct sockaddr *)&from, sizeof from))
			die("bind to source address");
	}
	step(s, ST_CONNECT, 0);
	if (connect(s->fd, (const struct sockaddr *)&opt->target.ss, opt->target.len) &&
	    errno != EINPROGRESS && errno != EAGAIN) {
		fig->connect_errors++;
		lost(s, strerror(errno));
		return;
	}
	s->writable_wanted = true;
	if (epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &ev))
		die("epoll_ctl");
}

static void readable(struct session *s)
{
	unsigned connection = s->connection;

	for (;;) {
		ssize_t n = s->ssl ? tls_read(s, s->in + s->in_len, sizeof s->in - s->in_len)
		                   : recv(s->fd, s->in + s->in_len, sizeof s->in - s->in_len, 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			lost(s, n ? strerror(errno) : "connection closed");
			return;
		}
		s->in_len += (size_t)n;
		parse(s);
		/* To read would go on with the handshake, and nobody would hear of its end. */
		if (s->connection != connection || s->state == ST_HANDSHAKE)
			return;
		/* Most likely all: epoll is level-triggered and tells us of more. Not of what TLS
		 * has read already. */
		if (n < 512 && !s->ssl)
			return;
	}
}

void shake(struct session *s)
{
	switch (tls_handshake(s)) {
	case 0:
		interest(s, s->tls_wants_write);
		break;
	case 1:
		interest(s, false);
		begin_again(s);
		break;
	default:
		lost(s, "TLS handshake failed");
	}
}

static void connected(struct session *s)
{
	int err = 0;
	socklen_t len = sizeof err;

	getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len);
	if (err) {
		fig->connect_errors++;
		lost(s, strerror(err));
		return;
	}
	fig->connects++;
	step(s, ST_GREET, 1);
	interest(s, false);
}

/* Clients that only want to be there come one after the other: what a listener's queue has no room
 * for would wait for the kernel's time-outs. */
static bool crowded(int opening)
{
	return opt->idle_seconds && opening >= OPENING_MAX;
}

static void timers(double t)
{
	int i, opening = 0;

	for (i = 0; i < opt->sessions; i++)
		opening += sessions[i].state > ST_WAIT && sessions[i].state < ST_HOLD;
	for (i = 0; i < opt->sessions; i++) {
		struct session *s = &sessions[i];

		if (s->state == ST_END || t < s->wake)
			continue;
		if (s->state == ST_WAIT) {
			if (enough()) {
				end_session(s);
			} else if (!crowded(opening)) {
				opening++;
				start_connect(s);
			}
		} else if (s->state == ST_HOLD) {
			begin_message(s);
		} else {
			lost(s, "no reply in time");
		}
	}
}

/* Whatever is open at the end: its outcome is not known. */
static void close_all(void)
{
	int i;

	for (i = 0; i < opt->sessions; i++) {
		struct session *s = &sessions[i];

		if (s->sent) {
			ledger("UNKNOWN", s->n, "end of the run");
			fig->unknown++;
		}
		forget_connection(s);
		tls_forget(s);
		free(s->out);
		free(s->rcpt_ok);
	}
	free(sessions);
	smtp_fini();
	if (opt->starttls)
		tls_fini();
	close(ep);
}

bool load_run(const struct load_options *o, struct load_figures *f)
{
	struct epoll_event evs[256];
	double start = now(), next_timers = 0, held = 0;
	bool in_time = true;
	int i, n;

	opt = o;
	fig = f;
	ep = epoll_create1(EPOLL_CLOEXEC);
	sessions = calloc((size_t)o->sessions, sizeof *sessions);
	smtp_init();
	if (o->starttls)
		tls_init();
	if (ep < 0 || !sessions)
		die("start");
	live = o->sessions;
	for (i = 0; i < o->sessions; i++) {
		sessions[i].fd = -1;
		sessions[i].index = i;
		sessions[i].n = -1;
		sessions[i].rcpt_ok = calloc((size_t)o->rcpts, 1);
		if (!sessions[i].rcpt_ok)
			die("memory");
	}
	while (live > 0) {
		double t = now();

		if (stopped || t - start > o->total_timeout) {
			in_time = false;
			break;
		}
		if (o->idle_seconds && held == 0 && fig->greeted + fig->drops >= o->sessions) {
			held = t;
			printf("open %ld refused %ld seconds %.2f\n", fig->greeted, fig->drops,
			       t - start);
			fflush(stdout);
		}
		if (held > 0 && t - held > o->idle_seconds)
			break;
		if (t >= next_timers) {
			timers(t);
			next_timers = now() + (opt->pause_ms || fig->drops ? 0.005 : 0.02);
		}
		n = epoll_wait(ep, evs, 256, 5);
		for (i = 0; i < n; i++) {
			struct session *s = evs[i].data.ptr;
			unsigned connection = s->connection;

			if (s->fd < 0)
				continue;
			if (s->state == ST_CONNECT)
				connected(s);
			else if (s->state == ST_HANDSHAKE)
				shake(s);
			else if (evs[i].events & EPOLLOUT)
				flush(s);
			if (s->connection == connection && s->state != ST_HANDSHAKE &&
			    evs[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				readable(s);
		}
	}
	close_all();
	return in_time;
}
