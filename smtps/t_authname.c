/* The user's name in responses: of honest clients, and of others. Also what the options may be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/err.h"
#include "smtps/auth_conf.h"
#include "smtps/authname.h"

static void expect(const char *mech, unsigned step, struct sm_str response, const char *want)
{
	char out[32];
	struct sm_str name =
	    ss_auth_name(sm_str(mech), step, response, SM_STR("mx.test"), out, sizeof(out));

	if (!sm_str_eq(name, sm_str(want)))
		fail_msg("%s: \"%.*s\", not \"%s\"", mech, SM_STR_ARG(name), want);
}

static void names(void **state)
{
	static const struct {
		const char *mech;
		struct sm_str response;
		const char *want;
	} rows[] = {
	    {"PLAIN", SM_STR("\0Bob\0secret"), "bob"},
	    {"PLAIN", SM_STR("boss\0bob@MX.test\0secret"), "bob"},
	    {"PLAIN", SM_STR("\0bob@other.test\0secret"), "bob@other.test"},
	    {"PLAIN", SM_STR("\0@mx.test\0secret"), "@mx.test"},
	    {"PLAIN", SM_STR("bob"), ""},
	    {"PLAIN", SM_STR("\0bob"), "bob"},
	    {"PLAIN", SM_STR("\0\0\0"), ""},
	    {"PLAIN", SM_STR(""), ""},
	    {"LOGIN", SM_STR(" Bob\t"), "bob"},
	    {"LOGIN", SM_STR("0123456789012345678901234567890123456789"),
	     "01234567890123456789012345678901"},
	    {"CRAM-MD5", SM_STR("tim tom b913a602c7eda7a495b4e6e7334d3890"), "tim tom"},
	    {"CRAM-MD5", SM_STR("b913a602c7eda7a495b4e6e7334d3890"), ""},
	    {"CRAM-MD5", SM_STR(" "), ""},
	    {"DIGEST-MD5", SM_STR("charset=utf-8,username=\"chris\",realm=\"e\""), "chris"},
	    {"DIGEST-MD5", SM_STR("realm=\"a,username=eve\",username=\"b\\\"b\""), "b\\\"b"},
	    {"DIGEST-MD5", SM_STR("nonce=1, UserName=bob,x=y"), "bob"},
	    {"DIGEST-MD5", SM_STR("username=\"bob"), "bob"},
	    {"DIGEST-MD5", SM_STR("username="), ""},
	    {"DIGEST-MD5", SM_STR("username=\""), ""},
	    {"DIGEST-MD5", SM_STR("username=\"x\\"), "x\\"},
	    {"DIGEST-MD5", SM_STR("xusername=bob"), ""},
	    {"DIGEST-MD5", SM_STR("a=\"\\"), ""},
	    {"SCRAM-SHA-1", SM_STR("n,,n=User,r=fyko"), "user"},
	    {"SCRAM-SHA-256", SM_STR("y,a=boss,n=user,r=1"), "user"},
	    {"SCRAM-SHA-1", SM_STR("n,n=user,r=1"), ""},
	    {"SCRAM-SHA-1", SM_STR("n,,m=x,n=user"), ""},
	    {"SCRAM-SHA-1", SM_STR(","), ""},
	    {"XOAUTH2", SM_STR("user=bob@b.test\001auth=Bearer x\001\001"), "bob@b.test"},
	    {"GSSAPI", SM_STR("\0bob\0x"), ""},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++)
		expect(rows[i].mech, 0, rows[i].response, rows[i].want);
	expect("LOGIN", 1, SM_STR("my password"), ""); /* the second response is none */
	expect("SCRAM-SHA-1", 1, SM_STR("n,,n=user,r=1"), "");
	expect("PLAIN", 0, SM_STR_NONE, "");
}

static void mechanisms(void **state)
{
	struct sm_str list[] = {SM_STR("PLAIN"), SM_STR("cram-md5")};
	struct sm_conf_list l = {2, list};

	(void)state;
	assert_true(ss_auth_mech_valid(SM_STR("SCRAM-SHA-256")));
	assert_true(ss_auth_mech_valid(SM_STR("KERBEROS_V4")));
	assert_true(ss_auth_mech_valid(SM_STR("12345678901234567890")));
	assert_false(ss_auth_mech_valid(SM_STR("123456789012345678901")));
	assert_false(ss_auth_mech_valid(SM_STR("")));
	assert_false(ss_auth_mech_valid(SM_STR("PLAIN\n")));
	assert_false(ss_auth_mech_valid(SM_STR("A B")));
	assert_true(ss_auth_mech_in(&l, SM_STR("CRAM-MD5")));
	assert_true(ss_auth_mech_in(&l, SM_STR("plain")));
	assert_false(ss_auth_mech_in(&l, SM_STR("PLAI")));
}

static void options(void **state)
{
	struct sm_str trusted[] = {SM_STR("GSSAPI")}, bad[] = {SM_STR("A B")};
	struct ss_auth_conf c;
	struct sm_arena a;

	(void)state;
	sm_arena_init(&a, "options", 1024, 65536);
	sm_conf_defaults(ss_auth_opts, &c, &a);
	assert_false(ss_auth_configured(&c)); /* without the section */
	c.trusted = (struct sm_conf_list){1, trusted};
	assert_int_equal(ss_auth_conf_check(&c, 1), 0);
	c.service = SM_STR("smtp");
	assert_int_equal(ss_auth_conf_check(&c, 16), SM_E_SYNTAX); /* not offered */
	c.trusted = (struct sm_conf_list){1, bad};
	assert_int_equal(ss_auth_conf_check(&c, 16), SM_E_SYNTAX);
	c.trusted.count = 0;
	assert_int_equal(ss_auth_conf_check(&c, 16), 0);
	assert_int_equal(ss_auth_conf_check(&c, c.max_checks), SM_E_RANGE);
	c.max_delay_ms = c.delay_ms - 1;
	assert_int_equal(ss_auth_conf_check(&c, 16), SM_E_RANGE);
	sm_arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(names),
	    cmocka_unit_test(mechanisms),
	    cmocka_unit_test(options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
