/* Retry times as tables: growth, bounds, the last try, clock steps. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/retry.h"

static const struct qm_retry_conf conf = {
    .min_s = 900, .max_s = 14400, .return_s = 432000, .delay_s = 14400};

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

static void gives_up_after_a_try(void **state)
{
	(void)state;
	assert_false(qm_retry_expired(&conf, 0, 10 * 432000, 0, 0, 0));
	assert_true(qm_retry_expired(&conf, 0, 432000, 1, 0, 0));
	assert_false(qm_retry_expired(&conf, 0, 431999, 99, 431000, 0));
	/* Backwards: the mail seems to come from the future. */
	assert_false(qm_retry_expired(&conf, 5000, 1000, 3, 5000, 0));
	assert_in_range(qm_retry_next(&conf, 5000, 1000, 0), 1900, 1990);
}

/* Ten days in one second: what failed right after it goes on, what failed twice does not. */
static void a_step_of_the_clock_bounces_nothing_at_once(void **state)
{
	struct qm_clock c = {0};
	int64_t wall = 1000000, mono = 5000000;

	(void)state;
	assert_false(qm_clock_look(&c, wall, mono));
	assert_false(qm_clock_look(&c, wall + 3600, mono + 60000)); /* 59 minutes */
	wall += 864000;
	mono += 61000;
	assert_true(qm_clock_look(&c, wall, mono));
	assert_int_equal(c.stepped_s, wall);
	assert_false(qm_clock_look(&c, wall + 1, mono + 1000));
	assert_false(qm_retry_expired(&conf, 1000000, wall + 2, 1, 1000010, c.stepped_s));
	assert_false(qm_retry_expired(&conf, 1000000, wall + 2, 1, 1000000, c.stepped_s));
	assert_true(qm_retry_expired(&conf, 1000000, wall + 900, 2, wall + 2, c.stepped_s));
	/* Mail that came since is not concerned. */
	assert_true(qm_retry_expired(&conf, wall + 5, wall + 5 + 432000, 1, wall + 5, c.stepped_s));
}

/* The wrong clock is put right: the time of the step must not lie ahead for days. */
static void a_step_back_forgives(void **state)
{
	struct qm_clock c = {0};

	(void)state;
	(void)qm_clock_look(&c, 1000000, 0);
	assert_true(qm_clock_look(&c, 9000000, 1000));
	assert_false(qm_clock_look(&c, 1000002, 2000));
	assert_int_equal(c.stepped_s, 1000002);
	assert_true(qm_retry_expired(&conf, 500000, 1000900, 5, 1000010, c.stepped_s));
}

static void tells_of_a_delay_in_time(void **state)
{
	const struct qm_retry_conf never = {.return_s = 14400, .delay_s = 14400};
	int64_t next = 20000;

	(void)state;
	assert_false(qm_retry_late(&conf, 0, 14399, true, 0, 0, &next));
	assert_int_equal(next, 14400);
	next = 14000; /* earlier is early enough */
	assert_false(qm_retry_late(&conf, 0, 13000, true, 0, 0, &next));
	assert_int_equal(next, 14000);
	next = 20000;
	assert_true(qm_retry_late(&conf, 0, 14400, true, 0, 0, &next));
	assert_true(qm_retry_late(&conf, 0, 14400, false, 0, 0, &next));
	assert_int_equal(next, 20000);
	assert_false(qm_retry_late(&never, 0, 14399, true, 0, 0, &next));
	assert_false(qm_retry_late(&never, 0, 99999, true, 0, 0, &next));
	assert_int_equal(next, 20000);
}

/* Set forward at 30000: a failure of the mail itself says that it is late, another's does not. */
static void a_step_of_the_clock_is_no_delay(void **state)
{
	int64_t next = 50000;

	(void)state;
	assert_true(qm_retry_late(&conf, 0, 30001, true, 100, 30000, &next));
	assert_false(qm_retry_late(&conf, 0, 30001, false, 100, 30000, &next));
	assert_true(qm_retry_late(&conf, 0, 31000, false, 30001, 30000, &next));
	assert_true(qm_retry_late(&conf, 30010, 50000, false, 30010, 30000, &next));
	assert_int_equal(next, 50000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(grows_with_age),
	    cmocka_unit_test(last_try_comes_at_the_end),
	    cmocka_unit_test(gives_up_after_a_try),
	    cmocka_unit_test(a_step_of_the_clock_bounces_nothing_at_once),
	    cmocka_unit_test(a_step_back_forgives),
	    cmocka_unit_test(tells_of_a_delay_in_time),
	    cmocka_unit_test(a_step_of_the_clock_is_no_delay),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
