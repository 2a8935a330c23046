/*
 * Configuration of smtps: one struct, filled by the table in conf.c, read-only everywhere else.
 */
#ifndef SS_CONF_H
#define SS_CONF_H

#include "libsm/conf.h"
#include "libsm/msg.h"
#include "libsm/tls.h"
#include "smtps/auth_conf.h"
#include "smtps/milter_conf.h"

/* flags */
enum {
	SS_F_8BITMIME = 1,
	SS_F_DELAY_CHECKS = 2,
	SS_F_LMTP_NO_RELAY = 4,
	SS_F_SOFT_BOUNCE = 8,
	SS_F_STRICT_EHLO = 16,
	SS_F_ACCESS = 32,
	SS_F_LOOPBACK_RELAY = 64,
	SS_F_GREYLISTING = 128,
	SS_F_GREY_AT_DATA = 256,
	SS_F_GREY_STAYS = 512,
	SS_F_SUBMISSION = 1024,
	SS_F_LEAVE_HEADER = 2048,
	SS_F_SESSION_CONF = 4096,
	SS_F_CHUNKING = 1 << 16,
	SS_F_BINARYMIME = 1 << 17,
	SS_F_SMTPUTF8 = 1 << 18,
	SS_F_OFFLINE = 1 << 19,
};
/* hide_extensions */
enum {
	SS_X_PIPELINING = 1,
	SS_X_ENHANCEDSTATUSCODES = 2,
	SS_X_STARTTLS = 4,
	SS_X_8BITMIME = 8,
	SS_X_CHUNKING = 16,
	SS_X_BINARYMIME = 32,
	SS_X_SMTPUTF8 = 64,
	SS_X_XCLIENT = 128,
	SS_X_AUTH = 256,
	SS_X_SIZE = 512,
	SS_X_DSN = 1024,
	SS_X_LIMITS = 2048,
	SS_X_HELP = 4096,
	SS_X_XFORWARD = 8192,
	SS_X_ETRN = 16384,
};
/* protected_recipients.allow_by */
enum { SS_ALLOW_SENDER = 1, SS_ALLOW_CLIENT_IP = 2 };
/* xclient.flags */
enum { SS_XCLIENT_LOGIN = 1 };
/* etrn.flags */
enum { SS_ETRN_AUTH = 1, SS_ETRN_ACCESS = 2 };
enum ss_tls_level { SS_TLS_NONE, SS_TLS_ENCRYPTED, SS_TLS_VERIFIED };
enum ss_violation { SS_VIOLATION_PERM, SS_VIOLATION_TEMP, SS_VIOLATION_ABORT };
enum ss_protocol { SS_PROTOCOL_SMTP, SS_PROTOCOL_LMTP };
enum ss_match { SS_MATCH_EXACT, SS_MATCH_LOOKUP, SS_MATCH_DETAIL };

struct ss_conf {
	uint32_t flags;
	uint32_t hidden;                      /* SS_X_* */
	int64_t id;                           /* process index of ids; that of -i is added */
	int64_t cdb_gid;                      /* -1: leave the group as it is */
	int cdb_sync_dir;                     /* enum cdb_sync_dir */
	int64_t cdb_segment_bytes;            /* 0: each content is a file of its own */
	int64_t cdb_segment_pace;             /* contents a second that begin a segment */
	struct sm_conf_list relay_to;         /* -T */
	struct sm_conf_list relay_from_local; /* names of listeners */
	struct sm_conf_list listen;           /* -L, for use without a supervisor */

	struct {
		uint32_t allow_by; /* 0: no recipient is protected */
		int match_type;    /* enum ss_match */
	} protected_recipients;

	/* Submission. */
	struct sm_str
	    route;   /* of all its mail, as in the mailertable; empty: each recipient has its own */
	int deliver; /* enum sm_deliver */
	int64_t deliver_timeout_ms;
	int protocol;                 /* enum ss_protocol */
	struct sm_str qualify_domain; /* put behind an address without one; empty: the hostname */

	/* Front ends: whose word about a client's address is taken. */
	struct {
		struct sm_conf_list listeners; /* on which the PROXY header comes first */
		struct sm_conf_list from;
		int64_t timeout_ms;
	} proxy;
	struct {
		struct sm_conf_list from;
		uint32_t flags; /* SS_XCLIENT_* */
	} xclient;
	struct {
		struct sm_conf_list from;
	} xforward;
	/* Who may ask for mail that waits. */
	struct {
		struct sm_conf_list from;
		uint32_t flags; /* SS_ETRN_* */
	} etrn;
	int64_t warn_one_client; /* sessions; 0: never */

	/* From which load average and number of waiting recipients on clients wait, or are refused;
	 * 0: never. */
	int64_t delay_la, refuse_la, delay_waiting, refuse_waiting, pressure_delay_ms;

	/* What MAIL needs of TLS. */
	struct {
		int level; /* enum ss_tls_level */
		int64_t min_bits;
		struct sm_str issuer, subject, name; /* empty: any */
		int violation;                       /* enum ss_violation */
	} require_tls;
	struct ss_auth_conf auth;
	struct sm_tls_conf tls;

	bool policy_milters;             /* whether they are asked */
	struct sm_conf_sections milters; /* struct ss_milter_conf */

	/* Time. */
	int64_t io_timeout_ms, session_timeout_ms, check_timeout_ms, commit_timeout_ms,
	    verify_timeout_ms;
	int64_t drain_timeout_ms, data_grace_ms, min_data_rate; /* bytes a second */

	/* Limits of the process. */
	int64_t max_threads, io_threads;

	/* Limits of a session. */
	int64_t max_bad_session, max_bad_transaction;
	int64_t max_invalid_session, max_invalid_transaction;
	int64_t max_nop_between, max_nop_in;
	int64_t max_rcpts_session, max_rcpts_transaction, max_transactions;
	int64_t max_command_bytes, max_junk_bytes;

	/* Limits of a message. */
	int64_t max_hops, max_message_bytes, max_header_bytes, max_header_lines, max_line_bytes;
};
extern const struct sm_opt ss_conf_opts[];
enum { SS_SMTP_PORT = 25 };
enum { SS_PROC_MAX = 254 }; /* process index; 255 is qmgr's */
/* Extensions that may be switched off, or hidden; some need others (RFC 3030 3, RFC 6531 3.1). */
static inline bool ss_hides(const struct ss_conf *conf, uint32_t extension)
{
	return (conf->hidden & extension) != 0;
}
static inline bool ss_offers_8bitmime(const struct ss_conf *conf)
{
	return (conf->flags & SS_F_8BITMIME) && !ss_hides(conf, SS_X_8BITMIME);
}
static inline bool ss_offers_chunking(const struct ss_conf *conf)
{
	return (conf->flags & SS_F_CHUNKING) && !ss_hides(conf, SS_X_CHUNKING);
}
static inline bool ss_offers_binarymime(const struct ss_conf *conf)
{
	return (conf->flags & SS_F_BINARYMIME) && !ss_hides(conf, SS_X_BINARYMIME) &&
	       ss_offers_chunking(conf) && ss_offers_8bitmime(conf);
}
static inline bool ss_offers_smtputf8(const struct ss_conf *conf)
{
	return (conf->flags & SS_F_SMTPUTF8) && !ss_hides(conf, SS_X_SMTPUTF8) &&
	       ss_offers_8bitmime(conf);
}

/* Who is told at once what becomes of each recipient tells its users itself. */
static inline bool ss_offers_dsn(const struct ss_conf *conf)
{
	return conf->deliver != SM_DELIVER_NOW && !ss_hides(conf, SS_X_DSN);
}

/* What is said to who is greylisted. */
static inline uint16_t ss_grey_code(const struct ss_conf *conf)
{
	return conf->flags & SS_F_GREY_STAYS ? 450 : 421;
}

/* The configuration of one session: `base`, changed by `text` of the access map; lives in `a`, as
 * far as it is not `base`'s. The diag begins with "smtps_session_conf:LINE: ". */
struct sm_arena;
int ss_conf_for_session(const struct ss_conf *base, struct sm_str text, struct sm_arena *a,
                        struct ss_conf *out) SM_MUST_CHECK;
/* Must one have the right to relay even for local (lmtp:) domains? */
static inline bool ss_conf_local_needs_right(const struct ss_conf *conf)
{
	return (conf->flags & (SS_F_LMTP_NO_RELAY | SS_F_SUBMISSION)) != 0;
}

/* What the table cannot say; SM_E_RANGE or SM_E_SYNTAX with a diag. */
int ss_conf_check(const struct ss_conf *c) SM_MUST_CHECK;
/* May clients come to this TCP port? SM_E_SYNTAX with a diag. */
int ss_conf_check_port(const struct ss_conf *c, int64_t port) SM_MUST_CHECK;
/* SM_CHECK_* for smar that are the same for all of a server's sessions. */
uint32_t ss_conf_check_flags(const struct ss_conf *c);

/* "1.2.3.4:25", "[::1]:25", "unix:/path". SM_E_SYNTAX. */
struct sm_sa;
int ss_conf_listen_address(struct sm_str text, struct sm_sa *sa) SM_MUST_CHECK;

/* Is `domain` among the names? A name that begins with a dot means all below it. Case is folded,
 * and what is in UTF-8 is compared by its A-labels. */
bool ss_conf_domain_in(const struct sm_conf_list *list, struct sm_str domain);
bool ss_conf_name_in(const struct sm_conf_list *list, struct sm_str name);

#endif
