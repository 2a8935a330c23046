/* Unit tests of ehlo.c: what is learnt from a server's words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtpc/ehlo.h"

static void test_words(void **state)
{
	struct sc_ehlo e;
	(void)state;

	sc_ehlo_parse(SM_STR("PIPELINING CHUNKING"), &e); /* its name */
	assert_int_equal(e.caps, 0);
	sc_ehlo_parse(SM_STR("x\npipelining\n8BITMIME\nDSN\nCHUNKING\nBINARYMIME\nSmtpUtf8\nSIZE"),
	              &e);
	assert_int_equal(e.caps, SC_CAP_PIPELINING | SC_CAP_8BITMIME | SC_CAP_DSN |
	                             SC_CAP_CHUNKING | SC_CAP_BINARYMIME | SC_CAP_SMTPUTF8 |
	                             SC_CAP_SIZE);
	assert_int_equal(e.size_max, 0);
	sc_ehlo_parse(SM_STR("x\nCHUNKINGS\nXDSN\n\nSIZE 1000\nSIZE=7"), &e);
	assert_int_equal(e.caps, SC_CAP_SIZE);
	assert_int_equal(e.size_max, 1000);
	sc_ehlo_parse(SM_STR(""), &e);
	assert_int_equal(e.caps, 0);
}

static void test_limits(void **state)
{
	static const struct {
		const char *line;
		uint64_t mail, rcpt, domain;
	} rows[] = {
	    {"LIMITS", 0, 0, 0},
	    {"LIMITS RCPTMAX=100", 0, 100, 0},
	    {"limits rcptmax=1 MAILMAX=20  RCPTDOMAINMAX=3 FUTURE=yes", 20, 1, 3},
	    {"LIMITS RCPTMAX=0 MAILMAX=00", 0, 0, 0},
	    {"LIMITS RCPTMAX=999999", 0, 999999, 0},
	    {"LIMITS RCPTMAX=1000000", 0, 0, 0},
	    {"LIMITS RCPTMAX RCPTMAX= RCPTMAX=x RCPTMAX=-1 RCPTMAX=+1 RCPTMAX=1,000", 0, 0, 0},
	    {"LIMITS=RCPTMAX=5", 0, 0, 0},
	    {"RCPTMAX=5", 0, 0, 0},
	};
	char text[200];
	struct sc_ehlo e;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		snprintf(text, sizeof(text), "x\n%s", rows[i].line);
		sc_ehlo_parse(sm_str(text), &e);
		if (e.mail_max != rows[i].mail || e.rcpt_max != rows[i].rcpt ||
		    e.rcpt_domain_max != rows[i].domain)
			fail_msg("%s", rows[i].line);
	}
}

static void test_xforward(void **state)
{
	struct sc_ehlo e;
	(void)state;

	sc_ehlo_parse(SM_STR("x\nXFORWARD name ADDR  Proto HELO IDENT FUTURE"), &e);
	assert_int_equal(e.xforward, SC_XFORWARD_NAME | SC_XFORWARD_ADDR | SC_XFORWARD_PROTO |
	                                 SC_XFORWARD_HELO | SC_XFORWARD_IDENT);
	sc_ehlo_parse(SM_STR("x\nXFORWARD\nXFORWARDS PORT\nNAME SOURCE"), &e);
	assert_int_equal(e.xforward, 0);
}

static void test_ignored(void **state)
{
	static const char all[] =
	    "x\nPIPELINING\nSIZE 1000\nAUTH PLAIN\nXFORWARD NAME\nLIMITS RCPTMAX=5 MAILMAX=2";
	struct sc_ehlo e;
	(void)state;

	sc_ehlo_parse(sm_str(all), &e);
	sc_ehlo_ignore(&e, SC_CAP_SIZE | SC_CAP_LIMITS | SC_CAP_DSN);
	assert_int_equal(e.caps, SC_CAP_PIPELINING | SC_CAP_AUTH | SC_CAP_XFORWARD);
	assert_int_equal(e.size_max + e.mail_max + e.rcpt_max + e.rcpt_domain_max, 0);
	assert_string_equal(e.mechanisms, "PLAIN");
	assert_int_equal(e.xforward, SC_XFORWARD_NAME);
	sc_ehlo_ignore(&e, SC_CAP_AUTH | SC_CAP_XFORWARD);
	assert_int_equal(e.xforward, 0);
	assert_int_equal(e.caps, SC_CAP_PIPELINING);
	assert_string_equal(e.mechanisms, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ignored),
	    cmocka_unit_test(test_words),
	    cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_xforward),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
