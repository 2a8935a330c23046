/* Probes in the schedule: what they take, and what they leave to mail. No clock, no process. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "qmgr/probe.h"

enum { PROBES = 40 };
static struct qm_txn_table txns;
static struct qm_sched sched;
static struct qm_probe probes[PROBES];
static struct qm_probe *running[PROBES];
static unsigned run_count, next_probe;
static uint64_t next_id;
static const int64_t now = 1000000;

static void start(unsigned window, unsigned tasks)
{
	const struct qm_sched_conf conf = {.hosts = {.oci = window,
	                                             .ocm = window,
	                                             .octo_ms = 3600000,
	                                             .penalty_ms = 60000,
	                                             .penalty_max_ms = 1800000,
	                                             .max = 1000},
	                                   .lmtp_max_rcpts = 3,
	                                   .smtp_max_rcpts = 100,
	                                   .max_routes = 8};

	qm_txn_table_init(&txns);
	qm_sched_init(&sched, &conf);
	next_id = 1;
	run_count = next_probe = 0;
	if (tasks > 0)
		assert_non_null(qm_agent_add(&sched, tasks));
}

static void end(void)
{
	for (unsigned i = 0; i < run_count; i++)
		qm_probe_done(&sched, running[i], NULL, now);
	assert_int_equal(sched.probes, 0);
	SM_LIST_FOR (txn, &txns.active, struct qm_txn, link)
		for (unsigned i = 0; i < txn->rcpt_count; i++)
			sm_list_remove(&txn->rcpts[i].link);
	for (unsigned i = 0; i < QM_AGENTS_MAX; i++)
		if (sched.agents[i])
			sched.agents[i]->running = 0;
	qm_sched_fini(&sched);
	qm_txn_table_fini(&txns);
}

static struct sm_sa address(unsigned n)
{
	char text[20];
	struct sm_sa sa;

	snprintf(text, sizeof(text), "10.0.0.%u", n);
	assert_int_equal(sm_sa_ip(&sa, sm_str(text), 25), 0);
	return sa;
}

/* Hosts 1, 2 ... of these preferences; 0 ends it. */
static struct qm_route *route(const char *key, unsigned first, const uint16_t *prefs)
{
	struct sm_msg_host host[8];
	struct sm_msg_route m = {.agent = SM_AGENT_SMTP, .key = sm_str(key), .hosts = host};

	for (; prefs[m.hosts_count] > 0; m.hosts_count++)
		host[m.hosts_count] = (struct sm_msg_host){.name = SM_STR("mx.test"),
		                                           .sa = address(first + m.hosts_count),
		                                           .pref = prefs[m.hosts_count]};
	return qm_route_get(&sched, &m, now);
}

static const uint16_t one[] = {10, 0};

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

static void done(void)
{
	qm_probe_done(&sched, running[--run_count], NULL, now);
}

static unsigned mail(struct qm_route *r, unsigned n)
{
	struct sm_list rcpts;
	struct qm_pick pick;
	unsigned begun = 0;

	sm_list_init(&rcpts);
	for (unsigned i = 0; i < n; i++) {
		struct qm_txn *txn = qm_txn_new(&txns, (struct sm_id){next_id++, 1}, 1);

		txn->sender = SM_STR("s@a.test");
		qm_sched_add(&sched, r, &txn->rcpts[0]);
		qm_sched_release(&sched, txn);
	}
	while (qm_sched_next(&sched, now, &pick, &rcpts) == QM_STEP_TASK)
		begun++;
	while (sm_list_shift(&rcpts))
		;
	return begun;
}

static void a_quarter_of_the_window(void **state)
{
	static const unsigned windows[][2] = {{1, 1}, {2, 1}, {3, 1}, {4, 1},
	                                      {7, 1}, {8, 2}, {9, 2}, {100, 20}};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(windows); i++) {
		start(windows[i][0], 1000);
		add(route("a", 1, one), 30);
		assert_int_equal(begin(20), windows[i][1]);
		assert_int_equal(sched.probes, windows[i][1]);
		/* One for one. */
		done();
		assert_int_equal(begin(20), 1);
		end();
	}
}

static void mail_has_the_rest(void **state)
{
	struct qm_route *r;

	(void)state;
	start(8, 1000);
	r = route("a", 1, one);
	add(r, 10);
	assert_int_equal(begin(20), 2);
	assert_int_equal(mail(r, 20), 6);
	/* A full window is full for both. */
	assert_int_equal(begin(20), 0);
	done();
	assert_int_equal(mail(r, 0), 1);
	assert_int_equal(begin(20), 0);
	end();
}

/* With a small window a probe runs only where nobody else is or wants to be. */
static void a_small_window_is_for_mail(void **state)
{
	struct qm_route *r;

	(void)state;
	start(2, 1000);
	r = route("a", 1, one);
	assert_int_equal(mail(r, 1), 1);
	add(r, 2);
	assert_int_equal(begin(20), 0);
	end();
	start(1, 1000);
	r = route("a", 1, one);
	add(r, 2);
	assert_int_equal(begin(20), 1);
	assert_int_equal(mail(r, 2), 0);
	done();
	assert_int_equal(mail(r, 0), 1);
	assert_int_equal(begin(20), 0);
	end();
}

static void all_together(void **state)
{
	(void)state;
	start(100, 1000);
	add(route("a", 1, one), 5);
	add(route("b", 2, one), 5);
	assert_int_equal(begin(4), 4);
	/* In turns. */
	assert_ptr_equal(running[0]->route, running[2]->route);
	assert_ptr_equal(running[1]->route, running[3]->route);
	assert_ptr_not_equal(running[0]->route, running[1]->route);
	end();
	/* A quarter of what smtpc can do, one at least. */
	start(100, 8);
	add(route("a", 1, one), 5);
	assert_int_equal(begin(20), 2);
	end();
	start(100, 2);
	add(route("a", 1, one), 5);
	assert_int_equal(begin(20), 1);
	end();
	start(100, 0);
	add(route("a", 1, one), 5);
	assert_int_equal(begin(20), 0);
	end();
}

/* A route that has no room does not keep others waiting. */
static void others_go_past(void **state)
{
	struct qm_route *a, *b;

	(void)state;
	start(4, 1000);
	a = route("a", 1, one);
	b = route("b", 2, one);
	assert_int_equal(mail(a, 10), 4);
	add(a, 3);
	add(b, 3);
	assert_int_equal(begin(20), 1);
	assert_ptr_equal(running[0]->route, b);
	end();
}

static void the_best_that_lives(void **state)
{
	static const uint16_t prefs[] = {10, 10, 20, 0};
	struct sm_msg_host hosts[3];
	struct qm_probe *p;
	struct qm_route *r;

	(void)state;
	start(4, 1000);
	r = route("a", 1, prefs);
	add(r, 4);
	assert_int_equal(begin(20), 2);
	assert_ptr_not_equal(running[0]->host, running[1]->host);
	assert_true(running[0]->hop < 2 && running[1]->hop < 2);
	/* Busy is no reason to ask a worse one, dead is. */
	assert_int_equal(begin(20), 0);
	done();
	done();
	for (unsigned i = 1; i <= 2; i++)
		assert_true(qm_sched_reached(&sched, &r->hops[i - 1].target.sa, SM_REACH_REFUSED, 0,
		                             SM_STR("no"), now));
	assert_int_equal(begin(20), 1);
	assert_int_equal(running[0]->hop, 2);
	assert_int_equal(qm_probe_hosts(&sched, running[0], now, hosts), 1);
	done();
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
	r = route("a", 1, one);
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
	r = route("a", 1, one);
	add(r, 2);
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < 20; i++) {
			snprintf(key, sizeof(key), "x%u-%u", round, i);
			(void)route(key, 10 + i, one);
		}
		assert_ptr_equal(qm_route_find(&sched, SM_STR("a")), r);
		if (round == 0)
			qm_probe_remove(&sched, &probes[0]);
		else if (round == 1)
			assert_int_equal(begin(20), 1);
	}
	done();
	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "y%u", i);
		(void)route(key, 10 + i, one);
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
