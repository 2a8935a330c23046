/*
 * Fuzz the heads in a segment: whatever the file holds, what the walk gives lies in it, in order
 * and apart; what is opened has the checksum of its head; what is cleared is gone, and everything
 * else is as it was. Input: one byte, then the file. With an odd byte the checksums of all that
 * looks like a head are made right first, so that what lies behind them is reached.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcdb/cdb_int.h"
#include "libsm/crc32c.h"

#define SEEN_MAX  4096
#define BYTES_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct seen {
	size_t n;   /* of the file */
	size_t end; /* of what was given */
	size_t count;
	struct sm_id id[SEEN_MAX];
	struct cdb_place at[SEEN_MAX];
};

static char base[] = "/tmp/fuzz_cdb.XXXXXX/";
static struct cdb *store;
static const struct sm_id segment = {.counter = CDB_SEGMENT_BIT | 16, .proc = 1};

static void remove_store(void)
{
	char path[64];

	sm_assert(cdb_unlink(store, segment) == 0);
	cdb_close(&store);
	for (unsigned i = 0; i < CDB_DIRS; i++) {
		snprintf(path, sizeof(path), "%s%X", base, i);
		(void)rmdir(path);
	}
	(void)rmdir(base);
}

static void make_store(void)
{
	struct cdb_conf conf = {.base = base, .gid = (gid_t)-1};
	char path[64];

	base[sizeof(base) - 2] = '\0';
	sm_assert(mkdtemp(base) != NULL);
	base[sizeof(base) - 2] = '/';
	for (unsigned i = 0; i < CDB_DIRS; i++) {
		snprintf(path, sizeof(path), "%s%X", base, i);
		sm_assert(mkdir(path, 0700) == 0);
	}
	sm_assert(cdb_open(&conf, &store) == 0);
	atexit(remove_store);
}

static void put(const uint8_t *p, size_t n)
{
	char path[64], name[SM_ID_SIZE];
	int fd;

	snprintf(path, sizeof(path), "%s0/%s", base, sm_id_text(segment, name));
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	sm_assert(fd != -1 && write(fd, p, n) == (ssize_t)n);
	close(fd);
}

/* Of contents as well, as far as they are in the file. */
static void make_checksums_right(uint8_t *p, size_t n)
{
	for (size_t at = 0; at + CDB_ENTRY_BYTES <= n; at += CDB_ENTRY_ALIGN) {
		struct cdb_entry e;
		uint64_t size;

		memcpy(&size, p + at + 12, sizeof(size));
		if (memcmp(p + at, "SMX1", 4) != 0 || size > n - at - CDB_ENTRY_BYTES)
			continue;
		e = (struct cdb_entry){.size = size,
		                       .crc = sm_crc32c(0, p + at + CDB_ENTRY_BYTES, size)};
		memcpy(&e.id.counter, p + at + 20, sizeof(e.id.counter));
		e.id.proc = p[at + 28];
		cdb_entry_put(&e, (char *)p + at);
	}
}

static bool see(struct sm_id id, const struct cdb_place *at, void *arg)
{
	struct seen *s = arg;

	sm_assert(sm_id_eq(at->content, segment));
	sm_assert(at->offset >= s->end + CDB_ENTRY_BYTES && at->offset + at->size <= s->n);
	s->end = (size_t)(at->offset + at->size);
	s->id[s->count] = id;
	s->at[s->count++] = *at;
	return s->count < SEEN_MAX;
}

static struct seen walk(size_t n)
{
	struct seen s = {.n = n};
	uint64_t damaged;

	sm_assert(cdb_entries(store, segment, see, &s, &damaged) == 0 && damaged <= n);
	return s;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	static uint8_t file[BYTES_MAX];
	static struct seen all, left;
	size_t victim;
	int fd;

	if (n < 1 || n - 1 > sizeof(file))
		return 0;
	if (store == NULL)
		make_store();
	memcpy(file, p + 1, n - 1);
	if (p[0] & 1)
		make_checksums_right(file, n - 1);
	put(file, n - 1);
	all = walk(n - 1);
	for (size_t i = 0; i < all.count; i++) {
		const struct cdb_place *at = &all.at[i];
		int rc = cdb_entry_open(store, all.id[i], at, &fd);
		uint32_t want;

		memcpy(&want, file + at->offset - CDB_ENTRY_BYTES + 8, sizeof(want));
		sm_assert((rc == 0) == (sm_crc32c(0, file + at->offset, at->size) == want));
		if (rc == 0)
			close(fd);
	}
	if (all.count == 0)
		return 0;
	victim = (p[0] >> 1) % all.count;
	sm_assert(cdb_entry_clear(store, all.id[victim], &all.at[victim]) == 0);
	sm_assert(cdb_entry_open(store, all.id[victim], &all.at[victim], &fd) == SM_E_CORRUPT);
	left = walk(n - 1);
	sm_assert(left.count == all.count - 1);
	for (size_t i = 0; i < left.count; i++)
		sm_assert(left.at[i].offset == all.at[i + (i >= victim)].offset);
	return 0;
}
