/*
 * Parameters of MAIL and RCPT. Invariant: what is accepted decodes to printable ASCII, or to UTF-8
 * without controls, so that no line end or NUL of a client comes into a record, a log line or a
 * DSN. Pure.
 */
#include "smtps/params.h"

#include "libsm/err.h"
#include "libsm/msg.h"
#include "libsm/smtp_cmd.h"

enum {
	ENVID_MAX = 100, /* RFC 3461 4.4 */
	ORCPT_MAX = 500, /* RFC 3461 4.2 */
	AUTH_MAX = 500,  /* RFC 4954 4: what the parameter adds to a line */
};

/* Marks `bit` as seen; false: it was already. */
static bool first_time(unsigned *seen, unsigned bit)
{
	bool first = (*seen & bit) == 0;

	*seen |= bit;
	return first;
}

static enum ss_reply_name size_param(struct sm_str v, const struct ss_conf *c, uint64_t *size)
{
	int err = sm_str_u64(v, 10, UINT64_MAX, size);

	if (err == SM_E_RANGE)
		return SS_R_SIZE_TOO_BIG;
	if (err != 0 || v.n > 20)
		return SS_R_BAD_PARAM;
	return *size > (uint64_t)c->max_message_bytes ? SS_R_SIZE_TOO_BIG : SS_R_NONE;
}

static bool xtext_ok(struct sm_str v, size_t max, struct sm_arena *a)
{
	struct sm_str text;

	return v.n > 0 && v.n <= max && sm_xtext_decode(v, a, &text) == 0;
}

enum ss_reply_name ss_mail_params(struct sm_str text, const struct ss_conf *c, struct sm_arena *a,
                                  struct ss_mail_params *out, struct sm_str *what)
{
	struct sm_str v;
	unsigned seen = 0;
	int rc;

	*out = (struct ss_mail_params){.size = 0};
	*what = SM_STR("syntax");
	while ((rc = sm_smtp_param_next(&text, what, &v)) == 1) {
		if (sm_str_caseeq(*what, SM_STR("SIZE")) && !ss_hides(c, SS_X_SIZE)) {
			enum ss_reply_name r = size_param(v, c, &out->size);
			if (r != SS_R_NONE)
				return r;
			if (!first_time(&seen, 1))
				return SS_R_BAD_PARAM;
		} else if (sm_str_caseeq(*what, SM_STR("BODY")) && ss_offers_8bitmime(c)) {
			if (sm_str_caseeq(v, SM_STR("7BIT")))
				out->body = SM_BODY_7BIT;
			else if (sm_str_caseeq(v, SM_STR("8BITMIME")))
				out->body = SM_BODY_8BITMIME;
			else if (ss_offers_binarymime(c) && sm_str_caseeq(v, SM_STR("BINARYMIME")))
				out->body = SM_BODY_BINARYMIME;
			else
				return SS_R_BAD_PARAM;
			if (!first_time(&seen, 2))
				return SS_R_BAD_PARAM;
		} else if (sm_str_caseeq(*what, SM_STR("SMTPUTF8")) && ss_offers_smtputf8(c)) {
			if (v.p != NULL || !first_time(&seen, 16))
				return SS_R_BAD_PARAM;
			out->utf8 = true;
		} else if (sm_str_caseeq(*what, SM_STR("RET")) && ss_offers_dsn(c)) {
			if (sm_str_caseeq(v, SM_STR("FULL")))
				out->ret = SM_RET_FULL;
			else if (sm_str_caseeq(v, SM_STR("HDRS")))
				out->ret = SM_RET_HDRS;
			else
				return SS_R_BAD_PARAM;
			if (!first_time(&seen, 4))
				return SS_R_BAD_PARAM;
		} else if (sm_str_caseeq(*what, SM_STR("ENVID")) && ss_offers_dsn(c)) {
			if (!xtext_ok(v, ENVID_MAX, a) || !first_time(&seen, 8))
				return SS_R_BAD_PARAM;
			out->envid = v;
		} else if (sm_str_caseeq(*what, SM_STR("AUTH"))) {
			/* Malformed is worse than unknown. */
			if (!xtext_ok(v, AUTH_MAX, a))
				return SS_R_BAD_PARAM;
			if (!ss_auth_configured(&c->auth) || ss_hides(c, SS_X_AUTH))
				return SS_R_UNKNOWN_PARAM;
			if (!first_time(&seen, 1024))
				return SS_R_BAD_PARAM;
			out->auth = v;
		} else {
			return SS_R_UNKNOWN_PARAM;
		}
	}
	return rc == 0 ? SS_R_NONE : SS_R_BAD_PARAM;
}

/* NOTIFY=NEVER, or a list of SUCCESS, FAILURE, DELAY (RFC 3461 4.1). */
static bool notify_param(struct sm_str v, uint8_t *notify)
{
	static const struct {
		struct sm_str word;
		uint8_t bit;
	} words[] = {
	    {SM_STR("NEVER"), SM_NOTIFY_NEVER},
	    {SM_STR("SUCCESS"), SM_NOTIFY_SUCCESS},
	    {SM_STR("FAILURE"), SM_NOTIFY_FAILURE},
	    {SM_STR("DELAY"), SM_NOTIFY_DELAY},
	};

	*notify = 0;
	do {
		struct sm_str word = sm_str_split(v, ',', &v);
		uint8_t bit = 0;
		for (size_t i = 0; i < SM_ARRAY_SIZE(words); i++)
			if (sm_str_caseeq(word, words[i].word))
				bit = words[i].bit;
		if (bit == 0 || (*notify & bit) != 0)
			return false;
		*notify |= bit;
	} while (v.p != NULL);
	return (*notify & SM_NOTIFY_NEVER) == 0 || *notify == SM_NOTIFY_NEVER;
}

/* ORCPT=addr-type;xtext (RFC 3461 4.2), ORCPT=utf-8;... (RFC 6533 3). */
static bool orcpt_param(struct sm_str v, bool utf8, struct sm_arena *a)
{
	struct sm_str rest, text, type = sm_str_split(v, ';', &rest);

	if (v.n > ORCPT_MAX || type.n == 0 || rest.p == NULL)
		return false;
	for (size_t i = 0; i < type.n; i++)
		if (!sm_isalnum(type.p[i]) && type.p[i] != '-')
			return false;
	if (sm_str_caseeq(type, SM_STR("utf-8")))
		return rest.n > 0 && sm_unitext_decode(rest, utf8, a, &text) == 0;
	if (utf8)
		return rest.n > 0 && sm_xtext_decode_utf8(rest, a, &text) == 0;
	return xtext_ok(rest, ORCPT_MAX, a);
}

enum ss_reply_name ss_rcpt_params(struct sm_str text, const struct ss_conf *c, bool utf8,
                                  struct sm_arena *a, struct ss_rcpt_params *out,
                                  struct sm_str *what)
{
	struct sm_str v;
	unsigned seen = 0;
	int rc;

	*out = (struct ss_rcpt_params){.notify = 0};
	*what = SM_STR("syntax");
	while ((rc = sm_smtp_param_next(&text, what, &v)) == 1) {
		if (sm_str_caseeq(*what, SM_STR("NOTIFY")) && ss_offers_dsn(c)) {
			if (!notify_param(v, &out->notify) || !first_time(&seen, 1))
				return SS_R_BAD_PARAM;
		} else if (sm_str_caseeq(*what, SM_STR("ORCPT")) && ss_offers_dsn(c)) {
			if (!orcpt_param(v, utf8, a) || !first_time(&seen, 2))
				return SS_R_BAD_PARAM;
			out->orcpt = v;
		} else {
			return SS_R_UNKNOWN_PARAM;
		}
	}
	return rc == 0 ? SS_R_NONE : SS_R_BAD_PARAM;
}
