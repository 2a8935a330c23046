/*
 * A disk that remembers: a FUSE file system with one file, `img`, kept in a backing file. Each
 * write and each flush goes into a log, in the order in which the disk took them, so that what a
 * power cut would have left can be made of the log later.
 *
 *     recorder BACKING LOG MOUNTPOINT       prints "ready"; ends when it is unmounted, and with its
 *                                           parent
 *
 * The log is a sequence of struct record, a write's data behind it. Invariant: a record is in the
 * log before the request that it tells of is answered; requests are served one after the other (one
 * thread), so a flush covers exactly the writes that stand before it. When the log cannot be
 * written, the recorder aborts: a recording with a gap is worse than none.
 */
#include "config.h"
#define FUSE_USE_VERSION 31
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum kind { WRITE = 1, FLUSH = 2 };

/* Host byte order; recording.py reads it. */
struct record {
	uint32_t kind;
	uint32_t length;  /* bytes of data that follow; 0 for a flush */
	uint64_t offset;  /* in the disk */
	uint64_t time_ns; /* CLOCK_MONOTONIC, when the request came */
};

static const char image[] = "/img";
static int backing, out;
static off_t size;

static _Noreturn void die(const char *what)
{
	fprintf(stderr, "recorder: %s: %s\n", what, strerror(errno));
	abort();
}

static void note(enum kind kind, const char *data, size_t n, off_t at)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);

	struct record r = {.kind = kind,
	                   .length = (uint32_t)n,
	                   .offset = (uint64_t)at,
	                   .time_ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec};
	struct iovec v[2] = {{.iov_base = &r, .iov_len = sizeof r},
	                     {.iov_base = (void *)(uintptr_t)data, .iov_len = n}};

	if (writev(out, v, n ? 2 : 1) != (ssize_t)(sizeof r + n))
		die("the log");
}

static int do_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
	(void)fi;
	memset(st, 0, sizeof *st);
	if (!strcmp(path, "/")) {
		st->st_mode = S_IFDIR | 0755;
		st->st_nlink = 2;
		return 0;
	}
	if (strcmp(path, image) != 0)
		return -ENOENT;
	st->st_mode = S_IFREG | 0600;
	st->st_nlink = 1;
	st->st_size = size;
	st->st_blocks = size / 512;
	return 0;
}

static int do_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t at,
                      struct fuse_file_info *fi, enum fuse_readdir_flags flags)
{
	(void)path, (void)at, (void)fi, (void)flags;
	fill(buf, ".", NULL, 0, 0);
	fill(buf, "..", NULL, 0, 0);
	fill(buf, image + 1, NULL, 0, 0);
	return 0;
}

static int do_open(const char *path, struct fuse_file_info *fi)
{
	(void)fi;
	return strcmp(path, image) == 0 ? 0 : -ENOENT;
}

static int do_read(const char *path, char *buf, size_t n, off_t at, struct fuse_file_info *fi)
{
	ssize_t got = pread(backing, buf, n, at);

	(void)path, (void)fi;
	return got < 0 ? -errno : (int)got;
}

static int do_write(const char *path, const char *data, size_t n, off_t at,
                    struct fuse_file_info *fi)
{
	(void)path, (void)fi;
	if (at + (off_t)n > size) /* a disk does not grow */
		return -ENOSPC;
	note(WRITE, data, n, at);
	if (pwrite(backing, data, n, at) != (ssize_t)n)
		die("the backing file");
	return (int)n;
}

/* The loop device turns each flush of the file system above, FUA writes among them, into this. */
static int do_fsync(const char *path, int datasync, struct fuse_file_info *fi)
{
	(void)path, (void)datasync, (void)fi;
	note(FLUSH, NULL, 0, 0);
	return 0;
}

static void *do_init(struct fuse_conn_info *conn, struct fuse_config *cfg)
{
	(void)conn, (void)cfg;
	puts("ready");
	fflush(stdout);
	return NULL;
}

static const struct fuse_operations ops = {.getattr = do_getattr,
                                           .readdir = do_readdir,
                                           .open = do_open,
                                           .read = do_read,
                                           .write = do_write,
                                           .fsync = do_fsync,
                                           .init = do_init};

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: recorder BACKING LOG MOUNTPOINT\n");
		return 2;
	}
	/* Its mount hangs on it: it is not to outlive who would undo it. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	backing = open(argv[1], O_RDWR | O_CLOEXEC);
	if (backing < 0 || (size = lseek(backing, 0, SEEK_END)) < 0)
		die(argv[1]);
	out = open(argv[2], O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	if (out < 0)
		die(argv[2]);

	char *args[] = {argv[0], (char[]){"-f"}, (char[]){"-s"}, argv[3], NULL};

	return fuse_main(4, args, &ops, NULL);
}
