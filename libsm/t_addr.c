/* Unit tests of addr.c: RFC 5321 paths as tables of what is taken, refused, and made canonical. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/addr.h"
#include "libsm/err.h"

#define L16  "0123456789abcdef"
#define L63  L16 L16 L16 "0123456789abcde"
#define L64  L16 L16 L16 L16
#define D127 L63 "." L63

struct row {
	const char *in;
	unsigned flags;
	int err;
	const char *mailbox, *domain, *rest;
};

static const struct row paths[] = {
    {"<a@b>", 0, 0, "a@b", "b", ""},
    {"<a@b> SIZE=1", 0, 0, "a@b", "b", " SIZE=1"},
    {"<A.b@EXAMPLE.Org>", 0, 0, "A.b@example.org", "example.org", ""},
    {"<>", SM_ADDR_NULL_OK, 0, "", "", ""},
    {"<> X", SM_ADDR_NULL_OK, 0, "", "", " X"},
    {"<>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<postmaster>", SM_ADDR_BARE_POSTMASTER_OK, 0, "postmaster", "", ""},
    {"<PostMaster>", SM_ADDR_BARE_POSTMASTER_OK, 0, "PostMaster", "", ""},
    {"<postmaster>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<postmaster2>", SM_ADDR_BARE_POSTMASTER_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<user>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<user@>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<@b>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<", SM_ADDR_NULL_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"a@b", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a@b", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {" <a@b>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a b@c>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a@b c>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a@b@c>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<.a@b>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a.@b>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a..b@c>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a@b\t>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    /* UTF-8 (RFC 6531): as it was given. */
    {"<j\xc3\xb6rg@B\xc3\xbc"
     "cher.TEST> X",
     SM_ADDR_UTF8_OK, 0,
     "j\xc3\xb6rg@b\xc3\xbc"
     "cher.test",
     "b\xc3\xbc"
     "cher.test",
     " X"},
    {"<\"j\xc3\xb6rg m\"@b>", SM_ADDR_UTF8_OK, 0, "\"j\xc3\xb6rg m\"@b", "b", ""},
    {"<\"j\xc3\xb6rg\"@b>", SM_ADDR_UTF8_OK, 0, "j\xc3\xb6rg@b", "b", ""},
    {"<\"\\j\xc3\xb6\"@b>", SM_ADDR_UTF8_OK, 0, "j\xc3\xb6@b", "b", ""},
    {"<@\xc3\xbc.test:a@b>", SM_ADDR_UTF8_OK, 0, "a@b", "b", ""},
    {"<j\xc3\xb6rg@b>", 0, SM_E_NOTSUP, NULL, NULL, NULL},
    {"<a@b\xc3\xbc"
     "cher.test>",
     0, SM_E_NOTSUP, NULL, NULL, NULL},
    {"<\xe9@local.test>", SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<\xc0\xaf@b>", SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<\xed\xa0\x80@b>", SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<\xf4\x90\x80\x80@b>", SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a\xc1\x80"
     "b@c>",
     SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a\xc3@b>", SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a\xc2\x85@b>", SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a@\xe9.test>", SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a@b\xc3\xbc..test>", SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a@b\xc3\xbc.test.>", SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a@x\xef\xbc\xa0"
     "b.test>",
     SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a@x\xef\xbc\x9e"
     "b.test>",
     SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a@[\xc3\xbc]>", SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a@xn--\xc3\xbc.test>", SM_ADDR_UTF8_OK, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<" L16 L16 L16 "0123456789abcd\xc3\xbc@b>", SM_ADDR_UTF8_OK, 0,
     L16 L16 L16 "0123456789abcd\xc3\xbc@b", "b", ""},
    {"<" L64 "\xc3\xbc@b>", SM_ADDR_UTF8_OK, SM_E_TOOBIG, NULL, NULL, NULL},
    /* Only text, wherever it may look like more. */
    {"<!#$%&'*+-/=?^_`{|}~@b>", 0, 0, "!#$%&'*+-/=?^_`{|}~@b", "b", ""},
    {"<v%ext.test@local.test>", 0, 0, "v%ext.test@local.test", "local.test", ""},
    {"<ext.test!v@local.test>", 0, 0, "ext.test!v@local.test", "local.test", ""},
    {"<\"v@ext.test\"@local.test>", 0, 0, "\"v@ext.test\"@local.test", "local.test", ""},
    {"<${run{x}}@localhost>", 0, 0, "${run{x}}@localhost", "localhost", ""},
    {"<%s%n@x>", 0, 0, "%s%n@x", "x", ""},
    {"<|/bin/sh@x>", 0, 0, "|/bin/sh@x", "x", ""},
    {"<|/bin/sh>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<;sleep 9;>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<:include:/etc/passwd@x>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<$(id)@x>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    /* Quotes stay only where they are needed. */
    {"<\"a\"@b>", 0, 0, "a@b", "b", ""},
    {"<\"a.b\"@c>", 0, 0, "a.b@c", "c", ""},
    {"<\"a\\b\"@c>", 0, 0, "ab@c", "c", ""},
    {"<\"a b\"@c>", 0, 0, "\"a b\"@c", "c", ""},
    {"<\"a\\ b\"@c>", 0, 0, "\"a b\"@c", "c", ""},
    {"<\"a..b\"@c>", 0, 0, "\"a..b\"@c", "c", ""},
    {"<\"\"@c>", 0, 0, "\"\"@c", "c", ""},
    {"<\"a\\\"\\\\\"@c>", 0, 0, "\"a\\\"\\\\\"@c", "c", ""},
    {"<\">\"@c> X", 0, 0, "\">\"@c", "c", " X"},
    {"<\"a@c>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<\"a\\\"@c>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<\"a\"b@c>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<a\"b\"@c>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<\"a\tb\"@c>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<\"a\"@evil x\"@internal>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    /* Source routes are checked and dropped. */
    {"<@a.test:u@b>", 0, 0, "u@b", "b", ""},
    {"<@a.test,@c.test:u@b> X", 0, 0, "u@b", "b", " X"},
    {"<@a.test,c.test:u@b>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<@a.test>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<@:u@b>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<@a:>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    /* Domains. */
    {"<u@b.>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<u@.b>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<u@a..b>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<u@-a.b>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<u@a-.b>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<u@a_b.c>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<u@1.2.3.4>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<u@3com.com>", 0, 0, "u@3com.com", "3com.com", ""},
    {"<u@xn--bcher-kva.example>", 0, 0, "u@xn--bcher-kva.example", "xn--bcher-kva.example", ""},
    {"<u@[127.0.0.1]>", 0, 0, "u@[127.0.0.1]", "[127.0.0.1]", ""},
    {"<u@[ipv6:::ABCD]>", 0, 0, "u@[IPv6:::abcd]", "[IPv6:::abcd]", ""},
    {"<u@[256.0.0.1]>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<u@[1.2.3]>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<u@[1.2.3.4>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<u@[1.2.3.4]x>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<u@[]>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<u@[::1]>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    {"<u@[x-tag:1]>", 0, SM_E_SYNTAX, NULL, NULL, NULL},
    /* Limits of 4.5.3.1: nothing is cut, it is refused. */
    {"<" L64 "@b>", 0, 0, L64 "@b", "b", ""},
    {"<" L64 "x@b>", 0, SM_E_TOOBIG, NULL, NULL, NULL},
    {"<\"" L64 "\"@b>", 0, 0, L64 "@b", "b", ""},
    {"<\"" L63 " \"@b>", 0, SM_E_TOOBIG, NULL, NULL, NULL},
    {"<\"" L64 "x\"@b>", 0, SM_E_TOOBIG, NULL, NULL, NULL},
    {"<u@" L63 ".b>", 0, 0, "u@" L63 ".b", L63 ".b", ""},
    {"<u@x" L63 ".b>", 0, SM_E_TOOBIG, NULL, NULL, NULL},
    {"<u@" D127 "." L63 "." L16 L16 L16 "12345678.abc>", 0, 0,
     "u@" D127 "." L63 "." L16 L16 L16 "12345678.abc", NULL, ""}, /* path of 256 */
    {"<u@" D127 "." L63 "." L16 L16 L16 "12345678.abcd>", 0, SM_E_TOOBIG, NULL, NULL, NULL},
    {"<@" D127 ","
     "@" D127 ":u@b>",
     0, SM_E_TOOBIG, NULL, NULL, NULL},
    {"<u@" D127 "." D127 ".a>", 0, SM_E_TOOBIG, NULL, NULL, NULL}, /* domain of 257 */
    /* 8-bit needs SMTPUTF8, good UTF-8 or not. */
    {"<\xe9@local.test>", 0, SM_E_NOTSUP, NULL, NULL, NULL},
    {"<u@b\xc3\xbc.test>", 0, SM_E_NOTSUP, NULL, NULL, NULL},
    {"<\"\xc3\xbc\"@b>", 0, SM_E_NOTSUP, NULL, NULL, NULL},
    {"<a\xc1\x80"
     "b>",
     0, SM_E_NOTSUP, NULL, NULL, NULL},
};

static void check(const struct row *r, int err, const struct sm_addr *got, struct sm_str rest)
{
	if (err != r->err)
		fail_msg("%s: %s (%s), not %s", r->in, sm_strerr(err), sm_diag(),
		         sm_strerr(r->err));
	if (err != 0)
		return;
	if (!sm_str_eq(got->mailbox, sm_str(r->mailbox)))
		fail_msg("%s: mailbox %.*s", r->in, SM_STR_ARG(got->mailbox));
	if (r->domain != NULL && !sm_str_eq(got->domain, sm_str(r->domain)))
		fail_msg("%s: domain %.*s", r->in, SM_STR_ARG(got->domain));
	if (!sm_str_eq(rest, sm_str(r->rest)))
		fail_msg("%s: rest %.*s", r->in, SM_STR_ARG(rest));
	if (got->domain.n > 0) {
		assert_int_equal(got->mailbox.n, got->local.n + 1 + got->domain.n);
		assert_ptr_equal(got->local.p + got->local.n + 1, got->domain.p);
	}
	assert_int_equal(got->literal, got->domain.n > 0 && got->domain.p[0] == '[');
}

static void test_paths(void **state)
{
	struct sm_arena a;
	(void)state;

	sm_arena_init(&a, "test", 1024, 1024 * 1024);
	for (size_t i = 0; i < SM_ARRAY_SIZE(paths); i++) {
		struct sm_addr got;
		struct sm_str rest = SM_STR_NONE;
		int err = sm_addr_path(sm_str(paths[i].in), paths[i].flags, &a, &got, &rest);
		check(&paths[i], err, &got, rest);
	}
	sm_arena_fini(&a);
}

/* What is canonical stays as it is, with and without brackets. */
static void test_mailbox_is_stable(void **state)
{
	struct sm_arena a;
	(void)state;

	sm_arena_init(&a, "test", 1024, 1024 * 1024);
	for (size_t i = 0; i < SM_ARRAY_SIZE(paths); i++) {
		struct sm_addr got;
		if (paths[i].err != 0 || paths[i].domain == NULL || paths[i].domain[0] == '\0')
			continue;
		assert_int_equal(sm_addr_mailbox(sm_str(paths[i].mailbox), &a, &got), 0);
		assert_true(sm_str_eq(got.mailbox, sm_str(paths[i].mailbox)));
	}
	struct sm_addr got;
	assert_int_equal(sm_addr_mailbox(SM_STR("a@b>"), &a, &got), SM_E_SYNTAX);
	assert_int_equal(sm_addr_mailbox(SM_STR("<a@b>"), &a, &got), SM_E_SYNTAX);
	assert_int_equal(sm_addr_mailbox(SM_STR("a>b@c"), &a, &got), SM_E_SYNTAX);
	assert_int_equal(sm_addr_mailbox(SM_STR("a@[1.2.3.4]x"), &a, &got), SM_E_SYNTAX);
	assert_int_equal(sm_addr_mailbox(SM_STR(""), &a, &got), SM_E_SYNTAX);
	sm_arena_fini(&a);
}

/* What a domain is compared by. */
static void test_ascii_domain(void **state)
{
	static const struct {
		const char *in, *ascii;
	} rows[] = {
	    {"a@Example.org", "example.org"},
	    {"a@[IPv6:::1]", "[IPv6:::1]"},
	    {"\xc3\xa9@B\xc3\x9c"
	     "CHER.test",
	     "xn--bcher-kva.test"},
	    {"a@XN--bcher-kva.test", "xn--bcher-kva.test"},
	};
	struct sm_arena a;
	struct sm_addr addr;
	(void)state;

	sm_arena_init(&a, "test", 512, 65536);
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		assert_int_equal(sm_addr_mailbox(sm_str(rows[i].in), &a, &addr), 0);
		if (!sm_str_eq(addr.ascii_domain, sm_str(rows[i].ascii)))
			fail_msg("%s", rows[i].in);
	}
	assert_true(sm_domain_valid_utf8(SM_STR("b\xc3\xbc"
	                                        "cher.test"),
	                                 false));
	assert_true(sm_domain_valid_utf8(SM_STR("example.org"), false));
	assert_false(sm_domain_valid_utf8(SM_STR("b\xc3\xbc"
	                                         "cher..test"),
	                                  false));
	assert_false(sm_domain_valid_utf8(SM_STR("-b\xc3\xbc"
	                                         "cher.test"),
	                                  false));
	assert_false(sm_domain_valid(SM_STR("b\xc3\xbc"
	                                    "cher.test"),
	                             false));
	sm_arena_fini(&a);
}

static void test_nul_is_no_end(void **state)
{
	struct sm_arena a;
	struct sm_addr got;
	struct sm_str rest;
	(void)state;

	sm_arena_init(&a, "test", 1024, 1024 * 1024);
	assert_int_equal(sm_addr_path(SM_STR("<a\0b@c>"), 0, &a, &got, &rest), SM_E_SYNTAX);
	assert_int_equal(sm_addr_path(SM_STR("<a@c\0>"), 0, &a, &got, &rest), SM_E_SYNTAX);
	assert_int_equal(sm_addr_path(SM_STR("<\"a\0\"@c>"), 0, &a, &got, &rest), SM_E_SYNTAX);
	sm_arena_fini(&a);
}

static void test_full_arena_refuses(void **state)
{
	struct sm_arena a;
	struct sm_addr got;
	struct sm_str rest;
	int err = 0;
	(void)state;

	sm_arena_init(&a, "test", 64, 256);
	for (int i = 0; i < 100 && err == 0; i++)
		err = sm_addr_path(SM_STR("<abcdefgh@example.org>"), 0, &a, &got, &rest);
	assert_int_equal(err, SM_E_TOOBIG);
	sm_arena_fini(&a);
}

static void test_helo(void **state)
{
	static const struct {
		const char *arg;
		bool strict, loose;
	} rows[] = {
	    {"mail.example.org", true, true}, {"localhost", true, true},
	    {"[1.2.3.4]", true, true},        {"[IPv6:::1]", true, true},
	    {"[1.2.3.4", false, true},        {"a_b", false, true},
	    {"<script>", false, true},        {"a b", false, false},
	    {"a\tb", false, false},           {"", false, false},
	    {"b\xc3\xbc", false, false},      {"1.2.3.4", false, true},
	};
	char big[300];
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		assert_int_equal(sm_helo_valid(sm_str(rows[i].arg), true), rows[i].strict);
		assert_int_equal(sm_helo_valid(sm_str(rows[i].arg), false), rows[i].loose);
	}
	memset(big, 'a', sizeof(big));
	assert_true(sm_helo_valid(sm_str_n(big, 255), false));
	assert_false(sm_helo_valid(sm_str_n(big, 256), false));
	assert_true(sm_domain_valid(SM_STR("_dmarc.example.org"), true));
	assert_false(sm_domain_valid(SM_STR("_dmarc.example.org"), false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ascii_domain),       cmocka_unit_test(test_paths),
	    cmocka_unit_test(test_mailbox_is_stable),  cmocka_unit_test(test_nul_is_no_end),
	    cmocka_unit_test(test_full_arena_refuses), cmocka_unit_test(test_helo),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
