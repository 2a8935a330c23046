/* Shared by the tests of acts, see t_bulk.h. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "libsm/time.h"
#include "qmgr/t_bulk.h"

struct t_acts t_acts;

static void done(void *arg, const struct qm_bulk_done *d)
{
	struct t_acts *a = arg;

	*a = (struct t_acts){a->count + 1, d->err, d->txns, d->rcpts};
}

bool t_acts_over(void)
{
	return t_acts.count >= t_want;
}

struct qm_filter *t_filter(const char *conditions)
{
	struct sm_str v[8], rest = sm_str(conditions);
	struct qm_filter *f;
	size_t n = 0;

	while (rest.n > 0)
		v[n++] = sm_str_split(rest, ' ', &rest);
	if (qm_filter_new(v, n, sm_wall_s(), &f) != 0)
		fail_msg("filter: %s", sm_diag());
	return f;
}

void t_act_begin(enum qm_mark_verb verb, const char *conditions, bool dry_run)
{
	const struct qm_bulk_ask a = {
	    .verb = verb,
	    .filter = t_filter(conditions),
	    .text = sm_str(conditions),
	    .reason = SM_STR("for a test"),
	    .uid = 42,
	    .dry_run = dry_run,
	    .cb = done,
	    .arg = &t_acts,
	};

	assert_int_equal(qm_bulk_begin(&w.q, &a), 0);
}

void t_act(enum qm_mark_verb verb, const char *conditions, size_t rcpts)
{
	t_want = t_acts.count + 1;
	t_act_begin(verb, conditions, false);
	assert_true(t_wait(t_acts_over));
	assert_int_equal(t_acts.err, 0);
	assert_int_equal(t_acts.rcpts, rcpts);
}

bool t_held(void)
{
	return qm_edbc_held_count(w.q.edbc) >= t_want && w.q.txns.by_id.count == 0 &&
	       qm_defer_loads(&w.q) == 0;
}
