/* TLS: peers that mean harm: bytes that are no TLS, an end that is none, and names made to mislead.
 */
#include "libsm/t_tls.h"

#include <string.h>
#include <sys/socket.h>

/* ---- a peer that speaks no TLS, or none any more ---- */

static void raw_server(void *arg)
{
	struct t_ends *e = arg;

	e->server_rc = sm_tls_accept(&e->a, e->server, sm_loop_now_ms() + 200);
	if (e->server_rc != 0)
		assert_int_not_equal(sm_net_write(&e->a, "x", 1, SM_NEVER), 0);
	sm_net_close(&e->a);
}

static int given(struct t_ends *e, const void *p, size_t n, bool end)
{
	t_open_ends(e);
	t_spawn(raw_server, e);
	assert_int_equal(send(e->b.f.fd, p, n, 0), n);
	if (end)
		assert_int_equal(shutdown(e->b.f.fd, SHUT_WR), 0);
	t_run_all();
	sm_net_close(&e->b);
	return e->server_rc;
}

static void test_no_tls(void **state)
{
	static const char smtp[] = "EHLO me\r\nMAIL FROM:<a@b>\r\n",
			  http[] = "GET / HTTP/1.0\r\n\r\n";
	struct sm_tls_conf s = t_server_conf();
	struct t_ends e = {0};

	(void)state;
	assert_int_equal(sm_tls_server_new(&s, "smtps", &e.server), 0);
	assert_int_equal(given(&e, smtp, sizeof(smtp) - 1, false), SM_E_TLS);
	assert_int_equal(given(&e, http, sizeof(http) - 1, false), SM_E_TLS);
	assert_int_equal(given(&e, "\x16", 1, true), SM_E_EOF);
	assert_int_equal(given(&e, "\x16\x03\x01", 3, false), SM_E_TIMEOUT);
	assert_int_equal(given(&e, "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 10, true), SM_E_TLS);
	sm_tls_ctx_unref(&e.server);
}

static void cut_reader(void *arg)
{
	struct t_ends *e = arg;
	char c;

	assert_int_equal(sm_tls_accept(&e->a, e->server, SM_NEVER), 0);
	e->server_rc = (int)sm_net_read(&e->a, &c, 1, SM_NEVER);
	assert_true(sm_net_pending(&e->a));
	assert_int_not_equal(sm_net_write(&e->a, "x", 1, SM_NEVER), 0);
	sm_net_close(&e->a);
}

static void cutter(void *arg)
{
	struct t_ends *e = arg;

	assert_int_equal(sm_tls_connect(&e->b, e->client, &e->peer, SM_NEVER), 0);
	if (e->talk) {
		/* close_notify, and clear text behind it. */
		e->b.layer->end_write(&e->b);
		assert_int_equal(send(e->b.f.fd, "RSET\r\n", 6, 0), 6);
	} else {
		assert_int_equal(shutdown(e->b.f.fd, SHUT_RDWR), 0);
	}
	sm_net_close(&e->b);
}

static void test_end(void **state)
{
	struct sm_tls_conf s = t_server_conf(), c = t_client_conf(NULL);
	struct t_ends e = {.peer = {.sni = SM_STR("")}};

	(void)state;
	t_both(&e, &s, &c);
	for (int i = 0; i < 2; i++) {
		e.talk = i == 0;
		t_open_ends(&e);
		t_spawn(cut_reader, &e);
		t_spawn(cutter, &e);
		t_run_all();
		assert_int_equal(e.server_rc, i == 0 ? SM_E_EOF : SM_E_TLS);
	}
	t_fini(&e);
}

/* ---- names ---- */

static void test_names(void **state)
{
	static const struct {
		struct sm_str pattern, name;
		bool fits;
	} row[] = {
	    {SM_STR("mx.test"), SM_STR("MX.Test"), true},
	    {SM_STR("mx.test"), SM_STR("mx.test\0x"), false},
	    {SM_STR("mx.test"), SM_STR(""), false},
	    {SM_STR(""), SM_STR(""), false},
	    {SM_STR("*.test"), SM_STR("a.test"), true},
	    {SM_STR("*.test"), SM_STR("a.b.test"), false},
	    {SM_STR("*.test"), SM_STR(".test"), false},
	    {SM_STR("*.test"), SM_STR("test"), false},
	    {SM_STR("*"), SM_STR("test"), false},
	    {SM_STR("a*.test"), SM_STR("ab.test"), false},
	};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(row); i++)
		assert_int_equal(sm_tls_name_fits(row[i].pattern, row[i].name), row[i].fits);
}

static struct sm_str dn(const void *der, size_t n)
{
	struct sm_str out;

	assert_int_equal(sm_tls_dn(sm_str_n(der, n), &t_arena, &out), 0);
	return out;
}

static void test_dn(void **state)
{
	/* SEQUENCE { SET { SEQUENCE { OID cn, UTF8String } } } */
	static const unsigned char nul[] = {0x30, 0x0f, 0x31, 0x0d, 0x30, 0x0b, 6,    3,  0x55,
	                                    4,    3,    12,   4,    'a',  0,    '\n', 'b'},
				   odd[] = {0x30, 0x0c, 0x31, 0x0a, 0x30, 8, 6,
	                                    3,    0x2a, 3,    4,    12,   1, 'x'},
				   empty[] = {0x30, 0};
	unsigned char *big = sm_malloc(4000);
	struct sm_str out;

	(void)state;
	assert_true(sm_str_eq(dn(nul, sizeof(nul)), SM_STR("/CN=a+00+0Ab")));
	assert_true(sm_str_eq(dn(odd, sizeof(odd)), SM_STR("/1.2.3.4=x")));
	assert_int_equal(dn(empty, sizeof(empty)).n, 0);
	assert_int_equal(sm_tls_dn(SM_STR("\x30\x05"), &t_arena, &out), SM_E_SYNTAX);
	assert_int_equal(sm_tls_dn(SM_STR(""), &t_arena, &out), SM_E_SYNTAX);
	/* Cut at 1024, and never within an escape. */
	for (unsigned n = 339; n < 345; n++) {
		const unsigned char head[] = {0x30,
		                              0x82,
		                              (unsigned char)((n + 17) >> 8),
		                              (unsigned char)(n + 17),
		                              0x31,
		                              0x82,
		                              (unsigned char)((n + 13) >> 8),
		                              (unsigned char)(n + 13),
		                              0x30,
		                              0x82,
		                              (unsigned char)((n + 9) >> 8),
		                              (unsigned char)(n + 9),
		                              6,
		                              3,
		                              0x55,
		                              4,
		                              3,
		                              12,
		                              0x82,
		                              (unsigned char)(n >> 8),
		                              (unsigned char)n};
		memcpy(big, head, sizeof(head));
		memset(big + sizeof(head), ' ', n);
		out = dn(big, sizeof(head) + n);
		assert_int_equal(out.n, 4 + 3 * SM_MIN(n, (SM_TLS_DN_MAX - 4) / 3U));
		for (size_t i = 4; i < out.n; i += 3)
			assert_memory_equal(out.p + i, "+20", 3);
	}
	sm_free(big);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    T_TEST(test_no_tls),
	    T_TEST(test_end),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_dn),
	};

	return cmocka_run_group_tests(tests, t_tls_setup, t_tls_teardown);
}
