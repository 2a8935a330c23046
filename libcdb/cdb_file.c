/*
 * A file of the store that is being written: create, write, sync, close; or leave nothing behind.
 *
 * Invariant: after a failed write, sync or close nothing more is done with the file but to close
 * and unlink it (the kernel may have dropped the pages, and a second sync would then say that all
 * is well). For helper threads: nothing is touched but the file and the parts of the store that
 * never change.
 */
#include "libcdb/cdb_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/fault.h"

#define MODE 0640

void cdb_file_init(struct cdb_file *f, struct cdb *s, struct sm_id id)
{
	*f = (struct cdb_file){.s = s, .id = id, .fd = -1};
	sm_id_text(id, f->name);
}

static int dir_fd(const struct cdb_file *f)
{
	return f->s->dir[cdb_dir_index(f->id)];
}

/* An armed fault point, as errno; what is no errno is taken for a disk error. */
static int injected(int fault)
{
	return fault > 0 ? fault : EIO;
}

int cdb_file_scratch(struct cdb_file *f)
{
	char name[SM_ID_SIZE + 2];
	int fault = SM_FAULT("cdb.open");

	f->fd = fault ? -1 : openat(dir_fd(f), ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
	if (f->fd == -1 && !fault && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
		/* One whose name goes at once; it is no id, so that it is taken for nobody's
		 * content if we die in between. */
		snprintf(name, sizeof(name), "%s~", f->name);
		f->fd = openat(dir_fd(f), name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		               0600);
		if (f->fd != -1 && unlinkat(dir_fd(f), name, 0) == -1)
			return cdb_fail(f->s, f->id, errno, "unlink scratch file of");
	}
	return f->fd == -1 ? cdb_fail(f->s, f->id, fault ? injected(fault) : errno,
	                              "create scratch file of")
	                   : 0;
}

int cdb_file_create(struct cdb_file *f)
{
	int fault = SM_FAULT("cdb.open");
	bool group = f->s->conf.gid != (gid_t)-1;
	/* Closed to the former group until the group is the right one. */
	mode_t mode = group ? MODE & ~070 : MODE;

	f->fd = fault ? -1
	              : openat(dir_fd(f), f->name,
	                       O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (f->fd == -1)
		return cdb_fail(f->s, f->id, fault ? injected(fault) : errno, "create");
	f->exists = true;
	/* Before the data: the sync of the data then makes these durable too. The mode is set again
	 * because of the umask. */
	if (group && (fchown(f->fd, (uid_t)-1, f->s->conf.gid) == -1 || fchmod(f->fd, MODE) == -1))
		return cdb_fail(f->s, f->id, errno, "set group and mode of");
	return 0;
}

int cdb_file_again(struct cdb_file *f, const struct cdb_file *of)
{
	int fault = SM_FAULT("cdb.open");

	*f = *of;
	f->fd = fault ? -1 : openat(dir_fd(f), f->name, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	return f->fd == -1 ? cdb_fail(f->s, f->id, fault ? injected(fault) : errno, "open") : 0;
}

/* A short write is no error: the next one says why, if there is a reason. */
int cdb_file_write(struct cdb_file *f, struct iovec *v, int n, uint64_t at)
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
			done = pwrite(f->fd, v->iov_base, (v->iov_len + 1) / 2, (off_t)at);
		} else {
			done = pwritev(f->fd, v, SM_MIN(n, CDB_IOV_MAX), (off_t)at);
		}
		if (done == -1 && errno == EINTR)
			continue;
		if (done <= 0)
			return cdb_fail(f->s, f->id, done == 0 ? EIO : errno, "write");
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

int cdb_file_sync(struct cdb_file *f)
{
	int fault = SM_FAULT("cdb.sync");

	if (fault || fdatasync(f->fd) == -1)
		return cdb_fail(f->s, f->id, fault ? injected(fault) : errno, "sync");
	if (f->named || !f->s->sync_dir[cdb_dir_index(f->id)])
		return 0;
	fault = SM_FAULT("cdb.syncdir");
	if (fault || fsync(dir_fd(f)) == -1)
		return cdb_fail(f->s, f->id, fault ? injected(fault) : errno,
		                "sync the directory of");
	f->named = true;
	return 0;
}

int cdb_file_close(struct cdb_file *f)
{
	int fault = SM_FAULT("cdb.close");
	int rc = close(f->fd);

	f->fd = -1; /* whatever close said: the descriptor is gone */
	if (fault || rc == -1)
		return cdb_fail(f->s, f->id, fault ? injected(fault) : errno, "close");
	return 0;
}

int cdb_file_unname(struct cdb_file *f)
{
	int fault = SM_FAULT("cdb.unlink");

	if (fault || unlinkat(dir_fd(f), f->name, 0) == -1)
		return cdb_fail(f->s, f->id, fault ? injected(fault) : errno, "unlink");
	f->exists = false;
	return 0;
}

void cdb_file_remove(struct cdb_file *f)
{
	if (f->fd != -1)
		close(f->fd);
	f->fd = -1;
	if (f->exists && !SM_FAULT("cdb.unlink"))
		(void)unlinkat(dir_fd(f), f->name, 0);
	f->exists = false;
}

int cdb_file_give_up(struct cdb_file *f, int rc)
{
	char why[SM_DIAG_MAX];

	memcpy(why, sm_diag(), strlen(sm_diag()) + 1);
	cdb_file_remove(f);
	return sm_fail(rc, "%s", why);
}
