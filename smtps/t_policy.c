/* Unit tests of policy.c: the relay decision for every combination of what it looks at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/msg.h"
#include "smtps/policy.h"

/* All combinations of the five rights, a stored rejection, and each kind of verdict. */
static void test_all(void **state)
{
	static const int codes[] = {0, 250, 450, 421, 550, 553};
	(void)state;

	for (unsigned bits = 0; bits < 128; bits++) {
		for (size_t i = 0; i < SM_ARRAY_SIZE(codes); i++) {
			struct ss_policy p = {.code = codes[i],
			                      .local = bits & 1,
			                      .map_relays = bits & 2,
			                      .domain_listed = bits & 4,
			                      .session_may_relay = bits & 8,
			                      .local_needs_right = bits & 16,
			                      .stored = bits & 32,
			                      .overrides = bits & 64};
			bool allowed = (bits & (2 | 4 | 8)) != 0 || (bits & (1 | 16)) == 1;
			enum ss_policy_result got = ss_policy_rcpt(&p);

			if (codes[i] / 100 == 4)
				assert_int_equal(got, SS_POLICY_SAY_VERDICT);
			else if ((bits & (32 | 64)) == 32)
				assert_int_equal(got, SS_POLICY_SAY_STORED);
			else if (!allowed)
				assert_int_equal(got, SS_POLICY_NO_RELAY);
			else if (codes[i] >= 500)
				assert_int_equal(got, SS_POLICY_SAY_VERDICT);
			else
				assert_int_equal(got, SS_POLICY_ACCEPT);
		}
	}
}

/* The promise itself, without the table: a stranger's mail to a foreign domain is never accepted.
 */
static void test_no_open_relay(void **state)
{
	struct ss_policy p = {.code = 0};
	(void)state;

	assert_int_equal(ss_policy_rcpt(&p), SS_POLICY_NO_RELAY);
	p.code = 250;
	assert_int_equal(ss_policy_rcpt(&p), SS_POLICY_NO_RELAY);
	/* What overrides a rejection allows nothing by itself. */
	p.stored = p.overrides = true;
	assert_int_equal(ss_policy_rcpt(&p), SS_POLICY_NO_RELAY);
}

/* What smar said of the connection holds for the session, if the access map counts at all. */
static void test_standing(void **state)
{
	static const struct {
		uint32_t said, verdict;
		bool may_relay, discard;
	} cases[] = {
	    {0, 0, false, false},
	    {SM_VERDICT_OK, SM_CHECK_SESSION_OK, false, false},
	    {SM_VERDICT_OK | SM_VERDICT_QUICK, SM_CHECK_SESSION_OK | SM_CHECK_SESSION_QUICK, false,
	     false},
	    {SM_VERDICT_RELAY, SM_CHECK_SESSION_RELAY, true, false},
	    {SM_VERDICT_QUICK, 0, false, false},
	    {SM_VERDICT_DISCARD, 0, false, true},
	};
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		struct ss_conf conf = {.flags = SS_F_ACCESS};
		struct ss_standing who = {.may_relay = false}, none = {.may_relay = false};

		ss_policy_connection(&conf, cases[i].said, &who);
		assert_int_equal(who.verdict, cases[i].verdict);
		assert_int_equal(who.may_relay, cases[i].may_relay);
		assert_int_equal(who.discard, cases[i].discard);
		conf.flags = 0;
		ss_policy_connection(&conf, cases[i].said, &none);
		assert_false(none.may_relay || none.discard || none.verdict);
	}
}

/* On a submission server a local domain implies nothing, for smar as for ourselves. */
static void test_submission(void **state)
{
	static const uint32_t strict[] = {SS_F_SUBMISSION, SS_F_LMTP_NO_RELAY};
	struct ss_standing who = {.may_relay = false}, trusted = {.may_relay = true};
	struct ss_conf conf = {.flags = 0};
	struct ss_policy p = ss_policy_of(&conf, &who, 0, SM_VERDICT_LOCAL, false, false);
	(void)state;

	assert_int_equal(ss_policy_rcpt(&p), SS_POLICY_ACCEPT);
	for (size_t i = 0; i < SM_ARRAY_SIZE(strict); i++) {
		conf.flags = strict[i];
		assert_true(ss_policy_check_flags(&conf, &who, false, false) &
		            SM_CHECK_LMTP_NO_RELAY);
		p = ss_policy_of(&conf, &who, 0, SM_VERDICT_LOCAL, false, false);
		assert_int_equal(ss_policy_rcpt(&p), SS_POLICY_NO_RELAY);
		p = ss_policy_of(&conf, &trusted, 0, SM_VERDICT_LOCAL, false, false);
		assert_int_equal(ss_policy_rcpt(&p), SS_POLICY_ACCEPT);
	}
}

/* What is put off until RCPT, and what smar is told of it. */
static void test_later(void **state)
{
	struct ss_conf conf = {.flags = SS_F_DELAY_CHECKS | SS_F_GREYLISTING};
	struct ss_standing who = {.may_relay = false};
	(void)state;

	assert_true(ss_policy_later(&conf, 550, 0));
	assert_true(ss_policy_later(&conf, 451, SM_VERDICT_OK));
	assert_false(ss_policy_later(&conf, 0, 0));
	assert_false(ss_policy_later(&conf, 550, SM_VERDICT_QUICK));
	assert_false(ss_policy_later(&conf, 421, SM_VERDICT_CLOSE));
	assert_int_equal(ss_policy_check_flags(&conf, &who, false, false), SM_CHECK_GREYLIST);
	assert_int_equal(ss_policy_check_flags(&conf, &who, false, true),
	                 SM_CHECK_GREYLIST | SM_CHECK_STORED);
	who.may_relay = true;
	assert_int_equal(ss_policy_check_flags(&conf, &who, false, false), SM_CHECK_MAY_RELAY);
	conf.flags = 0;
	assert_false(ss_policy_later(&conf, 550, 0));
	assert_false(ss_policy_grey_later(&conf, SM_VERDICT_GREYLISTED));
	conf.flags = SS_F_GREY_AT_DATA;
	assert_true(ss_policy_grey_later(&conf, SM_VERDICT_GREYLISTED));
	assert_int_equal(ss_policy_of(&conf, &who, 421, SM_VERDICT_GREYLISTED, false, false).code,
	                 0);
}

/* A domain that is listed: smar hears that mail for it may be relayed, and we do it. */
static void test_listed(void **state)
{
	struct sm_str names[] = {SM_STR(".example")};
	struct ss_conf conf = {.relay_to = {.v = names, .count = 1}};
	struct ss_standing who = {.may_relay = false};
	struct ss_policy p;
	(void)state;

	assert_true(ss_policy_listed(&conf, SM_STR("a.example")));
	assert_false(ss_policy_listed(&conf, SM_STR("a.test")));
	assert_false(ss_policy_listed(&conf, SM_STR("")));
	assert_int_equal(ss_policy_check_flags(&conf, &who, true, false), SM_CHECK_MAY_RELAY);
	assert_int_equal(ss_policy_check_flags(&conf, &who, false, false), 0);
	p = ss_policy_of(&conf, &who, 0, 0, true, false);
	assert_int_equal(ss_policy_rcpt(&p), SS_POLICY_ACCEPT);
	p = ss_policy_of(&conf, &who, 0, 0, false, false);
	assert_int_equal(ss_policy_rcpt(&p), SS_POLICY_NO_RELAY);
}

static void test_local_session(void **state)
{
	(void)state;
	assert_false(ss_policy_local_session(false, true, true));
	assert_false(ss_policy_local_session(true, false, false));
	assert_true(ss_policy_local_session(true, true, false));
	assert_true(ss_policy_local_session(true, false, true));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all),           cmocka_unit_test(test_no_open_relay),
	    cmocka_unit_test(test_local_session), cmocka_unit_test(test_standing),
	    cmocka_unit_test(test_submission),    cmocka_unit_test(test_later),
	    cmocka_unit_test(test_listed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
