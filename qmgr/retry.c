/*
 * Retry times. No clock, no state: the callers pass both, so a scenario is a table in the test.
 */
#include "qmgr/retry.h"

#define STEP_S 3600 /* less makes no mail old */

int64_t qm_retry_next(const struct qm_retry_conf *c, int64_t received_s, int64_t now_s,
                      uint64_t chance)
{
	int64_t age = now_s - received_s;
	int64_t delay = SM_MAX(SM_MIN(age, c->max_s), c->min_s);
	int64_t expiry = received_s + c->return_s;

	delay += (int64_t)(chance % (uint64_t)(delay / 10 + 1));
	if (delay < 1)
		delay = 1;
	/* The last try comes when the time is up, not up to max_s later. */
	if (now_s < expiry && now_s + delay > expiry)
		return SM_MAX(expiry, now_s + 1);
	return now_s + delay;
}

/* And does not only seem so, because the clock was set forward since it was seen. */
static bool is_old(int64_t seen_s, int64_t stepped_s)
{
	return stepped_s == 0 || seen_s >= stepped_s;
}

bool qm_retry_expired(const struct qm_retry_conf *c, int64_t received_s, int64_t now_s,
                      unsigned tries, int64_t seen_s, int64_t stepped_s)
{
	return tries > 0 && now_s - received_s >= c->return_s && is_old(seen_s, stepped_s);
}

bool qm_retry_late(const struct qm_retry_conf *c, int64_t received_s, int64_t now_s, bool tried,
                   int64_t seen_s, int64_t stepped_s, int64_t *next_s)
{
	int64_t late_s = received_s + c->delay_s;

	if (c->delay_s >= c->return_s)
		return false;
	if (now_s >= late_s)
		return tried || is_old(seen_s, stepped_s);
	*next_s = SM_MIN(*next_s, late_s);
	return false;
}

bool qm_clock_look(struct qm_clock *c, int64_t wall_s, int64_t mono_ms)
{
	int64_t ahead_s = wall_s - mono_ms / 1000;
	bool stepped = c->seen && ahead_s - c->ahead_s > STEP_S;

	/* Set back behind the last step: what was seen since then is seen. */
	if (stepped || c->stepped_s > wall_s)
		c->stepped_s = wall_s;
	c->ahead_s = ahead_s;
	c->seen = true;
	return stepped;
}
