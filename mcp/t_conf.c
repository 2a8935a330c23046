/* Tests of conf.c: which sections are services, and what is refused with file and line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mcp/conf.h"

struct mc_globals mc;

static char path[] = "/tmp/t_mcp_conf.XXXXXX";
static struct sm_list services;
static struct mc_own own;
static struct sm_arena arena;

static void drop(void)
{
	SM_LIST_FOR_SAFE (s, &services, struct mc_service, link) {
		sm_list_remove(&s->link);
		mc_conf_free(&s);
	}
	sm_arena_reset(&arena);
}

static int load(const char *text)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	return mc_conf_load(path, &services, &own, &arena);
}

#define RUN "start_action = wait; path = /bin/true; arguments = true;"

static struct mc_service *get(const char *name)
{
	SM_LIST_FOR (s, &services, struct mc_service, link) {
		if (strcmp(s->name, name) == 0)
			return s;
	}
	return NULL;
}

static void test_services(void **state)
{
	struct mc_service *mta, *msa;

	(void)state;
	assert_int_equal(load("hostname = a.example;\n"
	                      "map x { type = hash; }\n"
	                      "mcp { log_level = 12; }\n"
	                      "smtps MTA { foo = 1; bar { baz = { a, b } } " RUN
	                      " pass_id = -i; }\n"
	                      "SMTPS MSA { " RUN " restart_dependencies = { qmgr }; }\n"
	                      "qmgr { " RUN " restart_dependencies = { smtps }; }\n"),
	                 0);
	assert_int_equal(own.log_level, 12);
	assert_non_null(mta = get("smtps-MTA"));
	assert_non_null(msa = get("SMTPS-MSA"));
	assert_non_null(get("qmgr"));
	assert_null(get("map-x"));
	assert_string_equal(mta->argv[0], "true");
	assert_true(mc_conf_depends(get("qmgr"), mta));
	assert_true(mc_conf_depends(get("qmgr"), msa));
	assert_true(mc_conf_depends(msa, get("qmgr")));
	assert_false(mc_conf_depends(mta, get("qmgr")));
	drop();
}

static void test_text_tells_change(void **state)
{
	char *before;

	(void)state;
	assert_int_equal(load("a { " RUN " worker_option = 1; }"), 0);
	before = sm_strdup(get("a")->text.p);
	drop();
	/* Order, comments and options of the program itself are no change; ours are. */
	assert_int_equal(load("a { arguments = true; # x\n path = /bin/true; worker_option = 2; "
	                      "start_action = wait; }"),
	                 0);
	assert_string_equal(get("a")->text.p, before);
	drop();
	assert_int_equal(load("a { " RUN " watchdog = 7s; }"), 0);
	assert_string_not_equal(get("a")->text.p, before);
	drop();
	sm_free(before);
}

static void refused(const char *text, const char *line, const char *word)
{
	if (load(text) >= 0)
		fail_msg("accepted: %s", text);
	assert_true(sm_list_empty(&services));
	assert_non_null(strstr(sm_diag(), path));
	if (strstr(sm_diag(), line) == NULL || strstr(sm_diag(), word) == NULL)
		fail_msg("diag is: %s", sm_diag());
	sm_arena_reset(&arena);
}

static void test_refused(void **state)
{
	(void)state;
	refused("hostname = x;\n", "", "nothing to run");
	refused("a b-c { " RUN " }\n\na-b c { " RUN " }\n", ":3:", "second section");
	refused("a { " RUN " }\nb {\n" RUN " restart_dependencies = { nobody }; }\n", "", "nobody");
	refused("\na { path = /bin/true; arguments = true; }\n", ":2:", "start_action");
	refused("a { " RUN " min_processes = -1; }\n", ":1:", "min_processes");
	refused("a \"../x\" { " RUN " }\n", ":1:", "name of a section");
	refused("mcp x { " RUN " }\n", ":1:", "");
	refused("a { " RUN " user = no_such_user_here; }\n", ":1:", "no_such_user_here");
	refused("a {\n", ":", "");
}

static void test_users(void **state)
{
	(void)state;
	/* As if mcp were root: a section must say which user. */
	mc.root = true;
	refused("a { " RUN " }\n", ":1:", "needs a user");
	assert_int_equal(load("a { " RUN " user = nobody; }\n"), 0);
	assert_true(get("a")->become);
	assert_int_equal(get("a")->uid, 65534);
	drop();
	mc.root = false;
	if (geteuid() == 65534)
		skip();
	refused("a { " RUN " user = nobody; }\n", ":1:", "only root");
}

static int setup(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	sm_list_init(&services);
	sm_arena_init(&arena, "test", 512, 65536);
	return fd < 0 ? -1 : close(fd);
}

static int teardown(void **state)
{
	(void)state;
	sm_arena_fini(&arena);
	return unlink(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_services),
	    cmocka_unit_test(test_text_tells_change),
	    cmocka_unit_test(test_refused),
	    cmocka_unit_test(test_users),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
