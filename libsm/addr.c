/*
 * The one parser of mail addresses (RFC 5321 4.1.2) for all components.
 *
 * Invariant: what comes out as struct sm_addr is canonical (quotes only where needed, ASCII of the
 * domain in lower case) and has passed every limit of 4.5.3.1, which count bytes; nobody looks
 * inside a local part again, so that a '%', a '!' or an '@' in quotes is never taken for routing.
 * UTF-8 stays as it was given (RFC 6531 3.2). Pure functions; any thread with a diag.
 */
#include "libsm/addr.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "libsm/err.h"
#include "libsm/utf8.h"

static bool is_8bit(char c)
{
	return (unsigned char)c >= 0x80;
}

/* What a byte may be part of. */
enum { ATEXT = 1 /* RFC 5322 3.2.3, RFC 5321's Atom */, LDH = 2 /* of RFC 5321's sub-domain */ };
static const unsigned char kinds[256] = {
    ['!'] = ATEXT,
    ['#' ... '\''] = ATEXT,
    ['*'] = ATEXT,
    ['+'] = ATEXT,
    ['-'] = ATEXT | LDH,
    ['/'] = ATEXT,
    ['0' ... '9'] = ATEXT | LDH,
    ['='] = ATEXT,
    ['?'] = ATEXT,
    ['A' ... 'Z'] = ATEXT | LDH,
    ['^' ... '`'] = ATEXT,
    ['a' ... 'z'] = ATEXT | LDH,
    ['{' ... '~'] = ATEXT,
};

/* With `utf8` as in RFC 6531 3.3. */
static bool is_atext(char c, bool utf8)
{
	return (kinds[(unsigned char)c] & ATEXT) != 0 || (utf8 && is_8bit(c));
}

/* Names a byte that has no place here: 8-bit is a matter of its own, because the reply differs. */
static int bad_byte(char c, const char *where)
{
	if (is_8bit(c))
		return sm_fail(SM_E_NOTSUP, "8-bit character in %s", where);
	return sm_fail(SM_E_SYNTAX, "unexpected character 0x%02x in %s", (unsigned char)c, where);
}

/* ---- domains ---- */

static int check_label(struct sm_str label)
{
	if (label.n == 0)
		return sm_fail(SM_E_SYNTAX, "empty label in domain");
	if (label.n > 63)
		return sm_fail(SM_E_TOOBIG, "label of domain longer than 63");
	if (label.p[0] == '-' || label.p[label.n - 1] == '-')
		return sm_fail(SM_E_SYNTAX, "label of domain begins or ends with '-'");
	return 0;
}

static bool is_number(struct sm_str label)
{
	size_t n = 0;

	while (n < label.n && sm_isdigit(label.p[n]))
		n++;
	return n == label.n;
}

/*
 *   Domain     = sub-domain *("." sub-domain)
 *   sub-domain = Let-dig [Ldh-str]
 * 0, SM_E_SYNTAX, SM_E_TOOBIG, SM_E_NOTSUP.
 */
static int check_domain(struct sm_str d, bool loose)
{
	struct sm_str label;
	size_t start = 0, i;
	int err;

	if (d.n == 0)
		return sm_fail(SM_E_SYNTAX, "empty domain");
	for (;; start = i + 1) {
		for (i = start; i < d.n && d.p[i] != '.'; i++)
			if (!(kinds[(unsigned char)d.p[i]] & LDH) && !(loose && d.p[i] == '_'))
				return bad_byte(d.p[i], "domain");
		label = sm_str_n(d.p + start, i - start);
		err = check_label(label);
		if (err != 0)
			return err;
		if (i == d.n)
			break;
	}
	if (d.n > SM_DOMAIN_MAX)
		return sm_fail(SM_E_TOOBIG, "domain longer than %d", SM_DOMAIN_MAX);
	if (is_number(label))
		return sm_fail(SM_E_SYNTAX, "last label of domain is a number");
	return 0;
}

/* The same of RFC 6531 3.3: sub-domain =/ U-label. *ascii: what it is compared by, in `text` if it
 * has to be. */
static int check_domain_utf8(struct sm_str d, bool loose, char text[SM_DOMAIN_ASCII_SIZE],
                             struct sm_str *ascii)
{
	int err;

	*ascii = d;
	if (sm_str_is_ascii(d))
		return check_domain(d, loose);
	if (d.n > SM_DOMAIN_MAX)
		return sm_fail(SM_E_TOOBIG, "domain longer than %d", SM_DOMAIN_MAX);
	err = sm_domain_ascii(d, text, ascii);
	return err != 0 ? err : check_domain(*ascii, loose);
}

bool sm_domain_valid(struct sm_str d, bool loose)
{
	return check_domain(d, loose) == 0;
}

bool sm_domain_valid_utf8(struct sm_str d, bool loose)
{
	char text[SM_DOMAIN_ASCII_SIZE];

	return check_domain_utf8(d, loose, text, &d) == 0;
}

bool sm_domain_literal_valid(struct sm_str d)
{
	static const struct sm_str tag = SM_STR("IPv6:");
	char text[INET6_ADDRSTRLEN];
	unsigned char addr[16];
	int family = AF_INET;

	if (d.n < 2 || d.p[0] != '[' || d.p[d.n - 1] != ']')
		return false;
	d = sm_str_n(d.p + 1, d.n - 2);
	if (sm_str_has_caseprefix(d, tag)) {
		family = AF_INET6;
		d = sm_str_from(d, tag.n);
	}
	return sm_str_copy(d, text, sizeof(text)) == 0 && inet_pton(family, text, addr) == 1;
}

bool sm_helo_valid(struct sm_str arg, bool strict)
{
	if (strict)
		return sm_domain_valid(arg, false) || sm_domain_literal_valid(arg);
	if (arg.n == 0 || arg.n > SM_DOMAIN_MAX)
		return false;
	for (size_t i = 0; i < arg.n; i++)
		if (arg.p[i] <= ' ' || arg.p[i] > '~')
			return false;
	return true;
}

/* ---- local part ---- */

/* Dot-string = Atom *("." Atom), all of `s`. */
static bool is_dot_string(struct sm_str s, bool utf8)
{
	bool dot = true; /* an atom has to begin here */

	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == '.') {
			if (dot)
				return false;
			dot = true;
		} else if (is_atext(s.p[i], utf8)) {
			dot = false;
		} else {
			return false;
		}
	}
	return !dot;
}

/*
 *   Quoted-string   = DQUOTE *QcontentSMTP DQUOTE
 *   qtextSMTP       = %d32-33 / %d35-91 / %d93-126
 *   quoted-pairSMTP = %d92 %d32-126
 * and UTF8-non-ascii among qtextSMTP with `utf8` (RFC 6531 3.3). Takes it from the front of *in;
 * *bare is the text without quotes and backslashes.
 */
static int take_quoted(struct sm_str *in, bool utf8, char *buf, size_t size, struct sm_str *bare)
{
	size_t n = 0;

	for (size_t i = 1; i < in->n; i++) {
		char c = in->p[i];
		if (c == '"') {
			*in = sm_str_from(*in, i + 1);
			*bare = sm_str_n(buf, n);
			return 0;
		}
		if (c == '\\' && ++i < in->n)
			c = in->p[i];
		if (!(c >= ' ' && c <= '~') && !(utf8 && is_8bit(c)))
			return bad_byte(c, "quoted local part");
		if (n == size)
			return sm_fail(SM_E_TOOBIG, "local part longer than %d", SM_LOCALPART_MAX);
		buf[n++] = c;
	}
	return sm_fail(SM_E_SYNTAX, "quote in local part is not closed");
}

/*
 * Local-part = Dot-string / Quoted-string, from the front of *in; its canonical form goes to `out`
 * (room for SM_LOCALPART_MAX bytes), quoted again only when it is no Dot-string.
 */
static int take_local(struct sm_str *in, bool utf8, char *out, size_t *out_n)
{
	char buf[SM_LOCALPART_MAX];
	struct sm_str bare;
	size_t n = 0;

	if (in->n > 0 && in->p[0] == '"') {
		int err = take_quoted(in, utf8, buf, sizeof(buf), &bare);
		if (err != 0)
			return err;
		if (!is_dot_string(bare, utf8)) {
			size_t need = 2;
			for (size_t i = 0; i < bare.n; i++)
				need += bare.p[i] == '"' || bare.p[i] == '\\' ? 2 : 1;
			if (need > SM_LOCALPART_MAX)
				goto toobig;
			out[n++] = '"';
			for (size_t i = 0; i < bare.n; i++) {
				if (bare.p[i] == '"' || bare.p[i] == '\\')
					out[n++] = '\\';
				out[n++] = bare.p[i];
			}
			out[n++] = '"';
			*out_n = n;
			return 0;
		}
	} else {
		bool dot = true, misplaced = false; /* an atom has to begin here */

		for (; n < in->n; n++) {
			if (is_atext(in->p[n], utf8)) {
				dot = false;
			} else if (in->p[n] == '.') {
				misplaced |= dot;
				dot = true;
			} else {
				break;
			}
		}
		bare = sm_str_head(*in, n);
		if (n < in->n && in->p[n] != '@' && in->p[n] != '>')
			return bad_byte(in->p[n], "local part");
		if (dot || misplaced)
			return sm_fail(SM_E_SYNTAX,
			               n == 0 ? "empty local part" : "misplaced dot in local part");
		if (n > SM_LOCALPART_MAX)
			goto toobig;
		*in = sm_str_from(*in, n);
	}
	memcpy(out, bare.p, bare.n);
	*out_n = bare.n;
	return 0;
toobig:
	return sm_fail(SM_E_TOOBIG, "local part longer than %d", SM_LOCALPART_MAX);
}

/* ---- mailbox and path ---- */

/* *ascii: what it is compared by, in the arena; untouched if that is the domain itself. */
static int take_domain_utf8(struct sm_str d, struct sm_arena *a, struct sm_str *ascii)
{
	if (sm_str_is_ascii(d))
		return check_domain(d, false);

	char text[SM_DOMAIN_ASCII_SIZE];
	int err = check_domain_utf8(d, false, text, &d);

	if (err != 0)
		return err;
	*ascii = sm_arena_str(a, d);
	return ascii->p != NULL ? 0 : sm_fail(SM_E_TOOBIG, "no room for another address");
}

/*
 * Mailbox = Local-part "@" ( Domain / address-literal ), up to `end` or, when that is NUL, all of
 * *in. What follows the mailbox stays in *in.
 */
static int take_mailbox(struct sm_str *in, char end, unsigned flags, struct sm_arena *a,
                        struct sm_addr *out)
{
	bool utf8 = (flags & SM_ADDR_UTF8_OK) != 0;
	char local[SM_LOCALPART_MAX], *mem;
	size_t local_n = 0, n = 0;
	struct sm_str domain, compared = SM_STR_NONE;
	bool literal;
	int err;

	err = take_local(in, utf8, local, &local_n);
	if (err != 0)
		return err;
	if (utf8 && !sm_str_is_ascii(sm_str_n(local, local_n)) &&
	    !sm_utf8_graphic(sm_str_n(local, local_n)))
		return sm_fail(SM_E_SYNTAX, "local part is not in UTF-8, or has controls");
	if (in->n == 0 || in->p[0] != '@') {
		if (in->n > 0 && in->p[0] != end)
			return bad_byte(in->p[0], "address");
		if (!(flags & SM_ADDR_NO_DOMAIN_OK) &&
		    (!(flags & SM_ADDR_BARE_POSTMASTER_OK) ||
		     !sm_str_caseeq(sm_str_n(local, local_n), SM_STR("postmaster"))))
			return sm_fail(SM_E_SYNTAX, "address without domain");
		domain = SM_STR_NONE;
		literal = false;
	} else {
		*in = sm_str_from(*in, 1);
		literal = in->n > 0 && in->p[0] == '[';
		while (n < in->n && in->p[n] != '>' && !(literal && n > 0 && in->p[n - 1] == ']'))
			n++;
		domain = sm_str_head(*in, n);
		*in = sm_str_from(*in, n);
		if (literal) {
			if (!sm_domain_literal_valid(domain))
				return sm_fail(SM_E_SYNTAX, "bad address literal");
		} else {
			err = utf8 ? take_domain_utf8(domain, a, &compared)
			           : check_domain(domain, false);
			if (err != 0)
				return err;
		}
	}

	out->mailbox.n = local_n + (domain.n > 0 ? 1 + domain.n : 0);
	if (out->mailbox.n > SM_PATH_MAX - 2)
		return sm_fail(SM_E_TOOBIG, "path longer than %d", SM_PATH_MAX);
	mem = sm_arena_alloc(a, out->mailbox.n + 1);
	if (mem == NULL)
		return sm_fail(SM_E_TOOBIG, "no room for another address");
	memcpy(mem, local, local_n);
	out->local = sm_str_n(mem, local_n);
	out->domain = out->ascii_domain = SM_STR("");
	if (domain.n > 0) {
		char *d = mem + local_n + 1;
		d[-1] = '@';
		sm_str_lower(domain, d);
		if (literal && d[1] == 'i')
			memcpy(d + 1, "IPv6", 4);
		out->domain = out->ascii_domain = sm_str_n(d, domain.n);
		if (compared.p != NULL)
			out->ascii_domain = compared;
	}
	mem[out->mailbox.n] = '\0';
	out->mailbox.p = mem;
	out->literal = literal;
	return 0;
}

/* A-d-l ":" = "@" Domain *( "," "@" Domain ) ":" is checked and dropped (RFC 5321 4.1.1.3, appendix
 * C). */
static int skip_source_route(struct sm_str *in, bool utf8)
{
	char text[SM_DOMAIN_ASCII_SIZE];

	while (in->n > 0 && in->p[0] == '@') {
		size_t n = 1;
		int err;

		while (n < in->n && in->p[n] != ',' && in->p[n] != ':' && in->p[n] != '>')
			n++;
		if (n == in->n || in->p[n] == '>')
			return sm_fail(SM_E_SYNTAX, "source route without address");
		struct sm_str domain = sm_str_n(in->p + 1, n - 1);

		err = utf8 ? check_domain_utf8(domain, false, text, &domain)
		           : check_domain(domain, false);
		if (err != 0)
			return err;
		if (in->p[n] == ':') {
			*in = sm_str_from(*in, n + 1);
			return 0;
		}
		*in = sm_str_from(*in, n + 1);
		if (in->n == 0 || in->p[0] != '@')
			return sm_fail(SM_E_SYNTAX, "bad source route");
	}
	return 0;
}

int sm_addr_path(struct sm_str in, unsigned flags, struct sm_arena *a, struct sm_addr *out,
                 struct sm_str *rest)
{
	const char *start = in.p;
	int err;

	*out = (struct sm_addr){0};
	if (in.n == 0 || in.p[0] != '<')
		return sm_fail(SM_E_SYNTAX, "address without '<'");
	in = sm_str_from(in, 1);
	if (in.n > 0 && in.p[0] == '>') {
		if ((flags & SM_ADDR_NULL_OK) == 0)
			return sm_fail(SM_E_SYNTAX, "empty address");
		out->mailbox = out->local = out->domain = out->ascii_domain = SM_STR("");
		*rest = sm_str_from(in, 1);
		return 0;
	}
	err = skip_source_route(&in, (flags & SM_ADDR_UTF8_OK) != 0);
	if (err == 0)
		err = take_mailbox(&in, '>', flags, a, out);
	if (err != 0)
		return err;
	if (in.n == 0 || in.p[0] != '>')
		return sm_fail(SM_E_SYNTAX, "address without '>'");
	*rest = sm_str_from(in, 1);
	if (rest->p - start > SM_PATH_MAX)
		return sm_fail(SM_E_TOOBIG, "path longer than %d", SM_PATH_MAX);
	return 0;
}

int sm_addr_mailbox(struct sm_str in, struct sm_arena *a, struct sm_addr *out)
{
	int err;

	*out = (struct sm_addr){0};
	err = take_mailbox(&in, '\0', SM_ADDR_UTF8_OK, a, out);
	if (err == 0 && in.n > 0)
		err = sm_fail(SM_E_SYNTAX, "text behind the address");
	return err;
}
