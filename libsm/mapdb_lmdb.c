/* Entries of LMDB files. The library has no checksums, and believes what it finds but for the end
 * of the file, which is checked here. Any thread. */
#include <lmdb.h>

#include "libsm/base.h"
#include "libsm/mapdb.h"

static int fail_mdb(int rc)
{
	return rc > 0 ? sm_fail_sys(rc, "LMDB") : sm_fail(SM_E_CORRUPT, "%s", mdb_strerror(rc));
}

/* The pages it speaks of have to be there, or the first one that is not would end the process. */
static int check_size(MDB_env *env, uint64_t size)
{
	MDB_envinfo info;
	MDB_stat st;
	int rc = mdb_env_info(env, &info);

	if (rc == 0)
		rc = mdb_env_stat(env, &st);
	if (rc != 0)
		return fail_mdb(rc);
	return ((uint64_t)info.me_last_pgno + 1) * st.ms_psize > size
	           ? sm_fail(SM_E_CORRUPT, "the file is cut off")
	           : 0;
}

static int each(MDB_env *env, sm_mapdb_entry_cb *cb, void *arg)
{
	MDB_cursor *cursor = NULL;
	MDB_txn *txn = NULL;
	MDB_val k, v;
	MDB_dbi dbi;
	int err = 0, rc = mdb_txn_begin(env, NULL, MDB_RDONLY, &txn);

	if (rc == 0)
		rc = mdb_dbi_open(txn, NULL, 0, &dbi);
	if (rc == 0)
		rc = mdb_cursor_open(txn, dbi, &cursor);
	while (rc == 0 && err == 0 && (rc = mdb_cursor_get(cursor, &k, &v, MDB_NEXT)) == 0)
		err = cb(arg, sm_str_n(k.mv_data, k.mv_size), sm_str_n(v.mv_data, v.mv_size));
	if (err == 0 && rc != MDB_NOTFOUND)
		err = fail_mdb(rc);
	if (cursor != NULL)
		mdb_cursor_close(cursor);
	if (txn != NULL)
		mdb_txn_abort(txn);
	return err;
}

int sm_mapdb_lmdb(const char *path, sm_mapdb_entry_cb *cb, void *arg)
{
	char copy[SM_MAPDB_NAME_BYTES];
	MDB_env *env = NULL;
	uint64_t size;
	int err, rc = sm_mapdb_copy(path, copy, &size);

	if (rc != 0)
		return rc;
	rc = mdb_env_create(&env);
	if (rc == 0)
		rc = mdb_env_open(env, copy, MDB_NOSUBDIR | MDB_RDONLY | MDB_NOLOCK | MDB_NOTLS, 0);
	err = rc != 0 ? fail_mdb(rc) : check_size(env, size);
	if (err == 0)
		err = each(env, cb, arg);
	if (env != NULL)
		mdb_env_close(env);
	sm_mapdb_done();
	return err;
}
