/* The requests of smtps and qmgr. */
#ifndef AR_HANDLERS_H
#define AR_HANDLERS_H

#include "libsm/rpc.h"
#include "smar/route.h"

struct ar_handlers; /* requests that wait for DNS or a map */
struct ar_handlers *ar_handlers_new(const struct ar *ar, size_t max_requests);
/* on_frame of the server. Answers at once what needs no waiting; else a
 * coroutine does. */
int ar_handlers_frame(struct sm_peer *p, const struct sm_frame *f, void *handlers);
/* Cancel what waits; idle(arg) comes when nothing is left, perhaps at once. New requests get a
 * temporary answer. */
void ar_handlers_stop(struct ar_handlers *h, void (*idle)(void *arg), void *arg);
void ar_handlers_free(struct ar_handlers **h); /* nothing waits */
size_t ar_handlers_waiting(const struct ar_handlers *h);

#endif
