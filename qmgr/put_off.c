/*
 * Ready mail that goes back to DEFEDB untried, because waiting for its turn would only keep others
 * out of the active queue: its hosts are dead, its destination is slow and has much of it, or there
 * is no smtpc at all.
 *
 * Invariant: what is put off has an outcome as if it had been tried, so it gets its retry time, and
 * what is still in DEFEDB for the same domain is not read back before then to find out the same.
 * Loop thread.
 */
#include "qmgr/qm.h"

#include "libsm/rand.h"

static struct sm_str domain_of(struct sm_str addr)
{
	return sm_str_from(addr, (size_t)(sm_str_rchr(addr, '@') + 1));
}

/* These get this outcome, and nothing for their domains need be read back from DEFEDB before then,
 * unless there is another way. */
static void put_off_list(struct qm *q, struct sm_list *rcpts, const struct qm_try *t,
                         enum qm_block kind, int64_t until_ms)
{
	struct sm_list *e;

	while ((e = sm_list_shift(rcpts)) != NULL) {
		struct qm_rcpt *r = SM_LIST_ENTRY(e, struct qm_rcpt, link);
		struct qm_txn *txn = r->txn;

		qm_settle_rcpt(q, r, t);
		if (r->state == QM_RCPT_NEW) {
			qm_resolve(q, txn);
			continue;
		}
		if (until_ms > 0)
			qm_blocked_put(&q->blocked, domain_of(r->addr), kind, until_ms, t->text,
			               sm_loop_now_ms());
		qm_progress(q, txn);
	}
}

/* All that waits behind a route. */
static void put_off(struct qm *q, struct qm_route *route, const struct qm_try *t,
                    enum qm_block kind, int64_t until_ms)
{
	struct sm_list waiting;

	sm_list_init(&waiting);
	qm_sched_drain(&q->sched, route, &waiting, sm_loop_now_ms());
	put_off_list(q, &waiting, t, kind, until_ms);
}

/* Nobody of the route can be reached: what waits behind it need not find out one by one. */
void qm_put_off_dead(struct qm *q, struct qm_route *route)
{
	const struct qm_host *host = qm_route_dead(&q->sched, route, sm_loop_now_ms());
	const struct qm_try t = qm_try_dead(host);

	put_off(q, route, &t, QM_BLOCK_DEAD, host ? host->dead_until_ms : 0);
}

static struct qm_try slow_try(void)
{
	return (struct qm_try){.outcome = SM_OUTCOME_TEMP,
	                       .code = 451,
	                       .text = SM_STR("4.4.5 AQ time-out: destination is slow and has much "
	                                      "mail waiting"),
	                       .host = SM_STR(""),
	                       .local = true,
	                       .retry_in_s = 60 + (int64_t)(sm_rand_u64() % 60)};
}

/* A destination that has little waiting found the active queue nearly full. */
void qm_put_off_much(struct qm *q)
{
	const struct qm_try t = slow_try();
	struct sm_list out;

	sm_list_init(&out);
	if (qm_sched_make_room(&q->sched, q->txns.rcpts, (size_t)q->conf->aq_max_entries, &out,
	                       sm_loop_now_ms()) != NULL)
		put_off_list(q, &out, &t, QM_BLOCK_CROWDED, sm_loop_now_ms() + t.retry_in_s * 1000);
}

static struct qm_route *next_route(struct qm *q, struct qm_route *r)
{
	struct sm_hash_node *n = sm_hash_next(&q->sched.routes, r ? &r->node : NULL);

	return n ? SM_CONTAINER_OF(n, struct qm_route, node) : NULL;
}

/* The active queue is for what can move. */
void qm_put_off_all(struct qm *q)
{
	const struct qm_try t = {.outcome = SM_OUTCOME_TEMP,
	                         .code = 451,
	                         .text = SM_STR("4.3.0 no delivery agent"),
	                         .host = SM_STR(""),
	                         .local = true,
	                         .retry_in_s = 30};

	for (struct qm_route *r = next_route(q, NULL); r; r = next_route(q, r))
		if (r->waiting > 0)
			put_off(q, r, &t, QM_BLOCK_CROWDED, 0);
}

/*
 * A destination that is not dead but slow would fill the active queue, and nothing else would be
 * read back from DEFEDB any more. What it cannot take within a minute goes there instead, when room
 * is short.
 */
void qm_put_off_slow(struct qm *q, unsigned every_s)
{
	size_t max = (size_t)q->conf->aq_max_entries;
	const struct qm_try t = slow_try();

	for (struct qm_route *r = next_route(q, NULL); r; r = next_route(q, r)) {
		if (q->txns.rcpts >= max / 2 && r->waiting >= max / 16 &&
		    r->left * (60 / every_s) < r->waiting)
			put_off(q, r, &t, QM_BLOCK_CROWDED, sm_loop_now_ms() + t.retry_in_s * 1000);
		r->left = 0;
	}
}
