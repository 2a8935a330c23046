/* Unit tests of smtp_cmd.c: command lines, parameters, xtext. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/buf.h"
#include "libsm/err.h"
#include "libsm/smtp_cmd.h"

static void test_split(void **state)
{
	static const struct {
		const char *line;
		const char *verb, *arg; /* NULL: refused */
	} rows[] = {
	    {"NOOP", "NOOP", ""},
	    {"noop   ", "noop", ""},
	    {"NOOP\t", "NOOP", ""},
	    {"EHLO x", "EHLO", "x"},
	    {"EHLO a b", "EHLO", "a b"},
	    {"MAIL  FROM:<a@b>", "MAIL", " FROM:<a@b>"},
	    {"VRFY \xc3\xa9@x", "VRFY", "\xc3\xa9@x"},
	    {"", NULL, NULL},
	    {" NOOP", NULL, NULL},
	    {"NO-OP", NULL, NULL},
	    {"250 hello", NULL, NULL},
	    {"EHLO a\tb", "EHLO", "a\tb"},
	    {"EHLO\ta", NULL, NULL},
	    {"NOOP\r", NULL, NULL},
	    {"NOOP \x7f"
	     "x",
	     NULL, NULL},
	    {"SSH-2.0-OpenSSH", NULL, NULL},
	    {"\x16\x03\x01", NULL, NULL},
	    {"NOOP\xff", NULL, NULL},
	};
	struct sm_smtp_cmd c;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		int err = sm_smtp_cmd_parse(sm_str(rows[i].line), &c);
		if (rows[i].verb == NULL) {
			if (err != SM_E_SYNTAX)
				fail_msg("'%s' is taken", rows[i].line);
			continue;
		}
		assert_int_equal(err, 0);
		assert_true(sm_str_eq(c.verb, sm_str(rows[i].verb)));
		assert_true(sm_str_eq(c.arg, sm_str(rows[i].arg)));
	}
	assert_int_equal(sm_smtp_cmd_parse(SM_STR("NOOP\0x"), &c), SM_E_SYNTAX);
	assert_int_equal(sm_smtp_cmd_parse(SM_STR_NONE, &c), SM_E_SYNTAX);
}

/* Prints the parameters of `text` as "key=value;key;" or ends with "!" at the error. */
static void print_params(const char *text, char *out, size_t size)
{
	struct sm_str s = sm_str(text), key, value;
	size_t n = 0;
	int rc;

	out[0] = '\0';
	while ((rc = sm_smtp_param_next(&s, &key, &value)) == 1)
		n += (size_t)snprintf(out + n, size - n, value.p ? "%.*s=%.*s;" : "%.*s%.*s;",
		                      SM_STR_ARG(key), SM_STR_ARG(value));
	if (rc != 0)
		snprintf(out + n, size - n, "!");
}

static void test_params(void **state)
{
	static const struct {
		const char *in, *want;
	} rows[] = {
	    {"", ""},
	    {"   ", ""},
	    {" SIZE=1", "SIZE=1;"},
	    {" SIZE=1  BODY=8BITMIME ", "SIZE=1;BODY=8BITMIME;"},
	    {" SMTPUTF8 x-y=z", "SMTPUTF8;x-y=z;"},
	    {" AUTH=<>", "AUTH=<>;"},
	    {"SIZE=1", "!"},
	    {" SIZE=", "!"},
	    {" SIZE==1", "!"},
	    {" =1", "!"},
	    {" -a", "!"},
	    {" a=b=c", "!"},
	    {" a=b\tc=d", "!"},
	    {" a=\xc3\xbc b", "a=\xc3\xbc;b;"},
	    {" \xc3\xbc=a", "!"},
	    {" a.b=c", "!"},
	    {" ok>", "!"},
	};
	char got[200];
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		print_params(rows[i].in, got, sizeof(got));
		assert_string_equal(got, rows[i].want);
	}
}

static void test_from_to(void **state)
{
	static const struct {
		const char *arg;
		int err;
		const char *params;
	} rows[] = {
	    {"FROM:<a@b>", 0, ""},
	    {"from:<a@b> SIZE=3", 0, " SIZE=3"},
	    {"FROM: <a@b>", 0, ""},
	    {" FROM:<a@b>", 0, ""},
	    {"FROM <a@b>", SM_E_SYNTAX, NULL},
	    {"FROM :<a@b>", SM_E_SYNTAX, NULL},
	    {"TO:<a@b>", SM_E_SYNTAX, NULL},
	    {"FROM:", SM_E_SYNTAX, NULL},
	    {"FROM:a@b", SM_E_SYNTAX, NULL},
	    {"", SM_E_SYNTAX, NULL},
	    {"FROM:<a@b>SIZE=3", 0, "SIZE=3"}, /* refused with its first parameter */
	};
	struct sm_arena a;
	(void)state;

	sm_arena_init(&a, "test", 1024, 65536);
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		struct sm_addr out;
		struct sm_str params;
		int err =
		    sm_smtp_from_to(sm_str(rows[i].arg), SM_STR("FROM:"), 0, &a, &out, &params);
		assert_int_equal(err, rows[i].err);
		if (err == 0)
			assert_true(sm_str_eq(params, sm_str(rows[i].params)));
	}
	sm_arena_fini(&a);
}

static void test_xtext(void **state)
{
	static const struct {
		const char *in, *want; /* NULL: refused */
	} rows[] = {
	    {"", ""},           {"abc", "abc"},  {"a+2Bb", "a+b"},  {"+3D", "="},
	    {"a+20b", "a b"},   {"a b", NULL},   {"a=b", NULL},     {"a+", NULL},
	    {"a+2", NULL},      {"a+2b", NULL},  {"+0Aevil", NULL}, {"a+00b", NULL},
	    {"x+0D+0Ay", NULL}, {"+7F", NULL},   {"+C3+BC", NULL},  {"a\xc3\xbc", NULL},
	    {"+GG", NULL},      {"a+0aX", NULL},
	};
	struct sm_arena a;
	(void)state;

	sm_arena_init(&a, "test", 1024, 65536);
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		struct sm_str out;
		int err = sm_xtext_decode(sm_str(rows[i].in), &a, &out);
		assert_int_equal(err, rows[i].want != NULL ? 0 : SM_E_SYNTAX);
		if (err == 0)
			assert_true(sm_str_eq(out, sm_str(rows[i].want)));
	}
	sm_arena_fini(&a);
}

static void test_bdat(void **state)
{
	static const struct {
		const char *in;
		int err;
		uint64_t size;
		bool last;
	} rows[] = {
	    {"0", 0, 0, false},
	    {"0 LAST", 0, 0, true},
	    {"86 last", 0, 86, true},
	    {"0005 Last", 0, 5, true},
	    {"18446744073709551615", 0, UINT64_MAX, false},
	    {"18446744073709551616", SM_E_RANGE, 0, false},
	    {"99999999999999999999999999 LAST", SM_E_RANGE, 0, true},
	    {"", SM_E_SYNTAX, 0, false},
	    {"LAST", SM_E_SYNTAX, 0, false},
	    {"-1", SM_E_SYNTAX, 0, false},
	    {"+1", SM_E_SYNTAX, 0, false},
	    {"0x10", SM_E_SYNTAX, 0, false},
	    {"1e3", SM_E_SYNTAX, 0, false},
	    {"5\tLAST", SM_E_SYNTAX, 0, false},
	    {"5  LAST", SM_E_SYNTAX, 0, false},
	    {" 5", SM_E_SYNTAX, 0, false},
	    {"5 LAST x", SM_E_SYNTAX, 0, false},
	    {"5 FIRST", SM_E_SYNTAX, 0, false},
	    {"5 ", SM_E_SYNTAX, 0, false},
	    {"5LAST", SM_E_SYNTAX, 0, false},
	    {"\xd9\xa5", SM_E_SYNTAX, 0, false}, /* another script's 5 */
	};
	uint64_t size;
	bool last;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		int err = sm_smtp_bdat(sm_str(rows[i].in), &size, &last);
		if (err != rows[i].err ||
		    (err == 0 && (size != rows[i].size || last != rows[i].last)))
			fail_msg("'%s': %d", rows[i].in, err);
	}
}

static void test_unitext(void **state)
{
	static const struct {
		const char *in;
		bool utf8;
		const char *want; /* NULL: refused */
	} rows[] = {
	    {"joe@example.org", false, "joe@example.org"},
	    {"j\\x{F6}rg@b\\x{FC}cher.test", false,
	     "j\xc3\xb6rg@b\xc3\xbc"
	     "cher.test"},
	    {"j\xc3\xb6rg@x", true, "j\xc3\xb6rg@x"},
	    {"j\xc3\xb6rg@x", false, NULL},
	    {"\\x{4F60}\\x{1F4E7}", false, "\xe4\xbd\xa0\xf0\x9f\x93\xa7"},
	    {"a\\x{2B}b\\x{3D}c\\x{5C}d\\x{20}e", false, "a+b=c\\d e"},
	    {"a+2Bb", false, NULL},
	    {"a=b", false, NULL},
	    {"a b", true, NULL},
	    {"\\x{0A}", false, NULL},
	    {"\\x{0}", false, NULL},
	    {"\\x{7F}", false, NULL},
	    {"\\x{85}", false, NULL},
	    {"\\x{D800}", false, NULL},
	    {"\\x{110000}", false, NULL},
	    {"\\x{1000000}", false, NULL},
	    {"\\x{}", false, NULL},
	    {"\\x{f6}", false, NULL},
	    {"\\x{F6", false, NULL},
	    {"\\xF6", false, NULL},
	    {"\\", false, NULL},
	    {"\xc0\xaf", true, NULL},
	    {"\xc2\x85", true, NULL},
	};
	struct sm_arena a;
	struct sm_buf b;
	(void)state;

	sm_arena_init(&a, "test", 1024, 65536);
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		struct sm_str out, again;
		int err = sm_unitext_decode(sm_str(rows[i].in), rows[i].utf8, &a, &out);
		if (err != (rows[i].want != NULL ? 0 : SM_E_SYNTAX) ||
		    (err == 0 && !sm_str_eq(out, sm_str(rows[i].want))))
			fail_msg("'%s': %d", rows[i].in, err);
		if (err != 0)
			continue;
		sm_buf_init(&b, 1000);
		sm_unitext_put(&b, out);
		assert_true(sm_str_is_ascii(sm_buf_view(&b)));
		assert_int_equal(sm_unitext_decode(sm_buf_view(&b), false, &a, &again), 0);
		assert_true(sm_str_eq(again, out));
		sm_buf_fini(&b);
	}
	sm_arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_split),   cmocka_unit_test(test_params),
	    cmocka_unit_test(test_from_to), cmocka_unit_test(test_xtext),
	    cmocka_unit_test(test_bdat),    cmocka_unit_test(test_unitext),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
