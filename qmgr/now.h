/*
 * Transactions whose client waits for what becomes of each recipient (SM_DELIVER_NOW).
 *
 * They are journaled as any, and otherwise different: each recipient gets one attempt, none is ever
 * deferred or in a DSN, and when nobody waits any more they are over, whatever is not delivered.
 * While one is open, the states of its recipients mean: DELIVERED, EXPANDED, SETTLED: 2yz; FAILED:
 * 5yz; DEFERRED: 4yz, and the client keeps it.
 */
#ifndef QM_NOW_H
#define QM_NOW_H

#include "qmgr/qm.h"

/* What replay knows to be delivered of such transactions: `found` is taken over. */
void qm_now_open(struct qm *q, struct qm_recovered *found);
void qm_now_close(struct qm *q);
void qm_now_reload(struct qm *q);

/* The commit of `txn` is durable: it begins when its client, of session `sess`, is said to wait. */
void qm_now_begin(struct qm *q, struct qm_txn *txn, struct sm_id sess);
/* smtps says so (ta_wait); it gets its answer, now or later. */
int qm_now_wait(struct qm *q, struct sm_peer *peer, const struct sm_frame *f) SM_MUST_CHECK;
/* The session is over: nobody waits for what came by it. */
void qm_now_gone(struct qm *q, struct sm_id sess);

/*
 * For those who work on recipients; txn->now is set. `decide`: by the outcome of a try, which
 * qm_settle_rcpt has noted; `known`: others of its key wait for that. `over`: no attempt may be
 * begun any more; then it is put off by qm_settle_rcpt with qm_now_try_late.
 */
void qm_now_decide(struct qm *q, struct qm_rcpt *r, const struct qm_try *t);
void qm_now_known(struct qm *q, struct qm_rcpt *r, const struct qm_try *t);
bool qm_now_over(const struct qm_rcpt *r);
struct qm_try qm_now_try_late(void);
/* How long anew things may be begun for it: for task.within_ms; 0: nobody waits, as for any mail.
 */
uint32_t qm_now_within_ms(const struct qm_txn *txn);
/* Nothing in work any more? Then tell the client. True: all is told, every recipient is settled,
 * and txn->now is NULL: it is to be ended. */
bool qm_now_progress(struct qm *q, struct qm_txn *txn) SM_MUST_CHECK;

size_t qm_now_count(const struct qm *q); /* transactions whose clients wait */
size_t qm_now_remembered(const struct qm *q);

#endif
