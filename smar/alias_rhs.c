/*
 * The text of aliases and lists.
 *
 * The text is cut into words before macros are replaced, and a word becomes one address or none:
 * nothing that a client writes into a recipient can add a member, a domain or an include. Pure; any
 * thread.
 */
#include "smar/alias_rhs.h"

#include "libsm/addr.h"
#include "libsm/err.h"

struct parse {
	const struct ar_rhs_how *how;
	struct sm_arena *a;
	struct ar_members *out;
	bool may_include;
	size_t words; /* members of this text, with and without brackets */
	bool bare;    /* one was without */
};

static const struct sm_str include_prefix = SM_STR(":include:");

/* ---- members ---- */

int ar_members_add(struct ar_members *m, const struct ar_member *member,
                   const struct ar_rhs_how *how, struct sm_arena *a)
{
	if (m->count >= how->max_members)
		return sm_fail(SM_E_TOOBIG, "more than %zu members", how->max_members);
	if (m->count == m->cap) {
		size_t cap = m->cap > 0 ? 2 * m->cap : 8;
		struct ar_member *v = sm_arena_must(a, cap * sizeof(*v));

		if (m->count > 0)
			memcpy(v, m->v, m->count * sizeof(*v));
		m->v = v;
		m->cap = cap;
	}
	m->v[m->count++] = *member;
	return 0;
}

static int add(struct parse *p, enum ar_member_kind kind, struct sm_str text)
{
	const struct ar_member m = {.kind = kind, .text = text};

	return ar_members_add(p->out, &m, p->how, p->a);
}

/* ":include:" is taken off already. */
static int add_include(struct parse *p, struct sm_str name)
{
	struct sm_str rest = name, segment;

	if (!p->may_include)
		return sm_fail(SM_E_SYNTAX, "a list cannot include another one; name both in the "
		                            "alias");
	if (name.n == 0)
		return sm_fail(SM_E_SYNTAX, "no name behind :include:");
	if (name.n > AR_INCLUDE_NAME_MAX)
		return sm_fail(SM_E_SYNTAX, "name of a list is longer than %d",
		               AR_INCLUDE_NAME_MAX);
	if (name.p[0] == '/')
		return sm_fail(SM_E_SYNTAX,
		               ":include:" SM_STR_FMT ": names begin below the option "
		               "aliases.include_directory, without \"/\"",
		               SM_STR_ARG(sm_str_head(name, 100)));
	if (p->how->macros != NULL && ar_macro_any(name))
		return sm_fail(SM_E_SYNTAX, "no macros in the name of a list");
	for (size_t i = 0; i < name.n; i++)
		if (name.p[i] <= ' ' || name.p[i] > '~')
			return sm_fail(SM_E_SYNTAX, "unexpected character 0x%02x in name of a list",
			               (unsigned char)name.p[i]);
	/* Neither "." nor "..", nor what editors leave behind. */
	do {
		segment = sm_str_split(rest, '/', &rest);
		if (segment.n == 0 || segment.p[0] == '.')
			return sm_fail(SM_E_SYNTAX,
			               ":include:" SM_STR_FMT ": no part of a name is empty or "
			               "begins with a dot",
			               SM_STR_ARG(sm_str_head(name, 100)));
	} while (rest.p != NULL);
	return add(p, AR_MEMBER_INCLUDE, sm_arena_str(p->a, name));
}

/* What people write who know other aliases. */
static int foreign(struct sm_str w)
{
	struct sm_str inner = w.p[0] == '"' ? sm_str_from(w, 1) : w;
	char first = inner.n > 0 ? inner.p[0] : '\0';

	if (first == '|' || first == '/')
		return sm_fail(SM_E_SYNTAX, "mail is not delivered to programs and files here, "
		                            "but to addresses");
	if (w.p[0] == '\\')
		return sm_fail(SM_E_SYNTAX,
		               "no \"\\\" here: an alias that names itself ends there");
	if (w.p[0] == '"')
		return sm_fail(SM_E_SYNTAX, "quotes belong into an address in <>: "
		                            "<\"John Doe\"@example.org>");
	return 0;
}

static int comma(void)
{
	return sm_fail(SM_E_SYNTAX, "no commas: addresses stand in <> and are separated by blanks, "
	                            "<one@example.org> <two@example.org>");
}

/* One address, with or without domain; brackets are taken off already. */
static int add_address(struct parse *p, struct sm_str w, bool bare)
{
	bool qualified = sm_str_chr(w, '@') >= 0;
	bool made = p->how->macros != NULL && ar_macro_any(w);
	struct sm_str text = w;
	struct sm_addr addr;
	int rc;

	if (!qualified && !bare && !sm_str_caseeq(w, SM_STR("postmaster")))
		return sm_fail(SM_E_SYNTAX, "<" SM_STR_FMT ">: address without domain",
		               SM_STR_ARG(sm_str_head(w, 100)));
	if (made) {
		rc = ar_macro_replace(w, p->how->macros, p->a, &text);
		if (rc != 0)
			return rc == SM_E_TOOBIG ? SM_E_RANGE : rc;
	}
	if (!qualified)
		text = sm_arena_printf(p->a, SM_STR_FMT "@" SM_STR_FMT, SM_STR_ARG(text),
		                       SM_STR_ARG(p->how->domain));
	rc = sm_addr_mailbox(text, p->a, &addr);
	if (rc == 0 && addr.domain.n == 0)
		rc = sm_fail(SM_E_SYNTAX, "address without domain");
	if (rc != 0)
		return sm_fail_in(made ? SM_E_RANGE : SM_E_SYNTAX, "\"" SM_STR_FMT "\"",
		                  SM_STR_ARG(sm_str_head(text, 100)));
	return add(p, AR_MEMBER_ADDRESS, addr.mailbox);
}

/* ---- words ---- */

/* How long the address in brackets at the start of `s` is, with them; 0: not closed. */
static size_t bracket(struct sm_str s)
{
	bool quoted = false;

	for (size_t i = 1; i < s.n; i++) {
		if (quoted && s.p[i] == '\\')
			i++;
		else if (s.p[i] == '"')
			quoted = !quoted;
		else if (s.p[i] == '>' && !quoted)
			return i + 1;
	}
	return 0;
}

/* The next member of *text, which begins with no blank. */
static int member(struct parse *p, struct sm_str *text)
{
	struct sm_str w;
	int rc;

	if (text->p[0] == '<') {
		size_t n = bracket(*text);

		if (n == 0)
			return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\": no \">\"",
			               SM_STR_ARG(sm_str_head(*text, 100)));
		w = sm_str_n(text->p + 1, n - 2);
		*text = sm_str_from(*text, n);
		if (text->n > 0 && text->p[0] == ',')
			return comma();
		if (text->n > 0 && text->p[0] != ' ' && text->p[0] != '\t')
			return sm_fail(SM_E_SYNTAX, "no blank behind <" SM_STR_FMT ">",
			               SM_STR_ARG(sm_str_head(w, 100)));
		return add_address(p, w, false);
	}
	rc = foreign(*text);
	if (rc != 0)
		return rc;
	w = sm_str_word(text);
	if (sm_str_chr(w, ',') >= 0)
		return comma();
	if (sm_str_has_caseprefix(w, include_prefix))
		return add_include(p, sm_str_from(w, include_prefix.n));
	if (sm_str_caseeq(w, SM_STR("local:")) || sm_str_caseeq(w, SM_STR("verp:")))
		return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is not possible here",
		               SM_STR_ARG(w));
	p->bare = true;
	return add_address(p, w, true);
}

static int members(struct parse *p, struct sm_str text)
{
	int rc = 0;

	p->words = 0;
	p->bare = false;
	for (text = sm_str_trim(text); rc == 0 && text.n > 0; text = sm_str_trim(text)) {
		if (p->words > 0 && text.p[0] == '#')
			return sm_fail(SM_E_SYNTAX, "a comment stands on a line of its own");
		rc = member(p, &text);
		p->words++;
		if (rc == 0 && p->bare && p->words > 1)
			rc = sm_fail(SM_E_SYNTAX, "of several addresses each stands in <>, with "
			                          "its domain");
	}
	return rc;
}

int ar_rhs_parse(struct sm_str text, const struct ar_rhs_how *how, struct sm_arena *a,
                 struct ar_rhs *out)
{
	struct parse p = {.how = how, .a = a, .out = &out->members, .may_include = true};
	struct sm_str rest = sm_str_trim(text), first;
	int rc;

	*out = (struct ar_rhs){.local = false};
	first = sm_str_word(&rest);
	if (sm_str_caseeq(first, SM_STR("local:"))) {
		if (sm_str_trim(rest).n > 0)
			return sm_fail(SM_E_SYNTAX,
			               "\"local:\" stands alone; an alias that names itself "
			               "delivers there, too");
		out->local = true;
		return 0;
	}
	if (sm_str_caseeq(first, SM_STR("verp:"))) {
		out->verp = true;
		text = rest;
	}
	rc = members(&p, text);
	if (rc == 0 && out->members.count == 0)
		rc = sm_fail(SM_E_SYNTAX, "no address");
	return rc;
}

int ar_include_parse(const char *name, struct sm_str text, const struct ar_rhs_how *how,
                     struct sm_arena *a, struct ar_members *out)
{
	const struct ar_rhs_how plain = {.domain = how->domain, .max_members = how->max_members};
	struct parse p = {.how = &plain, .a = a, .out = out};
	struct sm_str line;
	int number = 0, rc = 0;

	while (rc == 0 && text.n > 0) {
		line = sm_str_split(text, '\n', &text);
		number++;
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		for (size_t i = 0; i < line.n; i++)
			if (line.p[i] == '#' &&
			    (i == 0 || line.p[i - 1] == ' ' || line.p[i - 1] == '\t'))
				line.n = i;
		rc = line.n > AR_INCLUDE_LINE_MAX ? sm_fail(SM_E_SYNTAX, "line too long")
		                                  : members(&p, line);
	}
	if (rc != 0)
		rc = sm_fail_in(rc, "%s:%d", name, number);
	return rc;
}

int ar_rhs_check(struct sm_str text, bool macros)
{
	const struct ar_macros any = {.parts = {.local = SM_STR("user+detail"),
	                                        .user = SM_STR("user"),
	                                        .detail = SM_STR("detail"),
	                                        .domain = SM_STR("sub.example.org"),
	                                        .has_detail = true,
	                                        .delimiter = '+'},
	                              .subdomain = SM_STR("sub"),
	                              .tag = SM_STR("")};
	const struct ar_rhs_how how = {.macros = macros ? &any : NULL,
	                               .domain = SM_STR("example.org"),
	                               .max_members = SIZE_MAX};
	struct sm_arena a;
	struct ar_rhs rhs;
	int rc;

	/* What is made is bounded by the text. */
	sm_arena_init(&a, "rhs", 4096, SIZE_MAX / 8);
	rc = ar_rhs_parse(text, &how, &a, &rhs);
	sm_arena_fini(&a);
	return rc == SM_E_RANGE ? SM_E_SYNTAX : rc;
}
