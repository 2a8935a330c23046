/* Handing the listening sockets to a program that waits for them on its pass_fd_socket. */
#ifndef MC_HANDOVER_H
#define MC_HANDOVER_H

#include "mcp/mcp.h"

/* The path for this process: `.ID` is appended when the service has several. False: there is none.
 */
bool mc_handover_path(const struct mc_service *s, unsigned id, char *out, size_t size);
/* Start trying; ends by itself when it has worked or the child is gone (mc_handover_stop). */
void mc_handover_start(struct mc_child *c);
void mc_handover_stop(struct mc_child *c);

#endif
