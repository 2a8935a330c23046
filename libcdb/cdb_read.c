/*
 * Reading a content back, for delivery.
 *
 * What is in a segment is no more than one piece. The segment stays open for a while
 * (cdb_open_files.c), so that the loop itself reads what the kernel has in memory, and only asks a
 * helper when it has not.
 *
 * A small content in a file of its own is opened, checked, read and closed by one job: afterwards
 * the reader is only memory. A large one keeps its descriptor and is read piece by piece. All of it
 * runs in helper threads. For a file that was just written the loop could do it in half the time (5
 * KB: 4 us of CPU; by way of a helper 8 us with ten readers, 14 us with one), but after a restart,
 * or hours in the deferred queue, neither name nor data are in memory: then the open alone waits
 * for the disk, and every other session would wait with it. open has no way to ask which it will
 * be.
 *
 * Invariant: exactly `size` bytes from `offset` are given out, or an error; never silently less.
 */
#include "libcdb/cdb_int.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/crc32c.h"
#include "libsm/fault.h"
#include "libsm/offload.h"

struct cdb_reader {
	struct cdb *s;
	struct sm_id id; /* of the file */
	int fd;          /* -1: all of it is in buf */
	bool borrowed;   /* the descriptor is a writer's */
	uint64_t offset, size;
	uint64_t at;                /* given out so far */
	char head[CDB_ENTRY_BYTES]; /* of one in a segment */
	char *buf;                  /* from s->small or s->pieces, by size */
	size_t in_buf;              /* bytes in buf, of the content from `buf_at` */
	uint64_t buf_at;
};

static bool is_small(const struct cdb_reader *r)
{
	return r->size <= CDB_SMALL_BYTES;
}

/* ---- helper thread -------------------------------------------------------------------------- */

/* The next piece from `at` into the buffer. */
static int fill_job(void *arg)
{
	struct cdb_reader *r = arg;
	size_t want = (size_t)SM_MIN(r->size - r->at, (uint64_t)CDB_PIECE_BYTES);

	r->buf_at = r->at;
	r->in_buf = 0;
	while (r->in_buf < want) {
		int fault = SM_FAULT("cdb.read");
		size_t left = want - r->in_buf;
		ssize_t got;

		if (fault > 0) {
			errno = fault;
			got = -1;
		} else {
			got = pread(r->fd, r->buf + r->in_buf, fault ? (left + 1) / 2 : left,
			            (off_t)(r->offset + r->at + r->in_buf));
		}
		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1)
			return cdb_fail(r->s, r->id, errno, "read");
		if (got == 0)
			return cdb_corrupt(r->s, r->id, "has become shorter");
		r->in_buf += (size_t)got;
	}
	return 0;
}

static int check(const struct cdb_reader *r)
{
	struct stat st;
	uint64_t end;

	if (fstat(r->fd, &st) == -1)
		return cdb_fail(r->s, r->id, errno, "stat");
	if (!S_ISREG(st.st_mode))
		return cdb_corrupt(r->s, r->id, "is no plain file");
	if (st.st_nlink != 1)
		return cdb_corrupt(r->s, r->id, "has not exactly one link");
	if (__builtin_add_overflow(r->offset, r->size, &end) || (uint64_t)st.st_size < end)
		return cdb_corrupt(r->s, r->id, "is shorter than its record says");
	return 0;
}

static int open_file(struct cdb_reader *r)
{
	int fault = SM_FAULT("cdb.open");
	char name[SM_ID_SIZE];
	/* Non-blocking is for the case that the name is a pipe: the open must come back to be told
	 * so. */
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

	r->fd =
	    fault ? -1 : openat(r->s->dir[cdb_dir_index(r->id)], sm_id_text(r->id, name), flags);
	if (r->fd == -1) {
		int errnum = fault > 0 ? fault : fault < 0 ? EIO : errno;

		return errnum == ELOOP ? cdb_corrupt(r->s, r->id, "is no plain file")
		                       : cdb_fail(r->s, r->id, errnum, "open");
	}
	return check(r);
}

static void close_file(struct cdb_reader *r)
{
	if (r->fd != -1)
		close(r->fd);
	r->fd = -1;
}

static int open_job(void *arg)
{
	struct cdb_reader *r = arg;
	int rc = open_file(r);

	if (rc == 0 && is_small(r))
		rc = fill_job(r);
	if (rc != 0 || is_small(r))
		close_file(r);
	return rc;
}

/* What comes behind `done` bytes of head and content. As preadv2. */
static ssize_t read_some(struct cdb_reader *r, size_t done, int flags)
{
	size_t in_head = SM_MIN(done, sizeof(r->head)), in_buf = done - in_head;
	struct iovec v[2] = {{.iov_base = r->head + in_head, .iov_len = sizeof(r->head) - in_head},
	                     {.iov_base = r->buf + in_buf, .iov_len = (size_t)r->size - in_buf}};
	off_t at = (off_t)(r->offset - sizeof(r->head) + done);
	int fault = flags ? 0 : SM_FAULT("cdb.read");

	if (fault > 0) {
		errno = fault;
		return -1;
	}
	if (fault < 0) {
		struct iovec *half = &v[v[0].iov_len == 0];

		return pread(r->fd, half->iov_base, (half->iov_len + 1) / 2, at);
	}
	return preadv2(r->fd, v, 2, at, flags);
}

/* Head and content, in one go where that is possible. As errno of what went wrong, EAGAIN: not all
 * of it is there; with RWF_NOWAIT: not in memory. */
static int read_entry(struct cdb_reader *r, int flags)
{
	size_t want = sizeof(r->head) + (size_t)r->size, done = 0;

	r->in_buf = 0;
	while (done < want) {
		ssize_t got = read_some(r, done, flags);

		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1)
			return errno == EOPNOTSUPP ? EAGAIN : errno;
		done += (size_t)got;
		if (got == 0 || (flags && done < want))
			return EAGAIN;
	}
	r->in_buf = (size_t)r->size;
	return 0;
}

static int entry_job(void *arg)
{
	struct cdb_reader *r = arg;
	bool opens = r->fd == -1;
	int rc = opens ? open_file(r) : 0, errnum;

	if (rc == 0 && (errnum = read_entry(r, 0)) != 0)
		rc = errnum == EAGAIN ? cdb_corrupt(r->s, r->id, "is shorter than its record says")
		                      : cdb_fail(r->s, r->id, errnum, "read");
	if (rc != 0 && opens)
		close_file(r);
	return rc;
}

/* ---- loop ----------------------------------------------------------------------------------- */

static struct cdb_reader *reader_new(struct cdb *s, struct sm_id id, uint64_t offset, uint64_t size)
{
	struct cdb_reader *r = sm_calloc(1, sizeof(*r));

	r->s = s;
	r->id = id;
	r->fd = -1;
	r->offset = offset;
	r->size = size;
	r->buf = cdb_pool_get(is_small(r) ? &s->small : &s->pieces);
	return r;
}

static int verify(const struct cdb_reader *r)
{
	struct cdb_entry e;

	if (!cdb_entry_get(r->head, &e) || e.size != r->size)
		return cdb_corrupt(r->s, r->id, "has another content there");
	return sm_crc32c(0, r->buf, (size_t)r->size) == e.crc
	           ? 0
	           : cdb_corrupt(r->s, r->id, "is damaged");
}

static int read_from_segment(struct cdb_reader *r)
{
	struct cdb_open_file *f = cdb_open_file_get(r->s, r->id);
	int rc = 0;

	if (r->size > CDB_PIECE_BYTES || r->offset < CDB_ENTRY_BYTES)
		rc = cdb_corrupt(r->s, r->id, "cannot have such a content");
	if (f != NULL)
		r->fd = f->fd;
	if (rc == 0 && (f == NULL || read_entry(r, RWF_NOWAIT) != 0)) {
		rc = sm_offload("content read", entry_job, r);
		if (f == NULL && r->fd != -1)
			f = cdb_open_file_add(r->s, r->id, r->fd);
	}
	r->fd = -1;
	if (f != NULL)
		cdb_open_file_put(r->s, f);
	return rc == 0 ? verify(r) : rc;
}

int cdb_read_open(struct cdb *s, struct sm_id id, uint32_t offset, uint64_t size,
                  struct cdb_reader **out)
{
	struct cdb_reader *r = reader_new(s, id, offset, size);
	int rc =
	    cdb_is_segment(id) ? read_from_segment(r) : sm_offload("content open", open_job, r);

	*out = NULL;
	if (rc != 0)
		cdb_read_close(&r);
	else
		*out = r;
	return rc;
}

struct cdb_reader *cdb_reader_of(struct cdb *s, struct sm_id id, int fd, uint64_t offset,
                                 const struct iovec *v, int count, uint64_t size)
{
	struct cdb_reader *r = reader_new(s, id, offset, size);

	r->fd = fd;
	r->borrowed = true;
	if (fd != -1)
		return r;
	sm_assert(size <= CDB_PIECE_BYTES);
	for (int i = 0; i < count; i++) {
		memcpy(r->buf + r->in_buf, v[i].iov_base, v[i].iov_len);
		r->in_buf += v[i].iov_len;
	}
	return r;
}

ssize_t cdb_read(struct cdb_reader *r, const char **p)
{
	if (r->at == r->size)
		return 0;
	/* A reader that was rewound finds the first piece still there when it was the only one, or
	 * none was read since. */
	bool here = r->at >= r->buf_at && r->at - r->buf_at < r->in_buf;

	if (!here) {
		int rc = sm_offload("content read", fill_job, r);

		if (rc != 0) {
			r->in_buf = 0;
			return rc;
		}
	}
	size_t skip = (size_t)(r->at - r->buf_at);
	size_t n = r->in_buf - skip;

	*p = r->buf + skip;
	r->at += n;
	return (ssize_t)n;
}

int cdb_read_rewind(struct cdb_reader *r)
{
	r->at = 0;
	return 0;
}

/* On the loop: closing a descriptor that was only read from has nothing to wait for. */
void cdb_read_close(struct cdb_reader **rp)
{
	struct cdb_reader *r = *rp;

	if (r == NULL)
		return;
	if (r->fd != -1 && !r->borrowed)
		close(r->fd);
	cdb_pool_put(is_small(r) ? &r->s->small : &r->s->pieces, r->buf);
	SM_FREE(*rp);
}
