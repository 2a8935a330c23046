/* Unit tests of utf8.c: what is UTF-8, and by what domains are compared. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/err.h"
#include "libsm/utf8.h"

static void test_valid(void **state)
{
	static const struct {
		struct sm_str text;
		bool valid, graphic;
	} rows[] = {
	    {SM_STR(""), true, true},
	    {SM_STR("plain"), true, true},
	    {SM_STR("j\xc3\xb6rg"), true, true},
	    {SM_STR("\xe4\xbd\xa0\xe5\xa5\xbd"), true, true},
	    {SM_STR("\xf0\x9f\x93\xa7"), true, true},
	    {SM_STR("\xf4\x8f\xbf\xbf"), true, true},
	    {SM_STR("\xed\x9f\xbf\xee\x80\x80"), true, true},
	    {SM_STR("\xc2\x80"), true, false}, /* a control */
	    {SM_STR("a\xc2\x9f"), true, false},
	    {SM_STR("\xc2\xa0"), true, true},
	    {SM_STR("\x80"), false, false},
	    {SM_STR("\xe9@local.test"), false, false}, /* Latin-1 */
	    {SM_STR("\xc0\xaf"), false, false},        /* overlong */
	    {SM_STR("\xc1\x80"), false, false},
	    {SM_STR("\xe0\x9f\xbf"), false, false},
	    {SM_STR("\xf0\x8f\xbf\xbf"), false, false},
	    {SM_STR("\xed\xa0\x80"), false, false}, /* a surrogate */
	    {SM_STR("\xf4\x90\x80\x80"), false, false},
	    {SM_STR("\xf5\x80\x80\x80"), false, false},
	    {SM_STR("\xff"), false, false},
	    {SM_STR("\xc3"), false, false}, /* cut */
	    {SM_STR("\xe4\xbd"), false, false},
	    {SM_STR("\xf0\x9f\x93"), false, false},
	    {SM_STR("\xc3\x28"), false, false},
	    {SM_STR("\xe4\x28\xa0"), false, false},
	};
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++)
		if (sm_utf8_valid(rows[i].text) != rows[i].valid ||
		    sm_utf8_graphic(rows[i].text) != rows[i].graphic)
			fail_msg("row %zu", i);
}

/* Each character there and back. */
static void test_each(void **state)
{
	(void)state;
	for (uint32_t c = 0; c < 0x110000; c++) {
		char text[4];
		struct sm_str s = sm_str_n(text, sm_utf8_put(c, text));

		if (c >= 0xD800 && c < 0xE000)
			assert_int_equal(sm_utf8_next(&s), -1);
		else if (sm_utf8_next(&s) != (int32_t)c || s.n != 0)
			fail_msg("U+%04X", c);
	}
}

static void test_domain(void **state)
{
	static const struct {
		const char *in, *out; /* out NULL: is none */
	} rows[] = {
	    {"", ""},
	    {"Example.ORG", "example.org"},
	    {"_dmarc.Example.org", "_dmarc.example.org"},
	    {"XN--bcher-KVA.test", "xn--bcher-kva.test"},
	    {"xn--\x7f-not-punycode.test", "xn--\x7f-not-punycode.test"}, /* ASCII is opaque */
	    {"b\xc3\xbc"
	     "cher.test",
	     "xn--bcher-kva.test"},
	    {"B\xc3\x9c"
	     "CHER.Test",
	     "xn--bcher-kva.test"},
	    {"bu\xcc\x88"
	     "cher.test",
	     "xn--bcher-kva.test"}, /* not NFC */
	    {".b\xc3\xbc"
	     "cher.test",
	     ".xn--bcher-kva.test"},
	    {"fa\xc3\x9f.de", "xn--fa-hia.de"}, /* not "fass" */
	    {"\xe4\xbe\x8b\xe5\xad\x90\xe3\x80\x82\xe6\xb5\x8b\xe8\xaf\x95",
	     "xn--fsqu00a.xn--0zwm56d"},
	    {"b\xc3", NULL},
	    {"\xe9.test", NULL},
	    {"a\xef\xbc\xa0"
	     "b.test",
	     NULL}, /* a wide "@" */
	    {"b\xc3\xbc"
	     "c her.test",
	     NULL},
	    {"b\xc3\xbc"
	     "cher.te_st",
	     "xn--bcher-kva.te_st"},
	    {"a\xef\xbc\x8e"
	     "b.test",
	     "a.b.test"}, /* a wide dot */
	    {"-b\xc3\xbc"
	     "cher.test",
	     NULL},
	    {"\xe2\x80\xae"
	     "b.test",
	     NULL}, /* turns the direction of writing */
	};
	char text[SM_DOMAIN_ASCII_SIZE], longest[400];
	struct sm_str ascii;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		int rc = sm_domain_ascii(sm_str(rows[i].in), text, &ascii);

		if (rows[i].out == NULL ? rc != SM_E_SYNTAX
		                        : rc != 0 || !sm_str_eq(ascii, sm_str(rows[i].out)))
			fail_msg("row %zu: %d %s", i, rc, rc == 0 ? text : sm_diag());
	}
	memset(longest, 'a', sizeof(longest));
	assert_int_equal(sm_domain_ascii(sm_str_n(longest, 256), text, &ascii), 0);
	assert_int_equal(sm_domain_ascii(sm_str_n(longest, 257), text, &ascii), SM_E_SYNTAX);
	memcpy(longest, "\xc3\xbc", 2);
	assert_int_equal(sm_domain_ascii(sm_str_n(longest, 100), text, &ascii), SM_E_SYNTAX);
	assert_int_equal(sm_domain_ascii(sm_str_n("\xc3\xbc\0x", 4), text, &ascii), SM_E_SYNTAX);
}

static void test_eq(void **state)
{
	struct sm_arena a;
	struct sm_str ascii, folded = SM_STR("x.test");
	(void)state;

	assert_true(sm_domain_eq(SM_STR("A.test"), SM_STR("a.TEST")));
	assert_false(sm_domain_eq(SM_STR("a.test"), SM_STR("b.test")));
	assert_true(sm_domain_eq(SM_STR("b\xc3\xbc"
	                                "cher.test"),
	                         SM_STR("xn--bcher-kva.test")));
	assert_true(sm_domain_eq(SM_STR("b\xc3\xbc"
	                                "cher.test"),
	                         SM_STR("B\xc3\x9c"
	                                "CHER.test")));
	assert_false(sm_domain_eq(SM_STR("b\xc3\xbc"
	                                 "cher.test"),
	                          SM_STR("bucher.test")));
	assert_true(sm_domain_eq(SM_STR("\xff"), SM_STR("\xff")));
	assert_false(sm_domain_eq(SM_STR("\xff"), SM_STR("\xfe")));

	sm_arena_init(&a, "test", 64, 128);
	assert_int_equal(sm_domain_ascii_in(&a, folded, &ascii), 0);
	assert_ptr_equal(ascii.p, folded.p);
	assert_int_equal(sm_domain_ascii_in(&a,
	                                    SM_STR("B\xc3\x9c"
	                                           "CHER.test"),
	                                    &ascii),
	                 0);
	assert_true(sm_str_eq(ascii, SM_STR("xn--bcher-kva.test")));
	assert_int_equal(sm_domain_ascii_in(&a, SM_STR("\xff"), &ascii), SM_E_SYNTAX);
	sm_arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_valid),
	    cmocka_unit_test(test_each),
	    cmocka_unit_test(test_domain),
	    cmocka_unit_test(test_eq),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
