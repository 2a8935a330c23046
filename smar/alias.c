/*
 * Aliases, one level: the entry of an address, the owner of a list, the members.
 *
 * Invariant: whatever keeps an entry from being understood (map, text, file of a list) is told as a
 * temporary failure; only "not there" is SM_E_NOTFOUND. Thread: the loop's; coroutine when it may
 * wait. Files are read and taken apart in a helper thread.
 */
#include "smar/alias.h"

#include "libsm/addr.h"
#include "libsm/buf.h"
#include "libsm/offload.h"
#include "smar/include.h"
#include "smar/local.h"

static const struct sm_str owner_prefix = SM_STR("owner-");

/* Which keys there are for an address; false: none. */
static bool keys_of(const struct ar *ar, const struct ar_parts *parts, bool local,
                    struct ar_keys *out)
{
	uint32_t use = ar->conf->aliases.use.flags;
	bool full = (use & AR_USE_ALL_DOMAINS) != 0 || (local && (use & AR_USE_LOCAL_DOMAINS) != 0);
	bool word = local && ((use & AR_USE_LOCALPART) != 0 ||
	                      (use & (AR_USE_ALL_DOMAINS | AR_USE_LOCAL_DOMAINS)) == 0);
	unsigned flags = 0;

	if (!full && !word)
		return false;
	if (word)
		flags = full ? AR_KEYS_LOCALPART : AR_KEYS_LOCALPART_ONLY;
	if ((use & AR_USE_IMPLICIT_DETAIL) != 0)
		flags |= AR_KEYS_IMPLICIT_DETAIL;
	ar_keys_address(out, SM_STR(""), parts, flags);
	return true;
}

/* Of a map's failures none means what it means here. */
static int of_map(int rc)
{
	bool known = rc == 0 || rc == SM_E_NOTFOUND || rc == SM_E_AGAIN || rc == SM_E_CANCEL;

	return known ? rc : SM_E_IO;
}

int ar_alias_find(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_parts *parts,
                  bool local, struct ar_alias_found *out)
{
	struct ar_map *map = ar_maps_aliases(ar->maps);
	struct ar_keys keys;
	int rc;

	if (map == NULL || !keys_of(ar, parts, local, &keys))
		return SM_E_NOTFOUND;
	rc = ar_map_find(map, ctx, &keys, &out->rhs);
	if (rc == 0)
		out->subdomain = sm_arena_str(ctx->a, keys.subdomain);
	return of_map(rc);
}

int ar_alias_owner(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_parts *parts,
                   bool local, bool *verp)
{
	struct ar_map *map = ar_maps_aliases(ar->maps);
	struct ar_parts owner = *parts;
	struct ar_keys keys;
	struct sm_str value;
	int rc;

	owner.local = owner.user = sm_arena_printf(
	    ctx->a, SM_STR_FMT SM_STR_FMT, SM_STR_ARG(owner_prefix), SM_STR_ARG(parts->user));
	owner.detail = SM_STR("");
	owner.has_detail = false;
	if (map == NULL || owner.local.n > SM_LOCALPART_MAX || parts->user.p[0] == '"' ||
	    !keys_of(ar, &owner, local, &keys))
		return SM_E_NOTFOUND;
	while (ar_keys_next(&keys)) {
		if (keys.key.p[0] == '@')
			continue;
		rc = ar_map_get(map, ctx, keys.key, &value);
		if (rc == SM_E_NOTFOUND)
			continue;
		if (rc == 0)
			*verp = sm_str_caseeq(sm_str_word(&value), SM_STR("verp:"));
		return rc == SM_E_EOF ? SM_E_NOTFOUND : of_map(rc);
	}
	return SM_E_NOTFOUND;
}

/* ---- members ---- */

struct include_job {
	const char *directory, *name;
	size_t max_bytes;
	const struct ar_rhs_how *how;
	struct sm_arena *a; /* nobody else's while the coroutine waits */
	struct ar_members *out;
};

static int include_in_helper(void *arg)
{
	struct include_job *j = arg;
	struct sm_buf text;
	int rc;

	sm_buf_init(&text, j->max_bytes);
	rc = ar_include_read(j->directory, j->name, &text);
	if (rc == SM_E_TOOBIG)
		rc = SM_E_BUSY; /* not the number of members */
	if (rc == 0)
		rc = ar_include_parse(j->name, sm_buf_view(&text), j->how, j->a, j->out);
	sm_buf_fini(&text);
	return rc;
}

static int include(const struct ar *ar, const struct ar_ctx *ctx, const char *name,
                   const struct ar_rhs_how *how, struct ar_members *out)
{
	const struct ar_aliases_conf *conf = &ar->conf->aliases;
	struct include_job job = {.name = name,
	                          .max_bytes = (size_t)conf->max_list_bytes,
	                          .how = how,
	                          .a = ctx->a,
	                          .out = out};

	if (conf->include_directory.n == 0)
		return sm_fail(SM_E_NOTSUP, ":include:%s, but no aliases.include_directory", name);
	if (!ctx->may_wait)
		return SM_E_AGAIN;
	job.directory = sm_arena_str(ctx->a, conf->include_directory).p;
	return sm_offload("list", include_in_helper, &job);
}

/* Put the members of lists into the place of their names. */
static int include_all(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_rhs_how *how,
                       struct ar_members *m)
{
	struct ar_members in = *m;
	bool any = false;
	int rc = 0;

	for (size_t i = 0; i < in.count; i++)
		any = any || in.v[i].kind == AR_MEMBER_INCLUDE;
	if (!any)
		return 0;
	*m = (struct ar_members){.count = 0};
	for (size_t i = 0; i < in.count && rc == 0; i++)
		if (in.v[i].kind == AR_MEMBER_INCLUDE)
			rc = include(ar, ctx, in.v[i].text.p, how, m);
		else
			rc = ar_members_add(m, &in.v[i], how, ctx->a);
	return rc;
}

int ar_alias_local(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_parts *parts,
                   bool *local)
{
	int rc;

	/* A bare <postmaster> is ours wherever the host's own mail goes. */
	*local = sm_str_eq(parts->local, SM_STR("postmaster")) &&
	         sm_str_caseeq(parts->domain, ar->hostname);
	if (*local)
		return 0;
	rc = ar_local_domain(ar, ctx, parts->domain);
	*local = rc == 0;
	return rc == SM_E_NOTFOUND ? 0 : of_map(rc);
}

int ar_alias_members(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str mailbox,
                     struct ar_rhs *out)
{
	uint32_t flags = ar->conf->aliases.use.flags;
	char delimiter = ar->conf->address_delimiter.p[0];
	struct ar_alias_found found;
	struct ar_rhs_how how;
	struct ar_parts parts;
	struct ar_macros macros = {.tag = SM_STR("")};
	bool local;
	int rc;

	ar_parts_of(ar_address_key(ctx->a, mailbox), delimiter, &parts);
	rc = ar_alias_local(ar, ctx, &parts, &local);
	if (rc == 0)
		rc = ar_alias_find(ar, ctx, &parts, local, &found);
	if (rc != 0)
		return rc;
	ar_parts_of(mailbox, delimiter, &macros.parts);
	macros.subdomain = found.subdomain;
	how = (struct ar_rhs_how){.macros = (flags & AR_USE_REPLACE_MACROS) != 0 ? &macros : NULL,
	                          .domain = (flags & AR_USE_PRESERVE_DOMAIN) != 0 ? parts.domain
	                                                                          : ar->hostname,
	                          .max_members = (size_t)ar->conf->aliases.max_members};
	rc = ar_rhs_parse(found.rhs, &how, ctx->a, out);
	if (rc == 0)
		rc = include_all(ar, ctx, &how, &out->members);
	/* What is missing there is not "no alias". */
	return rc == SM_E_NOTFOUND ? SM_E_IO : rc;
}

int ar_alias_any(const struct ar *ar, const struct ar_ctx *ctx, struct sm_str mailbox,
                 bool (*match)(void *arg, struct sm_str member), void *arg)
{
	struct ar_ctx own = *ctx;
	struct sm_arena a;
	struct ar_rhs rhs;
	int rc;

	sm_arena_init(&a, "alias", 8192, SIZE_MAX / 8);
	own.a = &a;
	rc = ar_alias_members(ar, &own, mailbox, &rhs);
	if (rc == 0) {
		rc = SM_E_NOTFOUND;
		for (size_t i = 0; i < rhs.members.count && rc != 0; i++)
			if (match(arg, rhs.members.v[i].text))
				rc = 0;
	}
	sm_arena_fini(&a);
	return rc;
}
