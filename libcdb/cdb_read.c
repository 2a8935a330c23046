/*
 * Reading a content back, for delivery.
 *
 * A small content is opened, checked, read and closed by one job: afterwards the reader is only
 * memory. A large one keeps its descriptor and is read piece by piece. All of it runs in helper
 * threads. For a file that was just written the loop could do it in half the time (5 KB: 4 us of
 * CPU; by way of a helper 8 us with ten readers, 14 us with one), but after a restart, or hours in
 * the deferred queue, neither name nor data are in memory: then the open alone waits for the disk,
 * and every other session would wait with it. open has no way to ask which it will be.
 *
 * Invariant: exactly `size` bytes from `offset` are given out, or an error; never silently less.
 */
#include "libcdb/cdb_int.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/fault.h"
#include "libsm/offload.h"

struct cdb_reader {
	struct cdb *s;
	char name[SM_ID_SIZE];
	int dir_index;
	int fd;        /* -1: all of it is in buf */
	bool borrowed; /* the descriptor is a writer's */
	uint64_t offset, size;
	uint64_t at;   /* given out so far */
	char *buf;     /* from s->small or s->pieces, by size */
	size_t in_buf; /* bytes in buf, of the content from `buf_at` */
	uint64_t buf_at;
};

static bool is_small(const struct cdb_reader *r)
{
	return r->size <= CDB_SMALL_BYTES;
}

/* ---- helper thread -------------------------------------------------------------------------- */

static int fail(const struct cdb_reader *r, int errnum, const char *what)
{
	return sm_fail_sys(errnum, "%s " CDB_AT_FMT, what, r->s->base, (unsigned)r->dir_index,
	                   r->name);
}

static int corrupt(const struct cdb_reader *r, const char *why)
{
	return sm_fail(SM_E_CORRUPT, CDB_AT_FMT " %s", r->s->base, (unsigned)r->dir_index, r->name,
	               why);
}

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
			return fail(r, errno, "read");
		if (got == 0)
			return corrupt(r, "has become shorter");
		r->in_buf += (size_t)got;
	}
	return 0;
}

static int check(const struct cdb_reader *r)
{
	struct stat st;
	uint64_t end;

	if (fstat(r->fd, &st) == -1)
		return fail(r, errno, "stat");
	if (!S_ISREG(st.st_mode))
		return corrupt(r, "is no plain file");
	if (st.st_nlink != 1)
		return corrupt(r, "has not exactly one link");
	if (__builtin_add_overflow(r->offset, r->size, &end) || (uint64_t)st.st_size < end)
		return corrupt(r, "is shorter than its record says");
	return 0;
}

static int open_job(void *arg)
{
	struct cdb_reader *r = arg;
	int fault = SM_FAULT("cdb.open");
	/* Non-blocking is for the case that the name is a pipe: the open must come back to be told
	 * so. */
	int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

	r->fd = fault ? -1 : openat(r->s->dir[r->dir_index], r->name, flags);
	if (r->fd == -1) {
		int errnum = fault > 0 ? fault : fault < 0 ? EIO : errno;

		return errnum == ELOOP ? corrupt(r, "is no plain file") : fail(r, errnum, "open");
	}
	int rc = check(r);

	if (rc == 0 && is_small(r))
		rc = fill_job(r);
	if (rc != 0 || is_small(r)) {
		close(r->fd);
		r->fd = -1;
	}
	return rc;
}

/* ---- loop ----------------------------------------------------------------------------------- */

int cdb_read_open(struct cdb *s, struct sm_id id, uint32_t offset, uint64_t size,
                  struct cdb_reader **out)
{
	struct cdb_reader *r = sm_calloc(1, sizeof(*r));

	r->s = s;
	sm_id_text(id, r->name);
	r->dir_index = cdb_dir_index(id);
	r->fd = -1;
	r->offset = offset;
	r->size = size;
	r->buf = cdb_pool_get(is_small(r) ? &s->small : &s->pieces);
	*out = NULL;
	int rc = sm_offload("content open", open_job, r);

	if (rc != 0)
		cdb_read_close(&r);
	else
		*out = r;
	return rc;
}

struct cdb_reader *cdb_reader_of(struct cdb *s, const char *name, int dir_index, int fd,
                                 uint64_t offset, const char *buf, uint64_t size)
{
	struct cdb_reader *r = sm_calloc(1, sizeof(*r));

	r->s = s;
	memcpy(r->name, name, sizeof(r->name));
	r->dir_index = dir_index;
	r->fd = fd;
	r->borrowed = true;
	r->offset = offset;
	r->size = size;
	r->buf = cdb_pool_get(is_small(r) ? &s->small : &s->pieces);
	if (fd == -1) {
		sm_assert(is_small(r));
		memcpy(r->buf, buf, size);
		r->in_buf = (size_t)size;
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
