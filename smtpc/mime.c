/*
 * Encodings of MIME. Invariant: what comes out is printable ASCII in CRLF lines, short enough for
 * every server. Pure.
 */
#include "smtpc/mime.h"

enum {
	LINE_MAX_BYTES = 998, /* RFC 5322 2.1.1 */
	QP_LINE = 75,         /* RFC 2045 6.7: 76 with the soft break */
	WORD_LINE = 75,       /* RFC 2047 2: one encoded word */
};

static const char word_begin[] = "=?utf-8?Q?", word_end[] = "?=";

enum sc_mime_kind sc_mime_kind(struct sm_str s)
{
	enum sc_mime_kind kind = SC_MIME_7BIT;
	size_t line = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c == '\r' && i + 1 < s.n && s.p[i + 1] == '\n') {
			line = 0;
			i++;
			continue;
		}
		if (c == 0 || c == '\r' || c == '\n' || ++line > LINE_MAX_BYTES)
			return SC_MIME_BINARY;
		if (c >= 0x80)
			kind = SC_MIME_8BIT;
	}
	return kind;
}

static void put_hex(struct sm_buf *b, char c)
{
	static const char digits[] = "0123456789ABCDEF";

	sm_buf_char(b, '=');
	sm_buf_char(b, digits[(unsigned char)c >> 4]);
	sm_buf_char(b, digits[(unsigned char)c & 15]);
}

static bool is_crlf(struct sm_str s, size_t i)
{
	return i + 1 < s.n && s.p[i] == '\r' && s.p[i + 1] == '\n';
}

void sc_mime_put_qp(struct sm_buf *b, struct sm_str s)
{
	size_t line = 0;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (is_crlf(s, i)) {
			sm_buf_cstr(b, "\r\n");
			line = 0;
			i++;
			continue;
		}
		/* White space at the end of a line would be lost on the way. */
		bool last = i + 1 == s.n || is_crlf(s, i + 1);
		bool plain = c == '\t' || c == ' ' ? !last : c > ' ' && c <= '~' && c != '=';
		size_t n = plain ? 1 : 3;

		if (line + n > QP_LINE) {
			sm_buf_cstr(b, "=\r\n");
			line = 0;
		}
		if (plain)
			sm_buf_char(b, c);
		else
			put_hex(b, c);
		line += n;
	}
}

static size_t utf8_len(unsigned char c)
{
	return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

void sc_mime_put_words(struct sm_buf *b, struct sm_str s)
{
	size_t fixed = sizeof(word_begin) + sizeof(word_end) - 2, line = fixed;

	if (sc_mime_kind(s) == SC_MIME_7BIT) {
		sm_buf_str(b, s);
		return;
	}
	sm_buf_cstr(b, word_begin);
	for (size_t i = 0, n; i < s.n; i += n) {
		n = SM_MIN(utf8_len((unsigned char)s.p[i]), s.n - i);
		/* A character stays in one word (RFC 2047 5). */
		if (line + 3 * n > WORD_LINE) {
			sm_buf_printf(b, "%s\r\n %s", word_end, word_begin);
			line = fixed;
		}
		for (size_t k = 0; k < n; k++) {
			char c = s.p[i + k];

			if (sm_isalnum(c)) {
				sm_buf_char(b, c);
				line++;
			} else {
				put_hex(b, c);
				line += 3;
			}
		}
	}
	sm_buf_cstr(b, word_end);
}
