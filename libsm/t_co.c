/* Coroutines: switching, waking, cancelling, deadlines, stacks. */
#include "libsm/t_co.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsm/co_switch.h"

static char trace[256];

static void note(char c)
{
	size_t n = strlen(trace);

	assert_true(n + 1 < sizeof(trace));
	trace[n] = c;
	trace[n + 1] = '\0';
}

static int setup(void **state)
{
	trace[0] = '\0';
	return t_setup(state);
}

/* Ends the loop when all others are gone; does not sleep, because the clock may stand still. */
static void ender(void *arg)
{
	(void)arg;
	while (sm_co_count() > 1)
		sm_co_yield();
	sm_loop_stop(0);
}

static void run_all(void)
{
	t_spawn(ender, NULL);
	assert_int_equal(sm_loop_run(), 0);
}

static void twice(void *arg)
{
	char c = *(const char *)arg;

	assert_ptr_not_equal(sm_co_self(), NULL);
	note(c);
	sm_co_yield();
	note(c);
}

static void test_turns(void **state)
{
	static char a = 'a', b = 'b';

	(void)state;
	t_spawn(twice, &a);
	t_spawn(twice, &b);
	assert_null(sm_co_self());
	run_all();
	assert_string_equal(trace, "abab");
}

static void parent(void *arg)
{
	note('p');
	t_spawn(twice, arg);
	note('q');
	sm_co_yield();
	note('r');
}

static void test_spawn_inside(void **state)
{
	static char c = 'c';

	(void)state;
	t_spawn(parent, &c);
	run_all();
	assert_string_equal(trace, "pqcrc");
}

/* Registers, floating point, errno and the diag belong to each alone. */
static void worker(void *arg)
{
	int id = *(int *)arg;
	double x = id;

	for (int i = 0; i < 50; i++) {
		errno = id;
		(void)sm_fail(SM_E_SYS, "mine is %d", id);
		x = x * 1.5 - x / 2;
		sm_co_yield();
		char want[32];
		(void)snprintf(want, sizeof(want), "mine is %d", id);
		assert_int_equal(errno, id);
		assert_string_equal(sm_diag(), want);
	}
	assert_true(x > id - 0.001 && x < id + 0.001);
}

static void test_private_state(void **state)
{
	static int ids[5] = {1, 2, 3, 4, 5};

	(void)state;
	(void)sm_fail(SM_E_SYS, "the loop's own");
	for (size_t i = 0; i < 5; i++)
		t_spawn(worker, &ids[i]);
	run_all();
	assert_string_equal(sm_diag(), "the loop's own");
}

static struct sm_co *sleeper_co;

static void waiter(void *arg)
{
	*(int *)arg = sm_co_park("a wake", SM_NEVER);
	note('w');
}

static void waker(void *arg)
{
	(void)arg;
	note('k');
	sm_co_wake(sleeper_co);
	sm_co_wake(sleeper_co);
}

static void test_wake(void **state)
{
	int rc = 1;

	(void)state;
	sleeper_co = t_spawn(waiter, &rc);
	t_spawn(waker, NULL);
	run_all();
	assert_int_equal(rc, 0);
	assert_string_equal(trace, "kw");
}

static void test_wake_before_park(void **state)
{
	int rc = 1;

	(void)state;
	sm_co_wake(t_spawn(waiter, &rc)); /* not even started */
	run_all();
	assert_int_equal(rc, 0);
}

static void timed(void *arg)
{
	int64_t start = sm_loop_now_ms();

	*(int *)arg = sm_co_park("nothing", start + 1000);
	note('t');
	assert_int_equal(sm_loop_now_ms() - start, 1000);
	assert_non_null(strstr(sm_diag(), "nothing: deadline"));
}

static void clock_pusher(void *arg)
{
	(void)arg;
	sm_co_yield();
	note('1');
	sm_time_fake_step(999);
	for (int i = 0; i < 20; i++)
		sm_co_yield();
	note('2');
	sm_time_fake_step(1);
	for (int i = 0; i < 20; i++)
		sm_co_yield();
	note('3');
}

static void test_deadline_fake_clock(void **state)
{
	int rc = 0;

	(void)state;
	sm_time_fake(5000, 1000000000);
	t_spawn(timed, &rc);
	t_spawn(clock_pusher, NULL);
	run_all();
	assert_int_equal(rc, SM_E_TIMEOUT);
	assert_string_equal(trace, "12t3");
}

static void past(void *arg)
{
	*(int *)arg = sm_co_park("the past", sm_loop_now_ms());
}

static void test_deadline_passed(void **state)
{
	int rc = 0;

	(void)state;
	t_spawn(past, &rc);
	run_all();
	assert_int_equal(rc, SM_E_TIMEOUT);
}

static void unwinding(void *arg)
{
	int *rcs = arg;

	rcs[0] = sm_co_park("for ever", SM_NEVER);
	rcs[1] = sm_co_park("again", SM_NEVER);
	rcs[2] = sm_co_sleep(sm_loop_now_ms() + 100000);
	assert_true(sm_co_cancelled());
	sm_co_yield(); /* letting others run is still possible */
	note('u');
}

static void test_cancel(void **state)
{
	int rcs[3] = {0};
	int early[3] = {0};

	(void)state;
	struct sm_co *co = t_spawn(unwinding, rcs);
	assert_true(sm_co_run_ready() == false);
	sm_co_cancel(co);
	sm_co_wake(co); /* a cancel wins over a wake */
	sm_co_cancel(t_spawn(unwinding, early));
	run_all();
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(rcs[i], SM_E_CANCEL);
		assert_int_equal(early[i], SM_E_CANCEL);
	}
	assert_string_equal(trace, "uu");
}

static void sleeping(void *arg)
{
	int64_t start = sm_now_ms();

	sm_co_wake(sm_co_self()); /* spurious */
	*(int *)arg = sm_co_sleep(start + 20);
	assert_true(sm_now_ms() >= start + 19);
}

static void test_sleep(void **state)
{
	int rc = 1;

	(void)state;
	t_spawn(sleeping, &rc);
	run_all();
	assert_int_equal(rc, 0);
}

static const void *stack_seen;

static void where(void *arg)
{
	(void)arg;
	stack_seen = sm_co_self();
}

static void test_stack_reuse(void **state)
{
	const void *first;

	(void)state;
	t_spawn(where, NULL);
	(void)sm_co_run_ready();
	first = stack_seen;
	assert_non_null(first);
	t_spawn(where, NULL);
	(void)sm_co_run_ready();
	assert_ptr_equal(stack_seen, first);
}

static void idle(void *arg)
{
	assert_int_equal(sm_co_park("the end", SM_NEVER), 0);
	++*(int *)arg;
}

static long rss_kib(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long size, resident;

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
	assert_int_equal(fclose(f), 0);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void test_many(void **state)
{
	enum { MANY = 5000 };
	static struct sm_co *all[MANY];
	int ended = 0;

	(void)state;
	long before = rss_kib();
	for (int i = 0; i < MANY; i++)
		all[i] = t_spawn(idle, &ended);
	assert_false(sm_co_run_ready());
	long each = (rss_kib() - before) * 1024 / MANY;
	print_message("# %ld bytes of memory for each idle coroutine\n", each);
#if !defined(SM_ASAN) && !defined(SM_TSAN)
	if (getenv("RUNNING_ON_VALGRIND") == NULL)
		assert_true(each <= 2 * 4096);
#endif
	assert_int_equal(sm_co_count(), MANY);
	for (int i = 0; i < MANY; i++)
		sm_co_wake(all[i]);
	run_all();
	assert_int_equal(ended, MANY);
}

static __attribute__((noinline)) int deep(int n)
{
	volatile char room[1024];

	room[0] = (char)n;
	return n == 0 ? 0 : deep(n - 1) + room[0];
}

static void trimming(void *arg)
{
	int x = deep(30);

	sm_co_trim();
	assert_int_equal(deep(30), x); /* comes back when needed */
	sm_co_trim();
	idle(arg);
}

static void test_trim(void **state)
{
	enum { SOME = 500 };
	static struct sm_co *all[SOME];
	int ended = 0;

	(void)state;
	sm_co_cleanup();
	long before = rss_kib();
	for (int i = 0; i < SOME; i++)
		all[i] = t_spawn(trimming, &ended);
	assert_false(sm_co_run_ready());
	long each = (rss_kib() - before) * 1024 / SOME;
	print_message("# %ld bytes each after a deep call and a trim\n", each);
#if !defined(SM_ASAN) && !defined(SM_TSAN)
	assert_true(each <= 3 * 4096);
#endif
	for (int i = 0; i < SOME; i++)
		sm_co_wake(all[i]);
	run_all();
	assert_int_equal(ended, SOME);
}

static void test_limit(void **state)
{
	int ended = 0;

	(void)state;
	sm_co_limit(2);
	struct sm_co *a = t_spawn(idle, &ended), *b = t_spawn(idle, &ended);
	assert_null(sm_co_spawn("third", idle, &ended));
	assert_non_null(strstr(sm_diag(), "limit of 2"));
	sm_co_wake(a);
	sm_co_wake(b);
	while (sm_co_run_ready())
		continue;
	assert_int_equal(ended, 2);
	sm_co_limit(30000);
}

/* Runs in a child: true when it died of a signal or of a sanitizer's report. */
static bool dies(void (*fn)(void *))
{
	pid_t pid = fork();

	assert_true(pid != -1);
	if (pid == 0) {
		struct rlimit none = {0, 0};
		(void)setrlimit(RLIMIT_CORE, &none);
		int null = open("/dev/null", O_WRONLY);
		(void)dup2(null, 2);
		/* cmocka's handlers would turn the signal into a failed test of the child. */
		(void)signal(SIGSEGV, SIG_DFL);
		(void)signal(SIGBUS, SIG_DFL);
		(void)signal(SIGABRT, SIG_DFL);
		if (sm_co_spawn("doomed", fn, NULL) != NULL)
			(void)sm_co_run_ready();
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) != 0);
}

static __attribute__((noinline)) int bottomless(volatile int n)
{
	volatile char room[512];

	room[0] = (char)n;
	return n < 0 ? 0 : bottomless(n + 1) + room[0];
}

static void overflow(void *arg)
{
	(void)arg;
	exit(bottomless(0) == 1 ? 0 : 0);
}

static void quiet(void *arg)
{
	(void)arg;
}

static void test_guard_page(void **state)
{
	(void)state;
	assert_false(dies(quiet));
	assert_true(dies(overflow));
}

#ifdef SM_TESTING
static void yields_in_walk(void *arg)
{
	(void)arg;
	sm_noyield_enter();
	sm_co_yield();
	sm_noyield_leave();
}

static void test_noyield(void **state)
{
	(void)state;
	assert_true(dies(yields_in_walk));
}
#endif

static void busy_doing(void *arg)
{
	sm_co_doing(SM_STR("RCPT"), SM_STR("<a@b\x1b[2J>"));
	idle(arg);
}

static void test_dump(void **state)
{
	int ended = 0, fds[2];
	char text[1024];

	(void)state;
	struct sm_co *co = t_spawn(busy_doing, &ended);
	assert_false(sm_co_run_ready());
	assert_int_equal(pipe(fds), 0);
	sm_co_dump(fds[1]);
	assert_int_equal(close(fds[1]), 0);
	size_t n = 0;
	for (ssize_t got; (got = read(fds[0], text + n, sizeof(text) - 1 - n)) > 0;)
		n += (size_t)got;
	text[n] = '\0';
	assert_int_equal(close(fds[0]), 0);
	assert_non_null(strstr(text, "test [RCPT <a@b?[2J>] the end, "));
	sm_co_wake(co);
	run_all();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_turns, setup, t_teardown),
	    cmocka_unit_test_setup_teardown(test_spawn_inside, setup, t_teardown),
	    cmocka_unit_test_setup_teardown(test_private_state, setup, t_teardown),
	    cmocka_unit_test_setup_teardown(test_wake, setup, t_teardown),
	    cmocka_unit_test_setup_teardown(test_wake_before_park, setup, t_teardown),
	    cmocka_unit_test_setup_teardown(test_deadline_fake_clock, setup, t_teardown),
	    cmocka_unit_test_setup_teardown(test_deadline_passed, setup, t_teardown),
	    cmocka_unit_test_setup_teardown(test_cancel, setup, t_teardown),
	    cmocka_unit_test_setup_teardown(test_sleep, setup, t_teardown),
	    cmocka_unit_test_setup_teardown(test_stack_reuse, setup, t_teardown),
	    cmocka_unit_test_setup_teardown(test_many, setup, t_teardown),
	    cmocka_unit_test_setup_teardown(test_trim, setup, t_teardown),
	    cmocka_unit_test_setup_teardown(test_limit, setup, t_teardown),
	    cmocka_unit_test_setup_teardown(test_guard_page, setup, t_teardown),
#ifdef SM_TESTING
	    cmocka_unit_test_setup_teardown(test_noyield, setup, t_teardown),
#endif
	    cmocka_unit_test_setup_teardown(test_dump, setup, t_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
