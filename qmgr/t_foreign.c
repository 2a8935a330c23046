/*
 * A queue that a later release wrote keeps qmgr from starting, whichever log tells it, and stays as
 * it is.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "libsm/loop.h"
#include "qmgr/log_batch.h"
#include "qmgr/t_store.h"

#define SEGMENT (64 * 1024)

/* A log with this one record. */
static void write_log(const char *dir, const char *name, uint16_t type, struct sm_str body)
{
	struct qm_lsn lsn = {0};
	struct qm_log_conf conf = {.name = name, .dir = dir, .segment_bytes = SEGMENT, .lsn = &lsn};
	struct qm_log *log;

	assert_int_equal(sm_loop_init(), 0);
	assert_int_equal(qm_log_open(&conf, &log), 0);
	assert_int_equal(qm_log_replay(log, NULL, NULL), 0);
	assert_int_equal(qm_log_start(log), 0);
	qm_log_append(log, type, body, NULL);
	assert_int_equal(qm_log_flush(log), 0);
	qm_log_close(&log);
	sm_loop_fini();
}

static void write_both(struct t_store *t, uint16_t ibdb, uint16_t defedb, struct sm_str body)
{
	t_store_dir(t, SEGMENT);
	write_log(t->ibdb, "ibdb", ibdb, body);
	write_log(t->defedb, "defedb", defedb, body);
}

/* The head of its first segment says a table that nobody knows yet. */
static void make_foreign(const char *dir, const char *name)
{
	struct qm_segment_info info = {
	    .segment_bytes = SEGMENT, .table = {qm_rec_own()->number + 1, 1}, .build = "smx 9"};
	uint8_t lead[QM_BLOCK];
	char path[128];
	int fd;

	snprintf(info.name, sizeof info.name, "%s", name);
	snprintf(path, sizeof path, "%s/%s.00000001", dir, name);
	assert_true((fd = open(path, O_RDWR)) >= 0);
	assert_int_equal(pread(fd, lead, sizeof lead, 0), sizeof lead);
	qm_segment_put(lead, qm_batch_epoch(lead), 1, &info);
	assert_int_equal(pwrite(fd, lead, sizeof lead, 0), sizeof lead);
	close(fd);
}

static int open_store(struct t_store *t)
{
	int err;

	assert_int_equal(sm_loop_init(), 0);
	qm_txn_table_init(&t->txns);
	t->edbc = qm_edbc_new();
	err = qm_store_open(&t->conf, &t->txns, t->edbc, &t->found, &t->st);
	t_store_close(t);
	return err;
}

static bool there(const struct t_store *t, const char *file)
{
	char path[160];

	snprintf(path, sizeof path, "%s/%s", t->dir, file);
	return access(path, F_OK) == 0;
}

static void foreign_log(void **state)
{
	static const char end[9] = "\1";
	struct t_store t;

	(void)state;
	for (int which = 0; which < 2; which++) {
		char half_made[128];

		write_both(&t, QM_REC_end, QM_REC_end, sm_str_n(end, sizeof end));
		/* Of both logs: the journal is not swept before DEFEDB was looked at. */
		snprintf(half_made, sizeof half_made, "%s/ibdb.new", t.ibdb);
		close(creat(half_made, 0600));
		make_foreign(which ? t.defedb : t.ibdb, which ? "defedb" : "ibdb");
		assert_int_equal(open_store(&t), SM_E_NOTSUP);
		assert_non_null(strstr(sm_diag(), which ? "/defedb/defedb.00000001: written in"
		                                        : "/ibdb/ibdb.00000001: written in"));
		assert_true(there(&t, "ibdb/ibdb.new"));
		t_store_rm(&t);
	}
}

/* The head says our table, or is damaged, and a record is none of ours: mail is not forgotten. */
static void foreign_record(void **state)
{
	static const char end[10] = "\1";
	static const struct {
		uint16_t ibdb, defedb;
		size_t n;
		const char *why;
	} cases[] = {
	    {77, QM_REC_end, 9, "ibdb.00000001: record 1, of type 77, does not decode"},
	    {QM_REC_end, 77, 9, "defedb.00000001: record 1, of type 77, does not decode"},
	    {1, QM_REC_end, 9, "type 1,"},
	    {QM_REC_moved, QM_REC_suspend, 10,
	     "ibdb.00000001: record 1, of type 6, does not decode"},
	    {QM_REC_end, QM_REC_end, 8, "ibdb.00000001: record 1, of type 5, does not decode"},
	};
	struct t_store t;

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(cases); i++) {
		write_both(&t, cases[i].ibdb, cases[i].defedb, sm_str_n(end, cases[i].n));
		assert_int_equal(open_store(&t), SM_E_NOTSUP);
		if (strstr(sm_diag(), cases[i].why) == NULL)
			fail_msg("\"%s\" is not in: %s", cases[i].why, sm_diag());
		t_store_rm(&t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(foreign_log),
	    cmocka_unit_test(foreign_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
