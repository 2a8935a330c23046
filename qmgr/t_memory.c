/* Unit tests of memory.c: what is remembered, for how long, and how much. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "qmgr/memory.h"

static struct qm_memory_key key(const char *xid, const char *sender, const char *rcpt)
{
	return (struct qm_memory_key){sm_str(xid), SM_STR("<m@a>"), sm_str(sender), sm_str(rcpt)};
}

static struct qm_memory_entry *find(struct qm_memory *m, const char *xid, const char *rcpt,
                                    int64_t now_ms)
{
	const struct qm_memory_key k = key(xid, "s@a", rcpt);

	return qm_memory_find(m, &k, now_ms);
}

static void deliver(struct qm_memory *m, const char *xid, const char *rcpt, int64_t now_ms)
{
	const struct qm_memory_key k = key(xid, "s@a", rcpt);
	static char somebody;

	qm_memory_delivered(m, qm_memory_add(m, &k, (struct qm_rcpt *)(void *)&somebody), 250,
	                    SM_STR("2.0.0 there"), now_ms);
}

static void by_all_of_the_key(void **state)
{
	struct qm_memory *m = qm_memory_new(10, 1000);
	const struct qm_memory_key k = key("Q1", "s@a", "r@b"), other = key("Q1", "t@a", "r@b");
	const struct qm_memory_key second = {k.xid, SM_STR("<n@a>"), k.sender, k.rcpt};
	char x[] = "Q1", r[] = "r@b";
	const struct qm_memory_key passing = key(x, "s@a", r);
	struct qm_memory_entry *e = qm_memory_add(m, &passing, (struct qm_rcpt *)(void *)x);

	(void)state;
	x[0] = r[0] = '#'; /* it has its own */
	assert_ptr_equal(qm_memory_find(m, &k, 0), e);
	assert_null(qm_memory_find(m, &other, 0));
	assert_null(qm_memory_find(m, &second, 0));
	assert_null(find(m, "Q2", "r@b", 0));
	assert_null(find(m, "Q1", "R@b", 0));
	assert_ptr_equal(e->owner, x);
	qm_memory_delivered(m, e, 250, SM_STR("2.0.0 there"), 0);
	e = find(m, "Q1", "r@b", 999);
	assert_null(e->owner);
	assert_int_equal(e->code, 250);
	assert_true(sm_str_eq(e->text, SM_STR("2.0.0 there")));
	assert_null(find(m, "Q1", "r@b", 1000));
	assert_int_equal(m->delivered_count, 0);
	qm_memory_free(&m);
	assert_null(m);
}

static void oldest_goes_first(void **state)
{
	struct qm_memory *m = qm_memory_new(2, 1000);
	const struct qm_memory_key busy = key("Q0", "s@a", "r@b");

	(void)state;
	(void)qm_memory_add(m, &busy, (struct qm_rcpt *)(void *)m);
	deliver(m, "Q1", "r@b", 1);
	deliver(m, "Q2", "r@b", 2);
	deliver(m, "Q3", "r@b", 3);
	assert_null(find(m, "Q1", "r@b", 3));
	assert_non_null(find(m, "Q2", "r@b", 3));
	assert_non_null(find(m, "Q3", "r@b", 3));
	/* What somebody works on is not forgotten for room, nor by time. */
	assert_non_null(find(m, "Q0", "r@b", 100000));
	assert_null(find(m, "Q3", "r@b", 100000));
	qm_memory_forget(m, find(m, "Q0", "r@b", 100000));
	assert_int_equal(m->entries.count, 0);
	qm_memory_free(&m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(by_all_of_the_key),
	    cmocka_unit_test(oldest_goes_first),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
