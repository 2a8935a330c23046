/*
 * Sessions: from connect to EHLO, and how replies are read.
 *
 * Whatever a server sends is bounded here: bytes and lines of a reply, the time it may take, and
 * bytes that come when none are due. Invariant: after the first thing that does not fit the
 * protocol a session is `broken`; nothing is sent over it any more. Coroutines of the loop's
 * thread.
 */
#include "smtpc/session.h"

#include <stdio.h>
#include <unistd.h>

#include "libsm/co.h"
#include "libsm/log.h"
#include "smtpc/auth.h"
#include "smtpc/result.h"
#include "smtpc/sc.h"
#include "smtpc/starttls.h"
#include "smtpc/transcript.h"

enum {
	REPLY_LINE_MAX = 4096, /* RFC 5321 says 512; some say more */
	IN_BYTES = 16 * 1024,
	OUT_BYTES = 64 * 1024 + 16,
	SUCCEED_MS = 5000, /* a server that does not answer QUIT holds nobody longer */
};

int64_t sc_session_deadline(const struct sc_session *s, int64_t timeout_ms)
{
	return SM_MIN(sm_loop_now_ms() + timeout_ms, s->end_ms);
}

static int64_t or_io(const struct sc_session *s, int64_t own_ms)
{
	return own_ms > 0 ? own_ms : s->sc->conf->io_timeout_ms;
}

int64_t sc_session_helo_ms(const struct sc_session *s)
{
	return or_io(s, s->timeouts.helo_ms);
}

int64_t sc_session_rset_ms(const struct sc_session *s)
{
	return or_io(s, s->timeouts.rset_ms);
}

/* ---- why ---- */

void sc_why_reply(struct sc_why *why, const struct sc_session *s, enum sm_stage stage)
{
	why->stage = stage;
	why->permanent = why->abort = false;
	why->code = s->reply.code;
	why->session = s->id;
	why->reach = s->reply.code == 421 ? SM_REACH_BUSY : SM_REACH_REFUSED;
	(void)sc_text_reply(why->text, s->reply.code, sm_buf_view(&s->reply.text), stage);
}

void sc_why_error(struct sc_why *why, enum sm_stage stage, int err)
{
	const char *enhanced = "4.4.2"; /* bad connection */

	if (err == SM_E_CANCEL)
		enhanced = "4.3.2";
	else if (stage == SM_STAGE_LOCAL)
		enhanced = "4.3.0";
	else if (stage == SM_STAGE_CONNECT)
		enhanced = "4.4.1";
	else if (err == SM_E_TLS)
		enhanced = "4.7.5";
	else if (err == SM_E_PROTO || err == SM_E_TOOBIG || err == SM_E_SYNTAX)
		enhanced = "4.5.0";
	why->stage = stage;
	why->code = 0;
	why->session = (struct sm_cid){0};
	why->permanent = why->abort = false;
	why->lasting = err == SM_E_NOTFOUND || err == SM_E_CORRUPT;
	why->reach = stage == SM_STAGE_LOCAL ? SM_REACH_NONE : SM_REACH_REFUSED;
	(void)sc_text_local(why->text, enhanced,
	                    err == SM_E_CANCEL ? "smtpc is shutting down" : sm_diag());
}

/* ---- replies ---- */

static int broken(struct sc_session *s, int err)
{
	s->broken = true;
	return err;
}

int sc_session_reply(struct sc_session *s, int64_t timeout_ms)
{
	int64_t deadline = sc_session_deadline(s, timeout_ms);
	size_t bytes = 0;
	int rc;

	sm_reply_parser_reset(&s->reply);
	do {
		struct sm_str line;
		rc = sm_stream_line(&s->stream, &line, REPLY_LINE_MAX, deadline);
		if (rc == SM_E_TOOBIG)
			return broken(s, sm_fail(SM_E_PROTO, "reply line of more than %d bytes",
			                         REPLY_LINE_MAX));
		if (rc == SM_E_SYNTAX)
			return broken(s, sm_fail(SM_E_PROTO, "bare CR, bare LF or NUL in reply"));
		if (rc != 0)
			return broken(s, rc);
		sc_transcript_heard(s, line);
		bytes += line.n + 2;
		if (bytes > (size_t)s->sc->conf->max_reply_bytes)
			return broken(s,
			              sm_fail(SM_E_PROTO, "reply of more than %zu bytes", bytes));
		rc = sm_reply_parser_feed(&s->reply, line);
		if (rc < 0)
			return broken(s, rc == SM_E_TOOBIG ? SM_E_PROTO : rc);
	} while (rc == 0);
	/* An idle session's 421 tells that it has been idle, not how the host is. */
	if (s->reply.code != 421)
		s->reused = false;
	if (s->reply.code == 221 || s->reply.code == 421)
		s->broken = true;
	return s->reply.code;
}

int sc_session_in_step(struct sc_session *s)
{
	if (!sm_stream_has_input(&s->stream))
		return 0;
	return broken(s, sm_fail(SM_E_PROTO, "server sent more than it was asked for"));
}

/* ---- greeting ---- */

void sc_session_forget(struct sc_session *s)
{
	s->ehlo = (struct sc_ehlo){0};
}

static int hello(struct sc_session *s, const char *verb)
{
	sm_stream_printf(&s->stream, "%s " SM_STR_FMT "\r\n", verb, SM_STR_ARG(s->sc->hostname));
	return sc_session_reply(s, sc_session_helo_ms(s));
}

int sc_session_hello(struct sc_session *s)
{
	int rc = hello(s, s->lmtp ? "LHLO" : "EHLO");
	int step;

	if (rc == 250) {
		sc_ehlo_parse(sm_buf_view(&s->reply.text), &s->ehlo);
		sc_ehlo_ignore(&s->ehlo, s->ignored);
	}
	if (rc == 250 && (step = sc_session_in_step(s)) != 0)
		return step;
	return rc;
}

/* Greeting and hello over the connection that is there. */
static int greet(struct sc_session *s, struct sc_why *why)
{
	enum sm_stage stage = SM_STAGE_GREETING;
	int rc = sc_session_reply(s, s->timeouts.greeting_ms);

	if (rc == 220) {
		stage = SM_STAGE_HELO;
		rc = sc_session_in_step(s);
		if (rc == 0)
			rc = sc_session_hello(s);
		if (rc >= 500 && !s->lmtp && sc_session_in_step(s) == 0) {
			rc = hello(s, "HELO");
			if (rc == 250)
				rc = sc_session_in_step(s) == 0 ? 250 : SM_E_PROTO;
		}
		if (rc == 250)
			return 0;
	}
	if (rc < 0) {
		sc_why_error(why, stage, rc);
		return rc;
	}
	sc_why_reply(why, s, stage);
	return sm_fail(SM_E_PEER, "refused: %s", why->text);
}

static struct sc_session *session_new(struct sc *sc, bool lmtp, int64_t end_ms)
{
	struct sc_session *s = sm_calloc(1, sizeof(*s));
	int rc;

	s->sc = sc;
	s->net.f.fd = -1;
	s->lmtp = lmtp;
	s->end_ms = end_ms;
	s->timeouts = sc->conf->timeouts;
	rc = sc_source_parse(&sc->conf->source_address, &s->source);
	sm_assert(rc == 0); /* sc_conf_check has seen it */
	s->id = (struct sm_cid){.proc = sc->proc, .counter = ++sc->session_count, .task = 0};
	sm_list_init(&s->idle);
	sm_list_init(&s->there);
	sm_stream_init(&s->stream, &s->net, IN_BYTES, OUT_BYTES);
	sm_reply_parser_init(&s->reply, (int)sc->conf->max_reply_lines);
	return s;
}

void sc_session_free(struct sc_session **sp)
{
	struct sc_session *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	sm_timer_cancel(&s->timer);
	sm_reply_parser_fini(&s->reply);
	sm_stream_fini(&s->stream);
	sm_net_close(&s->net);
	sm_free((void *)(uintptr_t)s->key.p);
	sm_free(s);
}

/* Where to connect; an entry without address means the local agent's socket. */
static int address_of(struct sc *sc, const struct sm_msg_host *host, struct sm_sa *sa)
{
	char text[SM_SA_TEXT];

	*sa = host->sa;
	if (sa->len == 0)
		return sm_sa_unix(sa, sc->conf->lmtp_socket);
	/* smar has its opinion about addresses; these are wrong whoever says so. */
	if (sm_sa_is_bogus(sa))
		return sm_fail(SM_E_DENIED, "%s is no address to send mail to",
		               sm_sa_host_text(sa, text));
	return 0;
}

/* Over a connection: everything before the first mail. SM_E_AGAIN: once more, in clear. */
static int set_up(struct sc_session *s, struct sc_server_conf *c, bool of_rcpt, struct sm_id ta,
                  struct sc_why *why)
{
	int rc = greet(s, why);

	(void)snprintf(s->tls_text, sizeof(s->tls_text), "none");
	if (rc == 0)
		rc = sc_starttls(s, c, of_rcpt, ta, why);
	if (rc == 0)
		rc = sc_auth(s, c, ta, why);
	return rc;
}

/* What the text says of the session; TLS and credentials are of its beginning only. */
static void take_conf(struct sc_session *s, const struct sc_server_conf *c)
{
	s->chunking = c->chunking;
	s->ignored = c->ignored;
	s->timeouts = c->timeouts;
	if (c->source.in4.len != 0)
		s->source.in4 = c->source.in4;
	if (c->source.in6.len != 0)
		s->source.in6 = c->source.in6;
	s->max_transactions = c->max_transactions;
	s->dial_delay_ms = c->dial_delay_ms;
	s->xforward = c->xforward;
}

static int connect_once(struct sc_session *s)
{
	char at[SM_SA_TEXT];

	sc_transcript_note(s->transcript, "connecting to %s at %s", s->host,
	                   sm_sa_text(&s->sa, at));
	return sm_net_connect(&s->net, &s->sa, sc_source_for(&s->source, &s->sa),
	                      sc_session_deadline(s, s->timeouts.connect_ms));
}

/* The first try may be what makes a line be dialled: once more when it is up. */
static int connect_to(struct sc_session *s, struct sc_why *why)
{
	int rc = connect_once(s);

	if (rc != 0 && rc != SM_E_CANCEL && s->dial_delay_ms > 0 &&
	    sm_loop_now_ms() + s->dial_delay_ms < s->end_ms) {
		sm_log(SM_INFO, "sc.dial", "da_sess=%C server=%s address=%A delay=%m error=%s",
		       s->id, s->host, &s->sa, s->dial_delay_ms, sm_diag());
		rc = sm_co_sleep(sm_loop_now_ms() + s->dial_delay_ms);
		if (rc == 0)
			rc = connect_once(s);
	}
	/* An address that is not ours, or a rule that forbids it here, says nothing of the server.
	 */
	if (rc != 0)
		sc_why_error(why, rc == SM_E_DENIED ? SM_STAGE_LOCAL : SM_STAGE_CONNECT, rc);
	return rc;
}

/* A connection is over, another one begins. */
static void start_again(struct sc_session *s)
{
	sm_stream_drop_input(&s->stream);
	sm_buf_reset(&s->stream.out);
	sm_reply_parser_reset(&s->reply);
	sc_session_forget(s);
	s->tls = s->broken = false;
}

static int open_with(struct sc_session *s, struct sc_server_conf *c, const struct sc_open *o,
                     struct sc_why *why)
{
	int rc = sc_server_conf_get(c, s->sc, o->host, &s->sa, o->conf, s->end_ms, why);

	if (rc == 0) {
		take_conf(s, c);
		rc = connect_to(s, why);
	}
	if (rc == 0)
		rc = set_up(s, c, o->conf.n > 0, o->ta, why);
	if (rc == SM_E_AGAIN) {
		start_again(s);
		c->joined.level = SC_TLS_NONE;
		rc = connect_to(s, why);
		if (rc == 0)
			rc = set_up(s, c, o->conf.n > 0, o->ta, why);
		sm_assert(rc != SM_E_AGAIN);
	}
	return rc;
}

int sc_session_open(struct sc *sc, const struct sc_open *o, struct sc_why *why,
                    struct sc_session **out)
{
	struct sc_session *s = session_new(sc, o->lmtp, o->end_ms);
	struct sc_server_conf c;
	int rc = address_of(sc, o->host, &s->sa);

	*out = NULL;
	sc_transcript_follow(s, o->transcript);
	char *copy = sm_malloc(o->key.n + 1);
	if (o->key.n > 0)
		memcpy(copy, o->key.p, o->key.n);
	s->key = sm_str_n(copy, o->key.n);
	(void)snprintf(s->host, sizeof(s->host), SM_STR_FMT,
	               SM_STR_ARG(sm_str_head(o->host->name, sizeof(s->host) - 1)));
	if (rc != 0) {
		sc_why_error(why, SM_STAGE_CONNECT, rc);
	} else {
		sc_server_conf_init(&c);
		rc = open_with(s, &c, o, why);
		sc_server_conf_fini(&c);
	}
	sm_log(rc == 0 ? SM_INFO : SM_NOTICE, rc == 0 ? "sc.session" : "sc.session_failed",
	       "da_sess=%C ss_ta=%?I server=%s address=%A where=%s tls=%?s stat=%d reply=%?s",
	       s->id, o->ta, s->host, &s->sa, rc == 0 ? "hello" : sc_stage_name(why->stage),
	       s->tls_text, rc == 0 ? s->reply.code : why->code, rc == 0 ? "" : why->text);
	if (rc != 0) {
		why->session = s->id;
		sc_transcript_follow(s, NULL);
		if (s->broken || s->net.f.fd == -1)
			sc_session_free(&s);
		else
			sc_session_quit(&s);
		return rc;
	}
	*out = s;
	return 0;
}

int sc_session_adopt(struct sc *sc, int fd, bool lmtp, int64_t end_ms, struct sc_server_conf *conf,
                     struct sc_why *why, struct sc_session **out)
{
	struct sc_session *s = session_new(sc, lmtp, end_ms);
	int rc = sm_net_open(&s->net, fd);

	*out = NULL;
	take_conf(s, conf);
	if (rc != 0)
		sc_why_error(why, SM_STAGE_CONNECT, rc);
	else
		rc = set_up(s, conf, false, (struct sm_id){0}, why);
	if (rc != 0)
		sc_session_free(&s);
	*out = s;
	return rc;
}

/* ---- the end ---- */

struct sc_successor {
	struct sm_co *co;
	bool may_go;
};

static void quit(void *arg)
{
	struct sc_session *s = arg;
	struct sc_successor *next;

	s->end_ms = SM_NEVER;
	sm_stream_puts(&s->stream, SM_STR("QUIT\r\n"));
	(void)!sc_session_reply(s, s->timeouts.quit_ms);
	sc_cache_left(&s->sc->cache, s);
	next = s->successor;
	sc_session_free(&s);
	if (next != NULL) {
		next->may_go = true;
		sm_co_wake(next->co);
	}
}

void sc_session_quit(struct sc_session **sp)
{
	struct sc_session *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	if (s->broken || sm_co_spawn("quit", quit, s) == NULL)
		sc_session_free(&s);
	else
		sc_cache_leaves(&s->sc->cache, s);
}

void sc_session_succeed(struct sc *sc, const struct sm_sa *sa)
{
	struct sc_successor self = {.co = sm_co_self()};
	int64_t deadline = sm_loop_now_ms() + SM_MIN(SUCCEED_MS, sc->conf->timeouts.quit_ms);
	struct sc_session *before = sc_cache_leaving(&sc->cache, sa);

	if (before == NULL)
		return;
	before->successor = &self;
	sc_cache_left(&sc->cache, before);
	while (!self.may_go)
		if (sm_co_park("QUIT of the session before", deadline) != 0)
			break;
	if (self.may_go)
		return;
	before->successor = NULL;
	sc_cache_leaves(&sc->cache, before);
}
