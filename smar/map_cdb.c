/*
 * Maps of type cdb: a constant database, read into memory as a whole by a helper thread, so that no
 * lookup waits for a disk. All numbers in it are little-endian and have 32 bits:
 *
 *     file   = 256 (position, slots)    ; a table for each value of hash mod 256
 *              *(key-length, value-length, key, value)
 *              256 tables: slots x (hash, position of the entry; 0: empty)
 *
 * The file is not believed: what it says is looked up within its bounds, and a search ends after as
 * many steps as its table has slots.
 */
#include "smar/map_file.h"
#include "smar/map_int.h"

enum { TABLES = 256, PAIR = 8 };

static uint32_t number(struct sm_str file, uint64_t at)
{
	const uint8_t *p = (const uint8_t *)file.p + at;

	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool is_there(struct sm_str file, uint64_t at, uint64_t n)
{
	return at <= file.n && n <= file.n - at;
}

/* Twice as many slots as entries. */
static int check(struct sm_str file, const char *path, size_t *entries)
{
	uint64_t slots = 0;

	if (!is_there(file, 0, TABLES * PAIR))
		return sm_fail(SM_E_CORRUPT, "%s: no constant database", path);
	for (uint64_t i = 0; i < TABLES; i++) {
		uint64_t at = number(file, i * PAIR), n = number(file, i * PAIR + 4);

		if (at < TABLES * PAIR || !is_there(file, at, n * PAIR))
			return sm_fail(SM_E_CORRUPT, "%s: no constant database, or cut off", path);
		slots += n;
	}
	*entries = (size_t)(slots / 2);
	return 0;
}

static void close_cdb(void *handle)
{
	struct sm_str *file = handle;

	ar_map_file_free(file);
	sm_free(file);
}

static int open_cdb(const struct ar_map_conf *conf, void **handle, size_t *entries)
{
	struct sm_str *file = sm_calloc(1, sizeof(*file));
	char path[AR_PATH_BYTES];
	int rc = sm_str_copy(conf->file, path, sizeof(path));

	if (rc == 0)
		rc = ar_map_file_read(path, file);
	if (rc == 0)
		rc = check(*file, path, entries);
	if (rc != 0) {
		close_cdb(file);
		return rc;
	}
	*handle = file;
	return 0;
}

/* ---- asking ---- */

static uint32_t hash_of(struct sm_str key)
{
	uint32_t h = 5381;

	for (size_t i = 0; i < key.n; i++)
		h = (h * 33) ^ (uint8_t)key.p[i];
	return h;
}

/* The entry at `at`: 0 and its value; SM_E_NOTFOUND: of another key. */
static int entry_at(struct sm_str file, uint64_t at, struct sm_str key, struct sm_str *value)
{
	uint64_t key_n, value_n;

	if (!is_there(file, at, PAIR))
		return SM_E_CORRUPT;
	key_n = number(file, at);
	value_n = number(file, at + 4);
	if (!is_there(file, at + PAIR, key_n + value_n))
		return SM_E_CORRUPT;
	if (!sm_str_eq(key, sm_str_n(file.p + at + PAIR, (size_t)key_n)))
		return SM_E_NOTFOUND;
	*value = sm_str_n(file.p + at + PAIR + key_n, (size_t)value_n);
	return 0;
}

static int find(struct sm_str file, struct sm_str key, struct sm_str *value)
{
	uint32_t hash = hash_of(key);
	uint64_t table = number(file, (hash % TABLES) * PAIR);
	uint64_t n = number(file, (hash % TABLES) * PAIR + 4);

	for (uint64_t i = 0; i < n; i++) {
		uint64_t slot = table + (hash / TABLES + i) % n * PAIR;
		uint32_t at = number(file, slot + 4);
		int rc;

		if (at == 0)
			break;
		if (number(file, slot) != hash)
			continue;
		rc = entry_at(file, at, key, value);
		if (rc != SM_E_NOTFOUND)
			return rc;
	}
	return SM_E_NOTFOUND;
}

static int get(void *handle, const struct ar_ctx *ctx SM_UNUSED, struct sm_str key,
               struct sm_str *value)
{
	const struct sm_str *file = handle;
	int rc = find(*file, key, value);

	return rc == SM_E_CORRUPT ? sm_fail(rc, "the constant database is damaged") : rc;
}

const struct ar_map_driver ar_map_cdb = {
    .type = AR_MAP_CDB,
    .name = "cdb",
    .open = open_cdb,
    .get = get,
    .close = close_cdb,
};
