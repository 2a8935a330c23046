/* Unit tests of policy.c: the relay decision for every combination of what it looks at. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

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
	    cmocka_unit_test(test_all),
	    cmocka_unit_test(test_no_open_relay),
	    cmocka_unit_test(test_local_session),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
