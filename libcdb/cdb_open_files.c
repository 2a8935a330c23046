/*
 * Segments that are being read: kept open for a moment, because what is delivered next is likely in
 * the same one.
 *
 * Invariant: a descriptor is closed when nobody reads from it and it is the oldest of too many, or
 * was not used for a while: a segment that qmgr has removed gives its room back soon. Loop thread.
 */
#include "libcdb/cdb_int.h"

#include <unistd.h>

#define FILES_MAX 16
#define KEEP_MS   2000

struct cdb_open_files {
	struct sm_list all; /* longest unused first */
	size_t count;
	struct sm_timer timer;
};

static void drop(struct cdb_open_files *fs, struct cdb_open_file *f)
{
	close(f->fd);
	sm_list_remove(&f->link);
	fs->count--;
	sm_free(f);
}

static struct cdb_open_files *files_of(struct cdb *s)
{
	if (s->files == NULL) {
		s->files = sm_calloc(1, sizeof(*s->files));
		sm_list_init(&s->files->all);
	}
	return s->files;
}

struct cdb_open_file *cdb_open_file_get(struct cdb *s, struct sm_id id)
{
	struct cdb_open_files *fs = files_of(s);

	SM_LIST_FOR (f, &fs->all, struct cdb_open_file, link) {
		if (!sm_id_eq(f->id, id))
			continue;
		f->users++;
		return f;
	}
	return NULL;
}

struct cdb_open_file *cdb_open_file_add(struct cdb *s, struct sm_id id, int fd)
{
	struct cdb_open_file *f = cdb_open_file_get(s, id);

	/* Two were opening it at the same time. */
	if (f != NULL) {
		close(fd);
		return f;
	}
	f = sm_calloc(1, sizeof(*f));
	f->id = id;
	f->fd = fd;
	f->users = 1;
	sm_list_push(&s->files->all, &f->link);
	s->files->count++;
	return f;
}

static void look(void *arg)
{
	struct cdb_open_files *fs = arg;
	int64_t now_ms = sm_loop_now_ms();

	SM_LIST_FOR_SAFE (f, &fs->all, struct cdb_open_file, link)
		if (f->users == 0 && f->used_ms + KEEP_MS <= now_ms)
			drop(fs, f);
	if (fs->count > 0)
		sm_timer_set(&fs->timer, now_ms + KEEP_MS, look, fs);
}

void cdb_open_file_put(struct cdb *s, struct cdb_open_file *f)
{
	struct cdb_open_files *fs = s->files;
	int64_t now_ms = sm_loop_now_ms();

	f->users--;
	f->used_ms = now_ms;
	sm_list_remove(&f->link);
	sm_list_push(&fs->all, &f->link);
	SM_LIST_FOR_SAFE (old, &fs->all, struct cdb_open_file, link)
		if (fs->count > FILES_MAX && old->users == 0)
			drop(fs, old);
	if (!sm_timer_is_set(&fs->timer))
		sm_timer_set(&fs->timer, now_ms + KEEP_MS, look, fs);
}

void cdb_open_files_close(struct cdb *s)
{
	if (s->files == NULL)
		return;
	sm_timer_cancel(&s->files->timer);
	SM_LIST_FOR_SAFE (f, &s->files->all, struct cdb_open_file, link)
		drop(s->files, f);
	SM_FREE(s->files);
}
