/*
 * The packed pieces: chunks of memory, and copying together what is left of them.
 *
 *     piece = owner (4 bytes), length (1 to 3 bytes, 7 bits each, low first), bytes; padded to 4
 *
 * Invariant: a piece at `ref` is live when its owner's place holds `ref`, so a dead one needs no
 * mark. live_bytes and dead_bytes are the sums over all chunks; dead ones are at most a quarter of
 * the live ones and a few chunks. References count in units of 4 bytes: 16 GiB at the most. Loop
 * thread only.
 */
#include "qmgr/pool.h"

#include <sys/mman.h>

#define UNIT        4u
#define CHUNK_SHIFT 17 /* units of a chunk */
#define CHUNK_BYTES ((UNIT << CHUNK_SHIFT) + 0u)
#define CHUNK_MASK  ((1u << CHUNK_SHIFT) - 1)
#define CHUNKS_MOST (1u << (32 - CHUNK_SHIFT))
#define NONE        UINT32_MAX
#define HEAD_MOST   (sizeof(uint32_t) + 3)

struct qm_pool_chunk {
	uint8_t *mem; /* NULL: an empty slot */
	uint32_t used, live;
	uint32_t next_spare;
};

void qm_pool_init(struct qm_pool *p, uint32_t *(*place)(void *arg, uint32_t owner), void *arg)
{
	*p = (struct qm_pool){.place = place, .arg = arg, .current = NONE, .spare = NONE};
}

/* Not from the heap: freed chunks go back to the system, and leave no holes. */
static uint8_t *map(void)
{
	void *mem =
	    mmap(NULL, CHUNK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	sm_assert(mem != MAP_FAILED);
	return mem;
}

static void unmap(struct qm_pool *p, uint32_t c)
{
	struct qm_pool_chunk *chunk = &p->chunk[c];

	munmap(chunk->mem, CHUNK_BYTES);
	*chunk = (struct qm_pool_chunk){.next_spare = p->spare};
	p->spare = c;
	p->mapped--;
}

void qm_pool_fini(struct qm_pool *p)
{
	for (uint32_t c = 0; c < p->chunks; c++)
		if (p->chunk[c].mem)
			munmap(p->chunk[c].mem, CHUNK_BYTES);
	SM_FREE(p->chunk);
	p->chunks = 0;
}

static void new_current(struct qm_pool *p)
{
	uint32_t c = p->spare;

	if (c != NONE) {
		p->spare = p->chunk[c].next_spare;
	} else {
		sm_assert(p->chunks < CHUNKS_MOST);
		if (p->chunks == p->cap) {
			p->cap = p->cap ? p->cap * 2 : 4;
			p->chunk = sm_realloc(p->chunk, p->cap, sizeof(*p->chunk));
		}
		c = p->chunks++;
	}
	/* No piece begins at 0: a reference is never 0. */
	p->chunk[c] = (struct qm_pool_chunk){.mem = map(), .used = UNIT, .live = 0};
	p->current = c;
	p->mapped++;
}

/* The piece at `m`: its bytes; *size is what it takes in the chunk. */
static struct sm_str piece(const uint8_t *m, uint32_t *owner, uint32_t *size)
{
	const uint8_t *q = m + sizeof(*owner);
	uint32_t n = 0;

	memcpy(owner, m, sizeof(*owner));
	for (unsigned shift = 0;; shift += 7) {
		n |= (uint32_t)(*q & 0x7f) << shift;
		if (!(*q++ & 0x80))
			break;
	}
	*size = ((uint32_t)(q - m) + n + UNIT - 1) / UNIT * UNIT;
	return sm_str_n(q, n);
}

static const uint8_t *at(const struct qm_pool *p, uint32_t ref)
{
	return p->chunk[ref >> CHUNK_SHIFT].mem + (size_t)(ref & CHUNK_MASK) * UNIT;
}

static uint32_t write_piece(struct qm_pool *p, uint32_t owner, struct sm_str s)
{
	struct qm_pool_chunk *c = p->current == NONE ? NULL : &p->chunk[p->current];
	uint32_t n = (uint32_t)s.n, ref, used;
	uint8_t *m, *q;

	if (c == NULL || c->used + HEAD_MOST + n + UNIT > CHUNK_BYTES) {
		new_current(p);
		c = &p->chunk[p->current];
	}
	ref = p->current << CHUNK_SHIFT | c->used / UNIT;
	m = q = c->mem + c->used;
	memcpy(q, &owner, sizeof(owner));
	q += sizeof(owner);
	for (; n > 0x7f; n >>= 7)
		*q++ = (uint8_t)(n | 0x80);
	*q++ = (uint8_t)n;
	if (s.n)
		memcpy(q, s.p, s.n);
	used = ((uint32_t)(q - m) + (uint32_t)s.n + UNIT - 1) / UNIT * UNIT;
	c->used += used;
	c->live += used;
	p->live_bytes += used;
	return ref;
}

/* Copy what lives in chunk `c` to the current one. */
static void empty_chunk(struct qm_pool *p, uint32_t c)
{
	uint8_t *mem = p->chunk[c].mem;
	uint32_t used = p->chunk[c].used, size, owner;

	p->dead_bytes -= used - UNIT - p->chunk[c].live;
	for (uint32_t i = UNIT; i < used; i += size) {
		struct sm_str s = piece(mem + i, &owner, &size);
		uint32_t *place = p->place(p->arg, owner);

		if (*place != (c << CHUNK_SHIFT | i / UNIT))
			continue;
		p->live_bytes -= size;
		*place = write_piece(p, owner, s);
	}
	unmap(p, c);
}

static void tidy(struct qm_pool *p)
{
	uint32_t best = NONE;

	if (p->dead_bytes <= p->live_bytes / 4 + 2 * CHUNK_BYTES)
		return;
	for (uint32_t c = 0; c < p->chunks; c++)
		if (p->chunk[c].mem && c != p->current &&
		    (best == NONE || p->chunk[c].used - p->chunk[c].live >
		                         p->chunk[best].used - p->chunk[best].live))
			best = c;
	if (best != NONE)
		empty_chunk(p, best);
}

uint32_t qm_pool_put(struct qm_pool *p, uint32_t owner, struct sm_str s)
{
	sm_assert(s.n <= QM_POOL_MOST);
	tidy(p);
	return write_piece(p, owner, s);
}

void qm_pool_drop(struct qm_pool *p, uint32_t ref)
{
	uint32_t c = ref >> CHUNK_SHIFT, owner, size;

	(void)piece(at(p, ref), &owner, &size);
	p->chunk[c].live -= size;
	p->live_bytes -= size;
	p->dead_bytes += size;
	if (p->chunk[c].live == 0 && c != p->current) {
		p->dead_bytes -= p->chunk[c].used - UNIT;
		unmap(p, c);
	} else {
		tidy(p);
	}
}

struct sm_str qm_pool_get(const struct qm_pool *p, uint32_t ref)
{
	uint32_t owner, size;

	return piece(at(p, ref), &owner, &size);
}

size_t qm_pool_bytes(const struct qm_pool *p)
{
	return p->mapped * CHUNK_BYTES + p->cap * sizeof(*p->chunk);
}
