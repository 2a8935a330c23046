/*
 * Handing a transaction over to qmgr: the moment in which responsibility for a message changes
 * hands.
 */
#ifndef SS_COMMIT_H
#define SS_COMMIT_H

#include "libsm/str.h"

struct cdb_place;
struct ss_session;

enum ss_outcome {
	SS_TAKEN,   /* durable at qmgr: 250 */
	SS_REFUSED, /* qmgr said no: code and text; the content has been removed */
	SS_UNKNOWN, /* nobody can say: no reply may be given, the content stays */
};

/*
 * The content is on stable storage, where cdb_commit has said. *code and *text (lives
 * in the transaction's arena) for SS_REFUSED.
 */
enum ss_outcome ss_commit(struct ss_session *s, const struct cdb_place *at, int *code,
                          struct sm_str *text) SM_YIELDS;

#endif
