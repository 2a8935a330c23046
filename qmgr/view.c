/*
 * Views: a transaction of the active queue or of the index of DEFEDB in the one form that operators
 * ask about. Nothing is changed here.
 */
#include "qmgr/view.h"

#include "qmgr/atoms.h"

const char *qm_view_state_word(enum qm_view_state s)
{
	static const char *const words[] = {"active",    "deferred", "held",     "failed",
	                                    "delivered", "queued",   "on_demand"};

	return words[s];
}

static enum qm_view_state waiting(enum sm_wait wait, bool run)
{
	return wait == SM_WAIT_NO || run ? QM_VIEW_DEFERRED
	       : wait == SM_WAIT_RUN     ? QM_VIEW_QUEUED
	                                 : QM_VIEW_ON_DEMAND;
}

static enum qm_view_state state_of(const struct qm_rcpt *r)
{
	switch (r->state) {
	case QM_RCPT_ROUTING:
	case QM_RCPT_EXPANDING:
	case QM_RCPT_READY:
	case QM_RCPT_DELIVERING:
		return QM_VIEW_ACTIVE;
	case QM_RCPT_FAILED:
		return r->flags & QM_RCPT_HELD ? QM_VIEW_HELD : QM_VIEW_FAILED;
	case QM_RCPT_DELIVERED:
	case QM_RCPT_RELAYED:
	case QM_RCPT_EXPANDED:
		return QM_VIEW_DELIVERED;
	case QM_RCPT_NEW:
		return r->flags & QM_RCPT_HELD ? QM_VIEW_HELD : QM_VIEW_ACTIVE;
	default:
		return r->flags & QM_RCPT_HELD
		           ? QM_VIEW_HELD
		           : waiting(qm_wait_of(r->flags), r->flags & QM_RCPT_RUN);
	}
}

static void split(struct sm_str addr, struct qm_view_rcpt *out)
{
	ptrdiff_t at = sm_str_rchr(addr, '@');

	out->local = at < 0 ? addr : sm_str_head(addr, (size_t)at);
	out->domain = at < 0 ? SM_STR("") : sm_str_from(addr, (size_t)at + 1);
}

void qm_view_of_txn(const struct qm_txn *txn, struct sm_arena *a, struct qm_view *v)
{
	char reason[QM_REASON_MAX];

	*v = (struct qm_view){
	    .id = txn->id,
	    .sender = txn->sender,
	    .size = txn->size,
	    .received_s = txn->received_s,
	    .active = true,
	    .rcpts = sm_arena_must(a, txn->open * sizeof(*v->rcpts)),
	};
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		const struct qm_rcpt *r = &txn->rcpts[i];
		struct qm_view_rcpt *out = &v->rcpts[v->rcpt_count];

		if (r->state == QM_RCPT_SETTLED)
			continue;
		v->rcpt_count++;
		*out = (struct qm_view_rcpt){
		    .host = r->host,
		    .index = r->index,
		    .tries = r->tries,
		    .code = r->code,
		    .state = state_of(r),
		};
		split(r->addr, out);
		out->reason = qm_reason(r->code, r->text, reason);
		out->reason = out->reason.n ? sm_arena_str(a, out->reason) : SM_STR("");
	}
}

static struct qm_view_atom atom(const struct qm_atoms *a, uint32_t number)
{
	return (struct qm_view_atom){number, qm_atoms_stamp(a, number)};
}

static enum qm_view_state entry_state(const struct qm_edbc_rcpt *r)
{
	return r->delivered                ? QM_VIEW_DELIVERED
	       : r->mark == QM_MARK_BOUNCE ? QM_VIEW_FAILED
	       : r->held                   ? QM_VIEW_HELD
	       : r->failed                 ? QM_VIEW_FAILED
	                                   : waiting(r->wait, r->run);
}

void qm_view_of_entry(const struct qm_edbc *e, const struct qm_edbc_entry *x, struct sm_arena *a,
                      struct qm_view *v)
{
	const struct qm_atoms *names = qm_edbc_names(e), *reasons = qm_edbc_reasons(e);
	struct qm_edbc_reader r = qm_edbc_read(e, x);
	struct qm_edbc_rcpt rcpt;

	*v = (struct qm_view){
	    .id = qm_edbc_id(x),
	    .sender = qm_atoms_text(names, r.sender),
	    .sender_atom = atom(names, r.sender),
	    .size = r.size,
	    .received_s = r.received_s,
	    .next_try_s = qm_edbc_all_waits(x) ? QM_EDBC_NEVER : qm_edbc_next_try(x),
	    .rcpts = sm_arena_must(a, r.left * sizeof(*v->rcpts)),
	};
	while (qm_edbc_read_rcpt(&r, &rcpt)) {
		struct qm_view_rcpt *out = &v->rcpts[v->rcpt_count];

		if (rcpt.mark == QM_MARK_REMOVE)
			continue;
		v->rcpt_count++;
		*out = (struct qm_view_rcpt){
		    .local = rcpt.local,
		    .domain = qm_atoms_text(names, rcpt.domain),
		    .host = qm_atoms_text(names, rcpt.host),
		    .reason = qm_atoms_text(reasons, rcpt.reason),
		    .index = rcpt.index,
		    .tries = rcpt.tries,
		    .state = entry_state(&rcpt),
		    .domain_atom = atom(names, rcpt.domain),
		    .host_atom = atom(names, rcpt.host),
		    .reason_atom = atom(reasons, rcpt.reason),
		};
		out->code = qm_reason_code(out->reason);
	}
}
