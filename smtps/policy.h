/*
 * What smar's verdicts mean for a session, and whether a recipient may be accepted. Pure: from what
 * smar said, what the session may, what is still to be said of connection and sender, and what the
 * configuration lists. smarctl decides by the same functions.
 */
#ifndef SS_POLICY_H
#define SS_POLICY_H

#include "smtps/conf.h"

struct ss_policy {
	int code;           /* smar's verdict on the recipient; 0: go on */
	bool local;         /* its domain is ours (mailertable: lmtp:) */
	bool on_demand;     /* mail for its domain waits for those who ask for it (smar) */
	bool map_relays;    /* the access map lets everybody relay to it */
	bool domain_listed; /* -T, relay_to */
	bool
	    session_may_relay; /* loopback on a trusting listener, or by the connection's verdict */
	bool local_needs_right; /* flag lmtp_does_not_imply_relaying, submission */
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

/* What a session is allowed. */
struct ss_standing {
	bool may_relay;   /* local client on a listener that trusts those, or by the connection's
	                     verdict */
	uint32_t verdict; /* SM_CHECK_SESSION_*: what the access map said of the connection */
	bool discard;     /* ... that whatever is sent shall vanish */
};
/* What the access map says of the connection (SM_VERDICT_*) holds for all of the session. */
void ss_policy_connection(const struct ss_conf *conf, uint32_t flags, struct ss_standing *who);
/* delay_checks: a rejection of connection or MAIL that is said at RCPT. */
bool ss_policy_later(const struct ss_conf *conf, int code, uint32_t flags);
/* delay_greylisting_error_until_DATA: this verdict on a recipient is said at DATA. */
bool ss_policy_grey_later(const struct ss_conf *conf, uint32_t flags);
/* Does the configuration list the domain of a recipient as one to relay to? */
bool ss_policy_listed(const struct ss_conf *conf, struct sm_str domain);
/* SM_CHECK_*: what smar has to know of listener and session. `listed`: the domain of the recipient;
 * false where it is asked about something else. */
uint32_t ss_policy_check_flags(const struct ss_conf *conf, const struct ss_standing *who,
                               bool listed, bool stored);
/* All there is to know about a recipient of which smar said `code` and `flags`. */
struct ss_policy ss_policy_of(const struct ss_conf *conf, const struct ss_standing *who, int code,
                              uint32_t flags, bool listed, bool stored);

/* May a session relay by where it comes from? */
bool ss_policy_local_session(bool client_is_loopback, bool flag, bool listener_listed);

#endif
