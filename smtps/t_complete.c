/* Headers that are completed, in every split. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "libsm/buf.h"
#include "smtps/complete.h"

static struct sm_buf out;

static int keep(void *arg, const void *p, size_t n)
{
	(void)arg;
	sm_buf_append(&out, p, n);
	return 0;
}

static struct ss_complete_by by = {
    .unique = SM_STR("S000000000000012301"),
    .hostname = SM_STR("mx.test"),
    .sender = SM_STR("me@src.example"),
    .wall_s = 0,
    .put = keep,
};

#define DATE  "Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n"
#define MSGID "Message-ID: <S000000000000012301@mx.test>\r\n"
#define FROM  "From: <me@src.example>\r\n"

static void run(const char *in, size_t n, size_t split, size_t second)
{
	struct ss_complete c;
	size_t a = SM_MIN(split, n), b = SM_MIN(second, n - a);

	sm_buf_reset(&out);
	ss_complete_init(&c, &by);
	assert_int_equal(ss_complete_feed(&c, in, a), 0);
	assert_int_equal(ss_complete_feed(&c, in + a, b), 0);
	assert_int_equal(ss_complete_feed(&c, in + a + b, n - a - b), 0);
	assert_int_equal(ss_complete_end(&c), 0);
}

static void becomes(const char *in, const char *want)
{
	size_t n = strlen(in);

	for (size_t split = 0; split <= n; split++) {
		for (size_t second = 0; second < 3; second++) {
			run(in, n, split, second);
			if (!sm_str_eq(sm_buf_view(&out), sm_str(want)))
				fail_msg("%s\n-- split at %zu, became --\n%s", in, split,
				         sm_buf_c(&out));
		}
	}
}

static void same(const char *in)
{
	becomes(in, in);
}

static void test_whole(void **state)
{
	(void)state;
	same(DATE MSGID FROM "\r\nbody\r\n");
	same("dAtE: x\r\nmessage-id : <x@y>\r\nFROM\t: a\r\n\r\nDate: no\r\n");
	same("From: a,\r\n b\r\n\tc: d\r\nDate:\r\nMessage-ID:\r\n\r\n");
	/* no body, not even the empty line */
	same(DATE MSGID FROM);
}

static void test_missing(void **state)
{
	(void)state;
	becomes("Subject: x\r\n\r\nbody\r\n", "Subject: x\r\n" DATE MSGID FROM "\r\nbody\r\n");
	becomes("Subject: x\r\n" DATE "\r\n", "Subject: x\r\n" DATE MSGID FROM "\r\n");
	becomes(MSGID "\r\n\r\n", MSGID DATE FROM "\r\n\r\n");
	becomes(FROM "X: y\r\n z\r\n\r\n.\r\n", FROM "X: y\r\n z\r\n" DATE MSGID "\r\n.\r\n");
	/* Of others: longer, in the text, in a continuation. */
	becomes("Dates: x\r\n\tDate: y\r\nX-From: z\r\n\r\nFrom: q\r\n",
	        "Dates: x\r\n\tDate: y\r\nX-From: z\r\n" DATE MSGID FROM "\r\nFrom: q\r\n");
	/* empty ones */
	becomes("", DATE MSGID FROM);
	becomes("\r\n", DATE MSGID FROM "\r\n");
	becomes("\r\ntext\r\n", DATE MSGID FROM "\r\ntext\r\n");
	becomes("Subject: x\r\n", "Subject: x\r\n" DATE MSGID FROM);
	/* no end of the line */
	becomes("Subject: x", "Subject: x\r\n" DATE MSGID FROM);
	becomes("Subject", DATE MSGID FROM "\r\nSubject");
	same(DATE MSGID "From: x");
	by.phrase = SM_STR("\"A. B.\"");
	becomes("\r\n", DATE MSGID "From: \"A. B.\" <me@src.example>\r\n\r\n");
	by.sender = by.phrase = SM_STR("");
	becomes("\r\n", DATE MSGID "From: <MAILER-DAEMON@mx.test>\r\n\r\n");
	by.sender = SM_STR("me@src.example");
}

/* Text where a field should be ends the header: it gets the empty line that it lacks. */
static void test_no_header(void **state)
{
	char longest[400];
	(void)state;

	becomes("hello\r\nFrom: x\r\n", DATE MSGID FROM "\r\nhello\r\nFrom: x\r\n");
	becomes("Subject: x\r\nhello you: x\r\n",
	        "Subject: x\r\n" DATE MSGID FROM "\r\nhello you: x\r\n");
	becomes(" folded\r\n", DATE MSGID FROM "\r\n folded\r\n");
	becomes(": x\r\n", DATE MSGID FROM "\r\n: x\r\n");
	becomes("Fr\xc3\xb6m: x\r\n", DATE MSGID FROM "\r\nFr\xc3\xb6m: x\r\n");
	becomes("From me Mon Jan  1 00:00:00 2026\r\nDate: x\r\n",
	        DATE MSGID FROM "\r\nFrom me Mon Jan  1 00:00:00 2026\r\nDate: x\r\n");
	memset(longest, 'n', sizeof(longest));
	memcpy(longest + 300, ": x\r\n", 6);
	run(longest, 305, 77, 100);
	assert_int_equal(out.len, strlen(DATE MSGID FROM) + 2 + 305);
}

static void test_memory(void **state)
{
	char msgid[SS_COMPLETE_ID];
	struct ss_complete c;
	(void)state;

	ss_complete_init(&c, &by);
	assert_int_equal(ss_complete_feed(&c, "Date: x\r\n\r\n", 11), 0);
	assert_int_equal(c.added, SS_ADDED_MSGID | SS_ADDED_FROM);
	assert_true(sm_str_eq(ss_complete_msgid(&c, msgid, sizeof(msgid)),
	                      SM_STR("<S000000000000012301@mx.test>")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_whole),
	    cmocka_unit_test(test_missing),
	    cmocka_unit_test(test_no_header),
	    cmocka_unit_test(test_memory),
	};

	(void)setenv("TZ", "UTC", 1);
	sm_buf_init(&out, 65536);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	sm_buf_fini(&out);
	return rc;
}
