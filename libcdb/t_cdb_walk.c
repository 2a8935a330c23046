/* What a segment holds, found from its heads alone: whole, damaged, with parts that were cleared.
 */
#include "libcdb/t_cdb.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "libcdb/cdb_int.h"

/* Together, and in a batch of its own; at the border of what fits into a block. */
static const size_t sizes[] = {1000, 0, 4000, 4064, 1, CDB_PIECE_BYTES};
#define COUNT SM_ARRAY_SIZE(sizes)
#define FIRST 100

static uint64_t next_id;
static struct cdb_place placed[COUNT];
static struct sm_id seen[COUNT + 1];
static size_t seen_count;
static size_t most = SIZE_MAX;

static bool new_id(void *arg SM_UNUSED, struct sm_id *id)
{
	*id = (struct sm_id){.counter = next_id++, .proc = 1};
	return true;
}

static void sealed(void *arg SM_UNUSED, struct sm_id segment SM_UNUSED)
{
}

static struct sm_id id_of(size_t i)
{
	return (struct sm_id){.counter = FIRST + i, .proc = 1};
}

static void write_one(void *arg)
{
	size_t i = *(size_t *)arg;
	struct cdb_writer *w = cdb_write(t_store, id_of(i), 0);

	assert_int_equal(t_append_body(w, sizes[i], 10000), 0);
	assert_int_equal(cdb_commit(&w, &placed[i]), 0);
	cdb_handed_over(t_store, placed[i].content);
}

/* All of them in one segment; the first half in one batch, the others one by one. */
static void fill(void)
{
	size_t n[COUNT];
	struct cdb_conf conf = {.base = t_base,
	                        .gid = (gid_t)-1,
	                        .segment_bytes = 1024 * 1024,
	                        .new_id = new_id,
	                        .sealed = sealed};

	next_id = 7;
	cdb_close(&t_store);
	assert_int_equal(cdb_open(&conf, &t_store), 0);
	for (size_t i = 0; i < COUNT; i++)
		n[i] = i;
	t_in_coroutines(write_one, n, COUNT / 2, sizeof(*n));
	for (size_t i = COUNT / 2; i < COUNT; i++)
		t_in_coroutines(write_one, &n[i], 1, 0);
	for (size_t i = 0; i < COUNT; i++)
		assert_true(sm_id_eq(placed[i].content, placed[0].content));
}

static bool see(struct sm_id id, const struct cdb_place *at, void *arg SM_UNUSED)
{
	size_t i = (size_t)(id.counter - FIRST);

	assert_true(i < COUNT && seen_count < COUNT);
	assert_int_equal(at->offset, placed[i].offset);
	assert_int_equal(at->size, placed[i].size);
	seen[seen_count++] = id;
	return seen_count < most;
}

/* Those whose bit is set in `want`, each once; and whether something was damaged. */
static void check_walk(unsigned want, bool is_damaged)
{
	unsigned got = 0;
	uint64_t damaged;

	seen_count = 0;
	assert_int_equal(cdb_entries(t_store, placed[0].content, see, NULL, &damaged), 0);
	assert_int_equal(damaged > 0, is_damaged);
	for (size_t i = 0; i < seen_count; i++) {
		assert_true(i == 0 || placed[seen[i].counter - FIRST].offset >
		                          placed[seen[i - 1].counter - FIRST].offset);
		got |= 1U << (seen[i].counter - FIRST);
	}
	assert_int_equal(got, want);
}

static void check_seen(unsigned want)
{
	check_walk(want, false);
}

static void put(const char *p, size_t n, off_t at)
{
	char path[128];
	int fd;

	t_content_path(path, placed[0].content);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	assert_true(fd != -1);
	assert_int_equal(pwrite(fd, p, n, at), n);
	close(fd);
}

/* Is it there, and the bytes that were written? */
static int opens(size_t i)
{
	static char got[CDB_PIECE_BYTES + 1], want[CDB_PIECE_BYTES + 1];
	int fd, rc = cdb_entry_open(t_store, id_of(i), &placed[i], &fd);

	if (rc != 0)
		return rc;
	assert_int_equal(pread(fd, got, sizes[i], placed[i].offset), sizes[i]);
	close(fd);
	for (size_t k = 0; k < sizes[i]; k++)
		want[k] = (char)(k % 251 + k / 65536);
	assert_memory_equal(got, want, sizes[i]);
	return 0;
}

#define ALL ((1U << COUNT) - 1)

static void all_are_found(void **state)
{
	uint64_t damaged;

	(void)state;
	fill();
	check_seen(ALL);
	for (size_t i = 0; i < COUNT; i++)
		assert_int_equal(opens(i), 0);
	most = 2;
	seen_count = 0;
	assert_int_equal(cdb_entries(t_store, placed[0].content, see, NULL, &damaged), 0);
	assert_int_equal(seen_count, 2);
	most = SIZE_MAX;
}

static void damage_is_stepped_over(void **state)
{
	(void)state;
	fill();
	put("x", 1, placed[2].offset - CDB_ENTRY_BYTES + 9);
	check_walk(ALL & ~(1U << 2), true);
	assert_int_equal(opens(2), SM_E_CORRUPT);
	put("\377", 1, placed[0].offset + 500); /* its head is sound */
	check_walk(ALL & ~(1U << 2), true);
	assert_int_equal(opens(0), SM_E_CORRUPT);
	assert_int_equal(opens(1), 0);
	assert_int_equal(opens(3), 0);
}

/* The end was never written: what is not all there is not there. */
static void a_short_file(void **state)
{
	char path[128];

	(void)state;
	fill();
	t_content_path(path, placed[0].content);
	assert_int_equal(truncate(path, (off_t)(placed[COUNT - 1].offset + sizes[COUNT - 1] - 1)),
	                 0);
	check_walk(ALL & ~(1U << (COUNT - 1)), true);
	assert_int_equal(opens(COUNT - 1), SM_E_CORRUPT);
	assert_int_equal(truncate(path, (off_t)(placed[COUNT - 1].offset - 1)), 0);
	check_walk(ALL & ~(1U << (COUNT - 1)), true);
	assert_int_equal(opens(COUNT - 1), SM_E_CORRUPT);
	assert_int_equal(truncate(path, 0), 0);
	check_seen(0);
}

static void what_is_cleared_is_room(void **state)
{
	unsigned left = ALL;

	(void)state;
	fill();
	for (size_t i = 0; i < COUNT; i++) {
		left &= ~(1U << i);
		assert_int_equal(cdb_entry_clear(t_store, id_of(i), &placed[i]), 0);
		check_seen(left);
		assert_int_equal(opens(i), SM_E_CORRUPT);
		assert_int_equal(cdb_entry_clear(t_store, id_of(i), &placed[i]), SM_E_CORRUPT);
		for (size_t k = i + 1; k < COUNT; k++)
			assert_int_equal(opens(k), 0);
	}
}

/* Nothing of others can be had, or cleared, by a wrong place or id. */
static void places_are_checked(void **state)
{
	struct cdb_place at;
	uint64_t damaged;
	int fd;

	(void)state;
	fill();
	assert_int_equal(cdb_entry_open(t_store, id_of(1), &placed[0], &fd), SM_E_CORRUPT);
	for (int i = 0; i < 4; i++) {
		at = placed[0];
		at.offset += i == 0 ? CDB_ENTRY_ALIGN : i == 1 ? UINT32_MAX - at.offset : 0;
		at.offset = i == 2 ? 0 : at.offset;
		at.size += i == 3;
		assert_int_equal(cdb_entry_open(t_store, id_of(0), &at, &fd), SM_E_CORRUPT);
		assert_int_equal(cdb_entry_clear(t_store, id_of(0), &at), SM_E_CORRUPT);
	}
	check_seen(ALL);
	at.content.counter++;
	assert_int_equal(cdb_entries(t_store, at.content, see, NULL, &damaged), SM_E_NOTFOUND);
	assert_int_equal(cdb_entry_open(t_store, id_of(0), &at, &fd), SM_E_NOTFOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(all_are_found),           TEST(damage_is_stepped_over), TEST(a_short_file),
	    TEST(what_is_cleared_is_room), TEST(places_are_checked),
	};

	return cmocka_run_group_tests(tests, t_cdb_begin, t_cdb_end);
}
