/* A section of smx.conf for a program that its caller starts: it reads the file, mcp does not. */
#ifndef MISC_SECTION_H
#define MISC_SECTION_H

#include "libsm/conf.h"

/*
 * Defaults, then what section `name` of the file says. `path`: NULL is the default file, which may
 * be missing, or not be for everybody's eyes. Strings are in the arena. SM_E_* with a diag.
 */
int mi_section(const char *path, const char *name, const struct sm_opt *opts, void *conf,
               struct sm_conf_global *global, struct sm_arena *a) SM_MUST_CHECK;

#endif
