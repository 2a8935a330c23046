/*
 * Sets of maps: opening them together, finding one by its name, asking it.
 *
 * Invariant: whatever a driver gives that is neither an answer nor "not there" nor "I have to wait"
 * leaves here as a failure that names the map; it never becomes "not there". A set is made by one
 * thread, which nobody else knows of meanwhile; its references are the loop's.
 */
#include "smar/map.h"

#include <sys/stat.h>

#include "libsm/hash.h"
#include "smar/map_int.h"

struct ar_map {
	const struct ar_map_driver *driver;
	const struct ar_map_conf *conf;
	char name[AR_MAP_NAME_MAX + 1];
	bool open;
	void *handle;
	size_t entries;
};

/* Those of sections that name a file come behind the declared ones. */
enum { USES = 7 };
struct ar_maps {
	unsigned refs;
	size_t count, declared;
	struct ar_map *v;
	struct ar_map_conf uses[USES];
	struct ar_map *access, *aliases, *users, *mailertable, *verify, *on_demand, *server_auth;
};

/* ---- files ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	return sm_hash_u64(h ^ v) + 1;
}

static uint64_t look_at(uint64_t h, struct sm_str file)
{
	char path[AR_PATH_BYTES];
	struct stat st;

	if (file.n == 0)
		return h;
	if (sm_str_copy(file, path, sizeof(path)) != 0 || stat(path, &st) != 0)
		return mix(h, 0);
	h = mix(mix(mix(h, st.st_dev), st.st_ino), (uint64_t)st.st_size);
	return mix(mix(h, (uint64_t)st.st_mtim.tv_sec), (uint64_t)st.st_mtim.tv_nsec);
}

uint64_t ar_maps_look(const struct ar_conf *conf)
{
	const struct ar_map_conf *declared = conf->map.v;
	uint64_t h = 1;

	for (size_t i = 0; i < conf->map.count; i++)
		h = look_at(h, declared[i].file);
	h = look_at(look_at(h, conf->access_map.file), conf->aliases.use.file);
	h = look_at(look_at(h, conf->local_user_map.file), conf->verify.use.file);
	h = look_at(look_at(h, conf->on_demand.use.file), conf->server_auth.file);
	if (conf->mailertable.name.n == 0)
		h = look_at(h, conf->mailertable.file);
	return h;
}

/* ---- opening ---- */

static int open_map(struct ar_map *m, const struct ar_map_conf *conf)
{
	int rc = 0;

	m->conf = conf;
	m->entries = AR_ENTRIES_UNKNOWN;
	sm_str_cut(conf->where.name, m->name, sizeof(m->name));
	m->driver = ar_map_driver(ar_map_type(conf));
	if (m->driver == NULL)
		rc = sm_fail(SM_E_NOTSUP, "this build has no maps of its type");
	else
		rc = m->driver->open(conf, &m->handle, &m->entries);
	m->open = rc == 0;
	return rc != 0 ? sm_fail_in(rc, "map %s", m->name) : 0;
}

static int use_map(struct ar_maps *set, const struct ar_map_use *use, const char *section,
                   struct ar_map **out)
{
	struct ar_map_conf *conf;

	if (use->name.n > 0) {
		*out = ar_maps_find(set, use->name);
		if (*out == NULL)
			return sm_fail(SM_E_NOTFOUND, "%s.name: there is no map " SM_STR_FMT,
			               section, SM_STR_ARG(sm_str_head(use->name, 100)));
		return 0;
	}
	if (use->file.n == 0)
		return 0;
	conf = &set->uses[set->count - set->declared];
	conf->where.name = sm_str(section);
	conf->file = use->file;
	*out = &set->v[set->count++];
	return open_map(*out, conf);
}

int ar_maps_open(const struct ar_conf *conf, struct ar_maps **out)
{
	struct ar_maps *set = sm_calloc(1, sizeof(*set));
	const struct ar_map_conf *declared = conf->map.v;
	int rc = 0;

	*out = NULL;
	set->refs = 1;
	set->v = sm_calloc(conf->map.count + USES, sizeof(set->v[0]));
	for (size_t i = 0; i < conf->map.count && rc == 0; i++)
		rc = open_map(&set->v[set->count++], &declared[i]);
	set->declared = set->count;
	for (size_t i = 0; i < set->declared && rc == 0; i++) {
		struct ar_map *m = &set->v[i];

		if (m->driver->link != NULL && (rc = m->driver->link(m->handle, set)) != 0)
			(void)sm_fail_in(rc, "map %s", m->name);
	}
	if (rc == 0)
		rc = use_map(set, &conf->access_map, "access_map", &set->access);
	if (rc == 0)
		rc = use_map(set, &conf->aliases.use, "aliases", &set->aliases);
	if (rc == 0)
		rc = use_map(set, &conf->local_user_map, "local_user_map", &set->users);
	if (rc == 0 && conf->mailertable.name.n > 0)
		rc = use_map(set, &conf->mailertable, "mailertable", &set->mailertable);
	if (rc == 0)
		rc = use_map(set, &conf->verify.use, "verify_recipient", &set->verify);
	if (rc == 0)
		rc = use_map(set, &conf->on_demand.use, "on_demand", &set->on_demand);
	if (rc == 0)
		rc = use_map(set, &conf->server_auth, "server_auth", &set->server_auth);
	if (rc != 0)
		ar_maps_unref(&set);
	*out = set;
	return rc;
}

struct ar_maps *ar_maps_ref(struct ar_maps *m)
{
	m->refs++;
	return m;
}

void ar_maps_unref(struct ar_maps **mp)
{
	struct ar_maps *set = *mp;

	*mp = NULL;
	if (set == NULL || --set->refs > 0)
		return;
	for (size_t i = 0; i < set->count; i++)
		if (set->v[i].open)
			set->v[i].driver->close(set->v[i].handle);
	sm_free(set->v);
	sm_free(set);
}

/* ---- finding ---- */

struct ar_map *ar_maps_find(const struct ar_maps *set, struct sm_str name)
{
	for (size_t i = 0; set != NULL && i < set->declared; i++)
		if (sm_str_caseeq(sm_str(set->v[i].name), name))
			return &set->v[i];
	return NULL;
}

struct ar_map *ar_maps_access(const struct ar_maps *set)
{
	return set != NULL ? set->access : NULL;
}

struct ar_map *ar_maps_aliases(const struct ar_maps *set)
{
	return set != NULL ? set->aliases : NULL;
}

struct ar_map *ar_maps_users(const struct ar_maps *set)
{
	return set != NULL ? set->users : NULL;
}

struct ar_map *ar_maps_mailertable(const struct ar_maps *set)
{
	return set != NULL ? set->mailertable : NULL;
}

struct ar_map *ar_maps_verify(const struct ar_maps *set)
{
	return set != NULL ? set->verify : NULL;
}

struct ar_map *ar_maps_on_demand(const struct ar_maps *set)
{
	return set != NULL ? set->on_demand : NULL;
}

struct ar_map *ar_maps_server_auth(const struct ar_maps *set)
{
	return set != NULL ? set->server_auth : NULL;
}

const char *ar_map_name(const struct ar_map *m)
{
	return m->name;
}

size_t ar_maps_each(const struct ar_maps *set,
                    void (*cb)(void *arg, const struct ar_map_info *info), void *arg)
{
	for (size_t i = 0; set != NULL && i < set->count; i++) {
		const struct ar_map *m = &set->v[i];
		struct ar_map_info info = {
		    .name = m->name,
		    .type = m->driver->name,
		    .file = m->conf->file,
		    .entries = m->entries,
		};

		cb(arg, &info);
	}
	return set != NULL ? set->count : 0;
}

/* ---- asking ---- */

int ar_map_get(struct ar_map *m, const struct ar_ctx *ctx, struct sm_str key, struct sm_str *value)
{
	const struct ar_trace *t = ctx->trace;
	int rc;

	*value = SM_STR_NONE;
	rc = m->driver->get(m->handle, ctx, key, value);
	if (rc == SM_E_AGAIN && !ctx->may_wait)
		return rc;
	if (t != NULL)
		t->tried(t->arg, m->name, key, rc, rc == 0 ? *value : SM_STR_NONE);
	if (rc == 0 || rc == SM_E_NOTFOUND || rc == SM_E_EOF)
		return rc;
	/* Waiting is over; "again" would be taken for a wish to wait. */
	return sm_fail_in(rc == SM_E_AGAIN ? SM_E_TIMEOUT : rc, "map %s", m->name);
}

int ar_map_find(struct ar_map *m, const struct ar_ctx *ctx, struct ar_keys *keys,
                struct sm_str *value)
{
	while (ar_keys_next(keys)) {
		int rc = ar_map_get(m, ctx, keys->key, value);

		if (rc != SM_E_NOTFOUND)
			return rc == SM_E_EOF ? SM_E_NOTFOUND : rc;
	}
	return SM_E_NOTFOUND;
}
