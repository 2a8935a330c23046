/* Delivery status notifications: RFC 3464 and 6533 reports, composed at delivery from the task and
 * the original's content. */
#ifndef SC_DSN_H
#define SC_DSN_H

#include "libsm/buf.h"
#include "smtpc/mime.h"

struct sc_task;

/* What a server takes, and what a report has. */
enum { SC_DSN_8BIT = 1, SC_DSN_UTF8 = 2 /* SMTPUTF8, and 8-bit content with it */ };

/*
 * Compose the report that t->in describes into t->content, for a server that takes 7-bit content.
 * 0, or an error (the original cannot be read now) with t->why set. An original that is gone for
 * good is left out: the report goes without it.
 */
int sc_dsn_compose(struct sc_task *t) SM_YIELDS SM_MUST_CHECK;

/* Before each server: compose it anew if what was composed is not the best that this one takes. 0,
 * or an error with t->why set. No report: nothing is done. */
int sc_dsn_fit(struct sc_task *t, unsigned allowed) SM_MUST_CHECK;

/* The composition by itself: `original` is as much of the content as was read, `whole` tells that
 * it is all of it. `allowed`: SC_DSN_*; gives what came out of these. */
unsigned sc_dsn_write(struct sc_task *t, struct sm_str original, bool whole, unsigned allowed,
                      struct sm_buf *out);

#endif
