/*
 * The session: greet, then command after command until one side has enough. Invariants: one reply a
 * command, in order; replies to what came in one piece leave in one piece; whatever way it ends,
 * the transaction is reset, qmgr is told, and the memory is freed, here. Runs as a coroutine of the
 * loop.
 */
#include "smtps/session.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/smtp_cmd.h"
#include "smtps/cmds.h"
#include "smtps/greet.h"
#include "smtps/milters.h"
#include "smtps/peers.h"
#include "smtps/policy.h"
#include "smtps/proxy.h"
#include "smtps/received.h"
#include "smtps/require.h"

#define UID_PREFIX "uid:" /* no name of an account has a colon */

enum {
	IN_MAX = 32 * 1024, /* buffered input: what one pipelined batch may be */
	OUT_MAX = 64 * 1024,
	OUT_MAX_LMTP = 4 * 1024 * 1024, /* with the replies for all recipients of a message */
	OUT_SOFT =
	    8 * 1024, /* replies that gather before they are sent although more input waits */
	ARENA_FIRST = 512,
	ARENA_CAP = 64 * 1024,
	MANY_SESSIONS = 250,
	LINGER_MS = 1500,
	LINGER_BYTES = 256 * 1024,
};

/* ---- for handlers ---- */

void ss_say_and_close(struct ss_session *s, enum ss_reply_name r, const char *why)
{
	ss_say(s, r);
	s->closing = s->linger = true;
	s->why = why;
}

/* Counts a bad command; true: that was one too many, and it has been said. */
static bool one_bad_too_many(struct ss_session *s)
{
	enum ss_reply_name many = ss_limits_bad(&s->limits, s->conf);

	if (many != SS_R_NONE)
		ss_say_and_close(s, many, "too many bad commands");
	return many != SS_R_NONE;
}

static void log_bad(const struct ss_session *s)
{
	sm_log(SM_INFO, "ss.bad", "ss_sess=%I ss_ta=%?I client=%A bad=%u stat=%d text=%s", s->id,
	       s->txn.id, &s->client, s->limits.bad_session, s->reply_code, s->reply_text);
}

void ss_bad(struct ss_session *s, enum ss_reply_name r)
{
	if (!one_bad_too_many(s))
		ss_say(s, r);
	log_bad(s);
}

void ss_bad_detail(struct ss_session *s, enum ss_reply_name r, const char *detail)
{
	if (!one_bad_too_many(s))
		ss_say_detail(s, r, detail);
	log_bad(s);
}

void ss_bad_param(struct ss_session *s, enum ss_reply_name r, struct sm_str what)
{
	char keyword[40];

	sm_str_cut(what, keyword, sizeof(keyword));
	ss_bad_detail(s, r, keyword);
	s->refused = true;
}

int64_t ss_deadline(const struct ss_session *s)
{
	return SM_MIN(sm_loop_now_ms() + s->conf->io_timeout_ms, s->ends_ms);
}

void ss_session_earned(struct ss_session *s)
{
	s->who.may_relay = true;
	if (s->conn_unresolved) {
		sm_log(SM_INFO, "ss.earned", "ss_sess=%I client=%A stat=%d text=%S why=%s", s->id,
		       &s->client, s->conn_code, s->conn_text, "may relay");
		s->conn_code = 0;
		s->conn_unresolved = false;
	}
}

/* What a client may by where it comes from. */
static void stand(struct ss_session *s)
{
	s->who = (struct ss_standing){
	    .may_relay =
		s->via.len == 0 &&
		ss_policy_local_session(
		    sm_sa_is_loopback(&s->client), (s->conf->flags & SS_F_LOOPBACK_RELAY) != 0,
		    ss_conf_name_in(&s->conf->relay_from_local, sm_str(s->listener)))};
}

void ss_session_told_client(struct ss_session *s, const struct sm_sa *client)
{
	s->via = s->client;
	s->client = *client;
	s->owner[0] = '\0'; /* that was the front end's */
	stand(s);
}

void ss_session_anew(struct ss_session *s)
{
	ss_txn_reset(s, false);
	if (s->told_qmgr)
		ss_peers_session_gone(s->ss, s->id);
	/* With the right to relay that it earned: that goes with all rights. */
	s->auth = (struct ss_auth){.failures = s->auth.failures};
	s->told_qmgr = s->admitted = false;
	s->conf = s->ss->conf;
	s->limits = (struct ss_limits){.transactions = 0};
	s->helo = s->client_name = SM_STR_NONE;
	s->esmtp = false;
	s->conn_code = 0;
	s->conn_unresolved = false;
	stand(s);
}

int ss_session_configure(struct ss_session *s, struct sm_str text)
{
	struct ss_conf *own;
	int rc;

	if (sm_str_empty(text))
		return 0;
	own = sm_arena_alloc(&s->arena, sizeof(*own));
	if (own == NULL)
		return sm_fail(SM_E_TOOBIG, "no room for the configuration of a session");
	rc = ss_conf_for_session(s->conf, text, &s->arena, own);
	if (rc != 0)
		return rc;
	s->conf = own;
	s->ends_ms = s->began_ms + own->session_timeout_ms;
	stand(s);
	return 0;
}

enum ss_reply_name ss_session_lacks(const struct ss_session *s)
{
	const struct sm_tls_facts *tls = &s->tls.facts;
	struct ss_safety is = {.may_relay = s->who.may_relay, .authenticated = s->auth.done};

	if (s->net.tls != NULL) {
		is.encrypted = true;
		is.bits = tls->bits;
	}
	/* Behind XCLIENT the certificate is the front end's. */
	if (s->net.tls != NULL && !s->told_by_xclient) {
		is.verified = tls->verify == SM_TLS_OK;
		is.issuer = tls->issuer;
		is.subject = tls->subject;
		is.name = tls->name;
	}
	return ss_require(s->conf, &is);
}

bool ss_early_input(struct ss_session *s)
{
	if (sm_stream_has_input(&s->io))
		return true;
	/* A client that has closed its side is no early talker. */
	if (s->net.f.hup)
		return false;
	/* TLS may hold what the socket no longer has. */
	return ((s->net.f.ready & SM_RD) || s->net.tls != NULL) && sm_net_pending(&s->net);
}

/* ---- one command ---- */

/*
 * Not legal now. What a pipelining client sent behind a MAIL or RCPT that was refused is no
 * offence: it could not know.
 */
static void out_of_order(struct ss_session *s, const struct ss_cmd *cmd, enum ss_reply_name r)
{
	bool chunk = (cmd->flags & SS_CMD_CHUNK) != 0;
	bool excused = s->refused && (cmd->run == ss_cmd_rcpt || cmd->run == ss_cmd_data || chunk);
	enum ss_reply_name many = SS_R_NONE;

	if (!excused) {
		ss_bad(s, r);
		return;
	}
	if (cmd->run == ss_cmd_rcpt)
		many = ss_limits_deferred(&s->limits, s->conf);
	else
		s->refused = chunk; /* more of them may be on the way */
	if (many != SS_R_NONE)
		ss_say_and_close(s, many, "too many refused recipients");
	else
		ss_say(s, r);
}

static void run_line(struct ss_session *s, struct sm_str line)
{
	const struct ss_cmd *cmd;
	struct sm_smtp_cmd c;
	enum ss_reply_name r;

	if (sm_smtp_cmd_parse(line, &c) != 0) {
		if (sm_str_has_prefix(line, SM_STR("SSH-")))
			ss_say_and_close(s, SS_R_NOT_SMTP, "another protocol");
		else
			ss_bad(s, SS_R_LINE_BAD);
		return;
	}
	cmd = ss_cmd_find(c.verb);
	if (cmd != NULL && (cmd->flags & SS_CMD_CHUNK) && !ss_offers_chunking(s->conf))
		cmd = NULL;
	if (cmd != NULL && (cmd->flags & SS_CMD_LMTP) && !ss_speaks_lmtp(s))
		cmd = NULL;
	if (cmd != NULL && (cmd->flags & SS_CMD_SMTP) && ss_speaks_lmtp(s)) {
		ss_bad(s, SS_R_SAY_LHLO);
		return;
	}
	if (cmd == NULL) {
		if (ss_cmd_foreign(c.verb))
			ss_say_and_close(s, SS_R_NOT_SMTP, "another protocol");
		else if (!ss_word_stops(s, ss_milters_unknown(s, line)))
			ss_bad(s, SS_R_UNKNOWN_COMMAND);
		return;
	}
	if ((cmd->flags & SS_CMD_LAST) && ss_early_input(s)) {
		/* What follows may be content or an attack: none of it is ever run as commands. */
		ss_say_and_close(s, SS_R_EARLY_TALKER, "early talker");
		return;
	}
	if ((cmd->flags & SS_CMD_NOARG) && c.arg.n > 0) {
		ss_bad(s, SS_R_NO_ARGUMENT);
		return;
	}
	r = ss_cmd_illegal(cmd, ss_state(s));
	if (r != SS_R_NONE) {
		if (!(cmd->flags & SS_CMD_CHUNK) || ss_bdat_skip(s, c.arg))
			out_of_order(s, cmd, r);
		return;
	}
	/* RSET ends a transaction that came to nothing: it counts outside of it, and so stays
	 * counted. */
	r = cmd->flags & SS_CMD_NOP
	        ? ss_limits_nop(&s->limits, s->conf, s->txn.open && cmd->run != ss_cmd_rset)
	        : SS_R_NONE;
	if (r != SS_R_NONE) {
		ss_say_and_close(s, r, "too many commands that do nothing");
		return;
	}
	/* A front end that goes on without XCLIENT is a client like others. */
	if (!s->admitted && !(cmd->flags & SS_CMD_ANYBODY) && !ss_admit_late(s))
		return;
	sm_co_doing(cmd->verb, SM_STR_NONE);
	cmd->run(s, c.arg);
	s->answers = 0;
}

/* Too long: thrown away up to its end, within the session's budget of junk. */
static void long_line(struct ss_session *s, enum ss_reply_name r)
{
	uint64_t before = s->net.in_bytes - s->io.in.len, after;
	int err =
	    sm_stream_skip_line(&s->io, ss_limits_junk_left(&s->limits, s->conf), ss_deadline(s));

	after = s->net.in_bytes - s->io.in.len;
	ss_limits_junk(&s->limits, after - before);
	if (err == 0) {
		ss_bad(s, r);
	} else if (err == SM_E_TOOBIG) {
		ss_say_and_close(s, SS_R_JUNK, "too much junk");
	} else if (err == SM_E_TIMEOUT) {
		ss_say_and_close(s, SS_R_TIMEOUT, "timeout");
	} else {
		s->closing = s->mute = true;
		s->why = "connection lost";
	}
}

void ss_no_line(struct ss_session *s, int err, enum ss_reply_name too_long)
{
	switch (err) {
	case SM_E_TOOBIG:
		long_line(s, too_long);
		break;
	case SM_E_SYNTAX:
		ss_bad(s, SS_R_LINE_BAD);
		break;
	case SM_E_TIMEOUT:
		if (sm_loop_now_ms() >= s->ends_ms)
			ss_say_and_close(s, SS_R_SESSION_TIME, "session took too long");
		else
			ss_say_and_close(s, SS_R_TIMEOUT, "timeout");
		break;
	case SM_E_CANCEL:
		ss_say_and_close(s, SS_R_SHUTDOWN, "shutdown");
		break;
	default:
		s->closing = s->mute = true;
		s->why = "connection lost";
		break;
	}
}

/* Before EHLO, a byte that begins no text (a TLS handshake, say) tells enough. */
static int wait_first(struct ss_session *s)
{
	char c;
	int err = sm_stream_wait(&s->io, &c, ss_deadline(s));

	if (err == 0 && (unsigned char)c < ' ' && c != '\r' && c != '\n') {
		ss_say_and_close(s, SS_R_NOT_SMTP, "another protocol");
		return SM_E_PROTO;
	}
	return err;
}

static void one_command(struct ss_session *s)
{
	enum ss_reply_name too_long = SS_R_LINE_TOO_LONG;
	struct sm_str line;
	int err = 0;

	if (s->ss->draining && !s->txn.open) {
		ss_say_and_close(s, SS_R_SHUTDOWN, "shutdown");
		return;
	}
	s->idle = !s->txn.open;
	sm_co_doing(s->idle ? SM_STR("idle") : SM_STR("in transaction"), SM_STR_NONE);
	/* Among many, memory is worth a system call: what the stack was used for before is given
	 * back. */
	if (s->idle && s->ss->session_count > MANY_SESSIONS && !sm_stream_has_input(&s->io))
		sm_co_trim();
	if (sm_str_empty(s->helo))
		err = wait_first(s);
	if (err == 0)
		err =
		    sm_stream_line(&s->io, &line, (size_t)s->conf->max_command_bytes - 2 /* CRLF */,
		                   ss_deadline(s));
	/* With the response in it, AUTH is longer than any other. */
	if (err == SM_E_TOOBIG && ss_auth_on(s) && ss_auth_begins(sm_buf_view(&s->io.in))) {
		too_long = SS_R_AUTH_LINE;
		err = sm_stream_line(&s->io, &line, SS_AUTH_LINE_MAX - 2, ss_deadline(s));
	}
	s->idle = false;
	if (s->closing)
		return;
	if (err == 0)
		run_line(s, line);
	else
		ss_no_line(s, err, too_long);
	/* A client that sends and never reads gets no further than this. */
	if (!s->mute && s->io.out.len > OUT_SOFT && sm_stream_flush(&s->io, ss_deadline(s)) != 0) {
		s->closing = s->mute = true;
		s->why = "client does not read";
	}
}

void ss_session_talk(struct ss_session *s)
{
	if (ss_proxy(s) && ss_greet(s))
		while (!s->closing)
			one_command(s);
	if (s->mute)
		return;
	if (sm_co_cancelled()) {
		/* Told to end: no more waiting, but it may just fit. */
		sm_net_try_write(&s->net, sm_buf_p(&s->io.out), s->io.out.len);
	} else if (sm_stream_flush(&s->io, sm_loop_now_ms() + s->conf->io_timeout_ms) != 0) {
		s->mute = true;
	}
}

/* ---- begin and end ---- */

static void session_main(void *arg)
{
	struct ss_session *s = arg;
	struct ss *ss = s->ss;

	ss_session_talk(s);
	ss_txn_reset(s, false);
	ss_milters_close(s);
	if (s->linger && !s->mute)
		sm_net_linger(&s->net, LINGER_BYTES, sm_loop_now_ms() + LINGER_MS);
	sm_log(SM_INFO, "ss.close",
	       "ss_sess=%?I client=%A transactions=%u in=%llu out=%llu why=%s stat=%d", s->id,
	       &s->client, s->limits.transactions, (unsigned long long)s->net.in_bytes,
	       (unsigned long long)s->net.out_bytes, s->why, s->reply_code);
	if (s->told_qmgr)
		ss_peers_session_gone(ss, s->id);
	sm_net_close(&s->net);
	sm_stream_fini(&s->io);
	sm_arena_fini(&s->arena);
	sm_arena_fini(&s->txn.arena);
	sm_list_remove(&s->link);
	sm_free(s);
	if (--ss->session_count == 0 && ss->on_idle != NULL)
		ss->on_idle(ss);
}

/* Whose process a Unix client is, only the kernel can tell. */
static void learn_owner(struct ss_session *s, int fd)
{
	pid_t pid;
	uid_t uid;
	gid_t gid;

	if (s->client.u.sa.sa_family == AF_UNIX && sm_net_peercred(fd, &pid, &uid, &gid) == 0)
		snprintf(s->owner, sizeof(s->owner), UID_PREFIX "%u", (unsigned)uid);
}

struct sm_str ss_session_user(const struct ss_session *s)
{
	if (!sm_str_empty(s->auth.user) ||
	    !ss_conf_name_in(&s->conf->relay_from_local, sm_str(s->listener)))
		return s->auth.user;
	return sm_str(s->owner);
}

const char *ss_session_uid(const struct ss_session *s)
{
	return s->owner[0] != '\0' ? s->owner + strlen(UID_PREFIX) : "";
}

int ss_session_start(struct ss *ss, int fd, const struct sm_sa *client, const char *listener)
{
	struct ss_session *s = sm_calloc(1, sizeof(*s));
	int err = sm_net_adopt(&s->net, fd);

	if (err != 0) {
		sm_free(s);
		return err;
	}
	s->ss = ss;
	s->conf = ss->conf;
	s->client = *client;
	learn_owner(s, fd);
	sm_str_cut(sm_str(listener), s->listener, sizeof(s->listener));
	stand(s);
	s->why = s->reply_text = "";
	s->began_ms = sm_loop_now_ms();
	s->ends_ms = s->began_ms + s->conf->session_timeout_ms;
	sm_stream_init(&s->io, &s->net, IN_MAX, ss_speaks_lmtp(s) ? OUT_MAX_LMTP : OUT_MAX);
	s->io.in.wipe = ss_auth_configured(&s->conf->auth); /* passwords come through it */
	sm_arena_init(&s->arena, "session", ARENA_FIRST, ARENA_CAP);
	ss_txn_init(&s->txn);
	sm_list_init(&s->prefetch);
	s->co = sm_co_spawn("session", session_main, s);
	if (s->co == NULL) {
		sm_net_close(&s->net);
		sm_stream_fini(&s->io);
		sm_free(s);
		return SM_E_BUSY;
	}
	sm_list_push(&ss->sessions, &s->link);
	ss->session_count++;
	return 0;
}

struct sm_str ss_session_protocol(const struct ss_session *s)
{
	return ss_received_protocol(ss_speaks_lmtp(s), s->esmtp,
	                            (s->txn.utf8 & SM_UTF8_DECLARED) != 0, s->net.tls != NULL,
	                            s->auth.done);
}

void ss_sessions_stop(struct ss *ss, bool all)
{
	SM_LIST_FOR (s, &ss->sessions, struct ss_session, link)
		if (all || s->idle)
			sm_co_cancel(s->co);
}
