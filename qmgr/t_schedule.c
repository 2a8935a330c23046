/* Times of queue runs: rows, windows, midnight, the two nights on which the clock jumps. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "libsm/err.h"
#include "qmgr/schedule.h"

static struct qm_schedule s;

static int parse(const char *a, const char *b, int64_t interval_ms)
{
	struct sm_str v[] = {sm_str(a ? a : ""), sm_str(b ? b : "")};
	struct sm_conf_list rows = {.v = v, .count = a == NULL ? 0u : b == NULL ? 1u : 2u};

	return qm_schedule_parse(&rows, interval_ms, &s);
}

/* Local time as text to seconds, and back. */
static int64_t at(const char *text)
{
	struct tm tm = {.tm_isdst = -1};

	assert_non_null(strptime(text, "%Y-%m-%d %H:%M:%S", &tm));
	return mktime(&tm);
}

static void next_is(const char *now, const char *wanted)
{
	int64_t next_s = qm_schedule_next(&s, at(now));
	time_t t = (time_t)next_s;
	char text[40];
	struct tm tm;

	assert_true(next_s != QM_NO_RUN);
	assert_non_null(localtime_r(&t, &tm));
	strftime(text, sizeof(text), "%a %F %T", &tm);
	assert_string_equal(text, wanted);
}

static int set_up(void **state)
{
	(void)state;
	/* Central Europe, without a file: the clocks jump at 2 and at 3 on Sundays. */
	setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
	tzset();
	return 0;
}

static void an_interval(void **state)
{
	(void)state;
	assert_int_equal(parse(NULL, NULL, 15 * 60000), 0);
	next_is("2026-11-21 13:26:59", "Sat 2026-11-21 13:30:00");
	next_is("2026-11-21 13:30:00", "Sat 2026-11-21 13:45:00"); /* not this very moment */
	next_is("2026-11-21 13:29:59", "Sat 2026-11-21 13:30:00");
	next_is("2026-12-31 23:45:01", "Fri 2027-01-01 00:00:00");
	assert_int_equal(parse(NULL, NULL, 7 * 3600 * 1000), 0);
	next_is("2026-11-21 13:00:00", "Sat 2026-11-21 14:00:00");
	next_is("2026-11-21 21:00:00", "Sun 2026-11-22 00:00:00"); /* each day anew */
	assert_int_equal(parse(NULL, NULL, 0), 0);
	assert_true(qm_schedule_next(&s, at("2026-11-21 13:00:00")) == QM_NO_RUN);
}

static void office_hours(void **state)
{
	(void)state;
	assert_int_equal(parse("Mon-Fri 08:00-18:00 15m", "* 3h", 0), 0);
	next_is("2026-11-20 17:44:00", "Fri 2026-11-20 17:45:00");
	next_is("2026-11-20 17:45:00", "Fri 2026-11-20 18:00:00"); /* the other row's */
	next_is("2026-11-20 18:00:00", "Fri 2026-11-20 21:00:00");
	next_is("2026-11-20 21:30:00", "Sat 2026-11-21 00:00:00");
	next_is("2026-11-21 10:00:00", "Sat 2026-11-21 12:00:00");
	next_is("2026-11-22 23:59:00", "Mon 2026-11-23 00:00:00");
	next_is("2026-11-23 06:00:00", "Mon 2026-11-23 08:00:00");
	/* The first row that is in it decides, also when it says less than the second. */
	assert_int_equal(parse("Mon-Fri 09:30-12:00 1h", "* 10m", 0), 0);
	next_is("2026-11-23 09:20:00", "Mon 2026-11-23 09:30:00");
	next_is("2026-11-23 09:30:00", "Mon 2026-11-23 10:30:00");
	next_is("2026-11-23 11:30:00", "Mon 2026-11-23 12:00:00");
}

static void never_at_weekends(void **state)
{
	(void)state;
	assert_int_equal(parse("sat-SUN never", NULL, 3600 * 1000), 0);
	next_is("2026-11-20 23:00:00", "Mon 2026-11-23 00:00:00");
	assert_int_equal(parse("* never", NULL, 3600 * 1000), 0);
	assert_true(qm_schedule_next(&s, at("2026-11-20 23:00:00")) == QM_NO_RUN);
	/* Once a week. */
	assert_int_equal(parse("Wed 12:00-12:01 1m", NULL, 0), 0);
	next_is("2026-11-25 12:00:00", "Wed 2026-12-02 12:00:00");
}

static void over_midnight(void **state)
{
	(void)state;
	assert_int_equal(parse("Fri 22:00-06:00 30m", "* never", 0), 0);
	next_is("2026-11-20 12:00:00", "Fri 2026-11-20 22:00:00");
	next_is("2026-11-20 23:30:00", "Sat 2026-11-21 00:00:00");
	next_is("2026-11-21 05:29:00", "Sat 2026-11-21 05:30:00");
	next_is("2026-11-21 05:30:00", "Fri 2026-11-27 22:00:00");
	/* What is counted begins with the window. */
	assert_int_equal(parse("* 22:20-02:00 45m", "* never", 0), 0);
	next_is("2026-11-20 23:10:00", "Fri 2026-11-20 23:50:00");
	next_is("2026-11-20 23:50:00", "Sat 2026-11-21 00:35:00");
}

/* 2026-03-29 02:00 CET is 03:00 CEST. */
static void in_spring(void **state)
{
	int64_t first;

	(void)state;
	assert_int_equal(parse("* 02:30-02:31 1m", "* never", 0), 0);
	next_is("2026-03-28 12:00:00", "Sun 2026-03-29 03:00:00"); /* made up for */
	next_is("2026-03-29 03:00:00", "Mon 2026-03-30 02:30:00");
	assert_int_equal(parse(NULL, NULL, 30 * 60000), 0);
	first = qm_schedule_next(&s, at("2026-03-29 01:30:00"));
	assert_int_equal(first, at("2026-03-29 03:00:00"));
	assert_int_equal(first - at("2026-03-29 01:30:00"), 1800);
}

/* 2026-10-25 03:00 CEST is 02:00 CET. */
static void in_autumn(void **state)
{
	int64_t t = at("2026-10-25 01:30:00");

	(void)state;
	assert_int_equal(parse(NULL, NULL, 30 * 60000), 0);
	for (int i = 0; i < 6; i++) {
		int64_t next_s = qm_schedule_next(&s, t);

		assert_int_equal(next_s, t + 1800); /* no run is missed, none comes too soon */
		t = next_s;
	}
	assert_int_equal(t, at("2026-10-25 03:30:00"));
}

static void what_is_no_schedule(void **state)
{
	static const char *const bad[] = {"",
	                                  "*",
	                                  "15m",
	                                  "Mon-Fri",
	                                  "Mon-Fri 08:00-18:00",
	                                  "Mond 15m",
	                                  "Mon- 15m",
	                                  "Mon,,Tue 15m",
	                                  "* 8-18 15m",
	                                  "* 08:00 15m",
	                                  "* 08:60-18:00 15m",
	                                  "* 24:01-25:00 15m",
	                                  "* 24:00-02:00 15m",
	                                  "* 08:00-08:00 15m",
	                                  "* 08:00-18:00 15m now",
	                                  "* 90s",
	                                  "* 0",
	                                  "* 25h",
	                                  "* sometimes"};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++)
		if (parse(bad[i], NULL, 0) != SM_E_SYNTAX)
			fail_msg("\"%s\"", bad[i]);
	assert_int_equal(parse("Mon,Wed-Thu,sun  8:00-24:00\t1h30m", NULL, 0), 0);
	assert_int_equal(s.rows[0].days, 1 | 2 | 8 | 16);
	assert_int_equal(s.rows[0].from_min, 480);
	assert_int_equal(s.rows[0].to_min, 1440);
	assert_int_equal(s.rows[0].every_min, 90);
	assert_int_equal(parse("Fri-Mon 1h", NULL, 0), 0);
	assert_int_equal(s.rows[0].days, 1 | 2 | 32 | 64);
	assert_int_equal(parse(NULL, NULL, 30000), SM_E_RANGE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(an_interval),         cmocka_unit_test(office_hours),
	    cmocka_unit_test(never_at_weekends),   cmocka_unit_test(over_midnight),
	    cmocka_unit_test(in_spring),           cmocka_unit_test(in_autumn),
	    cmocka_unit_test(what_is_no_schedule),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
