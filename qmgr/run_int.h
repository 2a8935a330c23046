/* What the files of queue runs share: run.c, run_wait.c, run_check.c. */
#ifndef QM_RUN_INT_H
#define QM_RUN_INT_H

#include "qmgr/edbc.h"
#include "qmgr/qm.h"
#include "qmgr/run.h"
#include "qmgr/schedule.h"

#define QM_WAITS_ANY (1u << SM_WAIT_RUN | 1u << SM_WAIT_ASKED)

struct qm_runs {
	struct qm_schedule schedule;
	int64_t due_s;    /* wall: the schedule's next; QM_NO_RUN: none */
	int64_t looked_s; /* wall: when the timer was there the last time */
	int64_t last_s;   /* wall: the last run of all that waits for one; 0: none */
	int64_t began_ms; /* monotonic: the last run; 0: none */
	struct sm_timer timer;
	struct sm_hook hook;
	struct sm_list walks;   /* runs that have to walk, in turn */
	struct sm_list answers; /* those that have, and wait for smar's answer */
	size_t count;
	struct qm_run_check *check;
};

/* `what` is said of what is meant by `call`, without a word to anybody: it need not wait any more
 * (SM_WAIT_NO), or for something else. */
void qm_run_change(struct qm *q, const struct qm_call *call, enum sm_wait what);

/* Is it time for a run of the schedule? Asked by a timer. */
void qm_run_look(struct qm *q);

/* ---- run_check.c ---- */
void qm_run_check_open(struct qm *q);
void qm_run_check_close(struct qm *q);

#endif
