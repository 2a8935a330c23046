/*
 * A worker's configuration: reading it at the start and again while running.
 *
 * Invariant: p->conf, p->global and p->worker are at all times one whole configuration without
 * errors. A reload reads into a fresh arena and replaces them only when everything was good. What
 * they replaced stays in `former` until the end, since sessions hold pointers into it: a few
 * kilobytes for each change that an operator makes. Thread: the loop's.
 */
#include <stdio.h>
#include <unistd.h>

#include "libsm/buf.h"
#include "libsm/log.h"
#include "libsm/proc_int.h"

#define ARENA_FIRST 16384
#define ARENA_CAP   (16 * 1024 * 1024)
#define FORMER_MAX  1000 /* changes by reload; then it takes a restart */

static struct sm_arena *former;
static size_t former_count;
static char hostname[256]; /* the system's, once asked */

void sm_proc_getopt(const struct sm_proc *p, char *out, size_t size)
{
	snprintf(out, size, "+:hVf:N:i:%s", p->short_opts != NULL ? p->short_opts : "");
}

/* The section to read: the one of -N, the unnamed one, the only one; without any `none`, in which
 * nothing is set. */
static int choose(struct sm_proc *p, struct sm_conf_file *f, struct sm_conf_node *none,
                  struct sm_conf_node **out)
{
	struct sm_str key = sm_str(p->name);

	*out = sm_conf_find(f, key, p->section);
	if (*out != NULL)
		return 0;
	if (!sm_str_empty(p->section))
		return sm_fail(SM_E_NOTFOUND, "%s: there is no section %s " SM_STR_FMT, f->path,
		               p->name, SM_STR_ARG(p->section));
	for (const struct sm_conf_node *n = f->root.first; n != NULL; n = n->next)
		if (n->is_section && sm_str_caseeq(n->key, key))
			return sm_fail(SM_E_NOTFOUND,
			               "%s: there are several sections %s: choose one with -N",
			               f->path, p->name);
	*none = (struct sm_conf_node){.key = key, .is_section = true, .parent = &f->root};
	*out = none;
	return 0;
}

static int load_file(struct sm_proc *p, const char *path)
{
	struct sm_conf_node none, *section;
	struct sm_conf_file f;
	int rc;

	p->conf_path = path;
	if ((rc = sm_conf_load(&f, path)) != 0)
		return rc;
	rc = sm_conf_bind(&f, &f.root, sm_conf_global_opts, NULL, &p->global, &p->arena);
	if (rc == 0)
		rc = choose(p, &f, &none, &section);
	if (rc == 0)
		rc = sm_conf_bind(&f, section, p->opts, sm_conf_common_opts, p->conf, &p->arena);
	if (rc == 0)
		rc = sm_conf_bind(&f, section, sm_conf_worker_opts, sm_conf_any, &p->worker,
		                  &p->arena);
	if (rc == 0)
		rc = sm_conf_global_check(&p->global, path);
	sm_conf_free(&f);
	return rc;
}

int sm_proc_load(struct sm_proc *p, int *status)
{
	char opts[128];
	int c, rc = 0;

	sm_arena_init(&p->arena, "configuration", ARENA_FIRST, ARENA_CAP);
	p->conf = sm_arena_must(&p->arena, p->conf_size);
	sm_conf_defaults(p->opts, p->conf, &p->arena);
	sm_conf_defaults(sm_conf_global_opts, &p->global, &p->arena);
	sm_conf_defaults(sm_conf_worker_opts, &p->worker, &p->arena);
	sm_proc_getopt(p, opts, sizeof(opts));
	opterr = 0;
	optind = 0;
	while (rc == 0 && (c = getopt(p->argc, p->argv, opts)) != -1) {
		*status = SM_EXIT_USAGE;
		if (c == 'f') {
			*status = SM_EXIT_CONFIG;
			rc = load_file(p, optarg);
		} else if (strchr("hVNi", c) == NULL) {
			rc = p->short_opt(p, c, optarg);
		}
	}
	if (rc == 0 && p->check != NULL && (rc = p->check(p->conf)) != 0) {
		*status = p->conf_path != NULL ? SM_EXIT_CONFIG : SM_EXIT_USAGE;
		(void)sm_conf_fail_in(rc, p->conf_path != NULL ? p->conf_path : "command line", 0,
		                      sm_str(p->name));
	}
	if (rc != 0)
		return rc;
	p->hostname_set = !sm_str_empty(p->global.hostname);
	if (!p->hostname_set) {
		if (hostname[0] == '\0')
			sm_proc_hostname(hostname, sizeof(hostname));
		p->global.hostname = sm_str(hostname);
	}
	return 0;
}

static void needs_restart(void *arg SM_UNUSED, const char *name)
{
	sm_log(SM_NOTICE, "conf.needs_restart", "option=%s", name);
}

static void print(const struct sm_proc *p, struct sm_buf *b)
{
	sm_buf_init(b, ARENA_CAP);
	sm_conf_dump(b, sm_conf_global_opts, &p->global, 0, false);
	sm_conf_dump(b, sm_conf_worker_opts, &p->worker, 0, false);
	sm_conf_dump(b, p->opts, p->conf, 0, false);
}

static bool differ(const struct sm_proc *x, const struct sm_proc *y)
{
	struct sm_buf bx, by;
	bool yes;

	print(x, &bx);
	print(y, &by);
	yes = !sm_str_eq(sm_buf_view(&bx), sm_buf_view(&by));
	sm_buf_fini(&bx);
	sm_buf_fini(&by);
	return yes;
}

/* `now` becomes the configuration; p's goes to the former ones. */
static void replace(struct sm_proc *p, const struct sm_proc *now)
{
	former = sm_realloc(former, former_count + 1, sizeof(*former));
	former[former_count++] = p->arena;
	p->arena = now->arena;
	p->conf = now->conf;
	p->global = now->global;
	p->worker = now->worker;
	p->conf_path = now->conf_path;
}

void sm_proc_reload(struct sm_proc *p)
{
	struct sm_proc was = *p, now;
	bool changed;
	int status, rc;

	if (former_count == FORMER_MAX) {
		sm_log(SM_ERROR, "conf.reload", "stat=failed kept=old reloads=%d", FORMER_MAX);
		return;
	}
	/* In *p itself, since short options may know where it lies; nothing else runs meanwhile. */
	rc = sm_proc_load(p, &status);
	now = *p;
	*p = was;
	if (rc != 0) {
		sm_log(SM_ERROR, "conf.reload", "stat=failed kept=old error=%E", rc);
		sm_arena_fini(&now.arena);
		return;
	}
	sm_conf_keep(sm_conf_global_opts, &now.global, &p->global, needs_restart, NULL);
	sm_conf_keep(sm_conf_worker_opts, &now.worker, &p->worker, needs_restart, NULL);
	sm_conf_keep(p->opts, now.conf, p->conf, needs_restart, NULL);
	changed = differ(p, &now);
	sm_log(SM_NOTICE, "conf.reload", "stat=%s", changed ? "changed" : "same");
	if (p->on_reload != NULL)
		p->on_reload(p, changed ? now.conf : p->conf);
	if (changed)
		replace(p, &now);
	else
		sm_arena_fini(&now.arena);
	sm_log_level((int)p->worker.log_level);
	sm_log_format((enum sm_log_format)p->worker.log.format);
}

void sm_proc_conf_free(struct sm_proc *p)
{
	for (size_t i = 0; i < former_count; i++)
		sm_arena_fini(&former[i]);
	SM_FREE(former);
	former_count = 0;
	sm_arena_fini(&p->arena);
	p->conf = NULL;
}
