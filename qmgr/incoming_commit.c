/*
 * Transactions that smtps processes bring: commits and their refusals, limits of what users send,
 * and questions about what was taken.
 *
 * The answer to a commit leaves only when the transaction is durable. When the connection breaks
 * before, the smtps asks again with ta_query; so what was taken is remembered while it is open, and
 * for a while after it has ended.
 */
#include "qmgr/incoming_int.h"
#include "qmgr/now.h"

#define MAX_PENDING_BYTES (64u * 1024 * 1024)

void qm_in_verdict(struct sm_peer *peer, uint64_t tag, uint16_t code, struct sm_str text)
{
	struct sm_msg_verdict v = {.code = code, .text = text};

	sm_peer_reply(peer, tag, 0, SM_MSG_verdict, &v);
}

/* ---- who took what ---- */

void qm_incoming_taken(struct qm *q, struct sm_id id)
{
	/* Also that of a mail whose answer has left: who knows whether it was read. */
	if (id.proc != SM_ID_PROC_QMGR)
		qm_taken_add(&q->in->taken, id, sm_loop_now_ms());
}

static bool was_taken(const struct qm *q, struct sm_id id)
{
	return qm_txn_find(&q->txns, id) || qm_edbc_find(q->edbc, id) || qm_defer_loading(q, id) ||
	       qm_taken_has(&q->in->taken, id);
}

/* ---- commits ---- */

static void commit_durable(void *arg)
{
	struct qm_in_pending *p = arg;
	struct qm_txn *txn = p->txn;

	qm_in_verdict(p->peer, p->tag, 0, SM_STR("")); /* who is gone will come back and ask */
	p->q->in->committing -= txn->rcpt_count;
	if (txn->deliver == SM_DELIVER_NOW)
		qm_now_begin(p->q, txn, p->sess);
	else
		qm_activate(p->q, txn);
	sm_free(p);
}

static void refuse(struct qm *q, struct qm_in_server *s, const struct sm_frame *f, struct sm_id ta,
                   uint16_t code, struct sm_str text)
{
	q->stats.refused++;
	sm_log(SM_NOTICE, "qm.refuse", "ss_ta=%I stat=%u text=%S", ta, code, text);
	qm_in_verdict(s->peer, f->tag, code, text);
}

/* Somebody should look: the account may be in the hands of a spammer. */
static void alarm_user(struct qm *q, const struct sm_msg_ta_commit *m)
{
	struct sm_buf name;

	sm_log(SM_WARN, "qm.user", "user=%S client=%A ss_ta=%I mail=<%S> nrcpts=%u stat=over",
	       m->user, &m->client, m->ta, m->sender, m->rcpts_count);
	sm_buf_init(&name, 4 * QM_USER_MAX + 16);
	sm_log_escape(&name, m->user, 100);
	sm_proc_status(q->proc, "sending limit of user %s reached", sm_buf_c(&name));
	sm_buf_fini(&name);
}

/* Does an authenticated user have room for this message? It is counted then. */
static bool user_may_send(struct qm *q, const struct sm_msg_ta_commit *m)
{
	enum qm_user_verdict v;

	if (m->user.n == 0)
		return true;
	v = qm_users_take(&q->users, m->user, m->rcpts_count, sm_loop_now_ms());
	if (v == QM_USER_OVER_TELL)
		alarm_user(q, m);
	return v == QM_USER_OK;
}

/* A content of its own, or a place in a segment of that server that no other mail has. */
static bool may_use(const struct qm *q, const struct qm_in_server *s,
                    const struct sm_msg_ta_commit *m)
{
	const struct cdb_place at = {m->content, m->content_offset, m->size};

	if (!cdb_is_segment(m->content))
		return sm_id_eq(m->content, m->ta);
	return m->content.proc == s->proc && qm_content_is_free(&q->txns.contents, &at);
}

int qm_in_commit(struct qm *q, struct qm_in_server *s, const struct sm_frame *f)
{
	struct sm_msg_ta_commit m;
	enum qm_refusal why;
	struct qm_in_pending *p;
	struct qm_txn *txn;
	uint64_t lsn;
	int err = sm_msg_ta_commit_decode(f->body, &q->in->arena, &m);

	if (err != 0)
		return err;
	if (m.rcpts_count == 0 || m.ta.proc != s->proc || cdb_is_segment(m.ta) ||
	    !may_use(q, s, &m) || was_taken(q, m.ta))
		return sm_fail(SM_E_PROTO,
		               "commit without recipients, of a foreign id or content, or twice");
	why = qm_credit_refusal(q);
	if (why == QM_TAKES && qm_store_pending(q->store) > MAX_PENDING_BYTES)
		why = QM_FULL;
	if (why != QM_TAKES) {
		const struct sm_msg_verdict v = qm_refusal_reply(why);

		refuse(q, s, f, m.ta, v.code, v.text);
		return 0;
	}
	if (!user_may_send(q, &m)) {
		refuse(q, s, f, m.ta, 450, SM_STR("4.7.1 sending limit reached, try again later"));
		return 0;
	}
	qm_holder_taken(&q->in->holders, m.ta);
	txn = qm_txn_from_commit(&q->txns, &m);
	txn->state = QM_TXN_COMMITTING;
	if (cdb_is_segment(txn->content)) {
		struct cdb_place at = qm_txn_place(txn);

		qm_content_member(&q->txns.contents, &at);
	}
	q->in->committing += m.rcpts_count;
	lsn = qm_store_txn(q->store, txn, qm_store_ibdb(q->store));
	p = sm_calloc(1, sizeof(*p));
	p->q = q;
	p->peer = s->peer;
	p->tag = f->tag;
	p->txn = txn;
	p->sess = m.sess;
	qm_store_after(q->store, qm_store_ibdb(q->store), lsn, &p->wait, commit_durable, p);
	q->stats.accepted++;
	q->stats.accepted_rcpts += m.rcpts_count;
	return 0;
}

/* A commit still on its way to the disk is answered when it is there: not before, and not "no". */
static void query_durable(void *arg)
{
	struct qm_in_pending *p = arg;
	struct sm_msg_ta_outcome o = {.taken = 1};

	sm_peer_reply(p->peer, p->tag, 0, SM_MSG_ta_outcome, &o);
	sm_free(p);
}

static void query_wait(struct qm *q, struct qm_in_server *s, uint64_t tag, struct qm_log *log,
                       uint64_t lsn)
{
	struct qm_in_pending *p = sm_calloc(1, sizeof(*p));

	p->q = q;
	p->peer = s->peer;
	p->tag = tag;
	qm_store_after(q->store, log, lsn, &p->wait, query_durable, p);
}

int qm_in_query(struct qm *q, struct qm_in_server *s, const struct sm_frame *f)
{
	struct sm_msg_ta_query m;
	struct sm_msg_ta_outcome o = {0};
	struct qm_txn *txn;
	int err = sm_msg_ta_query_decode(f->body, &q->in->arena, &m);

	if (err != 0)
		return err;
	txn = qm_txn_find(&q->txns, m.ta);
	o.taken = was_taken(q, m.ta);
	if (txn && txn->state == QM_TXN_COMMITTING) {
		query_wait(q, s, f->tag, qm_store_ibdb(q->store), txn->last_lsn);
		return 0;
	}
	/* What replay found is not told before its copy is durable. */
	if (o.taken && !q->running && qm_store_copied_lsn(q->store) > 0) {
		query_wait(q, s, f->tag, qm_store_defedb(q->store), qm_store_copied_lsn(q->store));
		return 0;
	}
	sm_log(SM_NOTICE, "qm.query", "ss_ta=%I taken=%d", m.ta, o.taken);
	sm_peer_reply(s->peer, f->tag, 0, SM_MSG_ta_outcome, &o);
	return 0;
}
