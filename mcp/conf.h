/* The configuration file as mcp sees it: sections with a path or a start_action are services, all
 * else is not its affair. */
#ifndef MC_CONF_H
#define MC_CONF_H

#include "mcp/mcp.h"

/* Options of mcp itself: section `mcp { }`. */
struct mc_own {
	int64_t log_level;
	struct sm_conf_log log;
};
extern const struct sm_opt mc_own_opts[];

/*
 * Read the file and append its services to the list: names, options, users, dependencies checked;
 * nothing opened yet. On an error the list is left empty and the diag is "file:line: what". Strings
 * of `own` live in `a`.
 */
int mc_conf_load(const char *path, struct sm_list *services, struct mc_own *own,
                 struct sm_arena *a) SM_MUST_CHECK;
/* Free a service that has no processes and no descriptors any more. */
void mc_conf_free(struct mc_service **s);
/* Is `dep` one that `s` names in restart_dependencies? */
bool mc_conf_depends(const struct mc_service *s, const struct mc_service *dep);

#endif
