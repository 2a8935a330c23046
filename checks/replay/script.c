/*
 * The scenario: what its commands say to the world, and what it expects of it. The head of replay.c
 * lists the commands.
 */
#include "checks/replay/replay.h"

enum { WORDS_MAX = 40 };

_Noreturn void broken(const char *what, const char *detail)
{
	fprintf(stderr, "%s:%d: %s: %s\n", w.file, w.line, what, detail);
	exit(2);
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

/* ---- expectations ---- */

static int64_t figure(const char *what, const char *name)
{
	static const char *const of_domain[] = {"delivered", "failed", "deferrals",
	                                        "reads",     "tries",  "told"};
	struct qm_host *host = NULL;
	struct sm_sa sa;

	if (strcmp(what, "aq") == 0)
		return strcmp(name, "peak") == 0 ? (int64_t)w.aq_peak : (int64_t)w.txns.rcpts;
	if (strcmp(what, "runs") == 0)
		return w.runs;
	if (strcmp(what, "from") == 0)
		return from_of(name)->delivered;
	for (unsigned i = 0; i < SM_ARRAY_SIZE(of_domain); i++) {
		const struct domain *d;

		if (strcmp(what, of_domain[i]) != 0)
			continue;
		d = domain_of(name);
		return (const unsigned[]){d->delivered, d->failed, d->deferrals,
		                          d->reads,     d->tries,  d->told}[i];
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
	else if (strcmp(name, "delay") == 0)
		w.retry.delay_s = n;
	else if (strcmp(name, "aq") == 0)
		w.aq_max = n;
	else if (strcmp(name, "rcpts") == 0)
		w.conf.smtp_max_rcpts = n;
	else if (strcmp(name, "tasks") == 0)
		w.tasks = n;
	else if (strcmp(name, "interval") == 0)
		w.interval_ms = n * 1000LL;
	else
		broken("no such option", name);
	schedule_set();
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

/* DAYS [FROM-TO] EVERY */
static void schedule(char **word, unsigned n)
{
	char *row = w.row[w.rows];

	if (w.rows == QM_SCHEDULE_ROWS)
		broken("too many rows", word[1]);
	for (unsigned i = 1; i < n; i++)
		snprintf(row + strlen(row), TEXT_MAX - strlen(row), "%s ", word[i]);
	w.rows++;
	schedule_set();
}

static void wait_for(const char *domain, const char *what)
{
	if (strcmp(what, "run") != 0 && strcmp(what, "asked") != 0)
		broken("waits for run or asked, not", what);
	domain_of(domain)->waits = strcmp(what, "run") == 0 ? SM_WAIT_RUN : SM_WAIT_ASKED;
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
	else if (strcmp(word[0], "schedule") == 0 && n >= 3)
		schedule(word, n);
	else if (strcmp(word[0], "waits") == 0 && n == 3)
		wait_for(word[1], word[2]);
	else if (strcmp(word[0], "run") == 0 && n <= 2)
		run(n == 2 ? word[1] : NULL);
	else if (strcmp(word[0], "expect") == 0 && n == 5)
		expect(word[1], word[2], word[3], word[4]);
	else
		broken("no such command", word[0]);
}

void timed(struct event *e)
{
	char *word[WORDS_MAX];
	unsigned n = split(e->line, word);

	w.line = e->number;
	command(word + 2, n - 2);
	free(e->line);
	free(e);
}

void read_file(FILE *f)
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
