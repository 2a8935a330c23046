/*
 * smar: the address resolver. There is exactly one; smtps, qmgr and smtpc ask it. Start-up, reload,
 * end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "libsm/last_words.h"
#include "libsm/log.h"
#include "libsm/mapdb.h"
#include "libsm/offload.h"
#include "libsm/priv.h"
#include "libsm/proc.h"
#include "smar/alias.h"
#include "smar/ar.h"
#include "smar/control.h"
#include "smar/dns.h"
#include "smar/dns_cache.h"
#include "smar/dnsbl.h"
#include "smar/greylist.h"
#include "smar/handlers.h"
#include "smar/include.h"
#include "smar/own.h"
#include "smar/reload.h"

enum { SOCKET_UMASK = 0007, MAX_PEERS = 512, PATH_BYTES = 4096, HELPERS = 6 };

static struct sm_proc proc;
static struct ar ar;
static struct ar_handlers *handlers;
static struct sm_rpc_server *server;

static void on_reload(struct sm_proc *p SM_UNUSED, const void *new_conf)
{
	ar_reload_now(new_conf);
}

/* ---- start ---- */

static int servers_of(const struct ar_conf *conf, struct ar_dns_conf *dns)
{
	dns->count = conf->nameserver.count;
	for (size_t i = 0; i < dns->count; i++) {
		int rc = ar_conf_server(conf->nameserver.v[i], &dns->servers[i]);

		if (rc != 0)
			return rc;
	}
	return 0;
}

static int check(const void *conf)
{
	return ar_conf_check(conf);
}

static int timeout_of(const struct ar_conf *conf, int64_t *ms)
{
	const char *env = getenv("SM_DNS_TIMEOUT");

	*ms = conf->dns_timeout_ms;
	if (env == NULL)
		return 0;
	if (sm_conf_time(sm_str(env), false, ms) != 0 || *ms < 100 || *ms > 600 * 1000)
		return sm_fail(SM_E_RANGE, "environment: SM_DNS_TIMEOUT=%s", env);
	return 0;
}

/* ---- rights ---- */

/* Whose directories it may read: those that are in use, and no other. */
struct places {
	size_t count;
	struct sm_priv_path v[18 + 2 * AR_MAPS_MAX];
};

static void add_place(struct places *p, struct sm_str dir, unsigned rights)
{
	const char *text = sm_arena_str(&proc.arena, dir).p;

	for (size_t i = 0; i < p->count; i++)
		if (strcmp(p->v[i].path, text) == 0 && p->v[i].rights == rights)
			return;
	sm_assert(p->count + 1 < SM_ARRAY_SIZE(p->v));
	p->v[p->count++] = (struct sm_priv_path){text, rights};
}

/* The directory that a path is in. */
static struct sm_str directory_of(struct sm_str path)
{
	ptrdiff_t slash = sm_str_rchr(path, '/');

	if (slash > 0)
		return sm_str_head(path, (size_t)slash);
	return slash == 0 ? SM_STR("/") : SM_STR(".");
}

static void add_file(struct places *p, struct sm_str file)
{
	if (file.n > 0)
		add_place(p, directory_of(file), SM_PATH_READ);
}

/* The directory of included lists, if there is one. */
static int add_lists(struct places *p, struct sm_str directory)
{
	char path[PATH_BYTES];
	int rc = sm_str_copy(directory, path, sizeof(path));

	if (rc == 0 && directory.n > 0)
		rc = ar_include_check(path);
	if (rc != 0)
		return sm_fail_in(rc, "aliases.include_directory");
	if (directory.n > 0)
		add_place(p, directory, SM_PATH_READ);
	return 0;
}

/* What the C library and its usual modules look at for users. /etc/passwd is replaced when it
 * changes: its directory. */
static void add_users(struct places *p)
{
	add_place(p, SM_STR("/etc"), SM_PATH_READ);
	add_place(p, SM_STR("/var/lib/sss/mc"), SM_PATH_READ); /* answers that sssd shares */
	add_place(p, SM_STR("/var/lib/sss/pipes"), SM_PATH_CONNECT);
	add_place(p, SM_STR("/run/nscd"), SM_PATH_CONNECT);
	add_place(p, SM_STR("/run/systemd/userdb"), SM_PATH_LIST | SM_PATH_CONNECT);
	add_place(p, SM_STR("/run/userdb"), SM_PATH_READ);
	add_place(p, SM_STR("/usr/lib/userdb"), SM_PATH_READ);
}

static int drop_rights(const struct ar_conf *conf)
{
	const struct ar_map_conf *maps = conf->map.v;
	struct places places = {0};
	const struct sm_priv_profile profile = {
	    .role = SM_ROLE_SMAR, .paths = places.v, .inet = true, .max_files = 4096};
	char report[200];
	int rc;

	add_place(&places, directory_of(proc.global.smar_socket), SM_PATH_SOCKET | SM_PATH_CREATE);
	if (conf->control_socket.n > 0)
		add_place(&places, directory_of(conf->control_socket),
		          SM_PATH_SOCKET | SM_PATH_CREATE);
	add_place(&places, directory_of(sm_str(proc.conf_path ? proc.conf_path : "")),
	          SM_PATH_READ);
	add_file(&places, conf->access_map.file);
	add_file(&places, conf->aliases.use.file);
	add_file(&places, conf->verify.use.file);
	add_file(&places, conf->on_demand.use.file);
	add_file(&places, conf->server_auth.file);
	rc = add_lists(&places, conf->aliases.include_directory);
	if (rc != 0)
		return rc;
	if (conf->mailertable.name.n == 0)
		add_file(&places, conf->mailertable.file);
	if (ar_grey_used(&conf->greylisting))
		add_place(&places, conf->greylisting.directory,
		          SM_PATH_READ | SM_PATH_WRITE | SM_PATH_CREATE);
	for (size_t i = 0; i < conf->map.count; i++) {
		add_file(&places, maps[i].file);
		if (maps[i].path.n > 0)
			add_place(&places, directory_of(maps[i].path), SM_PATH_CONNECT);
		if (maps[i].type == AR_MAP_PASSWD)
			add_users(&places);
	}
	rc = sm_priv_drop(&profile, report, sizeof(report));
	if (rc == 0)
		sm_log(SM_INFO, "ar.rights", "report=%s", report);
	return rc;
}

static int serve(const struct sm_uids *uids)
{
	static char path[PATH_BYTES];
	struct sm_rpc_server_conf conf = {
	    .path = path,
	    .umask = SOCKET_UMASK,
	    .uids = uids->v,
	    .uid_count = uids->count,
	    .read_gid = (gid_t)-1,
	    .roles = 1U << SM_ROLE_SMTPS | 1U << SM_ROLE_QMGR | 1U << SM_ROLE_SMTPC,
	    .max_peers = MAX_PEERS,
	    .on_frame = ar_handlers_frame,
	    .arg = handlers,
	};
	int rc = sm_str_copy(proc.global.smar_socket, path, sizeof(path));

	return rc != 0 ? rc : sm_rpc_listen(&conf, &server);
}

/* What the configuration says, but for maps: nothing of it becomes right by itself. */
static int configure(const struct ar_conf *conf, struct ar_dns_conf *dns)
{
	int rc;

	ar.conf = conf;
	ar.hostname = proc.global.hostname;
#ifdef SM_TESTING
	/* Tests have nothing but loopback addresses for their domains to be at. */
	ar.loopback_ok = getenv("SM_TEST_LOOPBACK") != NULL;
#endif
	if ((rc = servers_of(conf, dns)) != 0 || (rc = sm_mapdb_init()) != 0 ||
	    (rc = timeout_of(conf, &ar.dns_timeout_ms)) != 0 ||
	    (ar_grey_used(&conf->greylisting) && (rc = ar_greylist_try(&conf->greylisting)) != 0))
		return rc;
	dns->timeout_ms = ar.dns_timeout_ms;
	return 0;
}

/* `files`: how those of the maps looked before they were opened. */
static int start(const struct ar_conf *conf, const struct ar_dns_conf *dns, uint64_t files)
{
	struct sm_uids uids = {0};
	int rc;

	sm_proc_users(&proc, "smtps", &uids);
	sm_proc_users(&proc, "qmgr", &uids);
	sm_proc_users(&proc, "smtpc", &uids);
	ar_own_init(ar.hostname, &conf->own_names);
	rc = ar_own_interfaces();
	if (rc != 0)
		return rc;
	ar_cache_init(&(struct ar_cache_conf){.max_entries = (size_t)conf->max_cache_entries,
	                                      .max_queries = (size_t)conf->max_queries});
	handlers = ar_handlers_new(&ar, (size_t)conf->max_requests);
	/* The listener comes first: afterwards it can make none. */
	if ((rc = ar_dns_init(dns)) != 0 || (rc = serve(&uids)) != 0 ||
	    (rc = ar_control_open(&ar, handlers)) != 0 || (rc = sm_last_words_install()) != 0 ||
	    (rc = drop_rights(conf)) != 0)
		return rc;
	rc = sm_offload_init(HELPERS);
	if (rc == 0)
		ar_reload_start(&ar, files);
	if (rc == 0)
		ar_dnsbl_start(&ar);
	if (rc == 0 && ar_grey_used(&conf->greylisting))
		ar.grey = ar_greylist_new(&ar);
	return rc;
}

/* ---- end ---- */

static void idle(void *arg SM_UNUSED)
{
	sm_loop_stop(SM_EXIT_OK);
}

static void controls_idle(void *arg SM_UNUSED)
{
	ar_handlers_stop(handlers, idle, NULL);
}

static void on_term(struct sm_proc *p SM_UNUSED)
{
	struct ar_dnsbl_stats lists = ar_dnsbl_stats();
	struct ar_cache_stats s = ar_cache_stats();

	sm_log(SM_NOTICE, "ar.stop",
	       "waiting=%zu cached=%zu hits=%llu misses=%llu asked=%llu listed=%llu strange=%llu",
	       ar_handlers_waiting(handlers), s.entries, (unsigned long long)s.hits,
	       (unsigned long long)s.misses, (unsigned long long)s.asked,
	       (unsigned long long)lists.listed, (unsigned long long)lists.strange);
	ar_reload_stop();
	ar_dnsbl_stop();
	ar_control_stop(controls_idle, NULL);
}

static void clean_up(void)
{
	sm_offload_fini();
	ar_control_close();
	sm_rpc_server_free(&server);
	ar_handlers_free(&handlers);
	ar_greylist_free(&ar.grey);
	ar_alias_fini();
	ar_dns_fini();
	ar_cache_fini();
	ar_reload_free();
	ar_release(&ar);
	ar_own_fini();
}

int main(int argc, char **argv)
{
	const struct ar_conf *conf;
	struct ar_dns_conf dns;
	bool done, maps = false;
	uint64_t files;
	int status, rc;

	proc = (struct sm_proc){
	    .name = "smar",
	    .role = SM_ROLE_SMAR,
	    .opts = ar_conf_opts,
	    .conf_size = sizeof(struct ar_conf),
	    .check = check,
	    .on_reload = on_reload,
	    .on_term = on_term,
	};
	status = sm_proc_start(&proc, argc, argv, &done);
	if (done)
		return status;
	sm_rpc_self(SM_ROLE_SMAR, 0);
	conf = proc.conf;
	files = ar_maps_look(conf);
	rc = configure(conf, &dns);
	if (rc == 0)
		maps = (rc = ar_reload_open(&ar)) != 0;
	if (rc == 0)
		rc = start(conf, &dns, files);
	if (rc != 0) {
		sm_log(SM_FATAL, "ar.start", "error=%E", rc);
		/* A file of a map may be mended any time, as while smar runs: mcp tries again. For
		 * a directory that is not there it does not help. */
		return sm_proc_end(&proc,
		                   maps || sm_err_is_temp(rc) ? SM_EXIT_TEMP : SM_EXIT_CONFIG);
	}
	sm_proc_ready(&proc);
	status = sm_loop_run();
	clean_up();
	return sm_proc_end(&proc, status);
}
