/*
 * What whoever had taken over a worker would try: the test of the other files of priv.h in the
 * processes as they really run. Only in --enable-testing builds.
 *
 * Invariant: an attempt that succeeds is undone or harmless, so that all of them are made and
 * reported; SM_HOSTILE names the one process that may be harmed. Thread: the loop's, when the
 * worker is ready.
 */
#include "libsm/priv.h"

#ifdef SM_TESTING
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libsm/base.h"
#include "libsm/log.h"

/* Of newer kernels than the headers. */
#define NR_OPEN_BY_HANDLE SYS_open_by_handle_at
#define NR_PIDFD_SIGNAL   424
#define NR_IO_URING_SETUP 425
#define NR_PIDFD_OPEN     434
#define NR_PIDFD_GETFD    438

#define FOREIGN_DIR  "/tmp"
#define SOME_PORT    39473
#define HOSTILE_NAME "hostile-probe"
/* The test puts it there as if it were a content. */
#define CONTENT "0/Sprobe"

static pid_t victim;

static void report(const char *name, long rc)
{
	sm_log(SM_NOTICE, "priv.probe", "name=%s result=%s", name,
	       rc >= 0 ? "done" : strerrorname_np(errno));
}

/* ---- files ---- */

static int try_open(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600);

	if (fd >= 0) {
		(void)close(fd);
		if (flags & O_EXCL)
			(void)unlink(path);
	}
	return fd;
}

static int list(const char *dir)
{
	DIR *d = opendir(dir);

	if (d == NULL)
		return -1;
	(void)closedir(d);
	return 0;
}

/* With a second name outside of the store a content would outlive its removal. */
static int link_out(const char *from)
{
	int rc = link(from, HOSTILE_NAME);

	if (rc == 0)
		(void)unlink(HOSTILE_NAME);
	return rc;
}

/* A directory, so that it stays for the next one: EISDIR comes after all questions of rights. */
static int unlink_in(const char *path)
{
	int rc = unlink(path);

	return rc != 0 && errno == EISDIR ? 0 : rc;
}

static int make_symlink(const char *path)
{
	int rc = symlink("/etc/shadow", path);

	if (rc == 0)
		(void)unlink(path);
	return rc;
}

static int make_fifo(const char *path)
{
	int rc = mknod(path, S_IFIFO | 0600, 0);

	if (rc == 0)
		(void)unlink(path);
	return rc;
}

static int make_dir(const char *path)
{
	int rc = mkdir(path, 0700);

	if (rc == 0)
		(void)rmdir(path);
	return rc;
}

static void files(const char *conf_path)
{
	report("read_shadow", try_open("/etc/shadow", O_RDONLY));
	report("read_passwd", try_open("/etc/passwd", O_RDONLY));
	report("read_mem", try_open("/dev/mem", O_RDWR));
	report("read_proc_parent", try_open("/proc/1/status", O_RDONLY));
	report("write_proc_self_mem", try_open("/proc/self/mem", O_RDWR));
	report("list_root", list("/"));
	report("list_tmp", list(FOREIGN_DIR));
	report("create_tmp", try_open(FOREIGN_DIR "/" HOSTILE_NAME, O_WRONLY | O_CREAT | O_EXCL));
	report("create_spool", try_open(HOSTILE_NAME, O_WRONLY | O_CREAT | O_EXCL));
	report("symlink_spool", make_symlink(HOSTILE_NAME));
	report("fifo_spool", make_fifo(HOSTILE_NAME));
	report("mkdir_spool", make_dir(HOSTILE_NAME));
	if (conf_path != NULL)
		report("write_config", try_open(conf_path, O_WRONLY));

	report("list_ibdb", list("ibdb"));
	report("create_ibdb", try_open("ibdb/" HOSTILE_NAME, O_WRONLY | O_CREAT | O_EXCL));
	report("list_defedb", list("defedb"));
	report("create_defedb", try_open("defedb/" HOSTILE_NAME, O_WRONLY | O_CREAT | O_EXCL));
	report("list_content", list("0"));
	report("read_content", try_open(CONTENT, O_RDONLY));
	report("write_content", try_open(CONTENT, O_RDWR));
	report("create_content", try_open("0/" HOSTILE_NAME, O_WRONLY | O_CREAT | O_EXCL));
	report("symlink_content", make_symlink("0/" HOSTILE_NAME));
	report("fifo_content", make_fifo("0/" HOSTILE_NAME));
	report("link_content", link_out(CONTENT));
	report("unlink_in_qmsmtps", unlink_in("qmsmtps/" HOSTILE_NAME));
	report("handle", syscall(NR_OPEN_BY_HANDLE, AT_FDCWD, &victim, O_RDONLY));
}

/* ---- sockets ---- */

static int make_socket(int family, int type, int protocol)
{
	int fd = socket(family, type, protocol);

	if (fd >= 0)
		(void)close(fd);
	return fd;
}

static struct sockaddr_in loopback(uint16_t port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
	                            .sin_port = htons(port),
	                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

/* Port 9 of loopback is nobody's: refused means that it could be asked. */
static int connect_out(void)
{
	struct sockaddr_in in = loopback(9);
	int fd = socket(AF_INET, SOCK_STREAM, 0), rc, err;

	if (fd < 0)
		return fd;
	rc = connect(fd, (struct sockaddr *)&in, sizeof(in));
	err = errno;
	(void)close(fd);
	errno = err;
	return rc != 0 && err == ECONNREFUSED ? 0 : rc;
}

static int bind_port(uint16_t port)
{
	struct sockaddr_in in = loopback(port);
	int fd = socket(AF_INET, SOCK_STREAM, 0), rc, err;

	if (fd < 0)
		return fd;
	rc = bind(fd, (struct sockaddr *)&in, sizeof(in));
	err = errno;
	(void)close(fd);
	errno = err;
	return rc;
}

static int listen_anywhere(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0), rc, err;

	if (fd < 0)
		return fd;
	rc = listen(fd, 1);
	err = errno;
	(void)close(fd);
	errno = err;
	return rc;
}

/* `name` of n bytes: begins with NUL when it is abstract. */
static int connect_unix(const char *name, size_t n)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0), rc, err;

	if (fd < 0)
		return fd;
	memcpy(un.sun_path, name, SM_MIN(n, sizeof(un.sun_path) - 1));
	rc = connect(fd, (struct sockaddr *)&un,
	             (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	err = errno;
	(void)close(fd);
	errno = err;
	return rc;
}

static int bind_unix(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0), rc, err;

	if (fd < 0)
		return fd;
	(void)snprintf(un.sun_path, sizeof(un.sun_path), "%s", path);
	rc = bind(fd, (struct sockaddr *)&un, sizeof(un));
	err = errno;
	(void)close(fd);
	if (rc == 0)
		(void)unlink(path);
	errno = err;
	return rc;
}

static void sockets(void)
{
	static const char abstract[] = "\0smx-" HOSTILE_NAME;
	static const char ctl[] = "ctl/qmgr";

	report("inet_stream", make_socket(AF_INET, SOCK_STREAM, 0));
	report("inet6_stream", make_socket(AF_INET6, SOCK_STREAM, 0));
	report("inet_datagram", make_socket(AF_INET, SOCK_DGRAM, 0));
	report("inet_raw", make_socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
	report("packet", make_socket(AF_PACKET, SOCK_RAW, 0));
	report("netlink", make_socket(AF_NETLINK, SOCK_RAW, 0));
	report("vsock", make_socket(AF_VSOCK, SOCK_STREAM, 0));
	report("connect_out", connect_out());
	report("bind_25", bind_port(25));
	report("bind_port", bind_port(SOME_PORT));
	report("listen", listen_anywhere());
	report("connect_abstract", connect_unix(abstract, sizeof(abstract) - 1));
	report("connect_control", connect_unix(ctl, sizeof(ctl) - 1));
	report("bind_unix_spool", bind_unix(HOSTILE_NAME));
}

/* ---- programs, other processes ---- */

static int run_shell(void)
{
	char *const argv[] = {(char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
	                      (char *)(uintptr_t) "exit 99", NULL};

	return execve("/bin/sh", argv, NULL);
}

/* A program that never was a file. */
static long run_memory(void)
{
	char *const argv[] = {(char *)(uintptr_t) "x", NULL};
	long fd = syscall(SYS_memfd_create, HOSTILE_NAME, 0);

	return fd < 0 ? fd : syscall(SYS_execveat, fd, "", argv, NULL, AT_EMPTY_PATH);
}

static long make_process(void)
{
	long pid = syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	if (pid > 0)
		(void)waitpid((pid_t)pid, NULL, 0);
	return pid;
}

static long trace(void)
{
	long rc = ptrace(PTRACE_ATTACH, victim, NULL, NULL);

	if (rc == 0)
		(void)ptrace(PTRACE_DETACH, victim, NULL, NULL);
	return rc;
}

static ssize_t read_victim(void)
{
	char b;
	struct iovec v = {&b, 1};

	return process_vm_readv(victim, &v, 1, &v, 1, 0);
}

static int map_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS,
	               -1, 0);

	return p == MAP_FAILED ? -1 : munmap(p, 4096);
}

static int make_executable(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int rc, err;

	if (p == MAP_FAILED)
		return -1;
	rc = mprotect(p, 4096, PROT_READ | PROT_EXEC);
	err = errno;
	(void)munmap(p, 4096);
	errno = err;
	return rc;
}

static void processes(void)
{
	report("fork", make_process());
	report("exec", run_shell());
	report("exec_memory", run_memory());
	report("map_executable", map_executable());
	report("make_executable", make_executable());
	report("ptrace", trace());
	report("read_process", read_victim());
	report("pidfd_open", syscall(NR_PIDFD_OPEN, victim, 0));
	report("pidfd_getfd", syscall(NR_PIDFD_GETFD, 0, 0, 0));
	report("pidfd_signal", syscall(NR_PIDFD_SIGNAL, 0, SIGKILL, NULL, 0));
	report("kill", kill(victim, SIGKILL));
	report("kill_all", kill(-1, 0));
	report("signal_supervisor", kill(getppid(), 0));
}

/* ---- the kernel's own ---- */

static void kernel(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct all[2] = {{~0U, ~0U, ~0U}, {~0U, ~0U, ~0U}};
	struct rlimit rl = {1 << 20, 1 << 20};
	gid_t gid = 0;

	/* Not by libc, which tells all threads with every signal blocked: no place for SIGSYS. */
	report("setuid", syscall(SYS_setuid, 0));
	report("setgid", syscall(SYS_setgid, 0));
	report("setgroups", syscall(SYS_setgroups, 1, &gid));
	report("capset", syscall(SYS_capset, &head, all));
	report("keep_caps", prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
	report("raise_limit", setrlimit(RLIMIT_NOFILE, &rl));
	report("mount", mount("none", "/mnt", "tmpfs", 0, NULL));
	report("chroot", chroot("/"));
	report("unshare_user", unshare(CLONE_NEWUSER));
	report("setns", syscall(SYS_setns, 0, 0));
	report("bpf", syscall(SYS_bpf, 0, NULL, 0));
	report("perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	report("userfaultfd", syscall(SYS_userfaultfd, 0));
	report("io_uring", syscall(NR_IO_URING_SETUP, 1, NULL));
	report("keyctl", syscall(SYS_keyctl, 0, -3, 0));
	report("module", syscall(SYS_init_module, NULL, 0, ""));
	report("personality", syscall(SYS_personality, 0));
	report("seccomp", syscall(SYS_seccomp, 2, 0, NULL));
	report("terminal_input", syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, ""));
}

void sm_priv_probe(const char *conf_path)
{
	const char *pid = getenv("SM_HOSTILE");
	static bool tried; /* one that serves again is ready again */
	uint64_t n;

	if (pid == NULL || tried || sm_str_u64(sm_str(pid), 10, INT32_MAX, &n) != 0 || n < 2)
		return;
	tried = true;
	victim = (pid_t)n;
	files(conf_path);
	sockets();
	processes();
	kernel();
	sm_log(SM_NOTICE, "priv.probed", NULL);
}
#else
/* ISO C wants something in each file. */
extern const int sm_priv_probe_not_built;
const int sm_priv_probe_not_built = 1;
#endif
