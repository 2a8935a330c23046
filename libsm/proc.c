/*
 * The common start and end of all workers: command line, configuration, log, loop, signals. Thread:
 * the only one there is then.
 */
#include "libsm/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/co.h"
#include "libsm/fault.h"
#include "libsm/log.h"
#include "libsm/proc_int.h"

static char log_path[4096]; /* of the file that descriptor 2 was at the start; "": none */

static int SM_PRINTF(3, 4) refuse(const struct sm_proc *p, int status, const char *fmt, ...)
{
	char what[SM_DIAG_MAX + 100];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	fprintf(stderr, "%s: %s\n", p->name, what);
	return status;
}

/* What is not configuration: the section's name and the index must be known before the first file
 * is read. */
static int first_pass(struct sm_proc *p, int *help, int *version)
{
	char opts[128];
	uint64_t v;
	int c;

	sm_proc_getopt(p, opts, sizeof(opts));
	opterr = 0;
	optind = 0;
	while ((c = getopt(p->argc, p->argv, opts)) != -1) {
		switch (c) {
		case 'h':
			++*help;
			break;
		case 'V':
			++*version;
			break;
		case 'N':
			p->section = sm_str(optarg);
			break;
		case 'i':
			if (sm_str_u64(sm_str(optarg), 10, 254, &v) != 0)
				return refuse(p, SM_EXIT_USAGE,
				              "-i %s: must be a number from 0 to 254", optarg);
			p->index = (int)v;
			break;
		case '?':
			return refuse(p, SM_EXIT_USAGE, "there is no option -%c (%s -h shows them)",
			              optopt, p->name);
		case ':':
			return refuse(p, SM_EXIT_USAGE,
			              "-%c needs an argument (%s -h shows the options)", optopt,
			              p->name);
		default:
			break;
		}
	}
	if (optind < p->argc)
		return refuse(p, SM_EXIT_USAGE, "\"%s\" is no option (%s -h shows them)",
		              p->argv[optind], p->name);
	return 0;
}

/* Descriptors 0 to 2 exist, so that no socket ever becomes standard error. */
static void hold_standard_fds(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd != -1 && fd <= STDERR_FILENO);
	if (fd != -1)
		close(fd);
}

static void note_log_path(void)
{
	struct stat st;
	ssize_t n = -1;

	if (fstat(STDERR_FILENO, &st) == 0 && S_ISREG(st.st_mode))
		n = readlink("/proc/self/fd/2", log_path, sizeof(log_path) - 1);
	log_path[n > 0 && log_path[0] == '/' ? n : 0] = '\0';
}

static void reopen_log(struct sm_proc *p)
{
	int fd;

	sm_log_flush();
	if (p->mcp_fd != -1 || log_path[0] == '\0')
		return; /* mcp sends the new descriptor */
	fd = open(log_path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	if (fd == -1) {
		sm_log(SM_ERROR, "log.reopen", "file=%s error=%s", log_path, strerror(errno));
		return;
	}
	if (sm_log_redirect(fd) != 0)
		sm_log(SM_ERROR, "log.reopen", "file=%s error=%s", log_path, sm_diag());
	close(fd);
}

static void on_signal(int sig, void *arg)
{
	struct sm_proc *p = arg;

	switch (sig) {
	case SIGTERM:
	case SIGINT:
		sm_proc_term(p);
		break;
	case SIGHUP:
		sm_proc_reload(p);
		break;
	case SIGUSR1:
		reopen_log(p);
		break;
	case SIGUSR2:
		sm_log_flush();
		sm_co_dump(STDERR_FILENO);
		break;
	default:
#ifdef SM_TESTING
		if (sm_fault_reload() != 0)
			sm_log(SM_ERROR, "fault.reload", "error=%s", sm_diag());
		else
			sm_log(SM_NOTICE, "fault.armed", "child_pid=%d", (int)getpid());
#endif
		break;
	}
}

static int take_signals(struct sm_proc *p)
{
	static const int sigs[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2};
	int rc = 0;

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; rc == 0 && i < SM_ARRAY_SIZE(sigs); i++)
		rc = sm_loop_signal(sigs[i], on_signal, p);
#ifdef SM_TESTING
	if (rc == 0)
		rc = sm_loop_signal(SIGRTMIN, on_signal, p);
#endif
	return rc;
}

int sm_proc_start(struct sm_proc *p, int argc, char **argv, bool *done)
{
	int help = 0, version = 0, status, rc;

	*done = true;
	p->argc = argc;
	p->argv = argv;
	p->mcp_fd = -1;
	hold_standard_fds();
	if ((status = first_pass(p, &help, &version)) != 0)
		return status;
	if (help > 0) {
		sm_proc_usage(p);
		return SM_EXIT_OK;
	}
	if (sm_proc_load(p, &status) != 0) {
		sm_proc_conf_free(p);
		return refuse(p, status, "%s", sm_diag());
	}
	if (version > 0) {
		sm_proc_show(p, version);
		sm_proc_conf_free(p);
		return SM_EXIT_OK;
	}
	sm_log_init(p->name, (int)p->worker.log_level);
	sm_log_format((enum sm_log_format)p->worker.log.format);
	note_log_path();
	sm_fault_init();
	rc = sm_loop_init();
	if (rc == 0) {
		sm_log_attach_loop();
		sm_log_syslog(&p->worker.log);
		rc = take_signals(p);
	}
	if (rc == 0)
		rc = sm_proc_mcp_open(p);
	if (rc != 0) {
		refuse(p, SM_EXIT_OSERR, "%s: %s", sm_strerr(rc), sm_diag());
		return sm_proc_end(p, SM_EXIT_OSERR);
	}
	if (sm_str_chr(p->global.hostname, '.') < 0)
		sm_log(SM_WARN, "proc.hostname", "hostname=%S problem=no_domain hint=%s",
		       p->global.hostname, "other servers may refuse it: set hostname");
	*done = false;
	return SM_EXIT_OK;
}

int sm_proc_end(struct sm_proc *p, int status)
{
	sm_proc_mcp_close(p);
	sm_log_detach_loop();
	sm_loop_fini();
	sm_co_cleanup();
	sm_proc_conf_free(p);
	return status;
}
