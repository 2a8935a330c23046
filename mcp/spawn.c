/*
 * Making a process. Invariant: what the child has when the program begins is exactly: 0, 1, 2, the
 * mcp socket as 3 when there is one (and the program itself as 4 when it is a script), default
 * signals, an own session, the environment of env.h, the user of its section; and it ends when mcp
 * ends. Everything after fork runs in the child of a single-threaded process.
 */
#include "mcp/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "libsm/priv.h"
#include "libsm/proc.h"
#include "mcp/env.h"

enum { TALK_FD = 3, PROGRAM_FD = 4, FIRST_CLOSED = 5, PARKED_FROM = 10 };
enum { EXIT_CANNOT_RUN = 126, EXIT_NO_PROGRAM = 127 };

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

extern char **environ;

/* The child's last words: into the log of its section, and to mcp as a status line. */
SM_NORETURN static void fail(const struct mc_spawn *sp, const char *what, int status)
{
	char line[MC_PACKET_MAX];
	int n = snprintf(line, sizeof(line), "S%s: cannot start: %s\n", sp->service->name, what);

	n = SM_MIN(n, (int)sizeof(line) - 1);
	if (write(2, line + 1, (size_t)n - 1) < 0) {
		/* the mcp socket may still carry it */
	}
	if (sp->talk_fd >= 0)
		(void)send(sp->talk_fd, line, (size_t)n - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	_exit(status);
}

static void close_from(unsigned first)
{
	if (syscall(SYS_close_range, first, ~0u, 0) == 0)
		return;
	for (long fd = (long)first, end = sysconf(_SC_OPEN_MAX); fd < end; fd++)
		(void)close((int)fd);
}

/* A copy out of the way of the numbers that are about to be set. */
static int park(int fd)
{
	return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, PARKED_FROM);
}

static void place(int fd, int at)
{
	if (fd < 0 || dup2(fd, at) < 0)
		(void)close(at);
}

static void set_descriptors(struct mc_spawn *sp)
{
	struct mc_service *s = sp->service;
	int in = park(sp->stdin_fd), log = park(s->log_fd), talk = park(sp->talk_fd),
	    program = park(s->program.fd);

	if (in < 0)
		in = park(open("/dev/null", O_RDWR | O_CLOEXEC));
	if (log < 0)
		log = park(2);
	place(in, 0);
	place(sp->stdout_too ? in : log, 1);
	place(log, 2);
	place(talk, TALK_FD);
	place(program, PROGRAM_FD);
	if (!s->program.script)
		(void)fcntl(PROGRAM_FD, F_SETFD, FD_CLOEXEC);
	close_from(FIRST_CLOSED);
	if (sp->talk_fd >= 0)
		sp->talk_fd = TALK_FD;
}

static void default_signals(void)
{
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)signal(sig, SIG_DFL);
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static void become(const struct mc_spawn *sp)
{
	const struct mc_service *s = sp->service;
	struct rlimit nofile = mc.nofile;

	if (s->conf.max_descriptors > 0)
		nofile.rlim_cur = nofile.rlim_max = (rlim_t)s->conf.max_descriptors;
	if (setrlimit(RLIMIT_NOFILE, &nofile) != 0)
		fail(sp, "max_descriptors is above the limit of mcp", EXIT_CANNOT_RUN);
	if (s->become) {
		if (sm_priv_become(s->conf.user.p, s->conf.group.n > 0 ? s->conf.group.p : NULL) !=
		    0)
			fail(sp, sm_diag(), EXIT_CANNOT_RUN);
	} else {
		(void)umask(027);
		/* A program that runs as root because its section says so may need to become
		 * others. */
		if (s->uid != 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
			fail(sp, "PR_SET_NO_NEW_PRIVS", EXIT_CANNOT_RUN);
	}
}

static char **make_argv(const struct mc_spawn *sp, struct sm_arena *a)
{
	struct mc_service *s = sp->service;
	char **argv = sm_arena_must(a, sizeof(*argv) * (SM_CONF_ARGV_MAX + 3));
	int n = 0;

	argv[n++] = s->argv[0];
	if (s->conf.pass_id.n > 0) {
		argv[n++] = (char *)(uintptr_t)s->conf.pass_id.p;
		argv[n++] = (char *)(uintptr_t)sm_arena_printf(a, "%u", sp->id).p;
	}
	for (int i = 1; i < s->argc; i++)
		argv[n++] = s->argv[i];
	argv[n] = NULL;
	return argv;
}

static char **make_env(const struct mc_spawn *sp, struct sm_arena *a)
{
	const char *more[4];
	size_t n = 0;

	if (sp->talk_fd >= 0) {
		more[n++] = sm_arena_printf(a, SM_MCP_FD_ENV "=%d", TALK_FD).p;
		more[n++] = sm_arena_printf(a, SM_MCP_TICK_ENV "=%lld",
		                            (long long)sp->service->conf.watchdog_ms / 4)
		                .p;
	}
	if (sp->pass_fd_path != NULL)
		more[n++] = sm_arena_printf(a, SM_MCP_PASS_FD_ENV "=%s", sp->pass_fd_path).p;
	more[n] = NULL;
	return mc_env_make(environ, more, a);
}

SM_NORETURN static void child(struct mc_spawn sp, pid_t parent)
{
	char **argv, **env;
	struct sm_arena a;

	sm_arena_init(&a, "spawn", 4096, 1024 * 1024);
	argv = make_argv(&sp, &a);
	env = make_env(&sp, &a);
	(void)setsid();
	set_descriptors(&sp);
	default_signals();
	become(&sp);
	/* After the change of user, which clears it. When mcp was killed a new one must find the
	 * field clear. */
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0);
	if (getppid() != parent)
		_exit(EXIT_CANNOT_RUN);
	(void)syscall(SYS_execveat, PROGRAM_FD, "", argv, env, AT_EMPTY_PATH);
	fail(&sp, strerror(errno), errno == ENOENT ? EXIT_NO_PROGRAM : EXIT_CANNOT_RUN);
}

int mc_spawn(const struct mc_spawn *sp, pid_t *pid)
{
	pid_t parent = getpid();

	*pid = fork();
	if (*pid < 0)
		return sm_fail_sys(errno, "fork for section %s", sp->service->name);
	if (*pid == 0)
		child(*sp, parent);
	return 0;
}
