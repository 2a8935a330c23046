/* The content store: written and read back, what must not be read, listed, opened. */
#include "libcdb/t_cdb.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- writing and reading back ---- */

struct round_trip {
	size_t body, piece, gap, header;
	struct sm_id id;
};

static void round_trip(void *arg)
{
	const struct round_trip *t = arg;
	struct cdb_writer *w = cdb_write(t_store, t->id, t->gap);
	struct cdb_reader *r;
	struct cdb_place at = {{0}, 1, 1};

	assert_int_equal(t_append_body(w, t->body, t->piece), 0);
	if (t->gap) {
		char *h = sm_malloc(t->gap + 1);

		memset(h, 'h', t->gap + 1);
		assert_int_equal(cdb_header(w, h, t->gap + 1), SM_E_TOOBIG);
		assert_int_equal(cdb_header(w, h, t->header), 0);
		sm_free(h);
	}
	assert_int_equal(cdb_commit(&w, &at), 0);
	assert_null(w);
	assert_int_equal(at.size, t->header + t->body);
	assert_true(t_exists(t->id));

	assert_int_equal(cdb_read_open(t_store, t->id, at.offset, at.size, &r), 0);
	assert_int_equal(t_check_rest(r, t->header, t->body), 0);
	assert_int_equal(cdb_read_rewind(r), 0);
	assert_int_equal(t_check_rest(r, t->header, t->body), 0);
	cdb_read_close(&r);
	assert_null(r);
	/* One byte more than there is. */
	assert_int_equal(cdb_read_open(t_store, t->id, at.offset, at.size + 1, &r), SM_E_CORRUPT);
	assert_null(r);
	assert_int_equal(cdb_unlink(t_store, t->id), 0);
	assert_false(t_exists(t->id));
}

static struct round_trip round_trips[] = {
    {.body = 0, .piece = 1},
    {.body = 1, .piece = 1},
    {.body = 5000, .piece = 77},
    {.body = 65535, .piece = 4096},
    {.body = 65536, .piece = 65536},
    {.body = 65537, .piece = 4096},
    {.body = 131072, .piece = 131072},
    {.body = BIG, .piece = 1000},
    {.body = BIG, .piece = BIG},
    {.body = 0, .piece = 1, .gap = 100, .header = 0},
    {.body = 0, .piece = 1, .gap = 100, .header = 100},
    {.body = 300, .piece = 100, .gap = 4096, .header = 1},
    {.body = 65536, .piece = 100, .gap = 4096, .header = 4096},
    {.body = 65537, .piece = 100, .gap = 4096, .header = 0},
    {.body = BIG, .piece = 8192, .gap = 262144, .header = 262144},
    {.body = BIG, .piece = 8192, .gap = 262144, .header = 5},
};

/* All at the same time: more than there are helpers. */
static void t_round_trip(void **state)
{
	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(round_trips); i++)
		round_trips[i].id = (struct sm_id){0x1000 + i, 3};
	t_in_coroutines(round_trip, round_trips, SM_ARRAY_SIZE(round_trips),
	                sizeof(round_trips[0]));
}

IN_COROUTINE(t_no_hole)
{
	struct cdb_place at;
	struct stat st;
	char path[128];

	/* A small content with a gap needs no hole: nothing had been written when the header came.
	 */
	struct cdb_writer *w = cdb_write(t_store, (struct sm_id){0x6B1D2, 0}, 5000);

	assert_int_equal(cdb_append(w, "body", 4), 0);
	assert_int_equal(cdb_header(w, "head", 4), 0);
	assert_int_equal(cdb_commit(&w, &at), 0);
	assert_int_equal(at.offset, 0);
	t_path_of(path, "2/S000000000006B1D200");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 8);
	assert_int_equal(st.st_mode & 07777, 0640);
}

/* Group and mode are as said whatever the umask is. */
IN_COROUTINE(t_group)
{
	struct cdb_conf conf = {.base = t_base, .gid = getegid(), .sync_dir = CDB_SYNC_DIR_AUTO};
	struct sm_id id = {1, 1};
	uint32_t offset;
	uint64_t size;
	struct stat st;
	char path[128];

	cdb_close(&t_store);
	assert_int_equal(cdb_open(&conf, &t_store), 0);
	mode_t before = umask(077);

	assert_int_equal(t_write_body(id, 100, &offset, &size), 0);
	umask(before);
	t_content_path(path, id);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_gid, conf.gid);
}

IN_COROUTINE(t_abort)
{
	static const size_t sizes[] = {0, 1, 65536, 65537, BIG};

	for (size_t i = 0; i < SM_ARRAY_SIZE(sizes); i++) {
		struct sm_id id = {0x20 + i, 0};
		struct cdb_writer *w = cdb_write(t_store, id, i % 2 ? 100 : 0);

		assert_int_equal(t_append_body(w, sizes[i], 5000), 0);
		assert_int_equal(t_exists(id), sizes[i] > 65536);
		cdb_abort(&w);
		assert_null(w);
		assert_false(t_exists(id));
		cdb_abort(&w);
	}
}

/* An id that is taken: the new one is refused, the old one stays as it is. */
IN_COROUTINE(t_taken)
{
	struct sm_id id = {0x30, 0};
	struct cdb_reader *r;
	uint32_t offset, other;
	uint64_t size;

	assert_int_equal(t_write_body(id, 500, &offset, &size), 0);
	assert_int_equal(t_write_body(id, 600, &other, &size), SM_E_EXISTS);
	assert_int_equal(t_write_body(id, BIG, &other, &size), SM_E_EXISTS);
	assert_non_null(strstr(sm_diag(), "S000000000000003000"));
	assert_int_equal(cdb_read_open(t_store, id, offset, 500, &r), 0);
	assert_int_equal(t_check_rest(r, 0, 500), 0);
	cdb_read_close(&r);
}

/* ---- what must not be read --------------------------------------------------------------------
 */

/* What people are told names the file, before or behind what is wrong with it. */
static void assert_said(const char *before, const char *path, const char *behind)
{
	char want[200];

	snprintf(want, sizeof(want), "%s%s%s", before, path, behind);
	assert_string_equal(sm_diag(), want);
}

IN_COROUTINE(t_bad_files)
{
	struct sm_id id = {0x40, 0};
	struct cdb_reader *r;
	char path[128], other[128];
	uint32_t offset;
	uint64_t size;

	t_content_path(path, id);
	t_path_of(other, "other");
	assert_int_equal(cdb_read_open(t_store, id, 0, 10, &r), SM_E_NOTFOUND);
	assert_said("open ", path, ": No such file or directory");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(cdb_read_open(t_store, id, 0, 0, &r), SM_E_CORRUPT);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0); /* comes back at once, too */
	assert_int_equal(cdb_read_open(t_store, id, 0, 0, &r), SM_E_CORRUPT);
	assert_int_equal(unlink(path), 0);

	assert_int_equal(t_write_body(id, 100, &offset, &size), 0);
	assert_int_equal(cdb_read_open(t_store, id, offset + 1, size, &r), SM_E_CORRUPT);
	assert_int_equal(cdb_read_open(t_store, id, UINT32_MAX, UINT64_MAX, &r), SM_E_CORRUPT);
	assert_int_equal(cdb_read_open(t_store, id, 10, UINT64_MAX - 5, &r), SM_E_CORRUPT); /* 4? */
	assert_int_equal(cdb_read_open(t_store, id, offset + 10, size - 10, &r), 0);
	cdb_read_close(&r);
	assert_int_equal(link(path, other), 0);
	assert_int_equal(cdb_read_open(t_store, id, offset, size, &r), SM_E_CORRUPT);
	assert_said("", path, " has not exactly one link");
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("../other", path), 0);
	assert_int_equal(cdb_read_open(t_store, id, offset, size, &r), SM_E_CORRUPT);
	assert_null(r);
	/* Neither is a link written through. */
	assert_int_equal(t_write_body(id, 100, &offset, &size), SM_E_EXISTS);
}

/* A file that is cut while it is read: an error, never a shorter content. */
IN_COROUTINE(t_cut)
{
	struct sm_id id = {0x50, 0};
	struct cdb_reader *r;
	uint32_t offset;
	uint64_t size;
	char path[128];
	const char *p;

	assert_int_equal(t_write_body(id, BIG, &offset, &size), 0);
	assert_int_equal(cdb_read_open(t_store, id, offset, size, &r), 0);
	assert_true(cdb_read(r, &p) > 0);
	t_content_path(path, id);
	assert_int_equal(truncate(path, BIG / 2), 0);
	ssize_t n;

	while ((n = cdb_read(r, &p)) > 0)
		continue;
	assert_int_equal(n, SM_E_CORRUPT);
	assert_int_equal(cdb_read(r, &p), SM_E_CORRUPT);
	cdb_read_close(&r);
}

/* ---- list, space, open ------------------------------------------------------------------------
 */

static bool count_seen(struct sm_id id, void *arg)
{
	size_t *seen = arg;

	assert_in_range(id.counter, 0x100, 0x140 - 1);
	assert_int_equal(id.proc, 9);
	return ++*seen != 1000;
}

static bool stop_at_5(struct sm_id id, void *arg)
{
	size_t *seen = arg;

	(void)id;
	return ++*seen != 5;
}

static void touch(const char *what)
{
	char path[128];

	t_path_of(path, what);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	close(fd);
}

IN_COROUTINE(t_list)
{
	size_t seen = 0, strange = 7;
	uint32_t offset;
	uint64_t size;

	assert_int_equal(cdb_list(t_store, count_seen, &seen, &strange), 0);
	assert_int_equal(seen, 0);
	assert_int_equal(strange, 0);
	for (uint64_t i = 0x100; i < 0x140; i++)
		assert_int_equal(t_write_body((struct sm_id){i, 9}, 10, &offset, &size), 0);
	touch("3/core");
	touch("4/S00000000000010509");  /* one digit short */
	touch("6/S000000000000010509"); /* an id, but not at home here */
	touch("0/.hidden");
	/* Twice, because a position must not be left over from the first time. */
	for (int i = 0; i < 2; i++) {
		seen = 0;
		assert_int_equal(cdb_list(t_store, count_seen, &seen, &strange), 0);
		assert_int_equal(seen, 0x40);
		assert_int_equal(strange, 4);
	}
	seen = 0;
	assert_int_equal(cdb_list(t_store, stop_at_5, &seen, NULL), 0);
	assert_int_equal(seen, 5);
}

IN_COROUTINE(t_unlink)
{
	struct sm_id id = {0x60, 0};
	uint32_t offset;
	uint64_t size;

	assert_int_equal(cdb_unlink(t_store, id), 0);
	assert_int_equal(t_write_body(id, 10, &offset, &size), 0);
	assert_int_equal(cdb_unlink(t_store, id), 0);
	assert_false(t_exists(id));
	assert_int_equal(cdb_unlink(t_store, id), 0);
}

static void t_space(void **state)
{
	uint64_t bytes = 0;

	(void)state;
	assert_int_equal(cdb_space(t_store, &bytes), 0);
	assert_true(bytes > 0 && bytes < UINT64_MAX);
}

static void t_open(void **state)
{
	struct cdb_conf conf = {.base = t_base, .gid = (gid_t)-1};
	struct cdb *other;
	char path[128], no_slash[128];

	(void)state;
	t_path_of(path, "A");
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(cdb_open(&conf, &other), SM_E_NOTFOUND);
	assert_null(other);
	assert_non_null(strstr(sm_diag(), path));
	/* A directory may be a link, for instance to another disk. */
	assert_int_equal(symlink("B", path), 0);
	assert_int_equal(cdb_open(&conf, &other), 0);
	cdb_close(&other);
	assert_int_equal(unlink(path), 0);
	touch("A");
	assert_int_equal(cdb_open(&conf, &other), SM_E_SYS);
	snprintf(no_slash, sizeof(no_slash), "%.*s", (int)strlen(t_base) - 1, t_base);
	conf.base = no_slash;
	assert_int_equal(cdb_open(&conf, &other), SM_E_SYNTAX);
}

/* Who may pass through the directories but not list them (mode 0771) reads contents all the same.
 */
IN_COROUTINE(t_reader_only)
{
	struct sm_id id = {0x70, 0};
	struct cdb_reader *r;
	size_t seen = 0;
	char path[128];
	uint32_t offset;
	uint64_t size;

	if (geteuid() != 0)
		return; /* root alone can become somebody else */
	assert_int_equal(t_write_body(id, 1000, &offset, &size), 0);
	t_content_path(path, id);
	assert_int_equal(chmod(path, 0644), 0);
	for (int i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), "%s%X", t_base, (unsigned)i);
		assert_int_equal(chmod(path, 0701), 0);
	}
	cdb_close(&t_store);
	assert_int_equal(seteuid(65534), 0);
	int rc = t_open_store(CDB_SYNC_DIR_AUTO);

	assert_int_equal(seteuid(0), 0);
	assert_int_equal(rc, 0);
	assert_int_equal(cdb_read_open(t_store, id, offset, size, &r), 0);
	assert_int_equal(t_check_rest(r, 0, 1000), 0);
	cdb_read_close(&r);
	assert_int_equal(cdb_space(t_store, &size), 0);
	assert_int_equal(cdb_list(t_store, stop_at_5, &seen, NULL), 0); /* root again, by name */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(t_round_trip), TEST(t_no_hole),   TEST(t_group), TEST(t_abort),
	    TEST(t_taken),      TEST(t_bad_files), TEST(t_cut),   TEST(t_list),
	    TEST(t_unlink),     TEST(t_space),     TEST(t_open),  TEST(t_reader_only),
	};

	return cmocka_run_group_tests(tests, t_cdb_begin, t_cdb_end);
}
