/*
 * What comes over a socket from another process: a stream of frames. Each frame that is accepted is
 * within its bounds, its body is decoded, and put into a frame again it has the same bytes.
 */
#include "libsm/rpc_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void check(const struct sm_frame *f, struct sm_str bytes)
{
	const struct sm_def_info *info = sm_msg_info(f->type);
	struct sm_arena a;
	struct sm_buf b;
	void *m;

	sm_assert(info != NULL && bytes.n == f->body.n + RPC_HEADER_BYTES);
	sm_arena_init(&a, "fuzz", 4096, 16 * 1024 * 1024);
	m = sm_arena_must(&a, info->size);
	if (info->decode(f->body, &a, m) == 0) {
		sm_buf_init(&b, 4 * SM_FRAME_MAX);
		sm_assert(sm_frame_put(&b, f->type, f->flags, f->tag, m) == 0);
		sm_assert(sm_str_eq(sm_buf_view(&b), bytes));
		sm_buf_fini(&b);
	}
	sm_arena_fini(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_str in = sm_str_n(p, n);
	struct sm_frame f;
	ssize_t used;

	while ((used = sm_frame_get(in, &f)) > 0) {
		check(&f, sm_str_head(in, (size_t)used));
		in = sm_str_from(in, (size_t)used);
	}
	return 0;
}
