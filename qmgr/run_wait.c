/*
 * Recipients that wait for a run: how they begin to, how they are tried, how they wait again. Loop
 * thread.
 *
 * What a mail waits for follows from the way it came (txn.deliver), or from where it goes (smar's
 * on_demand, asked before any name server is). Its next_try_s is no time for a try then, but when
 * its sender is to be told, or when it is given up: there is no other timer. In the index it stands
 * as deferred mail does; what is due there too early is put off again without being read back.
 */
#include "libsm/log.h"
#include "libsm/rand.h"
#include "libsm/time.h"
#include "qmgr/atoms.h"
#include "qmgr/run_int.h"

#define WAIT_FLAGS (QM_RCPT_QUEUED | QM_RCPT_ASKED)

static uint8_t flags_of(enum sm_wait wait)
{
	return wait == SM_WAIT_RUN ? QM_RCPT_QUEUED : wait == SM_WAIT_ASKED ? QM_RCPT_ASKED : 0;
}

/* ---- putting off ---- */

void qm_run_put_off(struct qm *q, struct qm_rcpt *r, enum sm_wait wait)
{
	r->flags = (uint8_t)((r->flags & ~(WAIT_FLAGS | QM_RCPT_RUN)) | flags_of(wait));
	/* What a server said to a former try says more. */
	if (r->tries == 0)
		qm_rcpt_note(r, 451,
		             wait == SM_WAIT_RUN ? SM_STR("4.4.0 waits for the next queue run")
		                                 : SM_STR("4.4.0 waits until it is asked for"),
		             SM_STR(""), 0);
	qm_settle_wait(q, r);
	qm_rcpt_set(r, QM_RCPT_DEFERRED);
	sm_log(SM_INFO, "qm.wait", "ss_ta=%I rcpt=<%S> rcpt_idx=%u wait=%s", r->txn->id, r->addr,
	       r->index, wait == SM_WAIT_RUN ? "queue_run" : "being_asked");
}

bool qm_run_catch(struct qm *q, struct qm_txn *txn)
{
	enum sm_wait wait = qm_deliver_wait(txn->deliver);
	bool any = false;

	for (unsigned i = 0; wait != SM_WAIT_NO && i < txn->rcpt_count; i++) {
		struct qm_rcpt *r = &txn->rcpts[i];

		if (r->state != QM_RCPT_NEW || sm_list_linked(&r->link) || (r->flags & QM_RCPT_RUN))
			continue;
		qm_run_put_off(q, r, wait);
		any = true;
	}
	return any;
}

/* ---- being tried ---- */

/* Hosts that were dead before the line was up. */
static void revive(struct qm *q, const struct sm_msg_route *m)
{
	for (uint32_t i = 0; i < m->hosts_count; i++) {
		const struct qm_host *x = qm_host_find(&q->sched.hosts, &m->hosts[i].sa);

		if (x && x->dead_until_ms > 0 && x->failed_ms <= q->runs->began_ms)
			(void)qm_sched_revive_host(&q->sched, &m->hosts[i].sa);
	}
}

void qm_run_routed(struct qm *q, struct qm_rcpt *r, const struct sm_msg_route *m)
{
	enum sm_wait wait = qm_deliver_wait(r->txn->deliver);

	if (!(r->flags & (WAIT_FLAGS | QM_RCPT_RUN)))
		return;
	if (wait == SM_WAIT_NO)
		wait = (enum sm_wait)SM_MIN(m->wait, (uint8_t)SM_WAIT_ASKED);
	if (r->flags & QM_RCPT_RUN)
		revive(q, m);
	r->flags = (uint8_t)((r->flags & ~WAIT_FLAGS) | flags_of(wait));
	if (wait == SM_WAIT_NO)
		r->flags &= (uint8_t)~QM_RCPT_RUN; /* as all mail from now on */
}

bool qm_run_missed(struct qm_rcpt *r, const struct qm_try *t)
{
	/* Trouble of our own passes, and was no try. */
	if (!(r->flags & WAIT_FLAGS) || ((r->flags & QM_RCPT_RUN) && t->local))
		return false;
	r->flags &= (uint8_t)~QM_RCPT_RUN;
	return true;
}

uint8_t qm_run_inherited(const struct qm_rcpt *parent, uint8_t deliver)
{
	uint8_t wait = flags_of(qm_deliver_wait(deliver));

	return (parent->flags & QM_RCPT_RUN) && wait ? (uint8_t)(wait | QM_RCPT_RUN) : 0;
}

/* ---- in the index ---- */

static bool is_dead(const struct qm *q, struct sm_str domain)
{
	int64_t now_ms = sm_loop_now_ms();

	return qm_blocked_until(&q->blocked, domain, false, now_ms, NULL) > 0 &&
	       qm_blocked_until(&q->blocked, domain, true, now_ms, NULL) == 0;
}

/* Its next hops have died since its run began: that was its try, by proxy. */
static void end_runs(struct qm *q, const struct qm_edbc_entry *e)
{
	struct qm_edbc_reader in = qm_edbc_read(q->edbc, e);
	struct qm_edbc_rcpt x;

	while (q->blocked.by_domain.count > 0 && qm_edbc_read_rcpt(&in, &x)) {
		struct sm_str domain = qm_atoms_text(qm_edbc_names(q->edbc), x.domain);

		if (x.run && is_dead(q, domain))
			(void)qm_edbc_run_over(q->edbc, qm_edbc_id(e), domain);
	}
}

bool qm_run_entry(struct qm *q, const struct qm_edbc_entry *e, int64_t now_s)
{
	int64_t most_s = q->conf->retry_max_ms / 1000, first_s = INT64_MAX;
	struct qm_edbc_reader in;
	struct qm_edbc_rcpt x;

	if (!qm_edbc_has_waits(e))
		return false;
	end_runs(q, e);
	if (!qm_edbc_all_waits(e))
		return false;
	in = qm_edbc_read(q->edbc, e);
	while (qm_edbc_read_rcpt(&in, &x)) {
		if (x.held)
			continue;
		if (x.tell_s <= now_s)
			return false;
		first_s = SM_MIN(first_s, x.tell_s);
	}
	/* Not further than deferred mail is: the clock may be set. */
	most_s += (int64_t)(sm_rand_u64() % (uint64_t)(most_s / 10 + 1));
	return qm_edbc_set(q->edbc, qm_edbc_id(e), SM_MIN(first_s, now_s + most_s));
}

bool qm_run_loaded(struct qm *q, struct qm_txn *txn, const struct qm_edbc_entry *e)
{
	struct qm_edbc_reader in = qm_edbc_read(q->edbc, e);
	struct qm_edbc_rcpt x;
	bool any = false;

	while (qm_edbc_has_waits(e) && qm_edbc_read_rcpt(&in, &x)) {
		struct qm_rcpt *r = qm_txn_rcpt(txn, x.index);

		if (x.wait == SM_WAIT_NO || r == NULL || r->state != QM_RCPT_NEW)
			continue;
		r->flags = (uint8_t)((r->flags & ~(WAIT_FLAGS | QM_RCPT_RUN)) | flags_of(x.wait) |
		                     (x.run ? QM_RCPT_RUN : 0));
		if (x.run)
			r->next_try_s = 0;
		any |= x.run;
	}
	return any;
}

/* Nobody is told that a mail could not be delivered that was never tried: when its time is up it
 * has a run of its own. */
bool qm_run_due(struct qm *q, struct qm_rcpt *r, int64_t now_s)
{
	if (r->next_try_s > now_s)
		return false;
	if (now_s - r->txn->queued_s >= q->conf->return_timeout_ms / 1000)
		r->flags |= QM_RCPT_RUN;
	return true;
}
