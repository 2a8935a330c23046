/*
 * qmgr: owns every envelope. Start-up, the order of its parts, and its end.
 */
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <unistd.h>

#include "libsm/ctl.h"
#include "libsm/offload.h"
#include "libsm/priv.h"
#include "libsm/time.h"
#include "qmgr/qm.h"

static struct sm_proc proc;
static struct qm qmgr = {.proc = &proc};

/* Before rights are dropped: afterwards nothing may ask NSS. */
static void find_users(struct qm *q)
{
	sm_proc_users(q->proc, "smtps", &q->smtps_users);
	sm_proc_users(q->proc, "smtpc", &q->smtpc_users);
	sm_proc_users(q->proc, "smar", &q->smar_users);
	q->gid_control = sm_ctl_group(q->conf->control_socket);
}

static void path_of(struct sm_str s, char *out, size_t size, bool directory)
{
	ptrdiff_t slash = directory ? (ptrdiff_t)s.n : sm_str_rchr(s, '/');

	if (slash < 0 || sm_str_copy(sm_str_head(s, (size_t)slash), out, size) != 0)
		snprintf(out, size, ".");
	if (out[0] == '\0')
		snprintf(out, size, ".");
}

static int drop_rights(struct qm *q)
{
	static char ibdb[256], defedb[256], log_dir[256], cdb[256], smtps[108], smtpc[108],
	    smar[108], ctl[108], etc[256], map[256];
	char report[200];
	enum { OTHERS = 9 };
	struct sm_priv_path paths[OTHERS + CDB_DIRS + 1] = {
	    {ibdb, SM_PATH_READ | SM_PATH_WRITE | SM_PATH_CREATE},
	    {defedb, SM_PATH_READ | SM_PATH_WRITE | SM_PATH_CREATE},
	    {log_dir, SM_PATH_READ | SM_PATH_WRITE | SM_PATH_CREATE},
	    {smtps, SM_PATH_SOCKET | SM_PATH_CREATE},
	    {smtpc, SM_PATH_SOCKET | SM_PATH_CREATE},
	    {ctl, SM_PATH_SOCKET | SM_PATH_CREATE},
	    {smar, SM_PATH_CONNECT},
	    {etc, SM_PATH_READ},
	    {map, SM_PATH_READ},
	};
	const struct sm_priv_profile profile = {
	    .role = SM_ROLE_QMGR,
	    .paths = paths,
	    .max_files = 4096,
	    .max_file_bytes = 0,
	};
	int err;

	path_of(q->conf->ibdb.base_directory, ibdb, sizeof(ibdb), true);
	path_of(q->conf->defedb.base_directory, defedb, sizeof(defedb), true);
	path_of(q->conf->defedb.log_directory.n ? q->conf->defedb.log_directory
	                                        : q->conf->defedb.base_directory,
	        log_dir, sizeof(log_dir), true);
	/* Contents are removed here, never read. */
	if ((err = sm_str_copy(q->proc->global.cdb_base_directory, cdb, sizeof(cdb))) != 0)
		return sm_fail(err, "CDB_base_directory is too long");
	cdb_paths(cdb, SM_PATH_LIST | SM_PATH_REMOVE, &q->proc->arena, paths + OTHERS);
	path_of(q->proc->global.smtps_socket, smtps, sizeof(smtps), false);
	path_of(q->proc->global.smtpc_socket, smtpc, sizeof(smtpc), false);
	path_of(q->proc->global.smar_socket, smar, sizeof(smar), false);
	path_of(q->conf->control_socket, ctl, sizeof(ctl), false);
	path_of(sm_str(q->proc->conf_path ? q->proc->conf_path : "."), etc, sizeof(etc), false);
	q->statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	path_of(q->conf->conf_map, map, sizeof(map), false);
	if ((err = sm_priv_drop(&profile, report, sizeof(report))) != 0)
		return err;
	sm_log(SM_INFO, "qm.rights", "report=%s", report);
	return 0;
}

static void on_running(struct qm *q)
{
	sm_proc_ready(q->proc);
}

static void on_term(struct sm_proc *p)
{
	(void)p;
	qm_queue_stop(&qmgr);
}

static void on_reload(struct sm_proc *p, const void *new_conf)
{
	(void)p;
	qm_queue_reload(&qmgr, new_conf);
}

/* The short options that the original has. */
static int short_opt(struct sm_proc *p, int opt, const char *arg)
{
	const char *name = opt == 'C' ? "smtpc.max_connections" : "smtpc.initial_connections";

	if (opt == 'O') {
		if ((arg[0] != 'R' && arg[0] != 'O') || arg[1] != '=')
			return sm_fail(SM_E_SYNTAX, "-O %s: R=number or O=number is wanted", arg);
		name = arg[0] == 'R' ? "smtps.max_connection_rate" : "smtps.max_connections";
		arg += 2;
	}
	return sm_conf_set(qm_conf_opts, p->conf, &p->arena, name, arg, "command line");
}

static int check(const void *conf)
{
	return qm_conf_check(conf);
}

int main(int argc, char **argv)
{
	bool done;
	int status, err;

	proc = (struct sm_proc){
	    .name = "qmgr",
	    .role = SM_ROLE_QMGR,
	    .opts = qm_conf_opts,
	    .conf_size = sizeof(struct qm_conf),
	    .check = check,
	    .short_opts = "C:c:O:",
	    .short_opt = short_opt,
	    .usage = "  -C N      open connections to one next hop at the most\n"
		     "  -c N      open connections to one next hop at first\n"
		     "  -O R=N    new sessions from one address in 60 s; -O O=N: open ones\n",
	    .on_term = on_term,
	    .on_reload = on_reload,
	};
	status = sm_proc_start(&proc, argc, argv, &done);
	if (done)
		return status;
	qmgr.conf = proc.conf;
	qmgr.started_s = sm_wall_s();
	qmgr.on_running = on_running;
	sm_rpc_self(SM_ROLE_QMGR, 0);
	find_users(&qmgr);
	if ((err = drop_rights(&qmgr)) != 0 ||
	    (err = sm_offload_init((unsigned)qmgr.conf->unlink_threads)) != 0 ||
	    (err = qm_queue_open(&qmgr)) != 0) {
		sm_log(SM_FATAL, "qm.start", "error=%E", err);
		/* Another qmgr has the queue, the disk is away: worth another try. A missing
		 * directory is not, nor a queue that another release wrote. */
		return sm_proc_end(&proc,
		                   err == SM_E_NOTFOUND || err == SM_E_DENIED || err == SM_E_NOTSUP
		                       ? SM_EXIT_CONFIG
		                       : SM_EXIT_TEMP);
	}
	status = sm_loop_run();
	qm_queue_close(&qmgr);
	return sm_proc_end(&proc, status);
}
