/*
 * Intrusive hash table. The node lives in the member; the table owns only its bucket array, which
 * grows by doubling. Keys that come from outside are hashed by SipHash-1-3 under a key made at
 * start, so that nobody can choose collisions.
 */
#ifndef SM_HASH_H
#define SM_HASH_H

#include "libsm/str.h"

struct sm_hash_node {
	struct sm_hash_node *next;
	uint64_t hash;
};
struct sm_hash {
	struct sm_hash_node **bucket;
	size_t mask; /* buckets - 1 */
	size_t count;
};

uint64_t sm_hash_str(struct sm_str s);
uint64_t sm_hash_case(struct sm_str s); /* equal for strings that sm_str_caseeq */
uint64_t sm_hash_u64(uint64_t v);

void sm_hash_init(struct sm_hash *h);
void sm_hash_fini(struct sm_hash *h); /* frees the buckets, not the members */
void sm_hash_insert(struct sm_hash *h, struct sm_hash_node *n, uint64_t hash);
void sm_hash_remove(struct sm_hash *h, struct sm_hash_node *n); /* n is in h */
/* First node with this hash for which eq(node, key) holds, or NULL. */
struct sm_hash_node *sm_hash_find(const struct sm_hash *h, uint64_t hash,
                                  bool (*eq)(const struct sm_hash_node *, const void *key),
                                  const void *key);
/* Walk: sm_hash_next(h, NULL) is the first, NULL the end. Removing the node just given is allowed
 * if next was fetched before. */
struct sm_hash_node *sm_hash_next(const struct sm_hash *h, const struct sm_hash_node *n);

#endif
