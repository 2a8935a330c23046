/*
 * The stock of segments: one is kept prepared ahead of need, the oldest settled ones are recycled
 * or removed.
 *
 * The loop decides (qm_keep_turn), the keeper thread does one piece at a time. Invariant: segments
 * leave only at the oldest end, each one durably gone before the next, and only when it holds
 * nothing and all that settled it is durable. A recycle or removal of which it is unknown whether
 * it is on the disk ends the log, as a failed sync does: old records must not come back after a
 * crash.
 */
#include "qmgr/log_impl.h"

#include <string.h>
#include <unistd.h>

/* ---- keeper thread ---- */

static void keep_work(struct qm_log *log, struct qm_keep *k)
{
	k->fatal = true;
	k->fd = -1;
	switch (k->kind) {
	case QM_KEEP_CREATE:
		k->rc = qm_seg_create(log, k->to, &k->fd, &k->fatal);
		break;
	case QM_KEEP_RECYCLE:
		k->rc = qm_seg_recycle(log, k->from, k->to, &k->fd);
		break;
	case QM_KEEP_REMOVE:
		k->rc = qm_seg_remove(log, k->where, k->from);
		break;
	}
	if (k->rc != 0) {
		strncpy(k->diag, sm_diag(), sizeof k->diag - 1);
		k->diag[sizeof k->diag - 1] = '\0';
	}
}

void *qm_keep_main(void *arg)
{
	struct qm_log *log = arg;

	qm_log_thread_name(log, "keep");
	pthread_mutex_lock(&log->mu);
	for (;;) {
		while (!log->stop && log->job.state != QM_KEEP_WANTED)
			pthread_cond_wait(&log->keep_work, &log->mu);
		if (log->stop)
			break;
		struct qm_keep k = log->job;
		pthread_mutex_unlock(&log->mu);
		keep_work(log, &k);
		pthread_mutex_lock(&log->mu);
		k.state = QM_KEEP_DONE;
		log->job = k;
		qm_log_ring(log);
		pthread_cond_signal(&log->progress);
	}
	pthread_mutex_unlock(&log->mu);
	return NULL;
}

/* ---- loop thread ---- */

void qm_keep_ready(struct qm_log *log, uint32_t seq, int fd)
{
	struct qm_seg *s = qm_log_seg_add(log, seq);

	s->there = true;
	s->where = log->write_dir;
	s->bytes = log->c.segment_bytes;
	s->old = s->empty = false;
	if (log->next_seq <= seq)
		log->next_seq = seq + 1;
	pthread_mutex_lock(&log->mu);
	sm_assert(log->readies < QM_READY_MAX);
	log->ready[log->readies].seq = seq;
	log->ready[log->readies++].fd = fd;
	pthread_cond_signal(&log->commit_work);
	pthread_mutex_unlock(&log->mu);
}

static void set_low(struct qm_log *log, bool low, const char *diag)
{
	if (log->low == low)
		return;
	log->low = low;
	if (log->c.on_low_space != NULL)
		log->c.on_low_space(log->c.arg, log, low, diag);
}

static void retry_create(void *arg)
{
	struct qm_log *log = arg;

	log->create_blocked = false;
	log->keep_dirty = true;
	qm_keep_turn(log);
}

static void take_done(struct qm_log *log, const struct qm_keep *k)
{
	if (k->rc != 0 && k->fatal) {
		pthread_mutex_lock(&log->mu);
		qm_log_fail(log, k->rc, k->diag);
		pthread_mutex_unlock(&log->mu);
		return;
	}
	if (k->rc != 0) {
		log->create_blocked = true;
		sm_timer_set(&log->retry, sm_loop_now_ms() + QM_SEG_RETRY_MS, retry_create, log);
		set_low(log, true, k->diag);
		return;
	}
	if (k->kind != QM_KEEP_CREATE) {
		sm_assert(log->segs > 0 && log->seg[0].seq == k->from);
		qm_log_seg_forget(log, 0);
	}
	if (k->kind != QM_KEEP_REMOVE) {
		qm_keep_ready(log, k->to, k->fd);
		log->create_blocked = false;
		sm_timer_cancel(&log->retry);
		set_low(log, false, "");
	}
}

/* As an append would place it now. */
bool qm_log_fits(struct qm_log *log, size_t bytes)
{
	size_t need = QM_BATCH_HEADER + QM_RECORD_HEADER + SM_MIN(bytes, qm_log_record_max(log));
	const struct qm_wbuf *w;
	uint64_t block;

	/* Only the loop moves place.seq forward, so it may read it without the lock. */
	if (log->next_seq <= log->place.seq)
		return false;
	if (log->next_seq - 1 > log->place.seq)
		return true; /* one is prepared that is not begun */
	pthread_mutex_lock(&log->mu);
	w = log->front;
	block = log->place.block;
	if (w->slots > 0) {
		const struct qm_slot *s = &w->slot[w->slots - 1];

		block = s->block + qm_batch_padded(s->length) / QM_BLOCK;
	}
	pthread_mutex_unlock(&log->mu);
	return block * QM_BLOCK + qm_batch_padded(need) <= log->c.segment_bytes;
}

bool qm_log_room(struct qm_log *log, size_t bytes)
{
	return !log->low && qm_log_fits(log, bytes);
}

/* What to do next, if anything. `place_seq` is where the loop appends now. */
static bool want(struct qm_log *log, uint32_t place_seq, struct qm_keep *k)
{
	const struct qm_seg *s = log->segs > 0 ? &log->seg[0] : NULL;
	int64_t ahead = (int64_t)log->next_seq - 1 - place_seq; /* prepared; negative: owed */

	*k = (struct qm_keep){.state = QM_KEEP_WANTED, .to = log->next_seq, .fd = -1};
	if (s != NULL && s->seq < place_seq && s->there && !s->old && s->holds == 0 &&
	    s->settled_lsn <= qm_log_durable(log)) {
		bool fits = s->where == log->write_dir && s->bytes == log->c.segment_bytes;
		k->kind = fits && ahead < (int64_t)log->c.spare_segments ? QM_KEEP_RECYCLE
		                                                         : QM_KEEP_REMOVE;
		k->from = s->seq;
		k->where = s->where;
		return true;
	}
	k->kind = QM_KEEP_CREATE;
	return ahead < 1 && !log->create_blocked;
}

void qm_keep_turn(struct qm_log *log)
{
	struct qm_keep k;
	uint32_t place_seq;

	if (!log->started)
		return;
	pthread_mutex_lock(&log->mu);
	k = log->job;
	if (k.state == QM_KEEP_DONE)
		log->job.state = QM_KEEP_IDLE;
	place_seq = log->place.seq;
	pthread_mutex_unlock(&log->mu);
	if (k.state == QM_KEEP_DONE)
		take_done(log, &k);
	log->keep_dirty = false;
	if (k.state == QM_KEEP_WANTED || !want(log, place_seq, &k))
		return;
	pthread_mutex_lock(&log->mu);
	if (log->failed == 0) {
		log->job = k;
		pthread_cond_signal(&log->keep_work);
	}
	pthread_mutex_unlock(&log->mu);
}
