/* The scheduler as scenarios: grouping, turns, windows, choice of agent. No clock, no process. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "qmgr/sched.h"

static struct qm_txn_table txns;
static struct qm_sched sched;
static uint64_t next_id;

static int setup(void **state)
{
	const struct qm_sched_conf conf = {.initial_window = 2,
	                                   .max_window = 4,
	                                   .lmtp_max_rcpts = 3,
	                                   .smtp_max_rcpts = 100,
	                                   .max_routes = 8};

	(void)state;
	qm_txn_table_init(&txns);
	qm_sched_init(&sched, &conf);
	next_id = 1;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	SM_LIST_FOR (txn, &txns.active, struct qm_txn, link)
		for (unsigned i = 0; i < txn->rcpt_count; i++)
			sm_list_remove(&txn->rcpts[i].link);
	for (unsigned i = 0; i < QM_AGENTS_MAX; i++)
		if (sched.agents[i])
			sched.agents[i]->running = 0;
	qm_sched_fini(&sched);
	qm_txn_table_fini(&txns);
	return 0;
}

static struct qm_route *route(const char *key, enum sm_agent agent)
{
	struct sm_msg_host host = {.name = SM_STR("mx.test")};
	struct sm_msg_route m = {
	    .agent = (uint8_t)agent, .key = sm_str(key), .hosts_count = 1, .hosts = &host};

	return qm_route_get(&sched, &m);
}

/* A transaction with so many recipients, all ready for one route. */
static struct qm_txn *mail(struct qm_route *r, unsigned rcpts)
{
	struct qm_txn *txn = qm_txn_new(&txns, (struct sm_id){next_id++, 1}, rcpts);

	for (unsigned i = 0; i < rcpts; i++)
		qm_sched_add(&sched, r, &txn->rcpts[i]);
	return txn;
}

static bool pick(struct qm_pick *p)
{
	struct sm_list rcpts, *e;
	unsigned n = 0;

	sm_list_init(&rcpts);
	if (!qm_sched_next(&sched, p, &rcpts))
		return false;
	while ((e = sm_list_shift(&rcpts)) != NULL) {
		qm_rcpt_set(SM_LIST_ENTRY(e, struct qm_rcpt, link), QM_RCPT_DELIVERING);
		n++;
	}
	assert_int_equal(n, p->count);
	return true;
}

static void recipients_of_a_route_go_together(void **state)
{
	struct qm_route *r = route("smtp a", SM_AGENT_SMTP);
	struct qm_txn *txn = mail(r, 20);
	struct qm_pick p;

	(void)state;
	assert_false(pick(&p)); /* nobody to give it to */
	qm_agent_add(&sched, 10);
	assert_true(pick(&p));
	assert_ptr_equal(p.txn, txn);
	assert_int_equal(p.count, 20);
	assert_false(p.reuse);
	assert_false(pick(&p));
}

static void lmtp_has_its_own_limit(void **state)
{
	struct qm_pick p;
	unsigned counts[4] = {3, 3, 1, 0}, n = 0;

	(void)state;
	qm_agent_add(&sched, 10);
	sched.conf.initial_window = 10;
	mail(route("lmtp a", SM_AGENT_LMTP), 7);
	while (pick(&p))
		assert_int_equal(p.count, counts[n++]);
	assert_int_equal(n, 3);
}

static void routes_take_turns(void **state)
{
	struct qm_route *a = route("a", SM_AGENT_SMTP), *b = route("b", SM_AGENT_SMTP);
	struct qm_pick p;
	char order[8] = "";

	(void)state;
	qm_agent_add(&sched, 100);
	for (int i = 0; i < 50; i++)
		mail(a, 1);
	mail(b, 1);
	mail(b, 1);
	for (int i = 0; i < 4; i++) {
		assert_true(pick(&p));
		order[i] = p.route->key.p[0];
	}
	assert_string_equal(order, "abab");
	assert_false(pick(&p)); /* both windows are full */
	assert_int_equal(a->running, 2);
	assert_int_equal(a->waiting, 48);
}

static void window_grows_and_shrinks(void **state)
{
	struct qm_agent *g = qm_agent_add(&sched, 100);
	struct qm_route *r = route("a", SM_AGENT_SMTP);
	struct qm_pick p;
	unsigned running = 0;

	(void)state;
	for (int i = 0; i < 100; i++)
		mail(r, 1);
	while (pick(&p))
		running++;
	assert_int_equal(running, 2);
	for (int i = 0; i < 10; i++) {
		qm_sched_done(&sched, r, g, SM_REACH_OK, false);
		running--;
		while (pick(&p))
			running++;
	}
	assert_int_equal(running, 4); /* max_window */
	qm_sched_done(&sched, r, g, SM_REACH_BUSY, false);
	running--;
	assert_int_equal(r->window, 2);
	assert_false(pick(&p));
	while (running-- > 0)
		qm_sched_done(&sched, r, g, SM_REACH_REFUSED, false);
	assert_int_equal(r->window, 1);
}

static void open_sessions_are_preferred(void **state)
{
	struct qm_agent *a = qm_agent_add(&sched, 100), *b = qm_agent_add(&sched, 100);
	struct qm_route *r = route("a", SM_AGENT_SMTP);
	struct qm_pick p;

	(void)state;
	mail(r, 1);
	assert_true(pick(&p));
	assert_ptr_equal(p.agent, a);
	qm_sched_done(&sched, r, a, SM_REACH_OK, true);
	b->max_tasks = 1000; /* much more room there */
	sched.room += 900;
	mail(r, 1);
	assert_true(pick(&p));
	assert_ptr_equal(p.agent, a);
	assert_true(p.reuse);
	qm_sched_done(&sched, r, a, SM_REACH_OK, true);
	qm_sched_session_gone(r, a);
	qm_sched_session_gone(r, a); /* more than there are: harmless */
	mail(r, 1);
	assert_true(pick(&p));
	assert_ptr_equal(p.agent, b);
	assert_false(p.reuse);
	qm_sched_done(&sched, r, b, SM_REACH_OK, false);
}

static void room_of_agents_is_kept(void **state)
{
	struct qm_agent *a = qm_agent_add(&sched, 1);
	struct qm_route *r = route("a", SM_AGENT_SMTP);
	struct qm_pick p;

	(void)state;
	mail(r, 1);
	mail(r, 1);
	assert_true(pick(&p));
	assert_false(pick(&p));
	qm_sched_done(&sched, r, a, SM_REACH_OK, false);
	qm_agent_remove(&sched, &a);
	assert_int_equal(sched.room, 0);
	assert_false(pick(&p));
	qm_agent_add(&sched, 1);
	assert_true(pick(&p));
}

static void drained_routes_hold_nothing(void **state)
{
	struct qm_route *r = route("a", SM_AGENT_SMTP);
	struct sm_list out;
	struct qm_pick p;
	unsigned n = 0;

	(void)state;
	qm_agent_add(&sched, 10);
	mail(r, 3);
	mail(r, 2);
	sm_list_init(&out);
	qm_sched_drain(&sched, r, &out);
	while (sm_list_shift(&out))
		n++;
	assert_int_equal(n, 5);
	assert_int_equal(r->waiting, 0);
	assert_false(pick(&p));
}

static void one_is_taken_out(void **state)
{
	struct qm_route *r = route("a", SM_AGENT_SMTP);
	struct qm_txn *txn;
	struct qm_pick p;

	(void)state;
	qm_agent_add(&sched, 10);
	txn = mail(r, 3);
	qm_sched_remove(&sched, &txn->rcpts[1]);
	assert_int_equal(r->waiting, 2);
	assert_true(pick(&p));
	assert_int_equal(p.count, 2);
	assert_int_equal(txn->rcpts[1].state, QM_RCPT_READY);
	txn = mail(r, 1);
	qm_sched_remove(&sched, &txn->rcpts[0]); /* the last of its group */
	assert_int_equal(r->waiting, 0);
	assert_false(pick(&p));
}

static void unused_routes_are_forgotten(void **state)
{
	char key[16];

	(void)state;
	mail(route("busy", SM_AGENT_SMTP), 1);
	for (int i = 0; i < 100; i++) {
		snprintf(key, sizeof(key), "r%d", i);
		route(key, SM_AGENT_SMTP);
	}
	assert_int_equal(sched.routes.count, 8);
	assert_non_null(qm_route_find(&sched, SM_STR("busy")));
	assert_null(qm_route_find(&sched, SM_STR("r5")));
	assert_non_null(qm_route_find(&sched, SM_STR("r99")));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(recipients_of_a_route_go_together),
	    T(lmtp_has_its_own_limit),
	    T(routes_take_turns),
	    T(window_grows_and_shrinks),
	    T(open_sessions_are_preferred),
	    T(room_of_agents_is_kept),
	    T(one_is_taken_out),
	    T(drained_routes_hold_nothing),
	    T(unused_routes_are_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
