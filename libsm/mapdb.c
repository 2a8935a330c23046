/*
 * The copy of a map's file that a library reads: a file in memory, one for the whole process.
 *
 * Invariant: who holds the lock has the copy alone; afterwards it is empty. Any thread.
 */
#include "libsm/mapdb.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/base.h"

enum { PIECE_BYTES = 256 * 1024 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int memory = -1;

static int get_memory(void)
{
	if (memory < 0)
		memory = memfd_create("map", MFD_CLOEXEC);
	return memory < 0 ? sm_fail_sys(errno, "memory for a file") : 0;
}

int sm_mapdb_init(void)
{
	int rc;

	(void)pthread_mutex_lock(&lock);
	rc = get_memory();
	(void)pthread_mutex_unlock(&lock);
	return rc;
}

static int put(const char *p, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t done = pwrite(memory, p, n, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return sm_fail_sys(done < 0 ? errno : ENOSPC, "memory for a file");
		p += done;
		at += (uint64_t)done;
		n -= (size_t)done;
	}
	return 0;
}

static int copy_all(int fd, uint64_t *size)
{
	char *piece = sm_malloc(PIECE_BYTES);
	int rc = 0;

	*size = 0;
	while (rc == 0) {
		ssize_t n = read(fd, piece, PIECE_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			rc = sm_fail_sys(errno, "read");
		if (n <= 0)
			break;
		if (*size + (uint64_t)n > SM_MAPDB_FILE_MAX)
			rc = sm_fail(SM_E_TOOBIG, "larger than 4 GiB");
		else
			rc = put(piece, (size_t)n, *size);
		*size += (uint64_t)n;
	}
	sm_free(piece);
	return rc;
}

static bool same(const struct stat *a, const struct stat *b, uint64_t size)
{
	return (uint64_t)a->st_size == size && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

static int copy_fd(int fd, uint64_t *size)
{
	struct stat before, after;
	int rc;

	if (fstat(fd, &before) != 0)
		return sm_fail_sys(errno, "stat");
	if (!S_ISREG(before.st_mode))
		return sm_fail(SM_E_NOTSUP, "not a plain file");
	rc = copy_all(fd, size);
	if (rc != 0)
		return rc;
	if (fstat(fd, &after) != 0)
		return sm_fail_sys(errno, "stat");
	/* A second copy of what is just being written would be no better. */
	if (!same(&before, &after, *size))
		return sm_fail(SM_E_AGAIN, "changed while it was read");
	return 0;
}

void sm_mapdb_done(void)
{
	if (ftruncate(memory, 0) != 0) {
		/* It is overwritten the next time. */
	}
	(void)pthread_mutex_unlock(&lock);
}

int sm_mapdb_copy(const char *path, char copy[SM_MAPDB_NAME_BYTES], uint64_t *size)
{
	int rc, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return sm_fail_sys(errno, "open");
	(void)pthread_mutex_lock(&lock);
	rc = get_memory();
	if (rc == 0)
		rc = copy_fd(fd, size);
	if (rc == 0 && ftruncate(memory, (off_t)*size) != 0)
		rc = sm_fail_sys(errno, "memory for a file");
	close(fd);
	(void)snprintf(copy, SM_MAPDB_NAME_BYTES, "/proc/self/fd/%d", memory);
	if (rc != 0)
		sm_mapdb_done();
	return rc;
}
