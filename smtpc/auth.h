/*
 * AUTH with a server (RFC 4954), when smar has credentials for it.
 */
#ifndef SC_AUTH_H
#define SC_AUTH_H

#include "smtpc/server_conf.h"
#include "smtpc/session.h"

/*
 * After hello and TLS. 0: the session is authenticated, or does not have to be. Else *why tells
 * what failed; the session is broken unless the server can hear QUIT. Passwords and tokens go only
 * over TLS, or where the configuration of this server allows otherwise.
 */
int sc_auth(struct sc_session *s, const struct sc_server_conf *c, struct sm_id ta,
            struct sc_why *why) SM_YIELDS SM_MUST_CHECK;

#endif
