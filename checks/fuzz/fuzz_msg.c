/*
 * Messages from another process: two bytes of type, then the body. What the decoder accepts, it
 * must be able to write again byte for byte, and to show.
 */
#include "libsm/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	const struct sm_def_info *info = n >= 2 ? sm_msg_info((uint16_t)(p[0] | p[1] << 8)) : NULL;
	struct sm_str body;
	struct sm_arena a;
	void *m;

	if (info == NULL)
		return 0;
	body = sm_str_n(p + 2, n - 2);
	sm_arena_init(&a, "fuzz", 4096, 16 * 1024 * 1024);
	m = sm_arena_must(&a, info->size);
	if (info->decode(body, &a, m) == 0) {
		struct sm_buf b;

		sm_buf_init(&b, 16 * 1024 * 1024);
		info->encode(&b, m);
		sm_assert(sm_buf_err(&b) == 0);
		sm_assert(sm_str_eq(sm_buf_view(&b), body));
		sm_buf_reset(&b);
		info->dump(&b, m);
		sm_buf_fini(&b);
	}
	sm_arena_fini(&a);
	return 0;
}
