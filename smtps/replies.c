/* The replies of smtps as they stand in the table, and what is said when nobody gave words. Pure.
 */
#include "libsm/smtp_reply.h"
#include "smtps/reply.h"

static const struct {
	int code;
	struct sm_str text, wire;
} table[SS_R_COUNT_] = {
#define X(name, code, text)       [SS_R_##name] = {code, SM_STR(text), SM_STR(#code " " text "\r\n")},
#define X_LINES(name, code, text) [SS_R_##name] = {code, SM_STR(text), SM_STR_NONE},
#include "smtps/replies.def"
#undef X
#undef X_LINES
};

int ss_reply_code(enum ss_reply_name r)
{
	return table[r].code;
}

struct sm_str ss_reply_text(enum ss_reply_name r)
{
	return table[r].text;
}

struct sm_str ss_reply_wire(enum ss_reply_name r)
{
	return table[r].wire;
}

int ss_reply_soften(int code, struct sm_str *text, char *mem, size_t size)
{
	/* 50z, 53z tell of commands, not of mail: nothing bounces for them. */
	if (code < 550)
		return code;
	if (text->n >= 2 && text->p[0] == '5' && text->p[1] == '.') {
		text->n = SM_MIN(text->n, size);
		memcpy(mem, text->p, text->n);
		mem[0] = '4';
		text->p = mem;
	}
	return code - 100;
}

void ss_reply_plain(int code, struct sm_str text, struct sm_buf *out)
{
	unsigned num[3];

	while (text.p != NULL) {
		struct sm_str line = sm_str_split(text, '\n', &text), rest;

		sm_buf_str(out, sm_enhanced_parse(line, code, num, &rest) ? rest : line);
		if (text.p != NULL)
			sm_buf_char(out, '\n');
	}
}

struct sm_str ss_reply_general(int code, struct sm_str text)
{
	if (!sm_str_empty(text))
		return text;
	return code >= 500   ? SM_STR("5.7.1 Refused")
	       : code >= 400 ? SM_STR("4.3.0 Try again later")
	                     : SM_STR("2.0.0 Ok");
}
