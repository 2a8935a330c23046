/*
 * What operators have stopped: deliveries to a destination, all deliveries, new mail. It lasts
 * until they resume it or its time is over, also across restarts.
 *
 * A destination is a domain, the name of a host, an address literal ("[192.0.2.1]"), or empty for
 * all: `stop delivering`. Names are compared without case.
 */
#ifndef QM_SUSPEND_H
#define QM_SUSPEND_H

#include "libsm/hash.h"
#include "qmgr/log.h"
#include "qmgr/rec.h"

#define QM_SUSPEND_MAX 10000

struct qm;
struct qm_store;

struct qm_suspension {
	struct sm_hash_node node;
	struct sm_str dest, reason; /* own memory */
	int64_t since_s, until_s;   /* wall; until_s 0: until it is resumed */
	uint32_t uid;
	struct qm_loc loc; /* of its record in IBDB: held */
};

struct qm_suspends {
	struct sm_hash by_dest;
	struct {
		bool stopped;
		int64_t since_s;
		uint32_t uid;
		char reason[257];
		struct qm_loc loc;
	} accept;
};

void qm_suspends_init(struct qm_suspends *s);
void qm_suspends_fini(struct qm_suspends *s);

/* What stops this destination, also when all are stopped: NULL: nothing. Borrowed until the next
 * change. */
const struct qm_suspension *qm_suspends_find(const struct qm_suspends *s, struct sm_str dest);
/* What was said of exactly this destination; NULL: nothing. */
const struct qm_suspension *qm_suspends_of(const struct qm_suspends *s, struct sm_str dest);
static inline bool qm_suspends_any(const struct qm_suspends *s)
{
	return s->by_dest.count > 0;
}

/*
 * Change and record; durable with the lsn (of IBDB) that is given. `put` replaces one that is
 * there; SM_E_FULL. `remove`: false when it is not there. Reasons are cut to 256 bytes.
 */
int qm_suspends_put(struct qm_store *st, const struct qm_rec_suspend *rec,
                    uint64_t *lsn) SM_MUST_CHECK;
bool qm_suspends_remove(struct qm_store *st, struct sm_str dest, uint32_t uid, int64_t now_s,
                        uint64_t *lsn);
uint64_t qm_suspends_accept(struct qm_store *st, const struct qm_rec_accepting *rec);
/* Write again what segment `seq` of IBDB has of them: true when there was any. */
bool qm_suspends_copy(struct qm_store *st, uint32_t seq);

/* ---- at start ---- */
void qm_suspends_replay(struct qm_suspends *s, const struct qm_rec_suspend *rec);
void qm_suspends_replay_accept(struct qm_suspends *s, const struct qm_rec_accepting *rec);
/* Into the journal of this run; gives the lsn, 0: nothing to write. */
uint64_t qm_suspends_rewrite(struct qm_store *st, int64_t now_s);

#endif
