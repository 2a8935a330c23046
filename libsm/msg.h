/*
 * Messages between processes: the structs, encoders and decoders that msg.def expands to, and the
 * constants their fields use.
 */
#ifndef SM_MSG_H
#define SM_MSG_H

#include "libsm/def.h"

#define SM_FRAME_MAX (1024 * 1024) /* bytes behind the length */

enum sm_role {
	SM_ROLE_NONE,
	SM_ROLE_SMTPS,
	SM_ROLE_QMGR,
	SM_ROLE_SMTPC,
	SM_ROLE_SMAR,
	SM_ROLE_CTL
};
/* verdict.flags, conn_verdict.flags */
enum {
	SM_VERDICT_LOCAL = 1,       /* the recipient's domain is ours */
	SM_VERDICT_RELAY = 2,       /* a map says relay */
	SM_VERDICT_CLOSE = 4,       /* end the session after saying it */
	SM_VERDICT_OK = 8,          /* a map says ok */
	SM_VERDICT_QUICK = 16,      /* it says so with "quick:" */
	SM_VERDICT_DISCARD = 32,    /* accept it, and let it vanish */
	SM_VERDICT_GREYLISTED = 64, /* the refusal is greylisting: it may be said at DATA */
	SM_VERDICT_VERIFY = 128, /* ask the next hop whether it knows the recipient (rcpt_verify) */
	SM_VERDICT_VERIFY_ACCEPT = 256, /* ... and take it when that cannot be told */
	SM_VERDICT_UNRESOLVED = 512, /* cltresolve: refuses, which is not meant for who may relay */
	SM_VERDICT_ON_DEMAND = 1024  /* a domain of on_demand: whoever brings mail for it may */
};
/* *_check.flags: what the listener is configured to, and what the session may. */
enum {
	SM_CHECK_ACCESS = 1,         /* the access map is in use */
	SM_CHECK_MAY_RELAY = 2,      /* relaying is allowed by other means: session, -T */
	SM_CHECK_SESSION_OK = 4,     /* the connection's verdict was OK */
	SM_CHECK_SESSION_RELAY = 8,  /* ... RELAY */
	SM_CHECK_SESSION_QUICK = 16, /* ... with QUICK */
	SM_CHECK_GREYLIST = 32,
	SM_CHECK_LMTP_NO_RELAY = 64, /* flag lmtp_does_not_imply_relaying */
	SM_CHECK_PROTECT_SENDER =
	    128, /* protected_recipients: allow_by sender, client_ip; match_type */
	SM_CHECK_PROTECT_CLIENT = 256,
	SM_CHECK_PROTECT_LOOKUP = 512,
	SM_CHECK_PROTECT_DETAIL = 1024,
	SM_CHECK_STORED =
	    2048, /* a rejection of before holds unless quick:ok or quick:relay is found */
	SM_CHECK_SESSION_CONF = 4096, /* conn_check: look up smtps_session_conf: */
	SM_CHECK_NO_DNS = 8192        /* the mail will wait for a queue run: ask no name server */
};
enum sm_resolve {
	SM_RESOLVE_NONE,
	SM_RESOLVE_OK,
	SM_RESOLVE_NO,
	SM_RESOLVE_TEMP_PTR,
	SM_RESOLVE_TEMP_A
};
/* deliver: when a mail goes out */
enum sm_deliver {
	SM_DELIVER_BACKGROUND, /* at once, after it was accepted */
	SM_DELIVER_NOW,        /* before the client has its replies: one attempt */
	SM_DELIVER_QUEUE,      /* at the next queue run */
	SM_DELIVER_HOLD        /* when it is asked for */
};
enum sm_body { SM_BODY_NONE, SM_BODY_7BIT, SM_BODY_8BITMIME, SM_BODY_BINARYMIME };
/* utf8: what a mail wants of those it goes through (RFC 6531) */
enum {
	SM_UTF8_DECLARED = 1, /* it came with SMTPUTF8 */
	SM_UTF8_HEADER = 2    /* ... and its header needs it; addresses speak for themselves */
};
enum sm_ret { SM_RET_NONE, SM_RET_FULL, SM_RET_HDRS };
enum { SM_NOTIFY_NEVER = 1, SM_NOTIFY_SUCCESS = 2, SM_NOTIFY_FAILURE = 4, SM_NOTIFY_DELAY = 8 };
enum sm_route_status {
	SM_ROUTE_OK,
	SM_ROUTE_TEMP,
	SM_ROUTE_PERM,
	SM_ROUTE_ALIAS,
	SM_ROUTE_WAIT /* mail for it waits, as `wait` says; nobody was asked for a way */
};
/* route_get.flags */
enum {
	SM_ROUTE_FINAL = 1,    /* the address came from an alias that is expanded already */
	SM_ROUTE_RUN = 2,      /* its mail need not wait: a queue run, or somebody asked for it */
	SM_ROUTE_ASK_WAIT = 4, /* only say whether it waits: OK or WAIT, without hosts */
	SM_ROUTE_AGAIN = 8     /* it was put off before */
};
/* What mail for a domain waits for (smar's on_demand) */
enum sm_wait { SM_WAIT_NO, SM_WAIT_RUN /* a queue run */, SM_WAIT_ASKED /* who asks for it */ };
enum sm_reload_status { SM_RELOAD_TAKEN, SM_RELOAD_REFUSED, SM_RELOAD_LATER };
/* alias_item.flags */
enum { SM_ALIAS_FINAL = 1, SM_ALIAS_LIST = 2 };
enum sm_agent { SM_AGENT_SMTP, SM_AGENT_LMTP };
enum sm_outcome { SM_OUTCOME_DONE, SM_OUTCOME_TEMP, SM_OUTCOME_PERM };
enum sm_stage {
	SM_STAGE_LOCAL,
	SM_STAGE_CONNECT,
	SM_STAGE_GREETING,
	SM_STAGE_HELO,
	SM_STAGE_MAIL,
	SM_STAGE_RCPT,
	SM_STAGE_DATA,
	SM_STAGE_EOD,
	SM_STAGE_TLS, /* between HELO and MAIL: STARTTLS, and what is required of it */
	SM_STAGE_AUTH
};
/* Before there was any mail: what went wrong then speaks of the host, not of the mail. */
static inline bool sm_stage_is_early(unsigned stage)
{
	return stage <= SM_STAGE_HELO || stage == SM_STAGE_TLS || stage == SM_STAGE_AUTH;
}
/* Whose a line of a transcript is. */
enum sm_said { SM_SAID_NOTE, SM_SAID_CLIENT, SM_SAID_SERVER };
/* How the last host behaved: for its concurrency. */
enum sm_reach { SM_REACH_NONE, SM_REACH_OK, SM_REACH_REFUSED, SM_REACH_BUSY };
enum sm_dsn_kind {
	SM_DSN_NONE,
	SM_DSN_FAILED,
	SM_DSN_DELAYED,
	SM_DSN_DELIVERED,
	SM_DSN_RELAYED,
	SM_DSN_EXPANDED,
	SM_DSN_BOUNCED /* a DSN failed: told to the postmaster */
};

#define SM_DEF_FILE         "libsm/msg.def"
#define SM_DEF(name)        sm_msg_##name
#define SM_DEF_NUMBER(name) SM_MSG_##name
#include "libsm/def_struct.h"
#include "libsm/def_proto.h"

enum sm_msg_type {
	SM_MSG_NONE_ = 0,
#include "libsm/def_numbers.h" /* SM_MSG_hello = 0x0001, ... */
};
#undef SM_DEF_FILE
#undef SM_DEF
#undef SM_DEF_NUMBER

#endif
