/* What people are shown: nothing of it controls a terminal, and times and sizes are what they say.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "misc/ctl.h"

static struct sm_buf b;

static const char *shown(const char *text, unsigned width, bool fill)
{
	sm_buf_reset(&b);
	qc_text(&b, text, width, fill);
	return sm_buf_c(&b);
}

static void controls_are_text(void **state)
{
	(void)state;
	assert_string_equal(shown("plain text", 0, false), "plain text");
	assert_string_equal(shown("\x1b[31mred\x07\r\n\t\x7f", 0, false),
	                    "\\x1b[31mred\\x07\\x0d\\x0a\\x09\\x7f");
	/* CSI as one character, right-to-left override, zero width, line separator, tags, BOM */
	assert_string_equal(shown("\xc2\x9b"
	                          "2J",
	                          0, false),
	                    "\\u{9b}2J");
	assert_string_equal(shown("\xe2\x80\xae"
	                          "x\xe2\x80\x8b\xe2\x80\xa8\xef\xbb\xbf\xf3\xa0\x81\x81",
	                          0, false),
	                    "\\u{202e}x\\u{200b}\\u{2028}\\u{feff}\\u{e0041}");
	/* letters stay, what is no UTF-8 does not */
	assert_string_equal(shown("J\xc3\xb6rg \xe4\xb8\xad", 0, false),
	                    "J\xc3\xb6rg \xe4\xb8\xad");
	assert_string_equal(shown("\xff\xc3\x9b\xc3", 0, false), "\\xff\xc3\x9b\\xc3");
	for (int c = 1; c < 256; c++) {
		const char one[2] = {(char)c, '\0'};

		for (const char *p = shown(one, 0, false); *p; p++)
			assert_in_range(*p, ' ', '~');
	}
}

static void columns_are_kept(void **state)
{
	(void)state;
	assert_string_equal(shown("abc", 6, true), "abc   ");
	assert_string_equal(shown("abcdef", 6, true), "abcdef");
	assert_string_equal(shown("abcdefg", 6, true), "abc...");
	assert_string_equal(shown("J\xc3\xb6rg", 6, true), "J\xc3\xb6rg  ");
	/* an escape is not cut in two */
	assert_string_equal(shown("a\x1b"
	                          "bcdefg",
	                          6, true),
	                    "a...  ");
}

static void times_and_sizes(void **state)
{
	static const struct {
		int64_t s;
		const char *text;
	} spans[] = {{-5, "now"},         {0, "now"},          {1, "1s"},      {59, "59s"},
	             {60, "1m"},          {119, "1m"},         {3599, "59m"},  {3600, "1h"},
	             {7800, "2h10m"},     {36000, "10h"},      {86399, "23h"}, {90000, "1d1h"},
	             {13 * 86400, "13d"}, {30 * 86400, "4w2d"}};
	static const struct {
		int64_t n;
		const char *text;
	} sizes[] = {{0, "0"},
	             {1023, "1023"},
	             {1024, "1.0K"},
	             {1536, "1.5K"},
	             {10240, "10K"},
	             {24117248, "23M"},
	             {INT64_C(5) << 40, "5.0T"}};
	char out[24];
	int64_t s;

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(spans); i++)
		assert_string_equal(qc_duration(spans[i].s, out), spans[i].text);
	for (size_t i = 0; i < SM_ARRAY_SIZE(sizes); i++)
		assert_string_equal(qc_size(sizes[i].n, out), sizes[i].text);
	assert_true(qc_seconds("90s", &s) && s == 90);
	assert_true(qc_seconds("1h30m", &s) && s == 5400);
	assert_true(qc_seconds("2w", &s) && s == 1209600);
	for (const char *const *bad = (const char *const[]){"", "5", "h", "5x", "0s", "-5m", "1h30",
	                                                    "99999999999s", NULL};
	     *bad; bad++)
		assert_false(qc_seconds(*bad, &s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(controls_are_text),
	    cmocka_unit_test(columns_are_kept),
	    cmocka_unit_test(times_and_sizes),
	};
	int rc;

	sm_buf_init(&b, 4096);
	rc = cmocka_run_group_tests(tests, NULL, NULL);
	sm_buf_fini(&b);
	return rc;
}
