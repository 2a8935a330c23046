/*
 * Two blocks of counters: one in use, one spare. Invariant: a counter is given out once, and only
 * from a block that was granted.
 */
#include "smtps/idblock.h"

static void begin_spare(struct ss_idblock *b)
{
	b->next = b->spare_next;
	b->end = b->spare_end;
	b->spare_next = b->spare_end = 0;
}

bool ss_idblock_take(struct ss_idblock *b, uint64_t *counter)
{
	if (b->next == b->end)
		begin_spare(b);
	if (b->next == b->end)
		return false;
	*counter = b->next++;
	return true;
}

void ss_idblock_add(struct ss_idblock *b, uint64_t first, uint64_t count)
{
	b->asked = false;
	if (count == 0 || first == 0 || first > UINT64_MAX - count)
		return;
	b->size = count;
	if (b->spare_next == b->spare_end) {
		b->spare_next = first;
		b->spare_end = first + count;
	}
	if (b->next == b->end)
		begin_spare(b);
}

bool ss_idblock_wants(struct ss_idblock *b)
{
	uint64_t left = (b->end - b->next) + (b->spare_end - b->spare_next);

	if (b->asked || left > b->size / 2)
		return false;
	b->asked = true;
	return true;
}

void ss_idblock_lost(struct ss_idblock *b)
{
	b->asked = false;
}

uint64_t ss_idblock_floor(const struct ss_idblock *b)
{
	return b->next != b->end ? b->next : b->spare_next;
}
