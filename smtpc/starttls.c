/*
 * From clear to TLS. Invariant: nothing that was read in clear is used after the handshake (a
 * server that says more than its reply to STARTTLS loses the connection), what was learnt in clear
 * is forgotten, and a session that does not fulfil what is required never gets to MAIL or AUTH.
 * Coroutines of the loop's thread.
 */
#include "smtpc/starttls.h"

#include <stdio.h>

#include "libsm/log.h"
#include "smtpc/result.h"
#include "smtpc/sc.h"
#include "smtpc/transcript.h"

enum { WHY_MAX = 300, FACTS_FIRST = 2048, FACTS_MAX = 64 * 1024, READY = 220 };

struct starttls {
	struct sc_session *s;
	const struct sc_server_conf *c;
	bool of_rcpt;
	struct sm_id ta;
	struct sc_why *why;
};

/*
 * A server that does not do what is required: what becomes of the mail. Nothing is learnt of the
 * address: what is required, and whom a certificate is for, goes by the name it has here, and those
 * that live there under other names may do well.
 */
static int violated(struct starttls *x, const char *text)
{
	enum sc_tls_violation v = (enum sc_tls_violation)x->c->joined.violation;
	char enhanced[8], rest[WHY_MAX];
	struct sm_str tail = sm_str(text), number = sm_str_split(tail, ' ', &tail);

	(void)snprintf(enhanced, sizeof(enhanced), "%c." SM_STR_FMT,
	               v == SC_VIOLATION_PERMANENT ? '5' : '4', SM_STR_ARG(sm_str_head(number, 4)));
	sm_str_cut(tail, rest, sizeof(rest));
	*x->why = (struct sc_why){
	    .stage = SM_STAGE_TLS,
	    .reach = SM_REACH_NONE,
	    .permanent = v == SC_VIOLATION_PERMANENT,
	    .abort = v == SC_VIOLATION_ABORT,
	};
	(void)sc_text_local(x->why->text, enhanced, rest);
	if (x->why->abort)
		x->s->broken = true;
	return sm_fail(SM_E_TLS, "%s", rest);
}

/* The handshake, or what comes first in it, did not work. */
static int failed(struct starttls *x, int err)
{
	struct sc_session *s = x->s;
	struct sc *sc = s->sc;
	bool clear = x->c->joined.level == SC_TLS_MAY;
	char text[WHY_MAX];

	s->broken = true;
	if (err == SM_E_CANCEL) {
		sc_why_error(x->why, SM_STAGE_TLS, err);
		return err;
	}
	sm_log(SM_NOTICE, "sc.tls_failed",
	       "da_sess=%C ss_ta=%?I server=%s address=%A next=%s error=%E", s->id, x->ta, s->host,
	       &s->sa, clear ? "clear" : "refused", err);
	sc_transcript_note(s->transcript, "TLS handshake: %s", sm_diag());
	if (clear) {
		int64_t now_ms = sm_loop_now_ms();

		sc_tls_memory_add(&sc->tls_failed, &s->sa, now_ms,
		                  now_ms + sc->conf->tls_failure_memory_ms,
		                  (size_t)sc->conf->tls_failures);
		sm_net_close(&s->net);
		return SM_E_AGAIN;
	}
	(void)snprintf(text, sizeof(text), "7.5 TLS: %s", sm_diag());
	/* Only TLS itself says that it will not do; a lost connection says nothing. */
	if (err == SM_E_TLS)
		return violated(x, text);
	sc_why_error(x->why, SM_STAGE_TLS, err);
	if (x->of_rcpt)
		x->why->reach = SM_REACH_NONE;
	return err;
}

/* What results and logs say of it. */
static void note(struct starttls *x, const struct sm_tls_facts *f)
{
	struct sc_session *s = x->s;
	char name[SC_TLS_NAME_MAX + 1];
	size_t n = 0;

	/* A name of a certificate is what a stranger says. */
	for (size_t i = 0; i < f->name.n && n < SC_TLS_NAME_MAX; i++)
		name[n++] = f->name.p[i] > ' ' && f->name.p[i] <= '~' ? f->name.p[i] : '?';
	name[n] = '\0';
	s->tls = true;
	(void)snprintf(s->tls_text, sizeof(s->tls_text), "%s %s %d %s%s%s", f->protocol, f->cipher,
	               f->bits, f->verify_word, n > 0 ? " " : "", name);
	sc_transcript_note(s->transcript, "TLS: %s", s->tls_text);
	sm_log(SM_INFO, "sc.tls",
	       "da_sess=%C ss_ta=%?I server=%s address=%A starttls=%s cipher=%s bits=%d verify=%s "
	       "why=%?s cn=%?s issuer=%?S subject=%?S resumed=%d",
	       s->id, x->ta, s->host, &s->sa, f->protocol, f->cipher, f->bits, f->verify_word,
	       f->verify_text, name, f->issuer, f->subject, (int)f->resumed);
}

static int handshake(struct starttls *x)
{
	struct sc_session *s = x->s;
	const struct sc_tls_policy *p = &x->c->joined;
	char key[sizeof(s->host) + SM_SA_TEXT + 2], at[SM_SA_TEXT];
	struct sm_tls_peer peer = {
	    .sni = s->host[0] == '[' ? SM_STR("") : sm_str(s->host),
	    .names = p->names,
	    .min_version = p->min_version,
	};

	(void)snprintf(key, sizeof(key), "%s %s", s->host, sm_sa_text(&s->sa, at));
	peer.cache_key = sm_str(key);
	/* Whether it may be that server is ours to say, so that it is told in our words. */
	return sm_tls_connect(&s->net, s->sc->tls, &peer,
	                      sc_session_deadline(s, s->sc->conf->tls.handshake_timeout_ms));
}

/* 220 was said. */
static int begin(struct starttls *x)
{
	struct sc_session *s = x->s;
	struct sm_tls_facts facts;
	struct sm_arena a;
	char missing[WHY_MAX];
	bool good;
	int rc;

	/* What came with the reply was said by whoever is in between, and no handshake would make
	 * it better: not a reason to go on in clear. */
	rc = sc_session_in_step(s);
	if (rc != 0) {
		sc_why_error(x->why, SM_STAGE_TLS, rc);
		return rc;
	}
	sc_session_forget(s);
	rc = handshake(x);
	if (rc != 0)
		return failed(x, rc);
	sm_arena_init(&a, "certificate", FACTS_FIRST, FACTS_MAX);
	sm_tls_facts(&s->net, &a, &facts);
	note(x, &facts);
	good = sc_tls_policy_fulfilled(&x->c->joined, &facts, missing, sizeof(missing));
	sm_arena_fini(&a);
	if (!good)
		return violated(x, missing);
	rc = sc_session_hello(s);
	/* With TLS 1.3 a server that does not like our certificate says so now. */
	if (rc < 0)
		return failed(x, rc);
	if (rc != 250) {
		sc_why_reply(x->why, s, SM_STAGE_TLS);
		return sm_fail(SM_E_PEER, "refused: %s", x->why->text);
	}
	return 0;
}

/* It cannot be begun: in clear, then, if that may be. `by_server`: its reply tells why. */
static int without(struct starttls *x, bool by_server)
{
	char text[WHY_MAX];

	if (x->s->broken) {
		sc_why_reply(x->why, x->s, SM_STAGE_TLS);
		return sm_fail(SM_E_PEER, "refused: %s", x->why->text);
	}
	if (sc_tls_policy_fulfilled(&x->c->joined, NULL, text, sizeof(text)))
		return 0;
	if (by_server) {
		struct sc_why said;

		sc_why_reply(&said, x->s, SM_STAGE_TLS);
		(void)snprintf(text, sizeof(text), "7.4 STARTTLS was refused: %d %.200s", said.code,
		               said.text);
	}
	return violated(x, text);
}

int sc_starttls(struct sc_session *s, const struct sc_server_conf *c, bool of_rcpt, struct sm_id ta,
                struct sc_why *why)
{
	struct starttls x = {.s = s, .c = c, .of_rcpt = of_rcpt, .ta = ta, .why = why};
	int level = c->joined.level, code;

	if (level <= SC_TLS_NONE)
		return 0;
	if ((s->ehlo.caps & SC_CAP_STARTTLS) == 0 || s->sc->tls == NULL ||
	    (level == SC_TLS_MAY &&
	     sc_tls_memory_has(&s->sc->tls_failed, &s->sa, sm_loop_now_ms())))
		return without(&x, false);
	sm_stream_puts(&s->stream, SM_STR("STARTTLS\r\n"));
	code = sc_session_reply(s, s->sc->conf->io_timeout_ms);
	if (code < 0) {
		sc_why_error(why, SM_STAGE_TLS, code);
		return code;
	}
	if (code == READY)
		return begin(&x);
	if (sc_session_in_step(s) != 0) {
		sc_why_error(why, SM_STAGE_TLS, SM_E_PROTO);
		return SM_E_PROTO;
	}
	return without(&x, true);
}
