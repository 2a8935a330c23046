/*
 * createmap: constant databases, by the tinycdb library. Its <cdb.h> is not our libcdb/cdb.h, which
 * is the store of contents: no file includes both, no program links both.
 */
#include <cdb.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "libsm/base.h"
#include "misc/createmap.h"

enum { TABLES = 256, HEAD_BYTES = TABLES * 8 };

struct map {
	struct cdb_make make;
	int fd;
	bool broken;
};

static int close_map(void *map)
{
	struct map *m = map;
	int rc = 0;

	/* It frees its memory only so. */
	if (cdb_make_finish(&m->make) != 0 || m->broken)
		rc = sm_fail_sys(errno, "cdb");
	if (close(m->fd) != 0 && rc == 0)
		rc = sm_fail_sys(errno, "cdb");
	sm_free(m);
	return rc;
}

static int create(const char *path, uint64_t size_hint, void **map)
{
	struct map *m = sm_calloc(1, sizeof(*m));
	int rc;

	(void)size_hint;
	m->fd = open(path, O_RDWR | O_TRUNC | O_CLOEXEC);
	if (m->fd < 0 || cdb_make_start(&m->make, m->fd) != 0) {
		rc = sm_fail_sys(errno, "cdb");
		if (m->fd >= 0)
			close(m->fd);
		sm_free(m);
		return rc;
	}
	*map = m;
	return 0;
}

static int put(void *map, struct sm_str key, struct sm_str value, bool replace)
{
	struct map *m = map;
	int rc = cdb_make_put(&m->make, key.p, (unsigned)key.n, value.p, (unsigned)value.n,
	                      replace ? CDB_PUT_REPLACE : CDB_PUT_INSERT);

	if (rc == 0 || (replace && rc > 0))
		return 0;
	if (rc > 0)
		return SM_E_EXISTS;
	m->broken = true;
	return errno == ENOMEM ? sm_fail(SM_E_TOOBIG, "cdb: larger than 4 GiB")
	                       : sm_fail_sys(errno, "cdb");
}

static int walk_entries(struct cdb *c, cm_entry_cb *cb, void *arg)
{
	unsigned at;
	int rc = 0, more;

	cdb_seqinit(&at, c);
	while (rc == 0 && (more = cdb_seqnext(&at, c)) > 0) {
		const void *key = cdb_getkey(c), *value = cdb_getdata(c);

		if (key == NULL || value == NULL)
			return sm_fail(SM_E_CORRUPT, "cdb: an entry is damaged");
		rc = cb(arg, sm_str_n(key, cdb_keylen(c)), sm_str_n(value, cdb_datalen(c)));
	}
	return rc == 0 && more < 0 ? sm_fail(SM_E_CORRUPT, "cdb: an entry is damaged") : rc;
}

static int walk(const char *path, cm_entry_cb *cb, void *arg)
{
	struct cdb c;
	int rc, fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return sm_fail_sys(errno, "cdb");
	if (cdb_init(&c, fd) != 0) {
		rc = sm_fail(SM_E_CORRUPT, "cdb: no constant database");
	} else {
		rc = walk_entries(&c, cb, arg);
		cdb_free(&c);
	}
	close(fd);
	return rc;
}

/* There is no magic number. The 256 tables stand one behind the other at the end of the file. */
static bool is_it(struct sm_str head, uint64_t size)
{
	const unsigned char *p = (const unsigned char *)head.p;
	uint64_t end = 0;

	if (head.n < HEAD_BYTES)
		return false;
	for (int i = 0; i < TABLES; i++, p += 8) {
		uint64_t at = cdb_unpack(p), bytes = (uint64_t)cdb_unpack(p + 4) * 8;

		if (at < HEAD_BYTES || at + bytes > size || (end != 0 && at != end))
			return false;
		end = at + bytes;
	}
	return end == size;
}

const struct cm_format cm_cdb = {
    .name = "cdb",
    .suffixes = {".cdb"},
    .create = create,
    .put = put,
    .close = close_map,
    .walk = walk,
    .is_it = is_it,
};
