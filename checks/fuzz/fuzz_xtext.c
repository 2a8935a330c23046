/*
 * xtext of clients (RFC 3461 4) and addresses in UTF-8 (RFC 6533 3), against a decoder that is too
 * simple to be wrong: what is taken is what its escapes say, and nothing else is; an address comes
 * back from what is written of it. Input: the text.
 */
#include <stdio.h>

#include "libsm/buf.h"
#include "libsm/err.h"
#include "libsm/smtp_cmd.h"
#include "libsm/utf8.h"

/* The bytes of xtext; false: it is none. */
static bool simple(const uint8_t *p, size_t n, char *out, size_t *n_out)
{
	static const char hex[] = "0123456789ABCDEF";

	*n_out = 0;
	for (size_t i = 0; i < n; i++) {
		bool escaped = p[i] == '+' && i + 2 < n;
		char code[3] = {0, 0, 0};
		unsigned c;

		if ((p[i] == '+' && !escaped) || p[i] < 33 || p[i] > 126 || p[i] == '=')
			return false;
		if (!escaped) {
			out[(*n_out)++] = (char)p[i];
			continue;
		}
		memcpy(code, p + i + 1, 2);
		if (strspn(code, hex) != 2 || sscanf(code, "%2X", &c) != 1)
			return false;
		out[(*n_out)++] = (char)c;
		i += 2;
	}
	return true;
}

static void check_xtext(struct sm_str in, struct sm_arena *a)
{
	char *mem = sm_malloc(in.n + 1);
	struct sm_str want, got;
	bool good, ascii = true, control = false;
	size_t n;

	good = simple((const uint8_t *)in.p, in.n, mem, &n);
	want = sm_str_n(mem, good ? n : 0);
	for (size_t i = 0; i < want.n; i++) {
		control = control || (unsigned char)want.p[i] < ' ' || want.p[i] == 0x7f;
		ascii = ascii && want.p[i] >= ' ' && want.p[i] <= '~';
	}
	sm_assert((sm_xtext_decode(in, a, &got) == 0) == (good && ascii));
	sm_assert(!good || !ascii || sm_str_eq(got, want));
	good = good && !control && sm_utf8_graphic(want);
	sm_assert((sm_xtext_decode_utf8(in, a, &got) == 0) == good);
	sm_assert(!good || sm_str_eq(got, want));
	sm_free(mem);
}

static void check_unitext(struct sm_str in, bool utf8, struct sm_arena *a)
{
	struct sm_str text, again;
	struct sm_buf b;

	if (sm_unitext_decode(in, utf8, a, &text) != 0)
		return;
	sm_assert(sm_utf8_graphic(text) && text.n <= in.n);
	/* Without UTF-8 nothing is taken that is not with it. */
	sm_assert(utf8 || sm_str_is_ascii(in));
	sm_buf_init(&b, 1 << 20);
	sm_unitext_put(&b, text);
	sm_assert(sm_str_is_ascii(sm_buf_view(&b)));
	sm_assert(sm_unitext_decode(sm_buf_view(&b), false, a, &again) == 0);
	sm_assert(sm_str_eq(text, again));
	sm_buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_arena a;
	char *copy;

	if (n > 4096)
		return 0;
	/* Memory of its own, so that a byte too many is seen. */
	copy = sm_malloc(n + 1);
	memcpy(copy, p, n);
	copy = sm_realloc(copy, SM_MAX(n, (size_t)1), 1);
	sm_arena_init(&a, "fuzz", 512, 1024 * 1024);
	check_xtext(sm_str_n(copy, n), &a);
	check_unitext(sm_str_n(copy, n), false, &a);
	check_unitext(sm_str_n(copy, n), true, &a);
	sm_arena_fini(&a);
	sm_free(copy);
	return 0;
}
