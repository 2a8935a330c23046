/*
 * Maps of type regex: a file of regular expressions (PCRE2), the first one that matches wins.
 *
 *     entry   = "/" pattern "/" *flag WSP value      ; \/ is a slash in the pattern
 *     flag    = "i" / "x"     ; i: as it is anyway; x: blanks and # comments in the pattern
 *     value   : $1 ... $9, ${1} ... ${9} are the groups, $$ is "$"; any other "$" is itself
 *
 * Comments, continuations and the rest are those of every source (libsm/mapsrc.h). Patterns ignore
 * case. A key comes from outside, and so does what a group of it matched: a group that a value
 * names must not have matched blanks, control characters, quotes or angle brackets, which could
 * make another value of it; otherwise the entry does not match.
 *
 * A match that takes too many steps is a failure. Without the library's compiler to machine code:
 * smx has no memory that is written and then executed. Opened by a helper thread, then of the
 * loop's.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "libsm/buf.h"
#include "libsm/mapsrc.h"
#include "smar/map_int.h"

enum {
	RULES_MAX = 10000,
	MATCH_STEPS_MAX = 100000,
	MATCH_DEPTH_MAX = 1000,
	MATCH_HEAP_KIB = 1024,
	GROUPS_MAX = 9,
	PATTERN_MAX = 8192
};

struct rule {
	pcre2_code *code;
	struct sm_str value;
	unsigned line;
	bool replaces; /* there is a "$" in the value */
};

struct regex {
	struct sm_arena arena;
	struct rule *rules;
	size_t count, room;
	pcre2_match_context *limits;
	pcre2_match_data *match;
};

static void close_regex(void *handle)
{
	struct regex *m = handle;

	for (size_t i = 0; i < m->count; i++)
		pcre2_code_free(m->rules[i].code);
	sm_free(m->rules);
	pcre2_match_data_free(m->match);
	pcre2_match_context_free(m->limits);
	sm_arena_fini(&m->arena);
	sm_free(m);
}

/* ---- reading ---- */

/* Where the slash is that ends the pattern behind the first one; -1: nowhere. */
static ptrdiff_t pattern_end(struct sm_str s)
{
	for (size_t i = 1; i < s.n; i++) {
		if (s.p[i] == '\\')
			i++;
		else if (s.p[i] == '/')
			return (ptrdiff_t)i;
	}
	return -1;
}

static int compile(struct rule *r, struct sm_str pattern, uint32_t options)
{
	int err;
	size_t at;

	if (pattern.n > PATTERN_MAX)
		return sm_fail(SM_E_TOOBIG, "the pattern is longer than %d bytes", PATTERN_MAX);
	r->code = pcre2_compile((PCRE2_SPTR)pattern.p, pattern.n, options, &err, &at, NULL);
	if (r->code == NULL) {
		char what[120] = "?";

		(void)pcre2_get_error_message(err, (PCRE2_UCHAR *)what, sizeof(what));
		return sm_fail(SM_E_SYNTAX, "pattern, character %zu: %s", at + 1, what);
	}
	return 0;
}

/* At a "$": the number of the group, with *n the length of what names it; 0: a "$"; -1: no group.
 */
static int group_at(struct sm_str s, size_t i, size_t *n)
{
	size_t left = s.n - i;

	*n = 1;
	if (left >= 2 && s.p[i + 1] == '$') {
		*n = 2;
		return 0;
	}
	if (left >= 2 && sm_isdigit(s.p[i + 1])) {
		*n = 2;
		return s.p[i + 1] - '0';
	}
	if (left >= 4 && s.p[i + 1] == '{' && sm_isdigit(s.p[i + 2]) && s.p[i + 3] == '}') {
		*n = 4;
		return s.p[i + 2] - '0';
	}
	return -1;
}

static int check_value(struct rule *r)
{
	uint32_t groups = 0;
	size_t n;

	(void)pcre2_pattern_info(r->code, PCRE2_INFO_CAPTURECOUNT, &groups);
	for (size_t i = 0; i < r->value.n; i += n) {
		int g;

		n = 1;
		if (r->value.p[i] != '$')
			continue;
		r->replaces = true;
		g = group_at(r->value, i, &n);
		if ((g == 0 && r->value.p[i + 1] != '$') || (g > 0 && (uint32_t)g > groups))
			return sm_fail(SM_E_SYNTAX, "the pattern has no group %d", g);
	}
	return 0;
}

static int add(void *arg, const struct sm_mapsrc_entry *e)
{
	struct regex *m = arg;
	uint32_t options = PCRE2_CASELESS | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_UTF |
	                   PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C;
	struct sm_str s = e->value, rest;
	ptrdiff_t end = s.p[0] == '/' ? pattern_end(s) : -1;
	struct rule *r;
	int rc;

	if (end < 0)
		return sm_fail(SM_E_SYNTAX, "an entry is /pattern/ and a value");
	if (m->count == RULES_MAX)
		return sm_fail(SM_E_TOOBIG, "more than %d entries", RULES_MAX);
	rest = sm_str_from(s, (size_t)end + 1);
	for (; rest.n > 0 && rest.p[0] != ' ' && rest.p[0] != '\t'; rest = sm_str_from(rest, 1)) {
		if (rest.p[0] == 'x')
			options |= PCRE2_EXTENDED;
		else if (rest.p[0] != 'i')
			return sm_fail(SM_E_SYNTAX, "behind the pattern: '%c' is no flag (i, x)",
			               rest.p[0]);
	}
	rest = sm_str_trim(rest);
	if (rest.n == 0)
		return sm_fail(SM_E_SYNTAX, "nothing behind the pattern");
	if (m->count == m->room) {
		m->room = m->room > 0 ? 2 * m->room : 16;
		m->rules = sm_realloc(m->rules, m->room, sizeof(m->rules[0]));
	}
	r = &m->rules[m->count];
	*r = (struct rule){.line = e->line, .value = sm_arena_str(&m->arena, rest)};
	rc = compile(r, sm_str_n(s.p + 1, (size_t)end - 1), options);
	if (rc != 0)
		return rc;
	m->count++;
	return check_value(r);
}

static int open_regex(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	struct regex *m = sm_calloc(1, sizeof(*m));
	struct sm_mapsrc src = {.flags = SM_MAPSRC_WHOLE, .entry = add, .arg = m};
	char path[AR_PATH_BYTES];
	int rc;

	/* The file is bounded. */
	sm_arena_init(&m->arena, "regex", 4096, SIZE_MAX / 8);
	m->limits = pcre2_match_context_create(NULL);
	m->match = pcre2_match_data_create(GROUPS_MAX + 1, NULL);
	sm_assert(m->limits != NULL && m->match != NULL);
	(void)pcre2_set_match_limit(m->limits, MATCH_STEPS_MAX);
	(void)pcre2_set_depth_limit(m->limits, MATCH_DEPTH_MAX);
	(void)pcre2_set_heap_limit(m->limits, MATCH_HEAP_KIB);
	rc = sm_str_copy(conf->file, path, sizeof(path));
	src.name = path;
	if (rc == 0)
		rc = sm_mapsrc_file(&src, path);
	if (rc != 0) {
		close_regex(m);
		return rc;
	}
	*handle = m;
	*entries = m->count;
	return 0;
}

/* ---- asking ---- */

static bool is_safe(struct sm_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((uint8_t)s.p[i] <= ' ' || s.p[i] == 0x7f || s.p[i] == '"' || s.p[i] == '<' ||
		    s.p[i] == '>')
			return false;
	return true;
}

static struct sm_str group(const struct regex *m, struct sm_str key, int g, int matched)
{
	const size_t *at = pcre2_get_ovector_pointer(m->match);

	/* One that took no part, or that \K turned round. */
	if (g >= matched || at[2 * g] == PCRE2_UNSET || at[2 * g + 1] < at[2 * g])
		return SM_STR("");
	return sm_str_n(key.p + at[2 * g], at[2 * g + 1] - at[2 * g]);
}

/* False: a group is not what may stand in a value. */
static bool replace(const struct regex *m, const struct rule *r, struct sm_str key, int matched,
                    struct sm_buf *out)
{
	size_t n;

	for (size_t i = 0; i < r->value.n; i += n) {
		int g = r->value.p[i] == '$' ? group_at(r->value, i, &n) : -1;

		if (g > 0) {
			struct sm_str text = group(m, key, g, matched);

			if (!is_safe(text))
				return false;
			sm_buf_str(out, text);
		} else {
			n = g == 0 ? 2 : 1;
			sm_buf_char(out, r->value.p[i]);
		}
	}
	return true;
}

static int take(const struct regex *m, const struct rule *r, const struct ar_ctx *ctx,
                struct sm_str key, int matched, struct sm_str *value)
{
	struct sm_buf text;
	int rc = 0;

	if (!r->replaces) {
		*value = r->value;
		return 0;
	}
	sm_buf_init(&text, SM_MAPSRC_LINE_MAX);
	if (!replace(m, r, key, matched, &text))
		rc = SM_E_NOTFOUND;
	else if (sm_buf_err(&text) != 0 ||
	         (*value = sm_arena_str(ctx->a, sm_buf_view(&text))).p == NULL)
		rc = sm_fail(SM_E_TOOBIG, "line %u: the value becomes too long", r->line);
	sm_buf_fini(&text);
	return rc;
}

static int get(void *handle, const struct ar_ctx *ctx, struct sm_str key, struct sm_str *value)
{
	struct regex *m = handle;

	for (size_t i = 0; i < m->count; i++) {
		const struct rule *r = &m->rules[i];
		int rc = pcre2_match(r->code, (PCRE2_SPTR)key.p, key.n, 0, 0, m->match, m->limits);

		if (rc == PCRE2_ERROR_NOMATCH)
			continue;
		if (rc < 0)
			return sm_fail(SM_E_BUSY, "line %u: the pattern needs too much (%d)",
			               r->line, rc);
		/* 0: more groups than there is room for, which is all that can be named. */
		rc = take(m, r, ctx, key, rc == 0 ? GROUPS_MAX + 1 : rc, value);
		if (rc != SM_E_NOTFOUND)
			return rc;
	}
	return SM_E_NOTFOUND;
}

const struct ar_map_driver ar_map_regex = {
    .type = AR_MAP_REGEX,
    .name = "regex",
    .open = open_regex,
    .get = get,
    .close = close_regex,
};
