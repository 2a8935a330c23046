/* Unit test of time.h. */
#include "libsm/time.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <time.h>

static void t_real(void **state)
{
	(void)state;
	int64_t us = sm_now_us(), ms = sm_now_ms();

	assert_true(us > 0);
	assert_true(ms >= us / 1000);
	assert_true(sm_now_us() >= us);
	assert_true(llabs((long long)(sm_wall_s() - (int64_t)time(NULL))) <= 1);
	assert_true(llabs((long long)(sm_wall_ms() / 1000 - sm_wall_s())) <= 1);
}

static void t_fake(void **state)
{
	(void)state;
	sm_time_fake(5000, 1000000);
	assert_int_equal(sm_now_ms(), 5000);
	assert_int_equal(sm_now_us(), 5000000);
	assert_int_equal(sm_wall_s(), 1000000);
	sm_time_fake_step(1500);
	assert_int_equal(sm_now_ms(), 6500);
	assert_int_equal(sm_wall_s(), 1000001);
	assert_int_equal(sm_wall_ms(), 1000001500);
	sm_time_real();
	assert_true(sm_wall_s() > 1500000000);
}

static void t_rfc5322(void **state)
{
	static const struct {
		const char *zone;
		int64_t wall_s;
		const char *want;
	} t[] = {
	    {"UTC", 1795217632, "Fri, 20 Nov 2026 23:33:52 +0000"},
	    {"UTC", 0, "Thu, 1 Jan 1970 00:00:00 +0000"},
	    {"UTC", 951782400, "Tue, 29 Feb 2000 00:00:00 +0000"},
	    {"EST5", 1795217632, "Fri, 20 Nov 2026 18:33:52 -0500"},
	    {"NST3:30", 1795217632, "Fri, 20 Nov 2026 20:03:52 -0330"},
	    {"IST-5:30", 1795217632, "Sat, 21 Nov 2026 05:03:52 +0530"},
	    /* What does not fit into four digits of a year is shown as the nearest that does. */
	    {"UTC", INT64_MAX, "Fri, 31 Dec 9999 00:00:00 +0000"},
	    {"UTC", INT64_MIN, "Sun, 2 Jan 0000 00:00:00 +0000"},
	};
	char out[SM_TIME_RFC5322_MAX];

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		setenv("TZ", t[i].zone, 1);
		tzset();
		sm_time_rfc5322(t[i].wall_s, out);
		assert_string_equal(out, t[i].want);
	}
}

static void t_iso(void **state)
{
	char out[SM_TIME_ISO_MAX];

	(void)state;
	sm_time_iso(1795217632123, out);
	assert_string_equal(out, "2026-11-20T23:33:52.123Z");
	sm_time_iso(-1, out);
	assert_string_equal(out, "1969-12-31T23:59:59.999Z");
	sm_time_iso(INT64_MAX, out);
	assert_string_equal(out, "9999-12-31T00:00:00.807Z");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t_real),
	    cmocka_unit_test(t_fake),
	    cmocka_unit_test(t_rfc5322),
	    cmocka_unit_test(t_iso),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
