/*
 * Which entry of the mailertable is a domain's, be it a file or a map. Pure, but for maps that make
 * it wait. Apart from mailertable.c, because who only parses entries (createmap) has no maps.
 */
#include "libsm/err.h"
#include "smar/ar.h"
#include "smar/mailertable.h"

static const struct ar_mt_entry *find(const struct ar_mt *mt, struct sm_str domain,
                                      const struct ar_trace *t)
{
	const struct ar_mt_entry *e = NULL;
	struct ar_keys keys;

	ar_keys_domain(&keys, SM_STR(""), domain, AR_KEYS_DEFAULT);
	while (e == NULL && ar_keys_next(&keys)) {
		e = ar_mt_get(mt, keys.key);
		if (t != NULL)
			t->tried(t->arg, "mailertable", keys.key, e != NULL ? 0 : SM_E_NOTFOUND,
			         e != NULL ? e->ways.v[0].key : SM_STR_NONE);
	}
	return e;
}

const struct ar_mt_entry *ar_mt_find(const struct ar_mt *mt, struct sm_str domain)
{
	return find(mt, domain, NULL);
}

int ar_mt_lookup(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                 const struct ar_mt_entry **out)
{
	struct ar_map *map = ar_maps_mailertable(ar->maps);
	struct ar_mt_entry *e;
	struct ar_keys keys;
	struct sm_str rhs;
	int rc;

	*out = NULL;
	if (map == NULL) {
		*out = ar->mt != NULL ? find(ar->mt, domain, ctx->trace) : NULL;
		return 0;
	}
	ar_keys_domain(&keys, SM_STR(""), domain, AR_KEYS_DEFAULT);
	rc = ar_map_find(map, ctx, &keys, &rhs);
	if (rc != 0)
		return rc == SM_E_NOTFOUND ? 0 : rc;
	e = SM_ARENA_NEW(ctx->a, struct ar_mt_entry);
	e->domain = sm_arena_str(ctx->a, keys.key);
	rc = rhs.n <= AR_MT_LINE_MAX ? ar_ways_parse(rhs, ctx->a, &e->ways)
	                             : sm_fail(SM_E_TOOBIG, "too long");
	if (rc != 0)
		return sm_fail_in(rc, "map %s: " SM_STR_FMT, ar_map_name(map),
		                  SM_STR_ARG(sm_str_head(keys.key, 100)));
	*out = e;
	return 0;
}
