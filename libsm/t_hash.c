/* Unit test of hash.h. */
#include "libsm/hash.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

struct member {
	uint64_t key;
	bool seen;
	struct sm_hash_node node;
};

static struct member *of(const struct sm_hash_node *n)
{
	return SM_CONTAINER_OF(n, struct member, node);
}

static bool eq(const struct sm_hash_node *n, const void *key)
{
	return of(n)->key == *(const uint64_t *)key;
}

static void t_functions(void **state)
{
	char a[64], b[64];

	(void)state;
	assert_true(sm_hash_str(SM_STR("abc")) == sm_hash_str(SM_STR("abc")));
	assert_true(sm_hash_str(SM_STR("abc")) != sm_hash_str(SM_STR("abd")));
	assert_true(sm_hash_str(SM_STR("abc")) != sm_hash_str(SM_STR("abc\0")));
	assert_true(sm_hash_str(SM_STR_NONE) == sm_hash_str(SM_STR("")));
	assert_true(sm_hash_u64(1) == sm_hash_u64(1));
	assert_true(sm_hash_u64(1) != sm_hash_u64(2));
	/* Every byte at every place of the word: folded exactly when it is a letter. */
	for (size_t len = 1; len < 20; len++) {
		for (int c = 0; c < 256; c++) {
			memset(a, 'x', sizeof(a));
			memset(b, 'x', sizeof(b));
			a[len - 1] = (char)c;
			b[len - 1] = sm_lower((char)c);
			assert_true(sm_hash_case(sm_str_n(a, len)) ==
			            sm_hash_case(sm_str_n(b, len)));
			b[len - 1] = (char)(c ^ 0x20);
			bool same =
			    sm_hash_case(sm_str_n(a, len)) == sm_hash_case(sm_str_n(b, len));

			assert_int_equal(same, sm_isalpha((char)c));
		}
	}
}

static void t_table(void **state)
{
	enum { N = 5000 };
	static struct member m[N];
	struct sm_hash h;

	(void)state;
	sm_hash_init(&h);
	assert_null(sm_hash_next(&h, NULL));
	assert_null(sm_hash_find(&h, 1, eq, &m[0].key));
	for (uint64_t i = 0; i < N; i++) {
		m[i].key = i;
		sm_hash_insert(&h, &m[i].node, sm_hash_u64(i));
		assert_int_equal(h.count, i + 1);
		assert_true(h.count <= h.mask + 1);
	}
	for (uint64_t i = 0; i < N; i++)
		assert_ptr_equal(sm_hash_find(&h, sm_hash_u64(i), eq, &i), &m[i].node);
	size_t seen = 0;

	for (struct sm_hash_node *n = sm_hash_next(&h, NULL), *next; n; n = next, seen++) {
		next = sm_hash_next(&h, n);
		assert_false(of(n)->seen);
		of(n)->seen = true;
		if (of(n)->key % 2)
			sm_hash_remove(&h, n);
	}
	assert_int_equal(seen, N);
	assert_int_equal(h.count, N / 2);
	for (uint64_t i = 0; i < N; i++)
		assert_ptr_equal(sm_hash_find(&h, sm_hash_u64(i), eq, &i),
		                 i % 2 ? NULL : &m[i].node);
	sm_hash_fini(&h);
	assert_null(sm_hash_next(&h, NULL));
}

/* Equal hashes are told apart by the comparison. */
static void t_collisions(void **state)
{
	struct member m[40] = {{0}};
	struct sm_hash h;

	(void)state;
	sm_hash_init(&h);
	for (uint64_t i = 0; i < SM_ARRAY_SIZE(m); i++) {
		m[i].key = i;
		sm_hash_insert(&h, &m[i].node, 42);
	}
	for (uint64_t i = 0; i < SM_ARRAY_SIZE(m); i++)
		assert_ptr_equal(sm_hash_find(&h, 42, eq, &i), &m[i].node);
	sm_hash_remove(&h, &m[20].node);
	assert_null(sm_hash_find(&h, 42, eq, &m[20].key));
	assert_non_null(sm_hash_find(&h, 42, eq, &m[21].key));
	sm_hash_fini(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t_functions),
	    cmocka_unit_test(t_table),
	    cmocka_unit_test(t_collisions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
