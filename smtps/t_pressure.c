/* What load average and length of the queue mean for clients, and how a load average is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/err.h"
#include "smtps/conf.h"
#include "smtps/pressure.h"

static void test_limits(void **state)
{
	const struct ss_conf none = {.delay_la = 0};
	const struct ss_conf both = {
	    .delay_la = 4, .refuse_la = 8, .delay_waiting = 100, .refuse_waiting = 200};
	const struct ss_conf only = {.refuse_la = 8, .delay_waiting = 100};
	(void)state;

	assert_int_equal(ss_pressure_of_load(&none, 100000), SS_PRESSURE_NONE);
	assert_int_equal(ss_pressure_of_queue(&none, UINT32_MAX), SS_PRESSURE_NONE);
	assert_int_equal(ss_pressure_of_load(&both, 399), SS_PRESSURE_NONE);
	assert_int_equal(ss_pressure_of_load(&both, 400), SS_PRESSURE_DELAY);
	assert_int_equal(ss_pressure_of_load(&both, 799), SS_PRESSURE_DELAY);
	assert_int_equal(ss_pressure_of_load(&both, 800), SS_PRESSURE_REFUSE);
	assert_int_equal(ss_pressure_of_queue(&both, 99), SS_PRESSURE_NONE);
	assert_int_equal(ss_pressure_of_queue(&both, 100), SS_PRESSURE_DELAY);
	assert_int_equal(ss_pressure_of_queue(&both, 200), SS_PRESSURE_REFUSE);
	assert_int_equal(ss_pressure_of_load(&only, 799), SS_PRESSURE_NONE);
	assert_int_equal(ss_pressure_of_load(&only, 800), SS_PRESSURE_REFUSE);
	assert_int_equal(ss_pressure_of_queue(&only, 1000000), SS_PRESSURE_DELAY);
}

static void test_text(void **state)
{
	static const struct {
		const char *text;
		int64_t percent;
	} rows[] = {{"1.25 0.50 0.10 1/234 5678\n", 125},
	            {"0.00 0.00", 0},
	            {"117.09", 11709},
	            {"", -1},
	            {"1", -1},
	            {"1.2 0.3", -1},
	            {"x.25", -1},
	            {"-1.25", -1},
	            {"1.+5", -1}};
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		int64_t percent = -1;

		if ((ss_pressure_parse(sm_str(rows[i].text), &percent) == 0) !=
		        (rows[i].percent >= 0) ||
		    percent != rows[i].percent)
			fail_msg("\"%s\": %lld", rows[i].text, (long long)percent);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_limits),
	                                   cmocka_unit_test(test_text)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
