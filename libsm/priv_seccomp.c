/*
 * seccomp: the system calls that each role can still make.
 *
 * Invariant: what is not on a list ends the process (SECCOMP_RET_KILL_PROCESS); in an
 * --enable-testing build it gives EPERM and one line on descriptor 2 instead, by way of SIGSYS.
 * Neither a list nor a rule for an argument lets a role start a program or another process, trace
 * or signal others, map executable memory, change identity, or make a kind of socket that is not
 * its own. Thread: the only one; the filter is inherited by the helper threads, which come later.
 *
 * The lists hold what glibc 2.31 to 2.41 calls for the functions we use, on x86-64 and aarch64. A
 * name that an architecture does not have (open, epoll_wait on aarch64) is skipped there.
 */
#include "libsm/priv_int.h"

#ifdef SM_HAVE_SECCOMP
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <ucontext.h>
#include <unistd.h>
#endif

#ifdef HAVE_VALGRIND_VALGRIND_H
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

#ifndef SM_HAVE_SECCOMP

int sm_priv_seccomp(const struct sm_priv_profile *p, const char **state)
{
	(void)p;
	*state = "not-built";
	return 0;
}

#elif defined(SM_PRIV_SANITIZER)

int sm_priv_seccomp(const struct sm_priv_profile *p, const char **state)
{
	(void)p;
	*state = "off-sanitizer";
	return 0;
}

#else

/* Everybody: descriptors, time, memory, threads, signals, reading files, talking on sockets. */
static const char *const everybody[] = {
    /* descriptors */
    "read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "close",
    "close_range", "lseek", "fcntl", "dup", "dup2", "dup3", "pipe2", "fstat", "fstatfs",
    "getdents64",
    /* names; Landlock and the modes say which */
    "stat", "lstat", "newfstatat", "statx", "statfs", "access", "faccessat", "faccessat2",
    "readlink", "readlinkat", "getcwd",
    /* waiting */
    "epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll",
    "select", "pselect6", "eventfd2", "timerfd_create", "timerfd_settime", "timerfd_gettime",
    "signalfd4", "nanosleep", "clock_nanosleep", "restart_syscall",
    /* time and chance */
    "clock_gettime", "clock_getres", "gettimeofday", "time", "times", "getrandom",
    /* memory; mmap and mprotect by argument below */
    "munmap", "mremap", "madvise", "brk", "mlock", "mlock2", "munlock", "membarrier",
    /* threads; clone by argument below */
    "futex", "set_robust_list", "get_robust_list", "set_tid_address", "rseq", "sched_yield",
    "sched_getaffinity", "getcpu", "exit", "exit_group",
    /* signals; kill and tgkill by argument below */
    "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "rt_sigtimedwait", "rt_sigpending",
    "sigaltstack",
    /* who and where am I */
    "getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getresuid",
    "getresgid", "getgroups", "getrlimit", "getrusage", "sysinfo", "uname",
    /* talking; socket by argument below */
    "connect", "shutdown", "sendto", "sendmsg", "sendmmsg", "recvfrom", "recvmsg", "recvmmsg",
    "getsockname", "getpeername", "getsockopt", "setsockopt", NULL};

/* Who serves: connections, Unix sockets with a mode of their own. */
static const char *const server[] = {"accept",   "accept4", "umask",    "unlink", "unlinkat",
                                     "chmod",    "fchmod",  "fchmodat", "chown",  "fchown",
                                     "fchownat", "flock",   NULL};

/* Who makes listeners after this. Not together with Internet sockets: an own listener on any port
 * would be a way in. */
static const char *const listener[] = {"bind", "listen", NULL};

/* Who writes files: content, journal, greylist. open for writing comes with it. */
static const char *const writer[] = {"fsync",           "fdatasync", "fallocate", "ftruncate",
                                     "pwritev",         "pwritev2",  "rename",    "renameat",
                                     "renameat2",       "fadvise64", "msync",     "sync_file_range",
                                     "copy_file_range", NULL};

/* Who connects outward from a chosen source. */
static const char *const dialer[] = {"bind", NULL};

static int name_rule(scmp_filter_ctx f, const char *name)
{
	int nr = seccomp_syscall_resolve_name(name), rc;

	if (nr < 0)
		return 0;
	rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, nr, 0);
	return rc == -EOPNOTSUPP ? 0 : rc;
}

static int name_rules(scmp_filter_ctx f, const char *const *names)
{
	int rc = 0;

	for (; rc == 0 && *names != NULL; names++)
		rc = name_rule(f, *names);
	return rc;
}

/* `name` when the bits `mask` of argument `arg` are `value`. */
static int masked_rule(scmp_filter_ctx f, const char *name, unsigned arg, uint64_t mask,
                       uint64_t value)
{
	int nr = seccomp_syscall_resolve_name(name);
	struct scmp_arg_cmp is = {arg, SCMP_CMP_MASKED_EQ, mask, value};

	return nr < 0 ? 0 : seccomp_rule_add_array(f, SCMP_ACT_ALLOW, nr, 1, &is);
}

/* `name` when argument `arg`, an int, is `value`: the kernel does not look at its upper half
 * either. */
static int equal_rule(scmp_filter_ctx f, const char *name, unsigned arg, uint64_t value)
{
	return masked_rule(f, name, arg, 0xffffffffu, value);
}

static int refuse_rule(scmp_filter_ctx f, const char *name, int errnum)
{
	int nr = seccomp_syscall_resolve_name(name);

	return nr < 0 ? 0 : seccomp_rule_add(f, SCMP_ACT_ERRNO((uint16_t)errnum), nr, 0);
}

/* Rules on arguments that hold for every role. */
static int common_rules(scmp_filter_ctx f)
{
	uint64_t self = (uint64_t)getpid();
	int rc = 0;
	/* ioctl: bytes waiting, blocking mode, "is it a terminal". */
	static const uint64_t ioctls[] = {FIONREAD, FIONBIO, 0x5401 /* TCGETS */,
	                                  0x802c542a /* TCGETS2 */};
	/* prctl: thread names, names of memory areas, and asking for the dumpable flag. */
	static const uint64_t prctls[] = {PR_SET_NAME, PR_GET_NAME, PR_GET_DUMPABLE,
	                                  0x53564d41 /* PR_SET_VMA */};

	/* Threads only. clone3 hides its flags in memory: libc falls back to clone on ENOSYS. */
	if (rc == 0)
		rc = masked_rule(f, "clone", 0, CLONE_THREAD | CLONE_VM | CLONE_SIGHAND,
		                 CLONE_THREAD | CLONE_VM | CLONE_SIGHAND);
	if (rc == 0)
		rc = refuse_rule(f, "clone3", ENOSYS);
	if (rc == 0)
		rc = refuse_rule(f, "openat2", ENOSYS);
	/* Executable memory: libraries try it and do without (a just-in-time compiler of
	 * expressions, a name service module that nobody asked for before), so that is an error to
	 * them. What was writable never becomes executable. */
	if (rc == 0)
		rc = masked_rule(f, "mmap", 2, PROT_EXEC, 0);
	if (rc == 0)
		rc = seccomp_rule_add_array(
		    f, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(mmap), 1,
		    &(struct scmp_arg_cmp){2, SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC});
	if (rc == 0)
		rc = masked_rule(f, "mprotect", 2, PROT_EXEC, 0);
	/* Signals to itself, also for abort and for the fault points. */
	if (rc == 0)
		rc = equal_rule(f, "kill", 0, self);
	if (rc == 0)
		rc = equal_rule(f, "tgkill", 0, self);
	/* Limits may be read, of itself, not set. */
	if (rc == 0)
		rc = masked_rule(f, "prlimit64", 2, UINT64_MAX, 0);
	for (size_t i = 0; rc == 0 && i < SM_ARRAY_SIZE(ioctls); i++)
		rc = equal_rule(f, "ioctl", 1, ioctls[i]);
	for (size_t i = 0; rc == 0 && i < SM_ARRAY_SIZE(prctls); i++)
		rc = equal_rule(f, "prctl", 0, prctls[i]);
	if (rc == 0)
		rc = equal_rule(f, "socket", 0, AF_UNIX);
	if (rc == 0)
		rc = equal_rule(f, "socketpair", 0, AF_UNIX);
	return rc;
}

static int open_rules(scmp_filter_ctx f, bool write)
{
	int rc;

	if (write) {
		if ((rc = name_rule(f, "open")) != 0)
			return rc;
		return name_rule(f, "openat");
	}
	if ((rc = masked_rule(f, "open", 1, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY)) != 0)
		return rc;
	return masked_rule(f, "openat", 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY);
}

/* socket(family, type with any flags, ...) */
static int socket_rule(scmp_filter_ctx f, uint64_t family, uint64_t type)
{
	const struct scmp_arg_cmp is[] = {{0, SCMP_CMP_MASKED_EQ, 0xffffffffu, family},
	                                  {1, SCMP_CMP_MASKED_EQ, 0xf, type}};
	int nr = seccomp_syscall_resolve_name("socket");

	return seccomp_rule_add_array(f, SCMP_ACT_ALLOW, nr, SM_ARRAY_SIZE(is), is);
}

static int inet_rules(scmp_filter_ctx f, bool datagrams)
{
	static const uint64_t families[] = {AF_INET, AF_INET6};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < SM_ARRAY_SIZE(families); i++) {
		rc = socket_rule(f, families[i], SOCK_STREAM);
		if (rc == 0 && datagrams)
			rc = socket_rule(f, families[i], SOCK_DGRAM);
	}
	return rc;
}

static int role_rules(scmp_filter_ctx f, const struct sm_priv_profile *p)
{
	bool writes = false, serves = false;
	int rc = 0;

	switch (p->role) {
	case SM_ROLE_SMTPS: /* writes content, accepts */
	case SM_ROLE_QMGR:  /* writes envelopes, accepts */
	case SM_ROLE_SMAR:  /* writes the greylist, accepts */
		writes = serves = true;
		break;
	case SM_ROLE_SMTPC: /* "may not write any file" */
	case SM_ROLE_CTL:
	case SM_ROLE_NONE:
		break;
	}
	rc = open_rules(f, writes);
	if (rc == 0 && writes)
		rc = name_rules(f, writer);
	if (rc == 0 && serves)
		rc = name_rules(f, server);
	if (rc == 0 && serves && !p->inet)
		rc = name_rules(f, listener);
	if (rc == 0 && p->inet && !serves)
		rc = name_rules(f, dialer);
	/* Only DNS goes in datagrams. */
	if (rc == 0 && p->inet)
		rc = inet_rules(f, p->role == SM_ROLE_SMAR);
	return rc;
}

#ifdef SM_TESTING
/* SIGSYS of SCMP_ACT_TRAP: say which call it was and let it fail, so that a test sees every hit,
 * not only the first. */
static void on_sigsys(int sig, siginfo_t *si, void *context)
{
	char line[64] = "seccomp: system call ", *end = line + strlen(line);
	char digits[12];
	size_t n = 0;
	ucontext_t *uc = context;

	(void)sig;
	for (unsigned nr = (unsigned)si->si_syscall; n == 0 || nr != 0; nr /= 10)
		digits[n++] = (char)('0' + nr % 10);
	while (n > 0)
		*end++ = digits[--n];
	memcpy(end, " denied\n", 8);
	end += 8;
	if (write(2, line, (size_t)(end - line)) < 0) {
		/* no place to say it */
	}
#if defined(__x86_64__)
	uc->uc_mcontext.gregs[REG_RAX] = -EPERM;
#elif defined(__aarch64__)
	uc->uc_mcontext.regs[0] = (unsigned long long)-EPERM;
#else
	(void)uc;
#endif
}

static int trap_hits(void)
{
	struct sigaction sa = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO | SA_NODEFER};
	sigset_t set;

	(void)sigemptyset(&sa.sa_mask);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGSYS);
	if (sigaction(SIGSYS, &sa, NULL) != 0 || sigprocmask(SIG_UNBLOCK, &set, NULL) != 0)
		return sm_fail_sys(errno, "seccomp: SIGSYS");
	return 0;
}
#define ON_HIT SCMP_ACT_TRAP
#else
#define ON_HIT SCMP_ACT_KILL_PROCESS
#endif

int sm_priv_seccomp(const struct sm_priv_profile *p, const char **state)
{
	scmp_filter_ctx f;
	int rc;

	if (RUNNING_ON_VALGRIND) {
		*state = "off-valgrind";
		return 0;
	}
	/* A kernel that has filters looks at the (missing) filter, another one does not know the
	 * mode. */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL, 0, 0) < 0 && errno == EINVAL) {
		*state = "no";
		return 0;
	}
#ifdef SM_TESTING
	if ((rc = trap_hits()) != 0)
		return rc;
	*state = "testing";
#else
	*state = "on";
#endif
	if ((f = seccomp_init(ON_HIT)) == NULL)
		return sm_fail(SM_E_SYS, "seccomp: no filter context");
	/* Search by number instead of by order: cheap whatever the role. */
	(void)seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	rc = name_rules(f, everybody);
	if (rc == 0)
		rc = common_rules(f);
	if (rc == 0)
		rc = role_rules(f, p);
	if (rc == 0)
		rc = seccomp_load(f);
	seccomp_release(f);
	return rc == 0 ? 0 : sm_fail_sys(-rc, "seccomp");
}

#endif
