/*
 * Fuzz the record log: whatever a segment holds, its scan stays inside, delivers records in rising
 * order from valid batches only, and reports damage that does not overlap what it delivered.
 * Records one by one, as out of a damaged batch, are within what was searched. Input: one byte,
 * then a segment. With an odd byte the checksums of all that looks like a batch are made right
 * first, so that what lies behind them is reached.
 */
#include <string.h>
#include "qmgr/log_batch.h"

#define SEQ 1

struct seen {
	const uint8_t *p;
	size_t n;
	uint64_t last_lsn, behind; /* end of what was delivered or reported */
	uint64_t records, damages;
};

static int on_batch(void *arg, const uint8_t *p, uint32_t block, const struct qm_batch *b)
{
	struct seen *s = arg;
	struct qm_record r;
	uint32_t at = QM_BATCH_HEADER, count = 0;

	sm_assert(p == s->p + (uint64_t)block * QM_BLOCK);
	sm_assert((uint64_t)block * QM_BLOCK >= s->behind);
	sm_assert(b->seq == SEQ && b->epoch != 0 && b->length <= s->n - (size_t)(p - s->p));
	while (qm_record_next(p, b, &at, &r)) {
		sm_assert(r.lsn > s->last_lsn);
		sm_assert((const uint8_t *)r.body.p >= p + QM_BATCH_HEADER);
		sm_assert((const uint8_t *)r.body.p + r.body.n <= p + b->length);
		s->last_lsn = r.lsn;
		count++;
	}
	sm_assert(count == b->count);
	s->records += count;
	s->behind = (uint64_t)block * QM_BLOCK + qm_batch_padded(b->length);
	return 0;
}

static int on_damage(void *arg, uint64_t offset, uint64_t length)
{
	struct seen *s = arg;

	sm_assert(length > 0 && offset >= s->behind && offset + length <= s->n);
	s->behind = offset + length;
	s->damages++;
	return 0;
}

static void make_checksums_right(uint8_t *p, size_t n)
{
	struct qm_batch b = {0};

	for (size_t at = 0; at + QM_BATCH_HEADER <= n; at += QM_BLOCK) {
		uint32_t length = qm_batch_peek(p + at, SEQ);
		if (length < QM_BATCH_HEADER || length > n - at)
			continue;
		memcpy(&b.version, p + at + 4, 2);
		memcpy(&b.kind, p + at + 6, 2);
		memcpy(&b.epoch, p + at + 8, 8);
		memcpy(&b.prev_end, p + at + 20, 4);
		memcpy(&b.first_lsn, p + at + 24, 8);
		memcpy(&b.count, p + at + 32, 4);
		b.seq = SEQ;
		b.length = length;
		qm_batch_seal(p + at, &b);
	}
}

static void salvage(const uint8_t *p, size_t n)
{
	struct qm_salvage s = {.p = p, .end = n, .before = UINT64_MAX, .seq = SEQ};
	struct qm_record r, again;

	for (size_t at = 0; at + QM_BATCH_HEADER <= n; at += QM_BLOCK) {
		uint64_t from, last = 0;

		if (qm_batch_peek(p + at, SEQ) == 0)
			continue;
		s.epoch = qm_batch_epoch(p + at);
		s.at = from = at + QM_BATCH_HEADER;
		s.after = 0;
		while (qm_record_salvage(&s, &r)) {
			sm_assert(r.at >= from && r.lsn > last && s.at <= n && s.at > r.at);
			sm_assert((const uint8_t *)r.body.p + r.body.n <= p + s.at);
			sm_assert(qm_record_check(p + r.at, n - r.at, s.epoch, SEQ, &again));
			sm_assert(again.lsn == r.lsn && sm_str_eq(again.body, r.body));
			last = r.lsn;
			from = s.at;
		}
		if (qm_record_guess(p + at + QM_BATCH_HEADER, n - at - QM_BATCH_HEADER, &r))
			sm_assert(r.body.n <= n - at - QM_BATCH_HEADER);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct seen seen = {0};
	struct qm_scan s = {
	    .name = "ibdb", .seq = SEQ, .arg = &seen, .on_batch = on_batch, .on_damage = on_damage};

	if (n == 0)
		return 0;
	uint8_t *copy = sm_malloc(n);
	memcpy(copy, p + 1, n - 1);
	if (p[0] & 1)
		make_checksums_right(copy, n - 1);
	seen.p = copy;
	seen.n = n - 1;
	if (qm_segment_scan(copy, n - 1, &s) == 0) {
		sm_assert(s.end <= n - 1);
		sm_assert(s.last_lsn == seen.last_lsn && s.damages == seen.damages);
		sm_assert(seen.records == 0 || s.epoch != 0);
	}
	salvage(copy, n - 1);
	sm_free(copy);
	return 0;
}
