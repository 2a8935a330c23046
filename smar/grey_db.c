/*
 * Berkeley DB behind the greylist.
 *
 * The environment is private to the process that holds the lock file, and is recovered at each
 * opening: nothing of a former life is trusted but log and databases. Commits are written, not
 * synced. Pages have checksums, so that damage is noticed before it is used. The index is kept by
 * the library (associate). Invariant: meta.count is what is in the database as of the transaction.
 * Threads: a helper's, one at a time.
 */
#include "smar/grey_db.h"

#include <db.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "libsm/err.h"

enum {
	PATH_BYTES = 4096,
	FILE_MODE = 0600,
	LOG_FILE_BYTES = 4 << 20,
	LOG_BUFFER_BYTES = 256 << 10,
	CHECKPOINT_BYTES = 8 << 20,
	/* Per act, index and page headers included; what decides is only when a checkpoint is due.
	 */
	ACT_LOG_BYTES = 400,
	STAMP_EVERY_S = 10,
	ROOM_BYTES = 2 * LOG_FILE_BYTES, /* recovery may fill a log file with zeros */
	ROOM_STEP_BYTES = 64 << 10
};

struct ar_grey_db {
	DB_ENV *env;
	DB *main, *index;
	DB_TXN *txn;
	int lock_fd;
	struct ar_grey_clock clock;
	struct ar_grey_meta meta, stored; /* now; as of the last commit */
	uint64_t logged_bytes;            /* about, since the last checkpoint */
	char renewed[SM_DIAG_MAX];
};

static const uint8_t meta_key[1] = {0};

static int fail_db(int rc, const char *doing)
{
	if (rc == ENOSPC || rc == EDQUOT || rc == EACCES || rc == EPERM || rc == EROFS)
		return sm_fail_sys(rc, "greylist: %s", doing);
	return sm_fail(SM_E_CORRUPT, "greylist: %s: %s", doing, db_strerror(rc));
}

/* A walk that ended with `rc`: 0, the end of the table, or an error. */
static int end_walk(DBC *c, int rc, const char *doing)
{
	int closed = c->close(c);

	if (rc == DB_NOTFOUND)
		rc = 0;
	if (rc == 0)
		rc = closed;
	return rc != 0 ? fail_db(rc, doing) : 0;
}

static DBT dbt_in(const void *p, size_t n)
{
	return (DBT){.data = (void *)(uintptr_t)p, .size = (u_int32_t)n};
}

static DBT dbt_out(void *p, size_t n)
{
	return (DBT){.data = p, .ulen = (u_int32_t)n, .flags = DB_DBT_USERMEM};
}

/* ---- opening ---- */

/* The index's key of an entry. */
static int index_key(DB *index SM_UNUSED, const DBT *key SM_UNUSED, const DBT *data, DBT *out)
{
	if (data->size != AR_GREY_RECORD_BYTES)
		return DB_DONOTINDEX;
	memset(out, 0, sizeof(*out));
	out->data = (uint8_t *)data->data + AR_GREY_RECORD_BYTES - AR_GREY_TIME_BYTES;
	out->size = AR_GREY_TIME_BYTES;
	return 0;
}

/* The library's texts go nowhere: what matters is in the code. */
static void silent(const DB_ENV *env SM_UNUSED, const char *prefix SM_UNUSED,
                   const char *text SM_UNUSED)
{
}

static int open_env(struct ar_grey_db *db, const char *dir, int64_t cache_bytes)
{
	int rc = db_env_create(&db->env, 0);

	if (rc != 0)
		return rc;
	db->env->set_errcall(db->env, silent);
	(void)db->env->set_cachesize(db->env, (u_int32_t)(cache_bytes >> 30),
	                             (u_int32_t)(cache_bytes & ((1 << 30) - 1)), 1);
	(void)db->env->set_lg_max(db->env, LOG_FILE_BYTES);
	(void)db->env->set_lg_bsize(db->env, LOG_BUFFER_BYTES);
	(void)db->env->set_flags(db->env, DB_TXN_WRITE_NOSYNC, 1);
	(void)db->env->log_set_config(db->env, DB_LOG_AUTO_REMOVE, 1);
	/* Without DB_USE_ENVIRON, and with an explicit home: no other place is ever looked at. */
	return db->env->open(db->env, dir,
	                     DB_CREATE | DB_RECOVER | DB_PRIVATE | DB_THREAD | DB_INIT_TXN |
	                         DB_INIT_LOG | DB_INIT_MPOOL,
	                     FILE_MODE);
}

static int open_one(struct ar_grey_db *db, DB **out, const char *file, u_int32_t flags)
{
	int rc = db_create(out, db->env, 0);

	if (rc == 0)
		rc = (*out)->set_flags(*out, DB_CHKSUM | flags);
	if (rc == 0)
		rc = (*out)->open(*out, NULL, file, NULL, DB_BTREE,
		                  DB_CREATE | DB_AUTO_COMMIT | DB_THREAD, FILE_MODE);
	return rc;
}

static int read_meta(struct ar_grey_db *db, bool *found)
{
	uint8_t record[AR_GREY_META_BYTES];
	DBT key = dbt_in(meta_key, sizeof(meta_key)), data = dbt_out(record, sizeof(record));
	int rc = db->main->get(db->main, NULL, &key, &data, 0);

	*found = rc == 0;
	if (rc == DB_NOTFOUND)
		return 0;
	if (rc == 0 && ar_grey_meta_get(sm_str_n((const char *)record, data.size), &db->meta) != 0)
		return DB_VERIFY_BAD;
	return rc;
}

static int open_all(struct ar_grey_db *db, const struct ar_grey_conf *conf, const char *dir)
{
	char name[256];
	bool found;
	int rc = open_env(db, dir, conf->cache_bytes);

	if (rc == 0) {
		snprintf(name, sizeof(name), SM_STR_FMT, SM_STR_ARG(conf->main_db));
		rc = open_one(db, &db->main, name, 0);
	}
	if (rc == 0) {
		snprintf(name, sizeof(name), SM_STR_FMT, SM_STR_ARG(conf->secondary_db));
		rc = open_one(db, &db->index, name, DB_DUPSORT);
	}
	if (rc == 0)
		rc = db->main->associate(db->main, NULL, db->index, index_key, DB_CREATE);
	if (rc == 0)
		rc = read_meta(db, &found);
	if (rc != 0)
		return rc;
	ar_grey_clock_start(&db->clock, found ? &db->meta.stamp : NULL, sm_wall_s(), sm_now_ms());
	db->stored = db->meta;
	return 0;
}

static void close_all(struct ar_grey_db *db)
{
	if (db->txn != NULL)
		(void)db->txn->abort(db->txn);
	if (db->index != NULL)
		(void)db->index->close(db->index, DB_NOSYNC);
	if (db->main != NULL)
		(void)db->main->close(db->main, DB_NOSYNC);
	if (db->env != NULL)
		(void)db->env->close(db->env, 0);
	db->txn = NULL;
	db->index = db->main = NULL;
	db->env = NULL;
}

static bool is_ours(const char *name, const struct ar_grey_conf *conf)
{
	struct sm_str s = sm_str(name);

	return sm_str_eq(s, conf->main_db) || sm_str_eq(s, conf->secondary_db) ||
	       sm_str_has_prefix(s, SM_STR("log.")) || sm_str_has_prefix(s, SM_STR("__db"));
}

static int remove_all(const char *dir, const struct ar_grey_conf *conf)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	int rc = 0;

	if (d == NULL)
		return sm_fail_sys(errno, "greylist: %s", dir);
	while ((e = readdir(d)) != NULL)
		if (is_ours(e->d_name, conf) && unlinkat(dirfd(d), e->d_name, 0) != 0 &&
		    errno != ENOENT)
			rc = sm_fail_sys(errno, "greylist: %s/%s", dir, e->d_name);
	closedir(d);
	return rc;
}

/*
 * On a full disk recovery fails as if all were damaged. So before anything is removed: is there
 * room? SM_E_CORRUPT of before stays the reason if there is.
 */
static int check_room(const char *dir)
{
	static const char zeros[ROOM_STEP_BYTES];
	char path[PATH_BYTES + 8];
	int fd, rc = 0;

	snprintf(path, sizeof(path), "%s/room", dir);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
	if (fd < 0)
		return sm_fail_sys(errno, "greylist: %s", path);
	for (size_t n = 0; n < ROOM_BYTES && rc == 0; n += sizeof(zeros)) {
		ssize_t done = write(fd, zeros, sizeof(zeros));

		/* A short one is of a disk that has become full by it. */
		if (done != (ssize_t)sizeof(zeros))
			rc = sm_fail_sys(done < 0 ? errno : ENOSPC, "greylist: %s", dir);
	}
	(void)close(fd);
	(void)unlink(path);
	return rc;
}

/* Of no use, as `why` says: begin anew, unless there is no room for that. */
static int begin_anew(struct ar_grey_db *db, const struct ar_grey_conf *conf, const char *dir,
                      const char *why)
{
	int rc;

	snprintf(db->renewed, sizeof(db->renewed), "%s", why);
	rc = check_room(dir);
	return rc != 0 ? rc : remove_all(dir, conf);
}

static int take_lock(struct ar_grey_db *db, const char *dir)
{
	char path[PATH_BYTES + 8];

	snprintf(path, sizeof(path), "%s/lock", dir);
	db->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, FILE_MODE);
	if (db->lock_fd < 0)
		return sm_fail_sys(errno, "greylist: %s", path);
	if (flock(db->lock_fd, LOCK_EX | LOCK_NB) != 0)
		return sm_fail(SM_E_BUSY, "greylist: %s: another process has it", dir);
	return 0;
}

int ar_grey_db_open(const struct ar_grey_conf *conf, bool anew, struct ar_grey_db **out)
{
	struct ar_grey_db *db = sm_calloc(1, sizeof(*db));
	char dir[PATH_BYTES];
	int rc = sm_str_copy(conf->directory, dir, sizeof(dir));
	int db_rc;

	*out = NULL;
	db->lock_fd = -1;
	if (rc == 0)
		rc = take_lock(db, dir);
	if (rc == 0 && anew)
		rc = begin_anew(db, conf, dir, "greylist: it fails again and again");
	if (rc == 0 && (db_rc = open_all(db, conf, dir)) != 0) {
		rc = fail_db(db_rc, dir);
		close_all(db);
		if (rc == SM_E_CORRUPT) {
			rc = begin_anew(db, conf, dir, sm_diag());
			db->meta = (struct ar_grey_meta){0};
			if (rc == 0 && (db_rc = open_all(db, conf, dir)) != 0)
				rc = fail_db(db_rc, dir);
		}
	}
	if (rc != 0) {
		ar_grey_db_close(&db);
		return rc;
	}
	*out = db;
	return 0;
}

void ar_grey_db_close(struct ar_grey_db **dbp)
{
	struct ar_grey_db *db = *dbp;

	*dbp = NULL;
	if (db == NULL)
		return;
	if (db->env != NULL && db->index != NULL && db->txn == NULL)
		(void)db->env->txn_checkpoint(db->env, 0, 0, DB_FORCE);
	close_all(db);
	if (db->lock_fd >= 0)
		(void)close(db->lock_fd);
	sm_free(db);
}

const char *ar_grey_db_renewed(const struct ar_grey_db *db)
{
	return db->renewed[0] != '\0' ? db->renewed : NULL;
}

/* ---- transactions ---- */

int ar_grey_db_begin(struct ar_grey_db *db)
{
	int rc = db->env->txn_begin(db->env, NULL, &db->txn, 0);

	if (rc != 0)
		db->txn = NULL;
	return rc != 0 ? fail_db(rc, "begin") : 0;
}

static int put_meta(struct ar_grey_db *db)
{
	uint8_t record[AR_GREY_META_BYTES];
	DBT key = dbt_in(meta_key, sizeof(meta_key)), data = dbt_in(record, sizeof(record));

	ar_grey_meta_put(&db->meta, record);
	return db->main->put(db->main, db->txn, &key, &data, 0);
}

int ar_grey_db_commit(struct ar_grey_db *db, int64_t monotonic_ms, int64_t wall_s)
{
	int64_t now_s = ar_grey_db_now(db, monotonic_ms);
	DB_TXN *txn;
	int rc = 0;

	if (db->meta.count != db->stored.count ||
	    now_s - db->stored.stamp.grey_s >= STAMP_EVERY_S) {
		db->meta.stamp = (struct ar_grey_stamp){now_s, wall_s};
		rc = put_meta(db);
	}
	if (rc != 0)
		return fail_db(rc, "write");
	txn = db->txn;
	db->txn = NULL; /* gone, whatever comes */
	rc = txn->commit(txn, 0);
	if (rc != 0)
		return fail_db(rc, "commit");
	db->stored = db->meta;
	return 0;
}

int64_t ar_grey_db_now(const struct ar_grey_db *db, int64_t monotonic_ms)
{
	return ar_grey_clock_now(&db->clock, monotonic_ms);
}

uint64_t ar_grey_db_count(const struct ar_grey_db *db)
{
	return db->meta.count;
}

/* ---- entries ---- */

int ar_grey_db_get(struct ar_grey_db *db, const struct ar_grey_key *key, struct ar_grey_entry *e)
{
	uint8_t record[AR_GREY_RECORD_BYTES];
	DBT k = dbt_in(key->p, key->n), data = dbt_out(record, sizeof(record));
	int rc = db->main->get(db->main, db->txn, &k, &data, 0);

	*e = (struct ar_grey_entry){.state = AR_GREY_UNKNOWN};
	if (rc == DB_NOTFOUND || rc == DB_BUFFER_SMALL)
		return 0;
	if (rc != 0)
		return fail_db(rc, "read");
	(void)ar_grey_record_get(sm_str_n((const char *)record, data.size), e);
	return 0;
}

int ar_grey_db_put(struct ar_grey_db *db, const struct ar_grey_key *key,
                   const struct ar_grey_entry *e)
{
	uint8_t record[AR_GREY_RECORD_BYTES];
	DBT k = dbt_in(key->p, key->n), data = dbt_in(record, sizeof(record));
	int rc = db->main->exists(db->main, db->txn, &k, 0);
	bool is_new = rc == DB_NOTFOUND;

	if (rc == 0 || is_new) {
		ar_grey_record_put(e, record);
		rc = db->main->put(db->main, db->txn, &k, &data, 0);
	}
	if (rc != 0)
		return fail_db(rc, "write");
	db->meta.count += is_new;
	db->logged_bytes += ACT_LOG_BYTES;
	return 0;
}

static void removed_one(struct ar_grey_db *db)
{
	if (db->meta.count > 0)
		db->meta.count--;
	db->logged_bytes += ACT_LOG_BYTES;
}

static int64_t time_of(const uint8_t p[AR_GREY_TIME_BYTES])
{
	uint64_t v = 0;

	for (int i = 0; i < AR_GREY_TIME_BYTES; i++)
		v = v << 8 | p[i];
	return (int64_t)v;
}

int ar_grey_db_purge(struct ar_grey_db *db, int64_t until_s, unsigned most, unsigned *removed)
{
	uint8_t when[AR_GREY_TIME_BYTES];
	DBT key = dbt_out(when, sizeof(when));
	DBT data = {.flags = DB_DBT_USERMEM | DB_DBT_PARTIAL};
	DBC *c;
	int rc = db->index->cursor(db->index, db->txn, &c, 0);

	*removed = 0;
	if (rc != 0)
		return fail_db(rc, "purge");
	while (rc == 0 && *removed < most) {
		rc = c->get(c, &key, &data, DB_NEXT);
		if (rc != 0 || key.size != sizeof(when) || time_of(when) > until_s)
			break;
		/* From the index: the entry goes with it. */
		rc = c->del(c, 0);
		if (rc == 0) {
			++*removed;
			removed_one(db);
		}
	}
	return end_walk(c, rc, "purge");
}

static bool in_net(const struct ar_grey_key *key, const struct ar_grey_key *net, unsigned bits)
{
	struct ar_grey_key masked = *key;

	if (net->n == 0)
		return true;
	if (key->n != net->n || key->p[0] != net->p[0])
		return false;
	for (size_t i = 1; i < masked.n; i++) {
		unsigned here = bits >= 8 ? 8 : bits;

		masked.p[i] = (uint8_t)(masked.p[i] & (0xFF00U >> here));
		bits -= here;
	}
	return memcmp(masked.p, net->p, net->n) == 0;
}

int ar_grey_db_walk(struct ar_grey_db *db, const struct ar_grey_key *net, unsigned bits,
                    const struct ar_grey_key *after, bool remove,
                    bool (*each)(void *arg, const struct ar_grey_key *key,
                                 const struct ar_grey_entry *e),
                    void *arg)
{
	uint8_t record[AR_GREY_RECORD_BYTES];
	struct ar_grey_key at = after->n > 0 ? *after : *net;
	DBT key = dbt_out(at.p, sizeof(at.p)), data = dbt_out(record, sizeof(record));
	u_int32_t how = DB_SET_RANGE;
	DBC *c;
	int rc = db->main->cursor(db->main, db->txn, &c, 0);

	if (rc != 0)
		return fail_db(rc, "read");
	key.size = at.n;
	for (;; how = DB_NEXT) {
		struct ar_grey_entry e;

		rc = c->get(c, &key, &data, how);
		if (rc != 0)
			break;
		at.n = (uint8_t)key.size;
		/* The meta record, or the one that was the last one before. */
		if (at.n <= 1 || (after->n == at.n && memcmp(after->p, at.p, at.n) == 0))
			continue;
		if (!in_net(&at, net, bits))
			break;
		(void)ar_grey_record_get(sm_str_n((const char *)record, data.size), &e);
		if (!each(arg, &at, &e))
			break;
		if (remove) {
			rc = c->del(c, 0);
			if (rc != 0)
				break;
			removed_one(db);
		}
	}
	return end_walk(c, rc, "read");
}

/* ---- checkpoints ---- */

bool ar_grey_db_checkpoint_due(struct ar_grey_db *db)
{
	bool due = db->logged_bytes >= CHECKPOINT_BYTES;

	if (due)
		db->logged_bytes = 0;
	return due;
}

int ar_grey_db_checkpoint(struct ar_grey_db *db)
{
	int rc = db->env->txn_checkpoint(db->env, 0, 0, 0);

	return rc != 0 ? fail_db(rc, "checkpoint") : 0;
}
