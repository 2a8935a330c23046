/*
 * struct sm_str: a view of bytes that somebody else owns. Passed by value; carries no NUL; may hold
 * any byte. Comparisons by case fold ASCII only, whatever the locale.
 */
#ifndef SM_STR_H
#define SM_STR_H

#include <string.h>
#include "libsm/base.h"

struct sm_str {
	const char *p;
	size_t n;
};

#define SM_STR(lit)   ((struct sm_str){"" lit, sizeof(lit) - 1})
#define SM_STR_NONE   ((struct sm_str){NULL, 0})
#define SM_STR_FMT    "%.*s"
#define SM_STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct sm_str sm_str(const char *cstr)
{
	return (struct sm_str){cstr, cstr ? strlen(cstr) : 0};
}
static inline struct sm_str sm_str_n(const void *p, size_t n)
{
	return (struct sm_str){p, n};
}
static inline bool sm_str_empty(struct sm_str s)
{
	return s.n == 0;
}
static inline bool sm_str_eq(struct sm_str a, struct sm_str b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* ASCII case and class, locale-free. */
static inline char sm_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}
static inline bool sm_isdigit(char c)
{
	return c >= '0' && c <= '9';
}
static inline bool sm_isalpha(char c)
{
	c = sm_lower(c);
	return c >= 'a' && c <= 'z';
}
static inline bool sm_isalnum(char c)
{
	return sm_isalpha(c) || sm_isdigit(c);
}

bool sm_str_caseeq(struct sm_str a, struct sm_str b);
int sm_str_cmp(struct sm_str a, struct sm_str b); /* as memcmp, the shorter first */
bool sm_str_has_prefix(struct sm_str s, struct sm_str prefix);
bool sm_str_has_caseprefix(struct sm_str s, struct sm_str prefix);
bool sm_str_has_suffix(struct sm_str s, struct sm_str suffix);
bool sm_str_has_casesuffix(struct sm_str s, struct sm_str suffix);
/* Index of the first/last `c`, or -1. */
static inline ptrdiff_t sm_str_chr(struct sm_str s, char c)
{
	const char *at = s.n ? memchr(s.p, c, s.n) : NULL;

	return at ? at - s.p : -1;
}
static inline ptrdiff_t sm_str_rchr(struct sm_str s, char c)
{
	const char *at = s.n ? memrchr(s.p, c, s.n) : NULL;

	return at ? at - s.p : -1;
}
/* From `start` to the end; `start` past the end gives an empty view at the end. */
static inline struct sm_str sm_str_from(struct sm_str s, size_t start)
{
	start = SM_MIN(start, s.n);
	return sm_str_n(s.p ? s.p + start : NULL, s.n - start);
}
static inline struct sm_str sm_str_head(struct sm_str s, size_t n)
{
	return sm_str_n(s.p, SM_MIN(n, s.n));
}
bool sm_str_is_ascii(struct sm_str s);    /* no byte above 0x7f */
bool sm_str_has_control(struct sm_str s); /* one below 0x20, a tab too, or DEL */
/* `s` in lower case to `to`, which has room for s.n bytes and may be s.p itself. */
void sm_str_lower(struct sm_str s, char *to);
/* Without spaces and tabs at both ends. */
struct sm_str sm_str_trim(struct sm_str s);
/* The part before the first `sep`; `*rest` is what follows it (empty, p NULL when there was no
 * `sep`). */
struct sm_str sm_str_split(struct sm_str s, char sep, struct sm_str *rest);
/* The next run without spaces or tabs; moves `*s` behind it. Empty when there is none. */
struct sm_str sm_str_word(struct sm_str *s);

/* All of `s` as a number in base 10 (16: no prefix): SM_E_SYNTAX when it is none, SM_E_RANGE above
 * `max`. */
int sm_str_u64(struct sm_str s, unsigned base, uint64_t max, uint64_t *out) SM_MUST_CHECK;
/* Copy into `dst` with a NUL for libc's sake. SM_E_TOOBIG (and dst "") when it does not fit or
 * holds a NUL. */
int sm_str_copy(struct sm_str s, char *dst, size_t size) SM_MUST_CHECK;
/* For texts that only people read: cut to fit; a NUL becomes '?'. size > 0. */
void sm_str_cut(struct sm_str s, char *dst, size_t size);

#endif
