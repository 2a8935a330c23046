/*
 * Unit test of cdb.h, on the file system of the current directory, with real helper threads. Each
 * test gets a new store; after each, no descriptor may be left open.
 */
#include "libcdb/cdb.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/fault.h"
#include "libsm/loop.h"
#include "libsm/offload.h"

#define BIG (1024 * 1024 + 3)

static char base[64];
static struct cdb *store;
static int fds_before;

/* ---- surroundings --------------------------------------------------------------------------- */

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void path_of(char out[128], const char *what)
{
	snprintf(out, 128, "%s%s", base, what);
}

static void content_path(char out[128], struct sm_id id)
{
	char name[SM_ID_SIZE];

	snprintf(out, 128, "%s%c/%s", base, sm_id_text(id, name)[16], name);
}

static bool exists(struct sm_id id)
{
	char path[128];
	struct stat st;

	content_path(path, id);
	return lstat(path, &st) == 0;
}

static int open_store(enum cdb_sync_dir sync_dir)
{
	struct cdb_conf conf = {.base = base, .gid = (gid_t)-1, .sync_dir = sync_dir};

	return cdb_open(&conf, &store);
}

static int setup(void **state)
{
	char dir[] = "t_cdb.XXXXXX", path[128];

	(void)state;
	if (mkdtemp(dir) == NULL || chmod(dir, 0711) == -1)
		return -1;
	snprintf(base, sizeof(base), "%s/", dir);
	for (int i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), "%s%X", base, (unsigned)i);
		if (mkdir(path, 0771) == -1)
			return -1;
	}
	fds_before = count_fds();
	return open_store(CDB_SYNC_DIR_AUTO);
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
#ifdef SM_TESTING
	sm_fault_arm(NULL);
#endif
	cdb_close(&store);
	assert_int_equal(count_fds(), fds_before);
	snprintf(command, sizeof(command), "rm -rf %s", base);
	return system(command);
}

struct run {
	void (*fn)(void *arg);
	void *arg;
	size_t *left;
};

static void run_one(void *arg)
{
	struct run *r = arg;

	r->fn(r->arg);
	if (--*r->left == 0)
		sm_loop_stop(0);
}

/* Run `fn` as `n` coroutines, the i-th with args + i * size, until all have ended. */
static void in_coroutines(void (*fn)(void *arg), void *args, size_t n, size_t size)
{
	struct run *r = sm_calloc(n, sizeof(*r));
	size_t left = n;

	for (size_t i = 0; i < n; i++) {
		r[i] = (struct run){fn, args ? (char *)args + i * size : NULL, &left};
		assert_non_null(sm_co_spawn("test", run_one, &r[i]));
	}
	assert_int_equal(sm_loop_run(), 0);
	sm_free(r);
}

#define IN_COROUTINE(fn)                            \
	static void fn##_in(void *arg);             \
	static void fn(void **state)                \
	{                                           \
		(void)state;                        \
		in_coroutines(fn##_in, NULL, 1, 0); \
	}                                           \
	static void fn##_in(SM_UNUSED void *arg)

/* ---- writing and reading back ---------------------------------------------------------------- */

/* Byte `at` of the body of a content: no period that is one of the sizes in use. */
static char body_byte(size_t at)
{
	return (char)(at % 251 + at / 65536);
}

static int append_body(struct cdb_writer *w, size_t size, size_t piece)
{
	char *p = sm_malloc(piece);
	int rc = 0;

	for (size_t at = 0; at < size && rc == 0;) {
		size_t n = SM_MIN(piece, size - at);

		for (size_t i = 0; i < n; i++)
			p[i] = body_byte(at + i);
		rc = cdb_append(w, p, n);
		at += n;
	}
	sm_free(p);
	return rc;
}

static int write_body(struct sm_id id, size_t size, uint32_t *offset, uint64_t *bytes)
{
	struct cdb_writer *w = cdb_write(store, id, 0);
	int rc = append_body(w, size, 10000);

	if (rc != 0) {
		cdb_abort(&w);
		return rc;
	}
	return cdb_commit(&w, offset, bytes);
}

/* Reads what is left; it must be `header` times 'h', then `body` bytes. */
static int check_rest(struct cdb_reader *r, size_t header, size_t body)
{
	size_t at = 0;
	const char *p;
	ssize_t n;

	while ((n = cdb_read(r, &p)) > 0) {
		for (ssize_t i = 0; i < n; i++, at++)
			if (p[i] != (at < header ? 'h' : body_byte(at - header)))
				return SM_E_BUG;
	}
	if (n < 0)
		return (int)n;
	return at == header + body ? 0 : SM_E_BUG;
}

struct round_trip {
	size_t body, piece, gap, header;
	struct sm_id id;
};

static void round_trip(void *arg)
{
	const struct round_trip *t = arg;
	struct cdb_writer *w = cdb_write(store, t->id, t->gap);
	struct cdb_reader *r;
	uint32_t offset = 1;
	uint64_t size = 1;

	assert_int_equal(append_body(w, t->body, t->piece), 0);
	if (t->gap) {
		char *h = sm_malloc(t->gap + 1);

		memset(h, 'h', t->gap + 1);
		assert_int_equal(cdb_header(w, h, t->gap + 1), SM_E_TOOBIG);
		assert_int_equal(cdb_header(w, h, t->header), 0);
		sm_free(h);
	}
	assert_int_equal(cdb_commit(&w, &offset, &size), 0);
	assert_null(w);
	assert_int_equal(size, t->header + t->body);
	assert_true(exists(t->id));

	assert_int_equal(cdb_read_open(store, t->id, offset, size, &r), 0);
	assert_int_equal(check_rest(r, t->header, t->body), 0);
	assert_int_equal(cdb_read_rewind(r), 0);
	assert_int_equal(check_rest(r, t->header, t->body), 0);
	cdb_read_close(&r);
	assert_null(r);
	/* One byte more than there is. */
	assert_int_equal(cdb_read_open(store, t->id, offset, size + 1, &r), SM_E_CORRUPT);
	assert_null(r);
	assert_int_equal(cdb_unlink(store, t->id), 0);
	assert_false(exists(t->id));
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
	in_coroutines(round_trip, round_trips, SM_ARRAY_SIZE(round_trips), sizeof(round_trips[0]));
}

IN_COROUTINE(t_no_hole)
{
	uint32_t offset;
	uint64_t size;
	struct stat st;
	char path[128];

	/* A small content with a gap needs no hole: nothing had been written when the header came.
	 */
	struct cdb_writer *w = cdb_write(store, (struct sm_id){0x6B1D2, 0}, 5000);

	assert_int_equal(cdb_append(w, "body", 4), 0);
	assert_int_equal(cdb_header(w, "head", 4), 0);
	assert_int_equal(cdb_commit(&w, &offset, &size), 0);
	assert_int_equal(offset, 0);
	path_of(path, "2/S000000000006B1D200");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 8);
	assert_int_equal(st.st_mode & 07777, 0640);
}

/* Group and mode are as said whatever the umask is. */
IN_COROUTINE(t_group)
{
	struct cdb_conf conf = {.base = base, .gid = getegid(), .sync_dir = CDB_SYNC_DIR_AUTO};
	struct sm_id id = {1, 1};
	uint32_t offset;
	uint64_t size;
	struct stat st;
	char path[128];

	cdb_close(&store);
	assert_int_equal(cdb_open(&conf, &store), 0);
	mode_t before = umask(077);

	assert_int_equal(write_body(id, 100, &offset, &size), 0);
	umask(before);
	content_path(path, id);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(st.st_gid, conf.gid);
}

IN_COROUTINE(t_abort)
{
	static const size_t sizes[] = {0, 1, 65536, 65537, BIG};

	for (size_t i = 0; i < SM_ARRAY_SIZE(sizes); i++) {
		struct sm_id id = {0x20 + i, 0};
		struct cdb_writer *w = cdb_write(store, id, i % 2 ? 100 : 0);

		assert_int_equal(append_body(w, sizes[i], 5000), 0);
		assert_int_equal(exists(id), sizes[i] > 65536);
		cdb_abort(&w);
		assert_null(w);
		assert_false(exists(id));
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

	assert_int_equal(write_body(id, 500, &offset, &size), 0);
	assert_int_equal(write_body(id, 600, &other, &size), SM_E_EXISTS);
	assert_int_equal(write_body(id, BIG, &other, &size), SM_E_EXISTS);
	assert_non_null(strstr(sm_diag(), "S000000000000003000"));
	assert_int_equal(cdb_read_open(store, id, offset, 500, &r), 0);
	assert_int_equal(check_rest(r, 0, 500), 0);
	cdb_read_close(&r);
}

/* ---- what must not be read --------------------------------------------------------------------
 */

IN_COROUTINE(t_bad_files)
{
	struct sm_id id = {0x40, 0};
	struct cdb_reader *r;
	char path[128], other[128];
	uint32_t offset;
	uint64_t size;

	content_path(path, id);
	path_of(other, "other");
	assert_int_equal(cdb_read_open(store, id, 0, 10, &r), SM_E_NOTFOUND);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(cdb_read_open(store, id, 0, 0, &r), SM_E_CORRUPT);
	assert_int_equal(rmdir(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0); /* comes back at once, too */
	assert_int_equal(cdb_read_open(store, id, 0, 0, &r), SM_E_CORRUPT);
	assert_int_equal(unlink(path), 0);

	assert_int_equal(write_body(id, 100, &offset, &size), 0);
	assert_int_equal(cdb_read_open(store, id, offset + 1, size, &r), SM_E_CORRUPT);
	assert_int_equal(cdb_read_open(store, id, UINT32_MAX, UINT64_MAX, &r), SM_E_CORRUPT);
	assert_int_equal(cdb_read_open(store, id, 10, UINT64_MAX - 5, &r), SM_E_CORRUPT); /* 4? */
	assert_int_equal(cdb_read_open(store, id, offset + 10, size - 10, &r), 0);
	cdb_read_close(&r);
	assert_int_equal(link(path, other), 0);
	assert_int_equal(cdb_read_open(store, id, offset, size, &r), SM_E_CORRUPT);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("../other", path), 0);
	assert_int_equal(cdb_read_open(store, id, offset, size, &r), SM_E_CORRUPT);
	assert_null(r);
	/* Neither is a link written through. */
	assert_int_equal(write_body(id, 100, &offset, &size), SM_E_EXISTS);
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

	assert_int_equal(write_body(id, BIG, &offset, &size), 0);
	assert_int_equal(cdb_read_open(store, id, offset, size, &r), 0);
	assert_true(cdb_read(r, &p) > 0);
	content_path(path, id);
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

	path_of(path, what);
	int fd = open(path, O_WRONLY | O_CREAT, 0600);

	assert_true(fd >= 0);
	close(fd);
}

IN_COROUTINE(t_list)
{
	size_t seen = 0, strange = 7;
	uint32_t offset;
	uint64_t size;

	assert_int_equal(cdb_list(store, count_seen, &seen, &strange), 0);
	assert_int_equal(seen, 0);
	assert_int_equal(strange, 0);
	for (uint64_t i = 0x100; i < 0x140; i++)
		assert_int_equal(write_body((struct sm_id){i, 9}, 10, &offset, &size), 0);
	touch("3/core");
	touch("4/S00000000000010509");  /* one digit short */
	touch("6/S000000000000010509"); /* an id, but not at home here */
	touch("0/.hidden");
	/* Twice, because a position must not be left over from the first time. */
	for (int i = 0; i < 2; i++) {
		seen = 0;
		assert_int_equal(cdb_list(store, count_seen, &seen, &strange), 0);
		assert_int_equal(seen, 0x40);
		assert_int_equal(strange, 4);
	}
	seen = 0;
	assert_int_equal(cdb_list(store, stop_at_5, &seen, NULL), 0);
	assert_int_equal(seen, 5);
}

IN_COROUTINE(t_unlink)
{
	struct sm_id id = {0x60, 0};
	uint32_t offset;
	uint64_t size;

	assert_int_equal(cdb_unlink(store, id), 0);
	assert_int_equal(write_body(id, 10, &offset, &size), 0);
	assert_int_equal(cdb_unlink(store, id), 0);
	assert_false(exists(id));
	assert_int_equal(cdb_unlink(store, id), 0);
}

static void t_space(void **state)
{
	uint64_t bytes = 0;

	(void)state;
	assert_int_equal(cdb_space(store, &bytes), 0);
	assert_true(bytes > 0 && bytes < UINT64_MAX);
}

static void t_open(void **state)
{
	struct cdb_conf conf = {.base = base, .gid = (gid_t)-1};
	struct cdb *other;
	char path[128], no_slash[128];

	(void)state;
	path_of(path, "A");
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
	snprintf(no_slash, sizeof(no_slash), "%.*s", (int)strlen(base) - 1, base);
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
	assert_int_equal(write_body(id, 1000, &offset, &size), 0);
	content_path(path, id);
	assert_int_equal(chmod(path, 0644), 0);
	for (int i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), "%s%X", base, (unsigned)i);
		assert_int_equal(chmod(path, 0701), 0);
	}
	cdb_close(&store);
	assert_int_equal(seteuid(65534), 0);
	int rc = open_store(CDB_SYNC_DIR_AUTO);

	assert_int_equal(seteuid(0), 0);
	assert_int_equal(rc, 0);
	assert_int_equal(cdb_read_open(store, id, offset, size, &r), 0);
	assert_int_equal(check_rest(r, 0, 1000), 0);
	cdb_read_close(&r);
	assert_int_equal(cdb_space(store, &size), 0);
	assert_int_equal(cdb_list(store, stop_at_5, &seen, NULL), 0); /* root again, by name */
}

/* ---- bad disks ------------------------------------------------------------------------------- */

#ifdef SM_TESTING
IN_COROUTINE(t_write_faults)
{
	static const struct {
		const char *fault;
		size_t size;
		int rc;
	} t[] = {
	    {"cdb.open=emfile@1", 10, SM_E_SYS},
	    {"cdb.open=enospc@1", BIG, SM_E_FULL},
	    {"cdb.open=erofs@1", 10, SM_E_DENIED},
	    {"cdb.write=enospc@1", 10, SM_E_FULL},
	    {"cdb.write=eio@1", 10, SM_E_IO},
	    {"cdb.write=eio@1", BIG, SM_E_IO},
	    {"cdb.write=enospc@2", BIG, SM_E_FULL},
	    {"cdb.write=enospc@17", BIG, SM_E_FULL}, /* the last one */
	    {"cdb.write=short@1,cdb.write=enospc@2", 10, SM_E_FULL},
	    {"cdb.sync=eio@1", 10, SM_E_IO},
	    {"cdb.sync=eio@1", BIG, SM_E_IO},
	    {"cdb.sync=enospc@1", 10, SM_E_FULL},
	    {"cdb.syncdir=eio@1", 10, SM_E_IO},
	    {"cdb.close=eio@1", 10, SM_E_IO},
	    {"cdb.close=fail@1", BIG, SM_E_IO},
	};
	struct sm_id id = {0x80, 0};
	uint32_t offset;
	uint64_t size;

	cdb_close(&store);
	assert_int_equal(open_store(CDB_SYNC_DIR_ALWAYS), 0);
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		const char *point = t[i].fault;
		char name[32];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(point, "="), point);
		assert_int_equal(sm_fault_arm(t[i].fault), 0);
		int fds = count_fds();

		assert_int_equal(write_body(id, t[i].size, &offset, &size), t[i].rc);
		/* Nothing is left, and nothing was tried again on that file. */
		assert_false(exists(id));
		assert_int_equal(count_fds(), fds);
		uint64_t passes = sm_fault_passes(name);

		if (strcmp(name, "cdb.write") != 0)
			assert_int_equal(passes, 1);
		/* The next one is not concerned. */
		assert_int_equal(write_body(id, t[i].size, &offset, &size), 0);
		assert_true(exists(id));
		assert_int_equal(cdb_unlink(store, id), 0);
	}
}

/* After the first error every append says the same, and the file is gone before the abort. */
IN_COROUTINE(t_sticky)
{
	struct sm_id id = {0x90, 0};
	struct cdb_writer *w = cdb_write(store, id, 0);
	uint32_t offset;
	uint64_t size;

	assert_int_equal(sm_fault_arm("cdb.write=enospc@3"), 0);
	assert_int_equal(append_body(w, BIG, 10000), SM_E_FULL);
	assert_non_null(strstr(sm_diag(), "No space left"));
	assert_false(exists(id));
	assert_int_equal(cdb_append(w, "x", 1), SM_E_FULL);
	assert_int_equal(sm_fault_passes("cdb.write"), 3);
	assert_int_equal(cdb_commit(&w, &offset, &size), SM_E_FULL);
	assert_null(w);
	assert_false(exists(id));
}

IN_COROUTINE(t_harmless_faults)
{
	static const size_t sizes[] = {10, 65536, BIG};
	struct sm_id id = {0xA0, 0};
	struct cdb_reader *r;

	assert_int_equal(sm_fault_arm("cdb.write=short,cdb.read=short,cdb.sync=delay:5"), 0);
	for (size_t i = 0; i < SM_ARRAY_SIZE(sizes); i++) {
		struct cdb_writer *w = cdb_write(store, id, 100);
		uint32_t offset;
		uint64_t size;

		assert_int_equal(append_body(w, sizes[i], 20000), 0);
		assert_int_equal(cdb_header(w, "hhhhh", 5), 0);
		assert_int_equal(cdb_commit(&w, &offset, &size), 0);
		assert_int_equal(cdb_read_open(store, id, offset, size, &r), 0);
		assert_int_equal(check_rest(r, 5, sizes[i]), 0);
		cdb_read_close(&r);
		assert_int_equal(cdb_unlink(store, id), 0);
	}
}

IN_COROUTINE(t_read_faults)
{
	struct sm_id id = {0xB0, 0}, big = {0xB1, 0};
	struct cdb_reader *r;
	uint32_t offset;
	uint64_t size, big_size;

	assert_int_equal(write_body(id, 100, &offset, &size), 0);
	assert_int_equal(write_body(big, BIG, &offset, &big_size), 0);
	assert_int_equal(sm_fault_arm("cdb.open=emfile@1,cdb.read=eio@1,cdb.read=eio@4"), 0);
	assert_int_equal(cdb_read_open(store, id, offset, size, &r), SM_E_SYS);
	assert_int_equal(cdb_read_open(store, id, offset, size, &r), SM_E_IO);
	assert_null(r);
	assert_int_equal(cdb_read_open(store, big, offset, big_size, &r), 0);
	assert_int_equal(check_rest(r, 0, BIG), SM_E_IO);
	/* For a reader a second try is harmless: it is the caller's decision. */
	assert_int_equal(cdb_read_rewind(r), 0);
	assert_int_equal(check_rest(r, 0, BIG), 0);
	cdb_read_close(&r);
	assert_int_equal(sm_fault_arm("cdb.unlink=eio@1"), 0);
	assert_int_equal(cdb_unlink(store, id), SM_E_IO);
	assert_true(exists(id));
	assert_int_equal(cdb_unlink(store, id), 0);
}

/* Directories are synced where the file system asks for it, or the administrator. */
IN_COROUTINE(t_sync_dir)
{
	uint32_t offset;
	uint64_t size;

	for (int mode = CDB_SYNC_DIR_ALWAYS; mode <= CDB_SYNC_DIR_NEVER; mode++) {
		cdb_close(&store);
		assert_int_equal(open_store((enum cdb_sync_dir)mode), 0);
		assert_int_equal(sm_fault_arm("cdb.syncdir=delay:0"), 0);
		assert_int_equal(
		    write_body((struct sm_id){0xC0 + (uint64_t)mode, 0}, 10, &offset, &size), 0);
		assert_int_equal(sm_fault_passes("cdb.syncdir"), mode == CDB_SYNC_DIR_ALWAYS);
	}
}
#endif

static int group_setup(void **state)
{
	(void)state;
	return sm_loop_init() != 0 || sm_offload_init(4) != 0;
}

static int group_teardown(void **state)
{
	(void)state;
	sm_offload_fini();
	sm_co_cleanup();
	sm_loop_fini();
	return 0;
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(t_round_trip),   TEST(t_no_hole),  TEST(t_group),
	    TEST(t_abort),        TEST(t_taken),    TEST(t_bad_files),
	    TEST(t_cut),          TEST(t_list),     TEST(t_unlink),
	    TEST(t_space),        TEST(t_open),     TEST(t_reader_only),
#ifdef SM_TESTING
	    TEST(t_write_faults), TEST(t_sticky),   TEST(t_harmless_faults),
	    TEST(t_read_faults),  TEST(t_sync_dir),
#endif
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
