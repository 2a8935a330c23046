/*
 * The commit thread: takes the front buffer, writes each batch of it and syncs, publishes how far
 * the log is durable.
 *
 * Invariant: a batch is written only after the one before it is synced, so a valid batch proves
 * that all before it were whole once; `durable` never passes a record whose sync has not returned
 * 0. A failure ends the thread: nothing is tried twice.
 */
#include "qmgr/log_impl.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "libsm/time.h"

void qm_wbuf_fini(struct qm_wbuf *w)
{
	sm_free(w->mem);
	sm_free(w->slot);
	*w = (struct qm_wbuf){0};
}

static void wbuf_reset(struct qm_wbuf *w)
{
	if (w->cap > QM_WBUF_KEEP)
		qm_wbuf_fini(w);
	w->len = w->slots = w->records = 0;
	w->urgent = false;
}

void qm_wbuf_close_batch(struct qm_log *log, struct qm_wbuf *w)
{
	if (w->slots == 0)
		return;
	const struct qm_slot *s = &w->slot[w->slots - 1];
	size_t padded = qm_batch_padded(s->length);

	/* The buffer always has room for the padding of its open batch (qm_log_append). */
	memset(w->mem + w->len, 0, s->at + padded - w->len);
	w->len = s->at + padded;
	log->place.block = s->block + (uint32_t)(padded / QM_BLOCK);
	log->place.prev_end = log->place.block;
}

/* Wait for more, but only while others are about to append too, and not for long. Locked. */
static void wait_for_company(struct qm_log *log)
{
	struct timespec until = {0};
	int64_t end_us = log->first_us + log->c.max_commit_delay_us;

	until.tv_sec = end_us / 1000000;
	until.tv_nsec = end_us % 1000000 * 1000;
	while (!log->stop && log->failed == 0 && log->expect > 0 &&
	       (log->c.commit_records == 0 || log->front->records < log->c.commit_records))
		if (pthread_cond_timedwait(&log->commit_work, &log->mu, &until) == ETIMEDOUT)
			break;
}

/* Take the next prepared segment when `seq` is not the open one. Waits for the keeper. Locked; 0,
 * or -1 when told to stop. */
static int next_segment(struct qm_log *log, uint32_t seq)
{
	if (log->cur_seq == seq)
		return 0;
	while (log->readies == 0 && !log->stop && log->failed == 0) {
		log->starved = true;
		pthread_cond_signal(&log->progress);
		qm_log_ring(log);
		pthread_cond_wait(&log->commit_work, &log->mu);
	}
	log->starved = false;
	if (log->readies == 0 || log->failed != 0)
		return -1;
	sm_assert(log->ready[0].seq == seq);
	if (log->cur_fd >= 0)
		close(log->cur_fd);
	log->cur_fd = log->ready[0].fd;
	log->cur_seq = seq;
	log->readies--;
	memmove(&log->ready[0], &log->ready[1], log->readies * sizeof log->ready[0]);
	return 0;
}

static int write_batch(struct qm_log *log, const struct qm_wbuf *w, const struct qm_slot *s)
{
	struct qm_batch b = {.kind = QM_BATCH_RECORDS,
	                     .epoch = log->epoch,
	                     .seq = s->seq,
	                     .prev_end = s->prev_end,
	                     .first_lsn = s->first_lsn,
	                     .count = s->count,
	                     .length = s->length};

	qm_batch_seal(w->mem + s->at, &b);
	return qm_seg_commit(log, log->cur_fd, s->seq, w->mem + s->at, qm_batch_padded(s->length),
	                     (uint64_t)s->block * QM_BLOCK);
}

/* Write all of `back`. Locked at entry and exit, not meanwhile. False: the log is over. */
static bool commit_back(struct qm_log *log)
{
	struct qm_wbuf *w = log->back;

	for (size_t i = 0; i < w->slots; i++) {
		const struct qm_slot *s = &w->slot[i];
		if (next_segment(log, s->seq) != 0)
			return false;
		pthread_mutex_unlock(&log->mu);
		int rc = write_batch(log, w, s);
		pthread_mutex_lock(&log->mu);
		if (rc != 0) {
			qm_log_fail(log, rc, sm_diag());
			return false;
		}
		atomic_store_explicit(&log->durable, s->last_lsn, memory_order_release);
		log->writing -= qm_batch_padded(s->length);
		log->stat.records += s->count;
		log->stat.batches++;
		log->stat.syncs++;
		log->stat.bytes += qm_batch_padded(s->length);
		qm_log_ring(log);
		pthread_cond_signal(&log->progress);
	}
	return true;
}

void *qm_commit_main(void *arg)
{
	struct qm_log *log = arg;

	qm_log_thread_name(log, "commit");
	pthread_mutex_lock(&log->mu);
	for (;;) {
		while (!log->stop && log->failed == 0 && !log->front->urgent)
			pthread_cond_wait(&log->commit_work, &log->mu);
		if (log->failed != 0 || log->front->slots == 0)
			break;
		if (log->expect > 0 && log->c.max_commit_delay_us > 0)
			wait_for_company(log);
		qm_wbuf_close_batch(log, log->front);
		struct qm_wbuf *w = log->front;
		log->front = log->back;
		log->back = w;
		log->writing = w->len;
		bool alive = commit_back(log);
		wbuf_reset(log->back);
		if (!alive)
			break;
	}
	pthread_cond_signal(&log->progress);
	pthread_mutex_unlock(&log->mu);
	return NULL;
}

int qm_commit_end(struct qm_log *log)
{
	struct qm_batch b = {.kind = QM_BATCH_END,
	                     .epoch = log->epoch,
	                     .seq = log->place.seq,
	                     .prev_end = log->place.prev_end,
	                     .length = QM_BATCH_HEADER};
	uint8_t block[QM_BLOCK] = {0};
	uint64_t at = (uint64_t)log->place.block * QM_BLOCK;

	/* A full segment ends by itself. */
	if (at + QM_BLOCK > log->c.segment_bytes || next_segment(log, log->place.seq) != 0)
		return 0;
	qm_batch_seal(block, &b);
	return qm_seg_commit(log, log->cur_fd, log->cur_seq, block, sizeof block, at);
}
