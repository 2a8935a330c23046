/*
 * Reads the files of lists.
 *
 * A name is walked part by part, each opened below the one before and never through a symbolic
 * link, so that it cannot leave the directory whatever is renamed meanwhile. What others may write
 * to is not believed. Blocks; any thread.
 */
#include "smar/include.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/err.h"

enum { READ_BYTES = 64 * 1024, PART_MAX = 256 };

static int check(int fd, const char *name, bool directory)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return sm_fail_sys(errno, "%s", name);
	if (directory ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode))
		return sm_fail(SM_E_NOTSUP, "%s: not a %s", name,
		               directory ? "directory" : "plain file");
	if ((st.st_mode & S_IWOTH) != 0)
		return sm_fail(SM_E_DENIED, "%s: others may write to it", name);
	return 0;
}

/* Gives a descriptor of what is fit, or an error. */
static int open_part(int at, const char *part, const char *name, bool directory)
{
	/* O_NONBLOCK: a FIFO would be waited for. */
	int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
	int fd, rc;

	if (at != AT_FDCWD)
		flags |= O_NOFOLLOW;
	fd = openat(at, part, flags);
	if (fd < 0 && errno == ELOOP)
		return sm_fail(SM_E_DENIED, "%s: %s is a symbolic link", name, part);
	if (fd < 0)
		return sm_fail_sys(errno, "%s", name);
	rc = check(fd, name, directory);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

static int read_all(int fd, const char *name, struct sm_buf *out)
{
	for (;;) {
		size_t room = SM_MIN((size_t)READ_BYTES, out->max - out->len);
		char *to = room > 0 ? sm_buf_reserve(out, room) : NULL;
		char beyond;
		ssize_t n = read(fd, to != NULL ? to : &beyond, to != NULL ? room : 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return sm_fail_sys(errno, "%s", name);
		if (n == 0)
			return 0;
		if (to == NULL)
			return sm_fail(SM_E_TOOBIG, "%s: larger than %zu bytes", name, out->max);
		sm_buf_commit(out, (size_t)n);
	}
}

int ar_include_read(const char *directory, const char *name, struct sm_buf *out)
{
	struct sm_str rest = sm_str(name), part;
	char text[PART_MAX];
	int at, fd, rc;

	at = open_part(AT_FDCWD, directory, directory, true);
	if (at < 0)
		return at;
	for (;;) {
		part = sm_str_split(rest, '/', &rest);
		rc = sm_str_copy(part, text, sizeof(text));
		fd = rc == 0 ? open_part(at, text, name, rest.p != NULL)
		             : sm_fail(rc, "%s: part of the name too long", name);
		close(at);
		if (fd < 0)
			return fd;
		if (rest.p == NULL)
			break;
		at = fd;
	}
	rc = read_all(fd, name, out);
	close(fd);
	return rc;
}

int ar_include_check(const char *directory)
{
	int fd = open_part(AT_FDCWD, directory, directory, true);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}
