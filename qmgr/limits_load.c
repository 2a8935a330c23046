/*
 * Reads the map of limits: a Berkeley DB hash, or text. Blocking, in the loop's thread, at the
 * start and at a reload only: the map is small and local.
 *
 * The database gets an environment of its own below the map's directory: without one the library
 * would read DB_CONFIG from the current directory, which for qmgr is the queue.
 */
#include <db.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "libsm/buf.h"
#include "libsm/err.h"
#include "qmgr/limits.h"

#define TEXT_MAX (16u << 20)

static int read_all(int fd, const char *path, struct sm_buf *text)
{
	for (;;) {
		char *to = sm_buf_reserve(text, 65536);
		ssize_t n;

		if (to == NULL)
			return sm_fail(SM_E_TOOBIG, "%s: larger than %u MiB", path, TEXT_MAX >> 20);
		n = read(fd, to, 65536);
		if (n == 0)
			return 0;
		if (n > 0)
			sm_buf_commit(text, (size_t)n);
		else if (errno != EINTR)
			return sm_fail_sys(errno, "%s", path);
	}
}

static int load_text(int fd, const char *path, struct qm_limits *l)
{
	struct sm_buf text;
	int err;

	sm_buf_init(&text, TEXT_MAX);
	err = read_all(fd, path, &text);
	if (err == 0)
		err = qm_limits_parse(l, path, sm_buf_view(&text));
	sm_buf_fini(&text);
	return err;
}

/* Programs that make maps may count the NUL of a C string as part of it. */
static struct sm_str view(const DBT *d)
{
	struct sm_str s = sm_str_n(d->data, d->size);

	while (s.n > 0 && s.p[s.n - 1] == '\0')
		s.n--;
	return s;
}

static int fail_db(int rc, const char *path)
{
	return rc > 0 ? sm_fail_sys(rc, "%s", path)
	              : sm_fail(SM_E_CORRUPT, "%s: %s", path, db_strerror(rc));
}

static int walk(DB *db, const char *path, struct qm_limits *l)
{
	DBT key = {0}, value = {0};
	DBC *cursor;
	int rc = db->cursor(db, NULL, &cursor, 0), err = 0;

	if (rc != 0)
		return fail_db(rc, path);
	while (err == 0 && (rc = cursor->get(cursor, &key, &value, DB_NEXT)) == 0)
		if ((err = qm_limits_add(l, view(&key), view(&value))) != 0)
			err = sm_fail_in(err, "%s", path);
	(void)cursor->close(cursor);
	return err != 0 || rc == DB_NOTFOUND ? err : fail_db(rc, path);
}

static int load_db(const char *path, struct qm_limits *l)
{
	char home[512] = ".";
	ptrdiff_t slash = sm_str_rchr(sm_str(path), '/');
	DB_ENV *env;
	DB *db;
	int rc, err;

	if (slash >= 0 && sm_str_copy(sm_str_head(sm_str(path), SM_MAX((size_t)slash, (size_t)1)),
	                              home, sizeof(home)) != 0)
		return sm_fail(SM_E_TOOBIG, "%s: name too long", path);
	if ((rc = db_env_create(&env, 0)) != 0)
		return fail_db(rc, path);
	env->set_errfile(env, NULL);
	rc = env->open(env, home, DB_CREATE | DB_PRIVATE | DB_INIT_MPOOL, 0);
	if (rc != 0 || (rc = db_create(&db, env, 0)) != 0) {
		(void)env->close(env, 0);
		return fail_db(rc, path);
	}
	rc = db->open(db, NULL, slash >= 0 ? path + slash + 1 : path, NULL, DB_UNKNOWN, DB_RDONLY,
	              0);
	err = rc != 0 ? fail_db(rc, path) : walk(db, path, l);
	(void)db->close(db, 0);
	(void)env->close(env, 0);
	return err;
}

int qm_limits_load(const char *path, struct qm_limits **out)
{
	struct qm_limits *l = qm_limits_new();
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), err = 0;

	if (fd >= 0) {
		err = sm_str_has_suffix(sm_str(path), SM_STR(".db")) ? load_db(path, l)
		                                                     : load_text(fd, path, l);
		close(fd);
	} else if (errno == ENOENT) {
		qm_limits_set_absent(l);
	} else {
		err = sm_fail_sys(errno, "%s", path);
	}
	if (err != 0)
		qm_limits_free(&l);
	*out = l;
	return err;
}
