/*
 * The words behind a verb of the control socket. Invariant: what is out of bounds, or nothing that
 * the verb takes, is refused with a diag. Pure.
 */
#include "smar/control.h"

#include "libsm/addr.h"
#include "libsm/conf.h"
#include "libsm/err.h"

static int take_client(struct sm_str value, struct sm_arena *a SM_UNUSED, struct ar_ctl_words *w)
{
	if (sm_sa_ip(&w->client, value, 0) != 0)
		return sm_fail(SM_E_SYNTAX, "--client takes an address: 192.0.2.1, 2001:db8::1");
	return 0;
}

static int take_client_name(struct sm_str value, struct sm_arena *a, struct ar_ctl_words *w)
{
	if (!sm_domain_valid(value, true))
		return sm_fail(SM_E_SYNTAX, "--client-name takes the name of a host");
	w->client_name = sm_arena_lower(a, value);
	return 0;
}

static int take_from(struct sm_str value, struct sm_arena *a, struct ar_ctl_words *w)
{
	w->from = sm_arena_str(a, value);
	return 0;
}

static int take_check(struct sm_str value, struct sm_arena *a SM_UNUSED, struct ar_ctl_words *w)
{
	uint64_t n;

	if (sm_str_u64(value, 10, UINT32_MAX, &n) != 0)
		return sm_fail(SM_E_SYNTAX, "--check takes a number");
	w->check = (uint32_t)n;
	return 0;
}

static int take_as(struct sm_str value, struct sm_arena *a SM_UNUSED, struct ar_ctl_words *w)
{
	static const struct {
		struct sm_str word;
		enum ar_ctl_as as;
	} kinds[] = {
	    {SM_STR("domain"), AR_AS_DOMAIN},
	    {SM_STR("ip"), AR_AS_IP},
	    {SM_STR("address"), AR_AS_ADDRESS},
	    {SM_STR("word"), AR_AS_WORD},
	};

	for (size_t i = 0; i < SM_ARRAY_SIZE(kinds); i++) {
		if (sm_str_eq(kinds[i].word, value)) {
			w->as = kinds[i].as;
			return 0;
		}
	}
	return sm_fail(SM_E_SYNTAX, "--as takes domain, ip, address or word");
}

static int take_tag(struct sm_str value, struct sm_arena *a, struct ar_ctl_words *w)
{
	if (value.n < 2 || value.n > AR_CTL_TAG_BYTES || value.p[value.n - 1] != ':')
		return sm_fail(SM_E_SYNTAX, "--tag takes a tag with its colon, such as to:");
	w->tag = sm_arena_lower(a, value);
	return 0;
}

static int take_rcpts(struct sm_str value, struct sm_arena *a SM_UNUSED, struct ar_ctl_words *w)
{
	uint64_t n;

	if (sm_str_u64(value, 10, UINT32_MAX, &n) != 0 || n == 0)
		return sm_fail(SM_E_SYNTAX, "--recipients takes their number");
	w->rcpts = (uint32_t)n;
	return 0;
}

static int take_size(struct sm_str value, struct sm_arena *a SM_UNUSED, struct ar_ctl_words *w)
{
	int64_t n;

	if (sm_conf_size(value, false, &n) != 0)
		return sm_fail(SM_E_SYNTAX, "--size takes a size such as 50000 or 50KB");
	w->bytes = (uint64_t)n;
	return 0;
}

static int take_again(struct sm_str value, struct sm_arena *a SM_UNUSED, struct ar_ctl_words *w)
{
	if (!sm_str_eq(value, SM_STR("1")))
		return sm_fail(SM_E_SYNTAX, "--again takes no value");
	w->again = true;
	return 0;
}

static const struct {
	unsigned bit;
	struct sm_str name; /* with what stands before the value */
	int (*take)(struct sm_str value, struct sm_arena *a, struct ar_ctl_words *w);
} options[] = {
    {AR_CTL_CLIENT, SM_STR("--client="), take_client},
    {AR_CTL_CLIENT_NAME, SM_STR("--client-name="), take_client_name},
    {AR_CTL_FROM, SM_STR("--from="), take_from},
    {AR_CTL_CHECK, SM_STR("--check="), take_check},
    {AR_CTL_AS, SM_STR("--as="), take_as},
    {AR_CTL_TAG, SM_STR("--tag="), take_tag},
    {AR_CTL_MAIL, SM_STR("--recipients="), take_rcpts},
    {AR_CTL_MAIL, SM_STR("--size="), take_size},
    {AR_CTL_MAIL, SM_STR("--again="), take_again},
};

static int take_option(const struct ar_ctl_takes *takes, struct sm_str s, struct sm_arena *a,
                       struct ar_ctl_words *w)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(options); i++)
		if ((takes->options & options[i].bit) && sm_str_has_prefix(s, options[i].name))
			return options[i].take(sm_str_from(s, options[i].name.n), a, w);
	return sm_fail(SM_E_SYNTAX, "%s does not take " SM_STR_FMT, takes->verb,
	               SM_STR_ARG(sm_str_head(s, 40)));
}

int ar_ctl_take_words(const struct ar_ctl_takes *takes, const struct sm_msg_ctl_request *m,
                      struct sm_arena *a, struct ar_ctl_words *out)
{
	*out = (struct ar_ctl_words){.from = SM_STR(""), .tag = SM_STR(""), .rcpts = 1};
	sm_assert(takes->most <= AR_CTL_WORDS_MAX);
	for (uint32_t i = 0; i < m->args_count; i++) {
		struct sm_str s = m->args[i].text;
		int rc;

		if (s.n > AR_CTL_WORD_BYTES)
			return sm_fail(SM_E_TOOBIG, "a word is longer than %d bytes",
			               AR_CTL_WORD_BYTES);
		if (sm_str_has_prefix(s, SM_STR("--"))) {
			rc = take_option(takes, s, a, out);
			if (rc != 0)
				return rc;
		} else if (out->count == takes->most) {
			return sm_fail(SM_E_SYNTAX, "%s takes at most %u words", takes->verb,
			               takes->most);
		} else {
			out->word[out->count++] = sm_arena_str(a, s);
		}
	}
	if (out->count < takes->least)
		return sm_fail(SM_E_SYNTAX, "%s takes at least %u words", takes->verb,
		               takes->least);
	return 0;
}
