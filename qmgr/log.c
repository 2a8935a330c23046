/*
 * The record log as the loop sees it: open, append, what is durable, which segments are held,
 * close.
 *
 * Invariant: the place of a record is decided when it is appended, under `mu`, and the commit
 * thread only follows. Loop thread, but for qm_log_durable. Writing is log_commit.c's, the stock of
 * segments log_keep.c's, reading log_replay.c's.
 */
#include "qmgr/log_impl.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "libsm/rand.h"
#include "libsm/time.h"

#define SPARES_DEFAULT  3
#define PENDING_DEFAULT ((size_t)256 * 1024 * 1024)

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

static void outlive(struct qm_bell *bell)
{
	bell->log = NULL;
	sm_list_push(&late_bells, &bell->link);
}

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

/* ---- open, start, close ---- */

static int check_conf(struct qm_log_conf *c)
{
	size_t n = strlen(c->name);

	sm_assert(n > 0 && n <= QM_LOG_NAME_MAX && strchr(c->name, '/') == NULL && c->lsn != NULL);
	if (c->segment_bytes == 0)
		c->segment_bytes = QM_LOG_SEGMENT_BYTES;
	if (c->segment_bytes < QM_LOG_SEGMENT_LEAST || c->segment_bytes > QM_LOG_SEGMENT_MOST)
		return sm_fail(SM_E_RANGE, "%s: segment of %u bytes, must be %d to %d", c->name,
		               c->segment_bytes, QM_LOG_SEGMENT_LEAST, QM_LOG_SEGMENT_MOST);
	c->segment_bytes = (c->segment_bytes + 4095u) & ~4095u;
	if (c->spare_segments == 0)
		c->spare_segments = SPARES_DEFAULT;
	c->spare_segments = SM_MIN(c->spare_segments, QM_READY_MAX / 2u);
	if (c->max_pending_bytes == 0)
		c->max_pending_bytes = PENDING_DEFAULT;
	if (c->lsn->next == 0)
		c->lsn->next = 1;
	return 0;
}

static void log_free(struct qm_log **log)
{
	struct qm_log *l = *log;

	qm_seg_dirs_close(l);
	qm_wbuf_fini(&l->buf[0]);
	qm_wbuf_fini(&l->buf[1]);
	pthread_cond_destroy(&l->progress);
	pthread_cond_destroy(&l->keep_work);
	pthread_cond_destroy(&l->commit_work);
	pthread_mutex_destroy(&l->mu);
	sm_free(l->seg);
	sm_free((char *)l->c.name);
	SM_FREE(*log);
}

int qm_log_open(const struct qm_log_conf *conf, struct qm_log **out)
{
	struct qm_log_conf c = *conf;
	pthread_condattr_t attr;
	int rc = check_conf(&c);

	*out = NULL;
	if (rc != 0)
		return rc;
	struct qm_log *log = sm_calloc(1, sizeof *log);
	log->c = c;
	log->c.name = sm_strdup(c.name);
	log->dirfd[0] = log->dirfd[1] = log->lockfd[0] = log->lockfd[1] = log->cur_fd = -1;
	log->front = &log->buf[0];
	log->back = &log->buf[1];
	snprintf(log->fault.write, QM_FAULT_MAX, "%s.write", c.name);
	snprintf(log->fault.sync, QM_FAULT_MAX, "%s.sync", c.name);
	snprintf(log->fault.create, QM_FAULT_MAX, "%s.create", c.name);
	snprintf(log->fault.prepare, QM_FAULT_MAX, "%s.prepare", c.name);
	snprintf(log->fault.open, QM_FAULT_MAX, "%s.open", c.name);
	snprintf(log->fault.read, QM_FAULT_MAX, "%s.read", c.name);
	pthread_mutex_init(&log->mu, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&log->commit_work, &attr);
	pthread_cond_init(&log->keep_work, &attr);
	pthread_cond_init(&log->progress, &attr);
	pthread_condattr_destroy(&attr);
	rc = qm_seg_dirs_open(log);
	log->c.dir = log->c.log_dir = NULL; /* the caller's strings; ours are in log->dir */
	if (rc == 0)
		rc = qm_log_check_formats(log);
	if (rc != 0) {
		log_free(&log);
		return rc;
	}
	*out = log;
	return 0;
}

/*
 * Segments at the newest end that hold no record were prepared by a former run: with them a start
 * works on a full disk. The first becomes the current one, some the spares; the rest, and those of
 * another size or place, are removed.
 */
static int reuse_empty(struct qm_log *log)
{
	size_t first = log->segs;
	int rc = 0;

	while (first > 0 && log->seg[first - 1].empty)
		first--;
	size_t keep = first;
	while (keep < log->segs && keep - first <= log->c.spare_segments &&
	       log->seg[keep].where == log->write_dir &&
	       log->seg[keep].bytes == log->c.segment_bytes)
		keep++;
	while (log->segs > keep && rc == 0) {
		const struct qm_seg *s = &log->seg[log->segs - 1];
		rc = qm_seg_remove(log, s->where, s->seq);
		log->segs--;
	}
	log->next_seq = log->segs > 0 ? log->seg[log->segs - 1].seq + 1 : 1;
	for (size_t i = first; i < keep && rc == 0; i++) {
		int fd;
		uint32_t seq = log->seg[i].seq;
		rc = qm_seg_reuse(log, seq, &fd);
		if (rc == 0)
			qm_keep_ready(log, seq, fd);
	}
	return rc;
}

/* What top and profilers call the running thread. */
void qm_log_thread_name(const struct qm_log *log, const char *what)
{
	char name[16]; /* the kernel's limit */

	(void)snprintf(name, sizeof name, "%s.%s", log->c.name, what);
	(void)pthread_setname_np(pthread_self(), name);
}

static int start_threads(struct qm_log *log)
{
	sigset_t all, before;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&log->commit_thread, NULL, qm_commit_main, log);
	if (rc == 0) {
		rc = pthread_create(&log->keep_thread, NULL, qm_keep_main, log);
		if (rc != 0) {
			pthread_mutex_lock(&log->mu);
			log->stop = true;
			pthread_cond_signal(&log->commit_work);
			pthread_mutex_unlock(&log->mu);
			pthread_join(log->commit_thread, NULL);
		}
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rc ? sm_fail_sys(rc, "%s: pthread_create", log->c.name) : 0;
}

int qm_log_start(struct qm_log *log)
{
	bool fatal;
	int fd, rc;

	sm_assert(log->replayed && !log->started && !log->c.read_only);
	while (log->epoch == 0)
		sm_rand_secret(&log->epoch, sizeof log->epoch);
	if (log->segs > 0 && log->seg[log->segs - 1].seq > UINT32_MAX / 2)
		return sm_fail(SM_E_RANGE, "%s: segment numbers are used up", log->c.name);
	rc = reuse_empty(log);
	if (rc == 0 && log->readies == 0) {
		rc = qm_seg_create(log, log->next_seq, &fd, &fatal);
		if (rc == 0)
			qm_keep_ready(log, log->next_seq, fd);
	}
	if (rc != 0)
		return rc;
	log->place.seq = log->ready[0].seq;
	log->place.block = 1;
	log->place.prev_end = 0;
	/* What is durable is what replay found; the commit thread goes on from there. */
	atomic_store(&log->durable, log->told_lsn);
	log->bell = sm_calloc(1, sizeof *log->bell);
	log->bell->post.cb = on_bell;
	log->bell->post.arg = log->bell;
	log->bell->log = log;
	rc = start_threads(log);
	if (rc != 0) {
		SM_FREE(log->bell);
		return rc;
	}
	log->started = true;
	sm_loop_before_sleep(&log->hook, before_sleep, log);
	qm_keep_turn(log);
	return 0;
}

/* Let the commit thread finish, with the segments it needs for that as long as they can be had. */
static void drain(struct qm_log *log)
{
	for (;;) {
		qm_keep_turn(log);
		pthread_mutex_lock(&log->mu);
		bool idle = log->job.state == QM_KEEP_IDLE;
		bool done = log->failed != 0 || log->front->len + log->writing == 0 ||
		            (log->starved && log->readies == 0 && idle);
		log->front->urgent = log->front->slots > 0;
		pthread_cond_signal(&log->commit_work);
		if (!done && log->job.state != QM_KEEP_DONE)
			pthread_cond_wait(&log->progress, &log->mu);
		pthread_mutex_unlock(&log->mu);
		if (done)
			return;
	}
}

int qm_log_flush(struct qm_log *log)
{
	drain(log);
	pthread_mutex_lock(&log->mu);
	int rc = log->failed;
	bool all = log->front->len + log->writing == 0;
	pthread_mutex_unlock(&log->mu);
	if (rc != 0)
		return sm_fail(rc, "%s", log->failed_diag);
	return all ? 0 : sm_fail(SM_E_FULL, "%s: no further segment can be had", log->c.name);
}

static void stop_threads(struct qm_log *log)
{
	pthread_mutex_lock(&log->mu);
	log->stop = true;
	log->expect = 0;
	pthread_cond_signal(&log->commit_work);
	pthread_cond_signal(&log->keep_work);
	pthread_mutex_unlock(&log->mu);
	pthread_join(log->commit_thread, NULL);
	pthread_join(log->keep_thread, NULL);
}

void qm_log_close(struct qm_log **logp)
{
	struct qm_log *log = *logp;

	if (log == NULL)
		return;
	if (log->started) {
		qm_log_expect(log, 0);
		drain(log);
		stop_threads(log);
		sm_hook_remove(&log->hook);
		sm_timer_cancel(&log->lazy);
		sm_timer_cancel(&log->retry);
		if (log->failed == 0 && log->front->len + log->writing == 0)
			(void)qm_commit_end(log); /* without it the end is a torn tail, no loss */
		if (log->rung)
			outlive(log->bell);
		else
			sm_free(log->bell);
		if (log->job.state == QM_KEEP_DONE && log->job.fd >= 0)
			close(log->job.fd);
	}
	if (log->cur_fd >= 0)
		close(log->cur_fd);
	for (unsigned i = 0; i < log->readies; i++)
		close(log->ready[i].fd);
	log_free(logp);
}
