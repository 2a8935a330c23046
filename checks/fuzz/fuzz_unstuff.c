/*
 * Fuzz unstuff.c against a machine that looks at each byte and is too simple to be wrong. Input: a
 * seed byte that chooses how the rest is split into reads.
 */
#include "libsm/stream.h"

/* RFC 5321 4.5.2, literally. Gives how much was consumed. */
static size_t simple(const uint8_t *in, size_t n, char *out, size_t *n_out, bool *done)
{
	bool bol = true, prev_cr = false;

	*n_out = 0;
	*done = false;
	for (size_t i = 0; i < n; i++) {
		if (bol && in[i] == '.') {
			if (i + 2 < n && in[i + 1] == '\r' && in[i + 2] == '\n') {
				*done = true;
				return i + 3;
			}
			/* Undecided at the end of the input: held back. */
			if (i + 1 == n || (i + 2 == n && in[i + 1] == '\r'))
				return n;
			bol = prev_cr = false;
			continue;
		}
		out[(*n_out)++] = (char)in[i];
		bol = in[i] == '\n' && prev_cr;
		prev_cr = in[i] == '\r';
	}
	return n;
}

/* A CR or an LF that is not one of a pair; at the end a CR is open. */
static void check_bare(const char *p, size_t n, size_t split)
{
	bool bare = false, open = false, after_cr = false;

	for (size_t i = 0; i < n; i++)
		bare = bare || (p[i] == '\n' && (i == 0 || p[i - 1] != '\r')) ||
		       (p[i] == '\r' && i + 1 < n && p[i + 1] != '\n');
	open = n > 0 && p[n - 1] == '\r';
	if (sm_bare_line_end(p, split, &after_cr) ||
	    sm_bare_line_end(p + split, n - split, &after_cr))
		sm_assert(bare);
	else
		sm_assert(!bare && after_cr == open);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	enum sm_eod_state st = SM_EOD_BOL;
	bool bare_cr = false, bare_lf = false, done;
	size_t n_want, at = 0, n_got = 0, used, written, consumed;
	char *want, *got;
	uint32_t seed;

	if (n == 0)
		return 0;
	seed = p[0];
	p++, n--;
	check_bare((const char *)p, n, seed % (n + 1));
	want = sm_malloc(n + 2);
	got = sm_malloc(n + 2);
	consumed = simple(p, n, want, &n_want, &done);
	while (at < n && st != SM_EOD_DONE) {
		size_t part;
		seed = seed * 1664525u + 1013904223u;
		part = SM_MIN(n - at, 1 + (seed >> 16) % (p[-1] < 128 ? 3 : 200));
		sm_unstuff(&st, &bare_cr, &bare_lf, (const char *)p + at, part, &used, got + n_got,
		           &written);
		sm_assert(written <= part + 1 && (used == part || st == SM_EOD_DONE));
		at += used;
		n_got += written;
	}
	sm_assert(done == (st == SM_EOD_DONE) && at == consumed);
	sm_assert(n_got == n_want && memcmp(got, want, n_got) == 0);
	/* Content without bare CR and LF is CRLF lines and nothing else. */
	for (size_t i = 0; done && i < n_got; i++) {
		if (!bare_lf)
			sm_assert(got[i] != '\n' || (i > 0 && got[i - 1] == '\r'));
		if (!bare_cr)
			sm_assert(got[i] != '\r' || (i + 1 < n_got && got[i + 1] == '\n'));
	}
	sm_free(want);
	sm_free(got);
	return 0;
}
