/* The checks by themselves: what smtps cannot be made to ask (certificates, IPv6, Unix clients),
 * what DNS can do to a sender's domain, and protected recipients. The order and effect of all
 * entries are in checks/e2e/test_decisions.py. */
#include "smar/check.h"

#include <stdio.h>

#include "smar/protect.h"
#include "smar/t_dns_run.h"
#include "smar/t_site.h"

static const struct t_dns_row zone[] = {
    {"mx.example", AR_DNS_MX, 600, "10 a.mx.example"},
    {"mx.example", AR_DNS_MX, 600, "20 bad.mx.example"},
    {"a.mx.example", AR_DNS_A, 600, "192.0.2.1"},
    {"bad.mx.example", AR_DNS_AAAA, 600, "2001:db8:bad::1"},
    {"a.example", AR_DNS_A, 600, "192.0.2.1"},
    {"null.example", AR_DNS_MX, 600, "0 "},
    {"no-host.example", AR_DNS_MX, 600, "10 nowhere.example"},
    {"half.example", AR_DNS_MX, 600, "10 servfail.example"},
    {"half.example", AR_DNS_MX, 600, "20 a.mx.example"},
    {"none-yet.example", AR_DNS_MX, 600, "10 servfail.example"},
    {"nothing.example", AR_DNS_SOA, 600, "600"},
    {"servfail.example", 0, 0, "SERVFAIL"},
    {"own.example", AR_DNS_MX, 600, "10 loop.example"},
    {"loop.example", AR_DNS_A, 600, "127.0.0.1"},
    {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", AR_DNS_PTR, 600,
     "six.example"},
    {"six.example", AR_DNS_AAAA, 600, "2001:db8::1"},
    {"9.2.0.192.in-addr.arpa", AR_DNS_PTR, 600, "liar.example"},
    {"liar.example", AR_DNS_A, 600, "192.0.2.8"},
    {NULL, 0, 0, NULL},
};

#define DARTH                                                                        \
	"/c=us/st=california/o=endmail.org/ou=private/cn=darth+20mail+20+28cert+29/" \
	"emailaddress=darth+2bcert@endmail.org"

static const char config[] =
    "map a { type = inline; entries = {\n"
    "\"mxbadip:127 error:551 5.7.1 bad four\",\n"
    "\"mxbadip:2001:db8:bad error:551 5.7.1 bad six\",\n"
    "\"from:@a.example reject\", \"from:broken rejekt\", \"from:@mx.example cont\",\n"
    "\"cltname:six.example relay\", \"cltname:liar.example relay\",\n"
    "\"cltaddr:2001:db8:1 quick:ok\", \"cltaddr:192.0.2.7 relai\", \"cltresolve:no discard\",\n"
    "\"certissuer:" DARTH " relay\", \"certissuer:/cn=ca cont\", \"certissuer:/cn=ok ok\",\n"
    "\"certissuer:/cn=wrong relais\",\n"
    "\"certsubject:/c=us/cn=deathstar/emailaddress=deathstar@endmail.org relay\",\n"
    "\"certsubject:/cn=star ok\",\n"
    "\"etrn:192.0.2.7 a.example .b.example\", \"etrn:2001:db8 .\", \"etrn:joe@ u.example "
    ".u.example\",\n"
    "\"etrn:joe@other.example w.example\", \"etrn:.isp.example a.example\" }; }\n"
    "access_map { name = a; }\n"
    "map v { type = inline; entries = {\n"
    "\"a.map.example accept\", \"b.map.example 450\", \"c.map.example default\",\n"
    "\".map.example no\", \"d.map.example perhaps\" }; }\n"
    "verify_recipient { domains = { \"list.example\", \".list.example\", \"x.map.example\" };\n"
    "name = v; on_failure = accept; }\n";

static int set_up(void **state SM_UNUSED)
{
	t_site_open(config, "local.example lmtp:\nrouted.example [192.0.2.1]\n");
	return 0;
}

static int tear_down(void **state SM_UNUSED)
{
	t_site_close();
	return 0;
}

static void run(void (*fn)(void))
{
	t_dns_run(zone, &(struct ar_cache_conf){1000, 1000}, 600, fn);
}

/* ---- clients ---- */

static const struct {
	const char *ip;
	uint32_t flags; /* in */
	uint16_t code;
	uint32_t verdict;
	enum sm_resolve resolve;
	const char *name;
} clients[] = {
    {"2001:db8::1", SM_CHECK_ACCESS, 0, SM_VERDICT_RELAY, SM_RESOLVE_OK, "six.example"},
    {"2001:db8::1", 0, 0, 0, SM_RESOLVE_OK, "six.example"},
    {"2001:db8:1::5", SM_CHECK_ACCESS, 0, SM_VERDICT_OK | SM_VERDICT_QUICK, SM_RESOLVE_NO, ""},
    {"2001:db8:2::5", SM_CHECK_ACCESS, 0, SM_VERDICT_DISCARD, SM_RESOLVE_NO, ""},
    /* A name that leads elsewhere is none. */
    {"192.0.2.9", SM_CHECK_ACCESS, 0, SM_VERDICT_DISCARD, SM_RESOLVE_NO, ""},
    {"::ffff:192.0.2.9", SM_CHECK_ACCESS, 0, SM_VERDICT_DISCARD, SM_RESOLVE_NO, ""},
    /* An entry that nobody understands lets nobody in, and refuses nobody for good. */
    {"192.0.2.7", SM_CHECK_ACCESS, 451, 0, SM_RESOLVE_NO, ""},
    {"192.0.2.7", 0, 0, 0, SM_RESOLVE_NO, ""},
    /* Without name servers there is no name, and nothing is said of it. */
    {"2001:db8::1", SM_CHECK_ACCESS | SM_CHECK_NO_DNS, 0, 0, SM_RESOLVE_NONE, ""},
    {"192.0.2.9", SM_CHECK_ACCESS | SM_CHECK_NO_DNS, 0, 0, SM_RESOLVE_NONE, ""},
    {"192.0.2.7", SM_CHECK_ACCESS | SM_CHECK_NO_DNS, 451, 0, SM_RESOLVE_NONE, ""},
};

static void body_clients(void)
{
	struct sm_msg_conn_check m = {.listener = SM_STR("mta")};
	struct sm_msg_conn_verdict v;

	t_site_patient();
	for (size_t i = 0; i < SM_ARRAY_SIZE(clients); i++) {
		m.flags = clients[i].flags;
		assert_int_equal(sm_sa_ip(&m.client, sm_str(clients[i].ip), 25), 0);
		assert_int_equal(ar_check_conn(&site.ar, &site.ctx, &m, &v), 0);
		assert_int_equal(v.code, clients[i].code);
		assert_int_equal(v.flags, clients[i].verdict);
		assert_int_equal(v.resolve, clients[i].resolve);
		assert_true(sm_str_eq(v.client_name, sm_str(clients[i].name)));
	}
	/* A Unix client has neither address nor name. */
	m.flags = SM_CHECK_ACCESS;
	assert_int_equal(sm_sa_unix(&m.client, SM_STR("/x")), 0);
	assert_int_equal(ar_check_conn(&site.ar, &site.ctx, &m, &v), 0);
	assert_int_equal(v.code | v.flags | v.resolve, 0);
}

static void test_clients(void **state SM_UNUSED)
{
	run(body_clients);
}

/* ---- senders ---- */

static const struct {
	const char *sender;
	uint32_t flags;
	const char *answer; /* code and beginning of the text; "": accepted */
} senders[] = {
    {"u@mx.example", SM_CHECK_ACCESS, "551 5.7.1 bad six"},
    {"u@mx.example", 0, ""},
    {"U@A.Example", SM_CHECK_ACCESS, "550 5.7.0 Rejected."},
    {"u@a.example", SM_CHECK_ACCESS | SM_CHECK_SESSION_QUICK | SM_CHECK_SESSION_OK, ""},
    {"u@half.example", SM_CHECK_ACCESS, ""},
    {"u@null.example", SM_CHECK_ACCESS, "550 5.7.27 "},
    {"u@no-host.example", SM_CHECK_ACCESS, "553 5.1.8 "},
    {"u@nothing.example", SM_CHECK_ACCESS, "553 5.1.8 "},
    {"u@nowhere.example", SM_CHECK_ACCESS, "553 5.1.8 "},
    {"u@servfail.example", SM_CHECK_ACCESS, "451 4.1.8 "},
    {"u@none-yet.example", SM_CHECK_ACCESS, "451 4.1.8 "},
    {"u@servfail.example", 0, ""},
    {"u@servfail.example", SM_CHECK_ACCESS | SM_CHECK_NO_DNS, ""},
    {"U@A.Example", SM_CHECK_ACCESS | SM_CHECK_NO_DNS, "550 5.7.0 Rejected."},
    {"u@own.example", SM_CHECK_ACCESS | SM_CHECK_NO_DNS, ""},
    {"u@own.example", SM_CHECK_ACCESS, "551 5.7.1 bad four"},
    {"u@[127.0.0.9]", SM_CHECK_ACCESS, "551 5.7.1 bad four"},
    {"u@[IPv6:2001:db8:bad::7]", SM_CHECK_ACCESS, "551 5.7.1 bad six"},
    {"u@[192.0.2.1]", SM_CHECK_ACCESS, ""},
    {"u@local.example", SM_CHECK_ACCESS, ""},
    {"u@routed.example", SM_CHECK_ACCESS, ""},
    {"broken@routed.example", SM_CHECK_ACCESS, "451 4.3.0 "},
    {"broken@routed.example", 0, ""},
    {"no address", SM_CHECK_ACCESS, "553 5.1.7 "},
    {"", SM_CHECK_ACCESS, ""},
};

static void body_senders(void)
{
	struct sm_msg_verdict v;
	char answer[600];

	t_site_patient();
	for (size_t i = 0; i < SM_ARRAY_SIZE(senders); i++) {
		struct sm_msg_mail_check m = {.sender = sm_str(senders[i].sender),
		                              .flags = senders[i].flags};

		assert_int_equal(ar_check_mail(&site.ar, &site.ctx, &m, &v), 0);
		snprintf(answer, sizeof(answer), "%u " SM_STR_FMT, v.code, SM_STR_ARG(v.text));
		if (senders[i].answer[0] == '\0')
			assert_string_equal(answer, "0 ");
		else
			assert_memory_equal(answer, senders[i].answer, strlen(senders[i].answer));
	}
}

static void test_senders(void **state SM_UNUSED)
{
	run(body_senders);
}

static void body_without_patience(void)
{
	struct sm_msg_mail_check m = {.sender = SM_STR("u@own.example"), .flags = SM_CHECK_ACCESS};
	struct sm_msg_conn_check c = {.flags = SM_CHECK_ACCESS};
	struct sm_msg_conn_verdict cv;
	struct sm_msg_verdict v;

	t_site_impatient();
	assert_int_equal(sm_sa_ip(&c.client, SM_STR("192.0.2.9"), 25), 0);
	assert_int_equal(ar_check_mail(&site.ar, &site.ctx, &m, &v), SM_E_AGAIN);
	assert_int_equal(ar_check_conn(&site.ar, &site.ctx, &c, &cv), SM_E_AGAIN);
	t_site_patient();
	assert_int_equal(ar_check_mail(&site.ar, &site.ctx, &m, &v), 0);
	assert_int_equal(ar_check_conn(&site.ar, &site.ctx, &c, &cv), 0);
	/* Now all of it is known. */
	site.ctx.may_wait = false;
	assert_int_equal(ar_check_mail(&site.ar, &site.ctx, &m, &v), 0);
	assert_int_equal(v.code, 551);
	assert_int_equal(ar_check_conn(&site.ar, &site.ctx, &c, &cv), 0);
	assert_int_equal(cv.flags, SM_VERDICT_DISCARD);
}

static void test_without_patience(void **state SM_UNUSED)
{
	run(body_without_patience);
}

/* ---- certificates ---- */

static void test_dn(void **state SM_UNUSED)
{
	static const char all[] = "a<b>c(d)e\"f+g h\tI\x7f\xfc/=@.-";
	char dn[300];

	assert_true(
	    sm_str_eq(ar_dn_key(&site.arena,
	                        SM_STR("/C=US/ST=California/O=endmail.org/OU=private/"
	                               "CN=Darth Mail (Cert)/emailAddress=darth+cert@endmail.org")),
	              SM_STR(DARTH)));
	assert_true(sm_str_eq(ar_dn_key(&site.arena, sm_str(all)),
	                      SM_STR("a+3cb+3ec+28d+29e+22f+2bg+20h+09i+7f+fc/=@.-")));
	memset(dn, ' ', sizeof(dn));
	assert_null(ar_dn_key(&site.arena, sm_str_n(dn, 250)).p);
	assert_non_null(ar_dn_key(&site.arena, sm_str_n(dn, 199)).p);
}

static const struct {
	const char *issuer, *subject;
	uint16_t code;
	bool relay;
} certs[] = {
    /* As smtps sends it: encoded, in the case of the certificate. */
    {"/C=US/ST=California/O=endmail.org/OU=private/CN=Darth+20Mail+20+28Cert+29/"
     "emailAddress=darth+2Bcert@endmail.org",
     "/CN=whoever", 0, true},
    {"/CN=ca", "/C=US/CN=DeathStar/emailAddress=deathstar@endmail.org", 0, true},
    {"/CN=ca", "/CN=other", 0, false},
    {"/CN=ca", "/CN=star", 0, false},
    {"/CN=ok", "/C=US/CN=DeathStar/emailAddress=deathstar@endmail.org", 0, false},
    /* The subject counts only behind an issuer that says cont. */
    {"/CN=unknown", "/C=US/CN=DeathStar/emailAddress=deathstar@endmail.org", 0, false},
    {"", "/C=US/CN=DeathStar/emailAddress=deathstar@endmail.org", 0, false},
    {"/CN=wrong", "/CN=x", 451, false},
};

static void test_certs(void **state SM_UNUSED)
{
	struct sm_msg_verdict v;

	t_site_impatient();
	for (size_t i = 0; i < SM_ARRAY_SIZE(certs); i++) {
		struct sm_msg_cert_check m = {.issuer = sm_str(certs[i].issuer),
		                              .subject = sm_str(certs[i].subject)};

		assert_int_equal(ar_check_cert(&site.ar, &site.ctx, &m, &v), 0);
		assert_int_equal(v.code, certs[i].code);
		assert_int_equal(v.flags, certs[i].relay ? SM_VERDICT_RELAY : 0);
	}
}

/* ---- who may ask for mail ---- */

static const struct {
	const char *client, *name, *user, *node;
	bool ok;
} etrn[] = {
    {"192.0.2.7", "", "", "a.example", true},
    {"192.0.2.7", "", "", "A.example", true},
    {"192.0.2.7", "", "", "x.a.example", false},
    {"192.0.2.7", "", "", "@a.example", false},
    {"192.0.2.7", "", "", "b.example", false},
    {"192.0.2.7", "", "", "x.y.b.example", true},
    {"192.0.2.7", "", "", "@y.b.example", true},
    {"192.0.2.7", "", "", "@b.example", false},
    {"192.0.2.7", "", "", "xb.example", false},
    {"192.0.2.7", "", "", "", true},
    {"192.0.2.8", "", "", "a.example", false},
    {"192.0.2.8", "", "", "", false},
    {"2001:db8:1::2", "", "", "whatever", true},
    {"2001:db8:1::2", "", "", "@what.ever", true},
    {"2001:db9::2", "", "", "whatever", false},
    {"192.0.2.8", "c.isp.example", "", "a.example", true},
    {"192.0.2.8", "c.isp.example", "", "b.example", false},
    {"192.0.2.8", "isp.example", "", "a.example", false},
    {"192.0.2.8", "", "joe", "u.example", true},
    {"192.0.2.8", "", "JOE", "@u.example", true},
    {"192.0.2.8", "", "joe", "w.example", false},
    {"192.0.2.8", "", "joe@other.example", "w.example", true},
    {"192.0.2.8", "", "joe@other.example", "u.example", false},
    {"192.0.2.8", "", "ann", "u.example", false},
    /* None takes away what another one gives. */
    {"192.0.2.7", "c.isp.example", "joe", "x.b.example", true},
    {"192.0.2.7", "c.isp.example", "joe", "u.example", true},
    {"192.0.2.7", "c.isp.example", "joe", "w.example", false},
    {"192.0.2.7", "", "", "@", false},
};

static void test_etrn(void **state SM_UNUSED)
{
	struct sm_msg_verdict v;

	t_site_impatient();
	for (size_t i = 0; i < SM_ARRAY_SIZE(etrn); i++) {
		struct sm_msg_etrn_check m = {.client_name = sm_str(etrn[i].name),
		                              .user = sm_str(etrn[i].user),
		                              .node = sm_str(etrn[i].node)};

		assert_int_equal(sm_sa_ip(&m.client, sm_str(etrn[i].client), 25), 0);
		assert_int_equal(ar_check_etrn(&site.ar, &site.ctx, &m, &v), 0);
		assert_int_equal(v.code, 0);
		if (v.flags != (etrn[i].ok ? SM_VERDICT_OK : 0))
			fail_msg("row %zu: flags %u", i, v.flags);
	}
}

/* ---- recipients to be verified ---- */

enum { VERIFY = SM_VERDICT_VERIFY, ACCEPT = VERIFY | SM_VERDICT_VERIFY_ACCEPT };

static const struct {
	const char *rcpt;
	uint16_t code;
	uint32_t flags;
} verified[] = {
    {"u@list.example", 0, ACCEPT},
    {"u@LIST.example", 0, ACCEPT},
    {"u@deep.sub.list.example", 0, ACCEPT},
    {"u@otherlist.example", 0, 0},
    {"u@example", 0, 0},
    {"u@a.map.example", 0, ACCEPT},
    {"u@b.map.example", 0, VERIFY},
    {"u@c.map.example", 0, ACCEPT},
    /* The map goes before the list. */
    {"u@x.map.example", 0, 0},
    {"u@d.map.example", 451, 0},
};

static void test_verified(void **state SM_UNUSED)
{
	struct sm_msg_verdict v;

	t_site_impatient();
	for (size_t i = 0; i < SM_ARRAY_SIZE(verified); i++) {
		struct sm_msg_rcpt_check m = {.sender = SM_STR("s@a.example"),
		                              .rcpt = sm_str(verified[i].rcpt),
		                              .flags = SM_CHECK_MAY_RELAY};

		assert_int_equal(ar_check_rcpt(&site.ar, &site.ctx, &m, &v), 0);
		assert_int_equal(v.code, verified[i].code);
		assert_int_equal(v.flags, verified[i].flags);
		/* Who may not relay learns nothing. */
		m.flags = 0;
		assert_int_equal(ar_check_rcpt(&site.ar, &site.ctx, &m, &v), 0);
		assert_int_equal(v.code, 550);
		assert_int_equal(v.flags, 0);
	}
	site.conf.verify.on_failure = AR_VERIFY_450;
	site.conf.verify.domains.v[0] = SM_STR(".");
	for (size_t i = 0; i < 6; i++) {
		struct sm_msg_rcpt_check m = {.sender = SM_STR(""),
		                              .rcpt = sm_str(verified[i].rcpt),
		                              .flags = SM_CHECK_MAY_RELAY};

		assert_int_equal(ar_check_rcpt(&site.ar, &site.ctx, &m, &v), 0);
		assert_int_equal(v.flags, i == 5 ? ACCEPT : VERIFY);
	}
	site.conf.verify.domains.v[0] = SM_STR("-bad");
	assert_int_equal(ar_conf_check(&site.conf), SM_E_SYNTAX);
	site.conf.verify.domains.count = 0;
	assert_int_equal(ar_conf_check(&site.conf), 0);
}

/* ---- protected recipients ---- */

enum {
	EXACT = 0,
	LOOKUP = SM_CHECK_PROTECT_LOOKUP,
	DETAIL = SM_CHECK_PROTECT_LOOKUP | SM_CHECK_PROTECT_DETAIL
};

static const struct {
	const char *pattern, *sender;
	bool exact, lookup, detail;
} by_sender[] = {
    {"user@a.dom", "user@a.dom", true, true, true},
    {"User@A.Dom", "user@a.dom", true, true, true},
    {"user@a.dom", "user+x@a.dom", false, false, true},
    {"user+x@a.dom", "user+x@a.dom", true, true, true},
    {"user*@a.dom", "user+x@a.dom", false, true, true},
    {"@a.dom", "user@a.dom", false, true, true},
    {"@.dom", "user@a.dom", false, true, true},
    {"@dom", "user@a.dom", false, false, false},
    {"user@a.dom", "user@b.a.dom", false, false, false},
    {"user@a.dom", "xuser@a.dom", false, false, false},
};
static const struct {
	const char *pattern, *ip;
	bool exact, lookup;
} by_client[] = {
    {"1.2.3.4", "1.2.3.4", true, true},       {"1.2.3.4", "::ffff:1.2.3.4", true, true},
    {"10", "10.9.8.7", false, true},          {"10", "100.9.8.7", false, false},
    {"1.2.3", "1.2.34.5", false, false},      {"2001:DB8:0:0:0:0:0:1", "2001:db8::1", true, true},
    {"2001:db8", "2001:db8::1", false, true},
};

static void test_restrictions(void **state SM_UNUSED)
{
	struct ar_parts parts;
	struct sm_sa sa;

	for (size_t i = 0; i < SM_ARRAY_SIZE(by_sender); i++) {
		struct sm_str pattern = sm_str(by_sender[i].pattern);

		ar_parts_of(sm_str(by_sender[i].sender), '+', &parts);
		assert_int_equal(ar_protect_sender_is(pattern, &parts, EXACT), by_sender[i].exact);
		assert_int_equal(ar_protect_sender_is(pattern, &parts, LOOKUP),
		                 by_sender[i].lookup);
		assert_int_equal(ar_protect_sender_is(pattern, &parts, DETAIL),
		                 by_sender[i].detail);
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(by_client); i++) {
		struct sm_str pattern = sm_str(by_client[i].pattern);

		assert_int_equal(sm_sa_ip(&sa, sm_str(by_client[i].ip), 25), 0);
		assert_int_equal(ar_protect_client_is(pattern, &sa, EXACT), by_client[i].exact);
		assert_int_equal(ar_protect_client_is(pattern, &sa, LOOKUP), by_client[i].lookup);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_clients),
	                                   cmocka_unit_test(test_senders),
	                                   cmocka_unit_test(test_without_patience),
	                                   cmocka_unit_test(test_dn),
	                                   cmocka_unit_test(test_certs),
	                                   cmocka_unit_test(test_etrn),
	                                   cmocka_unit_test(test_verified),
	                                   cmocka_unit_test(test_restrictions)};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
