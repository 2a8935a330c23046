/* The environment of children: a short list of names, nothing else. */
#ifndef MC_ENV_H
#define MC_ENV_H

#include "libsm/arena.h"

/*
 * From `environ` keep PATH, TZ, LANG and SM_* (not mcp's own SM_MCP_*); a testing build also
 * LD_PRELOAD and the options of the sanitizers. `more` are "NAME=value" strings, ending with NULL,
 * that are added and win. The result lives in the arena.
 */
char **mc_env_make(char *const *environ, const char *const *more, struct sm_arena *a);

#endif
