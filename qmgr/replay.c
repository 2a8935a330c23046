/*
 * Replay: the records of both logs, one by one, into memory. Nothing is written here.
 *
 * Invariant: after the last record the table has what is open in the journal and not known better
 * by DEFEDB, the index has what is open in DEFEDB, and `touched` has what happened to it since.
 */
#include "qmgr/replay.h"

#include "libsm/id.h"

/* A change to a deferred transaction whose snapshot has not been read yet. */
struct change {
	struct change *next;
	uint16_t type;
	struct sm_buf body;
};
/* Everything replay has to remember of a transaction in DEFEDB beside its index entry. */
struct touched {
	struct sm_hash_node node;
	struct sm_id id;
	struct change *first, **last;
};
/* IBDB says that it is over, with a record of this number. */
struct over {
	struct sm_hash_node node;
	struct sm_id id;
	uint64_t lsn;
};

/*
 * The checksum was right, so another program wrote it, and its segment's head, which would have
 * said so, is damaged. Refuse to start rather than to forget mail.
 */
static int decode_error(uint64_t lsn, uint16_t type)
{
	return sm_fail(SM_E_NOTSUP, "record %llu, of type %u, does not decode",
	               (unsigned long long)lsn, type);
}

static void saw_id(struct qm_replay *rp, struct sm_id id)
{
	if (id.counter >= rp->next_counter)
		rp->next_counter = id.counter + 1;
}

/* Its smtps may ask whether it was taken: "never heard of it" would make the client send again. */
static void saw_end(struct qm_replay *rp, struct sm_id id)
{
	saw_id(rp, id);
	if (id.proc == SM_ID_PROC_QMGR)
		return;
	if (rp->ended == NULL)
		rp->ended = sm_calloc(QM_ENDED_MAX, sizeof(*rp->ended));
	rp->ended[rp->ended_count++ % QM_ENDED_MAX] = id;
}

static void forget(struct qm_replay *rp, struct sm_id id)
{
	struct qm_txn *txn = qm_txn_find(rp->txns, id);

	if (txn)
		qm_txn_free(rp->txns, &txn);
}

static struct qm_txn *take_txn(struct qm_replay *rp, const struct qm_rec_txn *rec, uint64_t lsn,
                               struct qm_loc loc)
{
	struct qm_txn *txn;

	forget(rp, rec->ta); /* an older snapshot */
	txn = qm_txn_from_rec(rp->txns, rec);
	txn->log = rp->st->ibdb;
	txn->loc = loc;
	txn->last_lsn = lsn;
	saw_id(rp, rec->ta);
	return txn;
}

/* What a `child` says about its parent. */
static void reported(struct qm_txn *parent, const struct qm_rec_child *c)
{
	if (c->txn_count == 1)
		qm_txn_reported(parent, c->txn[0].dsn_kind, c->settled, c->settled_count);
}

static bool over_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct over, node)->id, *(const struct sm_id *)key);
}

static struct over *over_find(const struct qm_replay *rp, struct sm_id id)
{
	struct sm_hash_node *n = sm_hash_find(&rp->overs, sm_id_hash(id), over_eq, &id);

	return n ? SM_CONTAINER_OF(n, struct over, node) : NULL;
}

/* Written again when its segment is to be freed: the first one is as good as the last. */
static void saw_over(struct qm_replay *rp, struct sm_id id, uint64_t lsn)
{
	struct over *o = over_find(rp, id);

	if (o != NULL)
		return;
	o = sm_calloc(1, sizeof(*o));
	o->id = id;
	o->lsn = lsn;
	sm_hash_insert(&rp->overs, &o->node, sm_id_hash(id));
}

bool qm_replay_next_over(struct qm_replay *rp, struct sm_id *id)
{
	struct sm_hash_node *n = sm_hash_next(&rp->overs, NULL);

	if (n == NULL)
		return false;
	*id = SM_CONTAINER_OF(n, struct over, node)->id;
	sm_hash_remove(&rp->overs, n);
	sm_free(SM_CONTAINER_OF(n, struct over, node));
	return true;
}

static int ibdb_record(void *arg, uint64_t lsn, struct qm_loc loc, uint16_t type,
                       struct sm_str body)
{
	struct qm_replay *rp = arg;
	struct qm_txn *txn;
	int err = 0;

	sm_arena_reset(&rp->arena);
	switch (type) {
	case QM_REC_txn: {
		struct qm_rec_txn rec;

		if ((err = qm_rec_txn_decode(body, &rp->arena, &rec)) == 0)
			take_txn(rp, &rec, lsn, loc);
		break;
	}
	case QM_REC_rcpt_change: {
		struct qm_rec_rcpt_change c;

		if ((err = qm_rec_rcpt_change_decode(body, &rp->arena, &c)) == 0 &&
		    (txn = qm_txn_find(rp->txns, c.ta))) {
			qm_txn_apply(txn, &c);
			txn->last_lsn = lsn;
		}
		break;
	}
	case QM_REC_child: {
		struct qm_rec_child c;

		if ((err = qm_rec_child_decode(body, &rp->arena, &c)) == 0) {
			if ((txn = qm_txn_find(rp->txns, c.ta))) {
				reported(txn, &c);
				txn->last_lsn = lsn;
			}
			if (c.txn_count)
				take_txn(rp, &c.txn[0], lsn, loc);
		}
		break;
	}
	case QM_REC_expand: {
		struct qm_rec_expand e;

		if ((err = qm_rec_expand_decode(body, &rp->arena, &e)) == 0) {
			if ((txn = qm_txn_find(rp->txns, e.ta))) {
				qm_txn_expanded(txn, &e);
				txn->last_lsn = lsn;
			}
			if (e.txn_count)
				take_txn(rp, &e.txn[0], lsn, loc);
		}
		break;
	}
	case QM_REC_end: {
		struct qm_rec_end e;

		if ((err = qm_rec_end_decode(body, &rp->arena, &e)) == 0) {
			forget(rp, e.ta);
			saw_end(rp, e.ta);
		}
		break;
	}
	case QM_REC_moved: {
		struct qm_rec_moved m;

		if ((err = qm_rec_moved_decode(body, &rp->arena, &m)) == 0) {
			forget(rp, m.ta);
			saw_id(rp, m.ta);
		}
		break;
	}
	case QM_REC_over: {
		struct qm_rec_over o;

		if ((err = qm_rec_over_decode(body, &rp->arena, &o)) == 0) {
			forget(rp, o.ta);
			saw_end(rp, o.ta);
			saw_over(rp, o.ta, lsn);
		}
		break;
	}
	case QM_REC_id_block: {
		struct qm_rec_id_block b;

		if ((err = qm_rec_id_block_decode(body, &rp->arena, &b)) == 0) {
			rp->next_counter = SM_MAX(rp->next_counter, b.first + b.count);
			rp->birth = b.birth;
		}
		break;
	}
	case QM_REC_mark: {
		struct qm_rec_mark m;

		if ((err = qm_rec_mark_decode(body, &rp->arena, &m)) == 0)
			qm_marks_replay(&rp->st->marks, &m);
		break;
	}
	case QM_REC_suspend: {
		struct qm_rec_suspend s;

		if ((err = qm_rec_suspend_decode(body, &rp->arena, &s)) == 0)
			qm_suspends_replay(&rp->st->suspends, &s);
		break;
	}
	case QM_REC_accepting: {
		struct qm_rec_accepting a;

		if ((err = qm_rec_accepting_decode(body, &rp->arena, &a)) == 0)
			qm_suspends_replay_accept(&rp->st->suspends, &a);
		break;
	}
	default:
		err = SM_E_NOTSUP;
	}
	return err ? decode_error(lsn, type) : 0;
}

static bool touched_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct touched, node)->id, *(const struct sm_id *)key);
}

static struct touched *touched_find(const struct qm_replay *rp, struct sm_id id)
{
	struct sm_hash_node *n = sm_hash_find(&rp->touched, sm_id_hash(id), touched_eq, &id);

	return n ? SM_CONTAINER_OF(n, struct touched, node) : NULL;
}

static void untouch(struct qm_replay *rp, struct sm_id id)
{
	struct touched *t = touched_find(rp, id);

	if (t == NULL)
		return;
	for (struct change *c = t->first, *next; c; c = next) {
		next = c->next;
		sm_buf_fini(&c->body);
		sm_free(c);
	}
	sm_hash_remove(&rp->touched, &t->node);
	sm_free(t);
}

/* A change to a deferred transaction: kept until its snapshot is read, in the order of the log. */
static void touch(struct qm_replay *rp, struct sm_id id, uint16_t type, struct sm_str body)
{
	struct touched *t;
	struct change *c;

	if (qm_edbc_find(rp->edbc, id) == NULL)
		return;
	if ((t = touched_find(rp, id)) == NULL) {
		t = sm_calloc(1, sizeof(*t));
		t->id = id;
		t->last = &t->first;
		sm_hash_insert(&rp->touched, &t->node, sm_id_hash(id));
	}
	c = sm_calloc(1, sizeof(*c));
	c->type = type;
	sm_buf_init(&c->body, QM_LOG_RECORD_MAX);
	sm_buf_str(&c->body, body);
	*t->last = c;
	t->last = &c->next;
}

/* Of an expansion without its child, which may have a thousand recipients. */
static void touch_expanded(struct qm_replay *rp, const struct qm_rec_expand *e)
{
	struct qm_rec_expand alone = *e;
	struct sm_buf b;

	alone.txn_count = 0;
	sm_buf_init(&b, QM_LOG_RECORD_MAX);
	qm_rec_expand_encode(&b, &alone);
	touch(rp, e->ta, QM_REC_expand, sm_buf_view(&b));
	sm_buf_fini(&b);
}

/* The journal may still have what DEFEDB knows better: the newer lsn is right. */
static void journal_yields(struct qm_replay *rp, struct sm_id id, uint64_t lsn)
{
	struct qm_txn *txn = qm_txn_find(rp->txns, id);

	if (txn && txn->last_lsn < lsn)
		qm_txn_free(rp->txns, &txn);
}

/* While DEFEDB had no room IBDB took it over, so what DEFEDB has of it is old. */
static bool taken_over(const struct qm_replay *rp, struct sm_id id, uint64_t lsn)
{
	const struct qm_txn *txn = qm_txn_find(rp->txns, id);
	const struct over *o = over_find(rp, id);

	return (txn && txn->last_lsn > lsn) || (o && o->lsn > lsn);
}

struct marking {
	struct qm_replay *rp;
	struct sm_id ta;
};

static void mark_entry(void *arg, const struct qm_act *act, uint16_t index)
{
	struct marking *m = arg;

	(void)qm_edbc_mark(m->rp->edbc, m->ta, index, act->verb, act->at_s);
}

/* What operators did to it since this snapshot. */
static void mark(struct qm_replay *rp, struct sm_id ta, uint64_t act)
{
	struct marking m = {rp, ta};

	qm_marks_each(&rp->st->marks, ta, act, mark_entry, &m);
}

static void index_txn(struct qm_replay *rp, const struct qm_rec_txn *rec, uint64_t lsn,
                      struct qm_loc loc)
{
	struct cdb_place at;

	saw_id(rp, rec->ta);
	untouch(rp, rec->ta);
	if (taken_over(rp, rec->ta, lsn)) {
		qm_edbc_remove(rp->edbc, rec->ta);
		return;
	}
	journal_yields(rp, rec->ta, lsn);
	qm_edbc_put_rec(rp->edbc, rec, loc);
	at = (struct cdb_place){rec->content, rec->content_offset, rec->size};
	qm_replay_saw_content(rp, rec->ta, &at, rec->dsn_kind ? rec->dsn_of : rec->child_of,
	                      rec->dsn_kind != SM_DSN_NONE);
	mark(rp, rec->ta, rec->act);
}

static int defedb_record(void *arg, uint64_t lsn, struct qm_loc loc, uint16_t type,
                         struct sm_str body)
{
	struct qm_replay *rp = arg;
	int err = 0;

	sm_arena_reset(&rp->arena);
	switch (type) {
	case QM_REC_txn: {
		struct qm_rec_txn rec;

		if ((err = qm_rec_txn_decode(body, &rp->arena, &rec)) == 0)
			index_txn(rp, &rec, lsn, loc);
		rp->st->snapshot_bytes += body.n;
		rp->st->snapshots++;
		break;
	}
	case QM_REC_rcpt_change: {
		struct qm_rec_rcpt_change c;

		if ((err = qm_rec_rcpt_change_decode(body, &rp->arena, &c)) == 0)
			touch(rp, c.ta, type, body);
		break;
	}
	case QM_REC_child: {
		struct qm_rec_child c;

		if ((err = qm_rec_child_decode(body, &rp->arena, &c)) == 0) {
			touch(rp, c.ta, type, body);
			if (c.txn_count)
				index_txn(rp, &c.txn[0], lsn, loc);
		}
		break;
	}
	case QM_REC_expand: {
		struct qm_rec_expand e;

		if ((err = qm_rec_expand_decode(body, &rp->arena, &e)) == 0) {
			touch_expanded(rp, &e);
			if (e.txn_count)
				index_txn(rp, &e.txn[0], lsn, loc);
		}
		break;
	}
	case QM_REC_end: {
		struct qm_rec_end e;

		if ((err = qm_rec_end_decode(body, &rp->arena, &e)) == 0) {
			untouch(rp, e.ta);
			qm_edbc_remove(rp->edbc, e.ta);
			journal_yields(rp, e.ta, lsn);
			saw_end(rp, e.ta);
		}
		break;
	}
	default:
		err = qm_rec_info(type) ? 0 : SM_E_NOTSUP; /* the journal's say nothing here */
	}
	return err ? decode_error(lsn, type) : 0;
}

static void apply_one(struct qm_replay *rp, struct qm_txn *txn, const struct change *c)
{
	if (c->type == QM_REC_rcpt_change) {
		struct qm_rec_rcpt_change rec;

		if (qm_rec_rcpt_change_decode(sm_buf_view(&c->body), &rp->arena, &rec) == 0)
			qm_txn_apply(txn, &rec);
	} else if (c->type == QM_REC_expand) {
		struct qm_rec_expand rec;

		if (qm_rec_expand_decode(sm_buf_view(&c->body), &rp->arena, &rec) == 0)
			qm_txn_expanded(txn, &rec);
	} else {
		struct qm_rec_child rec;

		if (qm_rec_child_decode(sm_buf_view(&c->body), &rp->arena, &rec) == 0)
			reported(txn, &rec);
	}
}

bool qm_replay_touched(const struct qm_replay *rp, struct sm_id id)
{
	return touched_find(rp, id) != NULL;
}

void qm_replay_apply(struct qm_replay *rp, struct qm_txn *txn)
{
	const struct touched *t = touched_find(rp, txn->id);

	for (const struct change *c = t ? t->first : NULL; c; c = c->next)
		apply_one(rp, txn, c);
}

int qm_replay_logs(struct qm_replay *rp)
{
	int err;

	if ((err = qm_log_replay(rp->st->ibdb, ibdb_record, rp)) != 0)
		return sm_fail_in(err, "ibdb");
	qm_marks_seal(&rp->st->marks);
	if ((err = qm_log_replay(rp->st->defedb, defedb_record, rp)) != 0)
		return sm_fail_in(err, "defedb");
	return 0;
}

void qm_replay_init(struct qm_replay *rp, struct qm_store *st, struct qm_txn_table *txns,
                    struct qm_edbc *edbc)
{
	*rp = (struct qm_replay){.st = st, .txns = txns, .edbc = edbc};
	sm_arena_init(&rp->arena, "replay", 4096, 16 * QM_LOG_RECORD_MAX);
	sm_hash_init(&rp->touched);
	sm_hash_init(&rp->overs);
}

void qm_replay_fini(struct qm_replay *rp)
{
	struct sm_id over;

	for (struct sm_hash_node *n = sm_hash_next(&rp->touched, NULL), *next; n; n = next) {
		next = sm_hash_next(&rp->touched, n);
		untouch(rp, SM_CONTAINER_OF(n, struct touched, node)->id);
	}
	sm_hash_fini(&rp->touched);
	while (qm_replay_next_over(rp, &over))
		;
	sm_hash_fini(&rp->overs);
	sm_arena_fini(&rp->arena);
	qm_replay_forget_contents(rp);
	SM_FREE(rp->ended);
}
