/*
 * Turns of routes, groups of recipients, windows, and the choice of an smtpc. Loop thread; pure.
 *
 * Invariant: a route is in `ready` exactly when it has groups and running < window; in `idle`
 * exactly when it has no group and no task.
 */
#include "qmgr/sched.h"

#include <stdlib.h>

static bool route_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_str_eq(SM_CONTAINER_OF(n, struct qm_route, node)->key,
	                 *(const struct sm_str *)key);
}

void qm_sched_init(struct qm_sched *s, const struct qm_sched_conf *conf)
{
	*s = (struct qm_sched){.conf = *conf};
	sm_hash_init(&s->routes);
	sm_list_init(&s->ready);
	sm_list_init(&s->idle);
}

static void route_hosts_free(struct qm_route *r)
{
	for (uint32_t i = 0; i < r->host_count; i++)
		sm_free((char *)(uintptr_t)r->hosts[i].name.p);
	SM_FREE(r->hosts);
	r->host_count = 0;
}

static void route_free(struct qm_sched *s, struct qm_route *r)
{
	sm_hash_remove(&s->routes, &r->node);
	sm_list_remove(&r->link);
	sm_list_remove(&r->lru);
	route_hosts_free(r);
	sm_free((char *)(uintptr_t)r->key.p);
	sm_free(r);
}

static void group_free(struct qm_group *g)
{
	sm_list_remove(&g->link);
	sm_free(g);
}

void qm_sched_fini(struct qm_sched *s)
{
	for (struct sm_hash_node *n = sm_hash_next(&s->routes, NULL), *next; n; n = next) {
		struct qm_route *r = SM_CONTAINER_OF(n, struct qm_route, node);
		struct sm_list rest;

		next = sm_hash_next(&s->routes, n);
		sm_list_init(&rest);
		qm_sched_drain(s, r, &rest);
		while (sm_list_shift(&rest))
			;
		route_free(s, r);
	}
	for (unsigned i = 0; i < QM_AGENTS_MAX; i++)
		if (s->agents[i])
			qm_agent_remove(s, &(struct qm_agent *){s->agents[i]});
	sm_hash_fini(&s->routes);
}

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
	     n = sm_hash_next(&s->routes, n))
		SM_CONTAINER_OF(n, struct qm_route, node)->idle[a->slot] = 0;
	s->agents[a->slot] = NULL;
	SM_FREE(*ap);
}

static struct sm_str own(struct sm_str s)
{
	char *p = sm_malloc(s.n + 1);

	memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return sm_str_n(p, s.n);
}

/* Put the route on the lists that its state asks for. */
static void route_settle(struct qm_sched *s, struct qm_route *r)
{
	bool ready = !sm_list_empty(&r->groups) && r->running < r->window;
	bool idle = sm_list_empty(&r->groups) && r->running == 0;

	if (!ready)
		sm_list_remove(&r->link);
	else if (!sm_list_linked(&r->link))
		sm_list_push(&s->ready, &r->link);
	if (!idle)
		sm_list_remove(&r->lru);
	else if (!sm_list_linked(&r->lru))
		sm_list_push(&s->idle, &r->lru);
}

struct qm_route *qm_route_find(struct qm_sched *s, struct sm_str key)
{
	struct sm_hash_node *n = sm_hash_find(&s->routes, sm_hash_str(key), route_eq, &key);

	return n ? SM_CONTAINER_OF(n, struct qm_route, node) : NULL;
}

static bool hosts_same(const struct qm_route *r, const struct sm_msg_route *m)
{
	if (r->host_count != m->hosts_count)
		return false;
	for (uint32_t i = 0; i < r->host_count; i++)
		if (r->hosts[i].pref != m->hosts[i].pref ||
		    !sm_sa_eq(&r->hosts[i].sa, &m->hosts[i].sa) ||
		    !sm_str_eq(r->hosts[i].name, m->hosts[i].name))
			return false;
	return true;
}

struct qm_route *qm_route_get(struct qm_sched *s, const struct sm_msg_route *m)
{
	struct qm_route *r = qm_route_find(s, m->key);

	if (r == NULL) {
		while (s->routes.count >= s->conf.max_routes && !sm_list_empty(&s->idle))
			route_free(s, SM_LIST_FIRST(&s->idle, struct qm_route, lru));
		r = sm_calloc(1, sizeof(*r));
		r->key = own(m->key);
		r->window = s->conf.initial_window;
		sm_list_init(&r->link);
		sm_list_init(&r->lru);
		sm_list_init(&r->groups);
		sm_hash_insert(&s->routes, &r->node, sm_hash_str(r->key));
		route_settle(s, r);
	}
	r->agent = m->agent;
	if (!hosts_same(r, m)) {
		route_hosts_free(r);
		r->hosts = sm_calloc(m->hosts_count, sizeof(*r->hosts));
		r->host_count = m->hosts_count;
		for (uint32_t i = 0; i < m->hosts_count; i++) {
			r->hosts[i] = m->hosts[i];
			r->hosts[i].name = own(m->hosts[i].name);
		}
	}
	return r;
}

void qm_sched_add(struct qm_sched *s, struct qm_route *r, struct qm_rcpt *rcpt)
{
	/* Recipients of one transaction become ready one right after the other: its group, if any,
	 * is the last. */
	struct qm_group *g =
	    sm_list_empty(&r->groups) ? NULL : SM_LIST_ENTRY(r->groups.prev, struct qm_group, link);

	if (g == NULL || g->txn != rcpt->txn) {
		g = sm_calloc(1, sizeof(*g));
		g->route = r;
		g->txn = rcpt->txn;
		sm_list_init(&g->rcpts);
		sm_list_push(&r->groups, &g->link);
	}
	sm_list_push(&g->rcpts, &rcpt->link);
	rcpt->group = g;
	g->count++;
	r->waiting++;
	qm_rcpt_set(rcpt, QM_RCPT_READY);
	route_settle(s, r);
}

void qm_sched_remove(struct qm_sched *s, struct qm_rcpt *rcpt)
{
	struct qm_group *g = rcpt->group;
	struct qm_route *r = g->route;

	sm_assert(rcpt->state == QM_RCPT_READY && g->count > 0);
	sm_list_remove(&rcpt->link);
	rcpt->group = NULL;
	r->waiting--;
	if (--g->count == 0)
		group_free(g);
	route_settle(s, r);
}

void qm_sched_drain(struct qm_sched *s, struct qm_route *r, struct sm_list *out)
{
	SM_LIST_FOR_SAFE (g, &r->groups, struct qm_group, link) {
		sm_list_splice(out, &g->rcpts);
		group_free(g);
	}
	r->waiting = 0;
	route_settle(s, r);
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

bool qm_sched_next(struct qm_sched *s, struct qm_pick *out, struct sm_list *rcpts)
{
	if (s->room == 0 || sm_list_empty(&s->ready))
		return false;
	struct qm_route *r = SM_LIST_FIRST(&s->ready, struct qm_route, link);
	struct qm_group *g = SM_LIST_FIRST(&r->groups, struct qm_group, link);
	unsigned max = r->agent == SM_AGENT_LMTP ? s->conf.lmtp_max_rcpts : s->conf.smtp_max_rcpts;

	*out = (struct qm_pick){.route = r, .txn = g->txn};
	out->agent = choose_agent(s, r, &out->reuse);
	sm_assert(out->agent != NULL);
	if (out->reuse)
		r->idle[out->agent->slot]--;
	while (out->count < max && g->count > 0) {
		sm_list_push(rcpts, sm_list_shift(&g->rcpts));
		g->count--;
		out->count++;
	}
	r->waiting -= out->count;
	r->left += out->count;
	if (g->count == 0)
		group_free(g);
	r->running++;
	out->agent->running++;
	s->room--;
	sm_list_remove(&r->link); /* to the end: the others' turn */
	route_settle(s, r);
	return true;
}

void qm_sched_done(struct qm_sched *s, struct qm_route *r, struct qm_agent *a, enum sm_reach reach,
                   bool session_kept)
{
	sm_assert(r->running > 0 && a->running > 0);
	r->running--;
	a->running--;
	s->room++;
	if (session_kept && r->idle[a->slot] < UINT16_MAX)
		r->idle[a->slot]++;
	if (reach == SM_REACH_OK && r->window < s->conf.max_window)
		r->window++;
	else if (reach == SM_REACH_REFUSED || reach == SM_REACH_BUSY)
		r->window = SM_MAX(1U, SM_MIN(r->window / 2, s->conf.initial_window));
	route_settle(s, r);
}

void qm_sched_session_gone(struct qm_route *r, const struct qm_agent *a)
{
	if (r->idle[a->slot] > 0)
		r->idle[a->slot]--;
}
