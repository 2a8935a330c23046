/*
 * Maps of type hash: Berkeley DB files (bdb.h), read into memory as a whole by a helper thread, so
 * that no lookup waits for a disk, and one that is written in place meanwhile does no harm: what is
 * open stays as it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "smar/bdb.h"
#include "smar/map_int.h"

#define FILE_MAX_BYTES ((off_t)4 << 30)

struct hash_map {
	struct sm_str file;
	struct ar_bdb *db;
};

static int read_whole(int fd, const char *path, struct sm_str *out)
{
	struct stat st;
	size_t done = 0;
	char *p;

	if (fstat(fd, &st) != 0)
		return sm_fail_sys(errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return sm_fail(SM_E_NOTSUP, "%s: not a plain file", path);
	if (st.st_size > FILE_MAX_BYTES)
		return sm_fail(SM_E_TOOBIG, "%s: larger than 4 GiB", path);
	p = sm_malloc((size_t)st.st_size + 1);
	*out = sm_str_n(p, (size_t)st.st_size);
	while (done < out->n) {
		ssize_t n = read(fd, p + done, out->n - done);

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

static void close_hash(void *handle)
{
	struct hash_map *m = handle;

	ar_bdb_free(&m->db);
	sm_free((void *)(uintptr_t)m->file.p);
	sm_free(m);
}

static int open_hash(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	struct hash_map *m = sm_calloc(1, sizeof(*m));
	char path[AR_PATH_BYTES];
	int fd = -1, rc = sm_str_copy(conf->file, path, sizeof(path));

	if (rc == 0 && (fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK)) < 0)
		rc = sm_fail_sys(errno, "%s", path);
	if (rc == 0)
		rc = read_whole(fd, path, &m->file);
	if (fd >= 0)
		close(fd);
	if (rc == 0 && (rc = ar_bdb_open(m->file, &m->db)) != 0)
		(void)sm_fail_in(rc, "%s", path);
	if (rc != 0) {
		close_hash(m);
		return rc;
	}
	*handle = m;
	*entries = ar_bdb_count(m->db);
	return 0;
}

static int get(void *handle, const struct ar_ctx *ctx, struct sm_str key, struct sm_str *value)
{
	const struct hash_map *m = handle;

	return ar_bdb_get(m->db, key, ctx->a, value);
}

const struct ar_map_driver ar_map_hash = {
    .type = AR_MAP_HASH,
    .name = "hash",
    .open = open_hash,
    .get = get,
    .close = close_hash,
};
