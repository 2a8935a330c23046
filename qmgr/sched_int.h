/*
 * Between sched.c, which decides who goes next, and routes.c, which knows where each route stands.
 * Nobody else includes it.
 */
#ifndef QM_SCHED_INT_H
#define QM_SCHED_INT_H

#include "qmgr/sched.h"

/* Put the route on the lists that its state asks for: after each change of what it has. */
void qm_route_settle(struct qm_sched *s, struct qm_route *r);
/* Its hosts have no room at this preference: it is not ready before one of them has. */
void qm_route_wait(struct qm_sched *s, struct qm_route *r, uint16_t pref, int64_t now_ms);
/* Who waits for this host longest may ask for its room. One for each room: whoever takes it offers
 * what is left. All of them when it died: they have to look elsewhere. */
void qm_route_offer(struct qm_sched *s, struct qm_host *x, int64_t now_ms);
/* The same for each host of a route that may have been woken for it and does not take it. */
void qm_route_offer_hops(struct qm_sched *s, const struct qm_route *r, int64_t now_ms);
/* The agent keeps a session to this address; qm_route_session_gone takes it back. */
void qm_route_session_kept(struct qm_route *r, const struct qm_agent *a, const struct sm_sa *sa);
/* So many of its recipients are with an smtpc from now on. */
void qm_route_went(struct qm_route *r, unsigned rcpts, int64_t now_ms);
/* An agent with room, best with an open session there (*reuse); NULL: none has room. */
struct qm_agent *qm_agent_choose(struct qm_sched *s, const struct qm_route *r, bool *reuse);
/* Nothing may wait behind it, and no task may run. */
void qm_route_free(struct qm_sched *s, struct qm_route *r);

#endif
