/* Tests of env.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "mcp/env.h"

static const char *find(char **env, const char *name)
{
	for (; *env != NULL; env++)
		if (strncmp(*env, name, strlen(name)) == 0 && (*env)[strlen(name)] == '=')
			return *env + strlen(name) + 1;
	return NULL;
}

static void test_list(void **state)
{
	static char path[] = "PATH=/bin", zone[] = "TZ=UTC", bad[] = "LD_LIBRARY_PATH=/evil",
		    near[] = "PATHX=1", own[] = "SM_MCP_FD=9", fault[] = "SM_FAULTS=x",
		    shell[] = "IFS= ", pre[] = "LD_PRELOAD=/x.so", dns[] = "SM_DNS=old";
	char *const in[] = {path, zone, bad, near, own, fault, shell, pre, dns, NULL};
	const char *const more[] = {"SM_MCP_FD=3", "SM_DNS=new", NULL};
	struct sm_arena a;
	char **env;
	size_t n = 0;

	(void)state;
	sm_arena_init(&a, "env", 512, 65536);
	env = mc_env_make(in, more, &a);
	assert_string_equal(find(env, "PATH"), "/bin");
	assert_string_equal(find(env, "TZ"), "UTC");
	assert_string_equal(find(env, "SM_FAULTS"), "x");
	assert_string_equal(find(env, "SM_MCP_FD"), "3");
	assert_string_equal(find(env, "SM_DNS"), "new");
	assert_null(find(env, "LD_LIBRARY_PATH"));
	assert_null(find(env, "PATHX"));
	assert_null(find(env, "IFS"));
#ifdef SM_TESTING
	assert_string_equal(find(env, "LD_PRELOAD"), "/x.so");
#else
	assert_null(find(env, "LD_PRELOAD"));
#endif
	while (env[n] != NULL)
		n++;
#ifdef SM_TESTING
	assert_int_equal(n, 6);
#else
	assert_int_equal(n, 5);
#endif
	sm_arena_fini(&a);
}

static void test_bounded(void **state)
{
	char vars[200][16], *in[201];
	const char *const more[] = {"SM_MCP_FD=3", NULL};
	struct sm_arena a;
	char **env;
	size_t n = 0;

	(void)state;
	for (int i = 0; i < 200; i++) {
		(void)snprintf(vars[i], sizeof(vars[i]), "SM_%d=x", i);
		in[i] = vars[i];
	}
	in[200] = NULL;
	sm_arena_init(&a, "env", 512, 65536);
	env = mc_env_make(in, more, &a);
	while (env[n] != NULL)
		n++;
	assert_int_equal(n, 64);
	assert_string_equal(find(env, "SM_MCP_FD"), "3");
	sm_arena_fini(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_list),
	                                   cmocka_unit_test(test_bounded)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
