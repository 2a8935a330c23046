/*
 * Copying forward: what is still needed of the oldest segment of a log is written again at its end,
 * so that the segment becomes free.
 *
 * Without it one mail that nobody takes for days would hold every segment written since. It is done
 * only when the segments take much more than what lives in them (store.h), so the work is in
 * proportion to what was written. A little each turn; the loop thread decides and appends, helpers
 * read.
 */
#include "qmgr/qm.h"

#include "libsm/time.h"

#define IDLE_MS 1000
#define WORK_MS 10
#define COPIES  64   /* of transactions in memory, a turn */
#define LOOK_UP 4096 /* entries of the index, a turn */
#define COPIES_BYTES                                                                               \
	(128 * 1024)   /* for what is copied in a turn there has to be room: a copy that waits for \
	                  the disk holds up its mail */
#define AGAIN_MS 60000 /* the same segment again: something in it could not be read */

struct qm_compact {
	struct sm_timer timer;
	/* The walk over the index for segment `seq` of DEFEDB. */
	uint32_t seq;
	uint64_t cursor;
	bool walked;
	int64_t began_ms;
};

/* Those in memory: their present state is the new snapshot. What moves or ends will let go by
 * itself. */
static unsigned copy_active(struct qm *q, struct qm_log *log, uint32_t seq)
{
	unsigned n = 0;

	SM_LIST_FOR (txn, &q->txns.active, struct qm_txn, link) {
		if (txn->log != log || txn->loc.seq != seq || txn->state != QM_TXN_ACTIVE ||
		    qm_txn_act_waits(txn))
			continue;
		qm_store_txn(q->store, txn, log);
		if (++n == COPIES)
			break;
	}
	return n;
}

static bool ibdb_turn(struct qm *q)
{
	struct qm_log *log = qm_store_ibdb(q->store);
	uint32_t seq;
	bool wishes;

	/* Without room for another segment a copy would only take from the reserve. */
	if (qm_log_low_space(log) || !qm_store_wasteful(q->store, log, q->txns.by_id.count, &seq))
		return false;
	wishes = qm_store_copy_id_block(q->store, seq);
	wishes |= qm_suspends_copy(q->store, seq);
	wishes |= qm_store_copy_overs(q->store, seq);
	wishes |= !qm_bulk_busy(q) && qm_marks_copy(q->store, seq, qm_bulk_needed, q);
	return copy_active(q, log, seq) > 0 || wishes;
}

/* Is there more to do? */
static bool walk_index(struct qm *q, uint32_t seq)
{
	struct qm_compact *c = q->compact;
	int64_t now_ms = sm_loop_now_ms();

	if (c->seq != seq || (c->walked && now_ms - c->began_ms >= AGAIN_MS)) {
		c->seq = seq;
		c->cursor = 0;
		c->walked = false;
		c->began_ms = now_ms;
	}
	for (unsigned n = 0; n < LOOK_UP && !c->walked; n++) {
		uint64_t before = c->cursor;
		const struct qm_edbc_entry *e = qm_edbc_walk(q->edbc, &c->cursor);

		if (e == NULL) {
			c->walked = true;
		} else if (qm_edbc_loc(e).seq == seq && !qm_defer_forward(q, qm_edbc_id(e))) {
			c->cursor = before;
			break;
		}
	}
	return !c->walked;
}

static bool defedb_turn(struct qm *q)
{
	struct qm_log *log = qm_store_defedb(q->store);
	size_t live = qm_edbc_count(q->edbc) + q->txns.by_id.count;
	uint32_t seq;

	if (!qm_log_room(log, COPIES_BYTES) || !qm_store_wasteful(q->store, log, live, &seq))
		return false;
	return copy_active(q, log, seq) > 0 || walk_index(q, seq) || qm_defer_loads(q) > 0;
}

static void turn(void *arg)
{
	struct qm *q = arg;
	bool more = false;

	if (q->running && !q->stopping) {
		more = qm_store_say_over(q->store);
		more = ibdb_turn(q) || more;
		more = defedb_turn(q) || more;
	}
	sm_timer_set(&q->compact->timer, sm_loop_now_ms() + (more ? WORK_MS : IDLE_MS), turn, q);
}

int qm_compact_open(struct qm *q)
{
	q->compact = sm_calloc(1, sizeof(*q->compact));
	sm_timer_set(&q->compact->timer, sm_loop_now_ms() + IDLE_MS, turn, q);
	return 0;
}

void qm_compact_close(struct qm *q)
{
	if (q->compact == NULL)
		return;
	sm_timer_cancel(&q->compact->timer);
	SM_FREE(q->compact);
}
