/*
 * Between the files of priv.h only. The two kernel sandboxes give 0 and set *state to a
 * static text for the report: a kernel that does not have one is no error, a sandbox that fails
 * half-way is.
 */
#ifndef SM_PRIV_INT_H
#define SM_PRIV_INT_H

#include "libsm/priv.h"

#if defined(SM_ASAN) || defined(SM_TSAN)
#define SM_PRIV_SANITIZER 1 /* traces, forks and opens what it likes when it reports */
#endif

/* Steps that both ways of giving up rights share. */
int sm_priv_no_capabilities(void) SM_MUST_CHECK;
int sm_priv_no_new_privs(void) SM_MUST_CHECK;

/* Path and network rules for this process and all that it starts. `*abi` is what the kernel has, 0:
 * nothing. */
int sm_priv_landlock(const struct sm_priv_profile *p, int *abi) SM_MUST_CHECK;
/* The system call list of the role, last of all: it forbids what the other steps need. */
int sm_priv_seccomp(const struct sm_priv_profile *p, const char **state) SM_MUST_CHECK;

#endif
