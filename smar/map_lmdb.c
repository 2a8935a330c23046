/*
 * Maps of type lmdb: one file, the unnamed database, as createmap makes it. Opened by a helper
 * thread; then the loop's thread reads, always in the same transaction: the file is replaced, never
 * changed, so nothing is locked. Values live in the mapped file.
 */
#include <errno.h>
#include <lmdb.h>
#include <sys/stat.h>

#include "smar/map_int.h"

struct lmdb {
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	size_t key_max;
};

static int fail_mdb(int rc, const char *path)
{
	if (rc > 0)
		return sm_fail_sys(rc, "%s", path);
	return sm_fail(SM_E_CORRUPT, "%s: %s", path, mdb_strerror(rc));
}

static void close_lmdb(void *handle)
{
	struct lmdb *m = handle;

	if (m->txn != NULL)
		mdb_txn_abort(m->txn);
	if (m->env != NULL)
		mdb_env_close(m->env);
	sm_free(m);
}

/* The library believes what the file says of itself: the pages it speaks of have to be there, or
 * the first one that is not would end the process. */
static int check_size(struct lmdb *m, const char *path)
{
	MDB_envinfo info;
	struct stat st;
	MDB_stat db;
	int fd, rc = mdb_env_info(m->env, &info);

	if (rc == 0)
		rc = mdb_env_stat(m->env, &db);
	if (rc == 0)
		rc = mdb_env_get_fd(m->env, &fd);
	if (rc != 0)
		return fail_mdb(rc, path);
	if (fstat(fd, &st) != 0)
		return sm_fail_sys(errno, "%s", path);
	if (((uint64_t)info.me_last_pgno + 1) * db.ms_psize > (uint64_t)st.st_size)
		return sm_fail(SM_E_CORRUPT, "%s: the file is cut off", path);
	return 0;
}

static int open_file(struct lmdb *m, const char *path, size_t *entries)
{
	MDB_stat st;
	int rc = mdb_env_create(&m->env);

	if (rc == 0)
		rc = mdb_env_open(m->env, path, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS,
		                  0);
	if (rc != 0)
		return fail_mdb(rc, path);
	rc = check_size(m, path);
	if (rc != 0)
		return rc;
	rc = mdb_txn_begin(m->env, NULL, MDB_RDONLY, &m->txn);
	if (rc == 0)
		rc = mdb_dbi_open(m->txn, NULL, 0, &m->dbi);
	if (rc == 0)
		rc = mdb_stat(m->txn, m->dbi, &st);
	if (rc != 0)
		return fail_mdb(rc, path);
	m->key_max = (size_t)mdb_env_get_maxkeysize(m->env);
	*entries = st.ms_entries;
	return 0;
}

static int open_lmdb(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	struct lmdb *m = sm_calloc(1, sizeof(*m));
	char path[AR_PATH_BYTES];
	int rc = sm_str_copy(conf->file, path, sizeof(path));

	if (rc == 0)
		rc = open_file(m, path, entries);
	if (rc != 0) {
		close_lmdb(m);
		return rc;
	}
	*handle = m;
	return 0;
}

static int get(void *handle, const struct ar_ctx *ctx SM_UNUSED, struct sm_str key,
               struct sm_str *value)
{
	struct lmdb *m = handle;
	MDB_val k = {key.n, (void *)(uintptr_t)key.p}, v;
	int rc;

	if (key.n == 0 || key.n > m->key_max)
		return SM_E_NOTFOUND; /* none can be in it */
	rc = mdb_get(m->txn, m->dbi, &k, &v);
	if (rc == MDB_NOTFOUND)
		return SM_E_NOTFOUND;
	if (rc != 0)
		return fail_mdb(rc, "LMDB");
	*value = sm_str_n(v.mv_data, v.mv_size);
	return 0;
}

const struct ar_map_driver ar_map_lmdb = {
    .type = AR_MAP_LMDB,
    .name = "lmdb",
    .open = open_lmdb,
    .get = get,
    .close = close_lmdb,
};
