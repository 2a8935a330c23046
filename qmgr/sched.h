/*
 * The scheduler: which recipients go out next, together, to which host, through which smtpc. Pure:
 * no clock, no input or output, so that scenarios are tests (checks/replay).
 *
 * A route is a place mail goes to: recipients with equal route keys may share a transaction.
 * Recipients of one transaction that wait for the same route form a group. Within a route the
 * senders have lanes, and lanes take turns: who sends a hundred thousand mails does not delay
 * another's first. Routes with groups take turns, too. Each task is charged to one host (hosts.h):
 * of the living hosts of the best preference one that has room. Is there none, the route waits for
 * them, and is looked at again when one of them has room, never before.
 */
#ifndef QM_SCHED_H
#define QM_SCHED_H

#include "libsm/hash.h"
#include "libsm/heap.h"
#include "libsm/list.h"
#include "libsm/pace.h"
#include "qmgr/hosts.h"
#include "qmgr/txn.h"

#define QM_AGENTS_MAX 64 /* smtpc processes */
#define QM_ROUTE_MUCH 64 /* recipients behind a route: worth taking away when room is short */

struct sm_peer;

/* An smtpc process. Owned by the scheduler from add to remove. */
struct qm_agent {
	struct sm_peer *peer; /* delivery.c's affair */
	unsigned slot, max_tasks, running;
};

/* A host of a route. */
struct qm_hop {
	struct sm_list wait; /* in host.waiters while the route waits for room there */
	struct qm_route *route;
	struct qm_host *host;      /* while it waits */
	struct sm_msg_host target; /* its name is own memory */
	unsigned idle;             /* sessions open to it, as far as is known */
};

struct qm_route {
	struct sm_hash_node node; /* by key */
	struct sm_list link;      /* in sched.ready, or by itself */
	struct sm_list lru;       /* in sched.idle while nothing uses it */
	struct sm_list much;      /* in sched.much while it has much waiting */
	struct sm_str key;        /* own memory */
	struct sm_str conf;       /* what its recipients require, for smtpc; own memory */
	uint8_t agent;            /* enum sm_agent */
	uint32_t hop_count, turn;
	struct qm_hop *hops;
	struct sm_list lanes;         /* with groups, the next turn first */
	unsigned waiting;             /* recipients in groups */
	struct sm_list held;          /* groups that wait for others of their transaction */
	unsigned left;                /* recipients that went from there to a task: for put_off.c */
	struct sm_pace pace;          /* of these */
	unsigned running;             /* tasks at smtpc */
	unsigned waits;               /* hops in host.waiters */
	struct sm_list probes;        /* that wait: probe.h */
	struct sm_list probe_turn;    /* in sched.probing */
	uint16_t idle[QM_AGENTS_MAX]; /* sessions that each agent keeps open to it */
};

/* What one sender has waiting for a route. */
struct qm_lane {
	struct sm_hash_node node; /* in sched.lanes */
	struct sm_list link;      /* in route.lanes */
	struct qm_route *route;
	struct sm_list groups; /* oldest first */
};

struct qm_group {
	struct sm_list link;  /* in lane.groups, or in txn.held */
	struct sm_list there; /* in route.held while it is in txn.held */
	struct qm_route *route;
	struct qm_lane *lane; /* NULL while held */
	struct qm_txn *txn;
	struct sm_list rcpts; /* qm_rcpt.link, state READY */
	unsigned count;
};

struct qm_sched_conf {
	struct qm_hosts_conf hosts;
	unsigned lmtp_max_rcpts, smtp_max_rcpts;
	size_t max_routes; /* remembered */
};

struct qm_sched {
	struct qm_sched_conf conf;
	struct qm_hosts hosts;
	struct sm_hash routes, lanes;
	struct qm_route *found; /* the last that was asked for: often the next one too; or NULL */
	struct sm_list ready;   /* routes with groups that may go now, the next turn first */
	struct sm_list idle;    /* routes that nobody uses, longest unused first */
	struct sm_list much;    /* routes with QM_ROUTE_MUCH recipients waiting, or more */
	struct sm_heap timed;   /* hosts that the message rate holds up, by when it lets them on */
	struct qm_agent *agents[QM_AGENTS_MAX];
	unsigned room;          /* tasks that the agents may still take */
	unsigned waiting;       /* routes that wait for room at their hosts */
	struct sm_list probing; /* routes that probes wait for, the next turn first */
	unsigned probes;        /* that run */
	int64_t now_ms;         /* the last that was told */
	uint64_t looked;        /* groups and routes that were looked at to find one: for tests */
};

void qm_sched_init(struct qm_sched *s, const struct qm_sched_conf *conf);
void qm_sched_fini(struct qm_sched *s);
/* New limits: holds at once. */
void qm_sched_reload(struct qm_sched *s, const struct qm_sched_conf *conf, int64_t now_ms);

/* A new agent with free slots, NULL when there are too many. Removing forgets its idle sessions;
 * its tasks must have been taken back. */
struct qm_agent *qm_agent_add(struct qm_sched *s, unsigned max_tasks);
void qm_agent_remove(struct qm_sched *s, struct qm_agent **a);

/* The route of this answer of smar, its hosts brought up to date. */
struct qm_route *qm_route_get(struct qm_sched *s, const struct sm_msg_route *m, int64_t now_ms);
struct qm_route *qm_route_find(struct qm_sched *s, struct sm_str key);
/* No host of it is to be tried now: gives the one that may be tried first again. NULL: it lives, or
 * has no host (*none then). */
const struct qm_host *qm_route_dead(const struct qm_sched *s, const struct qm_route *r,
                                    int64_t now_ms);

/*
 * A recipient became ready for this route: joins the group of its transaction there. The groups of
 * a transaction are held until qm_sched_release, so that recipients whose routes come one after the
 * other go together. Sets its state.
 */
void qm_sched_add(struct qm_sched *s, struct qm_route *r, struct qm_rcpt *rcpt);
void qm_sched_release(struct qm_sched *s, struct qm_txn *txn);
/*
 * With `used` of `max` places of the active queue taken: has this route so much waiting that more
 * should not come in? Waiting there is cheaper than to go and come back, but the others need room
 * as well: a route may take up three times of what is free (all that is read back from DEFEDB,
 * which leaves a quarter to new mail), and a few in any case.
 */
bool qm_route_crowded(const struct qm_route *r, size_t used, size_t max);
/* In how many seconds half of what waits there will have gone at its present pace: 1 to `most`. */
int64_t qm_route_half_s(struct qm_route *r, int64_t now_ms, int64_t most);
/*
 * Room for those few, when it has become short: takes the newer half of what waits behind the route
 * that has most, as qm_sched_drain does. Gives that route; NULL: room is not short, or nobody has
 * much.
 */
struct qm_route *qm_sched_make_room(struct qm_sched *s, size_t used, size_t max,
                                    struct sm_list *out, int64_t now_ms);
/* Take one out of the group that it waits in; state unchanged. */
void qm_sched_remove(struct qm_sched *s, struct qm_rcpt *rcpt);
/* Take everything that waits behind a route: the recipients are on `out`, state unchanged. */
void qm_sched_drain(struct qm_sched *s, struct qm_route *r, struct sm_list *out, int64_t now_ms);

struct qm_pick {
	struct qm_route *route;
	struct qm_host *host; /* charged for it */
	unsigned hop;         /* which of the route's that is */
	struct qm_agent *agent;
	struct qm_txn *txn;
	unsigned count;
	bool reuse; /* the agent has an open session there */
};
enum qm_step {
	QM_STEP_NONE, /* nothing is ready, or no agent has room */
	QM_STEP_TASK, /* *out, and its recipients on `rcpts` (state READY still); the counts of
	                 route, host and agent are raised: qm_sched_done lowers them */
	QM_STEP_DEAD  /* out->route has no living host: it is to be drained before the next step */
};
enum qm_step qm_sched_next(struct qm_sched *s, int64_t now_ms, struct qm_pick *out,
                           struct sm_list *rcpts) SM_MUST_CHECK;
/* The hosts for the task, in order: the one that is charged, then the others that are not dead.
 * There is room for route->hop_count; names are borrowed. A task that finds its first host dead
 * goes on to the next by itself, and is not counted there. */
uint32_t qm_pick_hosts(const struct qm_sched *s, const struct qm_pick *p, int64_t now_ms,
                       struct sm_msg_host *hosts);

/* A task has ended. `kept`: the agent keeps a session to this address (NULL: none). */
void qm_sched_done(struct qm_sched *s, struct qm_route *r, struct qm_host *host, struct qm_agent *a,
                   const struct sm_sa *kept, int64_t now_ms);
/* How an address was, told for each that a task tried; after qm_sched_done. Gives whether it died
 * of this. */
bool qm_sched_reached(struct qm_sched *s, const struct sm_sa *sa, enum sm_reach reach,
                      uint16_t code, struct sm_str text, int64_t now_ms);
/* An agent's idle session to this address has ended. More than there are do no harm. */
void qm_route_session_gone(struct qm_route *r, const struct qm_agent *a, const struct sm_sa *sa);

/* Look again at hosts whose message rate lets them on. Gives when to call it again, INT64_MAX: no
 * need. */
int64_t qm_sched_wake(struct qm_sched *s, int64_t now_ms);
/* Whatever was dead may be tried at once. */
void qm_sched_revive(struct qm_sched *s);
/* The same for one address; true: it was dead or held up. */
bool qm_sched_revive_host(struct qm_sched *s, const struct sm_sa *sa);

#endif
