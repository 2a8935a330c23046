/*
 * Reading the record log: all of it at start, one segment for compaction, one record for delivery.
 *
 * Invariant: a record reaches the caller only when the checksum of its batch holds, or its own if
 * the batch is damaged, in rising order of lsn. Bytes that should hold records and do not are set
 * aside in a file before anything else happens to their segment. Nothing here writes to a segment.
 * Replay: loop thread before start; read and scan: any thread, only the constant part of the log.
 */
#include "qmgr/log_impl.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#include "libsm/buf.h"

#define READ_FIRST       4096u /* most batches are smaller */
#define MISSING_REPORTED 100u

struct replay {
	struct qm_log *log; /* NULL: no report of damage */
	qm_log_record_cb *cb;
	void *arg;
	const uint8_t *p; /* the segment in hand */
	struct qm_scan scan;
	uint64_t records;
	struct {
		uint32_t seq;
		uint64_t epoch, end, last_lsn;
	} prev; /* the segment before */
};

/* ---- damage ---- */

/* Copy the bytes away, then tell. A read-only log only tells. */
static int report(struct replay *rp, uint32_t seq, uint64_t offset, uint64_t length,
                  const uint8_t *bytes)
{
	struct qm_log *log = rp->log;
	char file[QM_SEG_PATH_MAX] = "";
	struct qm_log_damage d = {.seq = seq, .offset = offset, .length = length, .file = file};
	int rc = 0;

	if (log == NULL)
		return 0;
	if (!log->c.read_only && length > 0)
		rc = qm_seg_quarantine(log, seq, offset, bytes, length, file);
	if (rc == 0 && log->c.on_damage != NULL)
		log->c.on_damage(log->c.arg, log, &d);
	return rc;
}

/* What stood between two records that are there, or at an end of the damage: a batch's header and
 * padding are no loss. */
static void tell_lost(struct replay *rp, const struct qm_salvage *s, uint64_t from, uint64_t to)
{
	struct qm_log_lost l = {.seq = s->seq};
	struct qm_record r;

	if (from % QM_BLOCK == 0)
		from = SM_MIN(from + QM_BATCH_HEADER, to);
	if (rp->log == NULL || rp->log->c.on_lost == NULL ||
	    !qm_record_guess(s->p + from, to - from, &r))
		return;
	l.offset = from;
	l.length = to - from;
	l.lsn = r.lsn;
	l.type = r.type;
	l.body = r.body;
	rp->log->c.on_lost(rp->log->c.arg, rp->log, &l);
}

/* Records in damaged bytes that are whole by themselves. The leading batch has none. */
static int salvage(struct replay *rp, struct qm_salvage *s)
{
	struct qm_record r;
	int rc = 0;

	s->at = SM_MAX(s->at, QM_BLOCK);
	for (uint64_t from = s->at; rc == 0 && from < s->end; from = s->at) {
		bool found = qm_record_salvage(s, &r);
		uint64_t to = found ? r.at : s->end;
		struct qm_loc loc = {.seq = s->seq,
		                     .block = (uint32_t)(to / QM_BLOCK),
		                     .at = (uint32_t)(to % QM_BLOCK)};

		if (from < to)
			tell_lost(rp, s, from, to);
		if (!found)
			break;
		rp->records++;
		rc = rp->cb ? rp->cb(rp->arg, r.lsn, loc, r.type, r.body) : 0;
	}
	return rc;
}

static int on_damage(void *arg, uint64_t offset, uint64_t length)
{
	struct replay *rp = arg;
	struct qm_salvage s = {.p = rp->p,
	                       .at = offset,
	                       .end = offset + length,
	                       .epoch = rp->scan.epoch,
	                       .seq = rp->scan.seq,
	                       .after = rp->scan.last_lsn,
	                       .before = rp->scan.next_lsn};
	int rc = report(rp, s.seq, offset, length, rp->p + offset);

	if (rc == 0)
		rc = salvage(rp, &s);
	rp->scan.last_lsn = s.after;
	return rc;
}

/*
 * The first batch of a segment says where the one before it ended. Of the same run and further than
 * we got there: what looked like a torn tail was synced once, and is damage.
 */
static int check_prev_tail(struct replay *rp, const struct qm_batch *b)
{
	uint64_t end = (uint64_t)b->prev_end * QM_BLOCK;
	uint8_t *p;
	size_t n;
	int rc;

	if (rp->log == NULL || b->prev_end == 0 || rp->prev.seq == 0 ||
	    rp->prev.seq + 1 != b->seq || end <= rp->prev.end ||
	    (rp->prev.epoch != 0 && rp->prev.epoch != b->epoch))
		return 0;
	rc = qm_seg_load(rp->log, rp->prev.seq, &p, &n);
	if (rc != 0)
		return rc;
	end = SM_MIN(end, (uint64_t)n);
	if (n > rp->prev.end) /* else the file was cut: nothing is left to set aside */
		rc = report(rp, rp->prev.seq, rp->prev.end, end - rp->prev.end, p + rp->prev.end);
	else
		rc = report(rp, rp->prev.seq, 0, 0, NULL);
	if (rc == 0)
		rc = salvage(rp, &(struct qm_salvage){.p = p,
		                                      .at = rp->prev.end,
		                                      .end = end,
		                                      .epoch = b->epoch,
		                                      .seq = rp->prev.seq,
		                                      .after = rp->prev.last_lsn,
		                                      .before = b->first_lsn});
	sm_free(p);
	return rc;
}

static int report_missing(struct replay *rp, uint32_t from, uint32_t to)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < to - from && i < MISSING_REPORTED; i++)
		rc = report(rp, from + i, 0, 0, NULL);
	return rc;
}

/* ---- one segment ---- */

static int on_batch(void *arg, const uint8_t *p, uint32_t block, const struct qm_batch *b)
{
	struct replay *rp = arg;
	struct qm_loc loc = {.seq = b->seq, .block = block};
	struct qm_record r;
	uint32_t at = QM_BATCH_HEADER;
	int rc = block == 1 ? check_prev_tail(rp, b) : 0;

	while (rc == 0 && qm_record_next(p, b, &at, &r)) {
		loc.at = r.at;
		rp->records++;
		rc = rp->cb ? rp->cb(rp->arg, r.lsn, loc, r.type, r.body) : 0;
	}
	return rc;
}

static int replay_segment(const struct qm_log *log, struct replay *rp, uint32_t seq,
                          uint64_t last_lsn, uint64_t *bytes)
{
	uint8_t *p;
	size_t n;
	int rc = qm_seg_load(log, seq, &p, &n);

	if (rc != 0)
		return rc;
	rp->p = p;
	rp->records = 0;
	rp->scan = (struct qm_scan){.name = log->c.name,
	                            .seq = seq,
	                            .arg = rp,
	                            .on_batch = on_batch,
	                            .on_damage = on_damage,
	                            .last_lsn = last_lsn};
	rc = qm_segment_scan(p, n, &rp->scan);
	if (rc == SM_E_NOTSUP || rc == SM_E_CORRUPT)
		rc = sm_fail_in(rc, "%s.%08" PRIx32, log->c.name, seq);
	/* Whether a torn end was whole once only the next segment knows, as replay does. Who scans
	 * knows what to look for. */
	if (rc == 0 && rp->log == NULL && rp->scan.torn)
		rc = salvage(rp, &(struct qm_salvage){.p = p,
		                                      .at = rp->scan.end,
		                                      .end = n,
		                                      .epoch = rp->scan.epoch,
		                                      .seq = seq,
		                                      .after = rp->scan.last_lsn,
		                                      .before = UINT64_MAX});
	*bytes = n;
	sm_free(p);
	rp->p = NULL;
	return rc;
}

static void tell_segment(struct qm_log *log, const struct replay *rp, uint64_t bytes)
{
	const struct qm_scan *s = &rp->scan;
	struct qm_log_segment seg = {.seq = s->seq,
	                             .bytes = bytes,
	                             .end = s->end,
	                             .epoch = s->epoch,
	                             .created_wall_ms = s->info.created_wall_ms,
	                             .format = s->info.format,
	                             .table = s->info.table.number,
	                             .table_hash = s->info.table.hash,
	                             .build = s->info.build,
	                             .records = rp->records,
	                             .damages = s->damages,
	                             .batches = s->batches,
	                             .torn = s->torn,
	                             .closed = s->closed};

	if (log->c.on_segment != NULL)
		log->c.on_segment(log->c.arg, log, &seg);
}

int qm_log_replay(struct qm_log *log, qm_log_record_cb *cb, void *arg)
{
	struct replay rp = {.log = log, .cb = cb, .arg = arg};
	uint64_t last_lsn = 0, bytes;
	int rc;

	sm_assert(!log->replayed);
	if (!log->c.read_only)
		qm_seg_sweep(log);
	rc = qm_seg_list(log, &log->seg, &log->segs);
	log->seg_cap = log->segs;
	for (size_t i = 0; i < log->segs && rc == 0; i++) {
		struct qm_seg *seg = &log->seg[i];
		if (i > 0 && log->seg[i - 1].seq + 1 != seg->seq)
			rc = report_missing(&rp, log->seg[i - 1].seq + 1, seg->seq);
		if (rc == 0 && !log->c.read_only)
			rc = qm_seg_settle(log, seg->seq);
		if (rc == 0)
			rc = replay_segment(log, &rp, seg->seq, last_lsn, &bytes);
		if (rc != 0)
			break;
		last_lsn = rp.scan.last_lsn;
		seg->empty = rp.scan.batches == 0 && rp.scan.damages == 0 && !rp.scan.torn;
		tell_segment(log, &rp, bytes);
		rp.prev.seq = seg->seq;
		rp.prev.epoch = rp.scan.epoch;
		rp.prev.end = rp.scan.end;
		rp.prev.last_lsn = rp.scan.last_lsn;
	}
	if (rc != 0)
		return rc;
	if (log->c.lsn->next <= last_lsn)
		log->c.lsn->next = last_lsn + 1;
	log->told_lsn = last_lsn;
	log->replayed = true;
	return 0;
}

int qm_log_scan(const struct qm_log *log, uint32_t seq, qm_log_record_cb *cb, void *arg)
{
	struct replay rp = {.cb = cb, .arg = arg};
	uint64_t bytes;

	return replay_segment(log, &rp, seq, 0, &bytes);
}

/* ---- one record ---- */

static int find_record(const uint8_t *p, size_t n, struct qm_loc loc, struct qm_record *r)
{
	struct qm_batch b;
	uint16_t version;
	uint32_t at = QM_BATCH_HEADER;

	if (qm_batch_check(p, n, loc.seq, 0, &b, &version) != 0 || b.kind != QM_BATCH_RECORDS)
		return SM_E_CORRUPT;
	while (qm_record_next(p, &b, &at, r))
		if (r->at == loc.at)
			return 0;
	return SM_E_CORRUPT;
}

/* Its batch is damaged: by its own checksum, for which the leading batch, or that of its own batch,
 * says the epoch. *p is the caller's: sm_free. */
static int read_alone(const struct qm_log *log, int fd, struct qm_loc loc, uint8_t **p,
                      struct qm_record *r)
{
	uint64_t block = (uint64_t)loc.block * QM_BLOCK, from[2] = {0, block};
	size_t size = QM_RECORD_HEADER + QM_LOG_RECORD_MAX, n, got;
	int rc;

	sm_free(*p);
	*p = sm_malloc(size);
	rc = qm_seg_pread(log, fd, loc.seq, *p, size, block + loc.at, &n);
	for (size_t i = 0; rc == 0 && i < SM_ARRAY_SIZE(from); i++) {
		uint8_t header[QM_BATCH_HEADER];

		rc = qm_seg_pread(log, fd, loc.seq, header, sizeof header, from[i], &got);
		if (rc == 0 && got == sizeof header &&
		    qm_record_check(*p, n, qm_batch_epoch(header), loc.seq, r))
			return 0;
	}
	return rc ? rc : SM_E_CORRUPT;
}

int qm_log_read(const struct qm_log *log, struct qm_loc loc, uint64_t *lsn, uint16_t *type,
                struct sm_buf *body)
{
	uint64_t offset = (uint64_t)loc.block * QM_BLOCK;
	uint8_t first[READ_FIRST], *p = first, *large = NULL;
	struct qm_record r;
	size_t n, got;
	int fd, rc = qm_seg_open(log, loc.seq, &fd);

	if (rc != 0)
		return rc;
	rc = qm_seg_pread(log, fd, loc.seq, first, sizeof first, offset, &n);
	uint32_t length = rc == 0 && n >= QM_BLOCK ? qm_batch_peek(first, loc.seq) : 0;
	if (rc == 0 && length > n) {
		p = large = sm_malloc(length);
		memcpy(large, first, n);
		rc = qm_seg_pread(log, fd, loc.seq, large + n, length - n, offset + n, &got);
		n += got;
	}
	if (rc == 0 && find_record(p, n, loc, &r) != 0)
		rc = read_alone(log, fd, loc, &large, &r);
	if (rc == SM_E_CORRUPT)
		rc = sm_fail(SM_E_CORRUPT,
		             "%s.%08" PRIx32 ": no valid record at block %" PRIu32 " byte %" PRIu32,
		             log->c.name, loc.seq, loc.block, loc.at);
	close(fd);
	if (rc == 0) {
		*lsn = r.lsn;
		*type = r.type;
		sm_buf_append(body, r.body.p, r.body.n);
		rc = sm_buf_err(body);
	}
	sm_free(large);
	return rc;
}
