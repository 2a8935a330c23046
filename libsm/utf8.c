/*
 * UTF-8 and international domains. The only place that sees libidn2. Invariant: what comes out of
 * sm_domain_ascii is ASCII in lower case, at most as long as a domain with a dot in front. Pure;
 * any thread.
 */
#include "libsm/utf8.h"

#include <idn2.h>

#include "libsm/err.h"

/* ---- characters ---- */

/*
 * UTF8-2, UTF8-3 and UTF8-4 of RFC 3629 4: the second byte says what is overlong, a surrogate or
 * too large.
 */
int32_t sm_utf8_next(struct sm_str *s)
{
	unsigned char c = (unsigned char)s->p[0], low = 0x80, high = 0xBF;
	size_t n = c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
	int32_t v = n == 1 ? c : n == 2 ? c & 0x1F : n == 3 ? c & 0x0F : c & 0x07;

	if (n > 1 && (c < 0xC2 || c > 0xF4 || n > s->n))
		return -1;
	if (c == 0xE0)
		low = 0xA0;
	else if (c == 0xED)
		high = 0x9F;
	else if (c == 0xF0)
		low = 0x90;
	else if (c == 0xF4)
		high = 0x8F;
	for (size_t i = 1; i < n; i++) {
		unsigned char d = (unsigned char)s->p[i];

		if (d < low || d > high)
			return -1;
		v = v << 6 | (d & 0x3F);
		low = 0x80;
		high = 0xBF;
	}
	*s = sm_str_from(*s, n);
	return v;
}

bool sm_utf8_valid(struct sm_str s)
{
	if (sm_str_is_ascii(s))
		return true;
	while (s.n > 0)
		if (sm_utf8_next(&s) < 0)
			return false;
	return true;
}

bool sm_utf8_graphic(struct sm_str s)
{
	if (sm_str_is_ascii(s))
		return true;
	while (s.n > 0) {
		int32_t c = sm_utf8_next(&s);

		if (c < 0 || (c >= 0x80 && c < 0xA0))
			return false;
	}
	return true;
}

size_t sm_utf8_put(uint32_t c, char out[4])
{
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char first[] = {0, 0, 0xC0, 0xE0, 0xF0};

	for (size_t i = n; i-- > 1; c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3F));
	out[0] = (char)(first[n] | c);
	return n;
}

/* ---- domains ---- */

/* Wide forms of other characters become these: a name has only letters, digits, "-" and "_". */
static bool is_name(const char *p)
{
	for (; *p != '\0'; p++)
		if (!sm_isalnum(*p) && *p != '-' && *p != '_' && *p != '.')
			return false;
	return true;
}

static int to_ascii(struct sm_str d, char *out, size_t size, size_t *n)
{
	char text[256];
	char *ascii = NULL;
	int rc = sm_str_copy(d, text, sizeof(text));

	if (rc != 0)
		return sm_fail(SM_E_SYNTAX, "domain is too long, or has a NUL");
	rc = idn2_lookup_u8((const uint8_t *)text, (uint8_t **)&ascii,
	                    IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	if (rc != IDN2_OK)
		return sm_fail(SM_E_SYNTAX, "domain: %s", idn2_strerror(rc));
	*n = strlen(ascii);
	rc = *n >= size       ? sm_fail(SM_E_SYNTAX, "domain is too long")
	     : is_name(ascii) ? 0
	                      : sm_fail(SM_E_SYNTAX, "domain with characters that are no names'");
	if (rc == 0)
		memcpy(out, ascii, *n);
	idn2_free(ascii);
	return rc;
}

int sm_domain_ascii(struct sm_str d, char out[SM_DOMAIN_ASCII_SIZE], struct sm_str *ascii)
{
	size_t dot = d.n > 1 && d.p[0] == '.', n = 0;
	int rc = 0;

	if (!sm_str_is_ascii(d)) {
		rc = to_ascii(sm_str_from(d, dot), out + dot, SM_DOMAIN_ASCII_SIZE - 1 - dot, &n);
		if (rc != 0)
			return rc;
		if (dot)
			out[0] = '.';
		n += dot;
	} else {
		if (d.n >= SM_DOMAIN_ASCII_SIZE)
			return sm_fail(SM_E_SYNTAX, "domain is too long");
		n = d.n;
		if (n > 0)
			memcpy(out, d.p, n);
	}
	for (size_t i = 0; i < n; i++)
		out[i] = sm_lower(out[i]);
	out[n] = '\0';
	*ascii = sm_str_n(out, n);
	return 0;
}

static bool is_folded(struct sm_str d)
{
	for (size_t i = 0; i < d.n; i++)
		if (d.p[i] != sm_lower(d.p[i]) || (unsigned char)d.p[i] >= 0x80)
			return false;
	return true;
}

static int domain_ascii_in(struct sm_arena *a, struct sm_str d, struct sm_str *ascii)
{
	char text[SM_DOMAIN_ASCII_SIZE];
	int rc = sm_domain_ascii(d, text, ascii);

	if (rc != 0)
		return rc;
	*ascii = sm_arena_str(a, *ascii);
	return ascii->p != NULL ? 0 : sm_fail(SM_E_TOOBIG, "no room for a domain");
}

int sm_domain_ascii_in(struct sm_arena *a, struct sm_str d, struct sm_str *ascii)
{
	*ascii = d;
	return is_folded(d) ? 0 : domain_ascii_in(a, d, ascii);
}

static bool domain_eq_utf8(struct sm_str a, struct sm_str b)
{
	char text_a[SM_DOMAIN_ASCII_SIZE], text_b[SM_DOMAIN_ASCII_SIZE];

	if (sm_domain_ascii(a, text_a, &a) != 0 || sm_domain_ascii(b, text_b, &b) != 0)
		return sm_str_eq(a, b);
	return sm_str_eq(a, b);
}

bool sm_domain_eq(struct sm_str a, struct sm_str b)
{
	return sm_str_is_ascii(a) && sm_str_is_ascii(b) ? sm_str_caseeq(a, b)
	                                                : domain_eq_utf8(a, b);
}
