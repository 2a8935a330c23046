/*
 * Views of bytes: compare, search, cut, and read numbers. Nothing here allocates, copies (but for
 * sm_str_copy) or depends on the locale; every function takes any bytes, the empty view and the
 * NULL view.
 */
#include "libsm/str.h"

#include "libsm/err.h"

bool sm_str_caseeq(struct sm_str a, struct sm_str b)
{
	if (a.n != b.n)
		return false;
	for (size_t i = 0; i < a.n; i++)
		if (a.p[i] != b.p[i] && sm_lower(a.p[i]) != sm_lower(b.p[i]))
			return false;
	return true;
}

int sm_str_cmp(struct sm_str a, struct sm_str b)
{
	size_t n = SM_MIN(a.n, b.n);
	int rc = n ? memcmp(a.p, b.p, n) : 0;

	if (rc != 0)
		return rc;
	return a.n < b.n ? -1 : a.n > b.n;
}

static struct sm_str tail(struct sm_str s, size_t n)
{
	return sm_str_from(s, s.n - n);
}

bool sm_str_has_prefix(struct sm_str s, struct sm_str prefix)
{
	return s.n >= prefix.n && sm_str_eq(sm_str_head(s, prefix.n), prefix);
}

bool sm_str_has_caseprefix(struct sm_str s, struct sm_str prefix)
{
	return s.n >= prefix.n && sm_str_caseeq(sm_str_head(s, prefix.n), prefix);
}

bool sm_str_has_suffix(struct sm_str s, struct sm_str suffix)
{
	return s.n >= suffix.n && sm_str_eq(tail(s, suffix.n), suffix);
}

bool sm_str_has_casesuffix(struct sm_str s, struct sm_str suffix)
{
	return s.n >= suffix.n && sm_str_caseeq(tail(s, suffix.n), suffix);
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

bool sm_str_is_ascii(struct sm_str s)
{
	uint64_t word, seen = 0;
	size_t i = 0;

	for (; s.n - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, s.p + i, sizeof(word));
		seen |= word;
	}
	for (; i < s.n; i++)
		seen |= (unsigned char)s.p[i];
	return (seen & 0x8080808080808080U) == 0;
}

/* Not 0 when one of the eight bytes at `p` is a control character: then its high bit is set. */
static uint64_t controls(const char *p)
{
	const uint64_t each = 0x0101010101010101U, low = 0x7f * each;
	uint64_t word, from_space, from_del;

	memcpy(&word, p, sizeof(word));
	/* Both sums stay within their bytes. */
	from_space = (word & low) + (0x80 - ' ') * each;
	from_del = (word & low) + (0x80 - 0x7f) * each;
	return (~from_space | from_del) & ~word & ~low;
}

bool sm_str_has_control(struct sm_str s)
{
	uint64_t found = 0;

	if (s.n < sizeof(found)) {
		for (size_t i = 0; i < s.n; i++)
			found |= (unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f;
		return found != 0;
	}
	for (size_t i = 0; i < s.n - sizeof(found); i += sizeof(found))
		found |= controls(s.p + i);
	return (found | controls(s.p + s.n - sizeof(found))) != 0;
}

/* Of each byte at once: 0x80 in those that are 'A' to 'Z'. Sums stay in their byte, because the
 * high bits are taken off before. */
static uint64_t upper(uint64_t word)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t low = word & 0x7f * ones;
	uint64_t from_a = low + (0x80 - 'A') * ones, above_z = low + (0x7f - 'Z') * ones;

	return from_a & ~above_z & ~word & 0x80 * ones;
}

void sm_str_lower(struct sm_str s, char *to)
{
	uint64_t word;
	size_t i = 0;

	for (; s.n - i >= sizeof(word); i += sizeof(word)) {
		memcpy(&word, s.p + i, sizeof(word));
		word |= upper(word) >> 2; /* 0x20 */
		memcpy(to + i, &word, sizeof(word));
	}
	for (; i < s.n; i++)
		to[i] = sm_lower(s.p[i]);
}

struct sm_str sm_str_trim(struct sm_str s)
{
	size_t from = 0;

	while (from < s.n && is_blank(s.p[from]))
		from++;
	s = sm_str_from(s, from);
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

struct sm_str sm_str_split(struct sm_str s, char sep, struct sm_str *rest)
{
	ptrdiff_t at = sm_str_chr(s, sep);

	if (at < 0) {
		*rest = SM_STR_NONE;
		return s;
	}
	*rest = sm_str_from(s, (size_t)at + 1);
	return sm_str_head(s, (size_t)at);
}

struct sm_str sm_str_word(struct sm_str *s)
{
	size_t from = 0;

	while (from < s->n && is_blank(s->p[from]))
		from++;
	size_t end = from;

	while (end < s->n && !is_blank(s->p[end]))
		end++;
	struct sm_str word = sm_str_head(sm_str_from(*s, from), end - from);

	*s = sm_str_from(*s, end);
	return word;
}

static unsigned digit_value(char c)
{
	if (sm_isdigit(c))
		return (unsigned)(c - '0');
	c = sm_lower(c);
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10 : 16;
}

int sm_str_u64(struct sm_str s, unsigned base, uint64_t max, uint64_t *out)
{
	uint64_t v = 0;
	bool over = false;

	sm_assert(base == 10 || base == 16);
	if (s.n == 0)
		return sm_fail(SM_E_SYNTAX, "a number is missing");
	for (size_t i = 0; i < s.n; i++) {
		unsigned d = digit_value(s.p[i]);

		if (d >= base)
			return sm_fail(SM_E_SYNTAX, "'%.*s' is no number", (int)SM_MIN(s.n, 40u),
			               s.p);
		/* Go on after an overflow: "99999999999999999999x" is bad syntax, not out of range.
		 */
		over |= __builtin_mul_overflow(v, (uint64_t)base, &v) ||
		        __builtin_add_overflow(v, (uint64_t)d, &v);
	}
	if (over || v > max)
		return sm_fail(SM_E_RANGE, "%.*s is more than %llu", (int)SM_MIN(s.n, 40u), s.p,
		               (unsigned long long)max);
	*out = v;
	return 0;
}

int sm_str_copy(struct sm_str s, char *dst, size_t size)
{
	sm_assert(size > 0);
	dst[0] = '\0';
	if (s.n >= size)
		return sm_fail(SM_E_TOOBIG, "text of %zu bytes where %zu are allowed", s.n,
		               size - 1);
	if (sm_str_chr(s, '\0') >= 0)
		return sm_fail(SM_E_TOOBIG, "text with a NUL in it");
	if (s.n > 0)
		memcpy(dst, s.p, s.n);
	dst[s.n] = '\0';
	return 0;
}

void sm_str_cut(struct sm_str s, char *dst, size_t size)
{
	size_t n = SM_MIN(s.n, size - 1);

	if (n > 0)
		memcpy(dst, s.p, n);
	for (char *nul = dst; (nul = memchr(nul, '\0', (size_t)(dst + n - nul))) != NULL;)
		*nul = '?';
	dst[n] = '\0';
}
