/*
 * What qmgr keeps on disk: records of transactions in the two logs, and what becomes possible when
 * they are durable.
 *
 * The idiom of every handler: check, change memory, write a record here (gives its lsn), act when
 * that lsn is durable. Nothing that promises something to somebody happens before. A log that
 * cannot be written ends the process: replay decides.
 */
#ifndef QM_STORE_H
#define QM_STORE_H

#include "qmgr/conf.h"
#include "qmgr/edbc.h"
#include "qmgr/log.h"
#include "qmgr/txn.h"

/* A counter never starts below wall seconds << this. */
#define QM_COUNTER_SHIFT 20

struct qm_store;

/*
 * Something that waits for a record, the first member of what the caller has allocated (sm_calloc).
 * One wait at a time for each. It is the store's until its callback; qm_store_close frees those
 * that still wait.
 */
struct qm_wait {
	struct qm_wait *next;
	uint64_t lsn;
	void (*cb)(void *arg);
	void *arg;
};

/* What replay found. */
struct qm_recovered {
	size_t
	    from_ibdb;   /* transactions that were in the journal: all are on their way to DEFEDB */
	size_t deferred; /* transactions in DEFEDB */
	size_t quarantined;    /* damaged places */
	uint64_t next_counter; /* ids below it may be in use */
	bool incomplete; /* a log is new, or was damaged: contents may be all there is of a mail */
	/* Transactions of smtps that had ended, oldest first, as far as the logs still tell:
	 * whoever committed them may have missed the answer. The caller's: sm_free. */
	struct sm_id *ended;
	size_t ended_count;
	/* What was delivered while a client waited for it; NULL: nothing. The caller's. */
	struct qm_memory *told;
};

/*
 * Opens and replays both logs (blocking; before the loop runs). Afterwards every open transaction
 * is in DEFEDB and indexed in `edbc`, due when the first of its recipients is (one never tried:
 * now); nothing is accepted or delivered before those copies are durable (qm_store_settled).
 * SM_E_BUSY: another qmgr has the queue.
 */
int qm_store_open(const struct qm_conf *conf, struct qm_txn_table *txns, struct qm_edbc *edbc,
                  struct qm_recovered *found, struct qm_store **out) SM_MUST_CHECK;
void qm_store_close(struct qm_store **st);

/* Call `cb(arg)` on the loop when all that replay copied is durable. */
void qm_store_settled(struct qm_store *st, void (*cb)(void *arg), void *arg);

/* What replay copied is durable in DEFEDB with this lsn; 0: it copied nothing. */
uint64_t qm_store_copied_lsn(const struct qm_store *st);

/* Read a deferred transaction back: strings in `body`, arrays in `a`. Blocking; for helper threads.
 * Only `log` is touched. */
int qm_store_decode_at(const struct qm_log *log, struct qm_loc loc, struct sm_buf *body,
                       struct sm_arena *a, struct qm_rec_txn *rec) SM_MUST_CHECK;

/* What operators did. */
struct qm_marks *qm_store_marks(struct qm_store *st);
struct qm_suspends *qm_store_suspends(struct qm_store *st);

struct qm_log *qm_store_ibdb(struct qm_store *st);
struct qm_log *qm_store_defedb(struct qm_store *st);

/*
 * Records. Each sets txn->last_lsn and gives it. Segments follow: a snapshot is held from the
 * moment it is written until `end`, `moved` or a newer snapshot lets go of it.
 */
uint64_t qm_store_txn(struct qm_store *st, struct qm_txn *txn,
                      struct qm_log *log); /* a snapshot; txn->log and loc become its place */
uint64_t qm_store_rcpt(struct qm_store *st,
                       const struct qm_rcpt *r); /* after a try, from its state */
uint64_t qm_store_child(struct qm_store *st, struct qm_txn *parent, struct qm_rcpt *const *settled,
                        unsigned count, struct qm_txn *child);
/* Members of an alias got `child` (NULL: there were no more). As the recipient is now. */
uint64_t qm_store_expand(struct qm_store *st, struct qm_rcpt *r, struct qm_txn *child);
/* Into txn->log as it is afterwards. */
uint64_t qm_store_end(struct qm_store *st, struct qm_txn *txn);
/* Into IBDB, for a transaction whose snapshot in DEFEDB is durable; `old` is where IBDB held it. */
uint64_t qm_store_moved(struct qm_store *st, struct qm_txn *txn, struct qm_loc old);
/* Grant counters. The newest grant is held, so that replay never gives one twice. */
uint64_t qm_store_id_block(struct qm_store *st, uint64_t first, uint32_t count, uint8_t proc,
                           pid_t pid);

/*
 * Contents whose counter is below `birth` are older than the logs, or than a damage in them: that
 * no transaction uses one proves nothing, and it must not be removed as an orphan. Set at a start
 * that finds no logs, or damage in them; 0: the logs know everything. Setting is one more record.
 */
uint64_t qm_store_birth(const struct qm_store *st);
uint64_t qm_store_set_birth(struct qm_store *st, uint64_t birth);

/*
 * Copying forward, so that old segments become free: the snapshot of a deferred transaction as read
 * back from `old` is written again and held, `old` not dropped yet: that is qm_store_copied, when
 * the copy is durable.
 */
uint64_t qm_store_copy(struct qm_store *st, struct qm_rec_txn *rec, struct qm_loc *loc);
void qm_store_copied(struct qm_store *st, struct qm_loc old, uint64_t copy_lsn);
/* The newest grant of counters again, if segment `seq` of IBDB holds it: true. */
bool qm_store_copy_id_block(struct qm_store *st, uint32_t seq);
/*
 * Is it time to copy the oldest segment of `log` forward, of which `live` snapshots are needed?
 * When the segments are a few, or less than twice what lives in them, copying would cost more than
 * it gives.
 */
bool qm_store_wasteful(struct qm_store *st, struct qm_log *log, size_t live, uint32_t *oldest_seq);

/*
 * Replay applies acts after all changes that follow the snapshot. A change that an act would undo,
 * and that came after it, needs the act in the snapshot: to be called before the change is
 * recorded.
 */
void qm_store_acts(struct qm_store *st, struct qm_txn *txn);

/*
 * While DEFEDB has no room (takeover.c). `fits`: it has, for a snapshot of this transaction.
 * `take_over`: IBDB has the transaction from now on, as it is in memory; false: that is not needed,
 * or not possible. To be asked before something is changed that is not recorded by one record.
 * `say_over`: tell DEFEDB what is over meanwhile, some of it; true: there is more.
 */
bool qm_store_fits(struct qm_store *st, const struct qm_txn *txn);
bool qm_store_take_over(struct qm_store *st, struct qm_txn *txn);
bool qm_store_say_over(struct qm_store *st);
size_t qm_store_overs(const struct qm_store *st); /* what is not yet told, nor being told */
/* Write again what segment `seq` of IBDB, the oldest, has of these, some of it; true when there was
 * any. */
bool qm_store_copy_overs(struct qm_store *st, uint32_t seq);

/* Act when `lsn` of `log`, which is not durable yet, is: from the loop, in the order of lsns. */
void qm_store_after(struct qm_store *st, struct qm_log *log, uint64_t lsn, struct qm_wait *w,
                    void (*cb)(void *arg), void *arg);

/* Bytes that wait for the disk, for back-pressure; whether a log has no room for another segment.
 */
size_t qm_store_pending(const struct qm_store *st);
bool qm_store_low(const struct qm_store *st);

#endif
