/*
 * SMTP replies: writing them as wire text (smtps) and collecting those of a server, defensively
 * (smtpc).
 *
 * Invariant: whatever text comes in, what goes out is printable ASCII in lines of at most 512
 * bytes, CRLF-ended, all with the same code. Thread: that of the caller; no state of its own.
 */
#include "libsm/smtp_reply.h"

#include "libsm/err.h"

enum {
	REPLY_LINE_MAX = 512, /* RFC 5321 4.5.3.1.5, with CRLF */
	REPLY_TEXT_KEPT = 4096
};

static bool is_printable(char c)
{
	return c >= ' ' && c <= '~';
}

/* "." 1*3DIGIT at *pos. */
static bool take_number(struct sm_str s, size_t *pos, unsigned *out)
{
	size_t i = *pos, start;
	unsigned v = 0;

	if (i >= s.n || s.p[i++] != '.')
		return false;
	for (start = i; i < s.n && i < start + 3 && sm_isdigit(s.p[i]); i++)
		v = v * 10 + (unsigned)(s.p[i] - '0');
	*out = v;
	*pos = i;
	return i > start;
}

bool sm_enhanced_parse(struct sm_str text, int code, unsigned out[3], struct sm_str *rest)
{
	size_t pos = 1;

	if (text.n == 0 || text.p[0] < '2' || text.p[0] > '5' || text.p[0] - '0' != code / 100)
		return false;
	out[0] = (unsigned)(text.p[0] - '0');
	if (!take_number(text, &pos, &out[1]) || !take_number(text, &pos, &out[2]))
		return false;
	if (pos < text.n && text.p[pos] != ' ')
		return false;
	*rest = sm_str_from(text, pos < text.n ? pos + 1 : pos);
	return true;
}

/* The text of one line, cut so that the line fits its 512 bytes. */
static void put_line(struct sm_buf *b, int code, bool last, struct sm_str enhanced,
                     struct sm_str text)
{
	const char head[] = {(char)('0' + code / 100), (char)('0' + code / 10 % 10),
	                     (char)('0' + code % 10), last ? ' ' : '-'};
	size_t room = REPLY_LINE_MAX - 2 - sizeof(head) - enhanced.n, bytes;
	char *p;

	text = sm_str_head(text, room);
	bytes = sizeof(head) + enhanced.n + text.n + 2;
	p = sm_buf_reserve(b, bytes);
	if (p == NULL)
		return;
	p = mempcpy(p, head, sizeof(head));
	if (enhanced.n > 0)
		p = mempcpy(p, enhanced.p, enhanced.n);
	if (text.n > 0)
		memcpy(p, text.p, text.n);
	if (sm_str_has_control(text) || !sm_str_is_ascii(text))
		for (size_t i = 0; i < text.n; i++)
			if (!is_printable(p[i]))
				p[i] = '?';
	memcpy(p + text.n, "\r\n", 2);
	sm_buf_commit(b, bytes);
}

/* RFC 2034 4: the enhanced code of the first line stands on every line. */
static void put_lines(struct sm_buf *b, int code, struct sm_str first, struct sm_str more)
{
	struct sm_str enhanced = SM_STR_NONE, after;
	unsigned num[3];

	if (sm_enhanced_parse(first, code, num, &after))
		enhanced = sm_str_head(first, (size_t)(after.p - first.p));
	put_line(b, code, false, SM_STR_NONE, first);
	while (more.p != NULL) {
		struct sm_str line = sm_str_split(more, '\n', &more);
		bool has_own = sm_enhanced_parse(line, code, num, &after);

		put_line(b, code, more.p == NULL, has_own ? SM_STR_NONE : enhanced, line);
	}
}

void sm_reply_put(struct sm_buf *b, int code, struct sm_str text)
{
	struct sm_str more, first = sm_str_split(text, '\n', &more);

	if (more.p == NULL)
		put_line(b, code, true, SM_STR_NONE, first);
	else
		put_lines(b, code, first, more);
}

void sm_reply_parser_init(struct sm_reply_parser *p, int max_lines)
{
	p->code = p->lines = 0;
	p->max_lines = max_lines;
	sm_buf_init(&p->text, REPLY_TEXT_KEPT);
}

void sm_reply_parser_fini(struct sm_reply_parser *p)
{
	sm_buf_fini(&p->text);
}

void sm_reply_parser_reset(struct sm_reply_parser *p)
{
	p->code = p->lines = 0;
	sm_buf_reset(&p->text);
}

/* Keep what still fits; the rest of a talkative server's text is of no use to anybody. */
static void keep_text(struct sm_buf *b, struct sm_str text, bool newline)
{
	size_t room = REPLY_TEXT_KEPT - b->len;
	char *p;

	if (newline && room > 0) {
		sm_buf_char(b, '\n');
		room--;
	}
	text = sm_str_head(text, room);
	if (text.n == 0)
		return;
	p = sm_buf_reserve(b, text.n);
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		p[i] = c < ' ' || c == 0x7f ? '?' : (char)c;
	}
	sm_buf_commit(b, text.n);
}

/*
 *   Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF
 */
int sm_reply_parser_feed(struct sm_reply_parser *p, struct sm_str line)
{
	int code = 0;

	if (line.n < 3 || !sm_isdigit(line.p[0]) || !sm_isdigit(line.p[1]) ||
	    !sm_isdigit(line.p[2]))
		return sm_fail(SM_E_PROTO, "reply without code");
	for (int i = 0; i < 3; i++)
		code = code * 10 + (line.p[i] - '0');
	if (code < 200 || code > 599)
		return sm_fail(SM_E_PROTO, "reply code %d out of range", code);
	if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')
		return sm_fail(SM_E_PROTO, "no separator behind reply code");
	if (p->lines > 0 && p->code != code)
		return sm_fail(SM_E_PROTO, "reply codes differ: %d, %d", p->code, code);
	if (p->lines >= p->max_lines)
		return sm_fail(SM_E_TOOBIG, "reply has more than %d lines", p->max_lines);
	p->code = code;
	keep_text(&p->text, sm_str_from(line, 4), p->lines > 0);
	p->lines++;
	return line.n == 3 || line.p[3] == ' ';
}
