/*
 * Content as it streams by. Invariant: what comes out has CRLF.CRLF at its end and nowhere else, so
 * smtps and we agree where it ends. Pure.
 */
#include <string.h>

#include "libsm/err.h"
#include "misc/smxfeed.h"

size_t sf_text(struct sf_text *t, struct sm_str in, struct sm_buf *out, bool *end)
{
	const char *p = in.p, *stop = in.p + in.n;
	size_t before = out->len;

	*end = false;
	while (p < stop && !*end) {
		const char *nl = memchr(p, '\n', (size_t)(stop - p));
		size_t k = (size_t)((nl != NULL ? nl : stop) - p);

		if (k > 0) {
			if (t->n == 0)
				t->dot = p[0] == '.';
			t->cr = p[k - 1] == '\r';
			t->n = (unsigned)SM_MIN(t->n + k, (size_t)3);
			sm_buf_append(out, p, k);
		}
		p += k;
		if (nl == NULL)
			break;
		p++;
		if (t->lf && !t->cr)
			sm_buf_char(out, '\r');
		sm_buf_char(out, '\n');
		*end = t->dot && !t->bare && ((t->lf && t->n == 1) || (t->n == 2 && t->cr));
		t->bare = !t->lf && !t->cr;
		t->n = 0;
		t->dot = t->cr = false;
	}
	t->size += out->len - before;
	return (size_t)(p - in.p);
}

/* ---- the id of a Received: ---- */

bool sf_id_valid(struct sm_str id)
{
	if (id.n == 0 || id.n > SF_ID_MAX)
		return false;
	for (size_t i = 0; i < id.n; i++)
		if (!sm_isalnum(id.p[i]) && memchr(".-_", id.p[i], 3) == NULL)
			return false;
	return true;
}

/* Behind a comment, which may have others in it (RFC 5322 3.2.2). */
static size_t skip_comment(struct sm_str s, size_t i)
{
	size_t depth = 0;

	for (; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '(')
			depth++;
		else if (s.p[i] == ')' && --depth == 0)
			return i + 1;
	}
	return s.n;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* The next word of a field's value, up to the semicolon before its date. */
static bool next_word(struct sm_str *s, struct sm_str *word)
{
	size_t i = 0, begin;

	for (;;) {
		while (i < s->n && is_space(s->p[i]))
			i++;
		if (i == s->n || s->p[i] != '(')
			break;
		i = skip_comment(*s, i);
	}
	begin = i;
	while (i < s->n && !is_space(s->p[i]) && s->p[i] != '(' && s->p[i] != ';')
		i++;
	*word = sm_str_n(s->p + begin, i - begin);
	*s = sm_str_from(*s, i);
	return word->n > 0;
}

static int id_of(struct sm_str value, char id[SF_ID_MAX + 1])
{
	struct sm_str word;

	while (next_word(&value, &word)) {
		if (!sm_str_caseeq(word, SM_STR("id")))
			continue;
		if (!next_word(&value, &word) || !sf_id_valid(word))
			return 0;
		sm_str_cut(word, id, SF_ID_MAX + 1);
		return 1;
	}
	return 0;
}

/* How long the field at the beginning is, with its continuations; 0: its end is not there yet. */
static size_t field_length(struct sm_str s)
{
	size_t i = 0;

	while (i < s.n) {
		const char *nl = memchr(s.p + i, '\n', s.n - i);

		if (nl == NULL)
			return 0;
		i = (size_t)(nl - s.p) + 1;
		if (i == s.n)
			return 0;
		if (s.p[i] != ' ' && s.p[i] != '\t')
			return i;
	}
	return 0;
}

int sf_received_id(struct sm_str content, char id[SF_ID_MAX + 1])
{
	static const struct sm_str name = SM_STR("Received:");

	for (;;) {
		size_t n = field_length(content);

		if (sm_str_has_prefix(content, SM_STR("\r\n")) ||
		    sm_str_has_prefix(content, SM_STR(".\r\n")))
			return 0;
		if (n == 0)
			return SM_E_AGAIN;
		if (sm_str_has_caseprefix(content, name))
			return id_of(sm_str_n(content.p + name.n, n - name.n), id);
		content = sm_str_from(content, n);
	}
}
