/* Batches of a segment on a disk that is slow to sync: what gathers, what overlaps, and what
 * becomes of the others when one fails. */
#include "libcdb/t_cdb.h"

#include "libcdb/cdb_int.h"
#include "libsm/fault.h"

#ifdef SM_TESTING

/* A content that comes some time after the test began. */
struct late {
	struct t_content c;
	int after_ms;
	int fds;        /* that were open when it came */
	uint64_t syncs; /* that had begun when it was durable, or had failed */
};

static void come(void *arg)
{
	struct late *l = arg;

	assert_int_equal(sm_co_sleep(sm_loop_now_ms() + l->after_ms), 0);
	l->fds = t_count_fds();
	t_commit(&l->c);
	l->syncs = sm_fault_passes("cdb.sync");
}

static void come_all(struct late *l, size_t n, int every_ms, size_t size)
{
	for (size_t i = 0; i < n; i++)
		l[i] = (struct late){.c = {.id = {0x100 + i, 1}, .size = size + i},
		                     .after_ms = (int)i * every_ms};
	t_in_coroutines(come, l, n, sizeof(*l));
}

static void read_back(void *arg)
{
	const struct late *l = arg;

	assert_int_equal(l->c.rc, 0);
	assert_int_equal(t_read(&l->c, &l->c.at), 0);
	cdb_handed_over(t_store, l->c.at.content);
}

/* A segment that something is durable in: it is the next one's, too. */
static struct sm_id a_segment(uint64_t bytes)
{
	struct late first;

	t_open_segments(CDB_SYNC_DIR_ALWAYS, bytes);
	come_all(&first, 1, 0, 100);
	assert_int_equal(first.c.rc, 0);
	return first.c.at.content;
}

static bool in(const struct late *l, struct sm_id segment)
{
	return sm_id_eq(l->c.at.content, segment);
}

/* What comes while the first sync runs, which makes the file durable, waits and goes together. */
static void the_first_is_alone(void **state)
{
	struct late l[100];

	(void)state;
	t_open_segments(CDB_SYNC_DIR_AUTO, 8 << 20);
	assert_int_equal(sm_fault_arm("cdb.sync=delay:400@1"), 0);
	come_all(l, SM_ARRAY_SIZE(l), 1, 3000);
	assert_int_equal(l[0].syncs, 1);
	for (size_t i = 1; i < SM_ARRAY_SIZE(l); i++)
		assert_true(in(&l[i], l[0].c.at.content));
	/* A machine that stumbles may need one more. */
	assert_in_range(sm_fault_passes("cdb.sync"), 2, 4);
	t_in_coroutines(read_back, l, SM_ARRAY_SIZE(l), sizeof(*l));
}

static void slow_ones_overlap(void **state)
{
	struct sm_id segment = a_segment(8 << 20);
	struct late l[40];

	(void)state;
	assert_int_equal(sm_fault_arm("cdb.sync=delay:500"), 0);
	come_all(l, SM_ARRAY_SIZE(l), 5, 3000);
	/* So many had begun when the first one ended; the others waited for it. Each has an open
	 * file, so that none hears of an error in another one's place. */
	assert_int_equal(l[0].syncs, 4);
	assert_int_equal(l[39].fds - l[0].fds, 3);
	for (size_t i = 0; i < SM_ARRAY_SIZE(l); i++)
		assert_true(in(&l[i], segment));
	t_in_coroutines(read_back, l, SM_ARRAY_SIZE(l), sizeof(*l));
	assert_int_equal(cdb_segments_unsealed(t_store, NULL, 0), 1);
	cdb_handed_over(t_store, segment);
}

/* The segment ends; what is being written in it becomes durable, what comes has another one. */
static void one_fails_amid_others(void **state)
{
	struct sm_id segment = a_segment(8 << 20);
	struct late l[3];

	(void)state;
	assert_int_equal(sm_fault_arm("cdb.sync=delay:400@1,cdb.sync=eio@2"), 0);
	come_all(l, SM_ARRAY_SIZE(l), 50, 3000);
	assert_int_equal(l[0].c.rc, 0);
	assert_int_equal(l[1].c.rc, SM_E_IO);
	assert_int_equal(l[2].c.rc, 0);
	assert_true(in(&l[0], segment));
	assert_int_equal(l[1].syncs, 2);
	assert_false(in(&l[2], segment));
	/* Not before nobody has a content in it. */
	cdb_handed_over(t_store, segment);
	assert_int_equal(t_segment_ids.sealed_count, 0);
	t_in_coroutines(read_back, &l[0], 1, 0);
	assert_true(t_sealed(segment));
	t_in_coroutines(read_back, &l[2], 1, 0);
}

/* That the one before it failed is nothing to a batch that is durable. */
static void the_one_before_fails(void **state)
{
	struct sm_id segment = a_segment(8 << 20);
	struct late l[2];

	(void)state;
	assert_int_equal(sm_fault_arm("cdb.write=delay:400@1,cdb.sync=eio@2"), 0);
	come_all(l, SM_ARRAY_SIZE(l), 50, 3000);
	assert_int_equal(l[0].c.rc, SM_E_IO);
	assert_int_equal(l[1].c.rc, 0);
	assert_int_equal(l[1].syncs, 1);
	assert_true(in(&l[1], segment));
	assert_int_equal(l[1].c.at.offset, 2 * CDB_BLOCK + CDB_ENTRY_BYTES);
	t_in_coroutines(read_back, &l[1], 1, 0);
	assert_int_equal(t_segment_ids.sealed_count, 0);
	cdb_handed_over(t_store, segment);
	assert_true(t_sealed(segment));
}

/* It has no open file: only it fails. */
static void one_cannot_be_opened(void **state)
{
	struct sm_id segment = a_segment(8 << 20);
	struct late l[2];

	(void)state;
	assert_int_equal(sm_fault_arm("cdb.sync=delay:400,cdb.open=emfile@1"), 0);
	come_all(l, SM_ARRAY_SIZE(l), 50, 3000);
	assert_int_equal(l[0].c.rc, 0);
	assert_int_equal(l[1].c.rc, SM_E_SYS);
	t_in_coroutines(read_back, &l[0], 1, 0);
	cdb_handed_over(t_store, segment);
	assert_true(t_sealed(segment));
}

/* All that overlap fail: it is sealed once, when the last one has. */
static void all_fail(void **state)
{
	struct sm_id segment = a_segment(8 << 20);
	struct late l[3];

	(void)state;
	cdb_handed_over(t_store, segment);
	assert_int_equal(sm_fault_arm("cdb.write=delay:400@1,cdb.write=delay:200@2,cdb.sync=eio"),
	                 0);
	come_all(l, 2, 50, 3000);
	assert_int_equal(l[0].c.rc, SM_E_IO);
	assert_int_equal(l[1].c.rc, SM_E_IO);
	assert_true(t_sealed(segment));
	assert_int_equal(cdb_segments_unsealed(t_store, NULL, 0), 0);
}

/* Those that are full end while they are still being written. */
static void full_ones_overlap(void **state)
{
	struct late l[120];
	size_t segments = 0;

	(void)state;
	(void)a_segment(128 << 10);
	assert_int_equal(sm_fault_arm("cdb.sync=delay:15"), 0);
	come_all(l, SM_ARRAY_SIZE(l), 1, 9000);
	for (size_t i = 0; i < SM_ARRAY_SIZE(l); i++) {
		assert_int_equal(l[i].c.rc, 0);
		segments += i > 0 && !in(&l[i], l[i - 1].c.at.content);
	}
	assert_true(segments >= SM_ARRAY_SIZE(l) * 9000 / (128 << 10));
	t_in_coroutines(read_back, l, SM_ARRAY_SIZE(l), sizeof(*l));
	/* All but the one that the first content of all keeps, and the last. */
	assert_in_range(cdb_segments_unsealed(t_store, NULL, 0), 1, 2);
	assert_true(t_segment_ids.sealed_count >= segments - 1);
}
#endif

int main(void)
{
#ifdef SM_TESTING
	const struct CMUnitTest tests[] = {
	    TEST(the_first_is_alone),   TEST(slow_ones_overlap),    TEST(one_fails_amid_others),
	    TEST(the_one_before_fails), TEST(one_cannot_be_opened), TEST(all_fail),
	    TEST(full_ones_overlap),
	};

	return cmocka_run_group_tests(tests, t_cdb_begin, t_cdb_end);
#else
	return 77; /* needs fault points */
#endif
}
