/*
 * What a try came to, and what follows for the transaction: the one place where recipients are
 * settled and transactions end.
 *
 * Invariant: a transaction that has nothing in work either waits for a record to be durable, or
 * waits in DEFEDB; one whose client waits ends instead (now.h).
 */
#include "qmgr/now.h"

#include "libsm/rand.h"
#include "libsm/time.h"

static struct qm_retry_conf retry_conf(const struct qm *q)
{
	return (struct qm_retry_conf){
	    .min_s = q->conf->retry_min_ms / 1000,
	    .max_s = q->conf->retry_max_ms / 1000,
	    .return_s = q->conf->return_timeout_ms / 1000,
	    .delay_s = q->conf->delay_timeout_ms / 1000,
	};
}

struct qm_try qm_try_dead(const struct qm_host *host)
{
	struct qm_try t = {.outcome = SM_OUTCOME_TEMP,
	                   .code = 451,
	                   .text = SM_STR("4.4.1 no host could be reached a moment ago"),
	                   .host = SM_STR(""),
	                   .no_try = true};

	if (host != NULL && host->text[0] != '\0') {
		t.code = host->code;
		t.text = sm_str(host->text);
	}
	return t;
}

static const char *outcome_word(enum qm_rcpt_state s)
{
	return s == QM_RCPT_FAILED ? "failed" : s == QM_RCPT_DEFERRED ? "deferred" : "sent";
}

static void log_try(const struct qm_rcpt *r, const struct qm_try *t, int64_t now_s)
{
	const struct qm_txn *txn = r->txn;

	sm_log(r->state == QM_RCPT_FAILED ? SM_NOTICE : SM_INFO, "qm.rcpt",
	       "ss_ta=%I xid=%?S dsn_of=%?I rcpt=<%S> rcpt_idx=%u stat=%s tries=%u delay=%lld "
	       "xdelay=%?m "
	       "next_try=%?lld host=%?S reply=%u text=%S",
	       txn->id, txn->client.xid, txn->dsn_of, r->addr, r->index, outcome_word(r->state),
	       r->tries, (long long)(now_s - txn->received_s), t->took_ms,
	       (long long)(r->state == QM_RCPT_DEFERRED ? r->next_try_s - now_s : 0), r->host,
	       r->code, r->text);
}

/* For good: to be reported, together with what else fails until then. */
static void fail(struct qm *q, struct qm_rcpt *r, int64_t now_s)
{
	r->next_try_s = now_s + q->conf->dsn.merge_delay_max_ms / 1000;
	qm_rcpt_set(r, QM_RCPT_FAILED);
	q->stats.failed++;
}

static void look_at_clock(struct qm *q, int64_t now_s)
{
	int64_t before_s = q->clock.ahead_s;

	if (qm_clock_look(&q->clock, now_s, sm_loop_now_ms()))
		sm_log(SM_WARN, "qm.clock", "stat=set_forward by=%lld",
		       (long long)(q->clock.ahead_s - before_s));
}

void qm_look_at_clock(struct qm *q)
{
	look_at_clock(q, sm_wall_s());
}

void qm_settle_wait(struct qm *q, struct qm_rcpt *r)
{
	struct qm_retry_conf rc = retry_conf(q);
	int64_t now = sm_wall_s(), queued = r->txn->queued_s;
	int64_t since;

	look_at_clock(q, now);
	/* After the clock was set forward it only seems to have waited for long. */
	since = SM_MAX(queued, q->clock.stepped_s);
	r->next_try_s = queued + rc.return_s > now ? queued + rc.return_s : now + rc.max_s;
	if (qm_dsn_wants_delay(r))
		r->late = qm_retry_late(&rc, since, now, true, since, 0, &r->next_try_s);
}

/* For now: it is tried again, or fails for having waited too long. */
static void failed_for_now(struct qm *q, struct qm_rcpt *r, const struct qm_try *t, int64_t now,
                           int64_t seen)
{
	struct qm_retry_conf rc = retry_conf(q);

	/* Our own trouble is no reason to give up, nor is time that mail is held. What stands
	 * behind a dead host was tried by proxy. */
	if (!t->local && !(r->flags & QM_RCPT_HELD) &&
	    qm_retry_expired(&rc, r->txn->queued_s, now, r->tries + (unsigned)t->no_try, seen,
	                     q->clock.stepped_s)) {
		fail(q, r, now);
		return;
	}
	if (qm_run_missed(r, t)) {
		qm_settle_wait(q, r);
	} else {
		r->next_try_s = t->retry_in_s
		                    ? now + t->retry_in_s
		                    : qm_retry_next(&rc, r->txn->queued_s, now, sm_rand_u64());
		if (!t->local && r->tries + (unsigned)t->no_try > 0 && qm_dsn_wants_delay(r) &&
		    qm_retry_late(&rc, r->txn->queued_s, now, !t->no_try, seen, q->clock.stepped_s,
		                  &r->next_try_s))
			r->late = true;
	}
	qm_rcpt_set(r, QM_RCPT_DEFERRED);
	q->stats.deferred++;
}

bool qm_settle_unsaid(struct qm *q, struct qm_rcpt *r, const struct qm_try *t)
{
	int64_t now = sm_wall_s();
	int64_t seen = SM_MAX(r->txn->queued_s, r->last_try_s);

	if (qm_way_next(q, r, t))
		return false;
	look_at_clock(q, now);
	qm_rcpt_note(r, t->code, t->text, t->host, now);
	qm_rcpt_note_tls(r, t->tls);
	if (!t->no_try && !t->local && r->tries < UINT16_MAX)
		r->tries++;
	if (r->txn->now != NULL) {
		qm_now_decide(q, r, t);
		log_try(r, t, now);
		qm_now_known(q, r, t);
		return false;
	}
	switch (t->outcome) {
	case SM_OUTCOME_DONE:
		r->next_try_s = now;
		qm_rcpt_set(r, qm_dsn_done(r, t->dsn_passed, t->final));
		q->stats.delivered++;
		break;
	case SM_OUTCOME_PERM:
		fail(q, r, now);
		break;
	case SM_OUTCOME_TEMP:
		if (r->mark != QM_MARK_NONE) {
			(void)qm_bulk_caught(q, r); /* that is logged */
			return false;
		}
		failed_for_now(q, r, t, now, seen);
		break;
	}
	log_try(r, t, now);
	/* The last one that was open needs no record of its own: `end` follows, or the snapshot in
	 * DEFEDB. A failure is kept at once: its DSN may have to wait. */
	return r->txn->busy > 0 || (r->txn->open > 0 && r->state != QM_RCPT_DEFERRED);
}

void qm_settle_rcpt(struct qm *q, struct qm_rcpt *r, const struct qm_try *t)
{
	if (qm_settle_unsaid(q, r, t))
		qm_store_rcpt(q->store, r);
}

/* ---- the end
 * ------------------------------------------------------------------------------------------------------
 */

struct ending {
	struct qm_wait wait;
	struct qm *q;
	struct qm_txn *txn;
};

static void end_durable(void *arg)
{
	struct ending *e = arg;
	struct qm *q = e->q;
	struct qm_txn *txn = e->txn;
	struct cdb_place at = qm_txn_place(txn);

	sm_free(e);
	if (qm_content_end(&q->txns.contents, &at, txn->id))
		qm_content_remove(q, txn->content);
	qm_incoming_taken(q, txn->id);
	q->stats.ended++;
	sm_log(SM_INFO, "qm.end", "ss_ta=%I xid=%?S dsn_of=%?I delay=%lld", txn->id,
	       txn->client.xid, txn->dsn_of, (long long)(sm_wall_s() - txn->received_s));
	qm_txn_free(&q->txns, &txn);
	qm_defer_run(q);
}

static void end(struct qm *q, struct qm_txn *txn)
{
	struct ending *e = sm_calloc(1, sizeof(*e));
	uint64_t lsn = qm_store_end(q->store, txn); /* it may be the other log that says it */

	e->q = q;
	e->txn = txn;
	txn->state = QM_TXN_ENDING;
	qm_unkeep(q, txn);
	qm_store_after(q->store, txn->log, lsn, &e->wait, end_durable, e);
}

void qm_progress(struct qm *q, struct qm_txn *txn)
{
	if (txn->state != QM_TXN_ACTIVE)
		return;
	if (txn->now != NULL) {
		if (qm_now_progress(q, txn))
			end(q, txn);
		return;
	}
	/* Without an id at hand the DSN is made when the transaction is read back: what it tells is
	 * durable, nothing is lost. */
	(void)qm_dsn_report(q, txn);
	if (txn->busy > 0)
		return;
	if (txn->open == 0)
		end(q, txn);
	else
		qm_defer(q, txn);
}

/* The active queue takes it, or it waits in DEFEDB for room there. */
void qm_activate(struct qm *q, struct qm_txn *txn)
{
	size_t room = (size_t)q->conf->aq_max_entries;
	/* What waits for a run only comes by. */
	bool stays = qm_deliver_wait(txn->deliver) == SM_WAIT_NO ||
	             (txn->rcpt_count > 0 && (txn->rcpts[0].flags & QM_RCPT_RUN));

	/* Members of long lists leave a quarter of it to new mail. */
	if (!sm_id_none(txn->child_of))
		room = room * 3 / 4;
	txn->state = QM_TXN_ACTIVE;
	/* Held from the beginning, as a whole: a filter wants it so. */
	if (txn->rcpt_count > 0 && (txn->rcpts[0].flags & QM_RCPT_HELD))
		room = 0;
	if (q->txns.rcpts <= room || (room > 0 && !stays)) {
		qm_resolve(q, txn);
		return;
	}
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		if (txn->rcpts[i].state == QM_RCPT_NEW) {
			txn->rcpts[i].next_try_s = sm_wall_s();
			qm_rcpt_set(&txn->rcpts[i], QM_RCPT_DEFERRED);
		}
	}
	qm_progress(q, txn);
}
