/* Delivery status notifications: RFC 3464 reports, composed at delivery from the task and the
 * original's content. */
#ifndef SC_DSN_H
#define SC_DSN_H

#include "libsm/buf.h"

struct sc_task;

/*
 * Compose the report that t->in describes into t->content. 0, or an error (the original cannot be
 * read now) with t->why set. An original that is gone for good is left out: the report goes without
 * it.
 */
int sc_dsn_compose(struct sc_task *t) SM_YIELDS SM_MUST_CHECK;

/* The composition by itself: `original` is as much of the content as was read, `whole` tells that
 * it is all of it. */
void sc_dsn_write(struct sc_task *t, struct sm_str original, bool whole, struct sm_buf *out);

#endif
