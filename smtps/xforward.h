/*
 * XFORWARD, Postfix's extension by which a filter, or another mail system of this site, tells who
 * first brought a mail and which id it has there (XFORWARD_README). It is for logs, and for whoever
 * is told next; it never gives a right, and no check is about it.
 *
 *   "XFORWARD" 1*( SP attribute "=" value )       ; attributes.h
 */
#ifndef SS_XFORWARD_H
#define SS_XFORWARD_H

#include "libsm/arena.h"
#include "libsm/net.h"

enum {
	SS_XFORWARD_MAX = 255,      /* bytes of a value, decoded */
	SS_XFORWARD_PROTO_MAX = 64, /* ... of PROTO */
};

/* What was told for the next transaction. Text is printable ASCII without what is special in a
 * header; empty: not told, or [UNAVAILABLE]. */
struct ss_xforward {
	struct sm_sa addr; /* without port; len 0: not told, so nobody else brought it there */
	uint16_t port;
	char name[SS_XFORWARD_MAX + 1], helo[SS_XFORWARD_MAX + 1], ident[SS_XFORWARD_MAX + 1];
	char proto[SS_XFORWARD_PROTO_MAX + 1];
	char source[sizeof("REMOTE")]; /* "LOCAL", "REMOTE" */
};
/* Takes what is told over into `x`; what is not told stays as it was. SM_E_SYNTAX: *what is the
 * attribute, or "syntax", and `x` is as before. Pure. */
int ss_xforward_parse(struct sm_str arg, struct sm_arena *scratch, struct ss_xforward *x,
                      struct sm_str *what) SM_MUST_CHECK;

struct ss_session;
struct sm_buf;
struct sm_msg_ta_commit;
/* May this client say it? */
bool ss_xforward_on(const struct ss_session *s);
/* "XFORWARD NAME ADDR ...\n" for EHLO; nothing for anybody else. */
void ss_xforward_offer(const struct ss_session *s, struct sm_buf *b);
/* The transaction has begun: its id there, and a line in the log. */
void ss_xforward_mail(struct ss_session *s);
/* The client of the transaction as qmgr is to know it, instead of the session's, if one was told:
 * nothing of the two is mixed. The strings are the session's. */
void ss_xforward_client(const struct ss_session *s, struct sm_msg_ta_commit *m);

#endif
