/*
 * createmap: from the source to a map in the target's place.
 *
 * Invariant: the target is either what it was or all of the new map, whatever happens: everything
 * goes into another file of the same directory, which is synced before it is renamed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/mapsrc.h"
#include "misc/createmap.h"

enum { WRONG_SHOWN = 20 }; /* errors of a source that are told one by one */

struct build {
	struct cm_job *job;
	void *map; /* NULL: only checking */
	char target[4096], dir[4096], temp[4096 + 32];
	bool has_temp;
};

/* ---- entries ---- */

static int put_entry(void *arg, const struct sm_mapsrc_entry *e)
{
	struct build *b = arg;
	const struct cm_format *f = b->job->format;
	int rc;

	rc = b->job->check(e->key, e->value);
	if (rc != 0)
		return rc;
	if (f->key_max > 0 && e->key.n > f->key_max)
		return sm_fail(SM_E_TOOBIG,
		               "the key is longer than %zu bytes, which %s cannot have", f->key_max,
		               f->name);
	if (b->map != NULL)
		rc = f->put(b->map, e->key, e->value, b->job->replace);
	if (rc == SM_E_EXISTS)
		return sm_fail(rc, "\"" SM_STR_FMT "\" is in the map already",
		               SM_STR_ARG(sm_str_head(e->key, 100)));
	b->job->read += rc == 0;
	return rc;
}

static int keep_entry(void *arg, struct sm_str key, struct sm_str value)
{
	struct build *b = arg;

	b->job->kept++;
	/* One of several that had the same key in a map that somebody else made. */
	return b->map != NULL ? b->job->format->put(b->map, key, value, true) : 0;
}

static bool source_wrong(void *arg, int err)
{
	struct build *b = arg;

	/* The map cannot be written: that is not the source's fault. */
	if (sm_err_class(err) == SM_CLASS_TEMP)
		return false;
	if (b->job->wrong++ < WRONG_SHOWN)
		fprintf(stderr, "createmap: %s\n", sm_diag());
	return true;
}

static int read_source(struct build *b)
{
	struct cm_job *job = b->job;
	struct sm_mapsrc src = {.name = job->source != NULL ? job->source : "stdin",
	                        .entry = put_entry,
	                        .wrong = source_wrong,
	                        .arg = b};
	int rc;

	src.flags = (job->keep_case ? SM_MAPSRC_CASE : 0U) |
	            (job->empty_ok ? SM_MAPSRC_EMPTY : 0U) | (job->replace ? 0U : SM_MAPSRC_UNIQUE);
	rc = job->source != NULL ? sm_mapsrc_file(&src, job->source)
	                         : sm_mapsrc_fd(&src, STDIN_FILENO);
	job->unreadable = rc != 0 && job->read == 0 && job->wrong == 0;
	if (job->wrong == 0)
		return rc;
	if (job->wrong > WRONG_SHOWN)
		fprintf(stderr, "createmap: %s: %llu more errors\n", src.name,
		        (unsigned long long)job->wrong - WRONG_SHOWN);
	return SM_E_SYNTAX;
}

/* ---- files ---- */

/* Follows the target when it is a link, so that the link stays. */
static int find_target(struct build *b, struct stat *st, bool *exists)
{
	struct sm_str path = sm_str(b->job->target);
	char *real = NULL;
	ptrdiff_t slash;
	int rc;

	*exists = stat(b->job->target, st) == 0;
	if (!*exists && errno != ENOENT)
		return sm_fail_sys(errno, "%s", b->job->target);
	if (*exists && (real = realpath(b->job->target, NULL)) == NULL)
		return sm_fail_sys(errno, "%s", b->job->target);
	if (real != NULL)
		path = sm_str(real);
	slash = sm_str_rchr(path, '/');
	rc = sm_str_copy(path, b->target, sizeof(b->target));
	if (rc == 0)
		rc = slash < 0 ? sm_str_copy(SM_STR("."), b->dir, sizeof(b->dir))
		               : sm_str_copy(sm_str_head(path, SM_MAX((size_t)slash, (size_t)1)),
		                             b->dir, sizeof(b->dir));
	free(real);
	return rc != 0 ? sm_fail(rc, "%s: name too long", b->job->target) : 0;
}

/* What is no map is not overwritten: most likely it is the source. */
static int check_target(struct build *b)
{
	const struct cm_format *f = NULL;
	uint64_t size = 0;
	int rc = cm_format_of_file(b->target, &f, &size);

	if (rc != 0)
		return sm_fail_in(rc, "%s", b->target);
	if (size > 0 && f == NULL)
		return sm_fail(SM_E_EXISTS,
		               "%s: is no map, and not replaced: remove it if it was to be one",
		               b->target);
	if (b->job->append && size > 0 && f != b->job->format)
		return sm_fail(SM_E_NOTSUP, "%s: is of type %s", b->target, f->name);
	return 0;
}

static int make_temp(struct build *b, const struct stat *old)
{
	const char *name = strrchr(b->target, '/');
	mode_t mask;
	int rc = 0, fd;

	name = name != NULL ? name + 1 : b->target;
	if (snprintf(b->temp, sizeof(b->temp), "%s/.%s.XXXXXX", b->dir, name) >=
	    (int)sizeof(b->temp))
		return sm_fail(SM_E_TOOBIG, "%s: name too long", b->target);
	fd = mkstemp(b->temp);
	if (fd < 0)
		return sm_fail_sys(errno, "%s", b->temp);
	b->has_temp = true;
	mask = umask(0);
	(void)umask(mask);
	if (old != NULL && (old->st_uid != geteuid() || old->st_gid != getegid()) &&
	    fchown(fd, old->st_uid, old->st_gid) != 0)
		rc = sm_fail_sys(errno, "%s: its owner cannot be kept", b->target);
	else if (fchmod(fd, old != NULL ? old->st_mode & 07777 : 0644 & ~mask) != 0)
		rc = sm_fail_sys(errno, "%s", b->temp);
	close(fd);
	return rc;
}

static int sync_path(const char *path, int flags)
{
	int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | flags);

	if (fd < 0)
		return sm_fail_sys(errno, "%s", path);
	if (fsync(fd) != 0)
		rc = sm_fail_sys(errno, "%s", path);
	close(fd);
	return rc;
}

static uint64_t source_bytes(const struct cm_job *job)
{
	struct stat st;

	if ((job->source != NULL ? stat(job->source, &st) : fstat(STDIN_FILENO, &st)) == 0 &&
	    S_ISREG(st.st_mode))
		return (uint64_t)st.st_size;
	return 0;
}

static int fill(struct build *b, uint64_t old_bytes)
{
	const struct cm_format *f = b->job->format;
	int rc, err;

	rc = f->create(b->temp, source_bytes(b->job) + old_bytes, &b->map);
	if (rc != 0)
		return sm_fail_in(rc, "%s", b->temp);
	if (old_bytes > 0)
		rc = f->walk(b->target, keep_entry, b);
	if (rc != 0)
		rc = sm_fail_in(rc, "%s", b->target);
	else
		rc = read_source(b);
	err = f->close(b->map);
	if (rc == 0 && err != 0)
		rc = sm_fail_in(err, "%s", b->temp);
	return rc;
}

int cm_build(struct cm_job *job)
{
	struct build b = {.job = job};
	bool exists = false;
	struct stat old;
	int rc;

	if (job->dry)
		return read_source(&b);
	rc = find_target(&b, &old, &exists);
	if (rc == 0 && exists)
		rc = check_target(&b);
	if (rc == 0)
		rc = make_temp(&b, exists ? &old : NULL);
	if (rc == 0)
		rc = fill(&b, exists && job->append ? (uint64_t)old.st_size : 0);
	if (rc == 0)
		rc = sync_path(b.temp, 0);
	if (rc == 0 && rename(b.temp, b.target) != 0)
		rc = sm_fail_sys(errno, "%s", b.target);
	if (rc == 0)
		return sync_path(b.dir, O_DIRECTORY);
	if (b.has_temp)
		(void)unlink(b.temp);
	return rc;
}
