/*
 * A transaction: gathered, said to smtps, answered. Invariant: the client hears one reply for each
 * recipient, in their order, after its content and whatever has happened; 2yz and 5yz are smtps'
 * words (or about a size that nobody was asked for), everything that is not known is 4yz, and then
 * smtps has been cut off, so that it forgets what it has not delivered. Content goes through in
 * pieces. One thread.
 */
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "libsm/err.h"
#include "libsm/time.h"
#include "misc/smxfeed.h"

#define STEP_MS     (10 * 60 * 1000) /* for one step of either side (RFC 5321 4.5.3.2) */
#define LOST        "4.4.2 Connection to smx is lost"
#define AWAY        "4.3.2 smx is away"
#define UNDECIDED   "4.4.7 Not delivered in time"
#define ENDED       "4.3.2 smxfeed was told to end"
#define TOO_LARGE   "5.3.4 Message is too large"
#define PIECE_BYTES (size_t)(64 * 1024)
#define PIPELINED   (size_t)100 /* commands; what is said to them fits into the socket's buffer */

enum { ARENA_CAP = 8 * 1024 * 1024 };

struct rcpt {
	struct sm_str line;
	int code; /* 0: not known yet */
	struct sm_str text;
};
struct sf_mail {
	struct sm_arena arena;
	struct sm_str line; /* MAIL; p NULL: none */
	struct rcpt rcpts[SF_RCPTS_MAX];
	size_t count;
	char id[SF_ID_MAX + 1];
	bool others; /* were before it */
	struct sf_text text;
	bool sending; /* smtps wants the content */
};

/* ---- gathering ---- */

struct sf_mail *sf_mail_new(void)
{
	struct sf_mail *m = sm_calloc(1, sizeof(*m));

	sm_arena_init(&m->arena, "mail", 4096, ARENA_CAP);
	return m;
}

void sf_mail_free(struct sf_mail **m)
{
	if (*m != NULL)
		sm_arena_fini(&(*m)->arena);
	SM_FREE(*m);
}

void sf_mail_reset(struct sf_mail *m)
{
	sm_arena_reset(&m->arena);
	m->line = SM_STR_NONE;
	m->count = 0;
}

bool sf_mail_open(const struct sf_mail *m)
{
	return m->line.p != NULL;
}

size_t sf_mail_rcpts(const struct sf_mail *m)
{
	return m->count;
}

bool sf_mail_begin(struct sf_mail *m, struct sm_str line)
{
	m->line = sm_arena_str(&m->arena, line);
	return m->line.p != NULL;
}

bool sf_mail_rcpt(struct sf_mail *m, struct sm_str line)
{
	struct rcpt *r = &m->rcpts[m->count];

	if (m->count == SF_RCPTS_MAX)
		return false;
	*r = (struct rcpt){.line = sm_arena_str(&m->arena, line)};
	if (r->line.p == NULL)
		return false;
	m->count++;
	return true;
}

/* ---- results ---- */

static void decide(struct sf_mail *m, struct rcpt *r, int code, struct sm_str text)
{
	r->code = code;
	r->text = sm_arena_str(&m->arena, text);
	if (r->text.p == NULL)
		r->text = SM_STR("");
}

static void decide_rest(struct sf_mail *m, int code, const char *text)
{
	for (size_t i = 0; i < m->count; i++)
		if (m->rcpts[i].code == 0)
			decide(m, &m->rcpts[i], code, sm_str(text));
}

/* `err`: of sf_reply and others. What smtps has is to be forgotten. */
static void give_up(struct sf *f, int err)
{
	sf_log(f, LOG_WARNING, "id=%s: %s", f->mail->id, sm_diag());
	sf_server_cut(f);
	f->mail->sending = false;
	if (err == SM_E_CANCEL || err == SM_E_PEER) {
		f->closing = true;
		f->status = err == SM_E_CANCEL ? SF_TEMPFAIL : SF_IOERR;
	}
	decide_rest(f->mail, 451,
	            err == SM_E_TIMEOUT  ? UNDECIDED
	            : err == SM_E_CANCEL ? ENDED
	                                 : LOST);
}

/* ---- the envelope ---- */

static int64_t soon(void)
{
	return sm_now_ms() + STEP_MS;
}

/* The code, or an error: then everything that was open is decided. */
static int reply(struct sf *f)
{
	int code = sf_reply(f, soon());

	if (code < 0)
		give_up(f, code);
	return code;
}

static struct sm_str reply_text(const struct sf *f)
{
	return sm_buf_view(&f->reply.text);
}

static bool say_mail(struct sf *f)
{
	struct sf_mail *m = f->mail;
	bool ident = m->id[0] != '\0' && f->xforward;
	int code;

	if (ident)
		sf_server_say(f, "XFORWARD IDENT=%s", m->id);
	sf_server_say(f, "%.*s", SM_STR_ARG(m->line));
	if (ident) {
		code = reply(f);
		if (code < 0)
			return false;
		if (code / 100 != 2)
			sf_log(f, LOG_WARNING, "id=%s: not told to smx: %d", m->id, code);
	}
	code = reply(f);
	if (code < 0 || code / 100 == 2)
		return code > 0;
	for (size_t i = 0; i < m->count; i++)
		decide(m, &m->rcpts[i], code, reply_text(f));
	return false;
}

/* How many were accepted; those that were not are decided. */
static size_t say_rcpts(struct sf *f)
{
	struct sf_mail *m = f->mail;
	size_t step = f->pipelining ? PIPELINED : 1, accepted = 0;

	for (size_t at = 0; at < m->count; at += step) {
		size_t end = SM_MIN(at + step, m->count);

		for (size_t i = at; i < end; i++)
			sf_server_say(f, "%.*s", SM_STR_ARG(m->rcpts[i].line));
		for (size_t i = at; i < end; i++) {
			int code = reply(f);

			if (code < 0)
				return 0;
			if (code / 100 == 2)
				accepted++;
			else
				decide(m, &m->rcpts[i], code, reply_text(f));
		}
	}
	return accepted;
}

/* Also when nobody was accepted: the id that was told is about no other mail. */
static void take_back(struct sf *f)
{
	if (f->server.in == -1)
		return;
	sf_server_say(f, "RSET");
	if (sf_reply(f, soon()) != 250)
		sf_server_cut(f);
}

static void say_envelope(struct sf *f)
{
	struct sf_mail *m = f->mail;
	int code;

	if (sf_server_open(f) != 0) {
		sf_log(f, LOG_WARNING, "id=%s: %s", m->id, sm_diag());
		decide_rest(m, 451, AWAY);
		return;
	}
	if (!say_mail(f) || say_rcpts(f) == 0) {
		take_back(f);
		return;
	}
	sf_server_say(f, "DATA");
	code = reply(f);
	if (code == 354) {
		m->sending = true;
		return;
	}
	if (code < 0)
		return;
	for (size_t i = 0; i < m->count; i++)
		if (m->rcpts[i].code == 0)
			decide(m, &m->rcpts[i], code, reply_text(f));
	take_back(f);
}

/* ---- the content ---- */

static void too_large(struct sf *f)
{
	sf_log(f, LOG_NOTICE, "id=%s: larger than %lld bytes", f->mail->id,
	       (long long)f->max_bytes);
	/* Within content there is no other way to take it back. */
	sf_server_cut(f);
	f->mail->sending = false;
	decide_rest(f->mail, 552, TOO_LARGE);
}

/* More of it into `out`: 0, 1 when that was all, or an error. */
static int next_piece(struct sf *f, struct sm_buf *out)
{
	struct sm_str in;
	bool end;
	int rc;

	if (f->client.rd.len == 0 && (rc = sf_fill(f, &f->client, soon())) != 0)
		return rc;
	in = sm_str_head(sm_buf_view(&f->client.rd), PIECE_BYTES);
	sm_buf_consume(&f->client.rd, sf_text(&f->mail->text, in, out, &end));
	return end;
}

/* Up to where the first Received: tells the id, or does not. As next_piece. */
static int read_id(struct sf *f, struct sm_buf *head)
{
	int end = 0, found = SM_E_AGAIN;

	while (end == 0 && found == SM_E_AGAIN && head->len < SF_HEADER_MAX) {
		end = next_piece(f, head);
		found = sf_received_id(sm_buf_view(head), f->mail->id);
	}
	if (found != 1)
		sf_log(f, LOG_NOTICE, "no id in a Received: of the message");
	return end;
}

/*
 * Under which id the caller has it, as far as its content has to be read for that. The id of -I is
 * about a mail, not about a process: a caller that keeps the connection comes with another mail,
 * and smx would take that for the one that it has delivered already. So from the second one on its
 * own Received: has to say the same.
 */
static int find_id(struct sf *f, struct sm_buf *head)
{
	struct sf_mail *m = f->mail;
	int end = 0;

	bool by_header = f->opts.id_from_header || (f->opts.id != NULL && m->others);

	m->id[0] = '\0';
	if (by_header)
		end = read_id(f, head);
	if (f->opts.id == NULL || f->opts.id_from_header)
		return end;
	if (!by_header)
		sm_str_cut(sm_str(f->opts.id), m->id, sizeof(m->id));
	else if (strcmp(f->opts.id, m->id) != 0)
		m->id[0] = '\0';
	return end;
}

/* Reads the content to its end, and sends it when smtps wants it. 0, or an error of the client. */
static int pass_content(struct sf *f, struct sm_buf *piece, int end)
{
	struct sf_mail *m = f->mail;

	for (;;) {
		if (m->sending && f->max_bytes > 0 && m->text.size > (uint64_t)f->max_bytes)
			too_large(f);
		if (m->sending) {
			int rc;

			sm_buf_append(&f->server.wr, sm_buf_p(piece), piece->len);
			rc = sf_flush(f, &f->server, soon());
			if (rc != 0)
				give_up(f, rc);
		}
		sm_buf_reset(piece);
		if (end != 0)
			return end < 0 ? end : 0;
		end = next_piece(f, piece);
	}
}

/* ---- what became of it ---- */

static void hear(struct sf *f)
{
	struct sf_mail *m = f->mail;
	int64_t until_ms =
	    sm_now_ms() + (f->opts.total_ms > 0 ? f->opts.total_ms : f->conf.total_ms);

	for (size_t i = 0; i < m->count; i++) {
		struct rcpt *r = &m->rcpts[i];
		int code;

		if (r->code != 0)
			continue;
		code = sf_reply(f, until_ms);
		if (code < 0) {
			give_up(f, code);
			return;
		}
		decide(m, r, code, reply_text(f));
	}
}

static void answer(struct sf *f)
{
	struct sf_mail *m = f->mail;
	unsigned count[6] = {0};

	for (size_t i = 0; i < m->count; i++) {
		sm_reply_put(&f->client.wr, m->rcpts[i].code, m->rcpts[i].text);
		count[m->rcpts[i].code / 100]++;
	}
	sf_log(f, LOG_INFO, "id=%s nrcpts=%zu size=%llu sent=%u failed=%u deferred=%u", m->id,
	       m->count, (unsigned long long)m->text.size, count[2], count[5], count[4] + count[3]);
}

void sf_mail_data(struct sf *f)
{
	struct sf_mail *m = f->mail;
	struct sm_buf piece;
	int rc;

	sm_buf_init(&piece, SF_HEADER_MAX + 4 * PIECE_BYTES);
	m->text = (struct sf_text){.lf = f->lf};
	m->sending = false;
	sf_say(f, 354, "Go on, end with \".\"");
	rc = sf_flush(f, &f->client, soon());
	if (rc == 0)
		rc = find_id(f, &piece);
	if (rc >= 0) {
		say_envelope(f);
		rc = pass_content(f, &piece, rc);
	}
	sm_buf_fini(&piece);
	if (rc != 0) {
		sf_log(f, LOG_WARNING, "id=%s: within content: %s", m->id, sm_diag());
		sf_server_cut(f);
		f->closing = true;
		f->status = rc == SM_E_CANCEL ? SF_TEMPFAIL : SF_IOERR;
	} else {
		if (m->sending)
			hear(f);
		answer(f);
	}
	if (f->opts.id_once)
		f->opts.id = NULL;
	m->others = true;
	sf_mail_reset(m);
}
