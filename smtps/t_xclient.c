/* What stands behind XCLIENT. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/err.h"
#include "smtps/xclient.h"

static struct sm_arena arena;

static int parse(const char *arg, struct ss_xclient *x)
{
	struct sm_str what;

	sm_arena_reset(&arena);
	return ss_xclient_parse(sm_str(arg), &arena, x, &what);
}

static void is(struct sm_str s, const char *want)
{
	assert_int_equal(s.n, strlen(want));
	assert_memory_equal(s.p, want, s.n);
}

static void test_good(void **state)
{
	struct ss_xclient x;
	char text[SM_SA_TEXT];
	(void)state;

	assert_int_equal(
	    parse("NAME=spike.example ADDR=192.0.2.1 PORT=1234 PROTO=SMTP HELO=h+2Dx LOGIN=u+40d "
	          "DESTADDR=198.51.100.2 DESTPORT=25",
	          &x),
	    0);
	assert_string_equal(sm_sa_text(&x.client, text), "192.0.2.1:1234");
	assert_string_equal(sm_sa_text(&x.server, text), "198.51.100.2:25");
	assert_int_equal(x.resolve, SM_RESOLVE_OK);
	is(x.name, "spike.example");
	is(x.helo, "h-x");
	is(x.login, "u@d");
	assert_true(x.smtp);

	assert_int_equal(parse("addr=IPV6:2001:db8::1", &x), 0);
	assert_string_equal(sm_sa_text(&x.client, text), "[2001:db8::1]:0");
	assert_int_equal(x.resolve, SM_RESOLVE_NONE);
	assert_int_equal(x.server.len, 0);
	assert_false(x.smtp);

	assert_int_equal(
	    parse("ADDR=192.0.2.1 NAME=[UNAVAILABLE] HELO=[UNAVAILABLE] LOGIN=[UNAVAILABLE] "
	          "PORT=[UNAVAILABLE] PROTO=ESMTP",
	          &x),
	    0);
	assert_int_equal(x.resolve, SM_RESOLVE_NO);
	assert_int_equal(x.helo.n + x.login.n + x.name.n, 0);
	assert_int_equal(parse("ADDR=192.0.2.1 NAME=[tempunavail]", &x), 0);
	assert_int_equal(x.resolve, SM_RESOLVE_TEMP_PTR);
}

static void test_bad(void **state)
{
	static const char *const bad[] = {
	    "",
	    "NAME=x.example",
	    "ADDR=",
	    "ADDR",
	    "ADDR=[UNAVAILABLE]",
	    "ADDR=host.example",
	    "ADDR=[192.0.2.1]",
	    "ADDR=0.0.0.0",
	    "ADDR=255.255.255.255",
	    "ADDR=192.0.2.1 ADDR=192.0.2.2",
	    "ADDR=192.0.2.1 PORT=65536",
	    "ADDR=192.0.2.1 PORT=x",
	    "ADDR=192.0.2.1 NAME=a+0Ab",
	    "ADDR=192.0.2.1 NAME=a+20b",
	    "ADDR=192.0.2.1 NAME=a..b",
	    "ADDR=192.0.2.1 HELO=a+0D+0AMAIL",
	    "ADDR=192.0.2.1 HELO=a+20b",
	    "ADDR=192.0.2.1 HELO=+E9",
	    "ADDR=192.0.2.1 LOGIN=+00",
	    "ADDR=192.0.2.1 PROTO=LMTP",
	    "ADDR=192.0.2.1 DESTADDR=x",
	    "ADDR=192.0.2.1 SOURCE=LOCAL",
	    "ADDR=192.0.2.1 =x",
	    "ADDR=192.0.2.1 NAME=+4",
	};
	struct ss_xclient x;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++)
		if (parse(bad[i], &x) != SM_E_SYNTAX)
			fail_msg("%s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),
	    cmocka_unit_test(test_bad),
	};

	sm_arena_init(&arena, "t", 1024, 65536);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	sm_arena_fini(&arena);
	return rc;
}
