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
static int64_t now; /* ms */

static int setup(void **state)
{
	const struct qm_sched_conf conf = {.hosts = {.oci = 2,
	                                             .ocm = 4,
	                                             .octo_ms = 3600000,
	                                             .penalty_ms = 60000,
	                                             .penalty_max_ms = 1800000,
	                                             .max = 1000},
	                                   .lmtp_max_rcpts = 3,
	                                   .smtp_max_rcpts = 100,
	                                   .max_routes = 8};

	(void)state;
	qm_txn_table_init(&txns);
	qm_sched_init(&sched, &conf);
	next_id = 1;
	now = 1000000;
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

/* A route to these hosts: "10.0.0.1/10 10.0.0.2/20", all with port 25. */
static struct qm_route *route_to(const char *key, enum sm_agent agent, const char *hosts)
{
	struct sm_msg_host host[8];
	struct sm_msg_route m = {.agent = (uint8_t)agent, .key = sm_str(key), .hosts = host};
	struct sm_str rest = sm_str(hosts);

	while (rest.n > 0) {
		struct sm_str pref, one = sm_str_word(&rest);
		struct sm_msg_host *h = &host[m.hosts_count++];
		uint64_t v;

		*h = (struct sm_msg_host){.name = SM_STR("mx.test")};
		assert_int_equal(sm_sa_ip(&h->sa, sm_str_split(one, '/', &pref), 25), 0);
		assert_int_equal(sm_str_u64(pref, 10, 1000, &v), 0);
		h->pref = (uint16_t)v;
	}
	return qm_route_get(&sched, &m, now);
}

/* A route to a host of its own. */
static struct qm_route *route(const char *key, enum sm_agent agent)
{
	char host[32];

	snprintf(host, sizeof(host), "10.1.%u.%u/10", (unsigned char)key[0],
	         (unsigned)(sm_hash_str(sm_str(key)) % 250));
	return route_to(key, agent, host);
}

static struct sm_sa address(const char *text)
{
	struct sm_sa sa;

	assert_int_equal(sm_sa_ip(&sa, sm_str(text), 25), 0);
	return sa;
}

/* A transaction of this sender with so many recipients, all ready for one route. */
static struct qm_txn *mail_from(const char *sender, struct qm_route *r, unsigned rcpts)
{
	struct qm_txn *txn = qm_txn_new(&txns, (struct sm_id){next_id++, 1}, rcpts);

	txn->sender = sm_str(sender);
	for (unsigned i = 0; i < rcpts; i++)
		qm_sched_add(&sched, r, &txn->rcpts[i]);
	qm_sched_release(&sched, txn);
	return txn;
}

static struct qm_txn *mail(struct qm_route *r, unsigned rcpts)
{
	return mail_from("a@src.test", r, rcpts);
}

static bool pick(struct qm_pick *p)
{
	struct sm_list rcpts, *e;
	unsigned n = 0;

	sm_list_init(&rcpts);
	if (qm_sched_next(&sched, now, p, &rcpts) != QM_STEP_TASK)
		return false;
	while ((e = sm_list_shift(&rcpts)) != NULL) {
		qm_rcpt_set(SM_LIST_ENTRY(e, struct qm_rcpt, link), QM_RCPT_DELIVERING);
		n++;
	}
	assert_int_equal(n, p->count);
	return true;
}

/* Tasks that may begin now; the last of them in *p. */
static unsigned pick_all(struct qm_pick *p)
{
	unsigned n = 0;

	while (pick(p))
		n++;
	return n;
}

static void done(const struct qm_pick *p, enum sm_reach reach, bool kept)
{
	struct sm_sa sa = p->host->sa;

	qm_sched_done(&sched, p->route, p->host, p->agent, kept ? &sa : NULL, now);
	(void)qm_sched_reached(&sched, &sa, reach, 421, SM_STR("4.3.2 busy"), now);
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

/* What it takes to find something, counted: not more where there is more of everything else. */
#define MANY 400

static struct qm_route *route_number(unsigned i)
{
	char key[16];

	snprintf(key, sizeof(key), "n%u", i);
	return route(key, SM_AGENT_SMTP);
}

static void groups_are_found_at_once(void **state)
{
	struct qm_route *common, *routes[MANY];
	struct qm_txn *wide, *txn[MANY];

	(void)state;
	sched.conf.max_routes = 2 * MANY;
	for (unsigned i = 0; i < MANY; i++)
		routes[i] = route_number(i);
	common = route("common", SM_AGENT_SMTP);
	/* One to many places, several recipients at each. */
	wide = qm_txn_new(&txns, (struct sm_id){next_id++, 1}, 3 * MANY);
	for (unsigned i = 0; i < 3 * MANY; i++)
		qm_sched_add(&sched, routes[i % MANY], &wide->rcpts[i]);
	assert_int_equal(wide->rcpts[0].group->count, 3);
	assert_true(sched.looked <= 3 * MANY);
	/* Many to one place and to one of the others. */
	sched.looked = 0;
	for (unsigned i = 0; i < MANY; i++) {
		txn[i] = qm_txn_new(&txns, (struct sm_id){next_id++, 1}, 4);
		qm_sched_add(&sched, common, &txn[i]->rcpts[0]);
		qm_sched_add(&sched, routes[i], &txn[i]->rcpts[1]);
	}
	for (unsigned i = 0; i < MANY; i++) {
		qm_sched_add(&sched, routes[i], &txn[i]->rcpts[2]);
		qm_sched_add(&sched, common, &txn[i]->rcpts[3]);
		assert_int_equal(txn[i]->rcpts[0].group->count, 2);
		assert_int_equal(txn[i]->rcpts[1].group->count, 2);
		assert_ptr_equal(txn[i]->rcpts[1].group->route, routes[i]);
	}
	assert_true(sched.looked <= (size_t)4 * 2 * MANY);
	qm_sched_release(&sched, wide);
	for (unsigned i = 0; i < MANY; i++)
		qm_sched_release(&sched, txn[i]);
	assert_int_equal(common->waiting, 2 * MANY);
	assert_int_equal(routes[0]->waiting, 5);
}

static void room_is_made_without_a_look_at_all_routes(void **state)
{
	struct qm_route *large;
	struct sm_list out;

	(void)state;
	sched.conf.max_routes = 2 * MANY;
	for (unsigned i = 0; i < MANY; i++)
		mail(route_number(i), 1);
	mail(route("some", SM_AGENT_SMTP), QM_ROUTE_MUCH);
	large = route("large", SM_AGENT_SMTP);
	mail(large, QM_ROUTE_MUCH - 1);
	assert_false(sm_list_linked(&large->much));
	for (unsigned i = 0; i < 3; i++)
		mail(large, QM_ROUTE_MUCH);
	sm_list_init(&out);
	sched.looked = 0;
	assert_null(qm_sched_make_room(&sched, 800, 1000, &out, now));  /* there is room */
	assert_null(qm_sched_make_room(&sched, 8000, 8000, &out, now)); /* it has not that much */
	assert_ptr_equal(qm_sched_make_room(&sched, 1000, 1000, &out, now), large);
	assert_int_equal(sched.looked, 4); /* two routes, twice */
	assert_int_equal(large->waiting, QM_ROUTE_MUCH - 1 + QM_ROUTE_MUCH);
	while (sm_list_shift(&out))
		;
	qm_sched_drain(&sched, large, &out, now);
	assert_false(sm_list_linked(&large->much));
	while (sm_list_shift(&out))
		;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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
	    T(groups_are_found_at_once),
	    T(room_is_made_without_a_look_at_all_routes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
