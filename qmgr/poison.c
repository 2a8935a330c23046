/*
 * Mail that crashes whoever works on it. A worker that dies names the request it was at
 * (libsm/last_words.h); the first time its recipients are only suspects and tried again, the second
 * time they are held until an operator has looked. Everything else that was at that worker flows.
 *
 * Invariant: a recipient is held here only after two crashes that named it.
 */
#include "qmgr/qm.h"

void qm_suspect(struct qm *q, struct qm_rcpt *r, struct sm_str who)
{
	struct qm_try t = {
	    .outcome = SM_OUTCOME_TEMP, .code = 451, .text = who, .host = SM_STR("")};

	if ((r->flags & QM_RCPT_SUSPECT) == 0) {
		r->flags |= QM_RCPT_SUSPECT;
		sm_log(SM_WARN, "qm.suspect", "ss_ta=%I rcpt=<%S> rcpt_idx=%u why=%S", r->txn->id,
		       r->addr, r->index, who);
		qm_rcpt_set(r, QM_RCPT_NEW);
		return;
	}
	r->flags |= QM_RCPT_HELD;
	sm_log(SM_CRIT, "qm.poison", "ss_ta=%I rcpt=<%S> rcpt_idx=%u why=%S stat=held", r->txn->id,
	       r->addr, r->index, who);
	t.local = true;
	qm_settle_rcpt(q, r, &t);
}
