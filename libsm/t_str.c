/* Unit test of str.h. */
#include "libsm/str.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/err.h"

static void is(struct sm_str s, const char *want)
{
	assert_int_equal(s.n, strlen(want));
	assert_true(sm_str_eq(s, sm_str(want)));
}

static void t_compare(void **state)
{
	static const struct {
		struct sm_str a, b;
		int cmp;
		bool caseeq, prefix, caseprefix, suffix, casesuffix; /* b of a */
	} t[] = {
	    {SM_STR(""), SM_STR(""), 0, true, true, true, true, true},
	    {SM_STR_NONE, SM_STR(""), 0, true, true, true, true, true},
	    {SM_STR("abc"), SM_STR_NONE, 1, false, true, true, true, true},
	    {SM_STR("abc"), SM_STR("abc"), 0, true, true, true, true, true},
	    {SM_STR("abc"), SM_STR("ABC"), 1, true, false, true, false, true},
	    {SM_STR("abc"), SM_STR("ab"), 1, false, true, true, false, false},
	    {SM_STR("abc"), SM_STR("aB"), 1, false, false, true, false, false},
	    {SM_STR("abc"), SM_STR("bC"), -1, false, false, false, false, true},
	    {SM_STR("ab"), SM_STR("abc"), -1, false, false, false, false, false},
	    {SM_STR("a\0c"), SM_STR("a\0C"), 1, true, false, true, false, true},
	    /* Only A-Z fold: neither the bytes beside them nor the other half of Latin-1. */
	    {SM_STR("@[`{"), SM_STR("`{@["), -1, false, false, false, false, false},
	    {SM_STR("\xc4"), SM_STR("\xe4"), -1, false, false, false, false, false},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		int cmp = sm_str_cmp(t[i].a, t[i].b), back = sm_str_cmp(t[i].b, t[i].a);

		assert_int_equal((cmp > 0) - (cmp < 0), t[i].cmp);
		assert_int_equal((back > 0) - (back < 0), -t[i].cmp);
		assert_int_equal(sm_str_eq(t[i].a, t[i].b), t[i].cmp == 0);
		assert_int_equal(sm_str_caseeq(t[i].a, t[i].b), t[i].caseeq);
		assert_int_equal(sm_str_has_prefix(t[i].a, t[i].b), t[i].prefix);
		assert_int_equal(sm_str_has_caseprefix(t[i].a, t[i].b), t[i].caseprefix);
		assert_int_equal(sm_str_has_suffix(t[i].a, t[i].b), t[i].suffix);
		assert_int_equal(sm_str_has_casesuffix(t[i].a, t[i].b), t[i].casesuffix);
	}
}

static void t_cut(void **state)
{
	struct sm_str rest;

	(void)state;
	assert_int_equal(sm_str_chr(SM_STR("a.b.c"), '.'), 1);
	assert_int_equal(sm_str_rchr(SM_STR("a.b.c"), '.'), 3);
	assert_int_equal(sm_str_chr(SM_STR("abc"), '.'), -1);
	assert_int_equal(sm_str_rchr(SM_STR_NONE, '.'), -1);
	is(sm_str_from(SM_STR("abc"), 1), "bc");
	is(sm_str_from(SM_STR("abc"), 4), "");
	is(sm_str_from(SM_STR_NONE, 4), "");
	is(sm_str_head(SM_STR("abc"), 2), "ab");
	is(sm_str_head(SM_STR("abc"), 20), "abc");
	is(sm_str_trim(SM_STR(" \t a b\t ")), "a b");
	is(sm_str_trim(SM_STR(" \t")), "");
	is(sm_str_trim(SM_STR_NONE), "");
	is(sm_str_split(SM_STR("a=b=c"), '=', &rest), "a");
	is(rest, "b=c");
	is(sm_str_split(SM_STR("a="), '=', &rest), "a");
	is(rest, "");
	assert_non_null(rest.p); /* there was a separator ... */
	is(sm_str_split(SM_STR("a"), '=', &rest), "a");
	assert_null(rest.p); /* ... and here was none */
	struct sm_str line = SM_STR("  MAIL\tFROM  ");

	is(sm_str_word(&line), "MAIL");
	is(sm_str_word(&line), "FROM");
	is(sm_str_word(&line), "");
	is(line, "");
}

static void t_numbers(void **state)
{
	static const struct {
		struct sm_str s;
		unsigned base;
		uint64_t max;
		int rc;
		uint64_t v;
	} t[] = {
	    {SM_STR("0"), 10, 9, 0, 0},
	    {SM_STR("007"), 10, 9, 0, 7},
	    {SM_STR("10"), 10, 9, SM_E_RANGE, 0},
	    {SM_STR("18446744073709551615"), 10, UINT64_MAX, 0, UINT64_MAX},
	    {SM_STR("18446744073709551616"), 10, UINT64_MAX, SM_E_RANGE, 0},
	    {SM_STR("99999999999999999999999"), 10, UINT64_MAX, SM_E_RANGE, 0},
	    {SM_STR("99999999999999999999999x"), 10, UINT64_MAX, SM_E_SYNTAX, 0},
	    {SM_STR("fFfFfFfFfFfFfFfF"), 16, UINT64_MAX, 0, UINT64_MAX},
	    {SM_STR("10000000000000000"), 16, UINT64_MAX, SM_E_RANGE, 0},
	    {SM_STR("0x10"), 16, 99, SM_E_SYNTAX, 0},
	    {SM_STR("1a"), 10, 99, SM_E_SYNTAX, 0},
	    {SM_STR("1g"), 16, 99, SM_E_SYNTAX, 0},
	    {SM_STR(""), 10, 99, SM_E_SYNTAX, 0},
	    {SM_STR_NONE, 10, 99, SM_E_SYNTAX, 0},
	    {SM_STR("-1"), 10, 99, SM_E_SYNTAX, 0},
	    {SM_STR("+1"), 10, 99, SM_E_SYNTAX, 0},
	    {SM_STR(" 1"), 10, 99, SM_E_SYNTAX, 0},
	    {SM_STR("1\0"), 10, 99, SM_E_SYNTAX, 0},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		uint64_t v = 0;

		assert_int_equal(sm_str_u64(t[i].s, t[i].base, t[i].max, &v), t[i].rc);
		assert_true(v == t[i].v);
	}
}

static void t_copy(void **state)
{
	char to[4];

	(void)state;
	assert_int_equal(sm_str_copy(SM_STR("abc"), to, sizeof(to)), 0);
	assert_string_equal(to, "abc");
	assert_int_equal(sm_str_copy(SM_STR("abcd"), to, sizeof(to)), SM_E_TOOBIG);
	assert_string_equal(to, "");
	assert_int_equal(sm_str_copy(SM_STR("a\0b"), to, sizeof(to)), SM_E_TOOBIG);
	assert_string_equal(to, "");
	assert_int_equal(sm_str_copy(SM_STR_NONE, to, 1), 0);
	assert_string_equal(to, "");
}

static void t_lower(void **state)
{
	char all[256 + 16], to[sizeof(all)];

	(void)state;
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (char)i;
	for (size_t from = 0; from < 256; from++)
		for (size_t n = 0; n <= 16; n++) {
			memset(to, '-', sizeof(to));
			sm_str_lower(sm_str_n(all + from, n), to);
			for (size_t i = 0; i < n; i++)
				assert_int_equal(to[i], sm_lower(all[from + i]));
			assert_int_equal(to[n], '-');
		}
	sm_str_lower(sm_str_n(all, sizeof(all)), all);
	assert_memory_equal(&all['A'], "abcdefghijklmnopqrstuvwxyz[", 27);
	sm_str_lower(SM_STR_NONE, to);
}

/* Each byte at each place of texts of each length around a word's, among bytes at the edges. */
static void t_control(void **state)
{
	static const unsigned char around[] = {'a', ' ', '~', 0x80, 0xff};
	char text[20];

	(void)state;
	assert_false(sm_str_has_control(SM_STR_NONE));
	for (size_t f = 0; f < SM_ARRAY_SIZE(around); f++) {
		memset(text, around[f], sizeof(text));
		for (size_t n = 1; n <= sizeof(text); n++)
			for (size_t at = 0; at < n; at++)
				for (int c = 0; c < 256; c++) {
					text[at] = (char)c;
					assert_int_equal(sm_str_has_control(sm_str_n(text, n)),
					                 c < ' ' || c == 0x7f);
					text[at] = (char)around[f];
				}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t_compare), cmocka_unit_test(t_cut),   cmocka_unit_test(t_numbers),
	    cmocka_unit_test(t_copy),    cmocka_unit_test(t_lower), cmocka_unit_test(t_control),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
