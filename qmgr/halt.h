/*
 * What follows when an operator stops or resumes something: mail that waits for a suspended
 * destination is put off, and comes back when that is over.
 */
#ifndef QM_HALT_H
#define QM_HALT_H

#include "qmgr/suspend.h"

struct qm_edbc_entry;
struct qm_route;
struct qm_rcpt;
struct sm_msg_host;

int qm_halt_open(struct qm *q) SM_MUST_CHECK;
void qm_halt_close(struct qm *q);

/*
 * `cb(arg)` on the loop when it is durable: once, NULL: nobody wants to know. In effect at once.
 * SM_E_SYNTAX: no destination; SM_E_FULL: too many; SM_E_NOTFOUND: there is nothing to resume.
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
/* What stops mail for this domain, host name or address literal; NULL: nothing. */
const struct qm_suspension *qm_halted(const struct qm *q, struct sm_str dest);
const struct qm_suspension *qm_halted_host(const struct qm *q, const struct sm_msg_host *h);
/*
 * Does this recipient, whose route has these hosts, have to wait for an operator? Then it is
 * settled as deferred, without a try: true. qm_progress is the caller's.
 */
bool qm_halt_catch(struct qm *q, struct qm_rcpt *r, const struct sm_msg_host *hosts,
                   uint32_t count);
/* An entry of the index that is due: is everything in it for suspended destinations? Then it was
 * put off. */
bool qm_halt_entry(struct qm *q, const struct qm_edbc_entry *e);

#endif
