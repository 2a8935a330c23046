/* Unit test of fault.h. */
#include "libsm/fault.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "libsm/err.h"
#include "libsm/rand.h"
#include "libsm/time.h"

#ifdef SM_TESTING
static void t_grammar(void **state)
{
	static const struct {
		const char *text;
		int rc;
	} t[] = {
	    {"", 0},
	    {NULL, 0},
	    {"a=eio", 0},
	    {" a=eio , b=enospc@1,\nc=erofs@2+\nd=emfile@50%\n", 0},
	    {"a=short,a=fail,a=kill@9,a=abort@9,a=delay:0,a=delay:600000", 0},
	    {"a", SM_E_SYNTAX},
	    {"a=", SM_E_SYNTAX},
	    {"=eio", SM_E_SYNTAX},
	    {"a=eiox", SM_E_SYNTAX},
	    {"a=delay", SM_E_SYNTAX},
	    {"a=delay:", SM_E_SYNTAX},
	    {"a=delay:600001", SM_E_SYNTAX},
	    {"a=delay:1s", SM_E_SYNTAX},
	    {"a=eio@", SM_E_SYNTAX},
	    {"a=eio@0", SM_E_SYNTAX},
	    {"a=eio@+", SM_E_SYNTAX},
	    {"a=eio@1-", SM_E_SYNTAX},
	    {"a=eio@101%", SM_E_SYNTAX},
	    {"a=eio;b=eio", SM_E_SYNTAX},
	    {"this.name.is.longer.than.any.point.there.is:and.than.the.longest.address@example=eio",
	     SM_E_SYNTAX},
	    {"a=eio,b=what", SM_E_SYNTAX},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++)
		assert_int_equal(sm_fault_arm(t[i].text), t[i].rc);
	/* An error leaves armed what was. */
	assert_int_equal(sm_fault_arm("a=eio"), 0);
	assert_int_equal(sm_fault_arm("a=erofs,b=what"), SM_E_SYNTAX);
	assert_int_equal(sm_fault("a"), EIO);
	/* More than the table takes. */
	char many[4096] = "";

	for (int i = 0; i < 40; i++)
		strcat(many, "p=eio,");
	assert_int_equal(sm_fault_arm(many), SM_E_SYNTAX);
	assert_int_equal(sm_fault_arm(NULL), 0);
	assert_int_equal(sm_fault("a"), 0);
}

static void t_actions(void **state)
{
	(void)state;
	assert_int_equal(sm_fault_arm("a=eio,b=enospc,c=erofs,d=emfile,e=short,f=fail,g=delay:30"),
	                 0);
	assert_int_equal(sm_fault("a"), EIO);
	assert_int_equal(sm_fault("b"), ENOSPC);
	assert_int_equal(sm_fault("c"), EROFS);
	assert_int_equal(sm_fault("d"), EMFILE);
	assert_int_equal(sm_fault("e"), -1);
	assert_int_equal(sm_fault("f"), -1);
	int64_t before = sm_now_ms();

	assert_int_equal(sm_fault("g"), 0);
	assert_true(sm_now_ms() - before >= 29);
	assert_int_equal(sm_fault("h"), 0);
	assert_int_equal(sm_fault("aa"), 0);
	sm_fault_arm(NULL);
}

static void t_when(void **state)
{
	(void)state;
	assert_int_equal(
	    sm_fault_arm("a=eio@3,b=eio@3+,c=eio@0%,d=eio@100%,e=eio@50%,f=eio@2,f=enospc@4"), 0);
	unsigned half = 0;

	sm_rand_seed(5);
	for (int i = 1; i <= 1000; i++) {
		assert_int_equal(sm_fault("a"), i == 3 ? EIO : 0);
		assert_int_equal(sm_fault("b"), i >= 3 ? EIO : 0);
		assert_int_equal(sm_fault("c"), 0);
		assert_int_equal(sm_fault("d"), EIO);
		half += sm_fault("e") == EIO;
		assert_int_equal(sm_fault("f"), i == 2 ? EIO : i == 4 ? ENOSPC : 0);
	}
	assert_in_range(half, 400, 600);
	assert_int_equal(sm_fault_passes("a"), 1000);
	assert_int_equal(sm_fault_passes("nobody"), 0);
	sm_fault_arm("a=eio@3");
	assert_int_equal(sm_fault_passes("a"), 0);
	sm_fault_arm(NULL);
}

/* Once for each that is armed, before it acts, as a record of the log. */
static void t_tells(void **state)
{
	char text[400];
	int fds[2], err = dup(STDERR_FILENO);
	ssize_t n;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	assert_int_equal(sm_fault_arm("a=eio@2+,b=short"), 0);
	for (int i = 0; i < 5; i++) {
		sm_fault("a");
		sm_fault("never");
	}
	assert_int_equal(dup2(err, STDERR_FILENO), STDERR_FILENO);
	close(err);
	close(fds[1]);
	n = read(fds[0], text, sizeof(text) - 1);
	close(fds[0]);
	assert_true(n > 0);
	text[n] = '\0';
	assert_ptr_equal(strchr(text, '\n'), text + n - 1);
	assert_non_null(
	    strstr(text, " NOTICE fault.struck point=a, action=errno, errno=5, pass=2\n"));
	sm_fault_arm(NULL);
}

static void dies_of(const char *text, int sig)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		signal(SIGABRT, SIG_DFL);
		if (sm_fault_arm(text) == 0)
			sm_fault("x");
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), sig);
}

static void t_deaths(void **state)
{
	(void)state;
	dies_of("x=kill", SIGKILL);
	dies_of("x=abort", SIGABRT);
}

static void *many_passes(void *arg)
{
	for (int i = 0; i < 1000; i++)
		sm_fault("many");
	return arg;
}

/* No pass is lost between threads, and one that sleeps holds up nobody else. */
static void t_threads(void **state)
{
	pthread_t thread[4];

	(void)state;
	assert_int_equal(sm_fault_arm("many=delay:50@1,many=fail@100000"), 0);
	for (size_t i = 0; i < SM_ARRAY_SIZE(thread); i++)
		assert_int_equal(pthread_create(&thread[i], NULL, many_passes, NULL), 0);
	for (size_t i = 0; i < SM_ARRAY_SIZE(thread); i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(sm_fault_passes("many"), 4000);
	sm_fault_arm(NULL);
}

static void put(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void t_environment(void **state)
{
	char path[] = "/tmp/t_fault.XXXXXX";

	(void)state;
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(sm_fault_reload(), SM_E_NOTFOUND);
	put(path, "a=eio\n");
	setenv("SM_FAULTS_FILE", path, 1);
	sm_fault_init();
	assert_int_equal(sm_fault("a"), EIO);
	put(path, "b=enospc\n");
	assert_int_equal(sm_fault_reload(), 0);
	assert_int_equal(sm_fault("a"), 0);
	assert_int_equal(sm_fault("b"), ENOSPC);
	put(path, "b=nonsense\n");
	assert_int_equal(sm_fault_reload(), SM_E_SYNTAX);
	assert_int_equal(sm_fault("b"), ENOSPC);
	put(path, "");
	assert_int_equal(sm_fault_reload(), 0);
	assert_int_equal(sm_fault("b"), 0);
	setenv("SM_FAULTS", "c=erofs", 1);
	sm_fault_init();
	assert_int_equal(sm_fault("c"), EROFS);
	sm_fault_arm(NULL);
	unlink(path);
}

static void the_wall_clock_steps(void **state)
{
	int64_t wall_s = sm_wall_s(), now_ms = sm_now_ms();

	(void)state;
	assert_int_equal(sm_fault_arm("clock=step:864000"), 0);
	assert_in_range(sm_wall_s() - wall_s, 864000, 864060);
	assert_in_range(sm_now_ms() - now_ms, 0, 60000);
	assert_int_equal(sm_fault_arm("clock=step:-86400"), 0);
	assert_in_range(sm_wall_s() + 86400 - wall_s, 0, 60);
	assert_int_equal(sm_fault_arm("clock=step:1h"), SM_E_SYNTAX);
	assert_int_equal(sm_fault_arm("ibdb.sync=step:1"), SM_E_SYNTAX);
	assert_true(sm_wall_s() < wall_s); /* what was armed stays */
	assert_int_equal(sm_fault_arm(NULL), 0);
	assert_in_range(sm_wall_s() - wall_s, 0, 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_wall_clock_steps),
	    cmocka_unit_test(t_grammar),
	    cmocka_unit_test(t_actions),
	    cmocka_unit_test(t_when),
	    cmocka_unit_test(t_deaths),
	    cmocka_unit_test(t_threads),
	    cmocka_unit_test(t_environment),
	    cmocka_unit_test(t_tells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
/* A release build has no fault points: the macro is 0 whatever the environment asks for. */
static void t_none(void **state)
{
	(void)state;
	assert_int_equal(SM_FAULT("cdb.write"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(t_none)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
