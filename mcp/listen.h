/* Listening sockets, shared between configurations by their address: a reload keeps the socket and
 * whoever waits in its queue. */
#ifndef MC_LISTEN_H
#define MC_LISTEN_H

#include "mcp/mcp.h"

/* Open (or take from the former configuration) all listeners of the service. On an error none is
 * held. */
int mc_listen_open(struct mc_service *s) SM_MUST_CHECK;
/* Give them back; the last reference closes the socket and removes the path of a Unix one. */
void mc_listen_close(struct mc_service *s);
/* At the end of mcp: are all gone? For leak checks. */
bool mc_listen_none(void);

#endif
