/*
 * Dropping rights for good: groups, capabilities, no_new_privs, dumpable, rlimits, Landlock,
 * seccomp; one call with the profile of the role.
 */
#ifndef SM_PRIV_H
#define SM_PRIV_H

#include "libsm/err.h"
#include "libsm/msg.h"

/* Path rules for Landlock. Paths must exist when the profile is applied; one that does not is left
 * out. A rule belongs to the file or directory that is there now, not to its name: for a file that
 * is ever replaced (configuration, maps) name its directory. */
enum {
	SM_PATH_READ = 1, /* files and lists of names */
	SM_PATH_WRITE = 2,
	SM_PATH_CREATE = 4,  /* create and unlink in it */
	SM_PATH_SOCKET = 8,  /* make Unix sockets in it, replace them */
	SM_PATH_LIST = 16,   /* only the list of names */
	SM_PATH_REMOVE = 32, /* unlink in it */
	SM_PATH_CONNECT =
	    64 /* connect to Unix sockets in it: kernels do not ask for this one yet */
};
struct sm_priv_path {
	const char *path;
	unsigned rights;
};
struct sm_priv_profile {
	enum sm_role role;                /* picks the system call list */
	const struct sm_priv_path *paths; /* ends with path NULL; everything else is closed */
	bool inet;                        /* may make Internet sockets */
	const uint16_t *connect_ports;    /* ... but connect to these ports only; ends with 0; NULL:
	                                     to all. Where the kernel has Landlock for it */
	size_t max_files;                 /* RLIMIT_NOFILE, 0: leave */
	size_t max_file_bytes;            /* RLIMIT_FSIZE, 0: leave */
};
/*
 * Refuses to run as root (SM_E_DENIED). Call before the first helper thread. What the kernel does
 * not have (Landlock, seccomp) is left out and said in `report`
 * ("landlock=7 seccomp=on"), for the log. An --enable-testing build stays dumpable and answers a
 * forbidden call with EPERM and a log line instead of dying.
 */
int sm_priv_drop(const struct sm_priv_profile *p, char *report, size_t size) SM_MUST_CHECK;

#ifdef SM_TESTING
/*
 * Tries what whoever had taken over this worker would try, once everything is set up, and logs what
 * comes of it: "priv.probe name=... result=..." with the name of an errno, or "done". Only when the
 * environment says SM_HOSTILE=<pid of a process that may be harmed>. `conf_path` may be NULL.
 */
void sm_priv_probe(const char *conf_path);
#endif

/* For root before it becomes another user and execs: groups of `user`, gid (or `group`), uid;
 * capability bounding set emptied. */
int sm_priv_become(const char *user, const char *group) SM_MUST_CHECK;

#endif
