/* Unit tests of cmds.c and reply.c: the matrix of what is legal when, and the form of every reply.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/smtp_reply.h"
#include "smtps/cmds.h"
#include "smtps/content.h"
#include "smtps/session.h"

/* The matrix, written out: '.' legal, else the first letter of the 503's reason (E: EHLO first, M:
 * MAIL first, R: RCPT first, N: nested, C: chunks). */
static const struct {
	const char *verb;
	const char *new_ready_mail_rcpt_chunks;
} matrix[] = {
    {"EHLO", "....."},     {"HELO", "....."},    {"MAIL", "E.NNC"},     {"RCPT", "EM..C"},
    {"DATA", "EMR.C"},     {"BDAT", "EMR.."},    {"RSET", "....."},     {"NOOP", "....."},
    {"VRFY", "....."},     {"EXPN", "....."},    {"HELP", "....."},     {"QUIT", "....."},
    {"AUTH", "E.NNC"},     {"XCLIENT", "..NNC"}, {"STARTTLS", "E.NNC"}, {"LHLO", "....."},
    {"XFORWARD", "E.NNC"}, {"ETRN", "E.NNC"},
};

static void test_matrix(void **state)
{
	static const enum ss_state states[] = {SS_ST_NEW, SS_ST_READY, SS_ST_MAIL, SS_ST_RCPT,
	                                       SS_ST_CHUNKS};
	size_t count;
	(void)state;

	(void)ss_cmd_table(&count);
	assert_int_equal(count, SM_ARRAY_SIZE(matrix));
	for (size_t i = 0; i < SM_ARRAY_SIZE(matrix); i++) {
		const struct ss_cmd *c = ss_cmd_find(sm_str(matrix[i].verb));
		assert_non_null(c);
		for (size_t k = 0; k < SM_ARRAY_SIZE(states); k++) {
			enum ss_reply_name r = ss_cmd_illegal(c, states[k]), want = SS_R_NONE;
			switch (matrix[i].new_ready_mail_rcpt_chunks[k]) {
			case 'E':
				want = SS_R_HELO_FIRST;
				break;
			case 'M':
				want = SS_R_MAIL_FIRST;
				break;
			case 'R':
				want = SS_R_RCPT_FIRST;
				break;
			case 'N':
				want = SS_R_NESTED_MAIL;
				break;
			case 'C':
				want = SS_R_CHUNKS_OPEN;
				break;
			default:
				break;
			}
			if (r != want)
				fail_msg("%s in state %d", matrix[i].verb, states[k]);
			if (r != SS_R_NONE)
				assert_int_equal(ss_reply_code(r), 503);
		}
	}
}

static void test_find(void **state)
{
	(void)state;
	assert_ptr_equal(ss_cmd_find(SM_STR("mAiL")), ss_cmd_find(SM_STR("MAIL")));
	assert_null(ss_cmd_find(SM_STR("XDAT")));
	assert_null(ss_cmd_find(SM_STR("MAI")));
	assert_null(ss_cmd_find(SM_STR("MAILX")));
	assert_null(ss_cmd_find(SM_STR("")));
	assert_true(ss_cmd_foreign(SM_STR("GET")));
	assert_false(ss_cmd_foreign(SM_STR("MAIL")));
}

static void test_state(void **state)
{
	struct ss_session s = {0};
	struct ss_content in = {.failed = false};
	(void)state;

	assert_int_equal(ss_state(&s), SS_ST_NEW);
	s.helo = SM_STR("x");
	assert_int_equal(ss_state(&s), SS_ST_READY);
	s.txn.open = true;
	assert_int_equal(ss_state(&s), SS_ST_MAIL);
	s.txn.rcpt_count = 1;
	assert_int_equal(ss_state(&s), SS_ST_RCPT);
	s.txn.in = &in;
	assert_int_equal(ss_state(&s), SS_ST_CHUNKS);
}

/* Each reply but 354 and single words has an enhanced code that fits its class (RFC 2034). */
static void test_replies(void **state)
{
	(void)state;
	for (int r = SS_R_NONE + 1; r < SS_R_COUNT_; r++) {
		int code = ss_reply_code((enum ss_reply_name)r);
		struct sm_str text = ss_reply_text((enum ss_reply_name)r), rest;
		unsigned num[3];

		assert_true(code >= 200 && code <= 599);
		if (code != 354 && !sm_enhanced_parse(text, code, num, &rest))
			fail_msg("%d %.*s", code, SM_STR_ARG(text));
	}
}

/* The bytes that are ready are those that would be made. */
static void test_wire(void **state)
{
	struct sm_buf b;
	(void)state;

	sm_buf_init(&b, 1024);
	for (int r = SS_R_NONE + 1; r < SS_R_COUNT_; r++) {
		struct sm_str text = ss_reply_text((enum ss_reply_name)r);
		struct sm_str wire = ss_reply_wire((enum ss_reply_name)r);

		assert_int_equal(sm_str_empty(wire), sm_str_chr(text, '\n') >= 0);
		sm_buf_reset(&b);
		sm_reply_put(&b, ss_reply_code((enum ss_reply_name)r), text);
		if (!sm_str_empty(wire) && !sm_str_eq(wire, sm_buf_view(&b)))
			fail_msg("%.*s", SM_STR_ARG(wire));
	}
	sm_buf_fini(&b);
}

static void test_soften(void **state)
{
	char mem[64];
	struct sm_str t = SM_STR("5.7.1 no");
	(void)state;

	assert_int_equal(ss_reply_soften(550, &t, mem, sizeof(mem)), 450);
	assert_true(sm_str_eq(t, SM_STR("4.7.1 no")));
	t = SM_STR("just no");
	assert_int_equal(ss_reply_soften(554, &t, mem, sizeof(mem)), 454);
	assert_true(sm_str_eq(t, SM_STR("just no")));
	t = SM_STR("5.5.1 order");
	assert_int_equal(ss_reply_soften(503, &t, mem, sizeof(mem)), 503);
	assert_true(sm_str_eq(t, SM_STR("5.5.1 order")));
	t = SM_STR("2.0.0 yes");
	assert_int_equal(ss_reply_soften(250, &t, mem, sizeof(mem)), 250);
	t = SM_STR("4.0.0 later");
	assert_int_equal(ss_reply_soften(451, &t, mem, sizeof(mem)), 451);
	assert_true(sm_str_eq(t, SM_STR("4.0.0 later")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_matrix), cmocka_unit_test(test_find),
	    cmocka_unit_test(test_state),  cmocka_unit_test(test_replies),
	    cmocka_unit_test(test_soften), cmocka_unit_test(test_wire),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
