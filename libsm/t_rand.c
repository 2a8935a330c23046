/* Unit test of rand.h. */
#include "libsm/rand.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

static void t_repeatable(void **state)
{
	(void)state;
	sm_rand_seed(1);
	uint64_t a = sm_rand_u64(), b = sm_rand_u64();

	assert_true(a != b);
	sm_rand_seed(1);
	assert_true(sm_rand_u64() == a);
	assert_true(sm_rand_u64() == b);
	sm_rand_seed(2);
	assert_true(sm_rand_u64() != a);
}

static void t_below(void **state)
{
	unsigned hits[10] = {0};

	(void)state;
	sm_rand_seed(4);
	for (int i = 0; i < 10000; i++) {
		assert_int_equal(sm_rand_below(1), 0);
		hits[sm_rand_below(10)]++;
		assert_true(sm_rand_below(UINT64_MAX) < UINT64_MAX);
	}
	for (int i = 0; i < 10; i++)
		assert_in_range(hits[i], 850, 1150);
}

static void t_secret(void **state)
{
	unsigned char a[1000], b[1000], zero[64] = {0};

	(void)state;
	memset(a, 0, sizeof(a));
	sm_rand_secret(a, sizeof(a));
	sm_rand_secret(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	assert_memory_not_equal(a + sizeof(a) - sizeof(zero), zero, sizeof(zero)); /* to the end */
	sm_rand_secret(NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t_repeatable),
	    cmocka_unit_test(t_below),
	    cmocka_unit_test(t_secret),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
