/*
 * From smar's answer to what a session has to do. Invariant: nothing of a credential is in a diag
 * or a log line, and all copies of it here are overwritten. Coroutines of the loop's thread.
 */
#include "smtpc/server_conf.h"

#include "libsm/log.h"
#include "smtpc/result.h"
#include "smtpc/sc.h"
#include "smtpc/session.h"

enum {
	TEXT_MAX = 8192,
	ARENA_FIRST = 4096,
	ARENA_MAX = 256 * 1024,
	ASK_MS = 60 * 1000, /* smar restarts, or waits for a map */
};

struct texts {
	struct sc_tls_policy tls;
	struct sc_auth_policy auth;
	int chunking;
};

#define TEXTS(m) offsetof(struct texts, m)
#define AUTH(m)  offsetof(struct sc_auth_policy, m)
#define CRED(m)  offsetof(struct sc_credentials, m)

/* clang-format off */
static const struct sm_word failure_words[] = {
    {"temporary", SC_AUTH_TEMPORARY, "the mail waits"},
    {"permanent", SC_AUTH_PERMANENT, "the mail fails"},
    {"ignore", SC_AUTH_IGNORE, "go on without"},
    {0},
};
static const struct sm_word chunking_words[] = {
    {"unset", SC_CHUNKING_UNSET, "as the section has it"},
    {"never", SC_CHUNKING_NEVER, "DATA is used; binary content is returned"},
    {"binary", SC_CHUNKING_BINARY, "for content that came with BODY=BINARYMIME"},
    {"offered", SC_CHUNKING_OFFERED, "wherever the server offers CHUNKING"},
    {0},
};
static const struct sm_opt auth_opts[] = {
    {.name = "mechanisms", .type = SM_OPT_LIST, .offset = AUTH(mechanisms), .def = "", .max = 20, .session = true,
     .help = "mechanisms to use, in this order; none: the best that is offered"},
    {.name = "clear_text", .type = SM_OPT_BOOL, .offset = AUTH(clear_text), .def = "off", .session = true,
     .help = "passwords and tokens may be sent without TLS"},
    {.name = "trusted", .type = SM_OPT_BOOL, .offset = AUTH(trusted), .def = "off", .session = true,
     .help = "tell the server who submitted the mail (AUTH= of MAIL)"},
    {.name = "failure", .type = SM_OPT_ENUM, .offset = AUTH(failure), .def = "temporary", .words = failure_words,
     .session = true, .help = "what becomes of mail when the server does not let us in"},
    SM_OPT_END,
};
static const struct sm_opt server_opts[] = {
    {.name = "tls", .type = SM_OPT_SECTION, .offset = TEXTS(tls), .sub = sc_tls_policy_opts, .session = true,
     .help = "what is required of TLS"},
    {.name = "auth", .type = SM_OPT_SECTION, .offset = TEXTS(auth), .sub = auth_opts, .session = true,
     .help = "how to log in"},
    {.name = "chunking", .type = SM_OPT_ENUM, .offset = TEXTS(chunking), .def = "unset", .words = chunking_words,
     .session = true, .help = "when content goes by BDAT"},
    SM_OPT_END,
};
/* Of a recipient: it does not log in. */
static const struct sm_opt rcpt_opts[] = {
    {.name = "tls", .type = SM_OPT_SECTION, .offset = TEXTS(tls), .sub = sc_tls_policy_opts, .session = true,
     .help = "what is required of TLS"},
    SM_OPT_END,
};
static const struct sm_opt credentials_opts[] = {
    {.name = "user", .type = SM_OPT_STR, .offset = CRED(user), .def = "", .max = 320, .session = true,
     .help = "who we are there"},
    {.name = "password", .type = SM_OPT_STR, .offset = CRED(password), .def = "", .max = 1000, .session = true,
     .help = "the password"},
    {.name = "authorization_id", .type = SM_OPT_STR, .offset = CRED(authzid), .def = "", .max = 320, .session = true,
     .help = "who we want to be there; empty: user"},
    {.name = "token", .type = SM_OPT_STR, .offset = CRED(token), .def = "", .max = 2000, .session = true,
     .help = "OAuth 2.0: the access token"},
    {.name = "token_file", .type = SM_OPT_STR, .offset = CRED(token_file), .def = "", .max = 1000, .session = true,
     .help = "OAuth 2.0: the file that has it; it is read each time"},
    SM_OPT_END,
};
/* clang-format on */

void sc_server_conf_init(struct sc_server_conf *c)
{
	*c = (struct sc_server_conf){0};
	sm_arena_init(&c->secret, "server", ARENA_FIRST, ARENA_MAX);
}

void sc_server_conf_fini(struct sc_server_conf *c)
{
	sm_arena_wipe(&c->secret);
	sm_arena_fini(&c->secret);
	*c = (struct sc_server_conf){0};
}

static int bind_text(const struct sm_opt *table, struct sm_arena *a, struct sm_str text,
                     const char *where, struct texts *out)
{
	int rc = 0;

	*out = (struct texts){0};
	sm_conf_defaults(table, out, a);
	if (text.n > 0)
		rc = sm_conf_bind_session(table, out, a, text, where);
	if (rc == 0)
		rc = sc_tls_policy_settle(&out->tls);
	return rc;
}

static int bind_credentials(struct sc_server_conf *c, struct sm_str text)
{
	struct sc_credentials *x = &c->credentials;
	int rc;

	if (text.n == 0)
		return 0;
	sm_conf_defaults(credentials_opts, x, &c->secret);
	rc = sm_conf_bind_session(credentials_opts, x, &c->secret, text, "server_auth");
	/* The diag may show what stands there. */
	if (rc != 0)
		return sm_fail(rc, "the entry of server_auth cannot be understood");
	if (x->user.n == 0 || (x->password.n == 0 && x->token.n == 0 && x->token_file.n == 0))
		return sm_fail(SM_E_SYNTAX, "the entry of server_auth needs user, and password, "
		                            "token or token_file");
	c->has_credentials = true;
	return 0;
}

int sc_server_conf_parse(struct sc_server_conf *c, int level, struct sm_str server,
                         struct sm_str rcpt, struct sm_str auth)
{
	struct texts of_server, of_rcpt;
	int rc = bind_text(server_opts, &c->secret, server, "smtpc_session_conf", &of_server);

	if (rc == 0)
		rc = bind_text(rcpt_opts, &c->secret, rcpt, "smtpc_rcpt_conf", &of_rcpt);
	if (rc == 0)
		rc = bind_credentials(c, auth);
	if (rc != 0)
		return rc;
	c->tls = of_server.tls;
	if (c->tls.level == SC_TLS_UNSET)
		c->tls.level = level;
	c->joined = sc_tls_policy_join(&c->tls, &of_rcpt.tls);
	c->auth = of_server.auth;
	c->chunking = of_server.chunking;
	return 0;
}

/* Trouble of our own: it says nothing of the host, and nobody is told "no" for it. */
static int trouble(struct sc_why *why, int rc, const char *text)
{
	if (rc == SM_E_CANCEL) {
		sc_why_error(why, SM_STAGE_LOCAL, rc);
		return rc;
	}
	*why = (struct sc_why){.stage = SM_STAGE_LOCAL, .reach = SM_REACH_NONE};
	(void)sc_text_local(why->text, "4.3.0", text);
	return rc;
}

static int ask(struct sc_server_conf *c, struct sc *sc, const struct sm_msg_host *host,
               const struct sm_sa *sa, int64_t end_ms, struct sc_why *why,
               struct sm_msg_server_confd *out)
{
	struct sm_msg_server_conf m = {.name = host->name, .sa = *sa};
	int64_t deadline = SM_MIN(sm_loop_now_ms() + ASK_MS, end_ms);
	int rc = sm_link_rpc(sc->smar, SM_MSG_server_conf, &m, SM_MSG_server_confd, &c->secret, out,
	                     deadline);

	if (rc != 0) {
		sm_log(SM_WARN, "sc.server_conf", "server=%S address=%A error=%E", host->name, sa,
		       rc);
		rc = trouble(why, rc, "address resolver is away");
		why->abort = true; /* for the next server it would be as far away */
		return rc;
	}
	if (out->code != 0)
		return trouble(why, sm_fail(SM_E_BUSY, SM_STR_FMT, SM_STR_ARG(out->text)),
		               "how to treat this server cannot be told now");
	return 0;
}

int sc_server_conf_get(struct sc_server_conf *c, struct sc *sc, const struct sm_msg_host *host,
                       const struct sm_sa *sa, struct sm_str rcpt, int64_t end_ms,
                       struct sc_why *why)
{
	struct sm_msg_server_confd m = {.text = SM_STR(""), .conf = SM_STR(""), .auth = SM_STR("")};
	int rc;

	if (sa->u.sa.sa_family == AF_UNIX) {
		c->tls.level = c->joined.level = SC_TLS_NONE;
		return 0;
	}
	if (sc->smar != NULL) {
		rc = ask(c, sc, host, sa, end_ms, why, &m);
		if (rc != 0)
			return rc;
	}
	rc = sc_server_conf_parse(c, sc->conf->tls_level, m.conf, rcpt, m.auth);
	if (rc == 0)
		return 0;
	sm_log(SM_ERROR, "sc.server_conf", "server=%S address=%A error=%E", host->name, sa, rc);
	return trouble(why, rc, "what the access map says of this server is wrong");
}
