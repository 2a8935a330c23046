/*
 * A transaction: from an accepted MAIL to the answer to the end of data, RSET, EHLO, or the end of
 * the session.
 */
#ifndef SS_TXN_H
#define SS_TXN_H

#include "libcdb/cdb.h"
#include "libsm/addr.h"
#include "libsm/list.h"
#include "libsm/msg.h"

struct ss;
struct ss_content;
struct ss_session;

enum { SS_NO_TURN = UINT16_MAX };

struct ss_txn {
	bool open;
	bool told;           /* its end is in the log */
	struct sm_list link; /* ss.transactions */
	struct sm_id id;     /* also that of the content */
	struct sm_arena arena;
	struct sm_str sender; /* "" for <> */
	uint64_t declared_size;
	uint8_t body, ret;
	uint8_t utf8; /* SM_UTF8_* */
	struct sm_str envid, auth;
	struct sm_str xid;             /* the id that it has at the client's; empty: not told */
	struct sm_msg_rcpt_new *rcpts; /* accepted ones */
	uint16_t *turns; /* of each: which of the accepted RCPTs it is; SS_NO_TURN: a filter's */
	uint32_t rcpt_count, rcpt_cap;
	uint32_t accepted;          /* RCPTs: as many replies follow a message in LMTP */
	struct cdb_writer *content; /* while data is read */
	struct ss_content *in;      /* the same: how that goes (content.h) */
	int mail_code; /* delay_checks: what MAIL is to be refused with at RCPT; 0: nothing */
	struct sm_str mail_text;
	bool discard;             /* a map says so: all of it vanishes */
	uint32_t discarded;       /* recipients that were accepted only to vanish */
	struct sm_str greylisted; /* to be said at DATA; empty: not */
	struct sm_str hold;       /* why it is to wait for an operator; empty: it is not */
	bool envelope_changed;    /* by a filter: it is not what MAIL and RCPT said */
};

void ss_txn_init(struct ss_txn *t);
/* MAIL was accepted: `sender` is copied. The caller has an id. */
void ss_txn_begin(struct ss_session *s, struct sm_id id, struct sm_str sender);
/* Room for one more recipient; strings are copied. SM_E_TOOBIG. */
int ss_txn_add_rcpt(struct ss_session *s, struct sm_str addr, struct sm_str orcpt,
                    uint8_t notify) SM_MUST_CHECK;
/*
 * For filters, at the end of data; strings are copied, SM_E_TOOBIG when there is no room. A
 * recipient behind the others, which is not the client's doing and no part of its limits; without
 * the i-th, the order stays; another sender, with another ENVID and RET if these are given; held,
 * and why.
 */
int ss_txn_append_rcpt(struct ss_session *s, struct sm_str addr, struct sm_str orcpt,
                       uint8_t notify) SM_MUST_CHECK;
void ss_txn_drop_rcpt(struct ss_session *s, uint32_t i);
int ss_txn_change_sender(struct ss_session *s, struct sm_str sender, struct sm_str envid,
                         uint8_t ret) SM_MUST_CHECK;
int ss_txn_hold(struct ss_session *s, struct sm_str reason) SM_MUST_CHECK;
/* Whether the header, as it is stored by now, is in UTF-8: of mail that came with SMTPUTF8, what it
 * needs of those who get it. */
void ss_txn_header_is_utf8(struct ss_session *s, bool is);
/* A recipient that is accepted, and vanishes. */
void ss_txn_discard_rcpt(struct ss_session *s);
/* Nobody is left to deliver it to. */
bool ss_txn_vanishes(const struct ss_session *s);
/*
 * THE reset: whatever way a transaction ends, it ends here, and nothing of it (addresses, verdicts,
 * look-ahead, counters, a half-written content) is left. Harmless when none is open. `accepted`:
 * qmgr has it.
 */
void ss_txn_reset(struct ss_session *s, bool accepted) SM_YIELDS;

#endif
