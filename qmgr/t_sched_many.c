/* The scheduler with many routes and groups: what it looks at to find one is counted. */
#include "qmgr/t_sched.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(groups_are_found_at_once),
	    T(room_is_made_without_a_look_at_all_routes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
