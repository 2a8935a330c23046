/*
 * The routes: which there are and which hosts they have, which are ready, which wait for room at a
 * host, and how many sessions are open to them. Loop thread; pure.
 *
 * Invariants: a route with groups is either in `ready` or waits for at least one host (`waits`),
 * and then no host it waits for has room while no ready route is there that will ask for it; it is
 * in `idle` exactly when it has no group, held or not, no probe that waits, and no task; in `much`
 * exactly while at least QM_ROUTE_MUCH recipients wait.
 */
#include "qmgr/sched_int.h"

#define SAME_SET_MAX 16 /* hosts that are compared each with each */
#define FEW_PART     64 /* of the active queue: what each route may have waiting */
#define FEW_LEAST    16

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

void qm_route_settle(struct qm_sched *s, struct qm_route *r)
{
	bool has = !sm_list_empty(&r->lanes);
	bool idle = !has && sm_list_empty(&r->held) && r->running == 0 && sm_list_empty(&r->probes);
	bool much = r->waiting >= QM_ROUTE_MUCH;

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
	if (!much && sm_list_linked(&r->much))
		sm_list_remove(&r->much);
	else if (much && !sm_list_linked(&r->much))
		sm_list_push(&s->much, &r->much);
}

static void wake_first(struct qm_sched *s, struct qm_host *x)
{
	struct qm_route *r = SM_LIST_FIRST(&x->waiters, struct qm_hop, wait)->route;

	stop_waiting(s, r);
	qm_route_settle(s, r);
}

void qm_route_offer(struct qm_sched *s, struct qm_host *x, int64_t now_ms)
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

void qm_route_offer_hops(struct qm_sched *s, const struct qm_route *r, int64_t now_ms)
{
	struct qm_host *x;

	for (uint32_t i = 0; s->waiting > 0 && i < r->hop_count; i++)
		if ((x = qm_host_find(&s->hosts, &r->hops[i].target.sa)) != NULL)
			qm_route_offer(s, x, now_ms);
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

void qm_route_wait(struct qm_sched *s, struct qm_route *r, uint16_t pref, int64_t now_ms)
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
	qm_route_offer_hops(s, r, now_ms);
}

/* ---- the routes ---- */

static void hops_free(struct qm_sched *s, struct qm_route *r)
{
	stop_waiting(s, r);
	for (uint32_t i = 0; i < r->hop_count; i++)
		sm_free((char *)(uintptr_t)r->hops[i].target.name.p);
	SM_FREE(r->hops);
	r->hop_count = 0;
}

void qm_route_free(struct qm_sched *s, struct qm_route *r)
{
	if (s->found == r)
		s->found = NULL;
	sm_hash_remove(&s->routes, &r->node);
	sm_list_remove(&r->link);
	sm_list_remove(&r->lru);
	while (sm_list_shift(&r->probes))
		;
	sm_list_remove(&r->probe_turn);
	hops_free(s, r);
	sm_free((char *)(uintptr_t)r->key.p);
	sm_free((char *)(uintptr_t)r->conf.p);
	sm_free(r);
}

static struct sm_str own(struct sm_str s)
{
	char *p = sm_malloc(s.n + 1);

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return sm_str_n(p, s.n);
}

static bool route_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_str_eq(SM_CONTAINER_OF(n, struct qm_route, node)->key,
	                 *(const struct sm_str *)key);
}

struct qm_route *qm_route_find(struct qm_sched *s, struct sm_str key)
{
	struct sm_hash_node *n;

	/* The recipients of a mail mostly go the same way. */
	if (s->found != NULL && sm_str_eq(s->found->key, key))
		return s->found;
	n = sm_hash_find(&s->routes, sm_hash_str(key), route_eq, &key);
	s->found = n ? SM_CONTAINER_OF(n, struct qm_route, node) : NULL;
	return s->found;
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
			qm_route_free(s, SM_LIST_FIRST(&s->idle, struct qm_route, lru));
		r = sm_calloc(1, sizeof(*r));
		r->key = own(m->key);
		r->conf = own(m->conf); /* the key is another one with another conf */
		sm_list_init(&r->link);
		sm_list_init(&r->lru);
		sm_list_init(&r->much);
		sm_list_init(&r->held);
		sm_list_init(&r->lanes);
		sm_list_init(&r->probes);
		sm_list_init(&r->probe_turn);
		sm_hash_insert(&s->routes, &r->node, sm_hash_str(r->key));
		qm_route_settle(s, r);
	}
	r->agent = m->agent;
	if (!hops_same(r, m)) {
		qm_route_offer_hops(s, r, now_ms); /* it may have been woken for one of those */
		hops_set(s, r, m);
		qm_route_settle(s, r);
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

bool qm_route_crowded(const struct qm_route *r, size_t used, size_t max)
{
	size_t few = SM_MAX(max / FEW_PART, (size_t)FEW_LEAST);

	return r->waiting > SM_MAX(few, 3 * (max - SM_MIN(used, max)));
}

void qm_route_went(struct qm_route *r, unsigned rcpts, int64_t now_ms)
{
	sm_pace_add(&r->pace, rcpts, now_ms);
	r->left += rcpts;
}

int64_t qm_route_half_s(struct qm_route *r, int64_t now_ms, int64_t most)
{
	unsigned pace = sm_pace(&r->pace, now_ms);

	return pace == 0 ? most : SM_MIN(most, 1 + r->waiting / 2 / pace);
}

/* ---- idle sessions ---- */

/* smtpc's own LMTP socket has no address here: there is one hop only. */
static struct qm_hop *hop_of(struct qm_route *r, const struct sm_sa *sa)
{
	for (uint32_t i = 0; i < r->hop_count; i++)
		if (r->hops[i].target.sa.len == 0 || sm_sa_eq(&r->hops[i].target.sa, sa))
			return &r->hops[i];
	return NULL;
}

void qm_route_session_kept(struct qm_route *r, const struct qm_agent *a, const struct sm_sa *sa)
{
	struct qm_hop *hop = hop_of(r, sa);

	if (hop == NULL || r->idle[a->slot] == UINT16_MAX)
		return;
	r->idle[a->slot]++;
	hop->idle++;
}

void qm_route_session_gone(struct qm_route *r, const struct qm_agent *a, const struct sm_sa *sa)
{
	struct qm_hop *hop = hop_of(r, sa);

	if (r->idle[a->slot] > 0)
		r->idle[a->slot]--;
	if (hop != NULL && hop->idle > 0)
		hop->idle--;
}
