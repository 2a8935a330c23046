/*
 * Content from the client to the content store, past the scanner, then to qmgr, then the one reply.
 *
 * Invariants: 250 only when content and envelope are on stable storage; what is refused leaves no
 * file; how the bytes came changes nothing of what is found in them. Coroutines of the loop's
 * thread.
 */
#include "smtps/content.h"

#include <stdio.h>

#include "libsm/err.h"
#include "libsm/log.h"
#include "smtps/commit.h"
#include "smtps/now.h"
#include "smtps/received.h"
#include "smtps/session.h"

enum { RECEIVED_MAX = 2048 };

/* ---- the beginning ---- */

static int put_received(struct ss_session *s)
{
	const struct ss_txn *t = &s->txn;
	struct ss_received r = {
	    .helo = s->helo,
	    .client_name = s->client_name,
	    .client = &s->client,
	    .uid = ss_session_uid(s),
	    .hostname = s->ss->hostname,
	    .protocol = ss_session_protocol(s),
	    .tls = s->net.tls != NULL ? &s->tls.facts : NULL,
	    .id = t->id,
	    .rcpt = t->rcpt_count == 1 ? t->rcpts[0].addr : SM_STR_NONE,
	    .wall_s = sm_wall_s(),
	};
	struct sm_buf b;
	int err;

	sm_buf_init(&b, RECEIVED_MAX);
	ss_received_put(&b, &r);
	err = cdb_append(s->txn.content, sm_buf_p(&b), b.len);
	sm_buf_fini(&b);
	return err;
}

/* A filter has said more than to go on. */
static void take_word(struct ss_session *s, struct ss_word w)
{
	struct ss_content *c = s->txn.in;

	if (w.kind == SS_WORD_GO)
		return;
	if (w.kind == SS_WORD_DISCARD)
		c->vanishes = s->txn.discard = true;
	w.text = sm_arena_str(&s->txn.arena, w.text);
	c->word = w;
}

/* Filters are told what is stored. The client is not to blame for the time they take. */
static int store(void *arg, const void *p, size_t n)
{
	struct ss_session *s = arg;
	struct ss_content *c = s->txn.in;
	int err = cdb_append(s->txn.content, p, n);
	int64_t before_ms;

	if (s->milters == NULL || err != 0 || c->word.kind != SS_WORD_GO)
		return err;
	before_ms = sm_loop_now_ms();
	take_word(s, ss_milters_content(s, p, n));
	c->start_ms += sm_loop_now_ms() - before_ms;
	return 0;
}

/* A submission server completes what its users' programs left out. */
static void begin_completion(struct ss_session *s)
{
	struct ss_content *c = s->txn.in;
	struct ss_complete_by by = {.unique = sm_str(sm_id_text(s->txn.id, c->id_text)),
	                            .hostname = s->ss->hostname,
	                            .sender = s->txn.sender,
	                            .wall_s = sm_wall_s(),
	                            .put = store,
	                            .arg = s};

	c->completes = (s->conf->flags & (SS_F_SUBMISSION | SS_F_LEAVE_HEADER)) == SS_F_SUBMISSION;
	ss_complete_init(&c->complete, &by);
}

static int end_completion(struct ss_session *s)
{
	struct ss_content *c = s->txn.in;
	unsigned added;
	char msgid[SS_COMPLETE_ID], fields[32];
	int rc;

	if (!c->completes || c->vanishes)
		return 0;
	rc = ss_complete_end(&c->complete);
	added = c->complete.added;
	if (rc != 0 || added == 0)
		return rc;
	if (added & SS_ADDED_MSGID) {
		struct sm_str id = ss_complete_msgid(&c->complete, msgid, sizeof(msgid));

		c->scan.msgid_n = SM_MIN(id.n, sizeof(c->scan.msgid));
		memcpy(c->scan.msgid, id.p, c->scan.msgid_n);
	}
	snprintf(fields, sizeof(fields), "%s%s%s", added & SS_ADDED_DATE ? "Date:" : "",
	         added & SS_ADDED_MSGID ? "Message-ID:" : "", added & SS_ADDED_FROM ? "From:" : "");
	sm_log(SM_INFO, "ss.completed", "ss_sess=%I ss_ta=%I added=%s", s->id, s->txn.id, fields);
	return 0;
}

/* From now on only the end is looked for; what comes is junk. */
static void give_up(struct ss_session *s)
{
	if (s->txn.content != NULL)
		cdb_abort(&s->txn.content);
}

static void pace(struct ss_content *c)
{
	c->start_ms = sm_loop_now_ms();
	c->start_bytes = c->bytes;
}

static bool greylisted(struct ss_session *s)
{
	if (sm_str_empty(s->txn.greylisted))
		return false;
	ss_say_text(s, ss_grey_code(s->conf), s->txn.greylisted);
	if (ss_grey_code(s->conf) == 421) {
		s->closing = s->linger = true;
		s->why = "greylisted";
	}
	ss_txn_reset(s, false);
	return true;
}

bool ss_content_begin(struct ss_session *s, bool chunks)
{
	struct ss_content *c;
	struct ss_word w = {.kind = SS_WORD_GO};

	if (greylisted(s))
		return false;
	if (s->milters != NULL && !ss_txn_vanishes(s))
		w = ss_milters_data(s);
	if (!chunks && ss_word_stops(s, w)) {
		ss_txn_reset(s, false);
		return false;
	}
	c = s->txn.in = sm_calloc(1, sizeof(*c));
	c->fault = SS_R_NONE;
	take_word(s, w);
	ss_scan_init(&c->scan, s->conf, s->txn.body == SM_BODY_BINARYMIME);
	c->vanishes = ss_txn_vanishes(s);
	begin_completion(s);
	if (!c->vanishes) {
		s->txn.content = cdb_write(s->ss->cdb, s->txn.id, 0);
		c->store_err = put_received(s);
	}
	if (ss_content_is_bad(c))
		give_up(s);
	pace(c);
	return true;
}

/* ---- the bytes ---- */

void ss_content_announce(struct ss_session *s, uint64_t size)
{
	struct ss_content *c = s->txn.in;
	uint64_t max = (uint64_t)s->conf->max_message_bytes;

	pace(c);
	if (ss_content_is_bad(c) || (c->bytes <= max && size <= max - c->bytes))
		return;
	c->fault = SS_R_SIZE_TOO_BIG;
	give_up(s);
}

/* It has to come at min_data_rate on average, after a grace time: what came so far is good until
 * then. */
static int64_t rate_deadline(const struct ss_session *s)
{
	const struct ss_content *c = s->txn.in;

	return c->start_ms + s->conf->data_grace_ms +
	       (int64_t)((c->bytes - c->start_bytes) / (uint64_t)s->conf->min_data_rate) * 1000;
}

int64_t ss_content_deadline(const struct ss_session *s)
{
	return SM_MIN(sm_loop_now_ms() + s->conf->io_timeout_ms, rate_deadline(s));
}

bool ss_content_is_bad(const struct ss_content *c)
{
	return c->fault != SS_R_NONE || c->store_err != 0 || c->word.kind == SS_WORD_REFUSE ||
	       c->word.kind == SS_WORD_CUT;
}

static int take(struct ss_session *s, const char *p, size_t n)
{
	struct ss_content *c = s->txn.in;

	c->bytes += n;
	if (ss_content_is_bad(c)) {
		ss_limits_junk(&s->limits, n);
		return ss_limits_junk_left(&s->limits, s->conf) == 0 ? SM_E_TOOBIG : 0;
	}
	c->fault = ss_scan_feed(&c->scan, p, n);
	if (c->fault == SS_R_NONE && c->bytes > (uint64_t)s->conf->max_message_bytes)
		c->fault = SS_R_SIZE_TOO_BIG;
	if (c->fault == SS_R_NONE && !c->vanishes)
		c->store_err = c->completes ? ss_complete_feed(&c->complete, p, n) : store(s, p, n);
	if (ss_content_is_bad(c) || c->vanishes)
		give_up(s);
	return 0;
}

/* A first line that begins with white space is no field, and would be read as the rest of our
 * Received: by all but the filters, for whom that is not there yet. It is the body's. */
int ss_content_feed(struct ss_session *s, const char *p, size_t n)
{
	int rc = 0;

	if (s->txn.in->bytes == 0 && n > 0 && (p[0] == ' ' || p[0] == '\t'))
		rc = take(s, "\r\n", 2);
	return rc == 0 ? take(s, p, n) : rc;
}

/* ---- the end ---- */

void ss_answer_each(struct ss_session *s)
{
	if (ss_speaks_lmtp(s))
		s->answers = s->txn.accepted;
}

static void log_final(struct ss_session *s, struct sm_id id, const struct cdb_place *at)
{
	const struct ss_content *c = s->txn.in;

	s->txn.told = true;
	sm_log(SM_INFO, "ss.final",
	       "ss_sess=%I ss_ta=%I xid=%?S where=final nrcpts=%u content=%?I offset=%?u "
	       "size=%llu msgid=%S "
	       "hops=%lld "
	       "utf8=%?u starttls=%?s cipher=%?s verify=%?s stat=%d text=%s",
	       s->id, id, s->txn.xid, s->txn.rcpt_count, cdb_segment_of(at), at->offset,
	       (unsigned long long)at->size, sm_str_n(c->scan.msgid, c->scan.msgid_n),
	       (long long)c->scan.hops, (unsigned)s->txn.utf8, s->tls.facts.protocol,
	       s->tls.facts.cipher, s->tls.facts.verify_word, s->reply_code, s->reply_text);
}

static enum ss_reply_name store_reply(int err)
{
	return err == SM_E_FULL ? SS_R_DISK_FULL : SS_R_DISK_ERROR;
}

void ss_content_say_bad(struct ss_session *s)
{
	const struct ss_content *c = s->txn.in;

	if (c->store_err != 0)
		sm_log(SM_ERROR, "ss.store", "ss_sess=%I ss_ta=%I error=%E", s->id, s->txn.id,
		       c->store_err);
	if (c->store_err != 0 || c->fault != SS_R_NONE)
		ss_say(s, c->store_err != 0 ? store_reply(c->store_err) : c->fault);
	else
		(void)ss_word_stops(s, c->word);
	log_final(s, s->txn.id, &(struct cdb_place){.size = c->bytes});
}

void ss_content_cut(struct ss_session *s, int io_err)
{
	s->answers = 0;
	s->txn.told = true;
	sm_log(SM_NOTICE, "ss.data", "ss_sess=%I ss_ta=%I client=%A where=data bytes=%llu error=%E",
	       s->id, s->txn.id, &s->client, (unsigned long long)s->txn.in->bytes, io_err);
	if (io_err == SM_E_TOOBIG) {
		ss_say_and_close(s, SS_R_JUNK, "too much junk");
	} else if (io_err == SM_E_TIMEOUT) {
		bool slow = sm_loop_now_ms() >= rate_deadline(s);
		ss_say_and_close(s, slow ? SS_R_TOO_SLOW : SS_R_TIMEOUT, "data took too long");
	} else if (io_err == SM_E_CANCEL) {
		ss_say_and_close(s, SS_R_SHUTDOWN, "shutdown");
	} else {
		s->closing = s->mute = true;
		s->why = "connection lost in data";
	}
	ss_txn_reset(s, false);
}

static void say_accepted(struct ss_session *s)
{
	char id_text[SM_ID_SIZE];
	struct sm_buf text;

	sm_buf_init(&text, 64);
	sm_buf_cstr(&text, "2.0.0 ");
	sm_buf_cstr(&text, sm_id_text(s->txn.id, id_text));
	sm_buf_cstr(&text, " Message accepted for delivery");
	ss_say_text(s, ss_reply_code(SS_R_ACCEPTED), sm_buf_view(&text));
	sm_buf_fini(&text);
}

/* As it came, or with the From: that we have added. */
static bool header_is_utf8(const struct ss_session *s)
{
	const struct ss_content *c = s->txn.in;

	return c->scan.header_8bit || (c->completes && (c->complete.added & SS_ADDED_FROM) &&
	                               !sm_str_is_ascii(s->txn.sender));
}

static void accept_message(struct ss_session *s)
{
	struct sm_id id = s->txn.id;
	struct cdb_place at;
	struct sm_str why;
	enum ss_outcome outcome;
	int err, code;

	err = cdb_commit(&s->txn.content, &at);
	s->txn.content = NULL;
	if (err != 0) {
		sm_log(SM_ERROR, "ss.store", "ss_sess=%I ss_ta=%I error=%E", s->id, id, err);
		ss_say(s, store_reply(err));
		log_final(s, id, &(struct cdb_place){.size = s->txn.in->bytes});
		ss_txn_reset(s, false);
		return;
	}
	outcome = ss_commit(s, &at, &code, &why);
	cdb_handed_over(s->ss->cdb, at.content);
	switch (outcome) {
	case SS_TAKEN:
		if (s->conf->deliver == SM_DELIVER_NOW) {
			ss_now(s, &at);
			break;
		}
		say_accepted(s);
		log_final(s, id, &at);
		ss_txn_reset(s, true);
		break;
	case SS_REFUSED:
		ss_say_text(s, code, why);
		if (code == 421) {
			s->closing = s->linger = true;
			s->why = "421 at the end of data";
		}
		log_final(s, id, &at);
		ss_txn_reset(s, false);
		break;
	case SS_UNKNOWN:
		s->closing = s->mute = true;
		s->why = "outcome of a transaction is unknown";
		ss_txn_reset(s, false);
		break;
	}
}

/* Says the same as if it had been taken. */
static void vanish(struct ss_session *s)
{
	const struct ss_content *c = s->txn.in;

	say_accepted(s);
	s->txn.told = true;
	sm_log(SM_INFO, "ss.discard",
	       "ss_sess=%I ss_ta=%I client=%A where=final mail=<%S> nrcpts=%u size=%llu msgid=%S "
	       "stat=%d why=%s",
	       s->id, s->txn.id, &s->client, s->txn.sender, s->txn.rcpt_count + s->txn.discarded,
	       (unsigned long long)c->bytes, sm_str_n(c->scan.msgid, c->scan.msgid_n),
	       s->reply_code, "discarded by policy");
	ss_txn_reset(s, true);
}

void ss_content_end(struct ss_session *s)
{
	struct ss_content *c = s->txn.in;

	if (c->fault == SS_R_NONE)
		c->fault = ss_scan_end(&c->scan);
	if (!ss_content_is_bad(c))
		c->store_err = end_completion(s);
	ss_txn_header_is_utf8(s, header_is_utf8(s));
	if (s->milters != NULL && !ss_content_is_bad(c) && !c->vanishes)
		take_word(s, ss_milters_end(s));
	if (ss_content_is_bad(c)) {
		ss_content_say_bad(s);
		ss_txn_reset(s, false);
	} else if (c->vanishes) {
		vanish(s);
	} else {
		accept_message(s);
	}
}
