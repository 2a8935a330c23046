/*
 * The hand-over to qmgr. Invariant: before the first ta_commit frame has left, the content is ours,
 * and is removed on failure; after it, the content is qmgr's until it says otherwise: by a refusal,
 * or by "never heard of it" when asked after a reconnect. What cannot be found out by the deadline
 * is answered by silence: a 4xx might make the client send again what is being delivered.
 */
#include "smtps/commit.h"

#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/offload.h"
#include "smtps/content.h"
#include "smtps/session.h"
#include "smtps/xforward.h"

enum { HELO_MAX = 512 }; /* as ta_commit.helo */

struct unlink_job {
	struct cdb *cdb;
	struct sm_id id;
};

static int unlink_content(void *arg)
{
	const struct unlink_job *j = arg;

	return cdb_unlink(j->cdb, j->id);
}

/* It is ours again and nobody will ask for it. What cannot be removed is found as an orphan by
 * qmgr; a segment goes when nobody needs anything in it. */
static void remove_content(struct ss_session *s, struct sm_id content)
{
	struct unlink_job j = {s->ss->cdb, content};
	int err;

	if (cdb_is_segment(content))
		return;
	err = sm_offload("remove content", unlink_content, &j);

	if (err != 0)
		sm_log(SM_WARN, "ss.unlink", "ss_sess=%I ss_ta=%I error=%E", s->id, j.id, err);
}

/* qmgr is back after the connection broke: did it take the transaction? 1, 0, or an error. */
static int query(struct ss_session *s, struct sm_peer *qmgr, int64_t deadline_ms)
{
	struct sm_msg_ta_query q = {.ta = s->txn.id};
	struct sm_msg_ta_outcome o;
	int err =
	    sm_rpc(qmgr, SM_MSG_ta_query, &q, SM_MSG_ta_outcome, &s->txn.arena, &o, deadline_ms);

	if (err == 0)
		sm_log(SM_NOTICE, "ss.query", "ss_sess=%I ss_ta=%I taken=%u", s->id, s->txn.id,
		       o.taken);
	return err != 0 ? err : o.taken != 0;
}

enum ss_outcome ss_commit(struct ss_session *s, const struct cdb_place *at, int *code,
                          struct sm_str *text)
{
	struct ss_txn *t = &s->txn;
	int64_t deadline_ms = sm_loop_now_ms() + s->conf->commit_timeout_ms;
	struct sm_msg_ta_commit m = {
	    .ta = t->id,
	    .sess = s->id,
	    .sender = t->sender,
	    .content = at->content,
	    .content_offset = at->offset,
	    .size = at->size,
	    .body = t->body,
	    .ret = t->ret,
	    .utf8 = t->utf8,
	    .envid = t->envid,
	    .received_s = sm_wall_s(),
	    .client = s->client,
	    .user = ss_session_user(s),
	    .auth = t->auth,
	    .hold = t->hold,
	    .client_name = s->client_name,
	    .helo = sm_str_head(s->helo, HELO_MAX),
	    .proto = ss_session_protocol(s),
	    .xid = t->xid,
	    .route = s->conf->route,
	    .deliver = (uint8_t)s->conf->deliver,
	    .msgid = s->conf->deliver == SM_DELIVER_NOW
	                 ? sm_str_n(t->in->scan.msgid, t->in->scan.msgid_n)
	                 : SM_STR(""),
	    .rcpts_count = t->rcpt_count,
	    .rcpts = t->rcpts,
	};
	struct sm_msg_verdict v;
	bool theirs = false; /* a frame has left, and nothing was said since */
	int err;

	ss_xforward_client(s, &m);
	for (;;) {
		struct sm_peer *qmgr;

		err = sm_link_wait(s->ss->qmgr, deadline_ms);
		if (err != 0)
			break;
		qmgr = sm_link_peer(s->ss->qmgr);
		if (qmgr == NULL)
			continue;
		if (theirs) {
			err = query(s, qmgr, deadline_ms);
			if (err == SM_E_PEER)
				continue;
			if (err < 0)
				break;
			if (err == 1)
				return SS_TAKEN;
			theirs = false;
		}
		theirs = true;
		err =
		    sm_rpc(qmgr, SM_MSG_ta_commit, &m, SM_MSG_verdict, &t->arena, &v, deadline_ms);
		if (err == SM_E_PEER || err == SM_E_PROTO)
			continue;
		if (err != 0)
			break;
		if (v.code < 400)
			return SS_TAKEN;
		*code = v.code;
		*text = v.text;
		remove_content(s, at->content);
		return SS_REFUSED;
	}
	if (theirs) {
		t->told = true;
		sm_log(SM_ERROR, "ss.commit", "ss_sess=%I ss_ta=%I outcome=unknown error=%E", s->id,
		       t->id, err);
		return SS_UNKNOWN;
	}
	*code = ss_reply_code(SS_R_COMMIT_AWAY);
	*text = ss_reply_text(SS_R_COMMIT_AWAY);
	remove_content(s, at->content);
	return SS_REFUSED;
}
