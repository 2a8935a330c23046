/*
 * Start of qmgr: both logs are replayed, and what is open goes to DEFEDB, due now when it was in
 * the journal.
 *
 * Later work then has one place to look. Nothing found here is trusted to be on stable storage:
 * after a failed sync the page cache may show what the disk does not have. So every open
 * transaction of the journal, every one with changes after its snapshot, and every one in the
 * segment that was being written last is copied into fresh segments, and qmgr accepts and delivers
 * only when these are synced.
 */
#include "qmgr/store_int.h"

#include <stdlib.h>
#include <unistd.h>
#include "libsm/id.h"
#include "libsm/log.h"
#include "libsm/time.h"

#define COPY_PENDING_BYTES (16 * 1024 * 1024)
#define ENDED_MAX          100000
#define UNPIN_MS           50

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
struct dsn_child {
	struct sm_id id, content;
};

struct recovery {
	struct qm_store *st;
	struct qm_txn_table *txns; /* transactions of the journal while it is replayed */
	struct qm_edbc *edbc;
	struct sm_arena arena;
	struct sm_hash touched;
	struct dsn_child *children;
	size_t child_count, child_cap;
	uint64_t next_counter;
	struct sm_id *ended; /* the newest ENDED_MAX of `ended_count`, as a ring */
	size_t ended_count;
};

static int decode_error(const char *log, uint64_t lsn, int err)
{
	/* The checksum was right: this build reads what another wrote. Refuse to start rather than
	 * to forget mail. */
	return sm_fail_in(err, "%s: record %llu does not decode", log, (unsigned long long)lsn);
}

static void saw_id(struct recovery *rc, struct sm_id id)
{
	if (id.counter >= rc->next_counter)
		rc->next_counter = id.counter + 1;
}

/* Its smtps may ask whether it was taken: "never heard of it" would make the client send again. */
static void saw_end(struct recovery *rc, struct sm_id id)
{
	saw_id(rc, id);
	if (id.proc == SM_ID_PROC_QMGR)
		return;
	if (rc->ended == NULL)
		rc->ended = sm_calloc(ENDED_MAX, sizeof(*rc->ended));
	rc->ended[rc->ended_count++ % ENDED_MAX] = id;
}

static void tell_ended(const struct recovery *rc, struct qm_recovered *found)
{
	size_t count = SM_MIN(rc->ended_count, (size_t)ENDED_MAX);

	found->ended = sm_calloc(count + 1, sizeof(*found->ended));
	for (size_t i = 0; i < count; i++)
		found->ended[i] = rc->ended[(rc->ended_count - count + i) % ENDED_MAX];
	found->ended_count = count;
}

static void forget(struct recovery *rc, struct sm_id id)
{
	struct qm_txn *txn = qm_txn_find(rc->txns, id);

	if (txn)
		qm_txn_free(rc->txns, &txn);
}

static struct qm_txn *take_txn(struct recovery *rc, const struct qm_rec_txn *rec, uint64_t lsn,
                               struct qm_loc loc)
{
	struct qm_txn *txn;

	forget(rc, rec->ta); /* an older snapshot */
	txn = qm_txn_from_rec(rc->txns, rec);
	txn->log = rc->st->ibdb;
	txn->loc = loc;
	txn->last_lsn = lsn;
	saw_id(rc, rec->ta);
	return txn;
}

static void settle_children(struct qm_txn *txn, const struct qm_rec_child *c)
{
	for (uint32_t i = 0; i < c->settled_count; i++) {
		struct qm_rcpt *r = qm_txn_rcpt(txn, c->settled[i].index);

		if (r)
			qm_rcpt_set(r, QM_RCPT_SETTLED);
	}
}

static int ibdb_record(void *arg, uint64_t lsn, struct qm_loc loc, uint16_t type,
                       struct sm_str body)
{
	struct recovery *rc = arg;
	struct qm_txn *txn;
	int err = 0;

	sm_arena_reset(&rc->arena);
	switch (type) {
	case QM_REC_txn: {
		struct qm_rec_txn rec;

		if ((err = qm_rec_txn_decode(body, &rc->arena, &rec)) == 0)
			take_txn(rc, &rec, lsn, loc);
		break;
	}
	case QM_REC_rcpt_change: {
		struct qm_rec_rcpt_change c;

		if ((err = qm_rec_rcpt_change_decode(body, &rc->arena, &c)) == 0 &&
		    (txn = qm_txn_find(rc->txns, c.ta))) {
			qm_txn_apply(txn, &c);
			txn->last_lsn = lsn;
		}
		break;
	}
	case QM_REC_child: {
		struct qm_rec_child c;

		if ((err = qm_rec_child_decode(body, &rc->arena, &c)) == 0) {
			if ((txn = qm_txn_find(rc->txns, c.ta))) {
				settle_children(txn, &c);
				txn->last_lsn = lsn;
			}
			if (c.txn_count)
				take_txn(rc, &c.txn[0], lsn, loc);
		}
		break;
	}
	case QM_REC_end: {
		struct qm_rec_end e;

		if ((err = qm_rec_end_decode(body, &rc->arena, &e)) == 0) {
			forget(rc, e.ta);
			saw_end(rc, e.ta);
		}
		break;
	}
	case QM_REC_moved: {
		struct qm_rec_moved m;

		if ((err = qm_rec_moved_decode(body, &rc->arena, &m)) == 0) {
			forget(rc, m.ta);
			saw_id(rc, m.ta);
		}
		break;
	}
	case QM_REC_id_block: {
		struct qm_rec_id_block b;

		if ((err = qm_rec_id_block_decode(body, &rc->arena, &b)) == 0 &&
		    b.first + b.count > rc->next_counter)
			rc->next_counter = b.first + b.count;
		break;
	}
	default:
		break; /* version, and what a later release may add */
	}
	return err ? decode_error("ibdb", lsn, err) : 0;
}

static bool touched_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct touched, node)->id, *(const struct sm_id *)key);
}

static struct touched *touched_find(struct recovery *rc, struct sm_id id)
{
	struct sm_hash_node *n = sm_hash_find(&rc->touched, sm_id_hash(id), touched_eq, &id);

	return n ? SM_CONTAINER_OF(n, struct touched, node) : NULL;
}

static void untouch(struct recovery *rc, struct sm_id id)
{
	struct touched *t = touched_find(rc, id);

	if (t == NULL)
		return;
	for (struct change *c = t->first, *next; c; c = next) {
		next = c->next;
		sm_buf_fini(&c->body);
		sm_free(c);
	}
	sm_hash_remove(&rc->touched, &t->node);
	sm_free(t);
}

/* A change to a deferred transaction: kept until its snapshot is read, in the order of the log. */
static void touch(struct recovery *rc, struct sm_id id, uint16_t type, struct sm_str body)
{
	struct touched *t;
	struct change *c;

	if (qm_edbc_find(rc->edbc, id) == NULL)
		return;
	if ((t = touched_find(rc, id)) == NULL) {
		t = sm_calloc(1, sizeof(*t));
		t->id = id;
		t->last = &t->first;
		sm_hash_insert(&rc->touched, &t->node, sm_id_hash(id));
	}
	c = sm_calloc(1, sizeof(*c));
	c->type = type;
	sm_buf_init(&c->body, QM_LOG_RECORD_MAX);
	sm_buf_str(&c->body, body);
	*t->last = c;
	t->last = &c->next;
}

/* The journal may still have what DEFEDB knows better: the newer lsn is right. */
static void journal_yields(struct recovery *rc, struct sm_id id, uint64_t lsn)
{
	struct qm_txn *txn = qm_txn_find(rc->txns, id);

	if (txn && txn->last_lsn < lsn)
		qm_txn_free(rc->txns, &txn);
}

/* DSNs use another one's content: counted at the end, when it is known which are open. */
static void remember_dsn(struct recovery *rc, struct sm_id id, struct sm_id content)
{
	if (rc->child_count == rc->child_cap) {
		rc->child_cap = rc->child_cap ? rc->child_cap * 2 : 64;
		rc->children = sm_realloc(rc->children, rc->child_cap, sizeof(*rc->children));
	}
	rc->children[rc->child_count++] = (struct dsn_child){id, content};
}

static void index_txn(struct recovery *rc, const struct qm_rec_txn *rec, uint64_t lsn,
                      struct qm_loc loc)
{
	int64_t next = INT64_MAX;

	for (uint32_t i = 0; i < rec->rcpts_count; i++)
		next = SM_MIN(next,
		              rec->rcpts[i].state == QM_REC_FAILED ? 0 : rec->rcpts[i].next_try_s);
	saw_id(rc, rec->ta);
	untouch(rc, rec->ta);
	journal_yields(rc, rec->ta, lsn);
	if (rec->dsn_kind)
		remember_dsn(rc, rec->ta, rec->content);
	qm_edbc_put(rc->edbc, rec->ta, next, loc, rec->rcpts_count);
}

static int defedb_record(void *arg, uint64_t lsn, struct qm_loc loc, uint16_t type,
                         struct sm_str body)
{
	struct recovery *rc = arg;
	int err = 0;

	sm_arena_reset(&rc->arena);
	switch (type) {
	case QM_REC_txn: {
		struct qm_rec_txn rec;

		if ((err = qm_rec_txn_decode(body, &rc->arena, &rec)) == 0)
			index_txn(rc, &rec, lsn, loc);
		rc->st->snapshot_bytes += body.n;
		rc->st->snapshots++;
		break;
	}
	case QM_REC_rcpt_change: {
		struct qm_rec_rcpt_change c;

		if ((err = qm_rec_rcpt_change_decode(body, &rc->arena, &c)) == 0)
			touch(rc, c.ta, type, body);
		break;
	}
	case QM_REC_child: {
		struct qm_rec_child c;

		if ((err = qm_rec_child_decode(body, &rc->arena, &c)) == 0) {
			touch(rc, c.ta, type, body);
			if (c.txn_count)
				index_txn(rc, &c.txn[0], lsn, loc);
		}
		break;
	}
	case QM_REC_end: {
		struct qm_rec_end e;

		if ((err = qm_rec_end_decode(body, &rc->arena, &e)) == 0) {
			untouch(rc, e.ta);
			qm_edbc_remove(rc->edbc, e.ta);
			journal_yields(rc, e.ta, lsn);
			saw_end(rc, e.ta);
		}
		break;
	}
	default:
		break;
	}
	return err ? decode_error("defedb", lsn, err) : 0;
}

int qm_store_decode_at(const struct qm_log *log, struct qm_loc loc, struct sm_buf *body,
                       struct sm_arena *a, struct qm_rec_txn *rec)
{
	uint64_t lsn;
	uint16_t type = 0;
	int err;

	sm_buf_reset(body);
	if ((err = qm_log_read(log, loc, &lsn, &type, body)) != 0)
		return err;
	if (type == QM_REC_txn)
		return qm_rec_txn_decode(sm_buf_view(body), a, rec);
	if (type == QM_REC_child) {
		struct qm_rec_child c;

		if ((err = qm_rec_child_decode(sm_buf_view(body), a, &c)) != 0)
			return err;
		if (c.txn_count == 1) {
			*rec = c.txn[0];
			return 0;
		}
	}
	return sm_fail(SM_E_CORRUPT, "record %llu is no transaction", (unsigned long long)lsn);
}

static void apply(struct recovery *rc, struct qm_txn *txn, const struct change *c)
{
	if (c->type == QM_REC_rcpt_change) {
		struct qm_rec_rcpt_change rec;

		if (qm_rec_rcpt_change_decode(sm_buf_view(&c->body), &rc->arena, &rec) == 0)
			qm_txn_apply(txn, &rec);
	} else {
		struct qm_rec_child rec;

		if (qm_rec_child_decode(sm_buf_view(&c->body), &rc->arena, &rec) == 0)
			settle_children(txn, &rec);
	}
}

/* When the first of its recipients is: those never tried, and a DSN that is owed, now. */
static int64_t due(const struct qm_txn *txn)
{
	int64_t next = INT64_MAX;

	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		const struct qm_rcpt *r = &txn->rcpts[i];

		if (r->state == QM_RCPT_FAILED)
			next = 0;
		else if (r->state != QM_RCPT_SETTLED)
			next = SM_MIN(next, r->next_try_s);
	}
	return next;
}

/* Write a snapshot to DEFEDB and index it, or end it when nothing is owed any more. The transaction
 * is freed; its content, if it was the last user, is found as an orphan. */
static void copy(struct recovery *rc, struct qm_txn *txn)
{
	struct qm_store *st = rc->st;

	txn->loc = (struct qm_loc){0};
	if (txn->open > 0) {
		qm_store_txn(st, txn, st->defedb);
		qm_edbc_put(rc->edbc, txn->id, due(txn), txn->loc, txn->open);
	} else {
		struct qm_rec_end e = {.ta = txn->id};

		sm_buf_reset(&st->scratch);
		qm_rec_end_encode(&st->scratch, &e);
		txn->last_lsn =
		    qm_log_append(st->defedb, QM_REC_end, sm_buf_view(&st->scratch), NULL);
		qm_edbc_remove(rc->edbc, txn->id);
	}
	st->copied_lsn = SM_MAX(st->copied_lsn, txn->last_lsn);
	qm_txn_free(rc->txns, &txn);
	/* The loop does not run yet. Without space the rest stays pending; it is durable when there
	 * is some. */
	if (qm_log_pending_bytes(st->defedb) > COPY_PENDING_BYTES)
		(void)!qm_log_flush(st->defedb);
}

/* Read a deferred transaction back, apply what happened since, copy it. */
static int rewrite(struct recovery *rc, struct sm_id id, struct qm_loc loc, struct sm_buf *body)
{
	struct touched *t = touched_find(rc, id);
	struct qm_rec_txn rec;
	struct qm_txn *txn;
	int err;

	sm_arena_reset(&rc->arena);
	if ((err = qm_store_decode_at(rc->st->defedb, loc, body, &rc->arena, &rec)) != 0)
		return err;
	txn = qm_txn_from_rec(rc->txns, &rec);
	for (struct change *c = t ? t->first : NULL; c; c = c->next)
		apply(rc, txn, c);
	txn->log = rc->st->defedb;
	copy(rc, txn);
	return 0;
}

/* Which deferred transactions are to be copied: the others stay where they are. */
static size_t pick_rewrites(struct recovery *rc, struct sm_id **ids)
{
	const struct qm_edbc_entry *e;
	struct qm_log_stat stat;
	size_t count = 0, cap = 0;
	uint64_t cursor = 0;

	qm_log_stat(rc->st->defedb, &stat);
	while ((e = qm_edbc_walk(rc->edbc, &cursor)) != NULL) {
		/* The fresh segment is current; the one before it may end in what never reached the
		 * disk. */
		if (qm_edbc_loc(e).seq + 1 < stat.current_seq &&
		    touched_find(rc, qm_edbc_id(e)) == NULL) {
			qm_log_hold(rc->st->defedb, qm_edbc_loc(e));
			continue;
		}
		if (count == cap) {
			cap = cap ? cap * 2 : 256;
			*ids = sm_realloc(*ids, cap, sizeof(**ids));
		}
		(*ids)[count++] = qm_edbc_id(e);
	}
	return count;
}

static int copy_deferred(struct recovery *rc)
{
	struct sm_id *ids = NULL;
	size_t count = pick_rewrites(rc, &ids);
	struct sm_buf body;
	int err = 0;

	sm_buf_init(&body, QM_LOG_RECORD_MAX);
	for (size_t i = 0; i < count && err == 0; i++)
		err = rewrite(rc, ids[i], qm_edbc_loc(qm_edbc_find(rc->edbc, ids[i])), &body);
	sm_buf_fini(&body);
	sm_free(ids);
	return err;
}

static size_t copy_journal(struct recovery *rc)
{
	size_t count = 0;

	SM_LIST_FOR_SAFE (txn, &rc->txns->active, struct qm_txn, link) {
		if (txn->dsn_kind)
			remember_dsn(rc, txn->id, txn->content);
		copy(rc, txn);
		count++;
	}
	return count;
}

static int open_log(struct qm_store *st, const char *name, const struct qm_conf_log *c,
                    struct qm_log **out)
{
	char dir[256], log_dir[256];
	int err;

	if ((err = sm_str_copy(c->base_directory, dir, sizeof(dir))) != 0 ||
	    (err = sm_str_copy(c->log_directory, log_dir, sizeof(log_dir))) != 0)
		return sm_fail(err, "%s: path is too long", name);

	struct qm_log_conf conf = {
	    .name = name,
	    .dir = dir,
	    .log_dir = log_dir[0] ? log_dir : NULL,
	    .segment_bytes = (uint32_t)c->size_bytes,
	    .max_commit_delay_us = (uint32_t)c->max_commit_delay_us,
	    .commit_records = (uint32_t)c->max_open_tas,
	    .lsn = &st->lsn,
	    .arg = st,
	    .on_durable = qm_store_on_durable,
	    .on_failure = qm_store_on_failure,
	    .on_low_space = qm_store_on_low_space,
	    .on_damage = qm_store_on_damage,
	};

	*(out == &st->ibdb ? &st->ibdb_segment_bytes : &st->defedb_segment_bytes) =
	    conf.segment_bytes ? conf.segment_bytes : QM_LOG_SEGMENT_BYTES;
	return qm_log_open(&conf, out);
}

static int dsn_cmp(const void *a, const void *b)
{
	const struct dsn_child *x = a, *y = b;

	return x->id.counter < y->id.counter   ? -1
	       : x->id.counter > y->id.counter ? 1
	                                       : (int)x->id.proc - (int)y->id.proc;
}

/* Count the users of contents that open DSNs need; a DSN may have been seen more than once. */
static void count_contents(struct recovery *rc)
{
	if (rc->child_count)
		qsort(rc->children, rc->child_count, sizeof(*rc->children), dsn_cmp);
	for (size_t i = 0; i < rc->child_count; i++) {
		const struct dsn_child *c = &rc->children[i];

		if (i > 0 && sm_id_eq(c->id, rc->children[i - 1].id))
			continue;
		if (qm_edbc_find(rc->edbc, c->id))
			qm_content_child(rc->txns, c->content,
			                 qm_edbc_find(rc->edbc, c->content) != NULL);
	}
}

/* See qm_store.pin. */
static void pin(struct qm_store *st)
{
	struct qm_log_stat stat;

	qm_log_stat(st->ibdb, &stat);
	st->first_ibdb = stat.current_seq;
	qm_log_stat(st->defedb, &stat);
	st->pin.seq = stat.current_seq;
	qm_log_hold(st->defedb, st->pin);
}

static int recover(struct recovery *rc, struct qm_recovered *found)
{
	struct qm_store *st = rc->st;
	int err;

	if ((err = qm_log_replay(st->ibdb, ibdb_record, rc)) != 0)
		return sm_fail_in(err, "ibdb");
	if ((err = qm_log_replay(st->defedb, defedb_record, rc)) != 0)
		return sm_fail_in(err, "defedb");
	if ((err = qm_log_start(st->ibdb)) != 0)
		return sm_fail_in(err, "ibdb");
	if ((err = qm_log_start(st->defedb)) != 0)
		return sm_fail_in(err, "defedb");
	pin(st);
	if ((err = copy_deferred(rc)) != 0)
		return sm_fail_in(err, "copying what is open");
	found->from_ibdb = copy_journal(rc);
	count_contents(rc);
	/* The counters, before the segments that tell of them are let go. */
	st->grant_lsn = qm_store_id_block(st, rc->next_counter, 0, SM_ID_PROC_QMGR, getpid());
	tell_ended(rc, found);
	found->deferred = qm_edbc_count(rc->edbc);
	found->quarantined = st->damages;
	found->next_counter = rc->next_counter;
	return 0;
}

int qm_store_open(const struct qm_conf *conf, struct qm_txn_table *txns, struct qm_edbc *edbc,
                  struct qm_recovered *found, struct qm_store **out)
{
	struct qm_store *st = sm_calloc(1, sizeof(*st));
	struct recovery rc = {.st = st, .txns = txns, .edbc = edbc};
	int err;

	*found = (struct qm_recovered){0};
	st->lsn.next = 1;
	sm_buf_init(&st->scratch, 2 * QM_LOG_RECORD_MAX);
	sm_arena_init(&st->arena, "record", 4096, 16 * QM_LOG_RECORD_MAX);
	sm_arena_init(&rc.arena, "replay", 4096, 16 * QM_LOG_RECORD_MAX);
	sm_hash_init(&rc.touched);
	if ((err = open_log(st, "ibdb", &conf->ibdb, &st->ibdb)) == 0 &&
	    (err = open_log(st, "defedb", &conf->defedb, &st->defedb)) == 0)
		err = recover(&rc, found);
	for (struct sm_hash_node *n = sm_hash_next(&rc.touched, NULL), *next; n; n = next) {
		next = sm_hash_next(&rc.touched, n);
		untouch(&rc, SM_CONTAINER_OF(n, struct touched, node)->id);
	}
	sm_hash_fini(&rc.touched);
	sm_arena_fini(&rc.arena);
	sm_free(rc.children);
	sm_free(rc.ended);
	if (err != 0)
		qm_store_close(&st);
	*out = st;
	return err;
}

static void drop_waits(const struct qm_store *st, struct qm_waits *q)
{
	while (q->head) {
		struct qm_wait *w = q->head;

		q->head = w->next;
		if (w != &st->settle_wait)
			sm_free(w);
	}
}

void qm_store_close(struct qm_store **stp)
{
	struct qm_store *st = *stp;

	if (st == NULL)
		return;
	if (st->ibdb)
		qm_log_close(&st->ibdb);
	if (st->defedb)
		qm_log_close(&st->defedb);
	sm_timer_cancel(&st->unpin);
	drop_waits(st, &st->ibdb_waits);
	drop_waits(st, &st->defedb_waits);
	sm_buf_fini(&st->scratch);
	sm_arena_fini(&st->arena);
	SM_FREE(*stp);
}

/* The journal of before the start is gone, durably: now DEFEDB may forget what had ended. */
static void unpin(void *arg)
{
	struct qm_store *st = arg;
	struct qm_log_stat stat;

	qm_log_stat(st->ibdb, &stat);
	if (stat.oldest_seq < st->first_ibdb) {
		sm_timer_set(&st->unpin, sm_now_ms() + UNPIN_MS, unpin, st);
		return;
	}
	qm_log_old_done(st->defedb, UINT32_MAX, st->copied_lsn);
	qm_log_drop(st->defedb, st->pin, st->copied_lsn);
	st->pin.seq = 0;
}

static void copies_durable(void *arg)
{
	struct qm_store *st = arg;

	/* Now, and not before, the journal from before the start has nothing that counts. */
	qm_log_old_done(st->ibdb, UINT32_MAX, st->grant_lsn);
	unpin(st);
	st->settled(st->settled_arg);
}

void qm_store_settled(struct qm_store *st, void (*cb)(void *arg), void *arg)
{
	st->settled = cb;
	st->settled_arg = arg;
	if (st->copied_lsn > 0) {
		qm_store_after(st, st->defedb, st->copied_lsn, &st->settle_wait, copies_durable,
		               st);
	} else {
		copies_durable(st);
	}
}

uint64_t qm_store_copied_lsn(const struct qm_store *st)
{
	return st->copied_lsn;
}
