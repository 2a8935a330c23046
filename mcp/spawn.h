/* Making a process: fork, descriptors, identity, environment, exec of the program that is kept
 * open. */
#ifndef MC_SPAWN_H
#define MC_SPAWN_H

#include "mcp/mcp.h"

struct mc_spawn {
	struct mc_service *service;
	unsigned id;              /* for pass_id */
	int stdin_fd;             /* connection or listener; -1: /dev/null */
	bool stdout_too;          /* stdin_fd is standard output as well */
	int talk_fd;              /* the child's end of the mcp socket; -1: none */
	const char *pass_fd_path; /* for its environment; NULL: none */
};
/* Gives the pid, or an error. What fails after the fork is written to the child's standard error
 * and ends it with 126 or 127. */
int mc_spawn(const struct mc_spawn *sp, pid_t *pid) SM_MUST_CHECK;

#endif
