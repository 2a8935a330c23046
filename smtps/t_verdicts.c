/*
 * What smtps makes of smar's verdicts: greylisting, what vanishes, what was stored and is
 * overridden, what the next hop says, and that a smar that says more than it may opens nothing.
 */
#include "smtps/t_verdicts.h"

#include <string.h>
#include "libsm/log.h"

#define MAIL  "HELO c.test\nMAIL FROM:<s@f.test>\n"
#define LOCAL SM_VERDICT_LOCAL
#define GREY  (LOCAL | SM_VERDICT_GREYLISTED)

/* ---- greylisting ---- */

static const struct t_told grey[] = {{"grey", 451, GREY},
                                     {"bad", 550, LOCAL},
                                     {"far-grey", 451, SM_VERDICT_GREYLISTED},
                                     {"l", 0, LOCAL},
                                     {NULL, 0, 0}};

static void test_greylisted_at_rcpt(void **state SM_UNUSED)
{
	assert_string_equal(t_play(SS_F_GREYLISTING, grey, MAIL "RCPT TO:<grey@l.test>\nNOOP\n"),
	                    "220 250 250 421 ");
	assert_true(strncmp(played.last, "421 4.7.1 told so", 17) == 0);
	assert_int_equal(played.rcpt_flags & SM_CHECK_GREYLIST, SM_CHECK_GREYLIST);
	assert_string_equal(
	    t_play(SS_F_GREYLISTING | SS_F_GREY_STAYS, grey, MAIL "RCPT TO:<grey@l.test>\nNOOP\n"),
	    "220 250 250 450 250 ");
	assert_string_equal(t_play(SS_F_GREYLISTING | SS_F_GREY_STAYS | SS_F_GREY_AT_DATA, grey,
	                           MAIL "RCPT TO:<grey@l.test>\nDATA\nNOOP\n"),
	                    "220 250 250 250 450 250 ");
}

static void test_greylisted_at_data(void **state SM_UNUSED)
{
	const uint32_t flags = SS_F_GREYLISTING | SS_F_GREY_AT_DATA;

	assert_string_equal(
	    t_play(flags, grey,
	           MAIL
	           "RCPT TO:<grey@l.test>\nRCPT TO:<bad@l.test>\nRCPT TO:<l@l.test>\nDATA\nNOOP\n"),
	    "220 250 250 250 550 250 421 ");
	assert_true(strncmp(played.last, "421 4.7.1 told so", 17) == 0);
	assert_string_equal(played.committed, "");
	/* It holds for that transaction. */
	assert_string_equal(t_play(flags, grey,
	                           MAIL "RCPT TO:<grey@l.test>\nRSET\nMAIL FROM:<s@f.test>\n"
	                                "RCPT TO:<l@l.test>\nDATA\n.\n"),
	                    "220 250 250 250 250 250 250 354 250 ");
	assert_string_equal(played.committed, "l@l.test . ");
	/* Nobody may relay by being greylisted. */
	assert_string_equal(t_play(flags, grey, MAIL "RCPT TO:<far-grey@f.test>\n"),
	                    "220 250 250 550 ");
}

/* Who is asked for: not those who may relay or are ok; of who is rejected if nothing overrides that
 * smar is told. */
static void test_who_is_greylisted(void **state SM_UNUSED)
{
	static const struct {
		uint16_t code;
		uint32_t flags, asked;
	} rows[] = {
	    {0, 0, SM_CHECK_GREYLIST},
	    {0, SM_VERDICT_OK, 0},
	    {0, SM_VERDICT_RELAY, 0},
	    {551, 0, SM_CHECK_GREYLIST | SM_CHECK_STORED},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		const struct t_told told[] = {
		    {"", rows[i].code, rows[i].flags}, {"l", 0, LOCAL}, {NULL, 0, 0}};

		(void)t_play(SS_F_GREYLISTING | SS_F_ACCESS | SS_F_DELAY_CHECKS, told,
		             MAIL "RCPT TO:<l@l.test>\n");
		assert_int_equal(played.rcpt_flags & (SM_CHECK_GREYLIST | SM_CHECK_STORED),
		                 rows[i].asked);
	}
}

/* ---- what vanishes ---- */

static void test_vanishes(void **state SM_UNUSED)
{
	static const struct t_told session[] = {{"", 0, SM_VERDICT_DISCARD}, {NULL, 0, 0}};
	static const struct t_told sender[] = {
	    {"s", 0, SM_VERDICT_DISCARD}, {"l", 0, LOCAL}, {NULL, 0, 0}};
	static const struct t_told rcpts[] = {
	    {"gone", 0, LOCAL | SM_VERDICT_DISCARD},
	    {"all", 0, LOCAL | SM_VERDICT_DISCARD | SM_VERDICT_QUICK},
	    {"far-gone", 0, SM_VERDICT_DISCARD},
	    {"l", 0, LOCAL},
	    {NULL, 0, 0}};

	/* Nothing is asked any more, and each transaction goes. */
	assert_string_equal(t_play(SS_F_ACCESS, session,
	                           MAIL "RCPT TO:<x@f.test>\nDATA\n.\nMAIL FROM:<t@f.test>\n"
	                                "RCPT TO:<y@f.test>\nDATA\n.\n"),
	                    "220 250 250 250 354 250 250 250 354 250 ");
	assert_string_equal(played.asked, "");
	assert_int_equal(played.mail_asked, 0);
	assert_string_equal(played.committed, "");
	/* Only this one. */
	assert_string_equal(t_play(SS_F_ACCESS, sender,
	                           MAIL "RCPT TO:<x@f.test>\nDATA\n.\nMAIL FROM:<t@f.test>\n"
	                                "RCPT TO:<l@l.test>\nDATA\n.\n"),
	                    "220 250 250 250 354 250 250 250 354 250 ");
	assert_string_equal(played.asked, "l@l.test ");
	assert_string_equal(played.committed, "l@l.test . ");
	/* Only this recipient; all, when no other is left. */
	assert_string_equal(
	    t_play(SS_F_ACCESS, rcpts, MAIL "RCPT TO:<gone@l.test>\nRCPT TO:<l@l.test>\nDATA\n.\n"),
	    "220 250 250 250 250 354 250 ");
	assert_string_equal(played.committed, "l@l.test . ");
	assert_string_equal(t_play(SS_F_ACCESS, rcpts, MAIL "RCPT TO:<gone@l.test>\nDATA\n.\n"),
	                    "220 250 250 250 354 250 ");
	assert_string_equal(played.committed, "");
	/* quick: takes those before and behind with it. */
	assert_string_equal(t_play(SS_F_ACCESS, rcpts,
	                           MAIL "RCPT TO:<l@l.test>\nRCPT TO:<all@l.test>\n"
	                                "RCPT TO:<l2@l.test>\nDATA\n.\n"),
	                    "220 250 250 250 250 250 354 250 ");
	assert_string_equal(played.committed, "");
	/* What vanishes is relayed no more than what does not. */
	assert_string_equal(t_play(SS_F_ACCESS, rcpts, MAIL "RCPT TO:<far-gone@f.test>\n"),
	                    "220 250 250 550 ");
}

/* ---- what was stored ---- */

static void test_stored(void **state SM_UNUSED)
{
	static const struct t_told told[] = {
	    {"", 551, 0},
	    {"s", 552, 0},
	    {"wanted", 0, LOCAL | SM_VERDICT_OK | SM_VERDICT_QUICK},
	    {"ok", 0, LOCAL | SM_VERDICT_OK},
	    {"temp", 451, LOCAL},
	    {"l", 0, LOCAL},
	    {NULL, 0, 0}};
	static const struct t_told at_once[] = {{"", 551, SM_VERDICT_QUICK}, {NULL, 0, 0}};
	static const struct t_told sender_at_once[] = {{"s", 552, SM_VERDICT_QUICK}, {NULL, 0, 0}};
	const uint32_t delayed = SS_F_ACCESS | SS_F_DELAY_CHECKS;

	assert_string_equal(t_play(SS_F_ACCESS, told, ""), "554 ");
	assert_string_equal(t_play(delayed, told,
	                           MAIL
	                           "RCPT TO:<l@l.test>\nRCPT TO:<ok@l.test>\n"
	                           "RCPT TO:<temp@l.test>\nRCPT TO:<wanted@l.test>\nDATA\n.\n"),
	                    "220 250 250 551 551 451 250 354 250 ");
	assert_string_equal(played.committed, "wanted@l.test . ");
	assert_string_equal(t_play(delayed, at_once, ""), "554 ");
	assert_string_equal(t_play(delayed, sender_at_once, MAIL), "220 250 552 ");
	/* The next transaction is another one. */
	assert_string_equal(t_play(delayed, told + 1,
	                           MAIL "RCPT TO:<l@l.test>\nRSET\nMAIL FROM:<t@f.test>\n"
	                                "RCPT TO:<l@l.test>\n"),
	                    "220 250 250 552 250 250 250 ");
}

/* An operator's 421 ends the session when it is said. */
static void test_421(void **state SM_UNUSED)
{
	static const struct t_told sender[] = {{"s", 421, 0}, {"l", 0, LOCAL}, {NULL, 0, 0}};
	static const struct t_told rcpt[] = {{"l", 421, LOCAL}, {NULL, 0, 0}};
	static const struct t_told busy[] = {{"", 451, 0}, {"l", 0, LOCAL}, {NULL, 0, 0}};
	const uint32_t delayed = SS_F_ACCESS | SS_F_DELAY_CHECKS;

	assert_string_equal(t_play(SS_F_ACCESS, sender, MAIL "NOOP\n"), "220 250 421 ");
	assert_string_equal(t_play(delayed, sender, MAIL "RCPT TO:<l@l.test>\nNOOP\n"),
	                    "220 250 250 421 ");
	assert_string_equal(t_play(SS_F_ACCESS, rcpt, MAIL "RCPT TO:<l@l.test>\nNOOP\n"),
	                    "220 250 250 421 ");
	/* A temporary refusal at connect is a 421; later it is what it is. */
	assert_string_equal(t_play(SS_F_ACCESS, busy, ""), "421 ");
	assert_string_equal(t_play(delayed, busy, MAIL "RCPT TO:<l@l.test>\nNOOP\n"),
	                    "220 250 250 451 250 ");
}

/* Without the flag access nothing that only the access map can say is believed. */
static void test_no_map(void **state SM_UNUSED)
{
	static const struct t_told told[] = {
	    {"", 0, SM_VERDICT_RELAY | SM_VERDICT_OK | SM_VERDICT_QUICK | SM_VERDICT_DISCARD},
	    {"relay", 0, SM_VERDICT_RELAY},
	    {"l", 0, LOCAL},
	    {NULL, 0, 0}};

	assert_string_equal(t_play(0, told,
	                           MAIL "RCPT TO:<x@f.test>\nRCPT TO:<relay@f.test>\n"
	                                "RCPT TO:<l@l.test>\nDATA\n.\n"),
	                    "220 250 250 550 550 250 354 250 ");
	assert_string_equal(played.committed, "l@l.test . ");
	assert_int_equal(played.rcpt_flags, 0);
	assert_string_equal(t_play(SS_F_ACCESS, told + 1, MAIL "RCPT TO:<relay@f.test>\n"),
	                    "220 250 250 250 ");
}

/* ---- the next hop ---- */

#define VERIFY (LOCAL | SM_VERDICT_VERIFY)
#define ACCEPT (VERIFY | SM_VERDICT_VERIFY_ACCEPT)

static void test_next_hop(void **state SM_UNUSED)
{
	static const struct t_told told[] = {{"lax", 0, ACCEPT},
	                                     {"l", 0, VERIFY},
	                                     {"free", 0, LOCAL},
	                                     {"bad", 553, VERIFY},
	                                     {"far", 0, SM_VERDICT_VERIFY},
	                                     {"gone", 0, VERIFY | SM_VERDICT_DISCARD},
	                                     {"grey", 451, GREY | SM_VERDICT_VERIFY},
	                                     {NULL, 0, 0}};
	static const struct t_told says[] = {{"lno", 550, 0},
	                                     {"llate", 450, 0},
	                                     {"laxno", 550, 0},
	                                     {"laxlate", 450, 0},
	                                     {"laxmute", T_NO_ANSWER, 0},
	                                     {"lmute", T_NO_ANSWER, 0},
	                                     {"grey", 550, 0},
	                                     {NULL, 0, 0}};

	played.hop = says;
	assert_string_equal(t_play(SS_F_ACCESS, told,
	                           MAIL "RCPT TO:<l@l.test>\nRCPT TO:<lno@l.test>\n"
	                                "RCPT TO:<llate@l.test>\nRCPT TO:<lmute@l.test>\n"
	                                "RCPT TO:<laxno@l.test>\nRCPT TO:<laxlate@l.test>\n"
	                                "RCPT TO:<laxmute@l.test>\nRCPT TO:<free@l.test>\n"
	                                "RCPT TO:<bad@l.test>\nRCPT TO:<far@l.test>\n"
	                                "RCPT TO:<gone@l.test>\nDATA\n.\n"),
	                    "220 250 250 250 550 450 450 550 250 250 250 553 550 250 354 250 ");
	assert_string_equal(played.committed,
	                    "l@l.test laxlate@l.test laxmute@l.test free@l.test . ");
	/* Who is refused by smar or vanishes is not asked about. */
	assert_null(strstr(played.probed, "free"));
	assert_null(strstr(played.probed, "bad"));
	assert_null(strstr(played.probed, "gone"));
	assert_string_equal(t_play(0, told, MAIL "RCPT TO:<lno@l.test>\n"), "220 250 250 550 ");
	assert_true(strncmp(played.last, "550 5.7.1 told so", 17) == 0);
	assert_string_equal(t_play(0, told, MAIL "RCPT TO:<llate@l.test>\n"), "220 250 250 450 ");
	assert_true(strncmp(played.last, "450 4.4.3 Recipient cannot be verified now", 42) == 0);
	/* Greylisting that is said at DATA: until then RCPT tells which addresses exist. */
	assert_string_equal(
	    t_play(SS_F_GREYLISTING | SS_F_GREY_AT_DATA, told, MAIL "RCPT TO:<grey@l.test>\n"),
	    "220 250 250 550 ");
	assert_string_equal(t_play(SS_F_GREYLISTING, told, MAIL "RCPT TO:<grey@l.test>\n"),
	                    "220 250 250 421 ");
	assert_string_equal(played.probed, "");
	played.hop = NULL;
}

/* In one packet: the next hop is asked for all that are left, but not before MAIL is accepted. */
static void test_next_hop_ahead(void **state SM_UNUSED)
{
	static const struct t_told told[] = {{"s", 0, 0}, {"l", 0, VERIFY}, {NULL, 0, 0}};
	static const struct t_told refused[] = {{"s", 550, 0}, {"l", 0, VERIFY}, {NULL, 0, 0}};
	static const struct t_told stored[] = {{"", 550, 0}, {"l", 0, VERIFY}, {NULL, 0, 0}};
	static const struct t_told says[] = {{"l2", 550, 0}, {NULL, 0, 0}};
	/* The client sends all of this at once, and then reads. */
	const char *all = "HELO c.test\nMAIL FROM:<s@f.test>|RCPT TO:<l1@l.test>|"
			  "RCPT TO:<l2@l.test>|RCPT TO:<l3@l.test>\nNOOP\nNOOP\nNOOP\n";

	played.hop = says;
	assert_string_equal(t_play(0, told, all), "220 250 250 250 550 250 ");
	assert_string_equal(played.probed, "l1@l.test l2@l.test l3@l.test ");
	assert_string_equal(t_play(0, refused, all), "220 250 550 503 503 503 ");
	assert_string_equal(played.probed, "");
	assert_string_equal(t_play(SS_F_ACCESS | SS_F_DELAY_CHECKS, stored, all),
	                    "220 250 250 550 550 550 ");
	assert_string_equal(played.probed, "");
	played.hop = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_next_hop),
	    cmocka_unit_test(test_next_hop_ahead),
	    cmocka_unit_test(test_greylisted_at_rcpt),
	    cmocka_unit_test(test_greylisted_at_data),
	    cmocka_unit_test(test_who_is_greylisted),
	    cmocka_unit_test(test_vanishes),
	    cmocka_unit_test(test_stored),
	    cmocka_unit_test(test_no_map),
	    cmocka_unit_test(test_421),
	};

	sm_log_level(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
