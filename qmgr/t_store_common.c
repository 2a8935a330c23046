/* Shared by the tests of the store, see t_store.h. */
#include "qmgr/t_store.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "libsm/loop.h"
#include "libsm/t_dir.h"
#include "libsm/t_patience.h"
#include "libsm/time.h"

void t_store_dir(struct t_store *t, uint32_t segment_bytes)
{
	*t = (struct t_store){0};
	snprintf(t->dir, sizeof(t->dir), "t_store.XXXXXX");
	sm_assert(mkdtemp(t->dir) != NULL);
	snprintf(t->ibdb, sizeof(t->ibdb), "%s/ibdb", t->dir);
	snprintf(t->defedb, sizeof(t->defedb), "%s/defedb", t->dir);
	sm_assert(mkdir(t->ibdb, 0700) == 0 && mkdir(t->defedb, 0700) == 0);
	t->conf.ibdb = (struct qm_conf_log){.base_directory = sm_str(t->ibdb),
	                                    .log_directory = SM_STR(""),
	                                    .size_bytes = segment_bytes};
	t->conf.defedb = (struct qm_conf_log){.base_directory = sm_str(t->defedb),
	                                      .log_directory = SM_STR(""),
	                                      .size_bytes = segment_bytes};
}

void t_store_rm(struct t_store *t)
{
	t_remove_all(t->dir);
}

void t_store_open(struct t_store *t)
{
	sm_assert(sm_loop_init() == 0);
	qm_txn_table_init(&t->txns);
	t->edbc = qm_edbc_new();
	t->settled = false;
	if (qm_store_open(&t->conf, &t->txns, t->edbc, &t->found, &t->st) != 0) {
		fprintf(stderr, "open: %s\n", sm_diag());
		abort();
	}
}

static void on_settled(void *arg)
{
	struct t_store *t = arg;

	t->settled = true;
}

static bool is_settled(struct t_store *t)
{
	return t->settled;
}

void t_store_settle(struct t_store *t)
{
	qm_store_settled(t->st, on_settled, t);
	t_until(is_settled, t);
}

void t_store_close(struct t_store *t)
{
	qm_store_close(&t->st);
	qm_edbc_free(&t->edbc);
	qm_txn_table_fini(&t->txns);
	sm_free(t->found.ended);
	sm_loop_fini();
}

static bool (*stop_when)(struct t_store *t);

static bool look(void *arg)
{
	if (stop_when(arg))
		sm_loop_stop(0);
	return false;
}

static void again(void *arg)
{
	struct sm_timer *tick = arg;

	sm_timer_set(tick, sm_now_ms() + 5, again, tick);
}

static void too_late(void *arg)
{
	(void)arg;
	sm_loop_stop(1);
}

void t_until(bool (*until)(struct t_store *t), struct t_store *t)
{
	struct sm_hook hook = {0};
	struct sm_timer end = {0}, tick = {0};

	stop_when = until;
	sm_loop_before_sleep(&hook, look, t);
	sm_timer_set(&end, sm_now_ms() + T_PATIENCE_MS, too_late, NULL);
	again(&tick); /* some conditions are changed by threads that ring no bell */
	if (sm_loop_run() != 0) {
		fprintf(stderr, "what was waited for did not come\n");
		abort();
	}
	sm_timer_cancel(&tick);
	sm_timer_cancel(&end);
	sm_hook_remove(&hook);
}

static bool nothing_pending(struct t_store *t)
{
	return qm_store_pending(t->st) == 0;
}

void t_flush(struct t_store *t)
{
	t_until(nothing_pending, t);
	/* The bell may have rung already but not been heard. */
	for (int i = 0; i < 2; i++) {
		struct sm_timer end = {0};

		sm_timer_set(&end, sm_now_ms() + 2, too_late, NULL);
		(void)sm_loop_run();
	}
}

void t_crash(void (*fn)(void *arg, char *out), void *arg, char *out)
{
	int fd[2], status;
	size_t n = 0;
	ssize_t r;
	pid_t pid;

	sm_assert(pipe(fd) == 0);
	fflush(NULL);
	pid = fork();
	sm_assert(pid >= 0);
	if (pid == 0) {
		char *text = sm_calloc(1, T_OUT_MAX);
		size_t len, at = 0;

		close(fd[0]);
		fn(arg, text);
		len = strlen(text);
		while (at < len && (r = write(fd[1], text + at, len - at)) > 0)
			at += (size_t)r;
		_exit(0);
	}
	close(fd[1]);
	while (n < T_OUT_MAX - 1 && (r = read(fd[0], out + n, T_OUT_MAX - 1 - n)) > 0)
		n += (size_t)r;
	out[n] = '\0';
	close(fd[0]);
	sm_assert(waitpid(pid, &status, 0) == pid);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "the child ended with status %x\n", (unsigned)status);
		abort();
	}
}

struct line {
	struct sm_id id;
	char text[4100];
};

static int line_cmp(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	return x->id.counter < y->id.counter ? -1 : x->id.counter > y->id.counter;
}

static const char *owed(uint8_t rec_state)
{
	return rec_state == QM_REC_FAILED      ? "F"
	       : rec_state == QM_REC_DELIVERED ? "D"
	       : rec_state == QM_REC_RELAYED   ? "R"
	       : rec_state == QM_REC_EXPANDED  ? "E"
	                                       : "";
}

void t_known(struct t_store *t, char *out)
{
	struct line *v = sm_calloc(qm_edbc_count(t->edbc) + 1, sizeof(*v));
	const struct qm_edbc_entry *e;
	uint64_t cursor = 0;
	size_t n = 0, at = 0;
	struct sm_buf body;
	struct sm_arena a;

	sm_buf_init(&body, QM_LOG_RECORD_MAX);
	sm_arena_init(&a, "known", 4096, 16 * QM_LOG_RECORD_MAX);
	while ((e = qm_edbc_walk(t->edbc, &cursor)) != NULL) {
		struct line *l = &v[n++];
		struct qm_rec_txn rec;
		size_t p;

		sm_arena_reset(&a);
		if (qm_store_decode_at(qm_store_defedb(t->st), qm_edbc_loc(e), &body, &a, &rec) !=
		    0) {
			fprintf(stderr, "decode: %s\n", sm_diag());
			abort();
		}
		sm_assert(sm_id_eq(rec.ta, qm_edbc_id(e)) && rec.rcpts_count == qm_edbc_rcpts(e) &&
		          rec.rcpts_count > 0);
		l->id = rec.ta;
		p = (size_t)snprintf(l->text, sizeof(l->text), "%llu[",
		                     (unsigned long long)rec.ta.counter);
		for (uint32_t i = 0; i < rec.rcpts_count; i++)
			p += (size_t)snprintf(l->text + p, sizeof(l->text) - p, "%s%u%s%s",
			                      i ? "," : "", rec.rcpts[i].index,
			                      owed(rec.rcpts[i].state),
			                      rec.rcpts[i].flags & QM_RCPT_DELAY_TOLD ? "w" : "");
		for (uint32_t i = 0; i < rec.cursors_count; i++)
			p += (size_t)snprintf(l->text + p, sizeof(l->text) - p, ",%u>%.*s",
			                      rec.cursors[i].index, (int)rec.cursors[i].after.n,
			                      rec.cursors[i].after.p);
		snprintf(l->text + p, sizeof(l->text) - p, "]%s",
		         qm_content_known(&t->txns.contents, rec.ta) ? "+" : "");
	}
	qsort(v, n, sizeof(*v), line_cmp);
	for (size_t i = 0; i < n; i++)
		at += (size_t)snprintf(out + at, T_OUT_MAX - at, "%s%s", i ? " " : "", v[i].text);
	sm_assert(at < T_OUT_MAX);
	sm_arena_fini(&a);
	sm_buf_fini(&body);
	sm_free(v);
}
