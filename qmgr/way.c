/*
 * The ways of a right hand side (of the mailertable, or of a listener's `route`), one after the
 * other within one attempt. Loop thread.
 *
 * Which way a mail takes is smar's to say; here is remembered which one it is on. Invariant: a way
 * is left only for one behind it, so an attempt has at most as many tries as there are ways, and
 * ends with one outcome. Nothing of it is on disk: after a restart the attempt begins anew.
 */
#include "qmgr/now.h"

void qm_way_tell(const struct qm_rcpt *r, struct sm_msg_route_get *m)
{
	m->rcpts = r->txn->rcpt_count;
	m->size = r->txn->size;
	m->way = r->way;
	if (r->tries > 0 || r->last_try_s > 0)
		m->flags |= SM_ROUTE_AGAIN;
}

void qm_way_take(struct qm_rcpt *r, const struct sm_msg_route *m)
{
	/* Never back, whatever smar says: an attempt ends. */
	r->other_way = m->other_way != 0 && m->way >= r->way && m->way < UINT8_MAX;
	r->way = m->way;
}

/* Not while somebody may have taken it (it would come twice), nor for trouble that all ways share,
 * nor against an operator. */
static bool may_go_on(const struct qm *q, const struct qm_rcpt *r, const struct qm_try *t)
{
	return t->outcome == SM_OUTCOME_TEMP && !t->local && !t->unsure && r->other_way &&
	       r->mark == QM_MARK_NONE && !(r->flags & QM_RCPT_HELD) && !qm_now_over(r) &&
	       !q->stopping;
}

bool qm_way_next(struct qm *q, struct qm_rcpt *r, const struct qm_try *t)
{
	bool on = may_go_on(q, r, t);

	r->other_way = false;
	if (!on) {
		r->way = 0;
		return false;
	}
	sm_log(SM_INFO, "qm.way",
	       "ss_ta=%I rcpt=<%S> rcpt_idx=%u way=%u stat=failed xdelay=%?m host=%?S reply=%u "
	       "text=%S",
	       r->txn->id, r->addr, r->index, r->way + 1U, t->took_ms, t->host, t->code, t->text);
	r->way++;
	/* They wait for each other on the next way as they did on this one. */
	if (!sm_list_linked(&r->txn->hold))
		r->txn->hold_until_ms = 0;
	qm_rcpt_set(r, QM_RCPT_NEW);
	return true;
}
