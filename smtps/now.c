/*
 * Waiting for what becomes of each recipient of a transaction that is to be delivered now.
 *
 * Invariant: 2yz and 5yz are said of a recipient only by qmgr's word; whatever else happens, the
 * client keeps it. The connection is watched meanwhile: nobody delivers for a client that has gone.
 * Session's coroutine; callbacks only store and wake.
 */
#include "smtps/now.h"

#include <errno.h>

#include "libsm/err.h"
#include "libsm/log.h"
#include "smtps/content.h"
#include "smtps/session.h"

enum {
	GRACE_MS = 120 * 1000, /* for an end of data that is under way at the end of the time */
	SLACK_MS = 10 * 1000,  /* qmgr keeps the time: this is for one that does not */
	ANSWER_FIRST = 4096,
	ANSWER_CAP = 4 * 1024 * 1024, /* a thousand recipients with the longest texts */
};

struct wait {
	struct sm_call call;
	struct sm_co *co;
	struct sm_arena arena;
	struct sm_msg_ta_decided told;
	bool done;
	int err;
};

static void on_decided(int err, const struct sm_frame *f, void *arg)
{
	struct wait *w = arg;
	struct sm_str body;

	w->done = true;
	w->err = err;
	if (err == 0) {
		/* The texts are in the frame. */
		body = sm_arena_str(&w->arena, f->body);
		if (f->type != SM_MSG_ta_decided || body.p == NULL ||
		    sm_msg_ta_decided_decode(body, &w->arena, &w->told) != 0)
			w->err = SM_E_PROTO;
	}
	sm_co_wake(w->co);
}

static void on_client(struct sm_fd *f SM_UNUSED, unsigned events SM_UNUSED, void *arg)
{
	const struct wait *w = arg;

	sm_co_wake(w->co);
}

/* It has closed its side, and nothing that it said before waits to be read. */
static bool client_gone(const struct ss_session *s)
{
	char c;
	ssize_t n;

	if (!s->net.f.hup || sm_stream_has_input(&s->io))
		return false;
	if (s->net.tls != NULL)
		return true;
	n = recv(s->net.f.fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
	return n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR);
}

/* 0 when qmgr has told; SM_E_EOF: the client has gone. */
static int await(struct ss_session *s, struct wait *w)
{
	const struct sm_msg_ta_wait m = {.ta = s->txn.id,
	                                 .within_ms = (uint32_t)s->conf->deliver_timeout_ms};
	int64_t began_ms = sm_loop_now_ms();
	int err = 0;

	w->co = s->co;
	sm_call(&w->call, sm_link_peer(s->ss->qmgr), SM_MSG_ta_wait, &m,
	        began_ms + s->conf->deliver_timeout_ms + GRACE_MS + SLACK_MS, on_decided, w);
	sm_fd_callback(&s->net.f, on_client, w);
	while (!w->done && err == 0) {
		if (client_gone(s))
			err = SM_E_EOF;
		else
			err = sm_co_park("delivery wait qmgr", SM_NEVER);
	}
	sm_fd_callback(&s->net.f, NULL, NULL);
	sm_call_cancel(&w->call);
	/* That it took so long is not the client's doing. */
	s->ends_ms += sm_loop_now_ms() - began_ms;
	return err != 0 ? err : w->err;
}

static const struct sm_msg_rcpt_decided *decided(const struct wait *w, uint32_t index)
{
	for (uint32_t i = 0; w->err == 0 && i < w->told.results_count; i++)
		if (w->told.results[i].index == index && w->told.results[i].code >= 200 &&
		    w->told.results[i].code <= 599)
			return &w->told.results[i];
	return NULL;
}

/* The recipients in the order of the RCPTs that were accepted; one that is no more among them has
 * vanished by a policy, and was taken. */
static void say_each(struct ss_session *s, const struct wait *w, unsigned count[6])
{
	const struct ss_txn *t = &s->txn;
	uint32_t at = 0;

	s->answers = 0;
	for (uint32_t turn = 0; turn < t->accepted; turn++) {
		const struct sm_msg_rcpt_decided *d;

		if (at == t->rcpt_count || t->turns[at] != turn) {
			ss_say(s, SS_R_OK);
			count[2]++;
			continue;
		}
		d = decided(w, at++);
		if (d != NULL)
			ss_say_text(s, d->code, d->text);
		else
			ss_say(s, w->err == 0 || w->err == SM_E_TIMEOUT ? SS_R_UNDECIDED
			                                                : SS_R_NOT_TOLD);
		count[s->reply_code / 100]++;
	}
}

static void log_decided(struct ss_session *s, const struct cdb_place *at, int err,
                        const unsigned count[6])
{
	const struct ss_content *c = s->txn.in;

	s->txn.told = true;
	sm_log(SM_INFO, "ss.decided",
	       "ss_sess=%I ss_ta=%I xid=%?S where=final nrcpts=%u content=%?I offset=%?u "
	       "size=%llu msgid=%S "
	       "sent=%u failed=%u deferred=%u error=%?s",
	       s->id, s->txn.id, s->txn.xid, s->txn.rcpt_count, cdb_segment_of(at), at->offset,
	       (unsigned long long)at->size, sm_str_n(c->scan.msgid, c->scan.msgid_n), count[2],
	       count[5], count[4], err != 0 ? sm_strerr(err) : "");
}

void ss_now(struct ss_session *s, const struct cdb_place *at)
{
	struct wait *w = sm_calloc(1, sizeof(*w));
	unsigned count[6] = {0};
	int err;

	/* The content is qmgr's: after a restart it is not to be told that we need it. */
	sm_list_remove(&s->txn.link);
	sm_arena_init(&w->arena, "decided", ANSWER_FIRST, ANSWER_CAP);
	err = await(s, w);
	if (err == SM_E_EOF || err == SM_E_CANCEL) {
		s->closing = s->mute = true;
		s->why = err == SM_E_EOF ? "client gone, its mail was being delivered" : "shutdown";
	} else {
		say_each(s, w, count);
	}
	log_decided(s, at, err, count);
	sm_arena_fini(&w->arena);
	sm_free(w);
	ss_txn_reset(s, err == 0);
}
