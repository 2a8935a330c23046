/* The smtpc program itself, with this test as its qmgr, its smar, and the server it delivers to. */
#include "smtpc/t_smtpc.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "libsm/rpc.h"

enum { NOBODY = 65534 };

static struct {
	pid_t pid;
	struct sm_rpc_server *server;
	struct sm_peer *peer;
	struct sm_call call;
	char conf[100], sock[100];
	int started, results, gone, ups;
	bool answered;
} P;

/* ---- as qmgr ---- */

static int on_frame(struct sm_peer *p, const struct sm_frame *f, void *arg)
{
	struct sm_msg_session_gone gone;
	struct sm_msg_sc_start start;
	struct sm_msg_verdict ok = {.code = 0};

	(void)arg;
	if (f->type == SM_MSG_sc_start) {
		assert_int_equal(sm_msg_sc_start_decode(f->body, &W.arena, &start), 0);
		assert_int_equal(start.max_tasks, 7);
		P.started++;
		P.peer = p;
		sm_peer_reply(p, f->tag, 0, SM_MSG_verdict, &ok);
	} else {
		assert_int_equal(f->type, SM_MSG_session_gone);
		assert_int_equal(sm_msg_session_gone_decode(f->body, &W.arena, &gone), 0);
		assert_true(sm_str_eq(gone.key, SM_STR("key")));
		assert_true(sm_sa_eq(&gone.host, &W.host[0].sa));
		P.gone++;
	}
	return 0;
}

static void on_close(struct sm_peer *p, void *arg)
{
	(void)arg;
	if (P.peer == p)
		P.peer = NULL;
}

static void listen_as_qmgr(void)
{
	static const uid_t uids[] = {NOBODY};
	const struct sm_rpc_server_conf c = {
	    .path = P.sock,
	    .umask = 0,
	    .uids = uids,
	    .uid_count = 1,
	    .read_gid = (gid_t)-1,
	    .roles = 1U << SM_ROLE_SMTPC,
	    .max_peers = 4,
	    .on_close = on_close,
	    .on_frame = on_frame,
	};
	assert_int_equal(sm_rpc_listen(&c, &P.server), 0);
}

static void on_result(int err, const struct sm_frame *f, void *arg)
{
	static const char *const outcomes[] = {"done", "temp", "perm"};
	struct sm_msg_task_result m;

	(void)arg;
	P.answered = true;
	if (err != 0)
		return;
	assert_int_equal(f->type, SM_MSG_task_result);
	assert_int_equal(sm_msg_task_result_decode(f->body, &W.arena, &m), 0);
	assert_int_equal(m.results_count, 1);
	(void)snprintf(W.results, sizeof(W.results), "%s %u " SM_STR_FMT,
	               outcomes[m.results[0].outcome], (unsigned)m.results[0].code,
	               SM_STR_ARG(m.results[0].text));
	W.kept = m.session_kept;
	P.results++;
}

static void wait_for(const volatile int *what, int value)
{
	int64_t end = sm_now_ms() + T_PATIENCE_MS;

	while (*what < value && sm_now_ms() < end)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
	assert_true(*what >= value);
}

static void deliver(const char *want)
{
	int before = P.results;

	sm_call(&P.call, P.peer, SM_MSG_task, &W.task, sm_loop_now_ms() + T_PATIENCE_MS, on_result,
	        NULL);
	wait_for(&P.results, before + 1);
	assert_string_equal(W.results, want);
}

/* ---- as smar, in a process of its own ---- */

static char smar_sock[100];

static int on_question(struct sm_peer *p, const struct sm_frame *f, void *arg)
{
	struct sm_msg_server_confd m = {.code = 0};

	(void)arg;
	if (f->type != SM_MSG_server_conf)
		return SM_E_PROTO;
	sm_peer_reply(p, f->tag, 0, SM_MSG_server_confd, &m);
	return 0;
}

static pid_t start_smar(void)
{
	static const uid_t uids[] = {NOBODY};
	const struct sm_rpc_server_conf c = {
	    .path = smar_sock,
	    .uids = uids,
	    .uid_count = 1,
	    .read_gid = (gid_t)-1,
	    .roles = 1U << SM_ROLE_SMTPC,
	    .max_peers = 4,
	    .on_frame = on_question,
	};
	struct sm_rpc_server *server;
	pid_t pid;

	(void)snprintf(smar_sock, sizeof(smar_sock), "/tmp/t_smtpc_smar.%d", (int)getpid());
	pid = fork();
	assert_true(pid != -1);
	if (pid != 0)
		return pid;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || sm_loop_init() != 0)
		_exit(97);
	sm_rpc_self(SM_ROLE_SMAR, 0);
	_exit(sm_rpc_listen(&c, &server) == 0 ? sm_loop_run() : 96);
}

/* ---- the program ---- */

static void start_program(const char *more)
{
	FILE *f = fopen(P.conf, "w");

	assert_non_null(f);
	assert_true(fprintf(f,
	                    "hostname = client.example;\nCDB_base_directory = \"%s/\";\n"
	                    "SMTPC_socket = \"%s\";\nSMAR_socket = \"%s\";\n"
	                    "smtpc { max_threads = 7; %s }\n",
	                    W.dir, P.sock, smar_sock, more) > 0);
	assert_int_equal(fclose(f), 0);
	P.pid = fork();
	assert_true(P.pid != -1);
	if (P.pid != 0)
		return;
	/* Leak checkers and workers alike want no root. */
	if (getuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0))
		_exit(99);
	/* A test that fails leaves nobody behind, who would hold its output open. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0)
		_exit(97);
	(void)execl("smtpc/smtpc", "smtpc", "-f", P.conf, (char *)NULL);
	_exit(98);
}

static int end_of_program(void)
{
	int64_t end = sm_now_ms() + T_PATIENCE_MS;
	int status = -1;

	while (waitpid(P.pid, &status, WNOHANG) == 0) {
		assert_true(sm_now_ms() < end);
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 2), 0);
	}
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void begin(const char *script)
{
	const char *scripts[] = {script};

	t_begin(1, scripts);
	memset(&P, 0, sizeof(P));
	(void)snprintf(P.conf, sizeof(P.conf), "%s/smx.conf", W.dir);
	(void)snprintf(P.sock, sizeof(P.sock), "%s/sock", W.dir);
	assert_int_equal(chmod(W.dir, 0777), 0);
	sm_rpc_self(SM_ROLE_QMGR, 0);
	t_rcpt("x@b.example");
}

static void open_contents(void)
{
	char command[200];

	t_write_content();
	(void)snprintf(command, sizeof(command), "chmod -R a+rX %s", W.dir);
	assert_int_equal(system(command), 0);
}

static void life(void *arg)
{
	(void)arg;
	listen_as_qmgr();
	open_contents();
	start_program("");
	wait_for(&P.started, 1);
	deliver("done 250 2.0.0 queued");
	assert_true(W.kept);
	deliver("done 250 2.0.0 queued");
	assert_int_equal(W.host[0].connections, 1);
	t_let_go(&W.host[0]);
	wait_for(&P.gone, 1);
	/* qmgr goes and comes back: smtpc finds it again, and still works. */
	sm_rpc_server_free(&P.server);
	listen_as_qmgr();
	wait_for(&P.started, 2);
	deliver("done 250 2.0.0 queued");
	assert_int_equal(kill(P.pid, SIGTERM), 0);
	assert_int_equal(end_of_program(), 0);
	sm_rpc_server_free(&P.server);
	sm_fd_close(&W.host[0].listener);
}

static void test_life(void **state)
{
	(void)state;
	begin(PIPE TAKES TAKES "h\nx\n---\n" PIPE TAKES);
	t_spawn(t_server, &W.host[0]);
	t_spawn(life, NULL);
	t_run_all();
	assert_string_equal(W.host[0].error, "");
	t_end();
}

/* Asked to end in the middle of a delivery that hangs: a result in time, and a clean exit. */
static void hanging(void *arg)
{
	(void)arg;
	listen_as_qmgr();
	open_contents();
	start_program("drain_time = 50ms; timeouts { quit = 1s; }");
	wait_for(&P.started, 1);
	sm_call(&P.call, P.peer, SM_MSG_task, &W.task, sm_loop_now_ms() + T_PATIENCE_MS, on_result,
	        NULL);
	wait_for(&W.host[0].connections, 1);
	assert_int_equal(kill(P.pid, SIGTERM), 0);
	wait_for(&P.results, 1);
	assert_string_equal(W.results, "temp 0 4.3.2 smtpc is shutting down");
	assert_int_equal(end_of_program(), 0);
	sm_rpc_server_free(&P.server);
	sm_fd_close(&W.host[0].listener);
}

static void test_ends_in_time(void **state)
{
	(void)state;
	begin("w\n");
	t_spawn(t_server, &W.host[0]);
	t_spawn(hanging, NULL);
	t_run_all();
	t_end();
}

static void no_qmgr(void *arg)
{
	(void)arg;
	start_program("wait_for_server = 100ms;");
	assert_int_equal(end_of_program(), 75);
	sm_fd_close(&W.host[0].listener);
}

static void test_no_qmgr(void **state)
{
	(void)state;
	begin("w\n");
	t_spawn(no_qmgr, NULL);
	t_run_all();
	t_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_life),
	    cmocka_unit_test(test_ends_in_time),
	    cmocka_unit_test(test_no_qmgr),
	};

	pid_t smar = start_smar();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	(void)kill(smar, SIGKILL);
	(void)waitpid(smar, NULL, 0);
	(void)unlink(smar_sock);
	return failed;
}
