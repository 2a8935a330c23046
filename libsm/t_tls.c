/* TLS between two ends that mean well: who the peer is, resumption, much data, and what of a stack
 * it takes. */
#include "libsm/t_tls.h"

#include <stdio.h>
#include <sys/uio.h>

/* ---- who the peer is ---- */

static void test_facts(void **state)
{
	struct sm_tls_conf s = t_server_conf(), c = t_client_conf("client.pem");
	struct t_ends e = {.peer = {.sni = SM_STR("mx.test"), .verify = true}};

	(void)state;
	t_both(&e, &s, &c);
	t_meet(&e);
	assert_int_equal(e.server_rc, 0);
	assert_int_equal(e.client_rc, 0);
	assert_string_equal(e.at_server.protocol, "TLSv1.3");
	assert_string_equal(e.at_server.cipher, "TLS_AES_256_GCM_SHA384");
	assert_int_equal(e.at_server.bits, 256);
	assert_false(e.at_server.resumed);
	assert_int_equal(e.at_server.verify, SM_TLS_OK);
	assert_true(sm_str_eq(e.at_server.issuer, SM_STR("/C=US/CN=Test+20CA")));
	assert_true(
	    sm_str_eq(e.at_server.subject, SM_STR("/C=US/O=a+2Fb/CN=Darth+20Mail+20+28Cert+29/"
	                                          "emailAddress=darth+2Bcert@endmail.org")));
	assert_true(sm_str_eq(e.at_server.name, SM_STR("Darth Mail (Cert)")));
	assert_true(sm_str_eq(e.at_server.sni, SM_STR("mx.test")));
	assert_int_equal(e.at_client.verify, SM_TLS_OK);
	assert_true(sm_str_eq(e.at_client.name, SM_STR("mx.test")));
	assert_true(sm_str_eq(e.at_client.subject, SM_STR("/CN=mx.test")));
	t_fini(&e);
}

static const struct {
	const char *server_ca, *client, *sni;
	bool verify;
	int rc;
	enum sm_tls_verify at_server, at_client;
} trust[] = {
    {"ca.pem", NULL, "mx.test", true, 0, SM_TLS_NO_CERT, SM_TLS_OK},
    {NULL, "client.pem", "mx.test", true, 0, SM_TLS_NONE, SM_TLS_OK},
    {"ca.pem", "self.pem", "a.wild.test", true, 0, SM_TLS_FAILED, SM_TLS_OK},
    {"ca.pem", NULL, "127.0.0.1", true, 0, SM_TLS_NO_CERT, SM_TLS_OK},
    {"ca.pem", NULL, "wrong.test", false, 0, SM_TLS_NO_CERT, SM_TLS_FAILED},
    {"ca.pem", NULL, "", false, 0, SM_TLS_NO_CERT, SM_TLS_FAILED},
    {"ca.pem", NULL, "wrong.test", true, SM_E_TLS, SM_TLS_NO_CERT, SM_TLS_FAILED},
    {"ca.pem", NULL, "a.b.wild.test", true, SM_E_TLS, SM_TLS_NO_CERT, SM_TLS_FAILED},
};

static void test_trust(void **state)
{
	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(trust); i++) {
		struct sm_tls_conf s = t_server_conf(), c = t_client_conf(trust[i].client);
		struct t_ends e = {
		    .peer = {.sni = sm_str(trust[i].sni), .verify = trust[i].verify}};

		s.ca_file = trust[i].server_ca == NULL ? SM_STR("") : t_at(trust[i].server_ca);
		t_both(&e, &s, &c);
		e.talk = false;
		t_meet(&e);
		assert_int_equal(e.client_rc, trust[i].rc);
		if (trust[i].rc == 0) {
			assert_int_equal(e.at_server.verify, trust[i].at_server);
			assert_int_equal(e.at_client.verify, trust[i].at_client);
			assert_int_equal(e.at_client.verify == SM_TLS_FAILED,
			                 e.at_client.verify_text[0] != '\0');
		}
		t_fini(&e);
	}
}

static void test_other_name(void **state)
{
	struct sm_tls_conf s = t_server_conf(), c = t_client_conf(NULL);
	struct t_ends e = {.peer = {.sni = SM_STR("other.test"), .verify = true}};

	(void)state;
	s.cert_file = t_list("rsa.pem", "other.pem");
	s.key_file = t_list("rsa.key", "other.key");
	t_both(&e, &s, &c);
	t_meet(&e);
	assert_int_equal(e.client_rc, 0);
	assert_true(sm_str_eq(e.at_client.subject, SM_STR("/CN=other.test")));
	/* Without a name, or with one that nobody knows, it is whatever suits the client best. */
	e.peer = (struct sm_tls_peer){.sni = SM_STR("unknown.test")};
	t_meet(&e);
	assert_int_equal(e.client_rc, 0);
	t_fini(&e);
}

/* ---- resumption ---- */

static void again(struct t_ends *e, bool resumed)
{
	t_meet(e);
	assert_int_equal(e->server_rc, 0);
	assert_int_equal(e->client_rc, 0);
	assert_int_equal(e->at_server.resumed, resumed);
	assert_int_equal(e->at_client.resumed, resumed);
	assert_int_equal(e->at_client.verify, SM_TLS_OK);
	assert_int_equal(e->at_server.verify, SM_TLS_OK);
}

static void test_resumption(void **state)
{
	static const struct sm_str key = SM_STR("mx.test 127.0.0.1");

	(void)state;
	for (int version = SM_TLS_1_2; version <= SM_TLS_1_3; version++) {
		struct sm_tls_conf s = t_server_conf(), c = t_client_conf("client.pem");
		struct t_ends e = {.peer = {.sni = SM_STR("mx.test"), .cache_key = key}};
		struct sm_tls_ctx *other;

		c.min_version = version;
		t_both(&e, &s, &c);
		again(&e, false);
		again(&e, true);
		again(&e, true);
		/* Whoever wants more of his peer, or another one, begins anew. */
		e.peer.verify = true;
		again(&e, false);
		again(&e, true);
		e.peer.cache_key = SM_STR("elsewhere");
		again(&e, false);
		e.peer.cache_key = SM_STR("");
		again(&e, false);
		again(&e, false);
		/* Tickets of another service, or of another configuration of the same, are worth
		 * nothing. */
		e.peer.cache_key = key;
		assert_int_equal(sm_tls_server_new(&s, "other", &other), 0);
		sm_tls_ctx_unref(&e.server);
		e.server = other;
		again(&e, false);
		again(&e, true);
		t_fini(&e);
		/* Switched off. */
		s.flags &= ~(uint32_t)SM_TLS_RESUME;
		t_both(&e, &s, &c);
		again(&e, false);
		again(&e, false);
		t_fini(&e);
	}
}

/* ---- data ---- */

enum { BIG = 300000 };

static void pump(void *arg)
{
	struct t_ends *e = arg;
	char *big = sm_malloc(BIG);
	struct iovec v[3] = {{big, 1}, {big + 1, 70000}, {big + 70001, BIG - 70001}};

	assert_int_equal(sm_tls_accept(&e->a, e->server, SM_NEVER), 0);
	for (size_t i = 0; i < BIG; i++)
		big[i] = (char)(i * 7 + i / 251);
	assert_int_equal(sm_net_writev(&e->a, v, 3, SM_NEVER), 0);
	assert_int_equal(e->a.out_bytes, BIG);
	for (size_t i = 0; i < BIG; i++)
		big[i] = (char)(i * 7 + i / 251);
	assert_int_equal(sm_net_write(&e->a, big, BIG, SM_NEVER), 0);
	sm_net_linger(&e->a, BIG, SM_NEVER);
	sm_net_close(&e->a);
	sm_free(big);
}

static void drain(void *arg)
{
	struct t_ends *e = arg;
	char *text = sm_malloc(5000);
	size_t all = 0;
	ssize_t n;

	assert_int_equal(sm_tls_connect(&e->b, e->client, &e->peer, SM_NEVER), 0);
	while ((n = sm_net_read(&e->b, text, 5000, SM_NEVER)) > 0)
		for (ssize_t i = 0; i < n; i++, all++)
			assert_int_equal(text[i], (char)(all % BIG * 7 + all % BIG / 251));
	assert_int_equal(n, SM_E_EOF);
	assert_int_equal(all, 2 * BIG);
	assert_int_equal(e->b.in_bytes, all);
	sm_net_close(&e->b);
	sm_free(text);
}

static void test_much(void **state)
{
	struct sm_tls_conf s = t_server_conf(), c = t_client_conf(NULL);
	struct t_ends e = {.peer = {.sni = SM_STR("")}};

	(void)state;
	t_both(&e, &s, &c);
	t_open_ends(&e);
	t_spawn(pump, &e);
	t_spawn(drain, &e);
	t_run_all();
	t_fini(&e);
}

/* ---- the stack ---- */

#if !defined(SM_ASAN) && !defined(SM_TSAN)
enum { PAINTED = 52 * 1024, SPARE = 20 * 1024, PAINT = 0x5a };

/* Where the stack of this coroutine was written to, below `top`. */
static __attribute__((noinline)) void paint(char *top)
{
	volatile char *p = top - PAINTED;

	while (p < top - 1024)
		*p++ = PAINT;
}

static size_t used(const char *top)
{
	const volatile char *p = top - PAINTED;

	while (p < top && *p == PAINT)
		p++;
	return (size_t)(top - (const char *)p);
}

static void measured(void *arg)
{
	struct t_ends *e = arg;
	char *top = __builtin_frame_address(0);
	size_t n;

	paint(top);
	t_serve(e);
	n = used(top);
	print_message("%zu bytes of the stack\n", n);
	assert_true(n > 1024 && n < SM_CO_STACK_BYTES - SPARE);
}

/* Handshakes fit into the stack of a coroutine, with the largest keys that are in use. */
static void test_stack(void **state)
{
	static const char *const names[] = {"ec", "rsa", "big", "p521"};

	(void)state;
	for (size_t i = 0; i < 2 * SM_ARRAY_SIZE(names); i++) {
		char cert[32], key[32];
		struct sm_tls_conf s = t_server_conf(), c;
		struct t_ends e = {.peer = {.sni = SM_STR("mx.test"), .verify = true}};

		(void)snprintf(cert, sizeof(cert), "%s.pem", names[i / 2]);
		(void)snprintf(key, sizeof(key), "%s.key", names[i / 2]);
		c = t_client_conf(cert);
		if (i % 2 == 0) {
			s.cert_file = t_list(cert, NULL);
			s.key_file = t_list(key, NULL);
		}
		t_both(&e, &s, &c);
		t_open_ends(&e);
		t_spawn(measured, &e);
		t_spawn(t_dial, &e);
		t_run_all();
		assert_int_equal(e.server_rc, 0);
		assert_int_equal(e.at_server.verify, SM_TLS_OK);
		t_fini(&e);
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		T_TEST(test_facts),
		T_TEST(test_trust),
		T_TEST(test_other_name),
		T_TEST(test_resumption),
		T_TEST(test_much),
#if !defined(SM_ASAN) && !defined(SM_TSAN)
		T_TEST(test_stack),
#endif
	};

	return cmocka_run_group_tests(tests, t_tls_setup, t_tls_teardown);
}
