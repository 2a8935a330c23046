/* What a server is told of who brought a mail, and what of it when; times and transactions of one
 * server, against scripted ones. */
#include "smtpc/t_smtpc.h"

#define XFORWARD "> 250-XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\n"
#define SENT     MAIL RCPT("x") DATA
#define TAKEN    OK OK GO_ON OK
#define DONE     "0 done 250 final 2.0.0 ok\n"
#define IDENT    "IDENT=S000000000000123401"

static void client(const char *ip, uint16_t port, const char *name, const char *helo,
                   const char *proto)
{
	assert_int_equal(sm_sa_ip(&W.task.client, sm_str(ip), port), 0);
	W.task.client_name = sm_str(name);
	W.task.helo = sm_str(helo);
	W.task.proto = sm_str(proto);
}

static void begin1(const char *script)
{
	t_begin1(script);
	W.sc.server_text = SM_STR("xforward = on;");
	client("192.0.2.7", 40000, "client.example", "helo.example", "ESMTPS");
}

static void test_all(void **state)
{
	(void)state;
	begin1(OFFERS(
	    XFORWARD) "< XFORWARD NAME=client.example ADDR=192.0.2.7 PORT=40000 PROTO=ESMTPS "
	              "HELO=helo.example " IDENT " SOURCE=REMOTE\n" OK SENT TAKEN);
	t_run(DONE);
	assert_true(W.kept);
	t_end();
}

/* Only what it wants to know. */
static void test_some(void **state)
{
	(void)state;
	begin1(OFFERS(
	    "> 250-XFORWARD ADDR FUTURE SOURCE\n") "< XFORWARD ADDR=192.0.2.7 SOURCE=REMOTE\n" OK
	           SENT TAKEN);
	t_run(DONE);
	t_end();
	begin1(OFFERS("> 250-XFORWARD\n") SENT TAKEN);
	t_run(DONE);
	t_end();
}

/* Nobody else hears of it, whatever they offer. */
static void test_nobody_else(void **state)
{
	(void)state;
	begin1(OFFERS(XFORWARD) SENT TAKEN);
	W.sc.server_text = SM_STR("");
	t_run(DONE);
	t_end();
	begin1(PIPE SENT TAKEN);
	t_run(DONE);
	t_end();
}

static void test_values(void **state)
{
	static const struct {
		const char *ip, *name, *helo, *said;
	} rows[] = {
	    {"2001:db8::1", "", "",
	     "NAME=[UNAVAILABLE] ADDR=IPv6:2001:db8::1 PORT=[UNAVAILABLE] PROTO=SMTP "
	     "HELO=[UNAVAILABLE] " IDENT " SOURCE=REMOTE"},
	    {"127.0.0.1", "localhost", "a b+c=d\r\nQUIT \xc3\xbc",
	     "NAME=localhost ADDR=127.0.0.1 PORT=[UNAVAILABLE] PROTO=SMTP "
	     "HELO=a+20b+2Bc+3Dd+0D+0AQUIT+20+C3+BC " IDENT " SOURCE=LOCAL"},
	};
	char script[1000];

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		snprintf(script, sizeof(script), OFFERS(XFORWARD) "< XFORWARD %s\n" OK SENT TAKEN,
		         rows[i].said);
		begin1(script);
		client(rows[i].ip, 0, rows[i].name, rows[i].helo, "SMTP");
		t_run(DONE);
		t_end();
	}
}

/* No line is too long, and no value. */
static void test_long(void **state)
{
	char name[257], helo[513], script[2000], spaces[300];

	(void)state;
	memset(name, 'n', 256);
	memset(helo, ' ', 512);
	name[256] = helo[512] = '\0';
	for (int i = 0; i < 255; i += 3)
		memcpy(spaces + i, "+20", 4);
	snprintf(script, sizeof(script),
	         OFFERS(XFORWARD) "< XFORWARD NAME=%.255s ADDR=192.0.2.7 PORT=1 PROTO=ESMTP\n"
	                          "< XFORWARD HELO=%s " IDENT " SOURCE=REMOTE\n" OK OK SENT TAKEN,
	         name, spaces);
	begin1(script);
	client("192.0.2.7", 1, name, helo, "ESMTP");
	t_run(DONE);
	t_end();
}

/* What we say ourselves is of this host, and who brought the original is not told with it. */
static void test_dsn(void **state)
{
	static struct sm_msg_dsn_rcpt failed;

	(void)state;
	begin1(
	    OFFERS(XFORWARD) "< XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] PORT=[UNAVAILABLE] "
			     "PROTO=[UNAVAILABLE] HELO=[UNAVAILABLE] " IDENT " SOURCE=LOCAL\n" OK
			     "< MAIL FROM:<>\n< RCPT TO:<x@b.example>\n< DATA\n" TAKEN);
	failed = (struct sm_msg_dsn_rcpt){.addr = SM_STR("y@c.example"),
	                                  .action = SM_DSN_FAILED,
	                                  .code = 550,
	                                  .text = SM_STR("5.1.1 no"),
	                                  .orcpt = SM_STR(""),
	                                  .host = SM_STR("")};
	W.task.sender = SM_STR("");
	W.task.dsn_kind = SM_DSN_FAILED;
	W.task.dsn_of = W.task.content;
	W.task.dsn_sender = SM_STR("x@b.example");
	W.task.dsn_rcpts_count = 1;
	W.task.dsn_rcpts = &failed;
	t_run(DONE);
	t_end();
	/* A mail without client, as one that an older qmgr has kept. */
	begin1(OFFERS(
	    "> 250-XFORWARD NAME ADDR SOURCE\n") "< XFORWARD NAME=[UNAVAILABLE] ADDR=[UNAVAILABLE] "
	                                         "SOURCE=LOCAL\n" OK SENT TAKEN);
	W.task.client = (struct sm_sa){.len = 0};
	W.task.client_name = SM_STR("");
	t_run(DONE);
	t_end();
}

/* A server forgets it with each mail; one that does not want it gets the mail all the same. */
static void test_each_mail(void **state)
{
	(void)state;
	begin1(OFFERS(
	    "> 250-XFORWARD ADDR\n") "< XFORWARD ADDR=192.0.2.7\n" OK SENT TAKEN
	                             "< XFORWARD ADDR=192.0.2.7\n> 550 5.7.0 not you\n" SENT TAKEN);
	W.tasks = 2;
	t_run(DONE DONE);
	t_end();
}

static void test_lost(void **state)
{
	(void)state;
	begin1(OFFERS("> 250-XFORWARD ADDR\n") "< XFORWARD ADDR=192.0.2.7\n> 421 4.3.2 later\nx\n");
	t_run("0 temp 421 mail 4.3.2 later\n");
	t_end();
	begin1(OFFERS("> 250-XFORWARD ADDR\n") "< XFORWARD ADDR=192.0.2.7\n" OK OK "w\n");
	t_run("0 temp 0 mail 4.5.0 server sent more than it was asked for\n");
	t_end();
}

/* ---- what else is said of one server ---- */

static void test_max_transactions(void **state)
{
	(void)state;
	begin1(PIPE SENT TAKEN SENT TAKEN "< QUIT\n> 221 bye\n---\n" PIPE SENT TAKEN);
	W.sc.server_text = SM_STR("max_transactions = 2;");
	W.tasks = 3;
	t_run(DONE DONE DONE);
	assert_int_equal(W.host[0].connections, 2);
	t_end();
}

static void test_timeouts(void **state)
{
	static const struct {
		const char *text, *script, *result;
	} rows[] = {
	    {"timeouts { data_final = 1s; }", PIPE SENT OK OK "> 354 go\n.\nw\n",
	     "0 temp 0 final 4.4.2 "},
	    {"timeouts { mail = 1s; }", PIPE SENT "w\n", "0 temp 0 mail 4.4.2 "},
	    {"timeouts { greeting = 1s; }", "w\n", "0 temp 0 greeting 4.4.2 "},
	    {"timeouts { helo = 1s; }", "> 220 x\n< EHLO client.example\nw\n",
	     "0 temp 0 hello 4.4.2 "},
	};
	char result[200];

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		begin1(rows[i].script);
		W.sc.server_text = sm_str(rows[i].text);
		snprintf(result, sizeof(result), "%sread: deadline passed\n", rows[i].result);
		t_run(result);
		t_end();
	}
}

/* ---- a line that is dialled ---- */

/* It is up a while after somebody wanted it. */
static void dial_up(void *arg)
{
	struct t_host *h = arg;
	int fd;

	assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 300), 0);
	fd = sm_net_listen(&h->sa, 10, 0);
	assert_true(fd >= 0);
	assert_int_equal(sm_fd_open_exclusive(&h->listener, fd, NULL, NULL), 0);
	t_server(h);
}

static void test_dial(void **state)
{
	static const char *const down[] = {NULL, PIPE SENT TAKEN};
	int64_t began_ms;

	(void)state;
	for (int dials = 0; dials <= 1; dials++) {
		t_begin(1, down);
		t_rcpt("x@b.example");
		W.host[0].script = PIPE SENT TAKEN;
		if (dials)
			W.sc.server_text = SM_STR("dial_delay = 1s;");
		began_ms = sm_now_ms();
		if (dials) {
			t_spawn(dial_up, &W.host[0]);
			t_run(DONE);
			assert_int_equal(W.host[0].connections, 1);
			assert_true(sm_now_ms() - began_ms >= 1000);
		} else {
			t_spawn(t_driver, NULL);
			t_run_all();
			assert_int_equal(strncmp(W.results, "0 temp 0 connect ", 17), 0);
		}
		t_end();
	}
	/* Nobody is there the second time either: the next host has its turn. */
	t_begin(2, down);
	t_rcpt("x@b.example");
	W.sc.server_text = SM_STR("dial_delay = 1s;");
	began_ms = sm_now_ms();
	t_run(DONE);
	assert_true(sm_now_ms() - began_ms >= 1000);
	t_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_all),
	    cmocka_unit_test(test_some),
	    cmocka_unit_test(test_nobody_else),
	    cmocka_unit_test(test_values),
	    cmocka_unit_test(test_long),
	    cmocka_unit_test(test_dsn),
	    cmocka_unit_test(test_each_mail),
	    cmocka_unit_test(test_lost),
	    cmocka_unit_test(test_max_transactions),
	    cmocka_unit_test(test_timeouts),
	    cmocka_unit_test(test_dial),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
