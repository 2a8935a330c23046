/* What store.c (while running) and recover.c (at start) share. */
#ifndef QM_STORE_INT_H
#define QM_STORE_INT_H

#include "libsm/buf.h"
#include "libsm/loop.h"
#include "qmgr/marks.h"
#include "qmgr/store.h"
#include "qmgr/suspend.h"

struct qm_waits {
	struct qm_wait *head, *tail;
	uint64_t told; /* durable, and said so to those who waited */
};

struct qm_store {
	struct qm_log *ibdb, *defedb;
	struct qm_lsn lsn;
	struct qm_waits ibdb_waits, defedb_waits;
	struct sm_buf scratch; /* one record being encoded */
	struct sm_arena arena; /* its arrays */
	bool ibdb_low, defedb_low;
	size_t damages;
	uint32_t ibdb_segment_bytes, defedb_segment_bytes;
	uint64_t snapshot_bytes, snapshots; /* seen since start: how large one is */

	struct {
		uint64_t end; /* behind the newest grant of counters */
		uint8_t proc;
		pid_t pid;
		struct qm_loc loc; /* of its record in IBDB: held */
	} grant;
	uint64_t birth;                    /* see qm_store_birth */
	unsigned ibdb_found, defedb_found; /* segments that replay had something to read in */

	/* What operators did, and what stands of it in IBDB. */
	struct qm_marks marks;
	struct qm_suspends suspends;

	/* What IBDB says for DEFEDB until that can say it itself: takeover.c. */
	struct sm_list overs;
	size_t over_count;

	/* After a replay. Segments of DEFEDB stay until those of the journal from before the start
	 * are gone: they may hold the `end` of what the old journal still shows as open. */
	uint64_t copied_lsn; /* in DEFEDB: what replay copied is durable with it */
	uint64_t grant_lsn;  /* in IBDB: the counters are known with it */
	uint64_t wishes_lsn; /* in IBDB: marks and suspensions of before are there; 0: none were */
	uint32_t first_ibdb; /* first segment of this run */
	struct qm_loc pin;   /* in DEFEDB, held until then; seq 0: none */
	struct sm_timer unpin;
	struct qm_wait settle_wait;
	void (*settled)(void *arg);
	void *settled_arg;
};

/* ---- takeover.c ---- */
/* Has DEFEDB room for another record of so many bytes? */
bool qm_store_room(struct qm_store *st, size_t bytes);
/* DEFEDB has it, but no room for what there is to say, and IBDB may say it. */
bool qm_store_may_take_over(struct qm_store *st, const struct qm_txn *txn);
/* `over` in IBDB, for one of which DEFEDB has txn->shadow. */
uint64_t qm_store_over(struct qm_store *st, struct qm_txn *txn);
void qm_store_overs_fini(struct qm_store *st);

void qm_store_on_durable(void *arg, struct qm_log *log, uint64_t durable_lsn);
void qm_store_on_failure(void *arg, struct qm_log *log, int err, const char *diag);
void qm_store_on_low_space(void *arg, struct qm_log *log, bool low, const char *diag);
void qm_store_on_lost(void *arg, struct qm_log *log, const struct qm_log_lost *l);
void qm_store_on_damage(void *arg, struct qm_log *log, const struct qm_log_damage *d);
void qm_store_on_segment(void *arg, struct qm_log *log, const struct qm_log_segment *s);

#endif
