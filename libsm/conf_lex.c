/*
 * The configuration's characters to tokens: skips blanks and comments, joins neighbouring quoted
 * strings, counts lines. Invariant: `pos` never passes the end of the input, and every byte is
 * looked at once. No state but the caller's; any thread.
 */
#include "libsm/conf_lex.h"

#include <stdio.h>

#include "libsm/err.h"

#define VALUE_MAX 65536

void sm_conf_lex_init(struct sm_conf_lex *l, const char *path, struct sm_str in)
{
	*l = (struct sm_conf_lex){.path = path, .in = in, .pos_line = 1, .line = 1};
	sm_buf_init(&l->buf, VALUE_MAX);
	/* Editors of other systems begin UTF-8 files with a byte order mark. */
	if (sm_str_has_prefix(in, SM_STR("\xef\xbb\xbf")))
		l->pos = 3;
}

void sm_conf_lex_fini(struct sm_conf_lex *l)
{
	sm_buf_wipe(&l->buf);
}

static bool at(const struct sm_conf_lex *l, const char *two)
{
	return l->pos + 1 < l->in.n && l->in.p[l->pos] == two[0] && l->in.p[l->pos + 1] == two[1];
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static bool is_control(char c)
{
	return ((unsigned char)c < 0x20 || c == 0x7f) && !is_blank(c);
}

static int bad_byte(const struct sm_conf_lex *l, char c)
{
	return sm_fail(SM_E_SYNTAX, "%s:%d: control character 0x%02x in the text", l->path,
	               l->pos_line, (unsigned char)c);
}

/* Blanks and comments. */
static int skip(struct sm_conf_lex *l)
{
	while (l->pos < l->in.n) {
		char c = l->in.p[l->pos];
		if (c == '\n') {
			l->pos_line++;
			l->pos++;
		} else if (is_blank(c)) {
			l->pos++;
		} else if (c == '#') {
			while (l->pos < l->in.n && l->in.p[l->pos] != '\n')
				l->pos++;
		} else if (at(l, "/*")) {
			int began = l->pos_line;
			for (l->pos += 2; !at(l, "*/"); l->pos++) {
				if (l->pos >= l->in.n)
					return sm_fail(SM_E_SYNTAX,
					               "%s:%d: comment is never closed", l->path,
					               began);
				if (l->in.p[l->pos] == '\n')
					l->pos_line++;
			}
			l->pos += 2;
		} else {
			break;
		}
	}
	return 0;
}

/* One "..." to the end of `buf`; `pos` is at the opening quote. A string ends on the line on which
 * it begins. */
static int quoted(struct sm_conf_lex *l)
{
	for (l->pos++; l->pos < l->in.n; l->pos++) {
		char c = l->in.p[l->pos];
		if (c == '\n')
			break;
		if (c == '"') {
			l->pos++;
			return 0;
		}
		if (is_control(c))
			return bad_byte(l, c);
		if (c == '\\') {
			if (++l->pos == l->in.n)
				break;
			switch (c = l->in.p[l->pos]) {
			case '"':
			case '\\':
				break;
			case 'n':
				c = '\n';
				break;
			case 't':
				c = '\t';
				break;
			default:
				return sm_fail(SM_E_SYNTAX,
				               "%s:%d: unknown escape in a string (there are \\\" "
				               "\\\\ \\n \\t; write "
				               "\\\\ for a backslash)",
				               l->path, l->pos_line);
			}
		}
		sm_buf_char(&l->buf, c);
		if (sm_buf_err(&l->buf) != 0)
			return sm_fail(SM_E_TOOBIG, "%s:%d: value is longer than %d bytes", l->path,
			               l->line, VALUE_MAX);
	}
	return sm_fail(SM_E_SYNTAX, "%s:%d: string is not closed on its line", l->path,
	               l->pos_line);
}

static int string(struct sm_conf_lex *l)
{
	int rc;

	sm_buf_reset(&l->buf);
	do {
		if ((rc = quoted(l)) != 0)
			return rc;
		if ((rc = skip(l)) != 0)
			return rc;
	} while (l->pos < l->in.n && l->in.p[l->pos] == '"');
	l->tok = SM_TOK_STRING;
	l->text = sm_buf_view(&l->buf);
	return 0;
}

static int word(struct sm_conf_lex *l)
{
	size_t start = l->pos;

	for (; l->pos < l->in.n; l->pos++) {
		char c = l->in.p[l->pos];
		if (is_control(c))
			return bad_byte(l, c);
		if (is_blank(c) || strchr("{}=;,\"#", c) != NULL || at(l, "/*"))
			break;
	}
	l->tok = SM_TOK_WORD;
	l->text = sm_str_n(l->in.p + start, l->pos - start);
	if (l->text.n > VALUE_MAX)
		return sm_fail(SM_E_TOOBIG, "%s:%d: value is longer than %d bytes", l->path,
		               l->line, VALUE_MAX);
	return 0;
}

int sm_conf_lex_next(struct sm_conf_lex *l)
{
	static const char marks[] = "{}=;,";
	const char *mark;
	int rc;

	if ((rc = skip(l)) != 0)
		return rc;
	l->line = l->pos_line;
	l->text = SM_STR_NONE;
	if (l->pos == l->in.n) {
		l->tok = SM_TOK_END;
		return 0;
	}
	if (l->in.p[l->pos] == '"')
		return string(l);
	mark = l->in.p[l->pos] != '\0' ? strchr(marks, l->in.p[l->pos]) : NULL;
	if (mark == NULL)
		return word(l);
	l->tok = SM_TOK_OPEN + (enum sm_conf_tok)(mark - marks);
	l->text = sm_str_n(l->in.p + l->pos, 1);
	l->pos++;
	return 0;
}

const char *sm_conf_lex_show(struct sm_conf_lex *l, char out[64])
{
	if (l->tok == SM_TOK_END)
		return "the end of the file";
	snprintf(out, 64, "\"" SM_STR_FMT "\"%s", SM_STR_ARG(sm_str_head(l->text, 40)),
	         l->text.n > 40 ? "..." : "");
	return out;
}
