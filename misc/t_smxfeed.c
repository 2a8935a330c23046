/* What smxfeed sees in content, and its command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>

#include <cmocka.h>

#include "libsm/err.h"
#include "misc/smxfeed.h"

/* ---- content ---- */

/* `in` in pieces of `step` bytes: `out`, and what is left behind the end (-1: there is none). */
static void content(bool lf, const char *in, const char *out, int left)
{
	for (size_t step = 1; step <= 7; step++) {
		struct sf_text t = {.lf = lf};
		struct sm_str rest = sm_str(in);
		struct sm_buf b;
		bool end = false;

		sm_buf_init(&b, 1000);
		while (rest.n > 0 && !end) {
			struct sm_str piece = sm_str_head(rest, step);

			rest = sm_str_from(rest, sf_text(&t, piece, &b, &end));
		}
		assert_int_equal(end, left >= 0);
		if (end)
			assert_int_equal(rest.n, left);
		assert_string_equal(sm_buf_c(&b), out);
		assert_int_equal(t.size, b.len);
		sm_buf_fini(&b);
	}
}

static void test_content(void **state)
{
	(void)state;
	content(false, "a\r\n.\r\n", "a\r\n.\r\n", 0);
	content(false, ".\r\nQUIT\r\n", ".\r\n", 6);
	content(false, "..\r\n.a\r\n", "..\r\n.a\r\n", -1);
	content(true, "a\n.\nQUIT\n", "a\r\n.\r\n", 5);
	content(true, "a\r\n\n.\r\nQ", "a\r\n\r\n.\r\n", 1);
	content(true, "..\n. \n", "..\r\n. \r\n", -1);
	content(true, "a", "a", -1);
}

/* Where line ends are CRLF only CRLF.CRLF is the end; what is no line end is smtps' affair. */
static void test_no_end(void **state)
{
	(void)state;
	content(false, "a\n.\r\nb", "a\n.\r\nb", -1);
	content(false, "a\r\n.\nb", "a\r\n.\nb", -1);
	content(false, "a\n.\nb", "a\n.\nb", -1);
	content(false, "a\r.\r\nb", "a\r.\r\nb", -1);
	content(false, "a\r\n.\r\r\nb", "a\r\n.\r\r\nb", -1);
	content(true, "a\n.\r\r\nb", "a\r\n.\r\r\nb", -1);
	content(true, "a\r.\rb\n", "a\r.\rb\r\n", -1);
	/* ... and the line behind that is one again. */
	content(false, "a\n.\r\n.\r\n", "a\n.\r\n.\r\n", 0);
}

/* ---- Received: ---- */

static void id(const char *text, const char *want)
{
	char got[SF_ID_MAX + 1] = "";

	if (sf_received_id(sm_str(text), got) != 1 || strcmp(got, want) != 0)
		fail_msg("\"%s\": %s instead of %s", text, got, want);
}

static void test_id(void **state)
{
	char got[SF_ID_MAX + 1];
	(void)state;

	id("Received: from a (b id c [127.0.0.1])\r\n\tby d (8.17.1/8.17.1) with ESMTP id "
	   "4ALExx012345\r\n"
	   "\tfor <e@f>; Sat, 1 Jan 2000 00:00:00 GMT\r\nX",
	   "4ALExx012345");
	id("Return-Path: <id x>\r\nReceived: (from root@localhost)\r\n\tby h (8/Submit) id "
	   "4W-x.y_z;\r\nX",
	   "4W-x.y_z");
	id("received:id x;y\r\n\r\n", "x");
	id("Received: by (a(b)\\)id c) d id e; id f\r\n\r\n", "e");

	assert_int_equal(sf_received_id(SM_STR("Received: by a; id b\r\nX"), got), 0);
	assert_int_equal(sf_received_id(SM_STR("Received: by a id\r\nX"), got), 0);
	assert_int_equal(sf_received_id(SM_STR("Received: by a id <b>\r\nX"), got), 0);
	assert_int_equal(sf_received_id(sm_str_n("Received: id b\0c\r\nX", 19), got), 0);
	assert_int_equal(sf_received_id(SM_STR("Received: by a\r\nReceived: id b\r\nX"), got), 0);
	assert_int_equal(sf_received_id(SM_STR("Subject: x\r\n\r\nReceived: id b\r\nX"), got), 0);
	assert_int_equal(sf_received_id(SM_STR("Subject: x\r\n.\r\n"), got), 0);
	assert_int_equal(sf_received_id(SM_STR(".\r\n"), got), 0);
	assert_int_equal(sf_received_id(SM_STR("Received: (id b"), got), SM_E_AGAIN);
	assert_int_equal(sf_received_id(SM_STR("Received: id b\r\n"), got), SM_E_AGAIN);
	assert_int_equal(sf_received_id(SM_STR("Received: id b\r\n\tc"), got), SM_E_AGAIN);
	assert_int_equal(sf_received_id(SM_STR(""), got), SM_E_AGAIN);
}

/* ---- options ---- */

static int opts(struct sf_opts *o, const char *line)
{
	static char text[500];
	char *argv[30], *at = text;
	int argc = 0;

	(void)snprintf(text, sizeof(text), "%s", line);
	while (at != NULL && argc < 29) {
		argv[argc++] = at;
		at = strchr(at, ' ');
		if (at != NULL)
			*at++ = '\0';
	}
	argv[argc] = NULL;
	return sf_opts(o, argc, argv);
}

static void test_options(void **state)
{
	struct sf_opts o;
	(void)state;

	assert_int_equal(opts(&o, "smxfeed"), 0);
	assert_int_equal(o.facility, LOG_LOCAL5);
	assert_null(o.id);
	assert_int_equal(
	    opts(&o, "smxfeed -c h.example -i4ALE1 -t total=10m -s 5000 -u -l mail -C f -L /s"), 0);
	assert_string_equal(o.name, "h.example");
	assert_string_equal(o.id, "4ALE1");
	assert_true(o.id_once);
	assert_int_equal(o.total_ms, 600000);
	assert_int_equal(o.max_bytes, 5000);
	assert_int_equal(o.facility, LOG_MAIL);
	assert_string_equal(o.socket, "/s");
	assert_int_equal(opts(&o, "smxfeed -I4ALE1 -E -dA -lstderr"), 0);
	assert_false(o.id_once);
	assert_true(o.id_from_header && o.dialogue && o.to_stderr);
	assert_int_equal(opts(&o, "smxfeed -V"), 0);
	assert_int_equal(o.mode, SF_VERSION);
	assert_int_equal(opts(&o, "smxfeed -h"), 0);
	assert_int_equal(o.mode, SF_HELP);
}

/* Each is refused, by its name, and not as one that nobody has heard of. */
static void test_elsewhere(void **state)
{
	static const char *const known[] = {
	    "-1",   "-2",   "-5",   "-A",   "-a x",          "-b 1",       "-F",
	    "-g x", "-M f", "-m h", "-N4",  "-n 5",          "-o 1.2.3.4", "-p 9",
	    "-q 5", "-R 5", "-r 5", "-S x", "-t connect=1m", "-dn",        "-dD",
	};
	static const char *const bad[] = {"-x",       "-y",          "-z",   "-w",   "-i",
	                                  "-i a+b",   "-l nonex",    "-s 0", "-s x", "-t total=x",
	                                  "-t total", "-t total=0s", "word"};
	char line[60], name[3] = "";
	struct sf_opts o;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(known); i++) {
		(void)snprintf(line, sizeof(line), "smxfeed %s", known[i]);
		assert_int_equal(opts(&o, line), SM_E_SYNTAX);
		memcpy(name, known[i], 2);
		if (strncmp(sm_diag(), name, 2) != 0 || strstr(sm_diag(), "no such") != NULL)
			fail_msg("%s: %s", known[i], sm_diag());
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		(void)snprintf(line, sizeof(line), "smxfeed %s", bad[i]);
		if (opts(&o, line) != SM_E_SYNTAX)
			fail_msg("%s", bad[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_content),   cmocka_unit_test(test_no_end),
	    cmocka_unit_test(test_id),        cmocka_unit_test(test_options),
	    cmocka_unit_test(test_elsewhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
