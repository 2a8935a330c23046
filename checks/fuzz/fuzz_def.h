/*
 * For the targets that read what a table of definitions describes, messages or records: two bytes
 * of type, then the body. What the decoder accepts, it must be able to write again byte for byte,
 * and to show. Fields that came after it was written (SINCE) are zeros behind it.
 */
#ifndef FUZZ_DEF_H
#define FUZZ_DEF_H

#include "libsm/msg.h"

/* `use` (may be NULL) has what was decoded, until it returns. */
static inline void fuzz_def(const struct sm_def_info *(*info_of)(uint16_t type), const uint8_t *p,
                            size_t n, void (*use)(const struct sm_def_info *info, const void *m))
{
	const struct sm_def_info *info = n >= 2 ? info_of((uint16_t)(p[0] | p[1] << 8)) : NULL;
	struct sm_str body, again;
	struct sm_arena a;
	void *m;

	if (info == NULL)
		return;
	body = sm_str_n(p + 2, n - 2);
	sm_arena_init(&a, "fuzz", 4096, 16 * 1024 * 1024);
	m = sm_arena_must(&a, info->size);
	if (info->decode(body, &a, m) == 0) {
		struct sm_buf b;

		sm_buf_init(&b, 16 * 1024 * 1024);
		info->encode(&b, m);
		sm_assert(sm_buf_err(&b) == 0);
		again = sm_buf_view(&b);
		sm_assert(sm_str_has_prefix(again, body));
		for (size_t i = body.n; i < again.n; i++)
			sm_assert(again.p[i] == 0);
		sm_buf_reset(&b);
		info->dump(&b, m);
		sm_buf_fini(&b);
		if (use)
			use(info, m);
	}
	sm_arena_fini(&a);
}

#endif
