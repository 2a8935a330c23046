/*
 * Fuzz smtp_reply.c: a hostile server's lines (LF-separated input) through the collector, and the
 * text that came out of it through the writer: what leaves is lines of at most 512 printable bytes
 * with one code.
 */
#include "libsm/smtp_reply.h"

static void check_wire(struct sm_str wire, int code)
{
	int last = 0;

	while (wire.n > 0) {
		struct sm_str line = sm_str_split(wire, '\n', &wire);
		int got = 0;

		sm_assert(line.n >= 5 && line.n <= 511 && line.p[line.n - 1] == '\r');
		for (size_t i = 0; i < 3; i++)
			got = got * 10 + (line.p[i] - '0');
		for (size_t i = 0; i + 1 < line.n; i++)
			sm_assert(line.p[i] >= ' ' && line.p[i] <= '~');
		sm_assert(got == code && last == 0 && (line.p[3] == ' ' || line.p[3] == '-'));
		last = line.p[3] == ' ';
	}
	sm_assert(last == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_reply_parser parser;
	struct sm_buf wire;
	struct sm_str in = sm_str_n(p, n), rest;
	unsigned num[3];
	int rc = 0;

	sm_reply_parser_init(&parser, 50);
	while (rc == 0 && in.n > 0) {
		rc = sm_reply_parser_feed(&parser, sm_str_split(in, '\n', &in));
		sm_assert(parser.text.len <= 4096 && sm_buf_err(&parser.text) == 0);
	}
	if (rc == 1) {
		sm_assert(parser.code >= 200 && parser.code <= 599);
		sm_buf_init(&wire, 1024 * 1024);
		(void)sm_enhanced_parse(sm_buf_view(&parser.text), parser.code, num, &rest);
		sm_reply_put(&wire, parser.code, sm_buf_view(&parser.text));
		check_wire(sm_buf_view(&wire), parser.code);
		sm_buf_fini(&wire);
	}
	sm_reply_parser_fini(&parser);
	return 0;
}
