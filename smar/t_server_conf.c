/* What smtpc is told of servers and recipients: orders of lookup, keys of routes, maps that fail.
 */
#include "smar/server_conf.h"

#include <stdio.h>

#include "smar/t_dns_run.h"
#include "smar/t_site.h"

static const char config[] =
    "map a { type = inline; entries = {\n"
    "\"smtpc_session_conf:mx.one.example one\", \"smtpc_session_conf:.one.example below\",\n"
    "\"smtpc_session_conf:mx.one.example:10024 port\", "
    "\"smtpc_session_conf:192.0.2.7:10024 ip and port\",\n"
    "\"smtpc_session_conf:[2001:db8:0:0:0:0:0:7]:10024 six and port\",\n"
    "\"smtpc_session_conf:192.0.2 net\", \"smtpc_session_conf:2001:db8:0:0:0:0:0:1 six\",\n"
    "\"smtpc_rcpt_conf:joe@r.example joe\", \"smtpc_rcpt_conf:@r.example all\",\n"
    "\"smtpc_rcpt_conf:@.r.example below\" }; }\n"
    "access_map { name = a; }\n"
    "map s { type = inline; entries = {\n"
    "\"mx.one.example user = joe; password = x;\", \"192.0.2.9 nine\" }; }\n"
    "server_auth { name = s; }\n";
/* Nobody listens there. */
static const char broken[] = "map a { type = socket; path = \"/nonexistent/map\"; mapname = x; }\n"
			     "access_map { name = a; }\n";

static void server_at(uint16_t port, const char *name, const char *ip, const char *text,
                      const char *auth)
{
	struct sm_msg_server_conf m = {.name = sm_str(name)};
	struct sm_msg_server_confd out;

	assert_int_equal(sm_sa_ip(&m.sa, sm_str(ip), port), 0);
	assert_int_equal(ar_server_conf(&site.ar, &site.ctx, &m, &out), 0);
	assert_int_equal(out.code, 0);
	assert_true(sm_str_eq(out.conf, sm_str(text)));
	assert_true(sm_str_eq(out.auth, sm_str(auth)));
}

static void server(const char *name, const char *ip, const char *text, const char *auth)
{
	server_at(25, name, ip, text, auth);
}

/* Several servers on one address are told apart by their ports. */
static void ports(void **state SM_UNUSED)
{
	t_site_open(config, NULL);
	t_site_patient();
	server_at(10024, "MX.one.example", "192.0.2.1", "port", "user = joe; password = x;");
	server_at(10025, "mx.one.example", "192.0.2.1", "one", "user = joe; password = x;");
	server_at(10024, "mx.one.example", "192.0.2.7", "port", "user = joe; password = x;");
	server_at(10024, "other.one.example", "192.0.2.7", "ip and port", "");
	server_at(10024, "[192.0.2.7]", "192.0.2.7", "ip and port", "");
	server_at(10025, "[192.0.2.7]", "192.0.2.7", "net", "");
	server_at(10024, "", "2001:db8::7", "six and port", "");
	server_at(10025, "", "2001:db8::7", "", "");
	t_site_close();
}

static void servers(void **state SM_UNUSED)
{
	t_site_open(config, NULL);
	t_site_patient();
	server("mx.one.example", "192.0.2.1", "one", "user = joe; password = x;");
	server("MX.One.Example", "198.51.100.1", "one", "user = joe; password = x;");
	server("other.one.example", "192.0.2.1", "below", "");
	server("one.example", "192.0.2.1", "net", "");
	server("one.example", "198.51.100.1", "", "");
	server("[192.0.2.9]", "192.0.2.9", "net", "nine");
	server("x.example", "2001:db8::1", "six", "");
	t_site_close();
}

static int rcpt_conf(const char *rcpt, struct sm_msg_route *r)
{
	struct ar_address a;

	assert_int_equal(ar_address_of(&site.ar, &site.arena, sm_str(rcpt), &a), 0);
	return ar_rcpt_conf(&site.ar, &site.ctx, &a, r);
}

static void recipient(const char *rcpt, const char *text, struct sm_str *key)
{
	struct sm_msg_route r = {.status = SM_ROUTE_OK, .key = SM_STR("smtp:25:mx.example")};

	assert_int_equal(rcpt_conf(rcpt, &r), 0);
	assert_int_equal(r.status, SM_ROUTE_OK);
	assert_true(sm_str_eq(r.conf, sm_str(text)));
	*key = r.key;
}

static void recipients(void **state SM_UNUSED)
{
	struct sm_str none, joe, joe_too, all, below;

	t_site_open(config, NULL);
	t_site_patient();
	recipient("x@example", "", &none);
	recipient("joe@r.example", "joe", &joe);
	recipient("Joe@R.example", "joe", &joe_too);
	recipient("x@r.example", "all", &all);
	recipient("x@a.r.example", "below", &below);
	assert_true(sm_str_eq(none, SM_STR("smtp:25:mx.example")));
	assert_true(sm_str_eq(joe, joe_too));
	assert_true(sm_str_has_prefix(joe, none));
	assert_false(sm_str_eq(joe, none));
	assert_false(sm_str_eq(joe, all));
	assert_false(sm_str_eq(all, below));
	t_site_close();
}

/* The longest key of a route stays one that fits its message. */
static void long_keys(void **state SM_UNUSED)
{
	struct sm_msg_route r = {.status = SM_ROUTE_OK};
	char key[601];

	t_site_open(config, NULL);
	t_site_patient();
	memset(key, 'k', sizeof(key) - 1);
	key[600] = '\0';
	r.key = sm_str(key);
	assert_int_equal(rcpt_conf("joe@r.example", &r), 0);
	assert_in_range(r.key.n, 1, 600);
	t_site_close();
}

static void failing_body(void)
{
	struct sm_msg_server_conf m = {.name = SM_STR("mx.example")};
	struct sm_msg_route r = {.status = SM_ROUTE_OK, .key = SM_STR("k")};
	struct sm_msg_server_confd out;

	assert_int_equal(sm_sa_ip(&m.sa, SM_STR("192.0.2.1"), 25), 0);
	assert_int_equal(ar_server_conf(&site.ar, &site.ctx, &m, &out), 0);
	assert_int_equal(out.code, 451);
	assert_int_equal(out.conf.n + out.auth.n, 0);
	assert_int_equal(rcpt_conf("joe@r.example", &r), 0);
	assert_int_equal(r.status, SM_ROUTE_TEMP);
	assert_int_equal(r.code, 451);
}

/* Not told is not "nothing": mail waits. */
static void failing_maps(void **state SM_UNUSED)
{
	static const struct t_dns_row zone[] = {{NULL, 0, 0, NULL}};

	t_site_open(broken, NULL);
	t_site_patient();
	t_dns_run(zone, &(struct ar_cache_conf){1000, 1000}, 600, failing_body);
	t_site_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(servers),      cmocka_unit_test(ports),
	    cmocka_unit_test(recipients),   cmocka_unit_test(long_keys),
	    cmocka_unit_test(failing_maps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
