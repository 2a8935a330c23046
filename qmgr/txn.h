/*
 * Transactions and recipients in memory: the data that every other file of qmgr works on.
 *
 * A transaction owns an arena with its strings and its recipients. It is in the table by id from
 * the moment it is accepted (or read back) until it has ended durably or has moved to the deferred
 * queue. All times are wall seconds: they outlive a restart.
 */
#ifndef QM_TXN_H
#define QM_TXN_H

#include "libsm/arena.h"
#include "libsm/hash.h"
#include "libsm/id.h"
#include "libsm/list.h"
#include "libsm/msg.h"
#include "qmgr/contents.h"
#include "qmgr/log.h"
#include "qmgr/rec.h"

struct qm_group;
struct qm_now;

enum qm_rcpt_state {
	QM_RCPT_NEW,        /* wants a route */
	QM_RCPT_ROUTING,    /* smar was asked */
	QM_RCPT_EXPANDING,  /* an alias: the next of its members are due when a child is durable */
	QM_RCPT_READY,      /* in a group of its route */
	QM_RCPT_DELIVERING, /* smtpc has it */
	QM_RCPT_DEFERRED,   /* waits for next_try_s */
	QM_RCPT_FAILED,     /* to be reported in a DSN at next_try_s */
	QM_RCPT_DELIVERED,  /* to be reported as delivered */
	QM_RCPT_RELAYED,    /* to be reported as passed on */
	QM_RCPT_EXPANDED,   /* to be reported as expanded */
	QM_RCPT_SETTLED     /* delivered, reported or discarded: nothing is owed any more */
};

struct qm_rcpt {
	struct qm_txn *txn;
	struct sm_list link;    /* in its group, its task, or by itself */
	struct qm_group *group; /* while READY: where it waits (sched.h) */
	struct sm_str addr, orcpt;
	struct sm_str text, host; /* of the last try; in the transaction's arena or static */
	struct sm_str tls;        /* how its session was protected; empty: there was none */
	struct sm_str after; /* of an alias: the last member that is in a child; empty: none is */
	char *cursor;        /* where that is kept; NULL: none was */
	int64_t next_try_s, last_try_s;
	uint16_t index, tries, code;
	uint8_t notify;
	uint8_t flags; /* QM_RCPT_* */
	enum qm_rcpt_state state;
	uint8_t lost; /* how often a worker died with it */
	uint8_t mark; /* enum qm_mark_verb: what an operator wants when it is back from a worker */
	bool late;    /* its last try failed, and the sender wants to know by now */
	uint8_t crowded_out; /* how often a living host had no session for it */
	uint8_t way;    /* of its right hand side: those before this one failed in this attempt */
	bool other_way; /* there is another one, for when this one fails for now */
};

enum qm_txn_state {
	QM_TXN_COMMITTING, /* its first record is not durable yet */
	QM_TXN_ACTIVE,
	QM_TXN_MOVING, /* its snapshot in DEFEDB, then its `moved` in IBDB, are becoming durable */
	QM_TXN_ENDING  /* its `end` is becoming durable */
};

/* Who brought a mail: for the log, and for next hops that want to know. */
struct qm_client {
	struct sm_sa sa;          /* len 0: nobody did, or it is not known */
	struct sm_str name, helo; /* forward-confirmed; as it was said */
	struct sm_str proto;      /* "ESMTPSA" (RFC 3848) */
	struct sm_str xid;        /* the id that the mail has there; empty: not told */
};

struct qm_txn {
	struct sm_hash_node node; /* by id */
	struct sm_list link;      /* in qm.active, oldest first */
	struct sm_list held;      /* groups that wait for routes of its other recipients: sched.h */
	struct sm_list hold;      /* in the resolver's list while it has such */
	int64_t hold_until_ms;    /* monotonic; 0: none was held yet */
	unsigned routing;         /* recipients ROUTING */
	struct sm_arena arena;
	struct sm_id id, content;
	struct sm_str sender, envid, auth;
	struct qm_client client;
	struct sm_str route; /* it goes this way, as in the mailertable; empty: by recipient */
	uint8_t deliver;     /* SM_DELIVER_* */
	struct sm_str msgid; /* of one whose client waits; empty: it has none */
	uint32_t content_offset;
	uint64_t size;
	int64_t received_s;
	int64_t queued_s; /* from when its age counts: received, or requeued */
	uint8_t body, ret, flags;
	uint8_t utf8;          /* SM_UTF8_*; of a DSN: of the mail it reports on */
	uint64_t act;          /* the newest act of an operator that is in it */
	uint8_t level;         /* how many times aliases were expanded on the way here */
	struct sm_id child_of; /* of an alias there; none: it came from outside, or is a DSN */
	enum qm_txn_state state;
	/* a DSN: what it reports */
	uint8_t dsn_kind;
	struct sm_id dsn_of;
	struct sm_str dsn_sender;
	int64_t dsn_received_s; /* when that came */
	int64_t dsn_until_s;    /* until when it will be tried; 0: not any more */
	uint32_t dsn_count;
	struct sm_msg_dsn_rcpt *dsn_rcpts;

	uint16_t rcpt_count;
	struct qm_rcpt *rcpts;
	unsigned busy; /* recipients NEW, ROUTING, EXPANDING, READY or DELIVERING */
	unsigned open; /* recipients not SETTLED */
	unsigned owed; /* recipients FAILED, DELIVERED, RELAYED, EXPANDED: a DSN is to tell */

	struct qm_log *log;    /* which log has it: IBDB or DEFEDB */
	struct qm_loc loc;     /* of its newest snapshot there: held */
	struct qm_loc shadow;  /* IBDB has it, but DEFEDB has this older snapshot as well: held */
	bool changed;          /* the snapshot lacks more than how and when it was last tried */
	bool acted;            /* it lacks an act of an operator */
	uint64_t snapshot_lsn; /* of the newest that was written; 0: it was read back */
	struct qm_now *now;    /* its client waits: now.c; NULL: it is a mail as any */
	struct qm_kept *kept;  /* DEFEDB had no room for it: kept.c */
	uint64_t last_lsn;     /* of its newest record */
	uint64_t child_lsn;    /* of the newest record that made a child of it; 0: none */
};

struct qm_txn_table {
	struct sm_hash by_id;
	size_t rcpts; /* in all transactions of the table: the size of the active queue */
	struct sm_list active;
	struct qm_contents contents; /* that more than one uses */
};

/* Where its content is. */
static inline struct cdb_place qm_txn_place(const struct qm_txn *txn)
{
	return (struct cdb_place){txn->content, txn->content_offset, txn->size};
}

void qm_txn_table_init(struct qm_txn_table *t);
void qm_txn_table_fini(struct qm_txn_table *t);

/* New transaction in the table with room for `rcpts` recipients; strings are to be copied into its
 * arena. The id must be new. */
struct qm_txn *qm_txn_new(struct qm_txn_table *t, struct sm_id id, size_t rcpts);
struct qm_txn *qm_txn_find(const struct qm_txn_table *t, struct sm_id id);
/* Out of the table and freed; nothing may point to it or its recipients. */
void qm_txn_free(struct qm_txn_table *t, struct qm_txn **txn);

/* From the frame of smtps, from a record. Copies. Recipients are NEW. */
struct qm_txn *qm_txn_from_commit(struct qm_txn_table *t, const struct sm_msg_ta_commit *m);
struct qm_txn *qm_txn_from_rec(struct qm_txn_table *t, const struct qm_rec_txn *rec);
/* The mail came from this client; copies. */
void qm_client_keep(struct qm_txn *txn, const struct qm_client *c);
/* The snapshot: borrowed strings, arrays in `a`. Only what is not settled. */
void qm_txn_to_rec(const struct qm_txn *txn, struct sm_arena *a, struct qm_rec_txn *rec);
/* Apply a change found in the log. An index that is not there is ignored (it was settled in the
 * snapshot). */
void qm_txn_apply(struct qm_txn *txn, const struct qm_rec_rcpt_change *c);
/* The DSN `child` was made about the recipients in `items`: they are settled, or told of the delay.
 * One that is not there any more is ignored. */
void qm_txn_reported(struct qm_txn *txn, uint8_t kind, const struct qm_rec_index_item *items,
                     uint32_t count);
/* A change found in the log: members of an alias up to `after` are in children. */
void qm_txn_expanded(struct qm_txn *txn, const struct qm_rec_expand *e);
/* Members up to this one are in children. */
void qm_rcpt_cursor(struct qm_rcpt *r, struct sm_str after);
/* How many of its recipients are known to be aliases, with members that are still to come. */
unsigned qm_txn_cursors(const struct qm_txn *txn);
/* Is a DSN to tell of it? */
bool qm_rcpt_owed(const struct qm_rcpt *r);
/* When there is something to do for it: wall, the least next_try_s of what is open and not held. */
int64_t qm_txn_due_s(const struct qm_txn *txn);
/* A snapshot says that it has all acts so far: not yet of a mail at smtpc for which one waits. */
bool qm_txn_act_waits(const struct qm_txn *txn);
/* What it waits for, apart from retry times; it does not wait while a run goes on for it. */
static inline enum sm_wait qm_wait_of(uint8_t flags)
{
	return flags & QM_RCPT_QUEUED  ? SM_WAIT_RUN
	       : flags & QM_RCPT_ASKED ? SM_WAIT_ASKED
	                               : SM_WAIT_NO;
}
static inline bool qm_rcpt_waits(const struct qm_rcpt *r)
{
	return (r->flags & (QM_RCPT_QUEUED | QM_RCPT_ASKED)) && !(r->flags & QM_RCPT_RUN);
}
/* Does all mail that came this way wait, and for what? */
static inline enum sm_wait qm_deliver_wait(uint8_t deliver)
{
	return deliver == SM_DELIVER_QUEUE  ? SM_WAIT_RUN
	       : deliver == SM_DELIVER_HOLD ? SM_WAIT_ASKED
	                                    : SM_WAIT_NO;
}
/* NULL when no such recipient is held. */
struct qm_rcpt *qm_txn_rcpt(struct qm_txn *txn, uint16_t index);

/* Change state and keep busy/open/owed right: the only way to change it. */
void qm_rcpt_set(struct qm_rcpt *r, enum qm_rcpt_state state);
/* Its state as records have it: QM_REC_*. */
uint8_t qm_rcpt_rec_state(const struct qm_rcpt *r);
/* As a record has it; strings are borrowed. */
struct qm_rec_rcpt qm_rcpt_to_rec(const struct qm_rcpt *r);
/* Remember how the last try went; copies text and host into the transaction's arena, cut to what
 * fits. */
void qm_rcpt_note(struct qm_rcpt *r, uint16_t code, struct sm_str text, struct sm_str host,
                  int64_t now_s);
void qm_rcpt_note_tls(struct qm_rcpt *r, struct sm_str tls);

#endif
