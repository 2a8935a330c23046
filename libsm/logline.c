/*
 * Lines of a log to pairs. Invariant: an event name is looked for where our own text begins and
 * nowhere else, so that a value cannot pass for a line of its own; nothing is read behind the end
 * of the line, and undoing escapes never makes it longer. Pure; any thread.
 */
#include "libsm/logline.h"

#include "libsm/json.h"

struct in {
	char *p, *end;
};

static bool left(const struct in *in)
{
	return in->p < in->end;
}

static bool skip(struct in *in, const char *text)
{
	size_t n = strlen(text);

	if ((size_t)(in->end - in->p) < n || memcmp(in->p, text, n) != 0)
		return false;
	in->p += n;
	return true;
}

static char *find(const struct in *in, const char *text)
{
	return memmem(in->p, (size_t)(in->end - in->p), text, strlen(text));
}

static void add(struct sm_logline *l, struct sm_str key, struct sm_str value)
{
	if (l->count == SM_LOGLINE_PAIRS)
		return;
	l->pair[l->count].key = key;
	l->pair[l->count++].value = value;
}

static bool sev_of(struct sm_str word, enum sm_sev *out)
{
	for (int s = SM_DEBUG; s <= SM_FATAL; s++) {
		if (sm_str_eq(word, sm_str(sm_log_sev_name((enum sm_sev)s)))) {
			*out = (enum sm_sev)s;
			return true;
		}
	}
	return false;
}

static int hex(char c)
{
	return sm_isdigit(c)                              ? c - '0'
	       : sm_lower(c) >= 'a' && sm_lower(c) <= 'f' ? sm_lower(c) - 'a' + 10
	                                                  : -1;
}

/* `digits` hex digits at `p`; -1: they are none. */
static int32_t hex_at(const char *p, const char *end, int digits)
{
	int32_t v = 0;

	if (end - p < digits)
		return -1;
	for (int i = 0; i < digits; i++) {
		int d = hex(p[i]);

		if (d < 0)
			return -1;
		v = v << 4 | d;
	}
	return v;
}

/* ---- key=value ---- */

/* \xHH back to bytes, in place. What is no escape (a line that was cut) stays. */
static struct sm_str unescape(char *p, char *end)
{
	char *from = p, *to = p;

	while (p < end) {
		int32_t v =
		    p[0] == '\\' && end - p >= 4 && p[1] == 'x' ? hex_at(p + 2, end, 2) : -1;

		if (v < 0) {
			*to++ = *p++;
		} else {
			*to++ = (char)v;
			p += 4;
		}
	}
	return sm_str_n(from, (size_t)(to - from));
}

static bool has_space(const char *p, const char *end)
{
	return memchr(p, ' ', (size_t)(end - p)) != NULL;
}

/* At the end, or where the log has cut the line. */
static bool at_end(const struct in *in)
{
	struct in rest = *in;

	return !left(in) || (skip(&rest, "...") && !left(&rest));
}

/* False: of two lines, of which the first was torn. A space stands between quotes only. */
static bool parse_pairs(struct in *in, struct sm_logline *l)
{
	while (left(in)) {
		char *eq = find(in, "="), *key = in->p, *end, *value;
		bool quoted;

		if (eq == NULL)
			return !has_space(in->p, in->end);
		in->p = eq + 1;
		quoted = skip(in, "\"");
		end = find(in, quoted ? "\"" : ", ");
		if (end == NULL)
			end = in->end;
		value = in->p;
		if (has_space(key, eq) || (!quoted && has_space(value, end)))
			return false;
		in->p = quoted && end < in->end ? end + 1 : end;
		add(l, sm_str_n(key, (size_t)(eq - key)), unescape(value, end));
		if (!skip(in, ", "))
			return at_end(in);
	}
	return true;
}

static int parse_kv(struct in *in, struct sm_logline *l)
{
	struct sm_str rest,
	    word = sm_str_split(sm_str_n(in->p, (size_t)(in->end - in->p)), ' ', &rest);

	if (!sev_of(word, &l->sev))
		return SM_E_SYNTAX;
	l->event = sm_str_split(rest, ' ', &rest);
	if (sm_str_chr(l->event, '.') < 1)
		return SM_E_SYNTAX;
	in->p += word.n + 1 + l->event.n;
	return !skip(in, " ") || parse_pairs(in, l) ? 0 : SM_E_SYNTAX;
}

/* ---- JSON: one object without further ones in it ---- */

static char *put_utf8(char *to, uint32_t v)
{
	if (v < 0x80) {
		*to++ = (char)v;
	} else if (v < 0x800) {
		*to++ = (char)(0xc0 | v >> 6);
		*to++ = (char)(0x80 | (v & 0x3f));
	} else if (v < 0x10000) {
		*to++ = (char)(0xe0 | v >> 12);
		*to++ = (char)(0x80 | (v >> 6 & 0x3f));
		*to++ = (char)(0x80 | (v & 0x3f));
	} else {
		*to++ = (char)(0xf0 | v >> 18);
		*to++ = (char)(0x80 | (v >> 12 & 0x3f));
		*to++ = (char)(0x80 | (v >> 6 & 0x3f));
		*to++ = (char)(0x80 | (v & 0x3f));
	}
	return to;
}

/* \uXXXX, perhaps two of them; `in` is behind the u. */
static bool take_u(struct in *in, uint32_t *v)
{
	int32_t high = hex_at(in->p, in->end, 4), low;

	if (high < 0)
		return false;
	in->p += 4;
	*v = (uint32_t)high;
	if (high < 0xd800 || high > 0xdfff)
		return true;
	if (high > 0xdbff || !skip(in, "\\u") || (low = hex_at(in->p, in->end, 4)) < 0xdc00 ||
	    low > 0xdfff)
		return false;
	in->p += 4;
	*v = 0x10000 + (((uint32_t)high & 0x3ff) << 10 | ((uint32_t)low & 0x3ff));
	return true;
}

static bool take_escape(struct in *in, char **to)
{
	static const char letters[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
	const char *letter;
	uint32_t v;

	if (!left(in))
		return false;
	char c = *in->p++;

	if (c == 'u') {
		if (!take_u(in, &v))
			return false;
		*to = put_utf8(*to, v);
		return true;
	}
	letter = c == '\0' ? NULL : strchr(letters, c);
	if (letter == NULL)
		return false;
	*(*to)++ = bytes[letter - letters];
	return true;
}

/* `in` is behind the quote that opens it. */
static bool take_string(struct in *in, struct sm_str *out)
{
	char *from = in->p, *to = in->p;

	while (left(in)) {
		char c = *in->p++;

		if (c == '"') {
			*out = sm_str_n(from, (size_t)(to - from));
			return true;
		}
		if (c != '\\')
			*to++ = c;
		else if (!take_escape(in, &to))
			return false;
	}
	return false;
}

/* A number or a word. */
static bool take_bare(struct in *in, struct sm_str *out)
{
	char *from = in->p;

	while (left(in) && (sm_isalnum(*in->p) || *in->p == '-' || *in->p == '.' || *in->p == '+'))
		in->p++;
	*out = sm_str_n(from, (size_t)(in->p - from));
	return out->n > 0;
}

static int parse_json(struct in *in, struct sm_logline *l)
{
	bool has_sev = false;

	do {
		struct sm_str key, value;

		if (!skip(in, "\"") || !take_string(in, &key) || !skip(in, ":") ||
		    !(skip(in, "\"") ? take_string(in, &value) : take_bare(in, &value)))
			return SM_E_SYNTAX;
		if (sm_str_eq(key, SM_STR("sev")))
			has_sev = sev_of(value, &l->sev);
		else if (sm_str_eq(key, SM_STR("event")))
			l->event = value;
		else
			add(l, key, value);
	} while (skip(in, ","));
	return skip(in, "}") && has_sev && l->event.n > 0 ? 0 : SM_E_SYNTAX;
}

/* ---- where our text begins ---- */

/* Seconds, or date and time, and the space behind them. */
static bool skip_time(struct in *in)
{
	char *from = in->p;

	while (left(in) && (sm_isdigit(*in->p) || *in->p == '-' || *in->p == ':' || *in->p == '.'))
		in->p++;
	if (in->p > from && skip(in, " "))
		return true;
	in->p = from;
	return false;
}

int sm_logline_parse(char *line, size_t n, struct sm_logline *out)
{
	struct in in = {line, line + n};

	out->count = 0;
	out->event = SM_STR_NONE;
	if (skip_time(&in)) {
		skip_time(&in);
		if (parse_kv(&in, out) == 0)
			return 0;
		in.p = line;
	}
	if (!skip(&in, "{")) {
		/* "Nov 21 03:14:14 host smtps[77]: text": the first colon with a space ends it. */
		char *text = find(&in, ": ");

		if (text == NULL)
			return sm_fail(SM_E_SYNTAX, "no log line");
		in.p = text + 2;
		if (!skip(&in, "{"))
			return parse_kv(&in, out) == 0 ? 0 : sm_fail(SM_E_SYNTAX, "no log line");
	}
	return parse_json(&in, out) == 0 ? 0 : sm_fail(SM_E_SYNTAX, "no log line");
}

struct sm_str sm_logline_get(const struct sm_logline *l, const char *key)
{
	for (size_t i = 0; i < l->count; i++)
		if (sm_str_eq(l->pair[i].key, sm_str(key)))
			return l->pair[i].value;
	return SM_STR_NONE;
}

int sm_logline_id(const struct sm_logline *l, const char *key, struct sm_id *id)
{
	return sm_id_parse(sm_logline_get(l, key), id);
}

uint64_t sm_logline_u64(const struct sm_logline *l, const char *key)
{
	uint64_t v;

	return sm_str_u64(sm_logline_get(l, key), 10, UINT64_MAX, &v) == 0 ? v : 0;
}
