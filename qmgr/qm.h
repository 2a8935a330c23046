/*
 * The queue manager: what its parts share. One event-loop thread owns all of it and never waits.
 *
 * Each part has one file and is named here with what others may call. Handlers check, change
 * memory, write a record (store.h) and act when it is durable. Nothing here is locked, because
 * nothing here is shared with another thread.
 */
#ifndef QM_QM_H
#define QM_QM_H

#include "libcdb/cdb.h"
#include "libsm/log.h"
#include "libsm/proc.h"
#include "libsm/rpc.h"
#include "qmgr/blocked.h"
#include "qmgr/bulk.h"
#include "qmgr/clients.h"
#include "qmgr/conf.h"
#include "qmgr/halt.h"
#include "qmgr/resource.h"
#include "qmgr/retry.h"
#include "qmgr/run.h"
#include "qmgr/sched.h"
#include "qmgr/store.h"
#include "qmgr/transcript.h"
#include "qmgr/users.h"

struct qm_stats {
	uint64_t accepted, accepted_rcpts, refused, delivered, deferred, failed, dsns,
	    double_bounces, tasks, ended, orphans, commits_lost;
};

struct qm {
	struct sm_proc *proc;
	const struct qm_conf *conf;
	struct qm_txn_table txns;
	struct qm_store *store;
	struct qm_edbc *edbc;
	struct qm_sched sched;
	struct qm_limits *limits; /* qmgr_conf */
	struct qm_blocked blocked;
	struct qm_users users;             /* incoming_commit.c: what authenticated users send */
	struct qm_transcripts transcripts; /* control_transcript.c */
	struct sm_timer transcript_timer;  /* something of them is too old then */
	struct qm_clock clock;
	struct cdb *cdb;
	struct qm_stats stats;
	struct qm_resources resources;
	int statm_fd;      /* /proc/self/statm, opened before the rights are dropped; -1: none */
	int64_t started_s; /* wall */
	gid_t gid_control; /* may look through the control socket */
	struct sm_uids smtps_users, smtpc_users, smar_users; /* of the workers we talk to */
	bool crowded; /* the active queue is to have room again: delivery.c */
	bool running; /* recovered copies are durable: accept and deliver */
	bool stopping;

	struct qm_incoming *in;
	struct qm_resolver *resolver;
	struct qm_delivery *delivery;
	struct qm_verifier *verifier;
	struct qm_defer *defer;
	struct qm_keeping *keeping;
	struct qm_expand *expand;
	struct qm_nows *nows;
	struct qm_content *content;
	struct qm_space *space;
	struct qm_control *control;
	struct qm_compact *compact;
	struct qm_bulk *bulk;
	struct qm_halt *halt;
	struct qm_runs *runs;
	struct qm_etrn *etrn;
	struct sm_timer stop_timer;
	struct sm_timer dsn_look;         /* while failures wait for what is still in work */
	void (*on_running)(struct qm *q); /* may be NULL */
};

/* ---- incoming.c, incoming_commit.c: smtps processes: ids, sessions, commits ---- */
int qm_incoming_open(struct qm *q, const struct qm_recovered *found) SM_MUST_CHECK;
void qm_incoming_close(struct qm *q);
/* Limits may have changed: apply them, and tell every smtps. What resources allow it is told by
 * itself. */
void qm_incoming_reload(struct qm *q);
/* An id of qmgr's own (process index 0xFF), from a block that is durable; false: none at hand now,
 * ask again after the next turn. */
bool qm_incoming_own_id(struct qm *q, struct sm_id *id);
/* The transaction is over; its client side may still ask whether it was taken. */
void qm_incoming_taken(struct qm *q, struct sm_id id);
size_t qm_incoming_sessions(const struct qm *q);
size_t qm_incoming_servers(const struct qm *q);
/* Tell all of them to read their certificates again. */
void qm_incoming_certs(struct qm *q, uint32_t uid);
/* Of this sealed segment only these are needed: asks its server to give back the room of the rest,
 * another one when that is not here. False: nobody is. */
bool qm_incoming_keep(struct qm *q, struct sm_id segment, const struct cdb_span *keep,
                      size_t count);
/* Seal the segments of servers that have stayed away for so long that they are gone. */
void qm_incoming_look(struct qm *q);
/* Is content `id` one that its holder has given up, or whose holder is gone? (orphans) */
bool qm_incoming_abandoned(const struct qm *q, struct sm_id id);

/* ---- credit.c: how much new mail there is room for ---- */
/* Why nothing new is taken at the moment. */
enum qm_refusal { QM_TAKES, QM_NOT_READY, QM_STOPPED, QM_NO_SPACE, QM_FULL };

enum qm_refusal qm_credit_refusal(const struct qm *q);
struct sm_msg_verdict qm_refusal_reply(enum qm_refusal why); /* code 0 for QM_TAKES */
/* Look at what is used of that which changes from turn to turn; `committing`: recipients that wait
 * for the disk. True: the credit has changed, everybody is to be told. */
bool qm_credit_measure(struct qm *q, size_t committing);
/* Recipients in the queue, wherever. */
uint32_t qm_credit_waiting(const struct qm *q);
/* What one of `servers` smtps processes may have open. */
void qm_credit(const struct qm *q, enum qm_refusal why, size_t servers, struct sm_msg_credit *out);

/* ---- resolve.c: where recipients go ---- */
int qm_resolver_open(struct qm *q) SM_MUST_CHECK;
void qm_resolver_close(struct qm *q);
/* Find routes for all recipients that are NEW. Ends in qm_sched_add, or in qm_settle_rcpt. */
void qm_resolve(struct qm *q, struct qm_txn *txn);
/* For questions of others; NULL while smar is away. */
struct sm_peer *qm_resolver_peer(const struct qm *q);

/* ---- delivery.c: smtpc processes, tasks, results ---- */
int qm_delivery_open(struct qm *q) SM_MUST_CHECK;
void qm_delivery_close(struct qm *q);
size_t qm_delivery_tasks(const struct qm *q);
/* How the hosts were that smtpc tried: `address` as the task had them. */
void qm_delivery_learn(struct qm *q, const struct sm_sa *address, uint32_t count,
                       const struct sm_msg_task_result *m);

/* ---- put_off.c: ready mail that shall not wait for its turn ---- */
void qm_put_off_dead(struct qm *q, struct qm_route *route); /* no host of it takes mail */
void qm_put_off_all(struct qm *q);                          /* there is no smtpc */
/* The active queue is nearly full: some of who has most waiting. */
void qm_put_off_much(struct qm *q);
/* The same is half full: of those who take too little of what waits. Called every so often. */
void qm_put_off_slow(struct qm *q, unsigned every_s);

/* ---- verify.c: does the next hop know a recipient? ---- */
void qm_verify_open(struct qm *q);
void qm_verify_close(struct qm *q);
void qm_verify_reload(struct qm *q);
/* A question of smtps; it gets its answer, now or later. */
int qm_verify_ask(struct qm *q, struct sm_peer *peer, const struct sm_frame *f) SM_MUST_CHECK;
struct qm_verify_stat {
	size_t cached;                     /* addresses that are remembered */
	uint64_t hits, misses;             /* questions that were answered from there, or not */
	size_t waiting, probes;            /* questions that wait; probes that run */
	uint64_t known, unknown, not_told; /* what came of probes */
};
void qm_verify_stat(const struct qm *q, struct qm_verify_stat *out);
/* Forget an address, "@domain", or all (empty). Gives how many. */
size_t qm_verify_forget(struct qm *q, struct sm_str which);

/* ---- etrn.c: who asks for mail that waits ---- */
void qm_etrn_open(struct qm *q);
void qm_etrn_close(struct qm *q); /* before runs are */
void qm_etrn_reload(struct qm *q);
/* A question of smtps; it gets its answer, now or later. */
int qm_etrn_ask(struct qm *q, struct sm_peer *peer, const struct sm_frame *f) SM_MUST_CHECK;

/* ---- settle.c: what a try came to ---- */
struct qm_try {
	enum sm_outcome outcome;
	uint16_t code;
	struct sm_str text, host;
	struct sm_str tls;  /* how the session was protected; empty: there was none */
	int64_t retry_in_s; /* for TEMP: fixed delay; 0: by the age of the mail */
	int64_t took_ms;    /* the try, when there was one */
	bool no_try;        /* others were tried for it: does not count as a try */
	bool local;         /* our own trouble: no try either, and no reason to give up */
	bool unsure;        /* TEMP: somebody may have it all the same */
	bool dsn_passed;    /* DONE: the next hop tells of the success if somebody wants to know */
	bool final;         /* DONE: delivered, not passed on */
};
/* What stands behind a next hop that is dead (NULL: there is none) was tried by proxy. */
struct qm_try qm_try_dead(const struct qm_host *host);
/* Was the clock set? To be asked now and then: what it makes look old is not given up at once. */
void qm_look_at_clock(struct qm *q);
/* Change and record one recipient; or it is NEW, for another way. Afterwards qm_progress once for
 * the transaction, and qm_resolve if something is NEW. */
void qm_settle_rcpt(struct qm *q, struct qm_rcpt *r, const struct qm_try *t);
/* The same without the record: true if the caller has to write it (qm_store_rcpt), in this turn,
 * before anything else about the transaction; not when all recipients are settled by then. */
bool qm_settle_unsaid(struct qm *q, struct qm_rcpt *r, const struct qm_try *t) SM_MUST_CHECK;
/* It waits for a run: its time is when its sender is to be told (then it is `late`), or when it is
 * given up. */
void qm_settle_wait(struct qm *q, struct qm_rcpt *r);
/* Nothing in work any more? Then report failures, and end or defer the transaction. May free it. */
void qm_progress(struct qm *q, struct qm_txn *txn);
/* A durable new transaction begins its life. */
void qm_activate(struct qm *q, struct qm_txn *txn);

/* ---- way.c: the ways of a right hand side, one after the other ---- */
/* What smar has to know of the mail, and of those that failed. */
void qm_way_tell(const struct qm_rcpt *r, struct sm_msg_route_get *m);
/* The answer. */
void qm_way_take(struct qm_rcpt *r, const struct sm_msg_route *m);
/* This try failed: is there another way, now? Then the recipient is NEW, and the try is no more
 * than a line in the log: qm_resolve. Otherwise the next attempt begins with the first way. */
bool qm_way_next(struct qm *q, struct qm_rcpt *r, const struct qm_try *t) SM_MUST_CHECK;

/* ---- poison.c: mail that crashes workers ---- */
/* A worker died while it worked on this recipient; `who` is the note it gets. The recipient is NEW
 * afterwards, or held: then qm_progress. */
void qm_suspect(struct qm *q, struct qm_rcpt *r, struct sm_str who);

/* ---- child.c: transactions of qmgr's own that share the content of another ---- */
/* With what its parent's content is; sender, recipients and the like are the caller's. */
struct qm_txn *qm_child_new(struct qm *q, struct sm_id id, const struct qm_txn *parent,
                            size_t rcpts);
/* The record that makes it was written: it begins its life when that is durable. */
void qm_child_begin(struct qm *q, struct qm_txn *child, const struct qm_txn *parent);

/* ---- expand.c: aliases ---- */
void qm_expand_open(struct qm *q);
void qm_expand_close(struct qm *q);
/* smar answered with members: into children with them. The recipient is settled, owed a DSN, or
 * EXPANDING: then it is asked for again in time. qm_progress is the caller's. */
void qm_expand(struct qm *q, struct qm_rcpt *r, const struct sm_msg_route *m);

/* ---- dsn.c: delivery status notifications ---- */
/* Report in child transactions what is to be reported by now. False: no id at hand; try again soon.
 */
bool qm_dsn_report(struct qm *q, struct qm_txn *txn);
/* The state of a recipient that was delivered: settled, or its sender is to be told. */
enum qm_rcpt_state qm_dsn_done(const struct qm_rcpt *r, bool passed, bool final);
/* The state of an alias whose members, `several` or one, have the mail. */
enum qm_rcpt_state qm_dsn_expanded(const struct qm_rcpt *r, bool list, bool several);
/* Is the sender to be told when it takes long, and was not yet? */
bool qm_dsn_wants_delay(const struct qm_rcpt *r);
/* The way that DSN_handling.submit wants for this transaction; false: it goes as any mail. `host`
 * is where *route points to. */
bool qm_dsn_route(const struct qm *q, const struct qm_txn *txn, struct sm_msg_host *host,
                  struct sm_msg_route *route);
void qm_dsn_close(struct qm *q);

/* ---- defer.c: to DEFEDB and back ---- */
int qm_defer_open(struct qm *q) SM_MUST_CHECK;
void qm_defer_close(struct qm *q);
void qm_defer(struct qm *q, struct qm_txn *txn); /* nothing in it is busy, something is open */
/* Read back what is due while the active queue has room. */
void qm_defer_run(struct qm *q);
/* Being read back or copied forward: still in the index. */
bool qm_defer_loading(const struct qm *q, struct sm_id id);
/* The ids of those; gives their number, at most QM_DEFER_LOADS_MAX. */
#define QM_DEFER_LOADS_MAX 48
size_t qm_defer_loading_ids(const struct qm *q, struct sm_id *ids);
/* Make it due now. All when id is none. Gives the number of transactions. */
size_t qm_defer_flush(struct qm *q, struct sm_id id);
/* Copy a transaction of the index forward in DEFEDB. False: as many as can be are under way. */
bool qm_defer_forward(struct qm *q, struct sm_id id);
size_t qm_defer_loads(const struct qm *q);

/* A time beyond this is none of ours: the clock was set back. */
int64_t qm_defer_far_s(const struct qm *q, int64_t now_s);

/* ---- kept.c: put off, but DEFEDB has no room ---- */
int qm_kept_open(struct qm *q) SM_MUST_CHECK;
void qm_kept_close(struct qm *q);
void qm_keep(struct qm *q, struct qm_txn *txn);   /* ACTIVE, in IBDB, nothing in it is busy */
void qm_unkeep(struct qm *q, struct qm_txn *txn); /* harmless when it is not kept */
void qm_kept_wake(struct qm *q);                  /* times have changed: try what is due */
size_t qm_kept_count(const struct qm *q);

/* ---- compact.c: old segments become free although something in them is still open ---- */
int qm_compact_open(struct qm *q) SM_MUST_CHECK;
void qm_compact_close(struct qm *q);

/* ---- content.c: removal of content, orphans ---- */
/* After a start without the logs: counts what they may have lost, and goes past its counters. */
int qm_content_open(struct qm *q, struct qm_recovered *found) SM_MUST_CHECK;
void qm_content_close(struct qm *q);
/* Soon, in a helper; but not a segment that has to be kept. */
void qm_content_remove(struct qm *q, struct sm_id content);
void qm_content_search_soon(
    struct qm *q); /* an smtps told what it has open: the rest may be orphans */

/* Have the room given back of what has ended in segments that rest. It comes by itself, now and
 * then. */
void qm_content_look(struct qm *q);
/* Contents that are older than the logs and may hold what these have lost: files that nobody knows,
 * and all segments, whoever is in them. Kept until qm_content_release. */
size_t qm_content_kept(const struct qm *q);
/* One of their ids after the other, from *at 0 on, as many as are remembered. SM_E_EOF: that was
 * the last; SM_E_AGAIN: nobody has looked yet. */
int qm_content_kept_next(const struct qm *q, size_t *at, struct sm_id *id) SM_MUST_CHECK;
void qm_content_release(struct qm *q);

/* ---- space.c: disk space and memory, measured once a second into q->resources ---- */
int qm_space_open(struct qm *q) SM_MUST_CHECK;
void qm_space_close(struct qm *q);
uint64_t qm_space_free_bytes(const struct qm *q);
uint64_t qm_space_memory_bytes(const struct qm *q); /* resident */

/* ---- control.c: what operators ask ---- */
int qm_control_open(struct qm *q) SM_MUST_CHECK;
void qm_control_close(struct qm *q);

/* ---- control_transcript.c: what is said in sessions ---- */
void qm_transcript_open(struct qm *q);
void qm_transcript_close(struct qm *q);
void qm_transcript_reload(struct qm *q);
/* How many bytes of it are wanted of this task, which has its hosts and recipients; 0: none. */
uint32_t qm_transcript_wanted(struct qm *q, const struct qm_txn *txn, const struct sm_msg_task *m);
/* `body`: the message `transcript`, decoded before, about these recipients (struct qm_rcpt.link).
 */
void qm_transcript_keep(struct qm *q, struct sm_id ta, const struct sm_list *rcpts,
                        struct sm_str body);

/* ---- queue.c: all of it ---- */
/* Replay, then open every part; conf, proc, users and groups are set. The loop is to run then.
 * Close also after a failure. */
int qm_queue_open(struct qm *q) SM_MUST_CHECK;
void qm_queue_close(struct qm *q);
/* Take and begin nothing more; sm_loop_stop when the tasks at smtpc have told their results, at the
 * latest after a while. */
void qm_queue_stop(struct qm *q);
void qm_queue_reload(struct qm *q, const struct qm_conf *conf);

#endif
