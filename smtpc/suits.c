/*
 * A mail and a server: can the one go to the other, and with which words? Invariants: bytes above
 * ASCII stand in a command only behind MAIL with SMTPUTF8; binary content goes only as a chunk.
 * Loop's thread.
 */
#include "smtpc/suits.h"

#include <stdio.h>

#include "libsm/utf8.h"
#include "smtpc/dsn.h"
#include "smtpc/sc.h"
#include "smtpc/task.h"

bool sc_is_sendable(struct sm_str s)
{
	return !sm_str_has_control(s) && sm_utf8_graphic(s);
}

static bool offers(const struct sc_session *s, unsigned caps)
{
	return (s->ehlo.caps & caps) == caps;
}

unsigned sc_takes(const struct sc_session *s)
{
	if (!offers(s, SC_CAP_8BITMIME))
		return 0;
	return offers(s, SC_CAP_SMTPUTF8) ? SC_DSN_8BIT | SC_DSN_UTF8 : SC_DSN_8BIT;
}

static bool is_binary(const struct sc_task *t)
{
	return !t->content.is_composed && t->in.body == SM_BODY_BINARYMIME;
}

bool sc_says_bdat(const struct sc_task *t, const struct sc_session *s)
{
	int when = s->chunking != SC_CHUNKING_UNSET ? s->chunking : s->sc->conf->chunking;

	if (!offers(s, SC_CAP_CHUNKING) || when == SC_CHUNKING_NEVER)
		return false;
	return is_binary(t) || (when == SC_CHUNKING_OFFERED && !t->content.is_unclean);
}

bool sc_says_utf8(const struct sc_task *t, const struct sc_session *s)
{
	bool declared = t->in.dsn_kind == SM_DSN_NONE && (t->in.utf8 & SM_UTF8_DECLARED);

	if (!offers(s, SC_CAP_SMTPUTF8))
		return false;
	if (declared || t->content.is_utf8 || !sm_str_is_ascii(t->in.sender))
		return true;
	for (size_t i = 0; i < t->in.rcpts_count; i++)
		if (t->rcpts[i].in_round && !sm_str_is_ascii(t->rcpts[i].in->addr))
			return true;
	return false;
}

/* ---- what is wrong with all of it ---- */

static void refuse_all(struct sc_task *t, struct sc_session *s, struct sc_why *why,
                       const char *enhanced, const char *text)
{
	(void)sc_text_local(why->text, enhanced, text);
	sc_result_set_all(t, SC_RCPT_OPEN, false, s, SM_OUTCOME_PERM, why);
}

static bool mail_suits(struct sc_task *t, struct sc_session *s)
{
	uint64_t size = sc_content_size(t);
	struct sc_why why = {.stage = SM_STAGE_MAIL};
	char text[160];

	if (s->ehlo.size_max > 0 && size > s->ehlo.size_max) {
		(void)snprintf(text, sizeof(text),
		               "message of %llu bytes, the server takes at most %llu",
		               (unsigned long long)size, (unsigned long long)s->ehlo.size_max);
		refuse_all(t, s, &why, "5.3.4", text);
		return false;
	}
	if (!sc_is_sendable(t->in.sender)) {
		refuse_all(t, NULL, &why, "5.1.7", "sender address cannot be sent");
		return false;
	}
	if (is_binary(t) && !(sc_says_bdat(t, s) && offers(s, SC_CAP_BINARYMIME))) {
		refuse_all(t, s, &why, "5.6.3",
		           "content is binary (BINARYMIME), the server does not take it, and it is "
		           "not converted");
		return false;
	}
	if (offers(s, SC_CAP_SMTPUTF8))
		return true;
	if (!sm_str_is_ascii(t->in.sender)) {
		refuse_all(t, s, &why, "5.6.7",
		           "sender address is in UTF-8, the server does not offer SMTPUTF8");
		return false;
	}
	if (!t->content.is_composed && (t->in.utf8 & SM_UTF8_HEADER)) {
		refuse_all(t, s, &why, "5.6.7",
		           "header is in UTF-8, the server does not offer SMTPUTF8");
		return false;
	}
	return true;
}

/* ---- of one recipient ---- */

static void refuse_rcpt(struct sc_task *t, const struct sc_session *s, struct sc_rcpt *r,
                        const char *enhanced, const char *text)
{
	struct sc_why why = {.stage = SM_STAGE_RCPT};

	(void)sc_text_local(why.text, enhanced, text);
	sc_result_set(t, r, s, SM_OUTCOME_PERM, &why);
}

static bool rcpt_suits(struct sc_task *t, struct sc_session *s, struct sc_rcpt *r)
{
	struct sm_str addr = r->in->addr;

	if (addr.n == 0 || !sc_is_sendable(addr)) {
		refuse_rcpt(t, NULL, r, "5.1.3", "recipient address cannot be sent");
		return false;
	}
	if (!sm_str_is_ascii(addr) && !offers(s, SC_CAP_SMTPUTF8)) {
		refuse_rcpt(t, s, r, "5.6.7",
		            "recipient address is in UTF-8, the server does not offer SMTPUTF8");
		return false;
	}
	return true;
}

bool sc_suits(struct sc_task *t, struct sc_session *s)
{
	bool left = false;

	if (t->in.probe_ms == 0 && !mail_suits(t, s))
		return false;
	for (size_t i = 0; i < t->in.rcpts_count; i++)
		if (t->rcpts[i].state == SC_RCPT_OPEN)
			left = rcpt_suits(t, s, &t->rcpts[i]) || left;
	return left;
}
