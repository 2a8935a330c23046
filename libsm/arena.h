/*
 * struct sm_arena: memory that is given out piece by piece and taken back all at once.
 *
 * One per session, per transaction, per decoded frame. Capped: past the cap sm_arena_alloc gives
 * NULL (a peer's wish is refused), so callers that bound their input first may use sm_arena_must.
 * Reset keeps the first block. Pointers only point from the shorter-lived to the equal or
 * longer-lived. Under ASan, what is not given out is poisoned.
 */
#ifndef SM_ARENA_H
#define SM_ARENA_H

#include "libsm/str.h"

struct sm_arena_block;
struct sm_arena {
	const char *name; /* for diagnostics; static */
	struct sm_arena_block *first, *cur;
	size_t first_bytes, cap_bytes, used_bytes;
	bool lent; /* the first block is the caller's */
};
/* The caller's memory for a first block: what most commands need of an arena. */
struct sm_arena_room {
	_Alignas(16) char mem[256];
};

void sm_arena_init(struct sm_arena *a, const char *name, size_t first_bytes, size_t cap_bytes);
/* The same for an arena that does not outlive `room`, which it fills before it takes memory. */
void sm_arena_init_in(struct sm_arena *a, const char *name, struct sm_arena_room *room,
                      size_t cap_bytes);
void sm_arena_reset(struct sm_arena *a);
void sm_arena_fini(struct sm_arena *a);
void sm_arena_wipe(struct sm_arena *a); /* zero all, then reset */

/* 16-byte aligned, not zeroed; NULL past the cap. */
void *sm_arena_alloc(struct sm_arena *a, size_t n);
/* Zeroed; aborts past the cap: only where the caller has bounded the sizes. */
void *sm_arena_must(struct sm_arena *a, size_t n) __attribute__((returns_nonnull));
#define SM_ARENA_NEW(a, type) ((type *)sm_arena_must(a, sizeof(type)))
/* A copy that lives in the arena, with a NUL behind it that is not counted; p NULL past the cap. */
struct sm_str sm_arena_str(struct sm_arena *a, struct sm_str s);
/* The same in lower case (A-Z only); aborts past the cap, as sm_arena_must. */
struct sm_str sm_arena_lower(struct sm_arena *a, struct sm_str s);
struct sm_str sm_arena_printf(struct sm_arena *a, const char *fmt, ...) SM_PRINTF(2, 3);

#endif
