/* Shared by the tests of a full DEFEDB, see t_full.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "libsm/fault.h"
#include "qmgr/t_full.h"

#ifdef SM_TESTING

#define JUNK_BYTES 20000
#define JUNK_TYPE  QM_REC_mark /* says nothing in DEFEDB */

static struct qm_log *defedb(void)
{
	return qm_store_defedb(w.q.store);
}

static bool is_full(void)
{
	return qm_log_low_space(defedb());
}

bool t_roomy(void)
{
	return !is_full();
}

/* A further segment is there, or cannot be had. */
static bool full_or_ready(void)
{
	struct qm_log_stat st;

	qm_log_stat(defedb(), &st);
	return is_full() || st.ready > 0;
}

static void add_junk(size_t bytes, bool needed)
{
	static char junk[JUNK_BYTES];
	struct qm_loc loc;

	qm_log_append(defedb(), JUNK_TYPE, sm_str_n(junk, bytes), &loc);
	if (needed)
		qm_log_hold(defedb(), loc);
}

void t_fill_up(bool needed)
{
	assert_int_equal(sm_fault_arm("defedb.create=enospc"), 0);
	for (;;) {
		assert_true(t_wait(full_or_ready));
		if (is_full())
			return;
		add_junk(JUNK_BYTES, needed);
	}
}

void t_fill(void)
{
	t_fill_up(true);
	for (size_t bytes = JUNK_BYTES; bytes > 0; bytes /= 20)
		while (qm_log_fits(defedb(), bytes))
			add_junk(bytes, true);
	assert_true(t_wait(t_all_written));
}

void t_make_room(void)
{
	assert_int_equal(sm_fault_arm(NULL), 0);
	assert_true(t_wait(t_roomy));
}

bool t_kept(void)
{
	return qm_kept_count(&w.q) >= t_want && qm_delivery_tasks(&w.q) == 0;
}

void t_still_full(void)
{
	assert_true(is_full());
}

unsigned t_given(const char *addr)
{
	unsigned n = 0;

	for (unsigned i = 0; i < w.sc.tasks; i++)
		for (unsigned k = 0; k < w.sc.task[i].count && k < 40; k++)
			n += strcmp(w.sc.task[i].rcpt[k], addr) == 0;
	return n;
}

#endif
