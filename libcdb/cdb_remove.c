/*
 * The end of a content, and the search for those that nobody knows any more. Keeps no state: every
 * function works on the held directories alone and may run in any helper thread.
 */
#include "libcdb/cdb_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/fault.h"

int cdb_unlink(struct cdb *s, struct sm_id id)
{
	char name[SM_ID_SIZE];
	int fault = SM_FAULT("cdb.unlink");

	if (fault)
		errno = fault > 0 ? fault : EIO;
	else if (unlinkat(s->dir[cdb_dir_index(id)], sm_id_text(id, name), 0) == 0 ||
	         errno == ENOENT)
		return 0;
	return cdb_fail(s, id, errno, "unlink");
}

/* Gives back from..to. Blocks that are only partly in it stay, as zeros. */
static int punch(int fd, uint64_t from, uint64_t to)
{
	int fault = SM_FAULT("cdb.release");

	if (to <= from)
		return 0;
	if (fault)
		errno = fault > 0 ? fault : EIO;
	else if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
	                   (off_t)(to - from)) == 0)
		return 0;
	return sm_fail_sys(errno, "release");
}

static uint64_t head_at(const struct cdb_span *keep)
{
	return keep->offset - (uint64_t)CDB_ENTRY_BYTES;
}

/* One that is not would let another one go. */
static bool in_order(const struct cdb_span *keep, size_t count, uint64_t size)
{
	uint64_t end = 0;

	for (size_t i = 0; i < count; i++) {
		if (keep[i].offset < CDB_ENTRY_BYTES || head_at(&keep[i]) < end)
			return false;
		end = head_at(&keep[i]) + cdb_entry_end(keep[i].size);
	}
	return end <= size + CDB_ENTRY_ALIGN;
}

int cdb_release(struct cdb *s, struct sm_id segment, const struct cdb_span *keep, size_t count)
{
	char name[SM_ID_SIZE];
	int dir = s->dir[cdb_dir_index(segment)], rc = 0;
	int fd = openat(dir, sm_id_text(segment, name), O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	uint64_t at = 0;

	sm_assert(cdb_is_segment(segment));
	if (fd == -1 || fstat(fd, &st) == -1)
		rc = errno == ENOENT ? 0 : sm_fail_sys(errno, "open");
	else if (!in_order(keep, count, (uint64_t)st.st_size))
		rc = sm_fail(SM_E_CORRUPT, "contents that cannot be there");
	else
		for (size_t i = 0; rc == 0 && i <= count; i++) {
			rc = punch(fd, at, i < count ? head_at(&keep[i]) : (uint64_t)st.st_size);
			if (i < count)
				at = head_at(&keep[i]) + cdb_entry_end(keep[i].size);
		}
	if (fd != -1)
		close(fd);
	return rc == 0 ? 0
	               : sm_fail_in(rc, "room in " CDB_AT_FMT, s->base,
	                            (unsigned)cdb_dir_index(segment), name);
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
