/*
 * STARTTLS with a server (RFC 3207), as far as is required and possible.
 */
#ifndef SC_STARTTLS_H
#define SC_STARTTLS_H

#include "smtpc/server_conf.h"
#include "smtpc/session.h"

/*
 * After the first hello; afterwards the session has said hello once more, inside of TLS, or nothing
 * was to be done. 0: what is required is fulfilled. SM_E_AGAIN: TLS failed where the connection may
 * as well be in clear: it is closed, and the address is remembered for another try. Else *why tells
 * what failed.
 *
 * Of a server that does not do what is required nothing is learnt of its address. `of_rcpt`: the
 * recipients have requirements of their own; then neither of one that is lost in the handshake.
 */
int sc_starttls(struct sc_session *s, const struct sc_server_conf *c, bool of_rcpt, struct sm_id ta,
                struct sc_why *why) SM_YIELDS SM_MUST_CHECK;

#endif
