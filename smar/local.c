/* Which addresses of local domains exist: aliases first, then local_user_map. Thread: the loop's;
 * coroutine when it may wait. */
#include "smar/local.h"

#include "smar/alias.h"

int ar_local_domain(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain)
{
	const struct ar_mt_entry *e;
	int rc = ar_mt_lookup(ar, ctx, domain, &e);

	if (rc != 0)
		return rc == SM_E_NOTFOUND ? SM_E_IO : rc;
	return e != NULL && ar_mt_is_local(e) ? 0 : SM_E_NOTFOUND;
}

static int find_user(const struct ar *ar, const struct ar_ctx *ctx, struct ar_map *users,
                     const struct ar_parts *parts)
{
	uint32_t use = ar->conf->local_user_map.flags;
	unsigned flags = AR_KEYS_LOCALPART_ONLY;
	struct sm_str value;
	struct ar_keys keys;

	if ((use & AR_USE_LOCAL_DOMAINS) != 0)
		flags = (use & AR_USE_LOCALPART) != 0 ? AR_KEYS_LOCALPART : 0;
	if ((use & AR_USE_IMPLICIT_DETAIL) != 0)
		flags |= AR_KEYS_IMPLICIT_DETAIL;
	ar_keys_address(&keys, SM_STR(""), parts, flags);
	return ar_map_find(users, ctx, &keys, &value);
}

int ar_local_known(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_parts *parts)
{
	struct ar_map *aliases = ar_maps_aliases(ar->maps), *users = ar_maps_users(ar->maps);
	struct ar_alias_found found;
	int rc = SM_E_NOTFOUND;

	if ((aliases == NULL && users == NULL) || sm_str_eq(parts->local, SM_STR("postmaster")))
		return 0;
	if (aliases != NULL)
		rc = ar_alias_find(ar, ctx, parts, true, &found);
	if (rc == SM_E_NOTFOUND && users != NULL)
		rc = find_user(ar, ctx, users, parts);
	return rc;
}
