/* Unit test of arena.h. */
#include "libsm/arena.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#ifdef SM_ASAN
#include <sanitizer/asan_interface.h>
#endif

static void t_pieces(void **state)
{
	struct sm_arena a;
	char *p[200];

	(void)state;
	sm_arena_init(&a, "test", 256, 1 << 20);
	assert_null(a.first);
	for (size_t i = 0; i < SM_ARRAY_SIZE(p); i++) {
		size_t n = i * i % 300;

		p[i] = sm_arena_alloc(&a, n);
		assert_non_null(p[i]);
		assert_int_equal((uintptr_t)p[i] % 16, 0);
		memset(p[i], (int)i, n);
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(p); i++)
		for (size_t k = 0; k < i * i % 300; k++)
			assert_int_equal(p[i][k], (char)i);
	sm_arena_reset(&a);
	assert_int_equal(a.used_bytes, 0);
	assert_ptr_equal(sm_arena_alloc(&a, 1), p[0]); /* the first block was kept */
	sm_arena_fini(&a);
	sm_arena_fini(&a);
}

/* Begins in the caller's memory, goes on in its own, and leaves the caller's as it would any. */
static void t_lent(void **state)
{
	struct sm_arena_room room;
	struct sm_arena a;

	(void)state;
	for (int round = 0; round < 2; round++) {
		sm_arena_init_in(&a, "test", &room, 2000);
		char *p = sm_arena_alloc(&a, 100);
		assert_true(p > room.mem && p + 100 <= room.mem + sizeof(room.mem));
		assert_int_equal((uintptr_t)p % 16, 0);
		memset(p, 'p', 100);
		char *q = sm_arena_alloc(&a, 700);
		assert_true(q < room.mem || q >= room.mem + sizeof(room.mem));
		memset(q, 'q', 700);
		assert_int_equal(p[99], 'p');
		while (sm_arena_alloc(&a, 100) != NULL)
			continue;
		assert_null(sm_arena_alloc(&a, 100));
		sm_arena_reset(&a);
		assert_ptr_equal(sm_arena_alloc(&a, 100), p);
		sm_arena_fini(&a);
		memset(room.mem, 0, sizeof(room.mem)); /* with ASan: nothing is poisoned any more */
	}
	/* Without the memory it goes on as any. */
	assert_non_null(sm_arena_alloc(&a, 100));
	sm_arena_fini(&a);
}

static void t_cap(void **state)
{
	struct sm_arena a;

	(void)state;
	sm_arena_init(&a, "test", 64, 1000);
	assert_null(sm_arena_alloc(&a, 1001));
	assert_null(sm_arena_alloc(&a, SIZE_MAX));
	assert_non_null(sm_arena_alloc(&a, 500));
	assert_null(sm_arena_alloc(&a, 500)); /* 512 + 512 */
	assert_non_null(sm_arena_alloc(&a, 400));
	while (sm_arena_alloc(&a, 0))
		continue;
	assert_true(a.used_bytes <= 1000);
	assert_null(sm_arena_str(&a, SM_STR("x")).p);
	assert_null(sm_arena_printf(&a, "%d", 1).p);
	sm_arena_reset(&a);
	assert_non_null(sm_arena_alloc(&a, 990 / 16 * 16));
	sm_arena_fini(&a);
}

static void t_texts(void **state)
{
	struct sm_arena a;

	(void)state;
	sm_arena_init(&a, "test", 64, 1000);
	struct sm_str s = sm_arena_str(&a, SM_STR("a\0b"));

	assert_int_equal(s.n, 3);
	assert_memory_equal(s.p, "a\0b", 4); /* with the NUL that is not counted */
	s = sm_arena_str(&a, SM_STR_NONE);
	assert_int_equal(s.n, 0);
	assert_string_equal(s.p, "");
	s = sm_arena_printf(&a, "<%s>", "x@example.com");
	assert_string_equal(s.p, "<x@example.com>");
	assert_int_equal(s.n, 15);
	char *z = sm_arena_must(&a, 100);

	for (int i = 0; i < 100; i++)
		assert_int_equal(z[i], 0);
	sm_arena_wipe(&a);
	assert_int_equal(a.used_bytes, 0);
	sm_arena_fini(&a);
}

static void t_poison(void **state)
{
	(void)state;
#ifdef SM_ASAN
	struct sm_arena a;

	sm_arena_init(&a, "test", 256, 1000);
	char *p = sm_arena_alloc(&a, 20);

	assert_null(__asan_region_is_poisoned(p, 20));
	assert_true(__asan_address_is_poisoned(p + 20));
	char *q = sm_arena_alloc(&a, 16);

	/* Running over the end of one piece does not end up in the next. */
	assert_true(q - p > 32);
	assert_true(__asan_address_is_poisoned(q - 1));
	assert_true(__asan_address_is_poisoned(q + 16));
	sm_arena_reset(&a);
	assert_true(__asan_address_is_poisoned(p));
	sm_arena_fini(&a);
#else
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t_pieces), cmocka_unit_test(t_lent),   cmocka_unit_test(t_cap),
	    cmocka_unit_test(t_texts),  cmocka_unit_test(t_poison),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
