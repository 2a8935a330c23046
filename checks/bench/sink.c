/*
 * sink: an SMTP and LMTP server that throws mail away, counts it, and writes down what came.
 *
 * With -o FILE one line per (message, recipient), written before the reply to the final dot leaves:
 *     GOT time id rcpt sha256 bytes sender       it was (or is just being) answered 250
 *     LOST time id rcpt sha256 bytes sender      complete, but the connection was dropped before
 * the reply (-D): not taken over HALF time id - - bytes sender              the connection ended
 * within the content id is the X-Ledger value nearest to the beginning ("-": none). The hash is of
 * the content without dot-stuffing, from the line "X-Ledger:" to the end: header fields that hops
 * have put in front of it are left out. Mail from <> is a report: it is counted apart and, with -S
 * DIR, kept as DIR/NUMBER, its first lines being "X-Sink-Rcpt: rcpt" and "X-Sink-Time: time".
 *
 * Invariant: `in` is a window of the connection; content is consumed line by line and only
 * CRLF.CRLF ends it. One thread.
 */
#include "config.h"
#include "checks/bench/common.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
	IN_MAX = 65536,
	OUT_MAX = 16384,
	LISTENERS_MAX = 16,
	RCPTS_MAX = 2000,
	CONTENT_MAX = 128 << 20
};

struct conn {
	int fd;
	bool lmtp, tcp, data, fresh; /* fresh: the last two bytes of content were CRLF */
	bool closing;                /* when the output is out */
	struct conn *next, **prev;   /* all that are open */
	struct conn *next_due;       /* waiting for the delayed reply */
	double due;
	bool waiting, dead;
	char *rcpts; /* NUL-ended, one behind the other */
	size_t rcpts_len, rcpts_max;
	int rcpt_count;
	char sender[330];
	char *content;
	size_t content_len, content_max, content_bytes;
	size_t in_len, out_at, out_len;
	char in[IN_MAX], out[OUT_MAX];
};

static struct {
	int arrivals, tempfail, permfail, window_ms, drop_before, drop_after, delay_ms, spread_ms;
	bool quick, dead_domains;
	long stop_after;
	double timeout;
	const char *reports;
	const char *name;
} opt = {.arrivals = -1, .quick = true, .timeout = 1e9, .name = "sink.test"};

static struct {
	long messages, rcpts, reports, connections, open, peak, tempfailed, permfailed,
	    dropped_before, dropped_after, half, bytes;
	double first, last;
} count;

static int ep;
static uint64_t dice = 1;
static struct conn *open_first;
static struct conn *due_first, **due_tail = &due_first; /* in the order of their times */
static volatile sig_atomic_t ended;

static void on_signal(int sig)
{
	(void)sig;
	ended = 1;
}

static bool chance(int percent)
{
	if (!percent)
		return false;
	dice = mix(dice);
	return (int)(dice % 100) < percent;
}

static void say(struct conn *c, const char *text)
{
	size_t n = strlen(text);

	if (c->out_len + n > sizeof c->out) { /* it does not read its replies */
		c->dead = true;
		return;
	}
	memcpy(c->out + c->out_len, text, n);
	c->out_len += n;
}

static void grow(char **p, size_t *max, size_t need)
{
	if (need <= *max)
		return;
	*max = need * 2 < 4096 ? 4096 : need * 2;
	*p = realloc(*p, *max);
	if (!*p)
		die("memory");
}

static void reset(struct conn *c)
{
	c->rcpts_len = 0;
	c->rcpt_count = 0;
	c->content_len = c->content_bytes = 0;
	c->sender[0] = '\0';
}

/* The path of "MAIL FROM:<path>" or "RCPT TO:<path>"; blanks cannot be in the arrivals file. */
static void path_of(const char *line, char *out, size_t max)
{
	const char *a = strchr(line, '<'), *z = a ? strrchr(a, '>') : NULL;
	size_t i, n;

	if (!z) {
		snprintf(out, max, "?");
		return;
	}
	n = (size_t)(z - a - 1);
	if (n >= max)
		n = max - 1;
	for (i = 0; i < n; i++)
		out[i] = (char)(a[1 + i] > ' ' && a[1 + i] < 127 ? a[1 + i] : '?');
	out[n] = '\0';
}

static void keep_report(struct conn *c)
{
	char path[4096], head[400];
	int fd, n;
	struct iovec v[2] = {{.iov_base = head},
	                     {.iov_base = c->content, .iov_len = c->content_len}};

	if (!opt.reports)
		return;
	n = snprintf(head, sizeof head, "X-Sink-Rcpt: %.330s\r\nX-Sink-Time: %.6f\r\n", c->rcpts,
	             now());
	v[0].iov_len = (size_t)n;
	snprintf(path, sizeof path, "%s/%d.%ld", opt.reports, (int)getpid(), count.reports);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || writev(fd, v, 2) != (ssize_t)(v[0].iov_len + v[1].iov_len))
		die(path);
	close(fd);
}

static void arrived(struct conn *c, const char *kind)
{
	const char *p = memmem(c->content, c->content_len, "X-Ledger: ", 10), *r = c->rcpts;
	char id[100] = "-", hash[65] = "-", line[1024];
	size_t n = 0;
	int i, len;

	while (p && p != c->content && p[-1] != '\n')
		p = memmem(p + 1, c->content_len - (size_t)(p + 1 - c->content), "X-Ledger: ", 10);
	if (p) {
		const char *end = c->content + c->content_len;

		sha256_hex(p, (size_t)(end - p), hash);
		while (n < sizeof id - 1 && p + 10 + n < end && p[10 + n] > ' ')
			n++;
		memcpy(id, p + 10, n);
		id[n] = '\0';
	}
	for (i = 0; i < c->rcpt_count; i++, r += strlen(r) + 1) {
		len = snprintf(line, sizeof line, "%s %.6f %s %s %s %zu <%s>\n", kind, now(), id, r,
		               hash, c->content_len, c->sender);
		ledger_line(opt.arrivals, line, (size_t)len);
	}
}

static void final_reply(struct conn *c)
{
	int i, replies = c->lmtp ? c->rcpt_count : 1;

	for (i = 0; i < replies; i++)
		say(c, "250 2.0.0 Ok\r\n");
	count.messages++;
	count.rcpts += c->rcpt_count;
	count.last = now();
	if (chance(opt.drop_after)) {
		count.dropped_after++;
		c->closing = true;
	}
	reset(c);
}

static void end_of_data(struct conn *c)
{
	bool drop = chance(opt.drop_before);
	struct conn **at;

	c->data = false;
	if (opt.arrivals >= 0 && c->sender[0])
		arrived(c, drop ? "LOST" : "GOT");
	if (drop) {
		count.dropped_before++;
		c->dead = true;
		return;
	}
	if (!c->sender[0]) {
		count.reports++;
		keep_report(c);
	}
	if (!opt.delay_ms && !opt.spread_ms) {
		final_reply(c);
		return;
	}
	c->due = now() + opt.delay_ms / 1e3;
	c->waiting = true;
	if (!opt.spread_ms) {
		c->next_due = NULL;
		*due_tail = c;
		due_tail = &c->next_due;
		return;
	}
	dice = mix(dice);
	c->due += (double)(dice % ((uint64_t)opt.spread_ms * 1000)) / 1e6;
	for (at = &due_first; *at && (*at)->due <= c->due;)
		at = &(*at)->next_due;
	c->next_due = *at;
	*at = c;
	if (!c->next_due)
		due_tail = &c->next_due;
}

/* Content in bulk: nobody wants to see it, so only its end is looked for. Gives the bytes used. */
static size_t skip_content(struct conn *c, const char *p, size_t n)
{
	const char *q;

	if (c->fresh && n >= 3 && !memcmp(p, ".\r\n", 3)) {
		count.bytes += 3;
		end_of_data(c);
		return 3;
	}
	q = memmem(p, n, "\r\n.\r\n", 5);
	if (q) {
		count.bytes += q + 5 - p;
		end_of_data(c);
		return (size_t)(q + 5 - p);
	}
	if (n <= 4)
		return 0;
	c->fresh = false; /* the last four bytes stay, so a CRLF before them is seen again with what
	                     follows */
	count.bytes += (long)n - 4;
	return n - 4;
}

/* Content line by line, dots removed, kept. Gives the bytes used. */
static size_t keep_content(struct conn *c, const char *p, size_t n)
{
	const char *start = p, *end = p + n, *q;

	while (p < end) {
		q = memmem(p, (size_t)(end - p), "\r\n", 2);
		q = q ? q + 2 : NULL;
		if (!q && (size_t)(end - p) < IN_MAX / 2)
			break;
		if (!q)
			q = end - 1; /* a very long line: in pieces, not parting CR and LF */
		if (c->fresh && *p == '.') {
			if (q - p == 3 && p[1] == '\r') {
				count.bytes += 3;
				end_of_data(c);
				return (size_t)(q - start);
			}
			p++;
		}
		c->content_bytes += (size_t)(q - p);
		if (c->content_len + (size_t)(q - p) <= CONTENT_MAX) {
			grow(&c->content, &c->content_max, c->content_len + (size_t)(q - p));
			memcpy(c->content + c->content_len, p, (size_t)(q - p));
			c->content_len += (size_t)(q - p);
		}
		count.bytes += q - p;
		c->fresh = q[-1] == '\n' && q - p >= 2 && q[-2] == '\r';
		p = q;
	}
	return (size_t)(p - start);
}

/* -f, -F: what becomes of a recipient depends on the number of its domain, @d7.anything: odd ones
 * are put off in every second window of time, each beginning with another one; those that end in 4
 * are refused for ever. */
static const char *by_domain(const char *path)
{
	static double start;
	const char *at = strrchr(path, '@');
	char *end;
	long n;

	if (!at || at[1] != 'd' || (n = strtol(at + 2, &end, 10), end == at + 2))
		return NULL;
	if (start == 0)
		start = now();
	if (opt.dead_domains && n % 10 == 4) {
		count.permfailed++;
		return "550 5.1.2 Nobody at this domain\r\n";
	}
	if (opt.window_ms && n % 2 &&
	    ((long)((now() - start) * 1e3 / opt.window_ms) + n / 2) % 2 == 0) {
		count.tempfailed++;
		return "451 4.3.2 This domain is away\r\n";
	}
	return NULL;
}

static void rcpt(struct conn *c, const char *line)
{
	const char *no;

	char path[330];
	size_t n;

	if (c->rcpt_count >= RCPTS_MAX) {
		say(c, "452 4.5.3 Too many recipients\r\n");
		return;
	}
	if (chance(opt.tempfail)) {
		count.tempfailed++;
		say(c, "451 4.3.0 Not now\r\n");
		return;
	}
	if (chance(opt.permfail)) {
		count.permfailed++;
		say(c, "550 5.1.1 Nobody here\r\n");
		return;
	}
	path_of(line, path, sizeof path);
	if ((no = by_domain(path)) != NULL) {
		say(c, no);
		return;
	}
	n = strlen(path) + 1;
	grow(&c->rcpts, &c->rcpts_max, c->rcpts_len + n);
	memcpy(c->rcpts + c->rcpts_len, path, n);
	c->rcpts_len += n;
	c->rcpt_count++;
	say(c, "250 2.1.5 Ok\r\n");
}

static void command(struct conn *c, const char *line)
{
	char text[200];

	if (!strncasecmp(line, "RCPT", 4)) {
		rcpt(c, line);
	} else if (!strncasecmp(line, "MAIL", 4)) {
		reset(c);
		path_of(line, c->sender, sizeof c->sender);
		say(c, "250 2.1.0 Ok\r\n");
	} else if (!strncasecmp(line, "DATA", 4)) {
		if (!c->rcpt_count) {
			say(c, "503 5.5.1 No recipients\r\n");
			return;
		}
		c->data = c->fresh = true;
		say(c, "354 Go on\r\n");
	} else if (!strncasecmp(line, "EHLO", 4) || !strncasecmp(line, "LHLO", 4)) {
		c->lmtp = (line[0] | 32) == 'l';
		snprintf(text, sizeof text,
		         "250-%s\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE\r\n", opt.name);
		say(c, text);
	} else if (!strncasecmp(line, "QUIT", 4)) {
		say(c, "221 2.0.0 Bye\r\n");
		c->closing = true;
	} else if (!strncasecmp(line, "RSET", 4)) {
		reset(c);
		say(c, "250 2.0.0 Ok\r\n");
	} else {
		say(c, "250 2.0.0 Ok\r\n");
	}
}

static void consume(struct conn *c)
{
	size_t at = 0, n;
	char line[1024], *nl;

	while (at < c->in_len && !c->waiting && !c->dead && !c->closing) {
		if (c->data) {
			n = opt.arrivals >= 0 || (opt.reports && !c->sender[0])
			        ? keep_content(c, c->in + at, c->in_len - at)
			        : skip_content(c, c->in + at, c->in_len - at);
			if (n == 0)
				break;
			at += n;
			continue;
		}
		nl = memchr(c->in + at, '\n', c->in_len - at);
		if (!nl) {
			if (c->in_len - at == IN_MAX)
				c->dead = true;
			break;
		}
		n = (size_t)(nl + 1 - (c->in + at));
		snprintf(line, sizeof line, "%.*s", (int)n, c->in + at);
		at += n;
		command(c, line);
	}
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
}

static void forget(struct conn *c)
{
	struct conn **p;

	if (c->data && opt.arrivals >= 0) {
		char line[600];
		int n = snprintf(line, sizeof line, "HALF %.6f - - - %zu <%s>\n", now(),
		                 c->content_len, c->sender);

		count.half++;
		ledger_line(opt.arrivals, line, (size_t)n);
	}
	for (p = &due_first; *p; p = &(*p)->next_due)
		if (*p == c) {
			*p = c->next_due;
			break;
		}
	for (due_tail = &due_first; *due_tail;)
		due_tail = &(*due_tail)->next_due;
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	close(c->fd);
	free(c->rcpts);
	free(c->content);
	free(c);
	count.open--;
}

/* False: the connection is gone. */
static bool flush(struct conn *c)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

	while (!c->dead && c->out_at < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			ev.events |= EPOLLOUT;
			epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
			return true;
		}
		if (n < 0)
			c->dead = true;
		else
			c->out_at += (size_t)n;
	}
	c->out_at = c->out_len = 0;
	if (c->dead || c->closing) {
		forget(c);
		return false;
	}
	return true;
}

static void event(struct conn *c, uint32_t events)
{
	int one = 1;
	ssize_t n;

	if (events & EPOLLOUT) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};

		epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
		if (!flush(c))
			return;
	}
	if (c->in_len == IN_MAX) /* only while the delayed reply is due */
		return;
	n = recv(c->fd, c->in + c->in_len, IN_MAX - c->in_len, 0);
	if (opt.quick && c->tcp)
		setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		forget(c);
		return;
	}
	c->in_len += (size_t)n;
	consume(c);
	flush(c);
}

static void accept_all(int listener, bool tcp)
{
	int fd, one = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		struct conn *c = calloc(1, sizeof *c);
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
		char text[200];

		if (!c)
			die("memory");
		c->fd = fd;
		c->tcp = tcp;
		c->next = open_first;
		c->prev = &open_first;
		if (open_first)
			open_first->prev = &c->next;
		open_first = c;
		if (tcp)
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
		if (!count.connections++)
			count.first = now();
		if (++count.open > count.peak)
			count.peak = count.open;
		snprintf(text, sizeof text, "220 %s ESMTP\r\n", opt.name);
		say(c, text);
		flush(c);
	}
}

/* Replies whose delay is over; gives the milliseconds until the next is. */
static int delayed(void)
{
	while (due_first) {
		struct conn *c = due_first;
		double left = c->due - now();

		if (left > 0)
			return (int)(left * 1e3) + 1;
		due_first = c->next_due;
		if (!due_first)
			due_tail = &due_first;
		c->waiting = false;
		final_reply(c);
		consume(c);
		flush(c);
	}
	return 1000;
}

static void print(const char *how)
{
	double user, sys;

	cpu_used(&user, &sys);
	printf("messages %ld rcpts %ld reports %ld connections %ld peak %ld tempfailed %ld "
	       "permfailed %ld dropped_before %ld "
	       "dropped_after %ld half %ld bytes %ld first %.6f last %.6f cpu_user %.2f cpu_sys "
	       "%.2f %s\n",
	       count.messages, count.rcpts, count.reports, count.connections, count.peak,
	       count.tempfailed, count.permfailed, count.dropped_before, count.dropped_after,
	       count.half, count.bytes, count.first, count.last, user, sys, how);
	fflush(stdout);
}

static const char usage[] =
    "usage: sink [options] ADDRESS:PORT|unix:PATH...\n"
    "  -o FILE  one line per message and recipient      -S DIR   keep mail from <> there\n"
    "  -4 PCT   451 for RCPT        -5 PCT  550 for RCPT\n"
    "  -f MS    451 in every second MS at odd domains   -F       550 at domains that end in 4\n"
    "  -D PCT   drop before the final reply             -A PCT   drop after the final reply\n"
    "  -w MS    wait before the final reply             -W MS    and up to so long, at random\n"
    "  -q       no TCP_QUICKACK\n"
    "  -n N     end after N recipients,                 -T SECS  end after\n"
    "  -H NAME  own name (sink.test)                    -z SEED  of the dice\n"
    "Prints \"ready\", and figures at the end (TERM, INT, -n, -T).\n";

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_signal};
	struct epoll_event evs[256];
	struct address listeners[LISTENERS_MAX];
	int fds[LISTENERS_MAX], nl = 0, c, i, n;
	double start = now(), all_there = 0;

	while ((c = getopt(argc, argv, "o:S:4:5:f:FD:A:w:W:qn:T:H:z:")) != -1) {
		switch (c) {
		case 'o':
			opt.arrivals = ledger_open(optarg);
			break;
		case 'S':
			opt.reports = optarg;
			break;
		case '4':
			opt.tempfail = (int)number(optarg, 0, 100);
			break;
		case '5':
			opt.permfail = (int)number(optarg, 0, 100);
			break;
		case 'f':
			opt.window_ms = (int)number(optarg, 1, 3600000);
			break;
		case 'F':
			opt.dead_domains = true;
			break;
		case 'D':
			opt.drop_before = (int)number(optarg, 0, 100);
			break;
		case 'A':
			opt.drop_after = (int)number(optarg, 0, 100);
			break;
		case 'w':
			opt.delay_ms = (int)number(optarg, 0, 3600000);
			break;
		case 'W':
			opt.spread_ms = (int)number(optarg, 0, 3600000);
			break;
		case 'q':
			opt.quick = false;
			break;
		case 'n':
			opt.stop_after = number(optarg, 1, 1L << 60);
			break;
		case 'T':
			opt.timeout = (double)number(optarg, 1, 1000000);
			break;
		case 'H':
			opt.name = optarg;
			break;
		case 'z':
			dice = (uint64_t)number(optarg, 0, 1L << 62);
			break;
		default:
			fputs(usage, stderr);
			return 2;
		}
	}
	if (optind == argc || argc - optind > LISTENERS_MAX || strlen(opt.name) > 100) {
		fputs(usage, stderr);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	raise_nofile();
	ep = epoll_create1(EPOLL_CLOEXEC);
	for (i = optind; i < argc; i++, nl++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &fds[nl]};

		address_parse(argv[i], &listeners[nl]);
		fds[nl] = listen_on(&listeners[nl]);
		epoll_ctl(ep, EPOLL_CTL_ADD, fds[nl], &ev);
	}
	puts("ready");
	fflush(stdout);
	while (!ended) {
		double left = start + opt.timeout - now();
		int wait = delayed();

		if (opt.stop_after && count.rcpts >= opt.stop_after && all_there == 0)
			all_there = now();
		/* Whoever is still there gets the time to say QUIT. */
		if (left <= 0 || (all_there > 0 && (!count.open || now() > all_there + 1)))
			break;
		if (all_there > 0)
			wait = 20;
		if (left * 1e3 < wait)
			wait = (int)(left * 1e3) + 1;
		n = epoll_wait(ep, evs, 256, wait);
		for (i = 0; i < n; i++) {
			int *l = evs[i].data.ptr;

			if (l >= fds && l < fds + nl)
				accept_all(*l, listeners[l - fds].ss.ss_family != AF_UNIX);
			else
				event(evs[i].data.ptr, evs[i].events);
		}
	}
	print(ended                                             ? "ended"
	      : opt.stop_after && count.rcpts >= opt.stop_after ? "done"
	                                                        : "timeout");
	return 0;
}
