/*
 * The whole configuration file bound to every table that applies: the global one, each component's,
 * and mcp's. Goes on after an error, so that one run tells all of them. Thread: the only one.
 */
#include <stdio.h>

#include "libsm/err.h"
#include "libsm/net.h"
#include "misc/smconf.h"

#define ARENA_CAP (64 * 1024 * 1024)

static void tell(void *arg, const char *line)
{
	struct cf *c = arg;

	c->errors++;
	c->report(c->report_arg, line);
}

static void tell_diag(struct cf *c)
{
	tell(c, sm_diag());
}

static bool has(const struct sm_conf_node *section, const char *option)
{
	for (const struct sm_conf_node *n = section->first; n != NULL; n = n->next)
		if (!n->is_section && sm_str_caseeq(n->key, sm_str(option)))
			return true;
	return false;
}

static const struct cf_component *find_component(struct sm_str keyword)
{
	for (const struct cf_component *k = cf_components; k->keyword != NULL; k++)
		if (sm_str_caseeq(sm_str(k->keyword), keyword))
			return k;
	return NULL;
}

static const char *nearest_component(struct sm_str keyword)
{
	struct sm_word words[32] = {0};
	size_t n = 0;

	for (const struct cf_component *k = cf_components;
	     k->keyword != NULL && n + 1 < SM_ARRAY_SIZE(words); k++)
		words[n++].word = k->keyword;
	return sm_conf_nearest_word(words, keyword);
}

static void load_component(struct cf *c, struct cf_section *s)
{
	const struct cf_component *k = s->component;
	size_t before = c->errors;

	s->conf = sm_arena_must(&c->arena, k->size);
	sm_conf_defaults(k->opts, s->conf, &c->arena);
	sm_conf_defaults(sm_conf_worker_opts, &s->worker, &c->arena);
	(void)sm_conf_bind_all(&c->file, s->node, k->opts, sm_conf_common_opts, s->conf, &c->arena,
	                       tell, c);
	(void)sm_conf_bind_all(&c->file, s->node, sm_conf_worker_opts, sm_conf_any, &s->worker,
	                       &c->arena, tell, c);
	if (k->check != NULL && c->errors == before && k->check(s->conf) != 0) {
		(void)sm_conf_fail_in(SM_E_SYNTAX, c->file.path, s->node->line, s->node->key);
		tell_diag(c);
	}
}

static void load_service(struct cf *c, struct cf_section *s)
{
	size_t before = c->errors;

	s->is_service = true;
	sm_conf_defaults(sm_conf_mcp_opts, &s->service, &c->arena);
	/* What neither mcp nor a component of smx knows is a typing error. */
	(void)sm_conf_bind_all(&c->file, s->node, sm_conf_mcp_opts,
	                       s->component != NULL ? sm_conf_any : NULL, &s->service, &c->arena,
	                       tell, c);
	sm_conf_mcp_settle(&s->service);
	if (c->errors == before && sm_conf_mcp_check(&c->file, s->node, &s->service) != 0)
		tell_diag(c);
}

static void load_section(struct cf *c, struct sm_conf_node *n)
{
	struct cf_section *s = &c->sections[c->count++];
	bool is_service = has(n, "path") || has(n, "start_action");

	*s = (struct cf_section){.node = n, .component = find_component(n->key)};
	if (s->component == NULL && !is_service) {
		const char *near = nearest_component(n->key);
		(void)sm_fail(SM_E_NOTFOUND, "%s:%d: unknown section " SM_STR_FMT "%s%s%s",
		              c->file.path, n->line, SM_STR_ARG(n->key),
		              near != NULL ? " (did you mean " : " without path and start_action",
		              near != NULL ? near : "", near != NULL ? "?)" : "");
		tell_diag(c);
		return;
	}
	if (s->component != NULL)
		load_component(c, s);
	if (is_service)
		load_service(c, s);
}

/* ---- between sections ---- */

/* A dependency names a section by its keyword, its name, or both with a dash between. */
static bool names(struct sm_str dep, const struct sm_conf_node *n)
{
	char both[420];

	snprintf(both, sizeof(both), SM_STR_FMT "-" SM_STR_FMT, SM_STR_ARG(n->key),
	         SM_STR_ARG(n->name));
	return sm_str_caseeq(dep, n->key) ||
	       (!sm_str_empty(n->name) && sm_str_caseeq(dep, n->name)) ||
	       sm_str_caseeq(dep, sm_str(both));
}

static void check_dependencies(struct cf *c, const struct cf_section *s)
{
	for (size_t i = 0; i < s->service.restart_dependencies.count; i++) {
		struct sm_str dep = s->service.restart_dependencies.v[i];
		bool found = false;
		for (size_t k = 0; k < c->count && !found; k++)
			found = c->sections[k].is_service && names(dep, c->sections[k].node);
		if (found)
			continue;
		(void)sm_fail(SM_E_NOTFOUND,
		              "%s:%d: restart_dependencies names " SM_STR_FMT
		              ", which mcp does not start",
		              c->file.path, s->node->line, SM_STR_ARG(dep));
		tell_diag(c);
	}
}

static bool same_place(const struct sm_conf_listen *x, const struct sm_conf_listen *y)
{
	struct sm_sa a, b;

	if (x->type != y->type)
		return false;
	if (x->type == SM_LISTEN_UNIX)
		return sm_str_eq(x->path, y->path);
	if (x->port != y->port || sm_str_empty(x->address) || sm_str_empty(y->address))
		return x->port == y->port; /* one of them takes all addresses */
	return sm_sa_ip(&a, x->address, 0) == 0 && sm_sa_ip(&b, y->address, 0) == 0 &&
	       sm_sa_eq_host(&a, &b);
}

/* Some ports are for some protocols only. */
static void check_port(struct cf *c, const struct cf_section *s, const struct sm_conf_listen *l)
{
	if (s->component == NULL || s->component->check_port == NULL || l->type == SM_LISTEN_UNIX)
		return;
	if (s->component->check_port(s->conf, l->port) == 0)
		return;
	(void)sm_fail_in(SM_E_SYNTAX, "%s:%d", c->file.path, l->where.line);
	tell_diag(c);
}

/* Two sockets at one place: the second could not be bound. */
static void check_listeners(struct cf *c, size_t section)
{
	const struct sm_conf_sections *mine = &c->sections[section].service.listen_socket;

	for (size_t i = 0; i < mine->count; i++) {
		const struct sm_conf_listen *l = (const struct sm_conf_listen *)mine->v + i;

		check_port(c, &c->sections[section], l);
		for (size_t k = 0; k <= section; k++) {
			const struct sm_conf_sections *other =
			    &c->sections[k].service.listen_socket;
			size_t end = k == section ? i : other->count;
			for (size_t j = 0; j < end; j++) {
				const struct sm_conf_listen *o =
				    (const struct sm_conf_listen *)other->v + j;
				if (!same_place(l, o))
					continue;
				(void)sm_fail(SM_E_EXISTS,
				              "%s:%d: listen_socket is at the same place as the "
				              "one on line %d",
				              c->file.path, l->where.line, o->where.line);
				tell_diag(c);
			}
		}
	}
}

/* The processes of a section are numbered from its index on. */
static int64_t processes(const struct cf_section *s)
{
	if (!s->is_service || sm_str_empty(s->service.pass_id))
		return 1;
	return s->service.start_action == SM_START_NOSTARTACCEPT ? s->service.max_processes
	                                                         : s->service.min_processes;
}

/* Two processes of a kind with one index would be one to the others. */
static void check_index(struct cf *c, size_t section)
{
	const struct cf_section *s = &c->sections[section], *o;
	int64_t mine, theirs;

	if (s->component == NULL || s->component->index == NULL)
		return;
	mine = s->component->index(s->conf);
	for (size_t i = 0; i < section; i++) {
		o = &c->sections[i];
		if (o->component != s->component)
			continue;
		theirs = o->component->index(o->conf);
		if (mine >= theirs + processes(o) || theirs >= mine + processes(s))
			continue;
		(void)sm_fail(SM_E_EXISTS,
		              "%s:%d: the processes of section " SM_STR_FMT " " SM_STR_FMT
		              " need ids of their own: the section on line %d has %lld to %lld",
		              c->file.path, s->node->line, SM_STR_ARG(s->node->key),
		              SM_STR_ARG(s->node->name), o->node->line, (long long)theirs,
		              (long long)(theirs + processes(o) - 1));
		tell_diag(c);
	}
}

int cf_load(struct cf *c, const char *path, sm_conf_report *report, void *arg)
{
	size_t sections = 0;
	int rc;

	*c = (struct cf){.report = report, .report_arg = arg};
	sm_arena_init(&c->arena, "smconf", 65536, ARENA_CAP);
	if ((rc = sm_conf_load(&c->file, path)) != 0)
		return rc;
	sm_conf_defaults(sm_conf_global_opts, &c->global, &c->arena);
	(void)sm_conf_bind_all(&c->file, &c->file.root, sm_conf_global_opts, NULL, &c->global,
	                       &c->arena, tell, c);
	if (sm_conf_global_check(&c->global, c->file.path) != 0)
		tell_diag(c);
	for (const struct sm_conf_node *n = c->file.root.first; n != NULL; n = n->next)
		sections += n->is_section;
	c->sections = sm_calloc(sections + 1, sizeof(*c->sections));
	for (struct sm_conf_node *n = c->file.root.first; n != NULL; n = n->next)
		if (n->is_section)
			load_section(c, n);
	for (size_t i = 0; i < c->count; i++) {
		check_index(c, i);
		if (c->sections[i].is_service) {
			check_dependencies(c, &c->sections[i]);
			check_listeners(c, i);
		}
	}
	return 0;
}

void cf_free(struct cf *c)
{
	SM_FREE(c->sections);
	sm_arena_fini(&c->arena);
	sm_conf_free(&c->file);
}

void cf_each_table(const struct cf_section *s,
                   void (*f)(const struct sm_opt *table, const void *target, void *arg), void *arg)
{
	if (s->component != NULL) {
		f(sm_conf_worker_opts, &s->worker, arg);
		f(s->component->opts, s->conf, arg);
	}
	if (s->is_service)
		f(sm_conf_mcp_opts, &s->service, arg);
}
