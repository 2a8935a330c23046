/*
 * Delivery status notifications (RFC 3461, 3464): what is told to whom, and when, as child
 * transactions.
 *
 * A DSN has the null sender, one recipient (the sender of the mail), and no content of its own:
 * qmgr stores what it says, smtpc composes it from that and the content of the original. The change
 * of the parent and the child are one record, so a crash makes neither twice.
 *
 * Nothing here can loop: a DSN has no sender to be told anything, its own failure is told to the
 * postmaster once, and a failure of that is logged and dropped.
 */
#include "qmgr/qm.h"

#include <stdio.h>
#include "libsm/time.h"

#define LOOK_MS     5000 /* how often transactions that still have something in work are looked at */
#define BUSY_WAIT_S 60   /* so long a failure waits at least for those in work: they may fail too */
#define RCPTS_MAX   100  /* in one DSN, as rec.def has it */

/* RFC 3461 4.1: NEVER, or a list without this word, asks for silence; without NOTIFY failures and
 * delays are told. */
static bool wants(const struct qm_rcpt *r, unsigned what)
{
	return r->notify == 0 ? what != SM_NOTIFY_SUCCESS : (r->notify & what) != 0;
}

/* ---- the decisions ---- */

enum qm_rcpt_state qm_dsn_done(const struct qm_rcpt *r, bool passed, bool final)
{
	if (passed || r->txn->sender.n == 0 || !wants(r, SM_NOTIFY_SUCCESS))
		return QM_RCPT_SETTLED;
	return final ? QM_RCPT_DELIVERED : QM_RCPT_RELAYED;
}

enum qm_rcpt_state qm_dsn_expanded(const struct qm_rcpt *r, bool list, bool several)
{
	if (r->txn->dsn_kind != SM_DSN_NONE || r->txn->sender.n == 0 ||
	    !wants(r, SM_NOTIFY_SUCCESS))
		return QM_RCPT_SETTLED;
	/* RFC 3461 5.2.7: for a list the mail has arrived; the only member of an alias tells it
	 * himself. */
	return list ? QM_RCPT_DELIVERED : several ? QM_RCPT_EXPANDED : QM_RCPT_SETTLED;
}

bool qm_dsn_wants_delay(const struct qm_rcpt *r)
{
	return r->txn->sender.n > 0 && wants(r, SM_NOTIFY_DELAY) &&
	       !(r->flags & QM_RCPT_DELAY_TOLD);
}

/* Why nobody is told of a failure; NULL: somebody is. */
static const char *why_silent(const struct qm *q, const struct qm_rcpt *r)
{
	const struct qm_txn *txn = r->txn;

	if (txn->dsn_kind != SM_DSN_NONE)
		return txn->dsn_kind == SM_DSN_BOUNCED        ? "double bounce"
		       : q->conf->dsn.double_bounce_to.n == 0 ? "nobody wants double bounces"
		                                              : NULL;
	if (txn->sender.n == 0)
		return "null sender"; /* RFC 5321 6.1 */
	return wants(r, SM_NOTIFY_FAILURE) ? NULL : "sender asked for no notification";
}

/* Is it time to tell of the failures? Not while more may come, unless that would take too long. */
static bool is_time(const struct qm *q, const struct qm_txn *txn, unsigned failed, int64_t now_s)
{
	int64_t wait_s = q->conf->dsn.merge_delay_max_ms / 1000, first_s = INT64_MAX;

	if (failed >= (unsigned)q->conf->dsn.max_errors || failed == txn->open)
		return true;
	for (unsigned i = 0; i < txn->rcpt_count; i++)
		if (txn->rcpts[i].state == QM_RCPT_FAILED)
			first_s = SM_MIN(first_s, txn->rcpts[i].next_try_s);
	if (txn->busy > 0 && wait_s < BUSY_WAIT_S) {
		first_s += BUSY_WAIT_S - wait_s;
		wait_s = BUSY_WAIT_S;
	}
	/* The clock was set back, or the delay made shorter: no time of ours is so far away. */
	return first_s <= now_s || first_s > now_s + wait_s;
}

/* ---- the child ---- */

static struct sm_str keep(struct qm_txn *txn, struct sm_str s)
{
	return s.n ? sm_arena_str(&txn->arena, s) : SM_STR("");
}

/* The sender of the mail; of a DSN that failed, the postmaster. A name without a domain is ours. */
static struct sm_str addressee(const struct qm *q, struct qm_txn *child,
                               const struct qm_txn *parent)
{
	struct sm_str to = q->conf->dsn.double_bounce_to, host = q->proc->global.hostname;
	char address[640];

	if (parent->dsn_kind == SM_DSN_NONE)
		return keep(child, parent->sender);
	if (sm_str_chr(to, '@') >= 0)
		return keep(child, to);
	(void)snprintf(address, sizeof(address), SM_STR_FMT "@" SM_STR_FMT, SM_STR_ARG(to),
	               SM_STR_ARG(host));
	return keep(child, sm_str(address));
}

/* RFC 3461 4.3 leaves it to us when the sender did not say: the first DSN has the message, further
 * ones about the same mail its header. */
static uint8_t what_to_return(const struct qm *q, const struct qm_txn *parent, uint8_t kind)
{
	if ((q->conf->dsn.flags & QM_DSN_HEADER_ONLY) || kind != SM_DSN_FAILED)
		return SM_RET_HDRS;
	if (parent->ret == SM_RET_NONE && (parent->flags & QM_TXN_RETURNED))
		return SM_RET_HDRS;
	return parent->ret;
}

static struct qm_txn *make_child(struct qm *q, struct sm_id id, struct qm_txn *parent, uint8_t kind,
                                 struct qm_rcpt *const *rcpts, unsigned count)
{
	struct qm_txn *child = qm_child_new(q, id, parent, 1);
	struct qm_rcpt *to = &child->rcpts[0];

	child->ret = what_to_return(q, parent, kind);
	child->envid = keep(child, parent->envid);
	child->received_s = child->queued_s = sm_wall_s();
	to->addr = addressee(q, child, parent);
	to->notify = SM_NOTIFY_NEVER;
	/* With the mail's line up, so is its report's. */
	if (parent->deliver == SM_DELIVER_QUEUE)
		child->deliver = parent->deliver;
	child->dsn_kind = kind;
	child->dsn_of = parent->id;
	child->dsn_received_s = parent->received_s;
	if (kind == SM_DSN_DELAYED)
		child->dsn_until_s = parent->queued_s + q->conf->return_timeout_ms / 1000;
	child->dsn_sender = keep(child, to->addr);
	child->dsn_rcpts = sm_arena_must(&child->arena, count * sizeof(*child->dsn_rcpts));
	child->dsn_count = count;
	for (unsigned i = 0; i < count; i++) {
		const struct qm_rcpt *r = rcpts[i];

		to->flags |= qm_run_inherited(r, child->deliver);
		child->dsn_rcpts[i] = (struct sm_msg_dsn_rcpt){
		    .addr = keep(child, r->addr),
		    .orcpt = keep(child, r->orcpt),
		    .action = kind == SM_DSN_BOUNCED ? SM_DSN_FAILED : kind,
		    .code = r->code,
		    .text = keep(child, r->text),
		    .host = keep(child, r->host),
		    .last_try_s = r->last_try_s,
		};
	}
	return child;
}

static const char *kind_word(uint8_t kind)
{
	static const char *const words[] = {[SM_DSN_NONE] = "none",
	                                    [SM_DSN_FAILED] = "failed",
	                                    [SM_DSN_DELAYED] = "delayed",
	                                    [SM_DSN_DELIVERED] = "delivered",
	                                    [SM_DSN_RELAYED] = "relayed",
	                                    [SM_DSN_EXPANDED] = "expanded",
	                                    [SM_DSN_BOUNCED] = "double_bounce"};

	return kind < SM_ARRAY_SIZE(words) ? words[kind] : "?";
}

/* On both ids, and on each recipient: who looks for one finds the other. */
static void log_report(const struct qm_txn *parent, const struct qm_txn *child,
                       struct qm_rcpt *const *rcpts, unsigned count)
{
	const char *kind = kind_word(child->dsn_kind);

	for (unsigned i = 0; i < count; i++)
		sm_log(SM_INFO, "qm.report", "ss_ta=%I dsn_ta=%I kind=%s rcpt=<%S> rcpt_idx=%u",
		       parent->id, child->id, kind, rcpts[i]->addr, rcpts[i]->index);
	sm_log(SM_NOTICE, "qm.dsn", "ss_ta=%I dsn_of=%I kind=%s content=%I rcpt=<%S> rcpts=%u",
	       child->id, parent->id, kind, child->content, child->dsn_sender, count);
}

static bool report(struct qm *q, struct qm_txn *parent, uint8_t kind, struct qm_rcpt **rcpts,
                   unsigned count)
{
	struct qm_rec_index_item items[RCPTS_MAX];
	struct qm_txn *child;
	struct sm_id id;

	if (!qm_incoming_own_id(q, &id))
		return false;
	if (kind == SM_DSN_DELAYED)
		qm_store_acts(q->store, parent);    /* a requeue before it has it told once more */
	(void)qm_store_take_over(q->store, parent); /* as it is before anything was reported */
	child = make_child(q, id, parent, kind, rcpts, count);
	for (unsigned i = 0; i < count; i++)
		items[i].index = rcpts[i]->index;
	qm_txn_reported(parent, kind, items, count);
	q->stats.dsns++;
	q->stats.double_bounces += kind == SM_DSN_BOUNCED;
	log_report(parent, child, rcpts, count);
	qm_store_child(q->store, parent, rcpts, count, child);
	qm_child_begin(q, child, parent);
	return true;
}

/* ---- what is due ---- */

/* Nobody is told: logged, and that is its end. */
static void drop(struct qm *q, struct qm_rcpt *r, const char *why)
{
	q->stats.double_bounces += r->txn->sender.n == 0 && r->txn->dsn_kind != SM_DSN_BOUNCED;
	sm_log(SM_WARN, "qm.drop", "ss_ta=%I rcpt=<%S> rcpt_idx=%u why=%s reply=%u text=%S",
	       r->txn->id, r->addr, r->index, why, r->code, r->text);
	qm_rcpt_set(r, QM_RCPT_SETTLED);
	if (r->txn->open > 0)
		qm_store_rcpt(q->store, r);
}

/* Gives how many failures somebody is to be told of. */
static unsigned count_failed(struct qm *q, struct qm_txn *txn)
{
	unsigned count = 0;

	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		struct qm_rcpt *r = &txn->rcpts[i];
		const char *why;

		if (r->state != QM_RCPT_FAILED)
			continue;
		if ((why = why_silent(q, r)) != NULL)
			drop(q, r, why);
		else
			count++;
	}
	return count;
}

static bool tells(const struct qm_rcpt *r, uint8_t kind)
{
	switch (kind) {
	case SM_DSN_DELAYED:
		return r->late && r->state == QM_RCPT_DEFERRED;
	case SM_DSN_DELIVERED:
		return r->state == QM_RCPT_DELIVERED;
	case SM_DSN_RELAYED:
		return r->state == QM_RCPT_RELAYED;
	case SM_DSN_EXPANDED:
		return r->state == QM_RCPT_EXPANDED;
	default:
		return r->state == QM_RCPT_FAILED;
	}
}

static bool report_all(struct qm *q, struct qm_txn *txn, uint8_t kind)
{
	struct qm_rcpt *rcpts[RCPTS_MAX];
	unsigned count = 0, max = (unsigned)q->conf->dsn.max_errors;

	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		if (!tells(&txn->rcpts[i], kind))
			continue;
		rcpts[count++] = &txn->rcpts[i];
		if (count == max) {
			if (!report(q, txn, kind, rcpts, count))
				return false;
			count = 0;
		}
	}
	return count == 0 || report(q, txn, kind, rcpts, count);
}

static void look(void *arg)
{
	struct qm *q = arg;

	SM_LIST_FOR (txn, &q->txns.active, struct qm_txn, link)
		if (txn->state == QM_TXN_ACTIVE && txn->busy > 0)
			(void)qm_dsn_report(q, txn);
}

bool qm_dsn_report(struct qm *q, struct qm_txn *txn)
{
	unsigned failed;

	if (txn->now != NULL)
		return true; /* its client is told */
	/* Those in work may have to be told as well, and each one that ends comes by here: the rest
	 * is looked at every few seconds. */
	if (txn->busy > 0 && txn->owed > 0 && !q->stopping && !sm_timer_is_set(&q->dsn_look))
		sm_timer_set(&q->dsn_look, sm_loop_now_ms() + LOOK_MS, look, q);
	if (txn->busy == 0 && !report_all(q, txn, SM_DSN_DELAYED))
		return false;
	if (txn->owed == 0)
		return true;
	if (txn->busy == 0 &&
	    (!report_all(q, txn, SM_DSN_DELIVERED) || !report_all(q, txn, SM_DSN_RELAYED) ||
	     !report_all(q, txn, SM_DSN_EXPANDED)))
		return false;
	failed = count_failed(q, txn);
	return failed == 0 || !is_time(q, txn, failed, sm_wall_s()) ||
	       report_all(q, txn, txn->dsn_kind ? SM_DSN_BOUNCED : SM_DSN_FAILED);
}

void qm_dsn_close(struct qm *q)
{
	sm_timer_cancel(&q->dsn_look);
}

/* ---- through smtps instead ---- */

bool qm_dsn_route(const struct qm *q, const struct qm_txn *txn, struct sm_msg_host *host,
                  struct sm_msg_route *route)
{
	struct sm_str to = q->conf->dsn.submit;

	/* The last report of all takes no way that may be what is broken. */
	if (to.n == 0 || txn->dsn_kind == SM_DSN_NONE || txn->dsn_kind == SM_DSN_BOUNCED)
		return false;
	*host = (struct sm_msg_host){.name = to};
	if (qm_conf_submit(to, &host->sa) != 0)
		return false; /* was checked with the configuration */
	*route = (struct sm_msg_route){.status = SM_ROUTE_OK,
	                               .agent = SM_AGENT_SMTP,
	                               .text = SM_STR(""),
	                               .key = SM_STR("DSN_handling.submit"),
	                               .hosts_count = 1,
	                               .hosts = host};
	return true;
}
