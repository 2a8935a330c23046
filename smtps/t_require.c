/* What a session needs for MAIL, and what a session's own configuration may change. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/arena.h"
#include "libsm/err.h"
#include "smtps/qualify.h"
#include "smtps/require.h"

static struct sm_arena arena;
static struct ss_conf base;

static int needs(const char *conf, const struct ss_safety *is)
{
	struct ss_conf c;
	enum ss_reply_name r;

	if (ss_conf_for_session(&base, sm_str(conf), &arena, &c) != 0)
		fail_msg("%s", sm_diag());
	r = ss_require(&c, is);
	return r == SS_R_NONE ? 0 : ss_reply_code(r);
}

static const struct ss_safety nobody, tls = {.encrypted = true, .bits = 128},
				      cert = {.encrypted = true,
                                              .bits = 256,
                                              .verified = true,
                                              .issuer = SM_STR("/CN=CA"),
                                              .subject = SM_STR("/CN=mx+20one.example"),
                                              .name = SM_STR("mx.one.example")};

static void test_submission(void **state)
{
	static const char on[] = "flags = { submission };";
	struct ss_safety is = nobody;
	(void)state;

	assert_int_equal(needs("", &nobody), 0);
	assert_int_equal(needs(on, &nobody), 530);
	assert_int_equal(needs(on, &tls), 530);
	assert_int_equal(needs(on, &cert), 0);
	is.may_relay = true;
	assert_int_equal(needs(on, &is), 0);
	is = (struct ss_safety){.authenticated = true};
	assert_int_equal(needs(on, &is), 0);
}

static void test_tls(void **state)
{
	(void)state;
	assert_int_equal(needs("require_tls { level = encrypted; }", &nobody), 530);
	assert_int_equal(needs("require_tls { level = encrypted; }", &tls), 0);
	assert_int_equal(needs("require_tls { min_bits = 128; }", &nobody), 530);
	assert_int_equal(needs("require_tls { min_bits = 128; }", &tls), 0);
	assert_int_equal(needs("require_tls { min_bits = 129; }", &tls), 550);
	assert_int_equal(needs("require_tls { level = verified; }", &tls), 550);
	assert_int_equal(needs("require_tls { level = verified; }", &cert), 0);
	assert_int_equal(needs("require_tls { issuer = \"/cn=ca\"; }", &cert), 0);
	assert_int_equal(needs("require_tls { issuer = \"/CN=other\"; }", &cert), 550);
	assert_int_equal(needs("require_tls { subject = \"/CN=mx+20one.example\"; }", &cert), 0);
	assert_int_equal(needs("require_tls { subject = \"/CN=mx\"; }", &cert), 550);
	assert_int_equal(needs("require_tls { name = \"*.one.example\"; }", &cert), 0);
	assert_int_equal(needs("require_tls { name = \"*.example\"; }", &cert), 550);
	assert_int_equal(needs("require_tls { name = mx.one.example; }", &tls), 550);
	/* A name that nobody vouches for is none. */
	assert_int_equal(needs("require_tls { name = mx.one.example; }",
	                       &(struct ss_safety){.encrypted = true, .name = cert.name}),
	                 550);
}

static void test_violation(void **state)
{
	(void)state;
	assert_int_equal(
	    needs("require_tls { level = encrypted; violation = temporary; }", &nobody), 450);
	assert_int_equal(needs("require_tls { level = encrypted; violation = abort; }", &nobody),
	                 421);
	assert_int_equal(needs("require_tls { level = verified; violation = temporary; }", &tls),
	                 450);
	assert_int_equal(needs("require_tls { level = verified; violation = abort; }", &tls), 421);
	assert_int_equal(needs("require_tls { min_bits = 200; violation = temporary; }", &tls),
	                 450);
	assert_int_equal(needs("require_tls { min_bits = 200; violation = abort; }", &tls), 421);
}

static void refused(const char *conf, int err, const char *why)
{
	struct ss_conf c;

	assert_int_equal(ss_conf_for_session(&base, sm_str(conf), &arena, &c), err);
	if (strstr(sm_diag(), why) == NULL)
		fail_msg("%s", sm_diag());
}

static void test_session(void **state)
{
	struct ss_conf c;
	char text[8192];
	int n = 0;
	(void)state;

	assert_int_equal(
	    ss_conf_for_session(&base, SM_STR("max_hops = 3; flags = { no_8bitmime, access };"),
	                        &arena, &c),
	    0);
	assert_int_equal(c.max_hops, 3);
	assert_int_equal(c.flags, (base.flags & ~(uint32_t)SS_F_8BITMIME) | SS_F_ACCESS);
	assert_true(base.flags & SS_F_8BITMIME);
	assert_int_equal(c.io_timeout_ms, base.io_timeout_ms);

	/* What may differ is marked in the table, and nothing else may. */
	refused("max_threads = 3;", SM_E_DENIED, "smtps_session_conf:1: max_threads cannot differ");
	refused("id = 3;", SM_E_DENIED, "id cannot differ");
	refused("proxy { from = { 10.0.0.1 }; }", SM_E_DENIED, "from cannot differ");
	refused("xclient { flags = { login }; }", SM_E_DENIED, "flags cannot differ");
	refused("listen = { 127.0.0.1:25 };", SM_E_DENIED, "listen cannot differ");
	refused("max_hop = 3;", SM_E_NOTFOUND, "did you mean max_hops");
	refused("qmgr { }", SM_E_NOTFOUND, "unknown section qmgr");
	refused("max_hops = 0;", SM_E_RANGE, "out of range");
	refused("max_hops = ;", SM_E_SYNTAX, "smtps_session_conf:1: ");
	refused("max_hops = 3", SM_E_SYNTAX, "missing");
	refused("relay_to = { \"a b\" };", SM_E_SYNTAX, "is no domain");
	refused("max_message_size = 1GB;", SM_E_RANGE, "larger than that of the server");
	refused("protected_recipients { match_type = generic_lookup; }", SM_E_SYNTAX, "allow_by");

	/* Longer than a line of anything. */
	for (int i = 0; i < 300; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "max_hops = %d; ", i + 1);
	assert_true(n > 4000);
	assert_int_equal(ss_conf_for_session(&base, sm_str(text), &arena, &c), 0);
	assert_int_equal(c.max_hops, 300);
}

static void qualified(const char *in, const char *want)
{
	struct sm_addr addr;
	struct sm_str rest;

	assert_int_equal(
	    sm_addr_path(sm_str(in), SM_ADDR_NULL_OK | SM_ADDR_NO_DOMAIN_OK, &arena, &addr, &rest),
	    0);
	assert_int_equal(ss_qualify(&base, SM_STR("mx.test"), &arena, &addr), 0);
	if (!sm_str_eq(addr.mailbox, sm_str(want)))
		fail_msg("%s became " SM_STR_FMT, in, SM_STR_ARG(addr.mailbox));
}

static void test_qualify(void **state)
{
	(void)state;
	assert_int_equal(ss_qualify_flags(&base), 0);
	qualified("<user>", "user@mx.test");
	base.qualify_domain = SM_STR("example.org");
	qualified("<user>", "user@example.org");
	qualified("<\"a b\">", "\"a b\"@example.org");
	qualified("<\"a@b\">", "\"a@b\"@example.org");
	qualified("<user@other.example>", "user@other.example");
	qualified("<Postmaster>", "Postmaster@mx.test");
	qualified("<>", "");
	base.qualify_domain = SM_STR("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_submission), cmocka_unit_test(test_tls),
	    cmocka_unit_test(test_violation),  cmocka_unit_test(test_session),
	    cmocka_unit_test(test_qualify),
	};

	sm_arena_init(&arena, "t", 4096, 1 << 20);
	sm_conf_defaults(ss_conf_opts, &base, &arena);
	int rc = cmocka_run_group_tests(tests, NULL, NULL);
	sm_arena_fini(&arena);
	return rc;
}
