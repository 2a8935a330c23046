/* The greylist on the loop: many clients at once, walks in pieces, room that is made, databases
 * that cannot be used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/err.h"
#include "libsm/offload.h"
#include "libsm/sync.h"
#include "libsm/t_patience.h"
#include "smar/greylist.h"

enum { CLIENTS = 700 };

static char dir[64];
static struct ar_conf conf;
static struct ar ar = {.conf = &conf};
static struct ar_greylist *g;
static struct sm_arena arena;
static struct sm_wg wg;
static unsigned refused, accepted;

static int set_up(void **state SM_UNUSED)
{
	snprintf(dir, sizeof(dir), "/tmp/t_greylist.%d", (int)getpid());
	sm_arena_init(&arena, "test", 65536, 1 << 24);
	sm_conf_defaults(ar_conf_opts, &conf, &arena);
	conf.greylisting.directory = sm_str(dir);
	conf.greylisting.wait_ms = 1000;
	refused = accepted = 0;
	return mkdir(dir, 0700);
}

static int tear_down(void **state SM_UNUSED)
{
	char command[100];

	sm_arena_fini(&arena);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	return system(command);
}

static void run_body(void *arg)
{
	((void (*)(void))(uintptr_t)arg)();
	sm_loop_stop(0);
}

static void run(void (*body)(void))
{
	assert_int_equal(sm_loop_init(), 0);
	assert_int_equal(sm_offload_init(2), 0);
	g = ar_greylist_new(&ar);
	assert_non_null(sm_co_spawn("test", run_body, (void *)(uintptr_t)body));
	assert_int_equal(sm_loop_run(), 0);
	sm_offload_fini();
	ar_greylist_free(&g);
	sm_co_cleanup();
	sm_loop_fini();
}

static struct sm_sa client(unsigned i)
{
	char text[32];
	struct sm_sa sa;

	snprintf(text, sizeof(text), "10.%u.%u.1", i / 256, i % 256);
	assert_int_equal(sm_sa_ip(&sa, sm_str(text), 25), 0);
	return sa;
}

static bool comes(unsigned i)
{
	struct ar_ctx ctx = {.deadline_ms = sm_now_ms() + T_PATIENCE_MS, .may_wait = true};
	struct sm_sa sa = client(i);
	bool accept;

	assert_int_equal(ar_greylist_check(g, &ctx, &sa, &accept), 0);
	return accept;
}

static void come(void *arg)
{
	if (comes((unsigned)(uintptr_t)arg))
		accepted++;
	else
		refused++;
	sm_wg_done(&wg);
}

static void all_come(void)
{
	refused = accepted = 0;
	sm_wg_init(&wg);
	for (unsigned i = 0; i < CLIENTS; i++) {
		sm_wg_add(&wg);
		assert_non_null(sm_co_spawn("client", come, (void *)(uintptr_t)i));
	}
	assert_int_equal(sm_wg_wait(&wg, "clients", SM_NEVER), 0);
}

/* ---- tests ---- */

static size_t walk(bool remove)
{
	struct ar_greylist_walk *w = sm_calloc(1, sizeof(*w));
	size_t all = 0;

	w->remove = remove;
	do {
		assert_int_equal(ar_greylist_walk(g, w), 0);
		all += w->count;
		if (w->count > 0)
			w->after = w->rows[w->count - 1].key;
	} while (w->more);
	sm_free(w);
	return all;
}

/* Who asks goes away; the helper still works for him. */
static void walk_and_leave(void *arg)
{
	struct ar_greylist_walk *w = sm_calloc(1, sizeof(*w));
	int rc = ar_greylist_walk(g, w);

	assert_true(rc == SM_E_CANCEL || rc == 0); /* 0: the helper was faster */
	sm_free(w);
	*(bool *)arg = true;
}

static void left_alone(void)
{
	struct sm_co *co;
	bool left = false;

	all_come();
	co = sm_co_spawn("walk", walk_and_leave, &left);
	assert_non_null(co);
	sm_co_yield();
	sm_co_cancel(co);
	while (!left)
		sm_co_yield();
	assert_int_equal(walk(false), CLIENTS);
}

static void twice(void)
{
	struct ar_ctx fast = {.may_wait = false};
	struct sm_sa sa = client(0), none = {0};
	bool accept;

	assert_int_equal(ar_greylist_check(g, &fast, &sa, &accept), SM_E_AGAIN);
	assert_int_equal(ar_greylist_check(g, &fast, &none, &accept), 0);
	assert_true(accept); /* of a Unix socket */
	assert_int_equal(ar_greylist_check(NULL, &fast, &sa, &accept), 0);
	assert_true(accept); /* no greylist */
	all_come();
	assert_int_equal(refused, CLIENTS);
	do
		all_come();
	while (accepted < CLIENTS);
	assert_int_equal(ar_greylist_stats(g).entries, CLIENTS);
	assert_int_equal(ar_greylist_stats(g).confirmed, CLIENTS);
	assert_int_equal(walk(false), CLIENTS);
	assert_int_equal(walk(true), CLIENTS);
	assert_int_equal(ar_greylist_stats(g).entries, 0);
	assert_false(comes(3));
}

static void room(void)
{
	all_come();
	assert_int_equal(ar_greylist_stats(g).entries, 100); /* max_entries */
	/* Expired ones go while there are more than expire_limit. */
	conf.greylisting.expire_limit = 10;
	while (ar_greylist_stats(g).entries > 11) {
		(void)comes(1000);
		assert_int_equal(sm_co_sleep(sm_now_ms() + 20), 0);
	}
}

static void unusable(void)
{
	assert_true(comes(1));
	assert_true(comes(1));
	assert_int_equal(ar_greylist_stats(g).unchecked, 2);
	assert_false(ar_greylist_stats(g).usable);
	assert_int_equal(
	    ar_greylist_walk(g, sm_arena_must(&arena, sizeof(struct ar_greylist_walk))), SM_E_BUSY);
}

static void test_left_alone(void **state SM_UNUSED)
{
	run(left_alone);
}

static void test_twice(void **state SM_UNUSED)
{
	run(twice);
}

static void test_room(void **state SM_UNUSED)
{
	conf.greylisting.expire_ms = 2000;
	conf.greylisting.max_entries = 100;
	run(room);
}

static void test_unusable(void **state SM_UNUSED)
{
	assert_int_equal(ar_greylist_try(&conf.greylisting), 0);
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(ar_greylist_try(&conf.greylisting), SM_E_NOTFOUND);
	run(unusable);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_twice, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_left_alone, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_room, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(test_unusable, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
