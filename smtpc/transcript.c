/*
 * Gathers lines of a dialogue. Invariants: nothing that is secret is ever copied here, so nothing
 * needs to be wiped; what is kept is at most what was asked for, the first half of it from the
 * beginning, the rest from the end. Loop's thread.
 */
#include "smtpc/transcript.h"

#include <stdarg.h>
#include <stdio.h>

#include "libsm/loop.h"
#include "libsm/smtp_reply.h"
#include "smtpc/session.h"

enum {
	LINE_MOST = 440, /* escaped; more is cut. With the remark it fits said_line.text */
	LINE_ROOM = 512,
	LINE_COSTS = 64, /* what a line takes beside its text */
	AUTH_WORDS = 60,
};

struct said {
	struct sm_list link;
	uint32_t ms;
	uint8_t who; /* SM_SAID_* */
	size_t n;
	char text[];
};

struct sc_transcript {
	int64_t begun_ms;
	struct sm_list first, last; /* struct said: the beginning, and what came of late */
	size_t max_bytes, first_bytes, last_bytes;
	size_t count;
	uint64_t left_out; /* lines between them */
	/* Content on its way. */
	bool content;
	size_t skip; /* of the stream's output: was seen already */
	uint64_t content_bytes;
};

struct sc_transcript *sc_transcript_new(size_t max_bytes)
{
	struct sc_transcript *x;

	if (max_bytes == 0)
		return NULL;
	x = sm_calloc(1, sizeof(*x));
	x->begun_ms = sm_loop_now_ms();
	x->max_bytes = SM_MIN(max_bytes, (size_t)SC_TRANSCRIPT_MAX);
	sm_list_init(&x->first);
	sm_list_init(&x->last);
	return x;
}

static size_t drop_first(struct sm_list *l)
{
	struct said *e = SM_LIST_ENTRY(sm_list_shift(l), struct said, link);
	size_t bytes = e->n + LINE_COSTS;

	sm_free(e);
	return bytes;
}

void sc_transcript_free(struct sc_transcript **xp)
{
	struct sc_transcript *x = *xp;

	*xp = NULL;
	if (x == NULL)
		return;
	while (!sm_list_empty(&x->first))
		(void)drop_first(&x->first);
	while (!sm_list_empty(&x->last))
		(void)drop_first(&x->last);
	sm_free(x);
}

/* ---- lines ---- */

/* Printable ASCII; the rest, and a backslash, as \xHH. What does not fit is counted. */
static size_t escape(struct sm_str s, char out[LINE_ROOM])
{
	static const char hex[] = "0123456789ABCDEF";
	size_t at = 0;

	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (at + 4 > LINE_MOST)
			return at + (size_t)snprintf(out + at, LINE_ROOM - at,
			                             "... (%zu bytes more)", s.n - i);
		if (c >= ' ' && c <= '~' && c != '\\') {
			out[at++] = (char)c;
			continue;
		}
		out[at++] = '\\';
		out[at++] = 'x';
		out[at++] = hex[c >> 4];
		out[at++] = hex[c & 15];
	}
	return at;
}

static void add(struct sc_transcript *x, uint8_t who, struct sm_str line)
{
	char text[LINE_ROOM];
	size_t n = escape(line, text), bytes = n + LINE_COSTS;
	struct said *e = sm_malloc(sizeof(*e) + n);

	*e = (struct said){.ms = (uint32_t)(sm_loop_now_ms() - x->begun_ms), .who = who, .n = n};
	if (n > 0)
		memcpy(e->text, text, n);
	x->count++;
	if (sm_list_empty(&x->last) && x->first_bytes + bytes <= x->max_bytes / 2) {
		sm_list_push(&x->first, &e->link);
		x->first_bytes += bytes;
		return;
	}
	sm_list_push(&x->last, &e->link);
	x->last_bytes += bytes;
	while (x->first_bytes + x->last_bytes > x->max_bytes && x->last.next != x->last.prev) {
		x->last_bytes -= drop_first(&x->last);
		x->left_out++;
		x->count--;
	}
}

void sc_transcript_note(struct sc_transcript *x, const char *fmt, ...)
{
	char text[LINE_ROOM];
	va_list ap;

	if (x == NULL)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	add(x, SM_SAID_NOTE, sm_str(text));
}

/* ---- secrets ---- */

/* While AUTH is under way: its name, and that of the mechanism. */
static void add_secret(struct sc_transcript *x, struct sm_str line)
{
	struct sm_str rest = line, verb = sm_str_word(&rest), mech = sm_str_word(&rest);
	char text[AUTH_WORDS + 20];

	if (sm_str_eq(line, SM_STR("*"))) {
		add(x, SM_SAID_CLIENT, line);
	} else if (sm_str_caseeq(verb, SM_STR("AUTH"))) {
		(void)snprintf(text, sizeof(text), "AUTH " SM_STR_FMT "%s",
		               SM_STR_ARG(sm_str_head(mech, AUTH_WORDS)),
		               sm_str_trim(rest).n > 0 ? " <hidden>" : "");
		add(x, SM_SAID_CLIENT, sm_str(text));
	} else {
		add(x, SM_SAID_CLIENT, SM_STR("<hidden>"));
	}
}

/* A server may say again what it was told: only the codes. */
static void add_secret_reply(struct sc_transcript *x, struct sm_str line)
{
	struct sm_str text = sm_str_from(line, 4), rest;
	unsigned num[3];
	char out[60];
	uint64_t code;

	if (line.n < 3 || sm_str_u64(sm_str_head(line, 3), 10, 999, &code) != 0) {
		add(x, SM_SAID_SERVER, SM_STR("<hidden>"));
		return;
	}
	if (sm_enhanced_parse(text, (int)code, num, &rest))
		(void)snprintf(out, sizeof(out), "%03u%c%u.%u.%u%s", (unsigned)code,
		               line.p[3] == '-' ? '-' : ' ', num[0], num[1], num[2],
		               rest.n > 0 ? " <hidden>" : "");
	else
		(void)snprintf(out, sizeof(out), "%03u%c%s", (unsigned)code,
		               line.n > 3 && line.p[3] == '-' ? '-' : ' ',
		               text.n > 0 ? "<hidden>" : "");
	add(x, SM_SAID_SERVER, sm_str(out));
}

/* ---- what goes by ---- */

static void add_lines(struct sc_session *s, struct sm_str out)
{
	while (out.n > 0) {
		struct sm_str line = sm_str_split(out, '\n', &out);

		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (s->stream.secret || sm_str_has_caseprefix(line, SM_STR("AUTH ")))
			add_secret(s->transcript, line);
		else
			add(s->transcript, SM_SAID_CLIENT, line);
	}
}

static void on_out(void *arg, struct sm_str out)
{
	struct sc_session *s = arg;
	struct sc_transcript *x = s->transcript;
	size_t skip = SM_MIN(x->skip, out.n);

	x->skip = 0;
	out = sm_str_from(out, skip);
	if (x->content)
		x->content_bytes += out.n;
	else
		add_lines(s, out);
}

void sc_transcript_follow(struct sc_session *s, struct sc_transcript *x)
{
	s->transcript = x;
	s->stream.on_out = x != NULL ? on_out : NULL;
	s->stream.on_out_arg = s;
	if (x == NULL)
		return;
	x->content = false;
	x->skip = 0;
}

void sc_transcript_heard(struct sc_session *s, struct sm_str line)
{
	if (s->transcript == NULL)
		return;
	if (s->stream.secret)
		add_secret_reply(s->transcript, line);
	else
		add(s->transcript, SM_SAID_SERVER, line);
}

void sc_transcript_content_begin(struct sc_session *s)
{
	struct sc_transcript *x = s->transcript;

	if (x == NULL)
		return;
	/* A command may wait in front of it. */
	add_lines(s, sm_str_from(sm_buf_view(&s->stream.out), x->skip));
	x->skip = s->stream.out.len;
	x->content = true;
	x->content_bytes = 0;
}

void sc_transcript_content_end(struct sc_session *s)
{
	struct sc_transcript *x = s->transcript;
	char text[40];

	if (x == NULL)
		return;
	x->content = false;
	(void)snprintf(text, sizeof(text), "<%llu bytes>", (unsigned long long)x->content_bytes);
	add(x, SM_SAID_CLIENT, sm_str(text));
}

/* ---- for qmgr ---- */

static void put(struct sm_msg_transcript *m, const struct said *e)
{
	m->lines[m->lines_count++] =
	    (struct sm_msg_said_line){.ms = e->ms, .who = e->who, .text = sm_str_n(e->text, e->n)};
}

void sc_transcript_take(const struct sc_transcript *x, struct sm_arena *a,
                        struct sm_msg_transcript *out)
{
	out->lines_count = 0;
	out->lines = sm_arena_must(a, (x->count + 1) * sizeof(*out->lines));
	SM_LIST_FOR (e, &x->first, struct said, link)
		put(out, e);
	if (x->left_out > 0)
		out->lines[out->lines_count++] = (struct sm_msg_said_line){
		    .ms = SM_LIST_ENTRY(x->last.next, struct said, link)->ms,
		    .who = SM_SAID_NOTE,
		    .text = sm_arena_printf(a, "%llu lines are left out here",
		                            (unsigned long long)x->left_out)};
	SM_LIST_FOR (e, &x->last, struct said, link)
		put(out, e);
}
