/* Shared by the tests of queue runs: one on a whole queue manager, and what came of it. */
#ifndef QM_T_RUN_H
#define QM_T_RUN_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "qmgr/t_qm.h"

static struct qm_run_done last;
static unsigned runs;

static inline void ran(void *arg, const struct qm_run_done *done)
{
	(void)arg;
	last = *done;
	runs++;
}

static inline bool is_over(void)
{
	return runs >= t_want;
}

/* A run, until it has called all that it is for. */
static inline void run_of(const char *dest, bool asked_for)
{
	const struct qm_run_ask ask = {
	    .dest = sm_str(dest), .asked_for = asked_for, .by = "operator", .uid = 42, .cb = ran};

	t_want = runs + 1;
	assert_int_equal(qm_run(&w.q, &ask), 0);
	assert_true(t_wait(is_over));
}

/* Recipients in the index that wait for this. */
static inline size_t waits(enum sm_wait wait)
{
	return qm_edbc_wait_count(w.q.edbc, wait);
}

#define T(f) cmocka_unit_test_setup_teardown(f, t_qm_setup_waiting, t_qm_teardown)

#endif
