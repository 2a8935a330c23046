/* clang-format off */
/*
 * What the sessions of the load generator say: the SMTP dialog, step by step, and the ledger of it.
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
#include "checks/bench/load_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static long begun;
static char *message; /* scratch: the un-stuffed message */
static size_t message_max;
static char *auth; /* the command; NULL: nobody logs in */

void smtp_init(void)
{
	message_max = opt->size + 1024;
	message = malloc(message_max);
	if (!message)
		die("memory");
	auth = opt->login ? auth_plain(opt->login) : NULL;
}

void smtp_fini(void)
{
	free(message);
	free(auth);
}

long load_begun(void)
{
	return begun;
}

void ledger(const char *kind, long n, const char *text)
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

static void finish(struct session *s)
{
	put_text(s, "QUIT\r\n");
	step(s, ST_QUIT, 1);
	flush(s);
}

void begin_message(struct session *s)
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
	s->n = opt->first + begun++;
	s->sent = s->data_refused = false;
	s->rcpt_at = s->rcpts_ok = 0;
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
		if (!good) {
			lost(s, text);
		} else if (opt->starttls && !s->ssl) {
			put_text(s, "STARTTLS\r\n");
			step(s, ST_STARTTLS, 1);
			flush(s);
		} else if (auth) {
			put_text(s, auth);
			step(s, ST_AUTH, 1);
			flush(s);
		} else {
			begin_message(s);
		}
		break;
	case ST_AUTH:
		if (code != 235) {
			lost(s, text);
			return;
		}
		fig->logins++;
		begin_message(s);
		break;
	case ST_STARTTLS:
		if (!good) {
			lost(s, text);
			return;
		}
		tls_begin(s);
		step(s, ST_HANDSHAKE, 0);
		shake(s);
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

void begin_again(struct session *s)
{
	put_text(s, "EHLO load.test\r\n");
	step(s, ST_EHLO, 1);
	flush(s);
}

void parse(struct session *s)
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
