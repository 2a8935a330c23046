/*
 * TLS in smtps: the context that the process has, and what a session does with it. tls_ctx.c,
 * cmd_starttls.c.
 */
#ifndef SS_TLS_H
#define SS_TLS_H

#include "libsm/tls.h"

struct ss;
struct ss_session;

/* What the process has; in struct ss. */
struct ss_tls_state {
	struct sm_tls_ctx
	    *ctx;            /* new sessions get this one; NULL: none is configured, or it failed */
	char service[160];   /* tickets are bound to it */
	bool loading, again; /* a reload is under way; another one is wanted */
};

/* What a session has; in struct ss_session. */
struct ss_tls {
	bool judged;               /* smar was asked about the certificate, or need not be */
	struct sm_tls_facts facts; /* valid when net.tls is set; strings in the session's arena */
};

/* ---- the process ---- */

/* At the start: read what is configured. Without it the server goes on and offers no TLS; the log
 * says why. Also sets OpenSSL up: before rights are dropped. */
void ss_tls_open(struct ss *ss, struct sm_str section);
/* The same for a reload, in a helper thread: what is broken leaves the old context. Sessions keep
 * theirs. */
void ss_tls_reload(struct ss *ss);
/* A file that mcp has opened (open_files); owned. It counts from the next reload on, or now when
 * there is no context yet. */
void ss_tls_file(struct ss *ss, const char *path, int fd);
void ss_tls_close(struct ss *ss);

/* ---- sessions ---- */

/* EHLO may offer STARTTLS. */
bool ss_tls_offered(const struct ss_session *s);
/* Clients of this listener speak TLS at once. */
bool ss_tls_implicit(const struct ss_conf *conf, const char *listener);
/* The handshake, and what it came to in log and session. False: the session ends, and nothing may
 * be said. */
bool ss_tls_start(struct ss_session *s) SM_YIELDS;
/*
 * What the client may by its certificate; asks smar when the configuration wants that. Once for a
 * session, before it is greeted (or greets). False: that cannot be told now, and 421 was said.
 */
bool ss_tls_judge(struct ss_session *s) SM_YIELDS;
/*
 * THE function for STARTTLS (RFC 3207 4.2): whatever was learnt from the client in clear is
 * forgotten. What the server found out by itself (address, name, verdicts on them, counters) stays.
 */
void ss_session_forget(struct ss_session *s) SM_YIELDS;

#endif
