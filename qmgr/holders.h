/*
 * What qmgr remembers of ids beside its transactions. Pure: the caller passes the time.
 *
 * Holders: for each smtps, by process index, which of its ids it still needs; for finding contents
 * that nobody will ever commit. One that stays away for an hour is gone: no smtps waits so long for
 * the answer to a commit, so nothing of its segments is on its way any more. Of files of its own
 * that is not said: one may be a large content that still comes. Taken: ids of transactions that
 * are over, for an smtps that missed the answer to its commit.
 */
#ifndef QM_HOLDERS_H
#define QM_HOLDERS_H

#include "libsm/hash.h"
#include "libsm/id.h"
#include "libsm/list.h"

#define QM_HOLDERS        256
#define QM_HOLDER_AWAY_MS (3600 * 1000LL)

struct qm_holder {
	bool known;      /* told us since qmgr started */
	bool here, gone; /* neither: away, since left_ms */
	int64_t left_ms;
	uint64_t next_counter; /* ids not below it are its own business */
	struct sm_hash open;   /* ids below it that it still needs */
};
struct qm_holders {
	struct qm_holder v[QM_HOLDERS];
};

void qm_holders_init(struct qm_holders *h, int64_t now_ms);
void qm_holders_fini(struct qm_holders *h);
/* A holder begins to tell: everything before is forgotten; qm_holder_open follows for each id. */
void qm_holder_start(struct qm_holders *h, uint8_t proc, uint64_t next_counter);
void qm_holder_open(struct qm_holders *h, uint8_t proc, struct sm_id id);
/* Its connection is over. */
void qm_holder_left(struct qm_holders *h, uint8_t proc, int64_t now_ms);
/* Looks who has stayed away for too long; true: some are gone that were not at the last look. */
bool qm_holders_look(struct qm_holders *h, int64_t now_ms);
/* Was it so at the last look? */
bool qm_holder_is_gone(const struct qm_holders *h, uint8_t proc);
/* It is ours now. */
void qm_holder_taken(struct qm_holders *h, struct sm_id id);
/* Has its holder told that it needs this id no more? Or is it gone, and that is a segment? */
bool qm_holder_gave_up(const struct qm_holders *h, struct sm_id id);

struct qm_taken {
	struct sm_hash ids;
	struct sm_list order; /* oldest first */
	size_t max;
	int64_t keep_ms;
};

void qm_taken_init(struct qm_taken *t, size_t max, int64_t keep_ms);
void qm_taken_fini(struct qm_taken *t);
void qm_taken_add(struct qm_taken *t, struct sm_id id, int64_t now_ms);
bool qm_taken_has(const struct qm_taken *t, struct sm_id id);

#endif
