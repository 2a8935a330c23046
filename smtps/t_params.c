/* Unit tests of params.c and conf.c: parameters of MAIL and RCPT, domains of -T. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/msg.h"
#include "libsm/net.h"
#include "smtps/params.h"

static const struct ss_conf conf = {.flags = SS_F_8BITMIME | SS_F_CHUNKING | SS_F_BINARYMIME |
                                             SS_F_SMTPUTF8,
                                    .max_message_bytes = 1000};

static void test_mail(void **state)
{
	static const struct {
		const char *text;
		enum ss_reply_name r;
	} rows[] = {
	    {"", SS_R_NONE},
	    {" SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=a+2Bb", SS_R_NONE},
	    {" size=0 body=7bit ret=full", SS_R_NONE},
	    {" SIZE=1001", SS_R_SIZE_TOO_BIG},
	    {" SIZE=18446744073709551616", SS_R_SIZE_TOO_BIG},
	    {" SIZE=99999999999999999999999999999999", SS_R_SIZE_TOO_BIG},
	    {" SIZE=-1", SS_R_BAD_PARAM},
	    {" SIZE=+1", SS_R_BAD_PARAM},
	    {" SIZE=1 SIZE=2", SS_R_BAD_PARAM},
	    {" SIZE=", SS_R_BAD_PARAM},
	    {" SIZE", SS_R_BAD_PARAM},
	    {" SIZE=0x10", SS_R_BAD_PARAM},
	    {" BODY=9BIT", SS_R_BAD_PARAM},
	    {" BODY", SS_R_BAD_PARAM},
	    {" BODY=7BIT BODY=7BIT", SS_R_BAD_PARAM},
	    {" RET=ALL", SS_R_BAD_PARAM},
	    {" RET=FULL RET=HDRS", SS_R_BAD_PARAM},
	    {" ENVID=x+0D+0Ay", SS_R_BAD_PARAM},
	    {" ENVID", SS_R_BAD_PARAM},
	    {" AUTH=+0Aevil", SS_R_BAD_PARAM},
	    {" AUTH=a+00b", SS_R_BAD_PARAM},
	    {" AUTH=<>", SS_R_UNKNOWN_PARAM},
	    {" smtputf8 BODY=binarymime", SS_R_NONE},
	    {" SMTPUTF8=", SS_R_BAD_PARAM},
	    {" SMTPUTF8=1", SS_R_BAD_PARAM},
	    {" SMTPUTF8 SMTPUTF8", SS_R_BAD_PARAM},
	    {" ENVID=\xc3\xbc", SS_R_BAD_PARAM},
	    {" SIZE=\xd9\xa5", SS_R_BAD_PARAM},
	    {" BODY=\xc3\xbc", SS_R_BAD_PARAM},
	    {" FOO=BAR", SS_R_UNKNOWN_PARAM},
	    {"SIZE=1", SS_R_BAD_PARAM},
	    {" =", SS_R_BAD_PARAM},
	};
	struct ss_mail_params p;
	struct sm_arena a;
	struct sm_str what;
	(void)state;

	sm_arena_init(&a, "test", 1024, 65536);
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		enum ss_reply_name r = ss_mail_params(sm_str(rows[i].text), &conf, &a, &p, &what);
		if (r != rows[i].r)
			fail_msg("'%s' gives %d", rows[i].text, r);
	}
	assert_int_equal(ss_mail_params(sm_str(rows[1].text), &conf, &a, &p, &what), SS_R_NONE);
	assert_int_equal(p.size, 1000);
	assert_int_equal(p.body, SM_BODY_8BITMIME);
	assert_int_equal(p.ret, SM_RET_HDRS);
	assert_true(sm_str_eq(p.envid, SM_STR("a+2Bb")));
	assert_false(p.utf8);
	assert_int_equal(ss_mail_params(SM_STR(" SMTPUTF8 BODY=BINARYMIME"), &conf, &a, &p, &what),
	                 SS_R_NONE);
	assert_true(p.utf8);
	assert_int_equal(p.body, SM_BODY_BINARYMIME);
	/* Not offered: not known. */
	struct ss_conf seven = conf;
	seven.flags &= ~(uint32_t)SS_F_8BITMIME;
	assert_int_equal(ss_mail_params(SM_STR(" BODY=7BIT"), &seven, &a, &p, &what),
	                 SS_R_UNKNOWN_PARAM);
	assert_int_equal(ss_mail_params(SM_STR(" SMTPUTF8"), &seven, &a, &p, &what),
	                 SS_R_UNKNOWN_PARAM);
	seven.flags = SS_F_8BITMIME | SS_F_BINARYMIME; /* without CHUNKING */
	assert_int_equal(ss_mail_params(SM_STR(" BODY=BINARYMIME"), &seven, &a, &p, &what),
	                 SS_R_BAD_PARAM);
	assert_int_equal(ss_mail_params(SM_STR(" SMTPUTF8"), &seven, &a, &p, &what),
	                 SS_R_UNKNOWN_PARAM);
	sm_arena_fini(&a);
}

/* What a server that never heard of it says. */
static void test_hidden(void **state)
{
	static const struct {
		const char *text;
		uint32_t extension;
	} mail[] =
	    {
		{" SIZE=1", SS_X_SIZE},       {" BODY=8BITMIME", SS_X_8BITMIME},
		{" SMTPUTF8", SS_X_SMTPUTF8}, {" RET=HDRS", SS_X_DSN},
		{" ENVID=a", SS_X_DSN},
	    },
	  rcpt[] = {{" NOTIFY=NEVER", SS_X_DSN}, {" ORCPT=rfc822;a@b", SS_X_DSN}};
	struct ss_mail_params p;
	struct ss_rcpt_params r;
	struct ss_conf c = conf;
	struct sm_str what;
	struct sm_arena a;
	(void)state;

	sm_arena_init(&a, "test", 1024, 65536);
	for (size_t i = 0; i < SM_ARRAY_SIZE(mail); i++) {
		c.hidden = ~mail[i].extension & ~(uint32_t)SS_X_8BITMIME;
		assert_int_equal(ss_mail_params(sm_str(mail[i].text), &c, &a, &p, &what),
		                 SS_R_NONE);
		c.hidden = mail[i].extension;
		assert_int_equal(ss_mail_params(sm_str(mail[i].text), &c, &a, &p, &what),
		                 SS_R_UNKNOWN_PARAM);
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(rcpt); i++) {
		c.hidden = ~rcpt[i].extension;
		assert_int_equal(ss_rcpt_params(sm_str(rcpt[i].text), &c, false, &a, &r, &what),
		                 SS_R_NONE);
		c.hidden = rcpt[i].extension;
		assert_int_equal(ss_rcpt_params(sm_str(rcpt[i].text), &c, false, &a, &r, &what),
		                 SS_R_UNKNOWN_PARAM);
	}
	c.hidden = SS_X_8BITMIME;
	assert_int_equal(ss_mail_params(SM_STR(" SMTPUTF8"), &c, &a, &p, &what),
	                 SS_R_UNKNOWN_PARAM);
	/* Binary content is no value of BODY without its extension, or without CHUNKING. */
	for (uint32_t x = SS_X_CHUNKING; x <= SS_X_BINARYMIME; x *= 2) {
		c.hidden = x;
		assert_int_equal(ss_mail_params(SM_STR(" BODY=BINARYMIME"), &c, &a, &p, &what),
		                 SS_R_BAD_PARAM);
	}
	sm_arena_fini(&a);
}

static void test_plain_replies(void **state)
{
	static const struct {
		int code;
		const char *text, *plain;
	} rows[] = {
	    {250, "2.1.0 Sender ok", "Sender ok"},
	    {550, "5.7.1 one\n5.7.1 two\nthree", "one\ntwo\nthree"},
	    {250, "mx.example 2.0.0 hello\nSIZE 1", "mx.example 2.0.0 hello\nSIZE 1"},
	    {450, "5.7.1 of another class", "5.7.1 of another class"},
	};
	struct sm_buf b;
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		sm_buf_init(&b, 1000);
		ss_reply_plain(rows[i].code, sm_str(rows[i].text), &b);
		assert_true(sm_str_eq(sm_buf_view(&b), sm_str(rows[i].plain)));
		sm_buf_fini(&b);
	}
}

static void test_rcpt(void **state)
{
	static const struct {
		const char *text;
		enum ss_reply_name r;
		int notify;
	} rows[] = {
	    {"", SS_R_NONE, 0},
	    {" NOTIFY=NEVER", SS_R_NONE, SM_NOTIFY_NEVER},
	    {" notify=success,Failure,DELAY ORCPT=rfc822;a+2Bb@c", SS_R_NONE,
	     SM_NOTIFY_SUCCESS | SM_NOTIFY_FAILURE | SM_NOTIFY_DELAY},
	    {" NOTIFY=NEVER,DELAY", SS_R_BAD_PARAM, 0},
	    {" NOTIFY=DELAY,DELAY", SS_R_BAD_PARAM, 0},
	    {" NOTIFY=", SS_R_BAD_PARAM, 0},
	    {" NOTIFY", SS_R_BAD_PARAM, 0},
	    {" NOTIFY=DELAY,", SS_R_BAD_PARAM, 0},
	    {" NOTIFY=DELAY NOTIFY=DELAY", SS_R_BAD_PARAM, 0},
	    {" ORCPT=a@b", SS_R_BAD_PARAM, 0},
	    {" ORCPT=;a@b", SS_R_BAD_PARAM, 0},
	    {" ORCPT=rfc822;", SS_R_BAD_PARAM, 0},
	    {" ORCPT=rfc822;a+0AX", SS_R_BAD_PARAM, 0},
	    {" ORCPT=rfc822;a+0aX", SS_R_BAD_PARAM, 0},
	    {" ORCPT=rfc_822;a", SS_R_BAD_PARAM, 0},
	    {" SIZE=1", SS_R_UNKNOWN_PARAM, 0},
	    {" ORCPT=utf-8;j\\x{F6}rg@x", SS_R_NONE, 0},
	    {" ORCPT=UTF-8;j\xc3\xb6rg@x", SS_R_NONE, 0},
	    {" ORCPT=rfc822;j+C3+B6rg@x", SS_R_NONE, 0}, /* so says Postfix */
	    {" ORCPT=rfc822;j+E9rg@x", SS_R_BAD_PARAM, 0},
	    {" ORCPT=rfc822;j+C2+85@x", SS_R_BAD_PARAM, 0},
	    {" ORCPT=rfc822;j+C3+B6+0A@x", SS_R_BAD_PARAM, 0},
	    {" ORCPT=utf-8;", SS_R_BAD_PARAM, 0},
	    {" ORCPT=utf-8;j\\x{0A}", SS_R_BAD_PARAM, 0},
	    {" ORCPT=utf-8;j\xe9rg@x", SS_R_BAD_PARAM, 0},
	    {" ORCPT=rfc822;j\xc3\xb6rg@x", SS_R_BAD_PARAM, 0},
	};
	struct ss_rcpt_params p;
	struct sm_arena a;
	struct sm_str what;
	(void)state;

	sm_arena_init(&a, "test", 1024, 65536);
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		enum ss_reply_name r =
		    ss_rcpt_params(sm_str(rows[i].text), &conf, true, &a, &p, &what);
		if (r != rows[i].r)
			fail_msg("'%s' gives %d", rows[i].text, r);
		if (r == SS_R_NONE)
			assert_int_equal(p.notify, rows[i].notify);
	}
	assert_int_equal(
	    ss_rcpt_params(SM_STR(" ORCPT=utf-8;j\xc3\xb6rg@x"), &conf, false, &a, &p, &what),
	    SS_R_BAD_PARAM);
	assert_int_equal(
	    ss_rcpt_params(SM_STR(" ORCPT=utf-8;j\\x{F6}rg@x"), &conf, false, &a, &p, &what),
	    SS_R_NONE);
	assert_int_equal(
	    ss_rcpt_params(SM_STR(" ORCPT=rfc822;j+C3+B6rg@x"), &conf, false, &a, &p, &what),
	    SS_R_BAD_PARAM);
	sm_arena_fini(&a);
}

static void test_domains(void **state)
{
	struct sm_str v[] = {SM_STR("example.org"), SM_STR(".sub.test")};
	struct sm_conf_list l = {2, v};
	(void)state;

	assert_true(ss_conf_domain_in(&l, SM_STR("Example.ORG")));
	assert_false(ss_conf_domain_in(&l, SM_STR("a.example.org")));
	assert_false(ss_conf_domain_in(&l, SM_STR("xexample.org")));
	assert_true(ss_conf_domain_in(&l, SM_STR("a.b.sub.test")));
	assert_false(ss_conf_domain_in(&l, SM_STR("sub.test")));
	assert_false(ss_conf_domain_in(&l, SM_STR(".sub.test")));
	assert_false(ss_conf_domain_in(&l, SM_STR("xsub.test")));
	assert_false(ss_conf_domain_in(&l, SM_STR("")));
	/* By A-labels, whoever wrote it how. */
	struct sm_str w[] = {SM_STR("b\xc3\xbc"
	                            "cher.test"),
	                     SM_STR(".xn--fsqu00a.test"), SM_STR("\xff")};
	struct sm_conf_list u = {3, w};
	assert_true(ss_conf_domain_in(&u, SM_STR("xn--bcher-kva.test")));
	assert_true(ss_conf_domain_in(&u, SM_STR("B\xc3\x9c"
	                                         "CHER.test")));
	assert_true(ss_conf_domain_in(&u, SM_STR("a.\xe4\xbe\x8b\xe5\xad\x90.test")));
	assert_false(ss_conf_domain_in(&u, SM_STR("bucher.test")));
	assert_false(ss_conf_domain_in(&u, SM_STR("\xff")));
}

/* Every limit has a finite default within its own bounds. */
static void test_defaults(void **state)
{
	struct ss_conf c;
	struct sm_arena a;
	(void)state;

	sm_arena_init(&a, "test", 1024, 65536);
	sm_conf_defaults(ss_conf_opts, &c, &a);
	assert_int_equal(ss_conf_check(&c), 0);
	for (const struct sm_opt *o = ss_conf_opts; o->name != NULL; o++) {
		assert_non_null(o->help);
		if (o->type == SM_OPT_INT || o->type == SM_OPT_TIME || o->type == SM_OPT_SIZE) {
			int64_t v;
			memcpy(&v, (char *)&c + o->offset, sizeof(v));
			if (v < o->min || v > o->max)
				fail_msg("default of %s", o->name);
		}
	}
	assert_true(c.flags == (SS_F_8BITMIME | SS_F_CHUNKING | SS_F_SMTPUTF8));
	sm_arena_fini(&a);
}

static void test_listen_address(void **state)
{
	struct sm_sa sa;
	(void)state;

	assert_int_equal(ss_conf_listen_address(SM_STR("127.0.0.1:25"), &sa), 0);
	assert_int_equal(sm_sa_port(&sa), 25);
	assert_int_equal(ss_conf_listen_address(SM_STR("[::1]:2525"), &sa), 0);
	assert_int_equal(ss_conf_listen_address(SM_STR("unix:/tmp/x"), &sa), 0);
	assert_true(ss_conf_listen_address(SM_STR("127.0.0.1"), &sa) < 0);
	assert_true(ss_conf_listen_address(SM_STR("127.0.0.1:65536"), &sa) < 0);
	assert_true(ss_conf_listen_address(SM_STR("host:25"), &sa) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_mail),           cmocka_unit_test(test_rcpt),
	    cmocka_unit_test(test_hidden),         cmocka_unit_test(test_plain_replies),
	    cmocka_unit_test(test_domains),        cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_listen_address),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
