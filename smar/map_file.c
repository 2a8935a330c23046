/* Reads a map's file as a whole. Any thread. */
#include "smar/map_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/err.h"

#define FILE_MAX_BYTES ((off_t)4 << 30)

static int read_all(int fd, const char *path, char *p, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(fd, p + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return sm_fail_sys(errno, "%s", path);
		if (n == 0)
			return sm_fail(SM_E_CORRUPT, "%s: became shorter while it was read", path);
		done += (size_t)n;
	}
	return 0;
}

static int read_fd(int fd, const char *path, struct sm_str *out)
{
	struct stat st;
	char *p;
	int rc;

	if (fstat(fd, &st) != 0)
		return sm_fail_sys(errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return sm_fail(SM_E_NOTSUP, "%s: not a plain file", path);
	if (st.st_size > FILE_MAX_BYTES)
		return sm_fail(SM_E_TOOBIG, "%s: larger than 4 GiB", path);
	p = sm_malloc((size_t)st.st_size + 1);
	rc = read_all(fd, path, p, (size_t)st.st_size);
	if (rc != 0) {
		sm_free(p);
		return rc;
	}
	*out = sm_str_n(p, (size_t)st.st_size);
	return 0;
}

int ar_map_file_read(const char *path, struct sm_str *out)
{
	int rc, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	*out = SM_STR_NONE;
	if (fd < 0)
		return sm_fail_sys(errno, "%s", path);
	rc = read_fd(fd, path, out);
	close(fd);
	return rc;
}

void ar_map_file_free(struct sm_str *text)
{
	sm_free((void *)(uintptr_t)text->p);
	*text = SM_STR_NONE;
}
