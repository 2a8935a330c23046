/*
 * The right hand side of an alias, and the text of a list that it includes. Pure.
 *
 *   rhs     = "local:" / [ "verp:" blanks ] members
 *   members = word / member *( blanks member )
 *   member  = "<" address ">" / ":include:" name
 *   word    = address / local-part          ; without brackets only if it is alone
 *   name    = segment *( "/" segment )      ; below aliases.include_directory
 *
 * A local part alone gets the domain that `how` names, and so does <postmaster>. "verp:" means
 * something only in the entry of an owner (alias.h). The three words in front fold case.
 *
 * The text of a list: each line is `members` without ":include:", or empty. "#" at the start of a
 * line or behind a blank begins a comment.
 */
#ifndef AR_ALIAS_RHS_H
#define AR_ALIAS_RHS_H

#include "smar/macro.h"

enum { AR_INCLUDE_NAME_MAX = 250, AR_INCLUDE_LINE_MAX = 8192 };

enum ar_member_kind { AR_MEMBER_ADDRESS, AR_MEMBER_INCLUDE };
struct ar_member {
	enum ar_member_kind kind;
	struct sm_str text; /* as to be sent: local@domain, domain in lower case; or the name,
	                       NUL-terminated */
};
struct ar_members {
	struct ar_member *v; /* in the arena */
	size_t count, cap;
};
struct ar_rhs {
	bool local, verp;
	struct ar_members members;
};
struct ar_rhs_how {
	const struct ar_macros *macros; /* NULL: none are replaced */
	struct sm_str domain;           /* for what has none */
	size_t max_members;
};

/* Add one. SM_E_TOOBIG. */
int ar_members_add(struct ar_members *m, const struct ar_member *member,
                   const struct ar_rhs_how *how, struct sm_arena *a) SM_MUST_CHECK;
/*
 * SM_E_SYNTAX: it is wrong, whatever the address; the diag says what and what to write instead.
 * SM_E_RANGE: with this address its macros make no address. SM_E_TOOBIG: too many members.
 */
int ar_rhs_parse(struct sm_str text, const struct ar_rhs_how *how, struct sm_arena *a,
                 struct ar_rhs *out) SM_MUST_CHECK;
/* Add the members of a list to `out`. SM_E_SYNTAX with "name:line: what"; SM_E_TOOBIG. Macros are
 * not replaced in it. */
int ar_include_parse(const char *name, struct sm_str text, const struct ar_rhs_how *how,
                     struct sm_arena *a, struct ar_members *out) SM_MUST_CHECK;
/* For who makes or loads a map: is it right for any address? SM_E_SYNTAX as above. */
int ar_rhs_check(struct sm_str text, bool macros) SM_MUST_CHECK;

#endif
