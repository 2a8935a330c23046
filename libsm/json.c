/*
 * Bytes of anybody to strings in JSON. Invariant: whatever comes in, what goes out is valid JSON
 * and valid UTF-8. Pure; any thread.
 */
#include "libsm/json.h"

#include "libsm/buf.h"

#define REPLACEMENT 0xfffd

size_t sm_utf8(struct sm_str s, uint32_t *code_point)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	unsigned char c = (unsigned char)s.p[0];
	size_t n = c < 0x80                 ? 1
	           : c >= 0xc2 && c <= 0xdf ? 2
	           : c >= 0xe0 && c <= 0xef ? 3
	           : c >= 0xf0 && c <= 0xf4 ? 4
	                                    : 0;
	uint32_t v = n < 2 ? c : c & (0x7fU >> n);

	if (n == 0 || n > s.n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if (((unsigned char)s.p[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | ((unsigned char)s.p[i] & 0x3f);
	}
	/* Not the shortest form, half of a surrogate pair, or behind the last one. */
	if (n > 1 && (v < least[n] || (v >= 0xd800 && v <= 0xdfff) || v > 0x10ffff))
		return 0;
	*code_point = v;
	return n;
}

static bool plain(char c)
{
	return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

static void put_u(struct sm_buf *b, uint32_t v)
{
	static const char hex[] = "0123456789abcdef";
	const char u[6] = {'\\',       'u', hex[v >> 12 & 15], hex[v >> 8 & 15], hex[v >> 4 & 15],
	                   hex[v & 15]};

	sm_buf_append(b, u, sizeof(u));
}

/* One character that is not plain. Gives how many bytes of `s` it took. */
static size_t put_char(struct sm_buf *b, struct sm_str s, bool ascii)
{
	uint32_t v = REPLACEMENT;
	size_t n = sm_utf8(s, &v);

	if (v == '"' || v == '\\') {
		sm_buf_char(b, '\\');
		sm_buf_char(b, (char)v);
	} else if (n > 1 && !ascii) {
		sm_buf_append(b, s.p, n);
	} else if (v >= 0x10000) {
		put_u(b, 0xd800 | (v - 0x10000) >> 10);
		put_u(b, 0xdc00 | ((v - 0x10000) & 0x3ff));
	} else {
		put_u(b, v);
	}
	return n > 0 ? n : 1;
}

static void put(struct sm_buf *b, struct sm_str s, bool ascii)
{
	while (s.n > 0) {
		size_t n = 0;

		while (n < s.n && plain(s.p[n]))
			n++;
		sm_buf_append(b, s.p, n);
		s = sm_str_from(s, n);
		if (s.n > 0)
			s = sm_str_from(s, put_char(b, s, ascii));
	}
}

void sm_json_str(struct sm_buf *b, struct sm_str s)
{
	sm_buf_char(b, '"');
	put(b, s, false);
	sm_buf_char(b, '"');
}

void sm_json_ascii(struct sm_buf *b, struct sm_str s, size_t max)
{
	size_t n = SM_MIN(s.n, max);

	/* Do not cut through a character: at most three bytes back is its first one. */
	for (size_t back = 0; n < s.n && back < 3 && n > 0; back++) {
		uint32_t v;

		if (((unsigned char)s.p[n] & 0xc0) != 0x80)
			break;
		n--;
		if (sm_utf8(sm_str_from(s, n), &v) > 1)
			break;
	}
	put(b, sm_str_head(s, n), true);
	if (n < s.n)
		sm_buf_cstr(b, "...");
}
