/* Segments are written: who shares a file and a sync, where what begins, when one is sealed. */
#include "libcdb/t_cdb.h"

#include <sys/stat.h>

#include "libcdb/cdb_int.h"
#include "libsm/fault.h"
#include "libsm/t_patience.h"

#define MANY 200

/* Contents of many sizes, from `first` on. */
static void make(struct t_content *c, size_t n, uint64_t first)
{
	for (size_t i = 0; i < n; i++)
		c[i] = (struct t_content){.id = {first + i, 1}, .size = i * i % 8191};
}

static void commit_all(struct t_content *c, size_t n)
{
	t_in_coroutines(t_commit, c, n, sizeof(*c));
}

static void read_back(void *arg)
{
	const struct t_content *c = arg;

	assert_int_equal(t_read(c, &c->at), 0);
}

static void read_all(struct t_content *c, size_t n)
{
	t_in_coroutines(read_back, c, n, sizeof(*c));
}

static void handed_over(const struct t_content *c, size_t n)
{
	for (size_t i = 0; i < n; i++)
		cdb_handed_over(t_store, c[i].at.content);
}

static uint64_t head_of(const struct t_content *c)
{
	return c->at.offset - CDB_ENTRY_BYTES;
}

static size_t files(void)
{
	size_t n = 0;

	for (uint64_t i = 0; i < 64; i++)
		n += t_exists((struct sm_id){(0x5000 + i) | CDB_SEGMENT_BIT, 7});
	return n;
}

/* Lets the loop run until it is so. */
static bool (*awaited)(void);

static void wait_for(void *arg)
{
	int64_t end_ms = sm_loop_now_ms() + T_PATIENCE_MS;

	(void)arg;
	while (!awaited() && sm_loop_now_ms() < end_ms)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 5), 0);
	assert_true(awaited());
}

static void t_wait(bool (*until)(void))
{
	awaited = until;
	t_in_coroutines(wait_for, NULL, 1, 0);
}

static void pass_time(void *arg)
{
	assert_int_equal(sm_co_sleep(sm_loop_now_ms() + *(const int *)arg), 0);
}

static void t_pass(int ms)
{
	t_in_coroutines(pass_time, &ms, 1, 0);
}

/* ---- when ---- */

/* Before so many have come in a second each has a file of its own. */
static void few_do_not_share(void **state)
{
	struct t_content c[12];

	(void)state;
	t_open_paced(8 << 20, 8);
	make(c, SM_ARRAY_SIZE(c), 0x400);
	commit_all(c, SM_ARRAY_SIZE(c)); /* in one turn, thus at one time */
	for (size_t i = 0; i < SM_ARRAY_SIZE(c); i++) {
		assert_int_equal(c[i].rc, 0);
		assert_int_equal(cdb_is_segment(c[i].at.content), i >= 7);
		assert_int_equal(t_exists(c[i].id), i < 7);
	}
	read_all(c, SM_ARRAY_SIZE(c));
	handed_over(c, SM_ARRAY_SIZE(c));
}

/* ---- together ---- */

static void many_share_a_file(void **state)
{
	struct t_content c[MANY];

	(void)state;
	t_open_segments(CDB_SYNC_DIR_ALWAYS, 8 << 20);
#ifdef SM_TESTING
	assert_int_equal(
	    sm_fault_arm("cdb.open=delay:0,cdb.sync=delay:0,cdb.write=delay:0,cdb.syncdir=delay:0"),
	    0);
#endif
	make(c, MANY, 0x100);
	commit_all(c, MANY);
	for (size_t i = 0; i < MANY; i++) {
		assert_int_equal(c[i].rc, 0);
		assert_true(cdb_is_segment(c[i].at.content));
		assert_true(sm_id_eq(c[i].at.content, c[0].at.content));
		assert_int_equal(c[i].at.size, c[i].size);
		assert_int_equal(head_of(&c[i]) % CDB_ENTRY_ALIGN, 0);
		if (i > 0)
			assert_int_equal(head_of(&c[i]),
			                 head_of(&c[i - 1]) + cdb_entry_end(c[i - 1].size));
		assert_false(t_exists(c[i].id));
	}
	assert_int_equal(head_of(&c[0]), 0);
#ifdef SM_TESTING
	assert_int_equal(sm_fault_passes("cdb.open"), 1);
	assert_int_equal(sm_fault_passes("cdb.write"), 1);
	assert_int_equal(sm_fault_passes("cdb.sync"), 1);
	assert_int_equal(sm_fault_passes("cdb.syncdir"), 1);
#endif
	read_all(c, MANY);
	handed_over(c, MANY);

	/* The next batch: behind it, from a block on; the name is durable by now. */
	struct t_content next[2] = {{.id = {0x900, 1}, .size = 5}, {.id = {0x901, 1}, .size = 100}};
	uint64_t end = head_of(&c[MANY - 1]) + cdb_entry_end(c[MANY - 1].size);

	assert_int_not_equal(end % CDB_BLOCK, 0);
	commit_all(next, 2);
	assert_true(sm_id_eq(next[0].at.content, c[0].at.content));
	assert_int_equal(head_of(&next[0]), (end + CDB_BLOCK - 1) / CDB_BLOCK * CDB_BLOCK);
	assert_int_equal(head_of(&next[1]), head_of(&next[0]) + 64);
#ifdef SM_TESTING
	assert_int_equal(sm_fault_passes("cdb.sync"), 2);
	assert_int_equal(sm_fault_passes("cdb.syncdir"), 1);
#endif
	read_all(c, MANY);
	read_all(next, 2);
	handed_over(next, 2);
	assert_int_equal(files(), 1);
}

/* ---- when it is full ---- */

static void a_full_one_is_followed(void **state)
{
	struct t_content c[40];
	size_t segments = 1;

	(void)state;
	t_open_segments(CDB_SYNC_DIR_AUTO, 64 * 1024);
	for (size_t i = 0; i < SM_ARRAY_SIZE(c); i++)
		c[i] = (struct t_content){.id = {0x100 + i, 1}, .size = 10000};
	commit_all(c, SM_ARRAY_SIZE(c));
	read_all(c, SM_ARRAY_SIZE(c));
	for (size_t i = 1; i < SM_ARRAY_SIZE(c); i++) {
		bool same = sm_id_eq(c[i].at.content, c[i - 1].at.content);

		segments += !same;
		if (!same)
			assert_int_equal(head_of(&c[i]), 0);
		assert_true(head_of(&c[i]) + cdb_entry_end(c[i].size) <= 64 * 1024);
	}
	assert_int_equal(segments, 7); /* six in each */
	assert_int_equal(files(), 7);
	assert_int_equal(cdb_segments_unsealed(t_store, NULL, 0), 7);
	handed_over(c, SM_ARRAY_SIZE(c));
	/* All but the last one, which has room. */
	assert_int_equal(t_segment_ids.sealed_count, 6);
	for (size_t i = 0; i < 36; i++)
		assert_true(t_sealed(c[i].at.content));
	assert_false(t_sealed(c[39].at.content));
}

/* One that is larger than a segment is alone in it; nothing is ever refused for its size. */
static void smaller_than_a_content(void **state)
{
	struct t_content c[5];

	(void)state;
	t_open_segments(CDB_SYNC_DIR_AUTO, 1);
	for (size_t i = 0; i < SM_ARRAY_SIZE(c); i++)
		c[i] = (struct t_content){.id = {0x100 + i, 1}, .size = i * i * 16 * 1024};
	commit_all(c, SM_ARRAY_SIZE(c));
	read_all(c, SM_ARRAY_SIZE(c));
	handed_over(c, SM_ARRAY_SIZE(c));
	for (size_t i = 0; i < SM_ARRAY_SIZE(c); i++)
		assert_int_equal(head_of(&c[i]), 0);
	assert_int_equal(files(), SM_ARRAY_SIZE(c));
}

/* ---- when it is sealed ---- */

static struct sm_id the_segment;

static bool is_sealed(void)
{
	return t_sealed(the_segment);
}

/* It ends by itself; then it is sealed when the last in it is handed over, and once. */
static void the_last_one_seals(void **state)
{
	struct t_content c[3];
	struct sm_id ids[2] = {{0}};

	(void)state;
	t_open_segments(CDB_SYNC_DIR_AUTO, 8 << 20);
	make(c, 3, 0x100);
	commit_all(c, 3);
	the_segment = c[0].at.content;
	assert_int_equal(cdb_segments_unsealed(t_store, ids, 2), 1);
	assert_true(sm_id_eq(ids[0], the_segment));
	cdb_handed_over(t_store, the_segment);
	t_pass(1300); /* longer than it waits for more */
	assert_int_equal(t_segment_ids.sealed_count, 0);
	struct t_content other = {.id = {0x200, 1}, .size = 10};

	commit_all(&other, 1);
	assert_false(sm_id_eq(other.at.content, the_segment));
	assert_int_equal(cdb_segments_unsealed(t_store, ids, 1), 2);
	cdb_handed_over(t_store, the_segment);
	assert_int_equal(t_segment_ids.sealed_count, 0);
	cdb_handed_over(t_store, the_segment);
	assert_true(is_sealed());
	assert_int_equal(cdb_segments_unsealed(t_store, ids, 2), 1);
	assert_true(sm_id_eq(ids[0], other.at.content));
	read_all(c, 3); /* whoever is told removes it, nobody else */
	cdb_handed_over(t_store, other.at.content);
	assert_int_equal(t_segment_ids.sealed_count, 1);
	the_segment = other.at.content;
	t_wait(is_sealed);
	assert_int_equal(cdb_segments_unsealed(t_store, NULL, 0), 0);
	t_pass(1300);
	assert_int_equal(t_segment_ids.sealed_count, 2);
}

/* The process ends: what was not sealed is told by the next one. */
static void the_end_says_nothing(void **state)
{
	struct t_content c[2] = {{.id = {0x100, 1}, .size = 10}, {.id = {0x101, 1}, .size = 10}};

	(void)state;
	t_open_segments(CDB_SYNC_DIR_AUTO, 8 << 20);
	commit_all(c, 2);
	cdb_handed_over(t_store, c[0].at.content);
	cdb_close(&t_store);
	assert_int_equal(t_segment_ids.sealed_count, 0);
	/* Without segments. */
	assert_int_equal(t_open_store(CDB_SYNC_DIR_AUTO), 0);
	assert_int_equal(cdb_segments_unsealed(t_store, NULL, 0), 0);
	cdb_handed_over(t_store, c[0].id);
	read_all(c, 2);
}

/* ---- what has a file of its own ---- */

static void no_id_no_segment(void **state)
{
	struct t_content c[4];

	(void)state;
	t_open_segments(CDB_SYNC_DIR_AUTO, 8 << 20);
	t_segment_ids.none = true;
	make(c, 3, 0x100);
	commit_all(c, 3);
	read_all(c, 3);
	for (size_t i = 0; i < 3; i++) {
		assert_true(sm_id_eq(c[i].at.content, c[i].id));
		assert_true(t_exists(c[i].id));
		assert_true(sm_id_none(cdb_segment_of(&c[i].at)));
	}
	handed_over(c, 3);
	/* As soon as there is one. */
	t_segment_ids.none = false;
	make(&c[3], 1, 0x200);
	commit_all(&c[3], 1);
	assert_true(cdb_is_segment(c[3].at.content));
	assert_int_equal(cdb_segments_unsealed(t_store, NULL, 0), 1);
	handed_over(&c[3], 1);
}

static void large_ones_are_alone(void **state)
{
	static const size_t sizes[] = {64 * 1024,           64 * 1024 + 1, CDB_PIECE_BYTES,
	                               CDB_PIECE_BYTES + 1, BIG,           0};
	struct t_content c[SM_ARRAY_SIZE(sizes)];

	(void)state;
	t_open_segments(CDB_SYNC_DIR_AUTO, 8 << 20);
	for (size_t i = 0; i < SM_ARRAY_SIZE(c); i++)
		c[i] = (struct t_content){.id = {0x100 + i, 1}, .size = sizes[i]};
	commit_all(c, SM_ARRAY_SIZE(c));
	read_all(c, SM_ARRAY_SIZE(c));
	for (size_t i = 0; i < SM_ARRAY_SIZE(c); i++)
		assert_int_equal(cdb_is_segment(c[i].at.content), sizes[i] <= CDB_PIECE_BYTES);
	handed_over(c, SM_ARRAY_SIZE(c));
}

/* They wait in memory, and there is an end to that: then the next ones have files of their own, and
 * nothing is kept when all is over. */
static void memory_is_bounded(void **state)
{
	static struct t_content c[300];
	size_t in_segments = 0;

	(void)state;
	t_open_segments(CDB_SYNC_DIR_AUTO, 1 << 30);
	for (size_t i = 0; i < SM_ARRAY_SIZE(c); i++)
		c[i] = (struct t_content){.id = {0x100 + i, 1}, .size = CDB_PIECE_BYTES};
	commit_all(c, SM_ARRAY_SIZE(c));
	for (size_t i = 0; i < SM_ARRAY_SIZE(c); i++) {
		assert_int_equal(c[i].rc, 0);
		in_segments += cdb_is_segment(c[i].at.content);
	}
	assert_in_range(in_segments, 100, SM_ARRAY_SIZE(c) - 1);
	assert_int_equal(t_store->more_buffers, 0);
	read_all(c, SM_ARRAY_SIZE(c));
	handed_over(c, SM_ARRAY_SIZE(c));
}

/* With a header that came at the end: before the body, as in a file of its own. */
IN_COROUTINE(a_header_block)
{
	static const char head[] = "hhhh";
	struct sm_id id = {0x100, 1};
	struct cdb_reader *r;
	struct cdb_place at;

	t_open_segments(CDB_SYNC_DIR_AUTO, 8 << 20);
	for (int big = 0; big < 2; big++) {
		struct cdb_writer *w = cdb_write(t_store, id, 1000);

		/* Header and body together do not fit any more. */
		size_t body = CDB_PIECE_BYTES - (big ? 3 : 4);

		assert_int_equal(t_append_body(w, body, 10000), 0);
		assert_int_equal(cdb_header(w, head, 4), 0);
		assert_int_equal(cdb_commit(&w, &at), 0);
		assert_int_equal(at.size, 4 + body);
		assert_int_equal(cdb_is_segment(at.content), !big);
		assert_int_equal(cdb_read_open(t_store, at.content, at.offset, at.size, &r), 0);
		assert_int_equal(t_check_rest(r, 4, body), 0);
		assert_int_equal(cdb_read_rewind(r), 0);
		assert_int_equal(t_check_rest(r, 4, body), 0);
		cdb_read_close(&r);
		cdb_handed_over(t_store, at.content);
	}
}

/* ---- bad disks ---- */

#ifdef SM_TESTING
struct bad {
	const char *fault, *point;
	int rc;
	bool later_too; /* happens at each batch, not at the first one only */
};
static const struct bad bads[] = {
    {"cdb.open=emfile", "cdb.open", SM_E_SYS, false},
    {"cdb.open=enospc", "cdb.open", SM_E_FULL, false},
    {"cdb.write=eio", "cdb.write", SM_E_IO, true},
    {"cdb.write=enospc", "cdb.write", SM_E_FULL, true},
    {"cdb.write=short@1,cdb.write=enospc@2", "cdb.write", SM_E_FULL, true},
    {"cdb.sync=eio", "cdb.sync", SM_E_IO, true},
    {"cdb.sync=enospc", "cdb.sync", SM_E_FULL, true},
    {"cdb.syncdir=eio", "cdb.syncdir", SM_E_IO, false},
};

/* All of a batch fail alike, and say why. */
static void fail_all(const struct bad *bad, struct t_content *c, size_t n)
{
	assert_int_equal(sm_fault_arm(bad->fault), 0);
	commit_all(c, n);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(c[i].rc, bad->rc);
	/* Nobody tries again. */
	assert_int_equal(sm_fault_passes(bad->point),
	                 bad->fault[10] == 's' && bad->fault[4] == 'w' ? 2 : 1);
}

static void the_first_batch_fails(void **state)
{
	struct t_content c[20], after[20];

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(bads); i++) {
		t_open_segments(CDB_SYNC_DIR_ALWAYS, 8 << 20);
		struct sm_id first = {t_segment_ids.next | CDB_SEGMENT_BIT, 7};

		make(c, 20, 0x100);
		fail_all(&bads[i], c, 20);
		assert_false(t_exists(first));
		assert_true(t_sealed(first));
		assert_int_equal(cdb_segments_unsealed(t_store, NULL, 0), 0);
		assert_int_equal(sm_fault_arm("cdb.sync=delay:0"), 0);
		make(after, 20, 0x200);
		commit_all(after, 20);
		assert_int_equal(sm_fault_passes("cdb.sync"), 1);
		assert_false(sm_id_eq(after[0].at.content, first));
		read_all(after, 20);
		handed_over(after, 20);
		assert_int_equal(cdb_unlink(t_store, after[0].at.content), 0);
	}
}

static void a_later_batch_fails(void **state)
{
	struct t_content before[20], c[20], after[20];

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(bads); i++) {
		if (!bads[i].later_too)
			continue;
		t_open_segments(CDB_SYNC_DIR_ALWAYS, 8 << 20);
		make(before, 20, 0x100);
		commit_all(before, 20);
		struct sm_id segment = before[0].at.content;

		make(c, 20, 0x200);
		fail_all(&bads[i], c, 20);
		/* What was durable is; somebody may still be asked to take it. */
		assert_int_equal(sm_fault_arm("cdb.sync=delay:0"), 0);
		assert_true(t_exists(segment));
		read_all(before, 20);
		assert_int_equal(t_segment_ids.sealed_count, 0);
		make(after, 20, 0x300);
		commit_all(after, 20);
		assert_int_equal(sm_fault_passes("cdb.sync"), 1);
		assert_false(sm_id_eq(after[0].at.content, segment));
		assert_int_equal(head_of(&after[0]), 0);
		read_all(after, 20);
		read_all(before, 20);
		handed_over(before, 20);
		assert_true(t_sealed(segment));
		handed_over(after, 20);
		assert_int_equal(cdb_unlink(t_store, segment), 0);
		assert_int_equal(cdb_unlink(t_store, after[0].at.content), 0);
	}
}

/* A file that cannot be removed is left to who is told that it is sealed. */
static void it_cannot_be_removed(void **state)
{
	struct t_content c = {.id = {0x100, 1}, .size = 10};
	struct sm_id first = {0x5000 | CDB_SEGMENT_BIT, 7};

	(void)state;
	t_open_segments(CDB_SYNC_DIR_AUTO, 8 << 20);
	assert_int_equal(sm_fault_arm("cdb.sync=eio,cdb.unlink=eio"), 0);
	commit_all(&c, 1);
	assert_int_equal(c.rc, SM_E_IO);
	assert_true(t_exists(first));
	assert_true(t_sealed(first));
}

/* Halves of what is asked for are no error. */
static void short_writes(void **state)
{
	struct t_content c[50];

	(void)state;
	t_open_segments(CDB_SYNC_DIR_AUTO, 8 << 20);
	assert_int_equal(sm_fault_arm("cdb.write=short"), 0);
	make(c, SM_ARRAY_SIZE(c), 0x100);
	commit_all(c, SM_ARRAY_SIZE(c));
	assert_int_equal(sm_fault_arm("cdb.read=short"), 0);
	read_all(c, SM_ARRAY_SIZE(c));
	handed_over(c, SM_ARRAY_SIZE(c));
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(few_do_not_share),       TEST(many_share_a_file),    TEST(a_full_one_is_followed),
	    TEST(smaller_than_a_content), TEST(the_last_one_seals),   TEST(the_end_says_nothing),
	    TEST(no_id_no_segment),       TEST(large_ones_are_alone), TEST(a_header_block),
	    TEST(memory_is_bounded),
#ifdef SM_TESTING
	    TEST(the_first_batch_fails),  TEST(a_later_batch_fails),  TEST(it_cannot_be_removed),
	    TEST(short_writes),
#endif
	};

	return cmocka_run_group_tests(tests, t_cdb_begin, t_cdb_end);
}
