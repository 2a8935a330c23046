/* Calls between processes: both ends behave, and are in one process. */
#include "libsm/t_rpc.h"

#include <signal.h>
#include <stdlib.h>

/* ---- both well-behaved ---- */

static void body_round_trip(void)
{
	t_both_ends();
	t_assert_works();
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
	t_settle();
	assert_int_equal(t.closed, 1);
	assert_int_equal(t.down, 1);
}

static void round_trip(void **state SM_UNUSED)
{
	t_run(body_round_trip);
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

	t_both_ends();
	t.hold = true;
	answers = 0;
	for (size_t i = 0; i < 1000; i++) {
		sm_call(&calls[i], sm_link_peer(t.link), SM_MSG_ta_query, &q, t_soon() + (int64_t)i,
		        count_answer, (void *)(uintptr_t)i);
		if (i == 0)
			one = sm_peer_unsent(sm_link_peer(t.link));
	}
	/* All of them gather until the loop's turn ends. */
	assert_int_equal(sm_peer_unsent(sm_link_peer(t.link)), 1000 * one);
	while (t.held_count < 1000)
		t_settle();
	assert_int_equal(sm_peer_unsent(sm_link_peer(t.link)), 0);
	/* In any order: here the last first; and one of them is not wanted any more. */
	sm_call_cancel(&calls[500]);
	for (size_t i = 1000; i-- > 0;)
		t_answer(t.last, t.held[i], (uint16_t)i);
	while (answers < 999)
		t_settle();
	t_settle();
	assert_int_equal(answers, 999);
}

static void gather(void **state SM_UNUSED)
{
	t_run(body_gather);
}

static void body_timeout(void)
{
	struct sm_msg_ta_query q = {.ta = {7, 1}};
	struct sm_call late;
	uint16_t code;
	int64_t start;

	t_both_ends();
	t.hold = true;
	answers = 0;
	/* A later deadline that is asked for first must not hide an earlier one. */
	sm_call(&late, sm_link_peer(t.link), SM_MSG_ta_query, &q, t_soon(), count_answer,
	        (void *)9);
	start = sm_now_ms();
	assert_int_equal(t_ask(1, &code, start + 60), SM_E_TIMEOUT);
	assert_in_range(sm_now_ms() - start, 60, T_PATIENCE_MS / 2);
	assert_int_equal(t_ask(1, &code, sm_now_ms() - 1), SM_E_TIMEOUT);
	/* What comes too late is dropped, the connection stays. */
	while (t.held_count < 3)
		t_settle();
	t_answer(t.last, t.held[1], 1);
	t_answer(t.last, t.held[0], 9);
	t.hold = false;
	t_assert_works();
	assert_int_equal(answers, 1);
	assert_int_equal(t.down, 0);
}

static void timeout(void **state SM_UNUSED)
{
	t_run(body_timeout);
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
	t_both_ends();
	answers = more_seen = 0;
	most_unsent = 0;
	sm_call(&c, sm_link_peer(t.link), SM_MSG_ctl_request, &q, t_soon(), on_stream, NULL);
	while (answers == 0)
		t_settle();
	assert_int_equal(more_seen, 500);
	assert_true(most_unsent < 1200000);
	assert_int_equal(t.last->owed, 0);
}

static void stream(void **state SM_UNUSED)
{
	t_run(body_stream);
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
	t_both_ends();
	first_seen = 0;
	sm_call(&c, t.last, SM_MSG_id_block_get, &q, t_soon(), on_first, NULL);
	while (first_seen == 0)
		t_settle();
	assert_int_equal(first_seen, 77);
	t_assert_works();
}

static void both_ask(void **state SM_UNUSED)
{
	t_run(body_both_ask);
}

/* ---- closing ---- */

static void body_close_in_callback(void)
{
	uint16_t code;

	t.shut = "frame";
	t_both_ends();
	/* The answer was sent before the end, so it still comes. */
	(void)t_ask(1, &code, t_soon());
	while (t.closed == 0)
		t_settle();
	t.shut = "open";
	while (t.opened < 3)
		t_settle();
	t.shut = NULL;
	while (sm_link_peer(t.link) == NULL || t.closed < t.opened - 1)
		t_settle();
	t_assert_works();
	assert_int_equal(t.closed, t.opened - 1);
	assert_int_equal(t.down, t.up - 1);
}

static void close_in_callback(void **state SM_UNUSED)
{
	t_run(body_close_in_callback);
}

static void body_answer_to_the_gone(void)
{
	struct sm_peer *gone;
	uint16_t code;

	t_both_ends();
	t.hold = true;
	assert_int_equal(t_ask(1, &code, sm_now_ms() + 30), SM_E_TIMEOUT);
	assert_int_equal(t_ask(2, &code, sm_now_ms() + 30), SM_E_TIMEOUT);
	while (t.held_count < 2)
		t_settle();
	gone = t.held_peer;
	sm_link_free(&t.link);
	while (t.closed == 0)
		t_settle();
	/* Both answers are owed: the handle is good until the second. */
	t_answer(gone, t.held[0], 1);
	assert_int_equal(gone->owed, 1);
	t_answer(gone, t.held[1], 1);
	assert_int_equal(t.closed, 1);
}

static void answer_to_the_gone(void **state SM_UNUSED)
{
	t_run(body_answer_to_the_gone);
}

static int waited_rc;

static void wait_for_ever(void *arg SM_UNUSED)
{
	waited_rc = sm_link_wait(t.link, SM_NEVER);
}

static void body_asking_nobody(void)
{
	struct sm_msg_ta_query q = {0};
	struct sm_msg_verdict v = {.text = {NULL, 513}};
	struct sm_call c;
	uint16_t code;

	t.link = sm_link_open(&t.lconf);
	assert_int_equal(t_ask(1, &code, t_soon()), SM_E_PEER);
	answers = 0;
	sm_call(&c, NULL, SM_MSG_ta_query, &q, t_soon(), count_answer, NULL);
	assert_int_equal(answers, 0);
	t_settle();
	assert_int_equal(answers, 1);
	assert_int_equal(last_err, SM_E_PEER);
	assert_int_equal(sm_link_wait(t.link, sm_now_ms() + 50), SM_E_TIMEOUT); /* for nobody */
	assert_non_null(strstr(sm_link_trouble(t.link), "connect: "));
	/* Who waits is told when this process ends, and nobody waits any more. */
	waited_rc = 1;
	assert_non_null(sm_co_spawn("waits", wait_for_ever, NULL));
	t_settle();
	assert_int_equal(waited_rc, 1);
	sm_link_wait_no_more(t.link);
	t_settle();
	assert_int_equal(waited_rc, SM_E_CANCEL);
	assert_int_equal(sm_link_wait(t.link, SM_NEVER), SM_E_CANCEL);

	sm_link_free(&t.link);
	t_both_ends();
	sm_call(&c, sm_link_peer(t.link), SM_MSG_verdict, &v, t_soon(), count_answer, NULL);
	t_settle();
	assert_int_equal(answers, 2);
	assert_int_equal(last_err, SM_E_TOOBIG);
	t_assert_works();
}

static void asking_nobody(void **state SM_UNUSED)
{
	t_run(body_asking_nobody);
}

static int cancelled_rc;

static void ask_for_ever(void *arg SM_UNUSED)
{
	uint16_t code;

	cancelled_rc = t_ask(1, &code, t_soon());
}

static void body_cancel(void)
{
	struct sm_co *co;

	t_both_ends();
	t.hold = true;
	cancelled_rc = 1;
	co = sm_co_spawn("asker", ask_for_ever, NULL);
	assert_non_null(co);
	while (t.held_count == 0)
		t_settle();
	sm_co_cancel(co);
	t_settle();
	assert_int_equal(cancelled_rc, SM_E_CANCEL);
	t_answer(t.last, t.held[0], 1);
	t.hold = false;
	t_assert_works();
}

static void cancel(void **state SM_UNUSED)
{
	t_run(body_cancel);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(frame_bytes),
	    T_RPC(round_trip),
	    T_RPC(gather),
	    T_RPC(timeout),
	    T_RPC(stream),
	    T_RPC(both_ask),
	    T_RPC(close_in_callback),
	    T_RPC(answer_to_the_gone),
	    T_RPC(asking_nobody),
	    T_RPC(cancel),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
