/*
 * What every smtps is told: how much it may have open, and why nothing new is taken when that is
 * so. Reads the state of the queue; incoming.c sends it.
 */
#include "qmgr/qm.h"

static const struct {
	uint16_t code;
	const char *text;
} replies[] = {
    [QM_TAKES] = {0, ""},
    [QM_NOT_READY] = {451, "4.3.2 queue is not ready, try again later"},
    [QM_STOPPED] = {451, "4.3.2 not accepting mail now"},
    [QM_NO_SPACE] = {452, "4.3.1 insufficient system storage"},
    [QM_FULL] = {452, "4.3.1 queue is full"},
};

enum qm_refusal qm_credit_refusal(const struct qm *q)
{
	if (!q->running || q->stopping)
		return QM_NOT_READY;
	if (!qm_halt_accepting(q))
		return QM_STOPPED;
	if (q->resources.v[QM_RES_DISK].full || qm_store_low(q->store))
		return QM_NO_SPACE;
	return q->resources.credit == 0 ? QM_FULL : QM_TAKES;
}

struct sm_msg_verdict qm_refusal_reply(enum qm_refusal why)
{
	return (struct sm_msg_verdict){.code = replies[why].code,
	                               .text = sm_str(replies[why].text)};
}

bool qm_credit_measure(struct qm *q, size_t committing)
{
	struct qm_resources *r = &q->resources;

	qm_resource_set(r, QM_RES_IQDB, committing, (uint64_t)q->conf->iqdb_max_entries);
	qm_resource_set(r, QM_RES_AQ, q->txns.rcpts, (uint64_t)q->conf->aq_max_entries);
	qm_resource_set(r, QM_RES_EDBC, qm_edbc_count(q->edbc),
	                (uint64_t)q->conf->edbc_max_entries);
	if (!qm_resources_settle(r))
		return false;
	if (r->credit == 100)
		sm_log(SM_NOTICE, "qm.credit", "percent=100");
	else
		sm_log(SM_WARN, "qm.credit", "percent=%u scarcest=%s used=%u", r->credit,
		       qm_resource_name(r->scarcest), r->v[r->scarcest].percent);
	return true;
}

/* So much of `max` as resources allow, and never nothing: that is said by the code. */
static uint32_t share(const struct qm *q, int64_t max)
{
	return (uint32_t)SM_MAX(1, max * q->resources.credit / 100);
}

uint32_t qm_credit_waiting(const struct qm *q)
{
	return (uint32_t)SM_MIN(q->txns.rcpts + qm_edbc_rcpt_count(q->edbc), (size_t)UINT32_MAX);
}

void qm_credit(const struct qm *q, enum qm_refusal why, size_t servers, struct sm_msg_credit *out)
{
	int64_t iqdb = q->conf->iqdb_max_entries / (int64_t)SM_MAX((size_t)1, servers);

	*out = (struct sm_msg_credit){
	    .max_sessions = share(q, q->conf->smtps.max_sessions),
	    .max_transactions = share(q, q->conf->smtps.max_transactions),
	    .max_rcpts = share(q, SM_MIN(q->conf->smtps.max_rcpts, iqdb)),
	    .code = replies[why].code,
	    .text = sm_str(replies[why].text),
	    .waiting = qm_credit_waiting(q),
	};
}
