/* A process that dies of a request: who asked is told which one it was, and only that one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsm/last_words.h"
#include "libsm/loop.h"

enum { PATIENCE_MS = 60000 };

/* What the server does with the request it dies of. */
static void (*end_of_it)(void);
static bool in_coroutine;
static char path[64];

/* ---- the server, in a process of its own ---- */

struct work {
	struct sm_last_words words;
};

static void die(void *arg)
{
	struct work *w = arg;

	sm_last_words_set(&w->words);
	end_of_it();
}

static int on_frame(struct sm_peer *p, const struct sm_frame *f, void *arg SM_UNUSED)
{
	static struct work w;
	static unsigned seen;

	/* The first one stays without an answer, the second one kills. */
	if (++seen == 1)
		return 0;
	sm_last_words_make(&w.words, p, f->tag);
	if (in_coroutine)
		assert_non_null(sm_co_spawn("work", die, &w));
	else
		die(&w);
	return 0;
}

static pid_t serve(void)
{
	pid_t pid = fork();
	struct sm_rpc_server *server;
	const struct sm_rpc_server_conf conf = {.path = path,
	                                        .umask = 0077,
	                                        .read_gid = (gid_t)-1,
	                                        .roles = 1u << SM_ROLE_CTL,
	                                        .max_peers = 4,
	                                        .on_frame = on_frame};

	if (pid != 0)
		return pid;
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)!freopen("/dev/null", "w", stderr);
	signal(SIGABRT, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
	sm_rpc_self(SM_ROLE_QMGR, 0);
	if (sm_loop_init() != 0 || sm_last_words_install() != 0 ||
	    sm_rpc_listen(&conf, &server) != 0)
		_exit(1);
	_exit(sm_loop_run());
}

/* ---- who asks ---- */

static int errs[2];
static unsigned answers;

static void answered(int err, const struct sm_frame *f, void *arg)
{
	*(int *)arg = err;
	assert_null(f);
	if (++answers == SM_ARRAY_SIZE(errs))
		sm_loop_stop(0);
}

static struct sm_call calls[2];

static void on_up(struct sm_peer *p, void *arg SM_UNUSED)
{
	const struct sm_msg_ta_query m = {.ta = {7, 1}};

	if (calls[0].cb)
		return;
	for (size_t i = 0; i < SM_ARRAY_SIZE(calls); i++)
		sm_call(&calls[i], p, SM_MSG_ta_query, &m, sm_now_ms() + PATIENCE_MS, answered,
		        &errs[i]);
}

static void ask_who_dies(int sig)
{
	struct sm_link_conf conf = {.path = path, .role = SM_ROLE_QMGR, .on_up = on_up};
	struct sm_link *link;
	int status;
	pid_t pid;

	snprintf(path, sizeof(path), "/tmp/t_last_words.%d", (int)getpid());
	answers = 0;
	memset(calls, 0, sizeof(calls));
	pid = serve();
	sm_rpc_self(SM_ROLE_CTL, 0);
	assert_int_equal(sm_loop_init(), 0);
	link = sm_link_open(&conf);
	assert_int_equal(sm_loop_run(), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	sm_link_free(&link);
	sm_loop_fini();
	sm_co_cleanup();
	unlink(path);
	if (sig) /* the signal took its course */
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == sig);
}

static void no_memory_there(void)
{
	static int *volatile nowhere = (int *)8;

	*nowhere = 1;
}

static void stopped_hard(void)
{
	raise(SIGKILL);
}

static void from_the_loop(void **state SM_UNUSED)
{
	in_coroutine = false;
	end_of_it = abort;
	ask_who_dies(SIGABRT);
	assert_int_equal(errs[0], SM_E_PEER);
	assert_int_equal(errs[1], SM_E_DIED);
}

static void from_a_coroutine(void **state SM_UNUSED)
{
	in_coroutine = true;
	end_of_it = no_memory_there;
	ask_who_dies(0); /* a sanitizer may end it in its own way */
	assert_int_equal(errs[0], SM_E_PEER);
	assert_int_equal(errs[1], SM_E_DIED);
}

/* Nobody says anything then, and nobody is blamed. */
static void killed(void **state SM_UNUSED)
{
	in_coroutine = true;
	end_of_it = stopped_hard;
	ask_who_dies(SIGKILL);
	assert_int_equal(errs[0], SM_E_PEER);
	assert_int_equal(errs[1], SM_E_PEER);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(from_the_loop),
	    cmocka_unit_test(from_a_coroutine),
	    cmocka_unit_test(killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
