/*
 * Entries of Berkeley DB files. Any thread.
 *
 * The library believes what it reads: on a damaged file it may loop, or write where it must not,
 * even while it verifies (DB->verify; one of ten thousand flipped bits did that). With checksums it
 * looks at no page that is not as it was written. So a server takes files with checksums only, as
 * createmap makes them; createmap itself takes others, too, after DB->verify: it may die of them.
 *
 * The environment is of this one reading, in memory and without a home: so no DB_CONFIG is read,
 * that of the current directory least of all, and there is no place for files of its own. What the
 * library complains about goes into the diag, never to standard error.
 */
#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "libsm/base.h"
#include "libsm/mapdb.h"

/* A home that nothing can be in. */
#define NO_HOME "/dev/null"
enum {
	CACHE_BYTES = 16 << 20,
	SAID_BYTES = 200,
	/* Of the meta page, at the beginning of the file. */
	META_BYTES = 72,
	MAGIC_AT = 12,
	MAGIC_HASH = 0x061561,
	MAGIC_BTREE = 0x053162,
	PAGE_BYTES_AT = 20,
	FLAGS_AT = 26,
	FLAG_CHECKSUMS = 1,
	LAST_PAGE_AT = 32
};

struct reading {
	DB_ENV *env;
	char said[SAID_BYTES]; /* the first complaint */
};

static void complain(const DB_ENV *env, const char *prefix SM_UNUSED, const char *text)
{
	struct reading *r = env->app_private;

	if (r->said[0] == '\0')
		sm_str_cut(sm_str(text), r->said, sizeof(r->said));
}

/* What it prints besides: the contents of pages that it does not like. */
static void be_quiet(const DB_ENV *env SM_UNUSED, const char *text SM_UNUSED)
{
}

static int fail_db(const struct reading *r, int rc)
{
	const char *said = r->said[0] != '\0' ? r->said : db_strerror(rc);

	if (rc == ENOMEM)
		return sm_fail_sys(rc, "Berkeley DB");
	if (rc == DB_VERIFY_BAD || rc == DB_RUNRECOVERY)
		return sm_fail(SM_E_CORRUPT, "damaged: %s", said);
	return sm_fail(SM_E_CORRUPT, "Berkeley DB: %s", said);
}

static int open_env(struct reading *r)
{
	int rc = db_env_create(&r->env, 0);

	if (rc != 0)
		return fail_db(r, rc);
	r->env->app_private = r;
	r->env->set_errcall(r->env, complain);
	r->env->set_msgcall(r->env, be_quiet);
	rc = r->env->set_cachesize(r->env, 0, CACHE_BYTES, 1);
	if (rc == 0)
		rc = r->env->set_tmp_dir(r->env, NO_HOME);
	if (rc == 0)
		rc = r->env->open(r->env, NO_HOME, DB_CREATE | DB_PRIVATE | DB_INIT_MPOOL, 0);
	return rc != 0 ? fail_db(r, rc) : 0;
}

static int verify(struct reading *r, const char *file)
{
	DB *db;
	int rc = db_create(&db, r->env, 0);

	/* It closes the handle, whatever it finds. */
	if (rc == 0)
		rc = db->verify(db, file, NULL, NULL, 0);
	return rc != 0 ? fail_db(r, rc) : 0;
}

static struct sm_str view(const DBT *d)
{
	struct sm_str s = sm_str_n(d->data, d->size);

	if (s.n > 0 && s.p[s.n - 1] == '\0')
		s.n--;
	return s;
}

static int check_kind(const struct reading *r, DB *db)
{
	DBTYPE type;
	int rc = db->get_type(db, &type);

	if (rc != 0)
		return fail_db(r, rc);
	if (type != DB_HASH && type != DB_BTREE)
		return sm_fail(SM_E_NOTSUP, "neither hash nor btree");
	if (db->get_multiple(db))
		return sm_fail(SM_E_NOTSUP, "several databases in one file");
	return 0;
}

static int each(const struct reading *r, DB *db, sm_mapdb_entry_cb *cb, void *arg)
{
	DBT key = {0}, value = {0};
	DBC *cursor;
	int err = 0, rc = db->cursor(db, NULL, &cursor, 0);

	if (rc != 0)
		return fail_db(r, rc);
	while (err == 0 && (rc = cursor->get(cursor, &key, &value, DB_NEXT)) == 0)
		err = cb(arg, view(&key), view(&value));
	if (err == 0 && rc != DB_NOTFOUND)
		err = fail_db(r, rc);
	(void)cursor->close(cursor);
	return err;
}

static int read_all(struct reading *r, const char *file, sm_mapdb_entry_cb *cb, void *arg)
{
	DB *db;
	int err, rc = db_create(&db, r->env, 0);

	if (rc != 0)
		return fail_db(r, rc);
	rc = db->open(db, NULL, file, NULL, DB_UNKNOWN, DB_RDONLY, 0);
	err = rc != 0 ? fail_db(r, rc) : check_kind(r, db);
	if (err == 0)
		err = each(r, db, cb, arg);
	(void)db->close(db, DB_NOSYNC);
	return err;
}

static bool is_magic(uint32_t n)
{
	return n == MAGIC_HASH || n == MAGIC_BTREE;
}

static uint32_t number(const uint8_t *p, bool swapped)
{
	uint32_t n;

	memcpy(&n, p, sizeof(n));
	return swapped ? __builtin_bswap32(n) : n;
}

/* The library is asked for nothing before this is known. To it, pages behind the end are empty. */
static int look_at(const char *file, uint64_t size, bool *checksums)
{
	uint8_t meta[META_BYTES];
	uint64_t page_bytes;
	bool swapped;
	ssize_t n;
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return sm_fail_sys(errno, "open");
	n = pread(fd, meta, sizeof(meta), 0);
	close(fd);
	if (n != (ssize_t)sizeof(meta))
		return sm_fail(SM_E_CORRUPT, "no Berkeley DB file: too short");
	swapped = !is_magic(number(meta + MAGIC_AT, false));
	if (!is_magic(number(meta + MAGIC_AT, swapped)))
		return sm_fail(SM_E_CORRUPT, "no hash or btree file of Berkeley DB");
	page_bytes = number(meta + PAGE_BYTES_AT, swapped);
	if (page_bytes == 0 || size % page_bytes != 0 ||
	    size / page_bytes <= number(meta + LAST_PAGE_AT, swapped))
		return sm_fail(SM_E_CORRUPT, "its end is cut off");
	*checksums = (meta[FLAGS_AT] & FLAG_CHECKSUMS) != 0;
	return 0;
}

static int read_copy(const char *copy, uint64_t size, bool any, sm_mapdb_entry_cb *cb, void *arg)
{
	struct reading r = {0};
	bool checksums = false;
	int rc = look_at(copy, size, &checksums);

	if (rc == 0 && !checksums && !any)
		rc = sm_fail(SM_E_NOTSUP, "has no checksums: make it with createmap");
	if (rc == 0)
		rc = open_env(&r);
	if (rc == 0 && !checksums)
		rc = verify(&r, copy);
	if (rc == 0)
		rc = read_all(&r, copy, cb, arg);
	if (r.env != NULL) {
		/* A wrong checksum makes the environment panic; then it would keep its memory. */
		(void)r.env->set_flags(r.env, DB_NOPANIC, 1);
		(void)r.env->close(r.env, 0);
	}
	return rc;
}

static int from_file(const char *path, bool any, sm_mapdb_entry_cb *cb, void *arg)
{
	char copy[SM_MAPDB_NAME_BYTES];
	uint64_t size;
	int rc = sm_mapdb_copy(path, copy, &size);

	if (rc != 0)
		return rc;
	rc = read_copy(copy, size, any, cb, arg);
	sm_mapdb_done();
	return rc;
}

int sm_mapdb_bdb(const char *path, sm_mapdb_entry_cb *cb, void *arg)
{
	return from_file(path, false, cb, arg);
}

int sm_mapdb_bdb_any(const char *path, sm_mapdb_entry_cb *cb, void *arg)
{
	return from_file(path, true, cb, arg);
}
