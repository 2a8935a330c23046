/* Networks of the configuration, and the sign of one client that stands for all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/arena.h"
#include "smtps/nets.h"
#include "smtps/one_client.h"

static struct sm_sa ip(const char *text)
{
	struct sm_sa sa;

	assert_int_equal(sm_sa_ip(&sa, sm_str(text), 25), 0);
	return sa;
}

static bool in(const char *net, const char *host)
{
	struct sm_str one = sm_str(net);
	struct sm_conf_list list = {1, &one};
	struct sm_sa sa = ip(host);

	assert_int_equal(ss_nets_check(&list), 0);
	return ss_nets_have(&list, &sa);
}

static void test_nets(void **state)
{
	struct sm_str all[] = {SM_STR("unix"), SM_STR("192.0.2.1")};
	struct sm_conf_list list = {2, all}, none = {0, NULL};
	struct sm_sa sa;
	(void)state;

	assert_true(in("192.0.2.1", "192.0.2.1"));
	assert_true(in("192.0.2.1", "::ffff:192.0.2.1"));
	assert_false(in("192.0.2.1", "192.0.2.2"));
	assert_true(in("192.0.2.0/24", "192.0.2.255"));
	assert_false(in("192.0.2.0/24", "192.0.3.0"));
	assert_true(in("192.0.2.128/25", "192.0.2.129"));
	assert_false(in("192.0.2.128/25", "192.0.2.127"));
	assert_true(in("10.0.0.0/7", "11.1.1.1"));
	assert_false(in("10.0.0.0/7", "12.1.1.1"));
	assert_true(in("0.0.0.0/0", "203.0.113.9"));
	assert_false(in("0.0.0.0/0", "2001:db8::1"));
	assert_true(in("2001:db8::/32", "2001:db8:1::1"));
	assert_false(in("2001:db8::/32", "2001:db9::1"));
	assert_true(in("::/0", "192.0.2.1"));

	assert_int_equal(sm_sa_unix(&sa, SM_STR("/x")), 0);
	assert_true(ss_nets_have(&list, &sa));
	list.v++;
	list.count--;
	assert_false(ss_nets_have(&list, &sa));
	assert_false(ss_nets_have(&none, &sa));
	sa.len = 0;
	assert_false(ss_nets_have(&list, &sa));
}

static void test_bad(void **state)
{
	static const char *const bad[] = {
	    "",       "host", "1.2.3.4/33",  "1.2.3.4/", "1.2.3.4/x", "1.2.3",
	    "::/129", "/8",   "1.2.3.4/8/8", "unix:/x",  "1.2.3.4/-1"};
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		struct sm_str one = sm_str(bad[i]);
		struct sm_conf_list list = {1, &one};

		if (ss_nets_check(&list) == 0)
			fail_msg("\"%s\" is taken", bad[i]);
	}
}

static bool after(int sessions, int64_t enough, const char *client, const char *other, int at)
{
	struct ss_one_client o = {.sessions = 0};
	struct sm_sa a = ip(client), b = ip(other);
	int said = 0;

	for (int i = 1; i <= sessions; i++)
		said += ss_one_client_seen(&o, i == at ? &b : &a, enough);
	assert_true(said <= 1);
	return said == 1;
}

static void test_one_client(void **state)
{
	(void)state;
	assert_true(after(3, 3, "172.17.0.1", "172.17.0.1", 0));
	assert_true(after(100, 3, "::ffff:10.0.0.1", "10.0.0.1", 2));
	assert_true(after(100, 3, "fd00::1", "fd00::1", 0));
	assert_false(after(2, 3, "172.17.0.1", "172.17.0.1", 0));
	assert_false(after(100, 3, "172.17.0.1", "172.17.0.2", 2));
	assert_false(after(100, 3, "192.0.2.1", "192.0.2.1", 0)); /* not private */
	assert_false(after(100, 3, "127.0.0.1", "127.0.0.1", 0));
	assert_false(after(100, 0, "172.17.0.1", "172.17.0.1", 0));
	assert_true(after(100, 3, "172.17.0.1", "8.8.8.8", 4)); /* it was said before */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_nets),
	    cmocka_unit_test(test_bad),
	    cmocka_unit_test(test_one_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
