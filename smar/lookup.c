/*
 * The lookup orders: which keys are tried, and in which order. Invariant: a key is never longer
 * than AR_KEY_MAX; one that would be is passed over and not cut, because a cut key means another
 * thing. Pure; any thread.
 */
#include "smar/lookup.h"

#include <stdio.h>

#include "libsm/utf8.h"

/* The forms of an address for each domain, in their order. */
enum form {
	FORM_VERBATIM,    /* user+detail */
	FORM_SOME_DETAIL, /* user++ */
	FORM_ANY_DETAIL,  /* user+* */
	FORM_ANY,         /* user* */
	FORM_USER,        /* user */
	FORM_DOMAIN,      /* only @domain */
	FORM_END
};

/* ---- making a key ---- */

/* True: the tag and these pieces are the key now. */
static bool make_key(struct ar_keys *k, const struct sm_str *pieces, size_t count)
{
	size_t n = k->tag.n;

	for (size_t i = 0; i < count; i++) {
		if (pieces[i].n > AR_KEY_MAX - n)
			return false;
		if (pieces[i].n > 0)
			memcpy(k->text + n, pieces[i].p, pieces[i].n);
		n += pieces[i].n;
	}
	k->text[n] = '\0';
	k->key = sm_str_n(k->text, n);
	return true;
}

static void start(struct ar_keys *k, enum ar_keys_kind kind, struct sm_str tag, unsigned flags)
{
	k->key = k->subdomain = k->rest = SM_STR("");
	k->parts = (struct ar_parts){.has_detail = false};
	k->kind = kind;
	k->flags = flags;
	k->tag = sm_str_head(tag, AR_KEY_MAX);
	k->step = k->form = 0;
	if (k->tag.n > 0)
		memcpy(k->text, k->tag.p, k->tag.n);
}

/* ---- domains ---- */

void ar_keys_domain(struct ar_keys *k, struct sm_str tag, struct sm_str domain, unsigned flags)
{
	start(k, AR_KEYS_OF_DOMAIN, tag, flags);
	k->parts.domain = domain;
}

/* Move rest and subdomain from a domain to its parent ".b.tld". False: there is none. */
static bool to_parent(struct ar_keys *k)
{
	struct sm_str domain = k->parts.domain;
	ptrdiff_t dot;

	if ((k->flags & AR_KEYS_EXACT) || (domain.n > 0 && domain.p[0] == '['))
		return false;
	/* What is left begins with its own dot, or is the whole. */
	dot = sm_str_chr(sm_str_from(k->rest, 1), '.');
	if (dot < 0 || (size_t)dot + 2 >= k->rest.n)
		return false;
	k->rest = sm_str_from(k->rest, (size_t)dot + 1);
	k->subdomain = sm_str_head(domain, domain.n - k->rest.n);
	return true;
}

static bool next_domain(struct ar_keys *k)
{
	enum { WHOLE, PARENTS, DEFAULT };

	if (k->step == WHOLE) {
		k->step = PARENTS;
		k->rest = k->parts.domain;
		if (k->rest.n > 0 && make_key(k, &k->rest, 1))
			return true;
	}
	while (k->step == PARENTS) {
		if (!to_parent(k))
			k->step = DEFAULT;
		else if (make_key(k, &k->rest, 1))
			return true;
	}
	if (!(k->flags & AR_KEYS_DEFAULT))
		return false;
	k->flags &= ~(unsigned)AR_KEYS_DEFAULT;
	k->subdomain = k->parts.domain;
	return make_key(k, &SM_STR("."), 1);
}

/* ---- addresses of the Internet ---- */

static int put_ipv6(const uint8_t *p, char *out, size_t size)
{
	int n = 0;

	for (size_t i = 0; i < 16; i += 2)
		n += snprintf(out + n, size - (size_t)n, "%s%x", i > 0 ? ":" : "",
		              (unsigned)(p[i] << 8 | p[i + 1]));
	return n;
}

void ar_keys_ip(struct ar_keys *k, struct sm_str tag, const struct sm_sa *sa, unsigned flags)
{
	const uint8_t *v4 = NULL;
	char text[64];
	int n = 0;

	start(k, AR_KEYS_OF_IP, tag, flags);
	if (sa->len > 0 && sa->u.sa.sa_family == AF_INET)
		v4 = (const uint8_t *)&sa->u.in4.sin_addr;
	else if (sa->len > 0 && sa->u.sa.sa_family == AF_INET6 &&
	         IN6_IS_ADDR_V4MAPPED(&sa->u.in6.sin6_addr))
		v4 = &sa->u.in6.sin6_addr.s6_addr[12];
	if (v4 != NULL)
		n = snprintf(text, sizeof(text), "%u.%u.%u.%u", v4[0], v4[1], v4[2], v4[3]);
	else if (sa->len > 0 && sa->u.sa.sa_family == AF_INET6)
		n = put_ipv6(sa->u.in6.sin6_addr.s6_addr, text, sizeof(text));
	if (n > 0 && make_key(k, &(struct sm_str){text, (size_t)n}, 1))
		k->rest = sm_str_from(k->key, k->tag.n);
}

/* A key is the former one without its last component. */
static bool next_ip(struct ar_keys *k)
{
	size_t n = k->rest.n;

	if (n == 0)
		return false;
	if (k->step > 0) {
		if (k->flags & AR_KEYS_EXACT)
			return false;
		while (n > 0 && k->rest.p[n - 1] != '.' && k->rest.p[n - 1] != ':')
			n--;
		if (n == 0)
			return false;
		k->rest.n = n - 1;
	}
	k->step = 1;
	k->text[k->tag.n + k->rest.n] = '\0';
	k->key = sm_str_n(k->text, k->tag.n + k->rest.n);
	return true;
}

/* ---- mail addresses ---- */

struct sm_str ar_address_key(struct sm_arena *a, struct sm_str address)
{
	ptrdiff_t at = sm_str_rchr(address, '@');
	struct sm_str local = sm_str_head(address, (size_t)(at + 1)), domain;
	char text[SM_DOMAIN_ASCII_SIZE], *p;

	domain = sm_str_from(address, local.n);
	/* What is no domain stays as it is: it equals nothing. */
	if (at >= 0 && !sm_str_is_ascii(domain))
		(void)!sm_domain_ascii(domain, text, &domain);
	p = sm_arena_must(a, local.n + domain.n + 1);
	sm_str_lower(local, p);
	sm_str_lower(domain, p + local.n);
	return sm_str_n(p, local.n + domain.n);
}

bool ar_key_ascii(struct sm_str key, char *out, struct sm_str *ascii, bool *other)
{
	ptrdiff_t at = sm_str_rchr(key, '@'), tag = sm_str_rchr(key, ':');
	size_t before = (size_t)((at >= 0 ? at : tag) + 1);
	struct sm_str domain = sm_str_from(key, before);
	char text[SM_DOMAIN_ASCII_SIZE];

	*other = at < 0;
	if (sm_str_is_ascii(domain) || sm_str_chr(domain, '.') < 0 ||
	    sm_domain_ascii(domain, text, &domain) != 0 || domain.n > AR_KEY_MAX - before)
		return false;
	sm_str_lower(sm_str_head(key, before), out);
	memcpy(out + before, domain.p, domain.n);
	out[before + domain.n] = '\0';
	*ascii = sm_str_n(out, before + domain.n);
	return true;
}

void ar_parts_of(struct sm_str mailbox, char delimiter, struct ar_parts *out)
{
	ptrdiff_t at = sm_str_rchr(mailbox, '@'), cut;

	*out = (struct ar_parts){.delimiter = delimiter};
	out->local = at < 0 ? mailbox : sm_str_head(mailbox, (size_t)at);
	out->domain = at < 0 ? SM_STR("") : sm_str_from(mailbox, (size_t)at + 1);
	out->user = out->local;
	out->detail = SM_STR("");
	/* A quoted string is one word, and a user has a name. */
	cut = sm_str_chr(out->local, delimiter);
	if (cut <= 0 || out->local.p[0] == '"')
		return;
	out->has_detail = true;
	out->user = sm_str_head(out->local, (size_t)cut);
	out->detail = sm_str_from(out->local, (size_t)cut + 1);
}

void ar_keys_address(struct ar_keys *k, struct sm_str tag, const struct ar_parts *parts,
                     unsigned flags)
{
	start(k, AR_KEYS_OF_ADDRESS, tag, flags);
	k->parts = *parts;
	k->rest = parts->domain;
}

/* Is there such a form, and which text stands before the "@"? */
static bool form_of(struct ar_keys *k, enum form form, struct sm_str out[3])
{
	const struct ar_parts *p = &k->parts;

	out[0] = p->user;
	out[1] = sm_str_n(&p->delimiter, 1);
	out[2] = SM_STR("");
	if (k->flags & AR_KEYS_EXACT) {
		out[0] = p->local;
		out[1] = SM_STR("");
		return form == FORM_VERBATIM;
	}
	switch (form) {
	case FORM_VERBATIM:
		out[2] = p->detail;
		return p->has_detail;
	case FORM_SOME_DETAIL:
		out[2] = SM_STR("+");
		return p->has_detail && p->detail.n > 0;
	case FORM_ANY_DETAIL:
		out[2] = SM_STR("*");
		return p->has_detail;
	case FORM_ANY:
		out[1] = SM_STR("*");
		return true;
	case FORM_USER:
		out[1] = SM_STR("");
		return !p->has_detail || (k->flags & AR_KEYS_IMPLICIT_DETAIL) != 0;
	case FORM_DOMAIN:
		out[0] = out[1] = SM_STR("");
		return true;
	case FORM_END:
		break;
	}
	return false;
}

static bool next_form(struct ar_keys *k, bool with_domain)
{
	struct sm_str pieces[5];
	enum form end = with_domain ? FORM_END : FORM_DOMAIN;

	pieces[3] = SM_STR("@");
	pieces[4] = k->rest;
	while (k->form < end)
		if (form_of(k, (enum form)k->form++, pieces) &&
		    make_key(k, pieces, with_domain ? 5 : 3))
			return true;
	return false;
}

static bool next_address(struct ar_keys *k)
{
	enum { WITH_DOMAIN, LOCALPART, END };

	if (k->step == WITH_DOMAIN &&
	    (k->parts.domain.n == 0 || (k->flags & AR_KEYS_LOCALPART_ONLY)))
		k->step = LOCALPART;
	while (k->step == WITH_DOMAIN) {
		if (next_form(k, true))
			return true;
		k->form = 0;
		if (!to_parent(k)) {
			k->step = LOCALPART;
			k->subdomain = SM_STR("");
		}
	}
	if (k->step == LOCALPART) {
		/* The first key only: that was the one with the domain, if it has one. */
		if ((k->flags & AR_KEYS_EXACT) && k->parts.domain.n > 0 &&
		    !(k->flags & AR_KEYS_LOCALPART_ONLY))
			k->step = END;
		else if (!(k->flags & (AR_KEYS_LOCALPART | AR_KEYS_LOCALPART_ONLY)))
			k->step = END;
		else if (next_form(k, false))
			return true;
		k->step = END;
	}
	return false;
}

/* ---- words ---- */

void ar_keys_word(struct ar_keys *k, struct sm_str tag, struct sm_str word)
{
	start(k, AR_KEYS_OF_WORD, tag, AR_KEYS_EXACT);
	k->rest = word;
}

static bool next_word(struct ar_keys *k)
{
	return k->step++ == 0 && make_key(k, &k->rest, 1);
}

bool ar_keys_next(struct ar_keys *k)
{
	switch (k->kind) {
	case AR_KEYS_OF_DOMAIN:
		return next_domain(k);
	case AR_KEYS_OF_IP:
		return next_ip(k);
	case AR_KEYS_OF_ADDRESS:
		return next_address(k);
	case AR_KEYS_OF_WORD:
		return next_word(k);
	}
	return false;
}
