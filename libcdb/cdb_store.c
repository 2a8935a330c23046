/*
 * The store itself: the 16 directories, held open, how it names a file to people, and the buffers
 * that writers and readers share.
 *
 * Invariant: after cdb_open no path is looked up any more but names inside of the held directories,
 * so a sandbox may close the file system and nobody can move the store away under us. Opened and
 * closed on the loop's thread.
 */
#include "libcdb/cdb_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

/* Spare buffers kept: enough for what one helper pool has in work, not for a burst. */
#define SMALL_SPARE 128
#define PIECE_SPARE 32

char *cdb_pool_get(struct cdb_pool *p)
{
	struct cdb_spare *s = p->first;

	if (s == NULL)
		return sm_malloc(p->bytes);
	p->first = s->next;
	p->count--;
	return (char *)s;
}

void cdb_pool_put(struct cdb_pool *p, char *buf)
{
	struct cdb_spare *s = (void *)buf;

	if (buf == NULL)
		return;
	if (p->count == p->max) {
		sm_free(buf);
		return;
	}
	s->next = p->first;
	p->first = s;
	p->count++;
}

static void pool_drain(struct cdb_pool *p)
{
	p->max = 0;
	while (p->first)
		sm_free(cdb_pool_get(p));
}

/*
 * Does the name of a new file survive a power cut when only the file was synced?
 *
 * ext4, xfs: the directory entry is made in the same journal transaction as the inode, which is no
 * later than that of the file's growth; the sync of the file commits that one and with it all
 * before, group and mode included. btrfs: the sync of a new file logs its names. This was checked
 * with the code of cdb_write.c on a recorded block device (Linux 6.18): power cut at random
 * moments, half of the writes since the last flush lost, mounted again, every committed content
 * compared. ext4: 390 cuts, 13,800 comparisons; xfs: 140 and 4,400; btrfs: 200 and 6,500; none was
 * missing or wrong. (Without the sync of the file, 856 of 1,200 were.) ext4 without a journal and
 * with fast_commit came through too, but e2fsck 1.47.0 loses files when it is e2fsck that replays
 * fast commits, whether or not the directory was synced. ext2's own driver has ext4's number: who
 * runs it sets CDB_SYNC_DIR_ALWAYS.
 *
 * tmpfs, ramfs: nothing survives anyway. All others: unknown, so the directory is synced too.
 */
static bool name_needs_sync(unsigned long magic)
{
	switch (magic) {
	case EXT4_SUPER_MAGIC:
	case XFS_SUPER_MAGIC:
	case BTRFS_SUPER_MAGIC:
	case TMPFS_MAGIC:
	case RAMFS_MAGIC:
		return false;
	default:
		return true;
	}
}

int cdb_fail(const struct cdb *s, struct sm_id id, int errnum, const char *what)
{
	char name[SM_ID_SIZE];

	return sm_fail_sys(errnum, "%s " CDB_AT_FMT, what, s->base, (unsigned)cdb_dir_index(id),
	                   sm_id_text(id, name));
}

int cdb_corrupt(const struct cdb *s, struct sm_id id, const char *why)
{
	char name[SM_ID_SIZE];

	return sm_fail(SM_E_CORRUPT, CDB_AT_FMT " %s", s->base, (unsigned)cdb_dir_index(id),
	               sm_id_text(id, name), why);
}

static const char dir_names[] = "0123456789ABCDEF";

void cdb_paths(const char *base, unsigned rights, struct sm_arena *a,
               struct sm_priv_path out[CDB_DIRS])
{
	for (int i = 0; i < CDB_DIRS; i++) {
		struct sm_str path = sm_arena_printf(a, "%s%c", base, dir_names[i]);

		sm_assert(path.p != NULL);
		out[i] = (struct sm_priv_path){path.p, rights};
	}
}

static int open_dir(struct cdb *s, int i, enum cdb_sync_dir sync_dir)
{
	char name[2] = {dir_names[i], '\0'};
	struct statfs fs;
	size_t len = strlen(s->base);
	char *path = sm_malloc(len + sizeof(name));

	memcpy(path, s->base, len);
	memcpy(path + len, name, sizeof(name));
	/* The directory may be a symbolic link (to another disk). Who only reads contents may pass,
	 * not list it. */
	s->dir[i] = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dir[i] == -1 && errno == EACCES)
		s->dir[i] = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (s->dir[i] == -1 || fstatfs(s->dir[i], &fs) == -1)
		rc = sm_fail_sys(errno, "content directory %s", path);
	else
		s->sync_dir[i] =
		    sync_dir == CDB_SYNC_DIR_ALWAYS ||
		    (sync_dir == CDB_SYNC_DIR_AUTO && name_needs_sync((unsigned long)fs.f_type));
	sm_free(path);
	return rc;
}

int cdb_open(const struct cdb_conf *conf, struct cdb **out)
{
	size_t len = strlen(conf->base);

	*out = NULL;
	if (len > 0 && conf->base[len - 1] != '/')
		return sm_fail(SM_E_SYNTAX, "content base directory %s does not end in /",
		               conf->base);
	struct cdb *s = sm_calloc(1, sizeof(*s));

	s->conf = *conf;
	s->base = sm_strdup(conf->base);
	s->conf.base = s->base;
	s->small = (struct cdb_pool){.max = SMALL_SPARE, .bytes = CDB_WRITE_BYTES};
	s->pieces = (struct cdb_pool){.max = PIECE_SPARE, .bytes = CDB_PIECE_BYTES};
	for (int i = 0; i < CDB_DIRS; i++)
		s->dir[i] = -1;
	for (int i = 0; i < CDB_DIRS; i++) {
		int rc = open_dir(s, i, conf->sync_dir);

		if (rc != 0) {
			cdb_close(&s);
			return rc;
		}
	}
	if (conf->segment_bytes > 0)
		cdb_segments_open(s);
	*out = s;
	return 0;
}

void cdb_close(struct cdb **sp)
{
	struct cdb *s = *sp;

	if (s == NULL)
		return;
	cdb_segments_close(s);
	cdb_open_files_close(s);
	for (int i = 0; i < CDB_DIRS; i++)
		if (s->dir[i] != -1)
			close(s->dir[i]);
	pool_drain(&s->small);
	pool_drain(&s->pieces);
	sm_free(s->base);
	SM_FREE(*sp);
}

int cdb_space(struct cdb *s, uint64_t *free_bytes)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < CDB_DIRS; i++) {
		struct statvfs fs;

		if (fstatvfs(s->dir[i], &fs) == -1)
			return sm_fail_sys(errno, "statvfs %s%X", s->base, (unsigned)i);
		/* Not f_bfree: what is kept for root is not ours. */
		least = SM_MIN(least, (uint64_t)fs.f_bavail * fs.f_frsize);
	}
	*free_bytes = least;
	return 0;
}
