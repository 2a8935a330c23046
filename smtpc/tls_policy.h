/*
 * What is required of TLS with a server: by the configuration, by what the access map says of the
 * server, by what it says of the recipients. Pure.
 *
 *   none      no TLS, even if it is offered
 *   may       TLS when it is offered; whoever the server is, and in clear when it does not work
 *   encrypt   TLS, with whomever
 *   verify    TLS, with a certificate that leads to a CA and names the server
 */
#ifndef SC_TLS_POLICY_H
#define SC_TLS_POLICY_H

#include "libsm/conf.h"
#include "libsm/tls.h"

enum sc_tls_level { SC_TLS_UNSET, SC_TLS_NONE, SC_TLS_MAY, SC_TLS_ENCRYPT, SC_TLS_VERIFY };
/* What becomes of the mail when a server does not do what is required. */
enum sc_tls_violation {
	SC_VIOLATION_UNSET,
	SC_VIOLATION_TEMPORARY, /* other servers are tried, then it waits */
	SC_VIOLATION_PERMANENT, /* other servers are tried, then it fails */
	SC_VIOLATION_ABORT      /* the connection is cut, no other server is tried, it waits */
};

/* Zeroed: nothing is required. Bound by sc_tls_policy_opts. */
struct sc_tls_policy {
	int level;       /* enum sc_tls_level */
	int violation;   /* enum sc_tls_violation */
	int min_version; /* enum sm_tls_version */
	int64_t min_bits;
	struct sm_conf_list names;     /* any of these in the certificate; empty: the server's */
	struct sm_str issuer, subject; /* as sm_tls_facts; empty: any */
};
extern const struct sm_opt sc_tls_policy_opts[];
extern const struct sm_word sc_tls_level_words[];

/* What was written, completed: requirements without a level have the one that they need.
 * SM_E_SYNTAX: they contradict each other. */
int sc_tls_policy_settle(struct sc_tls_policy *p) SM_MUST_CHECK;

/* Both together. What says more counts: the higher level, version and number of bits; names, issuer
 * and subject of `rcpt` replace those of `server`, as does its violation. */
struct sc_tls_policy sc_tls_policy_join(const struct sc_tls_policy *server,
                                        const struct sc_tls_policy *rcpt);

/*
 * Does a session fulfil it? `facts` NULL: it is in clear. True; or false, and `why` tells what is
 * missing, an enhanced code without its class in front ("7.5 ...").
 */
bool sc_tls_policy_fulfilled(const struct sc_tls_policy *p, const struct sm_tls_facts *facts,
                             char *why, size_t size) SM_MUST_CHECK;

#endif
