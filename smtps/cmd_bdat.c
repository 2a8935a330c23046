/*
 * BDAT (RFC 3030 2): content in chunks of announced size, without dots.
 *
 *   bdat-cmd = "BDAT" SP chunk-size [ SP "LAST" ]
 *
 * Invariants: a chunk's bytes are never run as commands, whatever is wrong with the chunk; when it
 * cannot be told how many they are, or they are too many to be thrown away, the session ends. After
 * a chunk that was refused, nothing but RSET (EHLO, QUIT) helps.
 */
#include <stdio.h>

#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/msg.h"
#include "libsm/smtp_cmd.h"
#include "smtps/cmds.h"
#include "smtps/content.h"
#include "smtps/session.h"

/* What a refused chunk costs of the budget of junk, beside its bytes: so that they end. */
enum { REFUSED_COST = 512 };

struct chunk {
	uint64_t size;
	bool last;
};

/* False: the session ends, that has been said. */
static bool parse(struct ss_session *s, struct sm_str arg, struct chunk *c)
{
	int err = sm_smtp_bdat(arg, &c->size, &c->last);

	if (err == 0)
		return true;
	ss_say_and_close(s, err == SM_E_RANGE ? SS_R_CHUNK_HUGE : SS_R_CHUNK_BAD,
	                 "chunk of unknown size");
	return false;
}

/* The connection is of no use any more, outside of a message. */
static void lost(struct ss_session *s, int err)
{
	if (err == SM_E_TOOBIG) {
		ss_say_and_close(s, SS_R_JUNK, "too much junk");
	} else if (err == SM_E_TIMEOUT) {
		ss_say_and_close(s, SS_R_TIMEOUT, "timeout");
	} else if (err == SM_E_CANCEL) {
		ss_say_and_close(s, SS_R_SHUTDOWN, "shutdown");
	} else {
		s->closing = s->mute = true;
		s->why = "connection lost in data";
	}
}

/* Throw the bytes of a chunk away that nobody wants. */
static bool drop(struct ss_session *s, uint64_t size)
{
	char *piece;
	ssize_t n = 0;

	ss_limits_junk(&s->limits, REFUSED_COST);
	if (size > ss_limits_junk_left(&s->limits, s->conf)) {
		ss_say_and_close(s, SS_R_CHUNK_HUGE, "too much junk");
		return false;
	}
	piece = sm_malloc(SS_PIECE_BYTES);
	while (size > 0) {
		n = sm_stream_raw(&s->io, piece, (size_t)SM_MIN(size, (uint64_t)SS_PIECE_BYTES),
		                  ss_deadline(s));
		if (n < 0)
			break;
		ss_limits_junk(&s->limits, (uint64_t)n);
		size -= (uint64_t)n;
	}
	sm_free(piece);
	if (n < 0)
		lost(s, (int)n);
	else if (ss_limits_junk_left(&s->limits, s->conf) == 0)
		lost(s, SM_E_TOOBIG);
	return !s->closing;
}

bool ss_bdat_skip(struct ss_session *s, struct sm_str arg)
{
	struct chunk c;

	return parse(s, arg, &c) && drop(s, c.size);
}

/* The bytes of a chunk to where they belong. False: the session ends, that has been said. */
static bool take(struct ss_session *s, uint64_t size)
{
	bool text = s->txn.body != SM_BODY_BINARYMIME;
	struct ss_content *c = s->txn.in;
	char *piece;
	int err = 0;

	ss_content_announce(s, size);
	if (ss_content_is_bad(c) && size > ss_limits_junk_left(&s->limits, s->conf)) {
		ss_content_say_bad(s);
		s->closing = s->linger = true;
		s->why = "too much junk";
		return false;
	}
	piece = sm_malloc(SS_PIECE_BYTES);
	while (size > 0 && err == 0) {
		ssize_t n =
		    sm_stream_raw(&s->io, piece, (size_t)SM_MIN(size, (uint64_t)SS_PIECE_BYTES),
		                  ss_content_deadline(s));

		if (n < 0) {
			err = (int)n;
			break;
		}
		size -= (uint64_t)n;
		if (text)
			ss_scan_line_ends(&c->scan, piece, (size_t)n);
		err = ss_content_feed(s, piece, (size_t)n);
	}
	sm_free(piece);
	if (err != 0)
		ss_content_cut(s, err);
	return err == 0;
}

static void say_taken(struct ss_session *s, uint64_t size)
{
	char text[64];

	snprintf(text, sizeof(text), "2.0.0 %llu bytes taken", (unsigned long long)size);
	ss_say_text(s, ss_reply_code(SS_R_CHUNK_OK), sm_str(text));
}

/* Greylisting refuses the message, not the chunk: RFC 3030 2 wants the bytes read before that is
 * said. */
static bool begin(struct ss_session *s, uint64_t size)
{
	if (s->txn.in != NULL)
		return true;
	if (!sm_str_empty(s->txn.greylisted) && !drop(s, size))
		return false;
	if (ss_content_begin(s, true))
		return true;
	s->refused = true; /* further chunks may be on the way */
	return false;
}

/* A chunk of nothing that is not the last one does nothing. */
static bool is_idle(struct ss_session *s, const struct chunk *c)
{
	enum ss_reply_name many = SS_R_NONE;

	if (c->size == 0 && !c->last)
		many = ss_limits_nop(&s->limits, s->conf, true);
	if (many != SS_R_NONE)
		ss_say_and_close(s, many, "too many commands that do nothing");
	return many != SS_R_NONE;
}

void ss_cmd_bdat(struct ss_session *s, struct sm_str arg)
{
	struct chunk c;

	if (!parse(s, arg, &c) || is_idle(s, &c))
		return;
	if (c.last)
		ss_answer_each(s);
	if (s->txn.in != NULL && s->txn.in->failed) {
		if (drop(s, c.size))
			ss_say(s, SS_R_CHUNK_FAILED);
		return;
	}
	if (!begin(s, c.size) || !take(s, c.size))
		return;
	if (c.last) {
		ss_content_end(s);
	} else if (ss_content_is_bad(s->txn.in)) {
		s->txn.in->failed = true;
		ss_content_say_bad(s);
	} else {
		say_taken(s, c.size);
	}
}
