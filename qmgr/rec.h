/* Records of the queue's logs: what rec.def expands to. Strings of a decoded record point into its
 * body. */
#ifndef QM_REC_H
#define QM_REC_H

#include "libsm/def.h"

enum qm_rec_state {
	QM_REC_OPEN,
	QM_REC_DONE,
	QM_REC_FAILED,
	/* delivered or passed on, and the sender wants to be told */
	QM_REC_DELIVERED,
	QM_REC_RELAYED,
	QM_REC_EXPANDED /* an alias: its members have the mail, and the sender wants to be told */
};

/* Flags of a transaction that last. */
enum { QM_TXN_RETURNED = 1 }; /* its content went back once: later DSNs have only the header */

/* Flags of a recipient that last. */
enum {
	QM_RCPT_HELD = 1,
	QM_RCPT_DELAY_TOLD = 2,
	QM_RCPT_SUSPECT = 4,
	QM_RCPT_FINAL = 8,   /* of an alias that is expanded: aliases are not asked again */
	QM_RCPT_QUEUED = 16, /* waits for a queue run */
	QM_RCPT_ASKED = 32,  /* waits until somebody asks for it */
	QM_RCPT_RUN = 64     /* of these: the time has come, it is tried once */
};
#define QM_CURSORS_MAX 32 /* expansions under way in one transaction, as rec.def has it */

/* What an operator wants to happen. */
enum qm_mark_verb {
	QM_MARK_NONE,
	QM_MARK_HOLD,
	QM_MARK_RELEASE,
	QM_MARK_REMOVE,
	QM_MARK_BOUNCE,
	QM_MARK_REQUEUE
};
#define QM_MARK_ALL 0xFFFFu /* index of a mark: every recipient of the transaction */

#define SM_DEF_FILE         "qmgr/rec.def"
#define SM_DEF(name)        qm_rec_##name
#define SM_DEF_NUMBER(name) QM_REC_##name
#include "libsm/def_struct.h"
#include "libsm/def_proto.h"
enum qm_rec_type {
#include "libsm/def_numbers.h"
};
#undef SM_DEF_FILE
#undef SM_DEF
#undef SM_DEF_NUMBER

/* A state of the table, as a segment names the one of its records. */
struct qm_rec_version {
	uint32_t number; /* from 1; for people, and for what the hash does not cover */
	uint64_t hash;
};
/* All whose records this program reads, oldest first; the last one is its own. */
const struct qm_rec_version *qm_rec_versions(size_t *count);
const struct qm_rec_version *qm_rec_own(void);
bool qm_rec_reads(struct qm_rec_version v);

#endif
