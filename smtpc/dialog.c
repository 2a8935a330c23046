/*
 * The conversation about one message over an open session (RFC 5321, pipelined as RFC 2920 allows;
 * LMTP: RFC 2033).
 *
 * Commands go out in batches: one command each without PIPELINING, else as many as the limit
 * allows, with DATA in the last batch. All replies to a batch are read before the next one is sent.
 * With CHUNKING the content is one chunk behind the last batch (RFC 3030). Invariants: content is
 * sent only after 354 or as a chunk, when at least one recipient has been accepted and nothing
 * unasked has been received; after its end has left, no recipient of this transaction is offered to
 * another host. Coroutines of the loop's thread.
 */
#include "smtpc/dialog.h"

#include <stdio.h>

#include "libsm/log.h"
#include "libsm/smtp_cmd.h"
#include "smtpc/dsn.h"
#include "smtpc/sc.h"
#include "smtpc/suits.h"
#include "smtpc/task.h"
#include "smtpc/transcript.h"
#include "smtpc/xforward.h"

enum {
	BATCH_BYTES =
	    32 * 1024,    /* commands in one batch: fits into what stream and sockets buffer */
	ROUNDS_MAX = 100, /* transactions for one task on one session, beyond its recipients */
	WITHIN_GRACE_MS = 120 * 1000, /* task.within_ms: for the reply to the end of data */
	LAST_WORDS_MS = 1000,         /* for a reply after the server has stopped to take content */
	TOO_MANY = 452, /* RFC 5321 4.5.3.1.10: too many recipients; 552 is the same by history */
	TOO_MANY_OLD = 552,
	ORCPT_MAX = 490, /* RFC 3461 4.2: 500 with its type */
};

struct round {
	struct sc_task *t;
	struct sc_session *s;
	size_t put, answered; /* index into t->rcpts: RCPTs sent and answered before it */
	size_t accepted;      /* recipients that wait for the end of data */
	size_t stray;         /* accepted although MAIL was not */
	bool mail_put, mail_answered, mail_ok;
	bool utf8; /* MAIL has SMTPUTF8 */
	bool bdat; /* the content goes as a chunk */
	bool data_put;
	int data_code;
};

static const struct sc_conf *conf(const struct round *r)
{
	return r->s->sc->conf;
}

/* ---- what is lost with a session ---- */

/* The connection failed, or the server does not speak the protocol. Without a result by now: open
 * for another host. */
static int lost(struct round *r, enum sm_stage stage, int err)
{
	struct sc_task *t = r->t;

	r->s->broken = true;
	if (err > 0)
		sc_why_reply(&t->why, r->s, stage);
	else
		sc_why_error(&t->why, stage, err);
	t->why.session = r->s->id;
	for (size_t i = 0; i < t->in.rcpts_count; i++)
		if (t->rcpts[i].state == SC_RCPT_ACCEPTED)
			t->rcpts[i].state = SC_RCPT_OPEN;
	return err > 0 ? SM_E_PEER : err;
}

static int out_of_step(struct round *r, enum sm_stage stage)
{
	return lost(r, stage,
	            sm_fail(SM_E_PROTO, "unexpected reply %d to %s", r->s->reply.code,
	                    sc_stage_name(stage)));
}

/* ---- commands ---- */

/* xtext as a client gave it (RFC 3461 4): ASCII, no space, no control. */
static bool is_param(struct sm_str s)
{
	return s.n > 0 && sc_is_sendable(s) && sm_str_is_ascii(s) && sm_str_chr(s, ' ') == -1;
}

static void put_path(struct sm_stream *out, struct sm_str begin, struct sm_str path)
{
	sm_stream_puts(out, begin);
	sm_stream_puts(out, path);
	sm_stream_puts(out, SM_STR(">"));
}

static void put_mail(struct round *r)
{
	const struct sm_msg_task *m = &r->t->in;
	struct sm_stream *out = &r->s->stream;

	put_path(out, SM_STR("MAIL FROM:<"), m->sender);
	if (r->utf8)
		sm_stream_puts(out, SM_STR(" SMTPUTF8"));
	if (r->s->ehlo.caps & SC_CAP_SIZE)
		sm_stream_printf(out, " SIZE=%llu", (unsigned long long)sc_content_size(r->t));
	bool eightbit =
	    r->t->content.is_composed ? r->t->content.is_8bit : m->body == SM_BODY_8BITMIME;

	if (!r->t->content.is_composed && m->body == SM_BODY_BINARYMIME)
		sm_stream_puts(out, SM_STR(" BODY=BINARYMIME"));
	else if (eightbit && (r->s->ehlo.caps & SC_CAP_8BITMIME))
		sm_stream_puts(out, SM_STR(" BODY=8BITMIME"));
	/* Of a DSN these are what its original had: not for the DSN's own envelope. */
	if ((r->s->ehlo.caps & SC_CAP_DSN) && m->dsn_kind == SM_DSN_NONE) {
		if (m->ret != SM_RET_NONE)
			sm_stream_printf(out, " RET=%s", m->ret == SM_RET_FULL ? "FULL" : "HDRS");
		if (is_param(m->envid))
			sm_stream_printf(out, " ENVID=" SM_STR_FMT, SM_STR_ARG(m->envid));
	}
	/* RFC 4954 5: only where the server knows us, and is to know. A DSN of ours is nobody's. */
	if (r->s->authenticated && r->s->trusted)
		sm_stream_printf(out, " AUTH=" SM_STR_FMT,
		                 SM_STR_ARG(m->dsn_kind == SM_DSN_NONE && is_param(m->auth)
		                                ? m->auth
		                                : SM_STR("<>")));
	sm_stream_puts(out, SM_STR("\r\n"));
}

static void put_notify(struct sm_stream *out, unsigned notify)
{
	const char *comma = "";

	if (notify == 0)
		return;
	sm_stream_puts(out, SM_STR(" NOTIFY="));
	if (notify & SM_NOTIFY_NEVER) {
		sm_stream_puts(out, SM_STR("NEVER"));
		return;
	}
	static const struct {
		unsigned bit;
		const char *word;
	} words[] = {{SM_NOTIFY_SUCCESS, "SUCCESS"},
	             {SM_NOTIFY_FAILURE, "FAILURE"},
	             {SM_NOTIFY_DELAY, "DELAY"}};
	for (size_t i = 0; i < SM_ARRAY_SIZE(words); i++) {
		if (notify & words[i].bit) {
			sm_stream_printf(out, "%s%s", comma, words[i].word);
			comma = ",";
		}
	}
}

/* As it was given; in UTF-8 (RFC 6533 3) only to who has been told so, else as utf-8-addr-xtext. */
static void put_orcpt(struct round *r, struct sm_str orcpt)
{
	struct sm_stream *out = &r->s->stream;
	struct sm_str address, type = sm_str_split(orcpt, ';', &address);
	struct sm_arena scratch;

	if (is_param(orcpt)) {
		sm_stream_printf(out, " ORCPT=" SM_STR_FMT, SM_STR_ARG(orcpt));
		return;
	}
	sm_arena_init(&scratch, "ORCPT", 1024, 4096);
	if (!sm_str_is_ascii(orcpt) && sm_str_caseeq(type, SM_STR("utf-8")) &&
	    sm_unitext_decode(address, true, &scratch, &address) == 0) {
		struct sm_buf encoded;

		sm_buf_init(&encoded, ORCPT_MAX);
		if (r->utf8)
			sm_buf_str(&encoded, sm_str_from(orcpt, type.n + 1));
		else
			sm_unitext_put(&encoded, address);
		/* One that has become too long is left out: it is only for reports. */
		if (sm_buf_err(&encoded) == 0)
			sm_stream_printf(out, " ORCPT=utf-8;" SM_STR_FMT,
			                 SM_STR_ARG(sm_buf_view(&encoded)));
		sm_buf_fini(&encoded);
	}
	sm_arena_fini(&scratch);
}

static void put_rcpt(struct round *r, const struct sm_msg_rcpt_task *rcpt)
{
	struct sm_stream *out = &r->s->stream;

	put_path(out, SM_STR("RCPT TO:<"), rcpt->addr);
	if (r->s->ehlo.caps & SC_CAP_DSN) {
		put_notify(out, rcpt->notify);
		put_orcpt(r, rcpt->orcpt);
	}
	sm_stream_puts(out, SM_STR("\r\n"));
}

/* DATA may be sent when somebody has been accepted, or still may be by a reply that is on its way.
 */
static bool data_is_due(const struct round *r, size_t pending)
{
	if (r->bdat || r->data_put || r->put < r->t->in.rcpts_count ||
	    (r->mail_answered && !r->mail_ok))
		return false;
	return pending > 0 || r->accepted > 0;
}

/* The next batch; false when there is nothing more to say. */
static bool put_batch(struct round *r)
{
	struct sc_task *t = r->t;
	size_t window =
	    r->s->ehlo.caps & SC_CAP_PIPELINING ? (size_t)conf(r)->max_pipelined_commands : 1;
	size_t n = 0, rcpts = 0;

	if (!r->mail_put) {
		put_mail(r);
		r->mail_put = true;
		n++;
	} else if (!r->mail_ok) {
		return false;
	}
	for (; n < window && r->put < t->in.rcpts_count && r->s->stream.out.len < BATCH_BYTES;
	     r->put++) {
		if (!t->rcpts[r->put].in_round)
			continue;
		put_rcpt(r, t->rcpts[r->put].in);
		rcpts++;
		n++;
	}
	while (r->put < t->in.rcpts_count && !t->rcpts[r->put].in_round)
		r->put++;
	if (n < window && data_is_due(r, rcpts)) {
		sm_stream_puts(&r->s->stream, SM_STR("DATA\r\n"));
		r->data_put = true;
		n++;
	}
	return n > 0;
}

/* ---- replies ---- */

static int on_mail(struct round *r, int code)
{
	struct sc_why why;

	r->mail_answered = true;
	r->mail_ok = sc_outcome(code) == SM_OUTCOME_DONE;
	if (r->mail_ok)
		return 0;
	if (code < 400)
		return out_of_step(r, SM_STAGE_MAIL);
	sc_why_reply(&why, r->s, SM_STAGE_MAIL);
	sc_result_set_all(r->t, SC_RCPT_OPEN, true, r->s, sc_outcome(code), &why);
	return 0;
}

static void on_rcpt(struct round *r, struct sc_rcpt *rcpt, int code)
{
	enum sm_outcome outcome = sc_outcome(code);

	if (!r->mail_ok) {
		r->stray += outcome == SM_OUTCOME_DONE;
		return; /* has the result of MAIL */
	}
	if (outcome == SM_OUTCOME_DONE) {
		rcpt->state = SC_RCPT_ACCEPTED;
		r->accepted++;
		return;
	}
	rcpt->again = code == TOO_MANY || code == TOO_MANY_OLD;
	if (rcpt->again) {
		if (r->accepted > 0)
			return; /* stays open: another transaction over this session, if this one
			           succeeds */
		outcome = SM_OUTCOME_TEMP;
	}
	struct sc_why why;

	sc_why_reply(&why, r->s, SM_STAGE_RCPT);
	sc_result_set(r->t, rcpt, r->s, outcome, &why);
}

/* All replies to the batch. 0 or what `lost` gives. */
static int read_batch(struct round *r)
{
	const struct sc_timeouts *limits = &r->s->timeouts;
	struct sc_task *t = r->t;
	int code;

	if (!r->mail_answered) {
		code = sc_session_reply(r->s, limits->mail_ms);
		if (code < 0 || r->s->broken)
			return lost(r, SM_STAGE_MAIL, code);
		int rc = on_mail(r, code);
		if (rc != 0)
			return rc;
	}
	for (; r->answered < r->put; r->answered++) {
		struct sc_rcpt *rcpt = &t->rcpts[r->answered];
		if (!rcpt->in_round)
			continue;
		code = sc_session_reply(r->s, limits->rcpt_ms);
		if (code < 0 || r->s->broken)
			return lost(r, SM_STAGE_RCPT, code);
		on_rcpt(r, rcpt, code);
	}
	if (r->data_put) {
		code = sc_session_reply(r->s, limits->data_init_ms);
		if (code < 0 || r->s->broken)
			return lost(r, SM_STAGE_DATA, code);
		r->data_code = code;
	}
	int rc = sc_session_in_step(r->s);
	return rc == 0 ? 0 : lost(r, r->data_put ? SM_STAGE_DATA : SM_STAGE_RCPT, rc);
}

/* ---- end of data ---- */

/* The dot has left and there is no answer: delivered or not, nobody knows. */
static void unknown_fate(struct round *r, int err)
{
	struct sc_why why;

	if (err > 0)
		sc_why_reply(&why, r->s, SM_STAGE_EOD);
	else
		sc_why_error(&why, SM_STAGE_EOD, err);
	r->t->why = why;
	if (err < 0)
		sm_log(
		    SM_WARN, "sc.maybe_duplicate",
		    "da_sess=%C da_ta=%C ss_ta=%I xid=%?S server=%s address=%A where=final stat=0 "
		    "reply=%s",
		    sc_session_id(r->s->id), r->s->id, r->t->in.ta, r->t->in.xid, r->s->host,
		    &r->s->sa, why.text);
	sc_result_set_all(r->t, SC_RCPT_ACCEPTED, true, r->s, SM_OUTCOME_TEMP, &why);
}

/* One reply is for all (SMTP), or one for each in the order of RCPT (LMTP). Gives how many were
 * delivered. */
static size_t read_results(struct round *r)
{
	struct sc_task *t = r->t;
	struct sc_why why;
	size_t done = 0;

	for (size_t i = 0; i < t->in.rcpts_count; i++) {
		struct sc_rcpt *rcpt = &t->rcpts[i];
		if (rcpt->state != SC_RCPT_ACCEPTED)
			continue;
		int code = r->s->broken ? r->s->reply.code
		                        : sc_session_reply(r->s, r->s->timeouts.data_final_ms);
		if (code < 0 || r->s->broken) {
			unknown_fate(r, code);
			break;
		}
		sc_why_reply(&why, r->s, SM_STAGE_EOD);
		if (code < 400 && sc_outcome(code) != SM_OUTCOME_DONE)
			r->s->broken = true; /* a 3xx: out of step, and not delivered */
		if (!r->s->lmtp) {
			done = sc_outcome(code) == SM_OUTCOME_DONE ? r->accepted : 0;
			sc_result_set_all(t, SC_RCPT_ACCEPTED, true, r->s, sc_outcome(code), &why);
			break;
		}
		done += sc_outcome(code) == SM_OUTCOME_DONE;
		sc_result_set(t, rcpt, r->s, sc_outcome(code), &why);
	}
	if (sc_session_in_step(r->s) != 0)
		sm_log(SM_NOTICE, "sc.out_of_step",
		       "da_sess=%C da_ta=%C ss_ta=%I server=%s address=%A", sc_session_id(r->s->id),
		       r->s->id, t->in.ta, r->s->host, &r->s->sa);
	return done;
}

/* The server stopped to take content. If it says why (and refuses), that is a result; else the
 * transaction is lost. */
static int refused_content(struct round *r, int err)
{
	struct sc_why why;
	char kept[SM_DIAG_MAX];
	int code;

	(void)snprintf(kept, sizeof(kept), "%s", sm_diag());
	r->s->broken = false;
	sm_buf_reset(&r->s->stream.out);
	code = sc_session_reply(r->s, LAST_WORDS_MS);
	r->s->broken = true;
	if (code < 400 || code == 421)
		return lost(r, SM_STAGE_DATA, code == 421 ? code : sm_fail(err, "%s", kept));
	sc_why_reply(&why, r->s, SM_STAGE_DATA);
	sc_result_set_all(r->t, SC_RCPT_ACCEPTED, true, r->s, sc_outcome(code), &why);
	return 0;
}

/* 354 was said, or it goes as a chunk. *done: how many were delivered. */
static int send_content(struct round *r, size_t *done)
{
	bool local;

	if (r->accepted == 0) {
		/* RFC 2920 3.1: a lone dot; unless the server takes it for a message to somebody.
		 */
		if (r->stray > 0 || r->s->lmtp)
			return out_of_step(r, SM_STAGE_DATA);
		sm_stream_puts(&r->s->stream, SM_STR(".\r\n"));
		if (sc_session_reply(r->s, r->s->timeouts.data_final_ms) < 0)
			r->s->broken = true;
		return 0;
	}
	int rc =
	    r->bdat ? sc_data_send_chunk(r->t, r->s, &local) : sc_data_send(r->t, r->s, &local);
	sc_transcript_content_end(r->s);
	if (rc == 0) {
		/* All of it is there, and what becomes of it is to be known. */
		if (r->t->in.within_ms > 0)
			r->s->end_ms += WITHIN_GRACE_MS;
		*done = read_results(r);
		return 0;
	}
	if (local) {
		struct sc_why why;
		sc_why_error(&why, SM_STAGE_LOCAL, rc);
		sm_log(SM_ERROR, "sc.content", "da_sess=%C da_ta=%C ss_ta=%I content=%I error=%E",
		       sc_session_id(r->s->id), r->s->id, r->t->in.ta, r->t->in.content, rc);
		sc_result_set_all(r->t, SC_RCPT_ACCEPTED, true, r->s, SM_OUTCOME_TEMP, &why);
		return 0;
	}
	return rc == SM_E_EOF ? refused_content(r, rc) : lost(r, SM_STAGE_DATA, rc);
}

static int on_data(struct round *r, size_t *done)
{
	struct sc_why why;

	if (r->data_code == 354)
		return send_content(r, done);
	if (r->data_code < 400)
		return out_of_step(r, SM_STAGE_DATA);
	sc_why_reply(&why, r->s, SM_STAGE_DATA);
	sc_result_set_all(r->t, SC_RCPT_ACCEPTED, true, r->s, sc_outcome(r->data_code), &why);
	return 0;
}

/* ---- the whole ---- */

/* The content could not be opened: nobody else is asked either, because the trouble is here. */
static int no_content(struct round *r, int err)
{
	struct sc_why why;

	sm_log(SM_ERROR, "sc.content", "da_sess=%C da_ta=%C ss_ta=%I content=%I error=%E",
	       sc_session_id(r->s->id), r->s->id, r->t->in.ta, r->t->in.content, err);
	sc_why_error(&why, SM_STAGE_LOCAL, err);
	r->s->broken = true;
	r->t->why = why;
	sc_result_set_all(r->t, SC_RCPT_OPEN, true, NULL, SM_OUTCOME_TEMP, &why);
	sc_result_set_all(r->t, SC_RCPT_ACCEPTED, true, NULL, SM_OUTCOME_TEMP, &why);
	return 0;
}

static int transaction(struct round *r, size_t *done)
{
	int rc;

	*done = 0;
	r->s->id.task++;
	rc = sc_xforward(r->t, r->s);
	if (rc != 0)
		return lost(r, SM_STAGE_MAIL, rc);
	while (!r->data_put && put_batch(r)) {
		rc = sm_stream_flush(&r->s->stream,
		                     sc_session_deadline(r->s, conf(r)->io_timeout_ms));
		if (rc != 0)
			return lost(r, r->mail_answered ? SM_STAGE_RCPT : SM_STAGE_MAIL, rc);
		if (r->data_put) {
			/* While the server thinks about the batch, the disk can work. */
			rc = sc_content_open(r->t);
			if (rc != 0)
				return no_content(r, rc);
		}
		rc = read_batch(r);
		if (rc != 0)
			return rc;
	}
	if (r->bdat && r->accepted > 0) {
		rc = sc_content_open(r->t);
		if (rc != 0)
			return no_content(r, rc);
		rc = send_content(r, done);
	} else if (r->data_put) {
		rc = on_data(r, done);
	}
	/* Servers count errors, and MAIL may still stand: such a session is not for others. */
	if (*done == 0)
		r->s->spent = true;
	return rc;
}

static struct sm_str domain_of(const struct sc_rcpt *r)
{
	return sm_str_from(r->in->addr, (size_t)(sm_str_rchr(r->in->addr, '@') + 1));
}

/* Is its domain one of those before it that take part? */
static bool domain_is_in(const struct sc_task *t, size_t at)
{
	for (size_t i = at; i-- > 0;)
		if (t->rcpts[i].in_round &&
		    sm_str_caseeq(domain_of(&t->rcpts[i]), domain_of(&t->rcpts[at])))
			return true;
	return false;
}

/*
 * Who takes part: all that are open, within the server's limits (RFC 9422); the others are for the
 * next round. False when nobody is.
 */
static bool begin(struct round *r)
{
	const struct sc_ehlo *e = &r->s->ehlo;
	uint64_t domains = 0, rcpts = 0;

	for (size_t i = 0; i < r->t->in.rcpts_count; i++) {
		struct sc_rcpt *rcpt = &r->t->rcpts[i];

		rcpt->in_round =
		    rcpt->state == SC_RCPT_OPEN && (e->rcpt_max == 0 || rcpts < e->rcpt_max);
		if (rcpt->in_round && e->rcpt_domain_max > 0 && !domain_is_in(r->t, i)) {
			rcpt->in_round = domains < e->rcpt_domain_max;
			domains += rcpt->in_round;
		}
		rcpts += rcpt->in_round;
	}
	r->utf8 = sc_says_utf8(r->t, r->s);
	r->bdat = sc_says_bdat(r->t, r->s);
	return rcpts > 0;
}

/* Took part, and has no result. */
static bool any_left(const struct sc_task *t)
{
	for (size_t i = 0; i < t->in.rcpts_count; i++)
		if (t->rcpts[i].state == SC_RCPT_OPEN && t->rcpts[i].in_round)
			return true;
	return false;
}

int sc_dialog(struct sc_task *t, struct sc_session *s)
{
	size_t done;
	int rc = 0;

	rc = sc_dsn_fit(t, sc_takes(s));
	if (rc != 0) {
		/* Our own trouble, as content that cannot be read is. */
		sc_result_set_all(t, SC_RCPT_OPEN, false, NULL, SM_OUTCOME_TEMP, &t->why);
		return 0;
	}
	if (!sc_suits(t, s))
		return 0;
	for (size_t i = 0; i < ROUNDS_MAX + t->in.rcpts_count; i++) {
		if (rc != 0 || s->broken || s->spent || sc_session_is_used_up(s))
			break;
		struct round r = {.t = t, .s = s};
		if (!begin(&r))
			break;
		rc = transaction(&r, &done);
	}
	if (rc == 0 && !sc_session_is_used_up(s) && any_left(t)) {
		/* Of "too many recipients". */
		struct sc_why why = {.stage = SM_STAGE_RCPT, .code = TOO_MANY};
		(void)sc_text_local(why.text, "4.5.3", "server takes fewer recipients at a time");
		sc_result_set_all(t, SC_RCPT_OPEN, true, s, SM_OUTCOME_TEMP, &why);
	}
	return rc;
}
