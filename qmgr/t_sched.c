/* The scheduler as scenarios: grouping, turns, windows, choice of agent. No clock, no process. */
#include "qmgr/t_sched.h"

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
	sched.hosts.conf.oci = sched.hosts.conf.ocm = 10;
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

static void senders_take_turns(void **state)
{
	struct qm_route *r = route("a", SM_AGENT_SMTP);
	struct qm_txn *other;
	struct qm_pick p;

	(void)state;
	qm_agent_add(&sched, 100);
	for (int i = 0; i < 1000; i++)
		mail_from("bulk@src.test", r, 1);
	assert_int_equal(pick_all(&p), 2);
	other = mail_from("alice@src.test", r, 1);
	done(&p, SM_REACH_OK, false);
	assert_true(pick(&p)); /* bulk's turn was before she came, or hers is now */
	if (p.txn != other)
		assert_true(pick(&p));
	assert_ptr_equal(p.txn, other);
}

static void window_grows_and_shrinks(void **state)
{
	struct qm_route *r = route("a", SM_AGENT_SMTP);
	struct qm_pick p, any;
	unsigned running;

	(void)state;
	qm_agent_add(&sched, 100);
	for (int i = 0; i < 100; i++)
		mail(r, 1);
	running = pick_all(&p);
	assert_int_equal(running, 2);
	for (int i = 0; i < 10; i++) {
		done(&p, SM_REACH_OK, false);
		running = running - 1 + pick_all(&any);
	}
	assert_int_equal(running, 4); /* ocm */
	done(&p, SM_REACH_BUSY, false);
	assert_int_equal(p.host->window, 2);
	assert_false(pick(&any)); /* three are running */
	done(&p, SM_REACH_BUSY, false);
	assert_int_equal(p.host->window, 1);
	assert_false(pick(&any));
	done(&p, SM_REACH_BUSY, false);
	assert_false(pick(&any));
	done(&p, SM_REACH_OK, false);
	assert_int_equal(pick_all(&any), 2);
}

static void hosts_are_shared_by_routes(void **state)
{
	struct qm_route *a = route_to("a", SM_AGENT_SMTP, "10.0.0.1/10");
	struct qm_route *b = route_to("b", SM_AGENT_SMTP, "10.0.0.1/10");
	char order[8] = "";
	struct qm_pick p;

	(void)state;
	qm_agent_add(&sched, 100);
	sched.hosts.conf.ocm = 2;
	for (int i = 0; i < 10; i++) {
		mail(a, 1);
		mail(b, 1);
	}
	assert_int_equal(pick_all(&p), 2);
	for (int i = 0; i < 4; i++) {
		done(&p, SM_REACH_OK, false);
		assert_true(pick(&p));
		order[i] = p.route->key.p[0];
		assert_false(pick(&(struct qm_pick){0}));
	}
	assert_true(strcmp(order, "abab") == 0 || strcmp(order, "baba") == 0);
}

/* Whoever was woken for room and does not need it any more must pass it on. */
static void room_is_passed_on(void **state)
{
	struct qm_route *a = route_to("a", SM_AGENT_SMTP, "10.0.0.1/10");
	struct qm_route *b = route_to("b", SM_AGENT_SMTP, "10.0.0.1/10");
	struct qm_route *c = route_to("c", SM_AGENT_SMTP, "10.0.0.1/10");
	struct qm_pick p, q;
	struct sm_list out;

	(void)state;
	sched.hosts.conf.oci = sched.hosts.conf.ocm = 1;
	qm_agent_add(&sched, 100);
	mail(a, 1);
	assert_true(pick(&p));
	mail(b, 1);
	mail(c, 1);
	assert_false(pick(&q));
	assert_int_equal(sched.waiting, 2);
	qm_sched_done(&sched, p.route, p.host, p.agent, NULL, now); /* wakes b */
	assert_int_equal(sched.waiting, 1);
	sm_list_init(&out);
	qm_sched_drain(&sched, b, &out, now);
	while (sm_list_shift(&out))
		;
	assert_true(pick(&q));
	assert_ptr_equal(q.route, c);
}

static void better_preference_first(void **state)
{
	struct qm_route *r = route_to("a", SM_AGENT_SMTP, "10.0.0.1/10 10.0.0.2/10 10.0.0.3/20");
	const char *const best[] = {"10.0.0.1", "10.0.0.2"};
	struct sm_msg_host hosts[3];
	struct sm_sa sa;
	struct qm_pick p;

	(void)state;
	qm_agent_add(&sched, 100);
	for (int i = 0; i < 20; i++)
		mail(r, 1);
	/* Two at each of the best; none goes to a worse one only because those are full. */
	assert_int_equal(pick_all(&p), 4);
	assert_int_equal(qm_pick_hosts(&sched, &p, now, hosts), 3);
	assert_true(sm_sa_eq(&hosts[0].sa, &p.host->sa));
	assert_int_equal(hosts[2].pref, 20);
	for (int i = 0; i < 2; i++) {
		sa = address(best[i]);
		qm_host_find(&sched.hosts, &sa)->busy_ms =
		    now - 3600000; /* nothing went well since */
		assert_true(
		    qm_sched_reached(&sched, &sa, SM_REACH_REFUSED, 0, SM_STR("4.4.1 no"), now));
	}
	assert_null(qm_route_dead(&sched, r, now));
	assert_int_equal(pick_all(&p), 2);
	sa = address("10.0.0.3");
	assert_true(sm_sa_eq(&p.host->sa, &sa));
	assert_int_equal(qm_pick_hosts(&sched, &p, now, hosts), 1);
}

static void dead_hosts_stop_everything_behind_them(void **state)
{
	struct qm_route *a = route_to("a", SM_AGENT_SMTP, "10.0.0.1/10");
	struct qm_route *b = route_to("b", SM_AGENT_SMTP, "10.0.0.1/10");
	struct sm_list rcpts, out;
	const struct qm_host *x;
	struct qm_pick p;
	unsigned seen = 0;

	(void)state;
	sched.hosts.conf.oci = 1;
	qm_agent_add(&sched, 100);
	for (int i = 0; i < 5; i++) {
		mail(a, 1);
		mail(b, 1);
	}
	assert_true(pick(&p));
	assert_false(pick(&(struct qm_pick){0}));
	done(&p, SM_REACH_REFUSED, false);
	sm_list_init(&rcpts);
	sm_list_init(&out);
	while (qm_sched_next(&sched, now, &p, &rcpts) == QM_STEP_DEAD) {
		seen += p.route == a ? 1 : 10;
		x = qm_route_dead(&sched, p.route, now);
		assert_non_null(x);
		assert_int_equal(x->dead_until_ms, now + 60000);
		assert_string_equal(x->text, "4.3.2 busy");
		qm_sched_drain(&sched, p.route, &out, now);
	}
	assert_int_equal(seen, 11);
	while (sm_list_shift(&out))
		;
	now += 60000;
	assert_null(qm_route_dead(&sched, a, now));
	mail(a, 1);
	mail(a, 1);
	assert_int_equal(pick_all(&p), 1); /* a probe */
}

static void rate_spreads_messages(void **state)
{
	struct qm_route *r = route("a", SM_AGENT_SMTP);
	struct qm_pick p;
	unsigned n = 0;

	(void)state;
	sched.hosts.conf.omr = 6;
	qm_agent_add(&sched, 100);
	for (int i = 0; i < 50; i++)
		mail(r, 1);
	for (int64_t end = now + 60000; now < end;) {
		int64_t next;

		while (pick(&p)) {
			done(&p, SM_REACH_OK, true);
			n++;
		}
		next = qm_sched_wake(&sched, now);
		assert_true(next > now);
		now = next;
		(void)qm_sched_wake(&sched, now);
	}
	assert_int_equal(n, 6);
}

static void recipients_wait_for_others(void **state)
{
	struct qm_route *a = route("a", SM_AGENT_SMTP), *b = route("b", SM_AGENT_SMTP);
	struct qm_txn *txn = qm_txn_new(&txns, (struct sm_id){next_id++, 1}, 3);
	struct qm_pick p;

	(void)state;
	txn->sender = SM_STR("");
	qm_agent_add(&sched, 10);
	qm_sched_add(&sched, a, &txn->rcpts[0]);
	assert_false(pick(&p));
	qm_sched_add(&sched, b, &txn->rcpts[1]);
	qm_sched_add(&sched, a, &txn->rcpts[2]);
	assert_false(pick(&p));
	qm_sched_release(&sched, txn);
	assert_true(pick(&p));
	assert_int_equal(p.count, 2);
	assert_true(pick(&p));
	assert_ptr_equal(p.route, b);
}

static void open_sessions_are_preferred(void **state)
{
	struct qm_agent *a = qm_agent_add(&sched, 100), *b = qm_agent_add(&sched, 100);
	struct qm_route *r = route_to("a", SM_AGENT_SMTP, "10.0.0.1/10 10.0.0.2/10");
	const struct qm_host *first;
	struct qm_pick p;

	(void)state;
	mail(r, 1);
	assert_true(pick(&p));
	assert_ptr_equal(p.agent, a);
	first = p.host;
	done(&p, SM_REACH_OK, true);
	b->max_tasks = 1000; /* much more room there */
	sched.room += 900;
	mail(r, 1);
	assert_true(pick(&p));
	assert_ptr_equal(p.agent, a);
	assert_ptr_equal(p.host, first);
	assert_true(p.reuse);
	done(&p, SM_REACH_OK, true);
	qm_route_session_gone(r, a, &first->sa);
	qm_route_session_gone(r, a, &first->sa); /* more than there are: harmless */
	mail(r, 1);
	assert_true(pick(&p));
	assert_ptr_equal(p.agent, b);
	assert_false(p.reuse);
	done(&p, SM_REACH_OK, false);
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
	assert_false(pick(&(struct qm_pick){0}));
	done(&p, SM_REACH_OK, false);
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
	mail_from("b@src.test", r, 2);
	sm_list_init(&out);
	qm_sched_drain(&sched, r, &out, now);
	while (sm_list_shift(&out))
		n++;
	assert_int_equal(n, 5);
	assert_int_equal(r->waiting, 0);
	assert_int_equal(sched.lanes.count, 0);
	assert_false(pick(&p));
}

/* Shuffled hosts are the same hosts; others replace them, also while the route waits for one. */
static void hosts_of_a_route_may_change(void **state)
{
	struct qm_route *r = route_to("a", SM_AGENT_SMTP, "10.0.0.1/10 10.0.0.2/10");
	struct qm_hop *hops = r->hops;
	struct sm_sa sa = address("10.0.0.9");
	struct qm_pick p;

	(void)state;
	qm_agent_add(&sched, 100);
	assert_ptr_equal(route_to("a", SM_AGENT_SMTP, "10.0.0.2/10 10.0.0.1/10")->hops, hops);
	for (int i = 0; i < 10; i++)
		mail(r, 1);
	assert_int_equal(pick_all(&p), 4);
	assert_int_equal(r->waits, 2);
	assert_ptr_equal(route_to("a", SM_AGENT_SMTP, "10.0.0.9/10"), r);
	assert_int_equal(r->waits, 0);
	assert_int_equal(pick_all(&p), 2);
	assert_true(sm_sa_eq(&p.host->sa, &sa));
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
	txn = qm_txn_new(&txns, (struct sm_id){next_id++, 1}, 1);
	qm_sched_add(&sched, r, &txn->rcpts[0]);
	qm_sched_remove(&sched, &txn->rcpts[0]); /* while it is held */
	assert_true(sm_list_empty(&r->held));
	assert_true(sm_list_empty(&txn->held));
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(recipients_of_a_route_go_together),
	    T(lmtp_has_its_own_limit),
	    T(routes_take_turns),
	    T(senders_take_turns),
	    T(window_grows_and_shrinks),
	    T(hosts_are_shared_by_routes),
	    T(room_is_passed_on),
	    T(better_preference_first),
	    T(dead_hosts_stop_everything_behind_them),
	    T(rate_spreads_messages),
	    T(recipients_wait_for_others),
	    T(hosts_of_a_route_may_change),
	    T(open_sessions_are_preferred),
	    T(room_of_agents_is_kept),
	    T(one_is_taken_out),
	    T(drained_routes_hold_nothing),
	    T(unused_routes_are_forgotten),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
