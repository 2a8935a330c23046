/* Unit test of heap.h. */
#include "libsm/heap.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/rand.h"

static void check(const struct sm_heap *h)
{
	for (size_t i = 0; i < h->count; i++) {
		assert_int_equal(h->v[i]->at, i + 1);
		if (i > 0)
			assert_true(h->v[(i - 1) / 2]->key <= h->v[i]->key);
	}
}

static void t_order(void **state)
{
	struct sm_heap h;
	struct sm_heap_node n[5] = {{0}};

	(void)state;
	sm_heap_init(&h);
	assert_null(sm_heap_top(&h));
	sm_heap_remove(&h, &n[0]); /* in no heap: nothing happens */
	sm_heap_set(&h, &n[0], 30);
	sm_heap_set(&h, &n[1], INT64_MAX);
	sm_heap_set(&h, &n[2], INT64_MIN);
	sm_heap_set(&h, &n[3], 30);
	assert_ptr_equal(sm_heap_top(&h), &n[2]);
	sm_heap_set(&h, &n[2], 40);
	assert_int_equal(sm_heap_top(&h)->key, 30);
	sm_heap_set(&h, &n[1], -1);
	assert_ptr_equal(sm_heap_top(&h), &n[1]);
	sm_heap_remove(&h, &n[1]);
	sm_heap_remove(&h, &n[1]);
	assert_int_equal(h.count, 3);
	check(&h);
	sm_heap_fini(&h);
	assert_null(sm_heap_top(&h));
}

/* Random inserts, moves and removals; the top is always a least one, and all come out in order. */
static void t_property(void **state)
{
	enum { N = 300 };
	static struct sm_heap_node n[N];
	struct sm_heap h;

	(void)state;
	sm_rand_seed(2);
	sm_heap_init(&h);
	for (int i = 0; i < 20000; i++) {
		struct sm_heap_node *x = &n[sm_rand_below(N)];

		if (sm_rand_below(3) == 0)
			sm_heap_remove(&h, x);
		else
			sm_heap_set(&h, x, (int64_t)sm_rand_below(1000) - 500);
		if (i % 64 == 0)
			check(&h);
	}
	check(&h);
	size_t in = 0;

	for (size_t i = 0; i < N; i++)
		in += n[i].at != 0;
	assert_int_equal(in, h.count);
	int64_t last = INT64_MIN;

	while (sm_heap_top(&h)) {
		struct sm_heap_node *top = sm_heap_top(&h);

		assert_true(top->key >= last);
		last = top->key;
		sm_heap_remove(&h, top);
		check(&h);
	}
	sm_heap_fini(&h);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(t_order),
	    cmocka_unit_test(t_property),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
