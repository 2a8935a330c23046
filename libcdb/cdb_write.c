/*
 * Writing a content: gather, create, write, sync, close; or leave nothing behind.
 *
 * Invariants: a file exists on disk only between the first job of a writer and its commit or abort;
 * after a failed write, sync or close nothing more is done with the file but to unlink it (the
 * kernel may have dropped the pages, and a second sync would then say that all is well). `err` is
 * sticky.
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

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "libsm/fault.h"
#include "libsm/offload.h"

/* Offsets are 32 bits wide; no sane header block comes near this. */
#define GAP_MAX ((size_t)16 * 1024 * 1024)
#define MODE    0640

struct cdb_writer {
	struct cdb *s;
	char name[SM_ID_SIZE];
	int dir_index;
	int fd;       /* -1: no file yet, or no more */
	bool exists;  /* the name is ours and in the directory */
	bool scratch; /* never committed: its file loses its name at once */
	int err;
	/* Loop: what waits to be written at `end`. */
	char *buf;
	size_t len;
	uint64_t end; /* of what was written, or where the body will begin */
	/* The header block and the room for it. */
	size_t gap, header_len;
	char *header; /* NULL: none yet */
	/* Results of the commit job. */
	uint64_t offset, size;
};

struct cdb_writer *cdb_write(struct cdb *s, struct sm_id id, size_t gap)
{
	sm_assert(gap <= GAP_MAX);
	struct cdb_writer *w = sm_calloc(1, sizeof(*w));

	w->s = s;
	sm_id_text(id, w->name);
	w->dir_index = cdb_dir_index(id);
	w->fd = -1;
	w->gap = gap;
	w->end = gap;
	w->buf = cdb_pool_get(&s->small);
	return w;
}

static void writer_free(struct cdb_writer *w)
{
	sm_assert(w->fd == -1);
	cdb_pool_put(&w->s->small, w->buf);
	sm_free(w->header);
	sm_free(w);
}

/* ---- helper thread -------------------------------------------------------------------------- */

static int dir_fd(const struct cdb_writer *w)
{
	return w->s->dir[w->dir_index];
}

static int fail(const struct cdb_writer *w, int errnum, const char *what)
{
	return sm_fail_sys(errnum, "%s " CDB_AT_FMT, what, w->s->base, (unsigned)w->dir_index,
	                   w->name);
}

/* An armed fault point, as errno; what is no errno is taken for a disk error. */
static int injected(int fault)
{
	return fault > 0 ? fault : EIO;
}

/*
 * A file without a name. Where the file system has no such files, one whose name goes at once; it
 * is no id, so that it is taken for nobody's content if we die in between.
 */
static int create_scratch(struct cdb_writer *w)
{
	char name[SM_ID_SIZE + 2];
	int fault = SM_FAULT("cdb.open");

	w->fd = fault ? -1 : openat(dir_fd(w), ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (w->fd == -1 && !fault && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
		snprintf(name, sizeof(name), "%s~", w->name);
		w->fd = openat(dir_fd(w), name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		               0600);
		if (w->fd != -1 && unlinkat(dir_fd(w), name, 0) == -1)
			return fail(w, errno, "unlink scratch file of");
	}
	return w->fd == -1 ? fail(w, fault ? injected(fault) : errno, "create scratch file of") : 0;
}

static int create(struct cdb_writer *w)
{
	int fault = SM_FAULT("cdb.open");
	bool group = w->s->gid != (gid_t)-1;
	/* Closed to the former group until the group is the right one. */
	mode_t mode = group ? MODE & ~070 : MODE;

	w->fd = fault ? -1
	              : openat(dir_fd(w), w->name,
	                       O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (w->fd == -1)
		return fail(w, fault ? injected(fault) : errno, "create");
	w->exists = true;
	/* Before the data: the sync of the data then makes these durable too. The mode is set again
	 * because of the umask. */
	if (group && (fchown(w->fd, (uid_t)-1, w->s->gid) == -1 || fchmod(w->fd, MODE) == -1))
		return fail(w, errno, "set group and mode of");
	return 0;
}

/* All of `v` at `at`. A short write is no error: the next one says why, if there is a reason. */
static int write_all(struct cdb_writer *w, struct iovec *v, int n, uint64_t at)
{
	while (n > 0) {
		if (v->iov_len == 0) {
			v++;
			n--;
			continue;
		}
		int fault = SM_FAULT("cdb.write");
		ssize_t done;

		if (fault > 0) {
			errno = fault;
			done = -1;
		} else if (fault < 0) {
			done = pwrite(w->fd, v->iov_base, (v->iov_len + 1) / 2, (off_t)at);
		} else {
			done = pwritev(w->fd, v, n, (off_t)at);
		}
		if (done == -1 && errno == EINTR)
			continue;
		if (done <= 0)
			return fail(w, done == 0 ? EIO : errno, "write");
		at += (uint64_t)done;
		for (size_t left = (size_t)done; left > 0;) {
			size_t part = SM_MIN(left, v->iov_len);

			v->iov_base = (char *)v->iov_base + part;
			v->iov_len -= part;
			left -= part;
			if (v->iov_len == 0 && n > 0) {
				v++;
				n--;
			}
		}
	}
	return 0;
}

static int sync_file(struct cdb_writer *w)
{
	int fault = SM_FAULT("cdb.sync");

	if (fault || fdatasync(w->fd) == -1)
		return fail(w, fault ? injected(fault) : errno, "sync");
	if (!w->s->sync_dir[w->dir_index])
		return 0;
	fault = SM_FAULT("cdb.syncdir");
	if (fault || fsync(dir_fd(w)) == -1)
		return fail(w, fault ? injected(fault) : errno, "sync the directory of");
	return 0;
}

static int close_file(struct cdb_writer *w)
{
	int fault = SM_FAULT("cdb.close");
	int rc = close(w->fd);

	w->fd = -1; /* whatever close said: the descriptor is gone */
	if (fault || rc == -1)
		return fail(w, fault ? injected(fault) : errno, "close");
	return 0;
}

/* Leaves nothing behind. Its own trouble is nobody's: the name is found as an orphan later. */
static int remove_job(void *arg)
{
	struct cdb_writer *w = arg;

	if (w->fd != -1)
		close(w->fd);
	w->fd = -1;
	if (w->exists && !SM_FAULT("cdb.unlink"))
		(void)unlinkat(dir_fd(w), w->name, 0);
	w->exists = false;
	return 0;
}

/* After a failure: the file goes at once, before the client hears of it and tries again. */
static int give_up(struct cdb_writer *w, int rc)
{
	char why[SM_DIAG_MAX];

	memcpy(why, sm_diag(), strlen(sm_diag()) + 1);
	remove_job(w);
	return sm_fail(rc, "%s", why);
}

/* Write what has gathered. */
static int flush_job(void *arg)
{
	struct cdb_writer *w = arg;
	struct iovec v = {.iov_base = w->buf, .iov_len = w->len};
	int rc = w->fd != -1 ? 0 : w->scratch ? create_scratch(w) : create(w);

	if (rc == 0)
		rc = write_all(w, &v, 1, w->end);
	if (rc != 0)
		return give_up(w, rc);
	w->end += w->len;
	return 0;
}

/* Another writer is about to have the name; what was written goes when the file is closed. */
static int unname_job(void *arg)
{
	struct cdb_writer *w = arg;
	int fault = SM_FAULT("cdb.unlink");

	if (fault || unlinkat(dir_fd(w), w->name, 0) == -1)
		return fail(w, fault ? injected(fault) : errno, "unlink");
	w->exists = false;
	return 0;
}

/* Everything that is left, in one go. */
static int commit_job(void *arg)
{
	struct cdb_writer *w = arg;
	struct iovec v[2] = {
	    {.iov_base = w->header, .iov_len = w->header_len},
	    {.iov_base = w->buf, .iov_len = w->len},
	};
	int rc = 0;

	if (w->fd == -1) {
		/* All of it is still here: then there is no need for a hole at the front. */
		w->offset = 0;
		w->end = w->header_len;
		rc = create(w);
		if (rc == 0)
			rc = write_all(w, v, 2, 0);
	} else {
		w->offset = w->gap - w->header_len;
		rc = write_all(w, &v[0], 1, w->offset);
		if (rc == 0)
			rc = write_all(w, &v[1], 1, w->end);
	}
	w->end += w->len;
	w->size = w->end - w->offset;
	if (rc == 0)
		rc = sync_file(w);
	if (rc == 0)
		rc = close_file(w);
	return rc == 0 ? 0 : give_up(w, rc);
}

/* ---- loop ----------------------------------------------------------------------------------- */

int cdb_append(struct cdb_writer *w, const void *p, size_t n)
{
	const char *from = p;

	while (n > 0 && w->err == 0) {
		size_t part = SM_MIN(n, CDB_WRITE_BYTES - w->len);

		/* Only when more comes is a full buffer written: the last one belongs to the
		 * commit. */
		if (part == 0) {
			w->err = sm_offload("content write", flush_job, w);
			w->len = 0;
			continue;
		}
		memcpy(w->buf + w->len, from, part);
		w->len += part;
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
	if (w->err == 0 && w->fd != -1 && w->len > 0) {
		w->err = sm_offload("content write", flush_job, w);
		w->len = 0;
	}
	if (w->err != 0)
		return w->err;
	*out = cdb_reader_of(w->s, w->name, w->dir_index, w->fd, w->gap, w->buf,
	                     w->end - w->gap + w->len);
	return 0;
}

int cdb_rewrite(struct cdb_writer **wp, struct cdb_writer **former)
{
	struct cdb_writer *w = *wp, *fresh;
	int rc = w->exists ? sm_offload("content rewrite", unname_job, w) : 0;

	if (rc != 0)
		return rc;
	fresh = sm_calloc(1, sizeof(*fresh));
	fresh->s = w->s;
	memcpy(fresh->name, w->name, sizeof(fresh->name));
	fresh->dir_index = w->dir_index;
	fresh->fd = -1;
	fresh->buf = cdb_pool_get(&w->s->small);
	*former = w;
	*wp = fresh;
	return 0;
}

int cdb_commit(struct cdb_writer **wp, uint32_t *offset, uint64_t *size)
{
	struct cdb_writer *w = *wp;
	int rc = w->err ? w->err : sm_offload("content commit", commit_job, w);

	if (rc == 0) {
		*offset = (uint32_t)w->offset;
		*size = w->size;
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
	if (w->exists || w->fd != -1)
		(void)sm_offload("content abort", remove_job, w);
	*wp = NULL;
	writer_free(w);
}
