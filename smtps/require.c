/*
 * The requirements of MAIL. Invariant: what is not known is not there: a fact that was not learnt
 * meets no requirement. Pure.
 */
#include "smtps/require.h"

#include "libsm/tls.h"

enum lack { NOTHING, ENCRYPTION, STRENGTH, CERTIFICATE };

static bool equal_or_any(struct sm_str wanted, struct sm_str have)
{
	return sm_str_empty(wanted) || sm_str_caseeq(wanted, have);
}

static enum lack tls_lacks(const struct ss_conf *c, const struct ss_safety *s)
{
	bool named = !sm_str_empty(c->require_tls.issuer) ||
	             !sm_str_empty(c->require_tls.subject) || !sm_str_empty(c->require_tls.name);
	bool verified = named || c->require_tls.level == SS_TLS_VERIFIED;
	bool encrypted =
	    verified || c->require_tls.level == SS_TLS_ENCRYPTED || c->require_tls.min_bits > 0;

	if (!encrypted)
		return NOTHING;
	if (!s->encrypted)
		return ENCRYPTION;
	if (s->bits < c->require_tls.min_bits)
		return STRENGTH;
	if (!verified)
		return NOTHING;
	if (!s->verified || !equal_or_any(c->require_tls.issuer, s->issuer) ||
	    !equal_or_any(c->require_tls.subject, s->subject))
		return CERTIFICATE;
	if (!sm_str_empty(c->require_tls.name) && !sm_tls_name_fits(c->require_tls.name, s->name))
		return CERTIFICATE;
	return NOTHING;
}

enum ss_reply_name ss_require(const struct ss_conf *c, const struct ss_safety *s)
{
	static const enum ss_reply_name replies[][3] = {
	    [ENCRYPTION] = {[SS_VIOLATION_PERM] = SS_R_TLS_FIRST,
	                    [SS_VIOLATION_TEMP] = SS_R_TLS_FIRST_TEMP,
	                    [SS_VIOLATION_ABORT] = SS_R_TLS_FIRST_ABORT},
	    [STRENGTH] = {[SS_VIOLATION_PERM] = SS_R_TLS_WEAK,
	                  [SS_VIOLATION_TEMP] = SS_R_TLS_WEAK_TEMP,
	                  [SS_VIOLATION_ABORT] = SS_R_TLS_WEAK_ABORT},
	    [CERTIFICATE] = {[SS_VIOLATION_PERM] = SS_R_TLS_CERT,
	                     [SS_VIOLATION_TEMP] = SS_R_TLS_CERT_TEMP,
	                     [SS_VIOLATION_ABORT] = SS_R_TLS_CERT_ABORT},
	};
	enum lack lack = tls_lacks(c, s);

	if (lack != NOTHING)
		return replies[lack][c->require_tls.violation];
	if ((c->flags & SS_F_SUBMISSION) && !s->may_relay && !s->authenticated && !s->verified)
		return SS_R_AUTH_FIRST;
	return SS_R_NONE;
}
