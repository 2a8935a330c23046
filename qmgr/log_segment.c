/*
 * The files of the record log: directories, locks, names, making and recycling segments, and every
 * system call on them.
 *
 * Invariant: a segment that is handed out is zeroed or recycled in full, its leading batch and its
 * name are synced; a commit then touches no metadata. Nothing that failed to sync is synced again.
 * Blocking; no state but the constant part of the log.
 */
#include "qmgr/log_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "libsm/fault.h"
#include "libsm/time.h"

#define ZERO_CHUNK (1024 * 1024)

static void seg_name(const struct qm_log *log, uint32_t seq, char out[QM_SEG_PATH_MAX])
{
	snprintf(out, QM_SEG_PATH_MAX, "%s.%08" PRIx32, log->c.name, seq);
}

/* A fault point's answer as an errno: `fail` and `short` have none of their own. */
static int fault_errno(int fault)
{
	return fault > 0 ? fault : EIO;
}

/* ---- directories ---- */

/* A lock in each directory, so that not even two logs with different homes write into one place. */
static int dir_lock(struct qm_log *log, unsigned i)
{
	char name[QM_SEG_PATH_MAX];
	int flags = log->c.read_only ? O_RDONLY : O_RDWR | O_CREAT;

	snprintf(name, sizeof name, "%s.lock", log->c.name);
	log->lockfd[i] = openat(log->dirfd[i], name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (log->lockfd[i] < 0) {
		if (log->c.read_only && errno == ENOENT)
			return 0; /* never used by a qmgr */
		return sm_fail_sys(errno, "%s/%s", log->dir[i], name);
	}
	if (flock(log->lockfd[i], LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return sm_fail(SM_E_BUSY, "%s/%s: in use by another process", log->dir[i], name);
	return sm_fail_sys(errno, "%s/%s: flock", log->dir[i], name);
}

int qm_seg_dirs_open(struct qm_log *log)
{
	log->dir[0] = sm_strdup(log->c.dir);
	log->dirs = 1;
	if (log->c.log_dir != NULL && strcmp(log->c.log_dir, log->c.dir) != 0) {
		log->dir[1] = sm_strdup(log->c.log_dir);
		log->dirs = 2;
		log->write_dir = 1;
	}
	for (unsigned i = 0; i < log->dirs; i++) {
		int fault = SM_FAULT(log->fault.open);
		if (fault != 0)
			return sm_fail_sys(fault_errno(fault), "%s", log->dir[i]);
		log->dirfd[i] = open(log->dir[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (log->dirfd[i] < 0)
			return sm_fail_sys(errno, "%s", log->dir[i]);
		int rc = dir_lock(log, i);
		if (rc != 0)
			return rc;
	}
	return 0;
}

void qm_seg_dirs_close(struct qm_log *log)
{
	for (unsigned i = 0; i < 2; i++) {
		if (log->dirfd[i] >= 0)
			close(log->dirfd[i]);
		if (log->lockfd[i] >= 0)
			close(log->lockfd[i]);
		log->dirfd[i] = log->lockfd[i] = -1;
		SM_FREE(log->dir[i]);
	}
}

static int dir_sync(const struct qm_log *log, unsigned where)
{
	int fault = SM_FAULT(log->fault.prepare);

	if (fault != 0 || fsync(log->dirfd[where]) != 0)
		return sm_fail_sys(fault ? fault_errno(fault) : errno, "%s: fsync",
		                   log->dir[where]);
	return 0;
}

/* ---- listing ---- */

static int by_seq(const void *a, const void *b)
{
	const struct qm_seg *x = a, *y = b;

	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static bool parse_name(const struct qm_log *log, const char *file, uint32_t *seq)
{
	struct sm_str s = sm_str(file), name = sm_str(log->c.name);
	uint64_t v;

	if (s.n != name.n + 9 || !sm_str_has_prefix(s, name) || s.p[name.n] != '.' ||
	    sm_str_u64(sm_str_from(s, name.n + 1), 16, UINT32_MAX, &v) != 0 || v == 0)
		return false;
	*seq = (uint32_t)v;
	return true;
}

static int list_dir(struct qm_log *log, uint8_t where, struct qm_seg **v, size_t *n, size_t *cap)
{
	int fd = openat(log->dirfd[where], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	int rc = 0;

	if (d == NULL) {
		rc = sm_fail_sys(errno, "%s", log->dir[where]);
		if (fd >= 0)
			close(fd);
		return rc;
	}
	for (;;) {
		struct stat st;
		uint32_t seq;
		errno = 0;
		const struct dirent *e = readdir(d);
		if (e == NULL) {
			if (errno != 0)
				rc = sm_fail_sys(errno, "%s: readdir", log->dir[where]);
			break;
		}
		if (!parse_name(log, e->d_name, &seq))
			continue;
		if (fstatat(log->dirfd[where], e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
			rc = sm_fail_sys(errno, "%s/%s", log->dir[where], e->d_name);
			break;
		}
		if (!S_ISREG(st.st_mode))
			continue;
		if (*n == *cap) {
			*cap = *cap ? *cap * 2 : 16;
			*v = sm_realloc(*v, *cap, sizeof **v);
		}
		(*v)[(*n)++] = (struct qm_seg){.seq = seq,
		                               .where = where,
		                               .there = true,
		                               .old = true,
		                               .bytes = (uint64_t)st.st_size};
	}
	closedir(d);
	return rc;
}

int qm_seg_list(struct qm_log *log, struct qm_seg **v, size_t *n)
{
	size_t cap = 0;
	int rc = 0;

	*v = NULL;
	*n = 0;
	for (uint8_t i = 0; i < log->dirs && rc == 0; i++)
		rc = list_dir(log, i, v, n, &cap);
	if (*n > 0)
		qsort(*v, *n, sizeof **v, by_seq);
	for (size_t i = 1; i < *n && rc == 0; i++)
		if ((*v)[i].seq == (*v)[i - 1].seq)
			rc = sm_fail(SM_E_EXISTS, "%s.%08" PRIx32 " is in %s and in %s",
			             log->c.name, (*v)[i].seq, log->dir[0], log->dir[1]);
	if (rc != 0) {
		SM_FREE(*v);
		*n = 0;
	}
	return rc;
}

void qm_seg_sweep(struct qm_log *log)
{
	char half_made[QM_SEG_PATH_MAX];

	snprintf(half_made, sizeof half_made, "%s.new", log->c.name);
	for (unsigned i = 0; i < log->dirs; i++)
		unlinkat(log->dirfd[i], half_made, 0);
}

/* ---- reading and writing ---- */

int qm_seg_open(const struct qm_log *log, uint32_t seq, int *fd)
{
	char name[QM_SEG_PATH_MAX];
	int fault = SM_FAULT(log->fault.open);

	seg_name(log, seq, name);
	if (fault != 0)
		return sm_fail_sys(fault_errno(fault), "%s", name);
	for (unsigned i = log->dirs; i-- > 0;) {
		*fd = openat(log->dirfd[i], name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
		if (*fd >= 0)
			return 0;
		if (errno != ENOENT)
			break;
	}
	return sm_fail_sys(errno, "%s", name);
}

int qm_seg_pread(const struct qm_log *log, int fd, uint32_t seq, void *p, size_t n, uint64_t offset,
                 size_t *got)
{
	int fault = SM_FAULT(log->fault.read);

	*got = 0;
	while (fault == 0 && *got < n) {
		ssize_t r = pread(fd, (char *)p + *got, n - *got, (off_t)(offset + *got));
		if (r == 0)
			return 0;
		if (r > 0)
			*got += (size_t)r;
		else if (errno != EINTR)
			fault = errno;
	}
	if (fault != 0)
		return sm_fail_sys(fault_errno(fault), "%s.%08" PRIx32 ": read at %" PRIu64,
		                   log->c.name, seq, offset + *got);
	return 0;
}

static int write_all(const struct qm_log *log, int fault, int fd, uint32_t seq, const void *p,
                     size_t n, uint64_t offset)
{
	size_t want = fault == 0 ? n : fault < 0 ? n / 2 : 0; /* `short`: half of it arrives */

	for (size_t done = 0; done < want;) {
		ssize_t w = pwrite(fd, (const char *)p + done, want - done, (off_t)(offset + done));
		if (w >= 0)
			done += (size_t)w;
		else if (errno != EINTR) {
			fault = errno;
			break;
		}
	}
	if (fault != 0)
		return sm_fail_sys(fault_errno(fault), "%s.%08" PRIx32 ": write at %" PRIu64,
		                   log->c.name, seq, offset);
	return 0;
}

static int sync_data(const struct qm_log *log, int fault, int fd, uint32_t seq)
{
	if (fault != 0 || fdatasync(fd) != 0)
		return sm_fail_sys(fault ? fault_errno(fault) : errno,
		                   "%s.%08" PRIx32 ": fdatasync", log->c.name, seq);
	return 0;
}

int qm_seg_commit(const struct qm_log *log, int fd, uint32_t seq, const void *p, size_t n,
                  uint64_t offset)
{
	int rc = write_all(log, SM_FAULT(log->fault.write), fd, seq, p, n, offset);

	return rc ? rc : sync_data(log, SM_FAULT(log->fault.sync), fd, seq);
}

/*
 * After a failed sync the kernel may keep pages that the disk does not have, marked as clean. A
 * sync writes those that are merely dirty; without the cache the read then shows what a power cut
 * would leave.
 */
int qm_seg_settle(const struct qm_log *log, uint32_t seq)
{
	int fd, rc = qm_seg_open(log, seq, &fd);

	if (rc != 0)
		return rc;
	if (fdatasync(fd) != 0)
		rc = sm_fail_sys(errno, "%s.%08" PRIx32 ": fdatasync", log->c.name, seq);
	else
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
	return rc;
}

int qm_seg_load(const struct qm_log *log, uint32_t seq, uint8_t **p, size_t *n)
{
	struct stat st;
	int fd, rc = qm_seg_open(log, seq, &fd);

	*p = NULL;
	*n = 0;
	if (rc != 0)
		return rc;
	if (fstat(fd, &st) != 0)
		rc = sm_fail_sys(errno, "%s.%08" PRIx32, log->c.name, seq);
	else if (st.st_size > QM_LOG_SEGMENT_MOST)
		rc = sm_fail(SM_E_TOOBIG, "%s.%08" PRIx32 ": larger than any segment", log->c.name,
		             seq);
	if (rc == 0 && st.st_size > 0) {
		*p = sm_malloc((size_t)st.st_size);
		rc = qm_seg_pread(log, fd, seq, *p, (size_t)st.st_size, 0, n);
	}
	close(fd);
	if (rc != 0)
		SM_FREE(*p);
	return rc;
}

/* ---- making ---- */

static int put_lead(const struct qm_log *log, int fd, uint32_t seq)
{
	struct qm_segment_info info = {.created_wall_ms = sm_wall_ms(),
	                               .segment_bytes = log->c.segment_bytes};
	uint8_t block[QM_BLOCK];
	int rc;

	memcpy(info.name, log->c.name, strlen(log->c.name));
	info.table = *qm_rec_own();
	(void)sm_str_cut(sm_str(PACKAGE_STRING), info.build, sizeof info.build);
	qm_segment_put(block, log->epoch, seq, &info);
	rc = write_all(log, SM_FAULT(log->fault.prepare), fd, seq, block, sizeof block, 0);
	return rc ? rc : sync_data(log, 0, fd, seq);
}

/* All blocks allocated and written once: no later fdatasync has extents to convert or a size to
 * record. */
static int fill_with_zeros(const struct qm_log *log, int fd, uint32_t seq)
{
	uint8_t *zeros;
	int rc = 0;

	if (fallocate(fd, 0, 0, log->c.segment_bytes) != 0 && errno != EOPNOTSUPP && errno != EINTR)
		return sm_fail_sys(errno, "%s.%08" PRIx32 ": fallocate", log->c.name, seq);
	zeros = sm_calloc(1, ZERO_CHUNK);
	for (uint32_t at = 0; at < log->c.segment_bytes && rc == 0;) {
		uint32_t n = SM_MIN((uint32_t)ZERO_CHUNK, log->c.segment_bytes - at);
		ssize_t w = pwrite(fd, zeros, n, at);
		if (w >= 0)
			at += (uint32_t)w;
		else if (errno != EINTR)
			rc = sm_fail_sys(errno, "%s.%08" PRIx32 ": write zeros", log->c.name, seq);
	}
	sm_free(zeros);
	if (rc == 0 && fsync(fd) != 0)
		rc = sm_fail_sys(errno, "%s.%08" PRIx32 ": fsync", log->c.name, seq);
	return rc;
}

int qm_seg_create(struct qm_log *log, uint32_t seq, int *fd, bool *fatal)
{
	char half_made[QM_SEG_PATH_MAX], name[QM_SEG_PATH_MAX];
	int dir = log->dirfd[log->write_dir];
	int fault = SM_FAULT(log->fault.create), rc;

	*fatal = false;
	*fd = -1;
	seg_name(log, seq, name);
	snprintf(half_made, sizeof half_made, "%s.new", log->c.name);
	if (fault != 0)
		return sm_fail_sys(fault_errno(fault), "%s: create", name);
	*fd = openat(dir, half_made, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*fd < 0)
		return sm_fail_sys(errno, "%s/%s", log->dir[log->write_dir], half_made);
	rc = fill_with_zeros(log, *fd, seq);
	if (rc == 0)
		rc = put_lead(log, *fd, seq);
	if (rc == 0 && renameat(dir, half_made, dir, name) != 0)
		rc = sm_fail_sys(errno, "%s/%s: rename", log->dir[log->write_dir], name);
	if (rc == 0) {
		rc = dir_sync(log, log->write_dir);
		*fatal = rc != 0;
	} else {
		unlinkat(dir, half_made, 0);
	}
	if (rc != 0) {
		close(*fd);
		*fd = -1;
	}
	return rc;
}

int qm_seg_reuse(struct qm_log *log, uint32_t seq, int *fd)
{
	char name[QM_SEG_PATH_MAX];
	int rc;

	seg_name(log, seq, name);
	*fd = openat(log->dirfd[log->write_dir], name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (*fd < 0)
		return sm_fail_sys(errno, "%s/%s", log->dir[log->write_dir], name);
	rc = put_lead(log, *fd, seq);
	if (rc != 0) {
		close(*fd);
		*fd = -1;
	}
	return rc;
}

/* The new name is durable before the new lead is written: whatever a crash leaves, the old number
 * is gone or the old bytes are whole. */
int qm_seg_recycle(struct qm_log *log, uint32_t from, uint32_t to, int *fd)
{
	char old_name[QM_SEG_PATH_MAX], name[QM_SEG_PATH_MAX];
	int dir = log->dirfd[log->write_dir], rc;

	*fd = -1;
	seg_name(log, from, old_name);
	seg_name(log, to, name);
	if (renameat(dir, old_name, dir, name) != 0)
		return sm_fail_sys(errno, "%s/%s: rename", log->dir[log->write_dir], old_name);
	rc = dir_sync(log, log->write_dir);
	return rc ? rc : qm_seg_reuse(log, to, fd);
}

int qm_seg_remove(struct qm_log *log, uint8_t where, uint32_t seq)
{
	char name[QM_SEG_PATH_MAX];

	seg_name(log, seq, name);
	if (unlinkat(log->dirfd[where], name, 0) != 0 && errno != ENOENT)
		return sm_fail_sys(errno, "%s/%s: unlink", log->dir[where], name);
	return dir_sync(log, where);
}

int qm_seg_quarantine(const struct qm_log *log, uint32_t seq, uint64_t offset, const uint8_t *p,
                      size_t n, char file[QM_SEG_PATH_MAX])
{
	int fd, rc;

	snprintf(file, QM_SEG_PATH_MAX, "quarantine.%08" PRIx32 ".%" PRIu64, seq, offset);
	fd = openat(log->dirfd[0], file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
	            0600);
	if (fd < 0)
		return sm_fail_sys(errno, "%s/%s", log->dir[0], file);
	rc = write_all(log, 0, fd, seq, p, n, 0);
	if (rc == 0 && fsync(fd) != 0)
		rc = sm_fail_sys(errno, "%s/%s: fsync", log->dir[0], file);
	close(fd);
	if (rc == 0)
		rc = dir_sync(log, 0);
	if (rc != 0)
		unlinkat(log->dirfd[0], file, 0);
	return rc;
}
