/* LMTP as a session has it: its words, a reply for each recipient, and replies that wait for the
 * delivery. */
#include "smtps/t_verdicts.h"

#include <string.h>
#include "libsm/log.h"

#define LHLO  "LHLO c.test\nMAIL FROM:<s@f.test>\n"
#define LOCAL SM_VERDICT_LOCAL

static const struct t_told told[] = {{"gone", 0, LOCAL | SM_VERDICT_DISCARD},
                                     {"bad", 550, LOCAL},
                                     {"grey", 451, LOCAL | SM_VERDICT_GREYLISTED},
                                     {"l", 0, LOCAL},
                                     {NULL, 0, 0}};

static int set_up(void **state SM_UNUSED)
{
	played.protocol = SS_PROTOCOL_LMTP;
	played.deliver = SM_DELIVER_BACKGROUND;
	return 0;
}

static void test_words(void **state SM_UNUSED)
{
	assert_string_equal(t_play(0, told, "HELO x\nEHLO x\nMAIL FROM:<>\nLHLO\nLHLO x\nNOOP\n"),
	                    "220 500 500 503 501 250 250 ");
	/* The first of these is no LHLO, whatever it looks like. */
	assert_string_equal(t_play(0, told, "GET / HTTP/1.1\n"), "220 421 ");
	assert_non_null(strstr(played.last, "LMTP"));
	played.protocol = SS_PROTOCOL_SMTP;
	assert_string_equal(t_play(0, told, "LHLO x\nEHLO x\n"), "220 500 250 ");
}

static void test_one_for_each(void **state SM_UNUSED)
{
	assert_string_equal(t_play(SS_F_ACCESS, told,
	                           LHLO "RCPT TO:<l@l.test>\nRCPT TO:<bad@l.test>\n"
	                                "RCPT TO:<gone@l.test>\nRCPT TO:<l@l.test>\nDATA\n.\n+\n+\n"
	                                "NOOP\n"),
	                    "220 250 250 250 550 250 250 354 250 250 250 250 ");
	assert_string_equal(played.committed, "l@l.test l@l.test . ");
	/* Nobody was accepted; everybody vanishes. */
	assert_string_equal(t_play(SS_F_ACCESS, told, LHLO "RCPT TO:<bad@l.test>\nDATA\nNOOP\n"),
	                    "220 250 250 550 503 250 ");
	assert_string_equal(
	    t_play(SS_F_ACCESS, told,
	           LHLO "RCPT TO:<gone@l.test>\nRCPT TO:<gone2@l.test>\nDATA\n.\n+\nNOOP\n"),
	    "220 250 250 250 250 354 250 250 250 ");
	/* A refusal before any content is one, and so is that of a chunk. */
	assert_string_equal(
	    t_play(SS_F_ACCESS | SS_F_GREYLISTING | SS_F_GREY_AT_DATA | SS_F_GREY_STAYS, told,
	           LHLO "RCPT TO:<grey@l.test>\nRCPT TO:<grey2@l.test>\nDATA\n"
	                "NOOP\n"),
	    "220 250 250 250 250 450 250 ");
	assert_string_equal(t_play(SS_F_ACCESS | SS_F_CHUNKING, told,
	                           LHLO "RCPT TO:<l@l.test>\nRCPT TO:<l2@l.test>\n"
	                                "BDAT 2|\nBDAT 2 LAST|\n+\nNOOP\n"),
	                    "220 250 250 250 250 250 250 250 250 ");
	assert_string_equal(t_play(SS_F_ACCESS | SS_F_CHUNKING, told,
	                           LHLO "BDAT 2 LAST|\nRCPT TO:<l@l.test>\nNOOP\n"),
	                    "220 250 250 503 250 250 ");
}

static void test_now(void **state SM_UNUSED)
{
	played.deliver = SM_DELIVER_NOW;
	assert_string_equal(t_play(SS_F_ACCESS, told,
	                           LHLO "RCPT TO:<l@l.test>\nRCPT TO:<gone@l.test>\n"
	                                "RCPT TO:<l2@l.test>\nDATA\n.\n+\n+\nNOOP\n"),
	                    "220 250 250 250 250 250 354 250 250 550 250 ");
}

/* qmgr leaves one out: nobody knows what became of it. */
static void test_not_told(void **state SM_UNUSED)
{
	played.deliver = SM_DELIVER_NOW;
	assert_string_equal(t_play(SS_F_ACCESS, told,
	                           LHLO "RCPT TO:<l1@l.test>\nRCPT TO:<l2@l.test>\n"
	                                "RCPT TO:<l3@l.test>\nRCPT TO:<l4@l.test>\n"
	                                "RCPT TO:<l5@l.test>\nRCPT TO:<l6@l.test>\n"
	                                "DATA\n.\n+\n+\n+\n+\n+\nNOOP\n"),
	                    "220 250 250 250 250 250 250 250 250 354 250 550 250 550 250 451 250 ");
}

static void test_no_dsn(void **state SM_UNUSED)
{
	played.deliver = SM_DELIVER_NOW;
	assert_string_equal(t_play(SS_F_ACCESS, told,
	                           "LHLO x\nMAIL FROM:<s@f.test> RET=HDRS\nMAIL FROM:<s@f.test>\n"
	                           "RCPT TO:<l@l.test> NOTIFY=NEVER\nRCPT TO:<l@l.test>\n"),
	                    "220 250 555 250 555 250 ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_words, set_up),
	    cmocka_unit_test_setup(test_one_for_each, set_up),
	    cmocka_unit_test_setup(test_now, set_up),
	    cmocka_unit_test_setup(test_not_told, set_up),
	    cmocka_unit_test_setup(test_no_dsn, set_up),
	};

	sm_log_level(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
