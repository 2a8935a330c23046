/* Base64, to and fro. Invariant: for each text there is one decoding, for each decoding one text.
 * Pure; any thread. */
#include "libsm/base64.h"

#include "libsm/err.h"

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void sm_base64_encode(struct sm_buf *out, struct sm_str bytes)
{
	char *p = sm_buf_reserve(out, sm_base64_size(bytes.n));
	const unsigned char *in = (const unsigned char *)bytes.p;
	size_t n = 0;

	if (p == NULL)
		return;
	for (size_t i = 0; i < bytes.n; i += 3) {
		size_t left = bytes.n - i;
		unsigned v = (unsigned)in[i] << 16 | (left > 1 ? (unsigned)in[i + 1] << 8 : 0) |
		             (left > 2 ? (unsigned)in[i + 2] : 0);

		p[n++] = digits[v >> 18];
		p[n++] = digits[v >> 12 & 63];
		p[n++] = left > 1 ? digits[v >> 6 & 63] : '=';
		p[n++] = left > 2 ? digits[v & 63] : '=';
	}
	sm_buf_commit(out, n);
}

/* -1: none. */
static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

int sm_base64_decode(struct sm_buf *out, struct sm_str text)
{
	size_t pad = 0, n = 0;
	unsigned v = 0;
	char *p;

	while (pad < 2 && pad < text.n && text.p[text.n - 1 - pad] == '=')
		pad++;
	if (text.n % 4 != 0)
		return sm_fail(SM_E_SYNTAX, "base64 of %zu digits", text.n);
	p = sm_buf_reserve(out, text.n / 4 * 3);
	if (p == NULL && text.n > 0)
		return sm_fail(SM_E_TOOBIG, "base64 of %zu digits", text.n);
	for (size_t i = 0; i < text.n; i++) {
		int d = i < text.n - pad ? value_of(text.p[i]) : 0;

		if (d < 0)
			return sm_fail(SM_E_SYNTAX, "no digit of base64");
		v = v << 6 | (unsigned)d;
		if (i % 4 != 3)
			continue;
		p[n++] = (char)(v >> 16);
		p[n++] = (char)(v >> 8 & 255);
		p[n++] = (char)(v & 255);
		v = 0;
	}
	/* Of two digits four bits are left over, of three two. */
	for (size_t i = 0; i < pad; i++)
		if (p[--n] != 0)
			return sm_fail(SM_E_SYNTAX, "base64 that ends with bits");
	sm_buf_commit(out, n);
	return 0;
}
