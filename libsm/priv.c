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
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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

#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT           47
#define PR_CAP_AMBIENT_CLEAR_ALL 4
#endif

static int no_capabilities(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};

	/* Ambient ones fall with permitted and inheritable; the explicit call covers nothing more
	 * on kernels that have it, so its failure means only that they do not. */
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &head, none) != 0)
		return sm_fail_sys(errno, "dropping capabilities");
	return 0;
}

static int empty_bounding_set(void)
{
	for (unsigned long cap = 0; cap < 64; cap++) {
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) <= 0)
			continue; /* not in it, or the kernel does not know that many */
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
			return sm_fail_sys(errno, "emptying the capability bounding set");
	}
	return 0;
}

static int no_new_privs(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return sm_fail_sys(errno, "PR_SET_NO_NEW_PRIVS");
	return 0;
}

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
	if ((rc = no_capabilities()) != 0 || (rc = no_new_privs()) != 0 || (rc = limits(p)) != 0)
		return rc;
	if (prctl(PR_SET_DUMPABLE, DUMPABLE, 0, 0, 0) != 0)
		return sm_fail_sys(errno, "PR_SET_DUMPABLE");
	if ((rc = sm_priv_landlock(p, &abi)) != 0 || (rc = sm_priv_seccomp(p, &seccomp)) != 0)
		return rc;
	(void)snprintf(report, size, "landlock=%d seccomp=%s dumpable=%s", abi, seccomp,
	               prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1 ? "yes" : "no");
	return 0;
}

/* The way back must be closed: no former id may be anywhere in this process. */
static int verify_ids(uid_t uid, gid_t gid)
{
	uid_t r, e, s;
	gid_t gr, ge, gs;

	if (getresuid(&r, &e, &s) != 0 || getresgid(&gr, &ge, &gs) != 0)
		return sm_fail_sys(errno, "reading the own ids");
	if (r != uid || e != uid || s != uid || gr != gid || ge != gid || gs != gid)
		return sm_fail(SM_E_DENIED, "uid or gid did not change");
	if (setuid(0) == 0 || setgid(0) == 0)
		return sm_fail(SM_E_DENIED, "can become root again");
	return 0;
}

int sm_priv_become(const char *user, const char *group)
{
	const struct passwd *pw;
	const struct group *gr;
	uid_t uid;
	gid_t gid;
	int rc;

	errno = 0;
	if ((pw = getpwnam(user)) == NULL)
		return errno != 0 ? sm_fail_sys(errno, "looking up user %s", user)
		                  : sm_fail(SM_E_NOTFOUND, "no such user: %s", user);
	uid = pw->pw_uid;
	gid = pw->pw_gid;
	if (group != NULL && group[0] != '\0') {
		errno = 0;
		if ((gr = getgrnam(group)) == NULL)
			return errno != 0 ? sm_fail_sys(errno, "looking up group %s", group)
			                  : sm_fail(SM_E_NOTFOUND, "no such group: %s", group);
		gid = gr->gr_gid;
	}
	if (uid == 0 || gid == 0)
		return sm_fail(SM_E_DENIED, "user %s or its group is root", user);
	if (initgroups(user, gid) != 0)
		return sm_fail_sys(errno, "initgroups %s", user);
	if (setresgid(gid, gid, gid) != 0)
		return sm_fail_sys(errno, "setresgid %lu", (unsigned long)gid);
	/* Needs CAP_SETPCAP, so before the uid goes. */
	if ((rc = empty_bounding_set()) != 0)
		return rc;
	if (setresuid(uid, uid, uid) != 0)
		return sm_fail_sys(errno, "setresuid %lu", (unsigned long)uid);
	if ((rc = no_capabilities()) != 0 || (rc = verify_ids(uid, gid)) != 0 ||
	    (rc = no_new_privs()) != 0)
		return rc;
	(void)umask(027);
	return 0;
}
