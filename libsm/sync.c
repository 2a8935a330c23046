/*
 * Conditions, limits and wait groups for coroutines of one loop.
 *
 * A waiter is a record on the waiting coroutine's stack, in the order of arrival. Invariant: a
 * record leaves its list either by being granted (by the signaller, who took it out) or by its own
 * coroutine giving up; a grant to somebody who was cancelled in the same turn is handed on, so that
 * none is lost. Thread: the loop's.
 */
#include "libsm/sync.h"

struct waiter {
	struct sm_list link;
	struct sm_co *co;
	bool granted;
};

/* Wait for a grant; *granted may be true even when the result is an error: then it has to be handed
 * on. */
static int wait_granted(struct sm_cond *c, const char *doing, int64_t deadline_ms, bool *granted)
{
	struct waiter w = {.co = sm_co_self(), .granted = false};
	int rc;

	sm_list_push(&c->waiters, &w.link);
	do
		rc = sm_co_park(doing, deadline_ms);
	while (rc == 0 && !w.granted);
	sm_list_remove(&w.link);
	*granted = w.granted;
	/* Granted and timed out in the same turn: the grant came in time. */
	return w.granted && rc == SM_E_TIMEOUT ? 0 : rc;
}

static bool grant_first(struct sm_cond *c)
{
	struct sm_list *e = sm_list_shift(&c->waiters);

	if (e == NULL)
		return false;
	struct waiter *w = SM_LIST_ENTRY(e, struct waiter, link);
	w->granted = true;
	sm_co_wake(w->co);
	return true;
}

void sm_cond_init(struct sm_cond *c)
{
	sm_list_init(&c->waiters);
}

int sm_cond_wait(struct sm_cond *c, const char *doing, int64_t deadline_ms)
{
	bool granted;
	int rc = wait_granted(c, doing, deadline_ms, &granted);

	if (rc != 0 && granted)
		sm_cond_signal(c);
	return rc;
}

void sm_cond_signal(struct sm_cond *c)
{
	(void)grant_first(c);
}

void sm_cond_broadcast(struct sm_cond *c)
{
	while (grant_first(c))
		continue;
}

void sm_limit_init(struct sm_limit *l, size_t max)
{
	l->max = max;
	l->held = 0;
	sm_cond_init(&l->cond);
}

bool sm_limit_try(struct sm_limit *l)
{
	/* Nobody overtakes those who wait. */
	if (l->held >= l->max || !sm_list_empty(&l->cond.waiters))
		return false;
	l->held++;
	return true;
}

int sm_limit_take(struct sm_limit *l, const char *doing, int64_t deadline_ms)
{
	bool granted;

	if (sm_co_cancelled())
		return sm_fail(SM_E_CANCEL, "%s: cancelled", doing);
	if (sm_limit_try(l))
		return 0;
	int rc = wait_granted(&l->cond, doing, deadline_ms, &granted);
	if (rc != 0 && granted)
		sm_limit_give(l);
	return rc;
}

void sm_limit_give(struct sm_limit *l)
{
	sm_assert(l->held > 0);
	/* The place passes straight to the first who waits, unless the limit has been lowered
	 * meanwhile. */
	if (l->held > l->max || !grant_first(&l->cond))
		l->held--;
}

void sm_wg_init(struct sm_wg *w)
{
	w->open = 0;
	sm_cond_init(&w->cond);
}

void sm_wg_add(struct sm_wg *w)
{
	w->open++;
}

void sm_wg_done(struct sm_wg *w)
{
	sm_assert(w->open > 0);
	if (--w->open == 0)
		sm_cond_broadcast(&w->cond);
}

int sm_wg_wait(struct sm_wg *w, const char *doing, int64_t deadline_ms)
{
	while (w->open > 0) {
		int rc = sm_cond_wait(&w->cond, doing, deadline_ms);
		if (rc != 0)
			return rc;
	}
	return 0;
}
