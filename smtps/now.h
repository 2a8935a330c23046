/*
 * deliver = now: the client hears what became of each recipient, when qmgr has tried it.
 */
#ifndef SS_NOW_H
#define SS_NOW_H

#include "libsm/err.h"

struct ss_session;

/*
 * qmgr has the transaction: waits until it has decided, and says one reply for each accepted RCPT;
 * then the transaction is over. When the client goes away meanwhile, or the process is told to end,
 * the session is over without a word, and qmgr forgets what it has not begun.
 */
void ss_now(struct ss_session *s, uint32_t offset, uint64_t size) SM_YIELDS;

#endif
