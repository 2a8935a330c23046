/*
 * struct sm_buf: owned bytes that grow up to a hard maximum.
 *
 * An append past the maximum appends nothing and sets a sticky flag, so that a chain of appends is
 * checked once by sm_buf_err(). Consuming from the front costs no copy until the space is needed.
 */
#ifndef SM_BUF_H
#define SM_BUF_H

#include <stdarg.h>
#include "libsm/str.h"

struct sm_buf {
	char *mem;
	size_t head; /* first live byte */
	size_t len;  /* live bytes */
	size_t cap;
	size_t max; /* most live bytes ever */
	int err;    /* 0 or SM_E_TOOBIG, sticky until sm_buf_reset */
	bool wipe;  /* memory is overwritten before it is given back: there may be secrets in it;
	               set it after sm_buf_init, it stays */
};

/* Caller's struct; no memory is taken until the first append. */
void sm_buf_init(struct sm_buf *b, size_t max_bytes);
void sm_buf_fini(struct sm_buf *b);  /* frees; may be init'ed again */
void sm_buf_reset(struct sm_buf *b); /* empties, clears the error, keeps the memory */
void sm_buf_wipe(struct sm_buf *b);  /* overwrites with zeros, then frees: for secrets */
/* For the idle: when nothing is in it, gives memory back, but for the 256 bytes that most lines and
 * replies fit in: to take these anew for each would cost more than they do. */
void sm_buf_trim(struct sm_buf *b);

void sm_buf_printf(struct sm_buf *b, const char *fmt, ...) SM_PRINTF(2, 3);
void sm_buf_vprintf(struct sm_buf *b, const char *fmt, va_list ap) SM_PRINTF(2, 0);
void sm_buf_u64(struct sm_buf *b, uint64_t v); /* in decimal */
void sm_buf_commit(struct sm_buf *b, size_t n);
void sm_buf_consume(struct sm_buf *b, size_t n);  /* from the front; n <= len */
void sm_buf_truncate(struct sm_buf *b, size_t n); /* keep the first n */

/* For sm_buf_reserve: the same when there is no room yet, or never will be. */
char *sm_buf_make_room(struct sm_buf *b, size_t n);
/* Room for `n` more bytes, to be written by the caller, then sm_buf_commit(actual). NULL when past
 * the maximum. */
static inline char *sm_buf_reserve(struct sm_buf *b, size_t n)
{
	if (b->err == 0 && n < b->cap - b->head - b->len)
		return b->mem + b->head + b->len;
	return sm_buf_make_room(b, n);
}
static inline void sm_buf_append(struct sm_buf *b, const void *p, size_t n)
{
	char *to = n > 0 ? sm_buf_reserve(b, n) : NULL;

	if (to == NULL)
		return;
	memcpy(to, p, n);
	b->len += n;
}
static inline void sm_buf_str(struct sm_buf *b, struct sm_str s)
{
	sm_buf_append(b, s.p, s.n);
}
static inline void sm_buf_cstr(struct sm_buf *b, const char *s)
{
	sm_buf_append(b, s, strlen(s));
}
static inline void sm_buf_char(struct sm_buf *b, char c)
{
	sm_buf_append(b, &c, 1);
}
static inline char *sm_buf_p(const struct sm_buf *b)
{
	return b->mem + b->head;
}
static inline struct sm_str sm_buf_view(const struct sm_buf *b)
{
	return sm_str_n(b->mem ? b->mem + b->head : "", b->len);
}
static inline int sm_buf_err(const struct sm_buf *b)
{
	return b->err;
}
/* NUL-terminated, for libc; valid until the next change. */
const char *sm_buf_c(struct sm_buf *b);

#endif
