/*
 * How one server is treated: text of the access map (smtpc_session_conf:, smtpc_rcpt_conf:) and of
 * the map of server_auth, in the configuration language, as structs. Pure, but for the question.
 *
 *   smtpc_session_conf:mx.example.net   tls { level = verify; } auth { mechanisms = { PLAIN }; }
 *   smtpc_session_conf:old.example.net  chunking = never;
 *   smtpc_session_conf:127.0.0.1:10024  xforward = on; timeouts { data_final = 20m; }
 *   smtpc_rcpt_conf:@example.net        tls { level = encrypt; violation = permanent; }
 *   mx.example.net                      user = "joe"; password = "secret";
 */
#ifndef SC_SERVER_CONF_H
#define SC_SERVER_CONF_H

#include "smtpc/timeouts.h"
#include "smtpc/source.h"
#include "smtpc/tls_policy.h"

struct sm_msg_host;
struct sc;
struct sc_why;

enum sc_auth_failure { SC_AUTH_TEMPORARY, SC_AUTH_PERMANENT, SC_AUTH_IGNORE };

struct sc_auth_policy {
	struct sm_conf_list mechanisms; /* empty: those we have, the best first */
	bool clear_text;                /* a password may go over a connection without TLS */
	bool trusted;                   /* AUTH= of MAIL is passed on */
	int failure;                    /* enum sc_auth_failure */
};

struct sc_credentials {
	struct sm_str user, password;
	struct sm_str authzid;
	struct sm_str token, token_file; /* OAuth 2.0 */
};

/* Of one session to be. Everything in it lives in `secret`, which is wiped at the end. */
struct sc_server_conf {
	struct sm_arena secret;
	struct sc_tls_policy tls;    /* of the server */
	struct sc_tls_policy joined; /* with what the recipients require */
	struct sc_auth_policy auth;
	int chunking; /* SC_CHUNKING_* */
	struct sc_timeouts timeouts;
	struct sc_source source;  /* empty: nothing is said */
	int64_t max_transactions; /* of a session; 0: nothing is said */
	int64_t dial_delay_ms;    /* between two tries to connect; 0: there is one only */
	bool xforward;            /* it may know who brought a mail */
	uint32_t ignored;         /* SC_CAP_* */
	struct sc_credentials credentials;
	bool has_credentials;
};

/* What may stand in the three texts. */
extern const struct sm_opt sc_server_opts[], sc_rcpt_opts[], sc_credentials_opts[];

void sc_server_conf_init(struct sc_server_conf *c);
void sc_server_conf_fini(struct sc_server_conf *c); /* wipes */
/*
 * Bind the texts; `level` (enum sc_tls_level) and `timeouts` (NULL: the table's defaults) are those
 * of smtpc's own configuration. 0, or SM_E_SYNTAX and the like with a diag, in which there is
 * nothing of `auth`.
 */
int sc_server_conf_parse(struct sc_server_conf *c, int level, const struct sc_timeouts *timeouts,
                         struct sm_str server, struct sm_str rcpt,
                         struct sm_str auth) SM_MUST_CHECK;
/* Would it be understood, as a value of smtpc_session_conf: or smtpc_rcpt_conf:? SM_E_SYNTAX and
 * the like with a diag. */
int sc_server_conf_check(struct sm_str text, bool of_rcpt) SM_MUST_CHECK;
/*
 * Ask smar about the host, and bind what it says, and `rcpt` of the task. 0, or an error with *why:
 * trouble of our own, which passes. Unix sockets are not asked about: what goes there does not
 * leave this host.
 */
int sc_server_conf_get(struct sc_server_conf *c, struct sc *sc, const struct sm_msg_host *host,
                       const struct sm_sa *sa, struct sm_str rcpt, int64_t end_ms,
                       struct sc_why *why) SM_YIELDS SM_MUST_CHECK;

#endif
