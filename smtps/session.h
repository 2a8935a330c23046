/*
 * One SMTP session: a coroutine, its connection, and what it has learnt about its client.
 */
#ifndef SS_SESSION_H
#define SS_SESSION_H

#include "libsm/stream.h"
#include "smtps/auth.h"
#include "smtps/limits.h"
#include "smtps/policy.h"
#include "smtps/ss.h"
#include "smtps/txn.h"

struct ss_listener;
struct ss_xforward;

struct ss_session {
	struct ss *ss;
	const struct ss_conf *conf;
	struct sm_co *co;
	struct sm_list link; /* ss.sessions */
	struct sm_net net;
	struct sm_stream io;
	struct sm_id id;
	struct sm_sa client;
	char listener[64];
	/* A Unix client: "uid:1000", whose process it is, told by the kernel; else empty. */
	char owner[16];
	/* A front end has told the client's address (proxy.c, cmd_xclient.c). */
	struct sm_sa via; /* its own; len 0: nobody told */
	/* Not again in this connection: many front ends only pass on what comes behind it, and the
	 * client is not to be believed. */
	bool told_by_xclient;
	uint8_t told_resolve; /* SM_RESOLVE_*; NONE: the name was not told */
	struct sm_str told_name;
	bool admitted; /* qmgr and smar know it; not yet: a front end that may say XCLIENT */

	struct ss_standing who;
	bool told_qmgr; /* sess_open was sent and not refused: sess_close is due */

	struct sm_arena arena; /* for the session's life: names */
	struct sm_str helo;    /* empty: none yet */
	bool esmtp;
	struct sm_str client_name;
	int conn_code; /* delay_checks: to be said at RCPT; 0: nothing */
	struct sm_str conn_text;
	bool conn_unresolved; /* ... by cltresolve: it does not hold for who has earned relaying */

	struct ss_auth auth;
	struct ss_tls tls;

	uint8_t client_resolve;     /* SM_RESOLVE_* */
	struct ss_milters *milters; /* NULL: there are none for this session */

	struct ss_txn txn;
	struct ss_xforward *xforward; /* who first brought the next mail; NULL: nobody told */
	struct sm_list prefetch;      /* prefetch.c */
	struct ss_limits limits;
	int64_t began_ms, ends_ms; /* session_timeout */
	bool refused; /* MAIL or RCPT was: what a pipelining client sent behind it is no offence */

	uint32_t answers; /* LMTP: each reply is said so often, once for each recipient; 0: once */
	int reply_code;   /* of the last command */
	const char *reply_text; /* of the table, or in `reply_mem`, for which it is cut */
	char reply_mem[100];
	bool idle;    /* waits for a command outside of a transaction */
	bool closing; /* no further command; what was said is sent, then the connection is closed */
	bool linger; /* unread input may be there: let the client see the last reply, not a reset */
	bool mute;   /* close at once, without sending what was not sent */
	const char *why; /* it ended, for the log; static */
};

/*
 * Start a session on a connected, non-blocking descriptor (owned from here on, shared with nobody).
 * It runs as a coroutine of its own and frees itself. SM_E_BUSY, SM_E_SYS: the descriptor is
 * closed.
 */
int ss_session_start(struct ss *ss, int fd, const struct sm_sa *client,
                     const char *listener) SM_MUST_CHECK;
/* The dialogue itself, from greeting to the last reply; the connection stays open. For
 * ss_session_start and tests. */
void ss_session_talk(struct ss_session *s) SM_YIELDS;
/* Tell all idle sessions to end; `all`: the others too. */
void ss_sessions_stop(struct ss *ss, bool all);

/* Is this LMTP (RFC 2033)? */
static inline bool ss_speaks_lmtp(const struct ss_session *s)
{
	return s->conf->protocol == SS_PROTOCOL_LMTP;
}

/* For handlers of commands. A bad command: says `r`, or the 421 of the limit. */
void ss_bad(struct ss_session *s, enum ss_reply_name r);
void ss_bad_detail(struct ss_session *s, enum ss_reply_name r, const char *detail);
/* A parameter of MAIL or RCPT: says which one. What was pipelined behind it is refused with it. */
void ss_bad_param(struct ss_session *s, enum ss_reply_name r, struct sm_str what);
/* Says `r` and ends the session. */
void ss_say_and_close(struct ss_session *s, enum ss_reply_name r, const char *why);
/* A line could not be read (err of sm_stream_line): says why, with `too_long` when it was, after
 * the rest of it; the session may be over then. */
void ss_no_line(struct ss_session *s, int err, enum ss_reply_name too_long) SM_YIELDS;
/* When the next read or write of the dialogue must be done. */
int64_t ss_deadline(const struct ss_session *s);
/*
 * AUTH or a certificate has given the session the right to relay: from now on who.may_relay, and a
 * rejection by cltresolve: that delay_checks stored is forgotten. The one way to give that right
 * after the greeting.
 */
void ss_session_earned(struct ss_session *s);
/* A front end has told for whom it speaks. Such an address never has the rights of a local one. */
void ss_session_told_client(struct ss_session *s, const struct sm_sa *client);
/* From here on by the configuration that the access map has for it; empty: as it is. On an error
 * nothing has changed. */
int ss_session_configure(struct ss_session *s, struct sm_str text) SM_MUST_CHECK;
/* As it was before the greeting: nothing is known of the client but its address, qmgr knows of no
 * session. */
void ss_session_anew(struct ss_session *s) SM_YIELDS;
/* What it is not that it has to be before it may do something (require.h); SS_R_NONE: nothing. */
enum ss_reply_name ss_session_lacks(const struct ss_session *s);
/* As whom the session sends: who has proved it by AUTH; else the owner of a local client on a
 * listener that trusts those (relay_from_local); empty: nobody known. */
struct sm_str ss_session_user(const struct ss_session *s);
/* The user number of a Unix client as text; empty: none. */
const char *ss_session_uid(const struct ss_session *s);
/* The protocol that this transaction came by, as Received: calls it. */
struct sm_str ss_session_protocol(const struct ss_session *s);
/* Has the client sent more than it should have by now? */
bool ss_early_input(struct ss_session *s);

#endif
