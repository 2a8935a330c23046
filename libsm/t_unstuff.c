/*
 * Unit tests of unstuff.c: every way to split the input gives the same content, and only CRLF.CRLF
 * ends it. The rows are run whole, byte by byte, at each single split, in random splits, and in
 * place as stream.c does it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "libsm/stream.h"

struct row {
	struct sm_str in, out, rest; /* rest: what follows the end */
	bool done, cr, lf;
};
#define IN(s) SM_STR(s)
#define OPEN  SM_STR_NONE, false

static const struct row rows[] = {
    {IN("a\r\n.\r\n"), IN("a\r\n"), IN(""), true, false, false},
    {IN(".\r\n"), IN(""), IN(""), true, false, false},
    {IN(".\r\nQUIT\r\n"), IN(""), IN("QUIT\r\n"), true, false, false},
    {IN("a\r\n.\r\n.\r\n"), IN("a\r\n"), IN(".\r\n"), true, false, false},
    {IN("..\r\n.a\r\n...\r\n.\r\n"), IN(".\r\na\r\n..\r\n"), IN(""), true, false, false},
    {IN("a.b\r\nc.\r\n.\r\n"), IN("a.b\r\nc.\r\n"), IN(""), true, false, false},
    {IN("\r\n\r\n.\r\n"), IN("\r\n\r\n"), IN(""), true, false, false},
    {IN("a\0b\r\n.\0\r\n\0.\r\n.\r\n"), IN("a\0b\r\n\0\r\n\0.\r\n"), IN(""), true, false, false},
    /* Smuggling: none of these ends data. */
    {IN("a\n.\nX"), IN("a\n.\nX"), OPEN, false, true},
    {IN("a\n.\r\nX"), IN("a\n.\r\nX"), OPEN, false, true},
    {IN("a\r\n.\nX"), IN("a\r\n\nX"), OPEN, false, true},
    {IN("a\r.\rX"), IN("a\r.\rX"), OPEN, true, false},
    {IN("a\r\n.\rX"), IN("a\r\n\rX"), OPEN, true, false},
    {IN("a\r.\r\nX"), IN("a\r.\r\nX"), OPEN, true, false},
    {IN("a\n\r\n.\r"), IN("a\n\r\n"), OPEN, false, true},
    {IN("a\r\r\n.\r\n"), IN("a\r\r\n"), IN(""), true, true, false},
    {IN(".\r\r\n.\r\n"), IN("\r\r\n"), IN(""), true, true, false},
    {IN(".\r\x0b\n.\r\n"), IN("\r\x0b\n.\r\n"), OPEN, true, true},
    {IN("\n.\r\n"), IN("\n.\r\n"), OPEN, false, true},
    {IN("\r.\r\n"), IN("\r.\r\n"), OPEN, true, false},
    {IN("a\r\n.\r.\r\n.\r\n"), IN("a\r\n\r.\r\n"), IN(""), true, true, false},
    {IN("a\r\n..\n.\r\n"), IN("a\r\n.\n.\r\n"), OPEN, false, true},
    /* Held back until it is clear what it is. */
    {IN("a\r"), IN("a\r"), OPEN, false, false},
    {IN("a\r\n."), IN("a\r\n"), OPEN, false, false},
    {IN("a\r\n.\r"), IN("a\r\n"), OPEN, false, false},
};

/* `sizes[i]` bytes a call, the last one for all that remains; in place when asked. */
static void run(const struct row *r, const size_t *sizes, size_t n_sizes, bool in_place)
{
	enum sm_eod_state st = SM_EOD_BOL;
	bool cr = false, lf = false;
	char out[256], mem[256];
	size_t at = 0, n_out = 0, i = 0;

	while (at < r->in.n && st != SM_EOD_DONE) {
		size_t part = i < n_sizes ? sizes[i++] : r->in.n - at, used, written;
		part = SM_MIN(part, r->in.n - at);
		if (in_place) {
			memcpy(mem + 1, r->in.p + at, part);
			sm_unstuff(&st, &cr, &lf, mem + 1, part, &used, mem, &written);
			memcpy(out + n_out, mem, written);
		} else {
			sm_unstuff(&st, &cr, &lf, r->in.p + at, part, &used, out + n_out, &written);
		}
		assert_true(written <= part + 1);
		assert_true(used == part || st == SM_EOD_DONE);
		at += used;
		n_out += written;
	}
	assert_int_equal(st == SM_EOD_DONE, r->done);
	assert_int_equal(n_out, r->out.n);
	assert_memory_equal(out, r->out.p, n_out);
	if (r->done)
		assert_true(sm_str_eq(sm_str_from(r->in, at), r->rest));
	assert_int_equal(cr, r->cr);
	assert_int_equal(lf, r->lf);
}

static void test_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		run(&rows[i], NULL, 0, false);
		run(&rows[i], NULL, 0, true);
	}
}

static void test_bytes(void **state)
{
	size_t ones[64];
	(void)state;

	for (size_t i = 0; i < SM_ARRAY_SIZE(ones); i++)
		ones[i] = 1;
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		run(&rows[i], ones, SM_ARRAY_SIZE(ones), false);
		run(&rows[i], ones, SM_ARRAY_SIZE(ones), true);
	}
}

static void test_splits(void **state)
{
	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		for (size_t a = 1; a < rows[i].in.n; a++) {
			for (size_t b = 1; a + b <= rows[i].in.n; b++) {
				size_t sizes[2] = {a, b};
				run(&rows[i], sizes, 2, false);
				run(&rows[i], sizes, 2, true);
			}
		}
	}
}

/* A large body with everything in it, split at random: same as one pass of a machine that looks at
 * each byte. */
static void test_random(void **state)
{
	static const char alphabet[] = "a.\r\n.\r\n\0b";
	static char in[20000], want[20001], got[20001];
	uint64_t seed = 1;
	(void)state;

	for (int round = 0; round < 200; round++) {
		size_t n = sizeof(in), n_want = 0, n_got = 0, at = 0, end = n;
		int bol = 1; /* 1: BOL, 0: text, 2: dot, 3: dot CR, 4: CR */
		for (size_t i = 0; i < n; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			in[i] = alphabet[(seed >> 33) % (sizeof(alphabet) - 1)];
			/* Make ends rare enough to get deep. */
			if (i >= 2 && in[i] == '.' && in[i - 1] == '\n' && (seed >> 40) % 64 != 0)
				in[i] = 'x';
		}
		for (size_t i = 0; i < n; i++) {
			char c = in[i];
			if (bol == 1 && c == '.') {
				bol = 2;
				continue;
			}
			if (bol == 2 && c == '\r') {
				bol = 3;
				continue;
			}
			if (bol == 3 && c == '\n') {
				end = i + 1;
				break;
			}
			if (bol == 3) {
				want[n_want++] = '\r';
				bol = 4;
			}
			want[n_want++] = c;
			bol = c == '\r' ? 4 : c == '\n' && bol == 4 ? 1 : 0;
		}
		enum sm_eod_state st = SM_EOD_BOL;
		bool cr = false, lf = false;
		while (at < n && st != SM_EOD_DONE) {
			size_t used, written, part;
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			part = SM_MIN(n - at, 1 + (seed >> 33) % 700);
			sm_unstuff(&st, &cr, &lf, in + at, part, &used, got + n_got, &written);
			at += used;
			n_got += written;
		}
		assert_int_equal(at, end);
		assert_int_equal(n_got, n_want);
		assert_memory_equal(got, want, n_got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_whole),
	    cmocka_unit_test(test_bytes),
	    cmocka_unit_test(test_splits),
	    cmocka_unit_test(test_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
