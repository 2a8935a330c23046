/* Unit test of base.h. */
#include "libsm/base.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What `fn` writes to standard error before it dies of SIGABRT. */
static void dies_saying(void (*fn)(void), const char *words)
{
	int fd[2];
	char said[600];
	int status;

	assert_int_equal(pipe(fd), 0);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(fd[1], STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		fn();
		_exit(0);
	}
	close(fd[1]);
	ssize_t n = read(fd[0], said, sizeof(said) - 1);

	assert_true(n > 0);
	said[n] = '\0';
	assert_non_null(strstr(said, words));
	close(fd[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void assert_one_is_two(void)
{
	sm_assert(getpid() == -2);
}

static volatile size_t huge = SIZE_MAX / 2 + 2;

static void calloc_overflow(void)
{
	sm_calloc(huge, 2);
}

static void realloc_overflow(void)
{
	sm_realloc(NULL, huge, 4);
}

static void malloc_too_much(void)
{
	sm_malloc(huge);
}

static void t_gives_up(void **state)
{
	(void)state;
	dies_saying(assert_one_is_two, "t_base.c");
	dies_saying(assert_one_is_two, "getpid() == -2");
	dies_saying(calloc_overflow, "out of memory");
	dies_saying(realloc_overflow, "out of memory");
#if !defined(SM_ASAN) && !defined(SM_TSAN) /* which have words of their own for this */
	dies_saying(malloc_too_much, "out of memory");
#else
	(void)malloc_too_much;
#endif
}

static void t_sizes(void **state)
{
	(void)state;
	char *p = sm_malloc(0);

	assert_non_null(p);
	p = sm_realloc(p, 0, 8);
	assert_non_null(p);
	SM_FREE(p);
	assert_null(p);
	SM_FREE(p);
	int *v = sm_calloc(100, sizeof(*v));

	for (int i = 0; i < 100; i++)
		assert_int_equal(v[i], 0);
	sm_free(v);
	char *s = sm_strdup("abc");

	assert_string_equal(s, "abc");
	sm_free(s);
}

static void t_macros(void **state)
{
	(void)state;
	struct outer {
		int a;
		struct {
			int x;
		} inner;
	} o = {.a = 7};
	int five[5];

	assert_ptr_equal(SM_CONTAINER_OF(&o.inner, struct outer, inner), &o);
	assert_int_equal(SM_ARRAY_SIZE(five), 5);
	assert_int_equal(SM_MIN(2, 3), 2);
	assert_int_equal(SM_MAX(2, 3), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t_gives_up),
	    cmocka_unit_test(t_sizes),
	    cmocka_unit_test(t_macros),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
