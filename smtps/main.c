/*
 * The SMTP server: start, rights, listeners, end. What a session does is in session.c; here is only
 * what happens once a process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/offload.h"
#include "libsm/priv.h"
#include "libsm/proc.h"
#include "smtps/accept.h"
#include "smtps/peers.h"
#include "smtps/sasl.h"
#include "smtps/session.h"

enum {
	PATH_MAX_BYTES = 108, /* of a Unix socket */
	AUTH_PATHS = 16,      /* auth.readable */
	TLS_DIRS = 32,
	FDS_OF_OUR_OWN = 256, /* beside two for each session: connection and content file */
	ABANDONED_MS = 1000,  /* for sessions, when mcp died: qmgr and smar end as well, for good */
};

struct server {
	struct sm_proc proc;
	struct ss ss;
	struct sm_timer drain;
};

static struct server *server_of(struct sm_proc *p)
{
	return SM_CONTAINER_OF(p, struct server, proc);
}

/* ---- command line ---- */

static int short_opt(struct sm_proc *p, int opt, const char *arg)
{
	switch (opt) {
	case 'a':
		return sm_conf_set(ss_conf_opts, p->conf, &p->arena, "flags", "access", "-a");
	case 'T':
		return sm_conf_add(ss_conf_opts, p->conf, &p->arena, "relay_to", arg, "-T");
	case 'L':
		return sm_conf_add(ss_conf_opts, p->conf, &p->arena, "listen", arg, "-L");
	default:
		return sm_fail(SM_E_BUG, "option -%c", opt);
	}
}

static int check(const void *conf)
{
	const struct ss_conf *c = conf;
	int rc = ss_conf_check(c);

	if (rc == 0 && (c->tls.flags & SM_TLS_RELAY_BY_MAP) && !(c->flags & SS_F_ACCESS))
		rc = sm_fail(SM_E_SYNTAX,
		             "tls: check_access_map_for_relaying needs the flag access");
	/* Here, because the flag may come from the command line. */
	if (rc == 0 && c->protected_recipients.allow_by != 0 && !(c->flags & SS_F_ACCESS))
		rc = sm_fail(SM_E_SYNTAX, "protected_recipients needs the flag access");
	return rc;
}

/* ---- rights ---- */

/* The directory of a path, "." for none. */
static const char *dir_of(const char *path, char *out, size_t size)
{
	const char *slash = strrchr(path, '/');
	size_t n = slash != NULL ? (size_t)(slash - path) : 0;

	if (slash == path)
		return "/";
	if (slash == NULL || sm_str_copy(sm_str_n(path, n), out, size) != 0)
		return ".";
	return out;
}

/* Where filters are: their directories behind the n paths that there are, their ports. Gives how
 * many paths there are then. */
static size_t filter_rights(struct server *sv, struct sm_priv_path *paths, size_t n,
                            uint16_t ports[SS_MILTERS_MAX + 1])
{
	const struct sm_conf_sections *all = &sv->ss.conf->milters;
	char path[PATH_MAX_BYTES];

	for (size_t i = 0; i < all->count; i++) {
		const struct ss_milter_conf *m = ss_milter_at(all, i);
		char *dir;

		if (m->socket.type == SS_MILTER_INET) {
			*ports++ = (uint16_t)m->socket.port;
			continue;
		}
		dir = sm_arena_must(&sv->proc.arena, PATH_MAX_BYTES);
		sm_str_cut(m->socket.path, path, sizeof(path));
		paths[n++] =
		    (struct sm_priv_path){dir_of(path, dir, PATH_MAX_BYTES), SM_PATH_CONNECT};
	}
	*ports = 0;
	return n;
}

static int drop_rights(struct server *sv, const char *base, const char *qmgr, const char *smar)
{
	char socket_dirs[2][PATH_MAX_BYTES], report[200];
	char conf_dir[4096];
	const struct ss_auth_conf *auth = &sv->ss.conf->auth;
	struct sm_priv_path paths[CDB_DIRS + 8 + AUTH_PATHS + TLS_DIRS + SS_MILTERS_MAX];
	uint16_t filter_ports[SS_MILTERS_MAX + 1];
	size_t n = CDB_DIRS;
	int err;

	cdb_paths(base, SM_PATH_READ | SM_PATH_WRITE | SM_PATH_CREATE, &sv->proc.arena, paths);
	paths[n++] =
	    (struct sm_priv_path){dir_of(qmgr, socket_dirs[0], PATH_MAX_BYTES), SM_PATH_CONNECT};
	paths[n++] =
	    (struct sm_priv_path){dir_of(smar, socket_dirs[1], PATH_MAX_BYTES), SM_PATH_CONNECT};
	/* The directory: an editor replaces the file, and a rule holds for the file it was made
	 * for. */
	if (sv->proc.conf_path != NULL)
		paths[n++] = (struct sm_priv_path){
		    dir_of(sv->proc.conf_path, conf_dir, sizeof(conf_dir)), SM_PATH_READ};
	n += sm_tls_paths(&sv->ss.conf->tls, &sv->proc.arena, paths + n, TLS_DIRS);
	paths[n++] = (struct sm_priv_path){"/dev/null", SM_PATH_READ | SM_PATH_WRITE};
	for (size_t i = 0; ss_auth_configured(auth) && i < SM_MIN(auth->paths.count, AUTH_PATHS);
	     i++) {
		struct sm_str name = auth->paths.v[i];
		char *path = sm_arena_must(&sv->proc.arena, name.n + 1);

		memcpy(path, name.p, name.n);
		path[name.n] = '\0';
		paths[n++] = (struct sm_priv_path){path, SM_PATH_READ | SM_PATH_CONNECT};
	}
	n = filter_rights(sv, paths, n, filter_ports);
	paths[n] = (struct sm_priv_path){NULL, 0};

	struct sm_priv_profile profile = {
	    .role = SM_ROLE_SMTPS,
	    .paths = paths,
	    .inet = filter_ports[0] != 0,
	    .connect_ports = filter_ports[0] != 0 ? filter_ports : NULL,
	    .max_files = (2 + sv->ss.conf->milters.count) * (size_t)sv->ss.conf->max_threads +
	                 FDS_OF_OUR_OWN,
	    .max_file_bytes = (size_t)sv->ss.conf->max_message_bytes + 16 * 1024 * 1024,
	};
	struct rlimit have;
	if (getrlimit(RLIMIT_NOFILE, &have) == 0 && profile.max_files > have.rlim_max)
		profile.max_files = have.rlim_max;
	err = sm_priv_drop(&profile, report, sizeof(report));
	if (err == 0)
		sm_log(SM_INFO, "ss.rights", "report=%s files=%zu", report, profile.max_files);
	return err;
}

/* ---- life ---- */

static void all_gone(struct ss *ss)
{
	if (ss->draining || ss->single)
		sm_loop_stop(SM_EXIT_OK);
}

static void patience_is_over(void *arg)
{
	struct server *sv = arg;

	sm_log(SM_NOTICE, "ss.drain", "sessions=%zu transactions=%zu stat=cut",
	       sv->ss.session_count, sv->ss.txn_count);
	ss_sessions_stop(&sv->ss, true);
}

static void on_term(struct sm_proc *p)
{
	struct server *sv = server_of(p);
	int64_t patience_ms = sv->ss.conf->drain_timeout_ms;

	/* The next mcp waits for our listeners. */
	if (p->abandoned)
		patience_ms = SM_MIN(patience_ms, (int64_t)ABANDONED_MS);
	sv->ss.draining = true;
	ss_handover_close();
	ss_accept_stop(&sv->ss);
	sm_log(SM_NOTICE, "ss.drain", "sessions=%zu transactions=%zu stat=begin",
	       sv->ss.session_count, sv->ss.txn_count);
	if (sv->ss.session_count == 0) {
		sm_loop_stop(SM_EXIT_OK);
		return;
	}
	ss_sessions_stop(&sv->ss, false);
	sm_timer_set(&sv->drain, sm_loop_now_ms() + patience_ms, patience_is_over, sv);
}

static void on_reload(struct sm_proc *p, const void *new_conf)
{
	struct ss *ss = &server_of(p)->ss;

	ss->conf = new_conf;
	ss_tls_reload(ss);
	ss_pressure_watch(ss);
}

/* From the supervisor: a listener, without a pass_fd_socket, or one of open_files. */
static void on_file(struct sm_proc *p, const char *name, int fd)
{
	struct ss *ss = &server_of(p)->ss;
	int err;

	if (!ss_accept_is_listener(fd)) {
		ss_tls_file(ss, name, fd);
		return;
	}
	err = ss_accept_add(ss, fd, name);

	if (err != 0)
		sm_log(SM_WARN, "ss.file", "name=%s error=%E", name, err);
}

static void on_first_listener(void *arg)
{
	sm_proc_ready(arg);
}

/* The connection that is standard input and output becomes a descriptor that nobody else has. */
static int take_connection(void)
{
	int fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3),
	    null = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct sm_sa peer;

	if (fd < 0 || null < 0 || fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK) != 0)
		return sm_fail_sys(errno, "standard input");
	(void)dup2(null, STDIN_FILENO);
	if (sm_sa_peer(&peer, STDOUT_FILENO) == 0)
		(void)dup2(null, STDOUT_FILENO);
	(void)close(null);
	return fd;
}

/* Descriptor 0 may be a listening socket (start_action accept) or a connection (nostartaccept). */
static int take_standard_input(struct ss *ss)
{
	struct sm_sa peer;
	int fd;

	if (ss_accept_is_listener(STDIN_FILENO)) {
		fd = dup(STDIN_FILENO);
		return fd < 0 ? SM_E_SYS : ss_accept_add(ss, fd, "");
	}
	if (sm_sa_peer(&peer, STDIN_FILENO) != 0)
		return 0;
	ss->single = true;
	fd = take_connection();
	return fd < 0 ? fd : ss_session_start(ss, fd, &peer, "stdin");
}

static bool segment_id(void *arg, struct sm_id *id)
{
	return ss_peers_id(arg, id);
}

static void segment_sealed(void *arg, struct sm_id segment)
{
	ss_peers_sealed(arg, segment);
}

static int start(struct server *sv)
{
	struct sm_proc *p = &sv->proc;
	struct ss *ss = &sv->ss;
	static char qmgr[PATH_MAX_BYTES], smar[PATH_MAX_BYTES], base[4096];
	const char *door = getenv("SM_MCP_PASS_FD");
	struct ss_peer_users users = {0};
	struct cdb_conf cdb = {.base = base,
	                       .gid = (gid_t)ss->conf->cdb_gid,
	                       .sync_dir = (enum cdb_sync_dir)ss->conf->cdb_sync_dir,
	                       .segment_bytes = (uint64_t)ss->conf->cdb_segment_bytes,
	                       .segment_pace = (unsigned)ss->conf->cdb_segment_pace,
	                       .new_id = segment_id,
	                       .sealed = segment_sealed,
	                       .arg = ss};
	int err;

	sm_proc_users(p, "qmgr", &users.qmgr);
	sm_proc_users(p, "smar", &users.smar);
	tzset(); /* reads its file now, while we may */
	if (sm_str_copy(p->global.smtps_socket, qmgr, sizeof(qmgr)) != 0 ||
	    sm_str_copy(p->global.smar_socket, smar, sizeof(smar)) != 0 ||
	    sm_str_copy(p->global.cdb_base_directory, base, sizeof(base)) != 0)
		return sm_fail(SM_E_TOOBIG, "a path of the configuration is too long");
	err = cdb_open(&cdb, &ss->cdb);
	/* Plugins and their libraries, while everything may still be opened. */
	if (err == 0 && ss_auth_configured(&ss->conf->auth))
		err = ss_sasl_init(&ss->conf->auth, ss->hostname);
	/* Sockets that we make ourselves, before the right to make any is gone. */
	if (err == 0)
		err = ss_accept_bind(ss);
	if (err == 0 && door != NULL)
		err = ss_handover_open(ss, door, on_first_listener, p);
	/* What mcp may read and we may not is here already. */
	sm_proc_take_files(p);
	ss_tls_open(ss, p->section);
	ss_pressure_open(ss);
	if (err == 0)
		err = drop_rights(sv, base, qmgr, smar);
	if (err == 0)
		err = sm_offload_init((unsigned)ss->conf->io_threads);
	if (err != 0)
		return err;
	sm_co_limit((size_t)ss->conf->max_threads + 64);
	sm_rpc_self(SM_ROLE_SMTPS, ss->proc);
	ss_pressure_watch(ss);
	ss_peers_open(ss, qmgr, smar, &users);
	err = take_standard_input(ss);
	/* With a supervisor that hands listeners over we are ready when the first has come. */
	if (err == 0 && door == NULL)
		sm_proc_ready(p);
	return err;
}

int main(int argc, char **argv)
{
	static struct server sv = {
	    .proc = {.name = "smtps",
	             .role = SM_ROLE_SMTPS,
	             .opts = ss_conf_opts,
	             .conf_size = sizeof(struct ss_conf),
	             .check = check,
	             .short_opts = "aT:L:",
	             .short_opt = short_opt,
	             .usage = "  -a          ask the access map (flag access)\n"
	                      "  -T DOMAIN   let everybody relay to this domain (repeatable)\n"
	                      "  -L ADDRESS  listen there without a supervisor: 127.0.0.1:2525 "
	                      "(repeatable)\n",
	             .on_reload = on_reload,
	             .on_term = on_term,
	             .on_file = on_file},
	    .ss = {.spare_fd = -1},
	};
	struct ss *ss = &sv.ss;
	bool done;
	int status = sm_proc_start(&sv.proc, argc, argv, &done);

	if (done)
		return status;
	ss->conf = sv.proc.conf;
	if (ss->conf->id + sv.proc.index > SS_PROC_MAX) {
		sm_log(SM_FATAL, "ss.start", "id=%lld index=%d why=%s", (long long)ss->conf->id,
		       sv.proc.index, "together above 254");
		return sm_proc_end(&sv.proc, SM_EXIT_CONFIG);
	}
	ss->hostname = sv.proc.global.hostname;
	/* The processes of a section are numbered from its id on. */
	ss->proc = (uint8_t)(ss->conf->id + sv.proc.index);
	ss->on_idle = all_gone;
	sm_list_init(&ss->sessions);
	sm_list_init(&ss->transactions);
	sm_list_init(&ss->listeners);
	ss_authlimit_init(&ss->authlimit);
	int err = start(&sv);
	if (err != 0) {
		sm_log(SM_FATAL, "ss.start", "error=%E", err);
		status = err == SM_E_DENIED   ? SM_EXIT_USAGE
		         : err == SM_E_NOTSUP ? SM_EXIT_CONFIG
		                              : SM_EXIT_TEMP;
	} else {
		ss->spare_fd = dup(STDERR_FILENO);
		status = sm_loop_run();
	}
	ss_accept_stop(ss);
	ss_handover_close();
	ss_pressure_close(ss);
	/* A helper that still waits for saslauthd is not waited for. */
	if (ss->session_count == 0 && ss_sasl_busy() == 0) {
		ss_sasl_fini();
		ss_authlimit_fini(&ss->authlimit);
		ss_peers_close(ss);
		sm_offload_fini();
		cdb_close(&ss->cdb);
		ss_tls_close(ss);
	}
	return sm_proc_end(&sv.proc, status);
}
