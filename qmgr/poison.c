/*
 * Mail that crashes whoever works on it. A worker that dies names the request it was at
 * (libsm/last_words.h); the first time its recipients are only suspects and tried again, the second
 * time they are held until an operator has looked. Everything else that was at that worker flows.
 *
 * Invariants: a recipient is held here only after two crashes that named it, and again after each
 * one that follows its release. What it is suspected of, and that it is held, is recorded at once,
 * with the release before it in the snapshot: replay applies acts after changes.
 */
#include "qmgr/now.h"

void qm_suspect(struct qm *q, struct qm_rcpt *r, struct sm_str who)
{
	struct qm_try t = {
	    .outcome = SM_OUTCOME_TEMP, .code = 451, .text = who, .host = SM_STR("")};

	/* Its client has to decide whether it comes again. */
	if (r->txn->now != NULL) {
		sm_log(SM_WARN, "qm.suspect", "ss_ta=%I rcpt=<%S> rcpt_idx=%u why=%S", r->txn->id,
		       r->addr, r->index, who);
		t.local = true;
		qm_settle_rcpt(q, r, &t);
		return;
	}
	if ((r->flags & QM_RCPT_SUSPECT) == 0) {
		r->flags |= QM_RCPT_SUSPECT;
		r->txn->changed = true;
		sm_log(SM_WARN, "qm.suspect", "ss_ta=%I rcpt=<%S> rcpt_idx=%u why=%S", r->txn->id,
		       r->addr, r->index, who);
		qm_rcpt_set(r, QM_RCPT_NEW);
		qm_store_rcpt(q->store, r);
		return;
	}
	qm_store_acts(q->store, r->txn);
	r->flags |= QM_RCPT_HELD;
	r->txn->changed = true;
	sm_log(SM_CRIT, "qm.poison", "ss_ta=%I rcpt=<%S> rcpt_idx=%u why=%S stat=held", r->txn->id,
	       r->addr, r->index, who);
	t.local = true;
	qm_settle_rcpt(q, r, &t);
	if (r->state == QM_RCPT_DEFERRED && r->txn->busy == 0)
		qm_store_rcpt(q->store, r); /* the move to DEFEDB may have to wait */
}
