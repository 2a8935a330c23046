/*
 * Content on its way from sendmail to smtps: the two agree where it ends, however it comes in
 * pieces; and an id from a Received: field can stand in a command.
 *
 * Input: one byte (1: lines end in LF; the others: size of pieces), then content.
 */
#include "libsm/err.h"
#include "misc/smxfeed.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static size_t run(bool lf, size_t step, struct sm_str in, struct sm_buf *out, bool *end)
{
	struct sf_text t = {.lf = lf};
	size_t taken = 0;

	*end = false;
	while (taken < in.n && !*end)
		taken += sf_text(&t, sm_str_head(sm_str_from(in, taken), step), out, end);
	sm_assert(t.size == out->len);
	return taken;
}

/* As smtps finds it: behind the CRLF of DATA. */
static size_t where_it_ends(struct sm_str s)
{
	if (sm_str_has_prefix(s, SM_STR(".\r\n")))
		return 3;
	for (size_t i = 0; i + 5 <= s.n; i++)
		if (memcmp(s.p + i, "\r\n.\r\n", 5) == 0)
			return i + 5;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	char id[SF_ID_MAX + 1];
	struct sm_buf whole, pieces;
	struct sm_str in;
	bool end, end2, lf;

	if (n < 1 || n > 20000)
		return 0;
	lf = p[0] & 1;
	in = sm_str_n(p + 1, n - 1);
	sm_buf_init(&whole, 100000);
	sm_buf_init(&pieces, 100000);
	sm_assert(run(lf, n, in, &whole, &end) ==
	          run(lf, (size_t)(p[0] / 2) % 20 + 1, in, &pieces, &end2));
	sm_assert(end == end2 && sm_str_eq(sm_buf_view(&whole), sm_buf_view(&pieces)));
	sm_assert(where_it_ends(sm_buf_view(&whole)) == (end ? whole.len : 0));
	if (sf_received_id(sm_buf_view(&whole), id) == 1)
		sm_assert(sf_id_valid(sm_str(id)));
	sm_buf_fini(&whole);
	sm_buf_fini(&pieces);
	return 0;
}
