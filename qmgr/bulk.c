/*
 * Acts on many transactions: their turns. Chosen (bulk_choose.c), written (bulk_write.c), applied
 * (bulk_apply.c), each a little each turn. Loop thread.
 *
 * Invariant: one act at a time.
 */
#include "qmgr/bulk_int.h"

#include "libsm/time.h"

#define SLICE_US   100   /* a mail waits so long for a slice, at each of its steps */
#define SLICE_STEP 4     /* so many between two looks at the clock */
#define WAITING    16    /* acts */
#define SWEEP_MS   30000 /* so often all marks are looked at */
#define STEP_MS    20    /* between two chunks */

struct qm_bulk_act *qm_bulk_current(const struct qm *q)
{
	return SM_LIST_FIRST(&q->bulk->acts, struct qm_bulk_act, link);
}

bool qm_bulk_busy(const struct qm *q)
{
	return !sm_list_empty(&q->bulk->acts);
}

bool qm_bulk_choosing(const struct qm *q)
{
	const struct qm_bulk_act *b = qm_bulk_current(q);

	return b && (b->phase == QM_BULK_WALK || b->phase == QM_BULK_LOOK_UP);
}

/* ---- the end of an act ---- */

static void bulk_free(struct qm *q, struct qm_bulk_act *b)
{
	struct sm_list *e;

	sm_list_remove(&b->link);
	q->bulk->count--;
	while ((e = sm_list_shift(&b->pieces)) != NULL) {
		struct qm_bulk_piece *p = SM_LIST_ENTRY(e, struct qm_bulk_piece, link);

		sm_free(p->marks);
		sm_free(p);
	}
	qm_marks_discard(q->store, &b->chunks);
	qm_bulk_choose_end(b);
	sm_hash_fini(&b->asides);
	qm_filter_free(&b->filter);
	sm_free(b->ids);
	sm_free(b->moving);
	sm_free(b);
}

static void on_sweep(void *arg);

void qm_bulk_finish(struct qm *q, struct qm_bulk_act *b, int err, const char *diag)
{
	const struct qm_bulk_done done = {.err = err,
	                                  .diag = diag,
	                                  .txns = b->txns,
	                                  .rcpts = b->rcpts,
	                                  .took_ms = sm_now_ms() - b->began_ms};

	sm_log(err ? SM_ERROR : SM_NOTICE, "qm.act",
	       "act=%llu uid=%u verb=%s filter=%S transactions=%zu recipients=%zu took_ms=%lld "
	       "stat=%s reason=%S",
	       (unsigned long long)b->act.number, b->act.uid, qm_mark_word(b->act.verb),
	       sm_str(b->text), b->txns, b->rcpts, (long long)done.took_ms,
	       err          ? diag
	       : b->dry_run ? "dry_run"
	                    : "done",
	       b->act.reason);
	if (b->cb)
		b->cb(b->arg, &done);
	bulk_free(q, b);
	if (!sm_timer_is_set(&q->bulk->sweep))
		sm_timer_set(&q->bulk->sweep, sm_now_ms() + STEP_MS, on_sweep, q);
	qm_defer_run(q);
}

/* ---- turns ---- */

static void chosen(struct qm *q, struct qm_bulk_act *b)
{
	b->chosen = true;
	b->phase = QM_BULK_WRITE;
	qm_bulk_choose_end(b);
	if (b->marks == 0)
		qm_bulk_finish(q, b, 0, "");
	else if (b->act.verb == QM_MARK_NONE)
		b->phase = QM_BULK_APPLY;
	else
		qm_bulk_write(q, b);
}

static void fail(struct qm *q, struct qm_bulk_act *b, int err)
{
	b->err = err;
	b->phase = QM_BULK_WRITE;
	if (!b->writing)
		qm_bulk_finish(q, b, err, b->diag);
}

static size_t marks_max(const struct qm *q)
{
	return 2 * (size_t)(q->conf->edbc_max_entries + q->conf->aq_max_entries);
}

/* What is chosen is kept in memory and in the journal: both have an end. */
static int bounds(const struct qm *q, struct qm_bulk_act *b)
{
	if (b->marks + qm_store_marks(q->store)->count > marks_max(q)) {
		b->diag = "too many acts wait to be carried out";
		return SM_E_FULL;
	}
	if (b->marks > qm_marks_chunk_max(q->store) && qm_log_low_space(qm_store_ibdb(q->store))) {
		b->diag = "no room in the journal for so many at once";
		return SM_E_FULL;
	}
	return 0;
}

/* One step of the act; true: more can be done in this turn. */
static bool step(struct qm *q, struct qm_bulk_act *b)
{
	switch (b->phase) {
	case QM_BULK_WALK:
		if (!qm_bulk_walk(q, b))
			b->phase = QM_BULK_LOOK_UP;
		return true;
	case QM_BULK_LOOK_UP:
		return qm_bulk_look_up(q, b);
	case QM_BULK_APPLY:
		return qm_bulk_apply_next(q, b);
	default:
		return false;
	}
}

/* What follows when a phase has nothing more to do. */
static void next_phase(struct qm *q, struct qm_bulk_act *b)
{
	struct qm_marks *m = qm_store_marks(q->store);

	if (b->phase == QM_BULK_LOOK_UP) {
		chosen(q, b);
	} else if (b->phase == QM_BULK_APPLY && qm_bulk_apply_moving(q, b)) {
		m->applied = SM_MAX(m->applied, b->act.number);
		qm_bulk_finish(q, b, 0, "");
	}
}

/*
 * Acts one after the other leave no time for the sweep between them, and marks that a later act has
 * undone count as long as they are there. With many of them the next act begins behind a sweep,
 * bit by bit: nothing of it is chosen or stands yet. True: it is not at its end.
 */
static bool sweep_before(struct qm *q, struct qm_bulk_act *b)
{
	struct qm_marks *m = qm_store_marks(q->store);
	int64_t until_us = sm_now_us() + SLICE_US;

	if (!b->sweeping && m->count < marks_max(q) / 4) {
		b->swept = true;
		return false;
	}
	if (!b->sweeping)
		m->sweep = &m->chunks; /* from the oldest on */
	b->sweeping = true;
	do
		b->swept = !qm_marks_sweep(q->store, qm_bulk_needed, q);
	while (!b->swept && sm_now_us() < until_us);
	return !b->swept;
}

static void look(void *arg)
{
	(void)arg; /* the turn that this begins is all that is wanted */
}

/* A slice, once a turn. */
static bool turn(void *arg)
{
	struct qm *q = arg;
	struct qm_bulk_act *b = qm_bulk_current(q);
	int64_t until_us;
	bool more = true;
	int err;

	if (b == NULL || !q->running || q->stopping)
		return false;
	if (b->began_ms == 0) {
		if (!b->swept && sweep_before(q, b))
			return true;
		qm_bulk_choose_begin(q, b);
	}
	if (b->phase == QM_BULK_WRITE)
		return false; /* the disk's turn */
	until_us = sm_now_us() + SLICE_US;
	do {
		for (unsigned i = 0; i < SLICE_STEP && more; i++)
			more = step(q, b);
	} while (more && sm_now_us() < until_us);
	if ((b->phase == QM_BULK_WALK || b->phase == QM_BULK_LOOK_UP) &&
	    (err = bounds(q, b)) != 0) {
		fail(q, b, err);
		return true;
	}
	if (!more)
		next_phase(q, b);
	else if (b->phase != QM_BULK_APPLY && b->act.verb != QM_MARK_NONE)
		qm_bulk_write(q, b);
	/* What is moving comes with the disk: no hurry then, but somebody has to look. */
	if (!more && qm_bulk_current(q) == b && b->phase == QM_BULK_APPLY)
		sm_timer_set(&q->bulk->look, sm_loop_now_ms() + 1, look, q);
	return more || (qm_bulk_current(q) && qm_bulk_current(q) != b);
}

/* ---- what stands ---- */

/* Not only that it is active: what was undone before its snapshot was read back is not needed, and
 * must not be written again behind what undid it. */
static bool lacks_acts(const struct qm_txn *txn)
{
	return txn->acted || qm_txn_act_waits(txn) || txn->state == QM_TXN_ENDING ||
	       txn->snapshot_lsn > qm_log_durable(txn->log);
}

bool qm_bulk_needed(void *arg, struct sm_id ta)
{
	const struct qm *q = arg;
	const struct qm_txn *txn = qm_txn_find(&q->txns, ta);
	const struct qm_edbc_entry *e;

	if (txn)
		return lacks_acts(txn);
	e = qm_edbc_find(q->edbc, ta);
	return e && qm_edbc_is_marked(q->edbc, e);
}

static void on_sweep(void *arg)
{
	struct qm *q = arg;
	struct qm_marks *m = qm_store_marks(q->store);
	bool more = qm_bulk_busy(q); /* soon */

	if (!more)
		more = qm_marks_sweep(q->store, qm_bulk_needed, q);
	if (m->count > 0)
		sm_timer_set(&q->bulk->sweep, sm_now_ms() + (more ? STEP_MS : SWEEP_MS), on_sweep,
		             q);
}

/* ---- the door ---- */

int qm_bulk_begin(struct qm *q, const struct qm_bulk_ask *ask)
{
	struct qm_filter *filter = ask->filter;
	struct qm_bulk_act *b;

	if (q->bulk->count >= WAITING) {
		qm_filter_free(&filter);
		return sm_fail(SM_E_BUSY, "%d acts wait for their turn already", WAITING);
	}
	b = sm_calloc(1, sizeof(*b));
	b->filter = filter;
	b->dry_run = ask->dry_run;
	b->cb = ask->cb;
	b->arg = ask->arg;
	sm_str_cut(ask->text, b->text, sizeof(b->text));
	sm_str_cut(ask->reason, b->reason, sizeof(b->reason));
	b->act = (struct qm_act){.verb = ask->verb, .uid = ask->uid, .reason = sm_str(b->reason)};
	sm_hash_init(&b->asides);
	sm_list_init(&b->pieces);
	sm_list_init(&b->chunks);
	sm_list_push(&q->bulk->acts, &b->link);
	q->bulk->count++;
	return 0;
}

void qm_bulk_forget(struct qm *q, const void *arg)
{
	SM_LIST_FOR (b, &q->bulk->acts, struct qm_bulk_act, link)
		if (b->arg == arg)
			b->cb = NULL;
}

int qm_bulk_open(struct qm *q)
{
	struct qm_bulk *all = sm_calloc(1, sizeof(*all));

	q->bulk = all;
	sm_list_init(&all->acts);
	sm_arena_init(&all->arena, "view", 16 * 1024, 4 * 1024 * 1024);
	sm_loop_before_sleep(&all->hook, turn, q);
	sm_timer_set(&all->sweep, sm_now_ms() + SWEEP_MS, on_sweep, q);
	return 0;
}

/* What was not yet a fact will never have been. */
void qm_bulk_close(struct qm *q)
{
	struct qm_bulk *all = q->bulk;

	if (all == NULL)
		return;
	sm_hook_remove(&all->hook);
	sm_timer_cancel(&all->sweep);
	sm_timer_cancel(&all->look);
	SM_LIST_FOR_SAFE (b, &all->acts, struct qm_bulk_act, link)
		bulk_free(q, b);
	sm_arena_fini(&all->arena);
	sm_free(all->which);
	SM_FREE(q->bulk);
}
