/*
 * The mechanisms. Invariant: one that lets a listener be us is not chosen without TLS, unless the
 * configuration of the server says so. Pure; any thread.
 */
#include "smtpc/auth_mech.h"

#include "smtpc/sasl.h"

enum { ROUNDS_MAX = 1000 * 1000 };

/* The best first. */
static const struct sc_mech mechs[] = {
    {"SCRAM-SHA-256", SC_MECH_SASL, false, false},
    {"SCRAM-SHA-1", SC_MECH_SASL, false, false},
    {"OAUTHBEARER", SC_MECH_OAUTHBEARER, true, true},
    {"XOAUTH2", SC_MECH_XOAUTH2, true, true},
    {"PLAIN", SC_MECH_PLAIN, true, false},
    {"LOGIN", SC_MECH_LOGIN, true, false},
};

static bool is_offered(struct sm_str offered, const char *name)
{
	struct sm_str word;

	while ((word = sm_str_word(&offered)).n > 0)
		if (sm_str_caseeq(word, sm_str(name)))
			return true;
	return false;
}

static bool has_secret(const struct sc_credentials *c, const struct sc_mech *m)
{
	return m->token ? c->token.n > 0 || c->token_file.n > 0 : c->password.n > 0;
}

static bool can(const struct sc_server_conf *c, const struct sc_mech *m, struct sm_str offered,
                bool tls, const char **why)
{
	if (!is_offered(offered, m->name) || !has_secret(&c->credentials, m))
		return false;
	if (m->kind == SC_MECH_SASL && !sc_sasl_has(sm_str(m->name))) {
		*why = "the mechanism is missing in Cyrus SASL";
		return false;
	}
	if (m->readable && !tls && !c->auth.clear_text) {
		*why = "it would be readable, because there is no TLS";
		return false;
	}
	return true;
}

const struct sc_mech *sc_mech_choose(const struct sc_server_conf *c, struct sm_str offered,
                                     bool tls, const char **why)
{
	const struct sm_conf_list *wanted = &c->auth.mechanisms;

	*why = "server offers no mechanism that fits";
	for (size_t k = 0; k < wanted->count; k++)
		for (size_t i = 0; i < SM_ARRAY_SIZE(mechs); i++)
			if (sm_str_caseeq(wanted->v[k], sm_str(mechs[i].name)) &&
			    can(c, &mechs[i], offered, tls, why))
				return &mechs[i];
	for (size_t i = 0; wanted->count == 0 && i < SM_ARRAY_SIZE(mechs); i++)
		if (can(c, &mechs[i], offered, tls, why))
			return &mechs[i];
	return NULL;
}

/* ---- what is said ---- */

static struct sm_str identity(const struct sc_credentials *c)
{
	return c->authzid.n > 0 ? c->authzid : c->user;
}

/* message = [authzid] NUL authcid NUL passwd */
static void say_plain(const struct sc_credentials *c, struct sm_buf *out)
{
	sm_buf_str(out, c->authzid);
	sm_buf_char(out, '\0');
	sm_buf_str(out, c->user);
	sm_buf_char(out, '\0');
	sm_buf_str(out, c->password);
}

/* saslname: "," and "=" are written otherwise. */
static void put_saslname(struct sm_buf *out, struct sm_str s)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] == ',')
			sm_buf_cstr(out, "=2C");
		else if (s.p[i] == '=')
			sm_buf_cstr(out, "=3D");
		else
			sm_buf_char(out, s.p[i]);
	}
}

static void put_bearer(struct sm_buf *out, struct sm_str token)
{
	sm_buf_cstr(out, "\1auth=Bearer ");
	sm_buf_str(out, token);
	sm_buf_cstr(out, "\1\1");
}

static void say_oauthbearer(const struct sc_credentials *c, const struct sc_mech_where *w,
                            struct sm_buf *out)
{
	sm_buf_cstr(out, "n,a=");
	put_saslname(out, identity(c));
	sm_buf_cstr(out, ",\1host=");
	sm_buf_str(out, w->host);
	sm_buf_printf(out, "\1port=%u", w->port);
	put_bearer(out, w->token);
}

static void say_xoauth2(const struct sc_credentials *c, const struct sc_mech_where *w,
                        struct sm_buf *out)
{
	sm_buf_cstr(out, "user=");
	sm_buf_str(out, c->user);
	put_bearer(out, w->token);
}

static int say_login(const struct sc_credentials *c, unsigned step, struct sm_buf *out)
{
	if (step == 0)
		return SM_E_EOF;
	if (step > 2)
		return SM_E_PROTO;
	sm_buf_str(out, step == 1 ? c->user : c->password);
	return 0;
}

int sc_mech_say(const struct sc_mech *m, const struct sc_credentials *c,
                const struct sc_mech_where *where, unsigned step, struct sm_buf *out)
{
	if (m->kind == SC_MECH_LOGIN)
		return say_login(c, step, out);
	/* With a challenge the server tells why a token is bad; it waits for a word before it says
	 * no. */
	if (step == 1 && m->kind == SC_MECH_OAUTHBEARER)
		sm_buf_char(out, '\1');
	if (step == 1 && m->token)
		return 0;
	if (step > 0)
		return SM_E_PROTO;
	if (m->kind == SC_MECH_PLAIN)
		say_plain(c, out);
	else if (m->kind == SC_MECH_OAUTHBEARER)
		say_oauthbearer(c, where, out);
	else
		say_xoauth2(c, where, out);
	return 0;
}

/* server-first-message = [reserved-mext ","] nonce "," salt "," iteration-count ["," extensions] */
bool sc_mech_is_hard(struct sm_str challenge)
{
	do {
		struct sm_str attribute = sm_str_split(challenge, ',', &challenge);
		uint64_t rounds;

		if (sm_str_has_prefix(attribute, SM_STR("i=")) &&
		    sm_str_u64(sm_str_from(attribute, 2), 10, ROUNDS_MAX, &rounds) != 0)
			return true;
	} while (challenge.p != NULL);
	return false;
}
