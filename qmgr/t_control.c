/* The control socket of a whole queue manager: what words mean, that long answers hold up nobody,
 * and that who leaves in the middle leaves nothing behind. What operators see is tested end to end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "libsm/time.h"
#include "qmgr/t_qm.h"

#define MANY 30000

static size_t want;
static uint64_t want_delivered;

static bool are_deferred(void)
{
	return qm_edbc_count(w.q.edbc) == want && w.q.txns.by_id.count == 0;
}

static bool are_delivered(void)
{
	return w.q.stats.delivered >= want_delivered;
}

/* Ask; gives the status. */
static int ask(const char *words)
{
	t_send_ctl(words);
	t_wait_ctl();
	assert_false(w.ctl.gone);
	return w.ctl_status;
}

static unsigned lines(const char *with)
{
	unsigned n = 0;

	for (const char *p = w.ctl_text; (p = strstr(p, with)) != NULL; p++)
		n++;
	return n;
}

static void start_with_deferred(size_t mails)
{
	w.conf.retry_min_ms = 3600000;
	w.conf.retry_max_ms = 3600000;
	t_qm_all();
	for (size_t i = 0; i < mails; i++) {
		char sender[32];

		snprintf(sender, sizeof(sender), "s%zu@a.test", i % 3);
		t_commit(sender, i % 2 ? "temp@b.test" : "temp@b.test temp@c.test");
	}
	want = mails;
	assert_true(t_wait(are_deferred));
}

/* Entries of an index that is larger than any socket takes. */
static void fill_index(void)
{
	struct qm_rec_rcpt r = {.addr = SM_STR("somebody@far.test"),
	                        .state = QM_REC_OPEN,
	                        .next_try_s = sm_wall_s() + 86400,
	                        .code = 451,
	                        .text = SM_STR("4.7.1 come back later")};
	struct qm_rec_txn rec = {
	    .sender = SM_STR("s@a.test"), .received_s = sm_wall_s(), .rcpts_count = 1, .rcpts = &r};

	/* The newest first, so that the order of the table is not that of arrival. */
	for (uint64_t i = MANY; i > 0; i--) {
		rec.ta = rec.content = (struct sm_id){i, 7};
		qm_edbc_put_rec(w.q.edbc, &rec, (struct qm_loc){0});
	}
}

static void drain_index(void)
{
	for (uint64_t i = 1; i <= MANY; i++)
		qm_edbc_remove(w.q.edbc, (struct sm_id){i, 7});
}

static void words_are_understood(void **state)
{
	char words[128], id[SM_ID_SIZE];
	uint64_t cursor = 0;

	(void)state;
	start_with_deferred(6);
	assert_int_equal(ask("list"), 0);
	assert_int_equal(lines("\"type\":\"mail\""), 6);
	assert_int_equal(lines("\"rcpt\":\""), 9);
	assert_int_equal(ask("list domain=c.test sender=s0@*"), 0);
	assert_int_equal(lines("\"type\":\"mail\""), 1);
	assert_int_equal(ask("list domain=nowhere.test"), 1);
	assert_int_equal(ask("list --limit=2"), 0);
	assert_int_equal(lines("\"type\":\"mail\""), 2);
	sm_id_text(qm_edbc_id(qm_edbc_walk(w.q.edbc, &cursor)), id);
	snprintf(words, sizeof(words), "list %s %s id=%s", id, id, id);
	assert_int_equal(ask(words), 0);
	assert_int_equal(lines("\"type\":\"mail\""), 1);
	snprintf(words, sizeof(words), "show %s", id);
	assert_int_equal(ask(words), 0);
	assert_int_equal(lines("\"type\":\"envelope\""), 1);
	assert_int_equal(ask("summary --by=sender"), 0);
	assert_int_equal(lines("\"type\":\"row\""), 3);
	assert_int_equal(lines("\"rcpts\":3,"), 3);
	assert_non_null(strstr(w.ctl_text, "\"mails\":6,\"rcpts\":9"));
	for (const char *const *bad =
	         (const char *const[]){"dance", "list --limit=0", "list --by=sender", "status x",
	                               "remove", "remove all id=x", "remove --for=3 all",
	                               "loglevel 16", "stop", "summary --by=x", "show", NULL};
	     *bad; bad++)
		assert_int_equal(ask(*bad), 64);
}

/* Pages in the order of arrival, whatever the order in the tables is. */
static void pages_follow_each_other(void **state)
{
	char words[64], id[SM_ID_SIZE];
	const char *at = "";

	(void)state;
	start_with_deferred(0);
	fill_index();
	snprintf(words, sizeof(words), "list --limit=3");
	for (uint64_t i = 1; i <= 9; i++) {
		if (i % 3 == 1) {
			assert_int_equal(ask(words), 0);
			assert_int_equal(lines("\"type\":\"mail\""), 3);
			at = w.ctl_text;
		}
		sm_id_text((struct sm_id){i, 7}, id);
		at = strstr(at, id);
		assert_non_null(at);
		snprintf(words, sizeof(words), "list --limit=3 --after=%s", id);
	}
	sm_id_text((struct sm_id){MANY, 7}, id);
	snprintf(words, sizeof(words), "list --limit=3 --after=%s", id);
	assert_int_equal(ask(words), 1);
	drain_index();
}

static void acts_are_answered(void **state)
{
	(void)state;
	start_with_deferred(6);
	assert_int_equal(ask("hold --dry-run all"), 0);
	assert_non_null(strstr(w.ctl_text, "\"mails\":6,\"rcpts\":9"));
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 0);
	assert_int_equal(ask("hold domain=c.test"), 0);
	assert_int_equal(qm_edbc_held_count(w.q.edbc), 3);
	assert_int_equal(ask("suspend b.test --for=3600 --reason=x"), 0);
	assert_non_null(qm_halted(&w.q, SM_STR("b.test")));
	assert_int_equal(ask("resume b.test"), 0);
	assert_int_equal(ask("resume b.test"), 1);
	assert_int_equal(ask("remove all"), 0);
	assert_int_equal(ask("list"), 1);
	assert_true(t_wait(t_all_over));
}

/* A flush asks where its mail goes, and begins when it knows. */
static void a_flush_revives(void **state)
{
	(void)state;
	start_with_deferred(2);
	w.smar_hold = true;
	t_send_ctl("flush domain=b.test");
	t_turns(50);
	assert_false(w.ctl_done);
	t_down(&w.ctl); /* and nobody waits any more */
	t_turns(20);
	w.smar_hold = false;
}

static void a_long_answer_holds_up_nobody(void **state)
{
	struct qm_log_stat before, after;

	(void)state;
	start_with_deferred(0);
	fill_index();
	/* Mail goes on while a long answer is under way. */
	t_send_ctl("list");
	for (int i = 0; i < 5 && !w.ctl_done; i++)
		t_turns(1);
	qm_log_stat(qm_store_ibdb(w.q.store), &before);
	want_delivered = w.q.stats.delivered + 1;
	t_commit("s@a.test", "x@b.test");
	assert_true(t_wait(are_delivered));
	qm_log_stat(qm_store_ibdb(w.q.store), &after);
	assert_true(after.records > before.records);
	t_wait_ctl();
	assert_int_equal(w.ctl_status, 0);
	/* One at a time. */
	t_send_ctl("summary");
	t_send_ctl("status");
	t_wait_ctl();
	assert_int_equal(w.ctl_status, 75);
	drain_index();
}

static void who_leaves_is_forgotten(void **state)
{
	static const char *const asked[] = {
	    "list",           "list --limit=100", "summary", "why far.test", "hold --dry-run all",
	    "stop accepting", "start accepting"};

	(void)state;
	start_with_deferred(1);
	fill_index();
	for (size_t i = 0; i < SM_ARRAY_SIZE(asked); i++) {
		for (int turns = 0; turns < 3; turns++) {
			t_send_ctl(asked[i]);
			t_turns(turns);
			t_down(&w.ctl);
			t_turns(2);
		}
	}
	drain_index();
	assert_int_equal(ask("status"), 0);
	t_send_ctl("summary");
	t_qm_stop();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(words_are_understood, t_qm_setup, t_qm_teardown),
	    cmocka_unit_test_setup_teardown(pages_follow_each_other, t_qm_setup, t_qm_teardown),
	    cmocka_unit_test_setup_teardown(acts_are_answered, t_qm_setup, t_qm_teardown),
	    cmocka_unit_test_setup_teardown(a_flush_revives, t_qm_setup, t_qm_teardown),
	    cmocka_unit_test_setup_teardown(a_long_answer_holds_up_nobody, t_qm_setup,
	                                    t_qm_teardown),
	    cmocka_unit_test_setup_teardown(who_leaves_is_forgotten, t_qm_setup, t_qm_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
