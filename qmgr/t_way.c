/* A second way when the first one fails, on a whole queue manager. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "qmgr/edbc.h"
#include "qmgr/t_qm.h"

/* Of the only mail that is deferred. */
static struct qm_edbc_rcpt deferred(void)
{
	uint64_t cursor = 0;
	struct qm_edbc_reader in = qm_edbc_read(w.q.edbc, qm_edbc_walk(w.q.edbc, &cursor));
	struct qm_edbc_rcpt x;

	assert_true(qm_edbc_read_rcpt(&in, &x));
	return x;
}

static void assert_task(unsigned at, const char *host, const char *rcpt)
{
	assert_true(at < w.sc.tasks);
	assert_string_equal(w.sc.task[at].host, host);
	assert_int_equal(w.sc.task[at].count, 1);
	assert_string_equal(w.sc.task[at].rcpt[0], rcpt);
}

/* Only who was not served goes on, at once; what smar has to know is told. */
static void at_once(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	(void)t_taken("s@a.test", "busy@ways.test ok@ways.test");
	t_wait_over();
	assert_int_equal(w.sc.tasks, 2);
	assert_string_equal(w.sc.task[0].host, "mx.test");
	assert_int_equal(w.sc.task[0].count, 2);
	assert_task(1, "second.test", "busy@ways.test");
	assert_int_equal(w.asked_way.way, 1);
	assert_int_equal(w.asked_way.rcpts, 2);
	assert_true(w.asked_way.size > 0);
	assert_int_equal(w.asked_way.flags & SM_ROUTE_AGAIN, 0);
}

/* All ways together are one try; the next attempt begins with the first. */
static void all_fail(void **state)
{
	(void)state;
	w.conf.retry_min_ms = w.conf.retry_max_ms = 1000;
	t_qm_all();
	(void)t_waiting("s@a.test", "temp@ways.test");
	assert_int_equal(w.sc.tasks, 2);
	assert_task(0, "mx.test", "temp@ways.test");
	assert_task(1, "second.test", "temp@ways.test");
	assert_int_equal(deferred().tries, 1);
	t_wait_n(t_tasks, 4);
	assert_task(2, "mx.test", "temp@ways.test");
	assert_task(3, "second.test", "temp@ways.test");
	assert_true(w.asked_way.flags & SM_ROUTE_AGAIN);
	t_wait_n(t_deferred, 1);
	assert_int_equal(deferred().tries, 2);
}

/* One that is known as dead is not tried again for each mail, and holds up nobody. */
static void dead_one(void **state)
{
	(void)state;
	t_slow_retries();
	t_qm_all();
	(void)t_waiting("s@a.test", "dead@ways.test"); /* both are now */
	assert_int_equal(w.sc.tasks, 2);
	qm_sched_revive_host(&w.q.sched,
	                     &qm_route_find(&w.q.sched, SM_STR("second.test"))->hops[0].target.sa);
	(void)t_taken("s@a.test", "ok@ways.test");
	t_wait_n(t_tasks, 3);
	assert_task(2, "second.test", "ok@ways.test");
	t_wait_n(t_deferred, 1);
}

/* What waits behind one that dies goes the other way with the one that found out. */
static void behind_a_dead_one(void **state)
{
	(void)state;
	t_slow_retries();
	w.sc.hold = true;
	t_qm_no_smtpc();
	t_smtpc_up(&w.sc, 1);
	(void)t_taken("s@a.test", "gone@ways.test");
	t_wait_n(t_tasks, 1);
	(void)t_taken("s@a.test", "ok@ways.test");
	t_wait_n(t_asked, 2);
	t_turns(50);
	w.sc.hold = false;
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 3);
	assert_task(0, "mx.test", "gone@ways.test");
	assert_string_equal(w.sc.task[1].host, "second.test");
	assert_string_equal(w.sc.task[2].host, "second.test");
}

/* What is refused for good, our own trouble, and what may have arrived, go no other way. */
static void not_at_once(void **state)
{
	static const char *const rcpts[] = {"local@ways.test", "unsure@ways.test"};

	(void)state;
	t_slow_retries();
	t_qm_all();
	for (unsigned i = 0; i < SM_ARRAY_SIZE(rcpts); i++) {
		(void)t_waiting("s@a.test", rcpts[i]);
		assert_int_equal(w.sc.tasks, i + 1);
		assert_task(i, "mx.test", rcpts[i]);
	}
	(void)t_taken("", "perm@ways.test");
	t_wait_n(t_tasks, 3);
	t_wait_n(t_deferred, 2);
	for (unsigned i = 0; i < w.sc.tasks; i++)
		assert_string_not_equal(w.sc.task[i].host, "second.test");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(at_once, t_qm_setup, t_qm_teardown),
	    cmocka_unit_test_setup_teardown(all_fail, t_qm_setup, t_qm_teardown),
	    cmocka_unit_test_setup_teardown(dead_one, t_qm_setup, t_qm_teardown),
	    cmocka_unit_test_setup_teardown(behind_a_dead_one, t_qm_setup, t_qm_teardown),
	    cmocka_unit_test_setup_teardown(not_at_once, t_qm_setup, t_qm_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
