/* What stands behind XFORWARD. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/err.h"
#include "smtps/xforward.h"

static struct sm_arena arena;
static struct sm_str what;

static int parse(const char *arg, struct ss_xforward *x)
{
	sm_arena_reset(&arena);
	return ss_xforward_parse(sm_str(arg), &arena, x, &what);
}

static void test_good(void **state)
{
	struct ss_xforward x = {.port = 0};
	char text[SM_SA_TEXT];
	(void)state;

	assert_int_equal(parse("NAME=spike.example ADDR=192.0.2.1 PORT=4711 PROTO=ESMTPSA "
	                       "HELO=h+2Dx IDENT=4W+2Bx SOURCE=remote",
	                       &x),
	                 0);
	assert_string_equal(sm_sa_host_text(&x.addr, text), "192.0.2.1");
	assert_int_equal(x.port, 4711);
	assert_string_equal(x.name, "spike.example");
	assert_string_equal(x.proto, "ESMTPSA");
	assert_string_equal(x.helo, "h-x");
	assert_string_equal(x.ident, "4W+x");
	assert_string_equal(x.source, "REMOTE");
}

/* What is not named stays, and [UNAVAILABLE] takes away. */
static void test_increments(void **state)
{
	struct ss_xforward x = {.port = 0};
	char text[SM_SA_TEXT];
	(void)state;

	assert_int_equal(parse("name=a.example addr=IPv6:2001:db8::1", &x), 0);
	assert_int_equal(parse("HELO=b.example PORT=25", &x), 0);
	assert_string_equal(sm_sa_host_text(&x.addr, text), "2001:db8::1");
	assert_string_equal(x.name, "a.example");
	assert_string_equal(x.helo, "b.example");
	assert_int_equal(x.port, 25);
	assert_int_equal(parse("NAME=[unavailable] PORT=[UNAVAILABLE] HELO=[TEMPUNAVAIL]", &x), 0);
	assert_string_equal(x.name, "");
	assert_string_equal(x.helo, "");
	assert_int_equal(x.port, 0);
	assert_int_not_equal(x.addr.len, 0);
	assert_int_equal(parse("ADDR=[UNAVAILABLE] SOURCE=LOCAL", &x), 0);
	assert_int_equal(x.addr.len, 0);
	assert_string_equal(x.source, "LOCAL");
	assert_int_equal(parse("SOURCE=[UNAVAILABLE] ADDR=192.0.2.1", &x), 0);
	assert_string_equal(x.source, "");
	/* An address of another kind is none that anybody here could use. */
	assert_int_equal(parse("ADDR=fidonet", &x), 0);
	assert_int_equal(x.addr.len, 0);
	assert_int_equal(parse("ADDR=0.0.0.0", &x), 0);
	assert_int_equal(x.addr.len, 0);
}

static void test_cleaned(void **state)
{
	struct ss_xforward x = {.port = 0};
	(void)state;

	assert_int_equal(parse("HELO=a+20(b)<c>\\+22@d;+3D NAME=x+20y", &x), 0);
	assert_string_equal(x.helo, "a??b??c????d?=");
	assert_string_equal(x.name, "x?y");
}

static void test_bad(void **state)
{
	static const char *const bad[] = {
	    "",
	    " ",
	    "NAME",
	    "LOGIN=x",
	    "NAME=a NAME=b",
	    "HELO=a+0D+0AMAIL",
	    "HELO=+E9",
	    "HELO=+",
	    "PORT=x",
	    "PORT=65536",
	    "SOURCE=elsewhere",
	    "IDENT=a b",
	    "PROTO=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	};
	struct ss_xforward x = {.port = 1, .name = "before"}, before = x;
	char text[SS_XFORWARD_MAX + 20];
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		if (parse(bad[i], &x) != SM_E_SYNTAX)
			fail_msg("%s", bad[i]);
		assert_true(what.n > 0);
		assert_memory_equal(&x, &before, sizeof(x));
	}
	/* The good attributes of a bad command are not taken either. */
	assert_int_equal(parse("NAME=after PORT=x", &x), SM_E_SYNTAX);
	assert_string_equal(x.name, "before");
	assert_true(sm_str_eq(what, SM_STR("PORT")));

	(void)snprintf(text, sizeof(text), "NAME=%0*d", SS_XFORWARD_MAX, 7);
	assert_int_equal(parse(text, &x), 0);
	assert_int_equal(strlen(x.name), SS_XFORWARD_MAX);
	(void)snprintf(text, sizeof(text), "NAME=%0*d", SS_XFORWARD_MAX + 1, 7);
	assert_int_equal(parse(text, &x), SM_E_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_increments),
	    cmocka_unit_test(test_cleaned),
	    cmocka_unit_test(test_bad),
	};

	sm_arena_init(&arena, "t", 1024, 65536);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	sm_arena_fini(&arena);
	return rc;
}
