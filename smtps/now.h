/*
 * deliver = now: the client hears what became of each recipient, when qmgr has tried it.
 */
#ifndef SS_NOW_H
#define SS_NOW_H

#include "libsm/err.h"

struct cdb_place;
struct ss_session;

/*
 * qmgr has the transaction: waits until it has decided, and says one reply for each accepted RCPT;
 * then the transaction is over. When the client goes away meanwhile, or the process is told to end,
 * the session is over without a word, and qmgr forgets what it has not begun.
 */
void ss_now(struct ss_session *s, const struct cdb_place *at) SM_YIELDS;

#endif
