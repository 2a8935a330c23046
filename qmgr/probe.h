/*
 * Probes in the schedule: who asks a next hop something without bringing mail. Pure, as sched.h.
 *
 * A probe waits for its route as mail does, and runs at a host within the host's window, but it
 * takes only what mail can spare: of a window of four and more a quarter, of a smaller one nothing
 * unless the host has nothing else to do. All probes together take at most `max`, and a quarter of
 * what the agents can do.
 */
#ifndef QM_PROBE_H
#define QM_PROBE_H

#include "qmgr/sched.h"

struct qm_probe {
	struct sm_list link; /* in route.probes while it waits */
	struct qm_route *route;
	/* While it runs: */
	struct qm_host *host;
	struct qm_agent *agent;
	unsigned hop;
};

/* It waits for this route; the memory is the caller's. */
void qm_probe_add(struct qm_sched *s, struct qm_route *r, struct qm_probe *p);
/* It waits no longer. */
void qm_probe_remove(struct qm_sched *s, struct qm_probe *p);
/*
 * The next one that may run. TASK: *out runs now, to be ended by qm_probe_done; DEAD: *out waits
 * for a route without a living host, and was taken from there; NONE: all that wait have to wait on.
 */
enum qm_step qm_probe_next(struct qm_sched *s, int64_t now_ms, unsigned max,
                           struct qm_probe **out) SM_MUST_CHECK;
/* The hosts for its task, as qm_pick_hosts. */
uint32_t qm_probe_hosts(const struct qm_sched *s, const struct qm_probe *p, int64_t now_ms,
                        struct sm_msg_host *hosts);
/* As qm_sched_done. */
void qm_probe_done(struct qm_sched *s, struct qm_probe *p, const struct sm_sa *kept,
                   int64_t now_ms);

#endif
