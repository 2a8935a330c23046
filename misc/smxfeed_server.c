/*
 * smtps, by LMTP over its Unix socket. Invariant: after an error the connection is cut, and smtps
 * has nothing of a transaction whose end it was not told. One thread.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/time.h"
#include "misc/smxfeed.h"
#include "misc/submit.h"

#define GREETING_MS (60 * 1000)
#define QUIT_MS     (5 * 1000)

void sf_server_cut(struct sf *f)
{
	if (f->server.in == -1)
		return;
	(void)close(f->server.in);
	f->server.in = f->server.out = -1;
	sm_buf_reset(&f->server.rd);
	sm_buf_reset(&f->server.wr);
}

void sf_server_say(struct sf *f, const char *fmt, ...)
{
	size_t at = f->server.wr.len;
	va_list ap;

	va_start(ap, fmt);
	sm_buf_vprintf(&f->server.wr, fmt, ap);
	va_end(ap);
	if (f->opts.dialogue) {
		struct sm_str said = sm_str_from(sm_buf_view(&f->server.wr), at);

		sf_log(f, LOG_DEBUG, "to smtps: %.*s", SM_STR_ARG(said));
	}
	sm_buf_cstr(&f->server.wr, "\r\n");
}

int sf_reply(struct sf *f, int64_t deadline_ms)
{
	int rc = sf_flush(f, &f->server, deadline_ms);
	struct sm_str line;
	bool lf;

	sm_reply_parser_reset(&f->reply);
	while (rc == 0) {
		rc = sf_line(f, &f->server, &line, &lf, deadline_ms);
		if (rc != 0)
			break;
		if (f->opts.dialogue)
			sf_log(f, LOG_DEBUG, "from smtps: %.*s", SM_STR_ARG(line));
		rc = sm_reply_parser_feed(&f->reply, line);
	}
	if (rc < 0) {
		sf_server_cut(f);
		return rc;
	}
	return f->reply.code;
}

/* What the client is told of them: what smxfeed passes on, and nothing that changes the way of
 * bytes. */
static bool is_passed_on(struct sm_str word)
{
	static const struct sm_str words[] = {
	    SM_STR("PIPELINING"), SM_STR("ENHANCEDSTATUSCODES"),
	    SM_STR("8BITMIME"),   SM_STR("SIZE"),
	    SM_STR("DSN"),        SM_STR("SMTPUTF8"),
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(words); i++)
		if (sm_str_caseeq(word, words[i]))
			return true;
	return false;
}

static void learn(struct sf *f)
{
	struct sm_str rest = sm_buf_view(&f->reply.text);
	struct sm_buf b;

	sm_buf_init(&b, 4096);
	f->pipelining = f->xforward = false;
	f->max_bytes = 0;
	(void)sm_str_split(rest, '\n', &rest); /* the first line greets */
	while (rest.p != NULL) {
		struct sm_str line = sm_str_split(rest, '\n', &rest), arg = line;
		struct sm_str word = sm_str_word(&arg);
		uint64_t n;

		if (sm_str_caseeq(word, SM_STR("SIZE")) &&
		    sm_str_u64(sm_str_word(&arg), 10, INT64_MAX, &n) == 0)
			f->max_bytes = (int64_t)n;
		f->pipelining = f->pipelining || sm_str_caseeq(word, SM_STR("PIPELINING"));
		f->xforward = f->xforward || sm_str_caseeq(word, SM_STR("XFORWARD"));
		if (is_passed_on(word) && !sm_str_caseeq(word, SM_STR("SIZE")))
			sm_buf_printf(&b, "\n%.*s", SM_STR_ARG(line));
	}
	if (f->opts.max_bytes > 0 && (f->max_bytes == 0 || f->opts.max_bytes < f->max_bytes))
		f->max_bytes = f->opts.max_bytes;
	if (f->max_bytes > 0)
		sm_buf_printf(&b, "\nSIZE %lld", (long long)f->max_bytes);
	sm_arena_reset(&f->arena);
	f->extensions = sm_arena_str(&f->arena, sm_buf_view(&b));
	sm_buf_fini(&b);
}

static int expect(struct sf *f, int want, const char *what)
{
	int code = sf_reply(f, sm_now_ms() + GREETING_MS);

	if (code < 0 || code == want)
		return code < 0 ? code : 0;
	(void)sm_fail(SM_E_DENIED, "%s: %d %.200s", what, code, sm_buf_c(&f->reply.text));
	sf_server_cut(f);
	return SM_E_DENIED;
}

int sf_server_open(struct sf *f)
{
	struct pollfd p = {.fd = f->server.in, .events = POLLIN};
	char path[108];
	int fd, rc;

	if (f->server.in != -1 && f->server.rd.len == 0 && poll(&p, 1, 0) == 0)
		return 0;
	sf_server_cut(f);
	rc = f->opts.socket != NULL ? sm_str_copy(sm_str(f->opts.socket), path, sizeof(path))
	                            : sm_str_copy(f->conf.socket, path, sizeof(path));
	if (rc != 0)
		return sm_fail(SM_E_TOOBIG, "the path of the socket is too long");
	fd = sb_connect(path);
	if (fd < 0)
		return fd;
	(void)fcntl(fd, F_SETFL, O_NONBLOCK);
	f->server.in = f->server.out = fd;
	rc = expect(f, 220, "greeting");
	if (rc != 0)
		return rc;
	sf_server_say(f, "LHLO %s", f->hostname);
	rc = expect(f, 250, "LHLO");
	if (rc == 0)
		learn(f);
	return rc;
}

void sf_server_quit(struct sf *f)
{
	if (f->server.in == -1)
		return;
	sf_server_say(f, "QUIT");
	(void)!(sf_reply(f, sm_now_ms() + QUIT_MS) == 221);
	sf_server_cut(f);
}
