/*
 * Records of transactions into the logs, and the queue of those who wait for them to be durable.
 * Loop thread only.
 *
 * Invariant: waits of one log are in the order of their lsn, so that one comparison at the head
 * tells whether anybody can go on.
 */
#include "qmgr/store_int.h"

#include <stdlib.h>
#include "libsm/log.h"
#include "libsm/proc.h"
#include "libsm/wire.h"

static struct qm_waits *waits_of(struct qm_store *st, const struct qm_log *log)
{
	return log == st->ibdb ? &st->ibdb_waits : &st->defedb_waits;
}

static void run_waits(struct qm_waits *q, uint64_t durable)
{
	while (q->head && q->head->lsn <= durable) {
		struct qm_wait *w = q->head;

		q->head = w->next;
		if (q->head == NULL)
			q->tail = NULL;
		w->next = NULL;
		w->cb(w->arg);
	}
}

void qm_store_on_durable(void *arg, struct qm_log *log, uint64_t durable_lsn)
{
	struct qm_waits *q = waits_of(arg, log);

	q->told = durable_lsn;
	run_waits(q, durable_lsn);
}

/* Nothing was promised for what is not durable; what the disk has is what replay will find. */
void qm_store_on_failure(void *arg, struct qm_log *log, int err, const char *diag)
{
	(void)arg;
	(void)log;
	sm_log(SM_FATAL, "qm.log_failed", "error=%s diag=%s", sm_strerr(err), diag);
	sm_log_flush();
	_Exit(SM_EXIT_OSERR);
}

void qm_store_on_low_space(void *arg, struct qm_log *log, bool low, const char *diag)
{
	struct qm_store *st = arg;

	*(log == st->ibdb ? &st->ibdb_low : &st->defedb_low) = low;
	sm_log(low ? SM_ERROR : SM_NOTICE, "qm.log_space", "log=%s low=%d diag=%s",
	       log == st->ibdb ? "ibdb" : "defedb", low, diag ? diag : "");
}

void qm_store_on_damage(void *arg, struct qm_log *log, const struct qm_log_damage *d)
{
	struct qm_store *st = arg;

	st->damages++;
	sm_log(SM_CRIT, "qm.log_damage", "log=%s segment=%u offset=%llu length=%llu kept_in=%s",
	       log == st->ibdb ? "ibdb" : "defedb", d->seq, (unsigned long long)d->offset,
	       (unsigned long long)d->length, d->file);
}

/* Which transaction it was about: nearly all records begin with that. */
void qm_store_on_lost(void *arg, struct qm_log *log, const struct qm_log_lost *l)
{
	struct qm_store *st = arg;
	struct sm_reader r = sm_reader(l->body);
	char id[SM_ID_SIZE] = "";

	if ((l->type >= QM_REC_txn && l->type <= QM_REC_moved) || l->type == QM_REC_over ||
	    l->type == QM_REC_expand) {
		struct sm_id ta = sm_r_id(&r);

		if (r.err == 0)
			sm_id_text(ta, id);
	}
	sm_log(SM_CRIT, "qm.log_lost",
	       "log=%s segment=%u offset=%llu length=%llu lsn=%llu ss_ta=%s",
	       log == st->ibdb ? "ibdb" : "defedb", l->seq, (unsigned long long)l->offset,
	       (unsigned long long)l->length, (unsigned long long)l->lsn, id);
}

void qm_store_on_segment(void *arg, struct qm_log *log, const struct qm_log_segment *s)
{
	struct qm_store *st = arg;

	/* Of a crash, mostly; who looks for the end of a record that a disk has damaged finds it.
	 */
	if (s->torn)
		sm_log(SM_NOTICE, "qm.log_torn", "log=%s segment=%u offset=%llu",
		       log == st->ibdb ? "ibdb" : "defedb", s->seq, (unsigned long long)s->end);

	if (s->epoch != 0)
		++*(log == st->ibdb ? &st->ibdb_found : &st->defedb_found);
}

void qm_store_after(struct qm_store *st, struct qm_log *log, uint64_t lsn, struct qm_wait *w,
                    void (*cb)(void *arg), void *arg)
{
	struct qm_waits *q = waits_of(st, log);

	sm_assert(lsn > q->told); /* else nobody would ever call it */
	w->next = NULL;
	w->lsn = lsn;
	w->cb = cb;
	w->arg = arg;
	if (q->tail == NULL || q->tail->lsn <= lsn) {
		*(q->tail ? &q->tail->next : &q->head) = w;
		q->tail = w;
		return;
	}
	/* Rare: somebody waits for a record that is not the newest. */
	struct qm_wait **at = &q->head;

	while ((*at)->lsn <= lsn)
		at = &(*at)->next;
	w->next = *at;
	*at = w;
}

struct qm_marks *qm_store_marks(struct qm_store *st)
{
	return &st->marks;
}

struct qm_suspends *qm_store_suspends(struct qm_store *st)
{
	return &st->suspends;
}

struct qm_log *qm_store_ibdb(struct qm_store *st)
{
	return st->ibdb;
}

struct qm_log *qm_store_defedb(struct qm_store *st)
{
	return st->defedb;
}

/* Results, ends and moves: durable soon, but no client waits for them. */
static uint64_t append_lazy(struct qm_store *st, struct qm_log *log, uint16_t type,
                            struct qm_loc *loc)
{
	sm_assert(sm_buf_err(&st->scratch) == 0);
	return qm_log_append_lazy(log, type, sm_buf_view(&st->scratch), loc);
}

static uint64_t append(struct qm_store *st, struct qm_log *log, uint16_t type, struct qm_loc *loc)
{
	/* Field maxima times array maxima stay below a record's maximum but for notes of a thousand
	 * recipients: see to_rec. */
	sm_assert(sm_buf_err(&st->scratch) == 0);
	return qm_log_append(log, type, sm_buf_view(&st->scratch), loc);
}

/* A thousand recipients with the longest addresses and notes would not fit a record: the notes go
 * first, they only inform. */
static void encode_txn(struct qm_store *st, const struct qm_txn *txn, struct qm_rec_txn *rec)
{
	sm_arena_reset(&st->arena);
	qm_txn_to_rec(txn, &st->arena, rec);
	sm_buf_reset(&st->scratch);
	qm_rec_txn_encode(&st->scratch, rec);
	if (st->scratch.len <= qm_log_record_max(st->ibdb) / 2)
		return;
	for (uint32_t i = 0; i < rec->rcpts_count; i++) {
		rec->rcpts[i].text = sm_str_head(rec->rcpts[i].text, 60);
		rec->rcpts[i].host = SM_STR("");
	}
	rec->ways_count = 0;
	sm_buf_reset(&st->scratch);
	qm_rec_txn_encode(&st->scratch, rec);
}

static void count_snapshot(struct qm_store *st)
{
	st->snapshot_bytes += st->scratch.len;
	st->snapshots++;
}

uint64_t qm_store_txn(struct qm_store *st, struct qm_txn *txn, struct qm_log *log)
{
	struct qm_rec_txn rec;
	struct qm_log *old_log = txn->log;
	struct qm_loc old = txn->loc;

	txn->act = SM_MAX(txn->act, st->marks.applied);
	encode_txn(st, txn, &rec);
	count_snapshot(st);
	txn->last_lsn = txn->snapshot_lsn = append(st, log, QM_REC_txn, &txn->loc);
	txn->log = log;
	txn->changed = txn->acted = false;
	qm_log_hold(log, txn->loc);
	/* The snapshot before it in the same log is superseded; one in IBDB is let go by `moved`,
	 * one in DEFEDB when DEFEDB has something newer. */
	if (old_log == log && old.seq)
		qm_log_drop(log, old, txn->last_lsn);
	else if (old_log == st->defedb && old.seq)
		txn->shadow = old;
	if (log == st->defedb && txn->shadow.seq) {
		qm_log_drop(log, txn->shadow, txn->last_lsn);
		txn->shadow = (struct qm_loc){0};
	}
	return txn->last_lsn;
}

void qm_store_acts(struct qm_store *st, struct qm_txn *txn)
{
	/* One that waits for a result is not in memory yet, so it cannot be in a snapshot. */
	if (txn->acted && !qm_txn_act_waits(txn) && !qm_store_take_over(st, txn))
		qm_store_txn(st, txn, txn->log);
}

uint64_t qm_store_rcpt(struct qm_store *st, const struct qm_rcpt *r)
{
	struct qm_txn *txn = r->txn;
	struct qm_rec_rcpt_change c = {
	    .ta = txn->id,
	    .index = r->index,
	    .state = qm_rcpt_rec_state(r),
	    .tries = r->tries,
	    .next_try_s = r->next_try_s,
	    .code = r->code,
	    .text = r->text,
	    .host = r->host,
	    .last_try_s = r->last_try_s,
	    .flags = r->flags,
	    .tls = r->tls,
	};

	if (qm_store_may_take_over(st, txn))
		/* When it was tried is not worth a snapshot. That has all the rest. */
		return txn->changed ? qm_store_txn(st, txn, st->ibdb) : txn->last_lsn;
	sm_buf_reset(&st->scratch);
	qm_rec_rcpt_change_encode(&st->scratch, &c);
	return txn->last_lsn = append_lazy(st, txn->log, QM_REC_rcpt_change, NULL);
}

/* A record with a child was written: the child begins in the log where its parent is. */
static uint64_t child_written(struct qm_txn *parent, struct qm_txn *child, struct qm_loc loc,
                              uint64_t lsn)
{
	child->log = parent->log;
	child->loc = loc;
	qm_log_hold(child->log, child->loc);
	return parent->last_lsn = parent->child_lsn = child->last_lsn = lsn;
}

uint64_t qm_store_child(struct qm_store *st, struct qm_txn *parent, struct qm_rcpt *const *settled,
                        unsigned count, struct qm_txn *child)
{
	struct qm_rec_txn rec;
	struct qm_rec_child c = {.ta = parent->id, .txn_count = 1, .txn = &rec};
	struct qm_loc loc;
	uint64_t lsn;

	sm_arena_reset(&st->arena);
	qm_txn_to_rec(child, &st->arena, &rec);
	c.settled = sm_arena_must(&st->arena, count * sizeof(*c.settled));
	for (unsigned i = 0; i < count; i++)
		c.settled[c.settled_count++].index = settled[i]->index;
	sm_buf_reset(&st->scratch);
	qm_rec_child_encode(&st->scratch, &c);
	lsn = append_lazy(st, parent->log, QM_REC_child, &loc);
	return child_written(parent, child, loc, lsn);
}

uint64_t qm_store_expand(struct qm_store *st, struct qm_rcpt *r, struct qm_txn *child)
{
	struct qm_txn *parent = r->txn;
	struct qm_rec_txn rec;
	struct qm_rec_expand e = {.ta = parent->id,
	                          .index = r->index,
	                          .state = qm_rcpt_rec_state(r),
	                          .after = r->after,
	                          .txn_count = child != NULL,
	                          .txn = &rec};
	struct qm_loc loc;
	uint64_t lsn;

	if (qm_rcpt_owed(r)) {
		e.code = r->code;
		e.text = r->text;
	}
	sm_arena_reset(&st->arena);
	if (child)
		qm_txn_to_rec(child, &st->arena, &rec);
	sm_buf_reset(&st->scratch);
	qm_rec_expand_encode(&st->scratch, &e);
	/* The members wait for it, and the next of them. */
	lsn = append(st, parent->log, QM_REC_expand, &loc);
	return child ? child_written(parent, child, loc, lsn) : (parent->last_lsn = lsn);
}

uint64_t qm_store_end(struct qm_store *st, struct qm_txn *txn)
{
	if (qm_store_may_take_over(st, txn)) {
		txn->shadow = txn->loc;
		txn->log = st->ibdb;
		txn->loc = (struct qm_loc){0};
	}
	if (txn->shadow.seq)
		return qm_store_over(st, txn);
	sm_buf_reset(&st->scratch);
	qm_rec_end_encode(&st->scratch, &(struct qm_rec_end){.ta = txn->id});
	txn->last_lsn = append_lazy(st, txn->log, QM_REC_end, NULL);
	qm_log_drop(txn->log, txn->loc, txn->last_lsn);
	txn->loc = (struct qm_loc){0};
	return txn->last_lsn;
}

uint64_t qm_store_moved(struct qm_store *st, struct qm_txn *txn, struct qm_loc old)
{
	uint64_t lsn;

	sm_buf_reset(&st->scratch);
	qm_rec_moved_encode(&st->scratch, &(struct qm_rec_moved){.ta = txn->id});
	lsn = append_lazy(st, st->ibdb, QM_REC_moved, NULL);
	qm_log_drop(st->ibdb, old, lsn);
	return lsn;
}

static uint64_t write_grant(struct qm_store *st, const struct qm_rec_id_block *grant)
{
	struct qm_rec_id_block b = *grant;
	struct qm_loc old = st->grant.loc;
	uint64_t lsn;

	b.birth = st->birth;
	sm_buf_reset(&st->scratch);
	qm_rec_id_block_encode(&st->scratch, &b);
	lsn = append(st, st->ibdb, QM_REC_id_block, &st->grant.loc);
	qm_log_hold(st->ibdb, st->grant.loc);
	if (old.seq)
		qm_log_drop(st->ibdb, old, lsn);
	return lsn;
}

uint64_t qm_store_id_block(struct qm_store *st, uint64_t first, uint32_t count, uint8_t proc,
                           pid_t pid)
{
	const struct qm_rec_id_block b = {
	    .first = first, .count = count, .proc = proc, .pid = (uint32_t)pid};

	sm_assert(first + count >= st->grant.end);
	st->grant.end = first + count;
	st->grant.proc = proc;
	st->grant.pid = pid;
	return write_grant(st, &b);
}

static uint64_t grant_again(struct qm_store *st)
{
	const struct qm_rec_id_block b = {
	    .first = st->grant.end, .proc = st->grant.proc, .pid = (uint32_t)st->grant.pid};

	return write_grant(st, &b);
}

bool qm_store_copy_id_block(struct qm_store *st, uint32_t seq)
{
	if (st->grant.loc.seq != seq)
		return false;
	grant_again(st);
	return true;
}

uint64_t qm_store_birth(const struct qm_store *st)
{
	return st->birth;
}

uint64_t qm_store_set_birth(struct qm_store *st, uint64_t birth)
{
	st->birth = birth;
	return grant_again(st);
}

uint64_t qm_store_copy(struct qm_store *st, struct qm_rec_txn *rec, struct qm_loc *loc)
{
	uint64_t lsn;

	sm_buf_reset(&st->scratch);
	qm_rec_txn_encode(&st->scratch, rec);
	count_snapshot(st);
	lsn = append(st, st->defedb, QM_REC_txn, loc);
	qm_log_hold(st->defedb, *loc);
	return lsn;
}

void qm_store_copied(struct qm_store *st, struct qm_loc old, uint64_t copy_lsn)
{
	qm_log_drop(st->defedb, old, copy_lsn);
}

#define WASTE_SEGMENTS 4   /* never worth the work */
#define LEAST_BYTES    512 /* a batch of one record takes so much */
#define OVER_BYTES     32  /* these are written many at once */

bool qm_store_wasteful(struct qm_store *st, struct qm_log *log, size_t live, uint32_t *oldest_seq)
{
	uint64_t segment = log == st->ibdb ? st->ibdb_segment_bytes : st->defedb_segment_bytes;
	uint64_t each = st->snapshots ? st->snapshot_bytes / st->snapshots : 0;
	struct qm_log_stat stat;
	uint32_t holds;

	if (!qm_log_oldest(log, oldest_seq, &holds))
		return false;
	qm_log_stat(log, &stat);

	uint64_t used = (stat.current_seq - *oldest_seq + 1) * segment;
	uint64_t needed = live * SM_MAX(each, (uint64_t)LEAST_BYTES);

	if (log == st->ibdb)
		needed += st->marks.bytes + st->over_count * OVER_BYTES;

	return used > WASTE_SEGMENTS * segment + 2 * needed;
}

size_t qm_store_pending(const struct qm_store *st)
{
	return qm_log_pending_bytes(st->ibdb) + qm_log_pending_bytes(st->defedb);
}

bool qm_store_low(const struct qm_store *st)
{
	return st->ibdb_low || st->defedb_low;
}
