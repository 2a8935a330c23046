/*
 * The pages of a Berkeley DB file (formats of its versions 4 to 6, either byte order).
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

#include "libsm/buf.h"
#include "libsm/err.h"
#include "libsm/hash.h"

enum {
	META_BYTES = 512,
	HEADER_BYTES = 26,
	HEADER_SUM_BYTES = 32, /* with checksums */
	HASH_MAGIC = 0x061561,
	BTREE_MAGIC = 0x053162,
	META_CHECKSUMS = 1,
	META_SUM_AT = 492,
	PAGE_SUM_AT = 28,
	SPARES = 32,
	HASH_SUBDBS = 2,
	BTREE_RECNO = 2,
	BTREE_SUBDBS = 0x20,
	BTREE_COMPRESSED = 0x80,
};
enum page_type {
	PAGE_HASH_UNSORTED = 2,
	PAGE_BTREE_INTERNAL = 3,
	PAGE_BTREE_LEAF = 5,
	PAGE_OVERFLOW = 7,
	PAGE_HASH_META = 8,
	PAGE_BTREE_META = 9,
	PAGE_HASH = 13
};
enum hash_item { H_DATA = 1, H_DUPLICATE = 2, H_OVERFLOW = 3, H_DUPLICATES = 4 };
enum btree_item { B_DATA = 1, B_DUPLICATE = 2, B_OVERFLOW = 3, B_DELETED = 0x80 };

/* What the hash function of new files makes of this says that it is the usual one. */
static const struct sm_str known_key = {"%$sniglet^&", sizeof("%$sniglet^&")};

struct ar_bdb {
	const uint8_t *file;
	uint32_t page_bytes, pages, header_bytes;
	bool swapped, btree;
	/* While it is opened. */
	uint8_t *seen;        /* a bit a page */
	struct sm_buf before; /* btree: the last key */
	/* Open addressing: 16 bits of the key's hash, 32 of its page, 16 of its place; 0: free. */
	uint64_t *index;
	size_t mask, count;
};

/* Where an item lies: on its page, or beginning on page `overflow`. */
struct item {
	const uint8_t *p;
	uint32_t n;
	uint32_t overflow;
};

static uint16_t u16(const struct ar_bdb *b, const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return b->swapped ? __builtin_bswap16(v) : v;
}

static uint32_t u32(const struct ar_bdb *b, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return b->swapped ? __builtin_bswap32(v) : v;
}

/* ---- pages ---- */

static const uint8_t *page_at(const struct ar_bdb *b, uint32_t number)
{
	return b->file + (size_t)number * b->page_bytes;
}

static uint32_t page_next(const struct ar_bdb *b, const uint8_t *page)
{
	return u32(b, page + 16);
}

static uint32_t page_entries(const struct ar_bdb *b, const uint8_t *page)
{
	return u16(b, page + 20);
}

static uint8_t page_level(const uint8_t *page)
{
	return page[24];
}

static uint8_t page_type(const uint8_t *page)
{
	return page[25];
}

static int damaged(uint32_t number, const char *what)
{
	return sm_fail(SM_E_CORRUPT, "damaged: page %u: %s", number, what);
}

static int check_number(const struct ar_bdb *b, uint32_t number)
{
	if (number == 0 || number >= b->pages)
		return damaged(number, "beyond the end");
	if (u32(b, page_at(b, number) + 8) != number)
		return damaged(number, "has the number of another one");
	return 0;
}

static uint32_t sum_on(uint32_t h, const uint8_t *p, size_t n)
{
	while (n-- > 0)
		h = h * 33 + *p++;
	return h;
}

/* Of files with checksums: is the page, or of the meta page its first bytes, as it was written? The
 * sum is made with zeros in its own place. */
static bool sum_is_right(const struct ar_bdb *b, uint32_t number)
{
	static const uint8_t zeros[4];
	const uint8_t *page = page_at(b, number);
	size_t at = number == 0 ? META_SUM_AT : PAGE_SUM_AT;
	size_t n = number == 0 ? META_BYTES : b->page_bytes;
	uint32_t sum;

	if (b->header_bytes != HEADER_SUM_BYTES)
		return true;
	sum = sum_on(sum_on(sum_on(0, page, at), zeros, 4), page + at + 4, n - at - 4);
	return sum == u32(b, page + at);
}

/* Each page belongs to one place; so no walk can run in a circle. */
static int visit(struct ar_bdb *b, uint32_t number)
{
	int rc = check_number(b, number);

	if (rc != 0)
		return rc;
	if (b->seen[number / 8] & 1U << number % 8)
		return damaged(number, "is in two places");
	b->seen[number / 8] |= (uint8_t)(1U << number % 8);
	if (!sum_is_right(b, number))
		return damaged(number, "wrong checksum");
	return 0;
}

/* The offset of an item; 0 when there is none such. */
static uint32_t item_at(const struct ar_bdb *b, const uint8_t *page, uint32_t i)
{
	uint32_t first_free = b->header_bytes + 2 * page_entries(b, page);
	uint32_t at;

	if (i >= page_entries(b, page) || first_free > b->page_bytes)
		return 0;
	at = u16(b, page + b->header_bytes + (size_t)2 * i);
	return at >= first_free && at < b->page_bytes ? at : 0;
}

/* The items of a page begin where its free room ends: none is missing. */
static int check_filled(const struct ar_bdb *b, uint32_t number)
{
	const uint8_t *page = page_at(b, number);
	uint32_t n = page_entries(b, page), lowest = b->page_bytes;
	/* Of a page of 65536 bytes that has no item, 0 is what is left of the number. */
	uint32_t free_end = u16(b, page + 22);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = item_at(b, page, i);

		if (at == 0)
			return damaged(number, "an item out of place");
		lowest = SM_MIN(lowest, at);
	}
	return (lowest & 0xffff) == free_end ? 0 : damaged(number, "an item is missing");
}

/* ---- items ---- */

/* A chain of pages that holds exactly `n` bytes. */
static int check_overflow(const struct ar_bdb *b, uint32_t number, uint32_t n)
{
	if (n > AR_BDB_VALUE_MAX)
		return sm_fail(SM_E_NOTSUP, "page %u: an item of %u bytes", number, n);
	while (n > 0) {
		int rc = check_number(b, number);
		const uint8_t *page;
		uint32_t here;

		if (rc != 0)
			return rc;
		page = page_at(b, number);
		here = u16(b, page + 22);
		if (!sum_is_right(b, number))
			return damaged(number, "wrong checksum");
		if (page_type(page) != PAGE_OVERFLOW || here == 0 || here > n ||
		    here > b->page_bytes - b->header_bytes)
			return damaged(number, "no piece of a long item");
		n -= here;
		number = page_next(b, page);
	}
	return 0;
}

/* An item that is elsewhere. */
static int long_item(const struct ar_bdb *b, uint32_t number, const uint8_t *p, struct item *out)
{
	out->overflow = u32(b, p + 4);
	out->n = u32(b, p + 8);
	return out->overflow != 0 && out->n != 0 ? 0 : damaged(number, "a long item that is none");
}

static int hash_item(const struct ar_bdb *b, uint32_t number, uint32_t i, struct item *out)
{
	const uint8_t *page = page_at(b, number);
	uint32_t at = item_at(b, page, i);
	uint32_t end = i == 0 ? b->page_bytes : item_at(b, page, i - 1);

	*out = (struct item){0};
	if (at == 0 || end <= at)
		return damaged(number, "an item out of place");
	switch (page[at]) {
	case H_DATA:
		out->p = page + at + 1;
		out->n = end - at - 1;
		return 0;
	case H_OVERFLOW:
		if (end - at < 12)
			return damaged(number, "an item cut off");
		return long_item(b, number, page + at, out);
	case H_DUPLICATE:
	case H_DUPLICATES:
		return sm_fail(SM_E_NOTSUP, "a key has several values");
	default:
		return damaged(number, "an item of unknown kind");
	}
}

/* *deleted: it is only a place. */
static int btree_item(const struct ar_bdb *b, uint32_t number, uint32_t i, struct item *out,
                      bool *deleted)
{
	const uint8_t *page = page_at(b, number);
	uint32_t at = item_at(b, page, i), room = b->page_bytes - at;

	*out = (struct item){0};
	if (at == 0 || room < 4)
		return damaged(number, "an item out of place");
	*deleted = (page[at + 2] & B_DELETED) != 0;
	switch (page[at + 2] & ~B_DELETED) {
	case B_DATA:
		out->p = page + at + 3;
		out->n = u16(b, page + at);
		return out->n <= room - 3 ? 0 : damaged(number, "an item cut off");
	case B_OVERFLOW:
		if (room < 12)
			return damaged(number, "an item cut off");
		return long_item(b, number, page + at, out);
	case B_DUPLICATE:
		return sm_fail(SM_E_NOTSUP, "a key has several values");
	default:
		return damaged(number, "an item of unknown kind");
	}
}

static int item_of(const struct ar_bdb *b, uint32_t number, uint32_t i, struct item *out)
{
	bool deleted;

	return b->btree ? btree_item(b, number, i, out, &deleted) : hash_item(b, number, i, out);
}

/* All bytes of a long item that was checked. */
static void copy_item(const struct ar_bdb *b, const struct item *it, char *to)
{
	uint32_t number = it->overflow, left = it->n;

	while (left > 0) {
		const uint8_t *page = page_at(b, number);
		uint32_t here = u16(b, page + 22);

		memcpy(to, page + b->header_bytes, here);
		to += here;
		left -= here;
		number = page_next(b, page);
	}
}

static struct sm_str without_nul(struct sm_str s)
{
	if (s.n > 0 && s.p[s.n - 1] == '\0')
		s.n--;
	return s;
}

/* An item that was checked, as one string; p NULL: `a` is full. */
static struct sm_str item_text(const struct ar_bdb *b, const struct item *it, struct sm_arena *a)
{
	char *copy;

	if (it->overflow == 0)
		return without_nul(sm_str_n(it->p, it->n));
	copy = sm_arena_alloc(a, it->n);
	if (copy == NULL)
		return SM_STR_NONE;
	copy_item(b, it, copy);
	return without_nul(sm_str_n(copy, it->n));
}

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
		    item_of(b, (uint32_t)(slot >> 16), slot & 0xffff, &it) != 0)
			continue;
		if (it.overflow == 0) {
			if (sm_str_caseeq(without_nul(sm_str_n(it.p, it.n)), key))
				return &b->index[i];
		} else if (it.n == key.n || it.n == key.n + 1) {
			char *text = sm_malloc(it.n);
			bool same;

			copy_item(b, &it, text);
			same = sm_str_caseeq(without_nul(sm_str_n(text, it.n)), key);
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

		if (old[i] == 0 || item_of(b, number, old[i] & 0xffff, &it) != 0)
			continue;
		to = sm_hash_case(item_text(b, &it, &a)) & b->mask;
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
		return damaged(number, "a key that does not belong there");
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
		return damaged(number, "a key without value");
	if ((rc = check_filled(b, number)) != 0)
		return rc;
	sm_arena_init(&a, "key", 1024, SIZE_MAX / 8);
	for (uint32_t i = 0; i < n && rc == 0; i += 2) {
		struct item key = {0}, value = {0};
		bool deleted = false;
		struct sm_str raw;

		rc = b->btree ? btree_item(b, number, i, &key, &deleted)
		              : hash_item(b, number, i, &key);
		if (deleted)
			continue;
		if (rc == 0)
			rc = item_of(b, number, i + 1, &value);
		if (rc == 0 && key.overflow != 0)
			rc = check_overflow(b, key.overflow, key.n);
		if (rc == 0 && value.overflow != 0)
			rc = check_overflow(b, value.overflow, value.n);
		if (rc != 0)
			break;
		sm_arena_reset(&a);
		raw = item_text(b, &key, &a);
		if (k != NULL && k->usual) {
			/* It is part of what was hashed. */
			struct sm_str whole = sm_str_n(raw.p, key.n);

			if (bucket_of(k, whole) != bucket)
				rc = damaged(number, "a key that does not belong there");
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
		int rc = visit(b, number);
		uint8_t type;

		if (rc != 0)
			return rc;
		type = page_type(page_at(b, number));
		if (type != PAGE_HASH && type != PAGE_HASH_UNSORTED)
			return damaged(number, "not of a bucket");
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
		return damaged(0, "more buckets than pages");
	if ((k.high_mask & (k.high_mask + 1)) != 0 || k.low_mask != k.high_mask >> 1 ||
	    k.max > k.high_mask || k.max < k.low_mask)
		return damaged(0, "buckets that do not fit");
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
	int rc = visit(b, number);

	if (rc != 0)
		return rc;
	page = page_at(b, number);
	if (page_level(page) != level)
		return damaged(number, "is of another level");
	if (level == 1)
		return page_type(page) == PAGE_BTREE_LEAF ? add_pairs(b, number, NULL, 0)
		                                          : damaged(number, "no leaf");
	if (page_type(page) != PAGE_BTREE_INTERNAL)
		return damaged(number, "not of a tree");
	if (page_entries(b, page) == 0)
		return damaged(number, "leads nowhere");
	rc = check_filled(b, number);
	if (rc != 0)
		return rc;
	for (uint32_t i = 0; i < page_entries(b, page); i++) {
		uint32_t at = item_at(b, page, i);

		if (at == 0 || b->page_bytes - at < 12)
			return damaged(number, "an item out of place");
		rc = walk_tree(b, u32(b, page + at + 4), level - 1);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int walk_btree(struct ar_bdb *b)
{
	uint32_t root = u32(b, b->file + 88);
	int rc = check_number(b, root);

	if (rc != 0)
		return rc;
	if (page_level(page_at(b, root)) == 0)
		return damaged(root, "is of no level");
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
		return damaged(0, "pages of a strange size");
	if (meta[25] != (b->btree ? PAGE_BTREE_META : PAGE_HASH_META) || u32(b, meta + 8) != 0)
		return damaged(0, "no meta page");
	if (file_bytes % b->page_bytes != 0 || file_bytes / b->page_bytes > UINT32_MAX)
		return sm_fail(SM_E_CORRUPT, "its end is cut off");
	b->pages = (uint32_t)(file_bytes / b->page_bytes);
	if (!sum_is_right(b, 0))
		return damaged(0, "wrong checksum");
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
			return damaged(i, "nothing leads there");
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
	rc = item_of(b, (uint32_t)(slot >> 16), (uint32_t)(slot & 0xffff) + 1, &it);
	if (rc != 0)
		return rc;
	*value = item_text(b, &it, a);
	return value->p != NULL ? 0 : sm_fail(SM_E_TOOBIG, "a value of %u bytes", it.n);
}
