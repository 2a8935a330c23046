/* Domains whose mail waits: which, for what, who may bring it, and that no name server hears of
 * them. */
#include "smar/address.h"
#include "smar/on_demand.h"

#include "smar/check.h"
#include "smar/resolve.h"
#include "smar/t_dns_run.h"
#include "smar/t_site.h"

static const char config[] =
    "map d { type = inline; entries = {\n"
    "\"queue.map.example queue\", \"hold.map.example hold\", \"default.map.example default\",\n"
    "\".map.example no\", \"bad.map.example perhaps\" }; }\n"
    "on_demand { domains = { \"cust.example\", \".cust.example\", \"x.map.example\",\n"
    "\"local.example\", \"fixed.example\" }; name = d; deliver = hold; }\n"
    "verify_recipient { domains = { \".\" }; }\n";

static const struct t_dns_row zone[] = {
    {"cust.example", AR_DNS_MX, 600, "10 a.cust.example"},
    {"a.cust.example", AR_DNS_A, 600, "192.0.2.1"},
    {NULL, 0, 0, NULL},
};

static int set_up(void **state SM_UNUSED)
{
	t_site_open(config, "local.example lmtp:\nfixed.example [192.0.2.9]\n");
	return 0;
}

static int tear_down(void **state SM_UNUSED)
{
	t_site_close();
	return 0;
}

static const struct {
	const char *rcpt;
	enum sm_wait wait;
} cases[] = {
    {"u@cust.example", SM_WAIT_ASKED},
    {"u@CUST.Example", SM_WAIT_ASKED},
    {"u@deep.sub.cust.example", SM_WAIT_ASKED},
    {"u@othercust.example", SM_WAIT_NO},
    {"u@example", SM_WAIT_NO},
    {"postmaster", SM_WAIT_NO},
    {"u@queue.map.example", SM_WAIT_RUN},
    {"u@hold.map.example", SM_WAIT_ASKED},
    {"u@default.map.example", SM_WAIT_ASKED},
    /* The map goes before the list. */
    {"u@x.map.example", SM_WAIT_NO},
    /* What is delivered here never waits, what has a route of its own may. */
    {"u@local.example", SM_WAIT_NO},
    {"u@fixed.example", SM_WAIT_ASKED},
};

static int demand_of(const char *rcpt, struct ar_demand *d)
{
	struct ar_address a;

	assert_int_equal(ar_address_of(&site.ar, &site.arena, sm_str(rcpt), &a), 0);
	return ar_on_demand(&site.ar, &site.ctx, a.parts.domain, d);
}

static void which_domains(void **state SM_UNUSED)
{
	struct ar_demand d;

	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		assert_int_equal(demand_of(cases[i].rcpt, &d), 0);
		assert_int_equal(d.wait, cases[i].wait);
		assert_int_equal(d.relay, cases[i].wait != SM_WAIT_NO);
	}
	assert_int_equal(demand_of("u@bad.map.example", &d), SM_E_SYNTAX);
}

/* All of it without a name server: there is none in this test. */
static void no_route_before(void **state SM_UNUSED)
{
	struct sm_msg_route_get q = {.sender = SM_STR("")};
	struct sm_msg_route m;

	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		q.rcpt = sm_str(cases[i].rcpt);
		q.flags = SM_ROUTE_ASK_WAIT;
		assert_int_equal(ar_resolve(&site.ar, &site.ctx, &q, &m), 0);
		assert_int_equal(m.wait, cases[i].wait);
		assert_int_equal(m.status,
		                 cases[i].wait == SM_WAIT_NO ? SM_ROUTE_OK : SM_ROUTE_WAIT);
		assert_int_equal(m.hosts_count, 0);
		if (cases[i].wait == SM_WAIT_NO)
			continue;
		q.flags = 0;
		assert_int_equal(ar_resolve(&site.ar, &site.ctx, &q, &m), 0);
		assert_int_equal(m.status, SM_ROUTE_WAIT);
	}
	q.rcpt = SM_STR("u@fixed.example");
	q.flags = SM_ROUTE_RUN;
	assert_int_equal(ar_resolve(&site.ar, &site.ctx, &q, &m), 0);
	assert_int_equal(m.status, SM_ROUTE_OK);
	assert_int_equal(m.wait, SM_WAIT_ASKED);
	assert_int_equal(m.hosts_count, 1);
	/* Nobody knows whether it may go. */
	q.rcpt = SM_STR("u@bad.map.example");
	q.flags = 0;
	assert_int_equal(ar_resolve(&site.ar, &site.ctx, &q, &m), 0);
	assert_int_equal(m.status, SM_ROUTE_TEMP);
}

static void body_run(void)
{
	struct sm_msg_route_get q = {
	    .rcpt = SM_STR("u@cust.example"), .sender = SM_STR(""), .flags = SM_ROUTE_RUN};
	struct sm_msg_route m;

	t_site_patient();
	assert_int_equal(ar_resolve(&site.ar, &site.ctx, &q, &m), 0);
	assert_int_equal(m.status, SM_ROUTE_OK);
	assert_int_equal(m.wait, SM_WAIT_ASKED);
	assert_int_equal(m.hosts_count, 1);
}

static void a_run_asks(void **state SM_UNUSED)
{
	t_dns_run(zone, &(struct ar_cache_conf){1000, 1000}, 600, body_run);
	t_site_impatient();
}

static struct sm_msg_verdict check(const char *rcpt, uint32_t flags)
{
	struct sm_msg_rcpt_check m = {
	    .sender = SM_STR("s@a.example"), .rcpt = sm_str(rcpt), .flags = flags};
	struct sm_msg_verdict v;

	assert_int_equal(ar_check_rcpt(&site.ar, &site.ctx, &m, &v), 0);
	return v;
}

static void who_may_bring_it(void **state SM_UNUSED)
{
	struct sm_msg_verdict v = check("u@cust.example", 0);

	assert_int_equal(v.code, 0);
	/* Nor is its next hop asked, although verify_recipient says so of all. */
	assert_int_equal(v.flags, SM_VERDICT_ON_DEMAND);
	assert_int_equal(check("u@other.example", 0).code, 550);
	assert_int_equal(check("u@cust.example", SM_CHECK_LMTP_NO_RELAY).code, 550);
	assert_int_equal(check("u@bad.map.example", 0).code, 451);
	assert_int_equal(check("u@other.example", SM_CHECK_MAY_RELAY).flags, SM_VERDICT_VERIFY);
}

/* A site whose line costs is no open relay for that. */
static void all_domains(void **state SM_UNUSED)
{
	site.conf.on_demand.domains.v[0] = SM_STR(".");
	site.conf.on_demand.deliver = SM_WAIT_RUN;
	assert_int_equal(check("u@other.example", 0).code, 550);
	assert_int_equal(check("u@other.example", SM_CHECK_MAY_RELAY).code, 0);
	assert_int_equal(check("u@other.example", SM_CHECK_MAY_RELAY).flags, 0);
	assert_int_equal(check("u@local.example", 0).flags, SM_VERDICT_LOCAL | SM_VERDICT_VERIFY);
	site.conf.on_demand.domains.v[0] = SM_STR("-bad");
	assert_int_equal(ar_conf_check(&site.conf), SM_E_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(which_domains), cmocka_unit_test(no_route_before),
	    cmocka_unit_test(a_run_asks),    cmocka_unit_test(who_may_bring_it),
	    cmocka_unit_test(all_domains),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
