/*
 * Which service to start or stop next. Pure: a function of the wish (all up, all down) and of what
 * each service is doing.
 *
 * Up goes in the order of the file and waits for each service to be ready (or for its time to be
 * over) before the next one; down goes backwards and waits for each to be gone. A restart is a
 * service with `again` set, on the way up.
 */
#ifndef MC_ORDER_H
#define MC_ORDER_H

#include "libsm/base.h"

struct mc_view {
	bool up;       /* was started (its processes may be waiting for a restart) */
	bool alive;    /* has processes */
	bool stopping; /* was told to end */
	bool pending;  /* started, neither ready nor out of time */
	bool again;    /* is to be stopped and started anew */
	bool gone;     /* no longer in the file: is to be stopped only */
};

enum mc_step { MC_DONE, MC_WAIT, MC_START, MC_STOP };

/* The next step for services `v[0..n)`; *which is the service it is about (for MC_WAIT: waited
 * for). */
enum mc_step mc_order_next(bool up, const struct mc_view *v, size_t n, size_t *which);

#endif
