/*
 * createmap: Berkeley DB, hash and btree.
 *
 * The database gets an environment of its own in the map's directory: without one the library would
 * read DB_CONFIG from the current directory, and could not have a large cache.
 */
#include <db.h>
#include <stdio.h>
#include <string.h>

#include "libsm/base.h"
#include "misc/createmap.h"

enum {
	PAGE_BYTES = 4096,
	CACHE_BYTES = 64 << 20, /* at the least */
	CACHE_BYTES_MAX = 1 << 30,
	MAGIC_AT = 12,
	MAGIC_HASH = 0x061561,
	MAGIC_BTREE = 0x053162
};

struct map {
	DB_ENV *env;
	DB *db;
};

static int fail_db(int rc)
{
	return rc > 0 ? sm_fail_sys(rc, "Berkeley DB")
	              : sm_fail(SM_E_CORRUPT, "Berkeley DB: %s", db_strerror(rc));
}

static int close_map(void *map)
{
	struct map *m = map;
	int rc = 0, e;

	if (m->db != NULL)
		rc = m->db->close(m->db, 0);
	if (m->env != NULL && (e = m->env->close(m->env, 0)) != 0 && rc == 0)
		rc = e;
	sm_free(m);
	return rc != 0 ? fail_db(rc) : 0;
}

static int open_env(struct map *m, const char *path, uint64_t cache, const char **file)
{
	ptrdiff_t slash = sm_str_rchr(sm_str(path), '/');
	char home[4096] = ".";
	int rc;

	if (slash >= 0 && sm_str_copy(sm_str_head(sm_str(path), SM_MAX((size_t)slash, (size_t)1)),
	                              home, sizeof(home)) != 0)
		return sm_fail(SM_E_TOOBIG, "name too long");
	*file = path + slash + 1;
	if ((rc = db_env_create(&m->env, 0)) != 0)
		return fail_db(rc);
	m->env->set_errfile(m->env, NULL);
	rc = m->env->set_cachesize(m->env, 0, (uint32_t)cache, 1);
	if (rc == 0)
		rc = m->env->open(m->env, home, DB_CREATE | DB_PRIVATE | DB_INIT_MPOOL, 0);
	if (rc == 0)
		rc = db_create(&m->db, m->env, 0);
	return rc != 0 ? fail_db(rc) : 0;
}

static int create(const char *path, uint64_t size_hint, DBTYPE type, void **map)
{
	struct map *m = sm_calloc(1, sizeof(*m));
	uint64_t cache =
	    SM_MIN(SM_MAX(size_hint * 4, (uint64_t)CACHE_BYTES), (uint64_t)CACHE_BYTES_MAX);
	const char *file = path;
	int rc = open_env(m, path, cache, &file), e;

	if (rc == 0) {
		e = m->db->set_pagesize(m->db, PAGE_BYTES);
		/* Enough buckets from the start: splitting them is most of the work otherwise. */
		/* Without checksums nobody could tell that a value was damaged. */
		if (e == 0)
			e = m->db->set_flags(m->db, DB_CHKSUM);
		if (e == 0 && type == DB_HASH)
			e = m->db->set_h_nelem(m->db, (uint32_t)(size_hint / 40));
		if (e == 0)
			e = m->db->open(m->db, NULL, file, NULL, type, DB_CREATE | DB_TRUNCATE,
			                0600);
		rc = e != 0 ? fail_db(e) : 0;
	}
	if (rc != 0) {
		(void)close_map(m);
		return rc;
	}
	*map = m;
	return 0;
}

static int create_hash(const char *path, uint64_t size_hint, void **map)
{
	return create(path, size_hint, DB_HASH, map);
}

static int create_btree(const char *path, uint64_t size_hint, void **map)
{
	return create(path, size_hint, DB_BTREE, map);
}

static int put(void *map, struct sm_str key, struct sm_str value, bool replace)
{
	struct map *m = map;
	DBT k = {.data = (void *)(uintptr_t)key.p, .size = (uint32_t)key.n};
	DBT v = {.data = (void *)(uintptr_t)value.p, .size = (uint32_t)value.n};
	int rc = m->db->put(m->db, NULL, &k, &v, replace ? 0 : DB_NOOVERWRITE);

	if (rc == DB_KEYEXIST)
		return SM_E_EXISTS;
	return rc != 0 ? fail_db(rc) : 0;
}

static bool has_magic(struct sm_str head, uint32_t magic)
{
	uint32_t is;

	if (head.n < MAGIC_AT + sizeof(is))
		return false;
	memcpy(&is, head.p + MAGIC_AT, sizeof(is));
	return is == magic || is == __builtin_bswap32(magic);
}

static bool is_hash(struct sm_str head, uint64_t size)
{
	(void)size;
	return has_magic(head, MAGIC_HASH);
}

static bool is_btree(struct sm_str head, uint64_t size)
{
	(void)size;
	return has_magic(head, MAGIC_BTREE);
}

const struct cm_format cm_hash = {
    .name = "hash",
    .suffixes = {".db"},
    .create = create_hash,
    .put = put,
    .close = close_map,
    .walk = sm_mapdb_bdb_any,
    .is_it = is_hash,
};

const struct cm_format cm_btree = {
    .name = "btree",
    .suffixes = {".db"},
    .create = create_btree,
    .put = put,
    .close = close_map,
    .walk = sm_mapdb_bdb_any,
    .is_it = is_btree,
};
