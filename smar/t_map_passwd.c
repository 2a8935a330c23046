/* Maps of type passwd: the users of this system; what is remembered; a user database that is slow.
 */
#include "libsm/t_co.h"

#include <dlfcn.h>
#include <pwd.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

#include "libsm/offload.h"
#include "smar/map_int.h"
#include "smar/nss.h"

static struct sm_arena arena;
static void *map;
static const struct ar_ctx at_once = {.a = &arena};

static int ask_until(const char *key, int64_t deadline_ms)
{
	struct ar_ctx ctx = {.a = &arena, .may_wait = true, .deadline_ms = deadline_ms};
	struct sm_str value = SM_STR_NONE;
	int rc = ar_map_passwd.get(map, &ctx, sm_str(key), &value);

	if (rc == 0)
		assert_true(sm_str_eq(value, SM_STR("local:")));
	return rc;
}

static int ask(const char *key)
{
	return ask_until(key, sm_now_ms() + T_PATIENCE_MS);
}

static int ask_at_once(const char *key)
{
	struct sm_str value;

	return ar_map_passwd.get(map, &at_once, sm_str(key), &value);
}

static void users_body(void *arg)
{
	char plain[] = "no-such-user-here";
	(void)arg;

	assert_int_equal(ask_at_once("root"), SM_E_AGAIN);
	assert_int_equal(ask("root"), 0);
	assert_int_equal(ask_at_once("root"), 0); /* remembered */
	assert_int_equal(ask_at_once(plain), SM_E_AGAIN);
	assert_int_equal(ask(plain), SM_E_NOTFOUND);
	assert_int_equal(ask_at_once(plain), SM_E_NOTFOUND);
	/* What cannot be a user is not asked for. */
	assert_int_equal(ask_at_once("root@example.org"), SM_E_NOTFOUND);
	assert_int_equal(ask_at_once("root*"), SM_E_NOTFOUND);
	assert_int_equal(ask_at_once("root+detail"), SM_E_NOTFOUND);
	assert_int_equal(ask_at_once("\"root\""), SM_E_NOTFOUND);
	assert_int_equal(ask_at_once("-x"), SM_E_NOTFOUND);
	assert_int_equal(ask_at_once(""), SM_E_NOTFOUND);
	assert_int_equal(
	    ask_at_once("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
	    SM_E_NOTFOUND);
}

/* Out of descriptors the user database cannot be read: nobody is unknown for that. */
static void no_descriptors_body(void *arg)
{
	struct rlimit before, none;
	(void)arg;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(ask("root"), SM_E_SYS);
	assert_int_equal(ask("no-such-user"), SM_E_SYS);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(ask("root"), 0);
	assert_int_equal(ask("no-such-user"), SM_E_NOTFOUND);
}

static int release[2]; /* a pipe: who reads of it waits until something comes */

static int hold_helper(void *arg)
{
	char c;

	(void)arg;
	return read(release[0], &c, 1) == 1 ? 0 : SM_E_SYS;
}
static void ignore(int rc, void *arg)
{
	(void)rc;
	(void)arg;
}

/* The only helper is busy: the question is late, and is a failure; its answer comes in time for
 * the next one. */
static void slow_body(void *arg)
{
	struct sm_offload_job job = {0};
	(void)arg;

	sm_offload_async(&job, hold_helper, ignore, NULL);
	assert_int_equal(ask_until("root", sm_now_ms() + 20), SM_E_TIMEOUT);
	assert_non_null(strstr(sm_diag(), "user database is slow"));
	assert_int_equal(ask_until("no-such-user", sm_now_ms() + 20), SM_E_TIMEOUT);
	assert_int_equal(ask_at_once("root"), SM_E_AGAIN);
	assert_int_equal(write(release[1], "x", 1), 1);
	while (ask_at_once("no-such-user") == SM_E_AGAIN)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
	assert_int_equal(ask_at_once("root"), 0);
	assert_int_equal(ask_at_once("no-such-user"), SM_E_NOTFOUND);
}

/* ---- a user database that hangs ---- */

static atomic_bool hangs;
static atomic_int hanging;

int getpwnam_r(const char *name, struct passwd *pw, char *buf, size_t size, struct passwd **found)
{
	int (*real)(const char *, struct passwd *, char *, size_t, struct passwd **);

	if (hangs) {
		hanging++;
		(void)hold_helper(NULL);
	}
	*(void **)&real = dlsym(RTLD_NEXT, "getpwnam_r");
	return real(name, pw, buf, size, found);
}

enum { ASKERS = 8 };

static void ask_hanging(void *arg)
{
	char name[] = "no-user-0";

	name[8] = (char)('0' + *(int *)arg % 10);
	assert_int_equal(ask(name), SM_E_NOTFOUND);
	*(int *)arg = -1;
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* Helpers are left for others; in the end all are asked. */
static void hangs_body(void *arg)
{
	int askers[ASKERS];
	int left = ASKERS;
	(void)arg;

	hangs = true;
	for (int i = 0; i < ASKERS; i++) {
		askers[i] = i;
		assert_non_null(sm_co_spawn("asker", ask_hanging, &askers[i]));
	}
	while (hanging == 0)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
		assert_in_range(hanging, 1, 3);
	}
	assert_int_equal(sm_offload("other work", nothing, NULL), 0);
	hangs = false;
	assert_int_equal(write(release[1], "xxxxxxxx", ASKERS), ASKERS);
	while (left > 0) {
		left = 0;
		for (int i = 0; i < ASKERS; i++)
			left += askers[i] >= 0;
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
	}
}

/* The map is closed while a question is on its way. */
static void closed_body(void *arg)
{
	struct sm_offload_job job = {0};
	(void)arg;

	sm_offload_async(&job, hold_helper, ignore, NULL);
	assert_int_equal(ask_until("root", sm_now_ms() + 20), SM_E_TIMEOUT);
	ar_map_passwd.close(map);
	map = NULL;
	assert_int_equal(write(release[1], "x", 1), 1);
	while (sm_offload_queued() > 0)
		assert_int_equal(sm_co_sleep(sm_loop_now_ms() + 1), 0);
}

/* Time goes by: it is asked again. */
static void forgets_body(void *arg)
{
	(void)arg;
	assert_int_equal(ask("root"), 0);
	assert_int_equal(ask("no-such-user"), SM_E_NOTFOUND);
	sm_time_fake(sm_now_ms() + 11 * 1000, sm_wall_s());
	assert_int_equal(sm_co_sleep(sm_now_ms()), 0);
	assert_int_equal(ask_at_once("no-such-user"), SM_E_AGAIN);
	assert_int_equal(ask_at_once("root"), 0);
	sm_time_fake_step(60 * 1000);
	assert_int_equal(sm_co_sleep(sm_now_ms()), 0);
	assert_int_equal(ask_at_once("root"), SM_E_AGAIN);
	sm_time_fake_step(10); /* t_ender sleeps, too */
}

static void run_with(unsigned helpers, void (*body)(void *))
{
	struct ar_map_conf conf = {0};
	size_t entries;

	sm_arena_init(&arena, "test", 4096, 65536);
	assert_int_equal(pipe(release), 0);
	assert_int_equal(sm_offload_init(helpers), 0);
	assert_int_equal(ar_map_passwd.open(&conf, &map, &entries), 0);
	t_spawn(body, NULL);
	t_run_all();
	if (map != NULL)
		ar_map_passwd.close(map);
	map = NULL;
	sm_offload_fini();
	close(release[0]);
	close(release[1]);
	sm_arena_fini(&arena);
}

static void run(void (*body)(void *))
{
	run_with(1, body);
}

static void hangs_for_all(void **state)
{
	(void)state;
	run_with(6, hangs_body);
}
static void users(void **state)
{
	(void)state;
	run(users_body);
}
static void no_descriptors(void **state)
{
	(void)state;
	run(no_descriptors_body);
}
static void slow(void **state)
{
	(void)state;
	run(slow_body);
}
static void closed(void **state)
{
	(void)state;
	run(closed_body);
}
static void forgets(void **state)
{
	(void)state;
	run(forgets_body);
}

static bool known_source(const char *source)
{
	return strcmp(source, "files") == 0 || strcmp(source, "sss") == 0;
}

static void expect_sources(const char *nsswitch, const char *want)
{
	struct sm_buf b;

	sm_buf_init(&b, 4096);
	ar_nss_sources(sm_str(nsswitch), known_source, &b);
	assert_string_equal(sm_buf_c(&b), want);
	sm_buf_fini(&b);
}

/* A source that is there ends the search when it cannot be asked; one that is not, or for which
 * something is said already, stays as it is. */
static void sources(void **state)
{
	(void)state;
	expect_sources("", "files [UNAVAIL=return TRYAGAIN=return]");
	expect_sources("group: x\npasswd:\n", "files [UNAVAIL=return TRYAGAIN=return]");
	expect_sources("# passwd: db\n passwd :\tfiles  nothere sss # x\nshadow: db",
	               "files [UNAVAIL=return TRYAGAIN=return] nothere sss "
	               "[UNAVAIL=return TRYAGAIN=return]");
	expect_sources("passwd: files [NOTFOUND=return !UNAVAIL=continue] sss",
	               "files [NOTFOUND=return !UNAVAIL=continue] sss "
	               "[UNAVAIL=return TRYAGAIN=return]");
	expect_sources("passwd: sss[NOTFOUND=return] files\n",
	               "sss [NOTFOUND=return] files [UNAVAIL=return TRYAGAIN=return]");
	expect_sources("passwd: sss [NOT", "sss [NOT");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(sources),
	    cmocka_unit_test_setup_teardown(users, t_setup, t_teardown),
	    cmocka_unit_test_setup_teardown(no_descriptors, t_setup, t_teardown),
	    cmocka_unit_test_setup_teardown(slow, t_setup, t_teardown),
	    cmocka_unit_test_setup_teardown(hangs_for_all, t_setup, t_teardown),
	    cmocka_unit_test_setup_teardown(closed, t_setup, t_teardown),
	    cmocka_unit_test_setup_teardown(forgets, t_setup, t_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
