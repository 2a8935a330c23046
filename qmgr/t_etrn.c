/* Clients that ask for mail that waits, on a whole queue manager. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "qmgr/filter.h"
#include "qmgr/t_qm.h"

/* `client`: NULL: a program of this host. */
static void send_etrn(const char *client, const char *node)
{
	struct sm_msg_etrn m = {.sess = {1, 1}, .node = sm_str(node)};

	if (client != NULL)
		assert_int_equal(sm_sa_ip(&m.client, sm_str(client), 25), 0);
	t_send(&w.ss.p, SM_MSG_etrn, &m, true);
}

/* Gives the answer. */
static unsigned asked_by(const char *client, const char *node)
{
	send_etrn(client, node);
	t_wait_n(t_verdicts, w.ss.verdicts + 1);
	return w.ss.code;
}

static unsigned asked(const char *node)
{
	return asked_by("192.0.2.1", node);
}

static void replies(void **state)
{
	(void)state;
	t_qm_all();
	(void)t_waiting("s@a.test", "x@hold1.test");
	(void)t_waiting("s@a.test", "y@hold1.test");
	(void)t_waiting("s@a.test", "x@hold-sub.hold1.test");
	(void)t_waiting("s@a.test", "x@hold2.test");
	assert_int_equal(asked("hold3.test"), 251);
	assert_int_equal(asked("other.test"), 459);
	assert_int_equal(asked("@other.test"), 251);
	assert_int_equal(asked("@"), 501);
	assert_int_equal(asked(""), 501);
	assert_int_equal(asked("no domain"), 501);
	assert_int_equal(w.sc.tasks, 0);
	assert_int_equal(asked("hold1.test"), 253);
	assert_string_equal(w.ss.text, "2.0.0 OK, 2 pending messages for node hold1.test started");
	t_wait_n(t_tasks, 2);
	t_wait_n(t_deferred, 2);
	assert_int_equal(asked("hold1.test"), 251);
	assert_int_equal(asked("@hold1.test"), 253);
	assert_int_equal(asked("hold2.test"), 253);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 4);
}

/* What waits for a run of the schedule is asked for as well. */
static void of_the_queue(void **state)
{
	(void)state;
	t_qm_all();
	(void)t_waiting("s@a.test", "x@queue.test");
	assert_int_equal(asked("queue.test"), 253);
	t_wait_over();
}

/* Those of a former run are on their way. */
static void twice(void **state)
{
	(void)state;
	t_qm_all();
	(void)t_waiting("s@a.test", "x@hold.test");
	w.sc.hold = true;
	assert_int_equal(asked("hold.test"), 253);
	t_wait_n(t_tasks, 1);
	assert_in_range(asked("hold.test"), 251, 252);
	w.sc.hold = false;
	t_answer(&w.sc, &w.sc.task[0]);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 1);
}

/* What an operator holds does not go, but it is there. */
static void held(void **state)
{
	struct sm_str all = SM_STR("rcpt=x@hold.test");
	struct qm_bulk_ask a = {.verb = QM_MARK_HOLD, .text = SM_STR(""), .reason = SM_STR("")};

	(void)state;
	t_qm_all();
	(void)t_waiting("s@a.test", "x@hold.test");
	assert_int_equal(qm_filter_new(&all, 1, 0, &a.filter), 0);
	assert_int_equal(qm_bulk_begin(&w.q, &a), 0);
	while (qm_bulk_busy(&w.q))
		t_turns(5);
	assert_int_equal(asked("hold.test"), 252);
	t_turns(100);
	assert_int_equal(w.sc.tasks, 0);
}

/* Nobody waits for smar for long. */
static void smar_says_nothing(void **state)
{
	(void)state;
	t_qm_all();
	w.smar_hold = true;
	assert_int_equal(asked("hold.test"), 250);
	w.smar_hold = false;
	t_down(&w.smar);
	assert_int_equal(asked("hold.test"), 458);
}

static void too_often(void **state)
{
	(void)state;
	w.conf.etrn.max_client = 3;
	w.conf.etrn.max_node = 2;
	t_qm_all();
	assert_int_equal(asked("hold.test"), 251);
	assert_int_equal(asked("hold.test"), 251);
	/* By whomever. */
	assert_int_equal(asked_by("192.0.2.2", "hold.test"), 458);
	assert_int_equal(asked_by("192.0.2.2", "HOLD.test"), 458);
	assert_int_equal(asked_by("192.0.2.2", "hold2.test"), 251);
	assert_int_equal(asked_by("192.0.2.2", "hold3.test"), 458);
	assert_int_equal(asked("hold3.test"), 251);
	assert_int_equal(asked("hold4.test"), 458);
	/* Programs of this host are not limited, nodes are. */
	for (unsigned i = 0; i < 4; i++) {
		char node[] = "holdN.test";

		node[4] = (char)('5' + i);
		assert_int_equal(asked_by(NULL, node), 251);
	}
	w.q.conf = &w.conf;
	w.conf.etrn.max_node = w.conf.etrn.max_client = 0;
	qm_etrn_reload(&w.q);
	assert_int_equal(asked("hold.test"), 251);
}

/* Who asked is gone before the answer, or all of qmgr is. */
static void gone(void **state)
{
	(void)state;
	t_qm_all();
	(void)t_waiting("s@a.test", "x@hold.test");
	w.smar_hold = true;
	send_etrn(NULL, "hold.test");
	t_pump();
	t_down(&w.ss.p);
	t_wait_n(t_asked, w.questions + 1);
	t_smtps_up(&w.ss, 1);
	send_etrn(NULL, "hold.test");
	t_wait_n(t_asked, w.questions + 1);
	w.smar_hold = false;
	t_qm_again();
	assert_int_equal(w.sc.tasks, 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup_waiting, t_qm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(replies),           T(of_the_queue), T(twice), T(held),
	    T(smar_says_nothing), T(too_often),    T(gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
