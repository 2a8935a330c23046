/* Texts of results, and what codes mean. */
#include "smtpc/t_smtpc.h"

static void test_reply_texts(void **state)
{
	static const struct {
		int code;
		enum sm_stage stage;
		const char *text, *want;
	} cases[] = {
	    {250, SM_STAGE_EOD, "2.0.0 queued as 1", "2.0.0 queued as 1"},
	    {250, SM_STAGE_EOD, "queued", "2.0.0 queued"},
	    {250, SM_STAGE_EOD, "", "2.0.0"},
	    {550, SM_STAGE_RCPT, "no such user", "5.1.1 no such user"},
	    {550, SM_STAGE_MAIL, "go away", "5.0.0 go away"},
	    {550, SM_STAGE_RCPT, "4.1.1 wrong class", "5.1.1 4.1.1 wrong class"},
	    {550, SM_STAGE_RCPT, "5.7.1 a\n5.7.1 b\nc", "5.7.1 a b c"},
	    {452, SM_STAGE_RCPT, "full", "4.3.1 full"},
	    {552, SM_STAGE_DATA, "big", "5.3.4 big"},
	    {421, SM_STAGE_MAIL, " closing  now ", "4.3.2 closing now"},
	    {221, SM_STAGE_EOD, "2.0.0 bye", "4.0.0 2.0.0 bye"},
	    {354, SM_STAGE_RCPT, "go", "4.0.0 go"},
	    {550, SM_STAGE_RCPT, "a\tb\x01\xff", "5.1.1 a b??"},
	};
	char out[SC_TEXT_MAX + 1], longer[2000];

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++)
		assert_string_equal(
		    sc_text_reply(out, cases[i].code, sm_str(cases[i].text), cases[i].stage),
		    cases[i].want);
	memset(longer, 'x', sizeof(longer));
	(void)sc_text_reply(out, 550, sm_str_n(longer, sizeof(longer)), SM_STAGE_RCPT);
	assert_int_equal(strlen(out), SC_TEXT_MAX);
	assert_string_equal(sc_text_local(out, "4.4.1", "a\r\nb"), "4.4.1 a b");
}

static void test_outcomes(void **state)
{
	static const struct {
		int code;
		enum sm_outcome want;
	} cases[] = {
	    {250, SM_OUTCOME_DONE}, {251, SM_OUTCOME_DONE}, {252, SM_OUTCOME_DONE},
	    {221, SM_OUTCOME_TEMP}, {354, SM_OUTCOME_TEMP}, {300, SM_OUTCOME_TEMP},
	    {421, SM_OUTCOME_TEMP}, {450, SM_OUTCOME_TEMP}, {499, SM_OUTCOME_TEMP},
	    {500, SM_OUTCOME_PERM}, {551, SM_OUTCOME_PERM}, {599, SM_OUTCOME_PERM},
	    {0, SM_OUTCOME_TEMP},   {-1, SM_OUTCOME_TEMP},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++)
		assert_int_equal(sc_outcome(cases[i].code), cases[i].want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_reply_texts),
	    cmocka_unit_test(test_outcomes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
