/*
 * Asking DNS servers: c-ares on the loop. It sends, repeats, goes over to TCP and matches answers
 * to questions; what an answer says is for dns_msg.c.
 */
#ifndef AR_DNS_H
#define AR_DNS_H

#include "libsm/net.h"

enum { AR_DNS_SERVERS_MAX = 4 };

struct ar_dns_conf {
	size_t count; /* of servers; 0: those of /etc/resolv.conf */
	struct sm_sa servers[AR_DNS_SERVERS_MAX];
	int64_t timeout_ms; /* for a question, with all repetitions at all servers */
};
int ar_dns_init(const struct ar_dns_conf *conf) SM_MUST_CHECK;
void ar_dns_fini(void); /* questions that are open get their callback */

/*
 * Ask one question (`name` without last dot, in place until the callback). `cb` comes exactly once,
 * perhaps from within ar_dns_ask: with the packet, or with an empty one and `trouble`. It may only
 * store and wake: not ask, not end, not yield.
 */
struct ar_dns_trouble {
	const char *why; /* static text; NULL: none */
	bool refused;    /* the last answer was that the server will not say: it will not later */
};
void ar_dns_ask(const char *name, uint16_t type,
                void (*cb)(struct sm_str packet, struct ar_dns_trouble trouble, void *arg),
                void *arg);

#endif
