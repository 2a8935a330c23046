/* The options of maps and of the sections that use them, and what a table cannot say. Pure. */
#include "smar/conf.h"

#include "libsm/msg.h"
#include "libsm/net.h"

enum { SEQUENCE_DEPTH_MAX = 8 };

#define MAP(m)     offsetof(struct ar_map_conf, m)
#define USE(m)     offsetof(struct ar_map_use, m)
#define ALIASES(m) offsetof(struct ar_aliases_conf, m)
#define VERIFY(m)  offsetof(struct ar_verify_conf, m)
#define DEMAND(m)  offsetof(struct ar_demand_conf, m)

/* clang-format off */
static const struct sm_word type_words[] = {
    {"auto", AR_MAP_NONE, "by the end of the file's name: .db hash, .mdb lmdb, .cdb cdb, anything else text"},
    {"hash", AR_MAP_HASH, "Berkeley DB (hash or btree) as createmap makes it"},
    {"lmdb", AR_MAP_LMDB, "LMDB as createmap makes it"},
    {"cdb", AR_MAP_CDB, "constant database as createmap makes it"},
    {"text", AR_MAP_TEXT, "the source of a map, read into memory"},
    {"inline", AR_MAP_INLINE, "entries that stand here"},
    {"regex", AR_MAP_REGEX, "regular expressions, first match wins"},
    {"passwd", AR_MAP_PASSWD, "users of the system"},
    {"socket", AR_MAP_SOCKET, "a server that speaks the socketmap protocol"},
    {"sequence", AR_MAP_SEQUENCE, "other maps one after the other"},
    {0},
};

const struct sm_opt ar_map_opts[] = {
    {.name = "type", .type = SM_OPT_ENUM, .offset = MAP(type), .def = "auto", .words = type_words, .reload = true,
     .help = "what kind of map it is"},
    {.name = "file", .type = SM_OPT_PATH, .offset = MAP(file), .def = "", .max = 4000, .reload = true,
     .help = "the file, with its extension (hash, lmdb, cdb, text, regex)",
     .man = "It may be replaced at any time, best by a rename as createmap does: smar takes the new one without a restart, "
            "and keeps the old one if the new one is broken."},
    {.name = "mapname", .type = SM_OPT_STR, .offset = MAP(mapname), .def = "", .max = 200, .reload = true,
     .help = "name of the map in the protocol (socket)"},
    {.name = "path", .type = SM_OPT_PATH, .offset = MAP(path), .def = "", .max = 100, .reload = true,
     .help = "Unix socket of the server (socket)"},
    {.name = "address", .type = SM_OPT_STR, .offset = MAP(address), .def = "", .max = 64, .reload = true,
     .help = "IP address of the server (socket)"},
    {.name = "port", .type = SM_OPT_INT, .offset = MAP(port), .def = "0", .max = 65535, .reload = true,
     .help = "TCP port of the server (socket)"},
    {.name = "maps", .type = SM_OPT_LIST, .offset = MAP(maps), .def = "", .max = 32, .reload = true,
     .help = "names of maps (sequence)",
     .man = "The first one that has the key wins. One that fails makes the result a temporary failure: the ones behind it are not "
            "asked."},
    {.name = "entries", .type = SM_OPT_LIST, .offset = MAP(entries), .def = "", .max = 10000, .reload = true,
     .help = "strings \"key value\" (inline)"},
    SM_OPT_END,
};

#define USE_NAME \
    {.name = "name", .type = SM_OPT_STR, .offset = USE(name), .def = "", .max = 100, .reload = true, \
     .help = "name of a declared map"}
#define USE_FILE(text) \
    {.name = "file", .type = SM_OPT_PATH, .offset = USE(file), .def = "", .max = 4000, .reload = true, \
     .help = "file of the map, with its extension", .man = text}

const struct sm_opt ar_access_opts[] = {
    USE_FILE("Instead of name. The extension says which type it is, as for map.type = auto."),
    USE_NAME,
    SM_OPT_END,
};

static const struct sm_word alias_words[] = {
    {"localpart", AR_USE_LOCALPART, "keys are local parts, looked up for local domains (the default)"},
    {"local_domains", AR_USE_LOCAL_DOMAINS, "keys are full addresses, looked up for local domains"},
    {"all_domains", AR_USE_ALL_DOMAINS, "keys are full addresses, looked up for any domain"},
    {"implicitly_match_detail", AR_USE_IMPLICIT_DETAIL, "user matches user+detail, too"},
    {"replace_macros", AR_USE_REPLACE_MACROS, "replace ${user} and other macros in values"},
    {"preserve_domain", AR_USE_PRESERVE_DOMAIN, "an address without domain gets that of the alias, not the hostname"},
    {0},
};
const struct sm_opt ar_aliases_opts[] = {
    USE_FILE("Instead of name. The extension says which type it is, as for map.type = auto."),
    USE_NAME,
    {.name = "flags", .type = SM_OPT_FLAGS, .offset = USE(flags), .def = "", .words = alias_words, .reload = true,
     .help = "how it is looked up"},
    {.name = "include_directory", .type = SM_OPT_PATH, .offset = ALIASES(include_directory), .def = "", .max = 4000,
     .help = "where the files of :include:NAME are; none: nothing can be included",
     .man = "Neither it nor anything below may be written to by others than owner and group, and nothing below may be a symbolic "
            "link. A list is read each time that mail comes for it."},
    {.name = "max_list_size", .type = SM_OPT_SIZE, .offset = ALIASES(max_list_bytes), .def = "4M", .min = 100, .max = 256 << 20,
     .reload = true, .help = "size of an included list", .man = "For a larger one mail is deferred."},
    {.name = "max_members", .type = SM_OPT_INT, .offset = ALIASES(max_members), .def = "10000", .min = 1, .max = 1000000,
     .reload = true, .help = "addresses that one alias may lead to, with all aliases and lists in it",
     .man = "Mail for an alias with more is deferred with 452 4.5.3: raise the limit, and it goes out."},
    {.name = "max_levels", .type = SM_OPT_INT, .offset = ALIASES(max_levels), .def = "5", .min = 1, .max = 10,
     .reload = true, .help = "how deep aliases may be nested; beyond that mail is refused with 550 5.4.6"},
    SM_OPT_END,
};

static const struct sm_word user_words[] = {
    {"localpart", AR_USE_LOCALPART, "keys are local parts (the default)"},
    {"local_domains", AR_USE_LOCAL_DOMAINS, "keys are full addresses"},
    {"implicitly_match_detail", AR_USE_IMPLICIT_DETAIL, "user matches user+detail, too"},
    {0},
};
const struct sm_opt ar_users_opts[] = {
    USE_NAME,
    {.name = "flags", .type = SM_OPT_FLAGS, .offset = USE(flags), .def = "", .words = user_words, .reload = true,
     .help = "how it is looked up"},
    SM_OPT_END,
};

const struct sm_opt ar_mailertable_opts[] = {
    {.name = "file", .type = SM_OPT_PATH, .offset = USE(file),
     .def = "mt", .unit = "etc", .min = 1, .max = 4000, .reload = true,
     .help = "text file that says which domains do not go where DNS says",
     .man = "The file must exist; it may be empty. A changed file is read again; if it has an error, the table stays as it is."},
    {.name = "name", .type = SM_OPT_STR, .offset = USE(name), .def = "", .max = 100, .reload = true,
     .help = "name of a declared map that is used instead of file",
     .man = "Keys and values are the left and right hand sides of the file. A value with an error makes routes of its domain fail for "
            "now, and is logged."},
    SM_OPT_END,
};

const struct sm_opt ar_server_auth_opts[] = {
    USE_FILE("It has secrets, so only smar's user may be able to read it. Keys are the names of servers, \".domain\" for all below it, or "
             "addresses; values are in the configuration language: user = joe; password = \"...\";"),
    USE_NAME,
    SM_OPT_END,
};

static const struct sm_word failure_words[] = {
    {"450", AR_VERIFY_450, "refuse the recipient for now"},
    {"accept", AR_VERIFY_ACCEPT, "accept the recipient"},
    {0},
};
const struct sm_opt ar_verify_opts[] = {
    {.name = "domains", .type = SM_OPT_LIST, .offset = VERIFY(domains), .def = "", .max = 1000, .reload = true,
     .help = "domains whose recipients are verified; \".domain\" means all below it, \".\" all"},
    USE_FILE("A map whose keys are domains, instead of the list domains, or beside it. Its values are accept or 450 (as on_failure), "
             "default, or no: not to be verified."),
    USE_NAME,
    {.name = "on_failure", .type = SM_OPT_ENUM, .offset = VERIFY(on_failure), .def = "450", .words = failure_words, .reload = true,
     .help = "what to do with a recipient when it cannot be told whether it is known",
     .man = "The next hop is away, busy, or does not say. With accept mail is taken and queued, and fails later if the recipient "
            "does not exist; with 450 the client comes again."},
    SM_OPT_END,
};

static const struct sm_word demand_words[] = {
    {"queue", SM_WAIT_RUN, "until the next queue run"},
    {"hold", SM_WAIT_ASKED, "until it is asked for: qmgrctl run DOMAIN, or ETRN"},
    {0},
};
const struct sm_opt ar_demand_opts[] = {
    {.name = "domains", .type = SM_OPT_LIST, .offset = DEMAND(domains), .def = "", .max = 1000, .reload = true,
     .help = "domains whose mail waits; \".domain\" means all below it, \".\" all that are not local",
     .man = "Mail for them is taken from everybody, as with to:DOMAIN relay in the access map. \".\" gives nobody that right."},
    USE_FILE("A map whose keys are domains, instead of the list domains, or beside it. Its values are queue, hold, default (as "
             "deliver), or no: it does not wait. A changed file counts for mail that waits already, too."),
    USE_NAME,
    {.name = "deliver", .type = SM_OPT_ENUM, .offset = DEMAND(deliver), .def = "hold", .words = demand_words, .reload = true,
     .help = "how long mail for the domains waits"},
    SM_OPT_END,
};
/* clang-format on */

/* ---- types ---- */

static const struct kind {
	enum ar_map_type type;
	const char *extension;
	const char *needs[3];
} kinds[] = {
    {AR_MAP_HASH, ".db", {"file"}},     {AR_MAP_LMDB, ".mdb", {"file"}},
    {AR_MAP_CDB, ".cdb", {"file"}},     {AR_MAP_INLINE, NULL, {"entries"}},
    {AR_MAP_REGEX, NULL, {"file"}},     {AR_MAP_PASSWD, NULL, {NULL}},
    {AR_MAP_SOCKET, NULL, {"mapname"}}, {AR_MAP_SEQUENCE, NULL, {"maps"}},
    {AR_MAP_TEXT, "", {"file"}},
};

static const struct kind *kind_of(enum ar_map_type type)
{
	const struct kind *k = kinds;

	while (k->type != type)
		k++;
	return k;
}

enum ar_map_type ar_map_type(const struct ar_map_conf *m)
{
	const struct kind *k = kinds;

	if (m->type != AR_MAP_NONE)
		return (enum ar_map_type)m->type;
	while (k->extension == NULL || !sm_str_has_casesuffix(m->file, sm_str(k->extension)))
		k++;
	return k->type;
}

/* ---- what a table cannot say ---- */

static const struct ar_map_conf *find(const struct ar_conf *conf, struct sm_str name)
{
	const struct ar_map_conf *v = conf->map.v;

	for (size_t i = 0; i < conf->map.count; i++)
		if (sm_str_caseeq(v[i].where.name, name))
			return &v[i];
	return NULL;
}

static int fail_at(const struct ar_map_conf *m, const char *what, struct sm_str arg)
{
	return sm_fail(SM_E_SYNTAX, "%s:%d: map " SM_STR_FMT ": %s" SM_STR_FMT,
	               m->where.path != NULL ? m->where.path : "", m->where.line,
	               SM_STR_ARG(sm_str_head(m->where.name, 100)), what,
	               SM_STR_ARG(sm_str_head(arg, 100)));
}

static bool has(const struct ar_map_conf *m, const char *option)
{
	const struct sm_opt *o = ar_map_opts;

	while (strcmp(o->name, option) != 0)
		o++;
	if (o->type == SM_OPT_LIST)
		return ((const struct sm_conf_list *)((const char *)m + o->offset))->count > 0;
	return ((const struct sm_str *)((const char *)m + o->offset))->n > 0;
}

/* Members exist, and none leads back to where it began. */
static int check_members(const struct ar_conf *conf, const struct ar_map_conf *m, int depth)
{
	if (depth > SEQUENCE_DEPTH_MAX)
		return fail_at(m, "sequences lead in a circle, or are nested too deep", SM_STR(""));
	for (size_t i = 0; i < m->maps.count; i++) {
		const struct ar_map_conf *member = find(conf, m->maps.v[i]);
		int rc;

		if (member == NULL)
			return fail_at(m, "there is no map ", m->maps.v[i]);
		if (member->type != AR_MAP_SEQUENCE)
			continue;
		rc = check_members(conf, member, depth + 1);
		if (rc != 0)
			return rc;
	}
	return 0;
}

static int check_socket(const struct ar_map_conf *m)
{
	struct sm_sa sa;

	if ((m->path.n > 0) == (m->address.n > 0))
		return fail_at(m, "it needs either path, or address and port", SM_STR(""));
	if (m->path.n > 0)
		return 0;
	if (sm_sa_ip(&sa, m->address, 0) != 0)
		return fail_at(m, "no IP address: ", m->address);
	return m->port == 0 ? fail_at(m, "it needs the option port", SM_STR("")) : 0;
}

static int check_map(const struct ar_conf *conf, const struct ar_map_conf *m)
{
	const struct kind *k = kind_of(ar_map_type(m));

	if (m->where.name.n == 0)
		return fail_at(m, "it needs a name", SM_STR(""));
	if (m->where.name.n > AR_MAP_NAME_MAX)
		return fail_at(m, "its name is too long", SM_STR(""));
	for (size_t i = 0; k->needs[i] != NULL; i++)
		if (!has(m, k->needs[i]))
			return fail_at(m, "it needs the option ", sm_str(k->needs[i]));
	if (m->type == AR_MAP_SOCKET)
		return check_socket(m);
	return m->type == AR_MAP_SEQUENCE ? check_members(conf, m, 1) : 0;
}

static int check_use(const struct ar_conf *conf, const struct ar_map_use *u, const char *section)
{
	if (u->name.n > 0 && u->file.n > 0)
		return sm_fail(SM_E_SYNTAX, "%s: either file or name", section);
	if (u->name.n > 0 && find(conf, u->name) == NULL)
		return sm_fail(SM_E_SYNTAX, "%s.name: there is no map " SM_STR_FMT, section,
		               SM_STR_ARG(sm_str_head(u->name, 100)));
	return 0;
}

int ar_map_conf_check(const struct ar_conf *conf)
{
	const struct ar_map_conf *v = conf->map.v;
	struct ar_map_use mailertable = conf->mailertable;
	int rc = 0;

	for (size_t i = 0; i < conf->map.count && rc == 0; i++)
		rc = check_map(conf, &v[i]);
	/* Its file has a default: the name goes before it. */
	mailertable.file = SM_STR("");
	if (rc != 0 || (rc = check_use(conf, &conf->access_map, "access_map")) != 0 ||
	    (rc = check_use(conf, &conf->aliases.use, "aliases")) != 0 ||
	    (rc = check_use(conf, &conf->local_user_map, "local_user_map")) != 0 ||
	    (rc = check_use(conf, &conf->verify.use, "verify_recipient")) != 0 ||
	    (rc = check_use(conf, &conf->on_demand.use, "on_demand")) != 0 ||
	    (rc = check_use(conf, &conf->server_auth, "server_auth")) != 0)
		return rc;
	return check_use(conf, &mailertable, "mailertable");
}
