/*
 * The growable byte buffer with a hard maximum.
 *
 * Invariant: mem is NULL and cap 0, or head + len < cap, so that there is always room for
 * sm_buf_c's NUL; len <= max; cap <= max + 1. Once err is set nothing more is appended: a text with
 * a hole in it never exists.
 */
#include "libsm/buf.h"

#include <stdio.h>

#include "libsm/err.h"

#define FIRST_BYTES 256 /* most replies and lines fit */

void sm_buf_init(struct sm_buf *b, size_t max_bytes)
{
	sm_assert(max_bytes < SIZE_MAX / 2);
	*b = (struct sm_buf){.max = max_bytes};
}

static void give_back(struct sm_buf *b)
{
	if (b->wipe && b->mem)
		explicit_bzero(b->mem, b->cap);
	SM_FREE(b->mem);
}

void sm_buf_fini(struct sm_buf *b)
{
	give_back(b);
	*b = (struct sm_buf){.max = b->max, .wipe = b->wipe};
}

void sm_buf_reset(struct sm_buf *b)
{
	b->head = b->len = 0;
	b->err = 0;
}

void sm_buf_wipe(struct sm_buf *b)
{
	b->wipe = true;
	sm_buf_fini(b);
	b->wipe = false;
}

void sm_buf_trim(struct sm_buf *b)
{
	if (b->len > 0)
		return;
	b->head = 0;
	if (b->cap > FIRST_BYTES) {
		give_back(b);
		b->cap = 0;
	} else if (b->wipe && b->mem) {
		explicit_bzero(b->mem, b->cap);
	}
}

/* Move the live bytes to the front, or into a larger block. Not realloc: that would copy the dead
 * front too. */
static void grow(struct sm_buf *b, size_t need)
{
	/* Moving down is cheap only when it moves no more than what was consumed, else a slow
	 * reader costs squares. */
	bool move = b->head + b->len + need > b->cap && b->len + need <= b->cap &&
	            (b->head >= b->len || b->cap == b->max + 1);

	if (move) {
		memmove(b->mem, b->mem + b->head, b->len);
		b->head = 0;
		return;
	}
	size_t cap = SM_MAX(b->cap, (size_t)FIRST_BYTES);

	if (b->cap > 0)
		cap *= 2;
	cap = SM_MAX(cap, b->len + need);
	cap = SM_MIN(cap, b->max + 1);
	char *mem = sm_malloc(cap);

	if (b->len > 0)
		memcpy(mem, b->mem + b->head, b->len);
	give_back(b);
	b->mem = mem;
	b->head = 0;
	b->cap = cap;
}

char *sm_buf_make_room(struct sm_buf *b, size_t n)
{
	if (b->err)
		return NULL;
	if (n > b->max - b->len) {
		b->err = sm_fail(SM_E_TOOBIG, "more than %zu bytes", b->max);
		return NULL;
	}
	grow(b, n + 1);
	return b->mem + b->head + b->len;
}

void sm_buf_commit(struct sm_buf *b, size_t n)
{
	sm_assert(n == 0 || n < b->cap - b->head - b->len);
	b->len += n;
}

void sm_buf_vprintf(struct sm_buf *b, const char *fmt, va_list ap)
{
	va_list again;

	if (b->err)
		return;
	va_copy(again, ap);
	/* Most texts fit into what is there, or is at first; then they are formatted once. */
	char *at = sm_buf_reserve(b, 0);
	size_t room = b->cap - b->head - b->len;
	int n = vsnprintf(at, room, fmt, ap);

	sm_assert(n >= 0);
	char *to = sm_buf_reserve(b, (size_t)n);

	if (to) {
		if ((size_t)n >= room)
			vsnprintf(to, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
}

void sm_buf_printf(struct sm_buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sm_buf_vprintf(b, fmt, ap);
	va_end(ap);
}

void sm_buf_u64(struct sm_buf *b, uint64_t v)
{
	char digits[20], *end = digits + sizeof(digits), *p = end;

	do
		*--p = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	sm_buf_append(b, p, (size_t)(end - p));
}

void sm_buf_consume(struct sm_buf *b, size_t n)
{
	sm_assert(n <= b->len);
	b->head += n;
	b->len -= n;
	if (b->len == 0)
		b->head = 0;
}

void sm_buf_truncate(struct sm_buf *b, size_t n)
{
	sm_assert(n <= b->len);
	b->len = n;
}

const char *sm_buf_c(struct sm_buf *b)
{
	if (b->mem == NULL)
		return "";
	b->mem[b->head + b->len] = '\0';
	return b->mem + b->head;
}
