/*
 * The conversation of a probe. Invariant: DATA is never said, and a session goes back to others
 * only after its RSET was answered by 2yz. Coroutines of the loop's thread.
 */
#include "smtpc/probe.h"

#include "smtpc/sc.h"
#include "smtpc/suits.h"

enum {
	AT_ONCE_BYTES = 32 * 1024, /* as much as stream and sockets buffer */
	COMMAND_BYTES = 350,
	UNKNOWN_MAX = 5, /* in one session: servers count them, and mail would suffer for it */
	TOO_MANY_OLD = 552,
};

struct probe {
	struct sc_task *t;
	struct sc_session *s;
	bool at_once;
};

/* Nobody is left to ask about when this gives 0. */
static size_t check(struct sc_task *t, struct sc_session *s)
{
	size_t open = 0;

	(void)sc_suits(t, s);
	for (size_t i = 0; i < t->in.rcpts_count; i++) {
		t->rcpts[i].in_round = t->rcpts[i].state == SC_RCPT_OPEN;
		open += t->rcpts[i].in_round;
	}
	return open;
}

static int lost(struct probe *p, enum sm_stage stage, int err)
{
	p->s->broken = true;
	if (err > 0)
		sc_why_reply(&p->t->why, p->s, stage);
	else
		sc_why_error(&p->t->why, stage, err);
	p->t->why.session = p->s->id;
	return err > 0 ? SM_E_PEER : err;
}

static void put_rcpt(struct probe *p, const struct sc_rcpt *r)
{
	sm_stream_printf(&p->s->stream, "RCPT TO:<" SM_STR_FMT ">\r\n", SM_STR_ARG(r->in->addr));
}

/* A reply that is one: its code; else what `lost` gives. */
static int answer(struct probe *p, enum sm_stage stage, int64_t timeout_ms)
{
	int code = sc_session_reply(p->s, timeout_ms);

	if (code < 0 || p->s->broken)
		return lost(p, stage, code);
	if (code < 400 && sc_outcome(code) != SM_OUTCOME_DONE)
		return lost(
		    p, stage,
		    sm_fail(SM_E_PROTO, "unexpected reply %d to %s", code, sc_stage_name(stage)));
	return code;
}

static void judge(struct probe *p, struct sc_rcpt *r, int code)
{
	enum sm_outcome outcome = sc_outcome(code);
	struct sc_why why;

	if (code == TOO_MANY_OLD)
		outcome = SM_OUTCOME_TEMP;
	if (outcome == SM_OUTCOME_PERM && ++p->s->unknown >= UNKNOWN_MAX)
		p->s->spent = true;
	sc_why_reply(&why, p->s, SM_STAGE_RCPT);
	sc_result_set(p->t, r, p->s, outcome, &why);
}

/* MAIL. 1: accepted; 0: refused, and all recipients have their result. */
static int ask_mail(struct probe *p)
{
	struct sc_why why;
	int code;

	sm_stream_printf(&p->s->stream, "MAIL FROM:<>%s\r\n",
	                 sc_says_utf8(p->t, p->s) ? " SMTPUTF8" : "");
	for (size_t i = 0; p->at_once && i < p->t->in.rcpts_count; i++)
		if (p->t->rcpts[i].in_round)
			put_rcpt(p, &p->t->rcpts[i]);
	if (p->at_once)
		sm_stream_puts(&p->s->stream, SM_STR("RSET\r\n"));
	code = answer(p, SM_STAGE_MAIL, p->s->timeouts.mail_ms);
	if (code < 400)
		return code < 0 ? code : 1;
	p->s->spent = true;
	sc_why_reply(&why, p->s, SM_STAGE_MAIL);
	sc_result_set_all(p->t, SC_RCPT_OPEN, true, p->s, SM_OUTCOME_TEMP, &why);
	return 0;
}

static int ask_rcpts(struct probe *p, bool mail_ok)
{
	for (size_t i = 0; i < p->t->in.rcpts_count; i++) {
		struct sc_rcpt *r = &p->t->rcpts[i];
		int code;

		if (!r->in_round)
			continue;
		if (!p->at_once)
			put_rcpt(p, r);
		code = answer(p, SM_STAGE_RCPT, p->s->timeouts.rcpt_ms);
		if (code < 0)
			return code;
		if (mail_ok)
			judge(p, r, code);
	}
	return 0;
}

/* Leave nothing behind. The results are had, so nothing can fail any more. */
static void reset(struct probe *p)
{
	int code;

	if (!p->at_once)
		sm_stream_puts(&p->s->stream, SM_STR("RSET\r\n"));
	code = sc_session_reply(p->s, sc_session_rset_ms(p->s));
	if (code < 0 || sc_session_in_step(p->s) != 0)
		return;
	if (sc_outcome(code) != SM_OUTCOME_DONE)
		p->s->spent = true;
}

int sc_probe(struct sc_task *t, struct sc_session *s)
{
	struct probe p = {.t = t, .s = s};
	size_t open = check(t, s);
	bool mail_ok;
	int rc;

	if (open == 0)
		return 0;
	p.at_once = (s->ehlo.caps & SC_CAP_PIPELINING) != 0 &&
	            open * COMMAND_BYTES < AT_ONCE_BYTES &&
	            open + 2 <= (size_t)s->sc->conf->max_pipelined_commands;
	s->id.task++;
	rc = ask_mail(&p);
	if (rc < 0)
		return rc;
	mail_ok = rc > 0;
	if (!mail_ok && !p.at_once)
		return 0;
	rc = ask_rcpts(&p, mail_ok);
	if (rc == 0)
		reset(&p);
	/* After MAIL was refused all have their result: what is lost then, nobody needs. */
	return mail_ok ? rc : 0;
}
