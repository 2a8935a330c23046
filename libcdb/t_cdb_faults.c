/* The content store on bad disks: what fails is said, nothing is left, nothing is tried twice. */
#include "libcdb/t_cdb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libsm/fault.h"

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

	cdb_close(&t_store);
	assert_int_equal(t_open_store(CDB_SYNC_DIR_ALWAYS), 0);
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++) {
		const char *point = t[i].fault;
		char name[32];

		snprintf(name, sizeof(name), "%.*s", (int)strcspn(point, "="), point);
		assert_int_equal(sm_fault_arm(t[i].fault), 0);
		int fds = t_count_fds();

		assert_int_equal(t_write_body(id, t[i].size, &offset, &size), t[i].rc);
		/* Nothing is left, and nothing was tried again on that file. */
		assert_false(t_exists(id));
		assert_int_equal(t_count_fds(), fds);
		uint64_t passes = sm_fault_passes(name);

		if (strcmp(name, "cdb.write") != 0)
			assert_int_equal(passes, 1);
		/* The next one is not concerned. */
		assert_int_equal(t_write_body(id, t[i].size, &offset, &size), 0);
		assert_true(t_exists(id));
		assert_int_equal(cdb_unlink(t_store, id), 0);
	}
}

/* After the first error every append says the same, and the file is gone before the abort. */
IN_COROUTINE(t_sticky)
{
	struct sm_id id = {0x90, 0};
	struct cdb_writer *w = cdb_write(t_store, id, 0);
	struct cdb_place at;

	assert_int_equal(sm_fault_arm("cdb.write=enospc@3"), 0);
	assert_int_equal(t_append_body(w, BIG, 10000), SM_E_FULL);
	assert_non_null(strstr(sm_diag(), "No space left"));
	assert_false(t_exists(id));
	assert_int_equal(cdb_append(w, "x", 1), SM_E_FULL);
	assert_int_equal(sm_fault_passes("cdb.write"), 3);
	assert_int_equal(cdb_commit(&w, &at), SM_E_FULL);
	assert_null(w);
	assert_false(t_exists(id));
}

IN_COROUTINE(t_harmless_faults)
{
	static const size_t sizes[] = {10, 65536, BIG};
	struct sm_id id = {0xA0, 0};
	struct cdb_reader *r;

	assert_int_equal(sm_fault_arm("cdb.write=short,cdb.read=short,cdb.sync=delay:5"), 0);
	for (size_t i = 0; i < SM_ARRAY_SIZE(sizes); i++) {
		struct cdb_writer *w = cdb_write(t_store, id, 100);
		struct cdb_place at;

		assert_int_equal(t_append_body(w, sizes[i], 20000), 0);
		assert_int_equal(cdb_header(w, "hhhhh", 5), 0);
		assert_int_equal(cdb_commit(&w, &at), 0);
		assert_int_equal(cdb_read_open(t_store, id, at.offset, at.size, &r), 0);
		assert_int_equal(t_check_rest(r, 5, sizes[i]), 0);
		cdb_read_close(&r);
		assert_int_equal(cdb_unlink(t_store, id), 0);
	}
}

IN_COROUTINE(t_read_faults)
{
	struct sm_id id = {0xB0, 0}, big = {0xB1, 0};
	struct cdb_reader *r;
	uint32_t offset;
	uint64_t size, big_size;

	assert_int_equal(t_write_body(id, 100, &offset, &size), 0);
	assert_int_equal(t_write_body(big, BIG, &offset, &big_size), 0);
	assert_int_equal(sm_fault_arm("cdb.open=emfile@1,cdb.read=eio@1,cdb.read=eio@4"), 0);
	assert_int_equal(cdb_read_open(t_store, id, offset, size, &r), SM_E_SYS);
	assert_int_equal(cdb_read_open(t_store, id, offset, size, &r), SM_E_IO);
	assert_null(r);
	assert_int_equal(cdb_read_open(t_store, big, offset, big_size, &r), 0);
	assert_int_equal(t_check_rest(r, 0, BIG), SM_E_IO);
	/* For a reader a second try is harmless: it is the caller's decision. */
	assert_int_equal(cdb_read_rewind(r), 0);
	assert_int_equal(t_check_rest(r, 0, BIG), 0);
	cdb_read_close(&r);
	assert_int_equal(sm_fault_arm("cdb.unlink=eio@1"), 0);
	assert_int_equal(cdb_unlink(t_store, id), SM_E_IO);
	assert_true(t_exists(id));
	assert_int_equal(cdb_unlink(t_store, id), 0);
}

/* Directories are synced where the file system asks for it, or the administrator. */
IN_COROUTINE(t_sync_dir)
{
	uint32_t offset;
	uint64_t size;

	for (int mode = CDB_SYNC_DIR_ALWAYS; mode <= CDB_SYNC_DIR_NEVER; mode++) {
		cdb_close(&t_store);
		assert_int_equal(t_open_store((enum cdb_sync_dir)mode), 0);
		assert_int_equal(sm_fault_arm("cdb.syncdir=delay:0"), 0);
		assert_int_equal(
		    t_write_body((struct sm_id){0xC0 + (uint64_t)mode, 0}, 10, &offset, &size), 0);
		assert_int_equal(sm_fault_passes("cdb.syncdir"), mode == CDB_SYNC_DIR_ALWAYS);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(t_write_faults), TEST(t_sticky),   TEST(t_harmless_faults),
	    TEST(t_read_faults),  TEST(t_sync_dir),
	};

	return cmocka_run_group_tests(tests, t_cdb_begin, t_cdb_end);
}
#else
int main(void)
{
	return 77; /* skipped: no fault points in this build */
}
#endif
