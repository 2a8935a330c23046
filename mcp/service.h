/* A service while it runs: its processes start, speak, die and are started again. */
#ifndef MC_SERVICE_H
#define MC_SERVICE_H

#include "mcp/mcp.h"
#include "mcp/order.h"

/* Open what the service needs (program, listeners, log). On an error nothing is held. */
int mc_service_prepare(struct mc_service *s) SM_MUST_CHECK;
/* Free all; it has no processes. */
void mc_service_release(struct mc_service **s);

void mc_service_start(struct mc_service *s);
/* TERM to all its processes, KILL after stop_timeout (`now`: at once). */
void mc_service_stop(struct mc_service *s, bool now);
struct mc_view mc_service_view(const struct mc_service *s);

/* A process for this slot, which has none; with a connection, that is its standard input and output
 * and stays the caller's to close. -1: none. */
int mc_slot_start(struct mc_slot *slot, int connection) SM_MUST_CHECK;

/* A process of some service ended. */
void mc_service_reaped(pid_t pid, int status);
/* A packet came: a sign of life, or ready. */
void mc_child_heard(struct mc_child *c, bool ready);

/* What was given up gets another chance; all others get open_files anew and are told to read their
 * configuration. */
void mc_service_reload(struct mc_service *s);
/* Open the log file anew and hand it to those who listen. */
void mc_service_reopen_log(struct mc_service *s);
/* To the processes that speak with mcp: others might die of it. */
void mc_service_signal(struct mc_service *s, int sig);
void mc_service_log_state(const struct mc_service *s);

#endif
