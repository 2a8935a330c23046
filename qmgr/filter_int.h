/* What filter_parse.c makes and filter.c looks at. */
#ifndef QM_FILTER_INT_H
#define QM_FILTER_INT_H

#include "libsm/arena.h"
#include "qmgr/filter.h"

enum qm_filter_key {
	/* of the transaction */
	QM_KEY_ID,
	QM_KEY_SENDER,
	QM_KEY_AGE,
	QM_KEY_SIZE,
	QM_KEY_NEXT,
	/* of a recipient */
	QM_KEY_RCPT,
	QM_KEY_DOMAIN,
	QM_KEY_HOST,
	QM_KEY_DEST,
	QM_KEY_REASON,
	QM_KEY_TRIES,
	QM_KEY_STATE,
};
#define QM_KEY_FIRST_OF_RCPT QM_KEY_RCPT

enum qm_filter_op { QM_OP_EQ, QM_OP_LT, QM_OP_LE, QM_OP_GT, QM_OP_GE };

struct qm_pattern {
	struct sm_str text; /* lower case */
	bool glob;          /* has * or ? */
	bool below;         /* text is a suffix with a dot in front */
};

/* Holds when one of its values does, or, negated, when none does. */
struct qm_cond {
	enum qm_filter_key key;
	enum qm_filter_op op;
	bool negated;
	uint32_t count;              /* of what the key wants: */
	struct qm_pattern *patterns; /* sender, rcpt, domain, host, dest, reason */
	struct sm_id *ids;           /* sorted */
	uint64_t *numbers;           /* seconds, bytes, tries */
	unsigned states;             /* 1 << enum qm_view_state */
	/* What was found of the index's strings: stamp and a verdict of two bits, by number. */
	uint32_t *verdicts;
	uint32_t verdict_count;
};

struct qm_filter {
	struct sm_arena arena;
	struct qm_cond *conds;
	size_t count;
	int64_t now_s;
};

/* One condition. SM_E_SYNTAX, SM_E_TOOBIG with a diag that begins with the condition. */
int qm_filter_parse(struct sm_str s, struct sm_arena *a, struct qm_cond *out) SM_MUST_CHECK;
int qm_filter_id_cmp(const void *a, const void *b);

#endif
