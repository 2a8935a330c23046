/*
 * One event as one line: key=value pairs, or a JSON object, from the same printf-like list.
 *
 * Invariants: in a value nothing is left that ends a pair, a string or the line, and all is
 * printable ASCII; a JSON line is a whole object however much was to be said. Keys, event names and
 * what is literal in a list are ours and go out as they stand. Thread: the loop's.
 */
#include "libsm/log_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "libsm/json.h"

#define VALUE_BYTES 640 /* the longest an address parameter may be (ORCPT), and some */
#define JSON_CUT    ",\"cut\":true}"
#define NUMBER_MAX  24

/* ---- what a directive stands for ---- */

struct arg {
	struct sm_str s;
	char directive; /* behind flag and length */
	bool optional, empty;
	char mem[VALUE_BYTES + 1];
};

static char *decimal(char *end, uint64_t v)
{
	do
		*--end = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	return end;
}

static void set_number(struct arg *a, uint64_t v, bool negative)
{
	char *end = a->mem + NUMBER_MAX, *p = decimal(end, v);

	if (negative)
		*--p = '-';
	a->s = sm_str_n(p, (size_t)(end - p));
	a->empty = v == 0;
}

/* Milliseconds as seconds. */
static void set_seconds(struct arg *a, int64_t ms)
{
	uint64_t v = ms < 0 ? 0 : (uint64_t)ms;
	char *end = a->mem + NUMBER_MAX, *p = decimal(end, v % 1000 + 1000);

	*p = '.';
	p = decimal(p, v / 1000);
	a->s = sm_str_n(p, (size_t)(end - p));
	a->empty = v == 0;
}

_Static_assert(sizeof(size_t) == sizeof(long), "z and l are read alike");

/* `longs` is how many l, or 1 for z. */
static void take_integer(struct arg *a, int longs, va_list *ap)
{
	int64_t s;
	uint64_t u;

	if (a->directive == 'd') {
		s = longs == 0   ? va_arg(*ap, int)
		    : longs == 1 ? va_arg(*ap, long)
		                 : va_arg(*ap, long long);
		set_number(a, s < 0 ? -(uint64_t)s : (uint64_t)s, s < 0);
		return;
	}
	u = longs == 0   ? va_arg(*ap, unsigned)
	    : longs == 1 ? va_arg(*ap, unsigned long)
	                 : va_arg(*ap, unsigned long long);
	if (a->directive == 'u') {
		set_number(a, u, false);
		return;
	}
	snprintf(a->mem, sizeof(a->mem), "%" PRIx64, u);
	a->s = sm_str(a->mem);
	a->empty = u == 0;
}

static void take_error(struct arg *a, int err)
{
	const char *diag = err < 0 ? sm_diag() : "";

	snprintf(a->mem, sizeof(a->mem), "%s%s%s", sm_strerr(err), *diag != '\0' ? ": " : "", diag);
	a->s = sm_str(a->mem);
}

_Static_assert(SM_SA_TEXT <= VALUE_BYTES, "an address fits");

/* `p` is behind the percent sign; gives what follows the directive. */
static const char *take(struct arg *a, const char *p, va_list *ap)
{
	struct sm_id id;
	struct sm_cid cid;
	const struct sm_sa *sa;
	int longs = 0;

	a->empty = false;
	a->optional = *p == '?';
	p += a->optional;
	for (; *p == 'l' || *p == 'z'; p++)
		longs++;
	a->directive = *p;
	switch (*p) {
	case 'd':
	case 'u':
	case 'x':
		take_integer(a, longs, ap);
		break;
	case 'm':
		set_seconds(a, va_arg(*ap, int64_t));
		break;
	case 'S':
		a->s = va_arg(*ap, struct sm_str);
		a->empty = a->s.n == 0;
		break;
	case 's':
		a->s = sm_str(va_arg(*ap, const char *));
		a->empty = a->s.n == 0;
		break;
	case 'I':
		id = va_arg(*ap, struct sm_id);
		a->s = sm_str_n(sm_id_text(id, a->mem), SM_ID_LEN);
		a->empty = sm_id_none(id);
		break;
	case 'C':
		cid = va_arg(*ap, struct sm_cid);
		a->s = sm_str_n(sm_cid_text(cid, a->mem), SM_ID_LEN);
		a->empty = cid.proc == 0 && cid.counter == 0;
		break;
	case 'A':
		sa = va_arg(*ap, const struct sm_sa *);
		a->s = sm_str(sm_sa_text(sa, a->mem));
		a->empty = sa->len == 0;
		break;
	case 'E':
		take_error(a, va_arg(*ap, int));
		break;
	case '%':
		a->s = SM_STR("%");
		break;
	default:
		sm_assert_fail(__FILE__, __LINE__, "log directive");
	}
	return p + 1;
}

static bool is_number(char directive)
{
	return directive == 'd' || directive == 'u' || directive == 'm';
}

/* A space ends a pair; for the eye there may be a comma before it. */
static bool at_end(const char *p)
{
	return *p == '\0' || *p == ' ' || (*p == ',' && p[1] == ' ');
}

static const char *next_pair(const char *p)
{
	while (*p == ' ' || (*p == ',' && p[1] == ' '))
		p++;
	return p;
}

/* How much is literal: up to a directive or the end of the pair. */
static size_t literal(const char *p)
{
	size_t n = strcspn(p, "% ,");

	while (p[n] == ',' && !at_end(p + n))
		n += 1 + strcspn(p + n + 1, "% ,");
	return n;
}

/* ---- key=value ---- */

/* What stands for itself, always or in quotes. */
enum { PLAIN = 1, IN_QUOTES = 2 };
static const unsigned char kinds[256] = {
    [' '] = IN_QUOTES,     ['!'] = PLAIN,         ['#' ... '+'] = PLAIN,
    ['-' ... '['] = PLAIN, [']' ... '~'] = PLAIN,
};

static void escape(struct sm_buf *b, struct sm_str s, size_t max, bool spaces)
{
	static const char hex[] = "0123456789abcdef";
	const int stays = spaces ? PLAIN | IN_QUOTES : PLAIN;
	size_t n = SM_MIN(s.n, max);

	for (size_t i = 0; i < n; i++) {
		size_t from = i;

		while (i < n && (kinds[(unsigned char)s.p[i]] & stays) != 0)
			i++;
		if (i > from)
			sm_buf_append(b, s.p + from, i - from);
		if (i < n) {
			unsigned char c = (unsigned char)s.p[i];
			const char x[4] = {'\\', 'x', hex[c >> 4], hex[c & 15]};

			sm_buf_append(b, x, sizeof(x));
		}
	}
	if (s.n > max)
		sm_buf_append(b, "...", 3);
}

void sm_log_escape(struct sm_buf *b, struct sm_str s, size_t max)
{
	escape(b, s, max, false);
}

void sm_log_escape_text(struct sm_buf *b, struct sm_str s, size_t max)
{
	escape(b, s, max, true);
}

/* A value with spaces that is all of its pair stands in quotes, for people to read; the quote
 * itself is always escaped. */
static void put_value(struct sm_buf *b, const struct arg *a)
{
	bool quote;

	if (is_number(a->directive) || a->directive == 'I' || a->directive == 'C' ||
	    a->directive == '%') {
		sm_buf_str(b, a->s);
		return;
	}
	quote = b->len > 0 && sm_buf_p(b)[b->len - 1] == '=' && sm_str_chr(a->s, ' ') >= 0;
	if (quote)
		sm_buf_char(b, '"');
	escape(b, a->s, VALUE_BYTES, quote);
	if (quote)
		sm_buf_char(b, '"');
}

/* `a` is scratch memory: clean for each pair, it would cost more than what is put into it. */
static const char *put_pair(struct sm_buf *b, const char *p, bool first, struct arg *a, va_list *ap)
{
	size_t before = b->len;
	bool leave_out = false;

	sm_buf_str(b, first ? SM_STR(" ") : SM_STR(", "));
	while (!at_end(p)) {
		size_t n = literal(p);

		sm_buf_append(b, p, n);
		p += n;
		if (*p == '%') {
			p = take(a, p + 1, ap);
			leave_out = leave_out || (a->optional && a->empty);
			put_value(b, a);
		}
	}
	if (leave_out)
		sm_buf_truncate(b, before);
	return next_pair(p);
}

size_t sm_log_line_kv(struct sm_buf *b, int64_t wall_ms, enum sm_sev sev, const char *event,
                      const char *pairs, va_list *ap)
{
	size_t text, bare;
	struct arg a;

	set_seconds(&a, wall_ms);
	sm_buf_str(b, a.s);
	sm_buf_char(b, ' ');
	text = b->len;
	sm_buf_cstr(b, sm_log_sev_name(sev));
	sm_buf_char(b, ' ');
	sm_buf_cstr(b, event);
	bare = b->len;
	for (const char *p = next_pair(pairs ? pairs : ""); *p != '\0';)
		p = put_pair(b, p, b->len == bare, &a, ap);
	if (sm_buf_err(b) != 0) {
		sm_buf_truncate(b, SM_MIN(b->len, (size_t)SM_LOG_LINE_BYTES - 3));
		b->err = 0;
		sm_buf_append(b, "...", 3);
	}
	return text;
}

/* ---- JSON ---- */

/* What is literal and made of digits only is a number too. */
static bool literal_number(const char *p)
{
	const char *from = p;

	while (sm_isdigit(*p))
		p++;
	return p > from && at_end(p) && (*from != '0' || p == from + 1);
}

/* Is all of the value one number? */
static bool lone_number(const char *p)
{
	if (*p != '%')
		return literal_number(p);
	p += p[1] == '?' ? 2 : 1;
	while (*p == 'l' || *p == 'z')
		p++;
	return is_number(*p) && at_end(p + 1);
}

/* Literal text and directives up to a literal `stop`, or to the end of the pair. */
static const char *put_json_text(struct sm_buf *b, const char *p, char stop, va_list *ap,
                                 bool *leave_out)
{
	struct arg a;

	for (;;) {
		const char *from = p;

		while (*p != '%' && *p != stop && !at_end(p))
			p++;
		sm_buf_append(b, from, (size_t)(p - from));
		if (*p != '%')
			return p;
		p = take(&a, p + 1, ap);
		*leave_out = *leave_out || (a.optional && a.empty);
		sm_json_ascii(b, a.s, VALUE_BYTES);
	}
}

static const char *put_json_pair(struct sm_buf *b, const char *p, va_list *ap)
{
	size_t before = b->len;
	bool leave_out = false, quote;

	sm_buf_append(b, ",\"", 2);
	p = put_json_text(b, p, '=', ap, &leave_out);
	p += *p == '=';
	quote = !lone_number(p);
	sm_buf_cstr(b, quote ? "\":\"" : "\":");
	p = put_json_text(b, p, '\0', ap, &leave_out);
	if (quote)
		sm_buf_char(b, '"');
	if (leave_out)
		sm_buf_truncate(b, before);
	return next_pair(p);
}

/* RFC 3339, UTC. Most lines share their second with the line before. */
static void put_date(struct sm_buf *b, int64_t ms)
{
	static int64_t last = INT64_MIN;
	static char text[24]; /* 2026-11-21T03:14:14 */
	int64_t s = ms / 1000;

	if (s != last) {
		time_t t = (time_t)s;
		struct tm tm;

		gmtime_r(&t, &tm);
		if (strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) == 0)
			text[0] = '\0';
		last = s;
	}
	sm_buf_cstr(b, text);
	sm_buf_printf(b, ".%03dZ", (int)(ms % 1000));
}

size_t sm_log_line_json(struct sm_buf *b, int64_t wall_ms, const struct sm_log_who *who,
                        enum sm_sev sev, const char *event, const char *pairs, va_list *ap)
{
	const size_t most = SM_LOG_LINE_BYTES - sizeof(JSON_CUT);
	size_t text;

	sm_buf_cstr(b, "{\"time\":\"");
	put_date(b, wall_ms);
	sm_buf_cstr(b, "\",");
	text = b->len;
	sm_buf_printf(b, "\"sev\":\"%s\",\"proc\":\"%s\",\"pid\":%d,\"event\":\"%s\"",
	              sm_log_sev_name(sev), who->name, who->pid, event);
	for (const char *p = next_pair(pairs ? pairs : ""); *p != '\0';) {
		size_t before = b->len;

		p = put_json_pair(b, p, ap);
		if (sm_buf_err(b) != 0 || b->len > most) {
			b->err = 0;
			sm_buf_truncate(b, before);
			sm_buf_cstr(b, JSON_CUT);
			return text;
		}
	}
	sm_buf_char(b, '}');
	return text;
}
