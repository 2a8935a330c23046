/* Pages, and items on them or on chains of their own: where they are, and whether they can be.
 * Pure; any thread. */
#include "smar/bdb_int.h"

int ar_bdb_damaged(uint32_t number, const char *what)
{
	return sm_fail(SM_E_CORRUPT, "damaged: page %u: %s", number, what);
}

int ar_bdb_check_number(const struct ar_bdb *b, uint32_t number)
{
	if (number == 0 || number >= b->pages)
		return ar_bdb_damaged(number, "beyond the end");
	if (u32(b, page_at(b, number) + 8) != number)
		return ar_bdb_damaged(number, "has the number of another one");
	return 0;
}

static uint32_t sum_on(uint32_t h, const uint8_t *p, size_t n)
{
	while (n-- > 0)
		h = h * 33 + *p++;
	return h;
}

bool ar_bdb_sum_is_right(const struct ar_bdb *b, uint32_t number)
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

int ar_bdb_visit(struct ar_bdb *b, uint32_t number)
{
	int rc = ar_bdb_check_number(b, number);

	if (rc != 0)
		return rc;
	if (b->seen[number / 8] & 1U << number % 8)
		return ar_bdb_damaged(number, "is in two places");
	b->seen[number / 8] |= (uint8_t)(1U << number % 8);
	if (!ar_bdb_sum_is_right(b, number))
		return ar_bdb_damaged(number, "wrong checksum");
	return 0;
}

uint32_t ar_bdb_item_at(const struct ar_bdb *b, const uint8_t *page, uint32_t i)
{
	uint32_t first_free = b->header_bytes + 2 * page_entries(b, page);
	uint32_t at;

	if (i >= page_entries(b, page) || first_free > b->page_bytes)
		return 0;
	at = u16(b, page + b->header_bytes + (size_t)2 * i);
	return at >= first_free && at < b->page_bytes ? at : 0;
}

int ar_bdb_check_filled(const struct ar_bdb *b, uint32_t number)
{
	const uint8_t *page = page_at(b, number);
	uint32_t n = page_entries(b, page), lowest = b->page_bytes;
	/* Of a page of 65536 bytes that has no item, 0 is what is left of the number. */
	uint32_t free_end = u16(b, page + 22);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t at = ar_bdb_item_at(b, page, i);

		if (at == 0)
			return ar_bdb_damaged(number, "an item out of place");
		lowest = SM_MIN(lowest, at);
	}
	return (lowest & 0xffff) == free_end ? 0 : ar_bdb_damaged(number, "an item is missing");
}

/* ---- items ---- */

int ar_bdb_check_overflow(const struct ar_bdb *b, uint32_t number, uint32_t n)
{
	if (n > AR_BDB_VALUE_MAX)
		return sm_fail(SM_E_NOTSUP, "page %u: an item of %u bytes", number, n);
	while (n > 0) {
		int rc = ar_bdb_check_number(b, number);
		const uint8_t *page;
		uint32_t here;

		if (rc != 0)
			return rc;
		page = page_at(b, number);
		here = u16(b, page + 22);
		if (!ar_bdb_sum_is_right(b, number))
			return ar_bdb_damaged(number, "wrong checksum");
		if (page_type(page) != PAGE_OVERFLOW || here == 0 || here > n ||
		    here > b->page_bytes - b->header_bytes)
			return ar_bdb_damaged(number, "no piece of a long item");
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
	return out->overflow != 0 && out->n != 0
	           ? 0
	           : ar_bdb_damaged(number, "a long item that is none");
}

int ar_bdb_hash_item(const struct ar_bdb *b, uint32_t number, uint32_t i, struct item *out)
{
	const uint8_t *page = page_at(b, number);
	uint32_t at = ar_bdb_item_at(b, page, i);
	uint32_t end = i == 0 ? b->page_bytes : ar_bdb_item_at(b, page, i - 1);

	*out = (struct item){0};
	if (at == 0 || end <= at)
		return ar_bdb_damaged(number, "an item out of place");
	switch (page[at]) {
	case H_DATA:
		out->p = page + at + 1;
		out->n = end - at - 1;
		return 0;
	case H_OVERFLOW:
		if (end - at < 12)
			return ar_bdb_damaged(number, "an item cut off");
		return long_item(b, number, page + at, out);
	case H_DUPLICATE:
	case H_DUPLICATES:
		return sm_fail(SM_E_NOTSUP, "a key has several values");
	default:
		return ar_bdb_damaged(number, "an item of unknown kind");
	}
}

int ar_bdb_btree_item(const struct ar_bdb *b, uint32_t number, uint32_t i, struct item *out,
                      bool *deleted)
{
	const uint8_t *page = page_at(b, number);
	uint32_t at = ar_bdb_item_at(b, page, i), room = b->page_bytes - at;

	*out = (struct item){0};
	if (at == 0 || room < 4)
		return ar_bdb_damaged(number, "an item out of place");
	*deleted = (page[at + 2] & B_DELETED) != 0;
	switch (page[at + 2] & ~B_DELETED) {
	case B_DATA:
		out->p = page + at + 3;
		out->n = u16(b, page + at);
		return out->n <= room - 3 ? 0 : ar_bdb_damaged(number, "an item cut off");
	case B_OVERFLOW:
		if (room < 12)
			return ar_bdb_damaged(number, "an item cut off");
		return long_item(b, number, page + at, out);
	case B_DUPLICATE:
		return sm_fail(SM_E_NOTSUP, "a key has several values");
	default:
		return ar_bdb_damaged(number, "an item of unknown kind");
	}
}

int ar_bdb_item_of(const struct ar_bdb *b, uint32_t number, uint32_t i, struct item *out)
{
	bool deleted;

	return b->btree ? ar_bdb_btree_item(b, number, i, out, &deleted)
	                : ar_bdb_hash_item(b, number, i, out);
}

void ar_bdb_copy_item(const struct ar_bdb *b, const struct item *it, char *to)
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

struct sm_str ar_bdb_without_nul(struct sm_str s)
{
	if (s.n > 0 && s.p[s.n - 1] == '\0')
		s.n--;
	return s;
}

struct sm_str ar_bdb_item_text(const struct ar_bdb *b, const struct item *it, struct sm_arena *a)
{
	char *copy;

	if (it->overflow == 0)
		return ar_bdb_without_nul(sm_str_n(it->p, it->n));
	copy = sm_arena_alloc(a, it->n);
	if (copy == NULL)
		return SM_STR_NONE;
	ar_bdb_copy_item(b, it, copy);
	return ar_bdb_without_nul(sm_str_n(copy, it->n));
}
