/*
 * Open sessions that wait for another message to the same place. Found by route key and address;
 * limited in number, time and messages.
 */
#ifndef SC_CACHE_H
#define SC_CACHE_H

#include "libsm/hash.h"
#include "libsm/list.h"
#include "libsm/net.h"

struct sc;
struct sc_session;

/* What idles at an address, or leaves it. There while there is anything. */
struct sc_address {
	struct sm_hash_node node;
	struct sm_sa sa;
	struct sm_list idle; /* the longest idle first */
	size_t idle_count;
	struct sm_list leaving; /* say QUIT, and nobody waits for their end */
};

struct sc_cache {
	struct sc *sc;
	struct sm_hash by_place;   /* idle sessions: key and address */
	struct sm_hash by_address; /* struct sc_address */
	struct sm_list all;        /* the longest idle first */
	size_t count;
	/* A session that nobody took has ended: for session_gone. The strings and the address are
	 * valid during the call. */
	void (*on_gone)(struct sc *sc, struct sm_str key, const struct sm_sa *sa);
};

void sc_cache_init(struct sc_cache *c, struct sc *sc);
void sc_cache_fini(struct sc_cache *c); /* closes what is left */
/* Take over a session; false when it cannot be kept (broken, spent, used up, no room): it stays the
 * caller's then. */
bool sc_cache_put(struct sc_cache *c, struct sc_session *s);
/* A live one, which becomes the caller's and is `reused`; NULL: none. `sa` of length 0: the default
 * LMTP socket. */
struct sc_session *sc_cache_take(struct sc_cache *c, struct sm_str key, const struct sm_sa *sa);
/* A session to this address is about to be opened: one that idles there for another key ends, and
 * one that says QUIT is waited for, so that there are never more than qmgr counts. */
void sc_cache_give_way(struct sc_cache *c, const struct sm_sa *sa) SM_YIELDS;
/* Say QUIT to all. */
void sc_cache_quit_all(struct sc_cache *c);

/* For session.c. A session that is not here says QUIT: it is found by its address until it has
 * left, or somebody waits for that. */
void sc_cache_leaves(struct sc_cache *c, struct sc_session *s);
void sc_cache_left(struct sc_cache *c, struct sc_session *s); /* harmless when it is not found */
struct sc_session *sc_cache_leaving(const struct sc_cache *c, const struct sm_sa *sa); /* or NULL */

#endif
