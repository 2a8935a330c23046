/*
 * What an index entry knows of its transaction: one packed piece of bytes, its tail.
 *
 *     tail = sender received_s(4 bytes) size_KiB 1*rcpt
 *     rcpt = flags(1 byte) [wait(1 byte) tell_s(4 bytes)] domain host reason tries index
 * local_length local
 *
 * Of those that wait for a queue run there is also for what, and when somebody has to be told.
 * All but flags, wait, times and the bytes of the local part are numbers of 7 bits a byte, low
 * first; senders, domains, hosts and reasons are atoms. Invariant: a tail in the pool counts as a
 * user of each atom that it names. Only flags and wait of a tail ever change.
 */
#include "qmgr/edbc_int.h"

/* What servers say must not fill the memory: behind these bounds reasons become coarser. The last
 * step, a bare code, has a bound of its own. */
#define REASONS_MOST       16384
#define REASONS_SHORT_MOST 20480

/* Flags of a recipient in a tail; the verb that waits for it is above. */
enum {
	HELD = 1,
	WAS_HELD = 2 /* in the snapshot */,
	FAILED = 4,
	DELIVERED = 8,
	VERB_SHIFT = 4,
	VERB = 0x70,
	WAITS = 0x80
};

static uint32_t cut_u32(int64_t v)
{
	return (uint32_t)SM_MAX(0, SM_MIN(v, (int64_t)UINT32_MAX));
}

static uint8_t *put_number(uint8_t *p, uint32_t n)
{
	for (; n > 0x7f; n >>= 7)
		*p++ = (uint8_t)(n | 0x80);
	*p++ = (uint8_t)n;
	return p;
}

static inline uint32_t get_number(const uint8_t **p)
{
	uint32_t n = **p & 0x7f;

	for (unsigned shift = 7; *(*p)++ & 0x80; shift += 7)
		n |= (uint32_t)(**p & 0x7f) << shift;
	return n;
}

static uint32_t take_reason(struct qm_edbc *e, uint16_t code, struct sm_str text)
{
	char out[QM_REASON_MAX];
	struct sm_str s = qm_reason(code, text, out);
	uint32_t atom = qm_atoms_take_bounded(e->reasons, s, REASONS_MOST);

	if (atom == 0 && s.n > 0) {
		s = qm_reason_short(s);
		atom = qm_atoms_take_bounded(e->reasons, s, REASONS_SHORT_MOST);
	}
	if (atom == 0 && s.n > 0)
		atom = qm_atoms_take(e->reasons,
		                     qm_reason_code(s) ? sm_str_head(s, 3) : SM_STR("other"));
	return atom;
}

static void draft_begin(struct qm_edbc *e, struct sm_str sender, int64_t received_s, uint64_t size,
                        struct qm_edbc_draft *d)
{
	uint32_t received = cut_u32(received_s);
	uint8_t *p, *q;

	*d = (struct qm_edbc_draft){.due_s = INT64_MAX};
	sm_buf_reset(&e->scratch);
	p = q = (uint8_t *)sm_buf_reserve(&e->scratch, 5 + sizeof(received) + 5);
	q = put_number(q, qm_atoms_take(e->names, sender));
	memcpy(q, &received, sizeof(received));
	q += sizeof(received);
	q = put_number(q, (uint32_t)SM_MIN(size / 1024 + (size % 1024 != 0), (uint64_t)UINT32_MAX));
	sm_buf_commit(&e->scratch, (size_t)(q - p));
}

static uint8_t *put_wait(uint8_t *p, const struct qm_rec_rcpt *s, bool by_dest)
{
	uint32_t tell = cut_u32(s->next_try_s);

	*p++ = (uint8_t)(qm_wait_of(s->flags) | (s->flags & QM_RCPT_RUN ? QM_EDBC_WAIT_RUN : 0) |
	                 (by_dest ? QM_EDBC_WAIT_DEST : 0));
	memcpy(p, &tell, sizeof(tell));
	return p + sizeof(tell);
}

static void draft_rcpt(struct qm_edbc *e, struct qm_edbc_draft *d, const struct qm_rec_rcpt *s)
{
	ptrdiff_t split = sm_str_rchr(s->addr, '@');
	struct sm_str local = split < 0 ? s->addr : sm_str_head(s->addr, (size_t)split);
	struct sm_str domain = split < 0 ? SM_STR("") : sm_str_from(s->addr, (size_t)split + 1);
	bool held = s->flags & QM_RCPT_HELD;
	uint8_t *p = (uint8_t *)sm_buf_reserve(&e->scratch, 1 + 5 + 6 * 5 + local.n), *q = p;
	enum sm_wait wait = s->state == QM_REC_OPEN ? qm_wait_of(s->flags) : SM_WAIT_NO;

	*q++ = (uint8_t)((held ? HELD | WAS_HELD : 0) | (wait != SM_WAIT_NO ? WAITS : 0) |
	                 (s->state == QM_REC_FAILED ? FAILED
	                  : s->state == QM_REC_OPEN ? 0
	                                            : DELIVERED));
	if (wait != SM_WAIT_NO) {
		q = put_wait(q, s, qm_deliver_wait(d->deliver) == SM_WAIT_NO);
		d->waits++;
	}
	q = put_number(q, qm_atoms_take(e->names, domain));
	q = put_number(q, qm_atoms_take(e->names, s->host));
	q = put_number(q, take_reason(e, s->code, s->text));
	q = put_number(q, s->tries);
	q = put_number(q, s->index);
	q = put_number(q, (uint32_t)local.n);
	if (local.n)
		memcpy(q, local.p, local.n);
	sm_buf_commit(&e->scratch, (size_t)(q - p) + local.n);
	d->rcpts++;
	if (held)
		d->held++;
	else
		d->due_s = SM_MIN(d->due_s, s->next_try_s);
}

void qm_edbc_draft_txn(struct qm_edbc *e, const struct qm_txn *txn, struct qm_edbc_draft *d)
{
	draft_begin(e, txn->sender, txn->received_s, txn->size, d);
	d->deliver = txn->deliver;
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		struct qm_rec_rcpt r = qm_rcpt_to_rec(&txn->rcpts[i]);

		if (r.state != QM_REC_DONE)
			draft_rcpt(e, d, &r);
	}
}

void qm_edbc_draft_rec(struct qm_edbc *e, const struct qm_rec_txn *rec, struct qm_edbc_draft *d)
{
	draft_begin(e, rec->sender, rec->received_s, rec->size, d);
	d->deliver = rec->deliver;
	for (uint32_t i = 0; i < rec->rcpts_count; i++)
		draft_rcpt(e, d, &rec->rcpts[i]);
}

struct qm_edbc_reader qm_edbc_read(const struct qm_edbc *e, const struct qm_edbc_entry *x)
{
	struct qm_edbc_reader r = {.left = x->rcpts};
	const uint8_t *p = (const uint8_t *)qm_pool_get(&e->tails, x->tail).p;
	uint32_t received;

	r.sender = get_number(&p);
	memcpy(&received, p, sizeof(received));
	p += sizeof(received);
	r.received_s = received;
	r.size = (uint64_t)get_number(&p) * 1024;
	r.at = p;
	return r;
}

/* Gives where the rest of the recipient begins. */
static const uint8_t *get_wait(const uint8_t *p, struct qm_edbc_rcpt *out)
{
	uint32_t tell;

	out->wait = SM_WAIT_NO;
	out->run = out->by_dest = false;
	out->tell_s = 0;
	if (!(*p++ & WAITS))
		return p;
	out->wait = (enum sm_wait)(*p & QM_EDBC_WAIT_KIND);
	out->run = *p & QM_EDBC_WAIT_RUN;
	out->by_dest = *p & QM_EDBC_WAIT_DEST;
	memcpy(&tell, p + 1, sizeof(tell));
	out->tell_s = tell;
	return p + 1 + sizeof(tell);
}

uint8_t *qm_edbc_wait_byte(const struct qm_edbc_reader *r)
{
	return *r->at & WAITS ? (uint8_t *)(uintptr_t)r->at + 1 : NULL;
}

bool qm_edbc_read_rcpt(struct qm_edbc_reader *r, struct qm_edbc_rcpt *out)
{
	const uint8_t *p = r->at;
	uint32_t n;

	if (r->left == 0)
		return false;
	r->left--;
	out->held = *p & HELD;
	out->failed = *p & FAILED;
	out->delivered = *p & DELIVERED;
	out->mark = (enum qm_mark_verb)((*p & VERB) >> VERB_SHIFT);
	p = get_wait(p, out);
	out->domain = get_number(&p);
	out->host = get_number(&p);
	out->reason = get_number(&p);
	out->tries = (uint16_t)get_number(&p);
	out->index = (uint16_t)get_number(&p);
	n = get_number(&p);
	out->local = sm_str_n(p, n);
	r->at = p + n;
	return true;
}

void qm_edbc_tail_drop(struct qm_edbc *e, struct qm_edbc_entry *x)
{
	struct qm_edbc_reader r = qm_edbc_read(e, x);
	struct qm_edbc_rcpt rcpt;
	uint32_t tail = x->tail;

	qm_atoms_drop(e->names, r.sender);
	while (qm_edbc_read_rcpt(&r, &rcpt)) {
		qm_atoms_drop(e->names, rcpt.domain);
		qm_atoms_drop(e->names, rcpt.host);
		qm_atoms_drop(e->reasons, rcpt.reason);
		e->held -= rcpt.held;
	}
	e->rcpts -= x->rcpts;
	x->tail = 0;
	qm_pool_drop(&e->tails, tail);
}

/* ---- marks ---- */

/* The flags of a recipient after an act. */
static uint8_t acted(uint8_t flags, enum qm_mark_verb verb)
{
	enum qm_mark_verb waits = (enum qm_mark_verb)((flags & VERB) >> VERB_SHIFT);

	if (waits == QM_MARK_REMOVE || waits == QM_MARK_BOUNCE || (flags & (FAILED | DELIVERED)))
		return flags;
	if (verb == QM_MARK_HOLD)
		return flags | HELD;
	if (verb == QM_MARK_RELEASE)
		return (uint8_t)(flags & ~HELD);
	/* Whatever else happens to it, it is not held any more. */
	return (uint8_t)((flags & ~(unsigned)(HELD | VERB)) | verb << VERB_SHIFT);
}

static bool differs(uint8_t flags, const uint8_t *wait)
{
	return flags & VERB || !(flags & HELD) != !(flags & WAS_HELD) ||
	       (wait && *wait & QM_EDBC_WAIT_RELEASED);
}

void qm_edbc_flags(struct qm_edbc *e, struct qm_edbc_entry *x)
{
	bool marked = false, all_held = x->rcpts > 0, waits = false, all_waits = true;
	struct qm_edbc_reader r;
	struct qm_edbc_rcpt rcpt;

	for (r = qm_edbc_read(e, x); r.left > 0;) {
		const uint8_t *wait = qm_edbc_wait_byte(&r);
		uint8_t flags = *r.at;
		bool held = (flags & HELD) && !(flags & VERB);

		marked |= differs(flags, wait);
		all_held &= held;
		waits |= wait != NULL;
		all_waits &= held || (wait && !(*wait & QM_EDBC_WAIT_RUN) && !(flags & VERB));
		(void)qm_edbc_read_rcpt(&r, &rcpt);
	}
	x->flags = (uint8_t)((marked ? QM_EDBC_MARKED : 0) | (all_held ? QM_EDBC_ALL_HELD : 0) |
	                     (waits ? QM_EDBC_WAITS : 0) |
	                     (waits && all_waits && !all_held ? QM_EDBC_ALL_WAITS : 0));
}

bool qm_edbc_mark(struct qm_edbc *e, struct sm_id id, uint16_t index, enum qm_mark_verb verb,
                  int64_t at_s)
{
	struct qm_edbc_entry *x = qm_edbc_entry_of(e, id);
	bool found = false, now = false;
	struct qm_edbc_reader r;
	struct qm_edbc_rcpt rcpt;

	if (x == NULL)
		return false;
	for (r = qm_edbc_read(e, x); r.left > 0;) {
		uint8_t *flags = (uint8_t *)(uintptr_t)r.at, old = *flags;
		uint8_t *wait = qm_edbc_wait_byte(&r);

		(void)qm_edbc_read_rcpt(&r, &rcpt);
		if (index == QM_MARK_ALL || index == rcpt.index) {
			found = true;
			*flags = acted(old, verb);
			e->held += (*flags & HELD) != 0;
			e->held -= (old & HELD) != 0;
			now |= *flags != old && verb != QM_MARK_HOLD;
			now |= verb == QM_MARK_RELEASE && !(old & VERB) &&
			       qm_edbc_wait_release(e, x, wait);
		}
	}
	qm_edbc_flags(e, x);
	if (x->flags & QM_EDBC_ALL_HELD)
		qm_edbc_due(e, x, QM_EDBC_NEVER);
	else if (now)
		qm_edbc_due(e, x, SM_MIN(at_s, (int64_t)x->next_try_s));
	return found;
}

enum qm_mark_verb qm_edbc_marked(const struct qm_edbc *e, const struct qm_edbc_entry *x,
                                 uint16_t index, bool *held)
{
	struct qm_edbc_reader r = qm_edbc_read(e, x);
	struct qm_edbc_rcpt rcpt;

	*held = false;
	while (qm_edbc_read_rcpt(&r, &rcpt)) {
		if (rcpt.index == index) {
			*held = rcpt.held;
			return rcpt.mark;
		}
	}
	return QM_MARK_NONE;
}
