/* What is remembered of next hops: windows, penalties, what is forgotten and when. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "qmgr/hosts.h"
#include "qmgr/sched_int.h"

static struct qm_hosts hosts;
static int64_t now;

static int setup(void **state)
{
	const struct qm_hosts_conf conf = {.oci = 4,
	                                   .ocm = 8,
	                                   .octo_ms = 600000,
	                                   .penalty_ms = 60000,
	                                   .penalty_max_ms = 200000,
	                                   .max = 100};

	(void)state;
	now = 5000000;
	qm_hosts_init(&hosts, &conf);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	qm_hosts_fini(&hosts);
	return 0;
}

static struct qm_host *host(const char *address, uint16_t port)
{
	struct sm_sa sa;

	assert_int_equal(sm_sa_ip(&sa, sm_str(address), port), 0);
	return qm_host_get(&hosts, &sa, now);
}

static bool one_try(struct qm_host *x, enum sm_reach reach)
{
	qm_host_begin(&hosts, x, now);
	qm_host_end(&hosts, x, now);
	return qm_host_reached(&hosts, x, reach, 0, SM_STR("4.4.1 refused"), now);
}

static void each_port_is_a_host(void **state)
{
	(void)state;
	assert_ptr_equal(host("10.0.0.1", 25), host("::ffff:10.0.0.1", 25));
	assert_ptr_not_equal(host("10.0.0.1", 25), host("10.0.0.1", 2525));
}

static void penalties_double_and_end_with_a_success(void **state)
{
	static const int64_t want[] = {60000, 120000, 200000, 200000};
	struct qm_host *x = host("10.0.0.1", 25);

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(want); i++) {
		assert_true(one_try(x, SM_REACH_REFUSED));
		assert_int_equal(x->dead_until_ms, now + want[i]);
		assert_int_equal(qm_host_limit(&hosts, x, now), 0);
		now = x->dead_until_ms;
		assert_int_equal(qm_host_limit(&hosts, x, now), 1); /* a probe */
	}
	assert_false(one_try(x, SM_REACH_OK));
	assert_int_equal(qm_host_limit(&hosts, x, now), 2);
	for (int i = 0; i < 3; i++) /* so soon after a success it is only crowded */
		assert_false(one_try(x, SM_REACH_REFUSED));
	assert_true(one_try(x, SM_REACH_REFUSED));
	assert_int_equal(x->dead_until_ms, now + 60000);
	qm_host_revive(x);
	assert_int_equal(qm_host_limit(&hosts, x, now), 1);
}

static void others_under_way_are_waited_for(void **state)
{
	struct qm_host *x = host("10.0.0.1", 25);

	(void)state;
	for (int i = 0; i < 4; i++)
		qm_host_begin(&hosts, x, now);
	qm_host_end(&hosts, x, now);
	assert_false(qm_host_reached(&hosts, x, SM_REACH_REFUSED, 421, SM_STR("full"), now));
	assert_int_equal(x->window, 2);
	assert_int_equal(qm_host_room(&hosts, x, now), QM_ROOM_FULL);
	now += 61000; /* nothing went well for a minute */
	qm_host_end(&hosts, x, now);
	assert_true(qm_host_reached(&hosts, x, SM_REACH_REFUSED, 0, SM_STR("no"), now));
	qm_host_end(&hosts, x, now);
	/* What was under way when it died tells nothing new. */
	assert_false(qm_host_reached(&hosts, x, SM_REACH_REFUSED, 0, SM_STR("no"), now));
	assert_int_equal(x->failures, 1);
	qm_host_end(&hosts, x, now);
}

static void a_session_that_ends_with_421_kills_nobody(void **state)
{
	struct qm_host *x = host("10.0.0.1", 25);

	(void)state;
	assert_false(one_try(x, SM_REACH_BUSY));
	assert_int_equal(x->window, 2);
	assert_true(one_try(x, SM_REACH_REFUSED));
	now = x->dead_until_ms;
	assert_false(one_try(x, SM_REACH_NONE)); /* our own trouble says nothing */
	assert_int_equal(x->failures, 1);
}

static void the_unused_are_forgotten(void **state)
{
	struct qm_host *x = host("10.0.0.1", 25), *dead = host("10.0.0.2", 25);
	struct sm_sa sa = x->sa, dead_sa = dead->sa;

	(void)state;
	hosts.conf.penalty_ms = hosts.conf.penalty_max_ms = 3600000;
	(void)one_try(x, SM_REACH_OK);
	(void)one_try(dead, SM_REACH_REFUSED);
	now += 599999;
	(void)host("10.0.0.3", 25);
	assert_non_null(qm_host_find(&hosts, &sa));
	now += 1;
	(void)host("10.0.0.4", 25);
	assert_null(qm_host_find(&hosts, &sa));
	assert_non_null(qm_host_find(&hosts, &dead_sa)); /* not while it is dead */
}

static void there_are_never_too_many(void **state)
{
	struct qm_host *busy = host("10.9.9.9", 25);
	char text[32];

	(void)state;
	qm_host_begin(&hosts, busy, now);
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "10.0.%d.%d", i / 250, i % 250);
		(void)host(text, 25);
		assert_true(hosts.by_sa.count <= 100);
	}
	assert_ptr_equal(host("10.9.9.9", 25), busy);
	qm_host_end(&hosts, busy, now);
}

static void a_lower_limit_cuts_at_once(void **state)
{
	struct qm_hosts_conf conf = hosts.conf;
	struct qm_host *x = host("10.0.0.1", 25);

	(void)state;
	for (int i = 0; i < 20; i++)
		(void)one_try(x, SM_REACH_OK);
	assert_int_equal(qm_host_limit(&hosts, x, now), 8);
	conf.ocm = 3;
	qm_hosts_reload(&hosts, &conf);
	assert_int_equal(qm_host_limit(&hosts, x, now), 3);
	conf.ocm = 100;
	qm_hosts_reload(&hosts, &conf);
	assert_int_equal(qm_host_limit(&hosts, x, now), 3); /* more has to be earned */
}

/* What is crowded is asked for again when it makes sense: soon where much goes, late where nothing
 * does. */
static void half_of_what_waits(void **state)
{
	struct qm_route r = {.waiting = 10000};

	(void)state;
	assert_int_equal(qm_route_half_s(&r, now, 60), 60);
	qm_route_went(&r, 500, now);
	qm_route_went(&r, 500, now + 999);
	assert_int_equal(r.left, 1000);
	assert_int_equal(qm_route_half_s(&r, now + 999, 60), 6);
	assert_int_equal(qm_route_half_s(&r, now + 1500, 60), 6);
	qm_route_went(&r, 10000, now + 1500);
	assert_int_equal(qm_route_half_s(&r, now + 1900, 60), 1);
	qm_route_went(&r, 10, now + 5000);
	assert_int_equal(qm_route_half_s(&r, now + 5000, 60), 60);
	assert_int_equal(qm_route_half_s(&r, now + 9000, 60), 60);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(each_port_is_a_host),
	    T(penalties_double_and_end_with_a_success),
	    T(others_under_way_are_waited_for),
	    T(a_session_that_ends_with_421_kills_nobody),
	    T(the_unused_are_forgotten),
	    T(there_are_never_too_many),
	    T(a_lower_limit_cuts_at_once),
	    T(half_of_what_waits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
