/*
 * The end of a content, and the search for those that nobody knows any more. Keeps no state: every
 * function works on the held directories alone and may run in any helper thread.
 */
#include "libcdb/cdb_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "libsm/fault.h"

int cdb_unlink(struct cdb *s, struct sm_id id)
{
	char name[SM_ID_SIZE];
	int i = cdb_dir_index(id);
	int fault = SM_FAULT("cdb.unlink");

	sm_id_text(id, name);
	if (fault)
		errno = fault > 0 ? fault : EIO;
	else if (unlinkat(s->dir[i], name, 0) == 0 || errno == ENOENT)
		return 0;
	return sm_fail_sys(errno, "unlink " CDB_AT_FMT, s->base, (unsigned)i, name);
}

struct listing {
	bool (*each)(struct sm_id id, void *arg);
	void *arg;
	size_t strange;
	bool stopped;
};

static void list_one(struct listing *l, int i, const char *name)
{
	struct sm_id id;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return;
	if (sm_id_parse(sm_str(name), &id) != 0 || cdb_dir_index(id) != i)
		l->strange++;
	else
		l->stopped = !l->each(id, l->arg);
}

static int list_dir(struct cdb *s, int i, struct listing *l)
{
	/* A description of its own: the held one's position is shared by all who list. */
	int fd = openat(s->dir[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd == -1 ? NULL : fdopendir(fd);

	if (d == NULL) {
		int errnum = errno;

		if (fd != -1)
			close(fd);
		return sm_fail_sys(errnum, "list %s%X", s->base, (unsigned)i);
	}
	for (;;) {
		errno = 0;
		const struct dirent *e = readdir(d);

		if (e == NULL || l->stopped)
			break;
		list_one(l, i, e->d_name);
	}
	int errnum = l->stopped ? 0 : errno;

	closedir(d);
	return errnum ? sm_fail_sys(errnum, "list %s%X", s->base, (unsigned)i) : 0;
}

int cdb_list(struct cdb *s, bool (*each)(struct sm_id id, void *arg), void *arg, size_t *strange)
{
	struct listing l = {.each = each, .arg = arg};
	int rc = 0;

	for (int i = 0; i < CDB_DIRS && rc == 0 && !l.stopped; i++)
		rc = list_dir(s, i, &l);
	if (strange)
		*strange = l.strange;
	return rc;
}
