/*
 * AUTH (RFC 4954) as the other files of smtps see it: what a session has become by it. The dialogue
 * is in cmd_auth.c, what a mechanism does in sasl.c, how often it may be tried in authlimit.c.
 */
#ifndef SS_AUTH_H
#define SS_AUTH_H

#include "libsm/buf.h"

struct ss_session;

enum { SS_AUTH_USER_MAX = 255 };

/* What a session knows of its client by AUTH; in struct ss_session. */
struct ss_auth {
	bool done;           /* it has authenticated; holds until STARTTLS or the end */
	struct sm_str mech;  /* upper case; in the session's arena, as user */
	struct sm_str user;  /* as whom it acts; never empty when done; any bytes but NUL */
	bool relayed_before; /* who.may_relay before AUTH gave it */
	int code_before;     /* conn_code that it has made void; 0: none */
	unsigned failures;   /* of this session; STARTTLS does not undo them */
};

/* Is AUTH configured for this session, and possible in this process? */
bool ss_auth_on(const struct ss_session *s);
/* "AUTH PLAIN LOGIN\n" for EHLO: what there is for this session now; nothing when there is none. */
void ss_auth_offer(struct ss_session *s, struct sm_buf *b);
/* STARTTLS: who the client was in clear is forgotten, with the right to relay that it earned. */
void ss_auth_forget(struct ss_session *s);
/* Is this the beginning of an AUTH command? Its line may be longer than others (RFC 4954 4). */
bool ss_auth_begins(struct sm_str input);
/* Longest line of the exchange, with its CRLF (RFC 4954 4.2 and 9). */
#define SS_AUTH_LINE_MAX 12288

#endif
