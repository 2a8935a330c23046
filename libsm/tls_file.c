/*
 * Files of TLS: who opens them, who else may read them, and what has to stay readable. Invariant: a
 * descriptor that was handed over is read from its beginning each time, and never given away. Any
 * thread: contexts are made in helpers, descriptors come to the loop.
 */
#include "libsm/tls_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/priv.h"
#include "libsm/tls.h"

enum { HANDED_MAX = 128, LINKS_MAX = 4096 };

static struct handed {
	char *path;
	int fd;
} handed[HANDED_MAX];
static size_t handed_count;
static pthread_mutex_t handed_lock = PTHREAD_MUTEX_INITIALIZER;

int sm_tls_file(const char *path, int fd)
{
	size_t i = 0;
	int rc = 0;

	(void)pthread_mutex_lock(&handed_lock);
	while (i < handed_count && strcmp(handed[i].path, path) != 0)
		i++;
	if (i < handed_count) {
		(void)close(handed[i].fd);
		handed[i].fd = fd;
	} else if (handed_count < HANDED_MAX) {
		handed[handed_count++] = (struct handed){sm_strdup(path), fd};
	} else {
		(void)close(fd);
		rc = sm_fail(SM_E_TOOBIG, "%s: more than %d files were handed over", path,
		             HANDED_MAX);
	}
	(void)pthread_mutex_unlock(&handed_lock);
	return rc;
}

void sm_tls_cleanup(void)
{
	(void)pthread_mutex_lock(&handed_lock);
	while (handed_count > 0) {
		(void)close(handed[--handed_count].fd);
		SM_FREE(handed[handed_count].path);
	}
	(void)pthread_mutex_unlock(&handed_lock);
}

static int take_handed(const char *path)
{
	int fd = -1;

	(void)pthread_mutex_lock(&handed_lock);
	for (size_t i = 0; i < handed_count; i++)
		if (strcmp(handed[i].path, path) == 0)
			fd = fcntl(handed[i].fd, F_DUPFD_CLOEXEC, 3);
	(void)pthread_mutex_unlock(&handed_lock);
	return fd;
}

/* A group that root chose is root's affair. */
static int check_secret(const struct stat *st, const char *what, const char *path)
{
	unsigned mode = (unsigned)st->st_mode & 07777;
	unsigned allowed = st->st_uid == 0 ? 0740 : 0700;

	if ((mode & 0077 & ~allowed) == 0)
		return 0;
	return sm_fail(SM_E_DENIED, "%s %s: others can %s it: its mode is %04o; make it %s", what,
	               path, mode & 0044 & ~allowed ? "read" : "change", mode,
	               st->st_uid == 0 ? "0600, or 0640 for a group" : "0600");
}

static int slurp(int fd, const char *what, const char *path, size_t size, struct sm_tls_bytes *out)
{
	struct sm_tls_bytes b = {sm_malloc(size + 1), 0};

	while (b.n < size) {
		ssize_t got = pread(fd, b.p + b.n, size - b.n, (off_t)b.n);
		if (got == -1 && errno == EINTR)
			continue;
		if (got == -1) {
			int rc = sm_fail_sys(errno, "%s %s", what, path);
			sm_tls_bytes_free(&b);
			return rc;
		}
		if (got == 0)
			break;
		b.n += (size_t)got;
	}
	b.p[b.n] = '\0';
	*out = b;
	return 0;
}

int sm_tls_read(struct sm_str path, const char *what, bool secret, struct sm_tls_bytes *out)
{
	char name[PATH_MAX];
	struct stat st;
	int fd, rc;

	*out = (struct sm_tls_bytes){NULL, 0};
	if (sm_str_empty(path) || (rc = sm_str_copy(path, name, sizeof(name))) != 0)
		return sm_fail(SM_E_SYNTAX, "%s: no path", what);
	fd = take_handed(name);
	if (fd == -1)
		fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd == -1)
		return sm_fail_sys(errno, "%s %s", what, name);
	if (fstat(fd, &st) == -1)
		rc = sm_fail_sys(errno, "%s %s", what, name);
	else if (!S_ISREG(st.st_mode))
		rc = sm_fail(SM_E_SYNTAX, "%s %s: is no file", what, name);
	else if (st.st_size > SM_TLS_FILE_MAX)
		rc = sm_fail(SM_E_TOOBIG, "%s %s: too large", what, name);
	else
		rc = secret ? check_secret(&st, what, name) : 0;
	if (rc == 0)
		rc = slurp(fd, what, name, (size_t)st.st_size, out);
	(void)close(fd);
	return rc;
}

void sm_tls_bytes_free(struct sm_tls_bytes *b)
{
	if (b->p != NULL)
		explicit_bzero(b->p, b->n);
	SM_FREE(b->p);
	b->n = 0;
}

/* ---- rules ---- */

struct rules {
	struct sm_arena *a;
	struct sm_priv_path *out;
	size_t n, max;
};

static void add_dir(struct rules *r, const char *dir, size_t n)
{
	struct sm_str s = n == 0 ? SM_STR("/") : sm_str_n(dir, n);

	for (size_t i = 0; i < r->n; i++)
		if (sm_str_eq(sm_str(r->out[i].path), s))
			return;
	if (r->n == r->max)
		return;
	s = sm_arena_str(r->a, s);
	if (s.p != NULL)
		r->out[r->n++] = (struct sm_priv_path){s.p, SM_PATH_READ};
}

static void add_dir_of(struct rules *r, const char *path)
{
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		add_dir(r, ".", 1);
	else
		add_dir(r, path, (size_t)(slash - path));
}

/* A file: its directory, and where a link leads now. */
static void add_file(struct rules *r, struct sm_str path)
{
	char name[PATH_MAX], real[PATH_MAX];

	if (sm_str_empty(path) || sm_str_copy(path, name, sizeof(name)) != 0)
		return;
	add_dir_of(r, name);
	if (realpath(name, real) != NULL)
		add_dir_of(r, real);
}

/* A directory whose files may be links to other places. */
static void add_tree(struct rules *r, struct sm_str path)
{
	char name[PATH_MAX], real[PATH_MAX], file[PATH_MAX + 256];
	struct dirent *e;
	int seen = 0;
	DIR *d;

	if (sm_str_empty(path) || sm_str_copy(path, name, sizeof(name)) != 0)
		return;
	add_dir(r, name, strlen(name));
	d = opendir(name);
	while (d != NULL && seen++ < LINKS_MAX && (e = readdir(d)) != NULL) {
		if (e->d_name[0] == '.')
			continue;
		(void)snprintf(file, sizeof(file), "%s/%s", name, e->d_name);
		if (realpath(file, real) != NULL)
			add_dir_of(r, real);
	}
	if (d != NULL)
		(void)closedir(d);
}

size_t sm_tls_paths(const struct sm_tls_conf *c, struct sm_arena *a, struct sm_priv_path *out,
                    size_t max)
{
	struct rules r = {a, out, 0, max};

	for (size_t i = 0; i < c->cert_file.count; i++)
		add_file(&r, c->cert_file.v[i]);
	for (size_t i = 0; i < c->key_file.count; i++)
		add_file(&r, c->key_file.v[i]);
	add_file(&r, c->ca_file);
	add_tree(&r, c->ca_dir);
	return r.n;
}
