/*
 * A task that sends nothing: does the server know these recipients?
 *
 *   MAIL FROM:<>  RCPT TO:<x> ...  RSET
 *
 * in one go where the server can pipeline. Done: it takes mail for the recipient (250, 251, 252);
 * permanent: it said 5yz to this RCPT; temporary: it cannot be told. Only an answer to RCPT
 * itself speaks of the recipient: what is said to connection, EHLO or MAIL, with whatever code,
 * leaves it open. So does 552, which is "too many recipients" or a full mailbox.
 */
#ifndef SC_PROBE_H
#define SC_PROBE_H

#include "smtpc/task.h"

/* Over an open session, which afterwards is as good as new, spent, or broken. 0: all recipients
 * have a result; else why there is no answer: those without one are open for another host. */
int sc_probe(struct sc_task *t, struct sc_session *s) SM_YIELDS SM_MUST_CHECK;

#endif
