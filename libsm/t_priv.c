/*
 * Tests of the two sandboxes of priv.c: each case forks a child that takes the profile of a role
 * (after becoming nobody, when the tests run as root) and then tries one thing.
 */
#include "libsm/t_priv.h"

#include <errno.h>
#include <fcntl.h>
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
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "libsm/t_patience.h"

/* By seccomp: EPERM in a testing build, else death; in a build without the filter nothing is
 * claimed. */
static void forbidden(enum sm_role role, bool inet, int (*attempt)(void))
{
	int got;

	if (!t_seccomp_here)
		return;
	got = t_under(role, inet, attempt);
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

	(void)snprintf(path, sizeof(path), "%s/mail", t_spool);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return t_saw(fd);
	return read(fd, text, sizeof(text)) == 5 ? SAW_OK : SAW_OTHER;
}

static int write_spool(void)
{
	char path[128], to[128];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/new", t_spool);
	(void)snprintf(to, sizeof(to), "%s/newer", t_spool);
	if ((fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0640)) < 0)
		return t_saw(fd);
	if (write(fd, "x", 1) != 1 || fdatasync(fd) != 0 || ftruncate(fd, 0) != 0 || close(fd) != 0)
		return SAW_OTHER;
	return t_saw(rename(path, to) == 0 ? unlink(to) : -1);
}

static int serve_in_spool(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0),
	    c = socket(AF_UNIX, SOCK_STREAM, 0);

	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%.100s/sock", t_spool);
	if (bind(s, (struct sockaddr *)&sun, sizeof(sun)) != 0 || listen(s, 5) != 0 ||
	    connect(c, (struct sockaddr *)&sun, sizeof(sun)) != 0 || accept4(s, NULL, NULL, 0) < 0)
		return SAW_OTHER;
	return t_saw(unlink(sun.sun_path));
}

static int read_elsewhere(void)
{
	return t_saw(open("/etc/passwd", O_RDONLY));
}

static int write_elsewhere(void)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/new", t_other);
	return t_saw(open(path, O_WRONLY | O_CREAT, 0640));
}

static int unlink_elsewhere(void)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/old", t_other);
	return t_saw(unlink(path));
}

static int run_program(void)
{
	char name[] = "true", *argv[] = {name, NULL};

	return t_saw(execve("/bin/true", argv, NULL));
}

static int make_process(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return t_saw(pid);
}

static int make_process_clone3(void)
{
	/* Answered with ENOSYS in every build. */
	return syscall(435, NULL, 0) == -1 && errno == ENOSYS ? SAW_OK : SAW_OTHER;
}

static int signal_parent(void)
{
	return t_saw(kill(getppid(), 0));
}

static int trace_parent(void)
{
	return t_saw(ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int read_parent(void)
{
	char b;
	struct iovec v = {&b, 1};

	return t_saw(process_vm_readv(getppid(), &v, 1, &v, 1, 0));
}

static int map_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return t_saw(p == MAP_FAILED ? -1 : 0);
}

static int make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return t_saw(mprotect(p, 4096, PROT_READ | PROT_EXEC));
}

static int change_identity(void)
{
	return t_saw(setuid(getuid()));
}

static int mount_something(void)
{
	return t_saw(mount("none", "/mnt", "tmpfs", 0, NULL));
}

static int raise_limit(void)
{
	struct rlimit rl = {1, 1};

	return t_saw(setrlimit(RLIMIT_CORE, &rl));
}

static int inet_socket(void)
{
	return t_saw(socket(AF_INET, SOCK_STREAM, 0));
}

static int connect_to(uint16_t port)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
	                         .sin_port = htons(port),
	                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd == -1 ? SAW_OTHER : t_saw(connect(fd, (struct sockaddr *)&to, sizeof(to)));
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
	return t_saw(socket(AF_INET6, SOCK_DGRAM, 0));
}

static int packet_socket(void)
{
	return t_saw(socket(AF_PACKET, SOCK_RAW, 0));
}

/* A listener of its own on a fixed port: the port is closed again at once, on loopback. */
static int own_listener(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
	                         .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	                         .sin_port = htons(39471)};
	int s = socket(AF_INET, SOCK_STREAM, 0), on = 1;

	(void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	return t_saw(bind(s, (struct sockaddr *)&in, sizeof(in)));
}

/* Without bind: the kernel picks a port. */
static int any_listener(void)
{
	return t_saw(listen(socket(AF_INET, SOCK_STREAM, 0), 1));
}

static int bound_source(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

	return t_saw(bind(socket(AF_INET, SOCK_STREAM, 0), (struct sockaddr *)&in, sizeof(in)));
}

static const enum sm_role roles[] = {SM_ROLE_SMTPS, SM_ROLE_QMGR, SM_ROLE_SMTPC, SM_ROLE_SMAR};

static void test_daily_work(void **state)
{
	(void)state;
	for (size_t i = 0; i < SM_ARRAY_SIZE(roles); i++) {
		bool inet = roles[i] == SM_ROLE_SMTPC || roles[i] == SM_ROLE_SMAR;
		assert_int_equal(t_under(roles[i], inet, daily_work), SAW_OK);
		assert_int_equal(t_under(roles[i], inet, read_spool), SAW_OK);
		if (t_seccomp_here)
			assert_int_equal(t_under(roles[i], inet, make_process_clone3), SAW_OK);
		if (roles[i] != SM_ROLE_SMTPC) {
			assert_int_equal(t_under(roles[i], inet, write_spool), SAW_OK);
			assert_int_equal(t_under(roles[i], false, serve_in_spool), SAW_OK);
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
	if (t_seccomp_here)
		assert_int_equal(t_under(SM_ROLE_SMAR, true, map_executable), SAW_EPERM);
}

static void test_sockets_by_role(void **state)
{
	(void)state;
	forbidden(SM_ROLE_QMGR, false, inet_socket);
	forbidden(SM_ROLE_SMTPS, false, inet_socket);
	forbidden(SM_ROLE_SMTPC, true, write_spool);
	assert_int_equal(t_under(SM_ROLE_SMTPC, true, inet_socket), SAW_OK);
	assert_int_equal(t_under(SM_ROLE_SMAR, true, inet_datagram), SAW_OK);
	forbidden(SM_ROLE_SMTPC, true, inet_datagram);
	forbidden(SM_ROLE_SMAR, true, any_listener);
	forbidden(SM_ROLE_SMTPC, true, any_listener);
	assert_int_equal(t_under(SM_ROLE_SMTPC, true, bound_source), SAW_OK);
	/* A server with filters reaches these, and nobody else; a client reaches everybody. */
	static const uint16_t ports[] = {1, 0};
	t_connect_ports = ports;
	assert_int_equal(t_under(SM_ROLE_SMTPS, true, connect_port_1), SAW_OTHER);
	if (t_landlock >= 4)
		assert_int_equal(t_under(SM_ROLE_SMTPS, true, connect_port_2), SAW_EACCES);
	t_connect_ports = NULL;
	assert_int_equal(t_under(SM_ROLE_SMTPC, true, connect_port_2), SAW_OTHER);
	if (t_landlock >= 4)
		assert_int_equal(t_under(SM_ROLE_SMTPC, true, own_listener), SAW_EACCES);
}

static void test_paths(void **state)
{
	(void)state;
	if (t_landlock == 0)
		skip();
	for (size_t i = 0; i < SM_ARRAY_SIZE(roles); i++) {
		assert_int_equal(t_under(roles[i], false, read_elsewhere), SAW_EACCES);
		if (roles[i] != SM_ROLE_SMTPC) {
			assert_int_equal(t_under(roles[i], false, write_elsewhere), SAW_EACCES);
			assert_int_equal(t_under(roles[i], false, unlink_elsewhere), SAW_EACCES);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_daily_work),
	    cmocka_unit_test(test_no_role_may),
	    cmocka_unit_test(test_sockets_by_role),
	    cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, t_priv_setup, t_priv_teardown);
}
