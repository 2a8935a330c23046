/*
 * Questions to qmgr and smar, several at a time for one session: start them, then wait for each.
 */
#ifndef SS_ASK_H
#define SS_ASK_H

#include "libsm/rpc.h"

struct ss_session;

enum ss_ask_kind {
	SS_ASK_SESSION,  /* qmgr: sess_open */
	SS_ASK_CONN,     /* smar: conn_check */
	SS_ASK_MAIL,     /* smar: mail_check */
	SS_ASK_RCPT,     /* smar: rcpt_check */
	SS_ASK_VERIFY,   /* qmgr: rcpt_verify */
	SS_ASK_CERT,     /* smar: cert_check; sender is the issuer, rcpt the subject */
	SS_ASK_MAY_ETRN, /* smar: etrn_check; rcpt is the node, empty: of any? */
	SS_ASK_ETRN,     /* qmgr: etrn; rcpt is the node */
};

struct ss_ask {
	struct sm_call call;
	struct sm_list link; /* of prefetch.c */
	struct ss_session *s;
	enum ss_ask_kind kind;
	struct sm_str sender, rcpt;
	bool listed; /* RCPT: its domain is one to relay to */
	bool sent, done;
	int64_t deadline_ms;
	int err; /* when done: 0, or why there is no answer */
	/* The answer. */
	int code;
	uint32_t flags;
	struct sm_str text;
	uint8_t resolve;
	struct sm_str client_name;
	struct sm_str conf; /* for the session */
	char *answer;       /* memory of text, client_name and conf; NULL: all are empty */
	/* RCPT: what qmgr was asked about the same recipient; ours. NULL: nothing yet. */
	struct ss_ask *verify;
	bool own_memory; /* of ss_ask_new, with sender and rcpt behind it */
};

/*
 * Ask now, if the peer is there. `a`, sender and rcpt are the caller's until ss_ask_end; these are
 * empty where the kind has none.
 */
void ss_ask_start(struct ss_ask *a, struct ss_session *s, enum ss_ask_kind kind,
                  struct sm_str sender, struct sm_str rcpt);
/* The same in memory of its own, with copies: for questions that are asked ahead. */
struct ss_ask *ss_ask_new(struct ss_session *s, enum ss_ask_kind kind, struct sm_str sender,
                          struct sm_str rcpt);
/*
 * Wait for the answer; asks again when the peer went away and came back in time. 0: see code, text,
 * flags; SM_E_PEER, SM_E_TIMEOUT, SM_E_CANCEL: there is none.
 */
int ss_ask_wait(struct ss_ask *a) SM_YIELDS SM_MUST_CHECK;
/*
 * A question about a recipient that was answered: if it is good as far as smar knows and only its
 * next hop can tell whether it exists, ask for that now. Harmless in all other cases, and when it
 * was asked already. The transaction is open.
 */
void ss_ask_verify(struct ss_ask *a);
/* Also when it is still under way; with its own memory, if it has any. NULL is fine. */
void ss_ask_end(struct ss_ask *a);

#endif
