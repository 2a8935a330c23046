/* What the configuration says about maps: "map NAME { ... }", and which section uses which. */
#ifndef AR_MAP_CONF_H
#define AR_MAP_CONF_H

#include "libsm/conf.h"

enum { AR_PATH_BYTES = 4096, AR_MAP_NAME_MAX = 63, AR_MAPS_MAX = 100 };

enum ar_map_type {
	AR_MAP_NONE, /* not said: by the end of the file's name */
	AR_MAP_HASH,
	AR_MAP_LMDB,
	AR_MAP_CDB,
	AR_MAP_TEXT,
	AR_MAP_INLINE,
	AR_MAP_REGEX,
	AR_MAP_PASSWD,
	AR_MAP_SOCKET,
	AR_MAP_SEQUENCE
};

struct ar_map_conf {
	struct sm_conf_where where; /* the map's name */
	int type;                   /* enum ar_map_type */
	struct sm_str file;
	struct sm_str mapname, path, address; /* socket */
	int64_t port;
	struct sm_conf_list maps;    /* sequence */
	struct sm_conf_list entries; /* inline */
};

enum ar_use_flags {
	AR_USE_LOCALPART = 1,
	AR_USE_LOCAL_DOMAINS = 2,
	AR_USE_ALL_DOMAINS = 4,
	AR_USE_IMPLICIT_DETAIL = 8,
	AR_USE_REPLACE_MACROS = 16,
	AR_USE_PRESERVE_DOMAIN = 32
};
/* A section that uses a map: either a declared one by its name, or a file. */
struct ar_map_use {
	struct sm_str file, name;
	uint32_t flags; /* AR_USE_*: aliases, local_user_map */
};
/* The section aliases. */
struct ar_aliases_conf {
	struct ar_map_use use; /* first: it is bound as such */
	struct sm_str include_directory;
	int64_t max_members, max_list_bytes, max_levels;
};
/* What becomes of a recipient when its next hop does not say whether it knows it. */
enum ar_on_failure { AR_VERIFY_450, AR_VERIFY_ACCEPT };
/* The section verify_recipient. */
struct ar_verify_conf {
	struct ar_map_use use; /* first: it is bound as such */
	struct sm_conf_list domains;
	int on_failure; /* enum ar_on_failure */
};
/* The section on_demand. */
struct ar_demand_conf {
	struct ar_map_use use; /* first: it is bound as such */
	struct sm_conf_list domains;
	int deliver; /* enum sm_wait */
};
static inline bool ar_map_used(const struct ar_map_use *u)
{
	return u->file.n > 0 || u->name.n > 0;
}

/* Its type, if need be by the end of its file's name. */
enum ar_map_type ar_map_type(const struct ar_map_conf *m);

extern const struct sm_opt ar_map_opts[];     /* map NAME */
extern const struct sm_opt ar_access_opts[];  /* of struct ar_map_use: access_map */
extern const struct sm_opt ar_aliases_opts[]; /* of struct ar_aliases_conf */
extern const struct sm_opt ar_users_opts[];   /* local_user_map */
extern const struct sm_opt ar_mailertable_opts[];
extern const struct sm_opt ar_server_auth_opts[]; /* server_auth */
extern const struct sm_opt ar_verify_opts[];      /* of struct ar_verify_conf: verify_recipient */
extern const struct sm_opt ar_demand_opts[];      /* of struct ar_demand_conf: on_demand */

/* What the tables cannot say: SM_E_SYNTAX with diag, "line N: ..." where there is a line. */
struct ar_conf;
int ar_map_conf_check(const struct ar_conf *conf) SM_MUST_CHECK;

#endif
