/*
 * The life of a record log: opened with its formats checked, started with its two threads once it
 * has been replayed, flushed, closed.
 *
 * Invariant: the threads exist from qm_log_start to qm_log_close, and both take no signal; whatever
 * was appended before a close is on the disk after it, unless the log has failed or no segment can
 * be had. Loop thread, but for qm_log_thread_name.
 */
#include "qmgr/log_impl.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "libsm/rand.h"

#define SPARES_DEFAULT  3
#define PENDING_DEFAULT ((size_t)256 * 1024 * 1024)

/* ---- open ---- */

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

/* ---- start ---- */

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
	qm_log_attend(log);
	rc = start_threads(log);
	if (rc != 0) {
		qm_log_leave(log);
		return rc;
	}
	log->started = true;
	qm_keep_turn(log);
	return 0;
}

/* ---- flush, close ---- */

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
		if (log->failed == 0 && log->front->len + log->writing == 0)
			(void)qm_commit_end(log); /* without it the end is a torn tail, no loss */
		qm_log_leave(log);
		if (log->job.state == QM_KEEP_DONE && log->job.fd >= 0)
			close(log->job.fd);
	}
	if (log->cur_fd >= 0)
		close(log->cur_fd);
	for (unsigned i = 0; i < log->readies; i++)
		close(log->ready[i].fd);
	log_free(logp);
}
