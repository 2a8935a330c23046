/*
 * Counters of a session against its limits. Pure: each call counts one event and says whether that
 * was one too many: SS_R_NONE, or the 421 to say before the session is closed.
 */
#ifndef SS_LIMITS_H
#define SS_LIMITS_H

#include "smtps/conf.h"
#include "smtps/reply.h"

struct ss_limits {
	unsigned bad_session, bad_transaction;
	unsigned invalid_session, invalid_transaction;
	unsigned nop_between, nop_in;
	unsigned rcpts_session;        /* accepted */
	unsigned deferred_transaction; /* refused for now */
	unsigned transactions;         /* MAIL commands that were accepted */
	uint64_t junk_bytes;
};

enum ss_reply_name ss_limits_bad(struct ss_limits *l, const struct ss_conf *c);
enum ss_reply_name ss_limits_invalid(struct ss_limits *l, const struct ss_conf *c);
enum ss_reply_name ss_limits_nop(struct ss_limits *l, const struct ss_conf *c, bool in_transaction);
/* A recipient was refused for now: as many may be as may be accepted. */
enum ss_reply_name ss_limits_deferred(struct ss_limits *l, const struct ss_conf *c);
/* A MAIL is about to begin a transaction. */
enum ss_reply_name ss_limits_transaction(struct ss_limits *l, const struct ss_conf *c);
/* May another recipient be accepted? SS_R_TOO_MANY_RCPTS (452, no close) if not. Counts it only by
 * ss_limits_rcpt_taken. */
enum ss_reply_name ss_limits_rcpt(const struct ss_limits *l, const struct ss_conf *c,
                                  unsigned in_transaction);
void ss_limits_rcpt_taken(struct ss_limits *l);
/* A transaction ended: by acceptance, or without. */
void ss_limits_end(struct ss_limits *l, bool accepted);
/* How much junk may still be read, and that so much was. */
uint64_t ss_limits_junk_left(const struct ss_limits *l, const struct ss_conf *c);
void ss_limits_junk(struct ss_limits *l, uint64_t bytes);

#endif
