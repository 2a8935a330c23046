/* Entries of constant databases, by the tinycdb library. Its <cdb.h> is not our libcdb/cdb.h, which
 * is the store of contents: no file includes both, no program links both. Any thread. */
#include <cdb.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "libsm/base.h"
#include "libsm/mapdb.h"

enum { TABLES = 256, PAIR = 8 };

bool sm_mapdb_is_cdb(struct sm_str head, uint64_t size, uint64_t *entries)
{
	const unsigned char *p = (const unsigned char *)head.p;
	uint64_t begin = 0, end = 0;

	if (head.n < SM_MAPDB_CDB_HEAD)
		return false;
	for (int i = 0; i < TABLES; i++, p += PAIR) {
		uint64_t at = cdb_unpack(p), bytes = (uint64_t)cdb_unpack(p + 4) * PAIR;

		if (at < SM_MAPDB_CDB_HEAD || at + bytes > size || (i > 0 && at != end))
			return false;
		begin = i == 0 ? at : begin;
		end = at + bytes;
	}
	/* Half of the places are free. */
	*entries = (end - begin) / PAIR / 2;
	return end == size;
}

static int each(struct cdb *c, uint64_t entries, sm_mapdb_entry_cb *cb, void *arg)
{
	uint64_t count = 0;
	int rc = 0, more;
	unsigned at;

	cdb_seqinit(&at, c);
	while (rc == 0 && (more = cdb_seqnext(&at, c)) > 0) {
		const void *key = cdb_getkey(c), *value = cdb_getdata(c);

		if (key == NULL || value == NULL)
			return sm_fail(SM_E_CORRUPT, "damaged: an entry beyond the end");
		count++;
		rc = cb(arg, sm_str_n(key, cdb_keylen(c)), sm_str_n(value, cdb_datalen(c)));
	}
	if (rc == 0 && (more < 0 || count != entries))
		rc = sm_fail(SM_E_CORRUPT, "damaged: entries do not follow each other");
	return rc;
}

static int read_all(int fd, uint64_t size, sm_mapdb_entry_cb *cb, void *arg)
{
	char head[SM_MAPDB_CDB_HEAD];
	uint64_t entries;
	struct cdb c;
	int rc;

	if (pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
	    !sm_mapdb_is_cdb(sm_str_n(head, sizeof(head)), size, &entries) || cdb_init(&c, fd) != 0)
		return sm_fail(SM_E_CORRUPT, "no constant database, or cut off");
	rc = each(&c, entries, cb, arg);
	cdb_free(&c);
	return rc;
}

int sm_mapdb_cdb(const char *path, sm_mapdb_entry_cb *cb, void *arg)
{
	char copy[SM_MAPDB_NAME_BYTES];
	uint64_t size;
	int fd, rc = sm_mapdb_copy(path, copy, &size);

	if (rc != 0)
		return rc;
	fd = open(copy, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		rc = sm_fail_sys(errno, "cdb");
	} else {
		rc = read_all(fd, size, cb, arg);
		close(fd);
	}
	sm_mapdb_done();
	return rc;
}
