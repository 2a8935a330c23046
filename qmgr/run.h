/*
 * Mail that waits: for a queue run, or until somebody asks for it. Runs: by the schedule, by an
 * operator, by a customer (ETRN).
 *
 * What waits at the beginning of a run is tried once. What fails for now waits for the next run, or
 * for the next who asks; what comes meanwhile does the same.
 */
#ifndef QM_RUN_H
#define QM_RUN_H

#include "libsm/msg.h"
#include "libsm/str.h"

struct qm;
struct qm_edbc_entry;
struct qm_rcpt;
struct qm_txn;
struct qm_try;

/* ---- runs (run.c) ---- */

enum qm_run_ours { QM_RUN_NOT_OURS, QM_RUN_OURS, QM_RUN_UNKNOWN /* smar did not say */ };
struct qm_run_done {
	size_t mails, rcpts;   /* whose time has come by this run */
	bool waited;           /* something of it was there: it waited, or a former run has it */
	enum qm_run_ours ours; /* is mail for this domain to wait (smar's on_demand)? */
	int64_t took_ms;
};
typedef void qm_run_cb(void *arg, const struct qm_run_done *done);

struct qm_run_ask {
	struct sm_str dest; /* a domain; "@domain": and all below it; empty: all */
	bool asked_for;     /* with `dest` empty: also what waits until it is asked for */
	const char *by;     /* static: "schedule", "operator", "client": for the log */
	uint32_t uid;
	qm_run_cb *cb; /* once, on the loop, never before qm_run returns; NULL: nobody waits */
	void *arg;
};
/* One run after the other, each in slices. SM_E_SYNTAX: no domain; SM_E_BUSY: too many wait. */
int qm_run(struct qm *q, const struct qm_run_ask *ask) SM_MUST_CHECK;
void qm_run_forget(struct qm *q, const void *arg); /* who asked has gone */

int64_t qm_run_next_s(const struct qm *q); /* wall; the schedule's next; QM_NO_RUN: there is none */
int64_t qm_run_last_s(const struct qm *q); /* wall; of all that waits for one; 0: none so far */

void qm_run_open(struct qm *q);
void qm_run_close(struct qm *q);
void qm_run_reload(struct qm *q);

/* smar may have another table of domains: ask it for those that something waits for (run_check.c).
 * It is asked now and then in any case. */
void qm_run_check(struct qm *q);

/* ---- what waits (run_wait.c) ---- */

/* Recipients of a transaction that goes nowhere before a run: put off. True: there was one. */
bool qm_run_catch(struct qm *q, struct qm_txn *txn);
/* smar says that mail for this recipient waits. qm_progress is the caller's. */
void qm_run_put_off(struct qm *q, struct qm_rcpt *r, enum sm_wait wait);
/* It has a way: whether it waits again if nothing comes of it is what on_demand says by now. */
void qm_run_routed(struct qm *q, struct qm_rcpt *r, const struct sm_msg_route *m);
/* Nothing came of a try: true, and the run is over for it, if it waits again. */
bool qm_run_missed(struct qm_rcpt *r, const struct qm_try *t);
/* Flags of a recipient of a child, whose parent has its run. */
uint8_t qm_run_inherited(const struct qm_rcpt *parent, uint8_t deliver);

/* An entry of the index that is due: does all of it wait on? Then it is parked: true. */
bool qm_run_entry(struct qm *q, const struct qm_edbc_entry *e, int64_t now_s);
/* A transaction that was read back: what the index knows of its waiting. True: a run has begun. */
bool qm_run_loaded(struct qm *q, struct qm_txn *txn, const struct qm_edbc_entry *e);
/* A recipient that waits, and is NEW or DEFERRED: is there something to do now? */
bool qm_run_due(struct qm *q, struct qm_rcpt *r, int64_t now_s);

#endif
