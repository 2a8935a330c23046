/*
 * Plays scenarios of the queue against a clock of its own: the scheduler, the hosts, their limits,
 * the retry times and the blocked domains are the real ones; smar, smtpc, the servers and DEFEDB
 * are played. A day takes a second.
 *
 *     replay FILE      one scenario; the first expectation that fails ends it
 *
 * A line is a command; # begins a comment; times are seconds from the start, with fractions.
 *
 *     conf NAME NUMBER        oci ocm omr octo penalty penalty_max retry_min retry_max return aq
 * tasks limit KEY VALUE         a line of the map qmgr_conf route DOMAIN HOST...    its hosts,
 * ADDRESS[/PREFERENCE]; domains with equal hosts share a route host ADDRESS takes S    time for one
 * message there (0.1) host ADDRESS dead FROM TO [AFTER]   no connection from then to then; it is
 * known after S (0) host ADDRESS temp FROM TO           answers each recipient with 451 host
 * ADDRESS most N     more connections than that get 421 at T queue N SENDER RCPT...     N mails; in
 * SENDER and RCPT a % becomes the number of the mail at T step S             the wall clock is set
 * forward (or back) at T set NAME NUMBER    the configuration is changed and read again; T limit
 * KEY VALUE likewise at T expect WHAT NAME OP NUMBER     OP is one of = < > <= >=
 *
 * WHAT: delivered, failed, deferrals, reads (back from the deferred queue) of a DOMAIN; delivered,
 * by `from`, of a SENDER; tries of a domain: those that came to a host; window, running, peak (most
 * connections at a time), connections, transactions of a HOST; aq (recipients), peak of NAME "-".
 */
#include <stdio.h>
#include <stdlib.h>

#include "qmgr/blocked.h"
#include "qmgr/retry.h"
#include "qmgr/sched.h"

enum { LOADS_MAX = 32, NAMES_MAX = 256, WORDS_MAX = 40, HOPS_MAX = 8, TEXT_MAX = 80 };
#define WALL_0 1700000000
#define MONO_0 1000000
#define ORDERS 1000

struct server {
	char name[TEXT_MAX];
	struct sm_sa sa;
	int64_t takes_ms, dead_from, dead_to, dead_after, temp_from, temp_to;
	unsigned most, open, peak, connections, transactions;
};

struct domain {
	char name[TEXT_MAX], key[256];
	struct sm_msg_host hops[HOPS_MAX];
	uint32_t hop_count;
	unsigned delivered, failed, deferrals, reads, tries;
};

struct from {
	char name[TEXT_MAX];
	unsigned delivered;
};

struct letter {
	struct domain *domain;
	int64_t next_s, last_s;
	unsigned tries;
	bool over;
};

struct mail {
	struct sm_heap_node due; /* in the deferred queue */
	struct sm_id id;
	struct from *from;
	int64_t queued_s;
	unsigned count;
	struct letter rcpt[];
};

struct event {
	struct sm_heap_node node;
	void (*cb)(struct event *e);
	char *line; /* a command */
	int number;
	/* a task */
	struct qm_pick pick;
	struct sm_list rcpts;
	struct sm_msg_host hosts[HOPS_MAX];
	uint32_t host_count, at;
	struct server *server; /* a connection is open there */
	enum sm_reach reach[HOPS_MAX];
	bool taken, temp;
};

static struct {
	const char *file;
	int line;
	bool failed;
	struct qm_sched_conf conf;
	struct qm_retry_conf retry;
	size_t aq_max, aq_peak;
	bool crowded, more; /* more to read back at once */
	unsigned tasks;
	struct qm_sched sched;
	struct qm_limits *limits;
	struct qm_blocked blocked;
	struct qm_clock clock;
	struct qm_txn_table txns;
	struct sm_heap events, deferred;
	struct server server[NAMES_MAX];
	struct domain domain[NAMES_MAX];
	struct from from[NAMES_MAX];
	unsigned servers, domains, froms;
	int64_t now_ms, ahead_s; /* monotonic; how far the wall clock was set */
	uint64_t next_id, dice;
	struct mail **mails; /* by id */
	bool started;
} w;

static _Noreturn void broken(const char *what, const char *detail)
{
	fprintf(stderr, "%s:%d: %s: %s\n", w.file, w.line, what, detail);
	exit(2);
}

static int64_t wall_s(void)
{
	return WALL_0 + (w.now_ms - MONO_0) / 1000 + w.ahead_s;
}

/* Of one moment, commands come first, in the order of the file. */
static int64_t key_of(int64_t at_ms, int order)
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

static struct server *server_of(const char *name)
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

static struct domain *domain_of(const char *name)
{
	FIND(w.domain, w.domains, name);
	return &w.domain[w.domains++];
}

static struct from *from_of(const char *name)
{
	FIND(w.from, w.froms, name);
	return &w.from[w.froms++];
}

static double number(const char *text)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end != '\0')
		broken("no number", text);
	return v;
}

static int64_t ms(const char *text)
{
	return MONO_0 + (int64_t)(number(text) * 1000);
}

static int64_t span_ms(const char *text)
{
	return (int64_t)(number(text) * 1000);
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
	l->next_s =
	    o.retry_in_s ? now + o.retry_in_s : qm_retry_next(&w.retry, m->queued_s, now, chance());
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

static void dispatch(void)
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

		if (m->rcpt[i].over)
			qm_rcpt_set(r, QM_RCPT_SETTLED);
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
	bool old = now_s - m->queued_s >= w.retry.return_s;
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
static void read_back(void)
{
	struct sm_heap_node *n;
	int count = 0;

	w.more = false;
	while ((n = sm_heap_top(&w.deferred)) != NULL && is_due(n->key) &&
	       w.txns.rcpts < w.aq_max * 3 / 4) {
		struct mail *m = SM_CONTAINER_OF(n, struct mail, due);

		if (put_off_blocked(m, wall_s()))
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

static void queue(unsigned n, const char *sender, char **rcpt, unsigned rcpts)
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

/* ---- expectations ---- */

static int64_t figure(const char *what, const char *name)
{
	static const char *const of_domain[] = {"delivered", "failed", "deferrals", "reads",
	                                        "tries"};
	struct qm_host *host = NULL;
	struct sm_sa sa;

	if (strcmp(what, "aq") == 0)
		return strcmp(name, "peak") == 0 ? (int64_t)w.aq_peak : (int64_t)w.txns.rcpts;
	if (strcmp(what, "from") == 0)
		return from_of(name)->delivered;
	for (unsigned i = 0; i < SM_ARRAY_SIZE(of_domain); i++) {
		const struct domain *d;

		if (strcmp(what, of_domain[i]) != 0)
			continue;
		d = domain_of(name);
		return (const unsigned[]){d->delivered, d->failed, d->deferrals, d->reads,
		                          d->tries}[i];
	}
	if (sm_sa_ip(&sa, sm_str(name), 25) != 0)
		broken("no such figure", what);
	host = qm_host_find(&w.sched.hosts, &sa);
	if (strcmp(what, "window") == 0)
		return host ? (int64_t)qm_host_limit(&w.sched.hosts, host, w.now_ms) : -1;
	if (strcmp(what, "running") == 0)
		return host ? host->running : 0;
	if (strcmp(what, "peak") == 0)
		return server_of(name)->peak;
	if (strcmp(what, "connections") == 0)
		return server_of(name)->connections;
	if (strcmp(what, "transactions") == 0)
		return server_of(name)->transactions;
	broken("no such figure", what);
}

static void expect(const char *what, const char *name, const char *op, const char *text)
{
	int64_t v = figure(what, name), want = (int64_t)number(text);
	bool ok = (strchr(op, '=') && v == want) || (op[0] == '<' && v < want) ||
	          (op[0] == '>' && v > want);

	if (ok)
		return;
	fprintf(stderr, "%s:%d: at %.3f s %s of %s is %lld, not %s %s\n", w.file, w.line,
	        (double)(w.now_ms - MONO_0) / 1000, what, name, (long long)v, op, text);
	w.failed = true;
}

/* ---- commands ---- */

static void conf_set(const char *name, const char *value)
{
	struct qm_hosts_conf *h = &w.conf.hosts;
	unsigned n = (unsigned)number(value);

	if (strcmp(name, "oci") == 0)
		h->oci = n;
	else if (strcmp(name, "ocm") == 0)
		h->ocm = n;
	else if (strcmp(name, "omr") == 0)
		h->omr = n;
	else if (strcmp(name, "octo") == 0)
		h->octo_ms = n * 1000LL;
	else if (strcmp(name, "penalty") == 0)
		h->penalty_ms = n * 1000LL;
	else if (strcmp(name, "penalty_max") == 0)
		h->penalty_max_ms = n * 1000LL;
	else if (strcmp(name, "retry_min") == 0)
		w.retry.min_s = n;
	else if (strcmp(name, "retry_max") == 0)
		w.retry.max_s = n;
	else if (strcmp(name, "return") == 0)
		w.retry.return_s = n;
	else if (strcmp(name, "aq") == 0)
		w.aq_max = n;
	else if (strcmp(name, "rcpts") == 0)
		w.conf.smtp_max_rcpts = n;
	else if (strcmp(name, "tasks") == 0)
		w.tasks = n;
	else
		broken("no such option", name);
	if (w.started)
		qm_sched_reload(&w.sched, &w.conf, w.now_ms);
}

/* A reload makes a new table; here one more entry is all the difference. */
static void limit(const char *key, const char *value)
{
	if (qm_limits_add(w.limits, sm_str(key), sm_str(value)) != 0)
		broken("limit", sm_diag());
	if (w.started)
		qm_sched_reload(&w.sched, &w.conf, w.now_ms);
}

static void route(char **word, unsigned n)
{
	struct domain *d = domain_of(word[1]);

	d->hop_count = 0;
	d->key[0] = '\0';
	for (unsigned i = 2; i < n && d->hop_count < HOPS_MAX; i++) {
		char *slash = strchr(word[i], '/');
		struct sm_msg_host *h = &d->hops[d->hop_count++];

		snprintf(d->key + strlen(d->key), sizeof(d->key) - strlen(d->key), "%s ", word[i]);
		if (slash)
			*slash = '\0';
		*h = (struct sm_msg_host){.name = SM_STR("mx"),
		                          .sa = server_of(word[i])->sa,
		                          .pref = slash ? (uint16_t)number(slash + 1) : 0};
	}
}

static void host(char **word, unsigned n)
{
	struct server *s = server_of(word[1]);

	if (strcmp(word[2], "takes") == 0 && n == 4) {
		s->takes_ms = span_ms(word[3]);
	} else if (strcmp(word[2], "most") == 0 && n == 4) {
		s->most = (unsigned)number(word[3]);
	} else if (strcmp(word[2], "dead") == 0 && n >= 5) {
		s->dead_from = ms(word[3]);
		s->dead_to = ms(word[4]);
		s->dead_after = n > 5 ? span_ms(word[5]) : 0;
	} else if (strcmp(word[2], "temp") == 0 && n == 5) {
		s->temp_from = ms(word[3]);
		s->temp_to = ms(word[4]);
	} else {
		broken("host", word[2]);
	}
}

static unsigned split(char *line, char **word)
{
	unsigned n = 0;
	char *save = NULL;

	for (char *p = strtok_r(line, " \t\n", &save); p; p = strtok_r(NULL, " \t\n", &save)) {
		if (p[0] == '#' || n == WORDS_MAX)
			break;
		word[n++] = p;
	}
	return n;
}

static void command(char **word, unsigned n)
{
	if (strcmp(word[0], "queue") == 0 && n >= 4)
		queue((unsigned)number(word[1]), word[2], word + 3, n - 3);
	else if (strcmp(word[0], "step") == 0 && n == 2)
		w.ahead_s += (int64_t)number(word[1]);
	else if ((strcmp(word[0], "set") == 0 || strcmp(word[0], "conf") == 0) && n == 3)
		conf_set(word[1], word[2]);
	else if (strcmp(word[0], "limit") == 0 && n == 3)
		limit(word[1], word[2]);
	else if (strcmp(word[0], "route") == 0 && n >= 3)
		route(word, n);
	else if (strcmp(word[0], "host") == 0 && n >= 4)
		host(word, n);
	else if (strcmp(word[0], "expect") == 0 && n == 5)
		expect(word[1], word[2], word[3], word[4]);
	else
		broken("no such command", word[0]);
}

static void timed(struct event *e)
{
	char *word[WORDS_MAX];
	unsigned n = split(e->line, word);

	w.line = e->number;
	command(word + 2, n - 2);
	free(e->line);
	free(e);
}

/* ---- life ---- */

static void begin(void)
{
	w.conf = (struct qm_sched_conf){.hosts = {.oci = 10,
	                                          .ocm = 100,
	                                          .octo_ms = 3600000,
	                                          .penalty_ms = 60000,
	                                          .penalty_max_ms = 1800000,
	                                          .max = 10000},
	                                .lmtp_max_rcpts = 100,
	                                .smtp_max_rcpts = 100,
	                                .max_routes = 10000};
	w.retry = (struct qm_retry_conf){.min_s = 900, .max_s = 14400, .return_s = 432000};
	w.aq_max = 8192;
	w.tasks = 400;
	w.now_ms = MONO_0;
	w.limits = qm_limits_new();
	w.conf.hosts.limits = w.limits;
	qm_blocked_init(&w.blocked, 10000);
	qm_txn_table_init(&w.txns);
	sm_heap_init(&w.events);
	sm_heap_init(&w.deferred);
}

static void read_file(FILE *f)
{
	char *line = NULL, *word[WORDS_MAX];
	size_t size = 0;

	for (w.line = 1; getline(&line, &size, f) > 0; w.line++) {
		char *copy = strdup(line);
		unsigned n = split(line, word);

		if (n >= 3 && strcmp(word[0], "at") == 0) {
			struct event *e = sm_calloc(1, sizeof(*e));

			e->cb = timed;
			e->line = copy;
			e->number = w.line;
			sm_heap_set(&w.events, &e->node, key_of(ms(word[1]), w.line));
			continue;
		}
		free(copy);
		if (n > 0)
			command(word, n);
	}
	free(line);
}

static int64_t look_in_ms(int64_t key)
{
	int64_t s = key - wall_s();

	return w.more ? 1 : SM_MAX((int64_t)1, SM_MIN(s, (int64_t)60)) * 1000;
}

static int64_t next_moment(void)
{
	int64_t next = INT64_MAX, wake = qm_sched_wake(&w.sched, w.now_ms);
	const struct sm_heap_node *n;

	if ((n = sm_heap_top(&w.events)) != NULL)
		next = n->key / ORDERS;
	if ((n = sm_heap_top(&w.deferred)) != NULL && w.txns.rcpts < w.aq_max * 3 / 4)
		next = SM_MIN(next, w.now_ms + look_in_ms(n->key));
	return SM_MIN(next, wake);
}

static void play(void)
{
	unsigned commands = 0;
	int64_t next;

	for (size_t i = 0; i < w.events.count; i++)
		commands++;
	w.started = true;
	qm_sched_init(&w.sched, &w.conf);
	(void)qm_agent_add(&w.sched, w.tasks);
	(void)qm_clock_look(&w.clock, wall_s(), w.now_ms);
	while (!w.failed && commands > 0 && (next = next_moment()) < INT64_MAX) {
		struct sm_heap_node *n;

		w.now_ms = SM_MAX(w.now_ms, next);
		while ((n = sm_heap_top(&w.events)) != NULL && n->key / ORDERS <= w.now_ms) {
			struct event *e = SM_CONTAINER_OF(n, struct event, node);

			sm_heap_remove(&w.events, n);
			commands -= e->cb == timed;
			e->cb(e);
			dispatch();
		}
		(void)qm_clock_look(&w.clock, wall_s(), w.now_ms);
		read_back();
		dispatch();
	}
}

/* What a scenario leaves open is not followed to its end: the process ends with it. */
int main(int argc, char **argv)
{
	FILE *f;

	if (argc != 2 || (f = fopen(argv[1], "r")) == NULL) {
		fprintf(stderr, "usage: replay FILE\n");
		return 2;
	}
	w.file = argv[1];
	begin();
	read_file(f);
	(void)fclose(f);
	play();
	return w.failed;
}
