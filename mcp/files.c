/*
 * What mcp opens. Invariant: a directory that a less trusted user can write to never makes mcp
 * open, create or give away another file than the one meant: logs follow no link and change owner
 * only when mcp has just made them.
 */
#include "mcp/files.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <unistd.h>

int mc_program_open(struct mc_service *s)
{
	struct mc_program *p = &s->program;
	const char *path = s->conf.path.p;
	char magic[2] = "";
	struct stat st;
	int rc;

	/* Readable, to see whether it is a script; what may only be executed is no script. */
	p->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (p->fd < 0 && errno == EACCES)
		p->fd = open(path, O_PATH | O_CLOEXEC);
	if (p->fd < 0 || fstat(p->fd, &st) != 0) {
		rc = sm_fail_sys(errno, "section %s: program %s", s->name, path);
		goto fail;
	}
	if (!S_ISREG(st.st_mode) || (st.st_mode & 0111) == 0) {
		rc = sm_fail(SM_E_DENIED, "section %s: %s is no executable file", s->name, path);
		goto fail;
	}
	p->script = pread(p->fd, magic, 2, 0) == 2 && magic[0] == '#' && magic[1] == '!';
	p->dev = st.st_dev;
	p->ino = st.st_ino;
	p->size = st.st_size;
	p->mtime = st.st_mtim;
	p->ctime = st.st_ctim;
	return 0;
fail:
	if (p->fd >= 0)
		(void)close(p->fd);
	p->fd = -1;
	return rc;
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

bool mc_program_same(const struct mc_program *a, const struct mc_program *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
	       same_time(a->mtime, b->mtime) && same_time(a->ctime, b->ctime);
}

/* Make it, and give it to its owner: nobody else has had it in hands yet. */
static int log_create(const char *path, uid_t uid)
{
	const struct group *gr;
	int fd = open(
	    path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, 0640);

	if (fd < 0)
		return errno == EEXIST ? SM_E_EXISTS : sm_fail_sys(errno, "log file %s", path);
	if (mc.root) {
		gr = getgrnam("operator");
		if (fchmod(fd, 0640) != 0 || fchown(fd, uid, gr != NULL ? gr->gr_gid : 0) != 0) {
			int err = errno;
			(void)close(fd);
			return sm_fail_sys(err, "owner of log file %s", path);
		}
	}
	return fd;
}

int mc_log_open(const char *name, uid_t uid, int *fd)
{
	char path[4096];
	struct stat st;

	*fd = -1;
	if (mc.log_dir == NULL)
		return 0;
	if ((size_t)snprintf(path, sizeof(path), "%s/%s.log", mc.log_dir, name) >= sizeof(path))
		return sm_fail(SM_E_TOOBIG, "log directory's name is too long");
	*fd = log_create(path, uid);
	if (*fd >= 0)
		return 0;
	if (*fd != SM_E_EXISTS)
		return *fd;
	/* Non-blocking: a FIFO in its place must not stop mcp. */
	*fd = open(path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (*fd < 0)
		return sm_fail_sys(errno, "log file %s", path);
	if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
		(void)close(*fd);
		*fd = -1;
		return sm_fail(SM_E_DENIED, "log file %s is no plain file with one name", path);
	}
	/* The flag means nothing for a plain file, but the children inherit it. */
	(void)fcntl(*fd, F_SETFL, O_APPEND);
	return 0;
}

int mc_file_open(const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return sm_fail_sys(errno, "%s", path);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		(void)close(fd);
		return sm_fail(SM_E_DENIED, "%s is no plain file", path);
	}
	return fd;
}
