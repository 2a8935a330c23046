/* Tests of order.c: whole scenarios, stepping the views as a supervisor would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "mcp/order.h"

enum { N = 3 };

static struct mc_view v[N];

static void expect(bool up, enum mc_step step, size_t which)
{
	size_t w = 99;

	assert_int_equal(mc_order_next(up, v, N, &w), step);
	if (step != MC_DONE)
		assert_int_equal(w, which);
}

static void started(size_t i)
{
	v[i] = (struct mc_view){.up = true, .alive = true, .pending = true};
}

static void all_up(void)
{
	for (size_t i = 0; i < N; i++)
		v[i] = (struct mc_view){.up = true, .alive = true};
}

static void test_up_in_order(void **state)
{
	(void)state;
	for (size_t i = 0; i < N; i++)
		v[i] = (struct mc_view){0};
	for (size_t i = 0; i < N; i++) {
		expect(true, MC_START, i);
		started(i);
		expect(true, MC_WAIT, i);
		v[i].pending = false;
	}
	expect(true, MC_DONE, 0);
	/* A service whose processes died is still "up": its restarts are not the order's affair. */
	v[1].alive = false;
	expect(true, MC_DONE, 0);
}

static void test_down_in_reverse(void **state)
{
	(void)state;
	all_up();
	for (size_t i = N; i-- > 0;) {
		expect(false, MC_STOP, i);
		v[i].stopping = true;
		expect(false, MC_WAIT, i);
		v[i] = (struct mc_view){0};
	}
	expect(false, MC_DONE, 0);
}

static void test_down_while_starting(void **state)
{
	(void)state;
	for (size_t i = 0; i < N; i++)
		v[i] = (struct mc_view){0};
	started(0);
	expect(false, MC_STOP, 0);
	/* Down also for one that has no process just now but would get one again. */
	v[0] = (struct mc_view){.up = true};
	expect(false, MC_STOP, 0);
}

static void test_restart_one(void **state)
{
	(void)state;
	all_up();
	v[1].again = true;
	expect(true, MC_STOP, 1);
	v[1].stopping = true;
	expect(true, MC_WAIT, 1);
	v[1] = (struct mc_view){.again = true};
	expect(true, MC_START, 1);
	started(1);
	expect(true, MC_WAIT, 1);
	v[1].pending = false;
	expect(true, MC_DONE, 0);
}

static void test_restart_all_goes_one_by_one(void **state)
{
	(void)state;
	all_up();
	for (size_t i = 0; i < N; i++)
		v[i].again = true;
	for (size_t i = 0; i < N; i++) {
		expect(true, MC_STOP, i);
		v[i].stopping = true;
		expect(true, MC_WAIT, i);
		v[i] = (struct mc_view){.again = true};
		expect(true, MC_START, i);
		started(i);
		expect(true, MC_WAIT, i);
		v[i].pending = false;
	}
	expect(true, MC_DONE, 0);
}

static void test_removed(void **state)
{
	(void)state;
	all_up();
	v[0].gone = true;
	v[2].again = true;
	expect(true, MC_STOP, 0);
	v[0].stopping = true;
	expect(true, MC_WAIT, 0);
	v[0] = (struct mc_view){.gone = true};
	expect(true, MC_STOP, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_up_in_order),
	    cmocka_unit_test(test_down_in_reverse),
	    cmocka_unit_test(test_down_while_starting),
	    cmocka_unit_test(test_restart_one),
	    cmocka_unit_test(test_removed),
	    cmocka_unit_test(test_restart_all_goes_one_by_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
