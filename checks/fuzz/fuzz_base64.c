/*
 * Base64 of clients and servers, against a decoder that is too simple to be wrong: what is taken is
 * what encoding its bytes gives, and the other way round any bytes come back. Input: a text, which
 * is taken as bytes as well.
 */
#include "libsm/base64.h"
#include "libsm/err.h"

/* RFC 4648 4 by its table, a bit at a time: false when the text is none, or not the one way to
 * write its bytes. */
static bool simple(const uint8_t *p, size_t n, uint8_t *out, size_t *n_out)
{
	static const char table[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	unsigned bits = 0, have = 0;
	size_t digits = n;

	*n_out = 0;
	if (n % 4 != 0)
		return false;
	if (n > 0 && p[n - 1] == '=')
		digits -= p[n - 2] == '=' ? 2 : 1;
	for (size_t i = 0; i < digits; i++) {
		const char *at = p[i] != '\0' ? strchr(table, p[i]) : NULL;

		if (at == NULL)
			return false;
		for (int b = 5; b >= 0; b--) {
			bits = bits << 1 | ((unsigned)(at - table) >> b & 1);
			if (++have < 8)
				continue;
			out[(*n_out)++] = (uint8_t)bits;
			bits = have = 0;
		}
	}
	return bits == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_str in = sm_str_n(p, n);
	struct sm_buf bytes, text;
	uint8_t *want;
	size_t n_want;
	bool good;
	int err;

	if (n > 20000)
		return 0;
	want = sm_malloc(n + 1);
	good = simple(p, n, want, &n_want);
	sm_buf_init(&bytes, 20000);
	sm_buf_init(&text, 40000);
	sm_buf_char(&bytes, '!'); /* what stands there stays */
	err = sm_base64_decode(&bytes, in);
	sm_assert(err == (good ? 0 : SM_E_SYNTAX));
	sm_assert(bytes.len == 1 + (good ? n_want : 0) && sm_buf_view(&bytes).p[0] == '!');
	if (good) {
		struct sm_str got = sm_str_from(sm_buf_view(&bytes), 1);

		sm_assert(sm_str_eq(got, sm_str_n(want, n_want)));
		sm_base64_encode(&text, got);
		sm_assert(sm_str_eq(sm_buf_view(&text), in));
		sm_buf_reset(&text);
	}
	sm_buf_reset(&bytes);
	sm_base64_encode(&text, in);
	sm_assert(text.len == sm_base64_size(n));
	sm_assert(sm_base64_decode(&bytes, sm_buf_view(&text)) == 0);
	sm_assert(sm_str_eq(sm_buf_view(&bytes), in));
	sm_buf_fini(&bytes);
	/* Room for less than the text takes: refused, whatever it is. */
	if (good && n > 0) {
		sm_buf_init(&bytes, n / 4);
		sm_assert(sm_base64_decode(&bytes, in) == SM_E_TOOBIG && bytes.len == 0);
		sm_buf_fini(&bytes);
	}
	sm_buf_fini(&text);
	sm_free(want);
	return 0;
}
