/*
 * Addresses where a TLS handshake failed: for a while mail goes there in clear, where that is
 * allowed. Bounded; the oldest goes first. Pure: time is a parameter.
 */
#ifndef SC_TLS_MEMORY_H
#define SC_TLS_MEMORY_H

#include "libsm/hash.h"
#include "libsm/list.h"
#include "libsm/net.h"

struct sc_tls_memory {
	struct sm_hash by_host; /* address without port */
	struct sm_list all;     /* the oldest first */
	size_t count;
};

void sc_tls_memory_init(struct sc_tls_memory *m);
void sc_tls_memory_fini(struct sc_tls_memory *m);
/* It failed there. At most `max` (0: none) are remembered. */
void sc_tls_memory_add(struct sc_tls_memory *m, const struct sm_sa *sa, int64_t now_ms,
                       int64_t until_ms, size_t max);
/* Did it fail there, not too long ago? */
bool sc_tls_memory_has(struct sc_tls_memory *m, const struct sm_sa *sa, int64_t now_ms);

#endif
