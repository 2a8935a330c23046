/* Probes, byte for byte, against scripted servers. */
#include "smtpc/t_smtpc.h"

#define PROBE "< MAIL FROM:<>\n"
#define RSET  "< RSET\n"
#define ASK   PROBE RCPT("x") RSET
/* What the server says to RCPT. */
#define SAYS(r)   ASK OK "> " r "\n" OK
#define SLOWLY(r) PROBE OK RCPT("x") "> " r "\n" RSET OK

static void begin(size_t hosts, const char *const *scripts)
{
	t_begin(hosts, scripts);
	t_rcpt("x@b.example");
	W.message = SM_STR_NONE; /* there is no content, and none is missed */
	W.task.sender = SM_STR("");
	W.task.ta = W.task.content = (struct sm_id){.counter = 0};
	W.task.probe_ms = T_PATIENCE_MS;
}

static void one(const char *script, const char *results, bool kept)
{
	begin(1, &script);
	t_run(results);
	assert_int_equal(W.kept, kept);
	assert_int_equal(W.host[0].content.len, 0);
	t_end();
}

static void test_known(void **state SM_UNUSED)
{
	one(PIPE SAYS("250 2.1.5 yes"), "0 done 250 rcpt 2.1.5 yes\n", true);
	one(PLAIN SLOWLY("250 2.1.5 yes"), "0 done 250 rcpt 2.1.5 yes\n", true);
	one(PIPE SAYS("251 User not local; will forward"),
	    "0 done 251 rcpt 2.0.0 User not local; will forward\n", true);
	one(PIPE SAYS("252 2.1.5 maybe"), "0 done 252 rcpt 2.1.5 maybe\n", true);
}

static void test_unknown(void **state SM_UNUSED)
{
	one(PIPE SAYS("550 5.1.1 who?"), "0 perm 550 rcpt 5.1.1 who?\n", true);
	one(PLAIN SLOWLY("550-5.1.1 who\n> 550 5.1.1 is that?"),
	    "0 perm 550 rcpt 5.1.1 who is that?\n", true);
	one(PIPE SAYS("554 5.7.1 not for you"), "0 perm 554 rcpt 5.7.1 not for you\n", true);
}

static void test_cannot_be_told(void **state SM_UNUSED)
{
	one(PIPE SAYS("450 4.2.0 greylisted"), "0 temp 450 rcpt 4.2.0 greylisted\n", true);
	one(PIPE SAYS("552 5.2.2 full"), "0 temp 552 rcpt 5.2.2 full\n", true);
	one(PIPE SAYS("452 4.5.3 too many"), "0 temp 452 rcpt 4.5.3 too many\n", true);
	/* What is said to MAIL speaks of us, not of the recipient. */
	one(PIPE ASK "> 550 5.7.1 no <>\n> 503 5.5.1 no MAIL\n" OK, "0 temp 550 mail 5.7.1 no <>\n",
	    false);
	one(PIPE ASK "> 451 4.3.0 busy\n> 250 2.1.5 yes\n" OK, "0 temp 451 mail 4.3.0 busy\n",
	    false);
	one(PLAIN PROBE "> 550 5.7.1 no <>\n", "0 temp 550 mail 5.7.1 no <>\n", false);
	/* MAIL refused, and then the connection is gone: the result stands. */
	one(PIPE ASK "> 451 4.3.0 busy\nx\n", "0 temp 451 mail 4.3.0 busy\n", false);
	one("> 554 5.7.1 go away\n", "0 temp 554 greeting 5.7.1 go away\n", false);
	one("> 220 x\n< EHLO client.example\n> 550 5.7.1 no\n< HELO client.example\n> 550 5.7.1 "
	    "no\n",
	    "0 temp 550 hello 5.7.1 no\n", false);
	one(PIPE ASK "> 421 4.3.2 down\nx\n", "0 temp 421 mail 4.3.2 down\n", false);
	one(PIPE ASK OK "> 421 4.3.2 down\nx\n", "0 temp 421 rcpt 4.3.2 down\n", false);
	one(PIPE ASK OK "x\n", "0 temp 0 rcpt 4.4.2 connection closed by peer\n", false);
	one(PIPE ASK OK "> 354 go\nw\n", "0 temp 0 rcpt 4.5.0 unexpected reply 354 to rcpt\n",
	    false);
}

/* Out of step, or without an answer to RSET: the result stands, the session is of no use. */
static void test_reset_fails(void **state SM_UNUSED)
{
	one(PIPE ASK OK "> 250 2.1.5 yes\n> 500 what?\n", "0 done 250 rcpt 2.1.5 yes\n", false);
	one(PIPE ASK OK "> 250 2.1.5 yes\nx\n", "0 done 250 rcpt 2.1.5 yes\n", false);
	one(PIPE ASK OK "> 250 2.1.5 yes\n> 250 ok\n> 250 more\nw\n", "0 done 250 rcpt 2.1.5 yes\n",
	    false);
}

/* Only who does not answer is replaced by the next host; who says no, or not now, is not. */
static void test_next_host(void **state SM_UNUSED)
{
	char text[100];
	const char *const down[] = {NULL, PIPE SAYS("550 5.1.1 no")};
	const char *const busy[] = {PIPE ASK OK "> 421 4.3.2 down\nx\n",
	                            PIPE SAYS("250 2.1.5 yes")};
	const char *const none[] = {NULL, NULL};
	const char *const says[] = {PIPE SAYS("450 4.2.1 later"), PIPE SAYS("250 2.1.5 yes")};

	begin(2, down);
	t_run("0 perm 550 rcpt 5.1.1 no\n");
	t_end();
	begin(2, busy);
	t_run("0 done 250 rcpt 2.1.5 yes\n");
	t_end();
	begin(2, says);
	t_run("0 temp 450 rcpt 4.2.1 later\n");
	assert_int_equal(W.host[1].connections, 0);
	t_end();
	begin(2, none);
	(void)snprintf(text, sizeof(text),
	               "0 temp 0 connect 4.4.1 connect to 127.0.0.1:%u: Connection refused\n",
	               (unsigned)sm_sa_port(&W.host[1].sa));
	t_run(text);
	t_end();
}

static void test_lmtp(void **state SM_UNUSED)
{
	const char *script = "> 220 x\n< LHLO client.example\n> 250-x\n> 250 PIPELINING\n" ASK OK
			     "> 550 5.1.1 no\n" OK;

	begin(1, &script);
	W.task.agent = SM_AGENT_LMTP;
	t_run("0 perm 550 rcpt 5.1.1 no\n");
	assert_true(W.kept);
	t_end();
}

/* Kept sessions serve other probes, and mail; a dead one says nothing about the host. */
static void test_reuse(void **state SM_UNUSED)
{
	const char *script = PIPE SAYS("250 2.1.5 yes") SAYS("250 2.1.5 yes");
	const char *dead = PIPE SAYS("250 2.1.5 yes") ASK "x\n---\n" PIPE SAYS("250 2.1.5 yes");

	begin(1, &script);
	W.tasks = 2;
	t_run("0 done 250 rcpt 2.1.5 yes\n0 done 250 rcpt 2.1.5 yes\n");
	assert_int_equal(W.host[0].connections, 1);
	t_end();
	begin(1, &dead);
	W.tasks = 2;
	t_run("0 done 250 rcpt 2.1.5 yes\n0 done 250 rcpt 2.1.5 yes\n");
	assert_int_equal(W.host[0].connections, 2);
	t_end();
}

static void deliver_next(void)
{
	W.task.probe_ms = 0;
	W.task.size = W.message.n;
}

static void test_mail_follows(void **state SM_UNUSED)
{
	const char *script = PIPE SAYS("250 2.1.5 yes") "< MAIL FROM:<>\n" RCPT(
	    "x") "< DATA\n" OK OK "> 354 go\n.\n> 250 2.0.0 queued\n";

	begin(1, &script);
	W.message = SM_STR("Subject: hi\r\n\r\nhello\r\n");
	W.task.content = (struct sm_id){.counter = 0x1234, .proc = 1};
	W.tasks = 2;
	W.between = deliver_next;
	t_run("0 done 250 rcpt 2.1.5 yes\n0 done 250 final 2.0.0 queued\n");
	assert_int_equal(W.host[0].connections, 1);
	t_end();
}

/* Servers count unknown recipients: a session does not collect too many of them. */
static void test_enough_unknown(void **state SM_UNUSED)
{
#define NO SAYS("550 5.1.1 no")
	const char *script = PIPE NO NO NO NO NO "---\n" PIPE NO;

	begin(1, &script);
	W.tasks = 6;
	t_run("0 perm 550 rcpt 5.1.1 no\n0 perm 550 rcpt 5.1.1 no\n0 perm 550 rcpt 5.1.1 no\n"
	      "0 perm 550 rcpt 5.1.1 no\n0 perm 550 rcpt 5.1.1 no\n0 perm 550 rcpt 5.1.1 no\n");
	assert_int_equal(W.host[0].connections, 2);
	t_end();
}

static void test_several(void **state SM_UNUSED)
{
	const char *script = PIPE PROBE RCPT("x") RCPT("y") RCPT("z") RSET OK
	    "> 250 2.1.5 yes\n"
	    "> 550 5.1.1 no\n> 451 4.3.0 later\n" OK;

	begin(1, &script);
	t_rcpt("y@b.example");
	t_rcpt("z@b.example");
	t_run("0 done 250 rcpt 2.1.5 yes\n1 perm 550 rcpt 5.1.1 no\n"
	      "2 temp 451 rcpt 4.3.0 later\n");
	t_end();
}

/* Nobody waits longer than is said in the task, and nothing breaks out of a command. */
static void test_bounds(void **state SM_UNUSED)
{
	const char *script = PIPE PROBE "w\n";
	const char *nothing = "";

	begin(1, &script);
	W.task.probe_ms = 300;
	W.host[0].script = PLAIN PROBE "w\n";
	t_run("0 temp 0 mail 4.4.2 read: deadline passed\n");
	t_end();
	begin(1, &nothing);
	W.host[0].script = PIPE;
	W.rcpts[0].addr = SM_STR("x@b.example>\r\nDATA");
	t_run("0 perm 0 rcpt 5.1.3 recipient address cannot be sent\n");
	t_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_known),          cmocka_unit_test(test_unknown),
	    cmocka_unit_test(test_cannot_be_told), cmocka_unit_test(test_reset_fails),
	    cmocka_unit_test(test_next_host),      cmocka_unit_test(test_lmtp),
	    cmocka_unit_test(test_reuse),          cmocka_unit_test(test_mail_follows),
	    cmocka_unit_test(test_enough_unknown), cmocka_unit_test(test_several),
	    cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
