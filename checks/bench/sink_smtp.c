/*
 * What is said to the sink: commands, content, and the lines about what arrived.
 *
 * Invariant: `in` is a window of the connection; content is consumed line by line and only
 * CRLF.CRLF ends it. One thread.
 */
#include "config.h"
#include "checks/bench/sink.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/uio.h>
#include <unistd.h>

void say(struct conn *c, const char *text)
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

void final_reply(struct conn *c)
{
	int i, replies = c->lmtp ? c->rcpt_count : 1;

	for (i = 0; i < replies; i++)
		say(c, "250 2.0.0 Ok\r\n");
	count.messages++;
	count.rcpts += c->rcpt_count;
	count.last = now() + opt.command_ms / 1e3;
	if (chance(opt.drop_after)) {
		count.dropped_after++;
		c->closing = true;
	}
	reset(c);
}

static void end_of_data(struct conn *c)
{
	bool drop = chance(opt.drop_before);

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
	reply_later(c);
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
		snprintf(text, sizeof text, "250-%s\r\n%s250-8BITMIME\r\n%s250 SIZE\r\n", opt.name,
		         opt.no_pipelining ? "" : "250-PIPELINING\r\n",
		         tls_offered() && !c->ssl ? "250-STARTTLS\r\n" : "");
		say(c, text);
	} else if (!strncasecmp(line, "QUIT", 4)) {
		say(c, "221 2.0.0 Bye\r\n");
		c->closing = true;
	} else if (!strncasecmp(line, "STARTTLS", 8) && tls_offered() && !c->ssl) {
		say(c, "220 2.0.0 Go ahead\r\n");
		reset(c);
		c->starting = true;
	} else if (!strncasecmp(line, "RSET", 4)) {
		reset(c);
		say(c, "250 2.0.0 Ok\r\n");
	} else {
		say(c, "250 2.0.0 Ok\r\n");
	}
}

void consume(struct conn *c)
{
	size_t at = 0, n;
	char line[1024], *nl;

	while (at < c->in_len && !c->waiting && !c->dead && !c->closing && !c->starting) {
		if (c->data) {
			n = opt.arrivals >= 0 || (opt.reports && !c->sender[0])
			        ? keep_content(c, c->in + at, c->in_len - at)
			        : skip_content(c, c->in + at, c->in_len - at);
			if (n == 0)
				break;
			at += n;
			if (!c->data && !c->waiting && !c->dead)
				hold_reply(c);
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
		if (!c->dead)
			hold_reply(c);
	}
	if (c->starting) /* what came in clear behind STARTTLS counts for nothing (RFC 3207 4.2) */
		at = c->in_len;
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
}
