/*
 * DATA (RFC 5321 4.1.1.4): content from the client to the content store, past the scanner, then to
 * qmgr, then the one reply.
 *
 * Invariants: 250 only when content and envelope are on stable storage; nothing is answered before
 * CRLF.CRLF has come; what is refused leaves no file.
 */
#include <stdio.h>

#include "libsm/err.h"
#include "libsm/log.h"
#include "smtps/cmds.h"
#include "smtps/commit.h"
#include "smtps/received.h"
#include "smtps/scan.h"
#include "smtps/session.h"

enum { PIECE_BYTES = 32 * 1024, RECEIVED_MAX = 2048 };

/* How reading the content went. */
struct data {
	struct ss_scan scan;
	int store_err; /* the store's first error */
	enum ss_reply_name fault;
	int io_err; /* the connection's; no reply is owed to data that never ended */
	int64_t start_ms;
	uint64_t bytes; /* read from the client */
	bool vanishes;  /* a map says so: it is read and looked at as ever, and not kept */
};

static int put_received(struct ss_session *s)
{
	const struct ss_txn *t = &s->txn;
	struct ss_received r = {
	    .helo = s->helo,
	    .client_name = s->client_name,
	    .client = &s->client,
	    .hostname = s->ss->hostname,
	    .protocol = ss_received_protocol(s->esmtp, s->net.tls != NULL, s->auth.done),
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

/* Data has to come at min_data_rate on average, after a grace time: what came so far is good until
 * then. */
static int64_t rate_deadline(const struct ss_session *s, const struct data *d)
{
	return d->start_ms + s->conf->data_grace_ms +
	       (int64_t)(d->bytes / (uint64_t)s->conf->min_data_rate) * 1000;
}

/* A single pause may last io_timeout. */
static int64_t data_deadline(const struct ss_session *s, const struct data *d)
{
	return SM_MIN(sm_loop_now_ms() + s->conf->io_timeout_ms, rate_deadline(s, d));
}

/* From now on only the end is looked for; what comes is junk. */
static void give_up(struct ss_session *s)
{
	if (s->txn.content != NULL)
		cdb_abort(&s->txn.content);
}

/* Read to CRLF.CRLF, whatever is found on the way. */
static void read_content(struct ss_session *s, struct data *d)
{
	char *piece = sm_malloc(PIECE_BYTES);
	ssize_t n;

	while ((n = sm_stream_data(&s->io, piece, PIECE_BYTES, data_deadline(s, d))) > 0) {
		d->bytes += (size_t)n;
		if (s->txn.content == NULL && (!d->vanishes || d->fault != SS_R_NONE)) {
			ss_limits_junk(&s->limits, (uint64_t)n);
			if (ss_limits_junk_left(&s->limits, s->conf) == 0) {
				n = SM_E_TOOBIG;
				break;
			}
			continue;
		}
		d->fault = ss_scan_feed(&d->scan, piece, (size_t)n);
		if (d->fault == SS_R_NONE && d->bytes > (uint64_t)s->conf->max_message_bytes)
			d->fault = SS_R_SIZE_TOO_BIG;
		if (d->fault == SS_R_NONE && !d->vanishes)
			d->store_err = cdb_append(s->txn.content, piece, (size_t)n);
		if (d->fault != SS_R_NONE || d->store_err != 0)
			give_up(s);
	}
	d->io_err = (int)n;
	sm_free(piece);
}

static void log_final(struct ss_session *s, const struct data *d, struct sm_id id, uint32_t offset,
                      uint64_t size)
{
	s->txn.told = true;
	sm_log(SM_INFO, "ss.final",
	       "ss_sess=%I ss_ta=%I where=final nrcpts=%u offset=%?u size=%llu msgid=%S hops=%lld "
	       "stat=%d text=%s",
	       s->id, id, s->txn.rcpt_count, offset, (unsigned long long)size,
	       sm_str_n(d->scan.msgid, d->scan.msgid_n), (long long)d->scan.hops, s->reply_code,
	       s->reply_text);
}

static enum ss_reply_name store_reply(int err)
{
	return err == SM_E_FULL ? SS_R_DISK_FULL : SS_R_DISK_ERROR;
}

/* The connection broke, or the client took too long or too much: no message, and no session any
 * more. */
static void cut(struct ss_session *s, struct data *d)
{
	s->txn.told = true;
	sm_log(SM_NOTICE, "ss.data", "ss_sess=%I ss_ta=%I client=%A where=data bytes=%llu error=%E",
	       s->id, s->txn.id, &s->client, (unsigned long long)d->bytes, d->io_err);
	if (d->io_err == SM_E_TOOBIG) {
		ss_say_and_close(s, SS_R_JUNK, "too much junk");
	} else if (d->io_err == SM_E_TIMEOUT) {
		bool slow = sm_loop_now_ms() >= rate_deadline(s, d);
		ss_say_and_close(s, slow ? SS_R_TOO_SLOW : SS_R_TIMEOUT, "data took too long");
	} else if (d->io_err == SM_E_CANCEL) {
		ss_say_and_close(s, SS_R_SHUTDOWN, "shutdown");
	} else {
		s->closing = s->mute = true;
		s->why = "connection lost in data";
	}
	ss_txn_reset(s, false);
}

static void say_accepted(struct ss_session *s)
{
	char text[64], id_text[SM_ID_SIZE];

	snprintf(text, sizeof(text), "2.0.0 %s Message accepted for delivery",
	         sm_id_text(s->txn.id, id_text));
	ss_say_text(s, ss_reply_code(SS_R_ACCEPTED), sm_str(text));
}

static void accept_message(struct ss_session *s, struct data *d)
{
	struct sm_id id = s->txn.id;
	uint32_t offset;
	uint64_t size;
	struct sm_str why;
	int err, code;

	err = cdb_commit(&s->txn.content, &offset, &size);
	s->txn.content = NULL;
	if (err != 0) {
		sm_log(SM_ERROR, "ss.store", "ss_sess=%I ss_ta=%I error=%E", s->id, id, err);
		ss_say(s, store_reply(err));
		log_final(s, d, id, 0, d->bytes);
		ss_txn_reset(s, false);
		return;
	}
	switch (ss_commit(s, offset, size, &code, &why)) {
	case SS_TAKEN:
		say_accepted(s);
		log_final(s, d, id, offset, size);
		ss_txn_reset(s, true);
		break;
	case SS_REFUSED:
		ss_say_text(s, code, why);
		if (code == 421) {
			s->closing = s->linger = true;
			s->why = "421 at the end of data";
		}
		log_final(s, d, id, offset, size);
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
static void vanish(struct ss_session *s, const struct data *d)
{
	say_accepted(s);
	s->txn.told = true;
	sm_log(SM_INFO, "ss.discard",
	       "ss_sess=%I ss_ta=%I client=%A where=final mail=<%S> nrcpts=%u size=%llu msgid=%S "
	       "stat=%d why=%s",
	       s->id, s->txn.id, &s->client, s->txn.sender, s->txn.rcpt_count + s->txn.discarded,
	       (unsigned long long)d->bytes, sm_str_n(d->scan.msgid, d->scan.msgid_n),
	       s->reply_code, "discarded by policy");
	ss_txn_reset(s, true);
}

void ss_cmd_data(struct ss_session *s, struct sm_str arg)
{
	struct data d = {.fault = SS_R_NONE, .start_ms = sm_loop_now_ms()};

	(void)arg;
	if (!sm_str_empty(s->txn.greylisted)) {
		ss_say_text(s, ss_grey_code(s->conf), s->txn.greylisted);
		if (ss_grey_code(s->conf) == 421) {
			s->closing = s->linger = true;
			s->why = "greylisted";
		}
		ss_txn_reset(s, false);
		return;
	}
	ss_scan_init(&d.scan, s->conf);
	d.vanishes = ss_txn_vanishes(s);
	if (!d.vanishes) {
		s->txn.content = cdb_write(s->ss->cdb, s->txn.id, 0);
		d.store_err = put_received(s);
	}
	if (d.store_err != 0)
		give_up(s);
	ss_say(s, SS_R_GO_AHEAD);
	sm_stream_data_begin(&s->io);
	read_content(s, &d);
	if (d.io_err != 0) {
		cut(s, &d);
		return;
	}
	if (d.fault == SS_R_NONE && (s->io.bare_cr || s->io.bare_lf))
		d.fault = SS_R_BARE_LINE_END;
	if (d.fault == SS_R_NONE && d.store_err == 0) {
		if (d.vanishes)
			vanish(s, &d);
		else
			accept_message(s, &d);
		return;
	}
	if (d.store_err != 0)
		sm_log(SM_ERROR, "ss.store", "ss_sess=%I ss_ta=%I error=%E", s->id, s->txn.id,
		       d.store_err);
	ss_say(s, d.store_err != 0 ? store_reply(d.store_err) : d.fault);
	log_final(s, &d, s->txn.id, 0, d.bytes);
	ss_txn_reset(s, false);
}
