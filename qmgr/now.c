/*
 * One attempt for each recipient while its client waits, and the answer to that.
 *
 * Invariants: 2yz is told only of what a next hop has taken, or of what is in a durable child; a
 * transaction is told of once, and ends when nothing of it is at smtpc any more. Of recipients with
 * the same key in the memory one is worked on, the others wait for it. Loop thread.
 */
#include "qmgr/now.h"

#include "libsm/time.h"
#include "qmgr/memory.h"

#define BEGIN_MS 60000 /* smtps says within this time that its client waits, or nothing begins */

struct qm_now {
	struct sm_list link;      /* in nows.open */
	struct sm_hash_node node; /* in nows.by_sess */
	struct qm *q;
	struct qm_txn *txn;
	struct sm_id sess;
	struct sm_peer *peer; /* who asked, until it was told */
	uint64_t tag;
	struct sm_timer timer;
	int64_t until_ms; /* monotonic */
	bool began;       /* somebody waits, or did */
	bool over;        /* nothing may be begun any more */
	bool told;        /* nobody waits any more */
	bool waits;       /* for a child to be durable */
};

struct child_wait {
	struct qm_wait wait;
	struct qm_now *now;
};

struct qm_nows {
	struct sm_list open;
	struct sm_hash by_sess; /* each session that ends asks: most have none */
	size_t waiting;
	struct qm_memory *memory;
	struct sm_arena arena;
};

static struct qm_memory_key key_of(const struct qm_rcpt *r)
{
	return (struct qm_memory_key){r->txn->client.xid, r->txn->msgid, r->txn->sender, r->addr};
}

static struct qm_memory_entry *remembered(struct qm *q, const struct qm_rcpt *r)
{
	const struct qm_memory_key key = key_of(r);

	return key.xid.n == 0 ? NULL : qm_memory_find(q->nows->memory, &key, sm_loop_now_ms());
}

struct qm_try qm_now_try_late(void)
{
	return (struct qm_try){.outcome = SM_OUTCOME_TEMP,
	                       .code = 451,
	                       .text = SM_STR("4.4.7 not delivered in time"),
	                       .host = SM_STR(""),
	                       .local = true};
}

bool qm_now_over(const struct qm_rcpt *r)
{
	return r->txn->now != NULL && r->txn->now->over;
}

uint32_t qm_now_within_ms(const struct qm_txn *txn)
{
	if (txn->now == NULL)
		return 0;
	return (uint32_t)SM_MAX(1, txn->now->until_ms - sm_loop_now_ms());
}

/* ---- those who wait for another transaction ---- */

/* The owner knows: so do they. */
static void tell_waiting(struct qm *q, struct sm_list *waiting, const struct qm_try *t)
{
	struct sm_list *e;

	while ((e = sm_list_shift(waiting)) != NULL) {
		struct qm_rcpt *r = SM_LIST_ENTRY(e, struct qm_rcpt, link);
		struct qm_txn *txn = r->txn;

		qm_settle_rcpt(q, r, t);
		qm_progress(q, txn);
	}
}

/* Nothing came of it at the owner: the next one tries, and the others go on waiting. */
static void pass_on(struct qm *q, struct qm_memory_entry *e)
{
	struct sm_list *next = sm_list_shift(&e->waiting);

	if (next == NULL) {
		qm_memory_forget(q->nows->memory, e);
		return;
	}
	e->owner = SM_LIST_ENTRY(next, struct qm_rcpt, link);
	qm_resolve(q, e->owner->txn);
}

/* What the memory knows of a recipient that is to be tried. */
static void recall(struct qm *q, struct qm_rcpt *r)
{
	struct qm_memory_entry *e = remembered(q, r);
	const struct qm_memory_key key = key_of(r);

	if (key.xid.n == 0)
		return;
	if (e == NULL) {
		(void)qm_memory_add(q->nows->memory, &key, r);
	} else if (e->owner != NULL) {
		sm_list_push(&e->waiting, &r->link);
	} else {
		const struct qm_try before = {.outcome = SM_OUTCOME_DONE,
		                              .code = e->code,
		                              .text = e->text,
		                              .host = SM_STR(""),
		                              .no_try = true};

		sm_log(SM_INFO, "qm.again", "ss_ta=%I xid=%S rcpt=<%S> rcpt_idx=%u why=%s",
		       r->txn->id, key.xid, r->addr, r->index, "delivered before");
		qm_settle_rcpt(q, r, &before);
	}
}

/* ---- what became of a recipient ---- */

void qm_now_decide(struct qm *q, struct qm_rcpt *r, const struct qm_try *t)
{
	r->mark = QM_MARK_NONE;
	switch (t->outcome) {
	case SM_OUTCOME_DONE:
		qm_rcpt_set(r, QM_RCPT_DELIVERED);
		q->stats.delivered++;
		break;
	case SM_OUTCOME_PERM:
		qm_rcpt_set(r, QM_RCPT_FAILED);
		q->stats.failed++;
		break;
	case SM_OUTCOME_TEMP:
		r->next_try_s = sm_wall_s(); /* it is its client that waits */
		qm_rcpt_set(r, QM_RCPT_DEFERRED);
		q->stats.deferred++;
		break;
	}
	/* A restart has to know it, unless the client hears of it at once. */
	if (r->state == QM_RCPT_DELIVERED && r->txn->busy > 0)
		qm_store_rcpt(q->store, r);
}

void qm_now_known(struct qm *q, struct qm_rcpt *r, const struct qm_try *t)
{
	struct qm_memory_entry *e = remembered(q, r);
	struct sm_list waiting;

	if (e == NULL || e->owner != r)
		return;
	if (t->outcome == SM_OUTCOME_TEMP) {
		pass_on(q, e);
		return;
	}
	sm_list_init(&waiting);
	sm_list_splice(&waiting, &e->waiting);
	if (t->outcome == SM_OUTCOME_DONE)
		qm_memory_delivered(q->nows->memory, e, t->code, t->text, sm_loop_now_ms());
	else
		qm_memory_forget(q->nows->memory, e);
	tell_waiting(q, &waiting, t);
}

/* ---- the answer ---- */

static struct sm_msg_rcpt_decided decided(const struct qm_rcpt *r)
{
	struct sm_msg_rcpt_decided d = {.index = r->index, .code = r->code, .text = r->text};
	unsigned kind = r->code / 100;

	switch (r->state) {
	case QM_RCPT_DELIVERED:
	case QM_RCPT_RELAYED:
	case QM_RCPT_EXPANDED:
	case QM_RCPT_SETTLED: /* removed by an operator */
		if (kind != 2)
			d = (struct sm_msg_rcpt_decided){r->index, 250, SM_STR("2.0.0 Ok")};
		break;
	case QM_RCPT_FAILED:
		if (kind != 5)
			d.code = 554;
		break;
	case QM_RCPT_DEFERRED:
		/* No reply at all: a connection that could not be had, or trouble of our own. */
		if (kind != 4)
			d.code = 451;
		if (d.text.n == 0)
			d.text = SM_STR("4.4.0 not delivered, try again later");
		break;
	default:
		d.code = 451;
		d.text = SM_STR("4.4.7 not delivered in time");
		break;
	}
	return d;
}

/* Whoever asked has its answer, also when its client has gone. */
static void tell(struct qm *q, struct qm_now *w)
{
	const struct qm_txn *txn = w->txn;
	struct sm_msg_ta_decided m = {0};

	w->told = w->over = true;
	sm_timer_cancel(&w->timer);
	if (w->peer == NULL)
		return;
	sm_arena_reset(&q->nows->arena);
	m.results = sm_arena_must(&q->nows->arena, txn->rcpt_count * sizeof(*m.results));
	for (unsigned i = 0; i < txn->rcpt_count; i++)
		m.results[m.results_count++] = decided(&txn->rcpts[i]);
	sm_peer_reply(w->peer, w->tag, 0, SM_MSG_ta_decided, &m);
	w->peer = NULL;
}

static void now_free(struct qm *q, struct qm_now *w)
{
	sm_timer_cancel(&w->timer);
	sm_list_remove(&w->link);
	sm_hash_remove(&q->nows->by_sess, &w->node);
	q->nows->waiting--;
	w->txn->now = NULL;
	sm_free(w);
}

static void child_durable(void *arg)
{
	struct child_wait *c = arg;
	struct qm_now *w = c->now;

	sm_free(c);
	w->waits = false;
	qm_progress(w->q, w->txn);
}

bool qm_now_progress(struct qm *q, struct qm_txn *txn)
{
	struct qm_now *w = txn->now;

	if (txn->busy > 0 || w->waits)
		return false;
	if (!w->told) {
		/* An alias is nobody's but ours when its child is durable. */
		if (txn->child_lsn > qm_log_durable(txn->log)) {
			struct child_wait *c = sm_calloc(1, sizeof(*c));

			c->now = w;
			w->waits = true;
			qm_store_after(q->store, txn->log, txn->child_lsn, &c->wait, child_durable,
			               c);
			return false;
		}
		if (w->began && w->peer == NULL)
			w->told = true;
		else if (w->peer == NULL)
			return false; /* it was put off before anybody asked */
		tell(q, w);
	}
	/* Operators and others may have decided it in ways of their own. */
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		struct qm_memory_entry *e = remembered(q, &txn->rcpts[i]);

		if (e != NULL && e->owner == &txn->rcpts[i])
			pass_on(q, e);
	}
	for (unsigned i = 0; i < txn->rcpt_count; i++)
		qm_rcpt_set(&txn->rcpts[i], QM_RCPT_SETTLED);
	now_free(q, w);
	return true;
}

/* ---- nobody waits any more ---- */

/* Nothing more is begun; what smtpc has is decided there. */
static void forget(struct qm *q, struct qm_txn *txn)
{
	const struct qm_try late = qm_now_try_late();

	txn->now->over = true;
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		struct qm_rcpt *r = &txn->rcpts[i];

		if (r->state == QM_RCPT_READY)
			qm_sched_remove(&q->sched, r);
		else if (r->state == QM_RCPT_NEW)
			sm_list_remove(&r->link);
		else
			continue; /* a question to smar comes back, too */
		qm_settle_rcpt(q, r, &late);
	}
}

static void grace_over(void *arg)
{
	struct qm_now *w = arg;

	tell(w->q, w);
	sm_log(SM_NOTICE, "qm.late", "ss_ta=%I xid=%?S stat=%s", w->txn->id, w->txn->client.xid,
	       "told, some still at smtpc");
}

static void time_over(void *arg)
{
	struct qm_now *w = arg;
	struct qm_txn *txn = w->txn;

	sm_log(SM_NOTICE, "qm.late", "ss_ta=%I xid=%?S stat=%s", txn->id, txn->client.xid,
	       w->began ? "time is over" : "nobody waits");
	sm_timer_set(&w->timer, sm_loop_now_ms() + w->q->conf->now.grace_ms, grace_over, w);
	w->began = true;
	forget(w->q, txn);
	qm_progress(w->q, txn);
}

/* One that is told has not to be told again; the session may have another. */
static bool waits_eq(const struct sm_hash_node *n, const void *sess)
{
	const struct qm_now *w = SM_CONTAINER_OF(n, struct qm_now, node);

	return !w->told && sm_id_eq(w->sess, *(const struct sm_id *)sess);
}

void qm_now_gone(struct qm *q, struct sm_id sess)
{
	struct sm_hash_node *n = sm_hash_find(&q->nows->by_sess, sm_id_hash(sess), waits_eq, &sess);
	struct qm_now *w = n != NULL ? SM_CONTAINER_OF(n, struct qm_now, node) : NULL;
	struct qm_txn *txn;

	if (w == NULL)
		return;
	txn = w->txn;
	sm_log(SM_NOTICE, "qm.late", "ss_ta=%I xid=%?S stat=%s", txn->id, txn->client.xid,
	       "client gone");
	w->began = true;
	tell(q, w);
	forget(q, txn);
	qm_progress(q, txn);
}

/* ---- the beginning ---- */

void qm_now_begin(struct qm *q, struct qm_txn *txn, struct sm_id sess)
{
	struct qm_now *w = sm_calloc(1, sizeof(*w));

	w->q = q;
	w->txn = txn;
	w->sess = sess;
	w->until_ms = sm_loop_now_ms() + BEGIN_MS;
	txn->now = w;
	txn->state = QM_TXN_ACTIVE;
	sm_list_push(&q->nows->open, &w->link);
	sm_hash_insert(&q->nows->by_sess, &w->node, sm_id_hash(sess));
	q->nows->waiting++;
	sm_timer_set(&w->timer, w->until_ms, time_over, w);
}

/* At once, or not at all. */
static bool refuse_all(struct qm *q, struct qm_txn *txn)
{
	struct qm_try t = {.outcome = SM_OUTCOME_TEMP, .host = SM_STR(""), .local = true};

	if (qm_halt_all(q)) {
		t.code = 450;
		t.text = SM_STR("4.2.1 deliveries are stopped at the moment");
	} else if (q->txns.rcpts > (size_t)q->conf->aq_max_entries) {
		t.code = 452;
		t.text = SM_STR("4.3.1 too much mail is being delivered");
	} else if (txn->rcpts[0].flags & QM_RCPT_HELD) {
		t.code = 450;
		t.text = sm_arena_str(&txn->arena, txn->rcpts[0].text);
	} else {
		return false;
	}
	for (unsigned i = 0; i < txn->rcpt_count; i++)
		if (txn->rcpts[i].state == QM_RCPT_NEW)
			qm_settle_rcpt(q, &txn->rcpts[i], &t);
	return true;
}

static void start(struct qm *q, struct qm_txn *txn)
{
	if (!refuse_all(q, txn)) {
		for (unsigned i = 0; i < txn->rcpt_count; i++)
			if (txn->rcpts[i].state == QM_RCPT_NEW &&
			    !sm_list_linked(&txn->rcpts[i].link))
				recall(q, &txn->rcpts[i]);
		qm_resolve(q, txn);
	}
	qm_progress(q, txn);
}

int qm_now_wait(struct qm *q, struct sm_peer *peer, const struct sm_frame *f)
{
	struct sm_msg_ta_decided nobody = {0};
	struct sm_msg_ta_wait m;
	struct qm_txn *txn;
	struct qm_now *w;
	int err;

	sm_arena_reset(&q->nows->arena);
	if ((err = sm_msg_ta_wait_decode(f->body, &q->nows->arena, &m)) != 0)
		return err;
	if (f->tag == 0)
		return sm_fail(SM_E_PROTO, "ta_wait without a tag");
	txn = qm_txn_find(&q->txns, m.ta);
	w = txn != NULL ? txn->now : NULL;
	if (w == NULL || w->began) {
		/* A former qmgr had it, or it came too late: it is over. */
		sm_peer_reply(peer, f->tag, 0, SM_MSG_ta_decided, &nobody);
		return 0;
	}
	w->began = true;
	w->peer = peer;
	w->tag = f->tag;
	w->until_ms = sm_loop_now_ms() + SM_MAX(m.within_ms, 1u);
	sm_timer_set(&w->timer, w->until_ms, time_over, w);
	start(q, txn);
	return 0;
}

/* ---- the whole ---- */

void qm_now_open(struct qm *q, struct qm_recovered *found)
{
	struct qm_nows *n = sm_calloc(1, sizeof(*n));

	q->nows = n;
	sm_list_init(&n->open);
	sm_hash_init(&n->by_sess);
	n->memory = found->told != NULL ? found->told
	                                : qm_memory_new((size_t)q->conf->now.remember_entries,
	                                                q->conf->now.remember_ms);
	found->told = NULL;
	sm_arena_init(&n->arena, "decided", 16 * 1024, 8 * SM_FRAME_MAX);
}

void qm_now_reload(struct qm *q)
{
	q->nows->memory->max = (size_t)q->conf->now.remember_entries;
	q->nows->memory->keep_ms = q->conf->now.remember_ms;
}

void qm_now_close(struct qm *q)
{
	struct qm_nows *n = q->nows;

	if (n == NULL)
		return;
	SM_LIST_FOR_SAFE (w, &n->open, struct qm_now, link) {
		for (unsigned i = 0; i < w->txn->rcpt_count; i++)
			if (w->txn->rcpts[i].state == QM_RCPT_NEW)
				sm_list_remove(&w->txn->rcpts[i].link);
		now_free(q, w);
	}
	sm_hash_fini(&n->by_sess);
	qm_memory_free(&n->memory);
	sm_arena_fini(&n->arena);
	SM_FREE(q->nows);
}

size_t qm_now_count(const struct qm *q)
{
	return q->nows->waiting;
}

size_t qm_now_remembered(const struct qm *q)
{
	return q->nows->memory->delivered_count;
}
