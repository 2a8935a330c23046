/* What the files of acts on many transactions share: bulk.c (turns, the door), bulk_choose.c (what
 * an act hits), bulk_write.c (its chunks), bulk_apply.c (what it does). */
#ifndef QM_BULK_INT_H
#define QM_BULK_INT_H

#include "qmgr/bulk.h"
#include "qmgr/filter.h"
#include "qmgr/qm.h"

#define QM_BULK_TEXT_MAX   1000
#define QM_BULK_REASON_MAX 200

/* Marks that are to be written as one chunk. */
struct qm_bulk_piece {
	struct sm_list link;
	uint32_t count;
	struct qm_mark *marks;
};

enum qm_bulk_phase { QM_BULK_WALK, QM_BULK_LOOK_UP, QM_BULK_WRITE, QM_BULK_APPLY };

struct qm_bulk_act {
	struct sm_list link;
	enum qm_bulk_phase phase;
	struct qm_filter *filter;
	struct qm_act act;
	char text[QM_BULK_TEXT_MAX + 1], reason[QM_BULK_REASON_MAX + 1];
	bool dry_run, chosen; /* all that it hits is known */
	bool sweeping, swept; /* marks of acts before it */
	qm_bulk_cb *cb;
	void *arg;
	int64_t began_ms;
	size_t txns, rcpts, marks;

	uint64_t cursor; /* of the walk */
	struct sm_id *ids;
	size_t id_count, id_at;
	struct sm_hash asides;

	struct sm_list pieces; /* the last one is being filled */
	struct sm_list chunks; /* written, the last one maybe not durable */
	uint32_t parts;
	bool writing;
	int err; /* it has failed: over when the chunk that is being written is durable */
	const char *diag;

	const struct qm_chunk *chunk; /* being applied */
	uint32_t mark_at;
	struct sm_id reached;   /* in the active queue; more marks of it may follow */
	struct qm_mark *moving; /* to be applied when they are in the index */
	size_t moving_count, moving_cap;
};

struct qm_bulk {
	struct sm_list acts; /* the first one is under way */
	unsigned count;
	struct sm_hook hook;
	struct sm_timer sweep, look;
	struct sm_arena arena;
	uint32_t *which; /* recipients that a filter chose */
	size_t which_cap;
};

/* ---- bulk.c ---- */
struct qm_bulk_act *qm_bulk_current(const struct qm *q); /* NULL: none */
/* Tell who asked, log, free; the next one's turn. */
void qm_bulk_finish(struct qm *q, struct qm_bulk_act *b, int err, const char *diag);

/* ---- bulk_choose.c ---- */
/* Note what is there at the beginning. */
void qm_bulk_choose_begin(struct qm *q, struct qm_bulk_act *b);
/* One step of the walk over the index, of looking up what is active; false: it is at its end. */
bool qm_bulk_walk(struct qm *q, struct qm_bulk_act *b);
bool qm_bulk_look_up(struct qm *q, struct qm_bulk_act *b);
void qm_bulk_choose_end(struct qm_bulk_act *b); /* harmless to repeat */

/* ---- bulk_write.c ---- */
/* Write the next chunk, if it is full or the last one and none is being written. */
void qm_bulk_write(struct qm *q, struct qm_bulk_act *b);

/* ---- bulk_apply.c ---- */
/* Apply one mark; false: there is none left. */
bool qm_bulk_apply_next(struct qm *q, struct qm_bulk_act *b);
/* Those that were on their way to the index; true when all have come. */
bool qm_bulk_apply_moving(struct qm *q, struct qm_bulk_act *b);

#endif
