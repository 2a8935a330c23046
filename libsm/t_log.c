/* The log: escaping, levels, formats, pipes that are full. */
#include "libsm/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#include "libsm/buf.h"
#include "libsm/json.h"
#include "libsm/logline.h"

static int saved = -1;
static int out; /* what descriptor 2 writes to, read from here */

static void catch_file(void)
{
	char path[] = "/tmp/t_log.XXXXXX";

	saved = dup(2);
	out = mkstemp(path);
	unlink(path);
	dup2(out, 2);
}

static const char *caught(void)
{
	static char text[20000];
	ssize_t n = pread(out, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	assert_int_equal(ftruncate(out, 0), 0);
	lseek(out, 0, SEEK_SET);
	return text;
}

static void release(void)
{
	dup2(saved, 2);
	close(saved);
	close(out);
}

static void formats(void **state)
{
	struct sm_id id = {.counter = 0x6b1d2, .proc = 0};
	struct sm_sa sa;

	(void)state;
	sm_time_fake(1000, 1795217632);
	assert_int_equal(sm_sa_ip(&sa, SM_STR("10.0.0.1"), 25), 0);
	catch_file();
	sm_log(SM_INFO, "ss.mail", "ss_ta=%I mail=<%S> size=%llu client=%A", id, SM_STR("a@b"),
	       5ULL, &sa);
	sm_log(SM_INFO, "x", "a=%d, b=%u  c=%x d=%ld e=%lu f=%lld g=%zu h=%s i=100%% j=%lx", -1, 2U,
	       0xbeefU, -3L, 4UL, -5LL, (size_t)6, "seven", 0xffffffffffUL);
	sm_log(SM_ERROR, "x", NULL);
	sm_log(SM_ERROR, "x", "s=%s", (char *)NULL);
	sm_log(SM_ERROR, "x", "s=%s t=<%s>", "two \"words\", u=1", "a b");
	sm_log(SM_INFO, "x", "u=%s%s v=x%s", "a b", "c", "d e"); /* none is all of its value */
	(void)!sm_fail(SM_E_IO, "cdb/0: no, \"never\"");
	sm_log(SM_CRIT, "x", "error=%E", SM_E_IO);
	const char *text = caught();
	release();
	sm_time_real();
	assert_string_equal(
	    text, "1795217632.000 INFO ss.mail ss_ta=S000000000006B1D200, "
		  "mail=<a@b>, size=5, client=10.0.0.1:25\n"
		  "1795217632.000 INFO x a=-1, b=2, c=beef, d=-3, e=4, f=-5, g=6, "
		  "h=seven, i=100%, j=ffffffffff\n"
		  "1795217632.000 ERROR x\n"
		  "1795217632.000 ERROR x s=\n"
		  "1795217632.000 ERROR x s=\"two \\x22words\\x22\\x2c u=1\", t=<a\\x20b>\n"
		  "1795217632.000 INFO x u=a\\x20bc, v=xd\\x20e\n"
		  "1795217632.000 CRIT x error=\"disk read\\x2c write or sync failed: "
		  "cdb/0: no\\x2c \\x22never\\x22\"\n");
}

static void values_cannot_forge(void **state)
{
	static const struct {
		struct sm_str in;
		const char *out;
	} t[] = {
	    {SM_STR("plain-text_1@example.org"), "plain-text_1@example.org"},
	    {SM_STR("a, stat=250"), "a\\x2c\\x20stat=250"},
	    {SM_STR("a\r\n1795217632.123 INFO forged"),
	     "a\\x0d\\x0a1795217632.123\\x20INFO\\x20forged"},
	    {SM_STR("\"q\" \\x41"), "\\x22q\\x22\\x20\\x5cx41"},
	    {SM_STR("\0\x1b[2J\x7f\x80\xff"), "\\x00\\x1b[2J\\x7f\\x80\\xff"},
	    {SM_STR("%s%n"), "%s%n"},
	};
	struct sm_buf b;

	(void)state;
	sm_buf_init(&b, 1000);
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		sm_buf_reset(&b);
		sm_log_escape(&b, t[i].in, 100);
		assert_string_equal(sm_buf_c(&b), t[i].out);
	}
	sm_buf_reset(&b);
	sm_log_escape(&b, SM_STR("abcdef"), 3);
	assert_string_equal(sm_buf_c(&b), "abc...");
	sm_buf_fini(&b);
}

static void json_lines(void **state)
{
	struct sm_id id = {.counter = 0x6b1d2, .proc = 0};
	char head[200];

	(void)state;
	sm_time_fake(1000, 1795217632);
	sm_log_format(SM_LOG_JSON);
	catch_file();
	sm_log(SM_INFO, "ss.mail", "ss_ta=%I mail=<%S> size=%llu, ok=%d k%s=%u", id, SM_STR("a@b"),
	       5ULL, -1, "ey", 7U);
	sm_log(SM_WARN, "x", "lit=12 word=w none= zero=00 x=%x t=%m two=%u%u q=%s", 0xbeefU,
	       (int64_t)61007, 1U, 2U, "a, \"b\" \\ c");
	sm_log(SM_ERROR, "x", NULL);
	const char *text = caught();
	release();
	sm_log_format(SM_LOG_KV);
	sm_time_real();
	snprintf(head, sizeof(head),
	         "{\"time\":\"2026-11-20T23:33:52.000Z\",\"sev\":\"INFO\","
	         "\"proc\":\"t_log\",\"pid\":%d,\"event\":\"ss.mail\",",
	         (int)getpid());
	assert_memory_equal(text, head, strlen(head));
	text += strlen(head);
	static const char rest[] = "\"ss_ta\":\"S000000000006B1D200\",\"mail\":\"<a@b>\","
				   "\"size\":5,\"ok\":-1,\"key\":7}\n";
	assert_memory_equal(text, rest, strlen(rest));
	assert_non_null(strstr(text, "\"event\":\"x\",\"lit\":12,\"word\":\"w\",\"none\":\"\","
	                             "\"zero\":\"00\",\"x\":\"beef\",\"t\":61.007,"
	                             "\"two\":\"12\",\"q\":\"a, \\\"b\\\" \\\\ c\"}\n"));
	assert_non_null(strstr(text, "\"event\":\"x\"}\n"));
}

/* Of both formats: an optional pair that says nothing is not there, wherever it stands. */
static void optional_pairs(void **state)
{
	struct sm_id none = {0}, id = {.counter = 1};

	(void)state;
	catch_file();
	for (int f = 0; f < 2; f++) {
		sm_log_format(f ? SM_LOG_JSON : SM_LOG_KV);
		sm_log(SM_INFO, "x", "a=%?S b=%d c=%?s d=%?u e=%?I f=%?lld g=%?m", SM_STR_NONE, 1,
		       "", 0U, none, 0LL, (int64_t)0);
		sm_log(SM_INFO, "x", "a=%?S b=%?d e=%?I", SM_STR("s"), 2, id);
		sm_log(SM_INFO, "y", "a=%?S", SM_STR(""));
	}
	sm_log_format(SM_LOG_KV);
	const char *text = caught();
	release();
	assert_non_null(strstr(text, "INFO x b=1\n"));
	assert_non_null(strstr(text, "INFO x a=s, b=2, e=S000000000000000100\n"));
	assert_non_null(strstr(text, "INFO y\n"));
	assert_non_null(strstr(text, "\"event\":\"x\",\"b\":1}\n"));
	assert_non_null(strstr(text, "\"event\":\"x\",\"a\":\"s\",\"b\":2,\"e\":\"S0000"));
	assert_non_null(strstr(text, "\"event\":\"y\"}\n"));
}

static void json_strings(void **state)
{
	static const struct {
		struct sm_str in;
		const char *out;
	} t[] = {
	    {SM_STR("plain"), "plain"},
	    {SM_STR("\r\n{\"event\":1}"), "\\u000d\\u000a{\\\"event\\\":1}"},
	    {SM_STR("\0\x1b\x7f\\"), "\\u0000\\u001b\\u007f\\\\"},
	    {SM_STR("gr\xc3\xbc\xc3\x9f"), "gr\\u00fc\\u00df"},
	    {SM_STR("\xe2\x82\xac\xf0\x9f\x98\x80"), "\\u20ac\\ud83d\\ude00"},
	    {SM_STR("\xc2\x9b"
	            "2J"),
	     "\\u009b2J"}, /* CSI in one character */
	    /* no UTF-8: a lone byte, the long form of '/', a surrogate, beyond the end, cut off */
	    {SM_STR("\xff"
	            "a\xc0\xaf"),
	     "\\ufffda\\ufffd\\ufffd"},
	    {SM_STR("\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd"},
	    {SM_STR("\xf4\x90\x80\x80"), "\\ufffd\\ufffd\\ufffd\\ufffd"},
	    {SM_STR("\xe2\x82"), "\\ufffd\\ufffd"},
	};
	struct sm_buf b;

	(void)state;
	sm_buf_init(&b, 1000);
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		sm_buf_reset(&b);
		sm_json_ascii(&b, t[i].in, 100);
		assert_string_equal(sm_buf_c(&b), t[i].out);
	}
	/* Cut between characters, never through one. */
	for (size_t max = 1; max <= 7; max++) {
		static const char *const cut[] = {"a...",           "a...",        "a...",
		                                  "a\\u20ac...",    "a\\u20ac...", "a\\u20ac...",
		                                  "a\\u20ac\\u20ac"};

		sm_buf_reset(&b);
		sm_json_ascii(&b, SM_STR("a\xe2\x82\xac\xe2\x82\xac"), max);
		assert_string_equal(sm_buf_c(&b), cut[max - 1]);
	}
	sm_buf_reset(&b);
	sm_json_str(&b, SM_STR("\xc3\xbc\n\xff"));
	assert_string_equal(sm_buf_c(&b), "\"\xc3\xbc\\u000a\\ufffd\"");
	sm_buf_fini(&b);
}

static void long_json_is_json(void **state)
{
	struct sm_logline l;
	char big[2000], *text, *end;

	(void)state;
	memset(big, 1, sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	sm_log_format(SM_LOG_JSON);
	catch_file();
	sm_log(SM_INFO, "x", "a=%s b=%s c=%s d=%s e=1", big, big, big, big);
	sm_log_format(SM_LOG_KV);
	text = strdup(caught());
	release();
	end = strchr(text, '\n');
	assert_in_range(end - text, 7000, 8192);
	assert_memory_equal(end - 13, "\",\"cut\":true}", 13);
	assert_int_equal(sm_logline_parse(text, (size_t)(end - text), &l), 0);
	assert_int_equal(sm_logline_get(&l, "a").n, 640 + 3);
	assert_null(sm_logline_get(&l, "e").p);
	assert_true(sm_str_eq(sm_logline_get(&l, "cut"), SM_STR("true")));
	free(text);
}

/* ---- read back ---- */

static int parse(struct sm_logline *l, const char *text)
{
	static char line[10000];

	snprintf(line, sizeof(line), "%s", text);
	return sm_logline_parse(line, strlen(line), l);
}

static void lines_read_back(void **state)
{
	static const char *const same[] = {
	    "1795217632.123 NOTICE qm.rcpt ss_ta=S000000000006B1D200, text=\"4.2.0 a\\x2c b=c\", "
	    "rcpt=<x\\x20y@z>, tries=3",
	    "2026-11-20 23:33:52.123 NOTICE qm.rcpt ss_ta=S000000000006B1D200, text=\"4.2.0 a\\x2c "
	    "b=c\", rcpt=<x\\x20y@z>, tries=3",
	    "Nov 20 23:33:52 mx qmgr[77]: NOTICE qm.rcpt ss_ta=S000000000006B1D200, text=\"4.2.0 "
	    "a\\x2c b=c\", rcpt=<x\\x20y@z>, tries=3",
	    "2026-11-20T23:33:52.123456+00:00 mx qmgr[77]: NOTICE qm.rcpt "
	    "ss_ta=S000000000006B1D200, "
	    "text=\"4.2.0 a\\x2c b=c\", rcpt=<x\\x20y@z>, tries=3",
	    "{\"time\":\"2026-11-20T23:33:52.123Z\",\"sev\":\"NOTICE\",\"event\":\"qm.rcpt\","
	    "\"ss_ta\":\"S000000000006B1D200\",\"text\":\"4.2.0 a, b=c\",\"rcpt\":\"<x "
	    "y@z>\",\"tries\":3}",
	    "Nov 20 23:33:52 mx qmgr[77]: {\"sev\":\"NOTICE\",\"event\":\"qm.rcpt\","
	    "\"ss_ta\":\"S000000000006B1D200\",\"text\":\"4.2.0 a, b=c\",\"rcpt\":\"<x "
	    "y@z>\",\"tries\":3}",
	};
	struct sm_logline l;
	struct sm_id id;

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(same); i++) {
		assert_int_equal(parse(&l, same[i]), 0);
		assert_int_equal(l.sev, SM_NOTICE);
		assert_true(sm_str_eq(l.event, SM_STR("qm.rcpt")));
		assert_int_equal(sm_logline_id(&l, "ss_ta", &id), 0);
		assert_int_equal(id.counter, 0x6b1d2);
		assert_true(sm_str_eq(sm_logline_get(&l, "text"), SM_STR("4.2.0 a, b=c")));
		assert_true(sm_str_eq(sm_logline_get(&l, "rcpt"), SM_STR("<x y@z>")));
		assert_int_equal(sm_logline_u64(&l, "tries"), 3);
	}
}

static void others_lines_are_none(void **state)
{
	static const char *const t[] = {
	    "",
	    "INFO",
	    "1795217632.123",
	    "1795217632.123 INFO",
	    "1795217632.123 info ss.mail a=1",
	    "1795217632.123 INFO noname a=1",
	    "Nov 20 23:33:52 mx sshd[77]: session INFO ss.mail mail=<a@b>",
	    "Nov 20 23:33:52 mx smtps[77]: text=\"x: INFO ss.mail mail=<forged@b>\"",
	    "{\"event\":\"a.b\"}",
	    "{\"sev\":\"INFO\"}",
	    "{\"sev\":\"INFO\",\"event\":\"a.b\"",
	    "{\"sev\":\"INFO\",\"event\":\"a.b\",\"x\":{}}",
	    "{\"sev\":\"INFO\",\"event\":\"a.b\",\"x\":\"\\ud800\"}",
	    "{\"sev\":\"INFO\",\"event\":\"a.b\",\"x\":\"\\q\"}",
	};
	struct sm_logline l;

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++)
		assert_int_equal(parse(&l, t[i]), SM_E_SYNTAX);
	/* Cut within an escape. */
	assert_int_equal(parse(&l, "1795217632.123 INFO x.y a=1, b=a\\x2..."), 0);
	assert_int_equal(sm_logline_u64(&l, "a"), 1);
}

static void levels(void **state)
{
	static const int lowest[] = {[SM_DEBUG] = 13, [SM_INFO] = 9, [SM_NOTICE] = 6, [SM_WARN] = 3,
	                             [SM_ERROR] = 0,  [SM_CRIT] = 0, [SM_FATAL] = 0};

	(void)state;
	for (int l = 0; l <= 15; l++) {
		sm_log_level(l);
		for (int s = SM_DEBUG; s <= SM_FATAL; s++)
			assert_int_equal(sm_log_on((enum sm_sev)s), l >= lowest[s]);
	}
	sm_log_level(5);
	catch_file();
	sm_log(SM_INFO, "not", "a=1");
	sm_log(SM_WARN, "but", "a=1");
	const char *text = caught();
	release();
	assert_null(strstr(text, "not"));
	assert_non_null(strstr(text, "WARN but a=1\n"));
	sm_log_level(9);
}

static void long_lines_are_cut(void **state)
{
	char big[2000];

	(void)state;
	memset(big, 1, sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	catch_file();
	sm_log(SM_INFO, "x", "a=%s b=%s c=%s d=%s e=%s f=%s", big, big, big, big, big, big);
	sm_log(SM_INFO, "y", "a=%s", big);
	char *text = strdup(caught());
	release();
	char *second = strchr(text, '\n') + 1;
	assert_in_range(second - text, 8000, 8193);
	assert_memory_equal(second - 4, "...\n", 4);
	assert_int_equal(strlen(strstr(second, "a=")), 2 + 4 * 640 + 4);
	free(text);
}

/* A reader that does not read must not stop us; what was lost is told when it reads again. */
static void full_pipe_does_not_block(void **state)
{
	static char buf[1 << 20];
	char value[501];
	int p[2];
	size_t n = 0;
	ssize_t got;

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	value[500] = '\0';
	assert_int_equal(pipe(p), 0);
	fcntl(p[0], F_SETFL, O_NONBLOCK);
	saved = dup(2);
	dup2(p[1], 2);
	for (int i = 0; i < 2000; i++) /* 1 MB into 64 KiB of pipe and 256 KiB of ours */
		sm_log(SM_INFO, "x", "n=%d v=%s", i, value);
	for (int round = 0; round < 1000; round++) {
		while ((got = read(p[0], buf + n, sizeof(buf) - 1 - n)) > 0)
			n += (size_t)got;
		sm_log_flush();
	}
	dup2(saved, 2);
	close(saved);
	buf[n] = '\0';
	const char *note = strstr(buf, "WARN log.lost lines=");
	assert_non_null(note);
	/* Everything is there or counted; and what is there came in order and whole. */
	int lines = 0, last = -1;
	for (char *l = strtok(buf, "\n"); l != NULL; l = strtok(NULL, "\n")) {
		int i;
		if (strstr(l, "log.lost") != NULL)
			continue;
		assert_int_equal(sscanf(strstr(l, "n="), "n=%d,", &i), 1);
		assert_int_equal(strlen(strstr(l, "v=")), 502);
		assert_true(i > last);
		last = i;
		lines++;
	}
	assert_int_equal(lines + atoi(note + 20), 2000);
	close(p[0]);
	close(p[1]);
}

/* A disk that is full takes half a line. What is said when it has room again is a line of its own:
 * who reads the log believes neither half of two lines in one. */
static void a_torn_line_gets_an_end(void **state)
{
	struct rlimit before, small;
	const char *text;

	(void)state;
	catch_file();
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
	(void)signal(SIGXFSZ, SIG_IGN);
	small = before;
	small.rlim_cur = 40;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	sm_log(SM_INFO, "x", "a=%s", "0123456789012345678901234567890123456789");
	sm_log(SM_INFO, "x", "a=%s", "b");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
	sm_log(SM_INFO, "y", "b=%d", 1);
	text = caught();
	release();
	assert_int_equal(text[40], '\n');
	assert_non_null(strstr(text + 41, " INFO y b=1\n"));
	assert_non_null(strstr(text + 41, "WARN log.lost lines=2\n"));
	assert_true(text[41] != '\n');
}

static void once_a_turn(void **state)
{
	(void)state;
	assert_int_equal(sm_loop_init(), 0);
	catch_file();
	sm_log_attach_loop();
	sm_log(SM_INFO, "a", NULL);
	assert_string_equal(caught(), "");
	sm_log(SM_CRIT, "b", NULL); /* at once, and what came before */
	assert_non_null(strstr(caught(), "INFO a\n"));
	sm_log(SM_INFO, "c", NULL);
	sm_log_detach_loop();
	assert_non_null(strstr(caught(), "INFO c\n"));
	release();
	sm_loop_fini();
}

/* A pipe in place of the file: it is not taken for one, so it does not block when it is full. */
static void goes_elsewhere(void **state)
{
	char value[500], *buf = sm_malloc(1 << 20);
	int p[2];

	(void)state;
	memset(value, 'v', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	assert_int_equal(pipe(p), 0);
	assert_int_equal(sm_loop_init(), 0);
	catch_file();
	sm_log_attach_loop();
	sm_log(SM_INFO, "before", NULL);
	assert_int_equal(sm_log_redirect(p[1]), 0);
	assert_non_null(strstr(caught(), "INFO before\n"));
	for (int i = 0; i < 300; i++) /* 150 KB into 64 KiB */
		sm_log(SM_INFO, "x", "n=%d v=%s", i, value);
	sm_log_flush();
	assert_true(read(p[0], buf, 1 << 20) > 1000);
	assert_non_null(strstr(buf, "INFO x n=0, v=vvv"));
	sm_log_flush();
	assert_true(read(p[0], buf, 1 << 20) > 1000);
	sm_log_flush();
	assert_null(strstr(caught(), "INFO x"));
	sm_log_detach_loop();
	release();
	sm_loop_fini();
	close(p[0]);
	close(p[1]);
	sm_free(buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(formats),
	    cmocka_unit_test(values_cannot_forge),
	    cmocka_unit_test(json_lines),
	    cmocka_unit_test(optional_pairs),
	    cmocka_unit_test(json_strings),
	    cmocka_unit_test(long_json_is_json),
	    cmocka_unit_test(lines_read_back),
	    cmocka_unit_test(others_lines_are_none),
	    cmocka_unit_test(levels),
	    cmocka_unit_test(long_lines_are_cut),
	    cmocka_unit_test(full_pipe_does_not_block),
	    cmocka_unit_test(a_torn_line_gets_an_end),
	    cmocka_unit_test(once_a_turn),
	    cmocka_unit_test(goes_elsewhere),
	};

	sm_log_init("t_log", 9);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
