/* Tests of who a process is when it has taken another identity and dropped its rights, as others
 * see it. */
#include "libsm/t_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned long long status_field(pid_t pid, const char *field)
{
	char path[64], line[256];
	unsigned long long v = 0xdead;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	assert_non_null(f = fopen(path, "r"));
	while (fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, field, strlen(field)) == 0)
			v = strtoull(line + strlen(field), NULL, 16);
	(void)fclose(f);
	return v;
}

/* What an observer sees in /proc of a process that dropped its rights; `become`: the way mcp starts
 * it. */
static void observe(bool become)
{
	struct sm_priv_profile p = {.role = SM_ROLE_QMGR, .paths = t_paths};
	char report[128];
	int up[2], down[2], n;
	pid_t pid;

	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(down), 0);
	if ((pid = fork()) == 0) {
		if (become && sm_priv_become("nobody", NULL) != 0)
			_exit(SAW_NO_DROP);
		t_become_nobody();
		if (sm_priv_drop(&p, report, sizeof(report)) != 0)
			_exit(SAW_NO_DROP);
		if (write(up[1], report, strlen(report)) < 0)
			_exit(SAW_OTHER);
		(void)close(down[1]);
		_exit(read(down[0], report, 1) == 0 ? SAW_OK : SAW_OTHER);
	}
	(void)close(up[1]);
	(void)close(down[0]);
	n = (int)read(up[0], report, sizeof(report) - 1);
	assert_true(n > 0);
	report[n] = '\0';
	assert_non_null(strstr(report, "landlock="));
	assert_non_null(strstr(report, "seccomp="));
	assert_int_equal(status_field(pid, "NoNewPrivs:"), 1);
	assert_int_equal(status_field(pid, "CapEff:"), 0);
	assert_int_equal(status_field(pid, "CapPrm:"), 0);
	assert_int_equal(status_field(pid, "CapInh:"), 0);
	assert_int_equal(status_field(pid, "CapAmb:"), 0);
	assert_int_equal(status_field(pid, "Seccomp:"), t_seccomp_here ? 2 : 0);
	if (become) {
		assert_int_equal(status_field(pid, "CapBnd:"), 0);
		assert_int_equal(status_field(pid, "Umask:"), 0x27); /* octal 027, read as hex */
	}
#ifdef SM_TESTING
	assert_non_null(strstr(report, "dumpable=yes"));
#else
	assert_non_null(strstr(report, "dumpable=no"));
#endif
	(void)close(down[1]);
	(void)close(up[0]);
	assert_int_equal(t_wait_for(pid), SAW_OK);
}

static void test_observed(void **state)
{
	(void)state;
	observe(false);
}

static void test_become(void **state)
{
	pid_t pid;

	(void)state;
	assert_int_equal(sm_priv_become("no such user here", NULL), SM_E_NOTFOUND);
	if (getuid() != 0)
		skip();
	assert_int_equal(sm_priv_become("nobody", "no such group here"), SM_E_NOTFOUND);
	assert_int_equal(sm_priv_become("root", NULL), SM_E_DENIED);
	assert_int_equal(sm_priv_become("nobody", "root"), SM_E_DENIED);
	assert_int_equal(getuid(), 0);
	observe(true);
	if ((pid = fork()) == 0) {
		gid_t groups[8];
		int n;
		if (sm_priv_become("nobody", "daemon") != 0)
			_exit(SAW_NO_DROP);
		n = getgroups(8, groups);
		/* The one of `group`; none of root's. */
		for (int i = 0; i < n; i++)
			if (groups[i] != getgid())
				_exit(SAW_OTHER);
		_exit(setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0 || getgid() == 0
		          ? SAW_OTHER
		          : SAW_OK);
	}
	assert_int_equal(t_wait_for(pid), SAW_OK);
}

static void test_refuses_root(void **state)
{
	struct sm_priv_profile p = {.role = SM_ROLE_QMGR, .paths = t_paths};
	char report[64];

	(void)state;
	if (getuid() != 0)
		skip();
	assert_int_equal(sm_priv_drop(&p, report, sizeof(report)), SM_E_DENIED);
	assert_non_null(strstr(sm_diag(), "root"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_observed),
	    cmocka_unit_test(test_become),
	    cmocka_unit_test(test_refuses_root),
	};

	return cmocka_run_group_tests(tests, t_priv_setup, t_priv_teardown);
}
