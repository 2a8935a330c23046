/*
 * Results of a task. Invariant: a recipient is settled exactly once, and what is said about it has
 * been made harmless here (printable, one line, bounded) before it goes to qmgr, into the log or a
 * DSN. Loop's thread.
 */
#include "smtpc/result.h"

#include <stdio.h>

#include "libsm/log.h"
#include "smtpc/sc.h"
#include "smtpc/task.h"
#include "smtpc/transcript.h"

const char *sc_stage_name(enum sm_stage stage)
{
	switch (stage) {
	case SM_STAGE_LOCAL:
		return "local";
	case SM_STAGE_CONNECT:
		return "connect";
	case SM_STAGE_GREETING:
		return "greeting";
	case SM_STAGE_HELO:
		return "hello";
	case SM_STAGE_MAIL:
		return "mail";
	case SM_STAGE_RCPT:
		return "rcpt";
	case SM_STAGE_DATA:
		return "data";
	case SM_STAGE_EOD:
		return "final";
	case SM_STAGE_TLS:
		return "tls";
	case SM_STAGE_AUTH:
		return "auth";
	}
	return "unknown";
}

enum sm_outcome sc_outcome(int code)
{
	if (code >= 200 && code < 300 && code != 221)
		return SM_OUTCOME_DONE;
	return code >= 500 && code < 600 ? SM_OUTCOME_PERM : SM_OUTCOME_TEMP;
}

/* ---- texts ---- */

/* What a server that knows no enhanced codes probably meant (subject and detail, RFC 3463). */
static const char *detail(int code, enum sm_stage stage)
{
	static const struct {
		int code;
		const char *detail;
	} known[] = {
	    {421, "3.2"}, {450, "2.0"}, {451, "3.0"}, {452, "3.1"}, {500, "5.2"},
	    {501, "5.4"}, {502, "5.1"}, {503, "5.1"}, {504, "5.4"}, {530, "7.0"},
	    {535, "7.8"}, {551, "1.6"}, {552, "3.4"}, {553, "1.3"}, {555, "5.4"},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(known); i++)
		if (known[i].code == code)
			return known[i].detail;
	if (code == 550 && stage == SM_STAGE_RCPT)
		return "1.1";
	return "0.0";
}

/* Append `s` as printable ASCII, line ends as single spaces. */
static size_t put_clean(char *out, size_t at, struct sm_str s)
{
	for (size_t i = 0; i < s.n && at < SC_TEXT_MAX; i++) {
		char c = s.p[i];
		if (c == '\n' || c == '\r' || c == '\t')
			c = ' ';
		else if (c < ' ' || c > '~')
			c = '?';
		if (c == ' ' && (at == 0 || out[at - 1] == ' '))
			continue;
		out[at++] = c;
	}
	return at;
}

static size_t put_end(char *out, size_t at)
{
	while (at > 0 && out[at - 1] == ' ')
		at--;
	out[at] = '\0';
	return at;
}

const char *sc_text_reply(char out[SC_TEXT_MAX + 1], int code, struct sm_str text,
                          enum sm_stage stage)
{
	unsigned num[3];
	struct sm_str rest;
	size_t at = 0;
	bool first = true;
	/* A good-bye or a wrong reply is a temporary failure, whatever digit it begins with. */
	bool trusted = code / 100 != 3 && code != 221;
	int class = trusted ? code / 100 : 4;

	while (text.p != NULL) {
		struct sm_str line = sm_str_split(text, '\n', &text);
		bool enhanced = trusted && sm_enhanced_parse(line, code, num, &rest);
		if (first && enhanced)
			at =
			    (size_t)snprintf(out, SC_TEXT_MAX, "%u.%u.%u ", num[0], num[1], num[2]);
		else if (first)
			at = (size_t)snprintf(out, SC_TEXT_MAX, "%d.%s ", class,
			                      detail(code, stage));
		/* RFC 2034 repeats the code on each line; once is enough. */
		at = put_clean(out, at, enhanced ? rest : line);
		at = put_clean(out, at, SM_STR(" "));
		first = false;
	}
	(void)put_end(out, at);
	return out;
}

const char *sc_text_local(char out[SC_TEXT_MAX + 1], const char *enhanced, const char *text)
{
	size_t at = put_clean(out, 0, sm_str(enhanced));

	at = put_clean(out, at, SM_STR(" "));
	(void)put_end(out, put_clean(out, at, sm_str(text)));
	return out;
}

/* ---- settling ---- */

/* What all have in common that are settled for the same cause; the strings live in the task's
 * arena. */
struct cause {
	const struct sc_session *s; /* NULL: there is none */
	const struct sc_why *why;
	enum sm_outcome outcome;
	struct sm_str text, tls;
	struct sm_str host; /* who said so, if anybody said anything */
	char address[SM_SA_TEXT];
};

static void cause_init(struct cause *c, struct sc_task *t, const struct sc_session *s,
                       enum sm_outcome outcome, const struct sc_why *why)
{
	c->s = s;
	c->why = why;
	c->outcome = outcome;
	c->text = sm_arena_str(&t->arena, sm_str(why->text));
	c->tls = s != NULL ? sm_arena_str(&t->arena, sm_str(s->tls_text)) : SM_STR("");
	c->host = s != NULL || why->code != 0 ? t->host_name : SM_STR_NONE;
	(void)sm_sa_text(&t->host, c->address);
}

static void log_result(const struct sc_task *t, const struct sc_rcpt *r, const struct cause *c)
{
	static const char *const events[] = {
	    [SM_OUTCOME_DONE] = "sc.delivered",
	    [SM_OUTCOME_TEMP] = "sc.deferred",
	    [SM_OUTCOME_PERM] = "sc.failed",
	};
	static const char *const probed[] = {
	    [SM_OUTCOME_DONE] = "known",
	    [SM_OUTCOME_TEMP] = "not_told",
	    [SM_OUTCOME_PERM] = "unknown",
	};
	struct sm_cid transaction = c->s != NULL ? c->s->id : c->why->session;

	/* A name of its own: nothing was delivered, whoever reads the log. */
	if (t->in.probe_ms > 0) {
		sm_log(SM_INFO, "sc.probe",
		       "da_sess=%?C ss_ta=%?I server=%S address=%s port=%u where=%s rcpt=<%S> "
		       "xdelay=%m result=%s stat=%d reply=%S",
		       sc_session_id(transaction), t->in.ta, t->host_name, c->address,
		       (unsigned)sm_sa_port(&t->host), sc_stage_name((enum sm_stage)r->r.stage),
		       r->in->addr, t->begun_ms ? sm_loop_now_ms() - t->begun_ms : 0,
		       probed[r->r.outcome], (int)r->r.code, r->r.text);
		return;
	}
	sm_log(SM_INFO, events[r->r.outcome],
	       "da_sess=%?C da_ta=%?C ss_ta=%I xid=%?S dsn_of=%?I rcpt_idx=%u server=%S address=%s "
	       "port=%u tls=%?S where=%s rcpt=<%S> xdelay=%m stat=%d reply=%S",
	       sc_session_id(transaction), transaction, t->in.ta, t->in.xid, t->in.dsn_of,
	       (unsigned)r->in->index, t->host_name, c->address, (unsigned)sm_sa_port(&t->host),
	       r->r.tls, sc_stage_name((enum sm_stage)r->r.stage), r->in->addr,
	       t->begun_ms ? sm_loop_now_ms() - t->begun_ms : 0, (int)r->r.code, r->r.text);
}

static void settle(struct sc_task *t, struct sc_rcpt *r, const struct cause *c)
{
	bool done = c->outcome == SM_OUTCOME_DONE;

	sm_assert(r->state != SC_RCPT_SETTLED);
	r->state = SC_RCPT_SETTLED;
	r->r = (struct sm_msg_rcpt_result){
	    .index = r->in->index,
	    .outcome = (uint8_t)c->outcome,
	    .code = (uint16_t)c->why->code,
	    .text = c->text,
	    .stage = (uint8_t)c->why->stage,
	    .host = c->host,
	    .local = c->outcome == SM_OUTCOME_TEMP && c->why->stage == SM_STAGE_LOCAL &&
	             !c->why->lasting,
	    .tls = c->tls,
	    .dsn_passed = done && c->s != NULL && (c->s->ehlo.caps & SC_CAP_DSN) != 0,
	};
	log_result(t, r, c);
}

void sc_result_set(struct sc_task *t, struct sc_rcpt *r, const struct sc_session *s,
                   enum sm_outcome outcome, const struct sc_why *why)
{
	struct cause c;

	cause_init(&c, t, s, outcome, why);
	settle(t, r, &c);
}

void sc_result_set_all(struct sc_task *t, enum sc_rcpt_state state, bool round,
                       const struct sc_session *s, enum sm_outcome outcome,
                       const struct sc_why *why)
{
	struct cause c = {.why = NULL};

	for (size_t i = 0; i < t->in.rcpts_count; i++) {
		struct sc_rcpt *r = &t->rcpts[i];
		if (r->state != state || (round && !r->in_round))
			continue;
		if (c.why == NULL)
			cause_init(&c, t, s, outcome, why);
		settle(t, r, &c);
	}
}

static void send_transcript(struct sc_task *t, struct sm_peer *peer)
{
	struct sm_msg_transcript m = {.task = t->in.task};

	if (t->transcript == NULL)
		return;
	sc_transcript_take(t->transcript, &t->arena, &m);
	sm_peer_send(peer, SM_MSG_transcript, &m);
}

void sc_result_send(struct sc_task *t)
{
	struct sm_msg_task_result m = {
	    .task = t->in.task,
	    .host = t->host,
	    .reach = (uint8_t)t->reach,
	    .session_kept = t->session_kept,
	    .tried_count = t->tried_count,
	    .tried = t->tried,
	    .results_count = t->in.rcpts_count,
	};

	m.results = sm_arena_must(&t->arena, (m.results_count + 1) * sizeof(*m.results));
	for (size_t i = 0; i < m.results_count; i++) {
		sm_assert(t->rcpts[i].state == SC_RCPT_SETTLED);
		m.results[i] = t->rcpts[i].r;
	}
	if (t->answer != NULL) {
		t->answer(t, &m);
		return;
	}
	struct sm_peer *peer = sm_link_peer(t->sc->qmgr);
	if (peer != NULL && t->connection == t->sc->connection) {
		send_transcript(t, peer);
		sm_peer_reply(peer, t->tag, 0, SM_MSG_task_result, &m);
		return;
	}
	/* qmgr went away while we delivered: it asks again for what it has no durable result of. */
	for (size_t i = 0; t->in.probe_ms == 0 && i < m.results_count; i++)
		if (m.results[i].outcome == SM_OUTCOME_DONE)
			sm_log(SM_WARN, "sc.result_lost",
			       "ss_ta=%I rcpt_idx=%u rcpt=<%S> stat=%d reply=%S", t->in.ta,
			       (unsigned)m.results[i].index, t->rcpts[i].in->addr,
			       (int)m.results[i].code, m.results[i].text);
}
