/* Shared by the tests of rights, see t_priv.h. */
#include "libsm/t_priv.h"

#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];
char t_spool[96], t_other[96];
int t_landlock;
bool t_seccomp_here;

const uint16_t *t_connect_ports;

struct sm_priv_path t_paths[] = {
    {t_spool, SM_PATH_READ | SM_PATH_WRITE | SM_PATH_CREATE | SM_PATH_SOCKET},
    {"/does/not/exist", SM_PATH_READ},
    {NULL, 0},
};

void t_become_nobody(void)
{
	if (getuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(65534, 65534, 65534) != 0 ||
	                      setresuid(65534, 65534, 65534) != 0))
		_exit(SAW_OTHER);
}

int t_saw(long rc)
{
	if (rc >= 0)
		return SAW_OK;
	return errno == EPERM ? SAW_EPERM : errno == EACCES ? SAW_EACCES : SAW_OTHER;
}

int t_wait_for(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return SAW_KILLED + WTERMSIG(status);
	return WEXITSTATUS(status);
}

int t_under(enum sm_role role, bool inet, int (*attempt)(void))
{
	struct sm_priv_profile p = {.role = role,
	                            .paths = t_paths,
	                            .inet = inet,
	                            .connect_ports = t_connect_ports,
	                            .max_files = 64};
	char report[128];
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		t_become_nobody();
		if (sm_priv_drop(&p, report, sizeof(report)) != 0)
			_exit(SAW_NO_DROP);
		_exit(attempt());
	}
	return t_wait_for(pid);
}

static void make_file(const char *in, const char *name)
{
	char path[160];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", in, name);
	assert_non_null(f = fopen(path, "w"));
	assert_true(fputs("text\n", f) >= 0);
	assert_int_equal(fclose(f), 0);
}

int t_priv_setup(void **state)
{
	char cmd[256];
	long abi = syscall(444, NULL, 0, 1);

	(void)state;
	(void)umask(022);
	(void)snprintf(dir, sizeof(dir), "/tmp/t_priv.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(t_spool, sizeof(t_spool), "%s/spool", dir);
	(void)snprintf(t_other, sizeof(t_other), "%s/other", dir);
	if (mkdir(t_spool, 0755) != 0 || mkdir(t_other, 0755) != 0)
		return -1;
	make_file(t_spool, "mail");
	make_file(t_other, "old");
	(void)snprintf(cmd, sizeof(cmd), "chmod 755 %s && chmod 777 %s/*", dir, dir);
	t_landlock = abi > 0 ? (int)abi : 0;
#if defined(SM_HAVE_SECCOMP) && !defined(SM_PRIV_SANITIZER)
	t_seccomp_here = true;
#endif
	return system(cmd);
}

int t_priv_teardown(void **state)
{
	char cmd[128];

	(void)state;
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}
