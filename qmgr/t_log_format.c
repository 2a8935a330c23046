/*
 * Segments that another release wrote: former ones are read, others keep the log closed and stay as
 * they are, and no damage passes for one of these.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/t_log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include "libsm/loop.h"
#include "qmgr/log_batch.h"

#define SMALL   (64 * 1024)
#define LEAD    (QM_BATCH_HEADER + QM_SEGMENT_INFO_BYTES)
#define RECORDS 5

static int setup(void **state)
{
	(void)state;
	return sm_loop_init();
}

static int teardown(void **state)
{
	(void)state;
	sm_loop_fini();
	return 0;
}

/* A closed log with one segment, and its bytes. */
struct site {
	struct t_log t;
	char path[128];
	uint8_t *p;
	size_t n;
	struct qm_log_segment told; /* by on_segment, of the last one with records */
	char build[64];
};

static void on_segment(void *arg, struct qm_log *log, const struct qm_log_segment *s)
{
	struct site *w = SM_CONTAINER_OF(arg, struct site, t);

	(void)log;
	if (s->records == 0)
		return;
	w->told = *s;
	snprintf(w->build, sizeof w->build, "%s", s->build);
}

static void site_init(struct site *w)
{
	memset(w, 0, sizeof *w);
	t_log_init(&w->t, SMALL);
	t_log_start(&w->t);
	for (unsigned i = 0; i < RECORDS; i++)
		t_log_put(&w->t, 300);
	t_log_stop(&w->t);
	w->t.conf.on_segment = on_segment;
	t_path(&w->t, 1, w->path);
	w->p = t_slurp(w->path, &w->n);
}

static void site_fini(struct site *w)
{
	sm_free(w->p);
	t_log_fini(&w->t);
}

/* What another program would have written at its head. */
static void put_lead(struct site *w, uint16_t format, struct qm_rec_version table,
                     const char *build)
{
	struct qm_segment_info info = {
	    .segment_bytes = SMALL, .name = "ibdb", .format = format, .table = table};

	snprintf(info.build, sizeof info.build, "%s", build);
	qm_segment_put(w->p, qm_batch_epoch(w->p), 1, &info);
	t_spill(w->path, w->p, w->n);
}

/* All batches but the leading one in another format; its records have their checksums. */
static void put_batches(struct site *w, uint16_t format)
{
	struct qm_batch b;
	uint16_t version;

	for (size_t at = QM_BLOCK; at < w->n; at += QM_BLOCK) {
		if (qm_batch_check(w->p + at, w->n - at, 1, 0, &b, &version) != 0)
			continue;
		b.version = format;
		qm_batch_seal(w->p + at, &b);
	}
}

static void is_read(struct site *w)
{
	assert_int_equal(t_log_load(&w->t), 0);
	t_log_same(&w->t, NULL);
	assert_int_equal(w->t.damages, 0);
	t_log_stop(&w->t);
}

/* Refused, in words that name all of `words`; nothing on the disk has changed. */
static void is_refused(struct site *w, const char *const *words)
{
	unsigned files = t_files(&w->t, "");
	uint8_t *now;
	size_t n;

	for (unsigned tool = 0; tool < 2; tool++) {
		struct qm_log_conf conf = w->t.conf;
		struct qm_log *log;

		conf.read_only = tool == 1;
		assert_int_equal(qm_log_open(&conf, &log), SM_E_NOTSUP);
		assert_null(log);
		for (size_t i = 0; words && words[i]; i++)
			if (strstr(sm_diag(), words[i]) == NULL)
				fail_msg("\"%s\" is not in: %s", words[i], sm_diag());
	}
	assert_int_equal(t_files(&w->t, ""), files);
	now = t_slurp(w->path, &n);
	assert_int_equal(n, w->n);
	assert_memory_equal(now, w->p, n);
	sm_free(now);
}

static void own(void **state)
{
	struct site w;

	(void)state;
	site_init(&w);
	is_read(&w);
	assert_int_equal(w.told.format, QM_BATCH_VERSION);
	assert_int_equal(w.told.table, qm_rec_own()->number);
	assert_true(w.told.table_hash == qm_rec_table_hash());
	assert_string_equal(w.build, PACKAGE_STRING);
	site_fini(&w);
}

static void former_format(void **state)
{
	struct site w;

	(void)state;
	site_init(&w);
	put_batches(&w, 2);
	put_lead(&w, 2, (struct qm_rec_version){0, 0}, "");
	assert_int_equal(w.p[36], 48 + 32); /* the length it had */
	is_read(&w);
	assert_int_equal(w.told.format, 2);
	assert_int_equal(w.told.table, 0);
	assert_string_equal(w.build, "");
	/* What follows is written in our own. */
	t_log_start(&w.t);
	t_log_put(&w.t, 10);
	t_log_stop(&w.t);
	is_read(&w);
	assert_int_equal(w.told.format, QM_BATCH_VERSION);
	site_fini(&w);
}

static void former_tables(void **state)
{
	const struct qm_rec_version *v;
	struct site w;
	size_t n;

	(void)state;
	site_init(&w);
	v = qm_rec_versions(&n);
	for (size_t i = 0; i < n; i++) {
		put_lead(&w, QM_BATCH_VERSION, v[i], "smx 0.0.1");
		is_read(&w);
		assert_int_equal(w.told.table, v[i].number);
		assert_string_equal(w.build, "smx 0.0.1");
	}
	site_fini(&w);
}

static void later_table(void **state)
{
	const struct qm_rec_version later = {qm_rec_own()->number + 1, 0x0123456789abcdef};
	char own_hash[32], half_made[128];
	struct site w;

	(void)state;
	site_init(&w);
	snprintf(own_hash, sizeof own_hash, "(%016llx)", (unsigned long long)qm_rec_table_hash());
	/* Not even this is swept away. */
	snprintf(half_made, sizeof half_made, "%s/ibdb.new", w.t.dir);
	t_spill(half_made, w.p, 10);
	put_lead(&w, QM_BATCH_VERSION, later, "smx 9.1.4");
	is_refused(&w, (const char *const[]){w.path, "(0123456789abcdef)", "smx 9.1.4", own_hash,
	                                     "this program has format 3", NULL});
	site_fini(&w);
}

static void same_number_other_table(void **state)
{
	struct qm_rec_version other = *qm_rec_own();
	struct site w;

	(void)state;
	site_init(&w);
	other.hash++;
	put_lead(&w, QM_BATCH_VERSION, other, "smx 0.1.0");
	is_refused(&w, NULL);
	site_fini(&w);
}

static void later_format(void **state)
{
	struct site w;

	(void)state;
	site_init(&w);
	put_batches(&w, 9);
	put_lead(&w, 9, *qm_rec_own(), "smx 9.1.4\n");
	is_refused(&w, (const char *const[]){w.path, "log format 9 with record table ",
	                                     "by smx 9.1.4?;", NULL});
	site_fini(&w);
}

/* One that is much later may have changed all but the first fields. */
static void strange_format(void **state)
{
	struct qm_batch b = {.version = 77, .kind = 42, .epoch = 1, .seq = 1, .length = 50};
	struct site w;

	(void)state;
	site_init(&w);
	memset(w.p, 0, QM_BLOCK);
	qm_batch_seal(w.p, &b);
	t_spill(w.path, w.p, w.n);
	is_refused(&w, (const char *const[]){"log format 77 by another release;", NULL});
	site_fini(&w);
}

/* The one that is refused need not be the first, nor in the home. */
static void any_segment(void **state)
{
	const struct qm_rec_version later = {99, 1};
	struct site w;

	(void)state;
	site_init(&w);
	t_log_start(&w.t);
	t_log_put(&w.t, 10);
	t_log_stop(&w.t);
	snprintf(w.t.log_dir, sizeof w.t.log_dir, "%s/logs", w.t.dir);
	assert_int_equal(mkdir(w.t.log_dir, 0700), 0);
	t_log_start(&w.t);
	t_log_put(&w.t, 10);
	t_log_stop(&w.t);
	snprintf(w.path, sizeof w.path, "%s/ibdb.%08x", w.t.log_dir, 3);
	sm_free(w.p);
	w.p = t_slurp(w.path, &w.n);

	struct qm_segment_info info = {
	    .segment_bytes = SMALL, .name = "ibdb", .table = later, .build = "smx 9"};
	qm_segment_put(w.p, qm_batch_epoch(w.p), 3, &info);
	t_spill(w.path, w.p, w.n);
	is_refused(&w, (const char *const[]){w.path, "record table 99 ", NULL});
	site_fini(&w);
}

/* Each bit of our own head: damage, and all records are read. */
static void flipped_head(void **state)
{
	struct site w;

	(void)state;
	site_init(&w);
	for (unsigned bit = 0; bit < 8 * LEAD; bit++) {
		w.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
		t_spill(w.path, w.p, w.n);
		w.t.conf.read_only = true;
		assert_int_equal(t_log_load(&w.t), 0);
		t_log_same(&w.t, NULL);
		assert_int_equal(w.told.format, 0);
		t_log_stop(&w.t);
		w.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	site_fini(&w);
}

/* Each bit of the head of another format: the other batches tell it. */
static void flipped_head_of_a_later_one(void **state)
{
	struct site w;

	(void)state;
	site_init(&w);
	put_batches(&w, 9);
	put_lead(&w, 9, *qm_rec_own(), "smx 9");
	for (unsigned bit = 0; bit < 8 * LEAD; bit++) {
		w.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
		t_spill(w.path, w.p, w.n);
		is_refused(&w, (const char *const[]){"log format 9 by another release;", NULL});
		w.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	site_fini(&w);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(own),
	    TEST(former_format),
	    TEST(former_tables),
	    TEST(later_table),
	    TEST(same_number_other_table),
	    TEST(later_format),
	    TEST(strange_format),
	    TEST(any_segment),
	    TEST(flipped_head),
	    TEST(flipped_head_of_a_later_one),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
