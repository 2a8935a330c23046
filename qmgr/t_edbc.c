/* The deferred index against a plain model, and a million entries. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <cmocka.h>

#include "libsm/rand.h"
#include "qmgr/atoms.h"
#include "qmgr/filter.h"

#define MODEL 3000

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

/* ---- what it knows ---- */

static void counts_and_places(void **state)
{
	struct qm_edbc *e = qm_edbc_new();
	struct sm_id one = {1, 1}, two = {2, 1}, none = {3, 1};

	(void)state;
	put(e, one, 50, (struct qm_loc){1, 2, 3}, 3);
	put(e, two, 60, (struct qm_loc){4, 5, 6}, 2);
	assert_int_equal(qm_edbc_rcpt_count(e), 5);
	assert_true(sm_str_eq(qm_edbc_domain(e, qm_edbc_find(e, one), 0), SM_STR("b.example")));
	assert_true(sm_str_eq(qm_edbc_domain(e, qm_edbc_find(e, one), 2), SM_STR("a.example")));
	assert_true(qm_edbc_moved(e, one, (struct qm_loc){7, 8, 9}));
	assert_false(qm_edbc_moved(e, none, (struct qm_loc){7, 8, 9}));
	assert_int_equal(qm_edbc_loc(qm_edbc_find(e, one)).at, 9);
	assert_int_equal(qm_edbc_next_try(qm_edbc_find(e, one)), 50);
	put(e, one, 70, (struct qm_loc){1, 2, 3}, 1);
	assert_int_equal(qm_edbc_rcpt_count(e), 3);
	assert_int_equal(qm_atoms_count(qm_edbc_names(e)), 5);
	assert_int_equal(qm_atoms_count(qm_edbc_reasons(e)), 1);
	qm_edbc_remove(e, one);
	qm_edbc_remove(e, two);
	qm_edbc_remove(e, none);
	assert_int_equal(qm_edbc_rcpt_count(e), 0);
	assert_int_equal(qm_atoms_count(qm_edbc_names(e)), 0);
	assert_int_equal(qm_atoms_count(qm_edbc_reasons(e)), 0);
	qm_edbc_free(&e);
}

static void times_are_cut(void **state)
{
	struct qm_edbc *e = qm_edbc_new();
	struct sm_id id = {1, 1};

	(void)state;
	put(e, id, -5, (struct qm_loc){1, 1, 1}, 1);
	assert_int_equal(qm_edbc_next_try(qm_edbc_top(e)), 0);
	/* However far: only what is held, or parked, is never due. */
	put(e, id, INT64_MAX - 10, (struct qm_loc){1, 1, 1}, 1);
	assert_int_equal(qm_edbc_next_try(qm_edbc_top(e)), QM_EDBC_NEVER - 1);
	assert_true(qm_edbc_set(e, id, QM_EDBC_NEVER));
	assert_int_equal(qm_edbc_next_try(qm_edbc_top(e)), QM_EDBC_NEVER);
	assert_true(qm_edbc_set(e, id, 77));
	assert_int_equal(qm_edbc_next_try(qm_edbc_top(e)), 77);
	qm_edbc_free(&e);
}

/* More different replies than any honest set of servers gives. */
static void reasons_are_bounded(void **state)
{
	struct qm_edbc *e = qm_edbc_new();
	struct qm_rec_rcpt r = {.addr = SM_STR("a@b.example")};
	struct qm_rec_txn rec = {.rcpts = &r, .rcpts_count = 1};
	struct qm_edbc_reader reader;
	struct qm_edbc_rcpt rcpt;
	char text[80];

	(void)state;
	for (unsigned i = 0; i < 40000; i++) {
		int n = snprintf(text, sizeof(text), "4.%u.%u ", i % 1000, i / 1000);

		for (unsigned k = i, j = 0; j < 4; j++, k /= 26)
			text[n++] = (char)('a' + k % 26);
		rec.ta = (struct sm_id){i, 1};
		r.code = (uint16_t)(400 + i % 100);
		r.text = sm_str_n(text, (size_t)n);
		qm_edbc_put_rec(e, &rec, (struct qm_loc){1, 1, 1});
	}
	assert_true(qm_atoms_count(qm_edbc_reasons(e)) < 21000);
	reader = qm_edbc_read(e, qm_edbc_find(e, (struct sm_id){39999, 1}));
	assert_true(qm_edbc_read_rcpt(&reader, &rcpt));
	assert_true(sm_str_eq(qm_atoms_text(qm_edbc_reasons(e), rcpt.reason), SM_STR("499")));
	assert_false(qm_edbc_read_rcpt(&reader, &rcpt));
	qm_edbc_free(&e);
}

/* ---- marks ---- */

static int64_t due(const struct qm_edbc *e, struct sm_id id)
{
	return qm_edbc_next_try(qm_edbc_find(e, id));
}

static enum qm_mark_verb waits(const struct qm_edbc *e, struct sm_id id, uint16_t index)
{
	bool held;

	return qm_edbc_marked(e, qm_edbc_find(e, id), index, &held);
}

static bool held(const struct qm_edbc *e, struct sm_id id, uint16_t index)
{
	bool h;

	(void)qm_edbc_marked(e, qm_edbc_find(e, id), index, &h);
	return h;
}

static void hold_and_release(void **state)
{
	struct qm_edbc *e = qm_edbc_new();
	struct sm_id id = {9, 1};

	(void)state;
	put(e, id, 500, (struct qm_loc){1, 1, 1}, 3);
	assert_false(qm_edbc_is_marked(e, qm_edbc_find(e, id)));
	assert_false(qm_edbc_mark(e, (struct sm_id){8, 1}, 0, QM_MARK_HOLD, 100));
	assert_false(qm_edbc_mark(e, id, 7, QM_MARK_HOLD, 100)); /* no such recipient */
	assert_true(qm_edbc_mark(e, id, 1, QM_MARK_HOLD, 100));
	assert_true(qm_edbc_is_marked(e, qm_edbc_find(e, id)));
	assert_true(held(e, id, 1) && !held(e, id, 0));
	assert_int_equal(qm_edbc_held_count(e), 1);
	assert_int_equal(due(e, id), 500);
	assert_true(qm_edbc_mark(e, id, QM_MARK_ALL, QM_MARK_HOLD, 100));
	assert_int_equal(qm_edbc_held_count(e), 3);
	assert_int_equal(due(e, id), QM_EDBC_NEVER);
	/* An operator's "now" does not break a hold. */
	assert_true(qm_edbc_set(e, id, 1));
	assert_int_equal(qm_edbc_set_all(e, 1), 0);
	assert_int_equal(due(e, id), QM_EDBC_NEVER);
	assert_true(qm_edbc_mark(e, id, 2, QM_MARK_RELEASE, 150));
	assert_int_equal(due(e, id), 150);
	assert_true(qm_edbc_mark(e, id, QM_MARK_ALL, QM_MARK_RELEASE, 200));
	assert_int_equal(due(e, id), 150);
	assert_int_equal(qm_edbc_held_count(e), 0);
	assert_false(qm_edbc_is_marked(e, qm_edbc_find(e, id))); /* as in its snapshot */
	/* What is not held is not hurried by a release. */
	assert_true(qm_edbc_set(e, id, 900));
	assert_true(qm_edbc_mark(e, id, QM_MARK_ALL, QM_MARK_RELEASE, 300));
	assert_int_equal(due(e, id), 900);
	qm_edbc_free(&e);
}

static void acts_that_wait(void **state)
{
	struct qm_edbc *e = qm_edbc_new();
	struct sm_id id = {9, 1};

	(void)state;
	put(e, id, 500, (struct qm_loc){1, 1, 1}, 3);
	assert_true(qm_edbc_mark(e, id, QM_MARK_ALL, QM_MARK_HOLD, 100));
	assert_true(qm_edbc_mark(e, id, 1, QM_MARK_REQUEUE, 120));
	assert_int_equal(waits(e, id, 1), QM_MARK_REQUEUE);
	assert_true(!held(e, id, 1) && held(e, id, 0));
	assert_int_equal(qm_edbc_held_count(e), 2);
	assert_int_equal(due(e, id), 120);
	assert_true(qm_edbc_mark(e, id, 1, QM_MARK_BOUNCE, 130));
	assert_int_equal(waits(e, id, 1), QM_MARK_BOUNCE);
	assert_true(qm_edbc_mark(e, id, 1, QM_MARK_REMOVE, 140)); /* too late: it is final */
	assert_int_equal(waits(e, id, 1), QM_MARK_BOUNCE);
	assert_true(qm_edbc_mark(e, id, 1, QM_MARK_HOLD, 140));
	assert_false(held(e, id, 1));
	assert_int_equal(waits(e, id, 0), QM_MARK_NONE);
	assert_true(qm_edbc_moved(e, id, (struct qm_loc){2, 2, 2}));
	assert_int_equal(waits(e, id, 1), QM_MARK_BOUNCE);
	/* A newer snapshot has it all. */
	put(e, id, 600, (struct qm_loc){3, 1, 1}, 3);
	assert_int_equal(waits(e, id, 1), QM_MARK_NONE);
	assert_false(qm_edbc_is_marked(e, qm_edbc_find(e, id)));
	assert_int_equal(qm_edbc_held_count(e), 0);
	assert_int_equal(due(e, id), 600);
	qm_edbc_free(&e);
}

static void hold_after_requeue(void **state)
{
	struct qm_edbc *e = qm_edbc_new();
	struct sm_id id = {9, 1};

	(void)state;
	put(e, id, 500, (struct qm_loc){1, 1, 1}, 1);
	assert_true(qm_edbc_mark(e, id, 0, QM_MARK_REQUEUE, 100));
	assert_true(qm_edbc_mark(e, id, 0, QM_MARK_HOLD, 110));
	/* It has to be read back for the first, and waits then. */
	assert_int_equal(waits(e, id, 0), QM_MARK_REQUEUE);
	assert_true(held(e, id, 0));
	assert_int_equal(due(e, id), 100);
	qm_edbc_free(&e);
}

/* What is parked is tried with all others, what is held is not. */
static void all_at_once(void **state)
{
	struct qm_edbc *e = qm_edbc_new();
	unsigned n = 0;

	(void)state;
	for (uint64_t i = 0; i < 300; i++) {
		struct sm_id id = {i, 1};

		put(e, id, (int64_t)i, (struct qm_loc){1, 1, 1}, 1);
		/* In this order those that are held come to stand above the parked ones. */
		if (i < 100)
			assert_true(qm_edbc_set(e, id, QM_EDBC_NEVER));
		else if (i < 200)
			assert_true(qm_edbc_mark(e, id, 0, QM_MARK_HOLD, 1));
	}
	assert_int_equal(qm_edbc_set_all(e, 7), 200);
	for (; qm_edbc_next_try(qm_edbc_top(e)) == 7; n++)
		qm_edbc_remove(e, qm_edbc_id(qm_edbc_top(e)));
	assert_int_equal(n, 200);
	assert_int_equal(qm_edbc_next_try(qm_edbc_top(e)), QM_EDBC_NEVER);
	qm_edbc_free(&e);
}

static void held_in_the_snapshot(void **state)
{
	struct qm_edbc *e = qm_edbc_new();
	struct qm_rec_rcpt r[2] = {
	    {.addr = SM_STR("a@x"), .next_try_s = 10, .flags = QM_RCPT_HELD},
	    {.addr = SM_STR("b@x"), .index = 1, .next_try_s = 20},
	};
	struct qm_rec_txn rec = {.ta = {4, 1}, .rcpts = r, .rcpts_count = 2};

	(void)state;
	qm_edbc_put_rec(e, &rec, (struct qm_loc){1, 1, 1});
	assert_int_equal(due(e, rec.ta), 20);
	assert_true(held(e, rec.ta, 0) && !held(e, rec.ta, 1));
	assert_int_equal(qm_edbc_held_count(e), 1);
	assert_false(qm_edbc_is_marked(e, qm_edbc_find(e, rec.ta)));
	assert_true(qm_edbc_mark(e, rec.ta, 0, QM_MARK_RELEASE, 5));
	assert_true(qm_edbc_is_marked(e, qm_edbc_find(e, rec.ta)));
	assert_int_equal(due(e, rec.ta), 5);
	r[1].flags = QM_RCPT_HELD;
	qm_edbc_put_rec(e, &rec, (struct qm_loc){1, 1, 1});
	assert_int_equal(due(e, rec.ta), QM_EDBC_NEVER);
	rec.rcpts_count = 0; /* damaged, but not to be kept for ever */
	qm_edbc_put_rec(e, &rec, (struct qm_loc){1, 1, 1});
	assert_int_equal(due(e, rec.ta), 0);
	qm_edbc_free(&e);
}

/* The longest of everything, a thousand times in one transaction. */
static void the_largest(void **state)
{
	enum { RCPTS = 1000 };
	struct qm_edbc *e = qm_edbc_new();
	struct qm_rec_rcpt *r = sm_calloc(RCPTS, sizeof(*r));
	struct qm_rec_txn rec = {
	    .ta = {4, 1}, .size = UINT64_MAX, .received_s = -1, .rcpts = r, .rcpts_count = RCPTS};
	struct qm_edbc_reader reader;
	struct qm_edbc_rcpt rcpt;
	char addr[320];
	unsigned n = 0;

	(void)state;
	memset(addr, 'x', sizeof(addr));
	addr[316] = '@';
	for (unsigned i = 0; i < RCPTS; i++)
		r[i] = (struct qm_rec_rcpt){.index = (uint16_t)(65535 - i),
		                            .addr = sm_str_n(addr, sizeof(addr)),
		                            .tries = UINT16_MAX};
	for (uint64_t i = 0; i < 20; i++) {
		rec.ta.counter = i % 3;
		qm_edbc_put_rec(e, &rec, (struct qm_loc){1, 1, 1});
	}
	assert_int_equal(qm_edbc_rcpt_count(e), 3 * RCPTS);
	reader = qm_edbc_read(e, qm_edbc_find(e, rec.ta));
	assert_int_equal(reader.received_s, 0);
	assert_int_equal(reader.size, (uint64_t)UINT32_MAX * 1024);
	while (qm_edbc_read_rcpt(&reader, &rcpt)) {
		assert_int_equal(rcpt.index, 65535 - n++);
		assert_int_equal(rcpt.local.n, 316);
		assert_int_equal(rcpt.tries, UINT16_MAX);
	}
	assert_int_equal(n, RCPTS);
	sm_free(r);
	qm_edbc_free(&e);
}

/* ---- a million ---- */

enum { MILLION = 1000000, SENDERS = 300000, DOMAINS = 200000, REASONS = 50 };

static void put_one(struct qm_edbc *e, uint64_t i)
{
	char sender[64], addr[64], text[64];
	struct qm_rec_rcpt r = {.tries = (uint16_t)(1 + i % 20), .code = 450};
	struct qm_rec_txn rec = {
	    .ta = {(i << 3) + 12345678901234, 1}, .rcpts = &r, .rcpts_count = 1};
	uint64_t domain = i * 7919 % DOMAINS;

	snprintf(sender, sizeof(sender), "user%06llu@sender%04llu.example",
	         (unsigned long long)(i * 31 % SENDERS),
	         (unsigned long long)(i * 31 % SENDERS % 5000));
	snprintf(addr, sizeof(addr), "local.part%08llu@d%06llu.example.org", (unsigned long long)i,
	         (unsigned long long)domain);
	snprintf(text, sizeof(text), "4.2.2 reason %c%c for waiting",
	         (char)('a' + i % REASONS / 10), (char)('a' + i % 10));
	rec.sender = sm_str(sender);
	rec.received_s = 1700000000 + (int64_t)(i % 86400);
	rec.size = 2000 + i % 100000;
	r.addr = sm_str(addr);
	r.text = sm_str(text);
	r.host = SM_STR("mx.example.org");
	r.next_try_s = 1700100000 + (int64_t)(i * 104729 % 100000);
	qm_edbc_put_rec(e, &rec, (struct qm_loc){1 + (uint32_t)(i / 100000), 1, 1});
}

static long pss_kb(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[128];
	long kb = 0;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Pss: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

static size_t count_filtered(const struct qm_edbc *e, const char *condition)
{
	struct sm_str s = sm_str(condition);
	const struct qm_edbc_entry *x;
	struct qm_filter *f;
	struct sm_arena a;
	struct qm_view v;
	uint64_t cursor = 0;
	size_t n = 0;

	assert_int_equal(qm_filter_new(&s, 1, 1700100000, &f), 0);
	sm_arena_init(&a, "test", 4096, 1024 * 1024);
	while ((x = qm_edbc_walk(e, &cursor)) != NULL) {
		sm_arena_reset(&a);
		qm_view_of_entry(e, x, &a, &v);
		n += qm_filter_match(f, &v, NULL);
	}
	sm_arena_fini(&a);
	qm_filter_free(&f);
	return n;
}

static size_t summary(const struct qm_edbc *e)
{
	const struct qm_edbc_entry *x;
	struct qm_edbc_rcpt rcpt;
	uint32_t *by_domain = sm_calloc(DOMAINS + SENDERS + 10, sizeof(*by_domain));
	uint64_t cursor = 0;
	size_t n = 0;

	while ((x = qm_edbc_walk(e, &cursor)) != NULL) {
		struct qm_edbc_reader r = qm_edbc_read(e, x);

		while (qm_edbc_read_rcpt(&r, &rcpt))
			n += by_domain[rcpt.domain]++ == 0;
	}
	sm_free(by_domain);
	return n;
}

/* Of this process: others may keep the machine busy. */
static int64_t cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t cpu_ms(void)
{
	return cpu_us() / 1000;
}

static int64_t tell(const char *what, int64_t begin)
{
	int64_t end = cpu_ms();

	printf("1,000,000 %s: %lld ms\n", what, (long long)(end - begin));
	return end;
}

static void a_million(void **state)
{
	long before = pss_kb();
	struct qm_edbc *e = qm_edbc_new();
	int64_t at = cpu_ms(), longest_us = 0;

	(void)state;
	for (uint64_t i = 0; i < MILLION; i++) {
		int64_t began = cpu_us();

		put_one(e, i);
		longest_us = SM_MAX(longest_us, cpu_us() - began);
	}
	at = tell("put", at);
	printf("longest put: %lld us\n", (long long)longest_us);
	printf("index: %zu KB, PSS %ld KB\n", qm_edbc_bytes(e) / 1024, pss_kb() - before);
	assert_true(qm_edbc_bytes(e) < 120u * 1000 * 1000);
	at = cpu_ms();
	assert_int_equal(summary(e), DOMAINS);
	at = tell("counted by domain", at);
	assert_int_equal(count_filtered(e, "sender=*ser000001@*"), 3);
	at = tell("filtered by sender", at);
	assert_int_equal(count_filtered(e, "domain=d00001*"), 50);
	at = tell("filtered by domain", at);
	assert_int_equal(count_filtered(e, "rcpt=*part0000001*"), 10);
	at = tell("filtered by rcpt", at);
	for (uint64_t i = 0; i < MILLION; i++)
		put_one(e, i * 7 % MILLION);
	at = tell("replaced", at);
	printf("index: %zu KB, PSS %ld KB\n", qm_edbc_bytes(e) / 1024, pss_kb() - before);
	assert_true(qm_edbc_bytes(e) < 150u * 1000 * 1000);
	while (qm_edbc_top(e))
		qm_edbc_remove(e, qm_edbc_id(qm_edbc_top(e)));
	tell("removed by time", at);
	/* Nothing is left of it. */
	assert_true(qm_edbc_bytes(e) < 2u * 1024 * 1024);
	qm_edbc_free(&e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(against_a_model),
	    cmocka_unit_test(comes_out_in_order),
	    cmocka_unit_test(walks_see_each_once),
	    cmocka_unit_test(counts_and_places),
	    cmocka_unit_test(times_are_cut),
	    cmocka_unit_test(reasons_are_bounded),
	    cmocka_unit_test(hold_and_release),
	    cmocka_unit_test(acts_that_wait),
	    cmocka_unit_test(hold_after_requeue),
	    cmocka_unit_test(all_at_once),
	    cmocka_unit_test(held_in_the_snapshot),
	    cmocka_unit_test(the_largest),
	    cmocka_unit_test(a_million),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
