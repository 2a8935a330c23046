/*
 * One SMTP or LMTP session to a server: connect, greeting, EHLO or LHLO, replies read with
 * suspicion, QUIT.
 */
#ifndef SC_SESSION_H
#define SC_SESSION_H

#include "libsm/hash.h"
#include "libsm/id.h"
#include "libsm/list.h"
#include "libsm/msg.h"
#include "libsm/smtp_reply.h"
#include "libsm/stream.h"
#include "smtpc/ehlo.h"
#include "smtpc/source.h"
#include "smtpc/timeouts.h"

struct sc;

#define SC_TEXT_MAX 512 /* as rcpt_result.text */
enum {
	SC_TLS_TEXT_MAX = 160, /* as rcpt_result.tls */
	SC_TLS_NAME_MAX = 80
};
struct sc_server_conf;
struct sc_transcript;

/* Why something did not work out: what goes into results and log lines. */
struct sc_why {
	enum sm_stage stage;
	int code; /* the server's; 0: it did not say anything */
	enum sm_reach reach;
	struct sm_cid session;      /* where it happened; none: no session was tried */
	bool lasting;               /* LOCAL: it will not pass by itself */
	bool permanent;             /* an operator wants the mail to fail for it */
	bool abort;                 /* ... or no other server is to be tried now */
	char text[SC_TEXT_MAX + 1]; /* enhanced code and text, one line of printable ASCII */
};

struct sc_session {
	struct sc *sc;
	struct sm_net net;
	struct sm_stream stream;
	struct sm_reply_parser reply; /* the last one */
	struct sm_cid id;             /* .task counts its transactions */
	struct sm_sa sa;
	struct sm_str key; /* of the route it was opened for; owned */
	char host[256 + 1];
	bool lmtp;
	bool reused;         /* taken from the cache, nothing heard from it since */
	bool spent;          /* nothing was delivered the last time: to be ended by QUIT */
	bool broken;         /* of no use any more: to be closed without a word */
	unsigned unknown;    /* recipients that probes were told are unknown */
	struct sc_ehlo ehlo; /* what the server offers, without `ignored` */
	unsigned ignored;    /* SC_CAP_* */
	int chunking;        /* SC_CHUNKING_* of it */
	struct sc_timeouts timeouts;
	int64_t max_transactions; /* 0: nothing is said */
	struct sc_source source;  /* which of our addresses it comes from */
	int64_t dial_delay_ms;    /* between two tries to connect; 0: there is one only */
	bool xforward;            /* it may know who brought a mail */
	bool tls, authenticated;
	bool trusted;                       /* it may know who submitted a mail (AUTH= of MAIL) */
	char tls_text[SC_TLS_TEXT_MAX + 1]; /* rcpt_result.tls */
	struct sc_transcript *transcript;   /* of that task; NULL: nobody wants to know */
	int64_t end_ms;                     /* of the task that has it: no wait is longer */
	/* For cache.c. */
	struct sm_hash_node node;
	struct sm_list idle;
	struct sm_timer timer;
	struct sc_address *at; /* where it is found: idle, or saying QUIT; NULL: nowhere */
	struct sm_list there;  /* in a list of `at` */
	/* While it says QUIT. */
	struct sc_successor *successor; /* who connects when it has left; NULL: nobody */
};

/*
 * Ask smar how to treat the host, connect, greet, TLS and AUTH as is required. 0 and *out, or an
 * error and *why. `key` is copied, `ta` is for the log.
 * sc_session_adopt does the same from the greeting on, over a connected descriptor (tests).
 */
struct sc_open {
	const struct sm_msg_host *host;
	struct sm_str key;
	struct sm_str conf; /* what the recipients require: of the task */
	bool lmtp;
	struct sm_id ta;
	int64_t end_ms;
	struct sc_transcript *transcript; /* NULL: nobody wants to know */
};
int sc_session_open(struct sc *sc, const struct sc_open *o, struct sc_why *why,
                    struct sc_session **out) SM_YIELDS SM_MUST_CHECK;
int sc_session_adopt(struct sc *sc, int fd, bool lmtp, int64_t end_ms, struct sc_server_conf *conf,
                     struct sc_why *why, struct sc_session **out) SM_YIELDS SM_MUST_CHECK;
/* Its id without that of a transaction. */
static inline struct sm_cid sc_session_id(struct sm_cid transaction)
{
	transaction.task = 0;
	return transaction;
}
/* What servers say of themselves ends with STARTTLS. */
void sc_session_forget(struct sc_session *s);
/* EHLO or LHLO, and learn from the reply. Its code, or an error. */
int sc_session_hello(struct sc_session *s) SM_YIELDS SM_MUST_CHECK;
/* It has had as many transactions as the server (RFC 9422) or what is said of the server allows. */
static inline bool sc_session_is_used_up(const struct sc_session *s)
{
	return (s->ehlo.mail_max > 0 && s->id.task >= s->ehlo.mail_max) ||
	       (s->max_transactions > 0 && s->id.task >= (uint64_t)s->max_transactions);
}
/* How long to wait for replies that have a time of their own only if somebody wants it. */
int64_t sc_session_helo_ms(const struct sc_session *s);
int64_t sc_session_rset_ms(const struct sc_session *s);
/* Close at once. */
void sc_session_free(struct sc_session **s);
/* Say QUIT in the background, wait for the reply (RFC 5321 4.1.1.10), then close; the session is
 * not the caller's any more. */
void sc_session_quit(struct sc_session **s);
/* A connection to this address is about to be made: if one says QUIT there and nobody else waits
 * for its end, wait for it, in moderation. To the server it is one of ours until it is closed. */
void sc_session_succeed(struct sc *sc, const struct sm_sa *sa) SM_YIELDS;

/*
 * Read one reply: its code (200..599), or an error; then the session is broken. Text in
 * s->reply.text. Sends first what has gathered. 221 and 421 break the session too: the server is
 * about to close.
 */
int sc_session_reply(struct sc_session *s, int64_t timeout_ms) SM_YIELDS SM_MUST_CHECK;
/* There is a byte more than replies were due: the server is out of step or worse. Breaks the
 * session; SM_E_PROTO. */
int sc_session_in_step(struct sc_session *s) SM_MUST_CHECK;
/* Monotonic deadline `timeout_ms` from now, but not behind s->end_ms. */
int64_t sc_session_deadline(const struct sc_session *s, int64_t timeout_ms);

/* *why from the reply just read, or from an error code and the diag. */
void sc_why_reply(struct sc_why *why, const struct sc_session *s, enum sm_stage stage);
void sc_why_error(struct sc_why *why, enum sm_stage stage, int err);

#endif
