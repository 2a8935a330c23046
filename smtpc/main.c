/*
 * smtpc: delivers messages to SMTP and LMTP servers as qmgr asks.
 *
 * This file starts the process, keeps the link to qmgr, and ends it: first new tasks are refused,
 * then those that run get `drain_time`, then they are cancelled; idle sessions hear QUIT.
 * Everything runs in one thread but the reading of contents (offload.h).
 */
#include <stdlib.h>
#include <unistd.h>

#include "libsm/co.h"
#include "libsm/log.h"
#include "libsm/offload.h"
#include "libsm/priv.h"
#include "libsm/proc.h"
#include "smtpc/sasl.h"
#include "smtpc/sc.h"
#include "smtpc/task.h"

enum {
	START_MS = 30 * 1000, /* for qmgr's answer to sc_start */
	QUIT_LOOK_MS = 50,
	FILES_SPARE = 200,
	TLS_PATHS = 40,
};

static struct sc sc;
static struct sm_proc proc;
static const struct sc_conf *conf; /* the present one; former ones stay valid for who holds them */
static struct sm_call start_call;
static struct sm_timer patience, ending;
static int64_t ending_since_ms;
static bool is_ready;

/* ---- qmgr ---- */

static int on_frame(struct sm_peer *p, const struct sm_frame *f, void *arg)
{
	struct sc_task *t;

	(void)arg;
	if (f->type != SM_MSG_task || (f->flags & SM_FRAME_REPLY))
		return sm_fail(SM_E_PROTO, "unexpected message 0x%04x", (unsigned)f->type);
	t = sc_task_new(&sc, f->body);
	if (t == NULL)
		return SM_E_PROTO;
	t->tag = f->tag;
	sm_last_words_make(&t->words, p, f->tag);
	sc_task_start(t);
	return 0;
}

static void on_started(int err, const struct sm_frame *f, void *arg)
{
	struct sm_peer *peer = sm_link_peer(sc.qmgr);
	struct sm_msg_verdict verdict = {.code = 0};
	struct sm_arena arena;

	(void)arg;
	if (err != 0)
		return; /* the link is down or will be: next time */
	sm_arena_init(&arena, "verdict", 1024, 8192);
	if (f->type != SM_MSG_verdict || sm_msg_verdict_decode(f->body, &arena, &verdict) != 0) {
		sm_peer_close(peer, "malformed answer to sc_start");
	} else if (verdict.code != 0) {
		sm_log(SM_ERROR, "sc.refused", "peer=qmgr stat=%u reply=%S", (unsigned)verdict.code,
		       verdict.text);
		sm_peer_close(peer, "refused");
	} else {
		sm_timer_cancel(&patience);
		if (!is_ready)
			sm_proc_ready(&proc);
		is_ready = true;
	}
	sm_arena_fini(&arena);
}

static void on_up(struct sm_peer *p, void *arg)
{
	struct sm_msg_sc_start m = {.max_tasks = (uint32_t)conf->max_threads};

	(void)arg;
	sc.connection++;
	sm_log(SM_INFO, "sc.qmgr_up", "peer_pid=%d max_tasks=%u", (int)sm_peer_pid(p),
	       (unsigned)m.max_tasks);
	sm_call(&start_call, p, SM_MSG_sc_start, &m, sm_loop_now_ms() + START_MS, on_started, NULL);
}

static void on_down(struct sm_peer *p, void *arg)
{
	(void)p;
	(void)arg;
	sc.connection++;
	sm_log(SM_NOTICE, "sc.qmgr_down", "tasks=%zu reason=%s", sc.task_count,
	       sc.qmgr != NULL ? sm_link_trouble(sc.qmgr) : "ending");
}

static void on_smar_up(struct sm_peer *p, void *arg)
{
	(void)arg;
	sm_log(SM_INFO, "sc.smar_up", "peer_pid=%d", (int)sm_peer_pid(p));
}

static void on_smar_down(struct sm_peer *p, void *arg)
{
	(void)p;
	(void)arg;
	sm_log(SM_NOTICE, "sc.smar_down", "reason=%s",
	       sc.smar != NULL ? sm_link_trouble(sc.smar) : "ending");
}

static void on_gone(struct sc *s, struct sm_str key, const struct sm_sa *sa)
{
	struct sm_msg_session_gone m = {.key = key, .host = *sa};
	struct sm_peer *peer = s->qmgr != NULL ? sm_link_peer(s->qmgr) : NULL;

	if (peer != NULL)
		sm_peer_send(peer, SM_MSG_session_gone, &m);
}

static void on_no_patience(void *arg)
{
	(void)arg;
	sm_log(SM_ERROR, "sc.no_qmgr", "socket=%S waited_ms=%lld reason=%s",
	       proc.global.smtpc_socket, (long long)conf->wait_for_server_ms,
	       sm_link_trouble(sc.qmgr));
	sm_loop_stop(SM_EXIT_TEMP);
}

/* ---- the end ---- */

static void on_ending(void *arg)
{
	int64_t waited = sm_loop_now_ms() - ending_since_ms;
	bool late = waited >= conf->drain_time_ms;

	(void)arg;
	if (late)
		sc_task_cancel_all(&sc);
	/* The last coroutines say QUIT: they get their time too, in moderation. */
	if ((sc.task_count == 0 && sm_co_count() == 0) ||
	    waited >= conf->drain_time_ms + conf->timeouts.quit_ms) {
		sm_loop_stop(SM_EXIT_OK);
		return;
	}
	sm_timer_set(&ending, sm_loop_now_ms() + QUIT_LOOK_MS, on_ending, NULL);
}

static void on_term(struct sm_proc *p)
{
	(void)p;
	if (sc.draining)
		return;
	sc.draining = true;
	ending_since_ms = sm_loop_now_ms();
	sm_log(SM_INFO, "sc.ending", "tasks=%zu idle_sessions=%zu", sc.task_count, sc.cache.count);
	sc_cache_quit_all(&sc.cache);
	/* When all ends, smar does so first: a task would wait for it in vain, and all for the
	 * task. */
	sm_link_wait_no_more(sc.smar);
	sm_timer_set(&ending, ending_since_ms, on_ending, NULL);
}

/* A task uses them only between two yields. */
static int load_texts(void)
{
	struct sc_dsn_texts *texts;
	int rc = sc_dsn_texts_load(conf->dsn_texts, &texts);

	if (rc != 0) {
		sm_log(SM_ERROR, "sc.dsn_texts", "error=%E", rc);
		return rc; /* at a reload the former ones stay */
	}
	sc_dsn_texts_free(&sc.dsn_texts);
	sc.dsn_texts = texts;
	sm_log(SM_INFO, "sc.dsn_texts", "dir=%S files=%u", conf->dsn_texts, texts->files);
	return 0;
}

/* ---- TLS ---- */

/* A context in the making: reading certificates blocks. */
static struct {
	struct sm_offload_job job;
	bool running, again;
	const struct sc_conf *conf;
	struct sm_tls_ctx *ctx;
} tls;

static int tls_job(void *arg)
{
	(void)arg;
	return sm_tls_client_new(&tls.conf->tls, &tls.ctx);
}

static void load_tls(void);

static void tls_done(int rc, void *arg)
{
	(void)arg;
	tls.running = false;
	if (rc == 0) {
		sm_tls_ctx_unref(&sc.tls);
		sc.tls = tls.ctx;
		tls.ctx = NULL;
		sm_log(SM_INFO, "sc.tls_conf", "stat=taken");
	} else if (rc != SM_E_NOTSUP) {
		sm_log(SM_ERROR, "sc.tls_conf", "stat=refused error=%E", rc); /* the former stays */
	}
	if (tls.again)
		load_tls();
}

/* Former configurations stay valid, so the helper may have one. */
static void load_tls(void)
{
	tls.again = tls.running;
	if (tls.running)
		return;
	tls.running = true;
	tls.conf = conf;
	sm_offload_async(&tls.job, tls_job, tls_done, NULL);
}

static int open_tls(void)
{
	int rc = sm_tls_client_new(&conf->tls, &sc.tls);

	return rc == SM_E_NOTSUP ? 0 : rc;
}

static void on_reload(struct sm_proc *p, const void *new_conf)
{
	(void)p;
	sc.conf = conf = new_conf;
	load_tls();
	(void)load_texts();
	sm_log(SM_INFO, "sc.reload", "max_threads=%lld", (long long)conf->max_threads);
}

/* ---- the beginning ---- */

/* The directory of a path, for the sandbox; "" gives ".". */
static const char *directory_of(struct sm_arena *a, struct sm_str path)
{
	ptrdiff_t slash = sm_str_rchr(path, '/');

	if (slash < 0)
		return ".";
	return sm_arena_str(a, sm_str_head(path, slash == 0 ? 1 : (size_t)slash)).p;
}

static int drop_rights(const char *cdb_base)
{
	struct sm_priv_path paths[CDB_DIRS + 8 + TLS_PATHS] = {
	    {directory_of(&proc.arena, proc.global.smtpc_socket), SM_PATH_CONNECT},
	    {directory_of(&proc.arena, conf->lmtp_socket), SM_PATH_CONNECT},
	    {SMX_SYSCONFDIR, SM_PATH_READ},
	    {directory_of(&proc.arena, proc.global.smar_socket), SM_PATH_CONNECT},
	};
	size_t n = 4;
	const struct sm_priv_profile profile = {
	    .role = SM_ROLE_SMTPC,
	    .paths = paths,
	    .inet = true,
	    .max_files = (size_t)(2 * conf->max_threads + conf->max_sessions_idle) + FILES_SPARE,
	};
	char report[128];

	if (proc.conf_path != NULL)
		paths[n++] = (struct sm_priv_path){
		    directory_of(&proc.arena, sm_str(proc.conf_path)), SM_PATH_READ};
	if (conf->dsn_texts.n > 0)
		paths[n++] = (struct sm_priv_path){sm_arena_str(&proc.arena, conf->dsn_texts).p,
		                                   SM_PATH_READ};
	if (conf->token_directory.n > 0)
		paths[n++] = (struct sm_priv_path){
		    sm_arena_str(&proc.arena, conf->token_directory).p, SM_PATH_READ};
	n += sm_tls_paths(&conf->tls, &proc.arena, paths + n, TLS_PATHS);
	/* Each by itself: one may be a link to another disk, and what lies beside them is not ours.
	 */
	cdb_paths(cdb_base, SM_PATH_READ, &proc.arena, paths + n);
	int rc = sm_priv_drop(&profile, report, sizeof(report));

	if (rc == 0)
		sm_log(SM_INFO, "sc.rights", "report=%s", report);
	return rc;
}

static int open_all(void)
{
	struct sm_uids qmgr = {0}, smar = {0};
	const struct cdb_conf cdb = {
	    .base =
		proc.global.cdb_base_directory.p != NULL ? proc.global.cdb_base_directory.p : "",
	    .gid = (gid_t)-1,
	};
	int rc;

	if ((rc = cdb_open(&cdb, &sc.cdb)) != 0)
		return rc;
	if ((rc = load_texts()) != 0)
		return rc;
	if ((rc = open_tls()) != 0 || (rc = sc_sasl_init()) != 0)
		return rc;
	sm_proc_users(&proc, "qmgr", &qmgr);
	sm_proc_users(&proc, "smar", &smar);
	if ((rc = sm_last_words_install()) != 0 || (rc = drop_rights(cdb.base)) != 0)
		return rc;
	if ((rc = sm_offload_init((unsigned)conf->helper_threads)) != 0)
		return rc;
	/* Each task is a coroutine, and so is each QUIT and what libsm has of its own. */
	sm_co_limit((size_t)(2 * conf->max_threads + conf->max_sessions_idle) + FILES_SPARE);
	sc.conf = conf;
	sc.hostname = proc.global.hostname;
	sc.proc = (uint8_t)proc.index;
	sm_list_init(&sc.tasks);
	sc_cache_init(&sc.cache, &sc);
	sc_tls_memory_init(&sc.tls_failed);
	sc.cache.on_gone = on_gone;
	sm_rpc_self(SM_ROLE_SMTPC, sc.proc);
	const struct sm_link_conf link = {
	    .path = proc.global.smtpc_socket.p,
	    .role = SM_ROLE_QMGR,
	    .uids = qmgr.v,
	    .uid_count = qmgr.count,
	    .on_up = on_up,
	    .on_down = on_down,
	    .on_frame = on_frame,
	};
	const struct sm_link_conf to_smar = {
	    .path = proc.global.smar_socket.p,
	    .role = SM_ROLE_SMAR,
	    .uids = smar.v,
	    .uid_count = smar.count,
	    .on_up = on_smar_up,
	    .on_down = on_smar_down,
	};
	sc.qmgr = sm_link_open(&link);
	sc.smar = sm_link_open(&to_smar);
	sm_timer_set(&patience, sm_loop_now_ms() + conf->wait_for_server_ms, on_no_patience, NULL);
	return 0;
}

static int check_conf(const void *c)
{
	return sc_conf_check(c);
}

int main(int argc, char **argv)
{
	bool done;
	int status;

	proc = (struct sm_proc){
	    .name = "smtpc",
	    .role = SM_ROLE_SMTPC,
	    .opts = sc_conf_opts,
	    .conf_size = sizeof(struct sc_conf),
	    .check = check_conf,
	    .on_reload = on_reload,
	    .on_term = on_term,
	};
	status = sm_proc_start(&proc, argc, argv, &done);
	if (status != SM_EXIT_OK || done)
		return sm_proc_end(&proc, status);
	conf = proc.conf;
	int rc = open_all();
	if (rc != 0) {
		sm_log(SM_FATAL, "sc.start", "error=%E", rc);
		return sm_proc_end(&proc, rc == SM_E_DENIED ? SM_EXIT_USAGE : SM_EXIT_OSERR);
	}
	status = sm_loop_run();
	sm_call_cancel(&start_call);
	sm_link_free(&sc.qmgr);
	sm_link_free(&sc.smar);
	sc_cache_fini(&sc.cache);
	sc_dsn_texts_free(&sc.dsn_texts);
	sm_offload_fini();
	sc_tls_memory_fini(&sc.tls_failed);
	sm_tls_ctx_unref(&tls.ctx);
	sm_tls_ctx_unref(&sc.tls);
	sm_tls_cleanup();
	sc_sasl_fini();
	cdb_close(&sc.cdb);
	return sm_proc_end(&proc, status);
}
