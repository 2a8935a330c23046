/*
 * Which domains are served on demand only.
 *
 * The map goes before the list: its values say more. Invariant: what cannot be told is an error,
 * never "at once", because then a line would be dialled, or a customer called who is not there.
 * Thread: the loop's; coroutine when it may wait.
 */
#include "smar/on_demand.h"

#include "libsm/err.h"
#include "libsm/utf8.h"
#include "smar/local.h"

static bool listed(const struct sm_conf_list *domains, struct ar_keys *keys)
{
	while (domains->count > 0 && ar_keys_next(keys))
		for (size_t i = 0; i < domains->count; i++)
			if (sm_domain_eq(domains->v[i], keys->key))
				return true;
	return false;
}

static int understand(const struct ar *ar, struct sm_str value, enum sm_wait *out)
{
	if (sm_str_caseeq(value, SM_STR("no")))
		*out = SM_WAIT_NO;
	else if (sm_str_caseeq(value, SM_STR("queue")))
		*out = SM_WAIT_RUN;
	else if (sm_str_caseeq(value, SM_STR("hold")))
		*out = SM_WAIT_ASKED;
	else if (value.n == 0 || sm_str_caseeq(value, SM_STR("default")))
		*out = (enum sm_wait)ar->conf->on_demand.deliver;
	else
		return sm_fail(SM_E_SYNTAX,
		               "on_demand: \"" SM_STR_FMT "\" is none of queue, hold, default, no",
		               SM_STR_ARG(sm_str_head(value, 60)));
	return 0;
}

/* By the configuration alone; the key that was found stays in *keys. */
static int find(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                struct ar_keys *keys, enum sm_wait *out)
{
	struct ar_map *map = ar_maps_on_demand(ar->maps);
	struct sm_str value;
	int rc = SM_E_NOTFOUND;

	if (map != NULL) {
		ar_keys_domain(keys, SM_STR(""), domain, AR_KEYS_DEFAULT);
		rc = ar_map_find(map, ctx, keys, &value);
		if (rc == 0)
			return understand(ar, value, out);
	}
	if (rc != SM_E_NOTFOUND)
		return rc;
	ar_keys_domain(keys, SM_STR(""), domain, AR_KEYS_DEFAULT);
	if (listed(&ar->conf->on_demand.domains, keys))
		*out = (enum sm_wait)ar->conf->on_demand.deliver;
	return 0;
}

static int demand_of(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                     struct ar_demand *out)
{
	struct ar_keys keys;
	int rc = find(ar, ctx, domain, &keys, &out->wait);

	if (rc != 0 || out->wait == SM_WAIT_NO)
		return rc;
	out->relay = !sm_str_eq(keys.key, SM_STR("."));
	rc = ar_local_domain(ar, ctx, domain);
	if (rc == 0)
		*out = (struct ar_demand){.wait = SM_WAIT_NO};
	return rc == SM_E_NOTFOUND ? 0 : rc;
}

int ar_on_demand(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                 struct ar_demand *out)
{
	*out = (struct ar_demand){.wait = SM_WAIT_NO};
	if (ar_maps_on_demand(ar->maps) == NULL && ar->conf->on_demand.domains.count == 0)
		return 0;
	return demand_of(ar, ctx, domain, out);
}
