/* Files that mcp opens for its children: programs, logs, and what the section lists in open_files.
 */
#ifndef MC_FILES_H
#define MC_FILES_H

#include "mcp/mcp.h"

/* Open the program of the service and remember which file it is. SM_E_NOTFOUND, SM_E_DENIED (no
 * plain executable file). */
int mc_program_open(struct mc_service *s) SM_MUST_CHECK;
/* Is it the same file, unchanged? */
bool mc_program_same(const struct mc_program *a, const struct mc_program *b);

/*
 * LOGDIR/NAME.log for appending, made if need be with mode 0640, owner `uid` and group operator
 * (that of root where there is no such group); *fd is -1 without LOGDIR. An existing one must be a
 * plain file with one name and no symbolic link.
 */
int mc_log_open(const char *name, uid_t uid, int *fd) SM_MUST_CHECK;

/* Open one of open_files for reading. Gives the descriptor. */
int mc_file_open(const char *path) SM_MUST_CHECK;

#endif
