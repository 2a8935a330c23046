/* Order and cut of mail exchangers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/rand.h"
#include "smar/mx.h"

static void order(void **state)
{
	struct ar_mx v[] = {{20, SM_STR("d")}, {10, SM_STR("a")}, {65535, SM_STR("e")},
	                    {10, SM_STR("b")}, {10, SM_STR("c")}, {0, SM_STR("z")}};
	unsigned firsts[3] = {0};

	(void)state;
	sm_rand_seed(1);
	for (int i = 0; i < 3000; i++) {
		ar_mx_sort(v, 6);
		assert_int_equal(v[0].pref, 0);
		assert_int_equal(v[4].pref, 20);
		assert_int_equal(v[5].pref, 65535);
		assert_in_range(v[1].name.p[0], 'a', 'c');
		firsts[v[1].name.p[0] - 'a']++;
	}
	/* Each of the equal ones is first about as often. */
	for (int i = 0; i < 3; i++)
		assert_in_range(firsts[i], 850, 1150);
	ar_mx_sort(v, 0);
	ar_mx_sort(v, 1);
}

static void cut(void **state)
{
	struct ar_mx v[] = {
	    {5, SM_STR("a")}, {10, SM_STR("b")}, {10, SM_STR("own")}, {20, SM_STR("c")}};

	(void)state;
	assert_int_equal(ar_mx_cut(v, 4, 10), 1);
	assert_int_equal(ar_mx_cut(v, 4, 5), 0);
	assert_int_equal(ar_mx_cut(v, 4, 20), 3);
	assert_int_equal(ar_mx_cut(v, 4, 21), 4);
	assert_int_equal(ar_mx_cut(v, 0, 0), 0);
}

static void null_and_unique(void **state)
{
	struct ar_mx null[] = {{0, SM_STR("")}};
	struct ar_mx v[] = {{0, SM_STR("")}, {5, SM_STR("a")}, {6, SM_STR("b")}, {7, SM_STR("a")}};

	(void)state;
	assert_true(ar_mx_is_null(null, 1));
	assert_false(ar_mx_is_null(v, 4));
	assert_false(ar_mx_is_null(v + 1, 1));
	assert_int_equal(ar_mx_unique(v, 4), 2);
	assert_true(sm_str_eq(v[0].name, SM_STR("a")));
	assert_int_equal(v[0].pref, 5);
	assert_true(sm_str_eq(v[1].name, SM_STR("b")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(order), cmocka_unit_test(cut),
	                                   cmocka_unit_test(null_and_unique)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
