/*
 * The table of what operators have stopped, and its records in the journal. Loop thread, and the
 * start.
 *
 * Invariant: what is in the table has one record that is held; the newest record about a
 * destination is right, so one that resumes it need not be held: the older ones are freed before
 * it.
 */
#include "qmgr/suspend.h"

#include "libsm/utf8.h"
#include "qmgr/store_int.h"

#define REASON_MAX 256

void qm_suspends_init(struct qm_suspends *s)
{
	*s = (struct qm_suspends){0};
	sm_hash_init(&s->by_dest);
}

static void drop(struct qm_suspends *s, struct qm_suspension *x)
{
	sm_hash_remove(&s->by_dest, &x->node);
	sm_free((char *)(uintptr_t)x->dest.p);
	sm_free((char *)(uintptr_t)x->reason.p);
	sm_free(x);
}

void qm_suspends_fini(struct qm_suspends *s)
{
	for (struct sm_hash_node *n = sm_hash_next(&s->by_dest, NULL), *next; n; n = next) {
		next = sm_hash_next(&s->by_dest, n);
		drop(s, SM_CONTAINER_OF(n, struct qm_suspension, node));
	}
	sm_hash_fini(&s->by_dest);
}

static bool dest_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_str_caseeq(SM_CONTAINER_OF(n, struct qm_suspension, node)->dest,
	                     *(const struct sm_str *)key);
}

/* What is no domain (a host's name, an address) is ASCII, and stays. */
static struct sm_str compared(struct sm_str dest, char text[SM_DOMAIN_ASCII_SIZE])
{
	struct sm_str ascii;

	return !sm_str_is_ascii(dest) && sm_domain_ascii(dest, text, &ascii) == 0 ? ascii : dest;
}

static struct qm_suspension *lookup(const struct qm_suspends *s, struct sm_str dest)
{
	char text[SM_DOMAIN_ASCII_SIZE];
	struct sm_hash_node *n;

	dest = compared(dest, text);
	n = sm_hash_find(&s->by_dest, sm_hash_case(dest), dest_eq, &dest);
	return n ? SM_CONTAINER_OF(n, struct qm_suspension, node) : NULL;
}

const struct qm_suspension *qm_suspends_of(const struct qm_suspends *s, struct sm_str dest)
{
	return qm_suspends_any(s) ? lookup(s, dest) : NULL;
}

const struct qm_suspension *qm_suspends_find(const struct qm_suspends *s, struct sm_str dest)
{
	const struct qm_suspension *all;

	if (!qm_suspends_any(s))
		return NULL;
	if ((all = lookup(s, SM_STR(""))) != NULL || dest.n == 0)
		return all;
	return lookup(s, dest);
}

static struct sm_str own(struct sm_str s)
{
	char *p = sm_malloc(s.n + 1);

	memcpy(p, s.p ? s.p : "", s.n);
	p[s.n] = '\0';
	return sm_str_n(p, s.n);
}

/* Replaces; keeps where the record is. */
static struct qm_suspension *put(struct qm_suspends *s, const struct qm_rec_suspend *rec)
{
	struct qm_suspension *x = lookup(s, rec->dest);
	char text[SM_DOMAIN_ASCII_SIZE];

	if (x == NULL) {
		x = sm_calloc(1, sizeof(*x));
		x->dest = own(compared(rec->dest, text));
		sm_hash_insert(&s->by_dest, &x->node, sm_hash_case(x->dest));
	} else {
		sm_free((char *)(uintptr_t)x->reason.p);
	}
	x->reason = own(sm_str_head(rec->reason, REASON_MAX));
	x->since_s = rec->since_s;
	x->until_s = rec->until_s;
	x->uid = rec->uid;
	return x;
}

static uint64_t append(struct qm_store *st, uint16_t type, struct qm_loc *loc)
{
	sm_assert(sm_buf_err(&st->scratch) == 0);
	return qm_log_append(st->ibdb, type, sm_buf_view(&st->scratch), loc);
}

static uint64_t write_suspension(struct qm_store *st, struct qm_suspension *x)
{
	const struct qm_rec_suspend rec = {
	    .dest = x->dest,
	    .on = 1,
	    .since_s = x->since_s,
	    .until_s = x->until_s,
	    .uid = x->uid,
	    .reason = x->reason,
	};
	struct qm_loc old = x->loc;
	uint64_t lsn;

	sm_buf_reset(&st->scratch);
	qm_rec_suspend_encode(&st->scratch, &rec);
	lsn = append(st, QM_REC_suspend, &x->loc);
	qm_log_hold(st->ibdb, x->loc);
	if (old.seq)
		qm_log_drop(st->ibdb, old, lsn);
	return lsn;
}

int qm_suspends_put(struct qm_store *st, const struct qm_rec_suspend *rec, uint64_t *lsn)
{
	struct qm_suspends *s = &st->suspends;

	if (s->by_dest.count >= QM_SUSPEND_MAX && lookup(s, rec->dest) == NULL)
		return sm_fail(SM_E_FULL, "%d destinations are suspended already", QM_SUSPEND_MAX);
	*lsn = write_suspension(st, put(s, rec));
	return 0;
}

bool qm_suspends_remove(struct qm_store *st, struct sm_str dest, uint32_t uid, int64_t now_s,
                        uint64_t *lsn)
{
	struct qm_suspension *x = lookup(&st->suspends, dest);
	const struct qm_rec_suspend rec = {
	    .dest = dest, .since_s = now_s, .uid = uid, .reason = SM_STR("")};

	if (x == NULL)
		return false;
	sm_buf_reset(&st->scratch);
	qm_rec_suspend_encode(&st->scratch, &rec);
	*lsn = append(st, QM_REC_suspend, NULL);
	qm_log_drop(st->ibdb, x->loc, *lsn);
	drop(&st->suspends, x);
	return true;
}

static uint64_t write_accept(struct qm_store *st)
{
	struct qm_suspends *s = &st->suspends;
	const struct qm_rec_accepting rec = {
	    .on = !s->accept.stopped,
	    .since_s = s->accept.since_s,
	    .uid = s->accept.uid,
	    .reason = sm_str(s->accept.reason),
	};
	struct qm_loc old = s->accept.loc;
	uint64_t lsn;

	sm_buf_reset(&st->scratch);
	qm_rec_accepting_encode(&st->scratch, &rec);
	lsn = append(st, QM_REC_accepting, &s->accept.loc);
	if (s->accept.stopped)
		qm_log_hold(st->ibdb, s->accept.loc);
	else
		s->accept.loc.seq = 0;
	if (old.seq)
		qm_log_drop(st->ibdb, old, lsn);
	return lsn;
}

static void set_accept(struct qm_suspends *s, const struct qm_rec_accepting *rec)
{
	s->accept.stopped = !rec->on;
	s->accept.since_s = rec->since_s;
	s->accept.uid = rec->uid;
	sm_str_cut(sm_str_head(rec->reason, REASON_MAX), s->accept.reason,
	           sizeof(s->accept.reason));
}

uint64_t qm_suspends_accept(struct qm_store *st, const struct qm_rec_accepting *rec)
{
	set_accept(&st->suspends, rec);
	return write_accept(st);
}

bool qm_suspends_copy(struct qm_store *st, uint32_t seq)
{
	struct qm_suspends *s = &st->suspends;
	bool any = false;

	for (struct sm_hash_node *n = sm_hash_next(&s->by_dest, NULL); n;
	     n = sm_hash_next(&s->by_dest, n)) {
		struct qm_suspension *x = SM_CONTAINER_OF(n, struct qm_suspension, node);

		if (x->loc.seq == seq) {
			write_suspension(st, x);
			any = true;
		}
	}
	if (s->accept.loc.seq == seq) {
		write_accept(st);
		any = true;
	}
	return any;
}

/* ---- at start ---- */

void qm_suspends_replay(struct qm_suspends *s, const struct qm_rec_suspend *rec)
{
	struct qm_suspension *x;

	if (rec->on)
		put(s, rec);
	else if ((x = lookup(s, rec->dest)) != NULL)
		drop(s, x);
}

void qm_suspends_replay_accept(struct qm_suspends *s, const struct qm_rec_accepting *rec)
{
	set_accept(s, rec);
}

uint64_t qm_suspends_rewrite(struct qm_store *st, int64_t now_s)
{
	struct qm_suspends *s = &st->suspends;
	uint64_t lsn = 0;

	for (struct sm_hash_node *n = sm_hash_next(&s->by_dest, NULL), *next; n; n = next) {
		struct qm_suspension *x = SM_CONTAINER_OF(n, struct qm_suspension, node);

		next = sm_hash_next(&s->by_dest, n);
		if (x->until_s && x->until_s <= now_s)
			drop(s, x);
		else
			lsn = write_suspension(st, x);
	}
	return s->accept.stopped ? write_accept(st) : lsn;
}
