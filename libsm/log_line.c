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
	bool empty;
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

static void take_integer(struct arg *a, const struct sm_log_step *step, va_list *ap)
{
	int64_t s;
	uint64_t u;

	if (step->directive == 'd') {
		s = step->longs == 0   ? va_arg(*ap, int)
		    : step->longs == 1 ? va_arg(*ap, long)
		                       : va_arg(*ap, long long);
		set_number(a, s < 0 ? -(uint64_t)s : (uint64_t)s, s < 0);
		return;
	}
	u = step->longs == 0   ? va_arg(*ap, unsigned)
	    : step->longs == 1 ? va_arg(*ap, unsigned long)
	                       : va_arg(*ap, unsigned long long);
	if (step->directive == 'u') {
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

static void take(struct arg *a, const struct sm_log_step *step, va_list *ap)
{
	struct sm_id id;
	struct sm_cid cid;
	const struct sm_sa *sa;

	a->empty = false;
	switch (step->directive) {
	case 'd':
	case 'u':
	case 'x':
		take_integer(a, step, ap);
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
}

/* ---- key=value ---- */

/* What stands for itself, always or in quotes. */
enum { PLAIN = 1, IN_QUOTES = 2 };
static const unsigned char kinds[256] = {
    [' '] = IN_QUOTES,     ['!'] = PLAIN,         ['#' ... '+'] = PLAIN,
    ['-' ... '['] = PLAIN, [']' ... '~'] = PLAIN,
};

/* Memory that is filled from its front; what it cannot hold is cut off. */
struct room {
	char *to, *end;
};

static void put(struct room *r, const char *p, size_t n)
{
	n = SM_MIN(n, (size_t)(r->end - r->to));
	memcpy(r->to, p, n);
	r->to += n;
}

/* As much of `s` as stands for itself. */
static size_t put_plain(struct room *r, struct sm_str s, int stays)
{
	size_t n = 0, most = SM_MIN(s.n, (size_t)(r->end - r->to));
	char *to = r->to; /* a local one: bytes that are stored might be part of *r */

	for (; n < most && (kinds[(unsigned char)s.p[n]] & stays) != 0; n++)
		to[n] = s.p[n];
	r->to = to + n;
	return n;
}

static void put_escaped(struct room *r, struct sm_str s, int stays)
{
	static const char hex[] = "0123456789abcdef";

	for (s = sm_str_from(s, put_plain(r, s, stays)); s.n > 0 && r->to < r->end;
	     s = sm_str_from(s, put_plain(r, s, stays))) {
		unsigned char c = (unsigned char)s.p[0];
		const char x[4] = {'\\', 'x', hex[c >> 4], hex[c & 15]};

		put(r, x, sizeof(x));
		s = sm_str_from(s, 1);
	}
}

static void escape(struct sm_buf *b, struct sm_str s, size_t max, int stays)
{
	struct sm_str head = sm_str_head(s, max);
	size_t need = head.n + (s.n > max ? 3 : 0);
	struct room r;

	for (size_t i = 0; i < head.n; i++)
		need += (kinds[(unsigned char)head.p[i]] & stays) != 0 ? 0 : 3;
	r.to = sm_buf_reserve(b, need);
	if (r.to == NULL)
		return;
	r.end = r.to + need;
	put_escaped(&r, head, stays);
	put(&r, "...", (size_t)(r.end - r.to));
	sm_buf_commit(b, need);
}

void sm_log_escape(struct sm_buf *b, struct sm_str s, size_t max)
{
	escape(b, s, max, PLAIN);
}

void sm_log_escape_text(struct sm_buf *b, struct sm_str s, size_t max)
{
	escape(b, s, max, PLAIN | IN_QUOTES);
}

/* A value with spaces that is all of its pair stands in quotes, for people to read; the quote
 * itself is always escaped. */
static void put_special(struct room *r, struct sm_str s, bool lone)
{
	bool quote = lone && sm_str_chr(s, ' ') >= 0;

	if (quote)
		put(r, "\"", 1);
	put_escaped(r, sm_str_head(s, VALUE_BYTES), quote ? PLAIN | IN_QUOTES : PLAIN);
	if (s.n > VALUE_BYTES)
		put(r, "...", 3);
	if (quote)
		put(r, "\"", 1);
}

static void put_value(struct room *r, struct sm_str s, const struct sm_log_step *step)
{
	size_t plain;

	if (step->clean) {
		put(r, s.p, s.n);
		return;
	}
	plain = s.n <= VALUE_BYTES ? put_plain(r, s, PLAIN) : 0;
	if (plain == s.n)
		return;
	r->to -= plain;
	put_special(r, s, step->lone);
}

static void put_pairs(struct room *r, const struct sm_log_form *f, va_list *ap)
{
	static struct arg a; /* on the stack it would be cleared for each line */
	char *bare = r->to, *before = bare;
	bool leave_out = false;

	for (const struct sm_log_step *s = f->step; s < f->step + f->count; s++) {
		size_t skip = 0;

		if (s->first) {
			if (leave_out)
				r->to = before;
			leave_out = false;
			before = r->to;
			skip = before == bare; /* no comma behind the event */
		}
		put(r, s->text.p + skip, s->text.n - skip);
		if (s->directive == '\0')
			continue;
		take(&a, s, ap);
		leave_out = leave_out || (s->optional && a.empty);
		put_value(r, a.s, s);
	}
	if (leave_out)
		r->to = before;
}

/* The time and a space. Many lines share theirs with the line before. */
static size_t put_stamp(struct room *r, int64_t ms)
{
	static int64_t last = INT64_MIN;
	static struct arg a;

	if (ms != last)
		set_seconds(&a, ms);
	last = ms;
	put(r, a.s.p, a.s.n);
	put(r, " ", 1);
	return a.s.n + 1;
}

size_t sm_log_line_kv(struct sm_buf *b, int64_t wall_ms, enum sm_sev sev, const char *event,
                      const char *pairs, va_list *ap)
{
	const size_t most = SM_LOG_LINE_BYTES - 1;
	char *line = sm_buf_reserve(b, most);
	struct room r = {line, line + most - 3};
	const char *name = sm_log_sev_name(sev);
	size_t text = put_stamp(&r, wall_ms);

	put(&r, name, strlen(name));
	put(&r, " ", 1);
	put(&r, event, strlen(event));
	put_pairs(&r, sm_log_form_of(pairs), ap);
	if (r.to == r.end) {
		r.end += 3;
		put(&r, "...", 3);
	}
	sm_buf_commit(b, (size_t)(r.to - line));
	return text;
}

/* ---- JSON ---- */

/* From its first step `s`; gives the first of the next pair. */
static const struct sm_log_step *put_json_pair(struct sm_buf *b, const struct sm_log_step *s,
                                               const struct sm_log_step *end, va_list *ap)
{
	size_t before = b->len;
	bool leave_out = false, in_key = true, quote = !s->number;
	struct sm_str text = sm_str_from(s->text, strlen(SM_LOG_SEPARATOR));
	struct arg a;

	sm_buf_cstr(b, ",\"");
	for (;;) {
		ptrdiff_t equals = in_key ? sm_str_chr(text, '=') : -1;

		if (equals >= 0) {
			sm_buf_str(b, sm_str_head(text, (size_t)equals));
			sm_buf_cstr(b, quote ? "\":\"" : "\":");
			text = sm_str_from(text, (size_t)equals + 1);
			in_key = false;
		}
		sm_buf_str(b, text);
		if (s->directive != '\0') {
			take(&a, s, ap);
			leave_out = leave_out || (s->optional && a.empty);
			sm_json_ascii(b, a.s, VALUE_BYTES);
		}
		if (++s == end || s->first)
			break;
		text = s->text;
	}
	if (in_key)
		sm_buf_cstr(b, "\":\"");
	if (quote)
		sm_buf_char(b, '"');
	if (leave_out)
		sm_buf_truncate(b, before);
	return s;
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
	const struct sm_log_form *f = sm_log_form_of(pairs);
	size_t text;

	sm_buf_cstr(b, "{\"time\":\"");
	put_date(b, wall_ms);
	sm_buf_cstr(b, "\",");
	text = b->len;
	sm_buf_printf(b, "\"sev\":\"%s\",\"proc\":\"%s\",\"pid\":%d,\"event\":\"%s\"",
	              sm_log_sev_name(sev), who->name, who->pid, event);
	for (const struct sm_log_step *s = f->step; s < f->step + f->count;) {
		size_t before = b->len;

		s = put_json_pair(b, s, f->step + f->count, ap);
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
