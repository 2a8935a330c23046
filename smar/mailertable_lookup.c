/*
 * Which entry of the mailertable is a domain's, be it a file or a map. Pure, but for maps that make
 * it wait. Apart from mailertable.c, because who only parses entries (createmap) has no maps.
 */
#include "libsm/err.h"
#include "smar/ar.h"
#include "smar/mailertable.h"

static const struct ar_mt_entry *find(const struct ar_mt *mt, struct ar_keys *keys,
                                      const struct ar_trace *t)
{
	const struct ar_mt_entry *e = NULL;

	while (e == NULL && ar_keys_next(keys)) {
		e = ar_mt_get(mt, keys->key);
		if (t != NULL)
			t->tried(t->arg, "mailertable", keys->key, e != NULL ? 0 : SM_E_NOTFOUND,
			         e != NULL ? e->ways.v[0].key : SM_STR_NONE);
	}
	return e;
}

const struct ar_mt_entry *ar_mt_find(const struct ar_mt *mt, struct sm_str domain)
{
	struct ar_keys keys;

	ar_keys_domain(&keys, SM_STR(""), domain, AR_KEYS_DEFAULT);
	return find(mt, &keys, NULL);
}

static int find_in_map(struct ar_map *map, const struct ar_ctx *ctx, struct ar_keys *keys,
                       const struct ar_mt_entry **out)
{
	struct ar_mt_entry *e;
	struct sm_str rhs;
	int rc = ar_map_find(map, ctx, keys, &rhs);

	if (rc != 0)
		return rc == SM_E_NOTFOUND ? 0 : rc;
	e = SM_ARENA_NEW(ctx->a, struct ar_mt_entry);
	e->domain = sm_arena_str(ctx->a, keys->key);
	rc = rhs.n <= AR_MT_LINE_MAX ? ar_ways_parse(rhs, ctx->a, &e->ways)
	                             : sm_fail(SM_E_TOOBIG, "too long");
	if (rc != 0)
		return sm_fail_in(rc, "map %s: " SM_STR_FMT, ar_map_name(map),
		                  SM_STR_ARG(sm_str_head(keys->key, 100)));
	*out = e;
	return 0;
}

int ar_mt_lookup(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str domain,
                 const struct ar_mt_entry **out)
{
	struct ar_map *map = ar_maps_mailertable(ar->maps);
	struct ar_keys keys;

	*out = NULL;
	ar_keys_domain(&keys, SM_STR(""), domain, AR_KEYS_DEFAULT);
	if (map != NULL)
		return find_in_map(map, ctx, &keys, out);
	if (ar->mt != NULL)
		*out = find(ar->mt, &keys, ctx->trace);
	return 0;
}

/* What the table says of one key. */
static int find_word(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str key,
                     const struct ar_mt_entry **out)
{
	struct ar_map *map = ar_maps_mailertable(ar->maps);
	struct ar_keys keys;

	ar_keys_word(&keys, SM_STR(""), key);
	if (map != NULL)
		return find_in_map(map, ctx, &keys, out);
	*out = find(ar->mt, &keys, ctx->trace);
	return 0;
}

int ar_mt_lookup_rcpt(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str key,
                      struct sm_str domain, const struct ar_mt_entry **out)
{
	bool addresses =
	    ar_maps_mailertable(ar->maps) != NULL || (ar->mt != NULL && ar->mt->addresses > 0);
	int rc = 0;

	*out = NULL;
	if (addresses)
		rc = find_word(ar, ctx, key, out);
	return rc != 0 || *out != NULL ? rc : ar_mt_lookup(ar, ctx, domain, out);
}
