/* Tests of brake.c: delays, resets, and which ends are final. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <signal.h>

#include "mcp/brake.h"

#define EXIT(n) ((n) << 8)

static const struct mc_brake_rule rule = {100, 5000, 60000, 0};

static void test_doubles(void **state)
{
	static const int64_t want[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
	struct mc_brake b = {0};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(want); i++) {
		struct mc_brake_next n = mc_brake_ended(&b, &rule, 10, SIGSEGV);
		assert_int_equal(n.delay_ms, want[i]);
		assert_int_equal(n.what, i == 4 ? MC_LOOP : MC_AGAIN);
	}
	/* Told again at the tenth, and never overflows. */
	assert_int_equal(mc_brake_ended(&b, &rule, 10, EXIT(1)).what, MC_LOOP);
	b.deaths = UINT32_MAX - 1;
	assert_int_equal(mc_brake_ended(&b, &rule, 10, EXIT(1)).delay_ms, 5000);
}

static void test_good_life_resets(void **state)
{
	struct mc_brake b = {.deaths = 7, .temps = 3};
	struct mc_brake_next n = mc_brake_ended(&b, &rule, 60000, SIGABRT);

	(void)state;
	assert_int_equal(n.what, MC_AGAIN);
	assert_int_equal(n.delay_ms, 100);
	assert_int_equal(b.deaths, 0);
	assert_int_equal(mc_brake_ended(&b, &rule, 59999, SIGABRT).delay_ms, 100);
	assert_int_equal(mc_brake_ended(&b, &rule, 59999, SIGABRT).delay_ms, 200);
}

static void test_temporary_is_no_loop(void **state)
{
	struct mc_brake b = {0};

	(void)state;
	for (int i = 0; i < 50; i++)
		assert_int_equal(mc_brake_ended(&b, &rule, 0, EXIT(75)).what, MC_AGAIN);
	assert_int_equal(mc_brake_ended(&b, &rule, 0, EXIT(75)).delay_ms, 5000);
	assert_int_equal(b.deaths, 0);
	/* A death of another kind starts at the shortest delay. */
	assert_int_equal(mc_brake_ended(&b, &rule, 0, EXIT(70)).delay_ms, 100);
	assert_int_equal(mc_brake_ended(&b, &rule, 0, EXIT(75)).delay_ms, 100);
}

static void test_hopeless(void **state)
{
	static const int codes[] = {64, 77, 78, 126, 127};
	struct mc_brake b = {0};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(codes); i++)
		assert_int_equal(mc_brake_ended(&b, &rule, 99999999, EXIT(codes[i])).what,
		                 MC_HOPELESS);
	/* An end by the signal of the same number is something else, and so is exit 0. */
	assert_int_equal(mc_brake_ended(&b, &rule, 0, 64).what, MC_AGAIN);
	assert_int_equal(mc_brake_ended(&b, &rule, 0, EXIT(0)).what, MC_AGAIN);
}

static void test_limit(void **state)
{
	struct mc_brake_rule three = rule;
	struct mc_brake b = {0};

	(void)state;
	three.limit = 3;
	three.min_delay_ms = 0;
	assert_int_equal(mc_brake_ended(&b, &three, 0, SIGSEGV).what, MC_AGAIN);
	assert_int_equal(mc_brake_ended(&b, &three, 0, SIGSEGV).what, MC_AGAIN);
	assert_int_equal(mc_brake_ended(&b, &three, 0, SIGSEGV).what, MC_GIVEUP);
}

static void test_rate(void **state)
{
	struct mc_rate r = {0};
	int64_t now = 1000000, started = 0;

	(void)state;
	assert_int_equal(mc_rate_wait_ms(&r, 0, now), 0);
	mc_rate_take(&r, 0, now);
	/* A second's worth at once, then one after the other. */
	while (mc_rate_wait_ms(&r, 4, now) == 0 && started < 100) {
		mc_rate_take(&r, 4, now);
		started++;
	}
	assert_int_equal(started, 4);
	assert_int_equal(mc_rate_wait_ms(&r, 4, now), 250);
	assert_int_equal(mc_rate_wait_ms(&r, 4, now + 249), 1);
	assert_int_equal(mc_rate_wait_ms(&r, 4, now + 250), 0);
	/* So many in a minute, whenever it is asked. */
	for (int64_t end = now + 60000; now < end; now += 7) {
		if (mc_rate_wait_ms(&r, 4, now) == 0) {
			mc_rate_take(&r, 4, now);
			started++;
		}
	}
	assert_in_range(started, 230, 244);
	/* A pause is not saved up. */
	now += 3600000;
	for (started = 0; mc_rate_wait_ms(&r, 4, now) == 0 && started < 100; started++)
		mc_rate_take(&r, 4, now);
	assert_int_equal(started, 4);
	/* More than one in a millisecond. */
	r = (struct mc_rate){0};
	for (started = 0; mc_rate_wait_ms(&r, 3000, now) == 0 && started < 9999; started++)
		mc_rate_take(&r, 3000, now);
	assert_in_range(started, 2999, 3004);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_doubles),  cmocka_unit_test(test_good_life_resets),
	    cmocka_unit_test(test_hopeless), cmocka_unit_test(test_temporary_is_no_loop),
	    cmocka_unit_test(test_limit),    cmocka_unit_test(test_rate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
