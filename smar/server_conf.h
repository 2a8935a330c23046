/*
 * How smtpc is to treat a server, and what a recipient requires of whoever takes its mail: text of
 * the access map in the configuration language, which smtpc understands and smar does not, and
 * credentials of the map of server_auth.
 *
 *   smtpc_session_conf:  the name of a server with its port (a.b.tld:10024), its address with it
 *                        (1.2.3.4:10024 [2001:db8:0:0:0:0:0:1]:10024), its name and its parents
 *                        (a.b.tld .b.tld .tld), its address and networks (1.2.3.4 1.2.3 1.2 1)
 *   smtpc_rcpt_conf:     a recipient, as behind to:
 *   server_auth          as smtpc_session_conf:, without tag
 *
 * Secrets of server_auth are never logged. They lie in the arena of the request, which is wiped.
 */
#ifndef AR_SERVER_CONF_H
#define AR_SERVER_CONF_H

#include "libsm/msg.h"
#include "smar/address.h"

/* Fills the whole answer (strings in ctx->a or static): 0; SM_E_AGAIN, only without may_wait. A map
 * that fails is a temporary refusal. */
int ar_server_conf(const struct ar *ar, const struct ar_ctx *ctx,
                   const struct sm_msg_server_conf *m,
                   struct sm_msg_server_confd *out) SM_YIELDS SM_MUST_CHECK;
/* To a route that is OK: conf, and a key that only those with the same conf share. A map that fails
 * makes it a temporary failure. As above. */
int ar_rcpt_conf(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_address *rcpt,
                 struct sm_msg_route *route) SM_YIELDS SM_MUST_CHECK;

#endif
