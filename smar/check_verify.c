/*
 * verify_recipient: is the next hop to be asked whether it knows a recipient, and what if it does
 * not say?
 *
 * Here it is only found out from the configuration; smtps asks qmgr, when it would accept the
 * recipient otherwise. The map goes before the list: its values say more. Thread: the loop's;
 * coroutine when it may wait.
 */
#include "smar/check_int.h"

#include "libsm/err.h"
#include "libsm/log.h"
#include "libsm/utf8.h"

static void want(struct sm_msg_verdict *out, enum ar_on_failure on_failure)
{
	out->flags |= SM_VERDICT_VERIFY;
	if (on_failure == AR_VERIFY_ACCEPT)
		out->flags |= SM_VERDICT_VERIFY_ACCEPT;
}

static bool listed(const struct sm_conf_list *domains, struct sm_str domain)
{
	struct ar_keys keys;

	if (domains->count == 0)
		return false;
	ar_keys_domain(&keys, SM_STR(""), domain, AR_KEYS_DEFAULT);
	while (ar_keys_next(&keys))
		for (size_t i = 0; i < domains->count; i++)
			if (sm_domain_eq(domains->v[i], keys.key))
				return true;
	return false;
}

static int understand(const struct ar *ar, struct sm_str value, struct sm_msg_verdict *out)
{
	if (sm_str_caseeq(value, SM_STR("no")))
		return 0;
	if (sm_str_caseeq(value, SM_STR("accept")))
		want(out, AR_VERIFY_ACCEPT);
	else if (sm_str_eq(value, SM_STR("450")))
		want(out, AR_VERIFY_450);
	else if (value.n == 0 || sm_str_caseeq(value, SM_STR("default")))
		want(out, (enum ar_on_failure)ar->conf->verify.on_failure);
	else
		return sm_fail(SM_E_SYNTAX,
		               "\"" SM_STR_FMT "\" is none of accept, 450, default, no",
		               SM_STR_ARG(sm_str_head(value, 60)));
	return 0;
}

int ar_check_verify(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                    struct sm_msg_verdict *out)
{
	const struct ar_verify_conf *conf = &ar->conf->verify;
	struct ar_map *map = ar_maps_verify(ar->maps);
	int rc = SM_E_NOTFOUND;

	if (map != NULL) {
		struct ar_keys keys;
		struct sm_str value;

		ar_keys_domain(&keys, SM_STR(""), domain, AR_KEYS_DEFAULT);
		rc = ar_map_find(map, ctx, &keys, &value);
		if (rc == 0)
			rc = understand(ar, value, out);
	}
	if (rc == SM_E_NOTFOUND) {
		if (listed(&conf->domains, domain))
			want(out, (enum ar_on_failure)conf->on_failure);
		return 0;
	}
	if (rc == 0 || rc == SM_E_AGAIN)
		return rc;
	sm_log(SM_WARN, "ar.verify", "domain=%S error=%E", domain, rc);
	ar_trace_failed(ctx, domain, sm_diag());
	return ar_refuse(out, 451, "4.3.0 Recipients cannot be checked now, try again later");
}
