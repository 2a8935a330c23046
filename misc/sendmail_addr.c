/*
 * Lists of addresses as headers and command lines have them (RFC 5322 3.4, with the obsolete forms
 * of 4.4). Pure: no state but the reader on the stack; nothing is read twice, so any text costs its
 * length.
 *
 *   list    = *( [ mailbox / group ] "," )
 *   group   = phrase ":" *( [ mailbox ] "," ) ";"
 *   mailbox = spec / [ phrase ] "<" [ route ] spec ">"
 *   spec    = local [ "@" domain ]              no domain: somebody of this host
 *   route   = "@" domain *( "," "@" domain ) ":"
 *   local   = word *( "." word )                word = atom / quoted string
 *
 * Comments and folding may stand between any two of these, and are dropped.
 */
#include "misc/sendmail.h"

#include "libsm/err.h"

struct reader {
	const char *p, *end, *start;
	struct sm_buf spec;
	size_t bare_at; /* behind the last word */
	bool broken;    /* two words without a dot: a phrase, no local part */
	unsigned words;
};

static int bad(const struct reader *r, const char *what)
{
	return sm_fail(SM_E_SYNTAX, "%s at byte %zu of the addresses", what,
	               (size_t)(r->p - r->start) + 1);
}

static bool at_end(const struct reader *r)
{
	return r->p == r->end;
}

static char here(const struct reader *r)
{
	return at_end(r) ? '\0' : *r->p;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* atext, and what is not ASCII (RFC 6532 3.2) */
static bool is_atext(char c)
{
	return sm_isalnum(c) || (c & 0x80) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

static int skip_comment(struct reader *r)
{
	size_t depth = 0;

	for (; !at_end(r); r->p++) {
		if (*r->p == '\\' && r->p + 1 < r->end)
			r->p++;
		else if (*r->p == '(')
			depth++;
		else if (*r->p == ')' && --depth == 0) {
			r->p++;
			return 0;
		}
	}
	return bad(r, "a comment does not end");
}

static int skip(struct reader *r)
{
	int rc = 0;

	while (rc == 0 && !at_end(r) && (is_blank(*r->p) || *r->p == '(')) {
		if (*r->p == '(')
			rc = skip_comment(r);
		else
			r->p++;
	}
	return rc;
}

/* ---- words ---- */

static void read_atom(struct reader *r)
{
	const char *from = r->p;

	while (!at_end(r) && is_atext(*r->p))
		r->p++;
	sm_buf_append(&r->spec, from, (size_t)(r->p - from));
}

/* As it is, but for folding. */
static int read_quoted(struct reader *r)
{
	sm_buf_char(&r->spec, *r->p++);
	for (; !at_end(r); r->p++) {
		char c = *r->p;

		if (c == '\r' || c == '\n')
			continue;
		sm_buf_char(&r->spec, c);
		if (c == '"') {
			r->p++;
			return 0;
		}
		if (c == '\\' && r->p + 1 < r->end && r->p[1] != '\r' && r->p[1] != '\n')
			sm_buf_char(&r->spec, *++r->p);
	}
	return bad(r, "a quoted string does not end");
}

static void begin_words(struct reader *r)
{
	sm_buf_reset(&r->spec);
	r->bare_at = 0;
	r->broken = false;
	r->words = 0;
}

/* Words and dots, up to something else: a local part, or a phrase. */
static int read_words(struct reader *r)
{
	bool after_word = false;
	int rc;

	begin_words(r);
	for (;;) {
		if ((rc = skip(r)) != 0)
			return rc;
		if (here(r) == '.' && !at_end(r)) {
			sm_buf_char(&r->spec, *r->p++);
			after_word = false;
		} else if (here(r) == '"' || (!at_end(r) && is_atext(*r->p))) {
			r->broken = r->broken || after_word;
			r->words++;
			after_word = true;
			if (*r->p != '"')
				read_atom(r);
			else if ((rc = read_quoted(r)) != 0)
				return rc;
		} else {
			return 0;
		}
		r->bare_at = (size_t)(r->p - r->start);
	}
}

static int read_literal(struct reader *r)
{
	for (; !at_end(r); r->p++) {
		if (is_blank(*r->p))
			continue;
		sm_buf_char(&r->spec, *r->p);
		if (*r->p == ']') {
			r->p++;
			return 0;
		}
	}
	return bad(r, "a domain literal does not end");
}

/* Behind an "@", appended to what there is. */
static int read_domain(struct reader *r)
{
	bool atom = true; /* the next one may be one */
	int rc = skip(r);

	if (rc != 0)
		return rc;
	if (here(r) == '[')
		return read_literal(r);
	if (at_end(r) || !is_atext(*r->p))
		return bad(r, "no domain behind @");
	while (!at_end(r)) {
		if (*r->p == '.') {
			sm_buf_char(&r->spec, *r->p++);
			atom = true;
		} else if (is_atext(*r->p) && atom) {
			read_atom(r);
			atom = false;
		} else {
			return 0;
		}
		if ((rc = skip(r)) != 0)
			return rc;
	}
	return 0;
}

/* ---- addresses ---- */

/* The words that were read, and a domain if one follows. */
static int read_rest(struct reader *r, struct sl_address *out)
{
	int rc;

	if (r->words == 0)
		return bad(r, "no address");
	if (r->broken)
		return bad(r, "two words without < > are no address");
	*out = (struct sl_address){.bare_at = SL_QUALIFIED};
	if (here(r) != '@')
		out->bare_at = r->bare_at;
	else {
		sm_buf_char(&r->spec, *r->p++);
		if ((rc = read_domain(r)) != 0)
			return rc;
	}
	return sm_buf_err(&r->spec) != 0 ? bad(r, "address too long") : 0;
}

/* It leads nowhere (RFC 5321 F.2). */
static int skip_route(struct reader *r)
{
	int rc = 0;

	while (rc == 0 && (here(r) == '@' || here(r) == ',')) {
		if (*r->p++ == '@')
			rc = read_domain(r);
		if (rc == 0)
			rc = skip(r);
	}
	if (rc == 0 && here(r) != ':')
		return bad(r, "no : behind a route");
	r->p += rc == 0;
	return rc;
}

static int read_angle(struct reader *r, struct sl_address *out)
{
	int rc;

	r->p++;
	if ((rc = skip(r)) != 0)
		return rc;
	if (here(r) == '@' || here(r) == ',')
		rc = skip_route(r);
	if (rc == 0)
		rc = read_words(r);
	if (rc == 0 && here(r) == '>' && r->words == 0 && r->spec.len == 0) {
		r->p++; /* <>: nobody */
		*out = (struct sl_address){.bare_at = SL_QUALIFIED};
		return 0;
	}
	if (rc == 0)
		rc = read_rest(r, out);
	if (rc == 0)
		rc = skip(r);
	if (rc == 0 && here(r) != '>')
		return bad(r, "no > behind an address");
	r->p += rc == 0;
	return rc;
}

static int separator(struct reader *r, bool *in_group)
{
	int rc = skip(r);

	if (rc != 0 || at_end(r))
		return rc;
	if (*r->p == ';' && *in_group)
		*in_group = false;
	else if (*r->p != ',')
		return bad(r, "no comma between addresses");
	r->p++;
	return 0;
}

int sl_addresses(struct sm_str text, int (*each)(void *arg, const struct sl_address *a), void *arg)
{
	struct reader r = {.p = text.p, .start = text.p, .end = text.p + text.n};
	bool in_group = false;
	struct sl_address a;
	int rc = 0;

	sm_buf_init(&r.spec, SL_SPEC_MAX);
	while (rc == 0 && (rc = skip(&r)) == 0 && !at_end(&r)) {
		if (*r.p == ',' || (*r.p == ';' && in_group)) {
			rc = separator(&r, &in_group);
			continue;
		}
		if ((rc = read_words(&r)) != 0)
			break;
		if (here(&r) == ':' && !in_group && r.words > 0) {
			in_group = true;
			r.p++;
			continue;
		}
		rc = here(&r) == '<' ? read_angle(&r, &a) : read_rest(&r, &a);
		if (rc == 0) {
			a.spec = sm_buf_view(&r.spec);
			rc = each(arg, &a);
		}
		if (rc == 0)
			rc = separator(&r, &in_group);
	}
	if (rc == 0 && in_group)
		rc = bad(&r, "a group does not end");
	sm_buf_fini(&r.spec);
	return rc;
}
