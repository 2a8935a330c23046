/*
 * dest and why: where mail goes, how its next hops are, and what holds it. Loop thread.
 *
 * Where mail for a domain goes only smar knows, so `why` asks it, then looks at each thing that
 * could be in the way: the switches, the processes, the route, its hosts, and the mail itself.
 */
#include "qmgr/control.h"

#include "libsm/time.h"
#include "qmgr/schedule.h"
#include "qmgr/suspend.h"

#define REASONS_MAX 200

/* ---- hosts ---- */

enum host_state { OK, FULL, RATE, DEAD, PROBE, UNUSED, SUSPENDED };
static const char *const state_words[] = {"ok",    "full",   "rate",     "dead",
                                          "probe", "unused", "suspended"};

/* What stops this very host; what stops all is another matter. */
static const struct qm_suspension *halted_host(const struct qm *q, const struct sm_msg_host *h)
{
	const struct qm_suspends *all = qm_store_suspends(q->store);
	const struct qm_suspension *s = h->name.n ? qm_suspends_of(all, h->name) : NULL;
	char literal[SM_SA_TEXT];

	if (s == NULL && h->sa.len > 0)
		s = qm_suspends_of(all, sm_str(sm_sa_literal(&h->sa, literal)));
	return s;
}

static enum host_state state_of(const struct qm *q, const struct sm_msg_host *target,
                                const struct qm_host *x)
{
	if (halted_host(q, target))
		return SUSPENDED;
	if (x == NULL)
		return UNUSED;
	switch (qm_host_room(&q->sched.hosts, x, sm_loop_now_ms())) {
	case QM_ROOM_FULL:
		return FULL;
	case QM_ROOM_LATER:
		return RATE;
	case QM_ROOM_DEAD:
		return DEAD;
	case QM_ROOM:
		break;
	}
	return x->dead_until_ms > 0 ? PROBE : OK;
}

static const struct qm_host *host_line(struct qm_ctl *c, struct sm_str route,
                                       const struct sm_msg_host *target, unsigned waiting)
{
	const struct qm_hosts *hosts = &c->q->sched.hosts;
	const struct qm_host *x = qm_host_find(hosts, &target->sa);
	char address[SM_SA_TEXT];

	qm_ctl_begin(c, "host");
	qm_ctl_str(c, "route", route);
	qm_ctl_str(c, "name", target->name);
	qm_ctl_str(c, "address",
	           target->sa.len ? sm_str(sm_sa_text(&target->sa, address)) : SM_STR("local"));
	qm_ctl_num(c, "preference", target->pref);
	qm_ctl_str(c, "state", sm_str(state_words[state_of(c->q, target, x)]));
	qm_ctl_num(c, "waiting", waiting);
	qm_ctl_num(c, "running", x ? x->running : 0);
	qm_ctl_num(
	    c, "window",
	    x ? x->window
	      : qm_limits_get(hosts->conf.limits, QM_LIMIT_OCI, &target->sa, hosts->conf.oci));
	qm_ctl_num(c, "window_max",
	           qm_limits_get(hosts->conf.limits, QM_LIMIT_OCM, &target->sa, hosts->conf.ocm));
	qm_ctl_num(c, "rate_per_minute",
	           qm_limits_get(hosts->conf.limits, QM_LIMIT_OMR, &target->sa, hosts->conf.omr));
	qm_ctl_num(c, "failures", x ? x->failures : 0);
	qm_ctl_mono(c, "dead_until_s",
	            x && x->dead_until_ms > sm_loop_now_ms() ? x->dead_until_ms : 0);
	qm_ctl_mono(c, "last_ok_s", x ? x->ok_ms : 0);
	qm_ctl_mono(c, "last_failed_s", x ? x->failed_ms : 0);
	qm_ctl_num(c, "code", x ? x->code : 0);
	qm_ctl_str(c, "text", sm_str(x ? x->text : ""));
	qm_ctl_line(c);
	return x;
}

/* ---- dest ---- */

/*
 * With a word: the hosts that have this name or address; else where mail for that domain goes, as
 * smar says; else the routes whose key has the word in it.
 */
struct dest {
	struct qm_ctl_dest named;
	struct sm_str *keys; /* of the routes at the beginning */
	size_t count, at, shown;
};

static bool contains(struct sm_str s, struct sm_str part)
{
	for (size_t i = 0; i + part.n <= s.n; i++)
		if (sm_str_caseeq(sm_str_n(s.p + i, part.n), part))
			return true;
	return false;
}

static bool dest_next(struct qm_ctl *c)
{
	struct dest *d = c->work;
	const struct qm_route *r;

	if (d->at == d->count) {
		qm_ctl_end(c, d->shown ? QM_CTL_OK : QM_CTL_NOTHING,
		           d->shown || c->word_count == 0
		               ? ""
		               : "no next hop is called that, and no mail can go to such a domain");
		return false;
	}
	r = qm_route_find(&c->q->sched, d->keys[d->at++]);
	if (r == NULL || (c->word_count > 0 && !contains(r->key, d->named.text)))
		return true;
	for (uint32_t i = 0; i < r->hop_count; i++)
		(void)host_line(c, r->key, &r->hops[i].target, r->waiting);
	d->shown++;
	return true;
}

/* The last that is taken from the arena: so many routes may be known that it has an end. */
static void look_through(struct qm_ctl *c)
{
	const struct sm_hash *routes = &c->q->sched.routes;
	struct dest *d = c->work;

	d->keys = sm_arena_alloc(&c->arena, routes->count * sizeof(*d->keys) + 1);
	for (struct sm_hash_node *n = sm_hash_next(routes, NULL); n && d->keys;
	     n = sm_hash_next(routes, n)) {
		const struct qm_route *r = SM_CONTAINER_OF(n, struct qm_route, node);

		if ((d->keys[d->count] = sm_arena_str(&c->arena, r->key)).p)
			d->count++;
	}
	qm_ctl_go_on(c, dest_next);
}

static void dest_routed(struct qm_ctl *c, const struct sm_msg_route *m)
{
	const struct qm_route *r;

	if (m == NULL || m->status != SM_ROUTE_OK || m->hosts_count == 0) {
		look_through(c);
		return;
	}
	r = qm_route_find(&c->q->sched, m->key);
	for (uint32_t i = 0; i < m->hosts_count; i++)
		(void)host_line(c, m->key, &m->hosts[i], r ? r->waiting : 0);
	qm_ctl_end(c, QM_CTL_OK, "");
}

static bool dest_of_word(struct qm_ctl *c, struct dest *d)
{
	if (qm_ctl_dest_of(c, c->words[0], &d->named) != 0) {
		qm_ctl_fail(c, QM_CTL_USAGE);
		return false;
	}
	qm_ctl_dest_hops(c, &d->named);
	d->shown = qm_ctl_suspensions(c, &d->named);
	for (unsigned i = 0; i < d->named.hop_count; i++)
		(void)host_line(c, d->named.hops[i].key, &d->named.hops[i].host,
		                d->named.hops[i].waiting);
	if (d->named.hop_count == 0)
		return true;
	qm_ctl_end(c, QM_CTL_OK, ""); /* with it goes what it worked on */
	return false;
}

void qm_ctl_dest(struct qm_ctl *c)
{
	struct dest *d;

	if (c->word_count > 1) {
		qm_ctl_end(c, QM_CTL_USAGE, "dest takes one destination, or nothing");
		return;
	}
	c->work = d = sm_arena_must(&c->arena, sizeof(*d));
	if (c->word_count == 0)
		d->shown = qm_ctl_suspensions(c, NULL);
	else if (!dest_of_word(c, d))
		return;
	if (c->word_count > 0 && d->named.sa.len == 0)
		qm_ctl_ask_route(c, d->named.text, dest_routed);
	else
		look_through(c);
}

/* ---- why ---- */

struct reason {
	struct sm_str text;
	uint64_t rcpts;
};

struct why {
	struct qm_ctl_dest named;
	struct sm_str dest; /* its text */
	unsigned causes;
	bool host; /* looked at as a host: no mail is for a domain of that name */
	/* what smar said */
	bool asked, answered;
	uint8_t status;
	uint16_t code;
	struct sm_str text, key;
	struct sm_msg_host *hosts;
	uint32_t host_count;
	uint8_t ways;
	/* the mail */
	struct qm_walk walk;
	uint64_t mails, rcpts, of_domain, active, held, deferred, queued, on_demand;
	int64_t next_try_s;
	struct reason reasons[REASONS_MAX];
	unsigned reason_count;
};

static void cause(struct qm_ctl *c, const char *word, int64_t until_s, uint16_t code,
                  struct sm_str host, struct sm_str text)
{
	struct why *w = c->work;

	w->causes++;
	qm_ctl_begin(c, "cause");
	qm_ctl_str(c, "dest", w->dest);
	qm_ctl_str(c, "cause", sm_str(word));
	qm_ctl_str(c, "host", host);
	qm_ctl_num(c, "code", code);
	qm_ctl_str(c, "text", text);
	qm_ctl_time(c, "until_s", until_s);
	qm_ctl_line(c);
}

static void halted(struct qm_ctl *c, const char *word, struct sm_str host,
                   const struct qm_suspension *s)
{
	cause(c, word, s->until_s, 0, host, s->reason);
}

static int64_t wall_of(int64_t ms)
{
	return (sm_wall_ms() + ms - sm_loop_now_ms()) / 1000;
}

static unsigned running_agents(const struct qm *q)
{
	unsigned n = 0;

	for (unsigned i = 0; i < QM_AGENTS_MAX; i++)
		n += q->sched.agents[i] != NULL;
	return n;
}

static void of_the_whole(struct qm_ctl *c)
{
	const struct qm *q = c->q;
	struct why *w = c->work;
	const struct qm_suspension *s;

	if ((s = qm_halted(q, SM_STR(""))) != NULL)
		halted(c, "delivering_stopped", SM_STR(""), s);
	if (!w->host && (s = qm_suspends_of(qm_store_suspends(q->store), w->dest)) != NULL)
		halted(c, "suspended", SM_STR(""), s);
	if (running_agents(q) == 0)
		cause(c, "no_smtpc", 0, 0, SM_STR(""), SM_STR("no delivery agent is there"));
	else if (q->sched.room == 0)
		cause(c, "smtpc_full", 0, 0, SM_STR(""),
		      SM_STR("all sessions of the delivery agents are in use"));
	if (q->txns.rcpts >= (size_t)q->conf->aq_max_entries * 3 / 4)
		cause(c, "active_queue_full", 0, 0, SM_STR(""),
		      SM_STR("deferred mail waits for room in the active queue"));
	if (w->asked && !w->answered)
		cause(c, "no_smar", 0, 0, SM_STR(""),
		      SM_STR("the address resolver does not answer"));
	else if (w->asked && w->status != SM_ROUTE_OK && w->status != SM_ROUTE_WAIT)
		cause(c, "no_route", 0, w->code, SM_STR(""), w->text);
}

static void of_host(struct qm_ctl *c, const struct sm_msg_host *h, const struct qm_host *x)
{
	const struct qm_suspension *s;

	switch (state_of(c->q, h, x)) {
	case SUSPENDED:
		if ((s = halted_host(c->q, h)) != NULL)
			halted(c, "host_suspended", h->name, s);
		break;
	case DEAD:
		cause(c, "host_dead", wall_of(x->dead_until_ms), x->code, h->name, sm_str(x->text));
		break;
	case PROBE:
		cause(c, "host_probed", 0, x->code, h->name, sm_str(x->text));
		break;
	case FULL:
		cause(c, "window_full", 0, x->code, h->name,
		      SM_STR("as many sessions as the host may have now"));
		break;
	case RATE:
		cause(c, "message_rate", wall_of(x->next_ms), 0, h->name,
		      SM_STR("as many messages as the host may have in a minute"));
		break;
	default:
		break;
	}
}

/* 0: none. */
static int64_t next_run_s(const struct qm *q)
{
	return qm_run_next_s(q) == QM_NO_RUN ? 0 : qm_run_next_s(q);
}

static void of_the_mail(struct qm_ctl *c)
{
	struct why *w = c->work;
	struct sm_str text = SM_STR("");
	int64_t until_ms =
	    qm_blocked_until(&c->q->blocked, w->dest, false, sm_loop_now_ms(), &text);

	if (until_ms)
		cause(c, "next_hops_dead", wall_of(until_ms), 0, SM_STR(""), text);
	if (w->held)
		cause(c, "held", 0, 0, SM_STR(""), SM_STR("recipients are held by an operator"));
	if (w->queued)
		cause(c, "queue_run", next_run_s(c->q), 0, SM_STR(""),
		      SM_STR("recipients wait for the next queue run"));
	if (w->on_demand)
		cause(c, "on_demand", 0, 0, SM_STR(""),
		      SM_STR("recipients wait until somebody asks for them"));
	if (w->deferred && w->next_try_s > sm_wall_s())
		cause(c, "retry_time", w->next_try_s, 0, SM_STR(""),
		      SM_STR("deferred recipients wait for their next try"));
}

static void mail_line(struct qm_ctl *c)
{
	struct why *w = c->work;

	qm_ctl_begin(c, "waiting");
	qm_ctl_str(c, "dest", w->dest);
	qm_ctl_num(c, "mails", (int64_t)w->mails);
	qm_ctl_num(c, "rcpts", (int64_t)w->rcpts);
	qm_ctl_num(c, "active", (int64_t)w->active);
	qm_ctl_num(c, "deferred", (int64_t)w->deferred);
	qm_ctl_num(c, "held", (int64_t)w->held);
	qm_ctl_num(c, "queued", (int64_t)w->queued);
	qm_ctl_num(c, "on_demand", (int64_t)w->on_demand);
	if (w->ways > 1)
		qm_ctl_num(c, "ways", w->ways);
	qm_ctl_time(c, "next_try_s", w->next_try_s);
	qm_ctl_array(c, "reasons");
	/* The three that most of it waits for. */
	for (int n = 0; n < 3; n++) {
		struct reason *most = NULL;

		for (unsigned i = 0; i < w->reason_count; i++)
			if (w->reasons[i].rcpts && (!most || w->reasons[i].rcpts > most->rcpts))
				most = &w->reasons[i];
		if (most == NULL)
			break;
		qm_ctl_open(c);
		qm_ctl_num(c, "rcpts", (int64_t)most->rcpts);
		qm_ctl_str(c, "reason", most->text);
		qm_ctl_close(c);
		most->rcpts = 0;
	}
	qm_ctl_array_end(c);
	qm_ctl_line(c);
}

/* The hosts of that name or address, instead of where mail for a domain of that name would go. */
static void look_at_hosts(struct qm_ctl *c, struct why *w)
{
	w->host = true;
	w->asked = false;
	w->host_count = w->named.hop_count;
	w->hosts = sm_arena_must(&c->arena, w->host_count * sizeof(*w->hosts));
	for (uint32_t i = 0; i < w->host_count; i++)
		w->hosts[i] = w->named.hops[i].host;
}

static void hosts_lines(struct qm_ctl *c)
{
	struct why *w = c->work;
	const struct qm_route *route = qm_route_find(&c->q->sched, w->key);

	for (uint32_t i = 0; i < w->host_count; i++)
		(void)host_line(c, w->host ? w->named.hops[i].key : w->key, &w->hosts[i],
		                w->host ? w->named.hops[i].waiting
		                : route ? route->waiting
		                        : 0);
}

static bool is_unknown(const struct qm_ctl *c, const struct why *w)
{
	return w->named.sa.len > 0 && w->host_count == 0 && w->rcpts == 0 &&
	       qm_suspends_of(qm_store_suspends(c->q->store), w->dest) == NULL;
}

static void tell(struct qm_ctl *c)
{
	struct why *w = c->work;

	if (w->of_domain == 0 && w->named.hop_count > 0)
		look_at_hosts(c, w);
	if (is_unknown(c, w)) {
		qm_ctl_end(c, QM_CTL_NOTHING,
		           "no next hop has that address, and no mail waits for it");
		return;
	}
	of_the_whole(c);
	for (uint32_t i = 0; i < w->host_count; i++)
		of_host(c, &w->hosts[i], qm_host_find(&c->q->sched.hosts, &w->hosts[i].sa));
	of_the_mail(c);
	if (w->causes == 0)
		cause(c, "none", 0, 0, SM_STR(""), SM_STR("nothing holds it"));
	hosts_lines(c);
	mail_line(c);
	qm_ctl_end(c, QM_CTL_OK, "");
}

static void count_reason(struct qm_ctl *c, struct why *w, struct sm_str text)
{
	unsigned i = 0;

	if (text.n == 0)
		return;
	while (i < w->reason_count && !sm_str_eq(w->reasons[i].text, text))
		i++;
	if (i == REASONS_MAX)
		return;
	if (i == w->reason_count)
		w->reasons[w->reason_count++].text = sm_arena_str(&c->arena, text);
	w->reasons[i].rcpts++;
}

static void count_rcpt(struct qm_ctl *c, struct why *w, const struct qm_view_rcpt *r)
{
	w->rcpts++;
	w->active += r->state == QM_VIEW_ACTIVE;
	w->held += r->state == QM_VIEW_HELD;
	w->deferred += r->state == QM_VIEW_DEFERRED;
	w->queued += r->state == QM_VIEW_QUEUED;
	w->on_demand += r->state == QM_VIEW_ON_DEMAND;
	count_reason(c, w, r->reason);
}

static bool look_at_mail(struct qm_ctl *c)
{
	struct why *w = c->work;
	struct sm_arena *a = qm_ctl_view_arena(c->q);
	struct qm_walked x;
	struct qm_view v;
	uint64_t before = w->rcpts;
	bool of_domain;

	if (!qm_walk_next(c->q, &w->walk, &x)) {
		tell(c);
		return false;
	}
	sm_arena_reset(a);
	qm_walk_view(c->q, &x, a, &v);
	for (uint32_t i = 0; i < v.rcpt_count; i++) {
		of_domain = qm_ctl_dest_is_domain(&w->named, v.rcpts[i].domain);
		w->of_domain += of_domain;
		if (of_domain || qm_ctl_dest_has_name(&w->named, v.rcpts[i].host))
			count_rcpt(c, w, &v.rcpts[i]);
	}
	if (w->rcpts == before)
		return true;
	w->mails++;
	if (v.next_try_s > 0 && v.next_try_s != QM_EDBC_NEVER &&
	    (w->next_try_s == 0 || v.next_try_s < w->next_try_s))
		w->next_try_s = v.next_try_s;
	return true;
}

static void keep_route(struct qm_ctl *c, struct why *w, const struct sm_msg_route *m)
{
	w->answered = true;
	w->status = m->status;
	w->ways = m->ways;
	w->code = m->code;
	w->text = sm_arena_str(&c->arena, m->text);
	w->key = sm_arena_str(&c->arena, m->key);
	w->host_count = m->status == SM_ROUTE_OK ? m->hosts_count : 0;
	w->hosts = sm_arena_must(&c->arena, w->host_count * sizeof(*w->hosts) + 1);
	for (uint32_t i = 0; i < w->host_count; i++) {
		w->hosts[i] = m->hosts[i];
		w->hosts[i].name = sm_arena_str(&c->arena, m->hosts[i].name);
	}
}

static void routed(struct qm_ctl *c, const struct sm_msg_route *m)
{
	struct why *w = c->work;

	if (m)
		keep_route(c, w, m);
	qm_ctl_dest_hops(c, &w->named);
	qm_walk_begin(c->q, NULL, &c->arena, &w->walk);
	qm_ctl_go_on(c, look_at_mail);
}

void qm_ctl_why(struct qm_ctl *c)
{
	struct why *w;

	if (c->word_count != 1) {
		qm_ctl_end(c, QM_CTL_USAGE,
		           "why takes one destination: a domain, host name or address");
		return;
	}
	c->work = w = sm_arena_must(&c->arena, sizeof(*w));
	if (qm_ctl_dest_of(c, c->words[0], &w->named) != 0) {
		qm_ctl_fail(c, QM_CTL_USAGE);
		return;
	}
	w->dest = w->named.text;
	if (w->named.sa.len > 0) {
		routed(c, NULL);
		return;
	}
	w->asked = true;
	qm_ctl_ask_route(c, w->dest, routed);
}
