/* Unit tests of limits.c: each limit is met by the event after the last allowed one, and reset by
 * what should reset it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtps/limits.h"

static const struct ss_conf conf = {
    .max_bad_session = 5,
    .max_bad_transaction = 3,
    .max_invalid_session = 6,
    .max_invalid_transaction = 4,
    .max_nop_between = 3,
    .max_nop_in = 2,
    .max_rcpts_session = 5,
    .max_rcpts_transaction = 3,
    .max_transactions = 2,
    .max_junk_bytes = 100,
};

static void test_bad(void **state)
{
	struct ss_limits l = {0};
	(void)state;

	for (int i = 0; i < 3; i++)
		assert_int_equal(ss_limits_bad(&l, &conf), SS_R_NONE);
	assert_int_equal(ss_limits_bad(&l, &conf), SS_R_TOO_MANY_BAD); /* of the transaction */
	ss_limits_end(&l, true);
	assert_int_equal(ss_limits_bad(&l, &conf), SS_R_NONE);
	assert_int_equal(ss_limits_bad(&l, &conf), SS_R_TOO_MANY_BAD); /* of the session */
	ss_limits_end(&l, true);
	assert_int_equal(ss_limits_bad(&l, &conf), SS_R_TOO_MANY_BAD);
}

static void test_invalid(void **state)
{
	struct ss_limits l = {0};
	(void)state;

	for (int i = 0; i < 4; i++)
		assert_int_equal(ss_limits_invalid(&l, &conf), SS_R_NONE);
	assert_int_equal(ss_limits_invalid(&l, &conf), SS_R_TOO_MANY_INVALID);
	ss_limits_end(&l, false);
	assert_int_equal(ss_limits_invalid(&l, &conf), SS_R_NONE);
	assert_int_equal(ss_limits_invalid(&l, &conf), SS_R_TOO_MANY_INVALID);
}

static void test_nop(void **state)
{
	struct ss_limits l = {0};
	(void)state;

	assert_int_equal(ss_limits_nop(&l, &conf, true), SS_R_NONE);
	assert_int_equal(ss_limits_nop(&l, &conf, true), SS_R_NONE);
	assert_int_equal(ss_limits_nop(&l, &conf, true), SS_R_TOO_MANY_NOP);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ss_limits_nop(&l, &conf, false), SS_R_NONE);
	/* A transaction that came to nothing is no excuse for more. */
	ss_limits_end(&l, false);
	assert_int_equal(ss_limits_nop(&l, &conf, false), SS_R_TOO_MANY_NOP);
	ss_limits_end(&l, true);
	assert_int_equal(ss_limits_nop(&l, &conf, false), SS_R_NONE);
	assert_int_equal(ss_limits_nop(&l, &conf, true), SS_R_NONE);
}

static void test_rcpts(void **state)
{
	struct ss_limits l = {0};
	(void)state;

	assert_int_equal(ss_limits_rcpt(&l, &conf, 2), SS_R_NONE);
	assert_int_equal(ss_limits_rcpt(&l, &conf, 3), SS_R_TOO_MANY_RCPTS);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(ss_limits_rcpt(&l, &conf, 0), SS_R_NONE);
		ss_limits_rcpt_taken(&l);
	}
	assert_int_equal(ss_limits_rcpt(&l, &conf, 0), SS_R_TOO_MANY_RCPTS);
	assert_int_equal(ss_reply_code(SS_R_TOO_MANY_RCPTS), 452);
}

static void test_deferred(void **state)
{
	struct ss_limits l = {0};
	(void)state;

	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 3; i++)
			assert_int_equal(ss_limits_deferred(&l, &conf), SS_R_NONE);
		assert_int_equal(ss_limits_deferred(&l, &conf), SS_R_TOO_MANY_TRIES);
		ss_limits_end(&l, false);
	}
}

static void test_transactions(void **state)
{
	struct ss_limits l = {0};
	(void)state;

	assert_int_equal(ss_limits_transaction(&l, &conf), SS_R_NONE);
	assert_int_equal(ss_limits_transaction(&l, &conf), SS_R_NONE);
	assert_int_equal(ss_limits_transaction(&l, &conf), SS_R_TOO_MANY_TAS);
}

static void test_junk(void **state)
{
	struct ss_limits l = {0};
	(void)state;

	assert_int_equal(ss_limits_junk_left(&l, &conf), 100);
	ss_limits_junk(&l, 60);
	assert_int_equal(ss_limits_junk_left(&l, &conf), 40);
	ss_limits_junk(&l, 60);
	assert_int_equal(ss_limits_junk_left(&l, &conf), 0);
}

/* What ends a session says so by a 421. */
static void test_codes(void **state)
{
	static const enum ss_reply_name all[] = {SS_R_TOO_MANY_BAD, SS_R_TOO_MANY_INVALID,
	                                         SS_R_TOO_MANY_NOP, SS_R_TOO_MANY_TAS,
	                                         SS_R_TOO_MANY_TRIES};
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(all); i++)
		assert_int_equal(ss_reply_code(all[i]), 421);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bad),          cmocka_unit_test(test_invalid),
	    cmocka_unit_test(test_nop),          cmocka_unit_test(test_rcpts),
	    cmocka_unit_test(test_transactions), cmocka_unit_test(test_junk),
	    cmocka_unit_test(test_deferred),     cmocka_unit_test(test_codes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
