/* Accepting for programs that serve one connection: a process for each. */
#ifndef MC_ACCEPT_H
#define MC_ACCEPT_H

#include "mcp/mcp.h"

static inline bool mc_per_connection(const struct mc_service *s)
{
	return s->conf.start_action == SM_START_NOSTARTACCEPT;
}

void mc_accept_begin(struct mc_service *s);
/* One of its processes has ended: there is a slot for the next. */
void mc_accept_again(struct mc_service *s);
/* Watch nothing any more. The timer of a pause, start_timer, is the caller's to cancel. */
void mc_accept_end(struct mc_service *s);

#endif
