/*
 * Incoming limits for each client address: open sessions, and new sessions within a minute. Pure:
 * the caller passes the time.
 */
#ifndef QM_CLIENTS_H
#define QM_CLIENTS_H

#include "libsm/hash.h"
#include "libsm/list.h"
#include "libsm/net.h"
#include "qmgr/limits.h"

struct qm_clients {
	struct sm_hash by_host;
	struct sm_list lru;          /* of those without open sessions, longest unused first */
	unsigned max_open, max_rate; /* 0: no limit; for addresses that `limits` says nothing of */
	const struct qm_limits *limits; /* may be NULL; borrowed */
};
struct qm_client;

enum qm_client_verdict { QM_CLIENT_OK, QM_CLIENT_TOO_MANY, QM_CLIENT_TOO_FAST };

void qm_clients_init(struct qm_clients *c, unsigned max_open, unsigned max_rate_per_minute);
void qm_clients_fini(struct qm_clients *c);
/* A session from this host: on OK it is counted and *out is to be given back by qm_client_close.
 * Unix clients are not limited (*out NULL). */
enum qm_client_verdict qm_client_open(struct qm_clients *c, const struct sm_sa *sa, int64_t now_ms,
                                      struct qm_client **out);
void qm_client_close(struct qm_clients *c, struct qm_client *client); /* NULL is fine */
size_t qm_clients_count(const struct qm_clients *c);

#endif
