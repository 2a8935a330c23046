/*
 * What the code made from field tables (def_code.h) shares: how values look in a dump, the random
 * but legal values of the round-trip tests, and the hash that tells two builds apart. Pure
 * functions.
 */
#include "libsm/def.h"

#include <stdio.h>

#include "libsm/log.h"

enum { DUMP_STR_MAX = 256 };

void sm_def_dump_str(struct sm_buf *b, struct sm_str s)
{
	sm_buf_char(b, '<');
	sm_log_escape(b, s, DUMP_STR_MAX);
	sm_buf_char(b, '>');
}

void sm_def_dump_id(struct sm_buf *b, struct sm_id id)
{
	char text[SM_ID_SIZE];

	sm_buf_cstr(b, sm_id_none(id) ? "none" : sm_id_text(id, text));
}

void sm_def_dump_sa(struct sm_buf *b, const struct sm_sa *sa)
{
	char text[SM_SA_TEXT];

	if (sa->len == 0)
		sm_buf_cstr(b, "none");
	else
		sm_log_escape(b, sm_str(sm_sa_text(sa, text)), SM_SA_TEXT);
}

/* SplitMix64: repeatable, every seed is a good one. */
static uint64_t next(uint64_t *seed)
{
	uint64_t z = *seed += 0x9E3779B97F4A7C15;

	z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
	z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
	return z ^ (z >> 31);
}

uint64_t sm_def_sample_u64(uint64_t *seed)
{
	uint64_t v = next(seed);

	switch (next(seed) % 4) {
	case 0:
		return v % 3;
	case 1:
		return UINT64_MAX - v % 3;
	default:
		return v;
	}
}

struct sm_str sm_def_sample_str(uint64_t *seed, struct sm_arena *a, size_t max)
{
	uint64_t kind = next(seed) % 16;
	size_t n = kind == 0 ? 0 : kind == 1 ? max : (size_t)(next(seed) % (SM_MIN(max, 40) + 1));
	char *p = sm_arena_must(a, n + 1);

	for (size_t i = 0; i < n; i++)
		p[i] = (char)(kind == 2 ? next(seed) : ' ' + next(seed) % 95);
	return sm_str_n(p, n);
}

struct sm_id sm_def_sample_id(uint64_t *seed)
{
	struct sm_id id = {sm_def_sample_u64(seed), 0};

	id.proc = (uint8_t)next(seed);
	return id;
}

struct sm_sa sm_def_sample_sa(uint64_t *seed)
{
	struct sm_sa sa = {0};

	switch (next(seed) % 4) {
	case 0:
		sa.len = sizeof(sa.u.in4);
		sa.u.in4.sin_family = AF_INET;
		sa.u.in4.sin_port = (in_port_t)next(seed);
		sa.u.in4.sin_addr.s_addr = (in_addr_t)next(seed);
		break;
	case 1:
		sa.len = sizeof(sa.u.in6);
		sa.u.in6.sin6_family = AF_INET6;
		sa.u.in6.sin6_port = (in_port_t)next(seed);
		for (int i = 0; i < 16; i++)
			sa.u.in6.sin6_addr.s6_addr[i] = (uint8_t)next(seed);
		break;
	case 2:
		sa.u.un.sun_family = AF_UNIX;
		sa.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) +
		                     (size_t)snprintf(sa.u.un.sun_path, sizeof(sa.u.un.sun_path),
		                                      "/run/%u", (unsigned)next(seed)) +
		                     1);
		break;
	default:
		break;
	}
	return sa;
}

uint32_t sm_def_sample_count(uint64_t *seed, uint32_t max)
{
	return (uint32_t)(next(seed) % (SM_MIN(max, 4) + 1));
}

/* FNV-1a, 64 bit. */
uint64_t sm_def_hash(const char *text, size_t n)
{
	uint64_t h = 0xCBF29CE484222325;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (uint8_t)text[i]) * 0x100000001B3;
	return h;
}
