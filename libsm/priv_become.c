/*
 * From root to the user of a service: what mcp's child does before exec. A file of its own, so that
 * the supervisor links nothing of the workers' sandboxes.
 *
 * Invariant: after success nothing leads back to root, neither an id nor a group nor a capability
 * nor a set-uid program; after failure the caller must exit. Thread: the only one of its process.
 */
#include "libsm/priv_int.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef PR_CAP_AMBIENT
#define PR_CAP_AMBIENT           47
#define PR_CAP_AMBIENT_CLEAR_ALL 4
#endif

int sm_priv_no_capabilities(void)
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

int sm_priv_no_new_privs(void)
{
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return sm_fail_sys(errno, "PR_SET_NO_NEW_PRIVS");
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
	if ((rc = sm_priv_no_capabilities()) != 0 || (rc = verify_ids(uid, gid)) != 0 ||
	    (rc = sm_priv_no_new_privs()) != 0)
		return rc;
	(void)umask(027);
	return 0;
}
