/*
 * What `qmgrctl transcript` shows: wishes, and dialogues line by line, > what we said, < what the
 * server said, * remarks. Lines are harmless already, and are escaped here once more.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "misc/qmgrctl.h"

static void wish(struct qc_print *p, const json_t *o)
{
	struct sm_buf *b = &p->out;
	char left[24];

	p->rows++;
	sm_buf_printf(b, "%" PRId64 ": for %s, %" PRId64 " so far: ", qc_num(o, "number"),
	              qc_until(qc_num(o, "until_s"), left), qc_num(o, "transcripts"));
	qc_text(b, qc_str(o, "conditions"), 200, false);
	sm_buf_char(b, '\n');
}

static void transcripts(struct qc_print *p, const json_t *o)
{
	p->rows++;
	sm_buf_printf(&p->out, "%" PRId64 " kept, %" PRId64 " bytes\n", qc_num(o, "count"),
	              qc_num(o, "bytes"));
}

static void wishes_off(struct qc_print *p, const json_t *o)
{
	p->rows++;
	sm_buf_printf(&p->out, "%" PRId64 " ended\n", qc_num(o, "count"));
}

static void transcript(struct qc_print *p, const json_t *o)
{
	struct sm_buf *b = &p->out;
	const json_t *r;
	char ago[24];
	size_t i;

	sm_buf_printf(b, "%s%s, %s ago, for", p->rows++ > 0 ? "\n" : "", qc_str(o, "id"),
	              qc_since(qc_num(o, "at_s"), ago));
	json_array_foreach(json_object_get(o, "rcpts"), i, r)
	{
		sm_buf_cstr(b, " <");
		qc_text(b, qc_str(r, "rcpt"), 80, false);
		sm_buf_char(b, '>');
	}
	sm_buf_char(b, '\n');
}

static void said_line(struct qc_print *p, const json_t *o)
{
	const char *who = qc_str(o, "who");
	int64_t ms = qc_num(o, "ms");

	sm_buf_printf(&p->out, "%6" PRId64 ".%03d %c ", ms / 1000, (int)(ms % 1000),
	              strcmp(who, "smtpc") == 0    ? '>'
	              : strcmp(who, "server") == 0 ? '<'
	                                           : '*');
	qc_text(&p->out, qc_str(o, "text"), 600, false);
	sm_buf_char(&p->out, '\n');
}

const struct qc_printer qc_print_transcript[] = {
    {"wish", wish},
    {"wishes_off", wishes_off},
    {"transcripts", transcripts},
    {"transcript", transcript},
    {"said", said_line},
    {NULL, NULL},
};
