/* The client's conversation, against scripted servers: tasks in, results out. */
#include "smtpc/t_smtpc.h"

#define THREE_OK OK OK "> 354 go\n"
#define GOOD     PIPE TAKES

static void test_pipelined(void **state)
{
	(void)state;
	t_one(GOOD, "0 done 250 final 2.0.0 queued\n");
	assert_int_equal(W.host[0].content.len, W.message.n);
	assert_memory_equal(sm_buf_p(&W.host[0].content), W.message.p, W.message.n);
	assert_true(W.kept);
	assert_int_equal(W.reach, SM_REACH_OK);
	assert_int_equal(W.gone, 1);
	assert_false(W.dsn_passed);
	t_end();
}

static void test_one_by_one(void **state)
{
	(void)state;
	t_one(PLAIN MAIL "> 250 ok\n" RCPT("x") "> 250 ok\n" DATA "> 354\n.\n> 250 done\n",
	      "0 done 250 final 2.0.0 done\n");
	t_end();
}

static void test_helo_fallback(void **state)
{
	(void)state;
	t_one(
	    "> 220 old\n< EHLO client.example\n> 500 what?\n< HELO client.example\n> 250 hi\n" MAIL
	    "> 250 ok\n" RCPT("x") "> 250 ok\n" DATA "> 354 go\n.\n> 250 done\n",
	    "0 done 250 final 2.0.0 done\n");
	t_end();
}

static void test_some_refused(void **state)
{
	(void)state;
	t_begin1(PIPE MAIL RCPT("x") RCPT("y") RCPT("z") DATA
	         "> 250 ok\n> 550 no such user\n> 451-4.7.1 come\n> 451 4.7.1 later\n> 250 ok\n"
	         "> 354 go\n.\n> 250 ok\n");
	t_rcpt("y@b.example");
	t_rcpt("z@b.example");
	t_run("0 perm 550 rcpt 5.1.1 no such user\n"
	      "1 temp 451 rcpt 4.7.1 come later\n"
	      "2 done 250 final 2.0.0 ok\n");
	t_end();
}

/* All refused: DATA was on its way already. */
static void test_all_refused(void **state)
{
	(void)state;
	t_one(PIPE MAIL RCPT("x") DATA "> 250 ok\n> 550 5.1.1 no\n> 503 no recipients\n",
	      "0 perm 550 rcpt 5.1.1 no\n");
	assert_false(W.kept);
	t_end();
	/* The server wants data all the same: it gets a lone dot, never the message. */
	t_one(PIPE MAIL RCPT("x") DATA "> 250 ok\n> 550 5.1.1 no\n> 354 go\n.\n> 554 none\n"
	                               "",
	      "0 perm 550 rcpt 5.1.1 no\n");
	assert_int_equal(W.host[0].content.len, 0);
	t_end();
	/* MAIL was refused, RCPT taken, data wanted: not even a dot. */
	t_one(PIPE MAIL RCPT("x") DATA "> 550 5.7.1 no\n> 250 ok\n> 354 go\nw\n",
	      "0 perm 550 mail 5.7.1 no\n");
	assert_false(W.kept);
	t_end();
}

static void test_mail_refused(void **state)
{
	(void)state;
	t_one(PIPE MAIL RCPT("x") DATA "> 451 4.3.0 busy\n> 503 no\n> 503 no\n",
	      "0 temp 451 mail 4.3.0 busy\n");
	t_end();
	t_one(PLAIN MAIL "> 552 too big\n", "0 perm 552 mail 5.3.4 too big\n");
	t_end();
}

static void test_data_refused(void **state)
{
	(void)state;
	t_one(PIPE MAIL RCPT("x") DATA "> 250 ok\n> 250 ok\n> 451 disk\n",
	      "0 temp 451 data 4.3.0 disk\n");
	t_end();
	t_one(PIPE MAIL RCPT("x") DATA THREE_OK ".\n> 554 5.7.1 spam\n",
	      "0 perm 554 final 5.7.1 spam\n");
	t_end();
}

static void test_next_host(void **state)
{
	static const char *const firsts[] = {
	    NULL,
	    "> 554 5.7.1 go away\n< QUIT\n> 221 bye\n",
	    "> 421 4.3.2 busy\n",
	    "> 220 hi\n< EHLO client.example\n> 421 4.3.2 busy\n",
	    "> 220 hi\n< EHLO client.example\n> 500 no\n< HELO client.example\n> 500 no\n< QUIT\n",
	    "> 220 hi\n< EHLO client.example\nr\n",
	    "! 220 half\nx\n",
	    PIPE MAIL RCPT("x") DATA "> 421 4.3.2 going down\nx\n",
	    PIPE MAIL RCPT("x") DATA "> 250 ok\n> 421 4.3.2 going down\n",
	    PIPE MAIL RCPT("x") DATA "> 250 ok\n> 250 ok\nr\n",
	    PIPE MAIL RCPT("x") DATA "> 354 what\nw\n",                   /* 354 to MAIL */
	    PIPE MAIL RCPT("x") DATA "> 250 ok\n> 250 ok\n> 250 ok\nw\n", /* 250 to DATA */
	    PIPE MAIL RCPT("x") DATA THREE_OK "> 250 ok\nw\n", /* reply before the data */
	    PIPE MAIL RCPT("x") DATA "> 221 unasked\n",
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(firsts); i++) {
		const char *scripts[] = {firsts[i], GOOD};
		t_begin(2, scripts);
		t_rcpt("x@b.example");
		t_run("0 done 250 final 2.0.0 queued\n");
		assert_int_equal(W.host[0].connections, firsts[i] != NULL);
		t_end();
	}
}

/* Replies that are no replies: never a permanent failure, never a success. */
static void test_protocol_errors(void **state)
{
	static const struct {
		const char *greeting, *result;
	} bad[] = {
	    {"! 220\\n\nw\n", NULL},
	    {"> 25\nw\n", "0 temp 0 greeting 4.5.0 reply without code\n"},
	    {"> 999 x\nw\n", "0 temp 0 greeting 4.5.0 reply code 999 out of range\n"},
	    {"> 2500 x\nw\n", "0 temp 0 greeting 4.5.0 no separator behind reply code\n"},
	    {"> \nw\n", "0 temp 0 greeting 4.5.0 reply without code\n"},
	    {"! 220 a\\rb\\r\\n\nw\n",
	     "0 temp 0 greeting 4.5.0 bare CR, bare LF or NUL in reply\n"},
	    {"! 220 a\\nb\\r\\n\nw\n",
	     "0 temp 0 greeting 4.5.0 bare CR, bare LF or NUL in reply\n"},
	    {"! 220 a\\0b\\r\\n\nw\n",
	     "0 temp 0 greeting 4.5.0 bare CR, bare LF or NUL in reply\n"},
	    {"> 220-a\n> 250 b\nw\n", "0 temp 0 greeting 4.5.0 reply codes differ: 220, 250\n"},
	    {"> 220 a\n> 250 injected\nw\n",
	     "0 temp 0 hello 4.5.0 server sent more than it was asked for\n"},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		t_begin1(bad[i].greeting);
		W.conf.timeouts.greeting_ms = bad[i].result == NULL ? 50 : T_PATIENCE_MS;
		t_run(bad[i].result != NULL ? bad[i].result
		                            : "0 temp 0 greeting 4.4.2 read: deadline passed\n");
		t_end();
	}
}

static void test_endless_replies(void **state)
{
	static char script[400000];
	size_t at = 0;

	(void)state;
	for (int i = 0; i < 3000; i++)
		at += (size_t)sprintf(script + at, "> 220-still here\n");
	(void)sprintf(script + at, "w\n");
	t_one(script, "0 temp 0 greeting 4.5.0 reply has more than 100 lines\n");
	t_end();
	at = (size_t)sprintf(script, "! 220 ");
	memset(script + at, 'x', 300000);
	(void)strcpy(script + at + 300000, "\nw\n");
	t_one(script, "0 temp 0 greeting 4.5.0 reply line of more than 4096 bytes\n");
	t_end();
	at = 0;
	for (int i = 0; i < 60; i++) {
		at += (size_t)sprintf(script + at, "> 220-");
		memset(script + at, 'y', 3000);
		at += 3000;
		script[at++] = '\n';
	}
	(void)strcpy(script + at, "w\n");
	t_begin1(script);
	W.conf.max_reply_lines = 1000;
	t_run("0 temp 0 greeting 4.5.0 reply of more than 66132 bytes\n");
	t_end();
}

/* A reply text cannot forge anything: 8-bit and control bytes are gone, and it is bounded. */
static void test_texts(void **state)
{
	(void)state;
	t_one(PIPE MAIL RCPT("x") DATA "> 250 ok\n! 550 \\x1b[2J\\xe4\\x07 tab\\x09 end\\r\\n\n"
	                               "> 503 no\n",
	      "0 perm 550 rcpt 5.1.1 ?[2J?? tab? end\n");
	t_end();
}

/* After the dot the fate is unknown: deferred, and nobody else is asked. */
static void test_lost_after_dot(void **state)
{
	static const char *const ends[] = {"x\n", "r\n", "! 25\nx\n", "! 250 ok\nx\n",
	                                   "! 250-ok\\r\\n\nx\n"};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(ends); i++) {
		char script[1000];
		const char *scripts[] = {script, GOOD};
		(void)snprintf(script, sizeof(script), "%s.\n%s", PIPE MAIL RCPT("x") DATA THREE_OK,
		               ends[i]);
		t_begin(2, scripts);
		t_rcpt("x@b.example");
		W.task.hosts_count = 2;
		for (size_t k = 0; k < 2; k++)
			t_spawn(t_server, &W.host[k]);
		t_spawn(t_driver, NULL);
		t_run_all();
		assert_string_equal(W.host[0].error, "");
		assert_non_null(strstr(W.results, "0 temp 0 final 4.4.2 "));
		assert_int_equal(W.host[1].connections, 0);
		t_end();
	}
	/* A whole line is an answer, whatever happens to the connection then. */
	t_one(PIPE MAIL RCPT("x") DATA THREE_OK ".\n> 250 2.0.0 yes\nr\n",
	      "0 done 250 final 2.0.0 yes\n");
	t_end();
	t_one(PIPE MAIL RCPT("x") DATA THREE_OK ".\n> 421 4.3.2 no\nx\n",
	      "0 temp 421 final 4.3.2 no\n");
	t_end();
	t_one(PIPE MAIL RCPT("x") DATA THREE_OK ".\n> 354 again\nw\n",
	      "0 temp 354 final 4.0.0 again\n");
	t_end();
}

static void test_lmtp(void **state)
{
	(void)state;
	t_begin1("> 220 lmtp\n< LHLO client.example\n> 250-x\n> 250 PIPELINING\n" MAIL RCPT("x")
	             RCPT("y") RCPT("z") RCPT("u") DATA
	         "> 250 ok\n> 250 ok\n> 250 ok\n> 550 5.1.1 no\n> 250 ok\n> 354 go\n.\n"
	         "> 250 2.0.0 one\n> 452 4.2.2 full\n> 250 2.0.0 three\n");
	W.task.agent = SM_AGENT_LMTP;
	t_rcpt("y@b.example");
	t_rcpt("z@b.example");
	t_rcpt("u@b.example");
	t_run("0 done 250 final 2.0.0 one\n"
	      "1 temp 452 final 4.2.2 full\n"
	      "2 perm 550 rcpt 5.1.1 no\n"
	      "3 done 250 final 2.0.0 three\n");
	assert_true(W.kept);
	t_end();
	/* The connection ends between the replies: what was said counts, the rest is unknown. */
	t_begin1("> 220 lmtp\n< LHLO client.example\n> 250 x\n" MAIL "> 250 ok\n" RCPT(
	    "x") "> 250 ok\n" RCPT("y") "> 250 ok\n" DATA "> 354 go\n.\n> 250 2.0.0 one\nx\n");
	W.task.agent = SM_AGENT_LMTP;
	t_rcpt("y@b.example");
	t_run("0 done 250 final 2.0.0 one\n"
	      "1 temp 0 final 4.4.2 connection closed by peer\n");
	t_end();
}

static void test_parameters(void **state)
{
	(void)state;
	t_begin1(HELLO
	         "> 250-SIZE 1000\n> 250-8BITMIME\n> 250-dsn\n> 250 pipelining\n"
	         "< MAIL FROM:<sender@a.example> SIZE=30 BODY=8BITMIME RET=HDRS ENVID=QQ314159\n"
	         "< RCPT TO:<x@b.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+2Bx@b\n"
	         "< RCPT TO:<y@b.example> NOTIFY=NEVER\n" DATA
	         "> 250 ok\n> 250 ok\n> 250 ok\n> 354 go\n.\n> 250 ok\n");
	W.task.body = SM_BODY_8BITMIME;
	W.task.ret = SM_RET_HDRS;
	W.task.envid = SM_STR("QQ314159");
	W.rcpts[0].notify = SM_NOTIFY_SUCCESS | SM_NOTIFY_DELAY;
	W.rcpts[0].orcpt = SM_STR("rfc822;x+2Bx@b");
	t_rcpt("y@b.example");
	W.rcpts[1].notify = SM_NOTIFY_NEVER;
	t_run("0 done 250 final 2.0.0 ok\n1 done 250 final 2.0.0 ok\n");
	assert_true(W.dsn_passed);
	t_end();
	/* Nothing of it to a server that offers nothing. */
	t_begin1(GOOD);
	W.task.body = SM_BODY_8BITMIME;
	W.task.ret = SM_RET_HDRS;
	W.task.envid = SM_STR("QQ314159");
	W.rcpts[0].notify = SM_NOTIFY_SUCCESS;
	t_run("0 done 250 final 2.0.0 queued\n");
	assert_false(W.dsn_passed);
	t_end();
}

static void test_nothing_breaks_out(void **state)
{
	(void)state;
	t_begin1(PIPE MAIL RCPT("y") DATA THREE_OK ".\n> 250 ok\n");
	W.rcpts[0].addr = SM_STR("x@b.example>\r\nRSET\r\n");
	W.task.envid = SM_STR("a b\r\n");
	t_rcpt("y@b.example");
	t_run("0 perm 0 rcpt 5.1.3 recipient address cannot be sent\n1 done 250 final 2.0.0 ok\n");
	t_end();
}

static void test_size_limit(void **state)
{
	(void)state;
	t_one(HELLO "> 250 SIZE 29\n",
	      "0 perm 0 mail 5.3.4 message of 30 bytes, the server takes at most 29\n");
	t_end();
}

/* "Too many recipients" after some were taken: the rest goes in another transaction at once. */
static void test_too_many_recipients(void **state)
{
	(void)state;
	t_begin1(PIPE MAIL RCPT("x") RCPT("y") RCPT("z") DATA
	         "> 250 ok\n> 250 ok\n> 452 4.5.3 enough\n> 452 4.5.3 enough\n> 354 go\n.\n> 250 "
	         "first\n" MAIL RCPT("y") RCPT("z") DATA
	         "> 250 ok\n> 250 ok\n> 550 no\n> 354 go\n.\n> 250 second\n");
	t_rcpt("y@b.example");
	t_rcpt("z@b.example");
	t_run("0 done 250 final 2.0.0 first\n1 done 250 final 2.0.0 second\n2 perm 550 rcpt 5.1.1 "
	      "no\n");
	t_end();
	t_one(PIPE MAIL RCPT("x") DATA "> 250 ok\n> 452 4.5.3 enough\n> 503 no\n",
	      "0 temp 452 rcpt 4.5.3 enough\n");
	t_end();
}

static void test_many_recipients_in_batches(void **state)
{
	static char script[20000], results[8000], addr[150][32];
	size_t s = (size_t)sprintf(script, "%s", PIPE MAIL), r = 0;

	(void)state;
	for (int i = 0; i < 99; i++)
		s += (size_t)sprintf(script + s, "< RCPT TO:<u%d@b.example>\n", i);
	for (int i = 0; i < 100; i++)
		s += (size_t)sprintf(script + s, "> 250 ok\n");
	for (int i = 99; i < 150; i++)
		s += (size_t)sprintf(script + s, "< RCPT TO:<u%d@b.example>\n", i);
	s += (size_t)sprintf(script + s, "< DATA\n");
	for (int i = 99; i < 150; i++)
		s += (size_t)sprintf(script + s, "> 250 ok\n");
	(void)sprintf(script + s, "> 354 go\n.\n> 250 ok\n");
	const char *scripts[] = {script};
	t_begin(1, scripts);
	for (int i = 0; i < 150; i++) {
		(void)sprintf(addr[i], "u%d@b.example", i);
		t_rcpt(addr[i]);
		r += (size_t)sprintf(results + r, "%d done 250 final 2.0.0 ok\n", i);
	}
	t_run(results);
	t_end();
}

static void test_timeouts(void **state)
{
	(void)state;
	t_begin1(PIPE MAIL RCPT("x") DATA THREE_OK ".\nw\n");
	W.conf.timeouts.data_final_ms = 30;
	t_run("0 temp 0 final 4.4.2 read: deadline passed\n");
	t_end();
	t_begin1(PIPE MAIL RCPT("x") DATA "w\n");
	W.conf.timeouts.mail_ms = 30;
	t_run("0 temp 0 mail 4.4.2 read: deadline passed\n");
	t_end();
	/* However patient each step is: the task has an end. */
	t_begin1("w\n");
	W.conf.max_task_time_ms = 300;
	t_run("0 temp 0 greeting 4.4.2 read: deadline passed\n");
	t_end();
}

static void test_bogus_address(void **state)
{
	static const char *const bogus[] = {"0.0.0.0", "224.0.0.1", "255.255.255.255", "::"};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(bogus); i++) {
		char want[200];
		t_begin1(NULL);
		assert_int_equal(sm_sa_ip(&W.hosts[0].sa, sm_str(bogus[i]), 25), 0);
		(void)snprintf(want, sizeof(want),
		               "0 temp 0 connect 4.4.1 %s is no address to send mail to\n",
		               bogus[i]);
		t_run(want);
		t_end();
	}
}

/* The content is missing or damaged: our trouble, so a temporary one, and the server gets no
 * message. */
static void test_no_content(void **state)
{
	(void)state;
	t_begin1(PIPE MAIL RCPT("x") DATA THREE_OK "w\n");
	W.message = SM_STR_NONE;
	W.task.size = 31;
	for (size_t i = 0; i < W.host_count; i++)
		t_spawn(t_server, &W.host[i]);
	t_spawn(t_driver, NULL);
	t_run_all();
	assert_non_null(strstr(W.results, "0 temp 0 local 4.3.0 "));
	assert_false(W.local); /* it will not come back by waiting */
	assert_string_equal(W.host[0].error, "");
	t_end();
}

/* More than buffers hold, lines with dots, refused in the middle. */
static void test_big_content(void **state)
{
	enum { SIZE = 3 * 1000 * 1000 };
	char *big = malloc(SIZE);

	(void)state;
	for (size_t i = 0; i < SIZE; i += 10)
		memcpy(big + i, i % 70 ? ".2345678\r\n" : "..345678\r\n", 10);
	t_begin1(GOOD);
	W.message = sm_str_n(big, SIZE);
	t_run("0 done 250 final 2.0.0 queued\n");
	assert_int_equal(W.host[0].content.len, SIZE);
	assert_memory_equal(sm_buf_p(&W.host[0].content), big, SIZE);
	t_end();
	free(big);
}

/* The server has enough in the middle of the content, says so and goes: what it said counts. */
static void test_content_refused_midway(void **state)
{
	enum { SIZE = 20 * 1000 * 1000 };
	char *big = malloc(SIZE);

	(void)state;
	memset(big, 'x', SIZE);
	for (size_t i = 0; i + 72 < SIZE; i += 72)
		memcpy(big + i, "\r\n", 2);
	const char *scripts[] = {PIPE MAIL RCPT("x") DATA THREE_OK "p\n> 552 5.3.4 enough\nx\n",
	                         GOOD};
	t_begin(2, scripts);
	t_rcpt("x@b.example");
	W.message = sm_str_n(big, SIZE);
	for (size_t i = 0; i < 2; i++)
		t_spawn(t_server, &W.host[i]);
	t_spawn(t_driver, NULL);
	t_run_all();
	assert_string_equal(W.host[0].error, "");
	assert_string_equal(W.results, "0 perm 552 data 5.3.4 enough\n");
	assert_int_equal(W.host[1].connections, 0);
	t_end();
	free(big);
}

static void test_reuse(void **state)
{
	(void)state;
	t_begin1(GOOD MAIL RCPT("x") DATA THREE_OK ".\n> 250 2.0.0 again\n");
	W.tasks = 2;
	W.message = SM_STR("a\r\n");
	t_run("0 done 250 final 2.0.0 queued\n0 done 250 final 2.0.0 again\n");
	assert_int_equal(W.host[0].connections, 1);
	assert_int_equal(W.gone, 1); /* at the end */
	t_end();
}

/* The kept session is dead when it is needed: a new one, and the host is not to blame. */
static void test_reuse_of_a_dead_session(void **state)
{
	static const char *const deaths[] = {
	    MAIL "x\n",
	    MAIL RCPT("x") DATA "> 421 4.4.2 idle for too long\nx\n",
	    MAIL "r\n",
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(deaths); i++) {
		char script[2000];
		(void)snprintf(script, sizeof(script), "%s%s---\n%s", GOOD, deaths[i], GOOD);
		t_begin1(script);
		W.tasks = 2;
		t_run("0 done 250 final 2.0.0 queued\n0 done 250 final 2.0.0 queued\n");
		assert_int_equal(W.host[0].connections, 2);
		t_end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_pipelined),
	    cmocka_unit_test(test_one_by_one),
	    cmocka_unit_test(test_helo_fallback),
	    cmocka_unit_test(test_some_refused),
	    cmocka_unit_test(test_all_refused),
	    cmocka_unit_test(test_mail_refused),
	    cmocka_unit_test(test_data_refused),
	    cmocka_unit_test(test_next_host),
	    cmocka_unit_test(test_protocol_errors),
	    cmocka_unit_test(test_endless_replies),
	    cmocka_unit_test(test_texts),
	    cmocka_unit_test(test_lost_after_dot),
	    cmocka_unit_test(test_lmtp),
	    cmocka_unit_test(test_parameters),
	    cmocka_unit_test(test_nothing_breaks_out),
	    cmocka_unit_test(test_size_limit),
	    cmocka_unit_test(test_too_many_recipients),
	    cmocka_unit_test(test_many_recipients_in_batches),
	    cmocka_unit_test(test_timeouts),
	    cmocka_unit_test(test_bogus_address),
	    cmocka_unit_test(test_no_content),
	    cmocka_unit_test(test_big_content),
	    cmocka_unit_test(test_content_refused_midway),
	    cmocka_unit_test(test_reuse),
	    cmocka_unit_test(test_reuse_of_a_dead_session),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
