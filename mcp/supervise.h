/* All services together: their order, restarts of dependents, reload, the end. */
#ifndef MC_SUPERVISE_H
#define MC_SUPERVISE_H

#include "mcp/mcp.h"

/* Read the configuration and open what it needs; nothing runs yet. */
int mc_supervise_load(void) SM_MUST_CHECK;
/* After the loop is there: signals, first start. `on_up` is called once, when everything was
 * started. */
int mc_supervise_start(void (*on_up)(void)) SM_MUST_CHECK;
/* Free everything (no process is left). */
void mc_supervise_end(void);

/* Something changed: look at the order before the loop sleeps. */
void mc_kick(void);
/* `s` had to be restarted: its restart_dependencies are restarted as well, but not theirs. */
void mc_dependents(const struct mc_service *s);

#endif
