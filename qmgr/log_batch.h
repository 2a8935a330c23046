/*
 * How records lie in a batch and batches in a segment: pure functions over bytes. doc/formats.md,
 * "Record log", draws it.
 *
 *     batch:  magic version kind | epoch | seq prev_end | first_lsn | count length | crc zero |
 *             records ... | zeros to the next block
 *     record: lsn | length type zero | crc | body
 *
 * Former versions are read: 1 had no checksum in its records, 2 did not name the table of its
 * records in the leading batch.
 */
#ifndef QM_LOG_BATCH_H
#define QM_LOG_BATCH_H

#include "qmgr/log.h"
#include "qmgr/rec.h"

#define QM_BLOCK         512u
#define QM_BATCH_HEADER  48u
#define QM_RECORD_HEADER 20u
#define QM_BATCH_VERSION 3u
#define QM_BATCH_MAX     (QM_BATCH_HEADER + QM_RECORD_HEADER + QM_LOG_RECORD_MAX)

enum qm_batch_kind {
	QM_BATCH_SEGMENT = 1, /* leads each segment */
	QM_BATCH_RECORDS = 2,
	QM_BATCH_END = 3, /* written by an orderly close: nothing follows */
};

struct qm_batch {
	uint16_t version; /* to write: 0 is QM_BATCH_VERSION */
	uint16_t kind;
	uint64_t epoch; /* random, of one run of qmgr; never 0 */
	uint32_t seq;   /* of the segment */
	/* Block behind the batch before; in the first batch of a segment: behind the last one of
	 * the segment before, 0: none in this run. */
	uint32_t prev_end;
	uint64_t first_lsn;
	uint32_t count;  /* records */
	uint32_t length; /* header and records, without the padding */
};

struct qm_record {
	uint64_t lsn;
	uint32_t at; /* byte in the batch */
	uint16_t type;
	struct sm_str body;
};

static inline size_t qm_batch_padded(size_t length)
{
	return (length + QM_BLOCK - 1) & ~(size_t)(QM_BLOCK - 1);
}

/* Write the header of the batch whose records are at p + QM_BATCH_HEADER, and all checksums. */
void qm_batch_seal(uint8_t *p, const struct qm_batch *b);
/*
 * Is there a batch at `p`, of which `n` bytes are there? With `seq` and `epoch` other than 0 only
 * one of these. 0: yes, `*b` says what, and qm_record_next may be trusted. SM_E_NOTFOUND: nothing
 * that looks like one of these. SM_E_CORRUPT: cut off or damaged. SM_E_NOTSUP: intact, but of a
 * version this program does not know (*version). Writes no diag.
 */
int qm_batch_check(const uint8_t *p, size_t n, uint32_t seq, uint64_t epoch, struct qm_batch *b,
                   uint16_t *version);
/* Length of the batch whose first QM_BLOCK bytes are at `p`, not checked; 0: none of segment `seq`.
 */
uint32_t qm_batch_peek(const uint8_t *p, uint32_t seq);

void qm_record_put(uint8_t *p, uint64_t lsn, uint16_t type, struct sm_str body);
/* Walk a checked batch: *at starts at QM_BATCH_HEADER; false at the end. */
bool qm_record_next(const uint8_t *p, const struct qm_batch *b, uint32_t *at, struct qm_record *r);

/*
 * A record by itself, when its batch is damaged: its checksum, which starts from epoch and segment,
 * holds. Its author knows neither, so no body can pass for one.
 */
bool qm_record_check(const uint8_t *p, size_t n, uint64_t epoch, uint32_t seq, struct qm_record *r);
/* The next such record in p[at..end) whose lsn is above `after` and below `before`; false: none.
 * s->at moves behind it; r->at is the byte from s->p. */
struct qm_salvage {
	const uint8_t *p;
	uint64_t at, end; /* bytes */
	uint64_t epoch, after, before;
	uint32_t seq;
};
bool qm_record_salvage(struct qm_salvage *s, struct qm_record *r);
/* What the bytes say of a record that is damaged, believed as far as nothing contradicts it: false
 * when there is nothing that looks like one. The body is cut off at n. */
bool qm_record_guess(const uint8_t *p, size_t n, struct qm_record *r);
/* The epoch that the bytes of a batch's header say, not checked. */
uint64_t qm_batch_epoch(const uint8_t *p);

/* The segment batch's own bytes. */
#define QM_BUILD_MAX 31
struct qm_segment_info {
	int64_t created_wall_ms;
	uint64_t segment_bytes;
	char name[QM_LOG_NAME_MAX + 1];
	uint16_t format;              /* version of the batches; 0: not known */
	struct qm_rec_version table;  /* of the records; 0 before version 3 of the format */
	char build[QM_BUILD_MAX + 1]; /* what wrote it, likewise */
};
#define QM_SEGMENT_INFO_BYTES   80u
#define QM_SEGMENT_INFO_BYTES_2 32u /* up to version 2 */
/* Fill a block (QM_BLOCK bytes) with the segment batch. info->format 0: QM_BATCH_VERSION. */
void qm_segment_put(uint8_t *p, uint64_t epoch, uint32_t seq, const struct qm_segment_info *info);
void qm_segment_get(const uint8_t *p,
                    struct qm_segment_info *info); /* of a checked segment batch */
/*
 * May this program read the segment that is in p? The leading batch says it; when it is damaged,
 * any batch among the n bytes that is whole and of another version. SM_E_NOTSUP: no, and the diag
 * has what was found and what this program has. 0: yes, or nothing speaks against it; `*lead_good`:
 * it was the leading batch that said it. No damage can make a 0 an SM_E_NOTSUP: the checksums hold.
 */
int qm_segment_readable(const uint8_t *p, size_t n, bool *lead_good);

/* ---- all of a segment ---- */
struct qm_scan {
	/* in */
	const char *name; /* of the log; NULL: any */
	uint32_t seq;
	void *arg;
	int (*on_batch)(void *arg, const uint8_t *p, uint32_t block,
	                const struct qm_batch *b);                     /* may be NULL */
	int (*on_damage)(void *arg, uint64_t offset, uint64_t length); /* may be NULL */
	/* in and out: lsns must rise above it. on_damage may raise it, below next_lsn. */
	uint64_t last_lsn;
	uint64_t next_lsn; /* during on_damage: of the batch behind it; UINT64_MAX: the end */
	/* out */
	struct qm_segment_info info; /* name "": the segment batch is damaged */
	uint64_t epoch;              /* 0: nothing of this segment was found */
	uint64_t end;                /* byte behind the last valid batch */
	uint64_t damages;
	uint32_t batches;  /* with records */
	uint32_t prev_end; /* of the first of these */
	bool torn;         /* something of this epoch begins at `end` and is not whole */
	bool closed;       /* by an orderly end */
};
/* 0, what a callback gave, SM_E_NOTSUP or SM_E_CORRUPT (another log's segment), these two with a
 * diag. */
int qm_segment_scan(const uint8_t *p, size_t n, struct qm_scan *s);

#endif
