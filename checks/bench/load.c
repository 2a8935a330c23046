/* clang-format off */
/*
 * Sessions of the load generator: SMTP client state machines on one epoll loop.
 *
 * What the ledger says is the point of this file:
 *     BEGIN time id -                        before the write(2) that carries MAIL: the transaction is open until its next verdict
 *     SENT time id sha256 rcpt[,rcpt...]     before the write(2) that can carry the final dot; accepted recipients only
 *     ACK|NAK4|NAK5 time id reply            as soon as the reply line is complete, before anything else is done
 *     UNKNOWN time id why                    the connection ended, or the reply did not come in time, after SENT
 *     REFUSED time id reply                  given up before the final dot: the server cannot have it
 * Each attempt has an id of its own: nothing is ever sent twice under one id.
 *
 * Invariant: a session with `sent` set writes exactly one of ACK, NAK4, NAK5, UNKNOWN before `sent` is cleared. One thread.
 */
/* clang-format on */
#include "config.h"
#include "checks/bench/load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum state {
	ST_WAIT,
	ST_CONNECT,
	ST_GREET,
	ST_EHLO,
	ST_MAIL,
	ST_RCPT,
	ST_DATA,
	ST_DOT,
	ST_RSET,
	ST_QUIT,
	ST_HOLD,
	ST_END
};

struct session {
	int fd, index;
	unsigned connection; /* counts: tells a new one from the one an event was for */
	enum state state;
	double wake; /* ST_WAIT: when to go on; else: when the reply is overdue */
	int backoff_ms;
	bool writable_wanted;
	char in[4096];
	size_t in_len;
	char *out; /* what is still to be written: out[out_at, out_len) */
	size_t out_at, out_len, out_max;
	long n; /* number of the message in work, -1: none */
	bool sent;
	int expected; /* replies that are still to come in this step */
	bool data_refused;
	unsigned char *rcpt_ok;
	int rcpt_at, rcpts_ok;
	char reason[128]; /* last refusal */
	double dot_at;
};

static const struct load_options *opt;
static struct load_figures *fig;
static int ep;
static long begun, live;
static struct session *sessions;
static char *message; /* scratch: the un-stuffed message */
static size_t message_max;

static volatile sig_atomic_t stopped;

void load_stop(void)
{
	stopped = 1;
}

long load_begun(void)
{
	return begun;
}

static void ledger(const char *kind, long n, const char *text)
{
	char line[700];
	int len;

	if (opt->ledger < 0)
		return;
	len =
	    snprintf(line, sizeof line, "%s %.6f %s-%ld %.500s\n", kind, now(), opt->run, n, text);
	ledger_line(opt->ledger, line, (size_t)len);
}

/* %n number, %r recipient, %d number modulo domains, %% */
static size_t pattern(char *out, size_t max, const char *p, long n, int r)
{
	size_t at = 0;

	for (; *p && at + 24 < max; p++) {
		if (*p != '%' || !p[1]) {
			out[at++] = *p;
			continue;
		}
		switch (*++p) {
		case 'n':
			at += (size_t)snprintf(out + at, max - at, "%ld", n);
			break;
		case 'r':
			at += (size_t)snprintf(out + at, max - at, "%d", r);
			break;
		case 'd':
			at += (size_t)snprintf(out + at, max - at, "%ld", n % opt->domains);
			break;
		default:
			out[at++] = *p;
		}
	}
	out[at] = '\0';
	return at;
}

static void put(struct session *s, const char *p, size_t n)
{
	if (s->out_at == s->out_len)
		s->out_at = s->out_len = 0;
	if (s->out_len + n > s->out_max) {
		s->out_max = (s->out_len + n) * 2;
		s->out = realloc(s->out, s->out_max);
		if (!s->out)
			die("memory");
	}
	memcpy(s->out + s->out_len, p, n);
	s->out_len += n;
}

static void put_text(struct session *s, const char *text)
{
	put(s, text, strlen(text));
}

static void put_path(struct session *s, const char *verb, const char *pat, int r)
{
	char line[400];
	size_t at = (size_t)snprintf(line, sizeof line, "%s:<", verb);

	at += pattern(line + at, sizeof line - at - 4, pat, s->n, r);
	memcpy(line + at, ">\r\n", 3);
	put(s, line, at + 3);
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
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
	s->connection++;
	s->in_len = s->out_at = s->out_len = 0;
	s->writable_wanted = false;
}

static bool enough(void)
{
	if (opt->keep_going)
		return fig->acked >= opt->messages;
	return begun >= opt->messages;
}

static void end_session(struct session *s)
{
	forget_connection(s);
	if (s->state != ST_END)
		live--;
	s->state = ST_END;
}

static void start_connect(struct session *s);

/* The connection is gone or useless: say what it means for the message, come back later. */
static void lost(struct session *s, const char *why)
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

static void flush(struct session *s)
{
	while (s->out_at < s->out_len) {
		ssize_t n = send(s->fd, s->out + s->out_at, s->out_len - s->out_at, MSG_NOSIGNAL);

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
	if (s->state == ST_DOT && s->dot_at == 0)
		s->dot_at = now();
}

static void step(struct session *s, enum state state, int expected)
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

static void finish(struct session *s)
{
	put_text(s, "QUIT\r\n");
	step(s, ST_QUIT, 1);
	flush(s);
}

static void begin_message(struct session *s)
{
	int i;

	if (opt->idle_seconds) {
		fig->greeted++;
		step(s, ST_HOLD, 0);
		s->wake = now() + 1e9;
		return;
	}
	if (enough()) {
		finish(s);
		return;
	}
	s->n = begun++;
	s->sent = s->data_refused = false;
	s->rcpt_at = s->rcpts_ok = 0;
	s->dot_at = 0;
	memset(s->rcpt_ok, 0, (size_t)opt->rcpts);
	ledger("BEGIN", s->n, "-");
	put_path(s, "MAIL FROM", opt->sender, 0);
	step(s, ST_MAIL, 1);
	if (opt->pipelining) {
		for (i = 0; i < opt->rcpts; i++)
			put_path(s, "RCPT TO", opt->rcpt, i);
		put_text(s, "DATA\r\n");
	}
	flush(s);
}

static void ledger_sent(struct session *s, const char *hash)
{
	static char line[LOAD_RCPTS_MAX * 120];
	size_t at = (size_t)snprintf(line, sizeof line, "SENT %.6f %s-%ld %s ", now(), opt->run,
	                             s->n, hash);
	int i;
	bool first = true;

	for (i = 0; i < opt->rcpts; i++) {
		if (!s->rcpt_ok[i])
			continue;
		if (!first)
			line[at++] = ',';
		first = false;
		at += pattern(line + at, sizeof line - at - 2, opt->rcpt, s->n, i);
	}
	line[at++] = '\n';
	ledger_line(opt->ledger, line, at);
}

/* The text with dots stuffed (RFC 5321 4.5.2), the final dot, all in the output. */
static void send_content(struct session *s)
{
	size_t n = message_make(message, message_max, opt->run, (uint64_t)s->n, opt->seed,
	                        opt->size, opt->varied);
	char hash[65] = "-";
	char *p = message, *end = message + n, *q;

	if (opt->ledger >= 0) {
		sha256_hex(message, n, hash);
		ledger_sent(s, hash);
	}
	while (opt->varied && (q = memmem(p, (size_t)(end - p), "\n.", 2)) != NULL) {
		put(s, p, (size_t)(q + 1 - p));
		put(s, ".", 1);
		p = q + 1;
		/* the dot itself is copied with what follows */
		put(s, p, 1);
		p++;
	}
	put(s, p, (size_t)(end - p));
	put(s, ".\r\n", 3);
	s->sent = true;
	step(s, ST_DOT, 1);
	flush(s);
}

static void after_message(struct session *s)
{
	bool keep = opt->keep_connection || (opt->keep_every_other && s->index % 2 == 0);

	s->n = -1;
	s->backoff_ms = 0;
	if (!keep || enough()) {
		finish(s);
	} else if (opt->pause_ms) {
		step(s, ST_HOLD, 0);
		s->wake = now() + (double)opt->pause_ms / 1e3;
	} else {
		begin_message(s);
	}
}

static void refuse(struct session *s)
{
	ledger("REFUSED", s->n, s->reason);
	fig->refused++;
	s->n = -1;
	put_text(s, "RSET\r\n");
	step(s, ST_RSET, 1);
	flush(s);
}

static void dot_reply(struct session *s, int code, const char *text)
{
	double t = now();

	s->sent = false;
	if (code / 100 == 2) {
		ledger("ACK", s->n, text);
		if ((size_t)fig->acked < fig->latency_max)
			fig->latency[fig->acked] = t - s->dot_at;
		fig->acked++;
		fig->rcpts_acked += s->rcpts_ok;
	} else if (code / 100 == 5) {
		ledger("NAK5", s->n, text);
		fig->nak5++;
	} else {
		ledger("NAK4", s->n, text);
		fig->nak4++;
	}
	after_message(s);
}

static void rcpt_next(struct session *s)
{
	if (s->rcpt_at < opt->rcpts) {
		if (!opt->pipelining)
			put_path(s, "RCPT TO", opt->rcpt, s->rcpt_at);
		step(s, ST_RCPT, 1);
	} else if (!opt->pipelining && s->rcpts_ok == 0) {
		refuse(s);
		return;
	} else {
		if (!opt->pipelining)
			put_text(s, "DATA\r\n");
		step(s, ST_DATA, 1);
	}
	flush(s);
}

/* One complete reply: code and its last line. */
static void reply(struct session *s, int code, const char *text)
{
	bool good = code / 100 == 2;

	if (!good && code / 100 != 3)
		snprintf(s->reason, sizeof s->reason, "%.120s", text);
	if (code == 421 && s->state != ST_DOT && s->state != ST_QUIT) {
		lost(s, text);
		return;
	}
	switch (s->state) {
	case ST_GREET:
		if (!good) {
			lost(s, text);
			return;
		}
		put_text(s, "EHLO load.test\r\n");
		step(s, ST_EHLO, 1);
		flush(s);
		break;
	case ST_EHLO:
		if (!good)
			lost(s, text);
		else
			begin_message(s);
		break;
	case ST_MAIL:
		if (!good && !opt->pipelining)
			refuse(s);
		else
			rcpt_next(s);
		break;
	case ST_RCPT:
		s->rcpt_ok[s->rcpt_at++] = good;
		s->rcpts_ok += good;
		rcpt_next(s);
		break;
	case ST_DATA:
		if (code == 354 && s->rcpts_ok > 0) {
			send_content(s);
		} else if (code ==
		           354) { /* RFC 2920 3.1: 354 without recipients gets an empty message */
			put_text(s, ".\r\n");
			s->data_refused = true;
			step(s, ST_DOT, 1);
			flush(s);
		} else {
			refuse(s);
		}
		break;
	case ST_DOT:
		if (s->data_refused) {
			ledger("REFUSED", s->n, s->reason);
			fig->refused++;
			after_message(s);
		} else {
			dot_reply(s, code, text);
		}
		break;
	case ST_RSET:
		after_message(s);
		break;
	case ST_QUIT:
		lost(s, "done");
		break;
	default: /* talks unasked */
		lost(s, text);
	}
}

/* Take complete replies out of the input. */
static void parse(struct session *s)
{
	char *nl;
	size_t n;
	unsigned connection = s->connection;

	while (s->connection == connection && (nl = memchr(s->in, '\n', s->in_len)) != NULL) {
		char line[600];
		int code;

		n = (size_t)(nl + 1 - s->in);
		snprintf(line, sizeof line, "%.*s", (int)(n < sizeof line ? n : sizeof line),
		         s->in);
		line[strcspn(line, "\r\n")] = '\0';
		memmove(s->in, s->in + n, s->in_len - n);
		s->in_len -= n;
		code = atoi(line);
		if (code < 200 || code > 599) {
			lost(s, "not a reply");
			return;
		}
		if (strlen(line) > 3 && line[3] == '-')
			continue;
		reply(s, code, line);
	}
	if (s->connection == connection && s->in_len == sizeof s->in)
		lost(s, "reply too long");
}

static void readable(struct session *s)
{
	unsigned connection = s->connection;

	for (;;) {
		ssize_t n = recv(s->fd, s->in + s->in_len, sizeof s->in - s->in_len, 0);

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
		if (s->connection != connection)
			return;
		if (n < 512) /* most likely all: epoll is level-triggered and tells us of more */
			return;
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

static void timers(double t)
{
	int i;

	for (i = 0; i < opt->sessions; i++) {
		struct session *s = &sessions[i];

		if (s->state == ST_END || t < s->wake)
			continue;
		if (s->state == ST_WAIT) {
			if (enough())
				end_session(s);
			else
				start_connect(s);
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
		free(s->out);
		free(s->rcpt_ok);
	}
	free(sessions);
	free(message);
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
	message_max = o->size + 1024;
	message = malloc(message_max);
	if (ep < 0 || !sessions || !message)
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
			else if (evs[i].events & EPOLLOUT)
				flush(s);
			if (s->connection == connection &&
			    evs[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				readable(s);
		}
	}
	close_all();
	return in_time;
}
