/* Probes in the schedule: what they take, and what they leave to mail. No clock, no process. */
#include "qmgr/probe.h"
#include "qmgr/t_sched.h"

enum { PROBES = 40 };
static struct qm_probe probes[PROBES];
static struct qm_probe *running[PROBES];
static unsigned run_count, next_probe;

static void start(unsigned window, unsigned tasks)
{
	sched_begin(window, window);
	run_count = next_probe = 0;
	if (tasks > 0)
		assert_non_null(qm_agent_add(&sched, tasks));
}

static void end(void)
{
	for (unsigned i = 0; i < run_count; i++)
		qm_probe_done(&sched, running[i], NULL, now);
	assert_int_equal(sched.probes, 0);
	sched_end();
}

static struct qm_route *to(const char *key)
{
	return route(key, SM_AGENT_SMTP);
}

static void add(struct qm_route *r, unsigned n)
{
	while (n-- > 0)
		qm_probe_add(&sched, r, &probes[next_probe++]);
}

/* How many may begin now. */
static unsigned begin(unsigned max)
{
	unsigned n = 0;

	while (qm_probe_next(&sched, now, max, &running[run_count]) == QM_STEP_TASK) {
		run_count++;
		n++;
	}
	return n;
}

static void one_is_done(void)
{
	qm_probe_done(&sched, running[--run_count], NULL, now);
}

/* So many more mails; how many may begin now. */
static unsigned mails(struct qm_route *r, unsigned n)
{
	struct qm_pick p;

	while (n-- > 0)
		(void)mail(r, 1);
	return pick_all(&p);
}

static void a_quarter_of_the_window(void **state)
{
	static const unsigned windows[][2] = {{1, 1}, {2, 1}, {3, 1}, {4, 1},
	                                      {7, 1}, {8, 2}, {9, 2}, {100, 20}};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(windows); i++) {
		start(windows[i][0], 1000);
		add(to("a"), 30);
		assert_int_equal(begin(20), windows[i][1]);
		assert_int_equal(sched.probes, windows[i][1]);
		/* One for one. */
		one_is_done();
		assert_int_equal(begin(20), 1);
		end();
	}
}

static void mail_has_the_rest(void **state)
{
	struct qm_route *r;

	(void)state;
	start(8, 1000);
	r = to("a");
	add(r, 10);
	assert_int_equal(begin(20), 2);
	assert_int_equal(mails(r, 20), 6);
	/* A full window is full for both. */
	assert_int_equal(begin(20), 0);
	one_is_done();
	assert_int_equal(mails(r, 0), 1);
	assert_int_equal(begin(20), 0);
	end();
}

/* With a small window a probe runs only where nobody else is or wants to be. */
static void a_small_window_is_for_mail(void **state)
{
	struct qm_route *r;

	(void)state;
	start(2, 1000);
	r = to("a");
	assert_int_equal(mails(r, 1), 1);
	add(r, 2);
	assert_int_equal(begin(20), 0);
	end();
	start(1, 1000);
	r = to("a");
	add(r, 2);
	assert_int_equal(begin(20), 1);
	assert_int_equal(mails(r, 2), 0);
	one_is_done();
	assert_int_equal(mails(r, 0), 1);
	assert_int_equal(begin(20), 0);
	end();
}

static void all_together(void **state)
{
	(void)state;
	start(100, 1000);
	add(to("a"), 5);
	add(to("b"), 5);
	assert_int_equal(begin(4), 4);
	/* In turns. */
	assert_ptr_equal(running[0]->route, running[2]->route);
	assert_ptr_equal(running[1]->route, running[3]->route);
	assert_ptr_not_equal(running[0]->route, running[1]->route);
	end();
	/* A quarter of what smtpc can do, one at least. */
	start(100, 8);
	add(to("a"), 5);
	assert_int_equal(begin(20), 2);
	end();
	start(100, 2);
	add(to("a"), 5);
	assert_int_equal(begin(20), 1);
	end();
	start(100, 0);
	add(to("a"), 5);
	assert_int_equal(begin(20), 0);
	end();
}

/* A route that has no room does not keep others waiting. */
static void others_go_past(void **state)
{
	struct qm_route *a, *b;

	(void)state;
	start(4, 1000);
	a = to("a");
	b = to("b");
	assert_int_equal(mails(a, 10), 4);
	add(a, 3);
	add(b, 3);
	assert_int_equal(begin(20), 1);
	assert_ptr_equal(running[0]->route, b);
	end();
}

static void the_best_that_lives(void **state)
{
	struct sm_msg_host hosts[3];
	struct qm_probe *p;
	struct qm_route *r;

	(void)state;
	start(4, 1000);
	r = route_to("a", SM_AGENT_SMTP, "10.0.0.1/10 10.0.0.2/10 10.0.0.3/20");
	add(r, 4);
	assert_int_equal(begin(20), 2);
	assert_ptr_not_equal(running[0]->host, running[1]->host);
	assert_true(running[0]->hop < 2 && running[1]->hop < 2);
	/* Busy is no reason to ask a worse one, dead is. */
	assert_int_equal(begin(20), 0);
	one_is_done();
	one_is_done();
	for (unsigned i = 1; i <= 2; i++)
		assert_true(qm_sched_reached(&sched, &r->hops[i - 1].target.sa, SM_REACH_REFUSED, 0,
		                             SM_STR("no"), now));
	assert_int_equal(begin(20), 1);
	assert_int_equal(running[0]->hop, 2);
	assert_int_equal(qm_probe_hosts(&sched, running[0], now, hosts), 1);
	one_is_done();
	assert_true(qm_sched_reached(&sched, &r->hops[2].target.sa, SM_REACH_REFUSED, 0,
	                             SM_STR("no"), now));
	/* What is left is told so. */
	assert_int_equal(qm_probe_next(&sched, now, 20, &p), QM_STEP_DEAD);
	assert_int_equal(qm_probe_next(&sched, now, 20, &p), QM_STEP_NONE);
	end();
}

/* A session that is kept is used, and kept again. */
static void sessions_are_used(void **state)
{
	struct qm_route *r;

	(void)state;
	start(4, 1000);
	r = to("a");
	add(r, 2);
	assert_int_equal(begin(20), 1);
	qm_probe_done(&sched, running[--run_count], &r->hops[0].target.sa, now);
	assert_int_equal(r->idle[0], 1);
	assert_int_equal(begin(20), 1);
	assert_int_equal(r->idle[0], 0);
	end();
}

/* A route is not forgotten while a probe waits or runs there. */
static void routes_stay(void **state)
{
	struct qm_route *r;
	char key[8];

	(void)state;
	start(4, 1000);
	r = to("a");
	add(r, 2);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 20; i++) {
			snprintf(key, sizeof(key), "x%u-%u", round, i);
			(void)to(key);
		}
		assert_ptr_equal(qm_route_find(&sched, SM_STR("a")), r);
		if (round == 0)
			qm_probe_remove(&sched, &probes[0]);
		else if (round == 1)
			assert_int_equal(begin(20), 1);
	}
	one_is_done();
	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "y%u", i);
		(void)to(key);
	}
	assert_null(qm_route_find(&sched, SM_STR("a")));
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_quarter_of_the_window),
	    cmocka_unit_test(mail_has_the_rest),
	    cmocka_unit_test(a_small_window_is_for_mail),
	    cmocka_unit_test(all_together),
	    cmocka_unit_test(others_go_past),
	    cmocka_unit_test(the_best_that_lives),
	    cmocka_unit_test(sessions_are_used),
	    cmocka_unit_test(routes_stay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
