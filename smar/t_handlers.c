/* Requests as smtps and qmgr make them: over a socket, with and without patience, too many,
 * malformed, at the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <unistd.h>

#include "libsm/t_patience.h"
#include "smar/dns.h"
#include "smar/dns_cache.h"
#include "smar/handlers.h"
#include "smar/own.h"
#include "smar/t_dnsd.h"

enum { MAX_REQUESTS = 3 };

static const struct t_dns_row zone[] = {
    {"a.example", AR_DNS_A, 600, "192.0.2.1"},
    {"drop.example", 0, 0, "DROP"},
    {NULL, 0, 0, NULL},
};

static struct ar_conf conf = {.max_hosts = 10, .address_delimiter = SM_STR("+")};
static struct ar ar;
static struct ar_handlers *handlers;
static struct sm_link *to_smar;
static int answers, busy, ups;
static void (*body)(void);

static void on_up(struct sm_peer *p SM_UNUSED, void *arg SM_UNUSED)
{
	ups++;
}

static void run_body(void *arg SM_UNUSED)
{
	body();
	sm_loop_stop(0);
}

static void run(void (*fn)(void))
{
	char path[64];
	struct sm_rpc_server_conf sc = {.path = path,
	                                .umask = 0077,
	                                .read_gid = (gid_t)-1,
	                                .roles = 1U << SM_ROLE_QMGR,
	                                .max_peers = 4,
	                                .on_frame = ar_handlers_frame};
	struct sm_link_conf lc = {.path = path, .role = SM_ROLE_QMGR, .on_up = on_up};
	struct ar_dns_conf dns = {.count = 1, .timeout_ms = 600};
	struct sm_rpc_server *server;

	snprintf(path, sizeof(path), "/tmp/t_handlers.%d", (int)getpid());
	ups = answers = busy = 0;
	ar = (struct ar){.conf = &conf, .hostname = SM_STR("own.example"), .dns_timeout_ms = 600};
	assert_int_equal(ar_mt_parse("mt", SM_STR("local.example lmtp:\n"), &ar.mt), 0);
	assert_int_equal(sm_loop_init(), 0);
	dns.servers[0] = t_dnsd_start(zone);
	ar_cache_init(&(struct ar_cache_conf){1000, 1000});
	assert_int_equal(ar_dns_init(&dns), 0);
	handlers = ar_handlers_new(&ar, MAX_REQUESTS);
	sc.arg = handlers;
	sm_rpc_self(SM_ROLE_QMGR, 0);
	assert_int_equal(sm_rpc_listen(&sc, &server), 0);
	to_smar = sm_link_open(&lc);
	body = fn;
	assert_non_null(sm_co_spawn("test", run_body, NULL));
	assert_int_equal(sm_loop_run(), 0);
	sm_link_free(&to_smar);
	sm_rpc_server_free(&server);
	ar_handlers_free(&handlers);
	ar_dns_fini();
	ar_cache_fini();
	t_dnsd_stop();
	sm_co_cleanup();
	sm_loop_fini();
	ar_mt_unref(&ar.mt);
}

static int64_t soon(void)
{
	return sm_now_ms() + T_PATIENCE_MS;
}

static void settle(void)
{
	assert_int_equal(sm_co_sleep(sm_now_ms() + 10), 0);
}

static void route(const char *rcpt, struct sm_arena *a, struct sm_msg_route *m)
{
	struct sm_msg_route_get q = {.rcpt = sm_str(rcpt)};

	assert_int_equal(
	    sm_rpc(sm_link_peer(to_smar), SM_MSG_route_get, &q, SM_MSG_route, a, m, soon()), 0);
}

static void body_answers(void)
{
	struct sm_msg_rcpt_check rc = {.rcpt = SM_STR("u@local.example"), .sender = SM_STR("")};
	struct sm_msg_mail_check mc = {.sender = SM_STR("u@a.example")};
	struct sm_msg_conn_check cc = {.listener = SM_STR("mta")};
	struct sm_msg_conn_verdict cv;
	struct sm_msg_verdict v;
	struct sm_msg_route m;
	struct sm_arena a;

	sm_arena_init(&a, "test", 4096, 1 << 20);
	assert_int_equal(sm_link_wait(to_smar, soon()), 0);
	route("u@local.example", &a, &m);
	assert_int_equal(m.agent, SM_AGENT_LMTP);
	route("u@a.example", &a, &m);
	assert_int_equal(m.status, SM_ROUTE_OK);
	assert_int_equal(m.hosts_count, 1);
	route("u@none.example", &a, &m);
	assert_int_equal(m.status, SM_ROUTE_PERM);
	assert_int_equal(
	    sm_rpc(sm_link_peer(to_smar), SM_MSG_rcpt_check, &rc, SM_MSG_verdict, &a, &v, soon()),
	    0);
	assert_int_equal(v.flags, SM_VERDICT_LOCAL);
	assert_int_equal(
	    sm_rpc(sm_link_peer(to_smar), SM_MSG_mail_check, &mc, SM_MSG_verdict, &a, &v, soon()),
	    0);
	assert_int_equal(v.code, 0);
	assert_int_equal(sm_sa_ip(&cc.client, SM_STR("192.0.2.1"), 1), 0);
	assert_int_equal(sm_rpc(sm_link_peer(to_smar), SM_MSG_conn_check, &cc, SM_MSG_conn_verdict,
	                        &a, &cv, soon()),
	                 0);
	assert_int_equal(cv.resolve, SM_RESOLVE_NO);
	sm_arena_fini(&a);
}

static void all_answers(void **state SM_UNUSED)
{
	run(body_answers);
}

static void on_route(int err, const struct sm_frame *f, void *arg SM_UNUSED)
{
	struct sm_msg_route m;
	struct sm_arena a;

	assert_int_equal(err, 0);
	sm_arena_init(&a, "test", 4096, 1 << 20);
	assert_int_equal(sm_msg_route_decode(f->body, &a, &m), 0);
	assert_int_equal(m.status, SM_ROUTE_TEMP);
	assert_int_equal(m.code, 451);
	answers++;
	busy += sm_str_has_prefix(m.text, SM_STR("4.3.2"));
	sm_arena_fini(&a);
}

static void body_too_many(void)
{
	struct sm_msg_route_get q = {.rcpt = SM_STR("u@drop.example")};
	struct sm_call calls[MAX_REQUESTS + 2];
	struct sm_msg_route m;
	struct sm_arena a;

	sm_arena_init(&a, "test", 4096, 1 << 20);
	assert_int_equal(sm_link_wait(to_smar, soon()), 0);
	for (size_t i = 0; i < SM_ARRAY_SIZE(calls); i++)
		sm_call(&calls[i], sm_link_peer(to_smar), SM_MSG_route_get, &q, soon(), on_route,
		        NULL);
	while (busy < 2)
		settle();
	assert_int_equal(ar_handlers_waiting(handlers), MAX_REQUESTS);
	assert_int_equal(answers, 2);
	/* What needs no DNS passes all of them by, and takes no coroutine. */
	route("u@local.example", &a, &m);
	assert_int_equal(m.status, SM_ROUTE_OK);
	assert_int_equal(answers, 2);
	assert_int_equal(sm_co_count(), 1 + MAX_REQUESTS);
	while (answers < MAX_REQUESTS + 2)
		settle();
	assert_int_equal(busy, 2);
	assert_int_equal(ar_handlers_waiting(handlers), 0);
	sm_arena_fini(&a);
}

static void too_many(void **state SM_UNUSED)
{
	run(body_too_many);
}

static bool is_idle;

static void on_idle(void *arg SM_UNUSED)
{
	is_idle = true;
}

static void body_stop(void)
{
	struct sm_msg_route_get q = {.rcpt = SM_STR("u@drop.example")};
	struct sm_call calls[2];
	int64_t start;

	assert_int_equal(sm_link_wait(to_smar, soon()), 0);
	for (size_t i = 0; i < SM_ARRAY_SIZE(calls); i++)
		sm_call(&calls[i], sm_link_peer(to_smar), SM_MSG_route_get, &q, soon(), on_route,
		        NULL);
	while (ar_handlers_waiting(handlers) < 2)
		settle();
	is_idle = false;
	start = sm_now_ms();
	ar_handlers_stop(handlers, on_idle, NULL);
	while (!is_idle || answers < 2)
		settle();
	assert_true(sm_now_ms() - start < 400);
}

static void stop(void **state SM_UNUSED)
{
	run(body_stop);
}

static void body_wrong(void)
{
	struct sm_msg_route_get q = {.rcpt = SM_STR("u@drop.example")};
	struct sm_msg_sess_close no_place = {{1, 1}};
	struct sm_call c;

	assert_int_equal(sm_link_wait(to_smar, soon()), 0);
	/* Gone before its answer: the answer is dropped, nobody minds. */
	sm_call(&c, sm_link_peer(to_smar), SM_MSG_route_get, &q, soon(), on_route, NULL);
	while (ar_handlers_waiting(handlers) < 1)
		settle();
	sm_call_cancel(&c);
	sm_peer_send(sm_link_peer(to_smar), SM_MSG_sess_close, &no_place);
	while (ups < 2)
		settle();
	while (ar_handlers_waiting(handlers) > 0)
		settle();
	assert_int_equal(answers, 0);
}

static void wrong(void **state SM_UNUSED)
{
	run(body_wrong);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(all_answers),
	                                   cmocka_unit_test(too_many), cmocka_unit_test(stop),
	                                   cmocka_unit_test(wrong)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
