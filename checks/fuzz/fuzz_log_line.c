/*
 * The log's two ways to write a value, and the way back: whatever bytes a client sends, a line is
 * one line of printable ASCII with exactly the pairs that were meant, and reads back as what was
 * sent. The bytes themselves are read as a line, too.
 */
#include <stdlib.h>

#include "libsm/json.h"
#include "libsm/log_int.h"
#include "libsm/logline.h"

static void line(struct sm_buf *b, bool json, const char *pairs, ...)
{
	const struct sm_log_who who = {"fuzz", 1};
	va_list ap;

	sm_buf_reset(b);
	va_start(ap, pairs);
	if (json)
		sm_log_line_json(b, 1795217632123, &who, SM_INFO, "x.y", pairs, &ap);
	else
		sm_log_line_kv(b, 1795217632123, SM_INFO, "x.y", pairs, &ap);
	va_end(ap);
}

/* As JSON can say it. */
static bool is_utf8(struct sm_str s)
{
	uint32_t v;

	for (size_t n; s.n > 0; s = sm_str_from(s, n))
		if ((n = sm_utf8(s, &v)) == 0)
			return false;
	return true;
}

static bool framed(struct sm_str got, char open, struct sm_str s, char close)
{
	return got.n == s.n + 2 && got.p[0] == open && got.p[got.n - 1] == close &&
	       memcmp(got.p + 1, s.n ? s.p : "", s.n) == 0;
}

static void there_and_back(struct sm_buf *b, bool json, struct sm_str s)
{
	struct sm_logline l;
	size_t own = json ? 3 : 0; /* time, proc, pid */

	line(b, json, "a=%S b=<%S> c=%d d=%?S", s, s, -5, s);
	for (size_t i = 0; i < b->len; i++)
		sm_assert(sm_buf_p(b)[i] >= ' ' && sm_buf_p(b)[i] <= '~');
	sm_assert(sm_logline_parse(sm_buf_p(b), b->len, &l) == 0);
	if (s.n > 300)
		return; /* the line may have been cut */
	sm_assert(l.count == own + (s.n ? 4 : 3));
	sm_assert(sm_str_eq(sm_logline_get(&l, "c"), SM_STR("-5")));
	if (json && !is_utf8(s))
		return;
	sm_assert(sm_str_eq(sm_logline_get(&l, "a"), s) || s.n == 0);
	sm_assert(framed(sm_logline_get(&l, "b"), '<', s, '>'));
	sm_assert(sm_str_eq(sm_logline_get(&l, "d"), s));
}

/* As qdump and the control programs show bytes: printable, and cut where it is said. */
static void escaped(struct sm_buf *b, struct sm_str s)
{
	for (size_t max = 3; max <= 300; max *= 10) {
		sm_buf_reset(b);
		sm_log_escape(b, s, max);
		sm_log_escape_text(b, s, max);
		for (size_t i = 0; i < b->len; i++)
			sm_assert(sm_buf_p(b)[i] >= ' ' && sm_buf_p(b)[i] <= '~');
	}
}

static void numbers(const struct sm_logline *l)
{
	struct sm_id id;
	struct sm_str n = sm_logline_get(l, "n");

	if (sm_logline_id(l, "id", &id) == 0)
		sm_assert(sm_logline_get(l, "id").n > 0);
	sm_assert(n.n > 0 || sm_logline_u64(l, "n") == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sm_logline l;
	struct sm_buf b;
	char *copy = malloc(size + 1);

	sm_buf_init(&b, SM_LOG_LINE_BYTES);
	there_and_back(&b, false, sm_str_n(data, size));
	there_and_back(&b, true, sm_str_n(data, size));
	escaped(&b, sm_str_n(data, size));
	sm_buf_fini(&b);
	if (size > 0)
		memcpy(copy, data, size);
	if (sm_logline_parse(copy, size, &l) == 0) {
		sm_assert(l.count <= SM_LOGLINE_PAIRS && l.event.n > 0);
		for (size_t i = 0; i < l.count; i++)
			sm_assert(l.pair[i].value.p >= copy &&
			          l.pair[i].value.p + l.pair[i].value.n <= copy + size);
		numbers(&l);
	}
	free(copy);
	return 0;
}
