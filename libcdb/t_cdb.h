/* Shared by the tests of the content store, which run on the file system of the current directory,
 * with real helper threads. */
#ifndef CDB_T_CDB_H
#define CDB_T_CDB_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "libcdb/cdb.h"
#include "libsm/co.h"

#define BIG (1024 * 1024 + 3)

extern char t_base[64];
extern struct cdb *t_store;

/* A new store for each test; after it no descriptor may be left open. */
int t_cdb_setup(void **state);
int t_cdb_teardown(void **state);
int t_cdb_begin(void **state); /* of all tests: the loop and its helpers */
int t_cdb_end(void **state);

int t_count_fds(void);
void t_path_of(char out[128], const char *what); /* below the store */
void t_content_path(char out[128], struct sm_id id);
bool t_exists(struct sm_id id);
int t_open_store(enum cdb_sync_dir sync_dir);

/* With segments of so many bytes, in place of the store that is open. Ids for them are counters
 * from t_segment_ids.next on, unless there are none; which were sealed is written down. */
struct t_segment_ids {
	uint64_t next;
	bool none;
	size_t sealed_count;
	struct sm_id sealed[64];
};
extern struct t_segment_ids t_segment_ids;
void t_open_segments(enum cdb_sync_dir sync_dir, uint64_t bytes);
void t_open_paced(uint64_t bytes, unsigned pace);
bool t_sealed(struct sm_id segment); /* exactly once */

/* A content that tells whose it is at each byte. */
struct t_content {
	struct sm_id id;
	size_t size;
	struct cdb_place at;
	int rc;
};
void t_commit(void *content); /* in a coroutine; rc says how that went */
/* What is at `at` is that content, byte for byte; else an error. */
int t_read(const struct t_content *c, const struct cdb_place *at);

/* Write a body of so many bytes that tells where each belongs; read it back. */
int t_append_body(struct cdb_writer *w, size_t size, size_t piece);
int t_write_body(struct sm_id id, size_t size, uint32_t *offset, uint64_t *bytes);
/* Reads what is left; it must be `header` times 'h', then `body` bytes. */
int t_check_rest(struct cdb_reader *r, size_t header, size_t body);

/* Run `fn` as `n` coroutines, the i-th with args + i * size, until all have ended. */
void t_in_coroutines(void (*fn)(void *arg), void *args, size_t n, size_t size);

#define IN_COROUTINE(fn)                              \
	static void fn##_in(void *arg);               \
	static void fn(void **state)                  \
	{                                             \
		(void)state;                          \
		t_in_coroutines(fn##_in, NULL, 1, 0); \
	}                                             \
	static void fn##_in(SM_UNUSED void *arg)

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, t_cdb_setup, t_cdb_teardown)

#endif
