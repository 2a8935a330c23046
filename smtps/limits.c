/*
 * The limits of a session (RFC 5321 4.5.3, and what floods and slow clients taught). Pure functions
 * of the counters.
 */
#include "smtps/limits.h"

/* "max" events are fine, the next is one too many. Saturates. */
static bool over(unsigned *count, int64_t max)
{
	if (*count < UINT32_MAX)
		++*count;
	return *count > max;
}

enum ss_reply_name ss_limits_bad(struct ss_limits *l, const struct ss_conf *c)
{
	bool session = over(&l->bad_session, c->max_bad_session);
	bool transaction = over(&l->bad_transaction, c->max_bad_transaction);

	return session || transaction ? SS_R_TOO_MANY_BAD : SS_R_NONE;
}

enum ss_reply_name ss_limits_invalid(struct ss_limits *l, const struct ss_conf *c)
{
	bool session = over(&l->invalid_session, c->max_invalid_session);
	bool transaction = over(&l->invalid_transaction, c->max_invalid_transaction);

	return session || transaction ? SS_R_TOO_MANY_INVALID : SS_R_NONE;
}

enum ss_reply_name ss_limits_nop(struct ss_limits *l, const struct ss_conf *c, bool in_transaction)
{
	bool many = in_transaction ? over(&l->nop_in, c->max_nop_in)
	                           : over(&l->nop_between, c->max_nop_between);

	return many ? SS_R_TOO_MANY_NOP : SS_R_NONE;
}

enum ss_reply_name ss_limits_deferred(struct ss_limits *l, const struct ss_conf *c)
{
	return over(&l->deferred_transaction, c->max_rcpts_transaction) ? SS_R_TOO_MANY_TRIES
	                                                                : SS_R_NONE;
}

enum ss_reply_name ss_limits_transaction(struct ss_limits *l, const struct ss_conf *c)
{
	return over(&l->transactions, c->max_transactions) ? SS_R_TOO_MANY_TAS : SS_R_NONE;
}

enum ss_reply_name ss_limits_rcpt(const struct ss_limits *l, const struct ss_conf *c,
                                  unsigned in_transaction)
{
	return in_transaction >= c->max_rcpts_transaction ||
	               l->rcpts_session >= c->max_rcpts_session
	           ? SS_R_TOO_MANY_RCPTS
	           : SS_R_NONE;
}

void ss_limits_rcpt_taken(struct ss_limits *l)
{
	l->rcpts_session++;
}

void ss_limits_end(struct ss_limits *l, bool accepted)
{
	l->bad_transaction = l->invalid_transaction = l->deferred_transaction = l->nop_in = 0;
	if (accepted)
		l->nop_between = 0;
}

uint64_t ss_limits_junk_left(const struct ss_limits *l, const struct ss_conf *c)
{
	uint64_t max = (uint64_t)c->max_junk_bytes;

	return l->junk_bytes < max ? max - l->junk_bytes : 0;
}

void ss_limits_junk(struct ss_limits *l, uint64_t bytes)
{
	l->junk_bytes += bytes;
}
