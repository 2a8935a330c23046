/* Shared by the tests of the content store, see t_cdb.h. */
#include "libcdb/t_cdb.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/fault.h"
#include "libsm/loop.h"
#include "libsm/offload.h"

char t_base[64];
struct cdb *t_store;
static int fds_before;

int t_count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

void t_path_of(char out[128], const char *what)
{
	snprintf(out, 128, "%s%s", t_base, what);
}

void t_content_path(char out[128], struct sm_id id)
{
	char name[SM_ID_SIZE];

	snprintf(out, 128, "%s%c/%s", t_base, sm_id_text(id, name)[16], name);
}

bool t_exists(struct sm_id id)
{
	char path[128];
	struct stat st;

	t_content_path(path, id);
	return lstat(path, &st) == 0;
}

int t_open_store(enum cdb_sync_dir sync_dir)
{
	struct cdb_conf conf = {.base = t_base, .gid = (gid_t)-1, .sync_dir = sync_dir};

	return cdb_open(&conf, &t_store);
}

struct t_segment_ids t_segment_ids;

static bool new_segment_id(void *arg, struct sm_id *id)
{
	(void)arg;
	*id = (struct sm_id){t_segment_ids.next++, 7};
	return !t_segment_ids.none;
}

static void segment_sealed(void *arg, struct sm_id segment)
{
	(void)arg;
	assert_true(t_segment_ids.sealed_count < SM_ARRAY_SIZE(t_segment_ids.sealed));
	t_segment_ids.sealed[t_segment_ids.sealed_count++] = segment;
}

static void open_segments(enum cdb_sync_dir sync_dir, uint64_t bytes, unsigned pace)
{
	struct cdb_conf conf = {.base = t_base,
	                        .gid = (gid_t)-1,
	                        .sync_dir = sync_dir,
	                        .segment_bytes = bytes,
	                        .segment_pace = pace,
	                        .new_id = new_segment_id,
	                        .sealed = segment_sealed};

	t_segment_ids = (struct t_segment_ids){.next = 0x5000};
	cdb_close(&t_store);
	assert_int_equal(cdb_open(&conf, &t_store), 0);
}

void t_open_segments(enum cdb_sync_dir sync_dir, uint64_t bytes)
{
	open_segments(sync_dir, bytes, 0);
}

void t_open_paced(uint64_t bytes, unsigned pace)
{
	open_segments(CDB_SYNC_DIR_AUTO, bytes, pace);
}

bool t_sealed(struct sm_id segment)
{
	size_t n = 0;

	for (size_t i = 0; i < t_segment_ids.sealed_count; i++)
		n += sm_id_eq(t_segment_ids.sealed[i], segment);
	return n == 1;
}

int t_cdb_setup(void **state)
{
	char dir[] = "t_cdb.XXXXXX", path[128];

	(void)state;
	if (mkdtemp(dir) == NULL || chmod(dir, 0711) == -1)
		return -1;
	snprintf(t_base, sizeof(t_base), "%s/", dir);
	for (int i = 0; i < 16; i++) {
		snprintf(path, sizeof(path), "%s%X", t_base, (unsigned)i);
		if (mkdir(path, 0771) == -1)
			return -1;
	}
	fds_before = t_count_fds();
	return t_open_store(CDB_SYNC_DIR_AUTO);
}

int t_cdb_teardown(void **state)
{
	char command[128];

	(void)state;
#ifdef SM_TESTING
	sm_fault_arm(NULL);
#endif
	cdb_close(&t_store);
	assert_int_equal(t_count_fds(), fds_before);
	snprintf(command, sizeof(command), "rm -rf %s", t_base);
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
void t_in_coroutines(void (*fn)(void *arg), void *args, size_t n, size_t size)
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

/* Byte `at` of the body of a content: no period that is one of the sizes in use. */
static char body_byte(size_t at)
{
	return (char)(at % 251 + at / 65536);
}

int t_append_body(struct cdb_writer *w, size_t size, size_t piece)
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

int t_write_body(struct sm_id id, size_t size, uint32_t *offset, uint64_t *bytes)
{
	struct cdb_writer *w = cdb_write(t_store, id, 0);
	struct cdb_place at = {0};
	int rc = t_append_body(w, size, 10000);

	if (rc != 0) {
		cdb_abort(&w);
		return rc;
	}
	rc = cdb_commit(&w, &at);
	*offset = at.offset;
	*bytes = at.size;
	return rc;
}

/* Reads what is left; it must be `header` times 'h', then `body` bytes. */
int t_check_rest(struct cdb_reader *r, size_t header, size_t body)
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

static char content_byte(const struct t_content *c, size_t at)
{
	return (char)(c->id.counter * 7 + c->size + at % 251 + at / 4096);
}

void t_commit(void *content)
{
	struct t_content *c = content;
	struct cdb_writer *w = cdb_write(t_store, c->id, 0);
	char *p = sm_malloc(c->size + 1);

	for (size_t i = 0; i < c->size; i++)
		p[i] = content_byte(c, i);
	c->at = (struct cdb_place){0};
	c->rc = cdb_append(w, p, c->size);
	sm_free(p);
	if (c->rc == 0)
		c->rc = cdb_commit(&w, &c->at);
	else
		cdb_abort(&w);
}

int t_read(const struct t_content *c, const struct cdb_place *at)
{
	struct cdb_reader *r;
	const char *p;
	size_t done = 0;
	ssize_t n;
	int rc = cdb_read_open(t_store, at->content, at->offset, at->size, &r);

	if (rc != 0)
		return rc;
	while (rc == 0 && (n = cdb_read(r, &p)) != 0) {
		if (n < 0)
			rc = (int)n;
		for (ssize_t i = 0; i < n && rc == 0; i++, done++)
			if (done >= c->size || p[i] != content_byte(c, done))
				rc = SM_E_BUG;
	}
	cdb_read_close(&r);
	return rc != 0 ? rc : done == c->size ? 0 : SM_E_BUG;
}

int t_cdb_begin(void **state)
{
	(void)state;
	return sm_loop_init() != 0 || sm_offload_init(4) != 0;
}

int t_cdb_end(void **state)
{
	(void)state;
	sm_offload_fini();
	sm_co_cleanup();
	sm_loop_fini();
	return 0;
}
