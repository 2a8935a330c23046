/*
 * Maps of type hash (also btree), lmdb and cdb: databases that other programs made, of which every
 * entry is taken into memory by a helper thread (libsm/mapdb.h). So no lookup waits for a disk, and
 * what becomes of the file afterwards does no harm to what is open.
 *
 * A key that is there twice, also when only its case differs, is refused: which one is meant?
 */
#include "libsm/mapdb.h"
#include "smar/map_table.h"

static int add(void *arg, struct sm_str key, struct sm_str value)
{
	if (ar_table_add(arg, key, value, 1) == 0)
		return 0;
	return sm_fail(SM_E_EXISTS, "the key \"" SM_STR_FMT "\" is there twice",
	               SM_STR_ARG(sm_str_head(key, 100)));
}

static int open_db(int (*each)(const char *path, sm_mapdb_entry_cb *cb, void *arg),
                   const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	struct ar_table *t = ar_table_new();
	char path[AR_PATH_BYTES];
	int rc = sm_str_copy(conf->file, path, sizeof(path));

	if (rc == 0 && (rc = each(path, add, t)) != 0)
		(void)sm_fail_in(rc, "%s", path);
	return ar_table_opened(rc, t, handle, entries);
}

static int open_hash(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	return open_db(sm_mapdb_bdb, conf, handle, entries);
}

static int open_lmdb(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	return open_db(sm_mapdb_lmdb, conf, handle, entries);
}

static int open_cdb(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	return open_db(sm_mapdb_cdb, conf, handle, entries);
}

const struct ar_map_driver ar_map_hash = {
    .type = AR_MAP_HASH,
    .name = "hash",
    .open = open_hash,
    .get = ar_table_driver_get,
    .close = ar_table_driver_close,
};

const struct ar_map_driver ar_map_lmdb = {
    .type = AR_MAP_LMDB,
    .name = "lmdb",
    .open = open_lmdb,
    .get = ar_table_driver_get,
    .close = ar_table_driver_close,
};

const struct ar_map_driver ar_map_cdb = {
    .type = AR_MAP_CDB,
    .name = "cdb",
    .open = open_cdb,
    .get = ar_table_driver_get,
    .close = ar_table_driver_close,
};
