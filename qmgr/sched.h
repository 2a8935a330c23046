/*
 * The scheduler: which recipients go out next, together, through which smtpc. Pure: no clock, no
 * input or output, so that scenarios are tests.
 *
 * A route is a place mail goes to: recipients with equal route keys may share a transaction.
 * Recipients of one transaction that wait for the same route form a group. Routes with groups and
 * room in their window take turns, so that a slow or crowded one never holds back another.
 */
#ifndef QM_SCHED_H
#define QM_SCHED_H

#include "libsm/hash.h"
#include "libsm/list.h"
#include "qmgr/txn.h"

#define QM_AGENTS_MAX 64 /* smtpc processes */

struct sm_peer;

/* An smtpc process. Owned by the scheduler from add to remove. */
struct qm_agent {
	struct sm_peer *peer; /* delivery.c's affair */
	unsigned slot, max_tasks, running;
};

struct qm_route {
	struct sm_hash_node node; /* by key */
	struct sm_list link;      /* in sched.ready, or by itself */
	struct sm_list lru;       /* in sched.idle while nothing uses it */
	struct sm_str key;        /* own memory */
	uint8_t agent;            /* enum sm_agent */
	uint32_t host_count;
	struct sm_msg_host *hosts; /* own memory, with their names */
	struct sm_list groups;     /* oldest first */
	unsigned waiting;          /* recipients in groups */
	unsigned
	    left; /* recipients that went from there to a task: for delivery.c, which resets it */
	unsigned running;             /* tasks at smtpc */
	unsigned window;              /* most tasks at a time: slow start */
	int64_t dead_until_ms;        /* no host could be reached: defer without a try until then
	                                 (monotonic) */
	uint16_t idle[QM_AGENTS_MAX]; /* sessions that each agent keeps open to it */
};

struct qm_group {
	struct sm_list link; /* in route.groups */
	struct qm_route *route;
	struct qm_txn *txn;
	struct sm_list rcpts; /* qm_rcpt.link, state READY */
	unsigned count;
};

struct qm_sched_conf {
	unsigned initial_window, max_window, lmtp_max_rcpts, smtp_max_rcpts;
	size_t max_routes; /* remembered */
};

struct qm_sched {
	struct qm_sched_conf conf;
	struct sm_hash routes;
	struct sm_list ready; /* routes with groups and room in their window */
	struct sm_list idle;  /* routes that nobody uses, longest unused first */
	struct qm_agent *agents[QM_AGENTS_MAX];
	unsigned room; /* tasks that the agents may still take */
};

void qm_sched_init(struct qm_sched *s, const struct qm_sched_conf *conf);
void qm_sched_fini(struct qm_sched *s);

/* A new agent with a free slot, NULL when there are too many. Removing forgets its idle sessions;
 * its tasks must have been taken back. */
struct qm_agent *qm_agent_add(struct qm_sched *s, unsigned max_tasks);
void qm_agent_remove(struct qm_sched *s, struct qm_agent **a);

/* The route of this answer of smar, its hosts brought up to date. */
struct qm_route *qm_route_get(struct qm_sched *s, const struct sm_msg_route *m);
struct qm_route *qm_route_find(struct qm_sched *s, struct sm_str key);

/* A recipient became ready for this route: joins the waiting group of its transaction there, or
 * begins one. Sets its state. */
void qm_sched_add(struct qm_sched *s, struct qm_route *r, struct qm_rcpt *rcpt);
/* Take one out of the group that it waits in; state unchanged. */
void qm_sched_remove(struct qm_sched *s, struct qm_rcpt *rcpt);
/* Take everything that waits behind a route: the recipients are on `out`, state unchanged. */
void qm_sched_drain(struct qm_sched *s, struct qm_route *r, struct sm_list *out);

struct qm_pick {
	struct qm_route *route;
	struct qm_agent *agent;
	struct qm_txn *txn;
	unsigned count;
	bool reuse; /* the agent has an open session there */
};
/*
 * The next task: true, *out, and its recipients on `rcpts` (state READY still). The route's and
 * agent's running counts are raised: qm_sched_done lowers them. False: nothing is ready, no agent,
 * or no agent has room.
 */
bool qm_sched_next(struct qm_sched *s, struct qm_pick *out, struct sm_list *rcpts);

/* How a task ended: reach of the host, whether the agent keeps a session. */
void qm_sched_done(struct qm_sched *s, struct qm_route *r, struct qm_agent *a, enum sm_reach reach,
                   bool session_kept);
void qm_sched_session_gone(struct qm_route *r, const struct qm_agent *a);

#endif
