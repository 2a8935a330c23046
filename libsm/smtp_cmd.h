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

/* One "keyword[=value]" of MAIL or RCPT (esmtp-param). The next one from *s: 1 and *key,*value
 * (value p NULL: no "="), 0: no more, SM_E_SYNTAX. */
int sm_smtp_param_next(struct sm_str *s, struct sm_str *key, struct sm_str *value) SM_MUST_CHECK;

/* "FROM:" path params / "TO:" path params: checks the keyword (case folded; white space behind the
 * colon is tolerated), parses the path; *params is what follows it. */
int sm_smtp_from_to(struct sm_str arg, struct sm_str keyword, unsigned addr_flags,
                    struct sm_arena *a, struct sm_addr *out, struct sm_str *params) SM_MUST_CHECK;

/* RFC 3461 xtext: decoded into the arena; SM_E_SYNTAX when malformed or when the decoded text has
 * anything but printable ASCII. */
int sm_xtext_decode(struct sm_str s, struct sm_arena *a, struct sm_str *out) SM_MUST_CHECK;

#endif
