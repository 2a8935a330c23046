/* Shared by the tests of the record log, see t_log.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "qmgr/t_log.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "libsm/crc32c.h"
#include "libsm/fault.h"
#include "libsm/loop.h"
#include "libsm/rand.h"
#include "libsm/t_dir.h"

static void add(struct t_recs *r, struct t_rec rec)
{
	if (r->n == r->cap) {
		r->cap = r->cap ? r->cap * 2 : 64;
		r->v = sm_realloc(r->v, r->cap, sizeof *r->v);
	}
	r->v[r->n++] = rec;
}

static void on_durable(void *arg, struct qm_log *log, uint64_t lsn)
{
	struct t_log *t = arg;

	assert_true(lsn > t->told);
	assert_true(lsn <= qm_log_durable(log));
	t->told = lsn;
	t->turns++;
}

static void on_failure(void *arg, struct qm_log *log, int err, const char *diag)
{
	struct t_log *t = arg;

	(void)log;
	assert_true(diag[0] != '\0');
	t->failed = err;
	t->failures++;
}

static void on_low_space(void *arg, struct qm_log *log, bool low, const char *diag)
{
	struct t_log *t = arg;

	(void)log, (void)diag;
	assert_int_not_equal(low, t->low);
	t->low = low;
	t->lows++;
}

static void on_damage(void *arg, struct qm_log *log, const struct qm_log_damage *d)
{
	struct t_log *t = arg;

	(void)log;
	if (t->damages < 8) {
		t->damage[t->damages] = *d;
		snprintf(t->damage_file[t->damages], sizeof t->damage_file[0], "%s", d->file);
	}
	t->damages++;
}

static void on_segment(void *arg, struct qm_log *log, const struct qm_log_segment *s)
{
	struct t_log *t = arg;

	(void)log;
	t->torn += s->torn;
	t->closed += s->closed;
	t->segments++;
}

void t_log_init(struct t_log *t, uint32_t segment_bytes)
{
	*t = (struct t_log){0};
	snprintf(t->dir, sizeof t->dir, "t_log.XXXXXX");
	assert_non_null(mkdtemp(t->dir));
	snprintf(t->log_dir, sizeof t->log_dir, "%s", t->dir);
	t->conf = (struct qm_log_conf){.name = "ibdb",
	                               .dir = t->dir,
	                               .log_dir = t->log_dir,
	                               .segment_bytes = segment_bytes,
	                               .spare_segments = 2,
	                               .lsn = &t->lsn,
	                               .arg = t,
	                               .on_durable = on_durable,
	                               .on_failure = on_failure,
	                               .on_low_space = on_low_space,
	                               .on_damage = on_damage,
	                               .on_segment = on_segment};
}

void t_log_fini(struct t_log *t)
{
	qm_log_close(&t->log);
	sm_free(t->wrote.v);
	sm_free(t->found.v);
	t_remove_all(t->dir);
}

void t_body(uint64_t lsn, uint8_t *p, uint32_t size)
{
	uint64_t x = lsn * 0x9e3779b97f4a7c15u + size;

	for (uint32_t i = 0; i < size; i++) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		p[i] = (uint8_t)x;
	}
}

static int found_record(void *arg, uint64_t lsn, struct qm_loc loc, uint16_t type,
                        struct sm_str body)
{
	struct t_log *t = arg;

	add(&t->found, (struct t_rec){.lsn = lsn,
	                              .loc = loc,
	                              .type = type,
	                              .size = (uint32_t)body.n,
	                              .crc = sm_crc32c(0, body.p, body.n)});
	return 0;
}

int t_log_load(struct t_log *t)
{
	int rc = qm_log_open(&t->conf, &t->log);

	t->found.n = 0;
	t->damages = t->torn = t->closed = t->segments = 0;
	t->told = t->turns = t->failures = t->lows = 0;
	t->failed = 0;
	t->low = false;
	return rc ? rc : qm_log_replay(t->log, found_record, t);
}

void t_log_start(struct t_log *t)
{
	assert_int_equal(t_log_load(t), 0);
	assert_int_equal(qm_log_start(t->log), 0);
}

void t_log_stop(struct t_log *t)
{
	qm_log_close(&t->log);
	assert_null(t->log);
}

struct t_rec t_log_put(struct t_log *t, uint32_t size)
{
	uint8_t *p = sm_malloc(size + 1);
	struct t_rec r = {.lsn = t->lsn.next, .size = size};

	r.type = (uint16_t)(r.lsn % 1000);
	t_body(r.lsn, p, size);
	r.crc = sm_crc32c(0, p, size);
	assert_int_equal(qm_log_append(t->log, r.type, sm_str_n(p, size), &r.loc), r.lsn);
	if (!t->loose)
		qm_log_hold(t->log, r.loc);
	add(&t->wrote, r);
	sm_free(p);
	return r;
}

static bool (*stop_when)(void *arg);
static void *stop_arg;

static bool maybe_stop(void *arg)
{
	(void)arg;
	if (stop_when(stop_arg))
		sm_loop_stop(0);
	return false;
}

static void too_late(void *arg)
{
	(void)arg;
	sm_loop_stop(1);
}

void t_turns(bool (*until)(void *arg), void *arg, int ms)
{
	struct sm_hook hook = {0};
	struct sm_timer end = {0};

	stop_when = until;
	stop_arg = arg;
	sm_loop_before_sleep(&hook, maybe_stop, NULL);
	sm_timer_set(&end, sm_now_ms() + ms, too_late, NULL);
	sm_loop_run();
	sm_timer_cancel(&end);
	sm_hook_remove(&hook);
}

struct wait {
	struct t_log *t;
	uint64_t lsn;
};

static bool durable_or_dead(void *arg)
{
	const struct wait *w = arg;

	return w->t->told >= w->lsn || w->t->failures > 0;
}

void t_log_wait(struct t_log *t, uint64_t lsn, int ms)
{
	struct wait w = {t, lsn};

	if (!durable_or_dead(&w))
		t_turns(durable_or_dead, &w, ms);
}

void t_log_same(const struct t_log *t, bool (*leave_out)(const struct t_rec *))
{
	size_t j = 0;

	for (size_t i = 0; i < t->wrote.n; i++) {
		const struct t_rec *w = &t->wrote.v[i], *f = &t->found.v[j];
		if (leave_out != NULL && leave_out(w))
			continue;
		assert_true(j < t->found.n);
		assert_int_equal(f->lsn, w->lsn);
		assert_int_equal(f->type, w->type);
		assert_int_equal(f->size, w->size);
		assert_int_equal(f->crc, w->crc);
		assert_memory_equal(&f->loc, &w->loc, sizeof w->loc);
		j++;
	}
	assert_int_equal(j, t->found.n);
}

void t_path(const struct t_log *t, uint32_t seq, char out[128])
{
	snprintf(out, 128, "%s/%s.%08x", t->log_dir, t->conf.name, seq);
}

uint8_t *t_slurp(const char *path, size_t *n)
{
	FILE *f = fopen(path, "rb");
	uint8_t *p;

	assert_non_null(f);
	fseek(f, 0, SEEK_END);
	*n = (size_t)ftell(f);
	rewind(f);
	p = sm_malloc(*n + 1);
	assert_int_equal(fread(p, 1, *n, f), *n);
	fclose(f);
	return p;
}

void t_spill(const char *path, const uint8_t *p, size_t n)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(p, 1, n, f), n);
	assert_int_equal(fclose(f), 0);
}

bool t_exists(const struct t_log *t, uint32_t seq)
{
	char path[128];

	t_path(t, seq, path);
	return access(path, F_OK) == 0;
}

unsigned t_files(const struct t_log *t, const char *prefix)
{
	DIR *d = opendir(t->dir);
	struct dirent *e;
	unsigned n = 0;

	assert_non_null(d);
	while ((e = readdir(d)) != NULL)
		n += strncmp(e->d_name, prefix, strlen(prefix)) == 0;
	closedir(d);
	return n;
}

int t_log_setup(void **state)
{
	(void)state;
	sm_rand_seed(20261121);
	return sm_loop_init();
}

int t_log_teardown(void **state)
{
	(void)state;
#ifdef SM_TESTING
	assert_int_equal(sm_fault_arm(NULL), 0);
#endif
	sm_loop_fini();
	return 0;
}

struct qm_log_stat t_log_stat(struct t_log *t)
{
	struct qm_log_stat st;

	qm_log_stat(t->log, &st);
	return st;
}

bool t_never(void *arg)
{
	(void)arg;
	return false;
}

bool t_first_is_gone(void *arg)
{
	return !t_exists(arg, 1);
}

bool t_has_spare(void *arg)
{
	return t_log_stat(arg).ready > 0;
}

struct t_rec t_log_fill(struct t_log *t, uint32_t seq)
{
	struct t_rec r;

	do {
		r = t_log_put(t, 1000);
		t_log_wait(t, r.lsn, 30000);
	} while (r.loc.seq < seq);
	return r;
}
