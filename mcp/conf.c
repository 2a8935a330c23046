/*
 * From the configuration file to a list of services. Invariant: a service in the list is complete
 * and consistent by itself; what the system has to say (files, sockets) comes later. The file is
 * the administrator's and is the only thing that mcp parses.
 */
#include "mcp/conf.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <unistd.h>

#include "libsm/buf.h"

const struct sm_opt mc_own_opts[] = {
    {.name = "log_level",
     .type = SM_OPT_INT,
     .offset = offsetof(struct mc_own, log_level),
     .def = "9",
     .min = 0,
     .max = 15,
     .help = "amount of logging of mcp itself"},
    {.name = "log",
     .type = SM_OPT_SECTION,
     .offset = offsetof(struct mc_own, log),
     .sub = sm_conf_log_opts,
     .help = "syslog instead of a file, for mcp itself"},
    SM_OPT_END,
};

void mc_conf_free(struct mc_service **s)
{
	if (*s == NULL)
		return;
	sm_assert((*s)->alive == 0);
	SM_FREE((*s)->slots);
	SM_FREE((*s)->listeners);
	sm_arena_fini(&(*s)->arena);
	SM_FREE(*s);
}

static bool has(const struct sm_conf_node *section, struct sm_str option)
{
	for (const struct sm_conf_node *n = section->first; n != NULL; n = n->next)
		if (!n->is_section && sm_str_caseeq(n->key, option))
			return true;
	return false;
}

/* Names become file names: letters, digits and -_. only, not beginning with a dot. */
static int set_name(struct mc_service *s, const struct sm_conf_file *f,
                    const struct sm_conf_node *n)
{
	size_t len;

	s->keyword = sm_arena_str(&s->arena, n->key);
	s->section = sm_arena_str(&s->arena, n->name);
	len = (size_t)snprintf(s->name, sizeof(s->name), SM_STR_FMT "%s" SM_STR_FMT,
	                       SM_STR_ARG(n->key), n->name.n > 0 ? "-" : "", SM_STR_ARG(n->name));
	if (len >= sizeof(s->name))
		return sm_fail(SM_E_TOOBIG, "%s:%d: name of the section is too long", f->path,
		               n->line);
	for (size_t i = 0; i < len; i++) {
		char c = s->name[i];
		if (!sm_isalnum(c) && c != '-' && c != '_' && (c != '.' || i == 0))
			return sm_fail(SM_E_SYNTAX,
			               "%s:%d: name of a section: only letters, digits, - _ and .",
			               f->path, n->line);
	}
	if (strcmp(s->name, "mcp") == 0)
		return sm_fail(SM_E_SYNTAX, "%s:%d: section mcp is no service", f->path, n->line);
	return 0;
}

static int find_user(struct mc_service *s, const struct sm_conf_file *f,
                     const struct sm_conf_node *n)
{
	const char *user = s->conf.user.p, *group = s->conf.group.p;
	const struct passwd *pw;
	const struct group *gr;

	s->uid = geteuid();
	s->gid = getegid();
	if (s->conf.user.n > 0) {
		if ((pw = getpwnam(user)) == NULL)
			return sm_fail(SM_E_NOTFOUND, "%s:%d: no such user: %s", f->path, n->line,
			               user);
		s->uid = pw->pw_uid;
		s->gid = pw->pw_gid;
	} else if (mc.root) {
		return sm_fail(SM_E_DENIED,
		               "%s:%d: section %s needs a user because mcp runs as root", f->path,
		               n->line, s->name);
	}
	if (s->conf.group.n > 0) {
		if ((gr = getgrnam(group)) == NULL)
			return sm_fail(SM_E_NOTFOUND, "%s:%d: no such group: %s", f->path, n->line,
			               group);
		s->gid = gr->gr_gid;
	}
	s->become = mc.root && s->uid != 0;
	if (!mc.root && (s->uid != geteuid() || s->gid != getegid()))
		return sm_fail(SM_E_DENIED,
		               "%s:%d: section %s: only root can start it as another user or group",
		               f->path, n->line, s->name);
	return 0;
}

static int check_more(const struct mc_service *s, const struct sm_conf_file *f,
                      const struct sm_conf_node *n)
{
	if (s->conf.pass_fd_socket.n > 0 && s->conf.min_processes > 1 && s->conf.pass_id.n == 0)
		return sm_fail(SM_E_SYNTAX,
		               "%s:%d: several processes with a pass_fd_socket need pass_id, so "
		               "that each has its own socket",
		               f->path, n->line);
	return 0;
}

/* The bound options in one canonical text, to see on reload whether anything changed. */
static void write_text(struct mc_service *s)
{
	struct sm_buf b;

	sm_buf_init(&b, 1024 * 1024);
	sm_conf_dump(&b, sm_conf_mcp_opts, &s->conf, 0, false);
	s->text = sm_arena_str(&s->arena, sm_buf_view(&b));
	sm_buf_fini(&b);
}

static int load_service(struct sm_list *services, const struct sm_conf_file *f,
                        struct sm_conf_node *n)
{
	struct mc_service *s = sm_calloc(1, sizeof(*s));
	int rc;

	s->log_fd = s->program.fd = -1;
	/* The file is at most 1 MiB, and the text repeats what was bound. */
	sm_arena_init(&s->arena, "service", 4096, 16 * 1024 * 1024);
	sm_conf_defaults(sm_conf_mcp_opts, &s->conf, &s->arena);
	if ((rc = set_name(s, f, n)) != 0 ||
	    (rc = sm_conf_bind(f, n, sm_conf_mcp_opts, sm_conf_any, &s->conf, &s->arena)) != 0)
		goto fail;
	sm_conf_mcp_settle(&s->conf);
	if ((rc = sm_conf_mcp_check(f, n, &s->conf)) != 0 || (rc = check_more(s, f, n)) != 0 ||
	    (rc = find_user(s, f, n)) != 0)
		goto fail;
	if ((s->argc = sm_conf_mcp_argv(s->conf.arguments, &s->arena, s->argv)) < 0) {
		rc = s->argc;
		goto fail;
	}
	/* -i and the id are inserted behind the name. */
	if (s->argc + 2 >= SM_CONF_ARGV_MAX) {
		rc = sm_fail(SM_E_TOOBIG, "%s:%d: too many arguments", f->path, n->line);
		goto fail;
	}
	SM_LIST_FOR (o, services, struct mc_service, link) {
		if (sm_str_caseeq(sm_str(o->name), sm_str(s->name))) {
			rc = sm_fail(SM_E_EXISTS, "%s:%d: second section %s", f->path, n->line,
			             s->name);
			goto fail;
		}
	}
	write_text(s);
	sm_list_push(services, &s->link);
	return 0;
fail:
	mc_conf_free(&s);
	return rc;
}

static bool names(struct sm_str dep, const struct mc_service *s)
{
	return sm_str_caseeq(dep, sm_str(s->name)) || sm_str_caseeq(dep, s->keyword) ||
	       (s->section.n > 0 && sm_str_caseeq(dep, s->section));
}

bool mc_conf_depends(const struct mc_service *s, const struct mc_service *dep)
{
	for (size_t i = 0; i < s->conf.restart_dependencies.count; i++)
		if (names(s->conf.restart_dependencies.v[i], dep))
			return true;
	return false;
}

static int check_dependencies(const struct sm_conf_file *f, const struct sm_list *services)
{
	SM_LIST_FOR (s, services, struct mc_service, link) {
		for (size_t i = 0; i < s->conf.restart_dependencies.count; i++) {
			struct sm_str dep = s->conf.restart_dependencies.v[i];
			bool found = false;
			SM_LIST_FOR (o, services, struct mc_service, link)
				found = found || names(dep, o);
			if (!found)
				return sm_fail(SM_E_NOTFOUND,
				               "%s: section %s: restart_dependencies names "
				               "\"" SM_STR_FMT "\", which is no service here",
				               f->path, s->name, SM_STR_ARG(dep));
		}
	}
	return 0;
}

int mc_conf_load(const char *path, struct sm_list *services, struct mc_own *own, struct sm_arena *a)
{
	struct sm_conf_file f;
	size_t count = 0;
	int rc;

	sm_list_init(services);
	sm_conf_defaults(mc_own_opts, own, a);
	if ((rc = sm_conf_load(&f, path)) != 0)
		return rc;
	for (struct sm_conf_node *n = f.root.first; rc == 0 && n != NULL; n = n->next) {
		if (!n->is_section)
			continue;
		if (sm_str_caseeq(n->key, SM_STR("mcp")))
			rc = sm_conf_bind(&f, n, mc_own_opts, NULL, own, a);
		else if (!has(n, SM_STR("path")) && !has(n, SM_STR("start_action")))
			continue;
		else if (++count > MC_SERVICES_MAX)
			rc = sm_fail(SM_E_TOOBIG, "%s:%d: more than %d services", path, n->line,
			             MC_SERVICES_MAX);
		else
			rc = load_service(services, &f, n);
	}
	if (rc == 0 && count == 0)
		rc = sm_fail(SM_E_NOTFOUND,
		             "%s: no section with path and start_action: nothing to run", path);
	if (rc == 0)
		rc = check_dependencies(&f, services);
	sm_conf_free(&f);
	if (rc != 0)
		SM_LIST_FOR_SAFE (s, services, struct mc_service, link) {
			sm_list_remove(&s->link);
			mc_conf_free(&s);
		}
	return rc;
}
