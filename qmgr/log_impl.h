/*
 * The inside of struct qm_log, for log*.c only. Three threads: the loop appends and decides, the
 * commit thread writes and syncs, the keeper thread prepares and frees segments. What two of them
 * touch is in the part "shared" and under `mu`.
 */
#ifndef QM_LOG_IMPL_H
#define QM_LOG_IMPL_H

#include <pthread.h>
#include <stdatomic.h>
#include "libsm/loop.h"
#include "qmgr/log.h"
#include "qmgr/log_batch.h"

#define QM_SEG_PATH_MAX 40 /* "<name>.<8 hex digits>", "quarantine.<seq>.<offset>" */
#define QM_READY_MAX    16
#define QM_FAULT_MAX    (QM_LOG_NAME_MAX + 8)
#define QM_SEG_RETRY_MS 1000 /* between two tries to create a segment */
#define QM_WBUF_KEEP    (4 * 1024 * 1024)

/* A segment as the loop knows it. */
struct qm_seg {
	uint32_t seq;
	uint8_t where; /* index in dirfd */
	bool there;    /* its file is prepared; false: rolled into before it could be */
	bool old;      /* was there at start and qm_log_old_done did not release it yet */
	bool empty;    /* at start: holds no record */
	uint32_t holds;
	uint64_t settled_lsn; /* not to be freed before this is durable */
	uint64_t bytes;
};

/* A batch in a write buffer: what the commit thread needs to seal it and where it goes. */
struct qm_slot {
	uint32_t seq, block, prev_end;
	uint32_t length, count;
	size_t at; /* in the buffer */
	uint64_t first_lsn, last_lsn;
};
struct qm_wbuf {
	uint8_t *mem;
	size_t len, cap;
	struct qm_slot *slot; /* the last one is open while the buffer is in front */
	size_t slots, slot_cap;
	size_t records;
	bool urgent; /* somebody waits for a record in it, or a lazy one has waited long enough */
};

enum qm_keep_kind { QM_KEEP_CREATE, QM_KEEP_RECYCLE, QM_KEEP_REMOVE };
enum qm_keep_state { QM_KEEP_IDLE, QM_KEEP_WANTED, QM_KEEP_DONE };
/* The one piece of work the keeper has at a time. */
struct qm_keep {
	enum qm_keep_state state;
	enum qm_keep_kind kind;
	uint32_t from, to;
	uint8_t where; /* of `from` */
	int fd;        /* of `to` */
	int rc;
	bool fatal; /* the failure leaves it unknown what is on the disk */
	char diag[SM_DIAG_MAX];
};

/* Rings on the loop. Outlives the log when it is closed before the loop came round. */
struct qm_bell {
	struct sm_post post;
	struct qm_log *log;  /* NULL: closed; the callback frees the bell */
	struct sm_list link; /* then, in a list of these */
};

struct qm_log {
	/* ---- constant from open (epoch: from start) to close ---- */
	struct qm_log_conf c;
	char *dir[2]; /* home, and where segments are written if elsewhere */
	int dirfd[2], lockfd[2];
	uint8_t dirs, write_dir; /* how many; index of the one to write in */
	uint64_t epoch;
	struct {
		char write[QM_FAULT_MAX], sync[QM_FAULT_MAX], create[QM_FAULT_MAX],
		    prepare[QM_FAULT_MAX], open[QM_FAULT_MAX], read[QM_FAULT_MAX];
	} fault;

	/* ---- loop thread ---- */
	struct qm_seg *seg; /* by rising seq */
	size_t segs, seg_cap;
	uint32_t next_seq; /* of the next segment to prepare */
	bool started, replayed, low, told_failure;
	bool keep_dirty;     /* qm_keep_turn may have something to do */
	bool create_blocked; /* until the timer has fired */
	uint64_t told_lsn;
	struct sm_hook hook;
	struct sm_timer retry;
	struct sm_timer
	    lazy; /* set: records of the front buffer that nobody waits for become urgent then */
	struct qm_bell *bell;
	pthread_t commit_thread, keep_thread;

	/* ---- commit thread ---- */
	struct qm_wbuf *back;
	int cur_fd;
	uint32_t cur_seq;

	/* ---- shared, under mu (durable: atomic) ---- */
	pthread_mutex_t mu;
	pthread_cond_t commit_work; /* for the commit thread: records, a segment, stop */
	pthread_cond_t keep_work;   /* for the keeper: a job, stop */
	pthread_cond_t progress;    /* for close */
	_Atomic uint64_t durable;
	struct qm_wbuf buf[2];
	struct qm_wbuf *front;
	struct {
		uint32_t seq, block, prev_end;
	} place;          /* of the next batch to be opened */
	size_t writing;   /* bytes in `back` not yet durable */
	int64_t first_us; /* when the oldest record of `front` came; only with a delay */
	unsigned expect;
	struct {
		uint32_t seq;
		int fd;
	} ready[QM_READY_MAX];
	unsigned readies;
	struct qm_keep job;
	bool stop, rung, starved; /* starved: the commit thread waits for a segment */
	int failed;               /* 0 or SM_E_* */
	char failed_diag[SM_DIAG_MAX];
	struct qm_log_stat stat;
};

/* ---- log_segment.c: files; blocking; any thread; uses only the constant part ---- */
int qm_seg_dirs_open(struct qm_log *log);
void qm_seg_dirs_close(struct qm_log *log);
/* All segments by rising seq. `*v` is the caller's; after an error it is NULL. */
int qm_seg_list(struct qm_log *log, struct qm_seg **v, size_t *n);
void qm_seg_sweep(struct qm_log *log); /* remove half-made ones */
/* Prepared segments: zeroed or recycled, with a synced leading batch, under their name in a synced
 * directory. */
int qm_seg_create(struct qm_log *log, uint32_t seq, int *fd, bool *fatal);
int qm_seg_recycle(struct qm_log *log, uint32_t from, uint32_t to, int *fd);
int qm_seg_reuse(struct qm_log *log, uint32_t seq, int *fd); /* an empty one under its own number */
int qm_seg_remove(struct qm_log *log, uint8_t where, uint32_t seq);
int qm_seg_open(const struct qm_log *log, uint32_t seq, int *fd); /* to read */
int qm_seg_pread(const struct qm_log *log, int fd, uint32_t seq, void *p, size_t n, uint64_t offset,
                 size_t *got);
/* Write, then fdatasync; neither is tried again. */
int qm_seg_commit(const struct qm_log *log, int fd, uint32_t seq, const void *p, size_t n,
                  uint64_t offset);
/* Make what a read will give be what the disk has: sync, then forget the cached pages. */
int qm_seg_settle(const struct qm_log *log, uint32_t seq);
/* All of a segment in memory: sm_free it. */
int qm_seg_load(const struct qm_log *log, uint32_t seq, uint8_t **p, size_t *n);
/* Copy bytes to quarantine.<seq>.<offset>; name in `file`. One from a former start is overwritten.
 */
int qm_seg_quarantine(const struct qm_log *log, uint32_t seq, uint64_t offset, const uint8_t *p,
                      size_t n, char file[QM_SEG_PATH_MAX]);

/* ---- log_format.c ---- */
int qm_log_check_formats(struct qm_log *log); /* see qm_log_open */

/* ---- log_commit.c ---- */
void *qm_commit_main(void *log);
int qm_commit_end(struct qm_log *log); /* the end batch; after the thread was joined */
void qm_wbuf_fini(struct qm_wbuf *w);
/* The last batch of the front buffer gets no more records. Locked. */
void qm_wbuf_close_batch(struct qm_log *log, struct qm_wbuf *w);

/* ---- log_keep.c ---- */
void *qm_keep_main(void *log);
void qm_keep_turn(struct qm_log *log); /* loop: take what is done, order what is next */
void qm_keep_ready(struct qm_log *log, uint32_t seq,
                   int fd); /* hand a prepared one to the commit thread */

/* ---- log_open.c ---- */
/* The running thread is called for its log: "ibdb.commit", "defedb.keep". */
void qm_log_thread_name(const struct qm_log *log, const char *what);

/* ---- log.c ---- */
/* The loop looks after the log and hears its threads; from then on no more, also if one has rung
 * and the loop has not come round yet. */
void qm_log_attend(struct qm_log *log);
void qm_log_leave(struct qm_log *log);
struct qm_seg *qm_log_seg(struct qm_log *log, uint32_t seq);     /* NULL: none. Loop */
struct qm_seg *qm_log_seg_add(struct qm_log *log, uint32_t seq); /* or the one that is there */
void qm_log_seg_forget(struct qm_log *log, size_t index);
/* Wake the loop. Locked. */
void qm_log_ring(struct qm_log *log);
/* The log is dead: first reason stays. Locked. */
void qm_log_fail(struct qm_log *log, int err, const char *diag);

#endif
