/*
 * The record log: segments of batches of records, appended by qmgr's loop and made durable by one
 * commit thread per log.
 *
 * Two run in qmgr: IBDB (the journal) and DEFEDB (deferred mail). Their format is in
 * doc/formats.md, "Record log". An append never waits: it gives the record's number (lsn) and place
 * (loc) at once, and the record counts only when qm_log_durable() has reached its lsn. Everything
 * here belongs to the loop thread, but qm_log_read and qm_log_scan, which block and are for helper
 * threads.
 *
 *     qm_log_open -> qm_log_replay -> qm_log_start -> qm_log_append ... -> qm_log_close
 */
#ifndef QM_LOG_H
#define QM_LOG_H

#include "libsm/err.h"
#include "libsm/str.h"

#define QM_LOG_NAME_MAX      15
#define QM_LOG_RECORD_MAX    (1024 * 1024) /* bytes in one record's body */
#define QM_LOG_SEGMENT_BYTES (32 * 1024 * 1024)
#define QM_LOG_LAZY_MS       100
#define QM_LOG_SEGMENT_LEAST (64 * 1024)
#define QM_LOG_SEGMENT_MOST  (256 * 1024 * 1024)

struct qm_log;
struct sm_buf;

/* One counter for all logs of a process, so that the numbers of records in different logs can be
 * compared. Loop thread. */
struct qm_lsn {
	uint64_t next; /* starts at 1; replay moves it behind what it finds */
};

/* Where a record is. Zeroed: nowhere. */
struct qm_loc {
	uint32_t seq;   /* segment, from 1 */
	uint32_t block; /* of 512 bytes: where its batch begins */
	uint32_t at;    /* byte in the batch where the record begins */
};

/* What replay found wrong. Its bytes were copied to `file` in the home directory; alarm somebody.
 */
struct qm_log_damage {
	uint32_t seq;
	uint64_t offset, length; /* both 0: the whole segment is missing */
	const char *file;        /* "" when nothing could or had to be copied */
};

/* A record that a damage took, told after that damage. What it says of itself is as damaged as it
 * is. */
struct qm_log_lost {
	uint32_t seq;
	uint64_t offset, length; /* of all that could not be read in one piece */
	uint64_t lsn;
	uint16_t type;
	struct sm_str body; /* as far as it goes */
};

/* What replay found in a segment, told after its last record. */
struct qm_log_segment {
	uint32_t seq;
	uint64_t bytes, end;     /* of the file; behind the last valid batch */
	uint64_t epoch;          /* 0: nothing of this segment is in the file */
	int64_t created_wall_ms; /* 0: its first block is damaged */
	uint16_t format;         /* the same; else of which version its batches are */
	uint32_t table;          /* which version of the table of records; 0: not known */
	uint64_t table_hash;
	const char *build; /* what wrote it; "": not known */
	uint64_t records, damages;
	uint32_t batches;
	bool torn;   /* the last write was cut off: normal after a crash */
	bool closed; /* by qm_log_close */
};

struct qm_log_conf {
	const char *name;    /* "ibdb", "defedb": in file names and fault points */
	const char *dir;     /* home: lock, quarantine, segments from where log_dir was elsewhere */
	const char *log_dir; /* where segments are written; NULL: in dir */
	uint32_t segment_bytes;   /* 0: QM_LOG_SEGMENT_BYTES; rounded up to 4096 */
	unsigned spare_segments;  /* most prepared segments to keep; 0: 3 */
	size_t max_pending_bytes; /* not yet written: more is a failure of the log; 0: 256 MiB */
	uint32_t max_commit_delay_us; /* see qm_log_expect; 0: none */
	uint32_t commit_records;      /* so many end that delay; 0: no limit */
	struct qm_lsn *lsn;
	bool read_only; /* for tools: only replay, scan and read; changes nothing on the disk */

	/* All on the loop. NULL: not interested. */
	void *arg;
	void (*on_durable)(void *arg, struct qm_log *log, uint64_t durable_lsn);
	/* A write or sync failed; it is not tried again and nothing becomes durable any more. Once.
	 * The caller is to abort. */
	void (*on_failure)(void *arg, struct qm_log *log, int err, const char *diag);
	/* true: no further segment can be had (diag says why), the rest of the current one is the
	 * reserve: refuse new work. false: again fine. */
	void (*on_low_space)(void *arg, struct qm_log *log, bool low, const char *diag);
	/* During replay only. */
	void (*on_damage)(void *arg, struct qm_log *log, const struct qm_log_damage *d);
	void (*on_lost)(void *arg, struct qm_log *log,
	                const struct qm_log_lost *l); /* may be NULL */
	void (*on_segment)(void *arg, struct qm_log *log, const struct qm_log_segment *s);
};

struct qm_log_stat {
	uint64_t durable_lsn, records, batches, bytes, syncs; /* since start */
	size_t pending_bytes;
	uint32_t oldest_seq, current_seq;
	size_t segments; /* with spares */
	unsigned ready;  /* prepared, ahead of the current one */
	bool low_space, failed;
};

/*
 * Open the directories and lock them: SM_E_BUSY when another process has the lock, SM_E_NOTFOUND
 * and others as the system says. Then look at the head of each segment: SM_E_NOTSUP when one has
 * another format, or records of a table that this program does not know; the diag names the file,
 * what it has and what this program has. Nothing was changed then. The conf is copied, its strings
 * too.
 */
int qm_log_open(const struct qm_log_conf *conf, struct qm_log **out) SM_MUST_CHECK;
/*
 * Waits until all that was appended is written (unless the log failed or has no space), closes,
 * unlocks, frees. Nothing may use the log in a helper thread any more.
 */
void qm_log_close(struct qm_log **log);

/*
 * Read all segments; `cb` gets each record in order of lsn and gives 0, or an error that ends the
 * replay. `body` is valid during the call. Damage is reported and stepped over, a torn tail is
 * normal. SM_E_IO: a segment is unreadable (starting without it could lose mail: try later);
 * SM_E_FULL: damaged bytes could not be set aside.
 */
typedef int qm_log_record_cb(void *arg, uint64_t lsn, struct qm_loc loc, uint16_t type,
                             struct sm_str body);
int qm_log_replay(struct qm_log *log, qm_log_record_cb *cb, void *arg) SM_MUST_CHECK;

/* Once, after replay, with the loop and the helpers (offload.h) running or about to: opens a fresh
 * segment, starts the commit thread. Blocks. */
int qm_log_start(struct qm_log *log) SM_MUST_CHECK;

/*
 * Append one record, at most qm_log_record_max() bytes (asserted). Gives its lsn; *loc (may be
 * NULL) is its place, to be read once it is durable. Never blocks. After a failure of the log: an
 * lsn that never becomes durable.
 */
uint64_t qm_log_append(struct qm_log *log, uint16_t type, struct sm_str body, struct qm_loc *loc);
/*
 * The same for a record that nobody waits for: it goes with the next one that somebody does, and
 * after QM_LOG_LAZY_MS by itself. So a result never keeps the disk busy when a client wants it.
 */
uint64_t qm_log_append_lazy(struct qm_log *log, uint16_t type, struct sm_str body,
                            struct qm_loc *loc);
size_t qm_log_record_max(const struct qm_log *log);
/* Everything up to this lsn in this log is on stable storage. Any thread. */
uint64_t qm_log_durable(const struct qm_log *log);
/* Bytes appended and not yet durable: what slows the caller's clients down. */
size_t qm_log_pending_bytes(struct qm_log *log);
/* How many other transactions are about to append: while there are any, a commit waits
 * max_commit_delay_us for company. */
void qm_log_expect(struct qm_log *log, unsigned open_transactions);
/* Wake the commit thread now. The loop does so by itself before each sleep. */
void qm_log_kick(struct qm_log *log);

/*
 * Block until all that was appended is durable, making segments as needed: for those who append
 * much before the loop runs. 0; SM_E_FULL: no further segment can be had, the rest stays pending;
 * what the log failed with.
 */
int qm_log_flush(struct qm_log *log) SM_MUST_CHECK;

/*
 * Which segments are still needed. A segment with n holds is freed after n drops, when it is the
 * oldest and all its drops are durable: `settled_lsn` is the record of this log that makes the
 * dropped one obsolete (done, moved, copied forward).
 */
void qm_log_hold(struct qm_log *log, struct qm_loc loc);
void qm_log_drop(struct qm_log *log, struct qm_loc loc, uint64_t settled_lsn);
/*
 * Segments that were there at start stay until this: what was open in those up to `seq`
 * (UINT32_MAX: all) is held, settled, or copied forward by records up to `lsn`.
 */
void qm_log_old_done(struct qm_log *log, uint32_t seq, uint64_t lsn);
/* The oldest segment that holds something back, with its holds: the one to copy forward. False:
 * only the current one is there. */
bool qm_log_oldest(const struct qm_log *log, uint32_t *seq, uint32_t *holds);
bool qm_log_low_space(const struct qm_log *log);
/* Would a record of so many bytes go into a segment that is there already, and is a further one to
 * be had? Else it might wait for as long as the disk is full. */
bool qm_log_room(struct qm_log *log, size_t bytes);
/* The same, but the reserve may be used: for what makes room. */
bool qm_log_fits(struct qm_log *log, size_t bytes);
void qm_log_stat(struct qm_log *log, struct qm_log_stat *st);

/*
 * Read a durable record back: `body` gets its bytes (its maximum must allow them). The caller holds
 * the segment meanwhile. Blocking, any thread. SM_E_CORRUPT: the batch is damaged or no such record
 * is there; SM_E_NOTFOUND: no such segment.
 */
int qm_log_read(const struct qm_log *log, struct qm_loc loc, uint64_t *lsn, uint16_t *type,
                struct sm_buf *body) SM_MUST_CHECK;
/* All durable records of one segment, as in replay but without report of damage. Blocking, any
 * thread. */
int qm_log_scan(const struct qm_log *log, uint32_t seq, qm_log_record_cb *cb,
                void *arg) SM_MUST_CHECK;

#endif
