/*
 * Headers of mail that is handed in, and the lists of addresses in them: nothing is read beyond its
 * end, no blind copy's field gets out, and a header that was completed is complete.
 *
 * Input: a header; LF and CRLF are the same.
 */
#include "libsm/err.h"
#include "misc/sendmail.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static int keep(void *arg, struct sm_str spec)
{
	sm_buf_str(arg, spec);
	sm_buf_char(arg, '\n');
	return 0;
}

static int run(struct sm_str in, struct sm_buf *rcpts, struct sm_buf *out)
{
	struct sl_head h = {.wants_rcpts = rcpts != NULL,
	                    .domain = SM_STR("d.test"),
	                    .from = SM_STR("<f@d.test>"),
	                    .rcpt = keep,
	                    .arg = rcpts,
	                    .out = out};

	return sl_head(&h, in);
}

/* As sl_text_read makes it: CRLF, fields and their continuations alone. */
static void make_header(struct sm_buf *b, struct sm_str in)
{
	struct sm_str rest = in;

	while (rest.n > 0) {
		struct sm_str line = sm_str_split(rest, '\n', &rest);

		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (!sl_is_field(line) &&
		    (b->len == 0 || line.n == 0 || (line.p[0] != ' ' && line.p[0] != '\t')))
			return;
		sm_buf_str(b, line);
		sm_buf_cstr(b, "\r\n");
	}
}

static bool has_blind(struct sm_str out)
{
	struct sm_str rest = out;

	while (rest.n > 0) {
		struct sm_str line = sm_str_split(rest, '\n', &rest), value;
		struct sm_str name = sm_str_trim(sm_str_split(line, ':', &value));

		if (line.n > 0 && line.p[0] != ' ' && line.p[0] != '\t' && value.p != NULL &&
		    (sm_str_caseeq(name, SM_STR("Bcc")) ||
		     sm_str_caseeq(name, SM_STR("Resent-Bcc"))))
			return true;
	}
	return false;
}

static int count(void *arg, const struct sl_address *a)
{
	size_t *n = arg;

	sm_assert(a->spec.n <= SL_SPEC_MAX);
	sm_assert(memchr(a->spec.p, '\r', a->spec.n) == NULL &&
	          memchr(a->spec.p, '\n', a->spec.n) == NULL);
	(*n)++;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_buf header, out, again, rcpts;
	size_t addresses = 0;
	int rc;

	if (n > 20000)
		return 0;
	(void)!sl_addresses(sm_str_n(p, n), count, &addresses);
	sm_assert(addresses <= n);
	sm_buf_init(&header, 1 << 20);
	sm_buf_init(&out, 1 << 22);
	sm_buf_init(&again, 1 << 22);
	sm_buf_init(&rcpts, 1 << 22);
	make_header(&header, sm_str_n(p, n));
	rc = run(sm_buf_view(&header), &rcpts, &out);
	sm_assert(rc == 0 || rc == SM_E_SYNTAX);
	if (rc == 0) {
		sm_assert(!has_blind(sm_buf_view(&out)));
		/* Nothing is left to be done: a second time it stays as it is. */
		sm_assert(run(sm_buf_view(&out), NULL, &again) == 0);
		sm_assert(sm_str_eq(sm_buf_view(&out), sm_buf_view(&again)));
	} else {
		sm_buf_reset(&out);
		sm_assert(run(sm_buf_view(&header), NULL, &out) == 0);
		sm_assert(!has_blind(sm_buf_view(&out)));
	}
	sm_buf_fini(&header);
	sm_buf_fini(&out);
	sm_buf_fini(&again);
	sm_buf_fini(&rcpts);
	return 0;
}
