/* Calls between processes: both ends in one process, and with another process, that dies, lies, or
 * never reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsm/rpc_int.h"
#include "libsm/t_patience.h"

enum { NOBODY = 65534 };

static struct {
	char path[64];
	struct sm_rpc_server *server;
	struct sm_link *link;
	struct sm_rpc_server_conf sconf;
	struct sm_link_conf lconf;
	void (*body)(void);
	struct sm_peer *last; /* newest at the server */
	int opened, closed, up, down, got;
	bool hold; /* keep requests unanswered */
	uint64_t held[2000];
	size_t held_count;
	struct sm_peer *held_peer;
	const char *shut; /* where the server closes its peer: "open", "frame" */
} t;

static int64_t soon(void)
{
	return sm_now_ms() + T_PATIENCE_MS;
}

static void settle(void)
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

static void answer(struct sm_peer *p, uint64_t tag, uint16_t code)
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
		answer(p, f->tag, (uint16_t)q.ta.counter);
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

static int set_up(void **state SM_UNUSED)
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

static int tear_down(void **state SM_UNUSED)
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

static void run(void (*body)(void))
{
	t.body = body;
	assert_non_null(sm_co_spawn("test", run_body, NULL));
	assert_int_equal(sm_loop_run(), 0);
}

static void both_ends(void)
{
	assert_int_equal(sm_rpc_listen(&t.sconf, &t.server), 0);
	t.link = sm_link_open(&t.lconf);
	assert_int_equal(sm_link_wait(t.link, soon()), 0);
}

static int ask(uint64_t n, uint16_t *code, int64_t deadline_ms)
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

static void assert_works(void)
{
	uint16_t code;

	assert_int_equal(ask(250, &code, soon()), 0);
	assert_int_equal(code, 250);
}

/* ---- both well-behaved ---- */

static void body_round_trip(void)
{
	both_ends();
	assert_works();
	assert_int_equal(t.opened, 1);
	assert_int_equal(t.up, 1);
	assert_int_equal(sm_peer_role(t.last), SM_ROLE_SMTPS);
	assert_int_equal(sm_peer_proc(t.last), 3);
	assert_int_equal(sm_peer_pid(t.last), getpid());
	assert_int_equal(sm_peer_uid(t.last), geteuid());
	assert_true(sm_peer_trusted(t.last));
	assert_true(sm_peer_incarnation(t.last) != 0);
	assert_string_equal(sm_link_trouble(t.link), "");
	sm_link_free(&t.link);
	settle();
	assert_int_equal(t.closed, 1);
	assert_int_equal(t.down, 1);
}

static void round_trip(void **state SM_UNUSED)
{
	run(body_round_trip);
}

static int answers, last_err;

static void count_answer(int err, const struct sm_frame *f, void *arg)
{
	struct sm_msg_verdict v;

	last_err = err;
	if (err == 0) {
		assert_int_equal(sm_msg_verdict_decode(f->body, NULL, &v), 0);
		assert_int_equal(v.code, (uintptr_t)arg);
	}
	answers++;
}

static void body_gather(void)
{
	static struct sm_call calls[1000];
	struct sm_msg_ta_query q = {.ta = {7, 1}};
	size_t one;

	both_ends();
	t.hold = true;
	answers = 0;
	for (size_t i = 0; i < 1000; i++) {
		sm_call(&calls[i], sm_link_peer(t.link), SM_MSG_ta_query, &q, soon() + (int64_t)i,
		        count_answer, (void *)(uintptr_t)i);
		if (i == 0)
			one = sm_peer_unsent(sm_link_peer(t.link));
	}
	/* All of them gather until the loop's turn ends. */
	assert_int_equal(sm_peer_unsent(sm_link_peer(t.link)), 1000 * one);
	while (t.held_count < 1000)
		settle();
	assert_int_equal(sm_peer_unsent(sm_link_peer(t.link)), 0);
	/* In any order: here the last first; and one of them is not wanted any more. */
	sm_call_cancel(&calls[500]);
	for (size_t i = 1000; i-- > 0;)
		answer(t.last, t.held[i], (uint16_t)i);
	while (answers < 999)
		settle();
	settle();
	assert_int_equal(answers, 999);
}

static void gather(void **state SM_UNUSED)
{
	run(body_gather);
}

static void body_timeout(void)
{
	struct sm_msg_ta_query q = {.ta = {7, 1}};
	struct sm_call late;
	uint16_t code;
	int64_t start;

	both_ends();
	t.hold = true;
	answers = 0;
	/* A later deadline that is asked for first must not hide an earlier one. */
	sm_call(&late, sm_link_peer(t.link), SM_MSG_ta_query, &q, soon(), count_answer, (void *)9);
	start = sm_now_ms();
	assert_int_equal(ask(1, &code, start + 60), SM_E_TIMEOUT);
	assert_in_range(sm_now_ms() - start, 60, T_PATIENCE_MS / 2);
	assert_int_equal(ask(1, &code, sm_now_ms() - 1), SM_E_TIMEOUT);
	/* What comes too late is dropped, the connection stays. */
	while (t.held_count < 3)
		settle();
	answer(t.last, t.held[1], 1);
	answer(t.last, t.held[0], 9);
	t.hold = false;
	assert_works();
	assert_int_equal(answers, 1);
	assert_int_equal(t.down, 0);
}

static void timeout(void **state SM_UNUSED)
{
	run(body_timeout);
}

static int more_seen;

static void on_stream(int err, const struct sm_frame *f, void *arg SM_UNUSED)
{
	assert_int_equal(err, 0);
	if (f->flags & SM_FRAME_MORE) {
		assert_int_equal(f->type, SM_MSG_ctl_text);
		more_seen++;
	} else {
		assert_int_equal(f->type, SM_MSG_ctl_end);
		answers++;
	}
}

static size_t stream_left, most_unsent;
static uint64_t stream_tag;

static void stream_on(struct sm_peer *p, void *arg SM_UNUSED)
{
	static char text[60000];
	struct sm_msg_ctl_text m = {sm_str_n(text, sizeof(text))};
	struct sm_msg_ctl_end end = {0};

	while (stream_left > 0 && sm_peer_unsent(p) < 1000000) {
		stream_left--;
		sm_peer_reply(p, stream_tag, SM_FRAME_MORE, SM_MSG_ctl_text, &m);
	}
	most_unsent = SM_MAX(most_unsent, sm_peer_unsent(p));
	if (stream_left > 0)
		sm_peer_on_drain(p, 100000, stream_on, NULL);
	else
		sm_peer_reply(p, stream_tag, 0, SM_MSG_ctl_end, &end);
}

static int on_ctl_frame(struct sm_peer *p, const struct sm_frame *f, void *arg SM_UNUSED)
{
	stream_tag = f->tag;
	stream_left = 500;
	stream_on(p, NULL);
	return 0;
}

static void body_stream(void)
{
	struct sm_msg_ctl_request q = {.verb = SM_STR("list")};
	struct sm_call c;

	t.sconf.on_frame = on_ctl_frame;
	both_ends();
	answers = more_seen = 0;
	most_unsent = 0;
	sm_call(&c, sm_link_peer(t.link), SM_MSG_ctl_request, &q, soon(), on_stream, NULL);
	while (answers == 0)
		settle();
	assert_int_equal(more_seen, 500);
	assert_true(most_unsent < 1200000);
	assert_int_equal(t.last->owed, 0);
}

static void stream(void **state SM_UNUSED)
{
	run(body_stream);
}

static int first_request(struct sm_peer *p, const struct sm_frame *f, void *arg SM_UNUSED)
{
	struct sm_msg_id_block b = {77, 8};

	sm_peer_reply(p, f->tag, 0, SM_MSG_id_block, &b);
	return 0;
}

static uint64_t first_seen;

static void on_first(int err, const struct sm_frame *f, void *arg SM_UNUSED)
{
	struct sm_msg_id_block b;

	assert_int_equal(err, 0);
	assert_int_equal(sm_msg_id_block_decode(f->body, NULL, &b), 0);
	first_seen = b.first;
}

/* The listening side may ask as well. */
static void body_both_ask(void)
{
	struct sm_msg_id_block_get q = {1};
	struct sm_call c;

	t.lconf.on_frame = first_request;
	both_ends();
	first_seen = 0;
	sm_call(&c, t.last, SM_MSG_id_block_get, &q, soon(), on_first, NULL);
	while (first_seen == 0)
		settle();
	assert_int_equal(first_seen, 77);
	assert_works();
}

static void both_ask(void **state SM_UNUSED)
{
	run(body_both_ask);
}

/* ---- closing ---- */

static void body_close_in_callback(void)
{
	uint16_t code;

	t.shut = "frame";
	both_ends();
	/* The answer was sent before the end, so it still comes. */
	(void)ask(1, &code, soon());
	while (t.closed == 0)
		settle();
	t.shut = "open";
	while (t.opened < 3)
		settle();
	t.shut = NULL;
	while (sm_link_peer(t.link) == NULL || t.closed < t.opened - 1)
		settle();
	assert_works();
	assert_int_equal(t.closed, t.opened - 1);
	assert_int_equal(t.down, t.up - 1);
}

static void close_in_callback(void **state SM_UNUSED)
{
	run(body_close_in_callback);
}

static void body_answer_to_the_gone(void)
{
	struct sm_peer *gone;
	uint16_t code;

	both_ends();
	t.hold = true;
	assert_int_equal(ask(1, &code, sm_now_ms() + 30), SM_E_TIMEOUT);
	assert_int_equal(ask(2, &code, sm_now_ms() + 30), SM_E_TIMEOUT);
	while (t.held_count < 2)
		settle();
	gone = t.held_peer;
	sm_link_free(&t.link);
	while (t.closed == 0)
		settle();
	/* Both answers are owed: the handle is good until the second. */
	answer(gone, t.held[0], 1);
	assert_int_equal(gone->owed, 1);
	answer(gone, t.held[1], 1);
	assert_int_equal(t.closed, 1);
}

static void answer_to_the_gone(void **state SM_UNUSED)
{
	run(body_answer_to_the_gone);
}

static void body_asking_nobody(void)
{
	struct sm_msg_ta_query q = {0};
	struct sm_msg_verdict v = {.text = {NULL, 513}};
	struct sm_call c;
	uint16_t code;

	t.link = sm_link_open(&t.lconf);
	assert_int_equal(ask(1, &code, soon()), SM_E_PEER);
	answers = 0;
	sm_call(&c, NULL, SM_MSG_ta_query, &q, soon(), count_answer, NULL);
	assert_int_equal(answers, 0);
	settle();
	assert_int_equal(answers, 1);
	assert_int_equal(last_err, SM_E_PEER);
	assert_int_equal(sm_link_wait(t.link, sm_now_ms() + 50), SM_E_TIMEOUT); /* for nobody */
	assert_non_null(strstr(sm_link_trouble(t.link), "connect: "));

	sm_link_free(&t.link);
	both_ends();
	sm_call(&c, sm_link_peer(t.link), SM_MSG_verdict, &v, soon(), count_answer, NULL);
	settle();
	assert_int_equal(answers, 2);
	assert_int_equal(last_err, SM_E_TOOBIG);
	assert_works();
}

static void asking_nobody(void **state SM_UNUSED)
{
	run(body_asking_nobody);
}

static int cancelled_rc;

static void ask_for_ever(void *arg SM_UNUSED)
{
	uint16_t code;

	cancelled_rc = ask(1, &code, soon());
}

static void body_cancel(void)
{
	struct sm_co *co;

	both_ends();
	t.hold = true;
	cancelled_rc = 1;
	co = sm_co_spawn("asker", ask_for_ever, NULL);
	assert_non_null(co);
	while (t.held_count == 0)
		settle();
	sm_co_cancel(co);
	settle();
	assert_int_equal(cancelled_rc, SM_E_CANCEL);
	answer(t.last, t.held[0], 1);
	t.hold = false;
	assert_works();
}

static void cancel(void **state SM_UNUSED)
{
	run(body_cancel);
}

/* ---- another process: raw bytes from it, and its death ---- */

static void put_hello(struct sm_buf *b, enum sm_role role, uint64_t table)
{
	struct sm_msg_hello h = {.role = (uint8_t)role, .table = table, .build = SM_STR("smx 9")};

	assert_int_equal(sm_frame_put(b, SM_MSG_hello, 0, 0, &h), 0);
}

static void raw_connect(struct sm_net *n)
{
	struct sm_sa to;

	assert_int_equal(sm_sa_unix(&to, sm_str(t.path)), 0);
	assert_int_equal(sm_net_connect(n, &to, NULL, soon()), 0);
}

/* Send `bytes` behind a good hello (role NONE: without), and read until the server closes. */
static void raw_dialog(enum sm_role role, uint64_t table, struct sm_str bytes)
{
	struct sm_net n;
	struct sm_buf b;
	char sink[4096];
	ssize_t got;

	raw_connect(&n);
	sm_buf_init(&b, 1 << 20);
	if (role != SM_ROLE_NONE)
		put_hello(&b, role, table);
	sm_buf_str(&b, bytes);
	assert_int_equal(sm_net_write(&n, sm_buf_p(&b), b.len, soon()), 0);
	do
		got = sm_net_read(&n, sink, sizeof(sink), soon());
	while (got > 0);
	assert_int_equal(got, SM_E_EOF);
	sm_buf_fini(&b);
	sm_net_close(&n);
}

#define TAG1 "\1\0\0\0\0\0\0\0"
static void body_bad_frames(void)
{
	static const struct sm_str bad[] = {
	    SM_STR("\0\0\0\0"),                                  /* no room for a header */
	    SM_STR("\x0b\0\0\0\x08\x01\0\0" TAG1),               /* too short by one */
	    SM_STR("\x01\0\x10\0\x08\x01\0\0" TAG1),             /* one byte above the maximum */
	    SM_STR("\xff\xff\xff\xff"),                          /* huge */
	    SM_STR("\x0c\0\0\0\xff\x7f\0\0" TAG1),               /* unknown type */
	    SM_STR("\x15\0\0\0\x08\x01\x08\0" TAG1 "123456789"), /* unknown flag */
	    SM_STR("\x15\0\0\0\x08\x01\x02\0" TAG1 "123456789"), /* more of what is no answer */
	    SM_STR("\x0c\0\0\0\x08\x01\x01\0\0\0\0\0\0\0\0\0"),  /* answer to nothing */
	    SM_STR("\x14\0\0\0\x08\x01\0\0" TAG1 "12345678"),    /* body short by one */
	    SM_STR("\x16\0\0\0\x08\x01\0\0" TAG1 "1234567890"),  /* one trailing byte */
	    SM_STR("\x14\0\0\0\x03\x03\0\0" TAG1 "12345678"), /* a message that has no place here */
	};
	struct sm_buf again;

	both_ends();
	for (size_t i = 0; i < SM_ARRAY_SIZE(bad); i++) {
		raw_dialog(SM_ROLE_SMTPS, sm_msg_table_hash(), bad[i]);
		/* It closes that connection, and nothing else. */
		assert_works();
		assert_int_equal(t.opened, 2 + (int)i);
		assert_int_equal(t.closed, 1 + (int)i);
	}
	/* A second hello. */
	sm_buf_init(&again, 4096);
	put_hello(&again, SM_ROLE_SMTPS, sm_msg_table_hash());
	raw_dialog(SM_ROLE_SMTPS, sm_msg_table_hash(), sm_buf_view(&again));
	sm_buf_fini(&again);
	assert_works();
	/* Before the hello nothing is heard, and on_open is never called. */
	t.opened = t.closed = 0;
	raw_dialog(SM_ROLE_NONE, 0, SM_STR("\x15\0\0\0\x08\x01\0\0" TAG1 "123456789"));
	raw_dialog(SM_ROLE_SMTPC, sm_msg_table_hash(), SM_STR(""));
	raw_dialog(SM_ROLE_SMTPS, sm_msg_table_hash() + 1, SM_STR(""));
	raw_dialog((enum sm_role)255, sm_msg_table_hash(), SM_STR(""));
	assert_int_equal(t.opened, 0);
	assert_int_equal(t.closed, 0);
	assert_works();
}

static void bad_frames(void **state SM_UNUSED)
{
	run(body_bad_frames);
}

/* Frames byte by byte, and many in one piece, are the same frames. */
static void body_pieces(void)
{
	struct sm_msg_ta_query q = {.ta = {250, 1}};
	struct sm_net n;
	struct sm_buf b;

	both_ends();
	raw_connect(&n);
	sm_buf_init(&b, 1 << 20);
	put_hello(&b, SM_ROLE_CTL, sm_msg_table_hash());
	for (uint64_t i = 1; i <= 3; i++)
		assert_int_equal(sm_frame_put(&b, SM_MSG_ta_query, 0, i, &q), 0);
	for (size_t i = 0; i < b.len; i++) {
		assert_int_equal(sm_net_write(&n, sm_buf_p(&b) + i, 1, soon()), 0);
		sm_co_yield();
	}
	while (t.got < 3)
		settle();
	sm_buf_reset(&b);
	for (uint64_t i = 1; i <= 5000; i++)
		assert_int_equal(sm_frame_put(&b, SM_MSG_ta_query, 0, i, &q), 0);
	assert_int_equal(sm_net_write(&n, sm_buf_p(&b), b.len, soon()), 0);
	/* A half one at the end is not a frame. */
	assert_int_equal(sm_net_write(&n, "\x15\0\0\0\x08", 5, soon()), 0);
	sm_net_close(&n);
	while (t.closed == 0)
		settle();
	assert_int_equal(t.got, 5003);
	sm_buf_fini(&b);
}

static void pieces(void **state SM_UNUSED)
{
	run(body_pieces);
}

static void body_never_reads(void)
{
	static char text[60000];
	struct sm_msg_ctl_text m = {sm_str_n(text, sizeof(text))};
	struct sm_net n;
	struct sm_buf b;

	assert_int_equal(sm_rpc_listen(&t.sconf, &t.server), 0);
	raw_connect(&n);
	sm_buf_init(&b, 4096);
	put_hello(&b, SM_ROLE_CTL, sm_msg_table_hash());
	assert_int_equal(sm_net_write(&n, sm_buf_p(&b), b.len, soon()), 0);
	sm_buf_fini(&b);
	while (t.opened == 0)
		settle();
	for (int i = 0; i < 2000 && t.closed == 0; i++) {
		sm_peer_send(t.last, SM_MSG_ctl_text, &m);
		if (i % 100 == 0)
			sm_co_yield();
	}
	while (t.closed == 0)
		settle();
	assert_int_equal(t.closed, 1);
	sm_net_close(&n);
}

static void never_reads(void **state SM_UNUSED)
{
	run(body_never_reads);
}

static void body_too_many(void)
{
	struct sm_net n[3];
	char c;

	t.sconf.max_peers = 3;
	both_ends();
	for (int i = 0; i < 3; i++)
		raw_connect(&n[i]);
	/* Two wait for their hello, the third was one too many. */
	assert_int_equal(sm_net_read(&n[2], &c, 1, soon()), SM_E_EOF);
	assert_int_equal(sm_net_read(&n[1], &c, 1, soon()), 1);
	assert_works();
	for (int i = 0; i < 3; i++)
		sm_net_close(&n[i]);
}

static void too_many(void **state SM_UNUSED)
{
	run(body_too_many);
}

/* A listener of another mind: answers each connection with `bytes`. */
static void lie_once(int listener, struct sm_str bytes)
{
	char sink[4096];
	struct sm_net n;
	struct sm_fd f;
	int fd = -1;

	assert_int_equal(sm_fd_open(&f, listener, NULL, NULL), 0);
	while ((fd = accept(f.fd, NULL, NULL)) < 0) {
		sm_fd_drained(&f, SM_RD);
		assert_int_equal(sm_fd_wait(&f, SM_RD, "accept", soon()), 0);
	}
	assert_int_equal(sm_net_open(&n, fd), 0);
	assert_int_equal(sm_net_write(&n, bytes.p, bytes.n, soon()), 0);
	while (sm_net_read(&n, sink, sizeof(sink), soon()) > 0)
		continue;
	sm_net_close(&n);
	sm_fd_close(&f);
}

static int listener(void)
{
	struct sm_sa at;

	assert_int_equal(sm_sa_unix(&at, sm_str(t.path)), 0);
	return sm_net_listen(&at, 8, 0077);
}

static void body_other_build(void)
{
	struct sm_buf b;

	sm_buf_init(&b, 4096);
	t.link = sm_link_open(&t.lconf);
	put_hello(&b, SM_ROLE_SMTPS, sm_msg_table_hash() + 1);
	lie_once(listener(), sm_buf_view(&b));
	assert_non_null(strstr(sm_link_trouble(t.link), "other build: smx 9"));
	sm_buf_reset(&b);
	put_hello(&b, SM_ROLE_SMAR, sm_msg_table_hash());
	lie_once(listener(), sm_buf_view(&b));
	assert_non_null(strstr(sm_link_trouble(t.link), "role"));
	lie_once(listener(), SM_STR("220 mail.example ESMTP\r\n"));
	assert_non_null(strstr(sm_link_trouble(t.link), "frame of"));
	assert_int_equal(t.up, 0);
	assert_int_equal(t.down, 0);
	/* It goes on trying, and is up as soon as the right one listens. */
	unlink(t.path);
	assert_int_equal(sm_rpc_listen(&t.sconf, &t.server), 0);
	assert_int_equal(sm_link_wait(t.link, soon()), 0);
	assert_works();
	sm_buf_fini(&b);
}

static void other_build(void **state SM_UNUSED)
{
	run(body_other_build);
}

/* An answer of another type, or a malformed one: the asker gets an error, the connection ends. */
static int wrong_answer(struct sm_peer *p, const struct sm_frame *f, void *arg SM_UNUSED)
{
	struct sm_msg_ta_outcome o = {1};

	sm_peer_reply(p, f->tag, 0, SM_MSG_ta_outcome, &o);
	return 0;
}

static void body_wrong_answer(void)
{
	uint16_t code;

	t.sconf.on_frame = wrong_answer;
	both_ends();
	assert_int_equal(ask(1, &code, soon()), SM_E_PROTO);
	while (t.down == 0)
		settle();
	assert_int_equal(sm_link_wait(t.link, soon()), 0);
}

static void wrong_answers(void **state SM_UNUSED)
{
	run(body_wrong_answer);
}

/* Another process that serves until a request with counter 666 comes: then it dies without a word.
 */
static pid_t other_server(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		execl("/proc/self/exe", "t_rpc", "--serve", t.path, (char *)NULL);
		_exit(1);
	}
	return pid;
}

static void body_death(void)
{
	uint16_t code;

	t.link = sm_link_open(&t.lconf);
	assert_int_equal(sm_link_wait(t.link, soon()), 0);
	assert_works();
	assert_int_equal(ask(666, &code, soon()), SM_E_PEER);
	assert_int_equal(t.down, 1);
	assert_null(sm_link_peer(t.link));
}

static void body_again(void)
{
	assert_int_equal(sm_link_wait(t.link, soon()), 0);
	assert_int_equal(t.up, 2);
	assert_works();
}

static void death_and_return(void **state SM_UNUSED)
{
	pid_t pid = other_server();
	int status;

	run(body_death);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);

	/* The new one finds the socket of the dead one in its way, and takes its place. */
	pid = other_server();
	run(body_again);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

static void body_wrong_user(void)
{
	char c;
	pid_t pid;
	int status, fd;

	/* From there: closed before a byte. */
	t.sconf.umask = 0;
	assert_int_equal(sm_rpc_listen(&t.sconf, &t.server), 0);
	pid = fork();
	if (pid == 0) {
		struct sm_sa to;

		alarm(T_PATIENCE_MS / 1000);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0 ||
		    sm_sa_unix(&to, sm_str(t.path)) != 0 || connect(fd, &to.u.sa, to.len) != 0)
			_exit(2);
		_exit(read(fd, &c, 1) == 0 ? 0 : 3);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		settle();
	assert_int_equal(status, 0);
	assert_int_equal(t.opened, 0);

	/* A listed user may. */
	sm_rpc_server_free(&t.server);
	t.sconf.uids = &(uid_t){NOBODY};
	t.sconf.uid_count = 1;
	assert_int_equal(sm_rpc_listen(&t.sconf, &t.server), 0);
	pid = fork();
	if (pid == 0) {
		struct sm_sa to;

		alarm(T_PATIENCE_MS / 1000);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0 ||
		    sm_sa_unix(&to, sm_str(t.path)) != 0 || connect(fd, &to.u.sa, to.len) != 0)
			_exit(2);
		_exit(read(fd, &c, 1) == 1 ? 0 : 3);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		settle();
	assert_int_equal(status, 0);

	/* Only by its group: in, but not trusted. */
	sm_rpc_server_free(&t.server);
	t.sconf.uid_count = 0;
	t.sconf.read_gid = NOBODY;
	assert_int_equal(sm_rpc_listen(&t.sconf, &t.server), 0);
	pid = fork();
	if (pid == 0) {
		struct sm_sa to;
		struct sm_buf b;

		alarm(T_PATIENCE_MS / 1000);
		sm_buf_init(&b, 4096);
		put_hello(&b, SM_ROLE_CTL, sm_msg_table_hash());
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0 ||
		    sm_sa_unix(&to, sm_str(t.path)) != 0 || connect(fd, &to.u.sa, to.len) != 0 ||
		    write(fd, sm_buf_p(&b), b.len) != (ssize_t)b.len)
			_exit(2);
		pause();
	}
	while (t.opened == 0)
		settle();
	assert_false(sm_peer_trusted(t.last));
	assert_int_equal(sm_peer_uid(t.last), NOBODY);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	sm_rpc_server_free(&t.server);

	/* And we do not talk to a listener of a wrong user. */
	pid = fork();
	if (pid == 0) {
		alarm(T_PATIENCE_MS / 1000);
		if (setgid(NOBODY) != 0 || setuid(NOBODY) != 0 || listener() < 0)
			_exit(2);
		pause();
	}
	t.link = sm_link_open(&t.lconf);
	while (strcmp(sm_link_trouble(t.link), "a wrong user listens there") != 0)
		settle();
	assert_int_equal(t.up, 0);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

static void wrong_user(void **state SM_UNUSED)
{
	if (geteuid() != 0)
		skip();
	run(body_wrong_user);
}

/* ---- bytes ---- */

static void frame_bytes(void **state SM_UNUSED)
{
	struct sm_msg_ta_query q = {.ta = {1, 2}};
	struct sm_frame f;
	struct sm_buf b;

	sm_buf_init(&b, 4 * SM_FRAME_MAX);
	assert_int_equal(sm_frame_put(&b, SM_MSG_ta_query, SM_FRAME_REPLY, 0x0102030405060708, &q),
	                 0);
	assert_int_equal(b.len, 25);
	assert_memory_equal(
	    sm_buf_p(&b),
	    "\x15\0\0\0\x08\x01\x01\0\x08\x07\x06\x05\x04\x03\x02\x01\1\0\0\0\0\0\0\0\2", 25);
	for (size_t n = 0; n < 25; n++)
		assert_int_equal(sm_frame_get(sm_str_head(sm_buf_view(&b), n), &f), 0);
	assert_int_equal(sm_frame_get(sm_buf_view(&b), &f), 25);
	assert_int_equal(f.type, SM_MSG_ta_query);
	assert_int_equal(f.flags, SM_FRAME_REPLY);
	assert_true(f.tag == 0x0102030405060708);
	assert_int_equal(f.body.n, 9);
	sm_buf_fini(&b);
}

static int serve_until_666(struct sm_peer *p, const struct sm_frame *f, void *arg SM_UNUSED)
{
	struct sm_msg_ta_query q;

	if (sm_msg_ta_query_decode(f->body, NULL, &q) != 0 || q.ta.counter == 666)
		_exit(0);
	answer(p, f->tag, (uint16_t)q.ta.counter);
	return 0;
}

static int serve(const char *path)
{
	alarm(5 * T_PATIENCE_MS / 1000);
	set_up(NULL);
	t.sconf.path = path;
	t.sconf.on_frame = serve_until_666;
	if (sm_rpc_listen(&t.sconf, &t.server) != 0)
		return 1;
	return sm_loop_run();
}

int main(int argc, char **argv)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(frame_bytes),
	    T(round_trip),
	    T(gather),
	    T(timeout),
	    T(stream),
	    T(both_ask),
	    T(close_in_callback),
	    T(answer_to_the_gone),
	    T(asking_nobody),
	    T(cancel),
	    T(bad_frames),
	    T(pieces),
	    T(never_reads),
	    T(too_many),
	    T(other_build),
	    T(wrong_answers),
	    T(death_and_return),
	    T(wrong_user),
	};

	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && strcmp(argv[1], "--serve") == 0)
		return serve(argv[2]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
