/*
 * Giving up rights, for good and in one call: the order of the steps, identities, capabilities,
 * limits.
 *
 * Invariant: a step that was taken is never taken back, and a step that fails ends the attempt with
 * an error: the caller must then exit, because the process stands somewhere between two states.
 * What the kernel merely does not have is reported, not failed. Thread: the only one of its process
 * (Landlock and seccomp bind the caller and what it starts).
 */
#include "libsm/priv.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "libsm/priv_int.h"

/*
 * The kernel counts RLIMIT_NPROC per user, over all processes and threads: far above what the
 * helper threads of many workers need, far below a fork bomb. It is the net below seccomp, which
 * forbids fork altogether.
 */
#define MAX_TASKS 4096

/* May be traced and read in /proc by its own user: only where tests look inside. */
#ifdef SM_TESTING
#define DUMPABLE 1
#else
#define DUMPABLE 0
#endif

/* Lower both limits to `want`; an already lower one stays. */
static int limit(int what, const char *name, size_t want)
{
	struct rlimit r;

	if (getrlimit(what, &r) != 0)
		return sm_fail_sys(errno, "getrlimit %s", name);
	r.rlim_cur = r.rlim_max = SM_MIN((rlim_t)want, r.rlim_max);
	if (setrlimit(what, &r) != 0)
		return sm_fail_sys(errno, "setrlimit %s", name);
	return 0;
}

static int limits(const struct sm_priv_profile *p)
{
	int rc;

#ifndef SM_TESTING
	if ((rc = limit(RLIMIT_CORE, "CORE", 0)) != 0)
		return rc;
#endif
	if (p->max_files != 0 && (rc = limit(RLIMIT_NOFILE, "NOFILE", p->max_files)) != 0)
		return rc;
	if (p->max_file_bytes != 0) {
		/* A write past the limit is then an error like a full disk, not a death. */
		(void)signal(SIGXFSZ, SIG_IGN);
		if ((rc = limit(RLIMIT_FSIZE, "FSIZE", p->max_file_bytes)) != 0)
			return rc;
	}
	return limit(RLIMIT_NPROC, "NPROC", MAX_TASKS);
}

int sm_priv_drop(const struct sm_priv_profile *p, char *report, size_t size)
{
	const char *seccomp = "no";
	int abi = 0, rc;

	sm_assert(p->paths != NULL && size > 0);
	report[0] = '\0';
	if (getuid() == 0 || geteuid() == 0)
		return sm_fail(SM_E_DENIED, "refuses to run as root");
	/* libc reads the time zone now, not when the first date is printed. */
	tzset();
	if ((rc = sm_priv_no_capabilities()) != 0 || (rc = sm_priv_no_new_privs()) != 0 ||
	    (rc = limits(p)) != 0)
		return rc;
	if (prctl(PR_SET_DUMPABLE, DUMPABLE, 0, 0, 0) != 0)
		return sm_fail_sys(errno, "PR_SET_DUMPABLE");
	if ((rc = sm_priv_landlock(p, &abi)) != 0 || (rc = sm_priv_seccomp(p, &seccomp)) != 0)
		return rc;
	(void)snprintf(report, size, "landlock=%d seccomp=%s dumpable=%s", abi, seccomp,
	               prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 ? "yes" : "no");
	return 0;
}
