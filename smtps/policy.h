/*
 * May this recipient be accepted? Pure: from what smar said, what the session may, what is still to
 * be said of connection and sender, and what the configuration lists.
 */
#ifndef SS_POLICY_H
#define SS_POLICY_H

#include "smtps/reply.h"

struct ss_policy {
	int code;           /* smar's verdict on the recipient; 0: go on */
	bool local;         /* its domain is ours (mailertable: lmtp:) */
	bool map_relays;    /* the access map lets everybody relay to it */
	bool domain_listed; /* -T, relay_to */
	bool
	    session_may_relay; /* loopback on a trusting listener, or by the connection's verdict */
	bool local_needs_right; /* flag lmtp_does_not_imply_relaying */
	bool stored;    /* delay_checks: the connection or MAIL was rejected, and it was not said */
	bool overrides; /* the recipient's entry says quick:ok or quick:relay */
};

/* What to do with it. */
enum ss_policy_result {
	SS_POLICY_ACCEPT,
	SS_POLICY_NO_RELAY,
	SS_POLICY_SAY_VERDICT,
	SS_POLICY_SAY_STORED
};
enum ss_policy_result ss_policy_rcpt(const struct ss_policy *p);

/* May a session relay by where it comes from? */
bool ss_policy_local_session(bool client_is_loopback, bool flag, bool listener_listed);

#endif
