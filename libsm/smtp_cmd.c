/*
 * Splits command lines of SMTP (RFC 5321 4.1.1) into verb, argument and parameters; decodes xtext
 * (RFC 3461 4).
 *
 * Invariant: nothing that leaves here holds a control character but a tab within an argument; the
 * views point into the line they came from. Pure functions; any thread with a diag.
 */
#include "libsm/smtp_cmd.h"

#include "libsm/err.h"

int sm_smtp_cmd_parse(struct sm_str line, struct sm_smtp_cmd *out)
{
	size_t verb = 0;

	while (line.n > 0 && (line.p[line.n - 1] == ' ' || line.p[line.n - 1] == '\t'))
		line.n--;
	for (size_t i = 0; i < line.n; i++)
		if (((unsigned char)line.p[i] < ' ' && line.p[i] != '\t') || line.p[i] == 0x7f)
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
 *   esmtp-param   = esmtp-keyword ["=" esmtp-value]
 *   esmtp-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
 *   esmtp-value   = 1*(%d33-60 / %d62-126)
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
		while (i < s->n && s->p[i] > ' ' && s->p[i] < 0x7f && s->p[i] != '=')
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
int sm_xtext_decode(struct sm_str s, struct sm_arena *a, struct sm_str *out)
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
			if (c < ' ' || c > '~')
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
