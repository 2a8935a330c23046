/*
 * The marks of operators' acts: written, found again, kept no longer than needed. Loop thread, and
 * the start.
 *
 * Invariants: chunks stand in the order of their acts. A mark is let go of after those on the same
 * transaction of older acts, also in the log: segments are freed from the oldest end, but a chunk
 * that was written again comes behind newer ones. Those that it has overtaken, which may have
 * undone what it says, stay as they are until it is gone or they are written again. So whatever is
 * left of the log says the same.
 */
#include "qmgr/marks.h"

#include <stdlib.h>
#include "libsm/log.h"
#include "qmgr/store_int.h"

#define REASON_MAX 200
#define HEAD_BYTES 512 /* of a record, without its items */
#define ITEM_BYTES 11
/* Sorted and encoded in about a slice of bulk.c, written while a mail is. */
#define CHUNK_ITEMS 2000

struct qm_marks_sorted {
	struct qm_mark mark;
	const struct qm_act *act;
};

const char *qm_mark_word(enum qm_mark_verb verb)
{
	static const char *const words[] = {"flush",  "hold",   "release",
	                                    "remove", "bounce", "requeue"};

	return words[verb];
}

void qm_marks_init(struct qm_marks *m)
{
	*m = (struct qm_marks){0};
	sm_list_init(&m->chunks);
	m->sweep = &m->chunks;
	sm_list_init(&m->gathered);
}

static void chunk_free(struct qm_chunk *c)
{
	sm_list_remove(&c->link);
	sm_free((char *)(uintptr_t)c->act.reason.p);
	sm_free(c->marks);
	sm_free(c);
}

/* What only replay needs. */
static void forget_gathered(struct qm_marks *m)
{
	SM_LIST_FOR_SAFE (c, &m->gathered, struct qm_chunk, link)
		chunk_free(c);
	SM_FREE(m->sorted);
	m->sorted_count = 0;
}

void qm_marks_fini(struct qm_marks *m)
{
	forget_gathered(m);
	SM_LIST_FOR_SAFE (c, &m->chunks, struct qm_chunk, link)
		chunk_free(c);
}

static int mark_cmp(const void *a, const void *b)
{
	const struct qm_mark *x = a, *y = b;

	if (x->counter != y->counter)
		return x->counter < y->counter ? -1 : 1;
	if (x->proc != y->proc)
		return (int)x->proc - (int)y->proc;
	return (int)x->index - (int)y->index;
}

static bool same_ta(const struct qm_mark *a, const struct qm_mark *b)
{
	return a->counter == b->counter && a->proc == b->proc;
}

static struct qm_chunk *chunk_new(const struct qm_act *act, uint32_t part, bool last,
                                  struct qm_mark *marks, uint32_t count)
{
	struct qm_chunk *c = sm_calloc(1, sizeof(*c));
	struct sm_str reason = sm_str_head(act->reason, REASON_MAX);
	char *p = sm_malloc(reason.n + 1);

	memcpy(p, reason.p ? reason.p : "", reason.n);
	p[reason.n] = '\0';
	c->act = *act;
	c->act.reason = sm_str_n(p, reason.n);
	c->part = part;
	c->last = last;
	c->marks = marks;
	c->count = count;
	return c;
}

/* ---- records ---- */

uint64_t qm_marks_number(struct qm_store *st)
{
	/* Record numbers never go back, so neither do these, whatever was freed of older acts. */
	st->marks.newest = SM_MAX(st->marks.newest + 1, st->lsn.next);
	return st->marks.newest;
}

uint32_t qm_marks_chunk_max(const struct qm_store *st)
{
	size_t room = qm_log_record_max(st->ibdb) - HEAD_BYTES;

	return (uint32_t)SM_MIN(room / ITEM_BYTES, (size_t)CHUNK_ITEMS);
}

static uint64_t write_chunk(struct qm_store *st, struct qm_chunk *c)
{
	struct qm_rec_mark rec = {
	    .act = c->act.number,
	    .verb = (uint8_t)c->act.verb,
	    .part = c->part,
	    .last = c->last,
	    .at_s = c->act.at_s,
	    .uid = c->act.uid,
	    .reason = c->act.reason,
	    .items_count = c->count,
	};
	uint64_t lsn;

	sm_arena_reset(&st->arena);
	rec.items = sm_arena_must(&st->arena, c->count * sizeof(*rec.items));
	for (uint32_t i = 0; i < c->count; i++) {
		rec.items[i].ta = qm_mark_id(&c->marks[i]);
		rec.items[i].index = c->marks[i].index;
	}
	sm_buf_reset(&st->scratch);
	qm_rec_mark_encode(&st->scratch, &rec);
	sm_assert(sm_buf_err(&st->scratch) == 0);
	lsn = qm_log_append(st->ibdb, QM_REC_mark, sm_buf_view(&st->scratch), &c->loc);
	c->bytes = st->scratch.len;
	qm_log_hold(st->ibdb, c->loc);
	return lsn;
}

struct qm_chunk *qm_marks_write(struct qm_store *st, const struct qm_act *act, uint32_t part,
                                bool last, struct qm_mark *marks, uint32_t count, uint64_t *lsn)
{
	struct qm_chunk *c = chunk_new(act, part, last, marks, count);

	sm_assert(count <= qm_marks_chunk_max(st));
	if (count > 1)
		qsort(marks, count, sizeof(*marks), mark_cmp);
	*lsn = write_chunk(st, c);
	return c;
}

void qm_marks_stand(struct qm_store *st, struct qm_chunk *c)
{
	sm_list_push(&st->marks.chunks, &c->link);
	st->marks.count += c->count;
	st->marks.bytes += c->bytes;
	/* From the oldest on again: a mark that this one undid must not outlive it. */
	st->marks.sweep = &st->marks.chunks;
}

void qm_marks_discard(struct qm_store *st, struct sm_list *chunks)
{
	SM_LIST_FOR_SAFE (c, chunks, struct qm_chunk, link) {
		qm_log_drop(st->ibdb, c->loc, qm_log_durable(st->ibdb));
		chunk_free(c);
	}
}

/* Where the first mark stands that is not before `key`. */
static uint32_t place_of(const struct qm_chunk *c, const struct qm_mark *key)
{
	uint32_t low = 0, high = c->count;

	while (low < high) {
		uint32_t mid = low + (high - low) / 2;

		if (mark_cmp(&c->marks[mid], key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static bool has(const struct qm_chunk *c, const struct qm_mark *key)
{
	uint32_t at = place_of(c, key);

	return at < c->count && mark_cmp(&c->marks[at], key) == 0;
}

const struct qm_act *qm_marks_find(const struct qm_marks *m, struct sm_id ta, uint16_t index,
                                   enum qm_mark_verb verb)
{
	const struct qm_mark one = {ta.counter, index, ta.proc},
			     all = {ta.counter, QM_MARK_ALL, ta.proc};

	for (const struct sm_list *e = m->chunks.prev; e != &m->chunks; e = e->prev) {
		const struct qm_chunk *c = SM_LIST_ENTRY(e, struct qm_chunk, link);

		if (c->act.verb == verb && (has(c, &one) || has(c, &all)))
			return &c->act;
	}
	return NULL;
}

/* A mark of an act that is older than all that were seen. */
static void older(struct qm_marks_of *of, size_t count, uint16_t index, const struct qm_act *act)
{
	size_t at = index == QM_MARK_ALL ? 0 : index, end = index == QM_MARK_ALL ? count : at + 1;

	for (; at < SM_MIN(end, count); at++)
		if (of[at].act[act->verb] == NULL)
			of[at].act[act->verb] = act;
}

void qm_marks_of_txn(const struct qm_marks *m, struct sm_id ta, struct qm_marks_of *of,
                     size_t count)
{
	const struct qm_mark first = {.counter = ta.counter, .proc = ta.proc};

	for (const struct sm_list *e = m->chunks.prev; e != &m->chunks; e = e->prev) {
		const struct qm_chunk *c = SM_LIST_ENTRY(e, struct qm_chunk, link);

		for (uint32_t i = place_of(c, &first);
		     i < c->count && same_ta(&c->marks[i], &first); i++)
			older(of, count, c->marks[i].index, &c->act);
	}
}

/* Those whose transaction needs them, in place. Gives their number. */
static uint32_t keep_needed(struct qm_mark *marks, uint32_t count, qm_marks_needed_cb *needed,
                            void *arg)
{
	struct qm_mark before = {0};
	uint32_t left = 0;
	bool keep = false;

	for (uint32_t i = 0; i < count; i++) {
		const struct qm_mark m = marks[i];

		if (i == 0 || !same_ta(&m, &before))
			keep = needed(arg, qm_mark_id(&m));
		if (keep)
			marks[left++] = m;
		before = m;
	}
	return left;
}

/* Nothing in it is needed: what its marks did is durable in snapshots, or undone by a later act
 * that is. Those cannot go before this one. */
static void chunk_drop(struct qm_store *st, struct qm_chunk *c)
{
	qm_log_drop(st->ibdb, c->loc, qm_log_durable(st->ibdb));
	st->marks.bytes -= c->bytes;
	if (st->marks.sweep == &c->link)
		st->marks.sweep = c->link.next;
	chunk_free(c);
}

bool qm_marks_sweep(struct qm_store *st, qm_marks_needed_cb *needed, void *arg)
{
	struct qm_marks *m = &st->marks;
	struct qm_chunk *c;
	uint32_t left;

	if (m->sweep == &m->chunks) {
		m->sweep = m->chunks.next;
		m->sweep_seq = 0;
	}
	if (m->sweep == &m->chunks)
		return false;
	c = SM_LIST_ENTRY(m->sweep, struct qm_chunk, link);
	m->sweep = c->link.next;
	if (c->loc.seq < m->sweep_seq)
		return m->sweep != &m->chunks; /* overtaken */
	left = keep_needed(c->marks, c->count, needed, arg);
	m->count -= c->count - left;
	c->count = left;
	if (left == 0)
		chunk_drop(st, c);
	else
		m->sweep_seq = c->loc.seq;
	return m->sweep != &m->chunks;
}

/* The oldest of the oldest segment, `seq`. */
static struct qm_chunk *chunk_in(const struct qm_store *st, uint32_t seq, bool *overtaken)
{
	*overtaken = false;
	SM_LIST_FOR (c, &st->marks.chunks, struct qm_chunk, link) {
		if (c->loc.seq == seq)
			return c;
		*overtaken = true;
	}
	return NULL;
}

bool qm_marks_copy(struct qm_store *st, uint32_t seq, qm_marks_needed_cb *needed, void *arg)
{
	bool overtaken;
	struct qm_chunk *c = chunk_in(st, seq, &overtaken);
	struct qm_loc old;
	uint32_t count;

	if (c == NULL)
		return false;
	count = c->count;
	old = c->loc;
	if (!overtaken)
		c->count = keep_needed(c->marks, c->count, needed, arg);
	st->marks.count -= count - c->count;
	if (c->count == 0) {
		chunk_drop(st, c);
		return true;
	}
	st->marks.bytes -= c->bytes;
	c->last = true; /* it is a fact, whatever becomes of the other chunks */
	qm_log_drop(st->ibdb, old, write_chunk(st, c));
	st->marks.bytes += c->bytes;
	st->marks.sweep_seq = SM_MAX(st->marks.sweep_seq, c->loc.seq);
	return true;
}

/* ---- at start ---- */

void qm_marks_replay(struct qm_marks *m, const struct qm_rec_mark *rec)
{
	struct qm_act act = {
	    .number = rec->act,
	    .verb = (enum qm_mark_verb)rec->verb,
	    .at_s = rec->at_s,
	    .uid = rec->uid,
	    .reason = rec->reason,
	};
	struct qm_mark *marks;
	struct qm_chunk *c;

	m->newest = SM_MAX(m->newest, rec->act);
	if (rec->verb == QM_MARK_NONE || rec->verb > QM_MARK_REQUEUE)
		return; /* of a later release */
	marks = sm_calloc((size_t)rec->items_count + 1, sizeof(*marks));
	for (uint32_t i = 0; i < rec->items_count; i++)
		marks[i] = (struct qm_mark){rec->items[i].ta.counter, rec->items[i].index,
		                            rec->items[i].ta.proc};
	c = chunk_new(&act, rec->part, rec->last, marks, rec->items_count);
	sm_list_push(&m->gathered, &c->link);
}

static int act_cmp(const void *a, const void *b)
{
	const struct qm_chunk *x = *(const struct qm_chunk *const *)a,
			      *y = *(const struct qm_chunk *const *)b;

	return (x->act.number > y->act.number) - (x->act.number < y->act.number);
}

/* All chunks of an act as one, each mark once: some were written again, and both are still there.
 */
static struct qm_chunk *merge(struct qm_chunk *const *c, size_t chunks)
{
	struct qm_mark *marks;
	size_t count = 0, left = 0;

	for (size_t i = 0; i < chunks; i++)
		count += c[i]->count;
	marks = sm_calloc(count + 1, sizeof(*marks));
	count = 0;
	for (size_t i = 0; i < chunks; i++) {
		memcpy(marks + count, c[i]->marks, c[i]->count * sizeof(*marks));
		count += c[i]->count;
	}
	qsort(marks, count, sizeof(*marks), mark_cmp);
	for (size_t i = 0; i < count; i++)
		if (left == 0 || mark_cmp(&marks[i], &marks[left - 1]) != 0)
			marks[left++] = marks[i];
	return chunk_new(&c[0]->act, 0, true, marks, (uint32_t)left);
}

static int sorted_cmp(const void *a, const void *b)
{
	const struct qm_marks_sorted *x = a, *y = b;

	if (!same_ta(&x->mark, &y->mark))
		return mark_cmp(&x->mark, &y->mark);
	return (x->act->number > y->act->number) - (x->act->number < y->act->number);
}

static void sort_by_ta(struct qm_marks *m)
{
	size_t count = 0;

	SM_LIST_FOR (c, &m->gathered, struct qm_chunk, link)
		count += c->count;
	m->sorted = sm_calloc(count + 1, sizeof(*m->sorted));
	SM_LIST_FOR (c, &m->gathered, struct qm_chunk, link)
		for (uint32_t i = 0; i < c->count; i++)
			m->sorted[m->sorted_count++] =
			    (struct qm_marks_sorted){c->marks[i], &c->act};
	qsort(m->sorted, count, sizeof(*m->sorted), sorted_cmp);
}

void qm_marks_seal(struct qm_marks *m)
{
	struct qm_chunk **all;
	size_t count = 0, end;

	SM_LIST_FOR (c, &m->gathered, struct qm_chunk, link)
		count++;
	all = sm_calloc(count + 1, sizeof(struct qm_chunk *));
	count = 0;
	SM_LIST_FOR (c, &m->gathered, struct qm_chunk, link)
		all[count++] = c;
	qsort(all, count, sizeof(struct qm_chunk *), act_cmp);
	for (size_t i = 0; i < count; i = end) {
		bool complete = false;

		for (end = i; end < count && all[end]->act.number == all[i]->act.number; end++)
			complete = complete || all[end]->last;
		if (complete)
			sm_list_push(&m->gathered, &merge(all + i, end - i)->link);
		for (; i < end; i++)
			chunk_free(all[i]);
	}
	sm_free(all);
	m->applied = m->newest;
	sort_by_ta(m);
}

void qm_marks_each(const struct qm_marks *m, struct sm_id ta, uint64_t act, qm_marks_each_cb *cb,
                   void *arg)
{
	const struct qm_mark key = {ta.counter, 0, ta.proc};
	size_t low = 0, high = m->sorted_count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (!same_ta(&m->sorted[mid].mark, &key) &&
		    mark_cmp(&m->sorted[mid].mark, &key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < m->sorted_count && same_ta(&m->sorted[low].mark, &key); low++)
		if (m->sorted[low].act->number > act)
			cb(arg, m->sorted[low].act, m->sorted[low].mark.index);
}

static void fold(void *arg, const struct qm_act *act, uint16_t index)
{
	struct qm_txn *txn = arg;

	for (unsigned i = 0; i < txn->rcpt_count; i++)
		if (index == QM_MARK_ALL || index == txn->rcpts[i].index)
			if (qm_mark_rcpt(&txn->rcpts[i], act))
				qm_mark_log(&txn->rcpts[i], act);
}

void qm_marks_fold(const struct qm_marks *m, struct qm_txn *txn)
{
	qm_marks_each(m, txn->id, txn->act, fold, txn);
	txn->act = SM_MAX(txn->act, m->applied);
}

uint64_t qm_marks_rewrite(struct qm_store *st, qm_marks_needed_cb *needed, void *arg)
{
	struct qm_marks *m = &st->marks;
	uint32_t max = qm_marks_chunk_max(st);
	uint64_t lsn = 0;

	SM_LIST_FOR (c, &m->gathered, struct qm_chunk, link) {
		uint32_t left = keep_needed(c->marks, c->count, needed, arg), part = 0;

		for (uint32_t at = 0, n; at < left; at += n) {
			struct qm_mark *marks;

			n = SM_MIN(left - at, max);
			marks = sm_calloc(n, sizeof(*marks));
			memcpy(marks, c->marks + at, n * sizeof(*marks));
			qm_marks_stand(st,
			               qm_marks_write(st, &c->act, part++, true, marks, n, &lsn));
		}
	}
	forget_gathered(m);
	return lsn;
}

/* ---- what an act does ---- */

bool qm_mark_rcpt(struct qm_rcpt *r, const struct qm_act *act)
{
	struct sm_str text;

	if (r->state == QM_RCPT_SETTLED || qm_rcpt_owed(r))
		return false; /* it has come to its end already; a DSN that is owed will be made */
	if (act->verb != QM_MARK_NONE)
		r->txn->changed = r->txn->acted = true;
	switch (act->verb) {
	case QM_MARK_NONE:
		if (!(r->flags & QM_RCPT_HELD))
			r->next_try_s = 0;
		break;
	case QM_MARK_HOLD:
		r->flags |= QM_RCPT_HELD;
		break;
	case QM_MARK_RELEASE:
		if (r->flags & (QM_RCPT_HELD | QM_RCPT_QUEUED | QM_RCPT_ASKED))
			r->next_try_s = 0;
		r->flags &= (uint8_t)~QM_RCPT_HELD;
		if (r->flags & (QM_RCPT_QUEUED | QM_RCPT_ASKED))
			r->flags |= QM_RCPT_RUN;
		break;
	case QM_MARK_REMOVE:
		qm_rcpt_set(r, QM_RCPT_SETTLED);
		break;
	case QM_MARK_BOUNCE:
		text = sm_arena_printf(&r->txn->arena, "5.7.0 returned by the administrator%s%.*s",
		                       act->reason.n ? ": " : "", SM_STR_ARG(act->reason));
		qm_rcpt_note(r, 554, text, SM_STR(""), act->at_s);
		r->flags &= (uint8_t)~QM_RCPT_HELD;
		r->next_try_s = 0;
		qm_rcpt_set(r, QM_RCPT_FAILED);
		break;
	case QM_MARK_REQUEUE:
		r->txn->queued_s = SM_MAX(r->txn->queued_s, act->at_s);
		r->flags &= (uint8_t) ~(QM_RCPT_HELD | QM_RCPT_DELAY_TOLD | QM_RCPT_QUEUED |
		                        QM_RCPT_ASKED | QM_RCPT_RUN);
		r->next_try_s = 0;
		break;
	}
	return true;
}

void qm_mark_log(const struct qm_rcpt *r, const struct qm_act *act)
{
	if (act->verb == QM_MARK_REMOVE || act->verb == QM_MARK_BOUNCE)
		sm_log(SM_INFO, act->verb == QM_MARK_REMOVE ? "qm.remove" : "qm.bounce",
		       "ss_ta=%I rcpt=<%S> rcpt_idx=%u act=%llu uid=%u reason=%S", r->txn->id,
		       r->addr, r->index, (unsigned long long)act->number, act->uid, act->reason);
}
