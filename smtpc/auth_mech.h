/*
 * Mechanisms of AUTH, the client's side: which there are, which one is taken, what is said in turn.
 *
 * PLAIN (RFC 4616), LOGIN, OAUTHBEARER (RFC 7628) and XOAUTH2 are said here; SCRAM-SHA-1 and
 * SCRAM-SHA-256 (RFC 5802, 7677) by Cyrus SASL (sasl.h).
 */
#ifndef SC_AUTH_MECH_H
#define SC_AUTH_MECH_H

#include "libsm/buf.h"
#include "smtpc/server_conf.h"

enum sc_mech_kind {
	SC_MECH_PLAIN,
	SC_MECH_LOGIN,
	SC_MECH_OAUTHBEARER,
	SC_MECH_XOAUTH2,
	SC_MECH_SASL
};
struct sc_mech {
	const char *name;
	enum sc_mech_kind kind;
	bool readable; /* who listens learns what it needs to be us */
	bool token;    /* OAuth 2.0, not a password */
};

/*
 * The mechanism for a server that offers `offered` (words). NULL: none, and *why tells the operator
 * what is in the way (static). Pure but for what Cyrus SASL has.
 */
const struct sc_mech *sc_mech_choose(const struct sc_server_conf *c, struct sm_str offered,
                                     bool tls, const char **why);

/*
 * What a mechanism that is not SASL's says: `step` 0 is the initial response. Appends bytes, not
 * base64. 0; SM_E_EOF: nothing (LOGIN begins with the server); SM_E_PROTO: it is not our turn.
 * `token` is that of OAuth 2.0, `host` and `port` where we are.
 */
struct sc_mech_where {
	struct sm_str token, host;
	unsigned port;
};
int sc_mech_say(const struct sc_mech *m, const struct sc_credentials *c,
                const struct sc_mech_where *where, unsigned step, struct sm_buf *out) SM_MUST_CHECK;

/* A SCRAM challenge that would keep us calculating: more rounds of hashing than anybody asks for.
 * Pure. */
bool sc_mech_is_hard(struct sm_str challenge);

#endif
