/*
 * A segment of the content store that may hold anything: read at a place that a record names,
 * walked as after a loss of the queue, cleared, and its room given back. What is given out is what
 * is in the file, behind a head that is sound; both ways to read agree; nothing else is changed.
 *
 * Input: how (1: make the checksums of heads right first; 2: nothing is open already), offset and
 * size of the record, how many places are kept, offset and size of each; then the file. Numbers are
 * little-endian.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcdb/cdb_int.h"
#include "libsm/crc32c.h"
#include "libsm/wire.h"

enum { MEND = 1, CLOSED = 2, FILE_MAX = 300 * 1024, ENTRIES_MAX = 64, KEEP_MAX = 8 };

static const struct sm_id segment = {0x100 | CDB_SEGMENT_BIT, 1};
static char base[64], path[96];
static struct cdb *store;

struct input {
	uint8_t how;
	struct cdb_place at;
	struct cdb_span keep[KEEP_MAX];
	size_t count;
	uint8_t *file;
	size_t size;
};

struct found {
	struct sm_id id[ENTRIES_MAX];
	struct cdb_place at[ENTRIES_MAX];
	size_t count;
};

static void remove_store(void)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -rf %s", base);
	sm_assert(system(command) == 0);
}

static void open_store(void)
{
	const struct cdb_conf conf = {.base = base, .gid = (gid_t)-1};

	cdb_close(&store);
	sm_assert(cdb_open(&conf, &store) == 0);
}

static void make_store(void)
{
	char name[SM_ID_SIZE];

	snprintf(base, sizeof(base), "/tmp/fuzz_segment.XXXXXX");
	sm_assert(mkdtemp(base) != NULL);
	strcat(base, "/");
	atexit(remove_store);
	for (unsigned i = 0; i < CDB_DIRS; i++) {
		snprintf(path, sizeof(path), "%s%X", base, i);
		sm_assert(mkdir(path, 0700) == 0);
	}
	snprintf(path, sizeof(path), "%s0/%s", base, sm_id_text(segment, name));
	sm_assert(sm_loop_init() == 0);
}

static void write_file(const struct input *in)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	sm_assert(fd != -1 && write(fd, in->file, in->size) == (ssize_t)in->size);
	close(fd);
}

/* What begins like a head becomes one, if its content is there: no mutation finds a checksum. */
static void mend(struct input *in)
{
	for (size_t at = 0; at + CDB_ENTRY_BYTES <= in->size; at += CDB_ENTRY_ALIGN) {
		struct sm_reader r = sm_reader(sm_str_n(in->file + at, CDB_ENTRY_BYTES));
		struct cdb_entry e;

		if (memcmp(in->file + at, "SMX1", 4) != 0)
			continue;
		sm_r_u64(&r);
		sm_r_u32(&r);
		e.size = sm_r_u64(&r);
		e.id = sm_r_id(&r);
		if (e.size > in->size - at - CDB_ENTRY_BYTES)
			continue;
		e.crc = sm_crc32c(0, in->file + at + CDB_ENTRY_BYTES, (size_t)e.size);
		cdb_entry_put(&e, (char *)in->file + at);
	}
}

/* All of it is as in the file, and not a byte less. */
static int read_at(const struct input *in, const struct cdb_place *at)
{
	struct cdb_reader *r;
	uint64_t done = 0;
	const char *p;
	ssize_t n;
	int rc = cdb_read_open(store, at->content, at->offset, at->size, &r);

	if (rc != 0) {
		sm_assert(rc == SM_E_CORRUPT && r == NULL);
		return rc;
	}
	sm_assert(at->offset + at->size <= in->size && at->size <= CDB_PIECE_BYTES);
	while ((n = cdb_read(r, &p)) > 0) {
		sm_assert(memcmp(p, in->file + at->offset + done, (size_t)n) == 0);
		done += (uint64_t)n;
	}
	sm_assert(n == 0 && done == at->size);
	cdb_read_close(&r);
	return 0;
}

static bool found(struct sm_id id, const struct cdb_place *at, void *arg)
{
	struct found *f = arg;

	f->id[f->count] = id;
	f->at[f->count] = *at;
	return ++f->count < ENTRIES_MAX;
}

static int open_entry(struct sm_id id, const struct cdb_place *at)
{
	int fd = -1, rc = cdb_entry_open(store, id, at, &fd);

	sm_assert((fd != -1) == (rc == 0));
	if (fd != -1)
		close(fd);
	return rc;
}

/* Behind each other, within the file; sound for one way to read as for the other. */
static void walk(const struct input *in, struct found *f)
{
	uint64_t end = 0, damaged;

	sm_assert(cdb_entries(store, segment, found, f, &damaged) == 0 && damaged <= in->size);
	for (size_t i = 0; i < f->count; i++) {
		int rc = open_entry(f->id[i], &f->at[i]);

		sm_assert(f->at[i].offset >= end + CDB_ENTRY_BYTES);
		end = f->at[i].offset + f->at[i].size;
		sm_assert(end <= in->size);
		sm_assert(rc == 0 || rc == SM_E_CORRUPT);
		if (f->at[i].size <= CDB_PIECE_BYTES)
			sm_assert(read_at(in, &f->at[i]) == rc);
		/* Nobody else's. */
		sm_assert(open_entry((struct sm_id){f->id[i].counter + 1, 1}, &f->at[i]) ==
		          SM_E_CORRUPT);
	}
}

/* What was kept is as it was, and all others too, but for what was between. */
static void release(struct input *in, const struct found *f)
{
	struct stat before, after;
	bool was[ENTRIES_MAX];

	for (size_t i = 0; i < f->count; i++)
		was[i] = open_entry(f->id[i], &f->at[i]) == 0;
	sm_assert(stat(path, &before) == 0);
	if (cdb_release(store, segment, in->keep, in->count) != 0)
		return;
	sm_assert(stat(path, &after) == 0 && after.st_size == before.st_size);
	for (size_t i = 0; i < f->count; i++)
		for (size_t k = 0; k < in->count; k++)
			if (f->at[i].offset == in->keep[k].offset &&
			    f->at[i].size == in->keep[k].size)
				sm_assert((open_entry(f->id[i], &f->at[i]) == 0) == was[i]);
}

static void run(void *arg)
{
	struct input *in = arg;
	struct found f = {.count = 0};

	(void)read_at(in, &in->at);
	walk(in, &f);
	if (f.count > 1) {
		size_t last = f.count - 1;

		sm_assert(cdb_entry_clear(store, f.id[last], &f.at[last]) == 0);
		sm_assert(open_entry(f.id[last], &f.at[last]) == SM_E_CORRUPT);
		sm_assert(cdb_entry_clear(store, f.id[last], &f.at[last]) == SM_E_CORRUPT);
		memset(in->file + f.at[last].offset - CDB_ENTRY_BYTES, 0,
		       (size_t)f.at[last].size + CDB_ENTRY_BYTES);
		(void)read_at(in, &f.at[0]);
	}
	release(in, &f);
	sm_loop_stop(0);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_reader r = sm_reader(sm_str_n(p, n));
	struct input in = {.at.content = segment};

	if (store == NULL) {
		make_store();
		open_store();
	}
	in.how = sm_r_u8(&r);
	in.at.offset = sm_r_u32(&r);
	in.at.size = sm_r_u64(&r);
	in.count = sm_r_u8(&r) % (KEEP_MAX + 1);
	for (size_t i = 0; i < in.count; i++) {
		in.keep[i].offset = sm_r_u32(&r);
		in.keep[i].size = sm_r_u32(&r);
	}
	size_t head = 14 + 8 * in.count;

	if (n < head || n - head > FILE_MAX)
		return 0;
	in.size = n - head;
	in.file = sm_malloc(in.size + 1);
	memcpy(in.file, p + head, in.size);
	if (in.how & MEND)
		mend(&in);
	write_file(&in);
	if (in.how & CLOSED)
		open_store();
	sm_assert(sm_co_spawn("fuzz", run, &in) != NULL);
	sm_assert(sm_loop_run() == 0);
	sm_free(in.file);
	return 0;
}
