/* Unit tests of received.c and scan.c: what we write into a header, and what we read in one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "smtps/received.h"
#include "smtps/scan.h"

static struct sm_sa ip(const char *text)
{
	struct sm_sa sa = {0};

	assert_int_equal(sm_sa_ip(&sa, sm_str(text), 1234), 0);
	return sa;
}

static const char *uid;

static const char *header(const char *helo, const char *name, const struct sm_sa *sa,
                          const char *rcpt)
{
	static struct sm_buf b;
	struct ss_received r = {.helo = sm_str(helo),
	                        .client_name = sm_str(name),
	                        .client = sa,
	                        .uid = uid,
	                        .hostname = SM_STR("mx.test"),
	                        .protocol = SM_STR("ESMTP"),
	                        .id = {.counter = 0x1234, .proc = 1},
	                        .rcpt = sm_str(rcpt),
	                        .wall_s = 1795217632};

	sm_buf_fini(&b);
	sm_buf_init(&b, 4096);
	ss_received_put(&b, &r);
	assert_int_equal(sm_buf_err(&b), 0);
	return sm_buf_c(&b);
}

static const char *header_of_uid(const char *helo, const struct sm_sa *sa, const char *of)
{
	const char *h;

	uid = of;
	h = header(helo, "", sa, "");
	uid = NULL;
	return h;
}

#define TAIL "\r\n\tby mx.test (smx " PACKAGE_VERSION ") with ESMTP\r\n\tid S000000000000123401"
#define DATE ";\r\n\tFri, 20 Nov 2026 23:33:52 +0000\r\n"

static void test_protocol(void **state)
{
	static const char *const words[] = {"SMTP",     "ESMTPA",    "ESMTPS",    "ESMTPSA",
	                                    "UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA"};
	(void)state;

	for (unsigned i = 0; i < SM_ARRAY_SIZE(words); i++) {
		struct sm_str word = ss_received_protocol(false, false, i & 4, i & 2, i & 1);
		if (!sm_str_eq(word, sm_str(words[i])))
			fail_msg("%s", words[i]);
	}
	assert_true(
	    sm_str_eq(ss_received_protocol(true, true, false, false, false), SM_STR("LMTP")));
	assert_true(
	    sm_str_eq(ss_received_protocol(true, true, false, true, true), SM_STR("LMTPSA")));
	assert_true(
	    sm_str_eq(ss_received_protocol(true, true, true, true, false), SM_STR("UTF8LMTPS")));
	assert_true(
	    sm_str_eq(ss_received_protocol(false, true, false, false, false), SM_STR("ESMTP")));
}

static void test_tls(void **state)
{
	const struct sm_tls_facts tls = {.protocol = "TLSv1.3",
	                                 .cipher = "TLS_AES_128_GCM_SHA256",
	                                 .bits = 128,
	                                 .verify_word = "FAIL"};
	struct sm_sa v4 = ip("192.0.2.1");
	struct ss_received r = {.helo = SM_STR("c.test"),
	                        .client = &v4,
	                        .hostname = SM_STR("mx.test"),
	                        .protocol = SM_STR("ESMTPS"),
	                        .tls = &tls,
	                        .id = {.counter = 0x1234, .proc = 1},
	                        .wall_s = 1795217632};
	struct sm_buf b;

	(void)state;
	sm_buf_init(&b, 4096);
	ss_received_put(&b, &r);
	assert_string_equal(
	    sm_buf_c(&b),
	    "Received: from c.test ([192.0.2.1])\r\n\tby mx.test (smx " PACKAGE_VERSION
	    ") with ESMTPS\r\n\t(version=TLSv1.3 cipher=TLS_AES_128_GCM_SHA256 "
	    "bits=128 verify=FAIL)\r\n\tid S000000000000123401" DATE);
	sm_buf_fini(&b);
}

static void test_received(void **state)
{
	struct sm_sa v4 = ip("192.0.2.1"), v6 = ip("2001:db8::1"), un;
	(void)state;

	assert_string_equal(header("c.test", "", &v4, ""),
	                    "Received: from c.test ([192.0.2.1])" TAIL DATE);
	assert_string_equal(header("c.test", "name.test", &v6, "a@b.test"),
	                    "Received: from c.test (name.test [IPv6:2001:db8::1])" TAIL
	                    "\r\n\tfor <a@b.test>" DATE);
	assert_string_equal(header("[192.0.2.9]", "", &v4, ""),
	                    "Received: from [192.0.2.9] ([192.0.2.1])" TAIL DATE);
	assert_int_equal(sm_sa_unix(&un, SM_STR("/x")), 0);
	assert_string_equal(header("c.test", "", &un, ""),
	                    "Received: from c.test (localhost)" TAIL DATE);
	assert_string_equal(header_of_uid("c.test", &un, "1000"),
	                    "Received: from c.test (uid 1000)" TAIL DATE);
	assert_string_equal(header_of_uid("bad one", &un, "0"),
	                    "Received: from localhost (uid 0)\r\n\t(HELO bad?one)" TAIL DATE);
	assert_string_equal(header_of_uid("c.test", &v4, "1000"),
	                    "Received: from c.test ([192.0.2.1])" TAIL DATE);
	/* What is no domain cannot end the line, close the comment or pretend to be a clause. */
	assert_string_equal(header("a)(b\\", "", &v4, ""),
	                    "Received: from [192.0.2.1] ([192.0.2.1])\r\n\t(HELO a??b?)" TAIL DATE);
	assert_string_equal(
	    header("x;by\r\nEvil: 1", "evil\r\nname", &v4, ""),
	    "Received: from [192.0.2.1] ([192.0.2.1])\r\n\t(HELO x;by??Evil:?1)" TAIL DATE);
}

static void test_received_is_bounded(void **state)
{
	struct sm_sa v4 = ip("192.0.2.1");
	char helo[4000];
	const char *h, *line;
	(void)state;

	memset(helo, '<', sizeof(helo) - 1);
	helo[sizeof(helo) - 1] = '\0';
	h = header(helo, "", &v4, "");
	for (line = h; *line != '\0';) {
		const char *lf = strstr(line, "\r\n");
		assert_non_null(lf);
		assert_true(lf - line <= 998);
		assert_true(line == h || *line == '\t');
		line = lf + 2;
	}
}

static const struct ss_conf conf = {
    .max_hops = 3, .max_header_bytes = 400, .max_header_lines = 12, .max_line_bytes = 100};

/* Feeds `text` in pieces of n bytes. */
static enum ss_reply_name scan(struct ss_scan *sc, struct sm_str text, size_t n)
{
	enum ss_reply_name r = SS_R_NONE;

	ss_scan_init(sc, &conf, false);
	for (size_t at = 0; at < text.n; at += n)
		r = ss_scan_feed(sc, text.p + at, SM_MIN(n, text.n - at));
	return r;
}

#define R   "Received: from a\r\n\tby b\r\n"
#define X10 "xxxxxxxxxx"
#define X90 X10 X10 X10 X10 X10 X10 X10 X10 X10

static void test_scan(void **state)
{
	static const struct {
		struct sm_str text;
		enum ss_reply_name fault;
		int hops;
		const char *msgid;
	} rows[] = {
	    {SM_STR(""), SS_R_NONE, 0, ""},
	    {SM_STR(R R R "Subject: x\r\n\r\n"), SS_R_NONE, 3, ""},
	    {SM_STR(R R R R), SS_R_TOO_MANY_HOPS, 4, ""},
	    {SM_STR("RECEIVED:x\r\nreceived : y\r\nReceived-SPF: z\r\nX-Received: z\r\n"),
	     SS_R_NONE, 2, ""},
	    /* Behind the header nothing counts. */
	    {SM_STR("a: b\r\n\r\n" R R R R), SS_R_NONE, 0, ""},
	    {SM_STR("\r\n" R R R R), SS_R_NONE, 0, ""},
	    {SM_STR("Message-ID:  <1@x> \r\nmessage-id: <2@y>\r\n\r\n"), SS_R_NONE, 0, "<1@x>"},
	    {SM_STR("a:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:"
	            "b\r\na:b\r\n"),
	     SS_R_NONE, 0, ""},
	    {SM_STR("a:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:b\r\na:"
	            "b\r\na:b\r\na:b\r\n"),
	     SS_R_HEADER_TOO_BIG, 0, ""},
	    {SM_STR("a:b\r\n\r\n" X10 X10 X10 X10 X10 X10 X10 X10 X10 "xxxxxxxx\r\n"), SS_R_NONE, 0,
	     ""},
	    {SM_STR("a:b\r\n\r\n" X10 X10 X10 X10 X10 X10 X10 X10 X10 "xxxxxxxxx\r\n"),
	     SS_R_TEXT_LINE_LONG, 0, ""},
	    {SM_STR("\r\n" X10 X10 "\r\n" X10 X90 "\r\n" X10 X10 "\r\n"), SS_R_TEXT_LINE_LONG, 0,
	     ""},
	    {SM_STR("\r\n" X10 X10 "\r\n" X90 "\r\n" X90 "\r\n" X10 "\r\n"), SS_R_NONE, 0, ""},
	};
	struct ss_scan sc;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		for (size_t n = 1; n < 250; n++) {
			enum ss_reply_name r = scan(&sc, rows[i].text, n);
			if (r != rows[i].fault || sc.hops != rows[i].hops)
				fail_msg("row %zu, pieces of %zu: %d, %d hops", i, n, r,
				         (int)sc.hops);
			assert_true(
			    sm_str_eq(sm_str_n(sc.msgid, sc.msgid_n), sm_str(rows[i].msgid)));
		}
	}
}

static void test_scan_header_bytes(void **state)
{
	struct ss_scan sc;
	char line[51];
	(void)state;

	memset(line, 'h', sizeof(line));
	memcpy(line + 48, "\r\n", 3);
	ss_scan_init(&sc, &conf, false);
	for (int i = 0; i < 8; i++)
		assert_int_equal(ss_scan_feed(&sc, line, 50), SS_R_NONE);
	assert_int_equal(ss_scan_feed(&sc, "x", 1), SS_R_HEADER_TOO_BIG);
}

/* CR and LF by themselves, wherever the text is cut. */
static void test_line_ends(void **state)
{
	static const struct {
		struct sm_str text;
		bool bare;
	} rows[] = {
	    {SM_STR(""), false},           {SM_STR("a\r\n\r\nb"), false},
	    {SM_STR("a\r\nb\r\n"), false}, {SM_STR("\r\n\r\n"), false},
	    {SM_STR("a\nb\r\n"), true},    {SM_STR("\n"), true},
	    {SM_STR("a\rb\r\n"), true},    {SM_STR("a\r\r\n"), true},
	    {SM_STR("a\r\nb\r"), true},    {SM_STR("a\r\n\n"), true},
	    {SM_STR("\r"), true},
	};
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		for (size_t n = 1; n < 10; n++) {
			struct sm_str t = rows[i].text;
			struct ss_scan sc;

			ss_scan_init(&sc, &conf, false);
			for (size_t at = 0; at < t.n; at += n) {
				ss_scan_line_ends(&sc, t.p + at, SM_MIN(n, t.n - at));
				ss_scan_feed(&sc, t.p + at, SM_MIN(n, t.n - at));
			}
			if ((ss_scan_end(&sc) == SS_R_BARE_LINE_END) != rows[i].bare)
				fail_msg("row %zu, pieces of %zu", i, n);
		}
	}
}

static void test_binary(void **state)
{
	char line[200];
	struct ss_scan sc;
	(void)state;

	memset(line, 'x', sizeof(line));
	ss_scan_init(&sc, &conf, true);
	assert_int_equal(ss_scan_feed(&sc, "a: b\r\n\r\n", 8), SS_R_NONE);
	assert_int_equal(ss_scan_feed(&sc, line, sizeof(line)), SS_R_NONE);
	assert_int_equal(ss_scan_end(&sc), SS_R_NONE);
}

static void test_header_8bit(void **state)
{
	static const struct {
		struct sm_str text;
		bool is;
	} rows[] = {
	    {SM_STR("Subject: x\r\n\r\n"), false},
	    {SM_STR("Subject: \xc3\xbc\r\n\r\n"), true},
	    {SM_STR("Subject: x\r\n\r\n\xc3\xbc\r\n"), false},
	    {SM_STR("\r\nSubject: \xc3\xbc\r\n"), false},
	    {SM_STR("a: b\r\n c: 012345678901234567890123456789\x80\r\n\r\n"), true},
	};
	struct ss_scan sc;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		for (size_t n = 1; n < 40; n++) {
			(void)scan(&sc, rows[i].text, n);
			if (sc.header_8bit != rows[i].is)
				fail_msg("row %zu, pieces of %zu", i, n);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_protocol),    cmocka_unit_test(test_tls),
	    cmocka_unit_test(test_received),    cmocka_unit_test(test_received_is_bounded),
	    cmocka_unit_test(test_scan),        cmocka_unit_test(test_scan_header_bytes),
	    cmocka_unit_test(test_line_ends),   cmocka_unit_test(test_binary),
	    cmocka_unit_test(test_header_8bit),
	};
	setenv("TZ", "UTC0", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
