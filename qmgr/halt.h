/*
 * What follows when an operator stops or resumes something: mail that waits for a suspended
 * destination is put off, and comes back when that is over.
 */
#ifndef QM_HALT_H
#define QM_HALT_H

#include "qmgr/suspend.h"

struct qm_edbc_entry;
struct qm_rcpt;
struct sm_msg_route;

int qm_halt_open(struct qm *q) SM_MUST_CHECK;
void qm_halt_close(struct qm *q);

/*
 * `cb(arg)` on the loop when it is durable: once, NULL: nobody wants to know. In effect at once.
 * SM_E_SYNTAX: no destination; SM_E_RANGE: over already; SM_E_FULL: too many; SM_E_NOTFOUND: there
 * is nothing to resume. An empty destination: all deliveries.
 */
int qm_halt_suspend(struct qm *q, struct sm_str dest, int64_t until_s, uint32_t uid,
                    struct sm_str reason, void (*cb)(void *arg), void *arg) SM_MUST_CHECK;
int qm_halt_resume(struct qm *q, struct sm_str dest, uint32_t uid, void (*cb)(void *arg),
                   void *arg) SM_MUST_CHECK;
void qm_halt_accept(struct qm *q, bool on, uint32_t uid, struct sm_str reason,
                    void (*cb)(void *arg), void *arg);
/* Who asked has gone: nothing with this `arg` is told any more. */
void qm_halt_forget(struct qm *q, const void *arg);

/* All deliveries are stopped. */
bool qm_halt_all(const struct qm *q);
/* New mail is refused by an operator. */
bool qm_halt_accepting(const struct qm *q);
/* What stops mail for this domain, host name or address literal, or all mail; NULL: nothing. */
const struct qm_suspension *qm_halted(const struct qm *q, struct sm_str dest);

/*
 * A recipient that smar has found a way for: hosts that are suspended are taken out of it. When
 * none is left, or the domain is suspended, the recipient is settled as deferred, without a try:
 * true. qm_progress is the caller's.
 */
bool qm_halt_catch(struct qm *q, struct qm_rcpt *r, struct sm_msg_route *m);
/* An entry of the index that is due: is everything in it for suspended domains? Then it is parked
 * until one of them is resumed: true. */
bool qm_halt_entry(struct qm *q, const struct qm_edbc_entry *e);

#endif
