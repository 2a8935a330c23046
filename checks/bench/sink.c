/*
 * sink: an SMTP and LMTP server that throws mail away, counts it, and writes down what came.
 *
 * With -o FILE one line per (message, recipient), written before the reply to the final dot leaves:
 *     GOT time id rcpt sha256 bytes sender     it was (or is just being) answered 250
 *     LOST time id rcpt sha256 bytes sender    complete, but the connection was dropped before the
 *                                              reply (-D): not taken over
 *     HALF time id - - bytes sender            the connection ended within the content
 * id is the X-Ledger value nearest to the beginning ("-": none). The hash is of the content without
 * dot-stuffing, from the line "X-Ledger:" to the end: header fields that hops have put in front of
 * it are left out. Mail from <> is a report: it is counted apart and, with -S DIR, kept as
 * DIR/NUMBER, its first lines being "X-Sink-Rcpt: rcpt" and "X-Sink-Time: time".
 *
 * This file has the connections: their life, their times, the options. One thread.
 */
#include "config.h"
#include "checks/bench/sink.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

struct sink_options opt = {.arrivals = -1, .quick = true, .timeout = 1e9, .name = "sink.test"};
struct sink_count count;

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

bool chance(int percent)
{
	if (!percent)
		return false;
	dice = mix(dice);
	return (int)(dice % 100) < percent;
}

/* All have the same delay: who comes last is due last. */
static void wait_in_turn(struct conn *c, int delay_ms)
{
	c->due = now() + delay_ms / 1e3;
	c->waiting = true;
	c->next_due = NULL;
	*due_tail = c;
	due_tail = &c->next_due;
}

void hold_reply(struct conn *c)
{
	if (!opt.command_ms)
		return;
	c->held = true;
	wait_in_turn(c, opt.command_ms);
}

void reply_later(struct conn *c)
{
	struct conn **at;

	if (!opt.spread_ms) {
		wait_in_turn(c, opt.delay_ms);
		return;
	}
	c->due = now() + opt.delay_ms / 1e3;
	c->waiting = true;
	dice = mix(dice);
	c->due += (double)(dice % ((uint64_t)opt.spread_ms * 1000)) / 1e6;
	for (at = &due_first; *at && (*at)->due <= c->due;)
		at = &(*at)->next_due;
	c->next_due = *at;
	*at = c;
	if (!c->next_due)
		due_tail = &c->next_due;
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
	for (p = &due_first; c->waiting && *p; p = &(*p)->next_due)
		if (*p == c) {
			*p = c->next_due;
			if (due_tail == &c->next_due)
				due_tail = p;
			break;
		}
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
	tls_end(c);
	close(c->fd);
	free(c->rcpts);
	free(c->content);
	free(c);
	count.open--;
}

static void interest(struct conn *c, bool writable)
{
	struct epoll_event ev = {.events = EPOLLIN | (writable ? EPOLLOUT : 0u), .data.ptr = c};

	epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
}

/* Goes on with the handshake. False: the connection is gone. */
static bool shake(struct conn *c)
{
	switch (tls_handshake(c)) {
	case 1:
		break;
	case 0:
		if (c->wants_write)
			interest(c, true);
		break;
	default:
		forget(c);
		return false;
	}
	return true;
}

/* False: the connection is gone. */
static bool flush(struct conn *c)
{
	if (c->held && !c->dead)
		return true;
	while (!c->dead && c->out_at < c->out_len) {
		const char *p = c->out + c->out_at;
		size_t left = c->out_len - c->out_at;
		ssize_t n = c->ssl ? tls_write(c, p, left) : send(c->fd, p, left, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			interest(c, true);
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
	if (c->starting) {
		c->starting = false;
		tls_begin(c);
		return shake(c);
	}
	return true;
}

/* What has come, once. Gives whether there may be more: only TLS has some that epoll does not know
 * of. */
static bool take(struct conn *c)
{
	int one = 1;
	size_t room = IN_MAX - c->in_len;
	ssize_t n;

	if (room == 0) /* only while the delayed reply is due */
		return false;
	n = c->ssl ? tls_read(c, c->in + c->in_len, room) : recv(c->fd, c->in + c->in_len, room, 0);
	if (opt.quick && c->tcp)
		setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof one);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		forget(c);
		return false;
	}
	c->in_len += (size_t)n;
	consume(c);
	return flush(c) && c->ssl && !c->shaking;
}

static void event(struct conn *c, uint32_t events)
{
	if (events & EPOLLOUT) {
		interest(c, false);
		if (!c->shaking && !flush(c))
			return;
	}
	if (c->shaking && (!shake(c) || c->shaking))
		return;
	while (take(c))
		;
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
		hold_reply(c);
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
		if (!c->held) {
			final_reply(c);
		} else {
			c->held = false;
			if (!flush(c))
				continue;
		}
		consume(c);
		if (flush(c) && c->ssl)
			while (take(c))
				;
	}
	return 1000;
}

static void print(const char *how)
{
	double user, sys;

	cpu_used(&user, &sys);
	printf(
	    "messages %ld rcpts %ld reports %ld connections %ld peak %ld tempfailed %ld "
	    "permfailed %ld dropped_before %ld "
	    "dropped_after %ld half %ld bytes %ld handshakes %ld resumed %ld first %.6f last %.6f "
	    "cpu_user %.2f cpu_sys %.2f %s\n",
	    count.messages, count.rcpts, count.reports, count.connections, count.peak,
	    count.tempfailed, count.permfailed, count.dropped_before, count.dropped_after,
	    count.half, count.bytes, count.handshakes, count.resumed, count.first, count.last, user,
	    sys, how);
	fflush(stdout);
}

static const char usage[] =
    "usage: sink [options] ADDRESS:PORT|unix:PATH...\n"
    "  -o FILE  one line per message and recipient      -S DIR   keep mail from <> there\n"
    "  -4 PCT   451 for RCPT        -5 PCT  550 for RCPT\n"
    "  -f MS    451 in every second MS at odd domains   -F       550 at domains that end in 4\n"
    "  -D PCT   drop before the final reply             -A PCT   drop after the final reply\n"
    "  -w MS    wait before the final reply             -W MS    and up to so long, at random\n"
    "  -c FILE  certificate, -k FILE key (PEM): STARTTLS is offered\n"
    "  -d MS    wait before each reply, the greeting's too: the next command is looked at then\n"
    "  -P       no PIPELINING                           -q       no TCP_QUICKACK\n"
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
	const char *cert = NULL, *key = NULL;

	while ((c = getopt(argc, argv, "o:S:4:5:f:FD:A:w:W:d:Pc:k:qn:T:H:z:")) != -1) {
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
		case 'c':
			cert = optarg;
			break;
		case 'k':
			key = optarg;
			break;
		case 'd':
			opt.command_ms = (int)number(optarg, 0, 3600000);
			break;
		case 'P':
			opt.no_pipelining = true;
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
	if (opt.command_ms && (opt.delay_ms || opt.spread_ms))
		die_text("-d is for all replies: not together with -w or -W");
	if (optind == argc || argc - optind > LISTENERS_MAX || strlen(opt.name) > 100) {
		fputs(usage, stderr);
		return 2;
	}
	tls_init(cert, key);
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
