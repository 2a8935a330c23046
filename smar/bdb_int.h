/*
 * Pages of Berkeley DB files and the items on them, for bdb.c alone: everything is checked to lie
 * within the file before it is given.
 */
#ifndef AR_BDB_INT_H
#define AR_BDB_INT_H

#include "libsm/buf.h"
#include "libsm/err.h"
#include "smar/bdb.h"

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

static inline uint16_t u16(const struct ar_bdb *b, const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return b->swapped ? __builtin_bswap16(v) : v;
}

static inline uint32_t u32(const struct ar_bdb *b, const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return b->swapped ? __builtin_bswap32(v) : v;
}

static inline const uint8_t *page_at(const struct ar_bdb *b, uint32_t number)
{
	return b->file + (size_t)number * b->page_bytes;
}

static inline uint32_t page_next(const struct ar_bdb *b, const uint8_t *page)
{
	return u32(b, page + 16);
}

static inline uint32_t page_entries(const struct ar_bdb *b, const uint8_t *page)
{
	return u16(b, page + 20);
}

static inline uint8_t page_level(const uint8_t *page)
{
	return page[24];
}

static inline uint8_t page_type(const uint8_t *page)
{
	return page[25];
}

int ar_bdb_damaged(uint32_t number, const char *what);

int ar_bdb_check_number(const struct ar_bdb *b, uint32_t number);

/* Of files with checksums: is the page, or of the meta page its first bytes, as it was written? The
 * sum is made with zeros in its own place. */
bool ar_bdb_sum_is_right(const struct ar_bdb *b, uint32_t number);

/* Each page belongs to one place; so no walk can run in a circle. */
int ar_bdb_visit(struct ar_bdb *b, uint32_t number);

/* The offset of an item; 0 when there is none such. */
uint32_t ar_bdb_item_at(const struct ar_bdb *b, const uint8_t *page, uint32_t i);

/* The items of a page begin where its free room ends: none is missing. */
int ar_bdb_check_filled(const struct ar_bdb *b, uint32_t number);

/* A chain of pages that holds exactly `n` bytes. */
int ar_bdb_check_overflow(const struct ar_bdb *b, uint32_t number, uint32_t n);

int ar_bdb_hash_item(const struct ar_bdb *b, uint32_t number, uint32_t i, struct item *out);

/* *deleted: it is only a place. */
int ar_bdb_btree_item(const struct ar_bdb *b, uint32_t number, uint32_t i, struct item *out,
                      bool *deleted);

int ar_bdb_item_of(const struct ar_bdb *b, uint32_t number, uint32_t i, struct item *out);

/* All bytes of a long item that was checked. */
void ar_bdb_copy_item(const struct ar_bdb *b, const struct item *it, char *to);

struct sm_str ar_bdb_without_nul(struct sm_str s);

/* An item that was checked, as one string; p NULL: `a` is full. */
struct sm_str ar_bdb_item_text(const struct ar_bdb *b, const struct item *it, struct sm_arena *a);

#endif
