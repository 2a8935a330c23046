/*
 * The keys of a map's source that were read so far. Invariant: open addressing, at most 3 of 4
 * slots in use; keys one after the other in one piece of memory, so that a million of them costs
 * little more than their text. Any thread.
 */
#include "libsm/hash.h"
#include "libsm/mapsrc.h"

struct slot {
	uint32_t line; /* 0: empty */
	uint32_t tag;  /* upper half of the hash */
	uint32_t at;   /* in `keys`: below SM_MAPSRC_FILE_MAX */
	uint16_t n;
};

struct sm_mapsrc_seen {
	struct slot *slots;
	size_t mask, count;
	struct sm_buf keys;
};

struct sm_mapsrc_seen *sm_mapsrc_seen_new(void)
{
	struct sm_mapsrc_seen *s = sm_calloc(1, sizeof(*s));

	s->mask = 255;
	s->slots = sm_calloc(s->mask + 1, sizeof(s->slots[0]));
	sm_buf_init(&s->keys, SM_MAPSRC_FILE_MAX);
	return s;
}

void sm_mapsrc_seen_free(struct sm_mapsrc_seen **sp)
{
	struct sm_mapsrc_seen *s = *sp;

	*sp = NULL;
	if (s == NULL)
		return;
	sm_free(s->slots);
	sm_buf_fini(&s->keys);
	sm_free(s);
}

static bool is_key(const struct sm_mapsrc_seen *s, const struct slot *x, struct sm_str key)
{
	return sm_str_eq(sm_str_n(sm_buf_view(&s->keys).p + x->at, x->n), key);
}

/* The slot of this key, or the empty one where it belongs. */
static struct slot *find(const struct sm_mapsrc_seen *s, uint64_t hash, struct sm_str key)
{
	uint32_t tag = (uint32_t)(hash >> 32);

	for (size_t i = hash & s->mask;; i = (i + 1) & s->mask) {
		struct slot *x = &s->slots[i];

		if (x->line == 0 || (x->tag == tag && x->n == key.n && is_key(s, x, key)))
			return x;
	}
}

static void grow(struct sm_mapsrc_seen *s)
{
	struct slot *old = s->slots;
	size_t n = s->mask + 1;

	s->mask = 2 * n - 1;
	s->slots = sm_calloc(2 * n, sizeof(s->slots[0]));
	for (size_t i = 0; i < n; i++)
		if (old[i].line != 0) {
			struct sm_str key = sm_str_n(sm_buf_view(&s->keys).p + old[i].at, old[i].n);

			*find(s, sm_hash_str(key), key) = old[i];
		}
	sm_free(old);
}

unsigned sm_mapsrc_seen_add(struct sm_mapsrc_seen *s, struct sm_str key, unsigned line)
{
	uint64_t hash = sm_hash_str(key);
	struct slot *x;

	sm_assert(key.n <= UINT16_MAX && line > 0);
	if (s->count >= (s->mask + 1) / 4 * 3)
		grow(s);
	x = find(s, hash, key);
	if (x->line != 0)
		return x->line;
	*x = (struct slot){.line = line,
	                   .tag = (uint32_t)(hash >> 32),
	                   .at = (uint32_t)s->keys.len,
	                   .n = (uint16_t)key.n};
	sm_buf_str(&s->keys, key);
	sm_assert(sm_buf_err(&s->keys) == 0); /* less than the file that they come from */
	s->count++;
	return 0;
}
