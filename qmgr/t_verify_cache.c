/* What is remembered of recipients, by a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "qmgr/verify_cache.h"

static const struct qm_verify_times times = {
    .known_ms = 10000, .recheck_ms = 4000, .unknown_ms = 1000, .not_told_ms = 100};
static struct qm_verify_cache c;

static int set_up(void **state)
{
	(void)state;
	qm_verify_cache_init(&c, 3, &times);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	qm_verify_cache_fini(&c);
	return 0;
}

static void put(const char *addr, enum qm_known known, int64_t now_ms)
{
	const struct qm_verified v = {.known = known,
	                              .code = known == QM_KNOWN     ? 0
	                                      : known == QM_UNKNOWN ? 550
	                                                            : 450,
	                              .text = known == QM_KNOWN ? SM_STR("") : SM_STR("text")};

	qm_verify_cache_put(&c, sm_str(addr), &v, now_ms);
}

/* Known Unknown Not told, old (R), nothing (-). */
static char at(const char *addr, int64_t now_ms)
{
	struct qm_verified v;

	if (!qm_verify_cache_find(&c, sm_str(addr), now_ms, &v))
		return '-';
	assert_int_equal(v.code, v.known == QM_KNOWN ? 0 : v.known == QM_UNKNOWN ? 550 : 450);
	assert_true(sm_str_eq(v.text, v.known == QM_KNOWN ? SM_STR("") : SM_STR("text")));
	return v.old ? 'R' : "KUN"[v.known];
}

static void test_times(void **state)
{
	(void)state;
	put("k@a", QM_KNOWN, 0);
	put("u@a", QM_UNKNOWN, 0);
	put("n@a", QM_NOT_TOLD, 0);
	assert_int_equal(at("n@a", 99), 'N');
	assert_int_equal(at("n@a", 100), '-');
	assert_int_equal(at("u@a", 999), 'U');
	assert_int_equal(at("u@a", 1000), '-');
	assert_int_equal(at("k@a", 3999), 'K');
	assert_int_equal(at("k@a", 4000), 'R');
	assert_int_equal(at("k@a", 9999), 'R');
	assert_int_equal(at("k@a", 10000), '-');
	assert_int_equal(qm_verify_cache_count(&c), 0);
	assert_int_equal(c.hits, 5);
	assert_int_equal(c.misses, 3);
}

/* A server that is away for long: who was known is known, and is not asked about all the time. */
static void test_nothing_learnt(void **state)
{
	(void)state;
	put("k@a", QM_KNOWN, 0);
	put("k@a", QM_NOT_TOLD, 4000);
	assert_int_equal(at("k@a", 4099), 'K');
	assert_int_equal(at("k@a", 4100), 'R');
	assert_int_equal(at("k@a", 9999), 'R');
	put("k@a", QM_NOT_TOLD, 10000); /* too late: that was forgotten */
	assert_int_equal(at("k@a", 10050), 'N');
	/* What is learnt replaces it, whatever it is. */
	put("k@a", QM_UNKNOWN, 10050);
	assert_int_equal(at("k@a", 10051), 'U');
	put("k@a", QM_NOT_TOLD, 10060);
	assert_int_equal(at("k@a", 10100), 'U');
	put("k@a", QM_KNOWN, 10200);
	assert_int_equal(at("k@a", 14199), 'K');
	assert_int_equal(at("k@a", 20199), 'R');
	assert_int_equal(at("k@a", 20200), '-');
}

static void test_addresses(void **state)
{
	(void)state;
	put("User@Some.Example", QM_KNOWN, 0);
	assert_int_equal(at("User@sOME.example", 1), 'K');
	assert_int_equal(at("user@some.example", 1), '-');
	assert_int_equal(at("User@other.example", 1), '-');
	put("\"a@b\"@x", QM_UNKNOWN, 0);
	assert_int_equal(at("\"a@b\"@X", 1), 'U');
	assert_int_equal(at("\"a@B\"@x", 1), '-');
}

static void test_room(void **state)
{
	(void)state;
	put("a@a", QM_KNOWN, 0);
	put("b@a", QM_KNOWN, 0);
	put("c@a", QM_KNOWN, 0);
	assert_int_equal(at("a@a", 1), 'K'); /* used: b is the next to go */
	put("d@a", QM_KNOWN, 2);
	assert_int_equal(at("b@a", 3), '-');
	assert_int_equal(at("a@a", 3), 'K');
	assert_int_equal(qm_verify_cache_count(&c), 3);
	put("d@a", QM_UNKNOWN, 4); /* in its own place */
	assert_int_equal(at("c@a", 5), 'K');
	qm_verify_cache_reload(&c, 1, &times);
	assert_int_equal(qm_verify_cache_count(&c), 1);
	assert_int_equal(at("c@a", 5), 'K');
	qm_verify_cache_reload(&c, 0, &times);
	put("a@a", QM_KNOWN, 6);
	assert_int_equal(qm_verify_cache_count(&c), 0);
	for (int i = 0; i < 10000; i++) {
		char addr[40];

		qm_verify_cache_reload(&c, 100, &times);
		(void)snprintf(addr, sizeof(addr), "user%d@a", i);
		put(addr, (enum qm_known)(i % 3), i);
		assert_in_range(qm_verify_cache_count(&c), 1, 100);
	}
}

static void test_flood(void **state)
{
	char addr[40];
	unsigned left = 0;

	(void)state;
	qm_verify_cache_reload(&c, 100, &times);
	for (int i = 0; i < 100; i++) {
		(void)snprintf(addr, sizeof(addr), "user%d@a", i);
		put(addr, QM_KNOWN, i);
	}
	for (int i = 0; i < 10000; i++) {
		(void)snprintf(addr, sizeof(addr), "nobody%d@a", i);
		put(addr, i % 2 ? QM_UNKNOWN : QM_NOT_TOLD, 100);
		assert_true(qm_verify_cache_count(&c) <= 100);
	}
	for (int i = 0; i < 100; i++) {
		(void)snprintf(addr, sizeof(addr), "user%d@a", i);
		left += at(addr, 101) == 'K';
	}
	assert_int_equal(left, 75);
	assert_int_equal(c.other_count, 25);
	/* Known ones take each other's place, and that of others beyond their part. */
	for (int i = 0; i < 200; i++) {
		(void)snprintf(addr, sizeof(addr), "new%d@a", i);
		put(addr, QM_KNOWN, 102);
	}
	assert_int_equal(qm_verify_cache_count(&c), 100);
	assert_int_equal(c.other_count, 25);
	qm_verify_cache_reload(&c, 8, &times);
	assert_int_equal(c.other_count, 2);
	assert_int_equal(qm_verify_cache_drop(&c, SM_STR("")), 8);
	assert_int_equal(c.other_count, 0);
}

static void test_drop(void **state)
{
	(void)state;
	put("a@a.x", QM_KNOWN, 0);
	put("b@a.x", QM_UNKNOWN, 0);
	put("a@b.x", QM_NOT_TOLD, 0);
	assert_int_equal(qm_verify_cache_drop(&c, SM_STR("a@c.x")), 0);
	assert_int_equal(qm_verify_cache_drop(&c, SM_STR("b@A.x")), 1);
	assert_int_equal(at("b@a.x", 1), '-');
	put("b@a.x", QM_UNKNOWN, 0);
	assert_int_equal(qm_verify_cache_drop(&c, SM_STR("@A.X")), 2);
	assert_int_equal(at("a@b.x", 1), 'N');
	assert_int_equal(qm_verify_cache_drop(&c, SM_STR("")), 1);
	assert_int_equal(qm_verify_cache_count(&c), 0);
}

static void test_long_text(void **state)
{
	struct qm_verified v = {.known = QM_UNKNOWN, .code = 550};
	char text[1000];

	(void)state;
	memset(text, 'x', sizeof(text));
	v.text = sm_str_n(text, sizeof(text));
	qm_verify_cache_put(&c, SM_STR("a@a"), &v, 0);
	assert_true(qm_verify_cache_find(&c, SM_STR("a@a"), 1, &v));
	assert_int_equal(v.text.n, QM_VERIFY_TEXT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_times, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_nothing_learnt, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_addresses, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_room, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_flood, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_drop, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_long_text, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
