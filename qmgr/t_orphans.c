/* Contents of no mail: they are removed, but not those that somebody is about to commit, and not
 * those that may be all there is of a mail after a loss. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "libcdb/cdb.h"
#include "libsm/time.h"
#include "qmgr/t_qm.h"

static struct sm_id the_mail;

/* ---- contents ---- */

static bool only_open_left(void)
{
	return t_contents() == 1 && t_content_there(the_mail);
}

static void orphans_go_and_open_ones_stay(void **state)
{
	struct sm_msg_id_item open[1];
	struct sm_msg_ss_start m = {.max_sessions = 10, .open_count = 1, .open = open};
	struct sm_id young;

	(void)state;
	t_qm_all();
	w.conf.orphan_delay_ms = 1000;
	t_content();
	t_content();
	the_mail = t_content(); /* its client is sending the dot */
	open[0].id = the_mail;
	m.next_counter = w.ss.next_id;
	t_send(&w.ss.p, SM_MSG_ss_start, &m, true);
	young = t_content(); /* after that was said */
	t_turns(1300);       /* a search in that time must leave it */
	assert_true(t_content_there(young));
	assert_int_equal(cdb_unlink(w.q.cdb, young), 0);
	assert_true(t_wait(only_open_left));
	t_turns(1200); /* and each later one */
	assert_true(only_open_left());
	t_commit_raw(&w.ss, the_mail, "s@a.test", "x@b.test", sm_wall_s(), 0);
	t_wait_over();
	assert_int_equal(w.q.stats.orphans, 2);
}

/* The holder of the contents tells that it has nothing open: they were orphans, if the logs knew.
 */
static void nothing_is_open(void)
{
	struct sm_msg_ss_start m = {.max_sessions = 10, .next_counter = w.ss.next_id};

	/* The one before is gone: no two have one index. */
	t_down(&w.ss.p);
	t_turns(50);
	t_smtps_up(&w.ss, 1);
	t_send(&w.ss.p, SM_MSG_ss_start, &m, true);
	t_turns(1300);
}

static void lose_logs(const char *dir)
{
	char cmd[200];

	snprintf(cmd, sizeof(cmd), "rm -f %s/*", dir);
	assert_int_equal(system(cmd), 0);
}

static bool no_content_left(void)
{
	return t_contents() == 0;
}

/* Whichever log is lost: contents may be all there is of a mail, also for the starts after that. */
static void contents_survive_the_logs(void **state)
{
	(void)state;
	for (int lost = 0; lost < 2; lost++) {
		t_qm_all();
		assert_int_equal(qm_content_kept(&w.q), 0);
		t_content();
		t_content();
		t_qm_stop();
		lose_logs(lost ? w.defedb : w.ibdb);
		for (int start = 0; start < 2; start++) {
			t_qm_start();
			nothing_is_open();
			assert_int_equal(t_contents(), 2);
			assert_int_equal(qm_content_kept(&w.q), 2);
			if (start == 0)
				t_qm_stop();
		}
		t_ask_ctl("orphans", "release");
		assert_int_equal(w.ctl_status, 0);
		assert_true(t_wait(no_content_left));
		t_turns(100);
		t_qm_stop();
		t_qm_start(); /* and it is remembered */
		assert_int_equal(qm_store_birth(w.q.store), 0);
		t_qm_stop();
	}
}

/* A batch of the journal that cannot be read any more may have been a mail. */
static void contents_survive_damage(void **state)
{
	static const char zeros[512];
	struct qm_log_stat log;
	char path[200];
	int fd;

	(void)state;
	t_qm_all();
	t_taken("s@a.test", "temp1@b.test");
	t_taken("s@a.test", "temp2@b.test");
	t_wait_n(t_deferred, 2);
	t_content();
	qm_log_stat(qm_store_ibdb(w.q.store), &log);
	t_qm_stop();
	snprintf(path, sizeof(path), "%s/ibdb.%08x", w.ibdb, log.current_seq);
	fd = open(path, O_WRONLY);
	assert_true(fd != -1);
	assert_int_equal(pwrite(fd, zeros, sizeof(zeros), sizeof(zeros)), sizeof(zeros));
	close(fd);
	t_qm_start();
	nothing_is_open();
	assert_int_equal(t_contents(), 3);
	assert_true(qm_content_kept(&w.q) >= 1);
}

/* A mail with its content in a segment. */
static void taken_in_segment(struct sm_id segment, uint32_t offset, const char *rcpt)
{
	const struct cdb_place at = {.content = segment, .offset = offset, .size = 24};

	t_commit_in(t_next_id(), &at, rcpt, 0);
	t_wait_n(t_verdicts, w.ss.verdicts + 1);
}

/* A segment of which so many mails wait; the journal is lost, and qmgr is there again. */
static struct sm_id segment_of_before(unsigned mails)
{
	struct sm_id segment;

	t_slow_retries();
	t_qm_all();
	segment = t_segment();
	for (unsigned i = 0; i < mails; i++)
		taken_in_segment(segment, 32 + 64 * i, "temp@b.test");
	t_wait_n(t_deferred, mails);
	t_qm_stop();
	lose_logs(w.ibdb);
	t_qm_start();
	return segment;
}

static bool nothing_deferred(void)
{
	return t_deferred() == 0;
}

static bool is_listed(struct sm_id id)
{
	char text[SM_ID_SIZE];

	t_ask_ctl("orphans", "list");
	assert_int_equal(w.ctl_status, 0);
	return strstr(w.ctl_text, sm_id_text(id, text)) != NULL;
}

static bool told_what_to_keep(void)
{
	return w.ss.keeps > 0;
}

static void look_twice(void)
{
	qm_content_look(&w.q);
	qm_content_look(&w.q);
	t_turns(50);
}

/* A segment of before is as others when an operator has let it go. */
static void a_segment_gives_back_room_after_that(void **state)
{
	(void)state;
	(void)segment_of_before(1);
	nothing_is_open();
	look_twice();
	assert_int_equal(w.ss.keeps, 0);
	t_ask_ctl("orphans", "release");
	look_twice();
	assert_true(t_wait(told_what_to_keep));
}

/* qmgr knows of one mail in it; there may have been others. */
static void a_segment_is_kept_with_what_is_known(void **state)
{
	struct sm_id segment = segment_of_before(2);

	(void)state;
	assert_int_equal(qm_content_kept(&w.q), 1);
	nothing_is_open();
	assert_int_equal(qm_content_kept(&w.q), 1);
	assert_true(is_listed(segment));
	assert_non_null(strstr(w.ctl_text, "\"offset\":32,"));
	assert_non_null(strstr(w.ctl_text, "\"offset\":96,"));
	look_twice();
	assert_int_equal(w.ss.keeps, 0); /* nothing of it is given back */
	t_ask_ctl("remove", "all");
	assert_true(t_wait(nothing_deferred));
	t_turns(100);
	assert_true(t_content_there(segment)); /* the last of them is over */
	assert_true(is_listed(segment));
	t_qm_stop();
	t_qm_start();
	nothing_is_open();
	assert_true(is_listed(segment));
	t_ask_ctl("orphans", "release");
	assert_true(t_wait(no_content_left));
}

/* What comes after a loss is an orphan as ever. */
static void a_loss_keeps_only_what_was_before(void **state)
{
	struct sm_id before, after;

	(void)state;
	t_qm_all();
	before = t_content();
	t_qm_stop();
	lose_logs(w.ibdb);
	lose_logs(w.defedb);
	w.ss.next_id = 0; /* counters that were granted before are older, whenever they are used */
	t_qm_all();
	after = t_content();
	assert_true(after.counter > before.counter);
	nothing_is_open();
	assert_true(t_content_there(before));
	assert_false(t_content_there(after));
}

#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup, t_qm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T(orphans_go_and_open_ones_stay),
	    T(contents_survive_the_logs),
	    T(contents_survive_damage),
	    T(a_segment_is_kept_with_what_is_known),
	    T(a_segment_gives_back_room_after_that),
	    T(a_loss_keeps_only_what_was_before),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
