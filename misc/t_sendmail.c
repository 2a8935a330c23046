/* sendmail without a server: lists of addresses, headers, names, the message itself, and the
 * command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "libsm/err.h"
#include "libsm/msg.h"
#include "libsm/time.h"
#include "misc/sendmail.h"

/* ---- addresses ---- */

static int note(void *arg, const struct sl_address *a)
{
	struct sm_buf *b = arg;

	sm_buf_printf(b, "%s" SM_STR_FMT, b->len > 0 ? "|" : "", SM_STR_ARG(a->spec));
	if (a->bare_at != SL_QUALIFIED)
		sm_buf_printf(b, "#%zu", a->bare_at);
	return 0;
}

static void is_list(const char *text, const char *want)
{
	struct sm_buf b;

	sm_buf_init(&b, 100000);
	if (sl_addresses(sm_str(text), note, &b) != 0)
		fail_msg("%s: %s", text, sm_diag());
	assert_string_equal(sm_buf_c(&b), want);
	sm_buf_fini(&b);
}

static void is_none_n(const char *text, size_t n)
{
	struct sm_buf b;

	sm_buf_init(&b, 100000);
	if (sl_addresses(sm_str_n(text, n), note, &b) != SM_E_SYNTAX)
		fail_msg("%s: was taken: %s", text, sm_buf_c(&b));
	sm_buf_fini(&b);
}

static void is_none(const char *text)
{
	is_none_n(text, strlen(text));
}

static void test_addresses(void **state)
{
	(void)state;
	is_list("", "");
	is_list(" , ,\r\n\t,", "");
	is_list("a@b.c", "a@b.c");
	is_list("a@b.c, d@e.f,g", "a@b.c|d@e.f|g#14");
	is_list("root (Cron Daemon)", "root#4");
	is_list(" <root> ", "root#6");
	is_list("A. B. <a@b>, \"C, D\" <c@d>", "a@b|c@d");
	is_list("=?UTF-8?Q?J=C3=B6rg?= <j@b>", "j@b");
	is_list("J\xc3\xb6rg <j@b>", "j@b");
	is_list("\"a b\"@c", "\"a b\"@c");
	is_list("\"a\\\" b\" @ c . d (x)", "\"a\\\" b\"@c.d");
	is_list("\"a\r\n b\"@c", "\"a b\"@c");
	is_list("\"a\\\r\n b\"@c", "\"a\\ b\"@c");
	is_list("a . b@c", "a.b@c");
	is_list("(x(y)\\)z) a (b) @ (c) d (e)", "a@d");
	is_list("a@[1.2.3.4], <b@[IPv6:::1]>", "a@[1.2.3.4]|b@[IPv6:::1]");
	is_list("undisclosed-recipients:;", "");
	is_list("Us: a@b, C <c@d>;, e@f", "a@b|c@d|e@f");
	is_list("Us:;, a@b", "a@b");
	is_list("<@x,@y:a@b>", "a@b");
	is_list("<>", "");
	is_list("-oQ/tmp@x, |cmd, /dev/null", "-oQ/tmp@x||cmd#15|/dev/null#26");
	is_list("a!b%c@d", "a!b%c@d");
	is_none("a b");
	is_none("a b@c");
	is_none("a@b c@d");
	is_none("A <a@b");
	is_none("A a@b>");
	is_none("a@");
	is_none("@b");
	is_none("\"a");
	is_none("a (b");
	is_none("a@[1.2");
	is_none("a; b");
	is_none("Us: a@b");
	is_none("Us: Them: a@b;;");
	is_none(":;");
	is_none("a@b\x01");
	is_none("<@x a@b>");
	is_none("<a@b> c");
	is_none(":include:/etc/passwd");
	is_none_n("a\0b", 3);
}

static void test_deep_and_long(void **state)
{
	char deep[2000], *text = malloc(100002);
	(void)state;

	memset(deep, '(', sizeof(deep));
	deep[sizeof(deep) - 1] = '\0';
	is_none(deep);
	memset(text, 'a', 100000);
	strcpy(text + 100000, "@");
	is_none(text);
	text[99000] = '<';
	strcpy(text + 99001, "b@c>");
	is_list(text, "b@c");
	free(text);
}

/* ---- headers ---- */

static struct sm_buf out, rcpts;

static int note_rcpt(void *arg, struct sm_str spec)
{
	(void)arg;
	sm_buf_printf(&rcpts, "%s" SM_STR_FMT, rcpts.len > 0 ? "|" : "", SM_STR_ARG(spec));
	return 0;
}

static int run_head(const char *in)
{
	struct sl_head h = {.wants_rcpts = true,
	                    .domain = SM_STR("mx.test"),
	                    .from = SM_STR("Me <me@mx.test>"),
	                    .rcpt = note_rcpt,
	                    .out = &out};

	sm_buf_reset(&out);
	sm_buf_reset(&rcpts);
	return sl_head(&h, sm_str(in));
}

static void head(const char *in, const char *want, const char *who)
{
	assert_int_equal(run_head(in), 0);
	assert_string_equal(sm_buf_c(&out), want);
	assert_string_equal(sm_buf_c(&rcpts), who);
}

#define RDATE "Resent-Date: Thu, 1 Jan 1970 00:00:00 +0000\r\n"
#define RFROM "Resent-From: Me <me@mx.test>\r\n"

static void test_head(void **state)
{
	(void)state;
	head("", "", "");
	head("Subject: x, y\r\n", "Subject: x, y\r\n", "");
	head("To: a@b,\r\n c@d\r\nBcc: e@f,\r\n\tg\r\nX: y\r\n", "To: a@b,\r\n c@d\r\nX: y\r\n",
	     "a@b|c@d|e@f|g");
	head("bCC : x\r\nCc:root (R), Q <q>\r\n", "Cc:root@mx.test (R), Q <q@mx.test>\r\n",
	     "x|root|q");
	head("From: root (Cron Daemon)\r\nTo: root\r\n",
	     "From: root@mx.test (Cron Daemon)\r\nTo: root@mx.test\r\n", "root");
	/* what is no list stays, where nobody is meant to get anything by it */
	head("From: Cron Daemon\r\nReply-To: a, <b\r\n", "From: Cron Daemon\r\nReply-To: a, <b\r\n",
	     "");
	head("To: undisclosed-recipients:;\r\n", "To: undisclosed-recipients:;\r\n", "");
	assert_int_equal(run_head("To: a b\r\n"), SM_E_SYNTAX);
	assert_memory_equal(sm_diag(), "To: ", 4);
	assert_int_equal(run_head("Bcc: a@b, c d\r\n"), SM_E_SYNTAX);
}

static void test_resent(void **state)
{
	(void)state;
	head("Resent-To: a@b\r\nTo: c@d\r\nBcc: x@y\r\n",
	     RDATE RFROM "Resent-To: a@b\r\nTo: c@d\r\n", "a@b");
	head("Received: x\r\nResent-From: q\r\nResent-Bcc: z@z\r\nResent-Date: d\r\nTo: c\r\n",
	     "Received: x\r\nResent-From: q@mx.test\r\nResent-Date: d\r\nTo: c@mx.test\r\n", "z@z");
	/* an older block is history */
	head("Resent-To: new@b\r\nResent-Cc: n2@b\r\nResent-To: old@b\r\nResent-Bcc: o2@b\r\n"
	     "Resent-From: o\r\nResent-Date: d\r\n",
	     RDATE RFROM "Resent-To: new@b\r\nResent-Cc: n2@b\r\nResent-To: old@b\r\n"
	                 "Resent-From: o@mx.test\r\nResent-Date: d\r\n",
	     "new@b|n2@b");
}

static void test_is_field(void **state)
{
	char longest[300];
	(void)state;

	assert_true(sl_is_field(SM_STR("A:")));
	assert_true(sl_is_field(SM_STR("A-b \t: x")));
	assert_false(sl_is_field(SM_STR("")));
	assert_false(sl_is_field(SM_STR(":")));
	assert_false(sl_is_field(SM_STR(" :")));
	assert_false(sl_is_field(SM_STR("A b: c")));
	assert_false(sl_is_field(SM_STR(" A: c")));
	assert_false(sl_is_field(SM_STR("A")));
	assert_false(sl_is_field(SM_STR("\xc3\xa4: x")));
	memset(longest, 'a', sizeof(longest));
	longest[127] = ':';
	assert_true(sl_is_field(sm_str_n(longest, sizeof(longest))));
	longest[127] = 'a';
	longest[128] = ':';
	assert_false(sl_is_field(sm_str_n(longest, sizeof(longest))));
}

/* ---- names ---- */

static void phrase(const char *name, const char *want)
{
	struct sm_buf b;

	sm_buf_init(&b, 1000);
	sl_phrase(&b, sm_str(name));
	assert_int_equal(sm_buf_err(&b), 0);
	assert_string_equal(sm_buf_c(&b), want);
	sm_buf_fini(&b);
}

static void test_phrase(void **state)
{
	char longest[2001];
	struct sm_buf b;
	(void)state;

	phrase("", "");
	phrase("   ", "");
	phrase("Cron Daemon", "Cron Daemon");
	phrase("A. \"B\" \\ C", "\"A. \\\"B\\\" \\\\ C\"");
	phrase("a@b>, <x", "\"a@b>, <x\"");
	phrase("x\r\nBcc: a@b", "\"x  Bcc: a@b\"");
	phrase("J\xc3\xb6rg", "=?UTF-8?B?SsO2cmc=?=");
	phrase("=?x?Q?a?=", "=?UTF-8?B?PT94P1E/YT89?=");
	phrase("J\xf6rg", "J?rg");
	phrase("x\xc2\x85y\x7fz", "x y z");
	for (size_t i = 0; i < 2000; i += 2)
		memcpy(longest + i, "\xc3\xb6", 2);
	longest[2000] = '\0';
	sm_buf_init(&b, 1000);
	sl_phrase(&b, sm_str(longest));
	assert_int_equal(sm_buf_err(&b), 0);
	for (struct sm_str rest = sm_buf_view(&b); rest.p != NULL;) {
		struct sm_str line = sm_str_split(rest, '\n', &rest);

		assert_true(line.n <= 77);
	}
	sm_buf_fini(&b);
}

/* ---- the message ---- */

static struct sl_conf conf = {
    .qualify_domain = SM_STR("q.test"), .max_message_bytes = 3000000, .max_rcpts = 10};
static struct sl_opts opts;
static char *args[40];

/* What becomes of input that comes in pieces of so many bytes. */
static int message(struct sl_mail *m, const char *in, size_t n, size_t piece)
{
	int p[2], rc;

	rc = sl_mail_init(m, &opts, &conf, SM_STR("mx.test"));
	if (rc != 0)
		return rc;
	assert_int_equal(pipe(p), 0);
	pid_t writer = fork();
	if (writer == 0) {
		close(p[0]);
		for (size_t at = 0; at < n; at += piece)
			if (write(p[1], in + at, SM_MIN(piece, n - at)) < 0)
				_exit(1);
		_exit(0);
	}
	close(p[1]);
	rc = sl_text_read(m, p[0]);
	close(p[0]);
	return rc;
}

#define HEADER "Date: x\r\nMessage-ID: y\r\nFrom: z@z\r\n"

static void text_n(const char *in, size_t n, const char *want, size_t want_n)
{
	for (size_t piece = 1; piece < 5; piece++) {
		struct sl_mail m;
		char *got = malloc(want_n + 100);

		if (message(&m, in, n, piece < 4 ? piece : n + 1) != 0)
			fail_msg("%s: %s", in, sm_diag());
		assert_int_equal(m.size, want_n);
		assert_int_equal(pread(m.fd, got, want_n, 0), (ssize_t)want_n);
		assert_memory_equal(got, want, want_n);
		free(got);
		sl_mail_fini(&m);
	}
}

static void text(const char *in, const char *want)
{
	char *all = NULL;
	int n = asprintf(&all, HEADER "%s", want);

	text_n(in, strlen(in), all, (size_t)n);
	free(all);
}

#define IN "Date: x\nMessage-ID: y\nFrom: z@z\n"

static void test_text(void **state)
{
	(void)state;
	opts = (struct sl_opts){.sender = "me@src.test"};
	text(IN, "");
	text(IN "\n", "\r\n");
	text(IN "\nbody", "\r\nbody\r\n");
	text(IN "\nbody\r\nx\r\r\ny\rz\r", "\r\nbody\r\nx\r\ny\r\nz\r\n");
	text(IN "\r\n\r\rx\n", "\r\n\r\n\r\nx\r\n");
	/* dots: the end, and not */
	text(IN "\na\n.\nb\n", "\r\na\r\n");
	text(IN "\na\n.\r\nb\n", "\r\na\r\n");
	text(IN "\na\n.", "\r\na\r\n");
	text(IN "\na\n..\n.b\n. \n", "\r\na\r\n..\r\n.b\r\n. \r\n");
	text(IN "\na\r.\rb\n", "\r\na\r\n.\r\nb\r\n");
	text(IN "\na\n.\rb\n", "\r\na\r\n.\r\nb\r\n");
	text(IN "\na\n\r.\nb\n", "\r\na\r\n\r\n.\r\nb\r\n");
	text(IN ".\nb\n", "");
	opts.ignore_dots = true;
	text(IN "\na\n.\nb\n.", "\r\na\r\n.\r\nb\r\n.\r\n");
	/* the header's end, without an empty line and with a mailbox's first line */
	text("From me Mon\n" IN "hello: \nBcc: a@b\n\nx\n", "hello: \r\n\r\nx\r\n");
	text(IN "hello\nBcc: a@b\n", "\r\nhello\r\nBcc: a@b\r\n");
	text(IN "Bcc: a@b\n c@d\n\nBcc: x\n", "\r\nBcc: x\r\n");
	/* CR and NUL in a header cannot begin a field or end it */
	text(IN "S: x\rBcc: q\r\n\n", "S: x Bcc: q\r\n\r\n");
	text_n(IN "S: x\0y\n\nz\0\n", sizeof(IN "S: x\0y\n\nz\0\n") - 1,
	       HEADER "S: x y\r\n\r\nz\0\r\n", sizeof(HEADER "S: x y\r\n\r\nz\0\r\n") - 1);
}

static void test_limits(void **state)
{
	size_t n = 4000000;
	char *big = malloc(n);
	struct sl_mail m;
	(void)state;

	opts = (struct sl_opts){.sender = "me@src.test"};
	memset(big, 'a', n);
	assert_int_equal(message(&m, big, n, n), SM_E_TOOBIG); /* the message */
	sl_mail_fini(&m);
	assert_int_equal(message(&m, big, 2000000, n), 0); /* a line of text */
	assert_true(m.size > 2000000);
	sl_mail_fini(&m);
	memcpy(big, "S:", 2);
	assert_int_equal(message(&m, big, 1100000, n), SM_E_TOOBIG); /* the header */
	sl_mail_fini(&m);
	for (size_t i = 0; i < 1100000; i += 3)
		memcpy(big + i, "a:\n", 3);
	assert_int_equal(message(&m, big, 1100000, n), SM_E_TOOBIG);
	sl_mail_fini(&m);
	memset(big, '\r', n);
	assert_int_equal(message(&m, big, 1000000, n), 0);
	sl_mail_fini(&m);
	free(big);
}

static void to(const char *in, const char *want)
{
	struct sl_mail m;

	sm_buf_reset(&rcpts);
	if (message(&m, in, strlen(in), 100) != 0)
		fail_msg("%s: %s", in, sm_diag());
	for (size_t i = 0; i < m.rcpt_count; i++)
		(void)note_rcpt(NULL, m.rcpts[i]);
	assert_string_equal(sm_buf_c(&rcpts), want);
	sl_mail_fini(&m);
}

static void test_recipients(void **state)
{
	struct sl_mail m;
	char many[200] = "";
	(void)state;

	opts = (struct sl_opts){.from_header = true, .sender = ""};
	to("To: a, A@Q.test, a@q.test\nCc: b@X.test\n\n", "a@q.test|b@x.test");
	/* those of the command line shall not get it */
	args[0] = strdup("b@x.TEST, A");
	opts.args = args;
	opts.count = 1;
	to("To: a\nCc: b@X.test, c\n\n", "c@q.test");
	opts.from_header = false;
	to("To: z\n\n", "b@x.test|A@q.test");
	free(args[0]);
	for (int i = 0; i < 11; i++)
		sprintf(many + strlen(many), "a%d,", i);
	args[0] = many;
	assert_int_equal(sl_mail_init(&m, &opts, &conf, SM_STR("mx.test")), SM_E_TOOBIG);
	sl_mail_fini(&m);
	for (size_t i = 0; i < 5; i++) {
		static char bad[5][20] = {"<>", "a@b@c", "a@b..c", "a@-", "a..b@c"};

		args[0] = bad[i];
		assert_int_equal(sl_mail_init(&m, &opts, &conf, SM_STR("mx.test")), SM_E_SYNTAX);
		sl_mail_fini(&m);
	}
}

static void test_sender(void **state)
{
	static const char *const good[][2] = {{"", ""},
	                                      {"<>", ""},
	                                      {"me", "me@q.test"},
	                                      {"Me <me@Src.test>", "me@src.test"},
	                                      {"-x@y.test", "-x@y.test"}};
	static const char *const bad[] = {"a, b", "a b", ",", "a@b\r\nRCPT TO:<x@y>", "a@b>"};
	struct sl_mail m;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(good); i++) {
		opts = (struct sl_opts){.sender = good[i][0]};
		assert_int_equal(sl_mail_init(&m, &opts, &conf, SM_STR("mx.test")), 0);
		assert_string_equal(m.sender.p, good[i][1]);
		sl_mail_fini(&m);
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		opts = (struct sl_opts){.sender = bad[i]};
		assert_int_equal(sl_mail_init(&m, &opts, &conf, SM_STR("mx.test")), SM_E_SYNTAX);
		sl_mail_fini(&m);
	}
}

/* ---- the command line ---- */

static int parse(const char *line)
{
	static char words[500];
	int argc = 0;

	strcpy(words, line);
	for (char *w = strtok(words, " "); w != NULL; w = strtok(NULL, " "))
		args[argc++] = w;
	args[argc] = NULL;
	return sl_opts(&opts, argc, args);
}

static void test_opts(void **state)
{
	static const char *const bad[] = {"sendmail -bd",    "sendmail -bt",
	                                  "sendmail -b",     "sendmail -q15m",
	                                  "sendmail -Z",     "sendmail -X log",
	                                  "sendmail -D x",   "sendmail -n a",
	                                  "sendmail -N x a", "sendmail -N never,delay a",
	                                  "sendmail -R x a", "sendmail -V = a",
	                                  "sendmail -B x a", "sendmail -ex a",
	                                  "sendmail a -bs",  "sendmail -bs a",
	                                  "sendmail -bp a",  "sendmail -OTempfailStatus=0 a",
	                                  "sendmail -f",     "sendmail a -oQ/tmp@x"};
	(void)state;

	assert_int_equal(parse("sendmail -i -FCronDaemon -B8BITMIME -oem root"), 0);
	assert_true(opts.ignore_dots && opts.some_will_do && !opts.quiet && !opts.from_header);
	assert_string_equal(opts.name, "CronDaemon");
	assert_int_equal(opts.count, 1);
	assert_int_equal(
	    parse("/usr/sbin/sendmail -t -oi -odb -oQ/x -om -f a@b -N success,delay -R hdrs "
	          "-V a+2Bb -Am -G -U -v -d0.1 -OQueueDirectory=/x"),
	    0);
	assert_true(opts.from_header && opts.ignore_dots && opts.verbose);
	assert_int_equal(opts.notify, SM_NOTIFY_SUCCESS | SM_NOTIFY_DELAY);
	assert_int_equal(opts.ret, SM_RET_HDRS);
	assert_string_equal(opts.envid, "a+2Bb");
	assert_int_equal(
	    parse("sendmail -oi -oiF -oeq -OErrorMode=q -OTempfailStatus=69 -- -a@b -c"), 0);
	assert_true(!opts.ignore_dots && opts.quiet);
	assert_int_equal(opts.tempfail, 69);
	assert_int_equal(opts.count, 2);
	assert_string_equal(opts.args[0], "-a@b");
	assert_int_equal(parse("/usr/bin/newaliases"), 0);
	assert_int_equal(opts.mode, SL_ALIASES);
	assert_int_equal(parse("mailq"), 0);
	assert_int_equal(opts.mode, SL_QUEUE);
	assert_int_equal(parse("sendmail -bi"), 0);
	assert_int_equal(opts.mode, SL_ALIASES);
	assert_int_equal(parse("sendmail -q"), 0);
	assert_int_equal(opts.mode, SL_RUN);
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++)
		if (parse(bad[i]) != SM_E_SYNTAX)
			fail_msg("%s", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_addresses),  cmocka_unit_test(test_deep_and_long),
	    cmocka_unit_test(test_head),       cmocka_unit_test(test_resent),
	    cmocka_unit_test(test_is_field),   cmocka_unit_test(test_phrase),
	    cmocka_unit_test(test_text),       cmocka_unit_test(test_limits),
	    cmocka_unit_test(test_recipients), cmocka_unit_test(test_sender),
	    cmocka_unit_test(test_opts),
	};

	(void)setenv("TZ", "UTC", 1);
	sm_buf_init(&out, 100000);
	sm_buf_init(&rcpts, 100000);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	sm_buf_fini(&out);
	sm_buf_fini(&rcpts);
	return rc;
}
