/* Shared by the tests of calls between processes, see t_rpc.h. */
#include "libsm/t_rpc.h"

#include <stdio.h>
#include <unistd.h>

struct t_rpc t;

int64_t t_soon(void)
{
	return sm_now_ms() + T_PATIENCE_MS;
}

void t_settle(void)
{
	assert_int_equal(sm_co_sleep(sm_now_ms() + 20), 0);
}

/* ---- the server's side ---- */

static void on_open(struct sm_peer *p, void *arg SM_UNUSED)
{
	t.opened++;
	t.last = p;
	if (t.shut && strcmp(t.shut, "open") == 0)
		sm_peer_close(p, "shut at open");
}

static void on_close(struct sm_peer *p, void *arg SM_UNUSED)
{
	t.closed++;
	if (t.last == p)
		t.last = NULL;
}

void t_answer(struct sm_peer *p, uint64_t tag, uint16_t code)
{
	struct sm_msg_verdict v = {.code = code, .text = SM_STR("5.7.1 no")};

	sm_peer_reply(p, tag, 0, SM_MSG_verdict, &v);
}

static int on_frame(struct sm_peer *p, const struct sm_frame *f, void *arg SM_UNUSED)
{
	struct sm_msg_ta_query q;

	t.got++;
	if (f->type != SM_MSG_ta_query || sm_msg_ta_query_decode(f->body, NULL, &q) != 0)
		return sm_fail(SM_E_PROTO, "not a ta_query");
	if (t.shut && strcmp(t.shut, "frame") == 0)
		sm_peer_close(p, "shut at frame");
	if (t.hold) {
		t.held[t.held_count++] = f->tag;
		t.held_peer = p;
	} else if (f->tag != 0) {
		t_answer(p, f->tag, (uint16_t)q.ta.counter);
	}
	return 0;
}

static void on_up(struct sm_peer *p SM_UNUSED, void *arg SM_UNUSED)
{
	t.up++;
}

static void on_down(struct sm_peer *p SM_UNUSED, void *arg SM_UNUSED)
{
	t.down++;
}

/* ---- set-up ---- */

int t_rpc_set_up(void **state SM_UNUSED)
{
	memset(&t, 0, sizeof(t));
	snprintf(t.path, sizeof(t.path), "/tmp/t_rpc.%d", (int)getpid());
	t.sconf = (struct sm_rpc_server_conf){.path = t.path,
	                                      .umask = 0077,
	                                      .read_gid = (gid_t)-1,
	                                      .roles = 1U << SM_ROLE_SMTPS | 1U << SM_ROLE_CTL,
	                                      .max_peers = 8,
	                                      .on_open = on_open,
	                                      .on_close = on_close,
	                                      .on_frame = on_frame};
	t.lconf = (struct sm_link_conf){
	    .path = t.path, .role = SM_ROLE_SMTPS, .on_up = on_up, .on_down = on_down};
	sm_rpc_self(SM_ROLE_SMTPS, 3);
	return sm_loop_init();
}

int t_rpc_tear_down(void **state SM_UNUSED)
{
	sm_link_free(&t.link);
	sm_rpc_server_free(&t.server);
	sm_co_cleanup();
	sm_loop_fini();
	unlink(t.path);
	return 0;
}

static void run_body(void *arg SM_UNUSED)
{
	t.body();
	sm_loop_stop(0);
}

void t_run(void (*body)(void))
{
	t.body = body;
	assert_non_null(sm_co_spawn("test", run_body, NULL));
	assert_int_equal(sm_loop_run(), 0);
}

void t_both_ends(void)
{
	assert_int_equal(sm_rpc_listen(&t.sconf, &t.server), 0);
	t.link = sm_link_open(&t.lconf);
	assert_int_equal(sm_link_wait(t.link, t_soon()), 0);
}

int t_ask(uint64_t n, uint16_t *code, int64_t deadline_ms)
{
	struct sm_msg_ta_query q = {.ta = {n, 1}};
	struct sm_msg_verdict v = {0};
	struct sm_arena a;
	int rc;

	sm_arena_init(&a, "ask", 256, 4096);
	rc = sm_rpc(sm_link_peer(t.link), SM_MSG_ta_query, &q, SM_MSG_verdict, &a, &v, deadline_ms);
	if (rc == 0)
		assert_true(sm_str_eq(v.text, SM_STR("5.7.1 no")));
	*code = v.code;
	sm_arena_fini(&a);
	return rc;
}

void t_assert_works(void)
{
	uint16_t code;

	assert_int_equal(t_ask(250, &code, t_soon()), 0);
	assert_int_equal(code, 250);
}
