/*
 * Tests of priv.c and its two sandboxes: each case forks a child that takes the profile of a role
 * (after becoming nobody, when the tests run as root) and then tries one thing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsm/priv_int.h"
#include "libsm/t_patience.h"

/* How a child says what it saw. */
enum {
	SAW_OK = 0,
	SAW_EPERM = 1,
	SAW_EACCES = 2,
	SAW_OTHER = 3,
	SAW_NO_DROP = 4,
	SAW_KILLED = 100
};

static char dir[64], spool[96], other[96];
static int landlock;      /* ABI */
static bool seccomp_here; /* the filter is really active in this build */

static struct sm_priv_path paths[] = {
    {spool, SM_PATH_READ | SM_PATH_WRITE | SM_PATH_CREATE | SM_PATH_SOCKET},
    {"/does/not/exist", SM_PATH_READ},
    {NULL, 0},
};

static void become_nobody(void)
{
	if (getuid() == 0 && (setgroups(0, NULL) != 0 || setresgid(65534, 65534, 65534) != 0 ||
	                      setresuid(65534, 65534, 65534) != 0))
		_exit(SAW_OTHER);
}

static int saw(long rc)
{
	if (rc >= 0)
		return SAW_OK;
	return errno == EPERM ? SAW_EPERM : errno == EACCES ? SAW_EACCES : SAW_OTHER;
}

static int wait_for(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return SAW_KILLED + WTERMSIG(status);
	return WEXITSTATUS(status);
}

/* Run `attempt` under the profile of `role`; what it saw. */
static const uint16_t *connect_ports;

static int under(enum sm_role role, bool inet, int (*attempt)(void))
{
	struct sm_priv_profile p = {.role = role,
	                            .paths = paths,
	                            .inet = inet,
	                            .connect_ports = connect_ports,
	                            .max_files = 64};
	char report[128];
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		become_nobody();
		if (sm_priv_drop(&p, report, sizeof(report)) != 0)
			_exit(SAW_NO_DROP);
		_exit(attempt());
	}
	return wait_for(pid);
}

/* By seccomp: EPERM in a testing build, else death; in a build without the filter nothing is
 * claimed. */
static void forbidden(enum sm_role role, bool inet, int (*attempt)(void))
{
	int got;

	if (!seccomp_here)
		return;
	got = under(role, inet, attempt);
#ifdef SM_TESTING
	assert_int_equal(got, SAW_EPERM);
#else
	assert_int_equal(got, SAW_KILLED + SIGSYS);
#endif
}

static void *thread_main(void *arg)
{
	char *p = malloc(1 << 20);

	memset(p, 1, 1 << 20);
	free(p);
	return arg;
}

/* What every worker does all day. */
static int daily_work(void)
{
	struct epoll_event ev = {.events = EPOLLIN};
	struct itimerspec soon = {.it_value.tv_nsec = 1000};
	struct rlimit rl;
	pthread_t t[4];
	sigset_t set;
	uint64_t one = 1;
	int ep = epoll_create1(EPOLL_CLOEXEC), e = eventfd(0, EFD_NONBLOCK), pair[2];
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
	char *big = malloc(64 << 20), byte;
	struct timespec ts;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGUSR1);
	if (ep < 0 || e < 0 || timer < 0 || big == NULL)
		return SAW_OTHER;
	memset(big, 0, 64 << 20);
	if (madvise((char *)(((uintptr_t)big + 4095) & ~(uintptr_t)4095), 1 << 20, MADV_DONTNEED) !=
	    0)
		return SAW_OTHER;
	free(big);
	if (mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
	    MAP_FAILED)
		return SAW_OTHER;
	if (epoll_ctl(ep, EPOLL_CTL_ADD, e, &ev) != 0 || write(e, &one, 8) != 8 ||
	    epoll_wait(ep, &ev, 1, T_PATIENCE_MS) != 1 ||
	    timerfd_settime(timer, 0, &soon, NULL) != 0)
		return SAW_OTHER;
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0 || signalfd(-1, &set, SFD_NONBLOCK) < 0)
		return SAW_OTHER;
	if (kill(getpid(), SIGUSR1) != 0 || raise(SIGUSR1) != 0)
		return SAW_OTHER;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++)
		if (pthread_create(&t[i], NULL, thread_main, NULL) != 0)
			return SAW_OTHER;
	for (size_t i = 0; i < SM_ARRAY_SIZE(t); i++)
		if (pthread_join(t[i], NULL) != 0)
			return SAW_OTHER;
	if (syscall(SYS_getrandom, &one, sizeof(one), 0) != 8 ||
	    clock_gettime(CLOCK_REALTIME, &ts) != 0)
		return SAW_OTHER;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair) != 0 || send(pair[0], "x", 1, 0) != 1 ||
	    recv(pair[1], &byte, 1, 0) != 1)
		return SAW_OTHER;
	if (getrlimit(RLIMIT_NOFILE, &rl) != 0 || rl.rlim_max > 64)
		return SAW_OTHER;
	(void)isatty(2);
	return prctl(PR_SET_NAME, "t_priv", 0, 0, 0) == 0 ? SAW_OK : SAW_OTHER;
}

static int read_spool(void)
{
	char path[128], text[8];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/mail", spool);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return saw(fd);
	return read(fd, text, sizeof(text)) == 5 ? SAW_OK : SAW_OTHER;
}

static int write_spool(void)
{
	char path[128], to[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/new", spool);
	(void)snprintf(to, sizeof(to), "%s/newer", spool);
	if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0640)) < 0)
		return saw(fd);
	if (write(fd, "x", 1) != 1 || fdatasync(fd) != 0 || ftruncate(fd, 0) != 0 || close(fd) != 0)
		return SAW_OTHER;
	return saw(rename(path, to) == 0 ? unlink(to) : -1);
}

static int serve_in_spool(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0),
	    c = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%.100s/sock", spool);
	if (bind(s, (struct sockaddr *)&sun, sizeof(sun)) != 0 || listen(s, 5) != 0 ||
	    connect(c, (struct sockaddr *)&sun, sizeof(sun)) != 0 || accept4(s, NULL, NULL, 0) < 0)
		return SAW_OTHER;
	return saw(unlink(sun.sun_path));
}

static int read_elsewhere(void)
{
	return saw(open("/etc/passwd", O_RDONLY));
}

static int write_elsewhere(void)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/new", other);
	return saw(open(path, O_WRONLY | O_CREAT, 0640));
}

static int unlink_elsewhere(void)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/old", other);
	return saw(unlink(path));
}

static int run_program(void)
{
	char name[] = "true", *argv[] = {name, NULL};

	return saw(execve("/bin/true", argv, NULL));
}

static int make_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return saw(pid);
}

static int make_process_clone3(void)
{
	/* Answered with ENOSYS in every build. */
	return syscall(435, NULL, 0) == -1 && errno == ENOSYS ? SAW_OK : SAW_OTHER;
}

static int signal_parent(void)
{
	return saw(kill(getppid(), 0));
}

static int trace_parent(void)
{
	return saw(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int read_parent(void)
{
	char b;
	struct iovec v = {&b, 1};

	return saw(process_vm_readv(getppid(), &v, 1, &v, 1, 0));
}

static int map_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return saw(p == MAP_FAILED ? -1 : 0);
}

static int make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return saw(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int change_identity(void)
{
	return saw(setuid(getuid()));
}

static int mount_something(void)
{
	return saw(mount("none", "/mnt", "tmpfs", 0, NULL));
}

static int raise_limit(void)
{
	struct rlimit rl = {1, 1};

	return saw(setrlimit(RLIMIT_CORE, &rl));
}

static int inet_socket(void)
{
	return saw(socket(AF_INET, SOCK_STREAM, 0));
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	                         .sin_port = htons(port),
	                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd == -1 ? SAW_OTHER : saw(connect(fd, (struct sockaddr *)&to, sizeof(to)));
}

/* Nobody listens there. */
static int connect_port_1(void)
{
	return connect_to(1);
}

static int connect_port_2(void)
{
	return connect_to(2);
}

static int inet_datagram(void)
{
	return saw(socket(AF_INET6, SOCK_DGRAM, 0));
}

static int packet_socket(void)
{
	return saw(socket(AF_PACKET, SOCK_RAW, 0));
}

/* A listener of its own on a fixed port: the port is closed again at once, on loopback. */
static int own_listener(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
	                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	                         .sin_port = htons(39471)};
	int s = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	(void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return saw(bind(s, (struct sockaddr *)&in, sizeof(in)));
}

/* Without bind: the kernel picks a port. */
static int any_listener(void)
{
	return saw(listen(socket(AF_INET, SOCK_STREAM, 0), 1));
}

static int bound_source(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return saw(bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&in, sizeof(in)));
}

static const enum sm_role roles[] = {SM_ROLE_SMTPS, SM_ROLE_QMGR, SM_ROLE_SMTPC, SM_ROLE_SMAR};

static void test_daily_work(void **state)
{
	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(roles); i++) {
		bool inet = roles[i] == SM_ROLE_SMTPC || roles[i] == SM_ROLE_SMAR;
		assert_int_equal(under(roles[i], inet, daily_work), SAW_OK);
		assert_int_equal(under(roles[i], inet, read_spool), SAW_OK);
		if (seccomp_here)
			assert_int_equal(under(roles[i], inet, make_process_clone3), SAW_OK);
		if (roles[i] != SM_ROLE_SMTPC) {
			assert_int_equal(under(roles[i], inet, write_spool), SAW_OK);
			assert_int_equal(under(roles[i], false, serve_in_spool), SAW_OK);
		}
	}
}

static void test_no_role_may(void **state)
{
	static int (*const never[])(void) = {
	    run_program,     make_process,    signal_parent,   trace_parent, read_parent,
	    make_executable, change_identity, mount_something, raise_limit,  packet_socket};

	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(roles); i++)
		for (size_t k = 0; k < SM_ARRAY_SIZE(never); k++)
			forbidden(roles[i], roles[i] >= SM_ROLE_SMTPC, never[k]);
	if (seccomp_here)
		assert_int_equal(under(SM_ROLE_SMAR, true, map_executable), SAW_EPERM);
}

static void test_sockets_by_role(void **state)
{
	(void)state;
	forbidden(SM_ROLE_QMGR, false, inet_socket);
	forbidden(SM_ROLE_SMTPS, false, inet_socket);
	forbidden(SM_ROLE_SMTPC, true, write_spool);
	assert_int_equal(under(SM_ROLE_SMTPC, true, inet_socket), SAW_OK);
	assert_int_equal(under(SM_ROLE_SMAR, true, inet_datagram), SAW_OK);
	forbidden(SM_ROLE_SMTPC, true, inet_datagram);
	forbidden(SM_ROLE_SMAR, true, any_listener);
	forbidden(SM_ROLE_SMTPC, true, any_listener);
	assert_int_equal(under(SM_ROLE_SMTPC, true, bound_source), SAW_OK);
	/* A server with filters reaches these, and nobody else; a client reaches everybody. */
	static const uint16_t ports[] = {1, 0};
	connect_ports = ports;
	assert_int_equal(under(SM_ROLE_SMTPS, true, connect_port_1), SAW_OTHER);
	if (landlock >= 4)
		assert_int_equal(under(SM_ROLE_SMTPS, true, connect_port_2), SAW_EACCES);
	connect_ports = NULL;
	assert_int_equal(under(SM_ROLE_SMTPC, true, connect_port_2), SAW_OTHER);
	if (landlock >= 4)
		assert_int_equal(under(SM_ROLE_SMTPC, true, own_listener), SAW_EACCES);
}

static void test_paths(void **state)
{
	(void)state;
	if (landlock == 0)
		skip();
	for (size_t i = 0; i < SM_ARRAY_SIZE(roles); i++) {
		assert_int_equal(under(roles[i], false, read_elsewhere), SAW_EACCES);
		if (roles[i] != SM_ROLE_SMTPC) {
			assert_int_equal(under(roles[i], false, write_elsewhere), SAW_EACCES);
			assert_int_equal(under(roles[i], false, unlink_elsewhere), SAW_EACCES);
		}
	}
}

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
	struct sm_priv_profile p = {.role = SM_ROLE_QMGR, .paths = paths};
	char report[128];
	int up[2], down[2], n;
	pid_t pid;

	assert_int_equal(pipe(up), 0);
	assert_int_equal(pipe(down), 0);
	if ((pid = fork()) == 0) {
		if (become && sm_priv_become("nobody", NULL) != 0)
			_exit(SAW_NO_DROP);
		become_nobody();
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
	assert_int_equal(status_field(pid, "Seccomp:"), seccomp_here ? 2 : 0);
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
	assert_int_equal(wait_for(pid), SAW_OK);
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
	assert_int_equal(wait_for(pid), SAW_OK);
}

static void test_refuses_root(void **state)
{
	struct sm_priv_profile p = {.role = SM_ROLE_QMGR, .paths = paths};
	char report[64];

	(void)state;
	if (getuid() != 0)
		skip();
	assert_int_equal(sm_priv_drop(&p, report, sizeof(report)), SM_E_DENIED);
	assert_non_null(strstr(sm_diag(), "root"));
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

static int setup(void **state)
{
	char cmd[256];
	long abi = syscall(444, NULL, 0, 1);

	(void)state;
	(void)umask(022);
	(void)snprintf(dir, sizeof(dir), "/tmp/t_priv.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	(void)snprintf(spool, sizeof(spool), "%s/spool", dir);
	(void)snprintf(other, sizeof(other), "%s/other", dir);
	if (mkdir(spool, 0755) != 0 || mkdir(other, 0755) != 0)
		return -1;
	make_file(spool, "mail");
	make_file(other, "old");
	(void)snprintf(cmd, sizeof(cmd), "chmod 755 %s && chmod 777 %s/*", dir, dir);
	landlock = abi > 0 ? (int)abi : 0;
#if defined(SM_HAVE_SECCOMP) && !defined(SM_PRIV_SANITIZER)
	seccomp_here = true;
#endif
	return system(cmd);
}

static int teardown(void **state)
{
	char cmd[128];

	(void)state;
	(void)snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	return system(cmd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_daily_work),      cmocka_unit_test(test_no_role_may),
	    cmocka_unit_test(test_sockets_by_role), cmocka_unit_test(test_paths),
	    cmocka_unit_test(test_observed),        cmocka_unit_test(test_become),
	    cmocka_unit_test(test_refuses_root),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
