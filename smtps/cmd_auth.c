/*
 * AUTH (RFC 4954): the dialogue, and what a session becomes by it.
 *
 *   "AUTH" SP sasl-mech [SP (base64 / "=")]
 *   *( 334 SP base64, then a line of base64, or "*" to cancel )
 *   235, 535, 454 ...
 *
 * Invariants: each attempt is a new one to SASL; nothing that depends on whether a user exists is
 * said, or shows in the time an answer takes; what the client sent is wiped as soon as it was
 * decoded. Session's coroutine.
 */
#include <string.h>

#include "libsm/base64.h"
#include "libsm/err.h"
#include "libsm/log.h"
#include "smtps/authname.h"
#include "smtps/cmds.h"
#include "smtps/sasl.h"
#include "smtps/session.h"

enum {
	STEPS_MAX = 20, /* no mechanism takes more than a few */
	TLS_BITS = 128, /* what STARTTLS would give, at the least */
	RESPONSE_MAX = SS_AUTH_LINE_MAX / 4 * 3,
};

/* An attempt under way. */
struct attempt {
	struct ss_session *s;
	struct ss_sasl *sasl;
	char mech[24]; /* upper case */
	char name[SS_AUTH_USER_MAX];
	struct sm_str user; /* of the limits; in `name`; empty: not known */
	struct sm_buf response;
	int64_t begin_ms; /* when the last response came */
};

static const struct ss_auth_conf *conf_of(const struct ss_session *s)
{
	return &s->conf->auth;
}

static struct ss_sasl_ground ground_of(const struct ss_session *s)
{
	return (struct ss_sasl_ground){.conf = conf_of(s),
	                               .bits = s->net.tls != NULL ? (unsigned)s->tls.facts.bits : 0,
	                               .client = &s->client};
}

/* Whose address counts. Who may relay by where it comes from speaks for many: a webmail server's
 * users do not lock each other out. */
static const struct sm_sa *limited(const struct ss_session *s)
{
	static const struct sm_sa nobody;

	return s->who.may_relay ? &nobody : &s->client;
}

/* What a line held is ours now, and is to be in one place only. */
static void wipe_line(struct sm_str line)
{
	if (line.n > 0)
		explicit_bzero((void *)(uintptr_t)line.p, line.n);
}

/* ---- for others ---- */

bool ss_auth_on(const struct ss_session *s)
{
	return ss_auth_configured(conf_of(s)) && !ss_hides(s->conf, SS_X_AUTH) && ss_sasl_ready();
}

bool ss_auth_begins(struct sm_str input)
{
	return sm_str_has_caseprefix(input, SM_STR("AUTH "));
}

void ss_auth_offer(struct ss_session *s, struct sm_buf *b)
{
	struct ss_sasl_ground g = ground_of(s);
	size_t before = b->len;

	if (!ss_auth_on(s) || s->auth.done)
		return;
	sm_buf_cstr(b, "AUTH ");
	if (ss_sasl_mechs(&g, SM_STR(""), b))
		sm_buf_char(b, '\n');
	else
		sm_buf_truncate(b, before);
}

void ss_auth_forget(struct ss_session *s)
{
	if (s->auth.done)
		s->who.may_relay = s->auth.relayed_before;
	if (s->auth.code_before != 0) {
		s->conn_code = s->auth.code_before;
		s->conn_unresolved = true;
	}
	s->auth = (struct ss_auth){.failures = s->auth.failures};
}

/* ---- ends of an attempt ---- */

static void log_end(const struct attempt *a, struct sm_str user, const char *why)
{
	const struct ss_session *s = a->s;

	sm_log(user.n > 0 ? SM_INFO : SM_NOTICE, "ss.auth",
	       "ss_sess=%I client=%A auth=%s user=%?S tried=%?S stat=%d why=%?s", s->id, &s->client,
	       a->mech, user, user.n > 0 ? SM_STR_NONE : a->user, s->reply_code, why);
}

static void passed(struct attempt *a, struct sm_str user)
{
	struct ss_session *s = a->s;
	struct ss_auth *auth = &s->auth;
	struct sm_str mech = sm_arena_str(&s->arena, sm_str(a->mech));
	struct sm_str copy = sm_arena_str(&s->arena, user);

	if (mech.p == NULL || copy.p == NULL) {
		ss_say_and_close(s, SS_R_TOO_MANY_NOP, "too many names");
		return;
	}
	ss_authlimit_passed(&s->ss->authlimit, conf_of(s), limited(s), a->user, sm_loop_now_ms());
	auth->done = true;
	auth->mech = mech;
	auth->user = copy;
	auth->relayed_before = s->who.may_relay;
	if (ss_auth_mech_in(&conf_of(s)->trusted, mech)) {
		auth->code_before = s->conn_unresolved ? s->conn_code : 0;
		ss_session_earned(s);
	}
	ss_say(s, SS_R_AUTH_OK);
	log_end(a, user, "");
}

/* It is counted, and answered when its time has come. */
static void failed(struct attempt *a, enum ss_reply_name r, const char *why)
{
	struct ss_session *s = a->s;
	int64_t delay_ms = ss_authlimit_failed(&s->ss->authlimit, conf_of(s), limited(s), a->user,
	                                       sm_loop_now_ms());
	int64_t at = ss_authlimit_answer_at(a->begin_ms, delay_ms, sm_loop_now_ms());

	sm_co_doing(SM_STR("AUTH"), SM_STR("failed"));
	if (at > sm_loop_now_ms() && sm_co_sleep(at) != 0)
		ss_say_and_close(s, SS_R_SHUTDOWN, "shutdown");
	else if (++s->auth.failures >= conf_of(s)->max_session)
		ss_say_and_close(s, SS_R_AUTH_TOO_MANY, "too many failed logins");
	else
		ss_say(s, r);
	log_end(a, SM_STR_NONE, why);
}

/* Nothing that a password guesser gains by, but not for ever. */
static void gave_up(struct attempt *a, enum ss_reply_name r)
{
	ss_bad(a->s, r);
	log_end(a, SM_STR_NONE, a->s->reply_text);
}

static void refused(struct attempt *a, enum ss_reply_name r, const char *why)
{
	struct ss_session *s = a->s;
	/* Nothing came of it: not for ever. */
	enum ss_reply_name many =
	    ss_reply_code(r) == 421 ? r : ss_limits_nop(&s->limits, s->conf, false);

	if (many != SS_R_NONE)
		ss_say_and_close(s, many, why);
	else
		ss_say(s, r);
	log_end(a, SM_STR_NONE, why);
}

/* ---- steps ---- */

/* Its turn has come? False: it has been answered. */
static bool wait_turn(struct attempt *a, bool granted, int64_t at_ms, enum ss_reply_name r)
{
	if (!granted) {
		refused(a, r, "too many failed attempts");
		return false;
	}
	if (at_ms > sm_loop_now_ms()) {
		sm_co_doing(SM_STR("AUTH"), SM_STR("wait turn"));
		if (sm_co_sleep(at_ms) != 0) {
			refused(a, SS_R_SHUTDOWN, "shutdown");
			return false;
		}
	}
	return true;
}

static bool wait_client(struct attempt *a)
{
	struct ss_session *s = a->s;
	int64_t at;
	bool granted =
	    ss_authlimit_client(&s->ss->authlimit, conf_of(s), limited(s), sm_loop_now_ms(), &at);

	return wait_turn(a, granted, at, SS_R_AUTH_TOO_MANY);
}

/* As soon as the name is known, before anybody looks at the password. */
static bool wait_user(struct attempt *a, unsigned step)
{
	struct ss_session *s = a->s;
	const struct ss_auth_conf *c = conf_of(s);
	int64_t at;
	bool granted;

	if (a->user.n > 0)
		return true;
	a->user =
	    ss_auth_name(sm_str(a->mech), step, sm_buf_view(&a->response),
	                 c->realm.n > 0 ? c->realm : s->ss->hostname, a->name, sizeof(a->name));
	granted =
	    ss_authlimit_user(&s->ss->authlimit, c, limited(s), a->user, sm_loop_now_ms(), &at);
	return wait_turn(a, granted, at, SS_R_AUTH_USER_LIMIT);
}

/* "334 " and the challenge; then the client's line into a->response. False: it is over. */
static bool ask(struct attempt *a, struct sm_str challenge)
{
	struct ss_session *s = a->s;
	struct sm_str line;
	int err;

	if (ss_early_input(s)) {
		ss_say_and_close(s, SS_R_EARLY_TALKER, "early talker");
		return false;
	}
	s->reply_code = 334;
	sm_buf_cstr(&s->io.out, "334 ");
	sm_base64_encode(&s->io.out, challenge);
	sm_buf_cstr(&s->io.out, "\r\n");
	err = sm_stream_line(&s->io, &line, SS_AUTH_LINE_MAX - 2, ss_deadline(s));
	a->begin_ms = sm_loop_now_ms();
	if (err != 0) {
		ss_no_line(s, err, SS_R_AUTH_LINE);
		log_end(a, SM_STR_NONE, s->reply_text);
		return false;
	}
	if (sm_str_eq(line, SM_STR("*"))) {
		gave_up(a, SS_R_AUTH_CANCELLED);
		return false;
	}
	sm_buf_reset(&a->response);
	err = sm_base64_decode(&a->response, line);
	wipe_line(line);
	if (err != 0)
		gave_up(a, SS_R_AUTH_BASE64);
	return err == 0;
}

/* False: the attempt is over. */
static bool took(struct attempt *a, const struct ss_sasl_answer *answer)
{
	switch (answer->result) {
	case SS_SASL_MORE:
		return ask(a, answer->challenge);
	case SS_SASL_OK:
		passed(a, answer->user);
		break;
	case SS_SASL_DENIED:
		failed(a, SS_R_AUTH_DENIED, answer->why);
		break;
	case SS_SASL_BAD:
		failed(a, SS_R_AUTH_BAD, answer->why);
		break;
	case SS_SASL_LATER:
		refused(a, SS_R_AUTH_LATER, answer->why);
		break;
	case SS_SASL_CANCEL:
		refused(a, SS_R_SHUTDOWN, "shutdown");
		break;
	}
	return false;
}

/* `initial`: the client has sent a first response. */
static void exchange(struct attempt *a, bool initial)
{
	struct ss_sasl_answer answer;
	unsigned responses = 0;

	for (unsigned step = 0; step < STEPS_MAX; step++) {
		bool has = initial || step > 0;

		if (has && !wait_user(a, responses++))
			return;
		sm_co_doing(SM_STR("AUTH"), sm_str(a->mech));
		ss_sasl_step(a->sasl,
		             !has                  ? SM_STR_NONE
		             : a->response.len > 0 ? sm_buf_view(&a->response)
		                                   : SM_STR(""),
		             &answer);
		if (!took(a, &answer))
			return;
	}
	failed(a, SS_R_AUTH_BAD, "too many steps");
}

/* ---- the command ---- */

/* "=" is a response of no bytes, and nothing else is (RFC 4954 4). */
static enum ss_reply_name take_initial(struct attempt *a, struct sm_str text)
{
	if (sm_str_eq(text, SM_STR("=")))
		return SS_R_NONE;
	if (text.n == 0)
		return SS_R_AUTH_SYNTAX;
	return sm_base64_decode(&a->response, text) == 0 ? SS_R_NONE : SS_R_AUTH_BASE64;
}

/* Whether the mechanism may be used, now and here. */
static enum ss_reply_name usable(const struct ss_session *s, struct sm_str mech)
{
	struct ss_sasl_ground g = ground_of(s);

	if (!ss_auth_mech_valid(mech))
		return SS_R_AUTH_SYNTAX;
	if (ss_sasl_mechs(&g, mech, NULL))
		return SS_R_NONE;
	g.bits = TLS_BITS;
	return s->net.tls == NULL && ss_sasl_mechs(&g, mech, NULL) ? SS_R_AUTH_NEEDS_TLS
	                                                           : SS_R_AUTH_NO_MECH;
}

void ss_cmd_auth(struct ss_session *s, struct sm_str arg)
{
	struct attempt a = {.s = s, .begin_ms = sm_loop_now_ms()};
	struct ss_sasl_ground g = ground_of(s);
	struct sm_str text, mech = sm_str_split(arg, ' ', &text);
	bool initial = text.p != NULL;
	enum ss_reply_name r;

	if (!ss_auth_on(s)) {
		ss_bad(s, SS_R_NOT_OFFERED);
		return;
	}
	if (s->auth.done) {
		ss_bad(s, SS_R_AUTH_TWICE);
		return;
	}
	sm_buf_init(&a.response, RESPONSE_MAX);
	r = usable(s, mech);
	if (r == SS_R_NONE) {
		for (size_t i = 0; i < mech.n; i++)
			a.mech[i] = mech.p[i] >= 'a' && mech.p[i] <= 'z' ? (char)(mech.p[i] - 32)
			                                                 : mech.p[i];
		if (initial)
			r = take_initial(&a, text);
	}
	/* The line is read again from here on. */
	wipe_line(text);
	if (r != SS_R_NONE) {
		ss_bad(s, r);
	} else if (wait_client(&a)) {
		a.begin_ms = sm_loop_now_ms();
		a.sasl = ss_sasl_new(&g, sm_str(a.mech));
		exchange(&a, initial);
	}
	ss_sasl_free(&a.sasl);
	sm_buf_wipe(&a.response);
}
