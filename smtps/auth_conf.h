/* Configuration of AUTH: the section `auth { }` of smtps, filled by the table in auth_conf.c. */
#ifndef SS_AUTH_CONF_H
#define SS_AUTH_CONF_H

#include "libsm/conf.h"

/* flags: what Cyrus SASL calls security properties */
enum {
	SS_AUTH_NOPLAINTEXT = 1,
	SS_AUTH_NOACTIVE = 2,
	SS_AUTH_NODICTIONARY = 4,
	SS_AUTH_FORWARD_SECRECY = 8,
	SS_AUTH_NOANONYMOUS = 16,
	SS_AUTH_PASS_CREDENTIALS = 32,
	SS_AUTH_MUTUAL = 64,
};

struct ss_auth_conf {
	uint32_t flags;
	struct sm_conf_list mechs;   /* what may be offered */
	struct sm_conf_list trusted; /* what gives the right to relay */
	struct sm_str service;       /* empty: no AUTH */
	struct sm_str realm;         /* empty: the host's name */
	struct sm_str conf_dir;      /* where sendmail.conf of Cyrus SASL is */
	struct sm_conf_list paths;   /* what plugins read while the server runs */
	int64_t timeout_ms, max_checks;

	/* Guessing: authlimit.h. */
	int64_t max_session, max_client, max_user; /* failures; 0: no limit, but for the session */
	int64_t delay_ms, max_delay_ms, window_ms, max_entries;
};
extern const struct sm_opt ss_auth_opts[];

static inline bool ss_auth_configured(const struct ss_auth_conf *c)
{
	return c->service.n > 0;
}
/* Is the mechanism in the list? Case is folded. */
bool ss_auth_mech_in(const struct sm_conf_list *list, struct sm_str mech);
/* A name as RFC 4422 3.1 has it: 1 to 20 of A-Z, 0-9, "-", "_"; case is folded here. */
bool ss_auth_mech_valid(struct sm_str mech);
/* What the table cannot say; `io_threads`: helpers of the process. SM_E_RANGE, SM_E_SYNTAX. */
int ss_auth_conf_check(const struct ss_auth_conf *c, int64_t io_threads) SM_MUST_CHECK;

#endif
