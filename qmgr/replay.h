/*
 * What the two logs say, in memory: for the start of qmgr and its tests.
 *
 * Of the journal whole transactions are kept, in the table; of DEFEDB only index entries, and the
 * changes that came after the snapshots. The newer lsn of a transaction is right.
 */
#ifndef QM_REPLAY_H
#define QM_REPLAY_H

#include "qmgr/store_int.h"

#define QM_ENDED_MAX 100000

/* Of a content that is not its mail's own file; all zero: it is. As cdb_place, but a content in a
 * segment is small, and of a file nobody asks for the size. */
struct qm_replay_place {
	uint64_t counter; /* of its id, as proc */
	uint32_t offset, size;
	uint8_t proc;
};
/* Made by qmgr, and uses the content of another one. */
struct qm_replay_child {
	struct sm_id id, of;
	bool dsn;
};

struct qm_replay {
	struct qm_store *st;
	struct qm_txn_table *txns; /* transactions of the journal */
	struct qm_edbc *edbc;      /* transactions of DEFEDB */
	struct sm_arena arena;     /* of the record being looked at */
	struct sm_hash touched;    /* transactions in DEFEDB with changes after their snapshot */
	struct sm_hash overs;      /* transactions that IBDB says are over also in DEFEDB */
	struct qm_replay_place *places;   /* by the numbers of index entries (replay_contents.c) */
	struct qm_replay_child *children; /* that were seen, some over since */
	size_t place_cap, child_count, child_cap;
	uint64_t next_counter; /* ids below it may be in use */
	uint64_t birth;        /* as the newest grant has it */
	struct sm_id *ended;   /* the newest QM_ENDED_MAX of `ended_count`, as a ring */
	size_t ended_count;
	const struct qm_conf *conf;
	struct qm_memory *told; /* for qm_recovered */
};

void qm_replay_init(struct qm_replay *rp, struct qm_store *st, struct qm_txn_table *txns,
                    struct qm_edbc *edbc);
void qm_replay_fini(struct qm_replay *rp);
/* Read both logs of rp->st, which are open and not started. Blocks. */
int qm_replay_logs(struct qm_replay *rp) SM_MUST_CHECK;

/* Did changes follow the snapshot of this deferred transaction? */
bool qm_replay_touched(const struct qm_replay *rp, struct sm_id id);
/* Apply them to what was read back. */
void qm_replay_apply(struct qm_replay *rp, struct qm_txn *txn);
/* One of those that IBDB says are over: DEFEDB may not say it yet. False: there is none left. */
bool qm_replay_next_over(struct qm_replay *rp, struct sm_id *id);

/* It was put into the index: `at` is where its content is, `of` whose child it is. */
void qm_replay_saw_content(struct qm_replay *rp, struct sm_id id, const struct cdb_place *at,
                           struct sm_id of, bool dsn);
/* All was seen: count the users of segments, and of contents that open children need, in
 * rp->txns->contents. Nothing of it is remembered any more. */
void qm_replay_count_contents(struct qm_replay *rp);
void qm_replay_forget_contents(struct qm_replay *rp);

#endif
