/*
 * Maps: what an operator declares in the configuration ("map NAME { type = hash; ... }"), and what
 * every check, alias and route is looked up in.
 *
 * A map is opened by a driver (map_db.c, map_text.c, map_regex.c, map_passwd.c, map_socket.c,
 * map_sequence.c; map_drivers.c lists them); beyond these files nobody knows which kind it is. A
 * set is all maps of one configuration, opened together and never changed: a reload opens a new
 * set, and either the whole new one takes the place of the old one or nothing does. A decision
 * holds the set it began with.
 *
 * A map that cannot answer is a temporary failure, never "not found".
 */
#ifndef AR_MAP_H
#define AR_MAP_H

#include "libsm/arena.h"
#include "smar/lookup.h"

struct ar_map;  /* one open map */
struct ar_maps; /* a set */
struct ar_conf;
struct ar_answer;

/* Told of each key that is tried: "how did this come out?" (smarctl). `value` of n 0 with p NULL:
 * not there. `rc` as of ar_map_get. */
struct ar_trace {
	void (*tried)(void *arg, const char *map, struct sm_str key, int rc, struct sm_str value);
	/* And of each answer of DNS; `known`: it was here already. */
	void (*asked)(void *arg, struct sm_str name, uint16_t type, bool known,
	              const struct ar_answer *a);
	/* And what a decision was in the way of, that then goes into the log and is a temporary
	 * failure for whoever asked. */
	void (*failed)(void *arg, struct sm_str about, const char *why);
	void *arg;
};

/* A decision of which nothing comes (smarctl): nothing is written down, and nobody was here. */
struct ar_dry {
	struct sm_str client_name; /* as if it were confirmed; p NULL: what DNS says */
};

/*
 * What a decision is made with. Every decision runs first without may_wait, in the turn of the loop
 * that brought the request; if something has to be waited for (DNS, a socket map, passwd) it gives
 * SM_E_AGAIN, and is made once more from its beginning in a coroutine, with may_wait. So it must
 * have no side effect before its last wait.
 */
struct ar_ctx {
	struct sm_arena *a;           /* everything a decision gives lives here, or is static */
	const struct ar_trace *trace; /* NULL: nobody asks */
	const struct ar_dry *dry;     /* NULL: it is real */
	int64_t deadline_ms;          /* monotonic: of all waiting together */
	bool may_wait;
};
static inline void ar_trace_failed(const struct ar_ctx *ctx, struct sm_str about, const char *why)
{
	if (ctx->trace != NULL)
		ctx->trace->failed(ctx->trace->arg, about, why);
}

/*
 * Open every map that the configuration declares or names by file. All or nothing: on error
 * (SM_E_NOTFOUND, SM_E_SYNTAX, SM_E_CORRUPT ...) the diag tells "file:line: what" or "map NAME:
 * what", and *out is NULL. Blocks; any thread.
 */
int ar_maps_open(const struct ar_conf *conf, struct ar_maps **out) SM_MUST_CHECK;
/* A new set has one reference. Of the loop's thread. The configuration has to live longer. */
struct ar_maps *ar_maps_ref(struct ar_maps *m);
void ar_maps_unref(struct ar_maps **m); /* closes with the last one; sets NULL */
/* How the files look that a configuration names, the mailertable's included: their inodes, sizes
 * and times as one number, another one when one of them is another one. Blocks (stat); any thread.
 */
uint64_t ar_maps_look(const struct ar_conf *conf);
/* By name as declared; NULL: none. It lives as long as the set. In all of these `m` may be NULL:
 * a set without maps. */
struct ar_map *ar_maps_find(const struct ar_maps *m, struct sm_str name);
/* What the configuration's own sections use; NULL: not configured. */
struct ar_map *ar_maps_access(const struct ar_maps *m);
struct ar_map *ar_maps_aliases(const struct ar_maps *m);
struct ar_map *ar_maps_users(const struct ar_maps *m);  /* local_user_map */
struct ar_map *ar_maps_verify(const struct ar_maps *m); /* verify_recipient */
struct ar_map *ar_maps_on_demand(const struct ar_maps *m);
struct ar_map *ar_maps_server_auth(const struct ar_maps *m);
/* mailertable.name; NULL: a text file. */
struct ar_map *ar_maps_mailertable(const struct ar_maps *m);

/*
 * Look up one key, which is in lower case. 0 and *value (in ctx->a or the map's memory, valid as
 * long as both); SM_E_NOTFOUND; SM_E_EOF: not found, and no key made of the same thing will be
 * (NOMORE of socket maps); SM_E_AGAIN: only without may_wait. Anything else is a temporary failure,
 * whatever its class; the diag says why.
 */
int ar_map_get(struct ar_map *m, const struct ar_ctx *ctx, struct sm_str key,
               struct sm_str *value) SM_YIELDS SM_MUST_CHECK;
/*
 * The first key of a lookup order that is found; keys->key is that key then. As ar_map_get, but
 * never SM_E_EOF.
 */
int ar_map_find(struct ar_map *m, const struct ar_ctx *ctx, struct ar_keys *keys,
                struct sm_str *value) SM_YIELDS SM_MUST_CHECK;
/* The name it was declared with, or that of its section ("access_map"). */
const char *ar_map_name(const struct ar_map *m);

/* For logs: every map of a set, in order. Gives how many there are. */
struct ar_map_info {
	const char *name, *type;
	struct sm_str file; /* empty: none */
	size_t entries;     /* SIZE_MAX: unknown */
};
size_t ar_maps_each(const struct ar_maps *m, void (*cb)(void *arg, const struct ar_map_info *info),
                    void *arg);

#endif
