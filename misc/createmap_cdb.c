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

static bool is_it(struct sm_str head, uint64_t size)
{
	uint64_t entries;

	return sm_mapdb_is_cdb(head, size, &entries);
}

const struct cm_format cm_cdb = {
    .name = "cdb",
    .suffixes = {".cdb"},
    .create = create,
    .put = put,
    .close = close_map,
    .walk = sm_mapdb_cdb,
    .is_it = is_it,
};
