/* Shared by the tests of rights: a child that has the profile of a role, and says what it saw. */
#ifndef SM_T_PRIV_H
#define SM_T_PRIV_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/types.h>
#include "libsm/priv_int.h"

/* How a child says what it saw. */
enum {
	SAW_OK = 0,
	SAW_EPERM = 1,
	SAW_EACCES = 2,
	SAW_OTHER = 3,
	SAW_NO_DROP = 4,
	SAW_KILLED = 100
};

extern char t_spool[96], t_other[96]; /* directories; only the first is in t_paths */
extern int t_landlock;                /* ABI */
extern bool t_seccomp_here;           /* the filter is really active in this build */
extern struct sm_priv_path t_paths[];
extern const uint16_t *t_connect_ports; /* of the profile of t_under */

void t_become_nobody(void); /* if root */
int t_saw(long rc);         /* of a system call */
int t_wait_for(pid_t pid);  /* what the child saw */
/* Run `attempt` under the profile of `role`; what it saw. */
int t_under(enum sm_role role, bool inet, int (*attempt)(void));

int t_priv_setup(void **state);
int t_priv_teardown(void **state);

#endif
