/*
 * What operators do to many transactions at once: hold, release, remove, bounce, requeue, and try
 * now. Loop thread, a little each turn.
 *
 * An act hits what its filter chooses when its turn comes, and nothing that came later; all of it
 * or, when qmgr dies before the answer, maybe nothing. Acts take turns in the order they were asked
 * for.
 */
#ifndef QM_BULK_H
#define QM_BULK_H

#include "qmgr/marks.h"

struct qm;
struct qm_filter;

struct qm_bulk_done {
	int err;            /* 0: done; then it lasts */
	const char *diag;   /* why not */
	size_t txns, rcpts; /* that were chosen */
	int64_t took_ms;
};
typedef void qm_bulk_cb(void *arg, const struct qm_bulk_done *done);

struct qm_bulk_ask {
	enum qm_mark_verb
	    verb; /* QM_MARK_NONE: try now what waits for its time; leaves no record */
	struct qm_filter *filter; /* taken over, also when it is refused */
	struct sm_str text;       /* the filter as it was asked for, for the log; copied */
	struct sm_str reason;     /* copied, cut to 200 bytes */
	uint32_t uid;
	bool dry_run;   /* only count */
	qm_bulk_cb *cb; /* the answer, later, on the loop; once */
	void *arg;
};

int qm_bulk_open(struct qm *q) SM_MUST_CHECK;
void qm_bulk_close(struct qm *q);

/* SM_E_BUSY: too many wait already. */
int qm_bulk_begin(struct qm *q, const struct qm_bulk_ask *ask) SM_MUST_CHECK;
/* Who asked has gone: acts with this `arg` go on, nobody is told. */
void qm_bulk_forget(struct qm *q, const void *arg);

/* ---- for the other parts of qmgr ---- */

/* Is an act under way? */
bool qm_bulk_busy(const struct qm *q);
/* Is one choosing what it will hit? Then nothing is read back from DEFEDB. */
bool qm_bulk_choosing(const struct qm *q);
/* A transaction entered the index of DEFEDB. */
void qm_bulk_entered(struct qm *q, struct sm_id id);
/*
 * A recipient is back from smar or smtpc, undelivered: did an operator act on it meanwhile? True:
 * it goes no further, its state is changed; qm_progress is the caller's.
 */
bool qm_bulk_caught(struct qm *q, struct qm_rcpt *r);
/* An operator's act on a recipient that is in no list and not at smar or smtpc: changes and records
 * it, logs it. qm_progress is the caller's. */
void qm_bulk_apply(struct qm *q, struct qm_rcpt *r, const struct qm_act *act);
/* The same for what waited with this verb until it was read back. */
void qm_bulk_apply_late(struct qm *q, struct qm_rcpt *r, enum qm_mark_verb verb);
/* May the mark on this transaction be forgotten? For qm_marks_prune; arg is the struct qm. */
bool qm_bulk_needed(void *q, struct sm_id ta);

#endif
