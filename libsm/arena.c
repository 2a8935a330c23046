/*
 * Arenas: a chain of blocks, from whose current one memory is cut off front to back.
 *
 * Invariant: every byte of a block that is not given out is poisoned under ASan, and each piece is
 * followed by poisoned bytes, so that running over its end is found. The cap counts what was given
 * out, not the blocks. One owner; no locks.
 */
#include "libsm/arena.h"

#include <stdarg.h>
#include <stdio.h>

#include "libsm/err.h"

#ifdef SM_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#define REDZONE        16
#else
#define POISON(p, n)   ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#define REDZONE        0
#endif

#define ALIGN 16

struct sm_arena_block {
	struct sm_arena_block *next;
	size_t size, used; /* of mem */
	_Alignas(ALIGN) char mem[];
};

static size_t round_up(size_t n)
{
	return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
}

void sm_arena_init(struct sm_arena *a, const char *name, size_t first_bytes, size_t cap_bytes)
{
	sm_assert(cap_bytes < SIZE_MAX / 4 && first_bytes <= SIZE_MAX / 4);
	*a = (struct sm_arena){
	    .name = name,
	    .first_bytes = round_up(SM_MAX(first_bytes, (size_t)64)) + REDZONE,
	    .cap_bytes = cap_bytes,
	};
}

/* A block in `bytes` of memory. */
static struct sm_arena_block *block_in(void *mem, size_t bytes)
{
	struct sm_arena_block *b = mem;

	b->next = NULL;
	b->size = bytes - sizeof(*b);
	b->used = 0;
	POISON(b->mem, b->size);
	return b;
}

static struct sm_arena_block *block_new(size_t size)
{
	size_t bytes = sizeof(struct sm_arena_block) + size;

	return block_in(sm_malloc(bytes), bytes);
}

void sm_arena_init_in(struct sm_arena *a, const char *name, struct sm_arena_room *room,
                      size_t cap_bytes)
{
	sm_arena_init(a, name, sizeof(room->mem), cap_bytes);
	a->first = a->cur = block_in(room->mem, sizeof(room->mem));
	a->lent = true;
}

static void block_free(struct sm_arena_block *b)
{
	UNPOISON(b->mem, b->size);
	sm_free(b);
}

void sm_arena_reset(struct sm_arena *a)
{
	if (a->first == NULL)
		return;
	for (struct sm_arena_block *b = a->first->next, *next; b; b = next) {
		next = b->next;
		block_free(b);
	}
	a->first->next = NULL;
	a->first->used = 0;
	POISON(a->first->mem, a->first->size);
	a->cur = a->first;
	a->used_bytes = 0;
}

void sm_arena_fini(struct sm_arena *a)
{
	sm_arena_reset(a);
	if (a->lent)
		UNPOISON(a->first->mem, a->first->size);
	else if (a->first)
		block_free(a->first);
	a->first = a->cur = NULL;
	a->lent = false;
}

void sm_arena_wipe(struct sm_arena *a)
{
	for (struct sm_arena_block *b = a->first; b; b = b->next) {
		UNPOISON(b->mem, b->size);
		explicit_bzero(b->mem, b->used);
	}
	sm_arena_reset(a);
}

/* A block with room for `n` bytes. The order of the chain behind the first block means nothing. */
static struct sm_arena_block *block_for(struct sm_arena *a, size_t n)
{
	if (a->first == NULL)
		a->first = a->cur = block_new(a->first_bytes);
	if (n <= a->cur->size - a->cur->used)
		return a->cur;
	/* A large piece gets a block of its own, and the current one goes on being filled. */
	bool own = n > a->first_bytes / 2;
	struct sm_arena_block *b = block_new(own ? n : a->first_bytes);

	b->next = a->first->next;
	a->first->next = b;
	if (!own)
		a->cur = b;
	return b;
}

void *sm_arena_alloc(struct sm_arena *a, size_t n)
{
	if (n > a->cap_bytes)
		return NULL;
	size_t bytes = round_up(SM_MAX(n, (size_t)1));

	if (bytes > a->cap_bytes - a->used_bytes)
		return NULL;
	struct sm_arena_block *b = block_for(a, bytes + REDZONE);
	char *p = b->mem + b->used;

	b->used += bytes + REDZONE;
	a->used_bytes += bytes;
	UNPOISON(p, n);
	return p;
}

void *sm_arena_must(struct sm_arena *a, size_t n)
{
	void *p = sm_arena_alloc(a, n);

	if (p == NULL)
		sm_assert_fail(__FILE__, __LINE__, a->name);
	return memset(p, 0, n);
}

struct sm_str sm_arena_str(struct sm_arena *a, struct sm_str s)
{
	char *p = s.n < SIZE_MAX ? sm_arena_alloc(a, s.n + 1) : NULL;

	if (p == NULL)
		return SM_STR_NONE;
	if (s.n > 0)
		memcpy(p, s.p, s.n);
	p[s.n] = '\0';
	return sm_str_n(p, s.n);
}

struct sm_str sm_arena_lower(struct sm_arena *a, struct sm_str s)
{
	char *p = sm_arena_must(a, s.n + 1);

	for (size_t i = 0; i < s.n; i++)
		p[i] = sm_lower(s.p[i]);
	return sm_str_n(p, s.n);
}

struct sm_str sm_arena_printf(struct sm_arena *a, const char *fmt, ...)
{
	char brief[256]; /* most are, and then they are formatted once */
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(brief, sizeof(brief), fmt, ap);
	va_end(ap);
	sm_assert(n >= 0);
	if ((size_t)n < sizeof(brief))
		return sm_arena_str(a, sm_str_n(brief, (size_t)n));
	char *p = sm_arena_alloc(a, (size_t)n + 1);

	if (p == NULL)
		return SM_STR_NONE;
	va_start(ap, fmt);
	vsnprintf(p, (size_t)n + 1, fmt, ap);
	va_end(ap);
	return sm_str_n(p, (size_t)n);
}
