/* ETRN as a session has it: when it may be said, by whom, and what is asked of whom. */
#include "smtps/t_verdicts.h"

#include <string.h>
#include "libsm/log.h"

#define HELO "HELO c.test\n"

static const struct t_told nothing[] = {{NULL, 0, 0}};
static const struct t_told hop[] = {
    {"full", 253, 0}, {"empty", 251, 0}, {"busy", 458, 0}, {"away", T_NO_ANSWER, 0}, {NULL, 0, 0}};

static int set_up(void **state SM_UNUSED)
{
	played.etrn = SS_ETRN_ACCESS;
	played.may_ask_for = "";
	played.hop = hop;
	return 0;
}

static void said(uint32_t flags, const struct t_told *told, const char *lines, const char *codes,
                 const char *runs)
{
	assert_string_equal(t_play(flags, told, lines), codes);
	assert_string_equal(played.runs, runs);
}

static void test_asks(void **state SM_UNUSED)
{
	said(SS_F_ACCESS, nothing, HELO "ETRN full.test\nETRN empty.test\nETRN busy.test\n",
	     "220 250 253 251 458 ", "full.test empty.test busy.test ");
	/* As it is compared. */
	said(SS_F_ACCESS, nothing, HELO "etrn FULL.Test \nETRN @Full.test\n", "220 250 253 250 ",
	     "full.test @full.test ");
	said(SS_F_ACCESS, nothing, HELO "ETRN away.test\n", "220 250 458 ", "away.test ");
	assert_int_equal(strncmp(played.last, "458 4.3.0", 9), 0);
}

static void test_syntax(void **state SM_UNUSED)
{
	said(SS_F_ACCESS, nothing,
	     HELO "ETRN\nETRN @\nETRN a b\nETRN a..b\nETRN @@a\nETRN #queue\nETRN <a>\n",
	     "220 250 501 501 501 501 501 459 501 ", "");
}

static void test_when(void **state SM_UNUSED)
{
	said(SS_F_ACCESS, nothing,
	     "ETRN full.test\n" HELO "MAIL FROM:<s@f.test>\nETRN full.test\nRSET\nETRN full.test\n",
	     "220 503 250 250 503 250 253 ", "full.test ");
	said(SS_F_ACCESS | SS_F_SUBMISSION, nothing, HELO "ETRN full.test\n", "220 250 530 ", "");
}

static void test_who(void **state SM_UNUSED)
{
	static const struct t_told refused[] = {{"", 550, 0}, {NULL, 0, 0}};
	static const struct t_told vanishes[] = {{"", 0, SM_VERDICT_DISCARD}, {NULL, 0, 0}};

	played.may_ask_for = "full";
	said(SS_F_ACCESS, nothing, HELO "ETRN full.test\nETRN empty.test\n", "220 250 253 459 ",
	     "full.test ");
	played.may_ask_for = NULL;
	said(SS_F_ACCESS, nothing, HELO "ETRN full.test\n", "220 250 458 ", "");
	played.may_ask_for = "";
	said(SS_F_ACCESS | SS_F_DELAY_CHECKS, refused, HELO "ETRN full.test\n", "220 250 550 ", "");
	said(SS_F_ACCESS, vanishes, HELO "ETRN full.test\n", "220 250 459 ", "");
	/* Who has authenticated: nobody here. */
	played.etrn = SS_ETRN_AUTH;
	said(SS_F_ACCESS, nothing, HELO "ETRN full.test\n", "220 250 459 ", "");
	played.etrn = 0;
	said(SS_F_ACCESS, nothing, HELO "ETRN full.test\n", "220 250 502 ", "");
}

/* They count as commands that do nothing. */
static void test_too_many(void **state SM_UNUSED)
{
	char lines[2000] = HELO;

	for (int i = 0; i < 51; i++)
		strcat(lines, "ETRN full.test\n");
	(void)t_play(SS_F_ACCESS, nothing, lines);
	assert_int_equal(strncmp(played.last, "421 ", 4), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(test_asks, set_up),
	    cmocka_unit_test_setup(test_syntax, set_up),
	    cmocka_unit_test_setup(test_when, set_up),
	    cmocka_unit_test_setup(test_who, set_up),
	    cmocka_unit_test_setup(test_too_many, set_up),
	};

	sm_log_level(0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
