/*
 * The format of batches, records and segments: encode, check, walk. Alone responsible for every
 * byte offset of the record log.
 *
 * Invariant: whatever the bytes, a check reads only what it was given, and a batch that passes it
 * can be walked without further tests. Pure; any thread.
 */
#include "qmgr/log_batch.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include "libsm/crc32c.h"

#define MAGIC 0x4c584d53u /* "SMXL" */

/* Places of the fields in a batch's header; magic, version, length and crc stay where they are in
 * every version. */
enum {
	AT_MAGIC = 0,
	AT_VERSION = 4,
	AT_KIND = 6,
	AT_EPOCH = 8,
	AT_SEQ = 16,
	AT_PREV_END = 20,
	AT_FIRST_LSN = 24,
	AT_COUNT = 32,
	AT_LENGTH = 36,
	AT_CRC = 40,
	AT_ZERO = 44,
};
/* In a record. */
enum { AT_LSN = 0, AT_BODY_LENGTH = 8, AT_TYPE = 12, AT_REC_ZERO = 14, AT_REC_CRC = 16 };
#define RECORD_HEADER_1 16u /* in version 1: no checksum */
/* In the segment batch, behind the header. From version 3 on these, too, stay where they are. */
enum {
	AT_CREATED = 48,
	AT_BYTES = 56,
	AT_NAME = 64,
	AT_TABLE_HASH = 80,
	AT_TABLE_NUMBER = 88,
	AT_INFO_ZERO = 92,
	AT_BUILD = 96,
};

static void put16(uint8_t *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof v);
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof v);
}

static void put64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof v);
}

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof v);
	return le16toh(v);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, sizeof v);
	return le32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof v);
	return le64toh(v);
}

/* The checksum counts its own field as zeros. */
static uint32_t batch_crc(const uint8_t *p, uint32_t length)
{
	static const uint8_t zero[4];
	uint32_t crc = sm_crc32c(0, p, AT_CRC);

	crc = sm_crc32c(crc, zero, sizeof zero);
	return sm_crc32c(crc, p + AT_ZERO, length - AT_ZERO);
}

/* Of one record; starts from what tells batches of this run and segment from all others. */
static uint32_t record_crc(const uint8_t *p, uint32_t body, uint64_t epoch, uint32_t seq)
{
	uint8_t run[12];
	uint32_t crc;

	put64(run, epoch);
	put32(run + 8, seq);
	crc = sm_crc32c(0, run, sizeof run);
	crc = sm_crc32c(crc, p, AT_REC_CRC);
	return sm_crc32c(crc, p + QM_RECORD_HEADER, body);
}

static uint32_t record_header(uint16_t version)
{
	return version == 1 ? RECORD_HEADER_1 : QM_RECORD_HEADER;
}

static void seal_records(uint8_t *p, const struct qm_batch *b)
{
	for (uint32_t at = QM_BATCH_HEADER; b->length - at >= QM_RECORD_HEADER;) {
		uint32_t body = get32(p + at + AT_BODY_LENGTH);

		if (body > b->length - at - QM_RECORD_HEADER)
			break;
		put32(p + at + AT_REC_CRC, record_crc(p + at, body, b->epoch, b->seq));
		at += QM_RECORD_HEADER + body;
	}
}

void qm_batch_seal(uint8_t *p, const struct qm_batch *b)
{
	uint16_t version = b->version ? b->version : QM_BATCH_VERSION;

	if (b->kind == QM_BATCH_RECORDS && version > 1)
		seal_records(p, b);
	put32(p + AT_MAGIC, MAGIC);
	put16(p + AT_VERSION, version);
	put16(p + AT_KIND, b->kind);
	put64(p + AT_EPOCH, b->epoch);
	put32(p + AT_SEQ, b->seq);
	put32(p + AT_PREV_END, b->prev_end);
	put64(p + AT_FIRST_LSN, b->first_lsn);
	put32(p + AT_COUNT, b->count);
	put32(p + AT_LENGTH, b->length);
	put32(p + AT_ZERO, 0);
	put32(p + AT_CRC, batch_crc(p, b->length));
}

void qm_record_put(uint8_t *p, uint64_t lsn, uint16_t type, struct sm_str body)
{
	put64(p + AT_LSN, lsn);
	put32(p + AT_BODY_LENGTH, (uint32_t)body.n);
	put16(p + AT_TYPE, type);
	put16(p + AT_REC_ZERO, 0);
	put32(p + AT_REC_CRC, 0); /* qm_batch_seal knows the epoch */
	if (body.n > 0)
		memcpy(p + QM_RECORD_HEADER, body.p, body.n);
}

/* The records fill the batch exactly, their number is right, and their lsns rise. */
static bool records_fit(const uint8_t *p, const struct qm_batch *b)
{
	uint64_t lsn = b->first_lsn;
	uint32_t at = QM_BATCH_HEADER, header = record_header(b->version);

	for (uint32_t i = 0; i < b->count; i++) {
		if (b->length - at < header)
			return false;
		uint64_t this_lsn = get64(p + at + AT_LSN);
		uint32_t body = get32(p + at + AT_BODY_LENGTH);
		if (i == 0 ? this_lsn != lsn : this_lsn <= lsn)
			return false;
		if (body > b->length - at - header)
			return false;
		lsn = this_lsn;
		at += header + body;
	}
	return at == b->length;
}

static uint32_t info_bytes(uint16_t version)
{
	return version < 3 ? QM_SEGMENT_INFO_BYTES_2 : QM_SEGMENT_INFO_BYTES;
}

int qm_batch_check(const uint8_t *p, size_t n, uint32_t seq, uint64_t epoch, struct qm_batch *b,
                   uint16_t *version)
{
	if (n < QM_BATCH_HEADER || get32(p + AT_MAGIC) != MAGIC)
		return SM_E_NOTFOUND;
	*version = get16(p + AT_VERSION);
	b->length = get32(p + AT_LENGTH);
	if (*version < 1 || *version > QM_BATCH_VERSION) {
		bool whole = b->length >= QM_BATCH_HEADER && b->length <= n &&
		             b->length <= QM_BATCH_MAX &&
		             batch_crc(p, b->length) == get32(p + AT_CRC);
		return whole ? SM_E_NOTSUP : SM_E_CORRUPT;
	}
	b->version = *version;
	b->kind = get16(p + AT_KIND);
	b->epoch = get64(p + AT_EPOCH);
	b->seq = get32(p + AT_SEQ);
	b->prev_end = get32(p + AT_PREV_END);
	b->first_lsn = get64(p + AT_FIRST_LSN);
	b->count = get32(p + AT_COUNT);
	if ((seq != 0 && b->seq != seq) || (epoch != 0 && b->epoch != epoch))
		return SM_E_NOTFOUND; /* before the checksum: stale ones are many */
	if (b->length < QM_BATCH_HEADER || b->length > n || b->length > QM_BATCH_MAX)
		return SM_E_CORRUPT;
	if (batch_crc(p, b->length) != get32(p + AT_CRC))
		return SM_E_CORRUPT;
	/* From here on the bytes are as they were written: only a faulty writer fails. */
	switch (b->kind) {
	case QM_BATCH_SEGMENT:
		return b->length == QM_BATCH_HEADER + info_bytes(b->version) ? 0 : SM_E_CORRUPT;
	case QM_BATCH_RECORDS:
		return b->count > 0 && records_fit(p, b) ? 0 : SM_E_CORRUPT;
	case QM_BATCH_END:
		return b->length == QM_BATCH_HEADER ? 0 : SM_E_CORRUPT;
	default:
		return SM_E_CORRUPT;
	}
}

uint32_t qm_batch_peek(const uint8_t *p, uint32_t seq)
{
	uint32_t length = get32(p + AT_LENGTH);

	if (get32(p + AT_MAGIC) != MAGIC || get32(p + AT_SEQ) != seq || length > QM_BATCH_MAX)
		return 0;
	return length;
}

bool qm_record_next(const uint8_t *p, const struct qm_batch *b, uint32_t *at, struct qm_record *r)
{
	uint32_t header = record_header(b->version);

	if (*at >= b->length)
		return false;
	r->at = *at;
	r->lsn = get64(p + *at + AT_LSN);
	r->type = get16(p + *at + AT_TYPE);
	r->body = sm_str_n(p + *at + header, get32(p + *at + AT_BODY_LENGTH));
	*at += header + (uint32_t)r->body.n;
	return true;
}

/* ---- one record ---- */

bool qm_record_check(const uint8_t *p, size_t n, uint64_t epoch, uint32_t seq, struct qm_record *r)
{
	uint32_t body;

	if (n < QM_RECORD_HEADER || (body = get32(p + AT_BODY_LENGTH)) > n - QM_RECORD_HEADER ||
	    get16(p + AT_REC_ZERO) != 0 || get32(p + AT_REC_CRC) != record_crc(p, body, epoch, seq))
		return false;
	r->lsn = get64(p + AT_LSN);
	r->type = get16(p + AT_TYPE);
	r->body = sm_str_n(p + QM_RECORD_HEADER, body);
	return true;
}

bool qm_record_salvage(struct qm_salvage *s, struct qm_record *r)
{
	/* Byte by byte, because a damaged length says nothing of where the next one begins. Few
	 * places get as far as a checksum. */
	for (; s->at < s->end && s->end - s->at >= QM_RECORD_HEADER; s->at++) {
		uint64_t lsn = get64(s->p + s->at + AT_LSN);

		if (lsn <= s->after || lsn >= s->before ||
		    !qm_record_check(s->p + s->at, s->end - s->at, s->epoch, s->seq, r))
			continue;
		r->at = (uint32_t)s->at;
		s->at += QM_RECORD_HEADER + r->body.n;
		s->after = lsn;
		return true;
	}
	return false;
}

bool qm_record_guess(const uint8_t *p, size_t n, struct qm_record *r)
{
	static const uint8_t zeros[QM_RECORD_HEADER];

	if (n < sizeof zeros || memcmp(p, zeros, sizeof zeros) == 0)
		return false;
	r->lsn = get64(p + AT_LSN);
	r->type = get16(p + AT_TYPE);
	r->body =
	    sm_str_n(p + QM_RECORD_HEADER, SM_MIN(get32(p + AT_BODY_LENGTH), n - QM_RECORD_HEADER));
	return true;
}

uint64_t qm_batch_epoch(const uint8_t *p)
{
	return get64(p + AT_EPOCH);
}

void qm_segment_put(uint8_t *p, uint64_t epoch, uint32_t seq, const struct qm_segment_info *info)
{
	uint16_t version = info->format ? info->format : QM_BATCH_VERSION;
	struct qm_batch b = {.version = version,
	                     .kind = QM_BATCH_SEGMENT,
	                     .epoch = epoch,
	                     .seq = seq,
	                     .length = QM_BATCH_HEADER + info_bytes(version)};

	memset(p, 0, QM_BLOCK);
	put64(p + AT_CREATED, (uint64_t)info->created_wall_ms);
	put64(p + AT_BYTES, info->segment_bytes);
	memcpy(p + AT_NAME, info->name, sizeof info->name);
	if (version >= 3) {
		put64(p + AT_TABLE_HASH, info->table.hash);
		put32(p + AT_TABLE_NUMBER, info->table.number);
		put32(p + AT_INFO_ZERO, 0);
		memcpy(p + AT_BUILD, info->build, sizeof info->build);
	}
	qm_batch_seal(p, &b);
}

void qm_segment_get(const uint8_t *p, struct qm_segment_info *info)
{
	*info = (struct qm_segment_info){.created_wall_ms = (int64_t)get64(p + AT_CREATED),
	                                 .segment_bytes = get64(p + AT_BYTES),
	                                 .format = get16(p + AT_VERSION)};
	memcpy(info->name, p + AT_NAME, sizeof info->name);
	info->name[sizeof info->name - 1] = '\0';
	if (info->format < 3)
		return;
	info->table.hash = get64(p + AT_TABLE_HASH);
	info->table.number = get32(p + AT_TABLE_NUMBER);
	memcpy(info->build, p + AT_BUILD, sizeof info->build);
	info->build[sizeof info->build - 1] = '\0';
	for (char *c = info->build; *c; c++) /* it goes into logs and to terminals */
		if (*c < ' ' || *c > '~')
			*c = '?';
}

/* What a person needs to find the right program. */
static int not_ours(const struct qm_segment_info *found)
{
	const struct qm_rec_version *own = qm_rec_own();
	char table[64] = "";

	if (found->table.number != 0)
		snprintf(table, sizeof table, " with record table %" PRIu32 " (%016" PRIx64 ")",
		         found->table.number, found->table.hash);
	return sm_fail(SM_E_NOTSUP,
	               "written in log format %u%s by %s; this program has format %u and record "
	               "table %" PRIu32 " (%016" PRIx64 ")",
	               found->format, table, found->build[0] ? found->build : "another release",
	               QM_BATCH_VERSION, own->number, own->hash);
}

/* The batch at p is whole, of a version that is not known: what it says nevertheless. */
static int not_ours_at(const uint8_t *p)
{
	struct qm_segment_info found = {.format = get16(p + AT_VERSION)};

	if (get16(p + AT_KIND) == QM_BATCH_SEGMENT &&
	    get32(p + AT_LENGTH) >= QM_BATCH_HEADER + QM_SEGMENT_INFO_BYTES)
		qm_segment_get(p, &found);
	return not_ours(&found);
}

int qm_segment_readable(const uint8_t *p, size_t n, bool *lead_good)
{
	struct qm_segment_info info;
	struct qm_batch b;
	uint16_t version;

	*lead_good = false;
	for (size_t at = 0; at < n; at += QM_BLOCK) {
		int rc = qm_batch_check(p + at, n - at, 0, 0, &b, &version);

		if (rc == SM_E_NOTSUP)
			return not_ours_at(p + at);
		if (at > 0 || rc != 0 || b.kind != QM_BATCH_SEGMENT)
			continue;
		*lead_good = true;
		qm_segment_get(p, &info);
		return info.format < 3 || qm_rec_reads(info.table) ? 0 : not_ours(&info);
	}
	return 0;
}

/* The leading batch: says of which run the segment is. Damaged or from before a renaming: then the
 * next valid batch says it. */
static int scan_lead(const uint8_t *p, size_t n, struct qm_scan *s)
{
	struct qm_batch b;
	uint16_t version;
	bool good;
	int rc = qm_segment_readable(p, n, &good);

	if (rc != 0)
		return rc;
	if (!good || qm_batch_check(p, n, s->seq, 0, &b, &version) != 0 || b.epoch == 0)
		return 0;
	qm_segment_get(p, &s->info);
	if (s->name != NULL && strcmp(s->name, s->info.name) != 0)
		return sm_fail(SM_E_CORRUPT, "belongs to log \"%.*s\"", QM_LOG_NAME_MAX,
		               s->info.name);
	s->epoch = b.epoch;
	s->end = QM_BLOCK;
	return 0;
}

/* The largest lsn in a checked batch. */
static uint64_t batch_last_lsn(const uint8_t *p, const struct qm_batch *b)
{
	struct qm_record r = {.lsn = b->first_lsn};
	uint32_t at = QM_BATCH_HEADER;

	while (qm_record_next(p, b, &at, &r))
		;
	return r.lsn;
}

/* One batch of this run; `at` is where it lies, `s->end` where the one before ended. */
static int scan_batch(const uint8_t *p, uint64_t at, const struct qm_batch *b, struct qm_scan *s)
{
	int rc = 0;

	if (at > s->end) {
		s->damages++;
		s->next_lsn = b->kind == QM_BATCH_END ? UINT64_MAX : b->first_lsn;
		if (s->on_damage != NULL)
			rc = s->on_damage(s->arg, s->end, at - s->end);
		if (rc != 0)
			return rc;
	}
	s->epoch = b->epoch;
	s->end = at + qm_batch_padded(b->length);
	if (b->kind == QM_BATCH_END) {
		s->closed = true;
		return 0;
	}
	if (s->batches++ == 0)
		s->prev_end = b->prev_end;
	s->last_lsn = batch_last_lsn(p + at, b);
	return s->on_batch ? s->on_batch(s->arg, p + at, (uint32_t)(at / QM_BLOCK), b) : 0;
}

int qm_segment_scan(const uint8_t *p, size_t n, struct qm_scan *s)
{
	struct qm_batch b;
	uint16_t version;
	int rc = scan_lead(p, n, s);

	/* Anything that is not the next batch is stepped over block by block: it is damage if a
	 * valid one follows, else the end. */
	for (uint64_t at = s->end; rc == 0 && at < n;) {
		int found = qm_batch_check(p + at, n - at, s->seq, s->epoch, &b, &version);
		if (found == SM_E_CORRUPT && at == s->end)
			s->torn = true;
		bool next = found == 0 && b.epoch != 0 &&
		            (b.kind == QM_BATCH_END ||
		             (b.kind == QM_BATCH_RECORDS && b.first_lsn > s->last_lsn));
		if (!next) {
			at += QM_BLOCK;
			continue;
		}
		s->torn = false;
		rc = scan_batch(p, at, &b, s);
		at = s->end;
	}
	if (s->end > n)
		s->end = n;
	return rc;
}
