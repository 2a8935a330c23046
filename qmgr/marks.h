/*
 * What operators did to mail that waits: acts, and the recipients that each hit, as they stand in
 * the journal until newer snapshots of the transactions have them.
 *
 * An act is written as chunks of marks with one number; it is a fact when its last chunk is
 * durable, and for ever ignored when that is missing. Each snapshot says which act is the newest
 * that is in it (txn.act), so an act concerns exactly the snapshots with a smaller number. Numbers
 * rise, also from one run to the next.
 */
#ifndef QM_MARKS_H
#define QM_MARKS_H

#include "libsm/list.h"
#include "qmgr/log.h"
#include "qmgr/txn.h"

struct qm_store;

struct qm_act {
	uint64_t number;
	enum qm_mark_verb verb;
	int64_t at_s; /* wall */
	uint32_t uid; /* who asked */
	struct sm_str reason;
};

struct qm_mark {
	uint64_t counter;
	uint16_t index; /* QM_MARK_ALL: every recipient that was open */
	uint8_t proc;
};

static inline struct sm_id qm_mark_id(const struct qm_mark *m)
{
	return (struct sm_id){m->counter, m->proc};
}

/* Marks of one record. */
struct qm_chunk {
	struct sm_list link;
	struct qm_act act; /* its reason in own memory */
	struct qm_loc loc; /* in IBDB: held; seq 0: not written yet */
	uint64_t bytes;    /* of its record */
	uint32_t part, count;
	bool last;
	struct qm_mark *marks; /* sorted; those that are still needed */
};

struct qm_marks {
	struct sm_list chunks;   /* of acts that are facts, by number of the act */
	struct sm_list *sweep;   /* the chunk of them to look at next */
	uint32_t sweep_seq;      /* the newest segment that the sweep saw in use so far */
	size_t count;            /* of their marks */
	uint64_t bytes;          /* of their records */
	uint64_t applied;        /* the newest act that all of memory has: what a snapshot says */
	uint64_t newest;         /* the newest number given */
	struct sm_list gathered; /* replay: chunks in the order they were found */
	struct qm_marks_sorted *sorted; /* replay: all marks by transaction */
	size_t sorted_count;
};

void qm_marks_init(struct qm_marks *m);
void qm_marks_fini(struct qm_marks *m);

const char *qm_mark_word(enum qm_mark_verb verb);

/* ---- while running ---- */

/* The number for a new act; its chunks are to be written before the next one is asked for. */
uint64_t qm_marks_number(struct qm_store *st);
/* So many fit into one record. */
uint32_t qm_marks_chunk_max(const struct qm_store *st);
/* Write a chunk (memory of `marks` is taken) and hold its record; durable with *lsn. Not standing
 * yet: that is qm_marks_stand, for each chunk of an act when the last one is durable. */
struct qm_chunk *qm_marks_write(struct qm_store *st, const struct qm_act *act, uint32_t part,
                                bool last, struct qm_mark *marks, uint32_t count, uint64_t *lsn);
void qm_marks_stand(struct qm_store *st, struct qm_chunk *c);
/* Of an act that will never be complete. */
void qm_marks_discard(struct qm_store *st, struct sm_list *chunks);
/* The newest standing act with this verb on this recipient; NULL: none. */
const struct qm_act *qm_marks_find(const struct qm_marks *m, struct sm_id ta, uint16_t index,
                                   enum qm_mark_verb verb);
/* The same for all recipients of a transaction at once, of[index] for each index below `count`,
 * zeroed by the caller: each chunk is looked at once. Borrowed until the loop's next turn. */
struct qm_marks_of {
	const struct qm_act *act[QM_MARK_REQUEUE + 1]; /* by verb */
};
void qm_marks_of_txn(const struct qm_marks *m, struct sm_id ta, struct qm_marks_of *of,
                     size_t count);
/*
 * Forget those marks of the next chunk that are not `needed` any more: what they did is durable
 * elsewhere. An empty chunk lets go of its record. False: that was the last chunk, the next call
 * begins anew. Not while an act is under way.
 */
typedef bool qm_marks_needed_cb(void *arg, struct sm_id ta);
bool qm_marks_sweep(struct qm_store *st, qm_marks_needed_cb *needed, void *arg);
/* Write one chunk again whose record is in segment `seq` of IBDB, pruned: false when there is none.
 * Not while an act is under way:
 * its marks would come before older ones. */
bool qm_marks_copy(struct qm_store *st, uint32_t seq, qm_marks_needed_cb *needed, void *arg);

/*
 * What the act does to a recipient that is in no list and not with a worker: changes it, not yet
 * recorded. False: nothing, it has come to its end.
 */
bool qm_mark_rcpt(struct qm_rcpt *r, const struct qm_act *act);
/* One line for a recipient that was removed or bounced; nothing for the other verbs. */
void qm_mark_log(const struct qm_rcpt *r, const struct qm_act *act);

/* ---- at start ---- */

/* A record of the journal. */
void qm_marks_replay(struct qm_marks *m, const struct qm_rec_mark *rec);
/* All were seen: forget acts without their last chunk, put the others in order. */
void qm_marks_seal(struct qm_marks *m);
/* The acts on a transaction whose snapshot has those up to `act`, oldest first. */
typedef void qm_marks_each_cb(void *arg, const struct qm_act *act, uint16_t index);
void qm_marks_each(const struct qm_marks *m, struct sm_id ta, uint64_t act, qm_marks_each_cb *cb,
                   void *arg);
/* Apply them to a transaction that is being copied: its next snapshot has them all. */
void qm_marks_fold(const struct qm_marks *m, struct qm_txn *txn);
/* Write those that are still needed into the journal of this run. Gives the lsn with which they are
 * durable, 0: there were none. */
uint64_t qm_marks_rewrite(struct qm_store *st, qm_marks_needed_cb *needed, void *arg);

#endif
