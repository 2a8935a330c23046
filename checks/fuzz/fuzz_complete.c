/*
 * Headers that are completed: how they come in pieces changes nothing; what came is in what goes
 * out as it was, and what is added is there once.
 *
 * Input: a byte that says how it is split, then the content.
 */
#include "libsm/buf.h"
#include "smtps/complete.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static int keep(void *arg, const void *p, size_t n)
{
	sm_buf_append(arg, p, n);
	return 0;
}

static unsigned run(struct sm_str in, size_t piece, struct sm_buf *out)
{
	struct ss_complete_by by = {.unique = SM_STR("S1"),
	                            .hostname = SM_STR("mx.test"),
	                            .sender = SM_STR("s@x.test"),
	                            .put = keep,
	                            .arg = out};
	struct ss_complete c;

	ss_complete_init(&c, &by);
	for (size_t at = 0; at < in.n; at += piece)
		sm_assert(ss_complete_feed(&c, in.p + at, SM_MIN(piece, in.n - at)) == 0);
	sm_assert(ss_complete_end(&c) == 0);
	return c.added;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_buf whole, pieces;
	struct sm_str in, out;
	unsigned added;
	size_t same = 0, tail = 0;

	if (n < 1 || n > 65536)
		return 0;
	in = sm_str_n(p + 1, n - 1);
	sm_buf_init(&whole, 1 << 20);
	sm_buf_init(&pieces, 1 << 20);
	added = run(in, in.n + 1, &whole);
	sm_assert(run(in, 1U + p[0] % 13U, &pieces) == added);
	out = sm_buf_view(&whole);
	sm_assert(sm_str_eq(out, sm_buf_view(&pieces)));
	/* In one place something is put in, and nowhere else. */
	while (same < in.n && in.p[same] == out.p[same])
		same++;
	while (tail < in.n - same && in.p[in.n - 1 - tail] == out.p[out.n - 1 - tail])
		tail++;
	sm_assert(same + tail == in.n && out.n >= in.n && out.n - in.n < 600);
	/* A second time there is nothing to be added. */
	sm_buf_reset(&pieces);
	sm_assert(run(out, out.n + 1, &pieces) == 0);
	sm_assert(sm_str_eq(out, sm_buf_view(&pieces)));
	sm_buf_fini(&whole);
	sm_buf_fini(&pieces);
	return 0;
}
