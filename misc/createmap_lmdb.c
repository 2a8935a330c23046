/*
 * createmap: LMDB, one file without a directory of its own, the unnamed database. All entries are
 * one transaction; the caller syncs the file.
 */
#include <lmdb.h>
#include <string.h>

#include "libsm/base.h"
#include "misc/createmap.h"

enum {
	KEY_MAX = 511, /* how Debian and everybody else builds the library */
	MAGIC_AT = 16
};
#define MAGIC     0xbeefc0deu
#define MAP_BYTES ((size_t)16 << 30) /* address space; the file grows with what is in it */

struct map {
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	int err; /* of LMDB: then nothing is committed */
};

static int fail_mdb(int rc)
{
	return rc > 0 ? sm_fail_sys(rc, "LMDB")
	              : sm_fail(rc == MDB_MAP_FULL ? SM_E_TOOBIG : SM_E_CORRUPT, "LMDB: %s",
	                        mdb_strerror(rc));
}

static int open_map(const char *path, size_t map_bytes, unsigned flags, struct map *m)
{
	int rc = mdb_env_create(&m->env);

	if (rc == 0)
		rc = mdb_env_set_mapsize(m->env, map_bytes);
	if (rc == 0)
		rc = mdb_env_open(m->env, path, MDB_NOSUBDIR | MDB_NOLOCK | flags, 0600);
	if (rc == 0)
		rc = mdb_txn_begin(m->env, NULL, flags & MDB_RDONLY, &m->txn);
	if (rc == 0)
		rc = mdb_dbi_open(m->txn, NULL, 0, &m->dbi);
	return rc;
}

static int close_map(void *map)
{
	struct map *m = map;
	int rc = m->err;

	if (rc == 0)
		rc = mdb_txn_commit(m->txn);
	else if (m->txn != NULL)
		mdb_txn_abort(m->txn);
	if (m->env != NULL)
		mdb_env_close(m->env);
	sm_free(m);
	return rc != 0 ? fail_mdb(rc) : 0;
}

static int create(const char *path, uint64_t size_hint, void **map)
{
	struct map *m = sm_calloc(1, sizeof(*m));

	(void)size_hint;
	m->err = open_map(path, MAP_BYTES, MDB_NOSYNC, m);
	if (m->err != 0)
		return close_map(m);
	*map = m;
	return 0;
}

static int put(void *map, struct sm_str key, struct sm_str value, bool replace)
{
	struct map *m = map;
	MDB_val k = {key.n, (void *)(uintptr_t)key.p}, v = {value.n, (void *)(uintptr_t)value.p};
	int rc = mdb_put(m->txn, m->dbi, &k, &v, replace ? 0 : MDB_NOOVERWRITE);

	if (rc == MDB_KEYEXIST)
		return SM_E_EXISTS;
	if (rc != 0)
		m->err = rc;
	return rc != 0 ? fail_mdb(rc) : 0;
}

static bool is_it(struct sm_str head, uint64_t size)
{
	uint32_t magic;

	(void)size;
	if (head.n < MAGIC_AT + sizeof(magic))
		return false;
	memcpy(&magic, head.p + MAGIC_AT, sizeof(magic));
	return magic == MAGIC;
}

const struct cm_format cm_lmdb = {
    .name = "lmdb",
    .suffixes = {".mdb", ".lmdb"},
    .key_max = KEY_MAX,
    .create = create,
    .put = put,
    .close = close_map,
    .walk = sm_mapdb_lmdb,
    .is_it = is_it,
};
