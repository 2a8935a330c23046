/*
 * What a session must be before it may say MAIL: on a submission server somebody (RFC 6409 4.3),
 * and as safe as require_tls wants it.
 */
#ifndef SS_REQUIRE_H
#define SS_REQUIRE_H

#include "smtps/conf.h"
#include "smtps/reply.h"

/* What is known of it. */
struct ss_safety {
	bool may_relay, authenticated;
	bool encrypted, verified; /* verified: its certificate leads to a CA of ours */
	int bits;                 /* of the cipher */
	struct sm_str issuer, subject,
	    name; /* of the certificate; encoded, as the access map has it */
};
/* SS_R_NONE, or what MAIL gets: a 421 ends the session. Pure. */
enum ss_reply_name ss_require(const struct ss_conf *c, const struct ss_safety *s);

#endif
