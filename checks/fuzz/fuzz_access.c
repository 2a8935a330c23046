/*
 * An entry of the access map: the first line is its key, the rest its value. Besides crashes: a
 * reply is fit for the wire, what createmap lets through can be used, and a text that createmap
 * refuses as too long only loses its end.
 */
#include "libsm/err.h"
#include "smar/access_rhs.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void value_of(struct sm_str value, bool *good)
{
	struct ar_action r;

	*good = ar_action_parse(value, &r) == 0;
	if (!*good)
		return;
	sm_assert((r.kind == AR_ACTION_ERROR) == (r.code != 0));
	if (r.kind != AR_ACTION_ERROR)
		return;
	sm_assert(r.code >= 400 && r.code <= 559 && r.code / 10 % 10 <= 5);
	sm_assert(r.text.n > 6 && r.text.n <= AR_ACTION_TEXT_MAX);
	sm_assert(r.text.p[0] == (char)('0' + r.code / 100));
	for (size_t i = 0; i < r.text.n; i++)
		sm_assert(r.text.p[i] >= ' ' && r.text.p[i] <= '~');
}

static void restrictions_of(struct sm_str value, bool *good)
{
	struct ar_restriction r;
	int rc;

	while ((rc = ar_restriction_next(&value, &r)) == 0)
		sm_assert(r.what.n > 0 && sm_str_chr(r.what, ' ') < 0 &&
		          sm_str_chr(r.what, '<') < 0);
	*good = rc == SM_E_EOF;
}

static bool is_conf(struct sm_str key)
{
	return sm_str_has_caseprefix(key, SM_STR("smtps_session_conf:")) ||
	       sm_str_has_caseprefix(key, SM_STR("smtpc_session_conf:")) ||
	       sm_str_has_caseprefix(key, SM_STR("smtpc_rcpt_conf:"));
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
	struct sm_str value, key = sm_str_split(sm_str_n(p, n), '\n', &value);
	bool usable, restrictions;

	value_of(value, &usable);
	restrictions_of(value, &restrictions);
	if (ar_access_check_entry(key, value) != 0)
		return 0;
	if (is_conf(key))
		sm_assert(value.n <= AR_CONF_TEXT_MAX && ar_access_check_conf(value) == 0);
	else
		sm_assert(sm_str_has_caseprefix(key, SM_STR("protectedrcpt:")) ? restrictions
		                                                               : usable);
	return 0;
}
