/*
 * Parsing what operators write into the access map. Invariant: a reply that comes out of here fits
 * one line of SMTP, has a code of 4xx or 5xx with an enhanced code of the same class, and no byte
 * that is not printable ASCII. Pure; any thread.
 */
#include "smar/access_rhs.h"

#include "libsm/addr.h"
#include "libsm/conf.h"
#include "libsm/err.h"
#include "libsm/net.h"
#include "libsm/smtp_reply.h"
#include "libsm/utf8.h"

static const struct sm_str quick = SM_STR("quick:"), error = SM_STR("error:");

static bool printable(struct sm_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] < ' ' || s.p[i] > '~')
			return false;
	return true;
}

/* ---- values ---- */

/* "550 5.7.1 text" */
static int parse_reply(struct sm_str reply, struct ar_action *out)
{
	struct sm_str code, rest;
	unsigned enhanced[3];
	uint64_t n;

	code = sm_str_split(reply, ' ', &out->text);
	out->text = sm_str_trim(out->text);
	if (code.n != 3 || sm_str_u64(code, 10, 559, &n) != 0 || n < 400 || code.p[1] > '5')
		return sm_fail(SM_E_SYNTAX,
		               "\"error:" SM_STR_FMT "\": the code is not between 400 and 559",
		               SM_STR_ARG(sm_str_head(code, 20)));
	out->code = (uint16_t)n;
	if (!printable(out->text))
		return sm_fail(SM_E_SYNTAX,
		               "\"error:" SM_STR_FMT " ...\": the text has bytes that "
		               "are not printable ASCII",
		               SM_STR_ARG(code));
	if (!sm_enhanced_parse(out->text, (int)n, enhanced, &rest))
		return sm_fail(SM_E_SYNTAX,
		               "\"error:" SM_STR_FMT " " SM_STR_FMT
		               "\": no enhanced code like %c.7.1 behind the code",
		               SM_STR_ARG(code), SM_STR_ARG(sm_str_head(out->text, 40)), code.p[0]);
	if (sm_str_trim(rest).n == 0)
		return sm_fail(SM_E_SYNTAX, "\"error:" SM_STR_FMT " ...\": no text",
		               SM_STR_ARG(code));
	out->text = sm_str_head(out->text, AR_ACTION_TEXT_MAX);
	out->kind = AR_ACTION_ERROR;
	return 0;
}

int ar_action_parse(struct sm_str value, struct ar_action *out)
{
	static const struct {
		struct sm_str word;
		enum ar_action_kind kind;
	} words[] = {
	    {SM_STR("ok"), AR_ACTION_OK},
	    {SM_STR("relay"), AR_ACTION_RELAY},
	    {SM_STR("discard"), AR_ACTION_DISCARD},
	    {SM_STR("cont"), AR_ACTION_CONT},
	};

	*out = (struct ar_action){.kind = AR_ACTION_CONT, .text = SM_STR("")};
	value = sm_str_trim(value);
	if (sm_str_has_caseprefix(value, quick)) {
		out->quick = true;
		value = sm_str_trim(sm_str_from(value, quick.n));
	}
	for (size_t i = 0; i < SM_ARRAY_SIZE(words); i++) {
		if (sm_str_caseeq(value, words[i].word)) {
			out->kind = words[i].kind;
			return 0;
		}
	}
	if (sm_str_caseeq(value, SM_STR("reject"))) {
		out->kind = AR_ACTION_ERROR;
		out->code = 550;
		out->text = SM_STR("5.7.0 Rejected.");
		return 0;
	}
	if (sm_str_has_caseprefix(value, error))
		return parse_reply(sm_str_trim(sm_str_from(value, error.n)), out);
	return sm_fail(SM_E_SYNTAX,
	               "\"" SM_STR_FMT "\" is none of relay, ok, reject, discard, cont, error:...",
	               SM_STR_ARG(sm_str_head(value, 60)));
}

/* ---- restrictions ---- */

/* "<what>" or "what" */
static int parse_address(struct ar_restriction *r, struct sm_str word)
{
	struct sm_str s = r->what;

	if (s.n > 2 && s.p[0] == '<' && s.p[s.n - 1] == '>')
		s = sm_str_n(s.p + 1, s.n - 2);
	r->what = s;
	if (s.n == 0 || !printable(s) || sm_str_chr(s, '<') >= 0 || sm_str_chr(s, '>') >= 0 ||
	    (r->kind == AR_RESTRICTION_FROM && sm_str_chr(s, '@') < 0))
		return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\": no address",
		               SM_STR_ARG(sm_str_head(word, 100)));
	return 0;
}

/* An address of the Internet or the beginning of one: digits, groups, their separators. */
static bool is_net(struct sm_str s)
{
	bool digit = false;

	for (size_t i = 0; i < s.n; i++) {
		char c = sm_lower(s.p[i]);

		if (sm_isdigit(c) || (c >= 'a' && c <= 'f'))
			digit = true;
		else if ((c != '.' && c != ':') || !digit)
			return false;
		else
			digit = false;
	}
	return digit;
}

int ar_restriction_next(struct sm_str *rest, struct ar_restriction *out)
{
	static const struct {
		struct sm_str tag;
		enum ar_restriction_kind kind;
	} tags[] = {
	    {SM_STR("from:"), AR_RESTRICTION_FROM},
	    {SM_STR("list:"), AR_RESTRICTION_LIST},
	    {SM_STR("cltaddr:"), AR_RESTRICTION_CLIENT},
	};
	struct sm_str word = sm_str_word(rest);

	if (word.n == 0)
		return SM_E_EOF;
	for (size_t i = 0; i < SM_ARRAY_SIZE(tags); i++) {
		if (!sm_str_has_caseprefix(word, tags[i].tag))
			continue;
		out->kind = tags[i].kind;
		out->what = sm_str_from(word, tags[i].tag.n);
		if (out->kind != AR_RESTRICTION_CLIENT)
			return parse_address(out, word);
		if (!is_net(out->what))
			return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\": no IP address",
			               SM_STR_ARG(sm_str_head(word, 100)));
		return 0;
	}
	return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is no restriction (from:, list:, cltaddr:)",
	               SM_STR_ARG(sm_str_head(word, 60)));
}

/* ---- entries ---- */

enum key_kind { KEY_ADDRESS, KEY_NET, KEY_NAME, KEY_RESOLVE, KEY_DN, KEY_LISTED };

enum value_kind { VALUE_ACTION, VALUE_RESTRICTIONS, VALUE_CONF, VALUE_DOMAINS };

static const struct tag {
	struct sm_str name;
	enum key_kind key;
	enum value_kind value;
	bool may_relay;
} tags[] = {
    {SM_STR("from:"), KEY_ADDRESS, VALUE_ACTION, false},
    {SM_STR("to:"), KEY_ADDRESS, VALUE_ACTION, true},
    {SM_STR("cltaddr:"), KEY_NET, VALUE_ACTION, true},
    {SM_STR("cltname:"), KEY_NAME, VALUE_ACTION, true},
    {SM_STR("cltresolve:"), KEY_RESOLVE, VALUE_ACTION, false},
    {SM_STR("mxbadip:"), KEY_NET, VALUE_ACTION, false},
    {SM_STR("certissuer:"), KEY_DN, VALUE_ACTION, true},
    {SM_STR("certsubject:"), KEY_DN, VALUE_ACTION, true},
    {SM_STR("protectedrcpt:"), KEY_ADDRESS, VALUE_RESTRICTIONS, false},
    {SM_STR("smtps_session_conf:"), KEY_NAME, VALUE_CONF, false},
    {SM_STR("smtpc_session_conf:"), KEY_NAME, VALUE_CONF, false},
    {SM_STR("smtpc_rcpt_conf:"), KEY_ADDRESS, VALUE_CONF, false},
    {SM_STR("etrn:"), KEY_ADDRESS, VALUE_DOMAINS, false},
};
/* Of black and white lists. */
static const struct tag listed = {.key = KEY_LISTED, .may_relay = true};

static const struct tag *find_tag(struct sm_str name)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(tags); i++)
		if (sm_str_caseeq(tags[i].name, name))
			return &tags[i];
	return &listed;
}

bool ar_access_may_relay(struct sm_str tag)
{
	return find_tag(tag)->may_relay;
}

bool ar_access_tag_taken(struct sm_str tag)
{
	return find_tag(tag) != &listed;
}

static bool one_of(struct sm_str s, const char *const *words)
{
	for (; *words != NULL; words++)
		if (sm_str_caseeq(s, sm_str(*words)))
			return true;
	return false;
}

/* Addresses and names may be in UTF-8; what else is looked up is ASCII. */
static bool good_bytes(enum key_kind kind, struct sm_str s)
{
	if (kind != KEY_ADDRESS && kind != KEY_NAME)
		return printable(s);
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f)
			return false;
	return sm_utf8_graphic(s);
}

static bool good_key(enum key_kind kind, struct sm_str s)
{
	static const char *const resolve[] = {"ok", "no", "tempptr", "tempa", NULL};
	static const char *const answers[] = {"temp", "perm", NULL};

	switch (kind) {
	case KEY_NET:
		return is_net(s);
	case KEY_RESOLVE:
		return one_of(s, resolve);
	case KEY_LISTED:
		return is_net(s) || one_of(s, answers);
	case KEY_NAME:
		return sm_str_chr(s, '@') < 0;
	case KEY_ADDRESS:
	case KEY_DN:
		break;
	}
	return true;
}

static int check_restrictions(struct sm_str value)
{
	struct ar_restriction r;
	int rc, count = 0;

	while ((rc = ar_restriction_next(&value, &r)) == 0)
		count++;
	if (rc == SM_E_EOF)
		rc = count > 0 ? 0 : sm_fail(SM_E_SYNTAX, "no restriction");
	return rc;
}

static int check_domains(struct sm_str value)
{
	struct sm_str word = sm_str_word(&value);

	if (word.n == 0)
		return sm_fail(SM_E_SYNTAX, "no domain");
	for (; word.n > 0; word = sm_str_word(&value)) {
		struct sm_str domain = word.p[0] == '.' ? sm_str_from(word, 1) : word;

		if (!sm_str_eq(word, SM_STR(".")) && !sm_domain_valid_utf8(domain, true))
			return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is no domain",
			               SM_STR_ARG(sm_str_head(word, 60)));
	}
	return 0;
}

int ar_access_check_conf(struct sm_str value)
{
	struct sm_conf_file f;
	int rc;

	if (value.n > AR_CONF_TEXT_MAX)
		return sm_fail(SM_E_TOOBIG, "%zu bytes of configuration, at most %d", value.n,
		               AR_CONF_TEXT_MAX);
	rc = sm_conf_parse(&f, "value", value);
	if (rc == 0)
		sm_conf_free(&f);
	return rc;
}

int ar_access_check_entry(struct sm_str key, struct sm_str value)
{
	ptrdiff_t colon = sm_str_chr(key, ':');
	const struct tag *t;
	struct ar_action action;
	struct sm_str what;
	int rc;

	if (colon <= 0)
		return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\": no tag like to:",
		               SM_STR_ARG(sm_str_head(key, 100)));
	t = find_tag(sm_str_head(key, (size_t)colon + 1));
	what = sm_str_from(key, (size_t)colon + 1);
	if (what.n == 0 || !good_bytes(t->key, what) || sm_str_chr(key, ' ') >= 0 ||
	    !good_key(t->key, what))
		return sm_fail(SM_E_SYNTAX,
		               t == &listed ? "\"" SM_STR_FMT "\": neither a tag that is known nor "
		                              "the answer of a black list"
		                            : "\"" SM_STR_FMT "\" will never be looked up",
		               SM_STR_ARG(sm_str_head(key, 100)));
	if (t->value == VALUE_RESTRICTIONS)
		return check_restrictions(value);
	if (t->value == VALUE_CONF)
		return ar_access_check_conf(value);
	if (t->value == VALUE_DOMAINS)
		return check_domains(value);
	rc = ar_action_parse(value, &action);
	if (rc != 0)
		return rc;
	if (action.kind == AR_ACTION_RELAY && !t->may_relay)
		return sm_fail(SM_E_SYNTAX, "\"relay\" means nothing behind " SM_STR_FMT,
		               SM_STR_ARG(sm_str_head(key, (size_t)colon + 1)));
	/* Spaces and words before it are part of the value. */
	if (action.kind == AR_ACTION_ERROR && action.text.n == AR_ACTION_TEXT_MAX &&
	    action.text.p + action.text.n != sm_str_trim(value).p + sm_str_trim(value).n)
		return sm_fail(SM_E_SYNTAX, "the text is longer than %d bytes", AR_ACTION_TEXT_MAX);
	return 0;
}
