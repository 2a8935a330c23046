/* The room of what has ended in a segment is given back, and of nothing else. */
#include "libcdb/t_cdb.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcdb/cdb_int.h"
#include "libsm/fault.h"

#define MANY 100
#define SIZE 10000

static struct t_content c[MANY];
static struct sm_id segment;

static void make(void)
{
	t_open_segments(CDB_SYNC_DIR_AUTO, 8 << 20);
	for (size_t i = 0; i < MANY; i++) {
		c[i] = (struct t_content){.id = {0x100 + i, 1}, .size = SIZE};
		t_commit(&c[i]);
		assert_int_equal(c[i].rc, 0);
		cdb_handed_over(t_store, c[i].at.content);
	}
	segment = c[0].at.content;
	assert_true(sm_id_eq(c[MANY - 1].at.content, segment));
}

static struct stat file(void)
{
	char path[128];
	struct stat st;

	t_content_path(path, segment);
	assert_int_equal(stat(path, &st), 0);
	return st;
}

static struct cdb_span span(size_t i)
{
	return (struct cdb_span){c[i].at.offset, (uint32_t)c[i].at.size};
}

/* Those that are kept are whole, whether or not the segment was open; the others are no contents
 * any more. */
static void assert_kept(const size_t *kept, size_t count)
{
	for (int fresh = 0; fresh < 2; fresh++) {
		for (size_t i = 0, k = 0; i < MANY; i++) {
			bool is = k < count && kept[k] == i;

			assert_int_equal(t_read(&c[i], &c[i].at), is ? 0 : SM_E_CORRUPT);
			k += is;
		}
		cdb_close(&t_store);
		assert_int_equal(t_open_store(CDB_SYNC_DIR_AUTO), 0);
	}
}

static int release(const size_t *kept, size_t count)
{
	struct cdb_span keep[MANY];

	for (size_t i = 0; i < count; i++)
		keep[i] = span(kept[i]);
	return cdb_release(t_store, segment, keep, count);
}

IN_COROUTINE(all_but_some)
{
	static const size_t all[] = {0, 1, 7, 50, 98, 99}, fewer[] = {1, 50, 99}, one[] = {50};
	struct stat before, after;

	make();
	before = file();
	assert_int_equal(release(all, 6), 0);
	after = file();
	assert_int_equal(after.st_size, before.st_size);
	/* In 512 bytes: what is kept, and a block before and behind each. */
	assert_true(after.st_blocks <= 6 * (SIZE + 2 * 4096) / 512);
	assert_kept(all, 6);
	assert_int_equal(release(all, 6), 0); /* twice is once */
	assert_kept(all, 6);
	assert_int_equal(release(fewer, 3), 0);
	assert_kept(fewer, 3);
	assert_int_equal(release(one, 1), 0);
	assert_kept(one, 1);
	assert_int_equal(release(NULL, 0), 0);
	assert_kept(NULL, 0);
	assert_true(file().st_blocks <=
	            2 * 4096 / 512); /* the last one, and what the file system notes */
}

/* Neighbours without a byte between them: nothing of either is lost. */
IN_COROUTINE(neighbours)
{
	struct t_content n[3];
	struct cdb_span keep[2];

	for (size_t gone = 0; gone < 3; gone++) {
		t_open_segments(CDB_SYNC_DIR_AUTO, 8 << 20);
		t_segment_ids.next += 16 * gone;
		for (size_t i = 0; i < 3; i++)
			n[i] = (struct t_content){.id = {0x100 + i, 1}, .size = 96 - 32 * i};
		for (size_t i = 0; i < 3; i++) {
			t_commit(&n[i]);
			cdb_handed_over(t_store, n[i].at.content);
		}
		for (size_t i = 0, k = 0; i < 3; i++)
			if (i != gone)
				keep[k++] =
				    (struct cdb_span){n[i].at.offset, (uint32_t)n[i].at.size};
		assert_int_equal(cdb_release(t_store, n[0].at.content, keep, 2), 0);
		for (size_t i = 0; i < 3; i++)
			assert_int_equal(t_read(&n[i], &n[i].at), i == gone ? SM_E_CORRUPT : 0);
	}
}

/* What cannot be is refused as a whole. */
IN_COROUTINE(spans_that_are_wrong)
{
	const size_t all[] = {0, 1, 2};
	struct cdb_span keep[3];
	blkcnt_t blocks;

	make();
	blocks = file().st_blocks;
	for (size_t i = 0; i < 3; i++)
		keep[i] = span(all[2 - i]);
	assert_int_equal(cdb_release(t_store, segment, keep, 3), SM_E_CORRUPT);
	keep[0] = keep[1] = span(1);
	assert_int_equal(cdb_release(t_store, segment, keep, 2), SM_E_CORRUPT);
	keep[0] = span(1);
	keep[0].size += CDB_BLOCK;
	keep[1] = span(2);
	assert_int_equal(cdb_release(t_store, segment, keep, 2), SM_E_CORRUPT);
	for (uint32_t offset = 0; offset < CDB_ENTRY_BYTES; offset++) {
		keep[0] = (struct cdb_span){offset, 10};
		assert_int_equal(cdb_release(t_store, segment, keep, 1), SM_E_CORRUPT);
	}
	keep[0] = (struct cdb_span){UINT32_MAX, UINT32_MAX};
	assert_int_equal(cdb_release(t_store, segment, keep, 1), SM_E_CORRUPT);
	keep[0] = (struct cdb_span){32, (uint32_t)file().st_size + 64};
	assert_int_equal(cdb_release(t_store, segment, keep, 1), SM_E_CORRUPT);
	assert_int_equal(file().st_blocks, blocks);
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(t_read(&c[i], &c[i].at), 0);
}

/* It is gone by now: nothing to do. */
IN_COROUTINE(a_segment_that_is_gone)
{
	static const size_t one[] = {3};
	char path[128];

	make();
	assert_int_equal(cdb_unlink(t_store, segment), 0);
	assert_int_equal(release(one, 1), 0);
	assert_false(t_exists(segment));
	/* And nothing that is not ours. */
	t_content_path(path, segment);
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_int_not_equal(release(one, 1), 0);
}

#ifdef SM_TESTING
/* Half of the work: what is kept is there. */
IN_COROUTINE(a_bad_disk)
{
	static const size_t kept[] = {10, 20, 30};

	make();
	assert_int_equal(sm_fault_arm("cdb.release=eio@2"), 0);
	assert_int_equal(release(kept, 3), SM_E_IO);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(t_read(&c[kept[i]], &c[kept[i]].at), 0);
	assert_int_equal(t_read(&c[15], &c[15].at), 0);
	assert_int_equal(sm_fault_arm(NULL), 0);
	assert_int_equal(release(kept, 3), 0);
	assert_kept(kept, 3);
}
#endif

#define SKIPPED 77

/* Can the file system do it? */
static bool can_release(void)
{
	char name[] = "t_cdb_release.XXXXXX";
	int fd = mkstemp(name);
	bool can = fd != -1 && pwrite(fd, name, sizeof(name), 8192) > 0 &&
	           fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == 0;

	if (fd != -1)
		close(fd);
	(void)unlink(name);
	return can;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(all_but_some),         TEST(neighbours),
	    TEST(spans_that_are_wrong), TEST(a_segment_that_is_gone),
#ifdef SM_TESTING
	    TEST(a_bad_disk),
#endif
	};

	if (!can_release())
		return SKIPPED;
	return cmocka_run_group_tests(tests, t_cdb_begin, t_cdb_end);
}
