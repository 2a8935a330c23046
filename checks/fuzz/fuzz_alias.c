/*
 * Right hand sides of aliases and texts of lists. Input: mailbox, newline, right hand side,
 * newline, text of a list. Every member is an address that the one parser of addresses gives back
 * unchanged, or a name below the directory; and no mailbox changes how many there are, or of which
 * kind.
 */
#include "libsm/addr.h"
#include "libsm/err.h"
#include "libsm/rand.h"
#include "smar/alias_rhs.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

enum { MEMBERS_MAX = 1000 };

static void sound(const struct ar_members *m, bool may_include, struct sm_arena *a)
{
	struct sm_addr addr;

	sm_assert(m->count <= MEMBERS_MAX);
	for (size_t i = 0; i < m->count; i++) {
		struct sm_str s = m->v[i].text;

		if (m->v[i].kind == AR_MEMBER_ADDRESS) {
			sm_assert(sm_addr_mailbox(s, a, &addr) == 0);
			sm_assert(sm_str_eq(addr.mailbox, s) && addr.domain.n > 0);
			continue;
		}
		sm_assert(may_include && s.n > 0 && s.n <= AR_INCLUDE_NAME_MAX);
		sm_assert(s.p[0] != '/' && s.p[0] != '.' && s.p[s.n] == '\0');
		for (size_t k = 0; k + 1 < s.n; k++)
			sm_assert(s.p[k] != '/' || (s.p[k + 1] != '.' && s.p[k + 1] != '/'));
	}
}

/* What a map may hold is wrong for no address, and what is wrong for one because of how it is
 * written may not stand in a map. */
static void check_any(struct sm_str rhs, int parsed)
{
	int rc = ar_rhs_check(rhs, true);

	sm_assert(rc == 0 || rc == SM_E_SYNTAX);
	sm_assert(parsed != SM_E_SYNTAX || rc != 0);
	/* Without macros what looks like one is text. */
	(void)!ar_rhs_check(rhs, false);
}

static int parse(struct sm_str rhs, struct sm_str mailbox, struct sm_arena *a, struct ar_rhs *out)
{
	struct ar_macros m = {.subdomain = SM_STR("sub"), .tag = SM_STR("")};
	const struct ar_rhs_how how = {
	    .macros = &m, .domain = SM_STR("host.example"), .max_members = MEMBERS_MAX};

	int rc;

	ar_parts_of(mailbox, '+', &m.parts);
	rc = ar_rhs_parse(rhs, &how, a, out);
	check_any(rhs, rc);
	return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_str text = sm_str_n(p, n), mailbox, rhs;
	const struct ar_rhs_how how = {.domain = SM_STR("host.example"),
	                               .max_members = MEMBERS_MAX};
	struct ar_members list = {.count = 0};
	struct ar_rhs plain, out;
	struct sm_arena a;
	struct sm_addr addr;

	sm_arena_init(&a, "fuzz", 65536, SIZE_MAX / 8);
	mailbox = sm_str_split(text, '\n', &text);
	rhs = sm_str_split(text, '\n', &text);
	if (sm_addr_mailbox(mailbox, &a, &addr) == 0 && addr.domain.n > 0 &&
	    parse(rhs, addr.mailbox, &a, &out) == 0) {
		sound(&out.members, true, &a);
		sm_assert(!out.local || out.members.count == 0);
		/* The same with an address that has nothing strange in it. */
		if (parse(rhs, SM_STR("user+detail@sub.example.org"), &a, &plain) == 0) {
			sm_assert(plain.members.count == out.members.count &&
			          plain.local == out.local && plain.verp == out.verp);
			for (size_t i = 0; i < out.members.count; i++)
				sm_assert(plain.members.v[i].kind == out.members.v[i].kind);
		}
	}
	if (ar_include_parse("fuzz", text, &how, &a, &list) == 0)
		sound(&list, false, &a);
	sm_arena_fini(&a);
	return 0;
}
