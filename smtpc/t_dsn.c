/* Delivery reports: what a program and a person find in them, and that nothing of the original
 * breaks them. */
#include "smtpc/t_smtpc.h"

#include "smtpc/dsn.h"

static struct sc_task task;
static struct sc sc;
static struct sm_msg_dsn_rcpt rcpts[2];
static struct sm_buf out;

static void begin(enum sm_dsn_kind kind)
{
	memset(&task, 0, sizeof(task));
	memset(rcpts, 0, sizeof(rcpts));
	sc.hostname = SM_STR("mail.example");
	task.sc = &sc;
	sm_arena_init(&task.arena, "test", 4096, 1 << 20);
	task.in.ta = (struct sm_id){.counter = 0xABC, .proc = 0xFF};
	task.in.dsn_of = (struct sm_id){.counter = 0x123, .proc = 1};
	task.in.dsn_kind = (uint8_t)kind;
	task.in.dsn_sender = SM_STR("sender@a.example");
	task.in.received_s = 1000000000;
	task.in.dsn_rcpts = rcpts;
	task.in.dsn_rcpts_count = 1;
	rcpts[0].addr = SM_STR("x@b.example");
	rcpts[0].action = (uint8_t)kind;
	rcpts[0].code = 550;
	rcpts[0].text = SM_STR("5.1.1 no such user");
	rcpts[0].host = SM_STR("mx.b.example");
	rcpts[0].last_try_s = 1000000000;
	sm_buf_init(&out, 2 << 20);
}

static void end(void)
{
	sm_buf_fini(&out);
	sm_arena_fini(&task.arena);
}

static void has(const char *text)
{
	if (strstr(sm_buf_c(&out), text) == NULL)
		fail_msg("\"%s\" is missing in:\n%s", text, sm_buf_c(&out));
}

static void has_not(const char *text)
{
	if (strstr(sm_buf_c(&out), text) != NULL)
		fail_msg("\"%s\" is in:\n%s", text, sm_buf_c(&out));
}

/* Only CRLF lines of 7-bit text, none too long. */
static void check_lines(void)
{
	struct sm_str s = sm_buf_view(&out);
	size_t line = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];
		assert_true(c > 0 && c < 0x80);
		if (c == '\n') {
			assert_true(i > 0 && s.p[i - 1] == '\r');
			line = 0;
		} else if (c == '\r') {
			assert_true(i + 1 < s.n && s.p[i + 1] == '\n');
		} else {
			assert_true(++line <= 998);
		}
	}
	assert_true(sm_str_has_suffix(s, SM_STR("--\r\n")));
}

static void write_report(const char *original, bool whole)
{
	sm_buf_reset(&out);
	sc_dsn_write(&task, sm_str(original), whole, &out);
	assert_int_equal(sm_buf_err(&out), 0);
	check_lines();
}

static void test_failure(void **state)
{
	(void)state;
	begin(SM_DSN_FAILED);
	task.in.envid = SM_STR("QQ+2B1");
	rcpts[0].orcpt = SM_STR("rfc822;Old+2Bx@b.example");
	write_report("Subject: hi\r\n\r\nbody\r\n", true);
	has("From: Mail Delivery System <MAILER-DAEMON@mail.example>\r\n");
	has("To: <sender@a.example>\r\n");
	has("Message-ID: <S0000000000000ABCFF@mail.example>\r\n");
	has("Auto-Submitted: auto-replied\r\n");
	has("Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=");
	has("Its id here is S000000000000012301.\r\n");
	has("<x@b.example>\r\n    host: mx.b.example\r\n    said: 550 5.1.1 no such user\r\n");
	has("Reporting-MTA: dns; mail.example\r\nOriginal-Envelope-Id: QQ+1\r\n\r\n"
	    "Original-Recipient: rfc822; Old+x@b.example\r\n"
	    "Final-Recipient: rfc822; x@b.example\r\nAction: failed\r\nStatus: 5.1.1\r\n"
	    "Remote-MTA: dns; mx.b.example\r\nDiagnostic-Code: smtp; 550 5.1.1 no such user\r\n"
	    "Last-Attempt-Date: ");
	has("Content-Type: message/rfc822\r\n");
	has("\r\n\r\nSubject: hi\r\n\r\nbody\r\n\r\n--=_");
	end();
}

static void test_kinds(void **state)
{
	(void)state;
	begin(SM_DSN_DELAYED);
	rcpts[0].code = 0;
	rcpts[0].text = SM_STR("4.4.1 connect to 192.0.2.1:25: Connection refused");
	rcpts[0].host = SM_STR_NONE;
	write_report("Subject: hi\r\n\r\nbody\r\n", true);
	has("Action: delayed\r\nStatus: 4.4.1\r\nDiagnostic-Code: x-smx; 4.4.1 connect to");
	has("need not send it again");
	has("Content-Type: text/rfc822-headers\r\n");
	has("Subject: hi\r\n");
	has_not("body");
	end();
	begin(SM_DSN_DELIVERED);
	rcpts[0].text = SM_STR("queued");
	rcpts[0].code = 250;
	write_report("Subject: hi\r\n\r\nbody\r\n", true);
	has("Action: delivered\r\nStatus: 2.0.0\r\n");
	has_not("body");
	end();
	/* Expired: the last error was a temporary one, and the status may say so. */
	begin(SM_DSN_FAILED);
	rcpts[0].text = SM_STR("4.4.1 timeout");
	write_report("", true);
	has("Action: failed\r\nStatus: 4.4.1\r\n");
	has_not("rfc822-headers");
	end();
}

static void test_original_is_enclosed_only_when_it_fits(void **state)
{
	static char line[3000];

	(void)state;
	memset(line, 'L', sizeof(line) - 1);
	begin(SM_DSN_FAILED);
	write_report("Subject: hi\r\n\r\nbody\r\n", false); /* there is more */
	has("text/rfc822-headers");
	has_not("body");
	write_report("Subject: \xe4\xff hi\r\nX: \x01\r\n\r\nbody\r\n", true);
	has("Subject: ?? hi\r\nX: ?\r\n");
	has_not("body");
	write_report("Subject: hi\r\n\r\nbare\nbody\r\n", true);
	has_not("bare");
	write_report("Subject: hi\nX: bare\r\n\r\nbare\rbody\r\n", true);
	has("Subject: hi\r\nX: bare\r\n");
	has_not("body");
	task.in.ret = SM_RET_HDRS;
	write_report("Subject: hi\r\n\r\nbody\r\n", true);
	has_not("body");
	task.in.ret = SM_RET_NONE;
	write_report("Subject: hi\r\n\r\nno end of line", true);
	has("no end of line\r\n\r\n--=_");
	write_report(line, true);
	end();
}

/* Whatever peers said cannot add lines to the report. */
static void test_forgery(void **state)
{
	(void)state;
	begin(SM_DSN_FAILED);
	rcpts[0].text = SM_STR("5.0.0 x\r\nBcc: all@a.example\r\n\r\n--=_");
	rcpts[0].host = SM_STR("a\r\nX-Forged: 1");
	rcpts[0].orcpt = SM_STR("rfc822;x+0D+0AX-Forged: 2");
	task.in.dsn_sender = SM_STR("s@a\r\nX-Forged: 3");
	task.in.envid = SM_STR("e+0D+0AX-Forged: 4");
	write_report("", true);
	has_not("\nX-Forged");
	has_not("\nBcc");
	end();
}

static void test_boundary_is_not_in_the_original(void **state)
{
	(void)state;
	begin(SM_DSN_FAILED);
	write_report("Subject: hi\r\n\r\n--=_00\r\n", true);
	char *boundary = strstr(sm_buf_c(&out), "boundary=\"") + 10, closing[100];
	size_t n = strcspn(boundary, "\"");
	(void)snprintf(closing, sizeof(closing), "\r\n--%.*s", (int)n, boundary);
	int count = 0;
	for (const char *p = sm_buf_c(&out); (p = strstr(p, closing)) != NULL; p++)
		count++;
	assert_int_equal(count, 4);
	end();
}

/* Through a task: composed from the content store, sent from <>. */
static void test_delivery(void **state)
{
	static const char *const script =
	    "> 220 x\n< EHLO client.example\n> 250-x\n> 250 PIPELINING\n< MAIL FROM:<>\n"
	    "< RCPT TO:<sender@a.example>\n< DATA\n> 250 ok\n> 250 ok\n> 354 go\n.\n> 250 ok\n";

	(void)state;
	for (int lost = 0; lost < 2; lost++) {
		t_begin(1, &script);
		t_rcpt("sender@a.example");
		W.task.sender = SM_STR_NONE;
		W.task.dsn_kind = SM_DSN_FAILED;
		W.task.dsn_sender = SM_STR("sender@a.example");
		W.task.envid = SM_STR("not-for-mail");
		W.task.dsn_rcpts = rcpts;
		W.task.dsn_rcpts_count = 1;
		if (lost) {
			W.message = SM_STR_NONE;
			W.task.size = 1000;
		}
		rcpts[0] = (struct sm_msg_dsn_rcpt){.addr = SM_STR("x@b.example"), .code = 550};
		t_run("0 done 250 final 2.0.0 ok\n");
		assert_non_null(strstr(sm_buf_c(&W.host[0].content), "Action: failed\r\n"));
		if (lost)
			assert_null(strstr(sm_buf_c(&W.host[0].content), "rfc822-headers"));
		else
			assert_non_null(strstr(sm_buf_c(&W.host[0].content),
			                       "Subject: hi\r\n\r\n.hello\r\nworld\r\n\r\n--"));
		t_end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_failure),
	    cmocka_unit_test(test_kinds),
	    cmocka_unit_test(test_original_is_enclosed_only_when_it_fits),
	    cmocka_unit_test(test_forgery),
	    cmocka_unit_test(test_boundary_is_not_in_the_original),
	    cmocka_unit_test(test_delivery),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
