/* Conditions, limits, wait groups. */
#include "libsm/t_co.h"

#include <string.h>

#include "libsm/sync.h"

static char trace[64];

static void note(char c)
{
	size_t n = strlen(trace);

	assert_true(n + 1 < sizeof(trace));
	trace[n] = c;
	trace[n + 1] = '\0';
}

static struct sm_cond cond;
static bool flag;

static void cond_waiter(void *arg)
{
	char c = *(const char *)arg;
	int rc = 0;

	while (!flag && rc == 0)
		rc = sm_cond_wait(&cond, "the flag", sm_loop_now_ms() + T_PATIENCE_MS);
	note(rc == SM_E_CANCEL ? 'X' : c);
}

static void setter(void *arg)
{
	int *how = arg;

	flag = true;
	if (*how == 1)
		sm_cond_signal(&cond);
	else
		sm_cond_broadcast(&cond);
}

static char names[] = "abcdef";

static void test_cond_broadcast(void **state)
{
	int how = 0;

	(void)state;
	trace[0] = '\0';
	flag = false;
	sm_cond_init(&cond);
	for (int i = 0; i < 3; i++)
		t_spawn(cond_waiter, &names[i]);
	t_spawn(setter, &how);
	t_run_all();
	assert_string_equal(trace, "abc");
	sm_cond_signal(&cond); /* nobody there: nothing happens */
}

/* The one who was signalled is cancelled before it runs: the next one gets the signal. */
static void test_cond_signal_is_handed_on(void **state)
{
	(void)state;
	trace[0] = '\0';
	flag = false;
	sm_cond_init(&cond);
	struct sm_co *first = t_spawn(cond_waiter, &names[0]);
	t_spawn(cond_waiter, &names[1]);
	(void)sm_co_run_ready();
	flag = true;
	sm_cond_signal(&cond);
	sm_co_cancel(first);
	t_run_all();
	assert_string_equal(trace, "Xb");
}

static void cond_short(void *arg)
{
	*(int *)arg = sm_cond_wait(&cond, "nothing", sm_loop_now_ms() + 3);
}

static void test_cond_timeout(void **state)
{
	int rc = 0;

	(void)state;
	sm_cond_init(&cond);
	t_spawn(cond_short, &rc);
	t_run_all();
	assert_int_equal(rc, SM_E_TIMEOUT);
	assert_true(sm_list_empty(&cond.waiters));
}

static struct sm_limit limit;
static int most;

static void holder(void *arg)
{
	int rc = sm_limit_take(&limit, "a place", sm_loop_now_ms() + T_PATIENCE_MS);

	if (rc != 0) {
		note(rc == SM_E_CANCEL ? 'X' : 'T');
		return;
	}
	note(*(const char *)arg);
	most = SM_MAX(most, (int)limit.held);
	sm_co_yield();
	sm_co_yield();
	sm_limit_give(&limit);
}

static void test_limit_in_order(void **state)
{
	(void)state;
	trace[0] = '\0';
	most = 0;
	sm_limit_init(&limit, 2);
	for (int i = 0; i < 6; i++)
		t_spawn(holder, &names[i]);
	t_run_all();
	assert_string_equal(trace, "abcdef");
	assert_int_equal(most, 2);
	assert_int_equal(limit.held, 0);
	assert_true(sm_limit_try(&limit));
	assert_true(sm_limit_try(&limit));
	assert_false(sm_limit_try(&limit));
	sm_limit_give(&limit);
	sm_limit_give(&limit);
}

static void test_limit_cancelled_grant(void **state)
{
	(void)state;
	trace[0] = '\0';
	sm_limit_init(&limit, 1);
	assert_true(sm_limit_try(&limit));
	struct sm_co *a = t_spawn(holder, &names[0]);
	t_spawn(holder, &names[1]);
	(void)sm_co_run_ready();
	assert_false(sm_limit_try(&limit));
	sm_limit_give(&limit); /* to a, which dies before it runs */
	sm_co_cancel(a);
	t_run_all();
	assert_string_equal(trace, "Xb");
	assert_int_equal(limit.held, 0);
}

static void test_limit_lowered(void **state)
{
	(void)state;
	trace[0] = '\0';
	sm_limit_init(&limit, 2);
	assert_true(sm_limit_try(&limit));
	assert_true(sm_limit_try(&limit));
	t_spawn(holder, &names[0]);
	(void)sm_co_run_ready();
	limit.max = 1;
	sm_limit_give(&limit);
	(void)sm_co_run_ready();
	assert_string_equal(trace, "");
	sm_limit_give(&limit);
	t_run_all();
	assert_string_equal(trace, "a");
	assert_int_equal(limit.held, 0);
}

static struct sm_wg wg;

static void part(void *arg)
{
	assert_int_equal(sm_co_sleep(sm_loop_now_ms() + *(int *)arg), 0);
	note('p');
	sm_wg_done(&wg);
}

static void whole(void *arg)
{
	*(int *)arg = sm_wg_wait(&wg, "the parts", sm_loop_now_ms() + T_PATIENCE_MS);
	note('w');
}

static void test_wg(void **state)
{
	static int ms[3] = {5, 1, 3};
	int rc = 1;

	(void)state;
	trace[0] = '\0';
	sm_wg_init(&wg);
	t_spawn(whole, &rc); /* nothing open yet: gone at once */
	(void)sm_co_run_ready();
	assert_int_equal(rc, 0);
	for (size_t i = 0; i < 3; i++) {
		sm_wg_add(&wg);
		t_spawn(part, &ms[i]);
	}
	t_spawn(whole, &rc);
	t_run_all();
	assert_string_equal(trace, "wpppw");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T_TEST(test_cond_broadcast),
	    T_TEST(test_cond_signal_is_handed_on),
	    T_TEST(test_cond_timeout),
	    T_TEST(test_limit_in_order),
	    T_TEST(test_limit_cancelled_grant),
	    T_TEST(test_limit_lowered),
	    T_TEST(test_wg),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
