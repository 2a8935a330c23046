/*
 * The order of starting and stopping. Invariant: at any time at most one service is on its way, so
 * that what a later service needs of an earlier one is there when it starts, and still there while
 * it drains. No state; any thread.
 */
#include "mcp/order.h"

static enum mc_step down(const struct mc_view *v)
{
	if (!v->up && !v->alive)
		return MC_DONE;
	return v->stopping && v->alive ? MC_WAIT : MC_STOP;
}

static enum mc_step up(const struct mc_view *v)
{
	if (v->stopping && v->alive)
		return MC_WAIT;
	if (v->gone || (v->again && (v->up || v->alive)))
		return down(v);
	if (!v->up)
		return MC_START;
	return v->pending ? MC_WAIT : MC_DONE;
}

enum mc_step mc_order_next(bool want_up, const struct mc_view *v, size_t n, size_t *which)
{
	enum mc_step step;

	for (size_t i = 0; i < n; i++) {
		*which = want_up ? i : n - 1 - i;
		step = want_up ? up(&v[*which]) : down(&v[*which]);
		if (step != MC_DONE)
			return step;
	}
	return MC_DONE;
}
