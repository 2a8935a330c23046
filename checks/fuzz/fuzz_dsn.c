/*
 * Reports about anything, in any words: an operator's text, what a server said, and a mail that
 * came back. Input: a byte for the kind, one of bits (0: the next server takes 8-bit content, 1:
 * only the header goes back, 2: not all of the original was read), then text, server's words and
 * original, each ended by 0x1E.
 *
 * Whatever they are: a report is CRLF lines of at most 998 bytes, 7-bit unless 8-bit content is
 * allowed, with each boundary where it belongs; what quoted-printable encodes has short lines.
 */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "libsm/log.h"
#include "smtpc/dsn.h"
#include "smtpc/sc.h"
#include "smtpc/task.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_report(struct sm_str s, bool eightbit)
{
	size_t line = 0;

	sm_assert(sm_str_has_suffix(s, SM_STR("--\r\n")));
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		sm_assert(c != 0 && (c < 0x80 || eightbit));
		if (c == '\r') {
			sm_assert(i + 1 < s.n && s.p[i + 1] == '\n');
			line = 0;
			i++;
			continue;
		}
		sm_assert(c != '\n');
		sm_assert(++line <= 998);
	}
}

/* The opening one three or four times in all, counting the closing one. */
static void check_boundary(struct sm_str s, bool has_original)
{
	const char *mark = memmem(s.p, s.n, "\r\n\tboundary=\"", 13);
	char delimiter[80];
	unsigned n = 0;

	sm_assert(mark != NULL);
	mark += 13;
	(void)snprintf(delimiter, sizeof(delimiter), "\r\n--%.*s", (int)strcspn(mark, "\""), mark);
	for (const char *p = s.p;
	     (p = memmem(p, s.n - (size_t)(p - s.p), delimiter, strlen(delimiter))) != NULL; p++)
		n++;
	sm_assert(n == (has_original ? 4 : 3));
}

static void check_qp(struct sm_str s)
{
	struct sm_buf b;
	size_t line = 0;

	sm_buf_init(&b, 4 * (s.n + 100));
	sc_mime_put_qp(&b, s);
	sm_assert(sm_buf_err(&b) == 0);
	for (size_t i = 0; i < b.len; i++) {
		char c = sm_buf_p(&b)[i];

		sm_assert(c == '\t' || c == '\r' || c == '\n' || (c >= ' ' && c <= '~'));
		line = c == '\n' ? 0 : line + (c != '\r');
		sm_assert(line <= 76);
	}
	sm_buf_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sc_dsn_texts *built_in;
	static struct sc sc;
	struct sc_dsn_texts texts;
	struct sm_msg_dsn_rcpt rcpt = {.last_try_s = 1};
	struct sc_task t = {.sc = &sc};
	struct sm_str text, said, original, rest;
	struct sm_arena a;
	struct sm_buf out;

	if (size < 2)
		return 0;
	if (built_in == NULL) {
		if (sc_dsn_texts_load(SM_STR(""), &built_in) != 0)
			sm_assert(false);
		sc.hostname = SM_STR("mx.example");
	}
	text = sm_str_split(sm_str_n((const char *)data + 2, size - 2), 0x1E, &rest);
	said = sm_str_split(rest, 0x1E, &rest);
	original = sm_str_split(rest, 0x1E, &rest);
	texts = *built_in;
	sc.dsn_texts = &texts;
	sm_arena_init(&a, "text", 4096, 4 << 20);
	sm_arena_init(&t.arena, "task", 4096, 4 << 20);
	sm_buf_init(&out, 16 << 20);
	t.in.dsn_kind = data[0] % SC_DSN_KINDS;
	/* A text with an error is not used: the one before it stays. */
	if (sc_dsn_text_parse(&a, "f", text, &texts.of[t.in.dsn_kind]) != 0)
		texts = *built_in;
	rcpt.action = t.in.dsn_kind;
	rcpt.code = data[0];
	/* As long as messages let them be. */
	rcpt.text = sm_str_head(said, 512);
	rcpt.host = sm_str_head(said, 256);
	rcpt.addr = sm_str_head(said, 320);
	rcpt.orcpt = sm_str_head(said, 600);
	t.in.dsn_sender = sm_str_head(said, 320);
	t.in.envid = sm_str_head(said, 400);
	t.in.dsn_rcpts = &rcpt;
	t.in.dsn_rcpts_count = 1;
	t.in.size = original.n;
	t.in.dsn_max_bytes = 1 << 20;
	t.in.dsn_until_s = t.in.dsn_received_s = 1;
	t.in.ret = data[1] & 2 ? SM_RET_HDRS : SM_RET_NONE;

	if (data[1] & 16)
		t.in.utf8 = SM_UTF8_DECLARED | SM_UTF8_HEADER;

	unsigned allowed = data[1] & 1 ? SC_DSN_8BIT : 0, has;

	if (data[1] & 8)
		allowed |= SC_DSN_8BIT | SC_DSN_UTF8;
	has = sc_dsn_write(&t, original, !(data[1] & 4), allowed, &out);
	sm_assert(sm_buf_err(&out) == 0);
	check_report(sm_buf_view(&out), has != 0);
	sm_assert((has & ~allowed) == 0);
	check_boundary(sm_buf_view(&out), original.n > 0);
	check_qp(original);
	sm_buf_fini(&out);
	sm_arena_fini(&t.arena);
	sm_arena_fini(&a);
	return 0;
}
