/*
 * The environment of children. Invariant: a name that is not on the list never reaches a child, so
 * that what the operator's shell, cron or systemd left around changes nothing. No state.
 */
#include "mcp/env.h"

#include <string.h>

#define ENV_MAX 64

static const char *const kept[] = {
    "PATH=",       "TZ=",           "LANG=",
#ifdef SM_TESTING
    "LD_PRELOAD=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LSAN_OPTIONS=",
#endif
};

static bool wanted(const char *v)
{
	if (strncmp(v, "SM_MCP_", 7) == 0)
		return false;
	if (strncmp(v, "SM_", 3) == 0)
		return true;
	for (size_t i = 0; i < SM_ARRAY_SIZE(kept); i++)
		if (strncmp(v, kept[i], strlen(kept[i])) == 0)
			return true;
	return false;
}

static bool same_name(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return n == strcspn(b, "=") && memcmp(a, b, n) == 0;
}

static bool replaced(const char *v, const char *const *more)
{
	for (; *more != NULL; more++)
		if (same_name(v, *more))
			return true;
	return false;
}

char **mc_env_make(char *const *environ, const char *const *more, struct sm_arena *a)
{
	char **env = sm_arena_must(a, (ENV_MAX + 1) * sizeof(*env));
	size_t n = 0;

	for (const char *const *m = more; *m != NULL && n < ENV_MAX; m++)
		env[n++] = (char *)(uintptr_t)sm_arena_str(a, sm_str(*m)).p;
	for (; *environ != NULL && n < ENV_MAX; environ++)
		if (wanted(*environ) && !replaced(*environ, more))
			env[n++] = (char *)(uintptr_t)sm_arena_str(a, sm_str(*environ)).p;
	env[n] = NULL;
	return env;
}
