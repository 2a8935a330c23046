/* Aliases: the whole queue manager with puppets around it. What members get, once each, whatever
 * happens in the middle. Every test ends with nothing left anywhere. */
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

/* How many members were given to smtpc so far. */
static unsigned given(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w.sc.tasks; i++)
		if (!w.sc.task[i].dsn_kind)
			n += w.sc.task[i].count;
	return n;
}

static bool all_given(void)
{
	return given() >= t_want;
}

static const struct t_task *dsn(enum sm_dsn_kind kind)
{
	for (unsigned i = 0; i < w.sc.tasks; i++)
		if (w.sc.task[i].dsn_kind == kind)
			return &w.sc.task[i];
	return NULL;
}

static void send_at(const char *sender, const char *rcpts, uint8_t notify)
{
	t_commit_at(sender, rcpts, sm_wall_s(), notify);
}

static void one_to_one(void **state)
{
	const struct t_task *t;

	(void)state;
	w.members = 1;
	t_qm_all();
	send_at("s@a.test", "list@alias.test", SM_NOTIFY_SUCCESS);
	t_wait_n(t_tasks, 2);
	t_wait_over();
	/* It tells of its success by itself. */
	t = &w.sc.task[0];
	assert_string_equal(t->sender, "s@a.test");
	assert_string_equal(t->rcpt[0], "m00000@m.test");
	assert_string_equal(t->envid, "env");
	assert_int_equal(t->notify, SM_NOTIFY_SUCCESS);
	assert_int_equal(t->ta.proc, SM_ID_PROC_QMGR);
	assert_non_null(t = dsn(SM_DSN_RELAYED));
	assert_string_equal(t->dsn[0].orcpt, "rfc822;orig@x");
	assert_string_equal(w.route_sender, "s@a.test");
	assert_int_equal(w.level, 0);
}

static void several(void **state)
{
	const struct t_task *t;

	(void)state;
	w.members = 3;
	t_qm_all();
	send_at("s@a.test", "list@alias.test", SM_NOTIFY_SUCCESS);
	t_wait_n(t_tasks, 2);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 2);
	assert_non_null(t = dsn(SM_DSN_EXPANDED));
	assert_string_equal(t->rcpt[0], "s@a.test");
	assert_string_equal(t->dsn[0].addr, "list@alias.test");
	assert_string_equal(t->dsn[0].text, "2.1.5 alias expanded");
	t = w.sc.task[0].dsn_kind ? &w.sc.task[1] : &w.sc.task[0];
	assert_int_equal(t->count, 3);
	assert_int_equal(t->notify, SM_NOTIFY_NEVER);
	/* What cannot be told to anybody is not. */
	send_at("", "list@alias.test", SM_NOTIFY_SUCCESS);
	t_wait_n(t_tasks, 3);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 3);
}

static void list_with_owner(void **state)
{
	const struct t_task *t;

	(void)state;
	w.members = 2;
	w.owner = true;
	t_qm_all();
	send_at("s@a.test", "list@alias.test", SM_NOTIFY_SUCCESS | SM_NOTIFY_FAILURE);
	t_wait_n(t_tasks, 2);
	t_wait_over();
	assert_non_null(t = dsn(SM_DSN_DELIVERED));
	assert_string_equal(t->rcpt[0], "s@a.test");
	t = w.sc.task[0].dsn_kind ? &w.sc.task[1] : &w.sc.task[0];
	assert_string_equal(t->sender, "owner@alias.test");
	assert_string_equal(t->envid, "");
	assert_int_equal(t->notify, 0);
}

static void each_member_a_mail(void **state)
{
	(void)state;
	w.members = 25;
	w.chunk = 10;
	w.owner = w.verp = true;
	t_qm_all();
	send_at("s@a.test", "list@alias.test", 0);
	t_wait_n(t_tasks, 25);
	t_wait_over();
	assert_int_equal(w.sc.tasks, 25);
	for (unsigned i = 0; i < 25; i++) {
		assert_int_equal(w.sc.task[i].count, 1);
		assert_memory_equal(w.sc.task[i].sender + 6, w.sc.task[i].rcpt[0] + 1, 5);
	}
}

static bool in_the_middle(void)
{
	return w.after[0] != '\0';
}

/* smar goes away between two chunks: the mail waits in DEFEDB with its cursor, and over a restart.
 */
static void cursor_survives(void **state)
{
	(void)state;
	w.members = 30;
	w.chunk = 10;
	w.conf.wait_for_server_ms = 50;
	t_qm_all();
	t_commit("s@a.test", "list@alias.test");
	assert_true(t_wait(in_the_middle));
	t_down(&w.smar);
	w.after[0] = '\0';
	t_wait_n(t_deferred, 1);
	for (int i = 0; i < 2; i++) {
		t_qm_end();
		t_qm_start();
		t_smtps_up(&w.ss, 1);
		t_wait_n(t_deferred, 1);
	}
	t_smar_up();
	t_smtpc_up(&w.sc, 100);
	t_ask_ctl("flush", NULL);
	t_want = 30;
	assert_true(t_wait(all_given));
	t_wait_over();
	assert_int_equal(given(), 30);
}

static size_t most;

static bool all_given_watched(void)
{
	most = SM_MAX(most, w.q.txns.rcpts);
	return all_given();
}

/* Members come as others go out. */
static void long_list_in_little_room(void **state)
{
	(void)state;
	w.members = 5000;
	w.chunk = 100;
	w.conf.aq_max_entries = 1100;
	most = 0;
	t_qm_all();
	t_commit("s@a.test", "list@alias.test");
	t_want = 5000;
	assert_true(t_wait(all_given_watched));
	t_wait_over();
	assert_int_equal(given(), 5000);
	assert_true(most <= 1100 / 2 + 100 + 1);
	/* The same when nothing goes out: the queue does not get longer than it may be. */
	w.sc.hold = true;
	most = 0;
	t_commit("s@a.test", "list@alias.test");
	t_want = 5000 + 500;
	assert_true(t_wait(all_given_watched));
	t_turns(3000);
	(void)all_given_watched();
	assert_true(most <= 1100 + 100 + 1);
	w.sc.hold = false;
	for (unsigned i = 0; i < w.sc.tasks; i++)
		if (!w.sc.task[i].answered)
			t_answer(&w.sc, &w.sc.task[i]);
	t_want = 10000;
	assert_true(t_wait(all_given));
	t_wait_over();
	assert_int_equal(given(), 10000);
}

/* Many lists in one mail: bounded, and all are expanded. */
static void many_lists(void **state)
{
	char rcpts[4000] = "";

	(void)state;
	w.members = 20;
	w.chunk = 5;
	for (unsigned i = 0; i < 50; i++)
		snprintf(rcpts + strlen(rcpts), sizeof(rcpts) - strlen(rcpts),
		         "%slist%u@alias.test", i ? " " : "", i);
	t_qm_all();
	t_commit("s@a.test", rcpts);
	t_want = 50 * 20;
	assert_true(t_wait(all_given));
	t_wait_over();
	assert_int_equal(given(), 50 * 20);
}

static bool held(void)
{
	return t_deferred() && qm_edbc_held_count(w.q.edbc) == 1;
}

/* An operator acts in the middle: what has gone out stays out, the rest does as it is told. */
static void acts_in_the_middle(void **state)
{
	static const char *const verbs[] = {"hold", "remove", "bounce", "requeue"};
	char id[SM_ID_SIZE];

	(void)state;
	w.members = 20;
	w.chunk = 10;
	t_qm_all();
	t_slow_retries();
	for (unsigned i = 0; i < SM_ARRAY_SIZE(verbs); i++) {
		unsigned before = given(), questions;
		struct sm_id ta;

		w.after[0] = '\0';
		w.smar_hold = true;
		questions = w.questions;
		ta = t_commit("s@a.test", "list@alias.test");
		t_wait_n(t_asked, questions + 1);
		t_ask_ctl(verbs[i], sm_id_text(ta, id));
		assert_int_equal(w.ctl_status, 0);
		/* The first chunk is asked for before the act, and for what is held never. */
		w.smar_hold = false;
		t_down(&w.smar);
		t_smar_up();
		if (i == 0) {
			assert_true(t_wait(held));
			assert_int_equal(given(), before);
			t_ask_ctl("release", id);
		}
		if (i == 0 || i == 3) {
			t_want = before + 20;
			assert_true(t_wait(all_given));
		}
		t_wait_over();
		assert_int_equal(given(), before + (i == 0 || i == 3 ? 20 : 0));
	}
	assert_non_null(dsn(SM_DSN_FAILED));
}

/* The same between two chunks. */
static void acts_between_chunks(void **state)
{
	static const char *const verbs[] = {"hold", "remove", "bounce"};
	char id[SM_ID_SIZE];

	(void)state;
	w.members = 20;
	w.chunk = 10;
	t_qm_all();
	t_slow_retries();
	for (unsigned i = 0; i < SM_ARRAY_SIZE(verbs); i++) {
		unsigned before = given(), failed = (unsigned)w.q.stats.failed;
		struct sm_id ta;

		w.after[0] = '\0';
		w.sc.hold = true;
		ta = t_commit("s@a.test", "list@alias.test");
		assert_true(t_wait(in_the_middle));
		t_ask_ctl(verbs[i], sm_id_text(ta, id));
		w.sc.hold = false;
		for (unsigned k = 0; k < w.sc.tasks; k++)
			if (!w.sc.task[k].answered)
				t_answer(&w.sc, &w.sc.task[k]);
		t_ask_ctl("release", id);
		t_wait_over();
		/* Whichever was first. */
		assert_true(given() == before + 10 || given() == before + 20);
		assert_true(i == 2 || w.q.stats.failed == failed);
	}
}

static void refused_in_the_middle(void **state)
{
	const struct t_task *t;

	(void)state;
	w.members = 20;
	w.chunk = 10;
	t_qm_all();
	w.perm = true;
	t_commit("s@a.test", "list@alias.test");
	t_wait_n(t_tasks, 1);
	t_wait_over();
	assert_non_null(t = dsn(SM_DSN_FAILED));
	assert_string_equal(t->dsn[0].text, "5.4.6 alias leads back to itself");
	assert_int_equal(given(), 0);
}

/* A DSN to an address that is an alias: still a DSN, with what it says. */
static void dsn_to_an_alias(void **state)
{
	unsigned n = 0;

	(void)state;
	w.members = 150;
	w.owner = true;
	t_qm_all();
	t_commit("list@alias.test", "perm@b.test");
	t_wait_n(t_tasks, 3);
	t_wait_over();
	for (unsigned i = 0; i < w.sc.tasks; i++) {
		const struct t_task *t = &w.sc.task[i];

		if (t->dsn_kind == SM_DSN_NONE)
			continue;
		assert_int_equal(t->dsn_kind, SM_DSN_FAILED);
		assert_string_equal(t->sender, "");
		assert_int_equal(t->dsn_count, 1);
		assert_string_equal(t->dsn[0].addr, "perm@b.test");
		assert_int_equal(t->notify, SM_NOTIFY_NEVER);
		n += t->count;
	}
	assert_int_equal(n, 150);
}

/* What is told of an expansion is kept as long as another recipient is in work, over a restart. */
static void expanded_survives(void **state)
{
	(void)state;
	w.members = 3;
	t_qm_all();
	send_at("s@a.test", "list@alias.test temp@c.test", SM_NOTIFY_SUCCESS);
	t_wait_n(t_deferred, 1);
	t_qm_again();
	w.sc.fine = true;
	t_ask_ctl("flush", NULL);
	t_wait_over();
	assert_non_null(dsn(SM_DSN_EXPANDED));
	assert_int_equal(dsn(SM_DSN_EXPANDED)->dsn_count, 1);
	assert_string_equal(dsn(SM_DSN_EXPANDED)->dsn[0].text, "2.1.5 alias expanded");
}

/* What show says of both. */
static void parts_are_shown(void **state)
{
	char id[SM_ID_SIZE];
	struct sm_id ta;

	(void)state;
	w.members = 2;
	t_qm_all();
	w.sc.hold = true;
	ta = t_commit("s@a.test", "list@alias.test x@b.test");
	t_wait_n(t_tasks, 2);
	t_ask_ctl("show", sm_id_text(ta, id));
	assert_non_null(strstr(w.ctl_text, "\"children\":1"));
	for (unsigned i = 0; i < w.sc.tasks; i++) {
		if (sm_id_eq(w.sc.task[i].ta, ta))
			continue;
		t_ask_ctl("show", sm_id_text(w.sc.task[i].ta, id));
		assert_non_null(strstr(w.ctl_text, "\"child_of\":\"S"));
		assert_non_null(strstr(w.ctl_text, "\"rcpt_count\":2"));
	}
	w.sc.hold = false;
	for (unsigned i = 0; i < w.sc.tasks; i++)
		t_answer(&w.sc, &w.sc.task[i]);
	t_wait_over();
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup, t_qm_teardown)
	const struct CMUnitTest tests[] = {
	    T(one_to_one),          T(several),
	    T(list_with_owner),     T(each_member_a_mail),
	    T(cursor_survives),     T(long_list_in_little_room),
	    T(many_lists),          T(acts_in_the_middle),
	    T(acts_between_chunks), T(refused_in_the_middle),
	    T(dsn_to_an_alias),     T(expanded_survives),
	    T(parts_are_shown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
