/* What smtpc makes of CHUNKING, BINARYMIME, SMTPUTF8 and LIMITS, against scripted servers. */
#include "smtpc/t_smtpc.h"

#define CHUNKING   "> 250-CHUNKING\n"
#define BINARYMIME "> 250-BINARYMIME\n"
#define SMTPUTF8   "> 250-SMTPUTF8\n> 250-8BITMIME\n"
#define UTF8_RCPT               \
	"j\xc3\xb6rg@b\xc3\xbc" \
	"cher.example"

static void arrived(size_t host)
{
	assert_int_equal(W.host[host].content.len, W.message.n);
	assert_memory_equal(sm_buf_p(&W.host[host].content), W.message.p, W.message.n);
}

/* ---- CHUNKING ---- */

static void test_bdat(void **state)
{
	(void)state;
	/* "Subject: hi\r\n\r\n.hello\r\nworld\r\n", its dot by itself. */
	t_one(OFFERS(CHUNKING) MAIL RCPT("x") OK OK "< BDAT 30 LAST\nb 30\n> 250 2.0.0 taken\n",
	      "0 done 250 final 2.0.0 taken\n");
	arrived(0);
	assert_true(W.kept);
	t_end();
	/* Whom nobody was accepted for gets nothing, and no lone dot either. */
	t_one(OFFERS(CHUNKING) MAIL RCPT("x") OK "> 550 5.1.1 no\n", "0 perm 550 rcpt 5.1.1 no\n");
	assert_false(W.kept);
	t_end();
	t_one(OFFERS(CHUNKING) MAIL RCPT("x") OK OK "< BDAT 30 LAST\nb 30\n> 554 5.7.1 spam\n",
	      "0 perm 554 final 5.7.1 spam\n");
	t_end();
	t_one(OFFERS(CHUNKING) MAIL RCPT("x") OK OK "< BDAT 30 LAST\nb 30\nx\n",
	      "0 temp 0 final 4.4.2 connection closed by peer\n");
	t_end();
	/* Not wanted. */
	t_begin1(OFFERS(CHUNKING) MAIL RCPT("x") DATA OK OK GO_ON OK);
	W.conf.chunking = SC_CHUNKING_NEVER;
	t_run("0 done 250 final 2.0.0 ok\n");
	t_end();
	t_begin1(OFFERS(CHUNKING) MAIL RCPT("x") DATA OK OK GO_ON OK);
	W.conf.chunking = SC_CHUNKING_BINARY;
	t_run("0 done 250 final 2.0.0 ok\n");
	t_end();
}

/* What would not arrive as it is goes by DATA, which makes CRLF of it; the host is asked again. */
static void test_unclean(void **state)
{
	static const struct sm_str texts[] = {SM_STR("Subject: hi\r\n\r\na\nb\r\n"),
	                                      SM_STR("Subject: hi\r\n\r\na\rb\r\n"),
	                                      SM_STR("Subject: hi\r\n\r\nabc\r")};
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(texts); i++) {
		t_begin1(OFFERS(CHUNKING) MAIL RCPT("x") OK OK "w\n---\n" OFFERS(CHUNKING)
		             MAIL RCPT("x") DATA OK OK GO_ON OK);
		W.message = texts[i];
		t_run("0 done 250 final 2.0.0 ok\n");
		assert_int_equal(W.host[0].connections, 2);
		t_end();
	}
}

static void test_binary(void **state)
{
	static const struct sm_str text = SM_STR("Subject: hi\r\n\r\na\n\0\rb\r");
	(void)state;

	t_begin1(
	    OFFERS(CHUNKING BINARYMIME) "< MAIL FROM:<sender@a.example> BODY=BINARYMIME\n" RCPT("x")
		OK OK "< BDAT 21 LAST\nb 21\n" OK);
	W.message = text;
	W.task.body = SM_BODY_BINARYMIME;
	W.conf.chunking = SC_CHUNKING_BINARY;
	t_run("0 done 250 final 2.0.0 ok\n");
	arrived(0);
	t_end();
	/* It is never converted. */
	static const char *const lacking[] = {OFFERS(CHUNKING), PIPE, OFFERS(BINARYMIME)};
	for (size_t i = 0; i < SM_ARRAY_SIZE(lacking); i++) {
		t_begin1(lacking[i]);
		W.message = text;
		W.task.body = SM_BODY_BINARYMIME;
		t_run("0 perm 0 mail 5.6.3 content is binary (BINARYMIME), the server does not "
		      "take it, and it is not converted\n");
		t_end();
	}
	t_begin1(OFFERS(CHUNKING BINARYMIME));
	W.message = text;
	W.task.body = SM_BODY_BINARYMIME;
	W.conf.chunking = SC_CHUNKING_NEVER;
	t_run("0 perm 0 mail 5.6.3 content is binary (BINARYMIME), the server does not take it, "
	      "and it is not converted\n");
	t_end();
}

/* ---- SMTPUTF8 ---- */

static void test_utf8(void **state)
{
	(void)state;
	/* An address is enough. */
	t_begin1(OFFERS(SMTPUTF8) "< MAIL FROM:<sender@a.example> SMTPUTF8\n" RCPT(
	    "x") "< RCPT TO:<" UTF8_RCPT ">\n< DATA\n" OK OK OK GO_ON OK);
	t_rcpt(UTF8_RCPT);
	t_run("0 done 250 final 2.0.0 ok\n1 done 250 final 2.0.0 ok\n");
	t_end();
	/* The sender's; the header's, that was declared. */
	t_begin1(OFFERS(SMTPUTF8) "< MAIL FROM:<" UTF8_RCPT "> SMTPUTF8\n" RCPT("x")
	             DATA OK OK GO_ON OK);
	W.task.sender = SM_STR(UTF8_RCPT);
	W.task.utf8 = SM_UTF8_DECLARED | SM_UTF8_HEADER;
	t_run("0 done 250 final 2.0.0 ok\n");
	t_end();
	/* Declared, and nothing else: it is passed on where it can be, and needed nowhere. */
	t_begin1(OFFERS(SMTPUTF8) "< MAIL FROM:<sender@a.example> SMTPUTF8\n" RCPT("x")
	             DATA OK OK GO_ON OK);
	W.task.utf8 = SM_UTF8_DECLARED;
	t_run("0 done 250 final 2.0.0 ok\n");
	t_end();
	t_begin1(PIPE MAIL RCPT("x") DATA OK OK GO_ON OK);
	W.task.utf8 = SM_UTF8_DECLARED;
	t_run("0 done 250 final 2.0.0 ok\n");
	t_end();
	/* Plain mail stays plain. */
	t_one(OFFERS(SMTPUTF8) MAIL RCPT("x") DATA OK OK GO_ON OK, "0 done 250 final 2.0.0 ok\n");
	t_end();
}

static void test_not_offered(void **state)
{
	(void)state;
	t_begin1(OFFERS("> 250-8BITMIME\n") MAIL RCPT("x") DATA OK OK GO_ON OK);
	t_rcpt(UTF8_RCPT);
	t_run("0 done 250 final 2.0.0 ok\n1 perm 0 rcpt 5.6.7 recipient address is in UTF-8, the "
	      "server does not offer SMTPUTF8\n");
	t_end();
	t_begin1(PIPE);
	W.task.sender = SM_STR(UTF8_RCPT);
	t_run("0 perm 0 mail 5.6.7 sender address is in UTF-8, the server does not offer "
	      "SMTPUTF8\n");
	t_end();
	t_begin1(PIPE);
	W.task.utf8 = SM_UTF8_DECLARED | SM_UTF8_HEADER;
	t_run("0 perm 0 mail 5.6.7 header is in UTF-8, the server does not offer SMTPUTF8\n");
	t_end();
	/* Not UTF-8 at all: on no wire. */
	t_begin1(OFFERS(SMTPUTF8));
	W.rcpts[0].addr = SM_STR("\xe9@b.example");
	t_run("0 perm 0 rcpt 5.1.3 recipient address cannot be sent\n");
	t_end();
	t_begin1(OFFERS(SMTPUTF8));
	W.task.sender = SM_STR("a\xc2\x85@b.example");
	t_run("0 perm 0 mail 5.1.7 sender address cannot be sent\n");
	t_end();
}

/* RFC 6533 3. */
static void test_orcpt(void **state)
{
	(void)state;
	t_begin1(OFFERS("> 250-DSN\n") MAIL
	         "< RCPT TO:<x@b.example> ORCPT=utf-8;\\x{E9}\\x{2B}a@x\n< DATA\n" OK OK GO_ON OK);
	W.rcpts[0].orcpt = SM_STR("utf-8;\xc3\xa9\\x{2B}a@x");
	t_run("0 done 250 final 2.0.0 ok\n");
	t_end();
	t_begin1(OFFERS(
	    "> 250-DSN\n" SMTPUTF8) "< MAIL FROM:<sender@a.example> SMTPUTF8\n"
	                            "< RCPT TO:<x@b.example> "
	                            "ORCPT=utf-8;\xc3\xa9\\x{2B}a@x\n< DATA\n" OK OK GO_ON OK);
	W.rcpts[0].orcpt = SM_STR("utf-8;\xc3\xa9\\x{2B}a@x");
	W.task.utf8 = SM_UTF8_DECLARED;
	t_run("0 done 250 final 2.0.0 ok\n");
	t_end();
}

static void test_probe(void **state)
{
	(void)state;
	t_begin1(OFFERS(SMTPUTF8) "< MAIL FROM:<> SMTPUTF8\n< RCPT TO:<" UTF8_RCPT
	                          ">\n< RSET\n" OK OK OK);
	W.rcpts[0].addr = SM_STR(UTF8_RCPT);
	W.task.probe_ms = 10000;
	t_run("0 done 250 rcpt 2.0.0 ok\n");
	t_end();
	t_begin1(PIPE);
	W.rcpts[0].addr = SM_STR(UTF8_RCPT);
	W.task.probe_ms = 10000;
	t_run("0 perm 0 rcpt 5.6.7 recipient address is in UTF-8, the server does not offer "
	      "SMTPUTF8\n");
	t_end();
}

/* A report about mail in UTF-8, to a server of each kind. */
static void begin_dsn(const char *script, struct sm_msg_dsn_rcpt *r)
{
	t_begin(1, &script);
	t_rcpt("sender@a.example");
	W.task.sender = SM_STR("");
	W.task.dsn_kind = SM_DSN_FAILED;
	W.task.dsn_of = W.task.content;
	W.task.dsn_sender = SM_STR("sender@a.example");
	W.task.dsn_max_bytes = 100000;
	W.task.utf8 = SM_UTF8_DECLARED | SM_UTF8_HEADER;
	*r = (struct sm_msg_dsn_rcpt){.addr = SM_STR(UTF8_RCPT), .action = SM_DSN_FAILED};
	W.task.dsn_rcpts = r;
	W.task.dsn_rcpts_count = 1;
	W.message = SM_STR("Subject: \xc3\xa9\r\n\r\nhello\r\n");
}

static void has(const char *text)
{
	if (memmem(sm_buf_p(&W.host[0].content), W.host[0].content.len, text, strlen(text)) == NULL)
		fail_msg("\"%s\" is missing in %.*s", text, (int)W.host[0].content.len,
		         sm_buf_p(&W.host[0].content));
}

static void test_dsn(void **state)
{
	struct sm_msg_dsn_rcpt r;
	(void)state;

	begin_dsn(OFFERS(SMTPUTF8) "< MAIL FROM:<> SMTPUTF8 BODY=8BITMIME\n< RCPT TO:<sender@a."
	                           "example>\n< DATA\n" OK OK GO_ON OK,
	          &r);
	t_run("0 done 250 final 2.0.0 ok\n");
	has("message/global-delivery-status");
	has("Final-Recipient: utf-8; " UTF8_RCPT "\r\n");
	has("message/global\r\n");
	t_end();
	begin_dsn(PIPE "< MAIL FROM:<>\n< RCPT TO:<sender@a.example>\n< DATA\n" OK OK GO_ON OK, &r);
	t_run("0 done 250 final 2.0.0 ok\n");
	has("message/delivery-status");
	has("Final-Recipient: utf-8; j\\x{F6}rg@b\\x{FC}cher.example\r\n");
	has("Subject: =C3=A9\r\n");
	t_end();
}

/* ---- LIMITS ---- */

#define LIMITS(x) "> 250-LIMITS " x "\n"
#define GO        GO_ON OK

static void three(const char *script)
{
	t_begin1(script);
	t_rcpt("y@b.example");
	t_rcpt("z@c.example");
}
#define ALL_DONE "0 done 250 final 2.0.0 ok\n1 done 250 final 2.0.0 ok\n2 done 250 final 2.0.0 ok\n"
#define RCPT_Z   "< RCPT TO:<z@c.example>\n"

static void test_rcptmax(void **state)
{
	(void)state;
	three(OFFERS(LIMITS("RCPTMAX=2")) MAIL RCPT("x") RCPT("y")
	          DATA OK OK OK GO MAIL RCPT_Z DATA OK OK GO);
	t_run(ALL_DONE);
	assert_int_equal(W.host[0].connections, 1);
	t_end();
	/* As many transactions as it takes. */
	char *script = malloc(200 * 200), name[40], *at = script;
	at += sprintf(at, "%s", OFFERS(LIMITS("RCPTMAX=1")));
	for (int i = 0; i < 150; i++)
		at += sprintf(at, MAIL "< RCPT TO:<u%d@b.example>\n< DATA\n" OK OK GO_ON OK, i);
	t_begin(1, &(const char *){script});
	for (int i = 0; i < 150; i++) {
		sprintf(name, "u%d@b.example", i);
		t_rcpt(sm_arena_str(&W.arena, sm_str(name)).p);
	}
	char *results = malloc(150 * 40), *to = results;
	for (int i = 0; i < 150; i++)
		to += sprintf(to, "%d done 250 final 2.0.0 ok\n", i);
	t_run(results);
	t_end();
	free(script);
	free(results);
}

static void test_rcptdomainmax(void **state)
{
	(void)state;
	three(OFFERS(LIMITS("RCPTDOMAINMAX=1")) MAIL RCPT("x") RCPT("y")
	          DATA OK OK OK GO MAIL RCPT_Z DATA OK OK GO);
	t_run(ALL_DONE);
	t_end();
	three(OFFERS(LIMITS("RCPTDOMAINMAX=2")) MAIL RCPT("x") RCPT("y")
	          RCPT_Z DATA OK OK OK OK GO);
	t_run(ALL_DONE);
	t_end();
}

static void test_mailmax(void **state)
{
	(void)state;
	/* The rest has another session; none is kept that is of no use. */
	three(OFFERS(LIMITS("RCPTMAX=2 MAILMAX=1")) MAIL RCPT("x") RCPT("y") DATA OK OK OK GO
	      "---\n" OFFERS(LIMITS("RCPTMAX=2 MAILMAX=1")) MAIL RCPT_Z DATA OK OK GO);
	t_run(ALL_DONE);
	assert_int_equal(W.host[0].connections, 2);
	assert_false(W.kept);
	t_end();
	t_one(OFFERS(LIMITS("MAILMAX=2")) MAIL RCPT("x") DATA OK OK GO,
	      "0 done 250 final 2.0.0 ok\n");
	assert_true(W.kept);
	t_end();
}

/* What was required goes by the name; other names may live at that address. */
static void test_violation_is_no_dead_host(void **state)
{
	(void)state;
	const char *script = "> 220 x\n< EHLO client.example\n> 250 x\n";

	t_begin(1, &script);
	t_rcpt("x@b.example");
	W.conf.tls_level = SC_TLS_VERIFY;
	t_run("0 temp 0 tls 4.7.4 TLS is required, but the connection has none\n");
	assert_int_equal(W.reach, SM_REACH_NONE);
	t_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_bdat),        cmocka_unit_test(test_unclean),
	    cmocka_unit_test(test_binary),      cmocka_unit_test(test_utf8),
	    cmocka_unit_test(test_not_offered), cmocka_unit_test(test_orcpt),
	    cmocka_unit_test(test_probe),       cmocka_unit_test(test_dsn),
	    cmocka_unit_test(test_rcptmax),     cmocka_unit_test(test_rcptdomainmax),
	    cmocka_unit_test(test_mailmax),     cmocka_unit_test(test_violation_is_no_dead_host),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
