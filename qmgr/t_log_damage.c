/* Replay of damaged, cut, lost and half-written logs, and of one whose writer was killed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "libsm/fault.h"
#include "libsm/loop.h"
#include "libsm/rand.h"
#include "qmgr/log_batch.h"
#include "qmgr/t_log.h"

#define KILL_ROUNDS 25

/* `n` records, each in a batch of its own. */
static void write_batches(struct t_log *t, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		t_log_wait(t, t_log_put(t, 600).lsn, 30000);
}

static void write_three_segments(struct t_log *t)
{
	t_log_start(t);
	do
		write_batches(t, 1);
	while (t->wrote.v[t->wrote.n - 1].loc.seq < 3);
	t_log_stop(t);
}

static void flip(const struct t_log *t, uint32_t seq, size_t at)
{
	char path[128];
	size_t n;

	t_path(t, seq, path);
	uint8_t *p = t_slurp(path, &n);
	assert_true(at < n);
	p[at] ^= 0x10;
	t_spill(path, p, n);
	sm_free(p);
}

static uint64_t hurt;
static bool is_hurt(const struct t_rec *r)
{
	return r->lsn == hurt;
}

/* Load: all but that record is there, which was a batch of two blocks, and it is said where. */
static void hurt_is_named(struct t_log *t, struct qm_loc loc)
{
	assert_int_equal(t_log_load(t), 0);
	t_log_same(t, is_hurt);
	assert_int_equal(t->damages, 1);
	assert_int_equal(t->damage[0].seq, loc.seq);
	assert_int_equal(t->damage[0].offset, loc.block * QM_BLOCK);
	assert_int_equal(t->damage[0].length, 1024);
}

static void quarantine(void **state)
{
	struct t_log t;
	char path[192];
	size_t n;

	(void)state;
	t_log_init(&t, SMALL);
	t_log_start(&t);
	write_batches(&t, 10);
	t_log_stop(&t);
	struct t_rec r = t.wrote.v[4];
	hurt = r.lsn;
	flip(&t, 1, r.loc.block * QM_BLOCK + r.loc.at + 300);
	for (unsigned again = 0; again < 2; again++) { /* as long as the segment is there */
		hurt_is_named(&t, r.loc);
		snprintf(path, sizeof path, "%s/quarantine.00000001.%u", t.dir,
		         r.loc.block * QM_BLOCK);
		assert_string_equal(t.damage_file[0], path + strlen(t.dir) + 1);
		uint8_t *p = t_slurp(path, &n), body[600];
		assert_int_equal(n, 1024);
		t_body(r.lsn, body, 600);
		body[300 - QM_RECORD_HEADER] ^= 0x10;
		assert_memory_equal(p + r.loc.at + QM_RECORD_HEADER, body, 600);
		sm_free(p);
		t_log_stop(&t);
	}
	t_log_fini(&t);
}

/* What looks like a torn tail, though the next segment proves that there was more. */
static void damaged_tail_of_full_segment(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	write_three_segments(&t);
	size_t i = 0;
	while (t.wrote.v[i + 1].loc.seq == 1)
		i++;
	hurt = t.wrote.v[i].lsn;
	flip(&t, 1, t.wrote.v[i].loc.block * QM_BLOCK + 100);
	hurt_is_named(&t, t.wrote.v[i].loc);
	assert_int_equal(t_files(&t, "quarantine."), 1);
	t_log_fini(&t);
}

/* The first batch of a segment is the one that tells of the segment before; without it nothing is
 * made up. */
static void damaged_first_batch(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	write_three_segments(&t);
	for (size_t i = 0; i < t.wrote.n; i++) {
		if (t.wrote.v[i].loc.block != 1)
			continue;
		hurt = t.wrote.v[i].lsn;
		flip(&t, t.wrote.v[i].loc.seq, QM_BLOCK + 60);
		hurt_is_named(&t, t.wrote.v[i].loc);
		t_log_stop(&t);
		flip(&t, t.wrote.v[i].loc.seq, QM_BLOCK + 60);
	}
	t_log_fini(&t);
}

static bool in_second(const struct t_rec *r)
{
	return r->loc.seq == 2;
}

static void missing_segment(void **state)
{
	struct t_log t;
	char path[128];

	(void)state;
	t_log_init(&t, SMALL);
	write_three_segments(&t);
	t_path(&t, 2, path);
	assert_int_equal(unlink(path), 0);
	t_log_start(&t);
	t_log_same(&t, in_second);
	assert_int_equal(t.damages, 1);
	assert_int_equal(t.damage[0].seq, 2);
	assert_int_equal(t.damage[0].length, 0);
	t_log_stop(&t);
	/* Emptied instead of removed. */
	assert_int_equal(t_log_load(&t), 0);
	t_log_stop(&t);
	t_spill(path, (const uint8_t *)"", 0);
	assert_int_equal(t_log_load(&t), 0);
	t_log_same(&t, in_second);
	assert_int_equal(t.damages, 1);
	assert_int_equal(t.damage[0].seq, 2);
	t_log_fini(&t);
}

static void torn_tail_is_normal(void **state)
{
	struct t_log t;
	char path[128];
	size_t n;

	(void)state;
	t_log_init(&t, SMALL);
	t_log_start(&t);
	write_batches(&t, 5);
	t_log_stop(&t);
	struct t_rec last = t.wrote.v[4];
	t_path(&t, 1, path);
	uint8_t *p = t_slurp(path, &n);
	/* Half of the last batch, and no end batch. */
	memset(p + last.loc.block * QM_BLOCK + 512, 0, n - last.loc.block * QM_BLOCK - 512);
	t_spill(path, p, n);
	sm_free(p);
	hurt = last.lsn;
	t_log_start(&t);
	t_log_same(&t, is_hurt);
	assert_int_equal(t.damages, 0);
	assert_int_equal(t.torn, 1);
	/* A later run goes on behind it, in a segment of its own. */
	t.wrote.n--;
	write_batches(&t, 3);
	assert_true(t.wrote.v[4].loc.seq > 1);
	t_log_stop(&t);
	assert_int_equal(t_log_load(&t), 0);
	t_log_same(&t, NULL);
	assert_int_equal(t.damages, 0);
	assert_int_equal(t_files(&t, "quarantine."), 0);
	t_log_fini(&t);
}

/* Half-made files and strangers in the directory. */
static void strangers(void **state)
{
	struct t_log t;
	char path[192];
	static const char *const names[] = {"ibdb.new",       "ibdb.0000000g",   "ibdb.00000000",
	                                    "ibdb.000000001", "defedb.00000001", "core",
	                                    "ibdb."};

	(void)state;
	t_log_init(&t, SMALL);
	t_log_start(&t);
	write_batches(&t, 2);
	t_log_stop(&t);
	for (size_t i = 0; i < SM_ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof path, "%s/%s", t.dir, names[i]);
		t_spill(path, (const uint8_t *)"rubbish", 7);
	}
	assert_int_equal(t_log_load(&t), 0);
	t_log_same(&t, NULL);
	assert_int_equal(t.damages, 0);
	snprintf(path, sizeof path, "%s/ibdb.new", t.dir);
	assert_int_not_equal(access(path, F_OK), 0);
	t_log_fini(&t);
}

#ifdef SM_TESTING
/* Damage that cannot be set aside keeps the log from starting: its segment would be recycled. */
static void no_place_for_quarantine(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, SMALL);
	t_log_start(&t);
	write_batches(&t, 5);
	t_log_stop(&t);
	flip(&t, 1, t.wrote.v[2].loc.block * QM_BLOCK + 100);
	assert_int_equal(sm_fault_arm("ibdb.prepare=enospc"), 0);
	assert_int_equal(t_log_load(&t), SM_E_FULL);
	assert_int_equal(t_files(&t, "quarantine."), 0);
	assert_int_equal(sm_fault_arm(NULL), 0);
	t_log_fini(&t);
}
#endif

/* ---- kill -9 ---- */

static int report_fd;

static void tell_parent(void *arg, struct qm_log *log, uint64_t lsn)
{
	(void)arg, (void)log;
	if (write(report_fd, &lsn, sizeof lsn) != sizeof lsn)
		_exit(3);
}

struct writer {
	struct t_log *t;
	struct qm_loc ring[64]; /* the last ones are held */
	unsigned n;
};

static bool append_some(void *arg)
{
	struct writer *w = arg;
	unsigned burst = (unsigned)sm_rand_below(20);

	if (w->t->failures > 0)
		_exit(6);
	if (qm_log_pending_bytes(w->t->log) > 512 * 1024)
		return false;
	for (unsigned i = 0; i < burst; i++) {
		struct qm_loc *slot = &w->ring[w->n++ % 64];
		struct t_rec r = t_log_put(w->t, (uint32_t)sm_rand_below(3000));
		if (w->n > 64)
			qm_log_drop(w->t->log, *slot, r.lsn);
		qm_log_hold(w->t->log, r.loc);
		*slot = r.loc;
		w->t->wrote.n = 0;
	}
	return true;
}

static void child(struct t_log *t, unsigned round)
{
	struct writer w = {.t = t};
	struct sm_hook hook = {0};

	sm_loop_fini();
	if (sm_loop_init() != 0)
		_exit(2);
	t->loose = true;
	t->conf.on_durable = tell_parent;
	sm_rand_seed(round);
	if (t_log_load(t) != 0 || qm_log_start(t->log) != 0)
		_exit(4);
	qm_log_old_done(t->log, UINT32_MAX, 0);
	sm_loop_before_sleep(&hook, append_some, &w);
	sm_loop_run();
	_exit(5);
}

/*
 * A child writes without end, holding the last 64 records, and tells how far it is durable; killed
 * at a random moment, all it told of in the last 64 must be there, without holes, with the right
 * bytes. (The page cache survives a kill: this is about order and completeness.)
 */
static void killed_writer(void **state)
{
	struct t_log t;

	(void)state;
	t_log_init(&t, 256 * 1024);
	for (unsigned round = 0; round < KILL_ROUNDS; round++) {
		int fd[2], status;
		uint64_t lsn, durable = 0;
		assert_int_equal(pipe(fd), 0);
		uint64_t before = SM_MAX(t.lsn.next, (uint64_t)1);
		pid_t pid = fork();
		if (pid == 0) {
			close(fd[0]);
			report_fd = fd[1];
			child(&t, round);
		}
		close(fd[1]);
		unsigned reports = (unsigned)(round * 7) % 90;
		for (unsigned i = 0; i <= reports; i++)
			assert_int_equal(read(fd[0], &lsn, sizeof lsn), sizeof lsn);
		usleep((round * 977) % 3000);
		kill(pid, SIGKILL);
		durable = lsn;
		while (read(fd[0], &lsn, sizeof lsn) == sizeof lsn)
			durable = lsn;
		close(fd[0]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);

		assert_int_equal(t_log_load(&t), 0);
		assert_int_equal(t.damages, 0);
		assert_true(t.found.n > 0);
		const struct t_rec *last = &t.found.v[t.found.n - 1];
		assert_true(last->lsn >= durable);
		assert_true(durable >= before);
		for (size_t i = 1; i < t.found.n && t.found.v[t.found.n - i].lsn > before; i++)
			assert_int_equal(t.found.v[t.found.n - i - 1].lsn + 1,
			                 t.found.v[t.found.n - i].lsn);
		/* Nothing was freed but what the child had dropped and settled by something that is
		 * there. */
		uint64_t first = t.found.v[0].lsn;
		assert_true(first <= before || first + 63 <= last->lsn);
		t_log_stop(&t);
	}
	t_log_fini(&t);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, t_log_setup, t_log_teardown)
	const struct CMUnitTest tests[] = {
	    TEST(quarantine),
	    TEST(damaged_tail_of_full_segment),
	    TEST(damaged_first_batch),
	    TEST(missing_segment),
	    TEST(torn_tail_is_normal),
	    TEST(strangers),
#ifdef SM_TESTING
	    TEST(no_place_for_quarantine),
#endif
	    TEST(killed_writer),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
