/*
 * The replies of smtps as wire text. Invariant: exactly one call a command, but for what becomes of
 * each recipient (now.c); the code that was sent is the code that is logged and counted
 * (session.reply_code). Loop thread.
 */
#include "smtps/reply.h"

#include <stdio.h>

#include "libsm/smtp_reply.h"
#include "smtps/session.h"

static void put(struct ss_session *s, int code, struct sm_str text)
{
	for (uint32_t i = 0; i < SM_MAX(s->answers, 1u); i++)
		sm_reply_put(&s->io.out, code, text);
}

static void put_plain(struct ss_session *s, int code, struct sm_str text)
{
	struct sm_buf plain;

	sm_buf_init(&plain, text.n + 1);
	ss_reply_plain(code, text, &plain);
	put(s, code, sm_buf_view(&plain));
	sm_buf_fini(&plain);
}

static void say(struct ss_session *s, int code, struct sm_str text)
{
	sm_str_cut(text, s->reply_mem, sizeof(s->reply_mem));
	s->reply_text = s->reply_mem;
	s->reply_code = code;
	if (ss_hides(s->conf, SS_X_ENHANCEDSTATUSCODES))
		put_plain(s, code, text);
	else
		put(s, code, text);
}

void ss_say_text(struct ss_session *s, int code, struct sm_str text)
{
	text = ss_reply_general(code, text);
	if (s->conf->flags & SS_F_SOFT_BOUNCE) {
		char soft[1024];

		code = ss_reply_soften(code, &text, soft, sizeof(soft));
		say(s, code, text);
	} else {
		say(s, code, text);
	}
}

/* What is said otherwise in LMTP. */
static enum ss_reply_name worded(const struct ss_session *s, enum ss_reply_name r)
{
	if (!ss_speaks_lmtp(s))
		return r;
	switch (r) {
	case SS_R_HELO_FIRST:
		return SS_R_LHLO_FIRST;
	case SS_R_BAD_HELO:
		return SS_R_BAD_LHLO;
	case SS_R_NOT_SMTP:
		return SS_R_NOT_LMTP;
	case SS_R_HELP:
		return SS_R_HELP_LMTP;
	default:
		return r;
	}
}

void ss_say(struct ss_session *s, enum ss_reply_name r)
{
	struct sm_str wire;

	r = worded(s, r);
	wire = ss_reply_wire(r);
	if (sm_str_empty(wire) || (s->conf->flags & SS_F_SOFT_BOUNCE) ||
	    ss_hides(s->conf, SS_X_ENHANCEDSTATUSCODES)) {
		ss_say_text(s, ss_reply_code(r), ss_reply_text(r));
		return;
	}
	s->reply_text = ss_reply_text(r).p;
	s->reply_code = ss_reply_code(r);
	for (uint32_t i = 0; i < SM_MAX(s->answers, 1u); i++)
		sm_buf_str(&s->io.out, wire);
}

void ss_say_detail(struct ss_session *s, enum ss_reply_name r, const char *detail)
{
	char text[512];
	int n = snprintf(text, sizeof(text), "%.*s: %s", SM_STR_ARG(ss_reply_text(r)), detail);

	ss_say_text(s, ss_reply_code(r), sm_str_n(text, SM_MIN((size_t)n, sizeof(text) - 1)));
}
