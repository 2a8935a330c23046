/* Lists in DNS: which answers count, in which order, what a list's own trouble is, and what the
 * configuration may say. */
#include <stdio.h>

#include "libsm/err.h"
#include "smar/check.h"
#include "smar/dnsbl.h"
#include "smar/reverse.h"
#include "smar/t_dns_run.h"

static const struct t_dns_row zone[] = {
    {"2.0.0.10.one.example", AR_DNS_A, 600, "127.0.0.2"},
    {"3.0.0.10.one.example", AR_DNS_A, 600, "127.0.0.7"}, /* has no entry */
    {"3.0.0.10.two.example", AR_DNS_A, 600, "127.0.0.3"},
    {"4.0.0.10.one.example", AR_DNS_A, 600, "127.0.0.2"},
    {"4.0.0.10.two.example", AR_DNS_A, 600, "127.0.0.3"},
    {"4.0.0.10.white.example", AR_DNS_A, 600, "127.0.10.1"},
    {"5.0.0.10.two.example", AR_DNS_A, 600, "127.0.0.9"},
    {"5.0.0.10.two.example", AR_DNS_A, 600, "127.0.0.3"},
    {"6.0.0.10.one.example", 0, 0, "SERVFAIL"},
    {"6.0.0.10.two.example", AR_DNS_A, 600, "127.0.0.3"},
    {"7.0.0.10.one.example", 0, 0, "REFUSED"},
    {"7.0.0.10.two.example", AR_DNS_A, 600, "127.0.0.3"},
    {"8.0.0.10.two.example", 0, 0, "REFUSED"},
    /* Trouble of the list: one such record is enough. */
    {"9.0.0.10.one.example", AR_DNS_A, 600, "127.255.255.254"},
    {"10.0.0.10.one.example", AR_DNS_A, 600, "127.0.0.2"},
    {"10.0.0.10.one.example", AR_DNS_A, 600, "192.0.2.1"},
    {"11.0.0.10.one.example", AR_DNS_A, 600, "127.255.254.1"},
    {"12.0.0.10.one.example", AR_DNS_A, 600, "127.0.0.8"}, /* "cont" */
    {"12.0.0.10.two.example", AR_DNS_A, 600, "127.0.0.3"},
    {"13.0.0.10.white.example", AR_DNS_A, 600, "127.0.10.2"},
    {"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.one.example", AR_DNS_A, 600,
     "127.0.0.2"},
    {NULL, 0, 0, NULL},
};

static const char access[] =
    "map a { type = inline; entries = {\n"
    "\"onetag:127.0.0.2 error:550 5.7.1 one\", \"onetag:127.0.0.8 cont\",\n"
    "\"onetag:perm error:451 4.7.1 one refuses\",\n"
    "\"onetag:127.255.255.254 error:550 5.7.1 never\", \"onetag:192 error:550 5.7.1 never\",\n"
    "\"onetag:127.255.254 error:550 5.7.1 net\",\n"
    "\"two-2:127.0.0.3 quick:error:550 5.7.1 two\",\n"
    "\"two-2:127.0.0.9 error:550 5.7.1 nine\", \"two-2:temp error:451 4.7.1 two is away\",\n"
    "\"white:127.0.10.1 ok\", \"white:127.0.10.2 relay\" }; }\n"
    "access_map { name = a; }\n"
    "dnsbl { domain = One.Example; tag = OneTag; }\n"
    "dnsbl { domain = two.example; tag = two-2; }\n"
    "dnsbl { domain = white.example; tag = white; }\n";

/* What the access map makes of it; AR_ACTION_CONT and code 0: nothing said. */
static const struct {
	const char *client;
	enum ar_action_kind kind;
	bool none, quick;
	const char *text;
} cases[] = {
    {"10.0.0.1", AR_ACTION_CONT, true, false, ""},
    {"10.0.0.2", AR_ACTION_ERROR, false, false, "5.7.1 one"},
    {"::ffff:10.0.0.2", AR_ACTION_ERROR, false, false, "5.7.1 one"},
    {"2001:db8::1", AR_ACTION_ERROR, false, false, "5.7.1 one"},
    {"10.0.0.3", AR_ACTION_ERROR, false, true, "5.7.1 two"},
    {"10.0.0.4", AR_ACTION_ERROR, false, false, "5.7.1 one"},
    {"10.0.0.5", AR_ACTION_ERROR, false, true, "5.7.1 two"},
    {"10.0.0.6", AR_ACTION_ERROR, false, true, "5.7.1 two"}, /* no entry onetag:temp */
    {"10.0.0.7", AR_ACTION_ERROR, false, false, "4.7.1 one refuses"},
    {"10.0.0.8", AR_ACTION_CONT, true, false, ""}, /* no entry two-2:perm */
    {"10.0.0.9", AR_ACTION_CONT, true, false, ""},
    {"10.0.0.10", AR_ACTION_CONT, true, false, ""},
    {"10.0.0.11", AR_ACTION_ERROR, false, false, "5.7.1 net"},
    {"10.0.0.12", AR_ACTION_CONT, false, false, ""},
    {"10.0.0.13", AR_ACTION_RELAY, false, false, ""},
};

static struct sm_arena arena;
static struct ar_conf conf;
static struct ar ar;

static int configure(const char *text)
{
	struct sm_conf_file file;
	struct sm_str full = sm_arena_printf(&arena, "smar { %s }", text);
	int rc;

	sm_conf_defaults(ar_conf_opts, &conf, &arena);
	assert_int_equal(sm_conf_parse(&file, "smx.conf", full), 0);
	rc = sm_conf_bind(&file, sm_conf_find(&file, SM_STR("smar"), SM_STR("")), ar_conf_opts,
	                  NULL, &conf, &arena);
	if (rc == 0)
		rc = ar_conf_check(&conf);
	sm_conf_free(&file);
	return rc;
}

static int set_up(void **state SM_UNUSED)
{
	sm_arena_init(&arena, "test", 65536, 1 << 24);
	return 0;
}

static int tear_down(void **state SM_UNUSED)
{
	sm_arena_fini(&arena);
	return 0;
}

static struct sm_sa ip(const char *text)
{
	struct sm_sa sa;

	assert_int_equal(sm_sa_ip(&sa, sm_str(text), 0), 0);
	return sa;
}

static void open_ar(void)
{
	if (configure(access) != 0)
		fail_msg("%s", sm_diag());
	ar = (struct ar){.conf = &conf, .dns_timeout_ms = 2000};
	assert_int_equal(ar_maps_open(&conf, &ar.maps), 0);
}

static const struct ar_dry *dry;

static struct ar_action check(const char *client)
{
	struct ar_ctx ctx = {
	    .a = &arena, .dry = dry, .deadline_ms = sm_now_ms() + 60000, .may_wait = true};
	struct sm_sa sa = ip(client);
	struct ar_action a;

	assert_int_equal(ar_dnsbl_check(&ar, &ctx, &sa, &a), 0);
	return a;
}

static void decide_all(void)
{
	static const struct ar_dry nobody;
	uint64_t strange = ar_dnsbl_stats().strange, listed = ar_dnsbl_stats().listed;
	uint64_t found = 0;

	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		struct ar_action a = check(cases[i].client);

		if (a.kind != cases[i].kind || a.none != cases[i].none ||
		    a.quick != cases[i].quick ||
		    (a.kind == AR_ACTION_ERROR && !sm_str_eq(a.text, sm_str(cases[i].text))))
			fail_msg("%s: kind %d none %d quick %d text " SM_STR_FMT, cases[i].client,
			         (int)a.kind, a.none, a.quick,
			         SM_STR_ARG(a.kind == AR_ACTION_ERROR ? a.text : SM_STR("")));
		found += !a.none;
		/* Asked by an operator it is the same, and is not counted. */
		dry = &nobody;
		assert_int_equal(check(cases[i].client).kind, cases[i].kind);
		dry = NULL;
	}
	assert_int_equal(ar_dnsbl_stats().strange - strange, 2);
	assert_int_equal(ar_dnsbl_stats().listed - listed, found);
}

static void answers(void **state SM_UNUSED)
{
	const struct ar_cache_conf cache = {1000, 1000};

	open_ar();
	t_dns_run(zone, &cache, 2000, decide_all);
	ar_release(&ar);
}

/* All lists are asked in one turn, and nobody waits in the first pass. */
static void ask_at_once(void)
{
	struct ar_ctx ctx = {.a = &arena};
	struct sm_sa sa = ip("10.0.0.4");
	struct sm_sa unix_socket = {0};
	struct ar_action a;

	ar_dnsbl_ask(&ar, &sa);
	assert_int_equal(ar_cache_stats().asked, 3);
	assert_int_equal(ar_dnsbl_check(&ar, &ctx, &sa, &a), SM_E_AGAIN);
	assert_int_equal(check("10.0.0.4").kind, AR_ACTION_ERROR);
	assert_int_equal(ar_cache_stats().asked, 3);
	/* Who has no address of the Internet is in no list. */
	assert_int_equal(ar_dnsbl_check(&ar, &ctx, &unix_socket, &a), 0);
	assert_true(a.none);
}

static void at_once(void **state SM_UNUSED)
{
	const struct ar_cache_conf cache = {1000, 1000};

	open_ar();
	t_dns_run(zone, &cache, 2000, ask_at_once);
	ar_release(&ar);
}

static void configuration(void **state SM_UNUSED)
{
	static const struct {
		const char *text, *diag;
	} bad[] = {
	    {"access_map { file = a; } dnsbl { domain = a.example; }", "tag"},
	    {"access_map { file = a; } dnsbl { tag = a; }", "domain"},
	    {"access_map { file = a; } dnsbl { domain = \"a b\"; tag = a; }", "no domain name"},
	    {"access_map { file = a; } dnsbl { domain = a.example; tag = \"a:b\"; }",
	     "only letters"},
	    {"access_map { file = a; } dnsbl { domain = a.example; tag = From; }",
	     "means something else"},
	    {"dnsbl { domain = a.example; tag = a; }", "without access_map"},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		assert_int_not_equal(configure(bad[i].text), 0);
		if (strstr(sm_diag(), bad[i].diag) == NULL ||
		    strstr(sm_diag(), "smx.conf:1") == NULL)
			fail_msg("%s: %s", bad[i].text, sm_diag());
	}
	assert_int_equal(
	    configure("access_map { file = a; } dnsbl { domain = a.example; tag = a; }"), 0);
}

static void names(void **state SM_UNUSED)
{
	char name[AR_DNS_NAME_MAX + 1], longest[200];
	struct sm_sa sa = ip("192.0.2.1"), none = {0};

	assert_true(ar_reverse_name(&sa, SM_STR("in-addr.arpa"), SM_STR("ip6.arpa"), name));
	assert_string_equal(name, "1.2.0.192.in-addr.arpa");
	sa = ip("2001:db8::a1");
	assert_true(ar_reverse_name(&sa, SM_STR("in-addr.arpa"), SM_STR("ip6.arpa"), name));
	assert_string_equal(
	    name, "1.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
	assert_false(ar_reverse_name(&none, SM_STR("a"), SM_STR("b"), name));
	memset(longest, 'a', sizeof(longest));
	assert_false(ar_reverse_name(&sa, sm_str_n(longest, 192), sm_str_n(longest, 192), name));
	assert_true(ar_reverse_name(&sa, sm_str_n(longest, 191), sm_str_n(longest, 191), name));
	assert_int_equal(strlen(name), AR_DNS_NAME_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(answers, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(at_once, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(configuration, set_up, tear_down),
	    cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
