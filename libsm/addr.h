/*
 * Mail addresses: the one parser of RFC 5321 paths for all components, with what RFC 6531 adds.
 * Canonicalise, then validate, then never touch again.
 */
#ifndef SM_ADDR_H
#define SM_ADDR_H

#include "libsm/arena.h"

enum {
	SM_LOCALPART_MAX = 64,
	SM_DOMAIN_MAX = 255,
	SM_MAILBOX_MAX = SM_LOCALPART_MAX + 1 + SM_DOMAIN_MAX,
	SM_PATH_MAX = 256
};

struct sm_addr {
	struct sm_str mailbox; /* "local@domain" as to be sent; empty for <> */
	struct sm_str local;   /* part of mailbox */
	struct sm_str domain;  /* part of mailbox, ASCII in lower case; "[1.2.3.4]" or "[IPv6:...]"
	                          for a literal; empty for <> and bare <postmaster> */
	struct sm_str ascii_domain; /* by which it is compared (utf8.h): the same, unless it is in
	                               UTF-8 */
	bool literal;
};

enum {
	SM_ADDR_NULL_OK = 1 /* <> */,
	SM_ADDR_BARE_POSTMASTER_OK = 2, /* RFC 5321 4.5.1: <postmaster> */
	SM_ADDR_UTF8_OK = 4,            /* RFC 6531 3.3 */
	SM_ADDR_NO_DOMAIN_OK = 8        /* <user>: the caller puts a domain behind it */
};
/*
 * Parse `path` = "<" [ A-d-l ":" ] Mailbox ">" at the start of `in` (RFC 5321 4.1.2); a source
 * route is dropped (4.1.1.3: MUST accept, SHOULD ignore). *rest is what follows. Quoted local parts
 * that need no quotes lose them; domain folded to lower case, one trailing dot refused. Strings
 * live in the arena. SM_E_SYNTAX; SM_E_TOOBIG: local part > 64, domain > 255, label > 63, path >
 * 256 with its brackets; SM_E_NOTSUP: 8-bit (needs SMTPUTF8) without SM_ADDR_UTF8_OK. With it a
 * local part is any UTF-8 without controls, as it was given; a domain is one that has A-labels. The
 * diag says why.
 */
int sm_addr_path(struct sm_str in, unsigned flags, struct sm_arena *a, struct sm_addr *out,
                 struct sm_str *rest) SM_MUST_CHECK;
/* A mailbox without brackets, e.g. from a record or a map; UTF-8 is ok. */
int sm_addr_mailbox(struct sm_str in, struct sm_arena *a, struct sm_addr *out) SM_MUST_CHECK;

/* RFC 5321 Domain: LDH labels of 1..63, at most 255, no trailing dot, not all-numeric last label.
 * Underscores are let through with `loose`. */
bool sm_domain_valid(struct sm_str d, bool loose);
/* The same, or in UTF-8, with A-labels that are so. */
bool sm_domain_valid_utf8(struct sm_str d, bool loose);
/* "[1.2.3.4]" or "[IPv6:...]". */
bool sm_domain_literal_valid(struct sm_str d);
/* EHLO argument: strict = Domain or literal; loose = printable ASCII without space, up to 255. */
bool sm_helo_valid(struct sm_str arg, bool strict);

#endif
