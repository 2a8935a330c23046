/*
 * Splits command lines of SMTP (RFC 5321 4.1.1) into verb, argument and parameters; decodes xtext
 * (RFC 3461 4) and addresses in UTF-8 (RFC 6533 3).
 *
 * Invariant: nothing that leaves here holds a control character but a tab within an argument; the
 * views point into the line they came from. Pure functions; any thread with a diag.
 */
#include "libsm/smtp_cmd.h"

#include "libsm/buf.h"
#include "libsm/err.h"
#include "libsm/utf8.h"

static bool is_control(char c)
{
	return (unsigned char)c < ' ' || c == 0x7f;
}

int sm_smtp_cmd_parse(struct sm_str line, struct sm_smtp_cmd *out)
{
	size_t verb = 0;

	while (line.n > 0 && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
		line.n--;
	if (sm_str_has_control(line))
		for (size_t i = 0; i < line.n; i++)
			if (is_control(line.p[i]) && line.p[i] != '\t')
				return sm_fail(SM_E_SYNTAX, "control character in command");
	while (verb < line.n && sm_isalpha(line.p[verb]))
		verb++;
	if (verb == 0 || (verb < line.n && line.p[verb] != ' '))
		return sm_fail(SM_E_SYNTAX, "no command");
	out->verb = sm_str_head(line, verb);
	out->arg = sm_str_from(line, verb < line.n ? verb + 1 : verb);
	return 0;
}

/*
 *   chunk-size [ SP "LAST" ], chunk-size = 1*DIGIT
 * Exactly so: whoever reads it another way takes content for commands.
 */
int sm_smtp_bdat(struct sm_str arg, uint64_t *size, bool *last)
{
	struct sm_str word = sm_str_split(arg, ' ', &arg);

	*last = arg.p != NULL;
	if (*last && !sm_str_caseeq(arg, SM_STR("LAST")))
		return sm_fail(SM_E_SYNTAX, "not LAST");
	return sm_str_u64(word, 10, UINT64_MAX, size);
}

/*
 *   esmtp-param   = esmtp-keyword ["=" esmtp-value]
 *   esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
 *   esmtp-value   = 1*(%d33-60 / %d62-126 / UTF8-non-ascii)
 * each after at least one space.
 */
int sm_smtp_param_next(struct sm_str *s, struct sm_str *key, struct sm_str *value)
{
	size_t i = 0, start;

	while (i < s->n && s->p[i] == ' ')
		i++;
	if (i == s->n) {
		*s = sm_str_from(*s, i);
		return 0;
	}
	if (i == 0)
		return sm_fail(SM_E_SYNTAX, "no space before parameter");
	start = i;
	while (i < s->n && (sm_isalnum(s->p[i]) || (s->p[i] == '-' && i > start)))
		i++;
	*key = sm_str_n(s->p + start, i - start);
	*value = SM_STR_NONE;
	if (i < s->n && s->p[i] == '=') {
		start = ++i;
		while (i < s->n && s->p[i] != '=' &&
		       ((s->p[i] > ' ' && s->p[i] < 0x7f) || (unsigned char)s->p[i] >= 0x80))
			i++;
		*value = sm_str_n(s->p + start, i - start);
		if (value->n == 0)
			return sm_fail(SM_E_SYNTAX, "parameter without value");
	}
	if (key->n == 0 || (i < s->n && s->p[i] != ' '))
		return sm_fail(SM_E_SYNTAX, "malformed parameter");
	*s = sm_str_from(*s, i);
	return 1;
}

int sm_smtp_from_to(struct sm_str arg, struct sm_str keyword, unsigned addr_flags,
                    struct sm_arena *a, struct sm_addr *out, struct sm_str *params)
{
	arg = sm_str_trim(arg);
	if (!sm_str_has_caseprefix(arg, keyword))
		return sm_fail(SM_E_SYNTAX, "%.*s missing", SM_STR_ARG(keyword));
	arg = sm_str_trim(sm_str_from(arg, keyword.n));
	return sm_addr_path(arg, addr_flags, a, out, params);
}

static int hex_upper(char c)
{
	if (sm_isdigit(c))
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/*
 *   xtext   = *( xchar / hexchar )
 *   xchar   = %d33-42 / %d44-60 / %d62-126
 *   hexchar = "+" two upper case hexadecimal digits
 */
static int decode_xtext(struct sm_str s, bool utf8, struct sm_arena *a, struct sm_str *out)
{
	char *mem = sm_arena_alloc(a, s.n + 1);
	size_t n = 0;

	if (mem == NULL)
		return sm_fail(SM_E_TOOBIG, "no room for xtext");
	for (size_t i = 0; i < s.n; i++) {
		int c = (unsigned char)s.p[i];
		if (c == '+') {
			int hi = i + 2 < s.n ? hex_upper(s.p[i + 1]) : -1;
			int lo = hi >= 0 ? hex_upper(s.p[i + 2]) : -1;
			if (lo < 0)
				return sm_fail(SM_E_SYNTAX, "bad hexadecimal in xtext");
			c = hi * 16 + lo;
			if (c < ' ' || c == 0x7f || (c >= 0x80 && !utf8))
				return sm_fail(SM_E_SYNTAX, "control or 8-bit character in xtext");
			i += 2;
		} else if (c <= ' ' || c > '~' || c == '=') {
			return sm_fail(SM_E_SYNTAX, "bad character in xtext");
		}
		mem[n++] = (char)c;
	}
	mem[n] = '\0';
	*out = sm_str_n(mem, n);
	return 0;
}

int sm_xtext_decode(struct sm_str s, struct sm_arena *a, struct sm_str *out)
{
	return decode_xtext(s, false, a, out);
}

int sm_xtext_decode_utf8(struct sm_str s, struct sm_arena *a, struct sm_str *out)
{
	int err = decode_xtext(s, true, a, out);

	if (err == 0 && !sm_utf8_graphic(*out))
		err = sm_fail(SM_E_SYNTAX, "xtext is not in UTF-8, or has controls");
	return err;
}

/* QCHAR of RFC 6533 3. */
static bool is_qchar(char c)
{
	return c > ' ' && c <= '~' && c != '+' && c != '=' && c != '\\';
}

/* "\x{" HEXPOINT "}" at the front of *s; -1: it is none, or no character of an address. */
static int32_t take_hexpoint(struct sm_str *s)
{
	enum { DIGITS = 6 };
	int32_t v = 0;
	size_t i = 3;

	if (!sm_str_has_prefix(*s, SM_STR("\\x{")))
		return -1;
	for (; i < s->n && i < 3 + DIGITS && hex_upper(s->p[i]) >= 0; i++)
		v = v * 16 + hex_upper(s->p[i]);
	if (i == 3 || i == s->n || s->p[i] != '}')
		return -1;
	*s = sm_str_from(*s, i + 1);
	if (v < ' ' || (v >= 0x7f && v < 0xA0) || (v >= 0xD800 && v < 0xE000) || v > 0x10FFFF)
		return -1;
	return v;
}

int sm_unitext_decode(struct sm_str s, bool utf8, struct sm_arena *a, struct sm_str *out)
{
	char *mem = sm_arena_alloc(a, s.n + 1); /* no character takes more bytes than its escape */
	size_t n = 0;

	if (mem == NULL)
		return sm_fail(SM_E_TOOBIG, "no room for an address");
	while (s.n > 0) {
		char c = s.p[0];

		if (c == '\\') {
			int32_t v = take_hexpoint(&s);
			if (v < 0)
				return sm_fail(SM_E_SYNTAX, "bad \\x{} in address");
			n += sm_utf8_put((uint32_t)v, mem + n);
			continue;
		}
		if (!is_qchar(c) && !(utf8 && (unsigned char)c >= 0x80))
			return sm_fail(SM_E_SYNTAX, "bad character in address");
		mem[n++] = c;
		s = sm_str_from(s, 1);
	}
	mem[n] = '\0';
	*out = sm_str_n(mem, n);
	return sm_utf8_graphic(*out) ? 0 : sm_fail(SM_E_SYNTAX, "address is not in UTF-8");
}

void sm_unitext_put(struct sm_buf *b, struct sm_str s)
{
	while (s.n > 0) {
		int32_t c = sm_utf8_next(&s);

		if (c < 0)
			return;
		if (c < 0x80 && is_qchar((char)c))
			sm_buf_char(b, (char)c);
		else
			sm_buf_printf(b, "\\x{%02X}", (unsigned)c);
	}
}
