/*
 * The record log as the loop sees it: append, what is durable, which segments are held.
 *
 * Invariant: the place of a record is decided when it is appended, under `mu`, and the commit
 * thread only follows. Loop thread, but for qm_log_durable. How a log begins and ends is
 * log_open.c's, writing log_commit.c's, the stock of segments log_keep.c's, reading log_replay.c's.
 */
#include "qmgr/log_impl.h"

#include <string.h>
#include "libsm/time.h"

/* ---- segments as the loop knows them ---- */

/* Index of the first one with this number or a higher one. */
static size_t seg_index(const struct qm_log *log, uint32_t seq)
{
	size_t lo = 0, hi = log->segs;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (log->seg[mid].seq < seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct qm_seg *qm_log_seg(struct qm_log *log, uint32_t seq)
{
	size_t i = seg_index(log, seq);

	return i < log->segs && log->seg[i].seq == seq ? &log->seg[i] : NULL;
}

struct qm_seg *qm_log_seg_add(struct qm_log *log, uint32_t seq)
{
	size_t i = seg_index(log, seq);

	if (i < log->segs && log->seg[i].seq == seq)
		return &log->seg[i];
	if (log->segs == log->seg_cap) {
		log->seg_cap = log->seg_cap ? log->seg_cap * 2 : 16;
		log->seg = sm_realloc(log->seg, log->seg_cap, sizeof *log->seg);
	}
	memmove(&log->seg[i + 1], &log->seg[i], (log->segs - i) * sizeof *log->seg);
	log->seg[i] = (struct qm_seg){.seq = seq};
	log->segs++;
	return &log->seg[i];
}

void qm_log_seg_forget(struct qm_log *log, size_t index)
{
	log->segs--;
	memmove(&log->seg[index], &log->seg[index + 1], (log->segs - index) * sizeof *log->seg);
}

void qm_log_hold(struct qm_log *log, struct qm_loc loc)
{
	struct qm_seg *s = qm_log_seg(log, loc.seq);

	sm_assert(s != NULL);
	s->holds++;
}

void qm_log_drop(struct qm_log *log, struct qm_loc loc, uint64_t settled_lsn)
{
	struct qm_seg *s = qm_log_seg(log, loc.seq);

	sm_assert(s != NULL && s->holds > 0);
	s->settled_lsn = SM_MAX(s->settled_lsn, settled_lsn);
	if (--s->holds == 0)
		log->keep_dirty = true;
}

void qm_log_old_done(struct qm_log *log, uint32_t seq, uint64_t lsn)
{
	for (size_t i = 0; i < log->segs && log->seg[i].seq <= seq; i++) {
		if (!log->seg[i].old)
			continue;
		log->seg[i].old = false;
		log->seg[i].settled_lsn = SM_MAX(log->seg[i].settled_lsn, lsn);
	}
	log->keep_dirty = true;
}

bool qm_log_oldest(const struct qm_log *log, uint32_t *seq, uint32_t *holds)
{
	/* Only the loop moves place.seq forward, so it may read it without the lock. */
	if (log->segs == 0 || log->seg[0].seq >= log->place.seq)
		return false;
	*seq = log->seg[0].seq;
	*holds = log->seg[0].holds;
	return true;
}

/* ---- the loop's side of what the threads say ---- */

void qm_log_ring(struct qm_log *log)
{
	if (log->rung)
		return;
	log->rung = true;
	sm_loop_post(&log->bell->post);
}

void qm_log_fail(struct qm_log *log, int err, const char *diag)
{
	if (log->failed != 0)
		return;
	log->failed = err;
	strncpy(log->failed_diag, diag, sizeof log->failed_diag - 1);
	pthread_cond_signal(&log->commit_work);
	pthread_cond_signal(&log->progress);
	qm_log_ring(log);
}

/* Those that ring when their logs are closed. */
static struct sm_list late_bells = SM_LIST_INIT(late_bells);

static void on_bell(void *arg)
{
	struct qm_bell *bell = arg;
	struct qm_log *log = bell->log;

	if (log == NULL) {
		sm_list_remove(&bell->link);
		sm_free(bell);
		return;
	}
	pthread_mutex_lock(&log->mu);
	log->rung = false;
	int failed = log->failed;
	pthread_mutex_unlock(&log->mu);

	uint64_t durable = qm_log_durable(log);
	if (durable > log->told_lsn) {
		log->told_lsn = durable;
		if (log->c.on_durable != NULL)
			log->c.on_durable(log->c.arg, log, durable);
	}
	if (failed != 0 && !log->told_failure) {
		log->told_failure = true;
		if (log->c.on_failure != NULL)
			log->c.on_failure(log->c.arg, log, failed, log->failed_diag);
	}
	qm_keep_turn(log);
}

void qm_log_kick(struct qm_log *log)
{
	pthread_mutex_lock(&log->mu);
	if (log->front->urgent)
		pthread_cond_signal(&log->commit_work);
	pthread_mutex_unlock(&log->mu);
}

static void waited_enough(void *arg)
{
	struct qm_log *log = arg;

	pthread_mutex_lock(&log->mu);
	log->front->urgent = log->front->slots > 0;
	pthread_mutex_unlock(&log->mu);
	qm_log_kick(log);
}

static bool before_sleep(void *arg)
{
	struct qm_log *log = arg;

	qm_log_kick(log);
	if (log->keep_dirty)
		qm_keep_turn(log);
	return false;
}

void qm_log_attend(struct qm_log *log)
{
	log->bell = sm_calloc(1, sizeof *log->bell);
	log->bell->post.cb = on_bell;
	log->bell->post.arg = log->bell;
	log->bell->log = log;
	sm_loop_before_sleep(&log->hook, before_sleep, log);
}

void qm_log_leave(struct qm_log *log)
{
	sm_hook_remove(&log->hook);
	sm_timer_cancel(&log->lazy);
	sm_timer_cancel(&log->retry);
	if (log->rung) {
		log->bell->log = NULL;
		sm_list_push(&late_bells, &log->bell->link);
	} else {
		sm_free(log->bell);
	}
	log->bell = NULL;
}

/* ---- append ---- */

size_t qm_log_record_max(const struct qm_log *log)
{
	size_t in_segment = log->c.segment_bytes - QM_BLOCK - QM_BATCH_HEADER - QM_RECORD_HEADER;

	return SM_MIN((size_t)QM_LOG_RECORD_MAX, in_segment);
}

static void wbuf_reserve(struct qm_wbuf *w, size_t more)
{
	size_t need = w->len + more, cap = w->cap ? w->cap : 64 * 1024;

	if (need <= w->cap)
		return;
	while (cap < need)
		cap *= 2;
	w->mem = sm_realloc(w->mem, cap, 1);
	w->cap = cap;
}

static bool fits_in_segment(const struct qm_log *log, uint32_t block, size_t length)
{
	return (uint64_t)block * QM_BLOCK + qm_batch_padded(length) <= log->c.segment_bytes;
}

/* Begin a batch for `need` bytes of record, in the next segment if this one has no room. Locked. */
static struct qm_slot *open_batch(struct qm_log *log, struct qm_wbuf *w, size_t need)
{
	qm_wbuf_close_batch(log, w);
	if (!fits_in_segment(log, log->place.block, QM_BATCH_HEADER + need)) {
		log->place
		    .seq++; /* 2^32 segments are not used up in a lifetime: checked at start */
		log->place.block = 1;
		qm_log_seg_add(log, log->place.seq);
		log->keep_dirty = true;
	}
	if (w->slots == w->slot_cap) {
		w->slot_cap = w->slot_cap ? w->slot_cap * 2 : 8;
		w->slot = sm_realloc(w->slot, w->slot_cap, sizeof *w->slot);
	}
	struct qm_slot *s = &w->slot[w->slots++];
	*s = (struct qm_slot){.seq = log->place.seq,
	                      .block = log->place.block,
	                      .prev_end = log->place.prev_end,
	                      .at = w->len,
	                      .length = QM_BATCH_HEADER};
	wbuf_reserve(w, QM_BATCH_HEADER);
	w->len += QM_BATCH_HEADER;
	return s;
}

/* Put a record into the front buffer. Locked. */
static struct qm_loc put_record(struct qm_log *log, uint64_t lsn, uint16_t type, struct sm_str body)
{
	struct qm_wbuf *w = log->front;
	struct qm_slot *s = w->slots > 0 ? &w->slot[w->slots - 1] : NULL;
	size_t need = QM_RECORD_HEADER + body.n;

	if (s == NULL && log->c.max_commit_delay_us > 0)
		log->first_us = sm_now_us();
	if (s == NULL || s->length + need > QM_BATCH_MAX ||
	    !fits_in_segment(log, s->block, s->length + need))
		s = open_batch(log, w, need);
	if (s->count++ == 0)
		s->first_lsn = lsn;
	s->last_lsn = lsn;
	struct qm_loc loc = {.seq = s->seq, .block = s->block, .at = s->length};
	wbuf_reserve(w, need + QM_BLOCK); /* with the padding */
	qm_record_put(w->mem + w->len, lsn, type, body);
	w->len += need;
	s->length += (uint32_t)need;
	w->records++;
	return loc;
}

static uint64_t append(struct qm_log *log, uint16_t type, struct sm_str body, struct qm_loc *loc,
                       bool urgent)
{
	uint64_t lsn = log->c.lsn->next++;
	struct qm_loc where = {0};

	sm_assert(log->started && body.n <= qm_log_record_max(log));
	pthread_mutex_lock(&log->mu);
	if (log->failed == 0 && log->front->len + log->writing + body.n > log->c.max_pending_bytes)
		qm_log_fail(log, SM_E_FULL, "more is waiting to be written than max_pending_bytes");
	if (log->failed == 0) {
		where = put_record(log, lsn, type, body);
		struct qm_seg *s = qm_log_seg(log, where.seq);
		s->settled_lsn = SM_MAX(s->settled_lsn, lsn);
		log->front->urgent = log->front->urgent || urgent;
	} else {
		/* Somewhere that can be held and dropped until the caller has aborted. */
		where.seq = log->place.seq;
	}
	pthread_mutex_unlock(&log->mu);
	if (loc != NULL)
		*loc = where;
	return lsn;
}

uint64_t qm_log_append(struct qm_log *log, uint16_t type, struct sm_str body, struct qm_loc *loc)
{
	return append(log, type, body, loc, true);
}

uint64_t qm_log_append_lazy(struct qm_log *log, uint16_t type, struct sm_str body,
                            struct qm_loc *loc)
{
	if (!sm_timer_is_set(&log->lazy))
		sm_timer_set(&log->lazy, sm_loop_now_ms() + QM_LOG_LAZY_MS, waited_enough, log);
	return append(log, type, body, loc, false);
}

uint64_t qm_log_durable(const struct qm_log *log)
{
	return atomic_load_explicit(&log->durable, memory_order_acquire);
}

size_t qm_log_pending_bytes(struct qm_log *log)
{
	pthread_mutex_lock(&log->mu);
	size_t n = log->front->len + log->writing;
	pthread_mutex_unlock(&log->mu);
	return n;
}

void qm_log_expect(struct qm_log *log, unsigned open_transactions)
{
	if (log->c.max_commit_delay_us == 0)
		return;
	pthread_mutex_lock(&log->mu);
	log->expect = open_transactions;
	if (open_transactions == 0)
		pthread_cond_signal(&log->commit_work);
	pthread_mutex_unlock(&log->mu);
}

bool qm_log_low_space(const struct qm_log *log)
{
	return log->low;
}

void qm_log_stat(struct qm_log *log, struct qm_log_stat *st)
{
	pthread_mutex_lock(&log->mu);
	*st = log->stat;
	st->pending_bytes = log->front->len + log->writing;
	st->failed = log->failed != 0;
	st->current_seq = log->place.seq;
	pthread_mutex_unlock(&log->mu);
	st->durable_lsn = qm_log_durable(log);
	st->oldest_seq = log->segs > 0 ? log->seg[0].seq : 0;
	st->segments = log->segs;
	st->ready = log->next_seq > log->place.seq ? log->next_seq - 1 - log->place.seq : 0;
	st->low_space = log->low;
}
