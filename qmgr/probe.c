/*
 * Which probe goes next, and what it takes from mail. Loop thread; pure.
 *
 * Invariants: a route is in sched.probing exactly while probes wait for it; a running probe is
 * counted in its route, host and agent as a task is, and in sched.probes and host.probes besides.
 */
#include "qmgr/probe.h"

#include "qmgr/sched_int.h"

enum { SHARE = 4 };

void qm_probe_add(struct qm_sched *s, struct qm_route *r, struct qm_probe *p)
{
	p->route = r;
	sm_list_push(&r->probes, &p->link);
	if (!sm_list_linked(&r->probe_turn))
		sm_list_push(&s->probing, &r->probe_turn);
	qm_route_settle(s, r);
}

void qm_probe_remove(struct qm_sched *s, struct qm_probe *p)
{
	struct qm_route *r = p->route;

	sm_list_remove(&p->link);
	if (sm_list_empty(&r->probes))
		sm_list_remove(&r->probe_turn);
	qm_route_settle(s, r);
}

/* ---- room ---- */

static bool has_room(const struct qm_sched *s, const struct qm_host *x, int64_t now_ms)
{
	unsigned window, share;

	if (x == NULL)
		return true;
	window = qm_host_limit(&s->hosts, x, now_ms);
	share = window / SHARE;
	if (share == 0)
		return window > 0 && x->running == 0 && sm_list_empty(&x->waiters);
	return x->running < window && x->probes < share;
}

/* Of the living hosts of the best preference one that has room, best with an open session. NULL:
 * none has; *dead: none lives. */
static struct qm_hop *choose(const struct qm_sched *s, struct qm_route *r, int64_t now_ms,
                             bool *dead)
{
	struct qm_hop *best = NULL;
	uint16_t pref = 0;

	*dead = true;
	for (uint32_t i = 0; i < r->hop_count; i++) {
		struct qm_hop *hop = &r->hops[(i + r->turn) % r->hop_count];
		const struct qm_host *x = qm_host_find(&s->hosts, &hop->target.sa);

		if (qm_host_dead(x, now_ms) || (!*dead && hop->target.pref > pref))
			continue;
		if (*dead || hop->target.pref < pref)
			best = NULL;
		pref = hop->target.pref;
		*dead = false;
		if (has_room(s, x, now_ms) && (best == NULL || (best->idle == 0 && hop->idle > 0)))
			best = hop;
	}
	return best;
}

static bool any_room(const struct qm_sched *s, unsigned max)
{
	unsigned tasks = 0;

	for (unsigned i = 0; i < QM_AGENTS_MAX; i++)
		tasks += s->agents[i] != NULL ? s->agents[i]->max_tasks : 0;
	return s->room > 0 && s->probes < SM_MIN(max, SM_MAX(1U, tasks / SHARE));
}

/* ---- the next one ---- */

static void begin(struct qm_sched *s, struct qm_probe *p, struct qm_hop *hop, int64_t now_ms)
{
	struct qm_route *r = p->route;
	bool reuse;

	p->host = qm_host_get(&s->hosts, &hop->target.sa, now_ms);
	p->hop = (unsigned)(hop - r->hops);
	p->agent = qm_agent_choose(s, r, &reuse);
	sm_assert(p->agent != NULL);
	if (reuse) {
		r->idle[p->agent->slot]--;
		hop->idle -= hop->idle > 0;
	}
	r->running++;
	r->turn++;
	p->agent->running++;
	s->room--;
	s->probes++;
	qm_host_begin_probe(&s->hosts, p->host, now_ms);
	qm_probe_remove(s, p);
}

enum qm_step qm_probe_next(struct qm_sched *s, int64_t now_ms, unsigned max, struct qm_probe **out)
{
	const struct sm_list *last = s->probing.prev;

	s->now_ms = now_ms;
	if (sm_list_empty(&s->probing) || !any_room(s, max))
		return QM_STEP_NONE;
	for (bool more = true; more;) {
		struct qm_route *r = SM_LIST_FIRST(&s->probing, struct qm_route, probe_turn);
		struct qm_hop *hop;
		bool dead;

		more = &r->probe_turn != last;
		/* To the end: the turn of other routes. */
		sm_list_remove(&r->probe_turn);
		sm_list_push(&s->probing, &r->probe_turn);
		*out = SM_LIST_FIRST(&r->probes, struct qm_probe, link);
		hop = choose(s, r, now_ms, &dead);
		if (dead) {
			qm_probe_remove(s, *out);
			return QM_STEP_DEAD;
		}
		if (hop != NULL) {
			begin(s, *out, hop, now_ms);
			return QM_STEP_TASK;
		}
	}
	return QM_STEP_NONE;
}

uint32_t qm_probe_hosts(const struct qm_sched *s, const struct qm_probe *p, int64_t now_ms,
                        struct sm_msg_host *hosts)
{
	const struct qm_pick pick = {.route = p->route, .hop = p->hop};

	return qm_pick_hosts(s, &pick, now_ms, hosts);
}

void qm_probe_done(struct qm_sched *s, struct qm_probe *p, const struct sm_sa *kept, int64_t now_ms)
{
	sm_assert(s->probes > 0 && p->host->probes > 0);
	s->probes--;
	p->host->probes--;
	qm_sched_done(s, p->route, p->host, p->agent, kept, now_ms);
}
