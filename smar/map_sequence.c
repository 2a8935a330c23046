/*
 * Maps of type sequence: others, one after the other; the first that has the key wins. One that
 * cannot answer ends it: what stands behind it might say something else. Loops are refused with
 * the configuration (map_conf.c). Thread: the loop's.
 */
#include "smar/map_int.h"

struct sequence {
	const struct ar_map_conf *conf;
	size_t count;
	struct ar_map *members[];
};

static int open_sequence(const struct ar_map_conf *conf, void **handle, size_t *entries SM_UNUSED)
{
	struct sequence *s = sm_calloc(1, sizeof(*s) + conf->maps.count * sizeof(s->members[0]));

	s->conf = conf;
	*handle = s;
	return 0;
}

static int link_members(void *handle, const struct ar_maps *set)
{
	struct sequence *s = handle;

	for (size_t i = 0; i < s->conf->maps.count; i++) {
		struct ar_map *m = ar_maps_find(set, s->conf->maps.v[i]);

		if (m == NULL)
			return sm_fail(SM_E_NOTFOUND, "there is no map " SM_STR_FMT,
			               SM_STR_ARG(sm_str_head(s->conf->maps.v[i], 100)));
		s->members[s->count++] = m;
	}
	return 0;
}

static int get(void *handle, const struct ar_ctx *ctx, struct sm_str key, struct sm_str *value)
{
	const struct sequence *s = handle;

	for (size_t i = 0; i < s->count; i++) {
		int rc = ar_map_get(s->members[i], ctx, key, value);

		if (rc != SM_E_NOTFOUND)
			return rc;
	}
	return SM_E_NOTFOUND;
}

static void close_sequence(void *handle)
{
	sm_free(handle);
}

const struct ar_map_driver ar_map_sequence = {
    .type = AR_MAP_SEQUENCE,
    .name = "sequence",
    .open = open_sequence,
    .link = link_members,
    .get = get,
    .close = close_sequence,
};
