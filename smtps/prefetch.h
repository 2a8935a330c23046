/*
 * Look-ahead for pipelining clients (RFC 2920): the checks of MAIL and RCPT commands that are
 * buffered already are asked all at once, so that a batch waits for smar once and not once a
 * recipient. Only an optimisation: what was not asked ahead is asked when its turn comes.
 */
#ifndef SS_PREFETCH_H
#define SS_PREFETCH_H

#include "smtps/ask.h"

/* Ask ahead for the commands behind the one that is being done; `sender` is that of their
 * transaction. */
void ss_prefetch(struct ss_session *s, struct sm_str sender);
/* The question about this recipient: the one asked ahead, or a new one in `mem`. The caller ends
 * it, before his strings go. */
struct ss_ask *ss_prefetch_rcpt(struct ss_session *s, struct sm_str sender, struct sm_str rcpt,
                                struct ss_ask *mem);
/* Forget what was asked ahead. */
void ss_prefetch_drop(struct ss_session *s);

/* MAIL was accepted: go on with what smar has answered meanwhile. */
void ss_prefetch_verify(struct ss_session *s);

#endif
