/*
 * The replies of smtps as wire text. Invariant: exactly one call a command; the code that was sent
 * is the code that is logged and counted (session.reply_code). Loop thread.
 */
#include "smtps/reply.h"

#include <stdio.h>

#include "libsm/smtp_reply.h"
#include "smtps/session.h"

static const struct {
	int code;
	struct sm_str text;
} table[SS_R_COUNT_] = {
#define X(name, code, text) [SS_R_##name] = {code, SM_STR(text)},
#include "smtps/replies.def"
#undef X
};

int ss_reply_code(enum ss_reply_name r)
{
	return table[r].code;
}

struct sm_str ss_reply_text(enum ss_reply_name r)
{
	return table[r].text;
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

void ss_say_text(struct ss_session *s, int code, struct sm_str text)
{
	char soft[1024];

	if (sm_str_empty(text))
		text = code >= 500   ? SM_STR("5.7.1 Refused")
		       : code >= 400 ? SM_STR("4.3.0 Try again later")
		                     : SM_STR("2.0.0 Ok");
	if (s->conf->flags & SS_F_SOFT_BOUNCE)
		code = ss_reply_soften(code, &text, soft, sizeof(soft));
	s->reply_code = code;
	sm_str_cut(text, s->reply_text, sizeof(s->reply_text));
	sm_reply_put(&s->io.out, code, text);
}

void ss_say(struct ss_session *s, enum ss_reply_name r)
{
	ss_say_text(s, table[r].code, table[r].text);
}

void ss_say_detail(struct ss_session *s, enum ss_reply_name r, const char *detail)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "%.*s: %s", SM_STR_ARG(table[r].text), detail);

	ss_say_text(s, table[r].code, sm_str_n(text, SM_MIN((size_t)n, sizeof(text) - 1)));
}
