/* Batches and segments as bytes: every cut, every flipped byte, stale and forged batches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>
#include "libsm/rand.h"
#include "qmgr/log_batch.h"

#define EPOCH   0x1122334455667788u
#define SEGMENT (64 * 1024)
#define BATCHES 12
#define SEQ     7

/* A segment in memory and where its batches are. */
struct image {
	uint8_t p[SEGMENT];
	size_t start[BATCHES], end[BATCHES]; /* without padding */
	uint64_t last_lsn[BATCHES];
	uint32_t records[BATCHES];
	size_t used;
};

static size_t put_batch(uint8_t *p, uint64_t epoch, uint32_t seq, uint64_t lsn, unsigned records,
                        uint32_t block)
{
	struct qm_batch b = {.kind = QM_BATCH_RECORDS,
	                     .epoch = epoch,
	                     .seq = seq,
	                     .prev_end = block,
	                     .first_lsn = lsn,
	                     .count = records};
	uint8_t body[900];
	size_t at = QM_BATCH_HEADER;

	for (unsigned i = 0; i < records; i++) {
		size_t n = sm_rand_below(sizeof body);
		memset(body, (int)(lsn + i) & 0xff, n);
		qm_record_put(p + at, lsn + i, (uint16_t)i, sm_str_n(body, n));
		at += QM_RECORD_HEADER + n;
	}
	b.length = (uint32_t)at;
	qm_batch_seal(p, &b);
	return at;
}

static void make_image(struct image *m, uint64_t epoch, uint32_t seq, uint64_t lsn)
{
	struct qm_segment_info info = {.created_wall_ms = 12345,
	                               .segment_bytes = SEGMENT,
	                               .name = "ibdb",
	                               .table = *qm_rec_own()};
	size_t at = QM_BLOCK;

	qm_segment_put(m->p, epoch, seq, &info);
	for (unsigned i = 0; i < BATCHES; i++) {
		m->records[i] = 1 + (uint32_t)sm_rand_below(4);
		m->start[i] = at;
		m->end[i] = at + put_batch(m->p + at, epoch, seq, lsn, m->records[i],
		                           (uint32_t)(at / QM_BLOCK));
		lsn += m->records[i];
		m->last_lsn[i] = lsn - 1;
		at = m->start[i] + qm_batch_padded(m->end[i] - m->start[i]);
	}
	m->used = at;
}

static uint32_t total(const struct image *m, unsigned from, unsigned to)
{
	uint32_t n = 0;

	for (unsigned i = from; i < to; i++)
		n += m->records[i];
	return n;
}

struct seen {
	uint32_t records, batches, damages;
	uint64_t last_lsn, damage_at, damage_length;
};

static int on_batch(void *arg, const uint8_t *p, uint32_t block, const struct qm_batch *b)
{
	struct seen *s = arg;
	struct qm_record r;
	uint32_t at = QM_BATCH_HEADER;

	(void)block;
	while (qm_record_next(p, b, &at, &r)) {
		assert_true(r.lsn > s->last_lsn);
		for (size_t i = 0; i < r.body.n; i++)
			assert_int_equal((uint8_t)r.body.p[i], r.lsn & 0xff);
		s->last_lsn = r.lsn;
		s->records++;
	}
	s->batches++;
	return 0;
}

static int on_damage(void *arg, uint64_t offset, uint64_t length)
{
	struct seen *s = arg;

	s->damages++;
	s->damage_at = offset;
	s->damage_length = length;
	return 0;
}

/* The bytes are copied so that a sanitizer sees a read behind them. */
static struct qm_scan scan_n(const uint8_t *p, size_t n, struct seen *seen)
{
	struct qm_scan s = {
	    .name = "ibdb", .seq = SEQ, .arg = seen, .on_batch = on_batch, .on_damage = on_damage};
	uint8_t *copy = sm_malloc(n ? n : 1);

	*seen = (struct seen){0};
	memcpy(copy, p, n);
	assert_int_equal(qm_segment_scan(copy, n, &s), 0);
	assert_int_equal(s.last_lsn, seen->last_lsn);
	assert_int_equal(s.damages, seen->damages);
	sm_free(copy);
	return s;
}

static int setup(void **state)
{
	sm_rand_seed(17);
	*state = sm_calloc(2, sizeof(struct image));
	make_image(*state, EPOCH, SEQ, 100);
	return 0;
}

static int teardown(void **state)
{
	sm_free(*state);
	return 0;
}

static void whole(void **state)
{
	struct image *m = *state;
	struct seen seen;
	struct qm_scan s = scan_n(m->p, SEGMENT, &seen);

	assert_int_equal(seen.records, total(m, 0, BATCHES));
	assert_int_equal(seen.batches, BATCHES);
	assert_int_equal(seen.damages, 0);
	assert_int_equal(s.epoch, EPOCH);
	assert_int_equal(s.end, m->used);
	assert_false(s.torn);
	assert_false(s.closed);
	assert_string_equal(s.info.name, "ibdb");
	assert_int_equal(s.info.created_wall_ms, 12345);
	assert_int_equal(s.prev_end, 1);
}

/*
 * Cut at every byte of the last three batches, with what may lie behind: nothing, noise, the file's
 * end, or an older life of the segment.
 */
static void torn_tail(void **state)
{
	struct image *m = *state, *old = m + 1;
	uint8_t *p = sm_malloc(SEGMENT);
	struct seen seen;

	make_image(old, EPOCH, SEQ - 3, 10);
	for (size_t cut = m->start[BATCHES - 3]; cut <= m->used; cut++) {
		unsigned kept = BATCHES - 3;
		while (kept < BATCHES && m->end[kept] <= cut)
			kept++;
		for (unsigned behind = 0; behind < 4; behind++) {
			size_t n = SEGMENT;
			memcpy(p, old->p, SEGMENT);
			memcpy(p, m->p, cut);
			if (behind == 0)
				memset(p + cut, 0, SEGMENT - cut);
			if (behind == 1 && cut % 16 == 0)
				for (size_t i = cut; i < SEGMENT; i++)
					p[i] = (uint8_t)sm_rand_u64();
			if (behind == 2)
				n = cut;
			struct qm_scan s = scan_n(p, n, &seen);
			assert_int_equal(seen.records, total(m, 0, kept));
			assert_int_equal(seen.damages, 0);
			assert_int_equal(s.epoch, EPOCH);
			/* Seen as torn once the header says whose batch it is (and not at the end
			 * of the file, which is none of ours). */
			if (kept < BATCHES && cut >= m->start[kept] + QM_BATCH_HEADER)
				assert_true(s.torn);
		}
	}
	sm_free(p);
}

/* One byte of any batch: that batch is quarantined, all others survive. */
static void flipped_byte(void **state)
{
	struct image *m = *state;
	struct seen seen;

	for (size_t at = 0; at < m->start[BATCHES - 1]; at++) {
		unsigned hit = 0;
		while (hit < BATCHES && m->end[hit] <= at)
			hit++;
		bool in_head = at < QM_BATCH_HEADER + QM_SEGMENT_INFO_BYTES;
		bool in_batch = at >= QM_BLOCK && at >= m->start[hit];
		uint8_t was = m->p[at];
		m->p[at] ^= (uint8_t)(1u << (at % 8));
		struct qm_scan s = scan_n(m->p, SEGMENT, &seen);
		m->p[at] = was;
		assert_int_equal(seen.damages, in_head || in_batch);
		assert_int_equal(seen.records,
		                 total(m, 0, BATCHES) - (in_batch ? m->records[hit] : 0));
		if (in_batch) {
			assert_int_equal(seen.damage_at, m->start[hit]);
			assert_int_equal(seen.damage_at + seen.damage_length, m->start[hit + 1]);
		}
		assert_int_equal(s.epoch, EPOCH);
		assert_false(s.torn);
	}
}

static void lost_block(void **state)
{
	struct image *m = *state;
	struct seen seen;

	memset(m->p + m->start[3], 0, m->start[6] - m->start[3]);
	scan_n(m->p, SEGMENT, &seen);
	assert_int_equal(seen.damages, 1);
	assert_int_equal(seen.damage_at, m->start[3]);
	assert_int_equal(seen.damage_length, m->start[6] - m->start[3]);
	assert_int_equal(seen.records, total(m, 0, 3) + total(m, 6, BATCHES));
}

/* A renamed segment whose new lead was not written yet is empty, whatever it holds. */
static void renamed_only(void **state)
{
	struct image *m = *state;
	struct seen seen;

	memset(m->p, 0, SEGMENT);
	make_image(m, EPOCH, SEQ - 1, 1);
	struct qm_scan s = scan_n(m->p, SEGMENT, &seen);
	assert_int_equal(seen.records, 0);
	assert_int_equal(s.epoch, 0);
	assert_int_equal(s.info.name[0], 0);
	memset(m->p, 0, SEGMENT);
	s = scan_n(m->p, SEGMENT, &seen);
	assert_int_equal(seen.records, 0);
	assert_int_equal(s.epoch, 0);
	scan_n(m->p, 0, &seen);
	assert_int_equal(seen.records, 0);
}

/* Same number, another run: stale. */
static void other_epoch(void **state)
{
	struct image *m = *state, *other = m + 1;
	struct seen seen;

	make_image(other, EPOCH + 1, SEQ, 5000);
	memcpy(m->p + m->start[BATCHES - 1], other->p + other->start[0],
	       other->start[3] - other->start[0]);
	scan_n(m->p, SEGMENT, &seen);
	assert_int_equal(seen.records, total(m, 0, BATCHES - 1));
	assert_int_equal(seen.damages, 0);
}

/* An lsn that does not rise is of another life, too. */
static void lsn_goes_back(void **state)
{
	struct image *m = *state;
	struct seen seen;

	put_batch(m->p + m->used, EPOCH, SEQ, m->last_lsn[BATCHES - 1], 2, 0);
	scan_n(m->p, SEGMENT, &seen);
	assert_int_equal(seen.records, total(m, 0, BATCHES));
	assert_int_equal(seen.last_lsn, m->last_lsn[BATCHES - 1]);
}

/* What a sender put into a record looks like a batch, on a block boundary; the batch around it is
 * damaged. */
static void forged_inside(void **state)
{
	struct image *m = *state;
	uint8_t fake[2048] = {0};
	struct qm_batch b = {
	    .kind = QM_BATCH_RECORDS, .epoch = EPOCH, .seq = SEQ, .first_lsn = 5000, .count = 1};
	struct seen seen;
	size_t inside = 512 - QM_BATCH_HEADER - QM_RECORD_HEADER;

	for (unsigned known = 0; known < 2; known++) {
		/* The sender does not know the epoch; if it did, it would work, so this test shows
		 * that it is the epoch that helps. */
		put_batch(fake + inside, known ? EPOCH : EPOCH ^ 1, SEQ, 6000, 1, 0);
		qm_record_put(m->p + m->used + QM_BATCH_HEADER, 5000, 1,
		              sm_str_n(fake, sizeof fake));
		b.length = QM_BATCH_HEADER + QM_RECORD_HEADER + sizeof fake;
		qm_batch_seal(m->p + m->used, &b);
		m->p[m->used + 60] ^= 1;
		scan_n(m->p, SEGMENT, &seen);
		assert_int_equal(seen.damages, known);
		assert_int_equal(seen.records, total(m, 0, BATCHES) + known);
	}
}

static void end_batch(void **state)
{
	struct image *m = *state;
	struct qm_batch b = {
	    .kind = QM_BATCH_END, .epoch = EPOCH, .seq = SEQ, .length = QM_BATCH_HEADER};
	struct seen seen;

	qm_batch_seal(m->p + m->used, &b);
	struct qm_scan s = scan_n(m->p, SEGMENT, &seen);
	assert_true(s.closed);
	assert_int_equal(seen.damages, 0);
	/* It makes damage of the last batch visible. */
	m->p[m->start[BATCHES - 1] + 100] ^= 1;
	scan_n(m->p, SEGMENT, &seen);
	assert_int_equal(seen.damages, 1);
	assert_int_equal(seen.records, total(m, 0, BATCHES - 1));
}

/* A faulty writer: the checksum is right, the contents are not. */
static void nonsense(void **state)
{
	uint8_t *p = ((struct image *)*state)->p;
	struct qm_batch b = {.kind = QM_BATCH_RECORDS,
	                     .epoch = EPOCH,
	                     .seq = SEQ,
	                     .first_lsn = 1,
	                     .count = 1,
	                     .length = QM_BATCH_HEADER + QM_RECORD_HEADER + 10},
			out;
	uint16_t version;

#define CHECK(n) qm_batch_check(p, n, SEQ, EPOCH, &out, &version)
	qm_record_put(p + QM_BATCH_HEADER, 1, 1, sm_str_n("0123456789", 10));
	qm_batch_seal(p, &b);
	assert_int_equal(CHECK(b.length), 0);
	assert_int_equal(CHECK(b.length - 1), SM_E_CORRUPT);
	assert_int_equal(CHECK(QM_BATCH_HEADER - 1), SM_E_NOTFOUND);
	assert_int_equal(qm_batch_check(p, b.length, SEQ + 1, EPOCH, &out, &version),
	                 SM_E_NOTFOUND);
	assert_int_equal(qm_batch_check(p, b.length, SEQ, EPOCH + 1, &out, &version),
	                 SM_E_NOTFOUND);
	b.count = 2;
	qm_batch_seal(p, &b);
	assert_int_equal(CHECK(b.length), SM_E_CORRUPT);
	b.count = 0;
	qm_batch_seal(p, &b);
	assert_int_equal(CHECK(b.length), SM_E_CORRUPT);
	b.count = 1;
	b.first_lsn = 2;
	qm_batch_seal(p, &b);
	assert_int_equal(CHECK(b.length), SM_E_CORRUPT);
	b.first_lsn = 1;
	b.length -= 1;
	qm_batch_seal(p, &b);
	assert_int_equal(CHECK(SEGMENT), SM_E_CORRUPT);
	b.length += 2;
	qm_batch_seal(p, &b);
	assert_int_equal(CHECK(SEGMENT), SM_E_CORRUPT);
	b.kind = 77;
	qm_batch_seal(p, &b);
	assert_int_equal(CHECK(SEGMENT), SM_E_CORRUPT);
	b.kind = QM_BATCH_END;
	qm_batch_seal(p, &b);
	assert_int_equal(CHECK(SEGMENT), SM_E_CORRUPT);
	b.kind = QM_BATCH_SEGMENT;
	qm_batch_seal(p, &b);
	assert_int_equal(CHECK(SEGMENT), SM_E_CORRUPT);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(whole),        TEST(torn_tail),   TEST(flipped_byte),  TEST(lost_block),
	    TEST(renamed_only), TEST(other_epoch), TEST(lsn_goes_back), TEST(forged_inside),
	    TEST(end_batch),    TEST(nonsense),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
