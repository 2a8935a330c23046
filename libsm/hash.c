/*
 * The intrusive hash table, and the keyed hash for its keys.
 *
 * Invariant: bucket is NULL (nothing was ever inserted) or has mask + 1 entries, a power of two,
 * with count <= mask + 1. The key of the hash is made once per process, by whoever hashes first;
 * tables belong to one thread.
 */
#include "libsm/hash.h"

#include <pthread.h>

#include "libsm/rand.h"

#define FIRST_BUCKETS 16

static uint64_t key[2];
static pthread_once_t key_once = PTHREAD_ONCE_INIT;

static void make_key(void)
{
	sm_rand_secret(key, sizeof(key));
}

static uint64_t rotl(uint64_t v, unsigned by)
{
	return v << by | v >> (64 - by);
}

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v2 = rotl(s->v2, 32);
}

static inline void sip_word(struct sip *s, uint64_t w)
{
	s->v3 ^= w;
	sip_round(s);
	s->v0 ^= w;
}

static inline struct sip sip_start(void)
{
	pthread_once(&key_once, make_key);
	return (struct sip){
	    .v0 = key[0] ^ 0x736f6d6570736575,
	    .v1 = key[1] ^ 0x646f72616e646f6d,
	    .v2 = key[0] ^ 0x6c7967656e657261,
	    .v3 = key[1] ^ 0x7465646279746573,
	};
}

static inline uint64_t sip_end(struct sip *s)
{
	s->v2 ^= 0xff;
	sip_round(s);
	sip_round(s);
	sip_round(s);
	return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

/* The 8 bytes of a word in lower case: bit 7 of each byte of `upper` says whether it was one of
 * A-Z. */
static inline uint64_t fold_word(uint64_t w)
{
	const uint64_t ones = 0x0101010101010101;
	uint64_t low = w & 0x7f * ones;
	uint64_t upper =
	    ~w & (low + (0x80 - 'A') * ones) & ~(low + (0x7f - 'Z') * ones) & 0x80 * ones;

	return w | upper >> 2;
}

/* SipHash-1-3. Words are taken in the order of this machine: hashes never leave the process. */
static inline uint64_t sip_bytes(struct sm_str s, bool fold)
{
	struct sip st = sip_start();
	size_t left = s.n;
	const char *p = s.p;

	for (; left >= 8; left -= 8, p += 8) {
		uint64_t w;

		memcpy(&w, p, 8);
		sip_word(&st, fold ? fold_word(w) : w);
	}
	uint64_t w = 0;

	if (left > 0)
		memcpy(&w, p, left);
	if (fold)
		w = fold_word(w);
	sip_word(&st, w ^ (uint64_t)s.n << 56);
	return sip_end(&st);
}

uint64_t sm_hash_str(struct sm_str s)
{
	return sip_bytes(s, false);
}

uint64_t sm_hash_case(struct sm_str s)
{
	return sip_bytes(s, true);
}

uint64_t sm_hash_u64(uint64_t v)
{
	struct sip st = sip_start();

	sip_word(&st, v);
	return sip_end(&st);
}

void sm_hash_init(struct sm_hash *h)
{
	*h = (struct sm_hash){.bucket = NULL};
}

void sm_hash_fini(struct sm_hash *h)
{
	SM_FREE(h->bucket);
	sm_hash_init(h);
}

static void grow(struct sm_hash *h)
{
	size_t buckets = h->bucket ? (h->mask + 1) * 2 : FIRST_BUCKETS;
	struct sm_hash_node **bucket = sm_calloc(buckets, sizeof(*bucket));

	for (size_t i = 0; h->bucket && i <= h->mask; i++) {
		for (struct sm_hash_node *n = h->bucket[i], *next; n; n = next) {
			struct sm_hash_node **to = &bucket[n->hash & (buckets - 1)];

			next = n->next;
			n->next = *to;
			*to = n;
		}
	}
	sm_free(h->bucket);
	h->bucket = bucket;
	h->mask = buckets - 1;
}

void sm_hash_insert(struct sm_hash *h, struct sm_hash_node *n, uint64_t hash)
{
	if (h->bucket == NULL || h->count > h->mask)
		grow(h);
	struct sm_hash_node **to = &h->bucket[hash & h->mask];

	n->hash = hash;
	n->next = *to;
	*to = n;
	h->count++;
}

void sm_hash_remove(struct sm_hash *h, struct sm_hash_node *n)
{
	sm_assert(h->bucket != NULL);
	struct sm_hash_node **at = &h->bucket[n->hash & h->mask];

	while (*at != n) {
		sm_assert(*at != NULL);
		at = &(*at)->next;
	}
	*at = n->next;
	n->next = NULL;
	h->count--;
}

struct sm_hash_node *sm_hash_find(const struct sm_hash *h, uint64_t hash,
                                  bool (*eq)(const struct sm_hash_node *, const void *key),
                                  const void *key_)
{
	if (h->bucket == NULL)
		return NULL;
	for (struct sm_hash_node *n = h->bucket[hash & h->mask]; n; n = n->next)
		if (n->hash == hash && eq(n, key_))
			return n;
	return NULL;
}

struct sm_hash_node *sm_hash_next(const struct sm_hash *h, const struct sm_hash_node *n)
{
	if (n && n->next)
		return n->next;
	if (h->bucket == NULL)
		return NULL;
	for (size_t i = n ? (n->hash & h->mask) + 1 : 0; i <= h->mask; i++)
		if (h->bucket[i])
			return h->bucket[i];
	return NULL;
}
