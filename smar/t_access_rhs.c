/* Entries of the access map, as tables: the manual's, and what people write instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/err.h"
#include "smar/access_rhs.h"

/* ---- values ---- */

static const struct {
	const char *value;
	enum ar_action_kind kind;
	bool quick;
	uint16_t code;
	const char *text;
} good[] = {
    {"relay", AR_ACTION_RELAY, false, 0, ""},
    {"ok", AR_ACTION_OK, false, 0, ""},
    {"cont", AR_ACTION_CONT, false, 0, ""},
    {"discard", AR_ACTION_DISCARD, false, 0, ""},
    {"reject", AR_ACTION_ERROR, false, 550, "5.7.0 Rejected."},
    {"quick:relay", AR_ACTION_RELAY, true, 0, ""},
    {"quick:ok", AR_ACTION_OK, true, 0, ""},
    {"quick:cont", AR_ACTION_CONT, true, 0, ""},
    {"quick:discard", AR_ACTION_DISCARD, true, 0, ""},
    {"quick:reject", AR_ACTION_ERROR, true, 550, "5.7.0 Rejected."},
    {"QUICK:Relay", AR_ACTION_RELAY, true, 0, ""},
    {" quick: ok\t", AR_ACTION_OK, true, 0, ""},
    {"error:451 4.7.1 reverse lookup failed", AR_ACTION_ERROR, false, 451,
     "4.7.1 reverse lookup failed"},
    {"quick:error:551 5.7.1 No mail from spammers", AR_ACTION_ERROR, true, 551,
     "5.7.1 No mail from spammers"},
    {"error:551 5.7.1 Bad IP address 192.168.255.255 in MX/A list", AR_ACTION_ERROR, false, 551,
     "5.7.1 Bad IP address 192.168.255.255 in MX/A list"},
    {"Error: 421 4.3.2  later ", AR_ACTION_ERROR, false, 421, "4.3.2  later"},
    {"error:550 5.123.456 %s%n <x> \"\\", AR_ACTION_ERROR, false, 550, "5.123.456 %s%n <x> \"\\"},
};

static void test_good(void **state SM_UNUSED)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(good); i++) {
		struct ar_action r;

		assert_int_equal(ar_action_parse(sm_str(good[i].value), &r), 0);
		assert_int_equal(r.kind, good[i].kind);
		assert_int_equal(r.quick, good[i].quick);
		assert_int_equal(r.code, good[i].code);
		assert_true(sm_str_eq(r.text, sm_str(good[i].text)));
	}
}

static const char *const bad[] = {
    "",
    " ",
    "quick:",
    "quick",
    "yes",
    "relay now",
    "ok:",
    "relayed",
    "rejected",
    "error:",
    "error",
    "error:550",
    "error:550 ",
    "error:550 5.7.1",
    "error:550 5.7.1 ",
    "error:550 No such user",
    "error:550 5.7 no",
    "error:550 4.7.1 class differs",
    "error:451 5.7.1 class differs",
    "error:250 2.0.0 fine",
    "error:354 3.0.0 go on",
    "error:299 2.0.0 x",
    "error:560 5.0.0 x",
    "error:599 5.0.0 x",
    "error:460 4.0.0 x",
    "error:600 6.0.0 x",
    "error:55 5.7.1 x",
    "error:5500 5.7.1 x",
    "error:+55 5.7.1 x",
    "error:550-5.7.1 x",
    "error:550 5.7.1 two\nlines",
    "error:550 5.7.1 two\r\n250 lines",
    "error:550 5.7.1 tab\tin it",
    "error:550 5.7.1 \xc3\xbc",
    "error:550 5.7.1 \x7f",
    "quick:quick:ok",
};

static void test_bad(void **state SM_UNUSED)
{
	struct ar_action r;

	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		assert_int_equal(ar_action_parse(sm_str(bad[i]), &r), SM_E_SYNTAX);
		assert_true(sm_diag()[0] != '\0');
	}
	assert_int_equal(ar_action_parse(SM_STR("o\0k"), &r), SM_E_SYNTAX);
	assert_int_equal(ar_action_parse(SM_STR("error:550 5.7.1 a\0b"), &r), SM_E_SYNTAX);
	assert_int_equal(ar_action_parse(SM_STR_NONE, &r), SM_E_SYNTAX);
}

static void test_long_text(void **state SM_UNUSED)
{
	static const char head[] = "error:550 5.7.1 ";
	static const size_t before = sizeof("error:550 ") - 1;
	char value[2000];
	struct ar_action r;

	memset(value, 'x', sizeof(value));
	memcpy(value, head, sizeof(head) - 1);
	for (size_t n = before + AR_ACTION_TEXT_MAX - 2; n < sizeof(value); n++) {
		size_t text = n - before;

		assert_int_equal(ar_action_parse(sm_str_n(value, n), &r), 0);
		assert_int_equal(r.text.n, SM_MIN(text, (size_t)AR_ACTION_TEXT_MAX));
		assert_int_equal(ar_access_check_entry(SM_STR("to:u"), sm_str_n(value, n)),
		                 text > AR_ACTION_TEXT_MAX ? SM_E_SYNTAX : 0);
	}
}

/* ---- restrictions ---- */

static void expect(struct sm_str *rest, enum ar_restriction_kind kind, const char *what)
{
	struct ar_restriction r;

	assert_int_equal(ar_restriction_next(rest, &r), 0);
	assert_int_equal(r.kind, kind);
	assert_true(sm_str_eq(r.what, sm_str(what)));
}

static void test_restrictions(void **state SM_UNUSED)
{
	static const char *const wrong[] = {
	    "from:",       "from:<>",           "from:user", "from:<a@b", "from:a@b>",
	    "list:",       "list:<>",           "list:a<b>", "cltaddr:",  "cltaddr:.1",
	    "cltaddr:1..", "cltaddr:host.name", "to:a@b",    "a@b",       "from:a\x01@b"};
	struct sm_str rest = SM_STR(" from:<moderator3@local.dom> \tCltaddr:1.2.3.4 cltaddr:10 "
	                            "list:<list1@local.dom> list:l cltaddr:2001:DB8:0 from:@.Dom ");
	struct ar_restriction r;

	expect(&rest, AR_RESTRICTION_FROM, "moderator3@local.dom");
	expect(&rest, AR_RESTRICTION_CLIENT, "1.2.3.4");
	expect(&rest, AR_RESTRICTION_CLIENT, "10");
	expect(&rest, AR_RESTRICTION_LIST, "list1@local.dom");
	expect(&rest, AR_RESTRICTION_LIST, "l");
	expect(&rest, AR_RESTRICTION_CLIENT, "2001:DB8:0");
	expect(&rest, AR_RESTRICTION_FROM, "@.Dom");
	assert_int_equal(ar_restriction_next(&rest, &r), SM_E_EOF);
	for (size_t i = 0; i < SM_ARRAY_SIZE(wrong); i++) {
		rest = sm_str(wrong[i]);
		assert_int_equal(ar_restriction_next(&rest, &r), SM_E_SYNTAX);
	}
}

/* ---- entries ---- */

static const struct {
	const char *key, *value;
	bool good;
} entries[] = {
    /* The manual's. */
    {"cltresolve:tempptr", "error:451 4.7.1 reverse lookup failed", true},
    {"mxbadip:127.0.0.1", "error:551 5.7.1 Bad IP address 127.0.0.1 in MX/A list", true},
    {"from:@spammer.domain", "error:551 5.7.1 No spammers", true},
    {"from:@.spammer.domain", "error:551 5.7.1 No spammers in subdomains either", true},
    {"to:root", "error:551 5.7.1 No mail to root", true},
    {"to:abuse", "quick:ok", true},
    {"cltaddr:10", "error:551 5.7.1 No direct mail from 10.x.y.z", true},
    {"cltname:spammer.domain", "quick:error:551 5.7.1 No mail from spammers", true},
    {"to:@primary.domain", "relay", true},
    {"cltaddr:10", "relay", true},
    {"cltaddr:127.0.0.1", "quick:relay", true},
    {"dnsbltld:127.0.0.2", "error:550 5.7.1 listed at dnsbl.tld as spam source", true},
    {"dnsbltld:temp", "error:451 4.7.1 temporary lookup failure at dnsbl.tld", true},
    {"dnsbltld:perm", "cont", true},
    {"certissuer:/c=us/o=endmail.org/cn=darth+20mail", "relay", true},
    {"CertSubject:/C=US/emailAddress=deathstar@endmail.org", "relay", true},
    {"protectedrcpt:list1@local.dom", "list:<list1@local.dom>", true},
    {"protectedrcpt:list3", "from:<moderator3@local.dom> cltaddr:1.2.3.4 cltaddr:10", true},
    {"cltaddr:2001:db8:0:0", "ok", true},
    {"cltname:.sub.domain", "relay", true},
    /* Others. */
    {"root", "reject", false},
    {":root", "reject", false},
    {"to:", "reject", false},
    {"", "reject", false},
    {"to:a b", "reject", false},
    {"to:root", "rejekt", false},
    {"from:root", "relay", false},
    {"mxbadip:1", "relay", false},
    {"cltresolve:ok", "quick:relay", false},
    {"dnsbltld:127.0.0.2", "relay", true},
    {"cltresolve:yes", "ok", false},
    {"cltresolve:tempPTR", "ok", true},
    {"cltaddr:host.domain", "ok", false},
    {"cltaddr:1.2.3.", "ok", false},
    {"cltname:@host.domain", "ok", false},
    {"form:@spammer.domain", "reject", false},
    {"protectedrcpt:list1", "reject", false},
    {"etrn:192.0.2.7", "cust1.dom .cust1.dom", true},
    {"etrn:joe@", ".", true},
    {"etrn:.isp.dom", "cust1.dom", true},
    {"etrn:192.0.2.7", "", false},
    {"etrn:192.0.2.7", "@cust1.dom", false},
    {"etrn:192.0.2.7", "cust1.dom, cust2.dom", false},
    {"protectedrcpt:list1", "", false},
    {"protectedrcpt:list1", "from:<a@b> relay", false},
};

static void test_entries(void **state SM_UNUSED)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(entries); i++)
		assert_int_equal(
		    ar_access_check_entry(sm_str(entries[i].key), sm_str(entries[i].value)),
		    entries[i].good ? 0 : SM_E_SYNTAX);
}

static void test_may_relay(void **state SM_UNUSED)
{
	static const char *const yes[] = {
	    "to:", "cltaddr:", "cltname:", "certissuer:", "certsubject:", "dnswltld:"};
	static const char *const no[] = {"from:", "cltresolve:", "mxbadip:", "protectedrcpt:"};

	for (size_t i = 0; i < SM_ARRAY_SIZE(yes); i++)
		assert_true(ar_access_may_relay(sm_str(yes[i])));
	for (size_t i = 0; i < SM_ARRAY_SIZE(no); i++)
		assert_false(ar_access_may_relay(sm_str(no[i])));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_good),      cmocka_unit_test(test_bad),
	    cmocka_unit_test(test_long_text), cmocka_unit_test(test_restrictions),
	    cmocka_unit_test(test_entries),   cmocka_unit_test(test_may_relay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
