/*
 * Turns of routes and senders, groups of recipients, and the choice of host and smtpc. Loop thread;
 * pure.
 *
 * Invariants: a route with groups is either in `ready` or waits for at least one host (`waits`),
 * and then no host it waits for has room while no ready route is there that will ask for it; it is
 * in `idle` exactly when it has no group, held or not, and no task. A lane exists exactly while it
 * has groups.
 */
#include "qmgr/sched.h"

#include <stdlib.h>

#define SAME_SET_MAX 16 /* hosts that are compared each with each */
#define FEW_PART     64 /* of the active queue: what each route may have waiting */
#define MUCH_LEAST   64
#define FEW_LEAST    16
#define MUCH_PART    16 /* what is worth taking away */
#define TIGHT_PART   8  /* room is short when less is free */

static bool route_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_str_eq(SM_CONTAINER_OF(n, struct qm_route, node)->key,
	                 *(const struct sm_str *)key);
}

static bool lane_eq(const struct sm_hash_node *n, const void *key)
{
	return SM_CONTAINER_OF(n, struct qm_lane, node)->route == key;
}

void qm_sched_init(struct qm_sched *s, const struct qm_sched_conf *conf)
{
	*s = (struct qm_sched){.conf = *conf};
	qm_hosts_init(&s->hosts, &conf->hosts);
	sm_hash_init(&s->routes);
	sm_hash_init(&s->lanes);
	sm_heap_init(&s->timed);
	sm_list_init(&s->ready);
	sm_list_init(&s->idle);
}

/* ---- waiting for hosts ---- */

static void stop_waiting(struct qm_sched *s, struct qm_route *r)
{
	if (r->waits == 0)
		return;
	for (uint32_t i = 0; i < r->hop_count; i++) {
		struct qm_hop *hop = &r->hops[i];

		if (hop->host == NULL)
			continue;
		sm_list_remove(&hop->wait);
		qm_host_settle(&s->hosts, hop->host, hop->host->used_ms);
		hop->host = NULL;
	}
	r->waits = 0;
	s->waiting--;
}

/* Put the route on the lists that its state asks for. */
static void route_settle(struct qm_sched *s, struct qm_route *r)
{
	bool has = !sm_list_empty(&r->lanes);
	bool idle = !has && r->held == 0 && r->running == 0;

	if (!has) {
		sm_list_remove(&r->link);
		stop_waiting(s, r);
	} else if (r->waits == 0 && !sm_list_linked(&r->link)) {
		sm_list_push(&s->ready, &r->link);
	}
	if (!idle)
		sm_list_remove(&r->lru);
	else if (!sm_list_linked(&r->lru))
		sm_list_push(&s->idle, &r->lru);
}

static void wake_first(struct qm_sched *s, struct qm_host *x)
{
	struct qm_route *r = SM_LIST_FIRST(&x->waiters, struct qm_hop, wait)->route;

	stop_waiting(s, r);
	route_settle(s, r);
}

/* Who waits for this host longest may ask for its room. One for each room: whoever takes it offers
 * what is left. All of them when it died: they have to look elsewhere. */
static void offer(struct qm_sched *s, struct qm_host *x, int64_t now_ms)
{
	if (sm_list_empty(&x->waiters))
		return;
	switch (qm_host_room(&s->hosts, x, now_ms)) {
	case QM_ROOM:
		wake_first(s, x);
		break;
	case QM_ROOM_LATER:
		sm_heap_set(&s->timed, &x->wake, x->next_ms);
		break;
	case QM_ROOM_FULL:
		break;
	case QM_ROOM_DEAD:
		while (!sm_list_empty(&x->waiters))
			wake_first(s, x);
		break;
	}
}

static void offer_hops(struct qm_sched *s, const struct qm_route *r, int64_t now_ms)
{
	struct qm_host *x;

	for (uint32_t i = 0; s->waiting > 0 && i < r->hop_count; i++)
		if ((x = qm_host_find(&s->hosts, &r->hops[i].target.sa)) != NULL)
			offer(s, x, now_ms);
}

static void wait_for(struct qm_sched *s, struct qm_hop *hop, struct qm_host *x)
{
	struct qm_route *r = hop->route;

	if (r->waits++ == 0) {
		s->waiting++;
		sm_list_remove(&r->link);
	}
	hop->host = x;
	sm_list_push(&x->waiters, &hop->wait);
	qm_host_settle(&s->hosts, x, x->used_ms);
}

int64_t qm_sched_wake(struct qm_sched *s, int64_t now_ms)
{
	struct sm_heap_node *n;

	s->now_ms = now_ms;
	while ((n = sm_heap_top(&s->timed)) != NULL && n->key <= now_ms) {
		struct qm_host *x = SM_CONTAINER_OF(n, struct qm_host, wake);

		sm_heap_remove(&s->timed, n);
		qm_host_settle(&s->hosts, x, now_ms);
		offer(s, x, now_ms);
	}
	return n ? n->key : INT64_MAX;
}

/* ---- routes ---- */

static void hops_free(struct qm_sched *s, struct qm_route *r)
{
	stop_waiting(s, r);
	for (uint32_t i = 0; i < r->hop_count; i++)
		sm_free((char *)(uintptr_t)r->hops[i].target.name.p);
	SM_FREE(r->hops);
	r->hop_count = 0;
}

static void route_free(struct qm_sched *s, struct qm_route *r)
{
	sm_hash_remove(&s->routes, &r->node);
	sm_list_remove(&r->link);
	sm_list_remove(&r->lru);
	hops_free(s, r);
	sm_free((char *)(uintptr_t)r->key.p);
	sm_free(r);
}

void qm_sched_fini(struct qm_sched *s)
{
	for (struct sm_hash_node *n = sm_hash_next(&s->routes, NULL), *next; n; n = next) {
		struct qm_route *r = SM_CONTAINER_OF(n, struct qm_route, node);
		struct sm_list rest;

		next = sm_hash_next(&s->routes, n);
		sm_list_init(&rest);
		qm_sched_drain(s, r, &rest, 0);
		while (sm_list_shift(&rest))
			;
		route_free(s, r);
	}
	for (unsigned i = 0; i < QM_AGENTS_MAX; i++)
		if (s->agents[i])
			qm_agent_remove(s, &(struct qm_agent *){s->agents[i]});
	sm_heap_fini(&s->timed);
	qm_hosts_fini(&s->hosts);
	sm_hash_fini(&s->lanes);
	sm_hash_fini(&s->routes);
}

void qm_sched_reload(struct qm_sched *s, const struct qm_sched_conf *conf, int64_t now_ms)
{
	s->conf = *conf;
	qm_hosts_reload(&s->hosts, &conf->hosts);
	for (struct qm_host *x = qm_host_next(&s->hosts, NULL); x; x = qm_host_next(&s->hosts, x))
		offer(s, x, now_ms);
}

void qm_sched_revive(struct qm_sched *s)
{
	for (struct qm_host *x = qm_host_next(&s->hosts, NULL); x; x = qm_host_next(&s->hosts, x))
		qm_host_revive(x);
}

bool qm_sched_revive_host(struct qm_sched *s, const struct sm_sa *sa)
{
	struct qm_host *x = qm_host_find(&s->hosts, sa);
	bool was = x && (x->dead_until_ms > s->now_ms || x->next_ms > s->now_ms);

	if (x)
		qm_host_revive(x);
	return was;
}

static struct sm_str own(struct sm_str s)
{
	char *p = sm_malloc(s.n + 1);

	memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return sm_str_n(p, s.n);
}

struct qm_route *qm_route_find(struct qm_sched *s, struct sm_str key)
{
	struct sm_hash_node *n = sm_hash_find(&s->routes, sm_hash_str(key), route_eq, &key);

	return n ? SM_CONTAINER_OF(n, struct qm_route, node) : NULL;
}

static bool target_eq(const struct sm_msg_host *a, const struct sm_msg_host *b)
{
	return a->pref == b->pref && sm_sa_eq(&a->sa, &b->sa) && sm_str_eq(a->name, b->name);
}

static bool has_hop(const struct qm_route *r, const struct sm_msg_host *m)
{
	for (uint32_t i = 0; i < r->hop_count; i++)
		if (target_eq(&r->hops[i].target, m))
			return true;
	return false;
}

/* Equal preferences come shuffled, which is no news. */
static bool hops_same(const struct qm_route *r, const struct sm_msg_route *m)
{
	if (r->hop_count != m->hosts_count)
		return false;
	for (uint32_t i = 0; i < r->hop_count; i++)
		if (!target_eq(&r->hops[i].target, &m->hosts[i]) &&
		    (r->hop_count > SAME_SET_MAX || !has_hop(r, &m->hosts[i])))
			return false;
	return true;
}

static void hops_set(struct qm_sched *s, struct qm_route *r, const struct sm_msg_route *m)
{
	struct qm_hop *hops = sm_calloc(m->hosts_count + 1, sizeof(*hops));

	for (uint32_t i = 0; i < m->hosts_count; i++) {
		hops[i] = (struct qm_hop){.route = r, .target = m->hosts[i]};
		hops[i].target.name = own(m->hosts[i].name);
		sm_list_init(&hops[i].wait);
		for (uint32_t k = 0; k < r->hop_count; k++)
			if (sm_sa_eq(&r->hops[k].target.sa, &hops[i].target.sa))
				hops[i].idle = r->hops[k].idle;
	}
	hops_free(s, r);
	r->hops = hops;
	r->hop_count = m->hosts_count;
}

struct qm_route *qm_route_get(struct qm_sched *s, const struct sm_msg_route *m, int64_t now_ms)
{
	struct qm_route *r = qm_route_find(s, m->key);

	if (r == NULL) {
		while (s->routes.count >= s->conf.max_routes && !sm_list_empty(&s->idle))
			route_free(s, SM_LIST_FIRST(&s->idle, struct qm_route, lru));
		r = sm_calloc(1, sizeof(*r));
		r->key = own(m->key);
		sm_list_init(&r->link);
		sm_list_init(&r->lru);
		sm_list_init(&r->lanes);
		sm_hash_insert(&s->routes, &r->node, sm_hash_str(r->key));
		route_settle(s, r);
	}
	r->agent = m->agent;
	if (!hops_same(r, m)) {
		offer_hops(s, r, now_ms); /* it may have been woken for one of those */
		hops_set(s, r, m);
		route_settle(s, r);
	}
	return r;
}

const struct qm_host *qm_route_dead(const struct qm_sched *s, const struct qm_route *r,
                                    int64_t now_ms)
{
	const struct qm_host *first = NULL;

	for (uint32_t i = 0; i < r->hop_count; i++) {
		const struct qm_host *x = qm_host_find(&s->hosts, &r->hops[i].target.sa);

		if (!qm_host_dead(x, now_ms))
			return NULL;
		if (first == NULL || x->dead_until_ms < first->dead_until_ms)
			first = x;
	}
	return first;
}

/* ---- agents ---- */

struct qm_agent *qm_agent_add(struct qm_sched *s, unsigned max_tasks)
{
	for (unsigned i = 0; i < QM_AGENTS_MAX; i++) {
		if (s->agents[i])
			continue;
		struct qm_agent *a = sm_calloc(1, sizeof(*a));

		a->slot = i;
		a->max_tasks = max_tasks;
		s->agents[i] = a;
		s->room += max_tasks;
		return a;
	}
	return NULL;
}

void qm_agent_remove(struct qm_sched *s, struct qm_agent **ap)
{
	struct qm_agent *a = *ap;

	sm_assert(a->running == 0);
	s->room -= a->max_tasks;
	for (struct sm_hash_node *n = sm_hash_next(&s->routes, NULL); n;
	     n = sm_hash_next(&s->routes, n)) {
		struct qm_route *r = SM_CONTAINER_OF(n, struct qm_route, node);

		r->idle[a->slot] = 0;
		for (uint32_t i = 0; i < r->hop_count; i++)
			r->hops[i].idle = 0;
	}
	s->agents[a->slot] = NULL;
	SM_FREE(*ap);
}

/* An agent with an open session there, else the one with the most room; NULL when none has room. */
static struct qm_agent *choose_agent(struct qm_sched *s, const struct qm_route *r, bool *reuse)
{
	struct qm_agent *best = NULL;

	*reuse = false;
	for (unsigned i = 0; i < QM_AGENTS_MAX; i++) {
		struct qm_agent *a = s->agents[i];

		if (a == NULL || a->running >= a->max_tasks)
			continue;
		bool has = r->idle[i] > 0;

		if (best == NULL || (has && !*reuse) ||
		    (has == *reuse &&
		     a->max_tasks - a->running > best->max_tasks - best->running)) {
			best = a;
			*reuse = has;
		}
	}
	return best;
}

/* ---- groups ---- */

static struct qm_lane *lane_get(struct qm_sched *s, struct qm_route *r, struct sm_str sender)
{
	/* Two senders of one hash share a lane, which does no harm. */
	uint64_t hash = sm_hash_u64(sm_hash_str(sender) ^ (uintptr_t)r);
	struct sm_hash_node *n = sm_hash_find(&s->lanes, hash, lane_eq, r);
	struct qm_lane *lane;

	if (n)
		return SM_CONTAINER_OF(n, struct qm_lane, node);
	lane = sm_calloc(1, sizeof(*lane));
	lane->route = r;
	sm_list_init(&lane->groups);
	sm_list_push(&r->lanes, &lane->link);
	sm_hash_insert(&s->lanes, &lane->node, hash);
	return lane;
}

static void lane_free(struct qm_sched *s, struct qm_lane *lane)
{
	sm_hash_remove(&s->lanes, &lane->node);
	sm_list_remove(&lane->link);
	sm_free(lane);
}

void qm_sched_add(struct qm_sched *s, struct qm_route *r, struct qm_rcpt *rcpt)
{
	struct qm_group *g = NULL;

	SM_LIST_FOR (other, &rcpt->txn->held, struct qm_group, link) {
		if (other->route == r) {
			g = other;
			break;
		}
	}
	if (g == NULL) {
		g = sm_calloc(1, sizeof(*g));
		g->route = r;
		g->txn = rcpt->txn;
		sm_list_init(&g->rcpts);
		sm_list_push(&rcpt->txn->held, &g->link);
		r->held++;
		route_settle(s, r);
	}
	sm_list_push(&g->rcpts, &rcpt->link);
	rcpt->group = g;
	g->count++;
	qm_rcpt_set(rcpt, QM_RCPT_READY);
}

void qm_sched_release(struct qm_sched *s, struct qm_txn *txn)
{
	struct sm_list *e;

	while ((e = sm_list_shift(&txn->held)) != NULL) {
		struct qm_group *g = SM_LIST_ENTRY(e, struct qm_group, link);
		struct qm_route *r = g->route;

		g->lane = lane_get(s, r, txn->sender);
		sm_list_push(&g->lane->groups, &g->link);
		r->held--;
		r->waiting += g->count;
		route_settle(s, r);
	}
}

static void group_free(struct qm_sched *s, struct qm_group *g)
{
	sm_list_remove(&g->link);
	if (g->lane == NULL)
		g->route->held--;
	else if (sm_list_empty(&g->lane->groups))
		lane_free(s, g->lane);
	sm_free(g);
}

void qm_sched_remove(struct qm_sched *s, struct qm_rcpt *rcpt)
{
	struct qm_group *g = rcpt->group;
	struct qm_route *r = g->route;

	sm_assert(rcpt->state == QM_RCPT_READY && g->count > 0);
	sm_list_remove(&rcpt->link);
	rcpt->group = NULL;
	r->waiting -= g->lane != NULL;
	if (--g->count == 0)
		group_free(s, g);
	route_settle(s, r);
	offer_hops(s, r, s->now_ms); /* it may have been woken for room there */
}

void qm_sched_drain(struct qm_sched *s, struct qm_route *r, struct sm_list *out, int64_t now_ms)
{
	while (!sm_list_empty(&r->lanes)) {
		struct qm_lane *lane = SM_LIST_FIRST(&r->lanes, struct qm_lane, link);
		struct qm_group *g = SM_LIST_FIRST(&lane->groups, struct qm_group, link);

		sm_list_splice(out, &g->rcpts);
		group_free(s, g);
	}
	r->waiting = 0;
	route_settle(s, r);
	offer_hops(s, r, now_ms); /* it may have been woken for room there */
}

/* ---- room in the active queue ---- */

bool qm_route_crowded(const struct qm_route *r, size_t used, size_t max)
{
	size_t few = SM_MAX(max / FEW_PART, (size_t)FEW_LEAST);

	return r->waiting > SM_MAX(few, 2 * (max - SM_MIN(used, max)));
}

/* The newest of the sender whose turn is last. */
static struct qm_group *last_group(struct qm_route *r)
{
	struct qm_lane *lane = SM_LIST_ENTRY(r->lanes.prev, struct qm_lane, link);

	return SM_LIST_ENTRY(lane->groups.prev, struct qm_group, link);
}

struct qm_route *qm_sched_make_room(struct qm_sched *s, size_t used, size_t max,
                                    struct sm_list *out, int64_t now_ms)
{
	struct qm_route *most = NULL;
	unsigned keep;

	if (used <= max - max / TIGHT_PART)
		return NULL;
	for (struct sm_hash_node *n = sm_hash_next(&s->routes, NULL); n;
	     n = sm_hash_next(&s->routes, n)) {
		struct qm_route *r = SM_CONTAINER_OF(n, struct qm_route, node);

		if (most == NULL || r->waiting > most->waiting)
			most = r;
	}
	if (most == NULL || most->waiting < SM_MAX(max / MUCH_PART, (size_t)MUCH_LEAST))
		return NULL;
	for (keep = most->waiting / 2; most->waiting > keep;) {
		struct qm_group *g = last_group(most);

		most->waiting -= g->count;
		sm_list_splice(out, &g->rcpts);
		group_free(s, g);
	}
	route_settle(s, most);
	offer_hops(s, most, now_ms);
	return most;
}

/* ---- the next task ---- */

/* The living hosts with the best preference: a full one is no reason to go to a worse one. Gives
 * what they have, and the one to take: one with an open session, then the least busy, in turns. */
static enum qm_room plan(const struct qm_sched *s, struct qm_route *r, int64_t now_ms,
                         struct qm_hop **best, uint16_t *pref)
{
	enum qm_room room = QM_ROOM_DEAD;
	unsigned running = 0;

	*best = NULL;
	for (uint32_t i = 0; i < r->hop_count; i++) {
		struct qm_hop *hop = &r->hops[(i + r->turn) % r->hop_count];
		const struct qm_host *x;
		enum qm_room has;

		if (room != QM_ROOM_DEAD && hop->target.pref > *pref)
			continue;
		x = qm_host_find(&s->hosts, &hop->target.sa);
		has = x ? qm_host_room(&s->hosts, x, now_ms) : QM_ROOM;
		if (has == QM_ROOM_DEAD)
			continue;
		if (room == QM_ROOM_DEAD || hop->target.pref < *pref) {
			room = QM_ROOM_FULL;
			*pref = hop->target.pref;
			*best = NULL;
		}
		if (has != QM_ROOM || (*best != NULL && ((*best)->idle > 0) > (hop->idle > 0)) ||
		    (*best != NULL && ((*best)->idle > 0) == (hop->idle > 0) &&
		     running <= (x ? x->running : 0)))
			continue;
		room = QM_ROOM;
		running = x ? x->running : 0;
		*best = hop;
	}
	return room;
}

static void wait_for_room(struct qm_sched *s, struct qm_route *r, uint16_t pref, int64_t now_ms)
{
	for (uint32_t i = 0; i < r->hop_count; i++) {
		struct qm_hop *hop = &r->hops[i];
		struct qm_host *x;

		if (hop->target.pref != pref)
			continue;
		x = qm_host_find(&s->hosts, &hop->target.sa);
		if (x == NULL || qm_host_dead(x, now_ms))
			continue;
		wait_for(s, hop, x);
		if (qm_host_room(&s->hosts, x, now_ms) == QM_ROOM_LATER)
			sm_heap_set(&s->timed, &x->wake, x->next_ms);
	}
	offer_hops(s, r, now_ms);
}

static void take(struct qm_sched *s, struct qm_pick *out, struct qm_hop *hop, int64_t now_ms,
                 struct sm_list *rcpts)
{
	struct qm_host *x = qm_host_get(&s->hosts, &hop->target.sa, now_ms);
	struct qm_route *r = hop->route;
	struct qm_lane *lane = SM_LIST_FIRST(&r->lanes, struct qm_lane, link);
	struct qm_group *g = SM_LIST_FIRST(&lane->groups, struct qm_group, link);
	unsigned max = r->agent == SM_AGENT_LMTP ? s->conf.lmtp_max_rcpts : s->conf.smtp_max_rcpts;

	*out = (struct qm_pick){
	    .route = r, .host = x, .hop = (unsigned)(hop - r->hops), .txn = g->txn};
	out->agent = choose_agent(s, r, &out->reuse);
	sm_assert(out->agent != NULL);
	if (out->reuse) {
		r->idle[out->agent->slot]--;
		hop->idle -= hop->idle > 0;
	}
	while (out->count < max && g->count > 0) {
		sm_list_push(rcpts, sm_list_shift(&g->rcpts));
		g->count--;
		out->count++;
	}
	r->waiting -= out->count;
	r->left += out->count;
	r->turn++;
	/* To the end: the turn of other senders, and of other routes. */
	sm_list_remove(&lane->link);
	sm_list_push(&r->lanes, &lane->link);
	if (g->count == 0)
		group_free(s, g);
	r->running++;
	out->agent->running++;
	s->room--;
	qm_host_begin(&s->hosts, x, now_ms);
	sm_list_remove(&r->link);
	route_settle(s, r);
	offer_hops(s, r, now_ms);
}

enum qm_step qm_sched_next(struct qm_sched *s, int64_t now_ms, struct qm_pick *out,
                           struct sm_list *rcpts)
{
	s->now_ms = now_ms;
	while (s->room > 0 && !sm_list_empty(&s->ready)) {
		struct qm_route *r = SM_LIST_FIRST(&s->ready, struct qm_route, link);
		struct qm_hop *hop;
		uint16_t pref = 0;

		switch (plan(s, r, now_ms, &hop, &pref)) {
		case QM_ROOM:
			take(s, out, hop, now_ms, rcpts);
			return QM_STEP_TASK;
		case QM_ROOM_FULL:
		case QM_ROOM_LATER:
			wait_for_room(s, r, pref, now_ms);
			break;
		case QM_ROOM_DEAD:
			*out = (struct qm_pick){.route = r};
			return QM_STEP_DEAD;
		}
	}
	return QM_STEP_NONE;
}

uint32_t qm_pick_hosts(const struct qm_sched *s, const struct qm_pick *p, int64_t now_ms,
                       struct sm_msg_host *hosts)
{
	const struct qm_route *r = p->route;
	uint32_t n = 0;

	hosts[n++] = r->hops[p->hop].target;
	for (uint32_t i = 0; i < r->hop_count; i++) {
		if (i == p->hop ||
		    qm_host_dead(qm_host_find(&s->hosts, &r->hops[i].target.sa), now_ms))
			continue;
		hosts[n++] = r->hops[i].target;
	}
	return n;
}

/* ---- and what became of it ---- */

/* smtpc's own LMTP socket has no address here: there is one hop only. */
static struct qm_hop *hop_of(struct qm_route *r, const struct sm_sa *sa)
{
	for (uint32_t i = 0; i < r->hop_count; i++)
		if (r->hops[i].target.sa.len == 0 || sm_sa_eq(&r->hops[i].target.sa, sa))
			return &r->hops[i];
	return NULL;
}

void qm_sched_done(struct qm_sched *s, struct qm_route *r, struct qm_host *host, struct qm_agent *a,
                   const struct sm_sa *kept, int64_t now_ms)
{
	struct qm_hop *hop;

	sm_assert(r->running > 0 && a->running > 0);
	r->running--;
	a->running--;
	s->room++;
	if (kept != NULL && (hop = hop_of(r, kept)) != NULL && r->idle[a->slot] < UINT16_MAX) {
		r->idle[a->slot]++;
		hop->idle++;
	}
	qm_host_end(&s->hosts, host, now_ms);
	offer(s, host, now_ms);
	route_settle(s, r);
}

bool qm_sched_reached(struct qm_sched *s, const struct sm_sa *sa, enum sm_reach reach,
                      uint16_t code, struct sm_str text, int64_t now_ms)
{
	struct qm_host *x = qm_host_get(&s->hosts, sa, now_ms);
	bool died = qm_host_reached(&s->hosts, x, reach, code, text, now_ms);

	offer(s, x, now_ms);
	return died;
}

void qm_sched_session_gone(struct qm_route *r, const struct qm_agent *a, const struct sm_sa *sa)
{
	struct qm_hop *hop = hop_of(r, sa);

	if (r->idle[a->slot] > 0)
		r->idle[a->slot]--;
	if (hop != NULL && hop->idle > 0)
		hop->idle--;
}
