/*
 * Maps of type hash: Berkeley DB files (bdb.h), read into memory as a whole by a helper thread, so
 * that no lookup waits for a disk, and one that is written in place meanwhile does no harm: what is
 * open stays as it was.
 */
#include "smar/bdb.h"
#include "smar/map_file.h"
#include "smar/map_int.h"

struct hash_map {
	struct sm_str file;
	struct ar_bdb *db;
};

static void close_hash(void *handle)
{
	struct hash_map *m = handle;

	ar_bdb_free(&m->db);
	ar_map_file_free(&m->file);
	sm_free(m);
}

static int open_hash(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	struct hash_map *m = sm_calloc(1, sizeof(*m));
	char path[AR_PATH_BYTES];
	int rc = sm_str_copy(conf->file, path, sizeof(path));

	if (rc == 0)
		rc = ar_map_file_read(path, &m->file);
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
