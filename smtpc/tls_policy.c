/* What is required of TLS. Invariant: joining never makes a requirement weaker. Pure; any thread.
 */
#include "smtpc/tls_policy.h"

#include <stdio.h>

#define AT(m) offsetof(struct sc_tls_policy, m)

/* clang-format off */
#define LEVELS \
    {"none", SC_TLS_NONE, "no TLS, even if it is offered"}, \
    {"may", SC_TLS_MAY, "TLS if it is offered and works"}, \
    {"encrypt", SC_TLS_ENCRYPT, "TLS, or no mail"}, \
    {"verify", SC_TLS_VERIFY, "TLS with a server whose certificate is right, or no mail"}, \
    {0}
const struct sm_word sc_tls_level_words[] = {LEVELS};
static const struct sm_word level_words[] = {
    {"default", SC_TLS_UNSET, "as is said elsewhere: what else is required, then smtpc.tls_level"},
    LEVELS,
};
static const struct sm_word violation_words[] = {
    {"default", SC_VIOLATION_UNSET, "as is said elsewhere, else temporary"},
    {"temporary", SC_VIOLATION_TEMPORARY, "other servers of the destination are tried, then the mail waits"},
    {"permanent", SC_VIOLATION_PERMANENT, "other servers of the destination are tried, then the mail fails"},
    {"abort", SC_VIOLATION_ABORT, "the connection is cut, no other server is tried, and the mail waits"},
    {0},
};
static const struct sm_word version_words[] = {
    {"TLSv1", SM_TLS_1_0, "any"},
    {"TLSv1.1", SM_TLS_1_1, "1.1 and later"},
    {"TLSv1.2", SM_TLS_1_2, "1.2 and later"},
    {"TLSv1.3", SM_TLS_1_3, "1.3 and later"},
    {0},
};

const struct sm_opt sc_tls_policy_opts[] = {
    {.name = "level", .type = SM_OPT_ENUM, .offset = AT(level), .def = "default", .words = level_words, .session = true,
     .help = "how much TLS is required"},
    {.name = "violation", .type = SM_OPT_ENUM, .offset = AT(violation), .def = "default", .words = violation_words, .session = true,
     .help = "what becomes of mail when a server does not do what is required"},
    {.name = "min_version", .type = SM_OPT_ENUM, .offset = AT(min_version), .def = "TLSv1", .words = version_words,
     .session = true, .help = "the oldest version of TLS"},
    {.name = "min_bits", .type = SM_OPT_INT, .offset = AT(min_bits), .def = "0", .max = 512, .unit = "bits",
     .session = true, .help = "the shortest key of the cipher"},
    {.name = "names", .type = SM_OPT_LIST, .offset = AT(names), .def = "", .max = 100, .session = true,
     .help = "names of which one has to be in the certificate; none: the server's, as MX or mailertable have it"},
    {.name = "issuer", .type = SM_OPT_STR, .offset = AT(issuer), .def = "", .max = SM_TLS_DN_MAX, .session = true,
     .help = "who has to have signed the certificate, as the log shows it: /C=US/CN=Some+20CA"},
    {.name = "subject", .type = SM_OPT_STR, .offset = AT(subject), .def = "", .max = SM_TLS_DN_MAX, .session = true,
     .help = "whom the certificate has to be for, as the log shows it"},
    SM_OPT_END,
};
/* clang-format on */

int sc_tls_policy_settle(struct sc_tls_policy *p)
{
	int needed = SC_TLS_UNSET;

	if (p->min_bits > 0 || p->min_version > SM_TLS_1_0)
		needed = SC_TLS_ENCRYPT;
	if (p->names.count > 0 || p->issuer.n > 0 || p->subject.n > 0)
		needed = SC_TLS_VERIFY;
	if (p->level == SC_TLS_UNSET)
		p->level = needed;
	if (p->level < needed)
		return sm_fail(SM_E_SYNTAX, "tls: what is required needs level %s",
		               needed == SC_TLS_VERIFY ? "verify" : "encrypt");
	return 0;
}

struct sc_tls_policy sc_tls_policy_join(const struct sc_tls_policy *server,
                                        const struct sc_tls_policy *rcpt)
{
	struct sc_tls_policy p = *server;

	/* That somebody would like TLS does not help a server that is known to be bad at it. */
	if (rcpt->level >= SC_TLS_ENCRYPT)
		p.level = SM_MAX(p.level, rcpt->level);
	p.min_version = SM_MAX(p.min_version, rcpt->min_version);
	p.min_bits = SM_MAX(p.min_bits, rcpt->min_bits);
	if (rcpt->names.count > 0)
		p.names = rcpt->names;
	if (rcpt->issuer.n > 0)
		p.issuer = rcpt->issuer;
	if (rcpt->subject.n > 0)
		p.subject = rcpt->subject;
	if (rcpt->violation != SC_VIOLATION_UNSET)
		p.violation = rcpt->violation;
	return p;
}

/* "TLSv1.2" is the third; what is older than the first has another name. */
static int version_of(const char *protocol)
{
	for (const struct sm_word *w = version_words; w->word != NULL; w++)
		if (strcmp(w->word, protocol) == 0)
			return (int)w->value;
	return -1;
}

static bool verified(const struct sc_tls_policy *p, const struct sm_tls_facts *f, char *why,
                     size_t size)
{
	const char *fault = NULL;

	if (f->verify == SM_TLS_NO_CERT || f->verify == SM_TLS_NONE)
		fault = "server shows no certificate";
	else if (f->verify != SM_TLS_OK)
		fault = f->verify_text[0] != '\0' ? f->verify_text : "it is not valid";
	else if (p->issuer.n > 0 && !sm_str_eq(p->issuer, f->issuer))
		fault = "it is signed by somebody else";
	else if (p->subject.n > 0 && !sm_str_eq(p->subject, f->subject))
		fault = "it is for somebody else";
	if (fault != NULL)
		(void)snprintf(why, size, "7.5 certificate of the server: %s", fault);
	return fault == NULL;
}

bool sc_tls_policy_fulfilled(const struct sc_tls_policy *p, const struct sm_tls_facts *facts,
                             char *why, size_t size)
{
	if (p->level < SC_TLS_ENCRYPT)
		return true;
	if (facts == NULL) {
		(void)snprintf(why, size, "7.4 TLS is required, but the connection has none");
		return false;
	}
	if (version_of(facts->protocol) < p->min_version) {
		(void)snprintf(why, size, "7.5 %s is older than what is required", facts->protocol);
		return false;
	}
	if (facts->bits < p->min_bits) {
		(void)snprintf(why, size, "7.5 %s has %d bits, %d are required", facts->cipher,
		               facts->bits, (int)p->min_bits);
		return false;
	}
	return p->level < SC_TLS_VERIFY || verified(p, facts, why, size);
}
