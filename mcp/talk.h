/* The conversation with a child over its mcp socket: what the packets are is in libsm/proc.h. */
#ifndef MC_TALK_H
#define MC_TALK_H

#include "mcp/mcp.h"

/* Make the pair: mcp's end goes into the child, *theirs is for mc_spawn (close it afterwards). */
int mc_talk_open(struct mc_child *c, int *theirs) SM_MUST_CHECK;
void mc_talk_close(struct mc_child *c);
/* Read what is there now. */
void mc_talk_drain(struct mc_child *c);

/* Send; a child that does not read gets nothing more, which is its loss. False: not sent. */
bool mc_talk_send(struct mc_child *c, char kind, const char *name, int fd);
/* All open_files of the service, then (at start only) the listeners when there is no
 * pass_fd_socket. */
void mc_talk_send_files(struct mc_child *c);
void mc_talk_send_listeners(struct mc_child *c);

#endif
