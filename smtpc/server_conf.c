/*
 * The question to smar, and what a session has to do by its answer. Invariant: nothing of a
 * credential is in a log line. Coroutines of the loop's thread.
 */
#include "smtpc/server_conf.h"

#include "libsm/log.h"
#include "smtpc/result.h"
#include "smtpc/sc.h"
#include "smtpc/session.h"

enum { ASK_MS = 60 * 1000 }; /* smar restarts, or waits for a map */

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
	struct sm_msg_server_confd m = {
	    .text = SM_STR(""), .conf = sc->server_text, .auth = sc->server_auth};
	int rc;

	c->timeouts = sc->conf->timeouts;
	if (sa->u.sa.sa_family == AF_UNIX) {
		c->tls.level = c->joined.level = SC_TLS_NONE;
		return 0;
	}
	if (sc->smar != NULL) {
		rc = ask(c, sc, host, sa, end_ms, why, &m);
		if (rc != 0)
			return rc;
	}
	rc =
	    sc_server_conf_parse(c, sc->conf->tls_level, &sc->conf->timeouts, m.conf, rcpt, m.auth);
	if (rc == 0)
		return 0;
	sm_log(SM_ERROR, "sc.server_conf", "server=%S address=%A error=%E", host->name, sa, rc);
	return trouble(why, rc, "what the access map says of this server is wrong");
}
