/*
 * One transaction as an operator looks at it, wherever it is: in the active queue, in the index of
 * DEFEDB, or in between. What filters match and listings print.
 *
 * Strings are borrowed from the transaction, the index or the arena, and good until these change.
 */
#ifndef QM_VIEW_H
#define QM_VIEW_H

#include "libsm/arena.h"
#include "qmgr/edbc.h"
#include "qmgr/reason.h"
#include "qmgr/txn.h"

enum qm_view_state {
	QM_VIEW_ACTIVE,    /* being routed, waiting for a connection, or at smtpc */
	QM_VIEW_DEFERRED,  /* waits for its next try */
	QM_VIEW_HELD,      /* waits for an operator */
	QM_VIEW_FAILED,    /* a DSN is owed */
	QM_VIEW_DELIVERED, /* a DSN is owed that says so */
	QM_VIEW_QUEUED,    /* waits for a queue run */
	QM_VIEW_ON_DEMAND, /* waits until it is asked for */
	QM_VIEW_STATES
};

/* The number of a string in the index, for filters that remember their verdicts; 0: none. With
 * another stamp it is another string. */
struct qm_view_atom {
	uint32_t number, stamp;
};

struct qm_view_rcpt {
	struct sm_str local, domain; /* of the address; domain may be empty */
	struct sm_str host;          /* who said the last reply; empty: nobody, or smx itself */
	struct sm_str reason;        /* the last reply, as qm_reason() cuts it */
	uint16_t index, tries, code;
	enum qm_view_state state;
	struct qm_view_atom domain_atom, host_atom, reason_atom;
};

struct qm_view {
	struct sm_id id;
	struct sm_str sender; /* empty: <> */
	struct qm_view_atom sender_atom;
	uint64_t size;                  /* bytes; of a deferred one rounded up to 1 KiB */
	int64_t received_s, next_try_s; /* wall; next_try_s 0: now, or active */
	bool active;
	uint32_t rcpt_count; /* those that are not settled */
	struct qm_view_rcpt *rcpts;
};

/* Allocates the recipients in `a`, which the caller resets. In an entry, a recipient that is to be
 * removed is not there any more, and one that is to be bounced is QM_VIEW_FAILED. */
void qm_view_of_txn(const struct qm_txn *txn, struct sm_arena *a, struct qm_view *v);
void qm_view_of_entry(const struct qm_edbc *e, const struct qm_edbc_entry *x, struct sm_arena *a,
                      struct qm_view *v);

const char *qm_view_state_word(enum qm_view_state s);

#endif
