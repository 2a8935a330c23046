/* What is required of TLS: texts of the map, how they join, what fulfils them; where it failed. */
#include "smtpc/t_smtpc.h"

#include "smtpc/auth_mech.h"
#include "smtpc/server_conf.h"
#include "smtpc/tls_memory.h"
#include "smtpc/tls_policy.h"

static const struct sm_tls_facts good = {
    .protocol = "TLSv1.2",
    .cipher = "ECDHE-RSA-AES128-GCM-SHA256",
    .bits = 128,
    .verify = SM_TLS_OK,
    .verify_word = "OK",
    .verify_text = "",
    .issuer = SM_STR("/CN=A+20CA"),
    .subject = SM_STR("/CN=mx.example"),
};

static struct sc_server_conf conf;

static int parse(const char *server, const char *rcpt, const char *auth)
{
	sc_server_conf_fini(&conf);
	sc_server_conf_init(&conf);
	return sc_server_conf_parse(&conf, SC_TLS_MAY, NULL, sm_str(server), sm_str(rcpt),
	                            sm_str(auth));
}

static void levels(void **state SM_UNUSED)
{
	static const struct {
		const char *server, *rcpt;
		int level;
	} cases[] = {
	    {"", "", SC_TLS_MAY},
	    {"tls { level = none; }", "", SC_TLS_NONE},
	    {"tls { level = none; }", "tls { level = may; }", SC_TLS_NONE},
	    {"tls { level = none; }", "tls { level = encrypt; }", SC_TLS_ENCRYPT},
	    {"tls { level = verify; }", "tls { level = encrypt; }", SC_TLS_VERIFY},
	    {"tls { level = encrypt; }", "tls { level = verify; }", SC_TLS_VERIFY},
	    {"", "tls { level = none; }", SC_TLS_MAY},
	    {"tls { min_bits = 1; }", "", SC_TLS_ENCRYPT},
	    {"tls { min_version = TLSv1.3; }", "", SC_TLS_ENCRYPT},
	    {"", "tls { names = { a.example }; }", SC_TLS_VERIFY},
	    {"tls { issuer = x; }", "", SC_TLS_VERIFY},
	    {"tls { subject = x; }", "", SC_TLS_VERIFY},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		assert_int_equal(parse(cases[i].server, cases[i].rcpt, ""), 0);
		assert_int_equal(conf.joined.level, cases[i].level);
	}
}

static void joined(void **state SM_UNUSED)
{
	assert_int_equal(
	    parse("tls { level = verify; names = { a.example, b.example }; min_bits = 128; "
	          "violation = permanent; min_version = TLSv1.3; }",
	          "tls { min_bits = 256; names = { c.example }; min_version = TLSv1.2; }", ""),
	    0);
	assert_int_equal(conf.joined.min_bits, 256);
	assert_int_equal(conf.joined.min_version, SM_TLS_1_3);
	assert_int_equal(conf.joined.names.count, 1);
	assert_true(sm_str_eq(conf.joined.names.v[0], SM_STR("c.example")));
	assert_int_equal(conf.joined.violation, SC_VIOLATION_PERMANENT);
	assert_int_equal(parse("tls { violation = permanent; }", "tls { violation = abort; }", ""),
	                 0);
	assert_int_equal(conf.joined.violation, SC_VIOLATION_ABORT);
	assert_int_equal(conf.tls.violation, SC_VIOLATION_PERMANENT);
}

static void wrong_texts(void **state SM_UNUSED)
{
	static const char *const bad[] = {"tls { level = maybe; }",
	                                  "tls { level = may; names = { a.example }; }",
	                                  "tls { level = encrypt; issuer = x; }",
	                                  "tls { level = none; min_bits = 1; }",
	                                  "tls { min_bits = 9999; }",
	                                  "level = may;",
	                                  "tls {",
	                                  "auth { failure = x; }",
	                                  "log_level = 3;",
	                                  "tlss { level = may; }"};

	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++)
		assert_int_not_equal(parse(bad[i], "", ""), 0);
	assert_int_not_equal(parse("", "auth { clear_text = on; }", ""), 0);
}

/* createmap asks that of both kinds. */
static void checked_texts(void **state SM_UNUSED)
{
	const struct sm_str both = SM_STR("tls { level = verify; }"),
			    server = SM_STR("auth { trusted = on; }");

	assert_int_equal(sc_server_conf_check(both, false), 0);
	assert_int_equal(sc_server_conf_check(both, true), 0);
	assert_int_equal(sc_server_conf_check(server, false), 0);
	assert_int_not_equal(sc_server_conf_check(server, true), 0);
	assert_int_not_equal(sc_server_conf_check(SM_STR("tls { level = maybe; }"), true), 0);
}

static void credentials(void **state SM_UNUSED)
{
	static const char *const bad[] = {"user = joe;",
	                                  "password = hunter2;",
	                                  "joe:hunter2",
	                                  "user = joe; hunter2 = x;",
	                                  "user = joe; pass = hunter2;",
	                                  "user = joe; password = \"hunter2"};

	assert_int_equal(parse("", "", ""), 0);
	assert_false(conf.has_credentials);
	assert_int_equal(parse("auth { mechanisms = { PLAIN }; trusted = on; }", "",
	                       "user = joe; password = \"a\\\"b;c\";"),
	                 0);
	assert_true(conf.has_credentials && conf.auth.trusted && !conf.auth.clear_text);
	assert_true(sm_str_eq(conf.credentials.password, SM_STR("a\"b;c")));
	/* What is wrong with one is said without what stands there. */
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		assert_int_not_equal(parse("", "", bad[i]), 0);
		assert_null(strstr(sm_diag(), "hunter2"));
	}
}

static void is(const char *server, const struct sm_tls_facts *facts, const char *want)
{
	char why[200] = "";

	assert_int_equal(parse(server, "", ""), 0);
	assert_int_equal(sc_tls_policy_fulfilled(&conf.joined, facts, why, sizeof(why)),
	                 want == NULL);
	if (want != NULL)
		assert_string_equal(why, want);
}

static void fulfilled(void **state SM_UNUSED)
{
	struct sm_tls_facts f = good;

	is("", NULL, NULL);
	is("tls { level = none; }", NULL, NULL);
	is("tls { level = encrypt; }", NULL, "7.4 TLS is required, but the connection has none");
	is("tls { level = verify; }", NULL, "7.4 TLS is required, but the connection has none");
	is("tls { level = verify; }", &f, NULL);
	is("tls { min_bits = 128; }", &f, NULL);
	is("tls { min_bits = 129; }", &f,
	   "7.5 ECDHE-RSA-AES128-GCM-SHA256 has 128 bits, 129 are required");
	is("tls { min_version = TLSv1.2; }", &f, NULL);
	is("tls { min_version = TLSv1.3; }", &f, "7.5 TLSv1.2 is older than what is required");
	is("tls { issuer = \"/CN=A+20CA\"; subject = \"/CN=mx.example\"; }", &f, NULL);
	is("tls { issuer = \"/CN=A+20C\"; }", &f,
	   "7.5 certificate of the server: it is signed by somebody else");
	is("tls { subject = \"/CN=MX\"; }", &f,
	   "7.5 certificate of the server: it is for somebody else");
	f.verify = SM_TLS_FAILED;
	f.verify_text = "certificate has expired";
	is("tls { level = encrypt; }", &f, NULL);
	is("tls { level = verify; }", &f, "7.5 certificate of the server: certificate has expired");
	f.verify = SM_TLS_NO_CERT;
	is("tls { level = verify; }", &f,
	   "7.5 certificate of the server: server shows no certificate");
	f.protocol = "SSLv3";
	is("tls { level = encrypt; }", &f, "7.5 SSLv3 is older than what is required");
}

/* ---- where it failed ---- */

static struct sm_sa at(unsigned n, uint16_t port)
{
	char text[20];
	struct sm_sa sa;

	(void)snprintf(text, sizeof(text), "192.0.2.%u", n);
	assert_int_equal(sm_sa_ip(&sa, sm_str(text), port), 0);
	return sa;
}

static void memory(void **state SM_UNUSED)
{
	struct sc_tls_memory m;
	struct sm_sa sa[5];

	sc_tls_memory_init(&m);
	for (unsigned i = 0; i < 5; i++)
		sa[i] = at(i, 25);
	assert_false(sc_tls_memory_has(&m, &sa[0], 0));
	sc_tls_memory_add(&m, &sa[0], 0, 100, 3);
	sa[0] = at(0, 587);
	assert_true(sc_tls_memory_has(&m, &sa[0], 99));
	assert_false(sc_tls_memory_has(&m, &sa[1], 99));
	assert_false(sc_tls_memory_has(&m, &sa[0], 100));
	assert_int_equal(m.count, 0);
	/* Again is later, not twice; no more than so many; the oldest goes. */
	sc_tls_memory_add(&m, &sa[0], 0, 100, 3);
	sc_tls_memory_add(&m, &sa[0], 50, 150, 3);
	assert_int_equal(m.count, 1);
	assert_true(sc_tls_memory_has(&m, &sa[0], 120));
	for (unsigned i = 1; i < 4; i++)
		sc_tls_memory_add(&m, &sa[i], 50, 150 + i, 3);
	assert_int_equal(m.count, 3);
	assert_false(sc_tls_memory_has(&m, &sa[0], 120));
	assert_true(sc_tls_memory_has(&m, &sa[3], 120));
	/* What is over makes room. */
	sc_tls_memory_add(&m, &sa[4], 152, 300, 3);
	assert_int_equal(m.count, 2);
	sc_tls_memory_add(&m, &sa[0], 0, 100, 0);
	assert_false(sc_tls_memory_has(&m, &sa[0], 1));
	sc_tls_memory_add(&m, &sa[1], 400, 500, 3);
	sc_tls_memory_fini(&m);
}

/* ---- mechanisms ---- */

static const char *chosen(const char *server, const char *auth, const char *offered, bool tls)
{
	const struct sc_mech *m;
	const char *why = NULL;

	assert_int_equal(parse(server, "", auth), 0);
	m = sc_mech_choose(&conf, sm_str(offered), tls, &why);
	return m != NULL ? m->name : why;
}

static void mechanisms(void **state SM_UNUSED)
{
	static const char *const pw = "user = a; password = b;", *const tok =
								     "user = a; token = b;";
	static const char *const readable = "it would be readable, because there is no TLS";

	assert_string_equal(chosen("", pw, "LOGIN PLAIN", true), "PLAIN");
	assert_string_equal(chosen("", pw, "login", true), "LOGIN");
	assert_string_equal(chosen("", pw, "LOGIN PLAIN", false), readable);
	assert_string_equal(chosen("", tok, "XOAUTH2 PLAIN", false), readable);
	assert_string_equal(chosen("auth { clear_text = on; }", pw, "PLAIN", false), "PLAIN");
	assert_string_equal(
	    chosen("auth { mechanisms = { LOGIN, PLAIN }; }", pw, "PLAIN LOGIN", true), "LOGIN");
	assert_string_equal(chosen("auth { mechanisms = { SCRAM-SHA-1 }; }", pw, "PLAIN", true),
	                    "server offers no mechanism that fits");
	assert_string_equal(chosen("", tok, "PLAIN XOAUTH2 OAUTHBEARER", true), "OAUTHBEARER");
	assert_string_equal(chosen("", tok, "PLAIN LOGIN", true),
	                    "server offers no mechanism that fits");
	assert_string_equal(chosen("", pw, "XOAUTH2 PLAINX", true),
	                    "server offers no mechanism that fits");
}

static void says(const char *mech, unsigned step, int rc, struct sm_str want)
{
	const struct sc_mech_where where = {
	    .token = SM_STR("vF9dft4"), .host = SM_STR("server.example.com"), .port = 587};
	const struct sc_mech *m;
	struct sm_buf out;
	const char *why;

	m = sc_mech_choose(&conf, sm_str(mech), true, &why);
	assert_non_null(m);
	sm_buf_init(&out, 1000);
	assert_int_equal(sc_mech_say(m, &conf.credentials, &where, step, &out), rc);
	assert_true(sm_str_eq(sm_buf_view(&out), want));
	sm_buf_fini(&out);
}

static void sayings(void **state SM_UNUSED)
{
	assert_int_equal(parse("", "", "user = tim; password = tanstaaftanstaaf;"), 0);
	says("PLAIN", 0, 0, SM_STR("\0tim\0tanstaaftanstaaf"));
	says("PLAIN", 1, SM_E_PROTO, SM_STR(""));
	says("LOGIN", 0, SM_E_EOF, SM_STR(""));
	says("LOGIN", 1, 0, SM_STR("tim"));
	says("LOGIN", 2, 0, SM_STR("tanstaaftanstaaf"));
	says("LOGIN", 3, SM_E_PROTO, SM_STR(""));
	assert_int_equal(parse("", "", "user = \"us,er=@example.com\"; token = x;"), 0);
	says("XOAUTH2", 0, 0, SM_STR("user=us,er=@example.com\1auth=Bearer vF9dft4\1\1"));
	says("XOAUTH2", 1, 0, SM_STR(""));
	says("XOAUTH2", 2, SM_E_PROTO, SM_STR(""));
	says("OAUTHBEARER", 0, 0,
	     SM_STR("n,a=us=2Cer=3D@example.com,\1host=server.example.com\1port=587\1auth=Bearer "
	            "vF9dft4\1\1"));
	says("OAUTHBEARER", 1, 0, SM_STR("\1"));
}

static void hard_challenges(void **state SM_UNUSED)
{
	assert_false(sc_mech_is_hard(SM_STR("r=abc,s=QSXCR+Q6sek8bf92,i=4096")));
	assert_false(sc_mech_is_hard(SM_STR("r=abc,s=QSXCR+Q6sek8bf92,i=1000000,x=1")));
	assert_false(sc_mech_is_hard(SM_STR("v=abc")));
	assert_false(sc_mech_is_hard(SM_STR("")));
	assert_true(sc_mech_is_hard(SM_STR("r=abc,s=QSXCR+Q6sek8bf92,i=1000001")));
	assert_true(sc_mech_is_hard(SM_STR("i=99999999999999999999999")));
	assert_true(sc_mech_is_hard(SM_STR("r=a,i=-1")));
	assert_true(sc_mech_is_hard(SM_STR("r=a,i=1,i=2000000000")));
}

static int clean(void **state SM_UNUSED)
{
	sc_server_conf_fini(&conf);
	return 0;
}

static void sources(void **state SM_UNUSED)
{
	struct sm_sa to;

	assert_int_equal(parse("source_address = { 192.0.2.1, \"2001:db8::1\" };", "", ""), 0);
	assert_int_equal(sm_sa_ip(&to, SM_STR("198.51.100.7"), 25), 0);
	assert_ptr_equal(sc_source_for(&conf.source, &to), &conf.source.in4);
	assert_int_equal(sm_sa_ip(&to, SM_STR("2001:db8::7"), 25), 0);
	assert_ptr_equal(sc_source_for(&conf.source, &to), &conf.source.in6);
	assert_int_equal(sm_sa_unix(&to, SM_STR("/x")), 0);
	assert_null(sc_source_for(&conf.source, &to));
	assert_int_equal(parse("source_address = { 192.0.2.1 };", "", ""), 0);
	assert_int_equal(sm_sa_ip(&to, SM_STR("2001:db8::7"), 25), 0);
	assert_null(sc_source_for(&conf.source, &to));
	assert_int_not_equal(parse("source_address = { 192.0.2.1, 192.0.2.2 };", "", ""), 0);
	assert_int_not_equal(parse("source_address = { host.example };", "", ""), 0);
	assert_int_not_equal(parse("", "source_address = { 192.0.2.1 };", ""), 0);
}

/* What is said of a server goes before what the section has, and only that. */
static void times(void **state SM_UNUSED)
{
	const struct sc_timeouts section = {.data_final_ms = 7000, .mail_ms = 8000};

	sc_server_conf_fini(&conf);
	sc_server_conf_init(&conf);
	assert_int_equal(sc_server_conf_parse(&conf, SC_TLS_MAY, &section,
	                                      SM_STR("timeouts { data_final = 20m; rset = 3s; } "
	                                             "max_transactions = 10; dial_delay = 10s;"),
	                                      SM_STR(""), SM_STR("")),
	                 0);
	assert_int_equal(conf.timeouts.data_final_ms, 20 * 60 * 1000);
	assert_int_equal(conf.timeouts.mail_ms, 8000);
	assert_int_equal(conf.timeouts.rset_ms, 3000);
	assert_int_equal(conf.max_transactions, 10);
	assert_int_equal(conf.dial_delay_ms, 10000);
	assert_int_equal(parse("", "", ""), 0);
	assert_int_equal(conf.timeouts.data_final_ms, 10 * 60 * 1000);
	assert_int_equal(conf.max_transactions, 0);
	assert_int_equal(conf.dial_delay_ms, 0);
	assert_int_not_equal(parse("timeouts { data_final = 2h; }", "", ""), 0);
	assert_int_not_equal(parse("", "timeouts { mail = 1m; }", ""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(times),         cmocka_unit_test(sources),
	    cmocka_unit_test(levels),        cmocka_unit_test(joined),
	    cmocka_unit_test(wrong_texts),   cmocka_unit_test(credentials),
	    cmocka_unit_test(checked_texts), cmocka_unit_test(fulfilled),
	    cmocka_unit_test(memory),        cmocka_unit_test(mechanisms),
	    cmocka_unit_test(sayings),       cmocka_unit_test(hard_challenges),
	};

	return cmocka_run_group_tests(tests, NULL, clean);
}
