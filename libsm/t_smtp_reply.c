/* Unit tests of smtp_reply.c: what goes out as a reply, and what a hostile server's reply becomes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/err.h"
#include "libsm/smtp_reply.h"

static void expect_put(int code, const char *text, const char *want)
{
	struct sm_buf b;

	sm_buf_init(&b, 65536);
	sm_reply_put(&b, code, sm_str(text));
	assert_string_equal(sm_buf_c(&b), want);
	sm_buf_fini(&b);
}

static void test_put(void **state)
{
	(void)state;
	expect_put(250, "2.0.0 Ok", "250 2.0.0 Ok\r\n");
	expect_put(250, "", "250 \r\n");
	expect_put(250, "host\nSIZE 1\nHELP", "250-host\r\n250-SIZE 1\r\n250 HELP\r\n");
	/* The enhanced code stands on every line, once. */
	expect_put(550, "5.7.1 no\nway", "550-5.7.1 no\r\n550 5.7.1 way\r\n");
	expect_put(550, "5.7.1 no\n5.7.1 way", "550-5.7.1 no\r\n550 5.7.1 way\r\n");
	expect_put(450, "5.7.1 no\nway", "450-5.7.1 no\r\n450 way\r\n");
	/* Nothing in the text makes a line of its own or leaves ASCII. */
	expect_put(550, "a\r\tb\x7f\xc3", "550 a??b??\r\n");
}

static void test_put_long(void **state)
{
	char text[3000];
	struct sm_buf b;
	(void)state;

	memset(text, 'x', sizeof(text));
	memcpy(text, "5.7.1 ", 6);
	text[1000] = '\n';
	sm_buf_init(&b, 65536);
	sm_reply_put(&b, 550, sm_str_n(text, sizeof(text)));
	assert_int_equal(b.len, 512 + 512);
	assert_memory_equal(sm_buf_p(&b) + 510, "\r\n550 5.7.1 xx", 14);
	sm_buf_fini(&b);
}

static void test_enhanced(void **state)
{
	static const struct {
		const char *text;
		int code;
		const char *rest; /* NULL: none */
	} rows[] = {
	    {"5.7.1 no", 550, "no"}, {"5.7.1", 550, ""},      {"2.0.0 ok", 250, "ok"},
	    {"5.7.123 x", 554, "x"}, {"5.7.1 no", 450, NULL}, {"5.7 no", 550, NULL},
	    {"5.7.1234", 550, NULL}, {"5..1 x", 550, NULL},   {"5.7.1x", 550, NULL},
	    {"", 550, NULL},         {"3.0.0 x", 354, "x"},   {"6.0.0 x", 600, NULL},
	    {"5.7.", 550, NULL},
	};
	unsigned num[3];
	struct sm_str rest;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		bool ok = sm_enhanced_parse(sm_str(rows[i].text), rows[i].code, num, &rest);
		if (ok != (rows[i].rest != NULL))
			fail_msg("'%s' for %d", rows[i].text, rows[i].code);
		if (ok)
			assert_true(sm_str_eq(rest, sm_str(rows[i].rest)));
	}
	assert_true(sm_enhanced_parse(SM_STR("5.17.100 x"), 550, num, &rest));
	assert_int_equal(num[0] * 1000000 + num[1] * 1000 + num[2], 5017100);
}

static void test_collect(void **state)
{
	static const struct {
		const char *lines[4];
		int last;         /* what the last feed gives */
		const char *text; /* when it is 1 */
	} rows[] = {
	    {{"250 ok"}, 1, "ok"},
	    {{"250"}, 1, ""},
	    {{"250-a", "250-b", "250 c"}, 1, "a\nb\nc"},
	    {{"250-a", "250"}, 1, "a\n"},
	    {{"550 \x01\x1b[0m\xc3"}, 1, "??[0m\xc3"},
	    {{"250-a"}, 0, NULL},
	    {{"250-a", "251 b"}, SM_E_PROTO, NULL},
	    {{""}, SM_E_PROTO, NULL},
	    {{"25"}, SM_E_PROTO, NULL},
	    {{"2500"}, SM_E_PROTO, NULL},
	    {{"999 x"}, SM_E_PROTO, NULL},
	    {{"199 x"}, SM_E_PROTO, NULL},
	    {{"000 x"}, SM_E_PROTO, NULL},
	    {{"250\tx"}, SM_E_PROTO, NULL},
	    {{"hello"}, SM_E_PROTO, NULL},
	    {{"250-a", "b"}, SM_E_PROTO, NULL},
	};
	struct sm_reply_parser p;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		int rc = 0;
		sm_reply_parser_init(&p, 10);
		for (int k = 0; k < 4 && rows[i].lines[k] != NULL; k++) {
			assert_int_equal(rc, 0);
			rc = sm_reply_parser_feed(&p, sm_str(rows[i].lines[k]));
		}
		assert_int_equal(rc, rows[i].last);
		if (rc == 1)
			assert_true(sm_str_eq(sm_buf_view(&p.text), sm_str(rows[i].text)));
		sm_reply_parser_fini(&p);
	}
}

static void test_endless(void **state)
{
	struct sm_reply_parser p;
	char line[1000];
	(void)state;

	memset(line, 'x', sizeof(line));
	memcpy(line, "250-", 4);
	sm_reply_parser_init(&p, 100);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(sm_reply_parser_feed(&p, sm_str_n(line, sizeof(line))), 0);
		assert_true(p.text.len <= 4096);
	}
	assert_int_equal(sm_reply_parser_feed(&p, SM_STR("250 end")), SM_E_TOOBIG);
	assert_int_equal(p.text.len, 4096);
	sm_reply_parser_reset(&p);
	assert_int_equal(sm_reply_parser_feed(&p, SM_STR("220 again")), 1);
	assert_int_equal(p.code, 220);
	sm_reply_parser_fini(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_put),      cmocka_unit_test(test_put_long),
	    cmocka_unit_test(test_enhanced), cmocka_unit_test(test_collect),
	    cmocka_unit_test(test_endless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
