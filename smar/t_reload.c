/* How maps take each other's place: all or none, when their files are quiet, and never under the
 * hands of who holds them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/co.h"
#include "libsm/offload.h"
#include "libsm/t_patience.h"
#include "smar/reload.h"

static char dir[64], files[3][100];
static struct ar_map_conf maps[3];
static struct ar_conf conf;
static struct ar ar;
static struct sm_arena arena;
static void (*body)(void);

static void write_file(int i, const char *text)
{
	char tmp[120];
	FILE *f;

	snprintf(tmp, sizeof(tmp), "%s.new", files[i]);
	f = fopen(tmp, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(rename(tmp, files[i]), 0);
}

static const char *get(const struct ar *of, const char *map)
{
	struct ar_ctx ctx = {.a = &arena};
	struct sm_str value;

	assert_int_equal(
	    ar_map_get(ar_maps_find(of->maps, sm_str(map)), &ctx, SM_STR("key"), &value), 0);
	return sm_arena_str(&arena, value).p;
}

/* Until this is another set. */
static void until_replaced(const struct ar_maps *was)
{
	int64_t deadline_ms = sm_now_ms() + T_PATIENCE_MS;

	while (ar.maps == was) {
		assert_true(sm_now_ms() < deadline_ms);
		assert_int_equal(sm_co_sleep(sm_now_ms() + 5), 0);
	}
}

static void until_refused(size_t times)
{
	int64_t deadline_ms = sm_now_ms() + T_PATIENCE_MS;

	while (ar_reload_refused() < times) {
		assert_true(sm_now_ms() < deadline_ms);
		assert_int_equal(sm_co_sleep(sm_now_ms() + 5), 0);
	}
}

static void run_body(void *arg SM_UNUSED)
{
	body();
	ar_reload_stop();
	sm_loop_stop(0);
}

static void run(void (*fn)(void), int64_t interval_ms)
{
	static const char *const names[] = {"a", "b", "mt"};
	uint64_t before;

	snprintf(dir, sizeof(dir), "/tmp/t_reload.%d", (int)getpid());
	assert_int_equal(mkdir(dir, 0700), 0);
	sm_arena_init(&arena, "test", 4096, 1 << 20);
	conf = (struct ar_conf){.map_check_interval_ms = interval_ms};
	for (int i = 0; i < 3; i++) {
		snprintf(files[i], sizeof(files[i]), "%s/%s", dir, names[i]);
		maps[i] = (struct ar_map_conf){
		    .where.name = sm_str(names[i]), .type = AR_MAP_TEXT, .file = sm_str(files[i])};
	}
	conf.map = (struct sm_conf_sections){2, maps};
	conf.mailertable.file = sm_str(files[2]);
	write_file(0, "key old\n");
	write_file(1, "key old\n");
	write_file(2, "a.example lmtp:\n");
	ar = (struct ar){.conf = &conf};
	before = ar_maps_look(&conf);
	assert_int_equal(ar_reload_open(&ar), 0);
	assert_int_equal(sm_loop_init(), 0);
	assert_int_equal(sm_offload_init(1), 0);
	ar_reload_start(&ar, before);
	body = fn;
	assert_non_null(sm_co_spawn("test", run_body, NULL));
	assert_int_equal(sm_loop_run(), 0);
	sm_offload_fini();
	ar_reload_free();
	ar_release(&ar);
	sm_co_cleanup();
	sm_loop_fini();
	sm_arena_fini(&arena);
	for (int i = 0; i < 3; i++)
		(void)unlink(files[i]);
	assert_int_equal(rmdir(dir), 0);
}

static void body_replaced(void)
{
	struct ar_maps *was = ar.maps;
	struct ar held = ar_hold(&ar);

	write_file(0, "key new\n");
	write_file(1, "key new\n");
	write_file(2, "b.example lmtp:\n");
	until_replaced(was);
	/* The first that is in force has all three. */
	assert_string_equal(get(&ar, "a"), "new");
	assert_string_equal(get(&ar, "b"), "new");
	assert_non_null(ar_mt_find(ar.mt, SM_STR("b.example")));
	/* Who holds the old ones has all of the old ones. */
	assert_string_equal(get(&held, "a"), "old");
	assert_string_equal(get(&held, "b"), "old");
	assert_non_null(ar_mt_find(held.mt, SM_STR("a.example")));
	ar_release(&held);
}

static void replaced(void **state SM_UNUSED)
{
	run(body_replaced, 20);
}

static void body_broken(void)
{
	struct ar_maps *was = ar.maps;

	write_file(0, "key new\n");
	write_file(1, "key new\nkey twice\n");
	ar_reload_now(&conf);
	ar_reload_now(&conf); /* an order while one is carried out: once more */
	until_refused(2);
	assert_ptr_equal(ar.maps, was);
	assert_string_equal(get(&ar, "a"), "old");
	/* The mailertable belongs to it. */
	write_file(1, "key newer\n");
	write_file(2, "b.example nonsense:\n");
	ar_reload_now(&conf);
	until_refused(3);
	assert_ptr_equal(ar.maps, was);
	assert_non_null(ar_mt_find(ar.mt, SM_STR("a.example")));
	write_file(2, "");
	ar_reload_now(&conf);
	until_replaced(was);
	assert_string_equal(get(&ar, "a"), "new");
	assert_string_equal(get(&ar, "b"), "newer");
	assert_null(ar_mt_find(ar.mt, SM_STR("a.example")));
}

static void broken(void **state SM_UNUSED)
{
	run(body_broken, 0);
}

/* A configuration counts together with its maps, or not at all. */
static void body_configuration(void)
{
	struct ar_conf next = conf;
	struct ar_maps *was = ar.maps;

	next.map.count = 3;
	maps[2].file = SM_STR("/nonexistent/map");
	ar_reload_now(&next);
	until_refused(1);
	assert_ptr_equal(ar.conf, &conf);
	assert_ptr_equal(ar.maps, was);
	next.map.count = 2;
	next.mailertable.name = SM_STR("a");
	ar_reload_now(&next);
	until_replaced(was);
	assert_ptr_equal(ar.conf, &next);
	assert_null(ar.mt);
	assert_non_null(ar_maps_mailertable(ar.maps));
	ar_release(&ar);
}

static void configuration(void **state SM_UNUSED)
{
	run(body_configuration, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(replaced),
	    cmocka_unit_test(broken),
	    cmocka_unit_test(configuration),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
