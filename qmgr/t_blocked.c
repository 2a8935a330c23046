/* The table of blocked domains by itself: what it says, until when, and how it stays small. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "qmgr/blocked.h"

#define MAX 10

static struct qm_blocked b;
static const int64_t now = 1000000;

static int setup(void **state)
{
	(void)state;
	qm_blocked_init(&b, MAX);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	qm_blocked_fini(&b);
	return 0;
}

static void put(const char *domain, enum qm_block kind, int64_t until_ms)
{
	qm_blocked_put(&b, sm_str(domain), kind, until_ms, SM_STR("4.4.1 refused"), now);
}

static int64_t until(const char *domain)
{
	return qm_blocked_until(&b, sm_str(domain), false, now, NULL);
}

static void nothing_is_blocked(void **state)
{
	struct sm_str why = SM_STR("as before");

	(void)state;
	assert_int_equal(until("a.test"), 0);
	assert_int_equal(qm_blocked_until(&b, SM_STR(""), true, now, &why), 0);
	assert_true(sm_str_eq(why, SM_STR("as before")));
	qm_blocked_forget(&b, SM_STR("a.test"));
	qm_blocked_clear(&b);
}

static void until_its_time_and_why(void **state)
{
	struct sm_str why;

	(void)state;
	put("a.test", QM_BLOCK_DEAD, now + 60000);
	assert_int_equal(until("a.test"), now + 60000);
	assert_int_equal(qm_blocked_until(&b, SM_STR("a.test"), false, now + 59999, &why),
	                 now + 60000);
	assert_true(sm_str_eq(why, SM_STR("4.4.1 refused")));
	assert_int_equal(qm_blocked_until(&b, SM_STR("a.test"), false, now + 60000, NULL), 0);
	/* Of this domain, and of no part of it. */
	assert_int_equal(until("A.TEST"), now + 60000);
	assert_int_equal(until("b.test"), 0);
	assert_int_equal(until("x.a.test"), 0);
	assert_int_equal(until("a.tes"), 0);
	assert_int_equal(until(""), 0);
}

/* Old mail is to have the failure, and is let in for it; where it is only full it has to wait. */
static void old_mail_passes_the_dead(void **state)
{
	(void)state;
	put("dead.test", QM_BLOCK_DEAD, now + 1000);
	put("full.test", QM_BLOCK_CROWDED, now + 1000);
	assert_int_equal(until("dead.test"), now + 1000);
	assert_int_equal(qm_blocked_until(&b, SM_STR("dead.test"), true, now, NULL), 0);
	assert_int_equal(until("full.test"), now + 1000);
	assert_int_equal(qm_blocked_until(&b, SM_STR("full.test"), true, now, NULL), now + 1000);
}

/* The latest word holds, whether it is longer, shorter, or of another kind. */
static void what_comes_later_holds(void **state)
{
	struct sm_str why;

	(void)state;
	put("a.test", QM_BLOCK_DEAD, now + 60000);
	qm_blocked_put(&b, SM_STR("A.test"), QM_BLOCK_CROWDED, now + 1000, SM_STR("full"), now);
	assert_int_equal(b.by_domain.count, 1);
	assert_int_equal(qm_blocked_until(&b, SM_STR("a.test"), true, now, &why), now + 1000);
	assert_true(sm_str_eq(why, SM_STR("full")));
	put("a.test", QM_BLOCK_DEAD, now + 90000);
	assert_int_equal(until("a.test"), now + 90000);
	assert_int_equal(qm_blocked_until(&b, SM_STR("a.test"), true, now, NULL), 0);
}

static void forgotten_on_demand(void **state)
{
	(void)state;
	put("a.test", QM_BLOCK_DEAD, now + 60000);
	put("b.test", QM_BLOCK_DEAD, now + 60000);
	put("c.test", QM_BLOCK_CROWDED, now + 60000);
	qm_blocked_forget(&b, SM_STR("A.Test"));
	qm_blocked_forget(&b, SM_STR("nobody.test"));
	assert_int_equal(until("a.test"), 0);
	assert_int_equal(until("b.test"), now + 60000);
	qm_blocked_clear(&b);
	assert_int_equal(until("b.test"), 0);
	assert_int_equal(until("c.test"), 0);
	assert_int_equal(b.by_domain.count, 0);
	assert_true(sm_list_empty(&b.all));
	put("a.test", QM_BLOCK_DEAD, now + 5);
	assert_int_equal(until("a.test"), now + 5);
}

static void fill(unsigned count)
{
	char domain[32];

	for (unsigned i = 0; i < count; i++) {
		snprintf(domain, sizeof(domain), "d%u.test", i);
		put(domain, QM_BLOCK_DEAD, now + 60000);
	}
}

/* The longest in it makes room; what was said again is not that. */
static void bounded(void **state)
{
	(void)state;
	fill(MAX);
	put("d0.test", QM_BLOCK_DEAD, now + 70000);
	assert_int_equal(b.by_domain.count, MAX);
	put("new.test", QM_BLOCK_DEAD, now + 60000);
	assert_int_equal(b.by_domain.count, MAX);
	assert_int_equal(until("d0.test"), now + 70000);
	assert_int_equal(until("d1.test"), 0);
	assert_int_equal(until("d2.test"), now + 60000);
	assert_int_equal(until("new.test"), now + 60000);
	fill(100 * MAX);
	assert_int_equal(b.by_domain.count, MAX);
	assert_int_equal(until("new.test"), 0);
	assert_int_equal(until("d999.test"), now + 60000);
}

/* What is over goes when something new comes, before there is no room. */
static void what_is_over_goes(void **state)
{
	(void)state;
	fill(MAX / 2);
	qm_blocked_put(&b, SM_STR("new.test"), QM_BLOCK_DEAD, now + 200000, SM_STR(""),
	               now + 60000);
	assert_int_equal(b.by_domain.count, 1);
	assert_int_equal(until("new.test"), now + 200000);
}

/* A reason may have any length, and any bytes; so may what claims to be a domain. */
static void long_words(void **state)
{
	static char domain[5000], text[5000];
	struct sm_str why;

	(void)state;
	memset(domain, 'd', sizeof(domain));
	memset(text, 'x', sizeof(text));
	qm_blocked_put(&b, sm_str_n(domain, sizeof(domain)), QM_BLOCK_DEAD, now + 1,
	               sm_str_n(text, sizeof(text)), now);
	assert_int_equal(qm_blocked_until(&b, sm_str_n(domain, sizeof(domain)), false, now, &why),
	                 now + 1);
	assert_in_range(why.n, 50, 200);
	assert_memory_equal(why.p, text, why.n);
	assert_int_equal(
	    qm_blocked_until(&b, sm_str_n(domain, sizeof(domain) - 1), false, now, NULL), 0);
	qm_blocked_put(&b, SM_STR(""), QM_BLOCK_CROWDED, now + 2, SM_STR(""), now);
	assert_int_equal(qm_blocked_until(&b, SM_STR(""), true, now, &why), now + 2);
	assert_int_equal(why.n, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(nothing_is_blocked),       T(until_its_time_and_why),
	    T(old_mail_passes_the_dead), T(what_comes_later_holds),
	    T(forgotten_on_demand),      T(bounded),
	    T(what_is_over_goes),        T(long_words),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
