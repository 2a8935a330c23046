/*
 * Listening sockets: from the supervisor, from descriptor 0, or bound by ourselves; sessions come
 * out of them.
 */
#ifndef SS_ACCEPT_H
#define SS_ACCEPT_H

#include "libsm/base.h"

struct ss;

/* Serve this listening descriptor (owned from here on). `name`: copied. */
int ss_accept_add(struct ss *ss, int fd, const char *name) SM_MUST_CHECK;
/* Bind and listen on the configured addresses (option listen, -L). */
int ss_accept_bind(struct ss *ss) SM_MUST_CHECK;
/* Is it a listening socket? */
bool ss_accept_is_listener(int fd);
/* No new sessions from now on. */
void ss_accept_stop(struct ss *ss);
size_t ss_accept_count(const struct ss *ss);

/*
 * Listen on a Unix socket for the supervisor, who hands listeners over with their names; `on_first`
 * is called when the first is there. Only root, our parent's user and our own may connect.
 */
int ss_handover_open(struct ss *ss, const char *path, void (*on_first)(void *arg),
                     void *arg) SM_MUST_CHECK;
void ss_handover_close(void);

#endif
