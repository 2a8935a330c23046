/*
 * The normal form of replies. A word that begins a reason and is three digits can only be its code,
 * because digits of the text are gone: so the code needs no place of its own.
 */
#include "qmgr/reason.h"

struct out {
	char *p;
	size_t n;
};

static void add(struct out *o, struct sm_str s)
{
	s = sm_str_head(s, QM_REASON_MAX - o->n);
	if (s.n)
		memcpy(o->p + o->n, s.p, s.n);
	o->n += s.n;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* The next word of *s, with any white space before it dropped; empty: the end. */
static struct sm_str word(struct sm_str *s)
{
	size_t from = 0, to;

	while (from < s->n && is_space(s->p[from]))
		from++;
	for (to = from; to < s->n && !is_space(s->p[to]);)
		to++;

	struct sm_str w = sm_str_n(s->p ? s->p + from : NULL, to - from);

	*s = sm_str_from(*s, to);
	return w;
}

static bool has_digit(struct sm_str w)
{
	for (size_t i = 0; i < w.n; i++)
		if (sm_isdigit(w.p[i]))
			return true;
	return false;
}

/* RFC 3463: class "." 1*3digit "." 1*3digit */
static bool is_enhanced(struct sm_str w)
{
	unsigned dots = 0, digits = 0;

	if (w.n < 5 || (w.p[0] != '2' && w.p[0] != '4' && w.p[0] != '5') || w.p[1] != '.')
		return false;
	for (size_t i = 0; i < w.n; i++) {
		if (sm_isdigit(w.p[i])) {
			if (++digits > 3)
				return false;
		} else if (w.p[i] == '.' && digits > 0 && dots < 2) {
			dots++;
			digits = 0;
		} else {
			return false;
		}
	}
	return dots == 2 && digits > 0;
}

struct sm_str qm_reason(uint16_t code, struct sm_str text, char out[QM_REASON_MAX])
{
	struct out o = {.p = out};
	struct sm_str w;
	bool first = true;

	if (code >= 100 && code <= 999) {
		const char digits[3] = {(char)('0' + code / 100), (char)('0' + code / 10 % 10),
		                        (char)('0' + code % 10)};

		add(&o, sm_str_n(digits, sizeof(digits)));
	}
	while (o.n < QM_REASON_MAX && (w = word(&text)).n > 0) {
		if (o.n > 0)
			add(&o, SM_STR(" "));
		add(&o, !has_digit(w) || (first && is_enhanced(w)) ? w : SM_STR("#"));
		first = false;
	}
	return sm_str_n(out, o.n);
}

uint16_t qm_reason_code(struct sm_str reason)
{
	uint64_t code;

	if (reason.n < 3 || (reason.n > 3 && reason.p[3] != ' ') ||
	    sm_str_u64(sm_str_head(reason, 3), 10, 999, &code) != 0)
		return 0;
	return (uint16_t)code;
}

struct sm_str qm_reason_short(struct sm_str reason)
{
	struct sm_str rest = reason, w = word(&rest);
	size_t n = 0;

	if (qm_reason_code(reason)) {
		n = 3;
		w = word(&rest);
	}
	if (is_enhanced(w))
		n = (size_t)(w.p - reason.p) + w.n;
	return n ? sm_str_head(reason, n) : SM_STR("other");
}
