/*
 * Texts about a server to structs: the tables, and what no row can say. Invariant: nothing of a
 * credential is in a diag, and all copies of it here are overwritten. Pure; any thread.
 */
#include "smtpc/server_conf.h"

#include "smtpc/conf.h"
#include "smtpc/ehlo.h"

enum { ARENA_FIRST = 4096, ARENA_MAX = 256 * 1024 };

struct texts {
	struct sc_tls_policy tls;
	struct sc_auth_policy auth;
	int chunking;
	struct sc_timeouts timeouts;
	struct sm_conf_list source_address;
	int64_t max_transactions, dial_delay_ms;
	bool xforward;
	uint32_t ignored;
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
static const struct sm_word extension_words[] = {
    {"pipelining", SC_CAP_PIPELINING, "one command after the other"},
    {"size", SC_CAP_SIZE, "the size is not told, and the server's maximum not looked at"},
    {"8bitmime", SC_CAP_8BITMIME, "BODY=8BITMIME is not said; content goes as it is"},
    {"dsn", SC_CAP_DSN, "RET, ENVID, NOTIFY, ORCPT are not said; smx reports what is asked for"},
    {"chunking", SC_CAP_CHUNKING, "DATA is used, so binary content is returned"},
    {"binarymime", SC_CAP_BINARYMIME, "binary content is returned"},
    {"smtputf8", SC_CAP_SMTPUTF8, "mail that needs it is returned"},
    {"limits", SC_CAP_LIMITS, "limits show when they are reached"},
    {"starttls", SC_CAP_STARTTLS, "no TLS: what tls requires is then not fulfilled"},
    {"auth", SC_CAP_AUTH, "no login: auth.failure says what becomes of mail that has credentials"},
    {"xforward", SC_CAP_XFORWARD, "nobody is named to it"},
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
const struct sm_opt sc_server_opts[] = {
    {.name = "tls", .type = SM_OPT_SECTION, .offset = TEXTS(tls), .sub = sc_tls_policy_opts, .session = true,
     .help = "what is required of TLS"},
    {.name = "auth", .type = SM_OPT_SECTION, .offset = TEXTS(auth), .sub = auth_opts, .session = true,
     .help = "how to log in"},
    {.name = "chunking", .type = SM_OPT_ENUM, .offset = TEXTS(chunking), .def = "unset", .words = chunking_words,
     .session = true, .help = "when content goes by BDAT"},
    {.name = "source_address", .type = SM_OPT_LIST, .offset = TEXTS(source_address), .def = "", .max = 2, .session = true,
     .help = "address of this host that connections come from, one of each family; none: as the section has it"},
    {.name = "timeouts", .type = SM_OPT_SECTION, .offset = TEXTS(timeouts), .sub = sc_timeout_opts, .session = true,
     .help = "longest wait in each step of a conversation",
     .man = "What is not said here is as the section smtpc has it, not the default of the row."},
    {.name = "max_transactions", .type = SM_OPT_INT, .offset = TEXTS(max_transactions), .def = "0", .max = 1000000,
     .unit = "messages", .session = true, .help = "after so many a session ends; 0: as the section has it"},
    {.name = "dial_delay", .type = SM_OPT_TIME, .offset = TEXTS(dial_delay_ms), .def = "0s", .max = 10 * 60 * 1000,
     .unit = "s", .session = true, .help = "when it cannot be connected to, wait so long and try once more; 0: do not",
     .man = "For a server behind a line that is dialled by the first packet. Meanwhile other mail goes on."},
    {.name = "xforward", .type = SM_OPT_BOOL, .offset = TEXTS(xforward), .def = "off", .session = true,
     .help = "tell the server who brought the mail (XFORWARD), if it offers that"},
    {.name = "ignore_extensions", .type = SM_OPT_FLAGS, .offset = TEXTS(ignored), .def = "", .words = extension_words,
     .session = true, .help = "what the server may offer in vain: all is as if it did not"},
    SM_OPT_END,
};
/* Of a recipient: it does not log in. */
const struct sm_opt sc_rcpt_opts[] = {
    {.name = "tls", .type = SM_OPT_SECTION, .offset = TEXTS(tls), .sub = sc_tls_policy_opts, .session = true,
     .help = "what is required of TLS"},
    SM_OPT_END,
};
const struct sm_opt sc_credentials_opts[] = {
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

static int bind_text(const struct sm_opt *table, struct sm_arena *a,
                     const struct sc_timeouts *timeouts, struct sm_str text, const char *where,
                     struct texts *out)
{
	int rc = 0;

	*out = (struct texts){0};
	sm_conf_defaults(table, out, a);
	if (timeouts != NULL)
		out->timeouts = *timeouts;
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
	sm_conf_defaults(sc_credentials_opts, x, &c->secret);
	rc = sm_conf_bind_session(sc_credentials_opts, x, &c->secret, text, "server_auth");
	/* The diag may show what stands there. */
	if (rc != 0)
		return sm_fail(rc, "the entry of server_auth cannot be understood");
	if (x->user.n == 0 || (x->password.n == 0 && x->token.n == 0 && x->token_file.n == 0))
		return sm_fail(SM_E_SYNTAX, "the entry of server_auth needs user, and password, "
		                            "token or token_file");
	c->has_credentials = true;
	return 0;
}

int sc_server_conf_parse(struct sc_server_conf *c, int level, const struct sc_timeouts *timeouts,
                         struct sm_str server, struct sm_str rcpt, struct sm_str auth)
{
	struct texts of_server, of_rcpt;
	int rc = bind_text(sc_server_opts, &c->secret, timeouts, server, "smtpc_session_conf",
	                   &of_server);

	if (rc == 0)
		rc = bind_text(sc_rcpt_opts, &c->secret, NULL, rcpt, "smtpc_rcpt_conf", &of_rcpt);
	if (rc == 0)
		rc = bind_credentials(c, auth);
	if (rc == 0)
		rc = sc_source_parse(&of_server.source_address, &c->source);
	if (rc != 0)
		return rc;
	c->tls = of_server.tls;
	if (c->tls.level == SC_TLS_UNSET)
		c->tls.level = level;
	c->joined = sc_tls_policy_join(&c->tls, &of_rcpt.tls);
	c->auth = of_server.auth;
	c->chunking = of_server.chunking;
	c->timeouts = of_server.timeouts;
	c->max_transactions = of_server.max_transactions;
	c->dial_delay_ms = of_server.dial_delay_ms;
	c->xforward = of_server.xforward;
	c->ignored = of_server.ignored;
	return 0;
}

int sc_server_conf_check(struct sm_str text, bool of_rcpt)
{
	struct sc_server_conf c;
	int rc;

	sc_server_conf_init(&c);
	rc = sc_server_conf_parse(&c, SC_TLS_MAY, NULL, of_rcpt ? SM_STR("") : text,
	                          of_rcpt ? text : SM_STR(""), SM_STR(""));
	sc_server_conf_fini(&c);
	return rc;
}
