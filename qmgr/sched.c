/*
 * Who goes next: turns of senders, groups of recipients, and the choice of host and smtpc. Loop
 * thread; pure.
 *
 * Invariants: a lane exists exactly while it has groups; a group that nobody holds is in a lane.
 * Where a route stands among the others is the affair of routes.c: whatever changes what it has
 * says so by qm_route_settle.
 */
#include "qmgr/sched_int.h"

#define MUCH_PART  16 /* of the active queue: what is worth taking away */
#define TIGHT_PART 8  /* room is short when less is free */

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
	sm_list_init(&s->much);
	sm_list_init(&s->probing);
}

int64_t qm_sched_wake(struct qm_sched *s, int64_t now_ms)
{
	struct sm_heap_node *n;

	s->now_ms = now_ms;
	while ((n = sm_heap_top(&s->timed)) != NULL && n->key <= now_ms) {
		struct qm_host *x = SM_CONTAINER_OF(n, struct qm_host, wake);

		sm_heap_remove(&s->timed, n);
		qm_host_settle(&s->hosts, x, now_ms);
		qm_route_offer(s, x, now_ms);
	}
	return n ? n->key : INT64_MAX;
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
		qm_route_free(s, r);
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
		qm_route_offer(s, x, now_ms);
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

/* An agent with an open session there, else the one with the most room. */
struct qm_agent *qm_agent_choose(struct qm_sched *s, const struct qm_route *r, bool *reuse)
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

/*
 * The group that the transaction holds for this route; NULL: none. A thousand recipients may have a
 * thousand routes, and a route groups of thousands of transactions, hardly ever both: the groups of
 * the one and of the other are looked through side by side, so whoever has few ends the search.
 */
static struct qm_group *held_group(struct qm_sched *s, const struct qm_route *r,
                                   const struct qm_txn *txn)
{
	const struct sm_list *mine = txn->held.prev, *there = r->held.prev;

	for (; mine != &txn->held && there != &r->held; mine = mine->prev, there = there->prev) {
		struct qm_group *a = SM_LIST_ENTRY(mine, struct qm_group, link);
		struct qm_group *b = SM_LIST_ENTRY(there, struct qm_group, there);

		s->looked++;
		if (a->route == r)
			return a;
		if (b->txn == txn)
			return b;
	}
	return NULL;
}

void qm_sched_add(struct qm_sched *s, struct qm_route *r, struct qm_rcpt *rcpt)
{
	struct qm_group *g = held_group(s, r, rcpt->txn);

	if (g == NULL) {
		g = sm_calloc(1, sizeof(*g));
		g->route = r;
		g->txn = rcpt->txn;
		sm_list_init(&g->rcpts);
		sm_list_push(&rcpt->txn->held, &g->link);
		sm_list_push(&r->held, &g->there);
		qm_route_settle(s, r);
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
		sm_list_remove(&g->there);
		r->waiting += g->count;
		qm_route_settle(s, r);
	}
}

static void group_free(struct qm_sched *s, struct qm_group *g)
{
	sm_list_remove(&g->link);
	if (g->lane == NULL)
		sm_list_remove(&g->there);
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
	qm_route_settle(s, r);
	qm_route_offer_hops(s, r, s->now_ms); /* it may have been woken for room there */
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
	qm_route_settle(s, r);
	qm_route_offer_hops(s, r, now_ms); /* it may have been woken for room there */
}

/* ---- room in the active queue ---- */

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
	SM_LIST_FOR (r, &s->much, struct qm_route, much) {
		s->looked++;
		if (most == NULL || r->waiting > most->waiting)
			most = r;
	}
	if (most == NULL || most->waiting < max / MUCH_PART)
		return NULL;
	for (keep = most->waiting / 2; most->waiting > keep;) {
		struct qm_group *g = last_group(most);

		most->waiting -= g->count;
		sm_list_splice(out, &g->rcpts);
		group_free(s, g);
	}
	qm_route_settle(s, most);
	qm_route_offer_hops(s, most, now_ms);
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
	out->agent = qm_agent_choose(s, r, &out->reuse);
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
	qm_route_went(r, out->count, s->now_ms);
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
	qm_route_settle(s, r);
	qm_route_offer_hops(s, r, now_ms);
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
			qm_route_wait(s, r, pref, now_ms);
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

void qm_sched_done(struct qm_sched *s, struct qm_route *r, struct qm_host *host, struct qm_agent *a,
                   const struct sm_sa *kept, int64_t now_ms)
{
	sm_assert(r->running > 0 && a->running > 0);
	r->running--;
	a->running--;
	s->room++;
	if (kept != NULL)
		qm_route_session_kept(r, a, kept);
	qm_host_end(&s->hosts, host, now_ms);
	qm_route_offer(s, host, now_ms);
	qm_route_settle(s, r);
}

bool qm_sched_reached(struct qm_sched *s, const struct sm_sa *sa, enum sm_reach reach,
                      uint16_t code, struct sm_str text, int64_t now_ms)
{
	struct qm_host *x = qm_host_get(&s->hosts, sa, now_ms);
	bool died = qm_host_reached(&s->hosts, x, reach, code, text, now_ms);

	qm_route_offer(s, x, now_ms);
	return died;
}
