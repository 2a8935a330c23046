/*
 * STARTTLS (RFC 3207) and listeners whose clients speak TLS at once (RFC 8314 3.3).
 *
 * Invariants: nothing of what came in clear lives on in TLS, neither bytes nor what they said; once
 * a handshake has begun, nothing is said in clear any more; a certificate gives rights only when it
 * leads to a CA, and when smar cannot be asked about it the client comes again. Session's
 * coroutine.
 */
#include "libsm/err.h"
#include "libsm/log.h"
#include "smtps/ask.h"
#include "smtps/cmds.h"
#include "smtps/session.h"

static bool configured(const struct ss_session *s)
{
	return s->conf->tls.cert_file.count > 0 && !ss_hides(s->conf, SS_X_STARTTLS);
}

bool ss_tls_offered(const struct ss_session *s)
{
	return configured(s) && s->ss->tls.ctx != NULL && s->net.tls == NULL;
}

bool ss_tls_implicit(const struct ss_conf *conf, const char *listener)
{
	return ss_conf_name_in(&conf->tls.implicit, sm_str(listener));
}

void ss_session_forget(struct ss_session *s)
{
	ss_txn_reset(s, false);
	sm_stream_drop_input(&s->io);
	s->helo = SM_STR_NONE;
	s->esmtp = false;
	s->refused = false;
	ss_auth_forget(s);
}

/* ---- the handshake ---- */

static void log_start(const struct ss_session *s, int err)
{
	const struct sm_tls_facts *f = &s->tls.facts;

	if (err != 0) {
		sm_log(SM_INFO, "ss.tls", "ss_sess=%I client=%A stat=failed error=%E", s->id,
		       &s->client, err);
		return;
	}
	sm_log(SM_INFO, "ss.tls",
	       "ss_sess=%I client=%A starttls=%s cipher=%s bits=%d verify=%s cn=%?S issuer=%?S "
	       "subject=%?S sni=%?S resumed=%d why=%?s",
	       s->id, &s->client, f->protocol, f->cipher, f->bits, f->verify_word, f->name,
	       f->issuer, f->subject, f->sni, f->resumed, f->verify_text);
}

bool ss_tls_start(struct ss_session *s)
{
	int64_t deadline_ms =
	    SM_MIN(sm_loop_now_ms() + s->conf->tls.handshake_timeout_ms, s->ends_ms);
	struct sm_tls_ctx *ctx = s->ss->tls.ctx;
	int err;

	sm_co_doing(SM_STR("TLS handshake"), SM_STR_NONE);
	err = ctx != NULL ? sm_tls_accept(&s->net, ctx, deadline_ms)
	                  : sm_fail(SM_E_NOTSUP, "there is no certificate");
	if (err == 0)
		sm_tls_facts(&s->net, &s->arena, &s->tls.facts);
	log_start(s, err);
	if (err == 0)
		return true;
	s->closing = s->linger = true;
	s->why = err == SM_E_TIMEOUT ? "TLS handshake took too long" : "TLS handshake failed";
	return false;
}

void ss_cmd_starttls(struct ss_session *s, struct sm_str arg)
{
	(void)arg;
	if (s->net.tls != NULL) {
		ss_bad(s, SS_R_TLS_ALREADY);
		return;
	}
	if (!configured(s)) {
		ss_bad(s, SS_R_NOT_OFFERED);
		return;
	}
	if (s->ss->tls.ctx == NULL) {
		ss_say(s, SS_R_TLS_AWAY);
		return;
	}
	ss_say(s, SS_R_TLS_READY);
	if (sm_stream_flush(&s->io, ss_deadline(s)) != 0) {
		s->closing = s->mute = true;
		s->why = "connection lost";
		return;
	}
	ss_session_forget(s);
	(void)ss_tls_start(s);
}

/* ---- what it is good for ---- */

static bool ask_smar(struct ss_session *s)
{
	struct ss_ask a;
	bool ok;

	ss_ask_start(&a, s, SS_ASK_CERT, s->tls.facts.issuer, s->tls.facts.subject);
	ok = ss_ask_wait(&a) == 0 && a.code < 400;
	if (ok && (a.flags & SM_VERDICT_RELAY))
		ss_session_earned(s);
	if (!ok)
		ss_say_and_close(s, SS_R_CHECK_AWAY_CONN, "certificate cannot be checked");
	ss_ask_end(&a);
	return ok;
}

bool ss_tls_judge(struct ss_session *s)
{
	uint32_t flags = s->conf->tls.flags;

	/* Behind XCLIENT the certificate is the front end's. */
	if (s->net.tls == NULL || s->tls.judged || s->told_by_xclient ||
	    s->tls.facts.verify != SM_TLS_OK)
		return true;
	s->tls.judged = true;
	if (flags & SM_TLS_RELAY_IF_VERIFIED) {
		ss_session_earned(s);
		return true;
	}
	if (!(flags & SM_TLS_RELAY_BY_MAP) || !(s->conf->flags & SS_F_ACCESS))
		return true;
	return ask_smar(s);
}
