/*
 * Asks smar where recipients go. A recipient is ROUTING while the question is out; the answer makes
 * it ready, defers it, or fails it.
 *
 * Recipients of one transaction wait for each other's answers, for a moment, so that those with one
 * route go together. While smar is away recipients wait here, for at most wait_for_server; when the
 * active queue is nearly full they do not wait for slow name servers: nothing in it waits for ever.
 */
#include "qmgr/now.h"

#include "libsm/rand.h"
#include "libsm/time.h"

#define LOST_MAX       2    /* a recipient whose smar went away so often waits for its retry time */
#define RETRY_S        30   /* for trouble of our own */
#define HOLD_MS        1000 /* so long an answer waits for the others of its transaction */
#define TIGHT_MS       1000 /* so often the oldest questions are looked at */
#define CROWDED_MOST_S 60   /* so long at most what finds too much waiting stays away */
#define SLOW_MS        8000 /* an answer that takes longer is not waited for when room is short */

struct question {
	struct sm_call call;
	struct sm_list link; /* in questions */
	struct qm *q;
	struct qm_rcpt *rcpt;
	int64_t asked_ms;
};

struct qm_resolver {
	struct sm_link *smar;
	struct sm_list waiting; /* recipients, NEW, until smar is there */
	struct sm_timer patience, hold, tight;
	struct sm_list questions; /* oldest first */
	struct sm_list holding;   /* transactions with groups that wait for others, oldest first */
	struct sm_arena arena;
};

/* ---- recipients that wait for others ---- */

static void on_hold(void *arg);

static void arm_hold(struct qm_resolver *rs, struct qm *q)
{
	const struct qm_txn *txn = SM_LIST_FIRST(&rs->holding, struct qm_txn, hold);

	if (txn)
		sm_timer_set(&rs->hold, txn->hold_until_ms, on_hold, q);
	else
		sm_timer_cancel(&rs->hold);
}

static void release(struct qm *q, struct qm_txn *txn)
{
	bool held = sm_list_linked(&txn->hold);

	sm_list_remove(&txn->hold);
	qm_sched_release(&q->sched, txn);
	if (held)
		arm_hold(q->resolver, q);
}

static void on_hold(void *arg)
{
	struct qm *q = arg;
	struct sm_list *all = &q->resolver->holding;
	int64_t now_ms = sm_loop_now_ms();

	while (!sm_list_empty(all)) {
		struct qm_txn *txn = SM_LIST_FIRST(all, struct qm_txn, hold);

		if (txn->hold_until_ms > now_ms)
			break;
		sm_list_remove(&txn->hold);
		qm_sched_release(&q->sched, txn);
	}
	arm_hold(q->resolver, q);
}

/* An answer came. The last one lets all go that were held; others wait, but only once. */
static void hold_or_release(struct qm *q, struct qm_txn *txn)
{
	struct qm_resolver *rs = q->resolver;
	int64_t now_ms = sm_loop_now_ms();

	if (txn->routing == 0 || (txn->hold_until_ms > 0 && txn->hold_until_ms <= now_ms)) {
		release(q, txn);
	} else if (txn->hold_until_ms == 0 && !sm_list_empty(&txn->held)) {
		txn->hold_until_ms = now_ms + HOLD_MS;
		sm_list_push(&rs->holding, &txn->hold);
		if (!sm_timer_is_set(&rs->hold))
			arm_hold(rs, q);
	}
}

/* ---- answers ---- */

/* The destination is to be asked for again when half of what it has waiting has gone. */
static struct qm_try too_much(struct qm *q, struct qm_route *route, const struct qm_rcpt *r)
{
	int64_t now_ms = sm_loop_now_ms(), wait_s = qm_route_half_s(route, now_ms, CROWDED_MOST_S);
	struct qm_try t = {.outcome = SM_OUTCOME_TEMP,
	                   .code = 451,
	                   .text = SM_STR("4.4.5 destination has too much mail waiting"),
	                   .host = SM_STR(""),
	                   .retry_in_s = wait_s,
	                   .local = true};

	qm_blocked_put(&q->blocked, sm_str_from(r->addr, (size_t)(sm_str_rchr(r->addr, '@') + 1)),
	               QM_BLOCK_CROWDED, now_ms + wait_s * 1000, t.text, now_ms);
	return t;
}

static void routed(struct qm *q, struct qm_rcpt *r, struct sm_msg_route *m)
{
	struct qm_try t = {.host = SM_STR("")};
	size_t max = (size_t)q->conf->aq_max_entries;
	const struct qm_host *dead;
	struct qm_route *route;

	if (qm_bulk_caught(q, r))
		return;
	if (qm_now_over(r)) {
		t = qm_now_try_late();
		qm_settle_rcpt(q, r, &t);
		return;
	}
	if (m->status == SM_ROUTE_ALIAS) {
		qm_expand(q, r, m);
		return;
	}
	if (m->status == SM_ROUTE_WAIT && r->txn->now != NULL) {
		t.outcome = SM_OUTCOME_TEMP;
		t.code = 450;
		t.text = SM_STR("4.2.1 destination takes mail only when it is asked for");
		t.local = true;
		qm_settle_rcpt(q, r, &t);
		return;
	}
	if (m->status == SM_ROUTE_WAIT) {
		qm_run_put_off(q, r, (enum sm_wait)m->wait);
		return;
	}
	qm_way_take(r, m);
	if (m->status != SM_ROUTE_OK) {
		t.outcome = m->status == SM_ROUTE_PERM ? SM_OUTCOME_PERM : SM_OUTCOME_TEMP;
		t.code = m->code;
		t.text = m->text;
		qm_settle_rcpt(q, r, &t);
		return;
	}
	qm_run_routed(q, r, m);
	if (qm_halt_catch(q, r, m))
		return;
	route = qm_route_get(&q->sched, m, sm_loop_now_ms());
	dead = qm_route_dead(&q->sched, route, sm_loop_now_ms());
	if (dead != NULL) {
		t = qm_try_dead(dead);
	} else if (qm_route_crowded(route, q->txns.rcpts, max)) {
		t = too_much(q, route, r);
	} else {
		q->crowded = q->crowded || q->txns.rcpts > max - max / 8;
		qm_sched_add(&q->sched, route, r);
		return;
	}
	qm_settle_rcpt(q, r, &t);
}

/* smar went away with the question: ask the next one, but not for ever. It says nothing of the
 * recipient. */
static void unanswered(struct qm *q, struct qm_rcpt *r, int err)
{
	const struct qm_try t = {.outcome = SM_OUTCOME_TEMP,
	                         .code = 451,
	                         .text = SM_STR("4.3.0 address resolver did not answer"),
	                         .host = SM_STR(""),
	                         .local = true,
	                         .retry_in_s = RETRY_S};

	if (r->lost < UINT8_MAX)
		r->lost++;
	if (err == SM_E_DIED)
		qm_suspect(q, r, SM_STR("4.3.0 address resolver crashed with it"));
	else if (q->stopping || (err == SM_E_PEER && r->lost < LOST_MAX))
		qm_rcpt_set(r, QM_RCPT_NEW);
	else
		qm_settle_rcpt(q, r, &t);
}

static void question_free(struct question *qu)
{
	qu->rcpt->txn->routing--;
	sm_list_remove(&qu->link);
	sm_free(qu);
}

static void answered(int err, const struct sm_frame *f, void *arg)
{
	struct question *qu = arg;
	struct qm *q = qu->q;
	struct qm_rcpt *r = qu->rcpt;
	struct qm_txn *txn = r->txn;
	struct sm_msg_route m;

	question_free(qu);
	sm_arena_reset(&q->resolver->arena);
	if (err == 0 && f->type != SM_MSG_route)
		err = SM_E_PROTO;
	if (err == 0)
		err = sm_msg_route_decode(f->body, &q->resolver->arena, &m);
	if (err != 0) {
		if (err != SM_E_PEER) /* that is one event, not one for each question */
			sm_log(SM_WARN, "qm.route", "ss_ta=%I rcpt=<%S> error=%s", txn->id, r->addr,
			       sm_strerr(err));
		unanswered(q, r, err);
	} else {
		routed(q, r, &m);
	}
	hold_or_release(q, txn);
	if (r->state == QM_RCPT_NEW)
		qm_resolve(q, txn);
	else
		qm_progress(q, txn);
}

static uint32_t flags_of(const struct qm_rcpt *r)
{
	return (r->flags & QM_RCPT_FINAL ? SM_ROUTE_FINAL : 0) |
	       (r->flags & QM_RCPT_RUN ? SM_ROUTE_RUN : 0);
}

static void ask(struct qm *q, struct sm_peer *peer, struct qm_rcpt *r)
{
	struct sm_msg_route_get m = {.ta = r->txn->id,
	                             .rcpt = r->addr,
	                             .sender = r->txn->sender,
	                             .flags = flags_of(r),
	                             .level = r->txn->level,
	                             .after = r->after,
	                             .route = r->txn->route};
	struct question *qu = sm_calloc(1, sizeof(*qu));

	qm_way_tell(r, &m);
	qu->q = q;
	qu->rcpt = r;
	qu->asked_ms = sm_loop_now_ms();
	sm_list_push(&q->resolver->questions, &qu->link);
	r->txn->routing++;
	qm_rcpt_set(r, QM_RCPT_ROUTING);
	/* smar has time-outs of its own for DNS; this is for one that hangs. */
	sm_call(&qu->call, peer, SM_MSG_route_get, &m, sm_loop_now_ms() + 120 * 1000, answered, qu);
}

/* Slow name servers may not keep the room that others need. */
static void on_tight(void *arg)
{
	struct qm *q = arg;
	struct qm_resolver *rs = q->resolver;
	size_t max = (size_t)q->conf->aq_max_entries;
	int64_t now_ms = sm_loop_now_ms();

	while (q->txns.rcpts > max - max / 8 && !sm_list_empty(&rs->questions)) {
		struct question *qu = SM_LIST_FIRST(&rs->questions, struct question, link);
		struct qm_rcpt *r = qu->rcpt;
		struct qm_txn *txn = r->txn;
		const struct qm_try t = {.outcome = SM_OUTCOME_TEMP,
		                         .code = 451,
		                         .text = SM_STR("4.4.3 AQ time-out: name servers are slow"),
		                         .host = SM_STR(""),
		                         .local = true,
		                         .retry_in_s = 60 + (int64_t)(sm_rand_u64() % 60)};

		if (now_ms - qu->asked_ms < SLOW_MS)
			break;
		sm_call_cancel(&qu->call);
		question_free(qu);
		qm_settle_rcpt(q, r, &t);
		hold_or_release(q, txn);
		qm_progress(q, txn);
	}
	sm_timer_set(&rs->tight, now_ms + TIGHT_MS, on_tight, q);
}

static void lost_patience(void *arg)
{
	struct qm *q = arg;
	struct qm_try t = {.outcome = SM_OUTCOME_TEMP,
	                   .code = 451,
	                   .text = SM_STR("4.3.0 address resolver is away"),
	                   .host = SM_STR(""),
	                   .local = true,
	                   .retry_in_s = 30};
	struct sm_list *e;

	while ((e = sm_list_shift(&q->resolver->waiting)) != NULL) {
		struct qm_rcpt *r = SM_LIST_ENTRY(e, struct qm_rcpt, link);
		struct qm_txn *txn = r->txn;

		qm_settle_rcpt(q, r, &t);
		qm_progress(q, txn);
	}
}

void qm_resolve(struct qm *q, struct qm_txn *txn)
{
	struct qm_resolver *rs = q->resolver;
	struct sm_peer *peer = q->stopping ? NULL : sm_link_peer(rs->smar);
	struct sm_msg_host host;
	struct sm_msg_route m;
	bool caught = false;

	for (unsigned i = 0; i < txn->rcpt_count; i++)
		if (txn->rcpts[i].state == QM_RCPT_NEW && !sm_list_linked(&txn->rcpts[i].link))
			caught |= qm_bulk_caught(q, &txn->rcpts[i]);
	if (caught && txn->busy == 0) {
		qm_progress(q, txn);
		return;
	}
	if (qm_dsn_route(q, txn, &host, &m)) {
		for (unsigned i = 0; i < txn->rcpt_count; i++)
			if (txn->rcpts[i].state == QM_RCPT_NEW)
				routed(q, &txn->rcpts[i], &m);
		release(q, txn);
		qm_progress(q, txn);
		return;
	}
	if (qm_run_catch(q, txn) && txn->busy == 0) {
		qm_progress(q, txn);
		return;
	}
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		struct qm_rcpt *r = &txn->rcpts[i];

		if (r->state != QM_RCPT_NEW || sm_list_linked(&r->link))
			continue;
		if (peer) {
			ask(q, peer, r);
			continue;
		}
		sm_list_push(&rs->waiting, &r->link);
		if (!sm_timer_is_set(&rs->patience))
			sm_timer_set(&rs->patience, sm_loop_now_ms() + q->conf->wait_for_server_ms,
			             lost_patience, q);
	}
}

static void on_up(struct sm_peer *peer, void *arg)
{
	struct qm *q = arg;
	struct sm_list *e;

	sm_log(SM_INFO, "qm.smar", "peer_pid=%d stat=connected", (int)sm_peer_pid(peer));
	sm_timer_cancel(&q->resolver->patience);
	while ((e = sm_list_shift(&q->resolver->waiting)) != NULL)
		ask(q, peer, SM_LIST_ENTRY(e, struct qm_rcpt, link));
}

int qm_resolver_open(struct qm *q)
{
	struct qm_resolver *rs = sm_calloc(1, sizeof(*rs));
	char path[108];
	int err;

	q->resolver = rs;
	sm_list_init(&rs->waiting);
	sm_list_init(&rs->questions);
	sm_list_init(&rs->holding);
	sm_timer_set(&rs->tight, sm_loop_now_ms() + TIGHT_MS, on_tight, q);
	sm_arena_init(&rs->arena, "resolver", 16 * 1024, 4 * SM_FRAME_MAX);
	if ((err = sm_str_copy(q->proc->global.smar_socket, path, sizeof(path))) != 0)
		return err;

	struct sm_link_conf conf = {
	    .path = path,
	    .role = SM_ROLE_SMAR,
	    .uids = q->smar_users.v,
	    .uid_count = q->smar_users.count,
	    .on_up = on_up,
	    .arg = q,
	};
	rs->smar = sm_link_open(&conf);
	return 0;
}

void qm_resolver_close(struct qm *q)
{
	if (q->resolver == NULL)
		return;
	/* Questions that were out come back unanswered, and wait, with a timer, for the next smar.
	 */
	sm_link_free(&q->resolver->smar);
	while (!sm_list_empty(&q->resolver->holding))
		release(q, SM_LIST_FIRST(&q->resolver->holding, struct qm_txn, hold));
	while (sm_list_shift(&q->resolver->waiting))
		;
	sm_timer_cancel(&q->resolver->patience);
	sm_timer_cancel(&q->resolver->tight);
	sm_timer_cancel(&q->resolver->hold);
	sm_arena_fini(&q->resolver->arena);
	SM_FREE(q->resolver);
}

struct sm_peer *qm_resolver_peer(const struct qm *q)
{
	return sm_link_peer(q->resolver->smar);
}
