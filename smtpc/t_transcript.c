/* What a transcript has, and what never is in one, against scripted servers. */
#include "smtpc/t_smtpc.h"

#include "libsm/base64.h"
#include "smtpc/transcript.h"

static char seen[200000];
static uint32_t lines;

static void keep(struct sc_task *t)
{
	static const char who[] = "*CS";
	struct sm_msg_transcript m = {.task = 1};
	size_t at = 0;

	assert_non_null(t->transcript);
	sc_transcript_take(t->transcript, &t->arena, &m);
	for (uint32_t i = 0; i < m.lines_count; i++) {
		assert_in_range(m.lines[i].text.n, 0, 512);
		at += (size_t)snprintf(seen + at, sizeof(seen) - at, "%c " SM_STR_FMT "\n",
		                       who[m.lines[i].who], SM_STR_ARG(m.lines[i].text));
		assert_true(at < sizeof(seen));
	}
	lines = m.lines_count;
}

static void begin(const char *script, uint32_t bytes)
{
	t_begin1(script);
	W.task.transcript_bytes = bytes;
	W.on_answer = keep;
}

/* What was seen begins with the remark about the connection. */
static void expect(const char *dialogue)
{
	const char *rest = strchr(seen, '\n');

	assert_memory_equal(seen, "* connecting to mx.example at 127.0.0.1", 39);
	assert_string_equal(rest + 1, dialogue);
}

static void test_dialogue(void **state)
{
	(void)state;
	begin(OFFERS("> 250-SIZE 10000\n") "< MAIL FROM:<sender@a.example> SIZE=30\n" RCPT("x")
	          DATA OK OK GO_ON "> 250 2.0.0 kept as 17\n",
	      10000);
	t_run("0 done 250 final 2.0.0 kept as 17\n");
	expect("S 220 mx.example ESMTP\nC EHLO client.example\nS 250-mx.example\nS 250-SIZE "
	       "10000\nS 250 PIPELINING\n"
	       "C MAIL FROM:<sender@a.example> SIZE=30\nC RCPT TO:<x@b.example>\nC DATA\n"
	       "S 250 2.0.0 ok\nS 250 2.0.0 ok\nS 354 go\nC <34 bytes>\nS 250 2.0.0 kept as 17\n");
	t_end();
	/* A chunk's command is one, what follows it is content. */
	begin(OFFERS("> 250-CHUNKING\n") MAIL RCPT("x") OK OK "< BDAT 30 LAST\nb 30\n" OK, 10000);
	t_run("0 done 250 final 2.0.0 ok\n");
	assert_non_null(strstr(seen, "\nC BDAT 30 LAST\nC <30 bytes>\nS 250 2.0.0 ok\n"));
	assert_null(strstr(seen, "Subject"));
	t_end();
}

static void test_failures(void **state)
{
	char result[200], at[SM_SA_TEXT];
	(void)state;
	begin(PIPE MAIL RCPT("x") DATA OK "x\n", 10000);
	t_run("0 temp 0 rcpt 4.4.2 connection closed by peer\n");
	assert_non_null(
	    strstr(seen, "S 250 2.0.0 ok\n* failed (rcpt): 4.4.2 connection closed by peer\n"));
	t_end();
	begin(NULL, 10000);
	(void)snprintf(result, sizeof(result),
	               "0 temp 0 connect 4.4.1 connect to %s: Connection refused\n",
	               sm_sa_text(&W.host[0].sa, at));
	t_run(result);
	assert_non_null(strstr(seen, "* failed (connect): 4.4.1 connect to 127.0.0.1:"));
	t_end();
	/* Bytes that would do something to a terminal. */
	begin("! 220 a\\x1b[2J\\\\b\\r\\n\n< EHLO *\n> 550 5.7.1 no\n< HELO *\n> 550 5.7.1 no\n",
	      10000);
	t_run("0 temp 550 hello 5.7.1 no\n");
	assert_non_null(strstr(seen, "S 220 a\\x1B[2J\\x5Cb\n"));
	t_end();
}

/* A second mail over the same session has its own part of it only. */
static void test_open_session(void **state)
{
	(void)state;
	begin(PIPE MAIL RCPT("x") DATA OK OK GO_ON OK MAIL RCPT("x") DATA OK OK GO_ON
	      "> 250 2.0.0 second\n",
	      10000);
	W.tasks = 2;
	t_run("0 done 250 final 2.0.0 ok\n0 done 250 final 2.0.0 second\n");
	assert_memory_equal(seen, "* over a session that was open: mx.example at 127.0.0.1", 55);
	assert_null(strstr(seen, "EHLO"));
	assert_non_null(strstr(seen, "second"));
	t_end();
	/* Nobody asks: nothing is kept. */
	begin(PIPE MAIL RCPT("x") DATA OK OK GO_ON OK, 0);
	W.on_answer = NULL;
	t_run("0 done 250 final 2.0.0 ok\n");
	t_end();
}

static void test_bounds(void **state)
{
	static char long_line[3000], script[20000];
	size_t at;
	(void)state;

	memset(long_line, 'a', sizeof(long_line) - 1);
	at = (size_t)snprintf(script, sizeof(script), "> 220-%s\n", long_line);
	at += (size_t)snprintf(script + at, sizeof(script) - at, "> 220 go\n< EHLO *\n");
	for (int i = 0; i < 90; i++)
		at += (size_t)snprintf(script + at, sizeof(script) - at, "> 250-X%d\n", i);
	(void)snprintf(script + at, sizeof(script) - at,
	               "> 250 PIPELINING\n" MAIL RCPT("x") DATA OK OK GO_ON "> 250 last\n");
	begin(script, 3000);
	t_run("0 done 250 final 2.0.0 last\n");
	assert_in_range(strlen(seen) + 64 * (size_t)lines, 1500, 3000 + 200);
	assert_non_null(strstr(seen, "aaaa... (2566 bytes more)\n"));
	assert_non_null(strstr(seen, " lines are left out here\nS 250-X"));
	assert_non_null(strstr(seen, "\nS 250 last\n"));
	t_end();
}

/* ---- secrets ---- */

#define PASSWORD "hunter2-correct"
#define TOKEN    "ya29.token-of-joe"

static void not_in_it(struct sm_str secret)
{
	char text[400];
	struct sm_buf b;

	sm_str_cut(secret, text, sizeof(text));
	assert_null(strstr(seen, text));
	/* Three alignments, without the ends, which depend on what is beside it. */
	for (size_t i = 0; i < 3 && secret.n > i + 6; i++) {
		struct sm_str part = sm_str_from(secret, i);
		size_t n;

		part.n -= part.n % 3;
		sm_buf_init(&b, 1000);
		sm_base64_encode(&b, part);
		n = SM_MIN(b.len, sizeof(text) - 1);
		memcpy(text, sm_buf_p(&b), n);
		text[n] = '\0';
		assert_null(strstr(seen, text));
		sm_buf_fini(&b);
	}
}

static void secrets(const char *credentials, const char *more, const char *script,
                    const char *results, const char *part)
{
	static char text[1000];

	begin(script, 10000);
	(void)snprintf(text, sizeof(text), "auth { clear_text = on; %s }", more);
	W.sc.server_text = sm_str(text);
	W.sc.server_auth = sm_str(credentials);
	t_run(results);
	if (strstr(seen, part) == NULL)
		fail_msg("\"%s\" is not in\n%s", part, seen);
	not_in_it(SM_STR(PASSWORD));
	not_in_it(SM_STR(TOKEN));
	not_in_it(SM_STR("joe"));
	t_end();
}

static void test_no_secret(void **state)
{
	static const char pw[] = "user = joe; password = \"" PASSWORD "\";",
			  tok[] = "user = joe; token = \"" TOKEN "\";",
			  delivered[] = "0 done 250 final 2.0.0 ok\n";
	(void)state;

	secrets(pw, "mechanisms = { PLAIN };",
	        OFFERS("> 250-AUTH PLAIN\n") "< AUTH PLAIN *\n> 235 2.7.0 welcome joe\n" MAIL RCPT(
		    "x") DATA OK OK GO_ON OK,
	        delivered, "C AUTH PLAIN <hidden>\nS 235 2.7.0 <hidden>\nC MAIL");
	secrets(pw, "mechanisms = { LOGIN };",
	        OFFERS("> 250-AUTH LOGIN\n") "< AUTH LOGIN\n> 334 VXNlcm5hbWU6\n< *\n> 334 "
	                                     "UGFzc3dvcmQ6\n< *\n> 235 welcome\n" MAIL RCPT("x")
	                                         DATA OK OK GO_ON OK,
	        delivered,
	        "C AUTH LOGIN\nS 334 <hidden>\nC <hidden>\nS 334 <hidden>\nC <hidden>\nS 235 "
	        "<hidden>\nC MAIL");
	/* A server that says again what it was told, and refuses it. */
	secrets(pw, "mechanisms = { PLAIN };",
	        OFFERS("> 250-AUTH PLAIN\n") "< AUTH PLAIN *\n> 535-5.7.8 no "
	                                     "AGpvZQBodW50ZXIyLWNvcnJlY3Q=\n"
	                                     "> 535 5.7.8 joe has not " PASSWORD "\n",
	        "0 temp 535 auth 5.7.8 no AGpvZQBodW50ZXIyLWNvcnJlY3Q= joe has not " PASSWORD "\n",
	        "S 535-5.7.8 <hidden>\nS 535 5.7.8 <hidden>\n* failed (auth): 535\n");
	secrets(
	    tok, "mechanisms = { XOAUTH2 };",
	    OFFERS("> 250-AUTH XOAUTH2\n") "< AUTH XOAUTH2 *\n> 334 eyJzdGF0dXMiOiI0MDAifQ==\n< "
					   "*\n> 535 5.7.8 " TOKEN "\n",
	    "0 temp 535 auth 5.7.8 " TOKEN "\n", "C AUTH XOAUTH2 <hidden>\nS 334 <hidden>\nC ");
	secrets(
	    tok, "mechanisms = { OAUTHBEARER };",
	    OFFERS("> 250-AUTH OAUTHBEARER\n") "< AUTH OAUTHBEARER *\n> 235 2.7.0 ok\n" MAIL RCPT(
		"x") DATA OK OK GO_ON OK,
	    delivered, "C AUTH OAUTHBEARER <hidden>\nS 235 2.7.0 <hidden>\nC MAIL");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_dialogue),     cmocka_unit_test(test_failures),
	    cmocka_unit_test(test_open_session), cmocka_unit_test(test_bounds),
	    cmocka_unit_test(test_no_secret),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
