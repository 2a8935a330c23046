/*
 * A table of keys and values: one block of bytes with the entries one behind the other, and a list
 * of places in it with open addressing.
 *
 *     slot   = 24 bits of the key's hash, 40 of the entry's place + 1; 0: free
 *     entry  = struct head, key, value
 *
 * Invariant: at least a quarter of the slots is free, so each search ends. Any thread, one at a
 * time.
 */
#include "smar/map_table.h"

#include "libsm/hash.h"
#include "smar/lookup.h"

enum { PLACE_BITS = 40, FIRST_SLOTS = 64, FIRST_BYTES = 4096 };
#define PLACE_MASK (((uint64_t)1 << PLACE_BITS) - 1)

struct head {
	uint32_t key_n, value_n, line;
};

struct ar_table {
	char *bytes;
	size_t used, room;
	uint64_t *slot;
	size_t mask, count;
	size_t twice; /* of these: entries that are found by a second key */
};

static struct head head_at(const struct ar_table *t, uint64_t slot, const char **key)
{
	const char *p = t->bytes + (slot & PLACE_MASK) - 1;
	struct head h;

	memcpy(&h, p, sizeof(h)); /* it may lie anywhere */
	*key = p + sizeof(h);
	return h;
}

/* The slot with this key, or the free one where it belongs. */
static uint64_t *find(const struct ar_table *t, struct sm_str key, uint64_t hash)
{
	for (size_t i = hash & t->mask;; i = (i + 1) & t->mask) {
		uint64_t slot = t->slot[i];
		const char *is;

		if (slot == 0)
			return &t->slot[i];
		if (slot >> PLACE_BITS == hash >> PLACE_BITS &&
		    sm_str_eq(key, sm_str_n(is, head_at(t, slot, &is).key_n)))
			return &t->slot[i];
	}
}

static void grow_slots(struct ar_table *t)
{
	uint64_t *old = t->slot;
	size_t n = t->mask + 1;

	t->mask = 2 * n - 1;
	t->slot = sm_calloc(2 * n, sizeof(t->slot[0]));
	for (size_t i = 0; i < n; i++) {
		const char *key;
		size_t to;

		if (old[i] == 0)
			continue;
		to = head_at(t, old[i], &key).key_n;
		to = sm_hash_str(sm_str_n(key, to)) & t->mask;
		while (t->slot[to] != 0)
			to = (to + 1) & t->mask;
		t->slot[to] = old[i];
	}
	sm_free(old);
}

static char *append(struct ar_table *t, size_t n)
{
	size_t at = t->used;

	if (n > t->room - at) {
		t->room = SM_MAX(2 * t->room, at + n);
		t->bytes = sm_realloc(t->bytes, t->room, 1);
	}
	t->used = at + n;
	return t->bytes + at;
}

/* ---- from outside ---- */

struct ar_table *ar_table_new(void)
{
	struct ar_table *t = sm_calloc(1, sizeof(*t));

	t->room = FIRST_BYTES;
	t->bytes = sm_malloc(t->room);
	t->mask = FIRST_SLOTS - 1;
	t->slot = sm_calloc(FIRST_SLOTS, sizeof(t->slot[0]));
	return t;
}

static void table_free(struct ar_table **tp)
{
	struct ar_table *t = *tp;

	*tp = NULL;
	if (t == NULL)
		return;
	sm_free(t->bytes);
	sm_free(t->slot);
	sm_free(t);
}

static unsigned add(struct ar_table *t, struct sm_str key, struct sm_str value, unsigned line)
{
	struct head h = {(uint32_t)key.n, (uint32_t)value.n, line};
	uint64_t hash, *slot;
	size_t at = t->used;
	const char *is;
	char *p;

	/* Files that are read are no larger. */
	sm_assert(key.n <= UINT32_MAX && value.n <= UINT32_MAX && at < PLACE_MASK);
	p = append(t, sizeof(h) + key.n + value.n);
	memcpy(p, &h, sizeof(h));
	p += sizeof(h);
	sm_str_lower(key, p);
	if (value.n > 0)
		memcpy(p + key.n, value.p, value.n);
	key.p = p;
	hash = sm_hash_str(key);
	slot = find(t, key, hash);
	if (*slot != 0) {
		t->used = at;
		return head_at(t, *slot, &is).line;
	}
	*slot = hash >> PLACE_BITS << PLACE_BITS | (at + 1);
	if (++t->count > t->mask / 4 * 3)
		grow_slots(t);
	return 0;
}

unsigned ar_table_add(struct ar_table *t, struct sm_str key, struct sm_str value, unsigned line)
{
	char text[AR_KEY_MAX + 1];
	struct sm_str ascii;
	unsigned before;
	bool other;

	if (sm_str_is_ascii(key) || !ar_key_ascii(key, text, &ascii, &other))
		return add(t, key, value, line);
	before = add(t, ascii, value, line);
	if (!other || before != 0)
		return before;
	before = add(t, key, value, line);
	t->twice += before == 0;
	return before;
}

/* ---- for drivers ---- */

int ar_table_opened(int rc, struct ar_table *t, void **handle, size_t *entries)
{
	if (rc != 0) {
		table_free(&t);
		return rc;
	}
	/* No more will be added: what was set aside for that is given back. */
	t->room = SM_MAX(t->used, (size_t)1);
	t->bytes = sm_realloc(t->bytes, t->room, 1);
	*handle = t;
	*entries = t->count - t->twice;
	return 0;
}

int ar_table_driver_get(void *handle, const struct ar_ctx *ctx SM_UNUSED, struct sm_str key,
                        struct sm_str *value)
{
	struct ar_table *t = handle;
	uint64_t slot = *find(t, key, sm_hash_str(key));
	struct head h;
	const char *p;

	if (slot == 0)
		return SM_E_NOTFOUND;
	h = head_at(t, slot, &p);
	*value = sm_str_n(p + h.key_n, h.value_n);
	return 0;
}

void ar_table_driver_close(void *handle)
{
	struct ar_table *t = handle;

	table_free(&t);
}
