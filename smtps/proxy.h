/*
 * The PROXY protocol of haproxy, versions 1 and 2: what a proxy says of the connection that it
 * passes on, before anything else comes.
 */
#ifndef SS_PROXY_H
#define SS_PROXY_H

#include "libsm/net.h"

/* Longest header that is taken; what comes behind the addresses of version 2 is of any size. */
enum { SS_PROXY_MAX = 8192 };

struct ss_proxy {
	bool told; /* false: LOCAL or UNKNOWN, the connection is the proxy's own */
	struct sm_sa client, server;
	size_t used; /* bytes of the header */
};
/*
 * The header at the beginning of `in`: 0; SM_E_AGAIN: all of it belongs to a header, and more has
 * to come; SM_E_SYNTAX, SM_E_TOOBIG with a diag: it is none. Pure.
 */
int ss_proxy_parse(struct sm_str in, struct ss_proxy *out) SM_MUST_CHECK;

struct ss_session;
/*
 * On a listener that is listed for it: take the header, and not a byte more, from the connection
 * and the client's address from it. False: the session is over, and it was logged. Before anything
 * is said, read, or asked of others, TLS included.
 */
bool ss_proxy(struct ss_session *s) SM_YIELDS;

#endif
