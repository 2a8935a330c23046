/* Contents are read back from segments, which may be damaged, gone, or not what they are taken for;
 * and segments are kept open for a while. */
#include "libcdb/t_cdb.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libcdb/cdb_int.h"
#include "libsm/fault.h"
#include "libsm/t_patience.h"

/* Three contents in one segment, handed over; the second one is what is played with. */
static struct t_content c[3];
#define IT (&c[1])

static void t_three(void *arg)
{
	(void)arg;
	t_open_segments(CDB_SYNC_DIR_AUTO, 8 << 20);
	for (size_t i = 0; i < 3; i++)
		c[i] = (struct t_content){.id = {0x100 + i, 1}, .size = 5000};
	for (size_t i = 0; i < 3; i++) {
		t_commit(&c[i]);
		assert_int_equal(c[i].rc, 0);
		cdb_handed_over(t_store, c[i].at.content);
		assert_true(sm_id_eq(c[i].at.content, c[0].at.content));
	}
}

static int read_it(void)
{
	return t_read(IT, &IT->at);
}

/* The store as another process would have it: nothing is open. */
static void t_fresh(void)
{
	cdb_close(&t_store);
	assert_int_equal(t_open_store(CDB_SYNC_DIR_AUTO), 0);
}

static void flip(uint64_t at)
{
	char path[128], byte;
	int fd;

	t_content_path(path, IT->at.content);
	fd = open(path, O_RDWR);
	assert_true(fd != -1);
	assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
	close(fd);
}

/* Each byte of the head, and some of the content: whatever bit is wrong is noticed, the others in
 * the segment are not concerned; whether or not it is open already. */
IN_COROUTINE(damage_is_noticed)
{
	t_three(NULL);
	for (int fresh = 0; fresh < 2; fresh++) {
		for (uint64_t i = 0; i < CDB_ENTRY_BYTES + 40; i++) {
			/* What fills the head up is part of what its checksum is of. */
			uint64_t at = IT->at.offset - CDB_ENTRY_BYTES + i;

			if (i >= CDB_ENTRY_BYTES)
				at = IT->at.offset + (i - CDB_ENTRY_BYTES) * 128;
			flip(at);
			if (fresh)
				t_fresh();
			assert_int_equal(read_it(), SM_E_CORRUPT);
			assert_int_equal(t_read(&c[0], &c[0].at), 0);
			assert_int_equal(t_read(&c[2], &c[2].at), 0);
			flip(at);
			assert_int_equal(read_it(), 0);
		}
	}
}

IN_COROUTINE(records_that_are_wrong)
{
	static const int64_t off[] = {-1, 1, 32, -32, 4096, 16, -5000};

	t_three(NULL);
	for (size_t i = 0; i < SM_ARRAY_SIZE(off); i++) {
		struct cdb_place at = IT->at;

		at.offset = (uint32_t)(at.offset + off[i]);
		assert_int_not_equal(t_read(IT, &at), 0);
	}
	static const uint64_t sizes[] = {
	    0,   1,         4999,       5001,           64 * 1024, 64 * 1024 + 1,
	    BIG, INT64_MAX, UINT64_MAX, UINT64_MAX - 31};

	for (size_t i = 0; i < SM_ARRAY_SIZE(sizes); i++) {
		struct cdb_place at = {IT->at.content, IT->at.offset, sizes[i]};

		assert_int_equal(t_read(IT, &at), SM_E_CORRUPT);
		t_fresh();
		assert_int_equal(t_read(IT, &at), SM_E_CORRUPT);
	}
	/* Before where any content can begin; behind the end. */
	for (uint32_t offset = 0; offset < CDB_ENTRY_BYTES; offset++) {
		struct cdb_place at = {IT->at.content, offset, 5000};

		assert_int_equal(t_read(IT, &at), SM_E_CORRUPT);
	}
	static const uint32_t beyond[] = {1 << 20, INT32_MAX, UINT32_MAX, UINT32_MAX - 31};

	for (size_t i = 0; i < SM_ARRAY_SIZE(beyond); i++) {
		struct cdb_place at = {IT->at.content, beyond[i], 5000};

		assert_int_equal(t_read(IT, &at), SM_E_CORRUPT);
		at.size = 0;
		assert_int_equal(t_read(IT, &at), SM_E_CORRUPT);
	}
	/* A content of its own that is taken for a segment: there is no such file. */
	struct cdb_place at = {{IT->id.counter | CDB_SEGMENT_BIT, 1}, 32, 10};

	assert_int_equal(t_read(IT, &at), SM_E_NOTFOUND);
	assert_int_equal(read_it(), 0);
}

IN_COROUTINE(files_that_are_wrong)
{
	char path[128], other[128];

	t_three(NULL);
	t_content_path(path, IT->at.content);
	t_path_of(other, "0/other");

	/* Another link: who made that may change it. */
	assert_int_equal(link(path, other), 0);
	assert_int_equal(read_it(), SM_E_CORRUPT);
	assert_int_equal(unlink(other), 0);
	assert_int_equal(read_it(), 0);
	t_fresh();

	assert_int_equal(rename(path, other), 0);
	assert_int_equal(read_it(), SM_E_NOTFOUND);
	assert_int_equal(symlink("../0/other", path), 0);
	assert_int_equal(read_it(), SM_E_CORRUPT);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(read_it(), SM_E_CORRUPT);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(read_it(), SM_E_CORRUPT);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(rename(other, path), 0);
	assert_int_equal(read_it(), 0);

	/* Cut in the content, in the head, before it; while it is open, and not. */
	for (int cut = 0; cut < 6; cut++) {
		off_t at[] = {IT->at.offset + 4999, IT->at.offset - 1,
		              IT->at.offset - CDB_ENTRY_BYTES};

		assert_int_equal(truncate(path, at[cut / 2]), 0);
		if (cut % 2)
			t_fresh();
		assert_int_equal(read_it(), SM_E_CORRUPT);
		assert_int_equal(t_read(&c[0], &c[0].at), 0);
	}
}

#ifdef SM_TESTING
IN_COROUTINE(disks_that_are_bad)
{
	t_three(NULL);
	t_fresh();
	assert_int_equal(sm_fault_arm("cdb.open=eio"), 0);
	assert_int_equal(read_it(), SM_E_IO);
	assert_int_equal(sm_fault_arm("cdb.read=eio"), 0);
	assert_int_equal(read_it(), SM_E_IO);
	/* Only half at a time is no damage. */
	assert_int_equal(sm_fault_arm("cdb.read=short"), 0);
	assert_int_equal(read_it(), 0);
	assert_true(sm_fault_passes("cdb.read") > 2);
	assert_int_equal(sm_fault_arm(NULL), 0);
	assert_int_equal(read_it(), 0);
}
#endif

/* ---- kept open ---- */

static int fds;

static bool all_closed(void)
{
	return t_count_fds() == fds;
}

static void wait_until(bool (*so)(void))
{
	int64_t end_ms = sm_loop_now_ms() + T_PATIENCE_MS;

	while (!so() && sm_loop_now_ms() < end_ms)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 5), 0);
	assert_true(so());
}

IN_COROUTINE(kept_and_given_back)
{
	t_three(NULL);
	t_fresh();
	fds = t_count_fds();
#ifdef SM_TESTING
	assert_int_equal(sm_fault_arm("cdb.open=delay:0"), 0);
#endif
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(t_read(&c[i], &c[i].at), 0);
	assert_int_equal(t_count_fds(), fds + 1);
#ifdef SM_TESTING
	assert_int_equal(sm_fault_passes("cdb.open"), 1);
#endif
	/* Removed meanwhile: who has it open reads on, and its room is given back soon. */
	assert_int_equal(cdb_unlink(t_store, IT->at.content), 0);
	assert_int_equal(read_it(), 0);
	wait_until(all_closed);
	assert_int_equal(read_it(), SM_E_NOTFOUND);
	assert_int_equal(t_count_fds(), fds);
}

static size_t readers;

static void read_one(void *arg)
{
	const struct t_content *one = arg;

	assert_int_equal(t_read(one, &one->at), 0);
	readers++;
}

/* All of them find it closed, open it in helpers, and one descriptor is left. */
static void two_open_it_at_once(void **state)
{
	(void)state;
	struct t_content same[20];

	t_in_coroutines(t_three, NULL, 1, 0);
	t_fresh();
	fds = t_count_fds();
	readers = 0;
	for (size_t i = 0; i < SM_ARRAY_SIZE(same); i++)
		same[i] = c[i % 3];
	t_in_coroutines(read_one, same, SM_ARRAY_SIZE(same), sizeof(*same));
	assert_int_equal(readers, SM_ARRAY_SIZE(same));
	assert_int_equal(t_count_fds(), fds + 1);
}

/* As many as are kept, and no more, whoever reads them how often. */
static void more_than_are_kept(void **state)
{
	static struct t_content many[40];

	(void)state;
	t_open_segments(CDB_SYNC_DIR_AUTO, 1);
	for (size_t i = 0; i < SM_ARRAY_SIZE(many); i++)
		many[i] = (struct t_content){.id = {0x100 + i, 1}, .size = 3000 + i};
	t_in_coroutines(t_commit, many, SM_ARRAY_SIZE(many), sizeof(*many));
	for (size_t i = 0; i < SM_ARRAY_SIZE(many); i++) {
		assert_int_equal(many[i].rc, 0);
		cdb_handed_over(t_store, many[i].at.content);
	}
	t_fresh();
	fds = t_count_fds();
	for (int again = 0; again < 3; again++) {
		t_in_coroutines(read_one, many, SM_ARRAY_SIZE(many), sizeof(*many));
		assert_int_equal(t_count_fds(), fds + 16);
	}
}

/* More than are kept are in use at once: what is given back first is closed at once. */
static void more_than_are_kept_in_use(void **state)
{
	struct cdb_open_file *f[20];

	(void)state;
	fds = t_count_fds();
	for (size_t i = 0; i < SM_ARRAY_SIZE(f); i++)
		f[i] =
		    cdb_open_file_add(t_store, (struct sm_id){i, 1}, open("/dev/null", O_RDONLY));
	/* The same once more: the descriptor is closed, and two use it. */
	assert_ptr_equal(
	    cdb_open_file_add(t_store, (struct sm_id){19, 1}, open("/dev/null", O_RDONLY)), f[19]);
	assert_int_equal(t_count_fds(), fds + 20);
	cdb_open_file_put(t_store, f[0]);
	assert_int_equal(t_count_fds(), fds + 19);
	assert_null(cdb_open_file_get(t_store, (struct sm_id){0, 1}));
	cdb_open_file_put(t_store, f[19]);
	assert_int_equal(t_count_fds(), fds + 19); /* still in use */
	cdb_open_file_put(t_store, f[19]);
	for (size_t i = 1; i < 19; i++)
		cdb_open_file_put(t_store, f[i]);
	assert_int_equal(t_count_fds(), fds + 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(damage_is_noticed),         TEST(records_that_are_wrong),
	    TEST(files_that_are_wrong),      TEST(kept_and_given_back),
	    TEST(two_open_it_at_once),       TEST(more_than_are_kept),
	    TEST(more_than_are_kept_in_use),
#ifdef SM_TESTING
	    TEST(disks_that_are_bad),
#endif
	};

	return cmocka_run_group_tests(tests, t_cdb_begin, t_cdb_end);
}
