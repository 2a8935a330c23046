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
#include "qmgr/replay.h"

#include <unistd.h>
#include "libsm/log.h"
#include "libsm/time.h"
#include "qmgr/memory.h"

#define COPY_PENDING_BYTES (16 * 1024 * 1024)
#define UNPIN_MS           50

static void tell_ended(const struct qm_replay *rp, struct qm_recovered *found)
{
	size_t count = SM_MIN(rp->ended_count, (size_t)QM_ENDED_MAX);

	found->ended = sm_calloc(count + 1, sizeof(*found->ended));
	for (size_t i = 0; i < count; i++)
		found->ended[i] = rp->ended[(rp->ended_count - count + i) % QM_ENDED_MAX];
	found->ended_count = count;
}

static bool is_snapshot(uint16_t type)
{
	return type == QM_REC_txn || type == QM_REC_child || type == QM_REC_expand;
}

static int no_snapshot(uint64_t lsn)
{
	return sm_fail(SM_E_CORRUPT, "record %llu is no transaction", (unsigned long long)lsn);
}

/* The transaction in a record that is_snapshot. */
static int decode(uint64_t lsn, uint16_t type, struct sm_str body, struct sm_arena *a,
                  struct qm_rec_txn *rec)
{
	const struct qm_rec_txn *txn;
	uint32_t count;
	int err;

	if (type == QM_REC_txn)
		return qm_rec_txn_decode(body, a, rec);
	if (type == QM_REC_child) {
		struct qm_rec_child c;

		err = qm_rec_child_decode(body, a, &c);
		count = c.txn_count;
		txn = c.txn;
	} else {
		struct qm_rec_expand e;

		err = qm_rec_expand_decode(body, a, &e);
		count = e.txn_count;
		txn = e.txn;
	}
	if (err != 0)
		return err;
	if (count != 1)
		return no_snapshot(lsn);
	*rec = *txn;
	return 0;
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
	if (!is_snapshot(type))
		return no_snapshot(lsn);
	return decode(lsn, type, sm_buf_view(body), a, rec);
}

/* For who asks what a crash left open: level 13. */
static void tell_open(const struct qm_txn *txn, const char *where)
{
	for (unsigned i = 0; i < txn->rcpt_count && sm_log_on(SM_DEBUG); i++)
		if (txn->rcpts[i].state != QM_RCPT_SETTLED)
			sm_log(SM_DEBUG, "qm.found",
			       "ss_ta=%I child_of=%?I rcpt=<%S> rcpt_idx=%u log=%s", txn->id,
			       txn->dsn_kind ? (struct sm_id){0} : txn->child_of,
			       txn->rcpts[i].addr, txn->rcpts[i].index, where);
}

static uint64_t end(struct qm_store *st, struct sm_id id)
{
	const struct qm_rec_end e = {.ta = id};

	sm_buf_reset(&st->scratch);
	qm_rec_end_encode(&st->scratch, &e);
	return qm_log_append(st->defedb, QM_REC_end, sm_buf_view(&st->scratch), NULL);
}

/* Its client waited, has heard nothing, and keeps it: it is over, and what was delivered of it is
 * remembered, in case it comes again. */
static void give_back(struct qm_replay *rp, struct qm_txn *txn)
{
	int64_t now_ms = sm_now_ms();

	if (rp->told == NULL)
		rp->told = qm_memory_new((size_t)rp->conf->now.remember_entries,
		                         rp->conf->now.remember_ms);
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		struct qm_rcpt *r = &txn->rcpts[i];
		const struct qm_memory_key key = {txn->client.xid, txn->msgid, txn->sender,
		                                  r->addr};
		bool done = r->state == QM_RCPT_DELIVERED || r->state == QM_RCPT_EXPANDED;

		qm_rcpt_set(r, QM_RCPT_SETTLED);
		if (done && key.xid.n > 0 && qm_memory_find(rp->told, &key, now_ms) == NULL)
			qm_memory_delivered(rp->told, qm_memory_add(rp->told, &key, r), r->code,
			                    r->text, now_ms);
	}
}

/* Write a snapshot to DEFEDB and index it, or end it when nothing is owed any more. The transaction
 * is freed; its content, if it was the last user, is found as an orphan. */
static void copy(struct qm_replay *rp, struct qm_txn *txn)
{
	struct qm_store *st = rp->st;

	tell_open(txn, txn->log == st->ibdb ? "ibdb" : "defedb");
	txn->loc = (struct qm_loc){0};
	qm_marks_fold(&st->marks, txn);
	if (txn->deliver == SM_DELIVER_NOW)
		give_back(rp, txn);
	if (txn->open > 0) {
		qm_store_txn(st, txn, st->defedb);
		qm_edbc_put_txn(rp->edbc, txn, txn->loc);
	} else {
		txn->last_lsn = end(st, txn->id);
		qm_edbc_remove(rp->edbc, txn->id);
	}
	st->copied_lsn = SM_MAX(st->copied_lsn, txn->last_lsn);
	qm_txn_free(rp->txns, &txn);
	/* The loop does not run yet. Without space the rest stays pending; it is durable when there
	 * is some. */
	if (qm_log_pending_bytes(st->defedb) > COPY_PENDING_BYTES)
		(void)!qm_log_flush(st->defedb);
}

/* Apply what happened to a deferred transaction since its snapshot, copy it. */
static void rewrite(struct qm_replay *rp, const struct qm_rec_txn *rec)
{
	struct qm_txn *txn = qm_txn_from_rec(rp->txns, rec);

	qm_replay_apply(rp, txn);
	txn->log = rp->st->defedb;
	copy(rp, txn);
}

/* One that stays is read only to be told of. */
static int tell_staying(struct qm_replay *rp, struct qm_loc loc, struct sm_buf *body)
{
	struct qm_rec_txn rec;
	int err;

	sm_arena_reset(&rp->arena);
	if ((err = qm_store_decode_at(rp->st->defedb, loc, body, &rp->arena, &rec)) != 0)
		return err;
	for (uint32_t i = 0; i < rec.rcpts_count; i++)
		sm_log(SM_DEBUG, "qm.found",
		       "ss_ta=%I child_of=%?I rcpt=<%S> rcpt_idx=%u log=defedb", rec.ta,
		       rec.dsn_kind ? (struct sm_id){0} : rec.child_of, rec.rcpts[i].addr,
		       rec.rcpts[i].index);
	return 0;
}

/* Which deferred transactions are to be copied: the others stay where they are. */
static size_t pick_rewrites(struct qm_replay *rp, uint32_t fresh, struct sm_id **ids, bool *in_last,
                            struct sm_buf *body)
{
	const struct qm_edbc_entry *e;
	size_t count = 0, cap = 0;
	uint64_t cursor = 0;

	while ((e = qm_edbc_walk(rp->edbc, &cursor)) != NULL) {
		/* The segment before the fresh one may end in what never reached the disk. */
		bool last = qm_edbc_loc(e).seq + 1 >= fresh;

		if (!last && !qm_replay_touched(rp, qm_edbc_id(e))) {
			qm_log_hold(rp->st->defedb, qm_edbc_loc(e));
			if (sm_log_on(SM_DEBUG))
				(void)!tell_staying(rp, qm_edbc_loc(e), body);
			continue;
		}
		*in_last |= last;
		if (count == cap) {
			cap = cap ? cap * 2 : 256;
			*ids = sm_realloc(*ids, cap, sizeof(**ids));
		}
		(*ids)[count++] = qm_edbc_id(e);
	}
	return count;
}

/* A record of the last segment: most of it is to be copied, so it is read in one go. */
static int rewrite_found(void *arg, uint64_t lsn, struct qm_loc loc, uint16_t type,
                         struct sm_str body)
{
	struct qm_replay *rp = arg;
	const struct qm_edbc_entry *e;
	struct qm_rec_txn rec;
	struct qm_loc newest;

	if (!is_snapshot(type))
		return 0;
	sm_arena_reset(&rp->arena);
	/* What is needed and cannot be had is complained of in rewrite_rest. */
	if (decode(lsn, type, body, &rp->arena, &rec) != 0 ||
	    (e = qm_edbc_find(rp->edbc, rec.ta)) == NULL)
		return 0;
	newest = qm_edbc_loc(e);
	if (newest.seq == loc.seq && newest.block == loc.block && newest.at == loc.at)
		rewrite(rp, &rec);
	return 0;
}

/* Those that were not in the last segment: a few that were touched. */
static int rewrite_rest(struct qm_replay *rp, const struct sm_id *ids, size_t count, uint32_t fresh)
{
	struct sm_buf body;
	int err = 0;

	sm_buf_init(&body, QM_LOG_RECORD_MAX);
	for (size_t i = 0; i < count && err == 0; i++) {
		const struct qm_edbc_entry *e = qm_edbc_find(rp->edbc, ids[i]);
		struct qm_rec_txn rec;

		if (e == NULL || qm_edbc_loc(e).seq >= fresh)
			continue; /* copied */
		sm_arena_reset(&rp->arena);
		err = qm_store_decode_at(rp->st->defedb, qm_edbc_loc(e), &body, &rp->arena, &rec);
		if (err == 0)
			rewrite(rp, &rec);
	}
	sm_buf_fini(&body);
	return err;
}

static int copy_deferred(struct qm_replay *rp)
{
	struct sm_id *ids = NULL;
	bool in_last = false;
	struct qm_log_stat stat;
	struct sm_buf body;
	size_t count;
	int err = 0;

	qm_log_stat(rp->st->defedb, &stat);
	sm_buf_init(&body, QM_LOG_RECORD_MAX);
	count = pick_rewrites(rp, stat.current_seq, &ids, &in_last, &body);
	sm_buf_fini(&body);
	if (in_last)
		err = qm_log_scan(rp->st->defedb, stat.current_seq - 1, rewrite_found, rp);
	if (err == 0)
		err = rewrite_rest(rp, ids, count, stat.current_seq);
	sm_free(ids);
	return err;
}

static size_t copy_journal(struct qm_replay *rp)
{
	size_t count = 0;

	SM_LIST_FOR_SAFE (txn, &rp->txns->active, struct qm_txn, link) {
		const struct cdb_place at = qm_txn_place(txn);
		struct sm_id id = txn->id, of = txn->dsn_kind ? txn->dsn_of : txn->child_of;
		bool dsn = txn->dsn_kind != SM_DSN_NONE;

		copy(rp, txn);
		qm_replay_saw_content(rp, id, &at, of, dsn);
		count++;
	}
	return count;
}

/* DEFEDB had no room to say it: now it does, before the journal that says it is let go. */
static void copy_overs(struct qm_replay *rp)
{
	struct sm_id id;

	while (qm_replay_next_over(rp, &id))
		rp->st->copied_lsn = SM_MAX(rp->st->copied_lsn, end(rp->st, id));
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
	    .on_lost = qm_store_on_lost,
	    .on_segment = qm_store_on_segment,
	};

	*(out == &st->ibdb ? &st->ibdb_segment_bytes : &st->defedb_segment_bytes) =
	    conf.segment_bytes ? conf.segment_bytes : QM_LOG_SEGMENT_BYTES;
	return qm_log_open(&conf, out);
}

/* Copied ones have them in their snapshots. */
static bool marks_needed(void *arg, struct sm_id ta)
{
	const struct qm_replay *rp = arg;
	const struct qm_edbc_entry *e = qm_edbc_find(rp->edbc, ta);

	return e && qm_edbc_is_marked(rp->edbc, e);
}

/* What operators want, into the journal of this run. */
static void copy_wishes(struct qm_replay *rp)
{
	struct qm_store *st = rp->st;
	uint64_t marks = qm_marks_rewrite(st, marks_needed, rp),
		 suspends = qm_suspends_rewrite(st, sm_wall_s());

	st->wishes_lsn = SM_MAX(marks, suspends);
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

/*
 * Which contents may be older than what the logs know. On the very first start that is none, and
 * the test costs nothing; after a loss of the logs it is all of them.
 */
static void find_birth(struct qm_replay *rp, struct qm_recovered *found)
{
	struct qm_store *st = rp->st;

	found->incomplete = st->ibdb_found == 0 || st->defedb_found == 0 || st->damages > 0;
	st->birth = rp->birth;
	if (found->incomplete)
		st->birth = SM_MAX(rp->next_counter, (uint64_t)sm_wall_s() << QM_COUNTER_SHIFT);
}

static int recover(struct qm_replay *rp, struct qm_recovered *found)
{
	struct qm_store *st = rp->st;
	int err;

	if ((err = qm_replay_logs(rp)) != 0)
		return err;
	if ((err = qm_log_start(st->ibdb)) != 0)
		return sm_fail_in(err, "ibdb");
	if ((err = qm_log_start(st->defedb)) != 0)
		return sm_fail_in(err, "defedb");
	pin(st);
	if ((err = copy_deferred(rp)) != 0)
		return sm_fail_in(err, "copying what is open");
	found->from_ibdb = copy_journal(rp);
	copy_overs(rp);
	qm_replay_count_contents(rp);
	copy_wishes(rp);
	find_birth(rp, found);
	/* The counters, before the segments that tell of them are let go. */
	st->grant_lsn = qm_store_id_block(st, rp->next_counter, 0, SM_ID_PROC_QMGR, getpid());
	tell_ended(rp, found);
	found->told = rp->told;
	found->deferred = qm_edbc_count(rp->edbc);
	found->quarantined = st->damages;
	found->next_counter = rp->next_counter;
	return 0;
}

int qm_store_open(const struct qm_conf *conf, struct qm_txn_table *txns, struct qm_edbc *edbc,
                  struct qm_recovered *found, struct qm_store **out)
{
	struct qm_store *st = sm_calloc(1, sizeof(*st));
	struct qm_replay rp;
	int err;

	*found = (struct qm_recovered){0};
	st->lsn.next = 1;
	sm_buf_init(&st->scratch, 2 * QM_LOG_RECORD_MAX);
	sm_arena_init(&st->arena, "record", 4096, 16 * QM_LOG_RECORD_MAX);
	qm_marks_init(&st->marks);
	qm_suspends_init(&st->suspends);
	sm_list_init(&st->overs);
	qm_replay_init(&rp, st, txns, edbc);
	rp.conf = conf;
	if ((err = open_log(st, "ibdb", &conf->ibdb, &st->ibdb)) == 0 &&
	    (err = open_log(st, "defedb", &conf->defedb, &st->defedb)) == 0)
		err = recover(&rp, found);
	qm_replay_fini(&rp);
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
	qm_store_overs_fini(st);
	qm_marks_fini(&st->marks);
	qm_suspends_fini(&st->suspends);
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
	qm_log_old_done(st->ibdb, UINT32_MAX, SM_MAX(st->grant_lsn, st->wishes_lsn));
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
