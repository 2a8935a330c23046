/*
 * Unit tests of stream.c: a whole conversation over a socket pair, written by the other side at
 * once, byte by byte and in random pieces.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "libsm/co.h"
#include "libsm/loop.h"
#include "libsm/stream.h"
#include "libsm/t_patience.h"

#define SOON (sm_now_ms() + T_PATIENCE_MS)

/* One test: what `fn` does with the stream while the feeder writes `in` in pieces of `piece` bytes
 * (0: random). */
struct run {
	struct sm_net net, far;
	struct sm_stream s;
	struct sm_str in;
	size_t piece;
	bool half_close; /* the feeder ends its side at the end */
	void (*fn)(struct run *r);
	int open; /* coroutines that still run */
};

static void run_end(struct run *r)
{
	if (--r->open == 0)
		sm_loop_stop(0);
}

static void feeder(void *arg)
{
	struct run *r = arg;

	for (size_t at = 0; at < r->in.n;) {
		size_t part = r->piece ? r->piece : 1 + (size_t)rand() % 40;
		part = SM_MIN(part, r->in.n - at);
		assert_int_equal(sm_net_write(&r->far, r->in.p + at, part, SOON), 0);
		at += part;
		sm_co_yield();
	}
	if (r->half_close)
		shutdown(r->far.f.fd, SHUT_WR);
	run_end(r);
}

static void user(void *arg)
{
	struct run *r = arg;

	r->fn(r);
	run_end(r);
}

static void run_piece(struct sm_str in, size_t piece, bool half_close, size_t in_max,
                      void (*fn)(struct run *r))
{
	struct run r = {.in = in, .piece = piece, .half_close = half_close, .fn = fn, .open = 2};
	int sv[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
	assert_int_equal(sm_loop_init(), 0);
	assert_int_equal(sm_net_open(&r.net, sv[0]), 0);
	assert_int_equal(sm_net_open(&r.far, sv[1]), 0);
	sm_stream_init(&r.s, &r.net, in_max, 256);
	assert_non_null(sm_co_spawn("feeder", feeder, &r));
	assert_non_null(sm_co_spawn("user", user, &r));
	assert_int_equal(sm_loop_run(), 0);
	sm_stream_fini(&r.s);
	sm_net_close(&r.net);
	sm_net_close(&r.far);
	sm_co_cleanup();
	sm_loop_fini();
}

static void run_all(struct sm_str in, bool half_close, size_t in_max, void (*fn)(struct run *r))
{
	static const size_t pieces[] = {100000, 1, 2, 3, 7, 0};

	for (size_t i = 0; i < SM_ARRAY_SIZE(pieces); i++)
		run_piece(in, pieces[i], half_close, in_max, fn);
}

static void expect_line(struct run *r, const char *want)
{
	struct sm_str line;

	assert_int_equal(sm_stream_line(&r->s, &line, 20, SOON), 0);
	if (!sm_str_eq(line, sm_str(want)))
		fail_msg("line '%.*s', not '%s'", SM_STR_ARG(line), want);
}

static void lines_user(struct run *r)
{
	struct sm_str line;

	expect_line(r, "NOOP");
	expect_line(r, "");
	assert_int_equal(sm_stream_line(&r->s, &line, 20, SOON), SM_E_SYNTAX);
	assert_true(sm_str_eq(line, SM_STR("a\nb")));
	assert_int_equal(sm_stream_line(&r->s, &line, 20, SOON), SM_E_SYNTAX);
	assert_true(sm_str_eq(line, SM_STR("a\rb\r")));
	assert_int_equal(sm_stream_line(&r->s, &line, 20, SOON), SM_E_SYNTAX);
	assert_true(sm_str_eq(line, SM_STR("NOOP\0")));
	expect_line(r, "12345678901234567890");
	assert_int_equal(sm_stream_line(&r->s, &line, 20, SOON), SM_E_TOOBIG);
	assert_int_equal(sm_stream_skip_line(&r->s, 1000, SOON), 0);
	expect_line(r, "after");
	assert_int_equal(sm_stream_line(&r->s, &line, 20, SOON), SM_E_TOOBIG);
	assert_int_equal(sm_stream_skip_line(&r->s, 30, SOON), SM_E_TOOBIG);
	assert_int_equal(sm_stream_skip_line(&r->s, 1000, SOON), 0);
	assert_int_equal(sm_stream_line(&r->s, &line, 20, SOON), SM_E_EOF);
}

static void test_lines(void **state)
{
	(void)state;
	run_all(SM_STR("NOOP\r\n\r\na\nb\r\na\rb\r\r\nNOOP\0\r\n12345678901234567890\r\n"
	               "123456789012345678901\r\nafter\r\n"
	               "1234567890123456789012345678901234567890\r1234567890\n1234567890\r\nrest"),
	        true, 64, lines_user);
}

static void read_data(struct run *r, struct sm_str want, size_t piece)
{
	char got[4096], p[512];
	size_t n = 0;
	ssize_t rc;

	sm_stream_data_begin(&r->s);
	while ((rc = sm_stream_data(&r->s, p, piece, SOON)) > 0) {
		assert_true((size_t)rc <= piece && n + (size_t)rc <= sizeof(got));
		memcpy(got + n, p, (size_t)rc);
		n += (size_t)rc;
	}
	assert_int_equal(rc, 0);
	assert_true(sm_str_eq(sm_str_n(got, n), want));
	assert_int_equal(r->s.data_in_bytes, n);
}

static void data_user(struct run *r)
{
	expect_line(r, "DATA");
	read_data(r, SM_STR("Subject: x\r\n\r\n.dot\r\ntext\r\n"), 512);
	assert_false(r->s.bare_cr || r->s.bare_lf);
	expect_line(r, "MAIL");
	read_data(r, SM_STR(""), 2);
	expect_line(r, "RCPT");
	read_data(r, SM_STR("a\n.\nb\r\n\r\r\n"), 3);
	assert_true(r->s.bare_cr && r->s.bare_lf);
	expect_line(r, "QUIT");
	assert_false(sm_stream_has_input(&r->s));
}

static void test_data(void **state)
{
	(void)state;
	run_all(SM_STR("DATA\r\nSubject: "
	               "x\r\n\r\n..dot\r\ntext\r\n.\r\nMAIL\r\n.\r\nRCPT\r\na\n.\nb\r\n.\r\r\n"
	               ".\r\nQUIT\r\n"),
	        false, 4096, data_user);
}

static void cut_user(struct run *r)
{
	char p[64];
	ssize_t rc;

	sm_stream_data_begin(&r->s);
	while ((rc = sm_stream_data(&r->s, p, sizeof(p), SOON)) > 0)
		continue;
	assert_int_equal(rc, SM_E_EOF);
}

static void test_data_cut(void **state)
{
	(void)state;
	run_all(SM_STR("half a message\r\n.\r"), true, 4096, cut_user);
}

/* Bytes as they come, and not one more than was asked for. */
static void raw_user(struct run *r)
{
	static const struct sm_str want = SM_STR("a\n.\r\n\r\n.\r\n");
	char got[64];
	size_t n = 0;

	expect_line(r, "BDAT");
	while (n < want.n) {
		ssize_t rc = sm_stream_raw(&r->s, got + n, want.n - n, SOON);
		assert_true(rc > 0 && (size_t)rc <= want.n - n);
		n += (size_t)rc;
	}
	assert_memory_equal(got, want.p, want.n);
	expect_line(r, "QUIT");
	assert_int_equal(sm_stream_raw(&r->s, got, sizeof(got), SOON), SM_E_EOF);
}

static void test_raw(void **state)
{
	(void)state;
	run_all(SM_STR("BDAT\r\na\n.\r\n\r\n.\r\nQUIT\r\n"), true, 4096, raw_user);
}

/* Replies to what came in one piece leave in one piece, when the next read has to wait. */
static void batch_user(struct run *r)
{
	char got[256];
	ssize_t n;
	struct sm_str line;

	size_t at = 0;
	char c;

	assert_int_equal(sm_stream_wait(&r->s, &c, SOON), 0);
	assert_int_equal(c, 'A');
	assert_true(sm_stream_peek_line(&r->s, &at, &line) && sm_str_eq(line, SM_STR("A")));
	assert_true(sm_stream_peek_line(&r->s, &at, &line) && sm_str_eq(line, SM_STR("B")));
	assert_false(sm_stream_peek_line(&r->s, &at, &line));
	expect_line(r, "A");
	sm_stream_printf(&r->s, "%s\r\n", "1");
	expect_line(r, "B");
	sm_stream_puts(&r->s, SM_STR("2\r\n"));
	assert_true(recv(r->far.f.fd, got, sizeof(got), MSG_DONTWAIT) == -1);
	assert_int_equal(sm_stream_line(&r->s, &line, 20, sm_now_ms() + 20), SM_E_TIMEOUT);
	n = recv(r->far.f.fd, got, sizeof(got), MSG_DONTWAIT);
	assert_true(n == 6 && memcmp(got, "1\r\n2\r\n", 6) == 0);
	/* An idle stream holds no more memory than a line and a reply take. */
	assert_true(r->s.in.cap <= 256 && r->s.out.cap <= 256);
	for (int i = 0; i < 100; i++)
		sm_stream_puts(&r->s, SM_STR("0123456789"));
	assert_int_equal(sm_stream_flush(&r->s, SOON), SM_E_TOOBIG);
}

static void test_batch(void **state)
{
	(void)state;
	run_piece(SM_STR("A\r\nB\r\n"), 100, false, 64, batch_user);
}

struct out_row {
	struct sm_str in, want;
};
static const struct out_row out_rows[] = {
    {SM_STR(""), SM_STR(".\r\n")},
    {SM_STR("a\r\n"), SM_STR("a\r\n.\r\n")},
    {SM_STR("a"), SM_STR("a\r\n.\r\n")},
    {SM_STR(".\r\n"), SM_STR("..\r\n.\r\n")},
    {SM_STR("..a\r\n.b"), SM_STR("...a\r\n..b\r\n.\r\n")},
    {SM_STR("a\nb\n"), SM_STR("a\r\nb\r\n.\r\n")},
    {SM_STR("a\n.\nb"), SM_STR("a\r\n..\r\nb\r\n.\r\n")},
    {SM_STR("a\r.\rb\r"), SM_STR("a\r\n..\r\nb\r\n.\r\n")},
    {SM_STR("a\r\r\n.\r\n"), SM_STR("a\r\n\r\n..\r\n.\r\n")},
    {SM_STR("\n\r\n\r"), SM_STR("\r\n\r\n\r\n.\r\n")},
    {SM_STR("a\0b\r\n"), SM_STR("a\0b\r\n.\r\n")},
};
static const struct out_row *out_row;
static size_t out_piece;

static void out_user(struct run *r)
{
	char got[256];
	ssize_t n;

	sm_stream_put_data_begin(&r->s);
	for (size_t at = 0; at < out_row->in.n; at += out_piece) {
		size_t part = SM_MIN(out_piece, out_row->in.n - at);
		assert_int_equal(sm_stream_put_data(&r->s, out_row->in.p + at, part, SOON), 0);
	}
	sm_stream_put_data_end(&r->s);
	assert_int_equal(sm_stream_flush(&r->s, SOON), 0);
	n = recv(r->far.f.fd, got, sizeof(got), MSG_DONTWAIT);
	assert_true(sm_str_eq(sm_str_n(got, (size_t)n), out_row->want));
}

static void test_put_data(void **state)
{
	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(out_rows); i++) {
		for (out_piece = 1; out_piece < 12; out_piece++) {
			out_row = &out_rows[i];
			run_piece(SM_STR(""), 1, false, 64, out_user);
		}
	}
}

/* More than the buffer, many times over: everything arrives, in order. */
static void big_user(struct run *r)
{
	static char line[] = ".0123456789 0123456789 0123456789\r\n", got[120000];
	size_t n = 0, want = 0;
	ssize_t rc;

	sm_stream_put_data_begin(&r->s);
	for (int i = 0; i < 2000; i++) {
		assert_int_equal(sm_stream_put_data(&r->s, line, sizeof(line) - 1, SOON), 0);
		want += sizeof(line);
		while ((rc = recv(r->far.f.fd, got + n, sizeof(got) - n, MSG_DONTWAIT)) > 0)
			n += (size_t)rc;
	}
	sm_stream_put_data_end(&r->s);
	assert_int_equal(sm_stream_flush(&r->s, SOON), 0);
	while ((rc = recv(r->far.f.fd, got + n, sizeof(got) - n, MSG_DONTWAIT)) > 0)
		n += (size_t)rc;
	assert_int_equal(n, want + 3);
	assert_memory_equal(got + n - 7, "89\r\n.\r\n", 7);
	for (size_t i = 0; i + 3 < n; i += sizeof(line))
		assert_memory_equal(got + i, "..0123456789", 12);
}

static void test_put_data_big(void **state)
{
	(void)state;
	run_piece(SM_STR(""), 1, false, 64, big_user);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_lines),        cmocka_unit_test(test_data),
	    cmocka_unit_test(test_data_cut),     cmocka_unit_test(test_raw),
	    cmocka_unit_test(test_batch),        cmocka_unit_test(test_put_data),
	    cmocka_unit_test(test_put_data_big),
	};
	srand(1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
