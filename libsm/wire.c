/*
 * The bytes of a field: the one place where messages and records meet their form outside of the
 * process.
 *
 * Invariant: for every accepted input, writing what was read gives the same bytes again; so a value
 * has one form only. Little-endian, fixed width. Address: a kind byte, then 4 + 2 bytes (IPv4), 16
 * + 2 + 4 (IPv6 with scope), or a length byte and a path (Unix). Any thread.
 */
#include "libsm/wire.h"

enum { SA_NONE = 0, SA_UNIX = 1, SA_IPV4 = 4, SA_IPV6 = 6 };
#define UNIX_PATH_AT  offsetof(struct sockaddr_un, sun_path)
#define UNIX_PATH_MAX (sizeof(((struct sockaddr_un *)0)->sun_path) - 1)

/* ---- write ---- */

void sm_w_u8(struct sm_buf *b, uint8_t v)
{
	sm_buf_append(b, &v, sizeof(v));
}

void sm_w_u16(struct sm_buf *b, uint16_t v)
{
	v = htole16(v);
	sm_buf_append(b, &v, sizeof(v));
}

void sm_w_u32(struct sm_buf *b, uint32_t v)
{
	v = htole32(v);
	sm_buf_append(b, &v, sizeof(v));
}

void sm_w_u64(struct sm_buf *b, uint64_t v)
{
	v = htole64(v);
	sm_buf_append(b, &v, sizeof(v));
}

void sm_w_count(struct sm_buf *b, uint32_t n, uint32_t max)
{
	if (n > max)
		b->err = SM_E_TOOBIG;
	sm_w_u32(b, n);
}

void sm_w_str(struct sm_buf *b, struct sm_str s)
{
	sm_w_str_max(b, s, UINT32_MAX);
}

void sm_w_str_max(struct sm_buf *b, struct sm_str s, size_t max)
{
	if (s.n > max) {
		b->err = SM_E_TOOBIG;
		return;
	}
	sm_w_u32(b, (uint32_t)s.n);
	sm_buf_str(b, s);
}

void sm_w_sa(struct sm_buf *b, const struct sm_sa *sa)
{
	if (sa->len == 0) {
		sm_w_u8(b, SA_NONE);
		return;
	}
	switch (sa->u.sa.sa_family) {
	case AF_INET:
		sm_w_u8(b, SA_IPV4);
		sm_buf_append(b, &sa->u.in4.sin_addr, 4);
		sm_buf_append(b, &sa->u.in4.sin_port, 2);
		break;
	case AF_INET6:
		sm_w_u8(b, SA_IPV6);
		sm_buf_append(b, &sa->u.in6.sin6_addr, 16);
		sm_buf_append(b, &sa->u.in6.sin6_port, 2);
		sm_w_u32(b, sa->u.in6.sin6_scope_id);
		break;
	case AF_UNIX: {
		size_t room =
		    sa->len > UNIX_PATH_AT ? SM_MIN(sa->len - UNIX_PATH_AT, UNIX_PATH_MAX) : 0;
		/* An abstract name begins with NUL and counts in full; a path ends at its first. */
		size_t n =
		    room && sa->u.un.sun_path[0] == '\0' ? room : strnlen(sa->u.un.sun_path, room);

		sm_w_u8(b, SA_UNIX);
		sm_w_u8(b, (uint8_t)n);
		sm_buf_append(b, sa->u.un.sun_path, n);
		break;
	}
	default:
		sm_w_u8(b, SA_NONE);
		break;
	}
}

/* ---- read ---- */

void sm_r_fail(struct sm_reader *r, int err)
{
	if (r->err == 0)
		r->err = err;
	r->p = r->end;
}

struct sm_str sm_r_str(struct sm_reader *r, size_t max)
{
	size_t n = sm_r_u32(r);
	const uint8_t *p;

	if (n > max) {
		sm_r_fail(r, SM_E_TOOBIG);
		return sm_str_n("", 0);
	}
	p = sm_r_bytes(r, n);
	return p ? sm_str_n(p, n) : sm_str_n("", 0);
}

static void read_unix(struct sm_reader *r, struct sm_sa *sa)
{
	size_t n = sm_r_u8(r);
	const uint8_t *p = n <= UNIX_PATH_MAX ? sm_r_bytes(r, n) : NULL;

	/* A NUL inside of a path would end it early: written again, it would be another one. */
	if (p == NULL || (n > 0 && p[0] != '\0' && memchr(p, '\0', n) != NULL)) {
		sm_r_fail(r, SM_E_PROTO);
		return;
	}
	sa->u.un.sun_family = AF_UNIX;
	memcpy(sa->u.un.sun_path, p, n);
	sa->len = (socklen_t)(UNIX_PATH_AT + n + (n > 0 && p[0] != '\0'));
}

void sm_r_sa(struct sm_reader *r, struct sm_sa *sa)
{
	uint8_t kind = sm_r_u8(r);
	const uint8_t *p;

	memset(sa, 0, sizeof(*sa));
	switch (kind) {
	case SA_NONE:
		break;
	case SA_IPV4:
		p = sm_r_bytes(r, 6);
		if (p == NULL)
			break;
		sa->len = sizeof(sa->u.in4);
		sa->u.in4.sin_family = AF_INET;
		memcpy(&sa->u.in4.sin_addr, p, 4);
		memcpy(&sa->u.in4.sin_port, p + 4, 2);
		break;
	case SA_IPV6:
		p = sm_r_bytes(r, 18);
		if (p == NULL)
			break;
		sa->len = sizeof(sa->u.in6);
		sa->u.in6.sin6_family = AF_INET6;
		memcpy(&sa->u.in6.sin6_addr, p, 16);
		memcpy(&sa->u.in6.sin6_port, p + 16, 2);
		sa->u.in6.sin6_scope_id = sm_r_u32(r);
		break;
	case SA_UNIX:
		read_unix(r, sa);
		break;
	default:
		sm_r_fail(r, SM_E_PROTO);
		break;
	}
}

uint32_t sm_r_count(struct sm_reader *r, uint32_t max, size_t least_bytes_each)
{
	uint32_t n = sm_r_u32(r);

	if (n > max) {
		sm_r_fail(r, SM_E_TOOBIG);
		return 0;
	}
	if (n * least_bytes_each > (size_t)(r->end - r->p)) {
		sm_r_fail(r, SM_E_PROTO);
		return 0;
	}
	return n;
}

void *sm_r_array(struct sm_reader *r, struct sm_arena *a, uint32_t max, size_t least_bytes_each,
                 size_t size, uint32_t *count)
{
	void *v;

	*count = sm_r_count(r, max, least_bytes_each);
	if (*count == 0)
		return NULL;
	v = sm_arena_alloc(a, *count * size);
	if (v == NULL) {
		sm_r_fail(r, SM_E_TOOBIG);
		*count = 0;
	}
	return v;
}

int sm_r_end(struct sm_reader *r)
{
	if (r->err == 0 && r->p != r->end)
		sm_r_fail(r, SM_E_PROTO);
	return r->err;
}
