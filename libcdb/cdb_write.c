/*
 * Writing a content: gather, then write it into a file of its own or into a segment; or leave
 * nothing behind.
 *
 * Invariants: a file exists on disk only between the first job of a writer and its commit or abort.
 * `err` is sticky. What is small is in memory until it is committed, so that is when it is decided
 * whether it gets a file or a place in a segment (cdb_segment.c).
 *
 * What a filter wants to have otherwise is written anew, and only the last writer of an id is ever
 * committed: those before it lost their names when the next one began, so that nothing is left of
 * them when they are closed, however that comes about.
 *
 * Threads: the loop owns the writer; while a job runs its coroutine is parked, and the helper
 * thread has the writer to itself. Jobs touch nothing else but the parts of the store that never
 * change.
 */
#include "libcdb/cdb_int.h"

#include "libsm/offload.h"

/* Offsets are 32 bits wide; no sane header block comes near this. */
#define GAP_MAX ((size_t)16 * 1024 * 1024)
/* Buffers beside the first one of each writer: 32 MB. */
#define MORE_BUFFERS_MAX 512

struct cdb_writer {
	struct cdb *s;
	struct sm_id id;
	struct cdb_file f; /* of its own; not used when the content goes into a segment */
	bool scratch;      /* never committed: its file loses its name at once */
	int err;
	/* Loop: what waits to be written at `end`, in buffers of CDB_WRITE_BYTES. */
	struct iovec v[CDB_BUFFERS];
	int count;    /* buffers in use, at least one */
	uint64_t end; /* of what was written, or where the body will begin */
	/* The header block and the room for it. */
	size_t gap, header_len;
	char *header; /* NULL: none yet */
	/* Results of the commit job. */
	uint64_t offset, size;
};

static struct cdb_writer *writer_new(struct cdb *s, struct sm_id id)
{
	struct cdb_writer *w = sm_calloc(1, sizeof(*w));

	w->s = s;
	w->id = id;
	cdb_file_init(&w->f, s, id);
	w->v[w->count++].iov_base = cdb_pool_get(&s->small);
	return w;
}

static size_t waiting_bytes(const struct cdb_writer *w)
{
	size_t n = 0;

	for (int i = 0; i < w->count; i++)
		n += w->v[i].iov_len;
	return n;
}

/* What was written waits no more; one buffer stays. */
static void buffers_written(struct cdb_writer *w)
{
	while (w->count > 1) {
		cdb_pool_put(&w->s->small, w->v[--w->count].iov_base);
		w->s->more_buffers--;
	}
	w->v[0].iov_len = 0;
}

struct cdb_writer *cdb_write(struct cdb *s, struct sm_id id, size_t gap)
{
	sm_assert(gap <= GAP_MAX);
	struct cdb_writer *w = writer_new(s, id);

	w->gap = gap;
	w->end = gap;
	return w;
}

static void writer_free(struct cdb_writer *w)
{
	sm_assert(w->f.fd == -1);
	buffers_written(w);
	cdb_pool_put(&w->s->small, w->v[0].iov_base);
	sm_free(w->header);
	sm_free(w);
}

/* ---- helper thread -------------------------------------------------------------------------- */

/* Leaves nothing behind. Its own trouble is nobody's: the name is found as an orphan later. */
static int remove_job(void *arg)
{
	struct cdb_writer *w = arg;

	cdb_file_remove(&w->f);
	return 0;
}

/* Write what has gathered. */
static int flush_job(void *arg)
{
	struct cdb_writer *w = arg;
	struct iovec v[CDB_BUFFERS];
	int rc = 0;

	memcpy(v, w->v, sizeof(v));
	if (w->f.fd == -1)
		rc = w->scratch ? cdb_file_scratch(&w->f) : cdb_file_create(&w->f);
	if (rc == 0)
		rc = cdb_file_write(&w->f, v, w->count, w->end);
	if (rc != 0)
		return cdb_file_give_up(&w->f, rc);
	w->end += waiting_bytes(w);
	return 0;
}

/* Another writer is about to have the name; what was written goes when the file is closed. */
static int unname_job(void *arg)
{
	struct cdb_writer *w = arg;

	return cdb_file_unname(&w->f);
}

/* Everything that is left, in one go. */
static int commit_job(void *arg)
{
	struct cdb_writer *w = arg;
	struct iovec v[1 + CDB_BUFFERS] = {{.iov_base = w->header, .iov_len = w->header_len}};
	int rc = 0;

	memcpy(v + 1, w->v, sizeof(w->v));

	if (w->f.fd == -1) {
		/* All of it is still here: then there is no need for a hole at the front. */
		w->offset = 0;
		w->end = w->header_len;
		rc = cdb_file_create(&w->f);
		if (rc == 0)
			rc = cdb_file_write(&w->f, v, 1 + w->count, 0);
	} else {
		w->offset = w->gap - w->header_len;
		rc = cdb_file_write(&w->f, &v[0], 1, w->offset);
		if (rc == 0)
			rc = cdb_file_write(&w->f, v + 1, w->count, w->end);
	}
	w->end += waiting_bytes(w);
	w->size = w->end - w->offset;
	if (rc == 0)
		rc = cdb_file_sync(&w->f);
	if (rc == 0)
		rc = cdb_file_close(&w->f);
	return rc == 0 ? 0 : cdb_file_give_up(&w->f, rc);
}

/* ---- loop ----------------------------------------------------------------------------------- */

/* What may go into a segment as a whole waits in memory, as long as all of it together is little.
 */
static bool add_buffer(struct cdb_writer *w)
{
	if (!cdb_segments_on(w->s) || w->scratch || w->f.fd != -1 || w->count == CDB_BUFFERS ||
	    w->s->more_buffers >= MORE_BUFFERS_MAX)
		return false;
	w->v[w->count++] = (struct iovec){.iov_base = cdb_pool_get(&w->s->small)};
	w->s->more_buffers++;
	return true;
}

static int flush(struct cdb_writer *w)
{
	int rc = sm_offload("content write", flush_job, w);

	buffers_written(w);
	return rc;
}

int cdb_append(struct cdb_writer *w, const void *p, size_t n)
{
	const char *from = p;

	while (n > 0 && w->err == 0) {
		struct iovec *v = &w->v[w->count - 1];
		size_t part = SM_MIN(n, CDB_WRITE_BYTES - v->iov_len);

		/* Only when more comes is a full buffer written: the last one belongs to the
		 * commit. */
		if (part == 0) {
			if (!add_buffer(w))
				w->err = flush(w);
			continue;
		}
		memcpy((char *)v->iov_base + v->iov_len, from, part);
		v->iov_len += part;
		from += part;
		n -= part;
	}
	return w->err;
}

int cdb_header(struct cdb_writer *w, const void *p, size_t n)
{
	sm_assert(w->header == NULL);
	if (n > w->gap)
		return sm_fail(SM_E_TOOBIG, "header block of %zu bytes where %zu were reserved", n,
		               w->gap);
	w->header = sm_malloc(n);
	if (n > 0)
		memcpy(w->header, p, n);
	w->header_len = n;
	return w->err;
}

struct cdb_writer *cdb_scratch(struct cdb *s, struct sm_id id)
{
	struct cdb_writer *w = cdb_write(s, id, 0);

	w->scratch = true;
	return w;
}

int cdb_reread(struct cdb_writer *w, struct cdb_reader **out)
{
	*out = NULL;
	sm_assert(w->header == NULL);
	if (w->err == 0 && w->f.fd != -1 && waiting_bytes(w) > 0)
		w->err = flush(w);
	if (w->err != 0)
		return w->err;
	*out = cdb_reader_of(w->s, w->id, w->f.fd, w->gap, w->v, w->count,
	                     w->end - w->gap + waiting_bytes(w));
	return 0;
}

int cdb_rewrite(struct cdb_writer **wp, struct cdb_writer **former)
{
	struct cdb_writer *w = *wp;
	int rc = w->f.exists ? sm_offload("content rewrite", unname_job, w) : 0;

	if (rc != 0)
		return rc;
	*former = w;
	*wp = writer_new(w->s, w->id);
	return 0;
}

/* Nothing of it is on the disk yet, and it can be read back at once. */
static bool suits_segment(const struct cdb_writer *w)
{
	return cdb_segments_on(w->s) && w->f.fd == -1 &&
	       w->header_len + waiting_bytes(w) <= CDB_PIECE_BYTES;
}

static int commit_to_segment(struct cdb_writer *w, struct cdb_place *at)
{
	struct cdb_segment_entry e = {
	    .id = w->id,
	    .v = {{.iov_base = w->header, .iov_len = w->header_len}},
	    .count = 1 + w->count,
	};

	memcpy(e.v + 1, w->v, sizeof(w->v));

	return cdb_segment_commit(w->s, &e, at);
}

int cdb_commit(struct cdb_writer **wp, struct cdb_place *at)
{
	struct cdb_writer *w = *wp;
	int rc = w->err;

	if (rc == 0)
		rc = suits_segment(w) ? commit_to_segment(w, at) : SM_E_AGAIN;
	if (rc == SM_E_AGAIN) {
		rc = sm_offload("content commit", commit_job, w);
		*at = (struct cdb_place){w->id, (uint32_t)w->offset, w->size};
	}
	*wp = NULL;
	writer_free(w);
	return rc;
}

void cdb_abort(struct cdb_writer **wp)
{
	struct cdb_writer *w = *wp;

	if (w == NULL)
		return;
	if (w->f.exists || w->f.fd != -1)
		(void)sm_offload("content abort", remove_job, w);
	*wp = NULL;
	writer_free(w);
}
