/*
 * Connection stage: qmgr counts the session against the limits of its client, smar checks the
 * client; both are asked at the same time. Invariant: when either cannot be asked, the client is
 * told to come again; it is never let in unchecked. Session's coroutine.
 */
#include "smtps/greet.h"

#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/proc.h"
#include "smtps/ask.h"
#include "smtps/milters.h"
#include "smtps/peers.h"
#include "smtps/pressure.h"
#include "smtps/session.h"
#include "smtps/xclient.h"

#define ID_WAIT_MS 10000

/* In a greeting only 220, 421 and 554 make sense (RFC 5321 3.1, 4.3.2). */
static void refuse(struct ss_session *s, int code, struct sm_str text, const char *why)
{
	ss_say_text(s, code >= 500 ? 554 : 421, text);
	s->closing = s->linger = true;
	s->why = why;
}

static bool ask_qmgr(struct ss_session *s, struct ss_ask *a)
{
	if (ss_ask_wait(a) != 0) {
		ss_say_and_close(s, SS_R_NO_ID, "qmgr away");
		return false;
	}
	if (a->code >= 400) {
		s->told_qmgr = false;
		refuse(s, a->code, a->text, "refused by qmgr");
		return false;
	}
	return true;
}

static bool ask_smar(struct ss_session *s, struct ss_ask *a)
{
	if (ss_ask_wait(a) != 0) {
		ss_say_and_close(s, SS_R_CHECK_AWAY_CONN, "smar away");
		return false;
	}
	if (ss_session_configure(s, a->conf) != 0) {
		sm_log(SM_ERROR, "ss.session_conf", "ss_sess=%I client=%A client_name=%?S error=%E",
		       s->id, &s->client, a->client_name, SM_E_SYNTAX);
		ss_say_and_close(s, SS_R_CONF_BROKEN, "configuration for the client is broken");
		return false;
	}
	ss_policy_connection(s->conf, a->flags, &s->who);
	s->client_resolve = a->resolve;
	if (!sm_str_empty(a->client_name))
		s->client_name = sm_arena_str(&s->arena, a->client_name);
	if (a->code < 400)
		return true;
	if (ss_policy_later(s->conf, a->code, a->flags)) {
		s->conn_code = a->code;
		s->conn_text = sm_arena_str(&s->arena, a->text);
		s->conn_unresolved = (a->flags & SM_VERDICT_UNRESOLVED) != 0;
		return true;
	}
	refuse(s, a->code, a->text, "refused by smar");
	return false;
}

/* Who has said hello already (to a front end, through XCLIENT) is not asked for it again. */
static bool ask_filters(struct ss_session *s)
{
	struct ss_word w = ss_milters_connect(s);

	if (w.kind == SS_WORD_GO && !sm_str_empty(s->helo))
		w = ss_milters_helo(s, s->helo);
	if (w.kind == SS_WORD_CUT)
		ss_word_cut(s);
	else if (w.kind == SS_WORD_REFUSE)
		refuse(s, w.code, w.text, "refused by a filter");
	return w.kind != SS_WORD_CUT && w.kind != SS_WORD_REFUSE;
}

static void log_connect(struct ss_session *s)
{
	int family = s->client.u.sa.sa_family;
	const char *key = family == AF_INET    ? "client_ipv4"
	                  : family == AF_INET6 ? "client_ipv6"
	                                       : "client";
	char host[SM_SA_TEXT];

	sm_log(SM_INFO, "ss.connect",
	       "ss_sess=%?I %s=%s uid=%?s client_name=%S via=%?A listener=%s where=connect stat=%d "
	       "text=%?s why=%?s",
	       s->id, key, sm_sa_host_text(&s->client, host), ss_session_uid(s), s->client_name,
	       &s->via, s->listener, s->reply_code, s->reply_code >= 400 ? s->reply_text : "",
	       s->why);
}

/* At the very start, or after qmgr was away for long, the first block of ids may still be on its
 * way. */
static bool wait_id(struct ss_session *s)
{
	int64_t until = sm_loop_now_ms() + SM_MIN(s->conf->check_timeout_ms, ID_WAIT_MS);

	while (!ss_peers_id(s->ss, &s->id))
		if (sm_link_wait(s->ss->qmgr, until) != 0 || sm_loop_now_ms() >= until ||
		    sm_co_sleep(sm_loop_now_ms() + 20) != 0)
			return false;
	return true;
}

/* qmgr and smar, both at once. False: refused, and it has been said. */
static bool admit(struct ss_session *s)
{
	struct ss_ask qmgr, smar;
	bool ok;

	s->admitted = true;
	/* Also when no answer comes: qmgr may count us all the same. */
	s->told_qmgr = true;
	ss_ask_start(&qmgr, s, SS_ASK_SESSION, SM_STR_NONE, SM_STR_NONE);
	ss_ask_start(&smar, s, SS_ASK_CONN, SM_STR_NONE, SM_STR_NONE);
	ok = ask_qmgr(s, &qmgr) && ask_smar(s, &smar);
	ss_ask_end(&qmgr);
	ss_ask_end(&smar);
	return ok && ask_filters(s);
}

/* Whoever hides the clients tells it by no header: it only looks like one busy client. */
static void look_at_client(struct ss_session *s)
{
	if (s->via.len == 0 &&
	    ss_one_client_seen(&s->ss->one_client, &s->client, s->conf->warn_one_client))
		sm_log(SM_WARN, "ss.one_client", "client=%A listener=%s sessions=%lld why=%s",
		       &s->client, s->listener, (long long)s->ss->one_client.sessions,
		       "all clients have one private address: a gateway hides them");
}

bool ss_greet(struct ss_session *s)
{
	/* Also behind XCLIENT: then there is TLS already. */
	bool implicit = s->net.tls == NULL && ss_tls_implicit(s->conf, s->listener);
	bool ok = true;

	if (!wait_id(s)) {
		s->mute = implicit;
		ss_say_and_close(s, SS_R_NO_ID, "no ids");
		log_connect(s);
		return false;
	}
	if (!ss_pressure_wait(s)) {
		s->mute = implicit;
		ss_say_and_close(s, SS_R_SHUTDOWN, "shutdown");
		log_connect(s);
		return false;
	}
	look_at_client(s);
	/* Limits are not for a front end but for whom it will name. */
	if (!ss_xclient_on(s))
		ok = admit(s);
	if (implicit) {
		/* Nothing in clear, not even why not. */
		s->mute = !ok;
		ok = ok && ss_tls_start(s) && ss_tls_judge(s);
	}
	if (ok && ss_early_input(s)) {
		ss_say_and_close(s, SS_R_LATE_GREETING, "input before the greeting");
		ok = false;
	}
	if (ok) {
		/* Up to here the host may be 255 bytes: a line of at most 512. */
		struct sm_str text =
		    sm_arena_printf(&s->arena, "%.*s %s %s", SM_STR_ARG(s->ss->hostname),
		                    ss_speaks_lmtp(s) ? "LMTP" : "ESMTP", SM_VERSION_TEXT);
		ss_say_text(s, 220, text);
	}
	log_connect(s);
	return ok;
}

bool ss_admit_late(struct ss_session *s)
{
	bool ok = admit(s);

	log_connect(s);
	return ok;
}
