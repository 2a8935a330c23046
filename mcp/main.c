/*
 * mcp: the supervisor. It reads the configuration, opens sockets and files, starts programs under
 * their users and keeps them running. The only process of smx that runs as root; it parses nothing
 * that came from anybody but the administrator. This file: command line, the one-instance lock,
 * going into the background, the pid file. One thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnu/libc-version.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "libsm/buf.h"
#include "libsm/log.h"
#include "libsm/proc.h"
#include "mcp/conf.h"
#include "mcp/files.h"
#include "mcp/notify.h"
#include "mcp/rights.h"
#include "mcp/supervise.h"

#define LOCK_FILE       "mcp.lock"
#define ADDRESS_WAIT_MS 60000

struct mc_globals mc;

static int lock_fd = -1;
static int parent_fd = -1; /* pipe to the process of the shell, which waits until all is up */

static void usage(FILE *to)
{
	(void)fputs(
	    "usage: mcp [-FhlV] [-L LOGDIR] [-p PIDFILE] [-f] CONFFILE\n"
	    "Run in the main queue directory. Starts what the sections of CONFFILE with path and\n"
	    "start_action say, and keeps it running.\n"
	    "  -F          stay in the foreground (default: go to the background when all is up)\n"
	    "  -L LOGDIR   output of each program to LOGDIR/SECTION.log, of mcp itself to "
	    "LOGDIR/mcp.log\n"
	    "              (default: standard error of mcp)\n"
	    "  -l          mcp itself logs by syslog\n"
	    "  -p PIDFILE  write the process id there (default: none)\n"
	    "  -f CONFFILE configuration file\n"
	    "  -V          version; -VV libraries; -VVVVV the configuration with defaults;\n"
	    "              -VVVVVV also the words of all options\n"
	    "  -h          this text\n"
	    "Signals: TERM ends all, HUP reads the configuration again and restarts what changed,\n"
	    "USR1 opens the log files anew, USR2 logs the state.\n",
	    to);
}

static int complain(int status)
{
	(void)fprintf(stderr, "mcp: %s\n", sm_diag());
	return status;
}

static void print_buf(struct sm_buf *b)
{
	(void)fwrite(sm_buf_p(b), 1, b->len, stdout);
	sm_buf_fini(b);
}

static int print_conf(bool words)
{
	struct sm_list services;
	struct mc_own own;
	struct sm_arena a;
	struct sm_buf b;

	if (mc.conf_path == NULL)
		return 0;
	sm_arena_init(&a, "own", 512, 65536);
	if (mc_conf_load(mc.conf_path, &services, &own, &a) != 0) {
		sm_arena_fini(&a);
		return complain(SM_EXIT_CONFIG);
	}
	sm_buf_init(&b, 16 * 1024 * 1024);
	sm_buf_cstr(&b, "mcp {\n");
	sm_conf_dump(&b, mc_own_opts, &own, 1, true);
	sm_buf_cstr(&b, "}\n");
	SM_LIST_FOR_SAFE (s, &services, struct mc_service, link) {
		sm_buf_printf(&b, SM_STR_FMT "%s" SM_STR_FMT " {\n", SM_STR_ARG(s->keyword),
		              s->section.n > 0 ? " " : "", SM_STR_ARG(s->section));
		sm_conf_dump(&b, sm_conf_mcp_opts, &s->conf, 1, true);
		sm_buf_cstr(&b, "}\n");
		sm_list_remove(&s->link);
		mc_conf_free(&s);
	}
	if (words)
		sm_conf_dump_flags(&b, sm_conf_mcp_opts);
	print_buf(&b);
	sm_arena_fini(&a);
	return 0;
}

static int version(int how_much)
{
	(void)printf("%s\n", SM_VERSION_TEXT);
	if (how_much >= 2)
		(void)printf("libc: built with glibc %d.%d, running %s\n", __GLIBC__,
		             __GLIBC_MINOR__, gnu_get_libc_version());
	return how_much >= 5 ? print_conf(how_much >= 6) : 0;
}

/* Gives -1 to go on, or an exit status. */
static int options(int argc, char **argv)
{
	int opt, versions = 0;

	while ((opt = getopt(argc, argv, "FhlVL:p:f:")) != -1) {
		switch (opt) {
		case 'F':
			mc.foreground = true;
			break;
		case 'L':
			mc.log_dir = optarg;
			break;
		case 'p':
			mc.pid_path = optarg;
			break;
		case 'f':
			mc.conf_path = optarg;
			break;
		case 'l':
			mc.syslog = true;
			break;
		case 'V':
			versions++;
			break;
		case 'h':
			usage(stdout);
			return SM_EXIT_OK;
		default:
			usage(stderr);
			return SM_EXIT_USAGE;
		}
	}
	if (optind < argc)
		mc.conf_path = argv[optind++];
	if (versions > 0)
		return version(versions);
	if (optind < argc || mc.conf_path == NULL) {
		usage(stderr);
		return SM_EXIT_USAGE;
	}
	return -1;
}

/* Descriptors 0 to 2 must be something, or a socket could become standard error. */
static int standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= 2);
	if (fd < 0)
		return sm_fail_sys(errno, "/dev/null");
	(void)close(fd);
	return 0;
}

/* Each process and each listener needs a descriptor here; the children get what was there before.
 */
static int raise_descriptors(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &mc.nofile) != 0)
		return sm_fail_sys(errno, "RLIMIT_NOFILE");
	r = mc.nofile;
	r.rlim_cur = r.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &r) == 0 ? 0 : sm_fail_sys(errno, "RLIMIT_NOFILE");
}

/* One mcp a directory: the lock lives as long as the open description, which only mcp has. */
static int take_lock(void)
{
	lock_fd = open(LOCK_FILE, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK, 0644);
	if (lock_fd < 0)
		return sm_fail_sys(errno, "%s in the current directory", LOCK_FILE);
	if (flock(lock_fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return sm_fail(SM_E_BUSY, "another mcp runs in this directory (%s is locked)",
		               LOCK_FILE);
	return sm_fail_sys(errno, "%s", LOCK_FILE);
}

static int write_pid(void)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid()), fd;

	if (ftruncate(lock_fd, 0) != 0 || pwrite(lock_fd, text, (size_t)n, 0) != n)
		return sm_fail_sys(errno, "%s", LOCK_FILE);
	if (mc.pid_path == NULL)
		return 0;
	fd = open(mc.pid_path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK,
	          0644);
	if (fd < 0 || write(fd, text, (size_t)n) != n || close(fd) != 0)
		return sm_fail_sys(errno, "pid file %s", mc.pid_path);
	return 0;
}

static int open_own_log(void)
{
	int fd, rc;

	if ((rc = mc_log_open("mcp", geteuid(), &fd)) != 0 || fd < 0)
		return rc;
	if (mc.foreground && isatty(2)) {
		/* An operator looks on; the file would hide from him what happens. */
		(void)close(fd);
		return 0;
	}
	(void)dup2(fd, 1);
	(void)dup2(fd, 2);
	(void)close(fd);
	return 0;
}

/*
 * Into the background: the process of the shell waits until everything was started, so that its
 * exit status means something. Only in the child this returns.
 */
static int background(void)
{
	int up[2];
	char ok = 0;
	pid_t pid;

	if (pipe2(up, O_CLOEXEC) != 0)
		return sm_fail_sys(errno, "pipe");
	if ((pid = fork()) < 0)
		return sm_fail_sys(errno, "fork");
	if (pid > 0) {
		(void)close(up[1]);
		while (read(up[0], &ok, 1) < 0 && errno == EINTR)
			continue;
		if (ok == 0)
			(void)fputs("mcp: ended before everything was started; see its log\n",
			            stderr);
		_exit(ok != 0 ? SM_EXIT_OK : SM_EXIT_OSERR);
	}
	(void)close(up[0]);
	parent_fd = up[1];
	(void)setsid();
	return 0;
}

static void on_up(void)
{
	if (parent_fd < 0)
		return;
	if (write(parent_fd, "u", 1) != 1) {
		/* the shell went away */
	}
	(void)close(parent_fd);
	parent_fd = -1;
}

static int run(void)
{
	int rc;

	if (!mc.foreground && (rc = background()) != 0)
		return complain(SM_EXIT_OSERR);
	if ((rc = open_own_log()) != 0 || (rc = write_pid()) != 0 ||
	    (rc = mc_rights_limit()) != 0 || (rc = sm_loop_init()) != 0)
		return complain(SM_EXIT_OSERR);
	sm_log_attach_loop();
	mc_notify_watchdog();
	if ((rc = mc_supervise_start(on_up)) != 0)
		return complain(SM_EXIT_OSERR);
	sm_log(SM_NOTICE, "mc.begin", "version=%s mcp_pid=%d conf=%s root=%d", PACKAGE_VERSION,
	       (int)getpid(), mc.conf_path, mc.root);
	rc = sm_loop_run();
	sm_log(SM_NOTICE, "mc.end", "mcp_pid=%d", (int)getpid());
	if (mc.pid_path != NULL)
		(void)unlink(mc.pid_path);
	return rc;
}

/*
 * After mcp was killed its programs drain for a while and hold their listening sockets: the next
 * mcp waits for the addresses instead of giving up, which would take a human.
 */
static int load_patiently(void)
{
	int64_t deadline_ms = sm_now_ms() + ADDRESS_WAIT_MS;
	int rc;

	while ((rc = mc_supervise_load()) == SM_E_BUSY && sm_now_ms() < deadline_ms)
		(void)usleep(100 * 1000);
	return rc == 0 ? SM_EXIT_OK : rc == SM_E_BUSY ? SM_EXIT_TEMP : SM_EXIT_CONFIG;
}

int main(int argc, char **argv)
{
	int status;

	mc.root = geteuid() == 0;
	if (standard_descriptors() != 0 || raise_descriptors() != 0)
		return complain(SM_EXIT_OSERR);
	sm_log_init("mcp", 9);
	if ((status = options(argc, argv)) >= 0)
		return status;
	mc_notify_init();
	if (take_lock() != 0)
		return complain(SM_EXIT_TEMP);
	if ((status = load_patiently()) != SM_EXIT_OK)
		return complain(status);
	status = run();
	mc_supervise_end();
	sm_log_flush();
	sm_loop_fini();
	return status;
}
