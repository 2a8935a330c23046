/* Inside of proc: what its files tell each other. */
#ifndef SM_PROC_INT_H
#define SM_PROC_INT_H

#include "libsm/proc.h"

/* proc_conf.c: defaults, then files and short options in their order, into a fresh p->arena.
 * *status is the exit status on failure. */
int sm_proc_load(struct sm_proc *p, int *status) SM_MUST_CHECK;
/* The same again, all or nothing; tells the component. Logs. */
void sm_proc_reload(struct sm_proc *p);
void sm_proc_conf_free(struct sm_proc *p);
/* The getopt string: ours and the component's. */
void sm_proc_getopt(const struct sm_proc *p, char *out, size_t size);

/* proc_mcp.c: the supervisor's socket, when there is one. */
int sm_proc_mcp_open(struct sm_proc *p) SM_MUST_CHECK;
void sm_proc_mcp_close(struct sm_proc *p);
void sm_proc_term(struct sm_proc *p); /* asked to end; a second time ends at once */

/* proc_info.c: -h and the V's to standard output. */
void sm_proc_usage(struct sm_proc *p);
void sm_proc_show(struct sm_proc *p, int verbosity);

#endif
