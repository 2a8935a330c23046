/*
 * The ESMTP parameters of MAIL and RCPT that smtps knows: SIZE (RFC 1870), BODY (RFC 6152, 3030),
 * RET, ENVID, NOTIFY, ORCPT (RFC 3461, 6533), SMTPUTF8 (RFC 6531). Pure.
 */
#ifndef SS_PARAMS_H
#define SS_PARAMS_H

#include "libsm/arena.h"
#include "smtps/conf.h"
#include "smtps/reply.h"

/* Views into the command line. */
struct ss_mail_params {
	uint64_t size; /* 0: not given */
	uint8_t body, ret;
	bool utf8;           /* SMTPUTF8 */
	struct sm_str envid; /* xtext as given */
	struct sm_str auth;  /* RFC 4954 5, xtext as given, or "<>"; empty: not given */
};
struct ss_rcpt_params {
	uint8_t notify;
	struct sm_str orcpt; /* "type;xtext" as given; "utf-8;" and what RFC 6533 3 has for it */
};
/* SS_R_NONE, SS_R_BAD_PARAM (syntax, value, twice), SS_R_UNKNOWN_PARAM, SS_R_SIZE_TOO_BIG; *what is
 * the keyword. `a` for scratch. `utf8`: the mail came with SMTPUTF8. */
enum ss_reply_name ss_mail_params(struct sm_str text, const struct ss_conf *c, struct sm_arena *a,
                                  struct ss_mail_params *out, struct sm_str *what);
enum ss_reply_name ss_rcpt_params(struct sm_str text, const struct ss_conf *c, bool utf8,
                                  struct sm_arena *a, struct ss_rcpt_params *out,
                                  struct sm_str *what);

#endif
