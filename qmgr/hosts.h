/*
 * What is known of next hops: the outgoing connection cache (OCC). For each address with its port
 * how many tasks run there, how many may (slow start), whether it is dead and until when, and how
 * fast it may get messages. Pure: no clock, no input or output; times are monotonic milliseconds.
 *
 * Slow start: a host begins with oci connections; each success allows one more, up to ocm. A
 * failure to connect, or a 421, halves that. What else is under way there may still go well, and
 * only this was one connection too many; but when nothing is left, or nothing went well for a
 * minute, the host is dead: for a penalty time that doubles from failure to failure in a row. After
 * it one task at a time probes; the first success makes it a host like others.
 */
#ifndef QM_HOSTS_H
#define QM_HOSTS_H

#include "libsm/hash.h"
#include "libsm/heap.h"
#include "libsm/list.h"
#include "libsm/msg.h"
#include "qmgr/limits.h"

#define QM_HOST_TEXT 128

struct qm_host {
	struct sm_hash_node node; /* by address and port */
	struct sm_list lru;       /* in hosts.unused while nothing runs or waits there */
	struct sm_list waiters;   /* the scheduler's: routes that wait for room */
	struct sm_heap_node wake; /* the scheduler's: when the rate lets it on */
	struct sm_sa sa;          /* len 0: smtpc's own LMTP socket */
	unsigned running;         /* tasks whose first host it is */
	unsigned probes;          /* of these: such as bring no mail */
	unsigned window;          /* most of them at a time */
	unsigned failures;        /* in a row */
	unsigned misses;          /* right after a success, in a row */
	int64_t dead_until_ms;    /* 0: it was well the last time */
	int64_t failed_ms, ok_ms; /* the last time; 0: never */
	int64_t busy_ms;          /* since when something runs there without a break */
	int64_t used_ms;
	int64_t next_ms; /* by the message rate: no message before */
	uint16_t code;   /* of the last failure; 0: no reply */
	char text[QM_HOST_TEXT];
};

struct qm_hosts_conf {
	unsigned oci, ocm, omr; /* what holds where the map says nothing */
	int64_t octo_ms;        /* what nobody used for so long is forgotten */
	int64_t penalty_ms, penalty_max_ms;
	size_t max;                     /* entries */
	const struct qm_limits *limits; /* may be NULL; borrowed */
};

struct qm_hosts {
	struct qm_hosts_conf conf;
	struct sm_hash by_sa;
	struct sm_list unused; /* longest unused first */
};

void qm_hosts_init(struct qm_hosts *h, const struct qm_hosts_conf *conf);
void qm_hosts_fini(struct qm_hosts *h);
/* New limits hold at once: windows are cut, never widened beyond what was earned. */
void qm_hosts_reload(struct qm_hosts *h, const struct qm_hosts_conf *conf);

/* NULL when nothing is remembered. */
struct qm_host *qm_host_find(const struct qm_hosts *h, const struct sm_sa *sa);
/* Made when it is not there; forgets some that are too old, or the longest unused when there are
 * too many. */
struct qm_host *qm_host_get(struct qm_hosts *h, const struct sm_sa *sa, int64_t now_ms);
/* Keeps `unused` right; to be called after running or waiters changed. */
void qm_host_settle(struct qm_hosts *h, struct qm_host *x, int64_t now_ms);

/* NULL, never heard of, is as good as alive. */
bool qm_host_dead(const struct qm_host *x, int64_t now_ms);
/* How many tasks may run there now: 0 while dead, 1 for a probe, else its window. */
unsigned qm_host_limit(const struct qm_hosts *h, const struct qm_host *x, int64_t now_ms);
enum qm_room { QM_ROOM, QM_ROOM_FULL, QM_ROOM_LATER, QM_ROOM_DEAD }; /* LATER: not before next_ms */
enum qm_room qm_host_room(const struct qm_hosts *h, const struct qm_host *x, int64_t now_ms);

/* A task begins and ends there. A probe brings no message: it does not count for the rate. Its end
 * is `probes--`, and that of a task. */
void qm_host_begin(struct qm_hosts *h, struct qm_host *x, int64_t now_ms);
void qm_host_begin_probe(struct qm_hosts *h, struct qm_host *x, int64_t now_ms);
void qm_host_end(struct qm_hosts *h, struct qm_host *x, int64_t now_ms);
/* What smtpc found out about it, in whatever task: REFUSED, no session could be had; BUSY, one
 * ended with 421, which only makes the window smaller. Gives whether it died of this. */
bool qm_host_reached(struct qm_hosts *h, struct qm_host *x, enum sm_reach reach, uint16_t code,
                     struct sm_str text, int64_t now_ms);
/* An operator wants it tried at once. */
void qm_host_revive(struct qm_host *x);

/* Walk, in no order; NULL begins and ends it. */
struct qm_host *qm_host_next(const struct qm_hosts *h, const struct qm_host *x);

#endif
