/* How fast something comes: so many in this second, so many in the one before. Pure: the caller
 * passes the time, in milliseconds, which does not go back. */
#ifndef SM_PACE_H
#define SM_PACE_H

#include "libsm/base.h"

struct sm_pace {
	int64_t second;
	unsigned now, before;
};

static inline void sm_pace_add(struct sm_pace *p, unsigned n, int64_t now_ms)
{
	int64_t second = now_ms / 1000;

	if (second != p->second) {
		p->before = second == p->second + 1 ? p->now : 0;
		p->now = 0;
		p->second = second;
	}
	p->now += n;
}

/* The greater of the two: what a whole second brings, also when one has just begun. */
static inline unsigned sm_pace(struct sm_pace *p, int64_t now_ms)
{
	sm_pace_add(p, 0, now_ms);
	return SM_MAX(p->now, p->before);
}

#endif
