/*
 * Writes a log for the test of qdump: t_qdump_write directory rounds [bad|later]. Each round has
 * one record of each type; with `bad` comes one at the end that cannot be decoded. Then it holds
 * the log until its input ends. With `later` its first segment then says that a later release wrote
 * it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "libsm/loop.h"
#include "qmgr/log_batch.h"

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, sm_diag());
	exit(1);
}

static void append_samples(struct qm_log *log, uint64_t seed)
{
	const struct sm_def_info *info;
	struct sm_arena a;
	struct sm_buf b;
	size_t n;

	sm_arena_init(&a, "sample", 4096, (size_t)16 * QM_LOG_RECORD_MAX);
	sm_buf_init(&b, QM_LOG_RECORD_MAX);
	info = qm_rec_table(&n);
	for (size_t i = 0; i < n; i++) {
		void *m = sm_calloc(1, info[i].size);
		struct qm_loc loc;

		sm_arena_reset(&a);
		sm_buf_reset(&b);
		info[i].sample(seed + i, &a, m);
		info[i].encode(&b, m);
		if (sm_buf_err(&b) == 0 && b.len <= qm_log_record_max(log)) {
			qm_log_append(log, info[i].type, sm_buf_view(&b), &loc);
			qm_log_hold(log, loc);
		}
		sm_free(m);
	}
	sm_buf_fini(&b);
	sm_arena_fini(&a);
}

static void say_later(const char *dir)
{
	struct qm_segment_info info = {.name = "ibdb",
	                               .table = {qm_rec_own()->number + 1, 0xfeedfacecafebeef},
	                               .build = "smx 9.1.4"};
	uint8_t lead[QM_BLOCK];
	char path[512];
	FILE *f;

	snprintf(path, sizeof path, "%s/ibdb.00000001", dir);
	if ((f = fopen(path, "r+")) == NULL || fread(lead, 1, sizeof lead, f) != sizeof lead)
		die(path);
	qm_segment_put(lead, qm_batch_epoch(lead), 1, &info);
	rewind(f);
	if (fwrite(lead, 1, sizeof lead, f) != sizeof lead || fclose(f) != 0)
		die(path);
}

int main(int argc, char **argv)
{
	struct qm_lsn lsn = {0};
	struct qm_log *log;
	char byte;

	if (argc < 3)
		return 64;
	struct qm_log_conf conf = {
	    .name = "ibdb", .dir = argv[1], .segment_bytes = 2 * 1024 * 1024, .lsn = &lsn};
	if (sm_loop_init() != 0)
		die("loop");
	if (qm_log_open(&conf, &log) != 0 || qm_log_replay(log, NULL, NULL) != 0 ||
	    qm_log_start(log) != 0)
		die(argv[1]);
	for (int i = 0; i < atoi(argv[2]); i++)
		append_samples(log, (uint64_t)i);
	if (argc > 3 && strcmp(argv[3], "bad") == 0)
		qm_log_append(log, QM_REC_end, SM_STR("no id at all"), NULL);
	if (qm_log_flush(log) != 0)
		die("flush");
	puts("ready");
	fflush(stdout);
	while (read(0, &byte, 1) > 0)
		;
	qm_log_close(&log);
	sm_loop_fini();
	if (argc > 3 && strcmp(argv[3], "later") == 0)
		say_later(argv[1]);
	return 0;
}
