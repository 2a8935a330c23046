/* What store.c (while running) and recover.c (at start) share. */
#ifndef QM_STORE_INT_H
#define QM_STORE_INT_H

#include "libsm/buf.h"
#include "qmgr/store.h"

struct qm_waits {
	struct qm_wait *head, *tail;
};

struct qm_store {
	struct qm_log *ibdb, *defedb;
	struct qm_lsn lsn;
	struct qm_waits ibdb_waits, defedb_waits;
	struct sm_buf scratch; /* one record being encoded */
	struct sm_arena arena; /* its arrays */
	bool ibdb_low, defedb_low;
	size_t damages;
	uint64_t copied_lsn; /* in DEFEDB: what replay copied is durable with it */
	struct qm_wait settle_wait;
	struct qm_wait *settled;
};

void qm_store_on_durable(void *arg, struct qm_log *log, uint64_t durable_lsn);
void qm_store_on_failure(void *arg, struct qm_log *log, int err, const char *diag);
void qm_store_on_low_space(void *arg, struct qm_log *log, bool low, const char *diag);
void qm_store_on_damage(void *arg, struct qm_log *log, const struct qm_log_damage *d);

#endif
