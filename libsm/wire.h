/*
 * Bounded field coder for messages between processes and for records on disk: fixed-width
 * little-endian integers, strings with a u32 length, socket addresses, arrays with a u32 count. The
 * reader never reads past its end; after the first error it stays in error and gives zeros.
 */
#ifndef SM_WIRE_H
#define SM_WIRE_H

#include <endian.h>

#include "libsm/arena.h"
#include "libsm/buf.h"
#include "libsm/id.h"
#include "libsm/net.h"

void sm_w_u8(struct sm_buf *b, uint8_t v);
void sm_w_u16(struct sm_buf *b, uint16_t v);
void sm_w_u32(struct sm_buf *b, uint32_t v);
void sm_w_u64(struct sm_buf *b, uint64_t v);
static inline void sm_w_i64(struct sm_buf *b, int64_t v)
{
	sm_w_u64(b, (uint64_t)v);
}
static inline void sm_w_id(struct sm_buf *b, struct sm_id id)
{
	sm_w_u64(b, id.counter);
	sm_w_u8(b, id.proc);
}
void sm_w_str(struct sm_buf *b, struct sm_str s);
/* Above `max`: the buffer's sticky error becomes SM_E_TOOBIG; the reader at the other end would
 * refuse it. */
void sm_w_str_max(struct sm_buf *b, struct sm_str s, size_t max);
void sm_w_count(struct sm_buf *b, uint32_t n, uint32_t max);
void sm_w_sa(struct sm_buf *b, const struct sm_sa *sa);

struct sm_reader {
	const uint8_t *p, *end;
	int err; /* 0, SM_E_PROTO (short or malformed), SM_E_TOOBIG (above a field's maximum) */
};
static inline struct sm_reader sm_reader(struct sm_str s)
{
	return (struct sm_reader){(const uint8_t *)s.p, (const uint8_t *)s.p + s.n, 0};
}
/* The reader is in error from now on, and at its end. */
void sm_r_fail(struct sm_reader *r, int err);
/* The next `n` bytes; NULL in error. */
static inline const uint8_t *sm_r_bytes(struct sm_reader *r, size_t n)
{
	const uint8_t *p = r->p;

	if (SM_UNLIKELY((size_t)(r->end - p) < n)) {
		sm_r_fail(r, SM_E_PROTO);
		return NULL;
	}
	r->p += n;
	return p;
}
static inline uint8_t sm_r_u8(struct sm_reader *r)
{
	const uint8_t *p = sm_r_bytes(r, 1);

	return p ? *p : 0;
}
static inline uint16_t sm_r_u16(struct sm_reader *r)
{
	const uint8_t *p = sm_r_bytes(r, 2);
	uint16_t v = 0;

	if (p != NULL)
		memcpy(&v, p, sizeof(v));
	return le16toh(v);
}
static inline uint32_t sm_r_u32(struct sm_reader *r)
{
	const uint8_t *p = sm_r_bytes(r, 4);
	uint32_t v = 0;

	if (p != NULL)
		memcpy(&v, p, sizeof(v));
	return le32toh(v);
}
static inline uint64_t sm_r_u64(struct sm_reader *r)
{
	const uint8_t *p = sm_r_bytes(r, 8);
	uint64_t v = 0;

	if (p != NULL)
		memcpy(&v, p, sizeof(v));
	return le64toh(v);
}
static inline int64_t sm_r_i64(struct sm_reader *r)
{
	return (int64_t)sm_r_u64(r);
}
static inline struct sm_id sm_r_id(struct sm_reader *r)
{
	struct sm_id id;

	id.counter = sm_r_u64(r);
	id.proc = sm_r_u8(r);
	return id;
}
struct sm_str sm_r_str(struct sm_reader *r, size_t max); /* points into the input */
void sm_r_sa(struct sm_reader *r, struct sm_sa *sa);
/* An array's count, checked against what is left. */
uint32_t sm_r_count(struct sm_reader *r, uint32_t max, size_t least_bytes_each);
/* Count, and room for so many elements of `size` in the arena (NULL for none). SM_E_TOOBIG in r
 * when it is full. */
void *sm_r_array(struct sm_reader *r, struct sm_arena *a, uint32_t max, size_t least_bytes_each,
                 size_t size, uint32_t *count);
int sm_r_end(struct sm_reader *r) SM_MUST_CHECK; /* 0 only when all was read and nothing failed */

#endif
