/*
 * The structure of a Berkeley DB file (formats of its versions 4 to 6, either byte order).
 *
 *   file       = page 0 (the meta page), pages of equal size
 *   page       = header of 26 bytes (32 with checksums), offsets of items, free room, items
 *   hash       bucket n begins on page n + spares[log2 of n + 1]; chains by next page; items in
 *              pairs, each as long as the way to the one before it
 *   btree      internal pages lead to leaves, whose items come in pairs, too
 *   overflow   long items: chains of pages
 *
 * Opening walks all that can be reached, and notes each key in an index of its own; so damage is
 * found when a map is opened, not when mail comes. Invariant: the index names only pairs that were
 * checked to lie within the file. Any thread; afterwards nothing changes.
 */
#include "smar/bdb.h"

#include "libsm/hash.h"
#include "smar/bdb_int.h"

/* What the hash function of new files makes of this says that it is the usual one. */
static const struct sm_str known_key = {"%$sniglet^&", sizeof("%$sniglet^&")};

/* ---- the index ---- */

static uint64_t slot_of(uint64_t hash, uint32_t number, uint32_t i)
{
	return hash >> 48 << 48 | (uint64_t)number << 16 | i;
}

/* The slot with this key, or the free one where it belongs. */
static uint64_t *find(const struct ar_bdb *b, struct sm_str key, uint64_t hash)
{
	for (size_t i = hash & b->mask;; i = (i + 1) & b->mask) {
		uint64_t slot = b->index[i];
		struct item it;

		if (slot == 0)
			return &b->index[i];
		if (slot >> 48 != hash >> 48 ||
		    ar_bdb_item_of(b, (uint32_t)(slot >> 16), slot & 0xffff, &it) != 0)
			continue;
		if (it.overflow == 0) {
			if (sm_str_caseeq(ar_bdb_without_nul(sm_str_n(it.p, it.n)), key))
				return &b->index[i];
		} else if (it.n == key.n || it.n == key.n + 1) {
			char *text = sm_malloc(it.n);
			bool same;

			ar_bdb_copy_item(b, &it, text);
			same = sm_str_caseeq(ar_bdb_without_nul(sm_str_n(text, it.n)), key);
			sm_free(text);
			if (same)
				return &b->index[i];
		}
	}
}

static void grow(struct ar_bdb *b)
{
	uint64_t *old = b->index;
	size_t size = old != NULL ? b->mask + 1 : 0;
	struct sm_arena a;

	b->mask = SM_MAX(size * 2, (size_t)64) - 1;
	b->index = sm_calloc(b->mask + 1, sizeof(b->index[0]));
	sm_arena_init(&a, "key", 4096, SIZE_MAX / 8);
	for (size_t i = 0; i < size; i++) {
		uint32_t number = (uint32_t)(old[i] >> 16);
		struct item it;
		size_t to;

		if (old[i] == 0 || ar_bdb_item_of(b, number, old[i] & 0xffff, &it) != 0)
			continue;
		to = sm_hash_case(ar_bdb_item_text(b, &it, &a)) & b->mask;
		while (b->index[to] != 0)
			to = (to + 1) & b->mask;
		b->index[to] = old[i];
		sm_arena_reset(&a);
	}
	sm_arena_fini(&a);
	sm_free(old);
}

static int add_key(struct ar_bdb *b, struct sm_str key, uint32_t number, uint32_t i)
{
	uint64_t hash = sm_hash_case(key), *slot;

	if (b->count * 2 >= b->mask)
		grow(b);
	slot = find(b, key, hash);
	if (*slot != 0)
		return sm_fail(SM_E_EXISTS, "the key \"" SM_STR_FMT "\" is there twice",
		               SM_STR_ARG(sm_str_head(key, 100)));
	*slot = slot_of(hash, number, i);
	b->count++;
	return 0;
}

/* ---- hash files ---- */

/* Fowler, Noll, Vo. */
static uint32_t usual_hash(struct sm_str key)
{
	uint32_t h = 0;

	for (size_t i = 0; i < key.n; i++)
		h = (h * 16777619U) ^ (uint8_t)key.p[i];
	return h;
}

struct buckets {
	uint32_t max, high_mask, low_mask;
	bool usual; /* hash function */
};

static uint32_t bucket_of(const struct buckets *k, struct sm_str raw_key)
{
	uint32_t n = usual_hash(raw_key) & k->high_mask;

	return n > k->max ? n & k->low_mask : n;
}

/* Keys of a tree come in the order of their bytes, unless a program had an order of its own. */
static int check_order(struct ar_bdb *b, uint32_t number, struct sm_str key)
{
	if (sm_str_cmp(sm_buf_view(&b->before), key) > 0)
		return ar_bdb_damaged(number, "a key that does not belong there");
	sm_buf_reset(&b->before);
	sm_buf_str(&b->before, key);
	return 0;
}

static int add_pairs(struct ar_bdb *b, uint32_t number, const struct buckets *k, uint32_t bucket)
{
	uint32_t n = page_entries(b, page_at(b, number));
	struct sm_arena a;
	int rc = 0;

	if (n % 2 != 0)
		return ar_bdb_damaged(number, "a key without value");
	if ((rc = ar_bdb_check_filled(b, number)) != 0)
		return rc;
	sm_arena_init(&a, "key", 1024, SIZE_MAX / 8);
	for (uint32_t i = 0; i < n && rc == 0; i += 2) {
		struct item key = {0}, value = {0};
		bool deleted = false;
		struct sm_str raw;

		rc = b->btree ? ar_bdb_btree_item(b, number, i, &key, &deleted)
		              : ar_bdb_hash_item(b, number, i, &key);
		if (deleted)
			continue;
		if (rc == 0)
			rc = ar_bdb_item_of(b, number, i + 1, &value);
		if (rc == 0 && key.overflow != 0)
			rc = ar_bdb_check_overflow(b, key.overflow, key.n);
		if (rc == 0 && value.overflow != 0)
			rc = ar_bdb_check_overflow(b, value.overflow, value.n);
		if (rc != 0)
			break;
		sm_arena_reset(&a);
		raw = ar_bdb_item_text(b, &key, &a);
		if (k != NULL && k->usual) {
			/* It is part of what was hashed. */
			struct sm_str whole = sm_str_n(raw.p, key.n);

			if (bucket_of(k, whole) != bucket)
				rc = ar_bdb_damaged(number, "a key that does not belong there");
		}
		if (b->btree)
			rc = check_order(b, number, sm_str_n(raw.p, key.n));
		if (rc == 0)
			rc = add_key(b, raw, number, i);
	}
	sm_arena_fini(&a);
	return rc;
}

static bool never_written(const struct ar_bdb *b, uint32_t number)
{
	static const uint8_t nothing[HEADER_BYTES];

	return memcmp(page_at(b, number), nothing, sizeof(nothing)) == 0;
}

static int walk_bucket(struct ar_bdb *b, uint32_t number, const struct buckets *k, uint32_t bucket)
{
	if (number > 0 && number < b->pages && never_written(b, number))
		return 0;
	while (number != 0) {
		int rc = ar_bdb_visit(b, number);
		uint8_t type;

		if (rc != 0)
			return rc;
		type = page_type(page_at(b, number));
		if (type != PAGE_HASH && type != PAGE_HASH_UNSORTED)
			return ar_bdb_damaged(number, "not of a bucket");
		rc = add_pairs(b, number, k, bucket);
		if (rc != 0)
			return rc;
		number = page_next(b, page_at(b, number));
	}
	return 0;
}

static int walk_hash(struct ar_bdb *b)
{
	const uint8_t *meta = b->file;
	struct buckets k = {
	    .max = u32(b, meta + 72),
	    .high_mask = u32(b, meta + 76),
	    .low_mask = u32(b, meta + 80),
	    .usual = u32(b, meta + 92) == usual_hash(known_key),
	};

	if (k.max >= b->pages)
		return ar_bdb_damaged(0, "more buckets than pages");
	if ((k.high_mask & (k.high_mask + 1)) != 0 || k.low_mask != k.high_mask >> 1 ||
	    k.max > k.high_mask || k.max < k.low_mask)
		return ar_bdb_damaged(0, "buckets that do not fit");
	for (uint32_t i = 0; i <= k.max; i++) {
		uint32_t power = 0;
		int rc;

		while (power < SPARES - 1 && (uint64_t)1 << power < (uint64_t)i + 1)
			power++;
		rc = walk_bucket(b, i + u32(b, meta + 96 + (size_t)4 * power), &k, i);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* ---- btree files ---- */

/* Below `number`, which is of this level. */
static int walk_tree(struct ar_bdb *b, uint32_t number, unsigned level)
{
	const uint8_t *page;
	int rc = ar_bdb_visit(b, number);

	if (rc != 0)
		return rc;
	page = page_at(b, number);
	if (page_level(page) != level)
		return ar_bdb_damaged(number, "is of another level");
	if (level == 1)
		return page_type(page) == PAGE_BTREE_LEAF ? add_pairs(b, number, NULL, 0)
		                                          : ar_bdb_damaged(number, "no leaf");
	if (page_type(page) != PAGE_BTREE_INTERNAL)
		return ar_bdb_damaged(number, "not of a tree");
	if (page_entries(b, page) == 0)
		return ar_bdb_damaged(number, "leads nowhere");
	rc = ar_bdb_check_filled(b, number);
	if (rc != 0)
		return rc;
	for (uint32_t i = 0; i < page_entries(b, page); i++) {
		uint32_t at = ar_bdb_item_at(b, page, i);

		if (at == 0 || b->page_bytes - at < 12)
			return ar_bdb_damaged(number, "an item out of place");
		rc = walk_tree(b, u32(b, page + at + 4), level - 1);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int walk_btree(struct ar_bdb *b)
{
	uint32_t root = u32(b, b->file + 88);
	int rc = ar_bdb_check_number(b, root);

	if (rc != 0)
		return rc;
	if (page_level(page_at(b, root)) == 0)
		return ar_bdb_damaged(root, "is of no level");
	return walk_tree(b, root, page_level(page_at(b, root)));
}

/* ---- the file ---- */

static int check_meta(struct ar_bdb *b, size_t file_bytes)
{
	const uint8_t *meta = b->file;
	uint32_t magic, version, flags;

	if (file_bytes < META_BYTES)
		return sm_fail(SM_E_CORRUPT, "no Berkeley DB file: too short");
	magic = u32(b, meta + 12);
	b->swapped = magic != HASH_MAGIC && magic != BTREE_MAGIC;
	magic = u32(b, meta + 12);
	b->btree = magic == BTREE_MAGIC;
	if (!b->btree && magic != HASH_MAGIC)
		return sm_fail(SM_E_CORRUPT, "no hash or btree file of Berkeley DB");
	version = u32(b, meta + 16);
	if (version < (b->btree ? 8 : 7) || version > 10)
		return sm_fail(SM_E_NOTSUP, "format %u of Berkeley DB", version);
	flags = u32(b, meta + 48);
	if (meta[24] != 0)
		return sm_fail(SM_E_NOTSUP, "it is encrypted");
	if (b->btree ? (flags & BTREE_SUBDBS) != 0 : (flags & HASH_SUBDBS) != 0)
		return sm_fail(SM_E_NOTSUP, "several databases in one file");
	if (u32(b, meta + 36) != 0 || (b->btree && flags & (BTREE_RECNO | BTREE_COMPRESSED)))
		return sm_fail(SM_E_NOTSUP, "partitions, compression or record numbers");
	b->header_bytes = meta[26] & META_CHECKSUMS ? HEADER_SUM_BYTES : HEADER_BYTES;
	b->page_bytes = u32(b, meta + 20);
	if (b->page_bytes < META_BYTES || b->page_bytes > 65536 ||
	    (b->page_bytes & (b->page_bytes - 1)) != 0)
		return ar_bdb_damaged(0, "pages of a strange size");
	if (meta[25] != (b->btree ? PAGE_BTREE_META : PAGE_HASH_META) || u32(b, meta + 8) != 0)
		return ar_bdb_damaged(0, "no meta page");
	if (file_bytes % b->page_bytes != 0 || file_bytes / b->page_bytes > UINT32_MAX)
		return sm_fail(SM_E_CORRUPT, "its end is cut off");
	b->pages = (uint32_t)(file_bytes / b->page_bytes);
	if (!ar_bdb_sum_is_right(b, 0))
		return ar_bdb_damaged(0, "wrong checksum");
	if (u32(b, meta + 32) >= b->pages)
		return sm_fail(SM_E_CORRUPT, "its end is cut off");
	return 0;
}

/* Pages with pairs that no way led to. */
static int check_all_seen(const struct ar_bdb *b)
{
	for (uint32_t i = 1; i < b->pages; i++) {
		const uint8_t *page = page_at(b, i);
		uint8_t type = page_type(page);

		if (!(b->seen[i / 8] & 1U << i % 8) && page_entries(b, page) > 0 &&
		    (type == PAGE_HASH || type == PAGE_HASH_UNSORTED || type == PAGE_BTREE_LEAF))
			return ar_bdb_damaged(i, "nothing leads there");
	}
	return 0;
}

int ar_bdb_open(struct sm_str file, struct ar_bdb **out)
{
	struct ar_bdb *b = sm_calloc(1, sizeof(*b));
	int rc;

	b->file = (const uint8_t *)file.p;
	rc = check_meta(b, file.n);
	if (rc == 0) {
		b->seen = sm_calloc(b->pages / 8 + 1, 1);
		sm_buf_init(&b->before, AR_BDB_VALUE_MAX);
		grow(b);
		rc = b->btree ? walk_btree(b) : walk_hash(b);
		if (rc == 0)
			rc = check_all_seen(b);
		sm_buf_fini(&b->before);
		SM_FREE(b->seen);
	}
	if (rc != 0)
		ar_bdb_free(&b);
	*out = b;
	return rc;
}

void ar_bdb_free(struct ar_bdb **bp)
{
	struct ar_bdb *b = *bp;

	*bp = NULL;
	if (b == NULL)
		return;
	sm_free(b->index);
	sm_free(b);
}

size_t ar_bdb_count(const struct ar_bdb *b)
{
	return b->count;
}

int ar_bdb_get(const struct ar_bdb *b, struct sm_str key, struct sm_arena *a, struct sm_str *value)
{
	uint64_t slot = *find(b, key, sm_hash_case(key));
	struct item it;
	int rc;

	if (slot == 0)
		return SM_E_NOTFOUND;
	rc = ar_bdb_item_of(b, (uint32_t)(slot >> 16), (uint32_t)(slot & 0xffff) + 1, &it);
	if (rc != 0)
		return rc;
	*value = ar_bdb_item_text(b, &it, a);
	return value->p != NULL ? 0 : sm_fail(SM_E_TOOBIG, "a value of %u bytes", it.n);
}
