/* Contents that are read back before they are committed, and written anew under their id. */
#include "libcdb/t_cdb.h"

#include <stdio.h>

#include "libsm/fault.h"

/* Bytes of the first content, of the second; in memory, at the border, on disk. */
static const size_t sizes[] = {0, 1, 1000, 64 * 1024, 64 * 1024 + 1, BIG};

static void check_stored(struct sm_id id, struct cdb_writer *w, size_t size)
{
	struct cdb_reader *r;
	struct cdb_place at;

	assert_int_equal(cdb_commit(&w, &at), 0);
	assert_int_equal(at.size, size);
	assert_int_equal(cdb_read_open(t_store, id, at.offset, at.size, &r), 0);
	assert_int_equal(t_check_rest(r, 0, size), 0);
	cdb_read_close(&r);
	assert_int_equal(cdb_unlink(t_store, id), 0);
}

IN_COROUTINE(reread)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(sizes); i++) {
		struct sm_id id = {.counter = 100 + i, .proc = 1};
		struct cdb_writer *w = cdb_write(t_store, id, 0);
		struct cdb_reader *r;

		assert_int_equal(t_append_body(w, sizes[i], 5000), 0);
		/* As often as one likes, and the content is none the worse for it. */
		for (int again = 0; again < 2; again++) {
			assert_int_equal(cdb_reread(w, &r), 0);
			assert_int_equal(t_check_rest(r, 0, sizes[i]), 0);
			cdb_read_close(&r);
		}
		check_stored(id, w, sizes[i]);
	}
}

IN_COROUTINE(rewrite)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(sizes) * SM_ARRAY_SIZE(sizes); i++) {
		struct sm_id id = {.counter = 100 + i, .proc = 1};
		size_t first = sizes[i % SM_ARRAY_SIZE(sizes)],
		       second = sizes[i / SM_ARRAY_SIZE(sizes)];
		struct cdb_writer *w = cdb_write(t_store, id, 0), *former;
		struct cdb_reader *r;

		assert_int_equal(t_append_body(w, first, 5000), 0);
		assert_int_equal(cdb_reread(w, &r), 0);
		assert_int_equal(cdb_rewrite(&w, &former), 0);
		assert_false(t_exists(id));
		assert_int_equal(t_append_body(w, second, 7000), 0);
		/* What was there before is still to be read. */
		assert_int_equal(t_check_rest(r, 0, first), 0);
		cdb_read_close(&r);
		cdb_abort(&former);
		check_stored(id, w, second);
	}
}

IN_COROUTINE(given_up)
{
	struct sm_id id = {.counter = 7, .proc = 1};
	struct cdb_writer *w = cdb_write(t_store, id, 0), *former;

	assert_int_equal(t_append_body(w, BIG, 5000), 0);
	assert_true(t_exists(id));
	assert_int_equal(cdb_rewrite(&w, &former), 0);
	assert_int_equal(t_append_body(w, BIG, 5000), 0);
	assert_true(t_exists(id));
	cdb_abort(&w);
	cdb_abort(&former);
	assert_false(t_exists(id));
}

IN_COROUTINE(scratch)
{
	struct sm_id id = {.counter = 7, .proc = 1};
	struct cdb_writer *w = cdb_write(t_store, id, 0);

	assert_int_equal(t_append_body(w, 10, 10), 0);
	for (size_t i = 0; i < SM_ARRAY_SIZE(sizes); i++) {
		struct cdb_writer *aside = cdb_scratch(t_store, id);
		struct cdb_reader *r;

		assert_int_equal(t_append_body(aside, sizes[i], 5000), 0);
		assert_false(t_exists(id));
		assert_int_equal(cdb_reread(aside, &r), 0);
		assert_int_equal(t_check_rest(r, 0, sizes[i]), 0);
		cdb_read_close(&r);
		cdb_abort(&aside);
	}
	check_stored(id, w, 10);
}

#ifdef SM_TESTING
/* Each fault at each pass: an error, and nothing is left behind. */
IN_COROUTINE(faults)
{
	static const char *const points[] = {"cdb.open=enospc", "cdb.write=eio", "cdb.unlink=eio",
	                                     "cdb.read=eio", "cdb.sync=eio"};

	for (size_t i = 0; i < SM_ARRAY_SIZE(points) * 2; i++) {
		struct sm_id id = {.counter = 100 + i, .proc = 1};
		struct cdb_writer *w = cdb_write(t_store, id, 0), *former = NULL;
		struct cdb_reader *r = NULL;
		char plan[40];
		struct cdb_place at;
		int err;

		snprintf(plan, sizeof(plan), "%s@%zu", points[i / 2], i % 2 + 1);
		assert_int_equal(sm_fault_arm(plan), 0);
		err = t_append_body(w, BIG, 5000);
		if (err == 0)
			err = cdb_reread(w, &r);
		if (err == 0)
			err = cdb_rewrite(&w, &former);
		if (err == 0)
			err = t_append_body(w, BIG, 7000);
		if (err == 0)
			err = t_check_rest(r, 0, BIG);
		if (err == 0)
			err = cdb_commit(&w, &at);
		assert_int_equal(sm_fault_arm(NULL), 0);
		cdb_read_close(&r);
		cdb_abort(&former);
		cdb_abort(&w);
		/* There is one removal and one sync. */
		assert_int_equal(err != 0, i % 2 == 0 || (i / 2 != 2 && i / 2 != 4));
		assert_int_equal(t_exists(id), err == 0);
		assert_int_equal(cdb_unlink(t_store, id), 0);
	}
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(reread), TEST(rewrite), TEST(given_up), TEST(scratch),
#ifdef SM_TESTING
	    TEST(faults),
#endif
	};

	return cmocka_run_group_tests(tests, t_cdb_begin, t_cdb_end);
}
