/* Retry times as tables: growth, bounds, the last try, clock steps. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/retry.h"

static const struct qm_retry_conf conf = {.min_s = 900, .max_s = 14400, .return_s = 432000};

static void grows_with_age(void **state)
{
	static const struct {
		int64_t age, least, most;
	} t[] = {
	    {0, 900, 990},      {10, 900, 990},        {900, 900, 990},        {1800, 1800, 1980},
	    {7200, 7200, 7920}, {14400, 14400, 15840}, {100000, 14400, 15840},
	};
	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		for (uint64_t chance = 0; chance < 5000; chance += 7) {
			int64_t d = qm_retry_next(&conf, 1000000, 1000000 + t[i].age, chance) -
			            (1000000 + t[i].age);

			assert_in_range(d, t[i].least, t[i].most);
		}
	}
}

static void last_try_comes_at_the_end(void **state)
{
	(void)state;
	/* 100 s before the end the next try is at the end, not 4 h later. */
	assert_int_equal(qm_retry_next(&conf, 0, 432000 - 100, 5), 432000);
	/* After it a try goes on being possible: for mail that was held. */
	assert_true(qm_retry_next(&conf, 0, 432001, 5) > 432001);
}

static void a_step_of_the_clock_bounces_nothing_untried(void **state)
{
	(void)state;
	assert_false(qm_retry_expired(&conf, 0, 10 * 432000, 0));
	assert_true(qm_retry_expired(&conf, 0, 432000, 1));
	assert_false(qm_retry_expired(&conf, 0, 431999, 99));
	/* Backwards: the mail seems to come from the future. */
	assert_false(qm_retry_expired(&conf, 5000, 1000, 3));
	assert_in_range(qm_retry_next(&conf, 5000, 1000, 0), 1900, 1990);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(grows_with_age),
	    cmocka_unit_test(last_try_comes_at_the_end),
	    cmocka_unit_test(a_step_of_the_clock_bounces_nothing_untried),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
