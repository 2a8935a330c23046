/*
 * The index of the deferred queue: for each transaction in DEFEDB when it is due, where its
 * snapshot is, and what operators ask about: who sent it, where it goes, what was last said.
 *
 * About a hundred bytes for a transaction with one recipient: strings that many share (senders,
 * domains, hosts, reasons) are atoms (atoms.h), the rest of a recipient is its local part. Pure: no
 * clock, no input or output. Pointers to entries are good until the next change of the index.
 */
#ifndef QM_EDBC_H
#define QM_EDBC_H

#include "libsm/id.h"
#include "qmgr/log.h"
#include "qmgr/rec.h"
#include "qmgr/txn.h"

#define QM_EDBC_NEVER ((int64_t)UINT32_MAX) /* next try of what is all held */

struct qm_atoms;
struct qm_edbc;
struct qm_edbc_entry;

struct qm_edbc *qm_edbc_new(void) __attribute__((returns_nonnull));
void qm_edbc_free(struct qm_edbc **e);

/* Insert or replace, from a transaction (of its recipients those that are not settled) or from its
 * snapshot. When it is due is found in it: the first of its recipients that are not held;
 * QM_EDBC_NEVER for one that is all held. Marks of a replaced entry are gone: the snapshot is
 * newer. `next_try_s` of entries: wall seconds; less than 0 and beyond the year 2106 are cut. */
void qm_edbc_put_txn(struct qm_edbc *e, const struct qm_txn *txn, struct qm_loc loc);
void qm_edbc_put_rec(struct qm_edbc *e, const struct qm_rec_txn *rec, struct qm_loc loc);
void qm_edbc_remove(struct qm_edbc *e, struct sm_id id); /* harmless when it is not there */
const struct qm_edbc_entry *qm_edbc_find(const struct qm_edbc *e, struct sm_id id);
/* The one that is due first, NULL: empty. */
const struct qm_edbc_entry *qm_edbc_top(const struct qm_edbc *e);
/* Change when it is due: false when it is not there. QM_EDBC_NEVER parks it, and what is all held
 * stays so. */
bool qm_edbc_set(struct qm_edbc *e, struct sm_id id, int64_t next_try_s);
/* All that are not held to the same time, and do not wait for a queue run. Gives
 * their number. */
size_t qm_edbc_set_all(struct qm_edbc *e, int64_t next_try_s);
/* Its snapshot was copied to another place: everything else stays. */
bool qm_edbc_moved(struct qm_edbc *e, struct sm_id id, struct qm_loc loc);

/*
 * An operator's act on a recipient (QM_MARK_ALL: on each). HOLD and RELEASE change what is held,
 * and when the entry is due: never when all is held, at `at_s` when something is released (its own
 * time is in the snapshot only). REMOVE, BOUNCE and REQUEUE wait here until the transaction is read
 * back, end a hold, and make it due at `at_s`. What is to be removed or bounced, and what a DSN is
 * owed for, is beyond later acts: they change nothing. False when no such recipient is there. An
 * entry is `marked` while something differs from its snapshot.
 */
bool qm_edbc_mark(struct qm_edbc *e, struct sm_id id, uint16_t index, enum qm_mark_verb verb,
                  int64_t at_s);
/* What waits for a recipient (not HOLD or RELEASE), and whether it is held; for who reads it back.
 */
enum qm_mark_verb qm_edbc_marked(const struct qm_edbc *e, const struct qm_edbc_entry *x,
                                 uint16_t index, bool *held);
/* Does anything in it differ from the snapshot in DEFEDB? */
bool qm_edbc_is_marked(const struct qm_edbc *e, const struct qm_edbc_entry *x);

size_t qm_edbc_count(const struct qm_edbc *e);
size_t qm_edbc_rcpt_count(const struct qm_edbc *e);
size_t qm_edbc_held_count(const struct qm_edbc *e); /* recipients */
size_t qm_edbc_bytes(const struct qm_edbc *e);      /* memory it takes, with its atoms */

/* Walk in pieces: start with *cursor 0; NULL is the end. What comes or goes meanwhile may be seen
 * or not, the others are seen once. */
const struct qm_edbc_entry *qm_edbc_walk(const struct qm_edbc *e, uint64_t *cursor);

struct sm_id qm_edbc_id(const struct qm_edbc_entry *x);
/* Small, and the same as long as it is there: for arrays beside the index. Another one may have it
 * afterwards. */
uint32_t qm_edbc_number(const struct qm_edbc *e, const struct qm_edbc_entry *x);
struct qm_loc qm_edbc_loc(const struct qm_edbc_entry *x);
int64_t qm_edbc_next_try(const struct qm_edbc_entry *x);
unsigned qm_edbc_rcpts(const struct qm_edbc_entry *x);
/* The domain of its recipient number i < qm_edbc_rcpts(x): for skipping what goes nowhere now. */
struct sm_str qm_edbc_domain(const struct qm_edbc *e, const struct qm_edbc_entry *x, unsigned i);

/*
 * What an entry knows, without making texts of it: for counting a million in a moment. A reason is
 * a number of its own kind; numbers and strings as in atoms.h.
 */
struct qm_edbc_rcpt {
	struct sm_str local; /* in the index */
	uint32_t domain, host, reason;
	uint16_t index, tries;
	bool held, failed, delivered; /* the last two: a DSN is owed */
	enum qm_mark_verb mark;       /* what waits for it */
	enum sm_wait wait;            /* for what it waits, beside its time; NO: nothing */
	bool run;                     /* it need not wait any more: a run has begun for it */
	bool by_dest;                 /* it waits because of where it goes */
	int64_t tell_s; /* of what waits: when its sender is told, or it is given up */
};
struct qm_edbc_reader {
	uint32_t sender;
	uint32_t left; /* recipients to come */
	int64_t received_s;
	uint64_t size; /* bytes, rounded up to 1 KiB */
	const uint8_t *at;
};
struct qm_edbc_reader qm_edbc_read(const struct qm_edbc *e, const struct qm_edbc_entry *x);
bool qm_edbc_read_rcpt(struct qm_edbc_reader *r, struct qm_edbc_rcpt *out); /* false: the end */
/* The strings behind the numbers. `qm_edbc_names`: senders, domains, hosts. */
const struct qm_atoms *qm_edbc_names(const struct qm_edbc *e);
const struct qm_atoms *qm_edbc_reasons(const struct qm_edbc *e);

/* ---- what waits for a queue run, or to be asked for, by destination (edbc_wait.c) ---- */

/*
 * A mail of which something waits is in the list of its destination, in the order they came; one
 * that waits for several is in a list apart, QM_EDBC_SEVERAL. Mail of which nothing waits pays
 * nothing for that.
 */
#define QM_EDBC_SEVERAL 0u
#define QM_EDBC_NO_DEST UINT32_MAX

/* What is meant: recipients in a domain (without case; empty: in all; `below`: and below it) that
 * wait for one of `waits` (bits 1 << SM_WAIT_*), and for whom no run has begun. */
struct qm_call {
	struct sm_str dest;
	bool below, by_dest; /* by_dest: only those that wait because of where they go */
	unsigned waits;
};
bool qm_call_means(const struct qm_call *c, struct sm_str domain, enum sm_wait wait, bool by_dest);

/* The list of a domain; QM_EDBC_NO_DEST: nothing waits for it alone. Numbers of lists are below
 * qm_edbc_dests(), and with a gap here and there: qm_edbc_dest gives p NULL then. */
uint32_t qm_edbc_dest_find(const struct qm_edbc *e, struct sm_str domain);
uint32_t qm_edbc_dests(const struct qm_edbc *e);
struct sm_str qm_edbc_dest(const struct qm_edbc *e, uint32_t dest); /* as it is compared */
size_t qm_edbc_dest_mails(const struct qm_edbc *e, uint32_t dest);
/* Recipients that wait in it, of one kind; by_dest: of these, those that do so for where they go.
 */
size_t qm_edbc_dest_rcpts(const struct qm_edbc *e, uint32_t dest, enum sm_wait wait, bool by_dest);
/* All recipients that wait, of one kind. */
size_t qm_edbc_wait_count(const struct qm_edbc *e, enum sm_wait wait);

/* Walk over a list, as it was when `until` was asked for: each of its mails comes once, whatever
 * comes and goes meanwhile. One walk at a time. */
uint32_t qm_edbc_wait_now(const struct qm_edbc *e);
const struct qm_edbc_entry *qm_edbc_wait_next(struct qm_edbc *e, uint32_t dest, uint32_t until);

/* Those that are meant are to be tried from `at_s` on; gives their number. */
unsigned qm_edbc_call(struct qm_edbc *e, struct sm_id id, const struct qm_call *c, int64_t at_s);
/* Those that are meant wait for something else. */
unsigned qm_edbc_rewait(struct qm_edbc *e, struct sm_id id, const struct qm_call *c,
                        enum sm_wait wait);
/* The run is over for those in this domain: they wait again. Gives their number. */
unsigned qm_edbc_run_over(struct qm_edbc *e, struct sm_id id, struct sm_str domain);
/* Does something in it wait, or has a run begun for it? */
bool qm_edbc_has_waits(const struct qm_edbc_entry *x);
/* For what this recipient waits, if no run has begun for it. */
enum sm_wait qm_edbc_waiting(const struct qm_edbc *e, const struct qm_edbc_entry *x,
                             uint16_t index);
/* Does nothing in it have a time, because all waits or is held? */
bool qm_edbc_all_waits(const struct qm_edbc_entry *x);

#endif
