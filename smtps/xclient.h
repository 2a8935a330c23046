/*
 * XCLIENT, Postfix's extension by which a front end tells for whom it speaks.
 *
 *   "XCLIENT" 1*( SP attribute "=" value )       ; values are xtext (RFC 3461)
 */
#ifndef SS_XCLIENT_H
#define SS_XCLIENT_H

#include "libsm/arena.h"
#include "libsm/msg.h"
#include "libsm/net.h"

struct ss_xclient {
	struct sm_sa client;     /* ADDR and PORT: always there */
	enum sm_resolve resolve; /* NAME: OK, NO ([UNAVAILABLE]), TEMP_PTR ([TEMPUNAVAIL]); NONE:
	                            not given */
	struct sm_str name, helo, login; /* in the arena; empty: not given, or [UNAVAILABLE] */
	bool smtp;                       /* PROTO=SMTP */
	struct sm_sa server;             /* DESTADDR and DESTPORT; len 0: not given */
};
/* SM_E_SYNTAX: *what is the attribute, or "syntax". Pure. */
int ss_xclient_parse(struct sm_str arg, struct sm_arena *a, struct ss_xclient *out,
                     struct sm_str *what) SM_MUST_CHECK;

struct ss_session;
/* May this client say it, now? */
bool ss_xclient_on(const struct ss_session *s);
/* "XCLIENT NAME ADDR ...\n" for EHLO; nothing for anybody else. */
void ss_xclient_offer(const struct ss_session *s, struct sm_buf *b);

#endif
