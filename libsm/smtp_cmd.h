/*
 * Commands of RFC 5321 4.1.1 as they come from a client: verb, argument, ESMTP parameters.
 */
#ifndef SM_SMTP_CMD_H
#define SM_SMTP_CMD_H

#include "libsm/addr.h"

struct sm_smtp_cmd {
	struct sm_str verb; /* letters as given; compare by case folding */
	struct sm_str arg;  /* what follows one space, without trailing white space; empty: none */
};
/* SM_E_SYNTAX: no verb, or bytes outside of printable ASCII (8-bit and tabs are let through in
 * arguments). */
int sm_smtp_cmd_parse(struct sm_str line, struct sm_smtp_cmd *out) SM_MUST_CHECK;

/* The argument of BDAT, chunk-size [SP "LAST"] (RFC 3030 2). SM_E_SYNTAX; SM_E_RANGE: a number that
 * nobody can count to. */
int sm_smtp_bdat(struct sm_str arg, uint64_t *size, bool *last) SM_MUST_CHECK;

/* One "keyword[=value]" of MAIL or RCPT (esmtp-param); a value may have bytes above ASCII (RFC 6531
 * 3.3). The next one from *s: 1 and *key,*value
 * (value p NULL: no "="), 0: no more, SM_E_SYNTAX. */
int sm_smtp_param_next(struct sm_str *s, struct sm_str *key, struct sm_str *value) SM_MUST_CHECK;

/* "FROM:" path params / "TO:" path params: checks the keyword (case folded; white space behind the
 * colon is tolerated), parses the path; *params is what follows it. */
int sm_smtp_from_to(struct sm_str arg, struct sm_str keyword, unsigned addr_flags,
                    struct sm_arena *a, struct sm_addr *out, struct sm_str *params) SM_MUST_CHECK;

/* RFC 3461 xtext: decoded into the arena; SM_E_SYNTAX when malformed or when the decoded text has
 * anything but printable ASCII. */
int sm_xtext_decode(struct sm_str s, struct sm_arena *a, struct sm_str *out) SM_MUST_CHECK;
/* The same, and the text may be UTF-8 without controls: "rfc822;" addresses of some who do not know
 * RFC 6533. */
int sm_xtext_decode_utf8(struct sm_str s, struct sm_arena *a, struct sm_str *out) SM_MUST_CHECK;

/*
 * RFC 6533 3, what stands behind "utf-8;": utf-8-addr-xtext, or with `utf8` utf-8-addr-unitext.
 * Decoded into the arena; SM_E_SYNTAX when malformed or when the decoded text is not UTF-8 or has
 * controls.
 */
int sm_unitext_decode(struct sm_str s, bool utf8, struct sm_arena *a,
                      struct sm_str *out) SM_MUST_CHECK;
/* The other way: `s` (UTF-8) as utf-8-addr-xtext. */
struct sm_buf;
void sm_unitext_put(struct sm_buf *b, struct sm_str s);

#endif
