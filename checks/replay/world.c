/*
 * The played world: servers, smtpc, the deferred queue, and what a try comes to, around the real
 * scheduler, hosts, retry times and blocked domains. What it does is what settle.c, delivery.c and
 * defer.c of qmgr do.
 */
#include "checks/replay/replay.h"

enum { LOADS_MAX = 32 };

struct world w;

int64_t wall_s(void)
{
	return WALL_0 + (w.now_ms - MONO_0) / 1000 + w.ahead_s;
}

int64_t key_of(int64_t at_ms, int order)
{
	return at_ms * ORDERS + SM_MIN(order, ORDERS - 1);
}

static uint64_t chance(void)
{
	w.dice = w.dice * 6364136223846793005u + 1442695040888963407u;
	return w.dice >> 33;
}

/* ---- names ---- */

#define FIND(table, count, wanted)                                         \
	do {                                                               \
		for (unsigned i_ = 0; i_ < (count); i_++)                  \
			if (strcmp((table)[i_].name, (wanted)) == 0)       \
				return &(table)[i_];                       \
		if ((count) == NAMES_MAX)                                  \
			broken("too many names", (wanted));                \
		sm_str_cut(sm_str(wanted), (table)[count].name, TEXT_MAX); \
	} while (0)

struct server *server_of(const char *name)
{
	struct server *s;

	FIND(w.server, w.servers, name);
	s = &w.server[w.servers++];
	s->takes_ms = 100;
	s->dead_from = s->temp_from = INT64_MAX;
	s->most = UINT32_MAX;
	if (sm_sa_ip(&s->sa, sm_str(name), 25) != 0)
		broken("no address", name);
	return s;
}

static struct server *server_at(const struct sm_sa *sa)
{
	char text[SM_SA_TEXT];

	return server_of(sm_sa_host_text(sa, text));
}

struct domain *domain_of(const char *name)
{
	FIND(w.domain, w.domains, name);
	return &w.domain[w.domains++];
}

struct from *from_of(const char *name)
{
	FIND(w.from, w.froms, name);
	return &w.from[w.froms++];
}

/* ---- what a try came to: as settle.c does ---- */

static struct mail *mail_of(const struct qm_txn *txn)
{
	return w.mails[txn->id.counter];
}

static void progress(struct qm_txn *txn)
{
	struct mail *m = mail_of(txn);
	int64_t next = INT64_MAX;

	if (txn->busy > 0)
		return;
	for (unsigned i = 0; i < m->count; i++)
		if (!m->rcpt[i].over)
			next = SM_MIN(next, m->rcpt[i].next_s);
	qm_txn_free(&w.txns, &txn);
	if (next < INT64_MAX)
		sm_heap_set(&w.deferred, &m->due, next);
}

struct outcome {
	bool done, local, no_try;
	int64_t retry_in_s;
};

static void settle(struct qm_rcpt *r, struct outcome o)
{
	struct mail *m = mail_of(r->txn);
	struct letter *l = &m->rcpt[r->index];
	int64_t now = wall_s(), seen = SM_MAX(m->queued_s, l->last_s);

	(void)qm_clock_look(&w.clock, now, w.now_ms);
	l->last_s = now;
	if (!o.local && !o.no_try)
		l->tries++;
	if (o.done) {
		l->over = true;
		l->domain->delivered++;
		m->from->delivered++;
		qm_rcpt_set(r, QM_RCPT_SETTLED);
		return;
	}
	if (!o.local && qm_retry_expired(&w.retry, m->queued_s, now, l->tries + o.no_try, seen,
	                                 w.clock.stepped_s)) {
		l->over = true;
		l->domain->failed++;
		qm_rcpt_set(r, QM_RCPT_SETTLED);
		return;
	}
	l->domain->deferrals++;
	if (l->domain->waits != SM_WAIT_NO && !o.local) {
		l->run = false;
		wait_on(m, l);
		qm_rcpt_set(r, QM_RCPT_DEFERRED);
		return;
	}
	l->next_s =
	    o.retry_in_s ? now + o.retry_in_s : qm_retry_next(&w.retry, m->queued_s, now, chance());
	if (!o.local && l->tries + o.no_try > 0 && !l->told &&
	    qm_retry_late(&w.retry, m->queued_s, now, !o.no_try, seen, w.clock.stepped_s,
	                  &l->next_s)) {
		l->told = true;
		l->domain->told++;
	}
	qm_rcpt_set(r, QM_RCPT_DEFERRED);
}

static void settle_and_go_on(struct qm_rcpt *r, struct outcome o)
{
	struct qm_txn *txn = r->txn;

	settle(r, o);
	progress(txn);
}

static struct letter *letter_of(const struct qm_rcpt *r)
{
	return &mail_of(r->txn)->rcpt[r->index];
}

static void put_off(struct sm_list *all, struct outcome o, enum qm_block kind, int64_t until_ms)
{
	struct sm_list *e;

	while ((e = sm_list_shift(all)) != NULL) {
		struct qm_rcpt *r = SM_LIST_ENTRY(e, struct qm_rcpt, link);

		qm_blocked_put(&w.blocked, sm_str(letter_of(r)->domain->name), kind, until_ms,
		               SM_STR("x"), w.now_ms);
		settle_and_go_on(r, o);
	}
}

static void make_room(void)
{
	struct sm_list out;

	sm_list_init(&out);
	if (qm_sched_make_room(&w.sched, w.txns.rcpts, w.aq_max, &out, w.now_ms) != NULL)
		put_off(&out, (struct outcome){.local = true, .retry_in_s = 90}, QM_BLOCK_CROWDED,
		        w.now_ms + 90000);
}

static void route_dead(struct qm_route *route)
{
	const struct qm_host *host = qm_route_dead(&w.sched, route, w.now_ms);
	struct sm_list all;

	sm_list_init(&all);
	qm_sched_drain(&w.sched, route, &all, w.now_ms);
	put_off(&all, (struct outcome){.no_try = true}, QM_BLOCK_DEAD, host->dead_until_ms);
}

/* ---- smtpc and the servers ---- */

static void connect_next(struct event *t);

static void task_over(struct event *t)
{
	struct qm_route *route = t->pick.route;
	struct qm_txn *txn = t->pick.txn;
	struct sm_list *e;

	qm_sched_done(&w.sched, route, t->pick.host, t->pick.agent, NULL, w.now_ms);
	for (uint32_t i = 0; i <= t->at && i < t->host_count; i++)
		(void)qm_sched_reached(&w.sched, &t->hosts[i].sa, t->reach[i], 0, SM_STR("x"),
		                       w.now_ms);
	while ((e = sm_list_shift(&t->rcpts)) != NULL) {
		struct qm_rcpt *r = SM_LIST_ENTRY(e, struct qm_rcpt, link);

		if (!t->taken && !t->temp && r->crowded_out < 10 &&
		    qm_route_dead(&w.sched, route, w.now_ms) == NULL) {
			r->crowded_out++;
			qm_sched_add(&w.sched, route, r);
			continue;
		}
		letter_of(r)->domain->tries++;
		settle(r, (struct outcome){.done = t->taken});
	}
	qm_sched_release(&w.sched, txn);
	if (route->waiting > 0 && qm_route_dead(&w.sched, route, w.now_ms) != NULL)
		route_dead(route);
	progress(txn);
	free(t);
}

static void step_over(struct event *t)
{
	struct server *s = t->server;

	s->open--;
	if (t->reach[t->at] != SM_REACH_OK && ++t->at < t->host_count)
		connect_next(t);
	else
		task_over(t);
}

static void connect_next(struct event *t)
{
	struct server *s = server_at(&t->hosts[t->at].sa);
	int64_t after = s->takes_ms;

	t->server = s;
	s->connections++;
	s->open++;
	if (w.now_ms >= s->dead_from && w.now_ms < s->dead_to) {
		t->reach[t->at] = SM_REACH_REFUSED;
		after = s->dead_after;
	} else if (s->open > s->most) {
		t->reach[t->at] = SM_REACH_REFUSED; /* 421 for a greeting */
		after = 5;
	} else {
		t->reach[t->at] = SM_REACH_OK;
		s->transactions++;
		s->peak = SM_MAX(s->peak, s->open);
		t->temp = w.now_ms >= s->temp_from && w.now_ms < s->temp_to;
		t->taken = !t->temp;
	}
	t->cb = step_over;
	sm_heap_set(&w.events, &t->node, key_of(w.now_ms + after, ORDERS));
}

static void send_task(const struct qm_pick *pick, struct sm_list *rcpts)
{
	struct event *t = sm_calloc(1, sizeof(*t));

	t->pick = *pick;
	t->host_count = qm_pick_hosts(&w.sched, pick, w.now_ms, t->hosts);
	sm_list_init(&t->rcpts);
	sm_list_splice(&t->rcpts, rcpts);
	SM_LIST_FOR (r, &t->rcpts, struct qm_rcpt, link)
		qm_rcpt_set(r, QM_RCPT_DELIVERING);
	connect_next(t);
}

void dispatch(void)
{
	struct qm_pick pick;
	struct sm_list rcpts;
	enum qm_step step;

	if (w.crowded)
		make_room();
	w.crowded = false;
	sm_list_init(&rcpts);
	(void)qm_sched_wake(&w.sched, w.now_ms);
	while ((step = qm_sched_next(&w.sched, w.now_ms, &pick, &rcpts)) != QM_STEP_NONE) {
		if (step == QM_STEP_TASK)
			send_task(&pick, &rcpts);
		else
			route_dead(pick.route);
	}
}

/* ---- the active and the deferred queue ---- */

static void crowd(struct qm_rcpt *r)
{
	qm_blocked_put(&w.blocked, sm_str(letter_of(r)->domain->name), QM_BLOCK_CROWDED,
	               w.now_ms + 60000, SM_STR("x"), w.now_ms);
	settle(r, (struct outcome){.local = true, .retry_in_s = 60});
}

static void come_in(struct qm_rcpt *r, struct qm_route *route)
{
	w.crowded = w.crowded || w.txns.rcpts > w.aq_max - w.aq_max / 8;
	qm_sched_add(&w.sched, route, r);
}

static void resolve(struct qm_rcpt *r)
{
	struct domain *d = letter_of(r)->domain;
	struct sm_msg_route m = {.agent = SM_AGENT_SMTP,
	                         .key = sm_str(d->key),
	                         .hosts_count = d->hop_count,
	                         .hosts = d->hops};
	struct qm_route *route;

	if (waits(letter_of(r))) {
		wait_on(mail_of(r->txn), letter_of(r));
		qm_rcpt_set(r, QM_RCPT_DEFERRED);
		return;
	}
	if (d->hop_count == 0)
		broken("domain without route", d->name);
	route = qm_route_get(&w.sched, &m, w.now_ms);
	if (qm_route_dead(&w.sched, route, w.now_ms) != NULL)
		settle(r, (struct outcome){.no_try = true});
	else if (qm_route_crowded(route, w.txns.rcpts, w.aq_max))
		crowd(r);
	else
		come_in(r, route);
}

/* No time of ours is so far away: the clock was set back. */
static int64_t far_s(void)
{
	return wall_s() + SM_MAX(w.retry.max_s + w.retry.max_s / 10, (int64_t)3600) + 60;
}

static void activate(struct mail *m)
{
	struct qm_txn *txn = qm_txn_new(&w.txns, m->id, m->count);
	int64_t now = wall_s();

	txn->sender = sm_str(m->from->name);
	txn->state = QM_TXN_ACTIVE;
	w.aq_peak = SM_MAX(w.aq_peak, w.txns.rcpts);
	txn->busy++; /* while this runs */
	for (unsigned i = 0; i < m->count; i++) {
		struct qm_rcpt *r = &txn->rcpts[i];

		if (waits(&m->rcpt[i]) && now - m->queued_s >= w.retry.return_s)
			m->rcpt[i].run = true; /* a last try */
		if (m->rcpt[i].over)
			qm_rcpt_set(r, QM_RCPT_SETTLED);
		else if (waits(&m->rcpt[i]) && m->rcpt[i].next_s > now)
			qm_rcpt_set(r, QM_RCPT_DEFERRED);
		else if (m->rcpt[i].next_s > now + 5 && m->rcpt[i].next_s <= far_s())
			qm_rcpt_set(r, QM_RCPT_DEFERRED);
		else
			resolve(r);
	}
	txn->busy--;
	qm_sched_release(&w.sched, txn);
	progress(txn);
}

static bool put_off_blocked(struct mail *m, int64_t now_s)
{
	bool old = now_s - m->queued_s >= SM_MIN(w.retry.return_s, w.retry.delay_s);
	int64_t first = INT64_MAX;

	for (unsigned i = 0; i < m->count; i++) {
		int64_t until = qm_blocked_until(&w.blocked, sm_str(m->rcpt[i].domain->name), old,
		                                 w.now_ms, NULL);

		if (until == 0)
			return false;
		first = SM_MIN(first, until);
	}
	sm_heap_set(&w.deferred, &m->due, now_s + (first - w.now_ms) / 1000 + 1);
	return true;
}

static bool is_due(int64_t key)
{
	return key <= wall_s() || key > far_s();
}

/* Each millisecond as many as qmgr has under way at a time. */
void read_back(void)
{
	struct sm_heap_node *n;
	int count = 0;

	w.more = false;
	while ((n = sm_heap_top(&w.deferred)) != NULL && is_due(n->key) &&
	       w.txns.rcpts < w.aq_max * 3 / 4) {
		struct mail *m = SM_CONTAINER_OF(n, struct mail, due);

		if (put_off_waiting(m) || put_off_blocked(m, wall_s()))
			continue;
		if (count++ == LOADS_MAX) {
			w.more = true;
			break;
		}
		sm_heap_remove(&w.deferred, n);
		m->rcpt[0].domain->reads++;
		activate(m);
		dispatch();
	}
}

static char *numbered(const char *text, unsigned n)
{
	char *out = sm_malloc(strlen(text) + 16);
	const char *p = strchr(text, '%');

	if (p)
		sprintf(out, "%.*s%u%s", (int)(p - text), text, n, p + 1);
	else
		strcpy(out, text);
	return out;
}

void queue(unsigned n, const char *sender, char **rcpt, unsigned rcpts)
{
	for (unsigned k = 0; k < n; k++) {
		struct mail *m = sm_calloc(1, sizeof(*m) + rcpts * sizeof(m->rcpt[0]));
		char *name = numbered(sender, k);

		m->id = (struct sm_id){w.next_id++, 1};
		w.mails = sm_realloc(w.mails, w.next_id, sizeof(struct mail *));
		w.mails[m->id.counter] = m;
		m->from = from_of(name);
		free(name);
		m->queued_s = wall_s();
		m->count = rcpts;
		for (unsigned i = 0; i < rcpts; i++) {
			const char *at = strrchr(rcpt[i], '@');

			m->rcpt[i].domain = domain_of(at ? at + 1 : rcpt[i]);
			m->rcpt[i].next_s = wall_s();
		}
		if (w.txns.rcpts <= w.aq_max)
			activate(m);
		else
			sm_heap_set(&w.deferred, &m->due, wall_s());
		dispatch();
	}
}
