/* Files of lists: what is read, and what is not believed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/err.h"
#include "smar/include.h"

static char dir[64];

static void put(const char *name, const char *text, mode_t mode)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static int run(const char *command)
{
	char line[400];

	snprintf(line, sizeof(line), "cd %s && %s", dir, command);
	return system(line);
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/t_include.XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(run("mkdir -m 755 in sub sub/deep && mkdir -m 777 open && "
	                     "mkfifo -m 600 sub/fifo && ln -s /etc/passwd link && "
	                     "ln -s sub linkdir && ln -s in/a inner"),
	                 0);
	put("staff", "a@b.example\n", 0644);
	put("sub/deep/list", "deep\n", 0664);
	put("loose", "x\n", 0646);
	put("open/list", "x\n", 0644);
	put("empty", "", 0600);
	put("in/a", "x\n", 0600);
	put("eight", "12345678", 0600);
	return 0;
}

static int teardown(void **state)
{
	char line[100];

	(void)state;
	snprintf(line, sizeof(line), "rm -rf %s", dir);
	return system(line);
}

static const struct {
	const char *name;
	int rc;
	const char *text; /* or part of the diag */
} rows[] = {
    {"staff", 0, "a@b.example\n"},
    {"sub/deep/list", 0, "deep\n"},
    {"empty", 0, ""},
    {"eight", 0, "12345678"},
    {"none", SM_E_NOTFOUND, "none"},
    {"sub/none", SM_E_NOTFOUND, "sub/none"},
    {"loose", SM_E_DENIED, "loose: others may write"},
    {"open/list", SM_E_DENIED, "open/list: others may write"},
    {"link", SM_E_DENIED, "link: link is a symbolic link"},
    {"inner", SM_E_DENIED, "inner: inner is a symbolic link"},
    {"linkdir/deep/list", SM_E_DENIED, "linkdir is a symbolic link"},
    {"sub", SM_E_NOTSUP, "sub: not a plain file"},
    {"sub/fifo", SM_E_NOTSUP, "sub/fifo: not a plain file"},
    {"staff/x", SM_E_NOTSUP, "staff/x: not a directory"},
};

static void files(void **state)
{
	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(rows); i++) {
		struct sm_buf b;
		int rc;

		sm_buf_init(&b, 1000);
		rc = ar_include_read(dir, rows[i].name, &b);
		if (rc != rows[i].rc || (rc != 0 && strstr(sm_diag(), rows[i].text) == NULL))
			fail_msg("%s: %d %s", rows[i].name, rc, sm_diag());
		if (rc == 0)
			assert_string_equal(sm_buf_c(&b), rows[i].text);
		sm_buf_fini(&b);
	}
}

static void sizes(void **state)
{
	struct sm_buf b;

	(void)state;
	sm_buf_init(&b, 8);
	assert_int_equal(ar_include_read(dir, "eight", &b), 0);
	assert_int_equal(b.len, 8);
	sm_buf_fini(&b);
	sm_buf_init(&b, 7);
	assert_int_equal(ar_include_read(dir, "eight", &b), SM_E_TOOBIG);
	assert_string_equal(sm_diag(), "eight: larger than 7 bytes");
	sm_buf_fini(&b);
}

static void directories(void **state)
{
	char path[200];

	(void)state;
	assert_int_equal(ar_include_check(dir), 0);
	snprintf(path, sizeof(path), "%s/linkdir", dir); /* the operator names it */
	assert_int_equal(ar_include_check(path), 0);
	snprintf(path, sizeof(path), "%s/open", dir);
	assert_int_equal(ar_include_check(path), SM_E_DENIED);
	snprintf(path, sizeof(path), "%s/staff", dir);
	assert_int_equal(ar_include_check(path), SM_E_NOTSUP);
	snprintf(path, sizeof(path), "%s/none", dir);
	assert_int_equal(ar_include_check(path), SM_E_NOTFOUND);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(files, setup, teardown),
	    cmocka_unit_test_setup_teardown(sizes, setup, teardown),
	    cmocka_unit_test_setup_teardown(directories, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
