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
	if (sc.dsn_texts == NULL)
		assert_int_equal(sc_dsn_texts_load(SM_STR(""), &sc.dsn_texts), 0);
	task.in.dsn_max_bytes = 100000;
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
	task.in.size = strlen(original);
	assert_int_equal(sc_dsn_write(&task, sm_str(original), whole, 0, &out), 0);
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
	task.in.dsn_until_s = 1000086400;
	write_report("Subject: hi\r\n\r\nbody\r\n", true);
	has("Action: delayed\r\nStatus: 4.4.1\r\nDiagnostic-Code: x-smx; 4.4.1 connect to");
	has("need not send it again");
	has("tried until\r\nMon, 10 Sep 2001 01:46:40 +0000.\r\n");
	has("Will-Retry-Until: Mon, 10 Sep 2001 01:46:40 +0000\r\n");
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
	/* RFC 3461 5.2.7.3: passed on to a list, which sees to the rest. */
	begin(SM_DSN_EXPANDED);
	rcpts[0].code = 0;
	rcpts[0].text = rcpts[0].host = SM_STR_NONE;
	rcpts[0].orcpt = SM_STR("rfc822;list@b.example");
	rcpts[1].addr = SM_STR("list2@b.example");
	rcpts[1].action = SM_DSN_EXPANDED;
	task.in.dsn_rcpts_count = 2;
	write_report("Subject: hi\r\n\r\nbody\r\n", true);
	has("Subject: Mail was passed on to a list\r\n");
	has("\r\n\r\nOriginal-Recipient: rfc822; list@b.example\r\n"
	    "Final-Recipient: rfc822; x@b.example\r\nAction: expanded\r\nStatus: 2.0.0\r\n");
	has("\r\n\r\nFinal-Recipient: rfc822; list2@b.example\r\nAction: expanded\r\n"
	    "Status: 2.0.0\r\n\r\n--=_");
	has_not("Remote-MTA");
	has_not("Diagnostic-Code");
	has_not("body");
	end();
	begin(SM_DSN_RELAYED);
	rcpts[0].code = 250;
	rcpts[0].text = SM_STR("2.6.0 taken");
	write_report("Subject: hi\r\n\r\nbody\r\n", true);
	has("Action: relayed\r\nStatus: 2.6.0\r\nRemote-MTA: dns; mx.b.example\r\n");
	has_not("body");
	end();
	/* To the postmaster, about a DSN. */
	begin(SM_DSN_BOUNCED);
	rcpts[0].action = SM_DSN_FAILED;
	write_report("Subject: hi\r\n\r\nbody\r\n", true);
	has("Subject: Postmaster notice: a report could not be delivered\r\n");
	has("Action: failed\r\nStatus: 5.1.1\r\n");
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
	/* RFC 6522 4: a header that is not legal is encoded, not changed. */
	write_report("Subject: \xe4\xff hi\r\nX: \x01=\r\n\r\nbody\r\n", true);
	has("Content-Type: text/rfc822-headers\r\nContent-Description: Message header\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\nSubject: =E4=FF hi\r\n"
	    "X: =01=3D\r\n");
	has_not("body");
	write_report("Subject: hi\r\n\r\nbare\nbody\r\n", true);
	has_not("bare");
	write_report("Subject: hi\nX: bare\r\n\r\nbare\rbody\r\n", true);
	has("Subject: hi=0AX: bare\r\n");
	has_not("body");
	/* 8-bit content goes where it is taken, labelled. */
	write_report("Subject: hi\r\n\r\nm\xc3\xb6sy\r\n", true);
	has_not("sy\r\n");
	sm_buf_reset(&out);
	assert_int_equal(sc_dsn_write(&task, SM_STR("Subject: hi\r\n\r\nm\xc3\xb6sy\r\n"), true,
	                              SC_DSN_8BIT, &out),
	                 SC_DSN_8BIT);
	has("\r\nContent-Transfer-Encoding: 8bit\r\n\r\nThis is a report");
	has("Content-Type: message/rfc822\r\nContent-Description: Undelivered message\r\n"
	    "Content-Transfer-Encoding: 8bit\r\n\r\nSubject: hi\r\n\r\nm\xc3\xb6sy\r\n");
	sm_buf_reset(&out);
	assert_int_equal(
	    sc_dsn_write(&task, SM_STR("Subject: hi\r\n\r\n7\r\n"), true, SC_DSN_8BIT, &out), 0);
	has_not("8bit");
	/* Larger than qmgr allows. */
	task.in.dsn_max_bytes = 20;
	write_report("Subject: hi\r\n\r\nbodybody\r\n", true);
	has_not("body");
	task.in.dsn_max_bytes = 100000;
	/* Cut off within the header: whole lines are left. */
	char *large = malloc(40000);
	size_t at = (size_t)sprintf(large, "Subject: hi\r\n");
	while (at < 39900)
		at += (size_t)sprintf(large + at, "X-Line: %zu\r\n", at);
	write_report(large, false);
	has("Subject: hi\r\nX-Line: 13\r\n");
	assert_true(out.len > 30000 && out.len < 35000);
	const char *last = strstr(sm_buf_c(&out), "\r\n\r\n--=_") + 4;
	while ((last = strstr(last, "\r\n\r\n--=_")) != NULL && strstr(last + 4, "\r\n\r\n--=_"))
		last += 4;
	assert_non_null(last);
	assert_true(sm_isdigit(last[-1]) && last[-2] != ':');
	free(large);
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

static void test_references(void **state)
{
	(void)state;
	begin(SM_DSN_FAILED);
	write_report("Subject: hi\r\nMessage-Id: <a.b@c>\r\n\r\nbody\r\n", true);
	has("\r\nReferences: <a.b@c>\r\nAuto-Submitted");
	write_report("Subject: hi\r\nMessage-Id: <a> <b>\r\n\r\nbody\r\n", true);
	has_not("References");
	write_report("Subject: hi\r\n\r\nMessage-Id: <a.b@c>\r\n", true);
	has_not("References");
	write_report("Message-Id: <a\tb@c>\r\n\r\n", true);
	has_not("References");
	end();
}

/* An operator's text with every variable, in two languages. */
static void test_own_text(void **state)
{
	struct sc_dsn_texts *texts = sc.dsn_texts, own = *texts;
	struct sm_arena a;

	(void)state;
	sm_arena_init(&a, "text", 4096, 65536);
	begin(SM_DSN_FAILED);
	assert_int_equal(sc_dsn_text_parse(&a, "own.txt",
	                                   SM_STR("Subject: Unzustellbar: zur\xc3\xbc"
	                                          "ck\n\nHost ${hostname}, $$5, ${id} "
	                                          "${sender}\n${arrival_date}\n${recipients}"
	                                          "=Gr\xc3\xbc\xc3\x9f"
	                                          "e\n"),
	                                   &own.of[SM_DSN_FAILED]),
	                 0);
	sc.dsn_texts = &own;
	task.in.dsn_received_s = 1000000000;
	write_report("Subject: hi\r\n\r\nbody\r\n", true);
	has("Subject: =?utf-8?Q?Unzustellbar=3A=20zur=C3=BCck?=\r\n");
	has("charset=utf-8\r\nContent-Description: Notification\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
	    "Host mail.example, $5, S000000000000012301 sender@a.example\r\n"
	    "Sun, 9 Sep 2001 01:46:40 +0000\r\n\r\n<x@b.example>\r\n");
	has("=3DGr=C3=BC=C3=9Fe\r\n\r\n--=_");
	end();
	sm_arena_fini(&a);
	sc.dsn_texts = texts;
}

/* The best that each server takes: the second host takes 8-bit content, the first one does not. */
static void test_8bit_by_server(void **state)
{
	static const char *const scripts[] = {
	    "> 220 x\n< EHLO client.example\n> 250-x\n> 250 PIPELINING\n< MAIL FROM:<>\n"
	    "< RCPT TO:<sender@a.example>\n< DATA\n> 250 ok\n> 250 ok\n> 354 go\n.\nx\n",
	    "> 220 x\n< EHLO client.example\n> 250-x\n> 250-8BITMIME\n> 250 PIPELINING\n"
	    "< MAIL FROM:<> BODY=8BITMIME\n"
	    "< RCPT TO:<sender@a.example>\n< DATA\n> 250 ok\n> 250 ok\n> 354 go\n.\n> 250 ok\n"};

	(void)state;
	for (int i = 0; i < 2; i++) {
		t_begin(1, &scripts[i]);
		t_rcpt("sender@a.example");
		W.message = SM_STR("Subject: hi\r\n\r\ngr\xc3\xbcn\r\n");
		W.task.size = W.message.n;
		W.task.sender = SM_STR_NONE;
		W.task.dsn_kind = SM_DSN_FAILED;
		W.task.dsn_max_bytes = 100000;
		W.task.dsn_sender = SM_STR("sender@a.example");
		W.task.dsn_rcpts = rcpts;
		W.task.dsn_rcpts_count = 1;
		rcpts[0] = (struct sm_msg_dsn_rcpt){.addr = SM_STR("x@b.example"), .code = 550};
		t_run(i ? "0 done 250 final 2.0.0 ok\n"
		        : "0 temp 0 final 4.4.2 connection closed by peer\n");
		const char *got = sm_buf_c(&W.host[0].content);
		assert_non_null(strstr(got, "Action: failed\r\n"));
		assert_int_equal(strstr(got, "gr\xc3\xbcn\r\n") != NULL, i == 1);
		assert_int_equal(strstr(got, "message/rfc822") != NULL, i == 1);
		t_end();
	}
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
		W.task.dsn_max_bytes = 100000;
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

/* ---- RFC 6533 ---- */

static void write_for(const char *original, bool whole, unsigned allowed, unsigned want)
{
	sm_buf_reset(&out);
	task.in.size = strlen(original);
	assert_int_equal(sc_dsn_write(&task, sm_str(original), whole, allowed, &out), want);
	assert_int_equal(sm_buf_err(&out), 0);
	if (want == 0)
		check_lines();
}

static void begin_utf8(void)
{
	begin(SM_DSN_FAILED);
	task.in.dsn_rcpts_count = 1;
	rcpts[0].addr = SM_STR("j\xc3\xb6rg@b\xc3\xbc"
	                       "cher.example");
	rcpts[0].orcpt = SM_STR("utf-8;o\\x{2B}\xc3\xa9@x");
}

static void test_utf8_encoded(void **state)
{
	(void)state;
	/* For who does not take UTF-8: all of it in ASCII. */
	begin_utf8();
	task.in.utf8 = SM_UTF8_DECLARED | SM_UTF8_HEADER;
	write_for("Subject: h\xc3\xa9\r\n\r\nm\xc3\xb6sy\r\n", true, SC_DSN_8BIT, 0);
	has("Content-Type: message/delivery-status\r\n");
	has("Original-Recipient: utf-8; o\\x{2B}\\x{E9}@x\r\n"
	    "Final-Recipient: utf-8; j\\x{F6}rg@b\\x{FC}cher.example\r\n");
	has("Content-Type: text/plain; charset=utf-8\r\n");
	has("<j=C3=B6rg@b=C3=BCcher.example>");
	has("Content-Type: message/global\r\nContent-Description: Undelivered message\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\nSubject: h=C3=A9\r\n\r\n"
	    "m=C3=B6sy\r\n");
	write_for("Subject: h\xc3\xa9\r\n\r\nm\xc3\xb6sy\r\n", false, SC_DSN_8BIT, 0);
	has("Content-Type: message/global-headers\r\nContent-Description: Message header\r\n"
	    "Content-Transfer-Encoding: quoted-printable\r\n\r\nSubject: h=C3=A9\r\n");
	/* Only the recipient is in UTF-8. */
	task.in.utf8 = 0;
	write_for("Subject: hi\r\n\r\nbody\r\n", true, 0, 0);
	has("Content-Type: message/rfc822\r\nContent-Description: Undelivered message\r\n\r\n"
	    "Subject: hi\r\n\r\nbody\r\n");
	has("Final-Recipient: utf-8; j\\x{F6}rg@b\\x{FC}cher.example\r\n");
	rcpts[0].orcpt = SM_STR("rfc822;j+C3+B6rg@x");
	write_for("Subject: hi\r\n\r\nbody\r\n", true, 0, 0);
	has("Original-Recipient: utf-8; j\\x{F6}rg@x\r\n");
	/* No UTF-8: nothing that pretends to be. */
	rcpts[0].addr = SM_STR("j\xf6rg@b.example");
	rcpts[0].orcpt = SM_STR("utf-8;a@b");
	write_for("Subject: hi\r\n\r\nbody\r\n", true, 0, 0);
	has("Final-Recipient: utf-8; j?rg@b.example\r\n");
	has("Original-Recipient: utf-8; a@b\r\n");
	end();
}

static void test_utf8_as_it_is(void **state)
{
	unsigned all = SC_DSN_8BIT | SC_DSN_UTF8;
	(void)state;

	begin_utf8();
	task.in.utf8 = SM_UTF8_DECLARED | SM_UTF8_HEADER;
	task.in.dsn_sender = SM_STR("s\xc3\xa9nd@a.example");
	write_for("Subject: h\xc3\xa9\r\n\r\nm\xc3\xb6sy\r\n", true, all, all);
	has("To: <s\xc3\xa9nd@a.example>\r\n");
	has("Content-Type: message/global-delivery-status\r\nContent-Description: Delivery "
	    "report\r\n"
	    "Content-Transfer-Encoding: 8bit\r\n\r\n");
	has("Original-Recipient: utf-8; o+\xc3\xa9@x\r\n"
	    "Final-Recipient: utf-8; j\xc3\xb6rg@b\xc3\xbc"
	    "cher.example\r\n");
	has("Content-Type: message/global\r\nContent-Description: Undelivered message\r\n"
	    "Content-Transfer-Encoding: 8bit\r\n\r\nSubject: h\xc3\xa9\r\n\r\nm\xc3\xb6sy\r\n");
	write_for("Subject: h\xc3\xa9\r\n\r\nm\xc3\xb6sy\r\n", false, all, all);
	has("Content-Type: message/global-headers\r\nContent-Description: Message header\r\n"
	    "Content-Transfer-Encoding: 8bit\r\n\r\nSubject: h\xc3\xa9\r\n");
	end();
	/* Nothing in UTF-8: nothing new. */
	begin(SM_DSN_FAILED);
	write_for("Subject: hi\r\n\r\nbody\r\n", true, all, 0);
	has("Content-Type: message/delivery-status\r\n");
	has("Content-Type: message/rfc822\r\n");
	end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_utf8_encoded),
	    cmocka_unit_test(test_utf8_as_it_is),
	    cmocka_unit_test(test_failure),
	    cmocka_unit_test(test_kinds),
	    cmocka_unit_test(test_original_is_enclosed_only_when_it_fits),
	    cmocka_unit_test(test_forgery),
	    cmocka_unit_test(test_boundary_is_not_in_the_original),
	    cmocka_unit_test(test_references),
	    cmocka_unit_test(test_own_text),
	    cmocka_unit_test(test_8bit_by_server),
	    cmocka_unit_test(test_delivery),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
