/* Unit tests of idblock.c: no counter twice, none that was not granted, the next block asked for in
 * time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "smtps/idblock.h"

static void test_life(void **state)
{
	struct ss_idblock b = {0};
	uint64_t c, last = 0;
	(void)state;

	assert_false(ss_idblock_take(&b, &c));
	assert_int_equal(ss_idblock_floor(&b), 0);
	assert_true(ss_idblock_wants(&b));
	assert_false(ss_idblock_wants(&b)); /* one question at a time */
	ss_idblock_add(&b, 1000, 10);
	assert_int_equal(ss_idblock_floor(&b), 1000);
	for (int i = 0; i < 4; i++) {
		assert_true(ss_idblock_take(&b, &c));
		assert_int_equal(c, 1000 + i);
		assert_false(ss_idblock_wants(&b));
	}
	assert_true(ss_idblock_take(&b, &c));
	assert_true(ss_idblock_wants(&b)); /* half is used */
	ss_idblock_add(&b, 5000, 10);
	for (int i = 5; i < 10; i++)
		assert_true(ss_idblock_take(&b, &last) && last == 1000 + (uint64_t)i);
	assert_int_equal(ss_idblock_floor(&b), 5000);
	assert_true(ss_idblock_take(&b, &c) && c == 5000);
}

static void test_no_answer(void **state)
{
	struct ss_idblock b = {0};
	uint64_t c;
	(void)state;

	ss_idblock_add(&b, 1, 2);
	assert_true(ss_idblock_take(&b, &c) && ss_idblock_take(&b, &c));
	assert_true(ss_idblock_wants(&b));
	assert_false(ss_idblock_take(&b, &c));
	ss_idblock_lost(&b);
	assert_true(ss_idblock_wants(&b));
	ss_idblock_add(&b, 100, 1);
	assert_true(ss_idblock_take(&b, &c) && c == 100);
	assert_false(ss_idblock_take(&b, &c));
}

/* A third block while two are there is left unused: never mixed up. */
static void test_too_many(void **state)
{
	struct ss_idblock b = {0};
	uint64_t c;
	(void)state;

	ss_idblock_add(&b, 10, 2);
	ss_idblock_add(&b, 20, 2);
	ss_idblock_add(&b, 30, 2);
	assert_true(ss_idblock_take(&b, &c) && c == 10);
	assert_true(ss_idblock_take(&b, &c) && c == 11);
	assert_true(ss_idblock_take(&b, &c) && c == 20);
	assert_true(ss_idblock_take(&b, &c) && c == 21);
	assert_false(ss_idblock_take(&b, &c));
}

static void test_nonsense(void **state)
{
	struct ss_idblock b = {0};
	uint64_t c;
	(void)state;

	ss_idblock_add(&b, 0, 10);
	ss_idblock_add(&b, 10, 0);
	ss_idblock_add(&b, UINT64_MAX - 1, 10);
	assert_false(ss_idblock_take(&b, &c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_life),
	    cmocka_unit_test(test_no_answer),
	    cmocka_unit_test(test_too_many),
	    cmocka_unit_test(test_nonsense),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
