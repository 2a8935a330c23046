/* The deferred index against a plain model, and a million entries. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "libsm/rand.h"
#include "libsm/time.h"
#include "qmgr/edbc.h"

#define MODEL 300

/* A transaction of `n` recipients, all due at `t`. */
static void put(struct qm_edbc *e, struct sm_id id, int64_t t, struct qm_loc loc, unsigned n)
{
	static const char *const domains[] = {"a.example", "b.example", "c.example"};
	struct qm_rec_rcpt rcpts[8];
	struct qm_rec_txn rec = {.ta = id,
	                         .sender = SM_STR("sender@example.net"),
	                         .size = 3000,
	                         .received_s = 77,
	                         .rcpts = rcpts,
	                         .rcpts_count = n};
	char addr[8][40];

	sm_assert(n <= SM_ARRAY_SIZE(rcpts));
	for (unsigned i = 0; i < n; i++) {
		snprintf(addr[i], sizeof(addr[i]), "u%llu@%s", (unsigned long long)id.counter,
		         domains[(id.counter + i) % 3]);
		rcpts[i] = (struct qm_rec_rcpt){.index = (uint16_t)i,
		                                .addr = sm_str(addr[i]),
		                                .next_try_s = t + i,
		                                .tries = 1,
		                                .code = 450,
		                                .text = SM_STR("4.2.2 mailbox 17 full"),
		                                .host = SM_STR("mx.example")};
	}
	qm_edbc_put_rec(e, &rec, loc);
}

static void against_a_model(void **state)
{
	int64_t model[MODEL]; /* due time by counter, -1: not there */
	struct qm_edbc *e = qm_edbc_new();

	(void)state;
	sm_rand_seed(7);
	for (int i = 0; i < MODEL; i++)
		model[i] = -1;
	for (int round = 0; round < 100000; round++) {
		unsigned k = (unsigned)sm_rand_below(MODEL);
		struct sm_id id = {k, (uint8_t)(k % 3)};
		int64_t t = (int64_t)sm_rand_below(1000), least = -1;
		size_t count = 0;

		switch (sm_rand_below(4)) {
		case 0:
			qm_edbc_remove(e, id);
			model[k] = -1;
			break;
		case 1:
			assert_int_equal(qm_edbc_set(e, id, t), model[k] >= 0);
			if (model[k] >= 0)
				model[k] = t;
			break;
		default:
			put(e, id, t, (struct qm_loc){k, 1, 2}, 1 + k % 7);
			model[k] = t;
		}
		if (round % 50)
			continue;
		for (int i = 0; i < MODEL; i++) {
			if (model[i] < 0)
				continue;
			count++;
			if (least < 0 || model[i] < least)
				least = model[i];
		}
		assert_int_equal(qm_edbc_count(e), count);
		if (count)
			assert_int_equal(qm_edbc_next_try(qm_edbc_top(e)), least);
		else
			assert_null(qm_edbc_top(e));
		const struct qm_edbc_entry *x = qm_edbc_find(e, id);

		assert_int_equal(x != NULL, model[k] >= 0);
		if (x) {
			assert_int_equal(qm_edbc_loc(x).seq, k);
			assert_int_equal(qm_edbc_rcpts(x), 1 + k % 7);
			assert_true(sm_id_eq(qm_edbc_id(x), id));
		}
	}
	qm_edbc_free(&e);
}

static void comes_out_in_order(void **state)
{
	struct qm_edbc *e = qm_edbc_new();
	int64_t last = 0;

	(void)state;
	for (uint64_t i = 0; i < 5000; i++)
		put(e, (struct sm_id){i, 1}, (int64_t)sm_rand_below(100000),
		    (struct qm_loc){1, 1, 1}, 1);
	while (qm_edbc_top(e)) {
		assert_true(qm_edbc_next_try(qm_edbc_top(e)) >= last);
		last = qm_edbc_next_try(qm_edbc_top(e));
		qm_edbc_remove(e, qm_edbc_id(qm_edbc_top(e)));
	}
	assert_int_equal(qm_edbc_count(e), 0);
	qm_edbc_free(&e);
}

static void walks_see_each_once(void **state)
{
	struct qm_edbc *e = qm_edbc_new();
	uint64_t cursor = 0, seen = 0;

	(void)state;
	for (uint64_t i = 0; i < 100; i++)
		put(e, (struct sm_id){i, 1}, 5, (struct qm_loc){1, 1, 1}, 1);
	for (uint64_t i = 0; i < 100; i += 2)
		qm_edbc_remove(e, (struct sm_id){i, 1});
	for (const struct qm_edbc_entry *x; (x = qm_edbc_walk(e, &cursor)) != NULL;)
		seen += qm_edbc_id(x).counter;
	assert_int_equal(seen, 2500);
	assert_int_equal(qm_edbc_set_all(e, 0), 50);
	assert_int_equal(qm_edbc_next_try(qm_edbc_top(e)), 0);
	qm_edbc_free(&e);
}

static void a_million(void **state)
{
	struct qm_edbc *e = qm_edbc_new();
	int64_t begin = sm_now_ms();

	(void)state;
	for (uint64_t i = 0; i < 1000000; i++)
		put(e, (struct sm_id){i << 3, 1}, (int64_t)sm_rand_below(100000),
		    (struct qm_loc){1, 1, 1}, 1);
	printf("1,000,000 entries: %zu KB, %lld ms\n", qm_edbc_bytes(e) / 1024,
	       (long long)(sm_now_ms() - begin));
	assert_true(qm_edbc_bytes(e) < 100u * 1000 * 1000);
	qm_edbc_free(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(against_a_model),
	    cmocka_unit_test(comes_out_in_order),
	    cmocka_unit_test(walks_see_each_once),
	    cmocka_unit_test(a_million),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
