/*
 * Routes, lookups, DNS and figures for an operator. What is asked for goes through the functions
 * that live mail goes through; what they look up is told by the trace (control.c). Coroutine.
 */
#include "smar/control.h"

#include "libsm/addr.h"
#include "libsm/err.h"
#include "libsm/msg_words.h"
#include "libsm/time.h"
#include "libsm/utf8.h"
#include "smar/access.h"
#include "smar/alias.h"
#include "smar/ask.h"
#include "smar/greylist.h"
#include "smar/handlers.h"
#include "smar/reload.h"
#include "smar/resolve.h"
#include "smar/reverse.h"

enum { SCHEMA = 1, RELOAD_MS = 60 * 1000 };

/* ---- route ---- */

static void put_hosts(struct sm_buf *b, const struct sm_msg_route *r)
{
	char text[SM_SA_TEXT];

	sm_ctl_array(b, "hosts");
	for (uint32_t i = 0; i < r->hosts_count; i++) {
		const struct sm_msg_host *h = &r->hosts[i];

		sm_ctl_open(b);
		sm_ctl_str(b, "name", h->name);
		sm_ctl_str(b, "address", sm_str(h->sa.len > 0 ? sm_sa_text(&h->sa, text) : ""));
		sm_ctl_num(b, "preference", h->pref);
		sm_ctl_close(b);
	}
	sm_ctl_array_end(b);
}

static void put_members(struct sm_buf *b, const struct sm_msg_route *r)
{
	for (uint32_t i = 0; i < r->aliases_count; i++) {
		const struct sm_msg_alias_item *m = &r->aliases[i];

		sm_ctl_begin(b, "member");
		sm_ctl_str(b, "rcpt", m->addr);
		sm_ctl_str(b, "sender", m->sender);
		sm_ctl_bool(b, "final", (m->flags & SM_ALIAS_FINAL) != 0);
		sm_ctl_bool(b, "list", (m->flags & SM_ALIAS_LIST) != 0);
		sm_ctl_line(b);
	}
}

static uint8_t put_route(struct ar_ctl *c, const struct sm_msg_route *r)
{
	static const struct {
		const char *word;
		uint8_t status;
	} results[] = {
	    [SM_ROUTE_OK] = {"ok", SM_CTL_OK},
	    [SM_ROUTE_TEMP] = {"failed", SM_CTL_LATER},
	    [SM_ROUTE_PERM] = {"refused", SM_CTL_NOTHING},
	    [SM_ROUTE_ALIAS] = {"alias", SM_CTL_OK},
	};

	sm_ctl_begin(&c->out, "route");
	sm_ctl_str(&c->out, "rcpt", c->words.word[0]);
	sm_ctl_str(&c->out, "result", sm_str(results[r->status].word));
	if (r->status == SM_ROUTE_TEMP || r->status == SM_ROUTE_PERM) {
		sm_ctl_num(&c->out, "code", r->code);
		sm_ctl_str(&c->out, "text", r->text);
	}
	if (r->status == SM_ROUTE_OK) {
		sm_ctl_str(&c->out, "agent", sm_str(sm_word_of(sm_agent_words, r->agent)));
		sm_ctl_str(&c->out, "key", r->key);
		put_hosts(&c->out, r);
	}
	if (r->ways > 1) {
		sm_ctl_num(&c->out, "way", r->way + 1);
		sm_ctl_num(&c->out, "ways", r->ways);
		sm_ctl_bool(&c->out, "other_way", r->other_way != 0);
	}
	sm_ctl_str(&c->out, "waits_for", sm_str(sm_word_of(sm_wait_words, r->wait)));
	sm_ctl_num(&c->out, "ttl_s", r->ttl_s);
	sm_ctl_line(&c->out);
	return results[r->status].status;
}

uint8_t ar_ctl_route(struct ar_ctl *c, const char **why)
{
	struct sm_msg_route_get m = {/* Where it will go when it does not wait any more. */
	                             .rcpt = c->words.word[0], .sender = c->words.from,
	                             .flags = SM_ROUTE_RUN,    .after = SM_STR(""),
	                             .rcpts = c->words.rcpts,  .size = c->words.bytes};
	uint8_t status = SM_CTL_OK;
	bool first = true;

	if (c->words.again)
		m.flags |= SM_ROUTE_AGAIN;
	/* Members of a list come in chunks. */
	for (;;) {
		struct sm_msg_route r;
		int rc;

		sm_arena_reset(&c->scratch);
		/* Who reads slowly does not make it late. */
		c->ctx.deadline_ms = sm_now_ms() + 2 * c->ar.dns_timeout_ms;
		rc = ar_resolve(&c->ar, &c->ctx, &m, &r);
		if (rc != 0) {
			*why = sm_strerr(rc);
			return SM_CTL_LATER;
		}
		if (first || r.status != SM_ROUTE_ALIAS)
			status = put_route(c, &r);
		first = false;
		if (r.status != SM_ROUTE_ALIAS)
			return status;
		put_members(&c->out, &r);
		if (!r.more || r.aliases_count == 0 || sm_co_cancelled())
			return status;
		m.after = sm_arena_str(&c->arena, r.aliases[r.aliases_count - 1].addr);
		ar_ctl_flush(c);
	}
}

/* ---- lookup ---- */

/* What a section uses has a name as well; NULL: there is no such map. */
static struct ar_map *map_of(const struct ar *ar, struct sm_str name)
{
	struct ar_map *declared = ar_maps_find(ar->maps, name);

	if (declared != NULL)
		return declared;
	if (sm_str_caseeq(name, SM_STR("access_map")))
		return ar_maps_access(ar->maps);
	if (sm_str_caseeq(name, SM_STR("aliases")))
		return ar_maps_aliases(ar->maps);
	if (sm_str_caseeq(name, SM_STR("local_user_map")))
		return ar_maps_users(ar->maps);
	if (sm_str_caseeq(name, SM_STR("mailertable")))
		return ar_maps_mailertable(ar->maps);
	if (sm_str_caseeq(name, SM_STR("verify_recipient")))
		return ar_maps_verify(ar->maps);
	if (sm_str_caseeq(name, SM_STR("on_demand")))
		return ar_maps_on_demand(ar->maps);
	return NULL;
}

/* Is it asked about domains, and at last about "."? */
static bool of_domains(struct sm_str name)
{
	return sm_str_caseeq(name, SM_STR("mailertable")) ||
	       sm_str_caseeq(name, SM_STR("verify_recipient")) ||
	       sm_str_caseeq(name, SM_STR("on_demand"));
}

/* As what a key is taken when nobody says. */
static enum ar_ctl_as guess(struct sm_str name, struct sm_str key)
{
	struct sm_sa sa;

	if (sm_str_chr(key, '@') >= 0)
		return AR_AS_ADDRESS;
	if (sm_sa_ip(&sa, key, 0) == 0)
		return AR_AS_IP;
	if (of_domains(name))
		return AR_AS_DOMAIN;
	if (sm_str_caseeq(name, SM_STR("aliases")) || sm_str_caseeq(name, SM_STR("local_user_map")))
		return AR_AS_ADDRESS;
	return AR_AS_WORD;
}

/* The keys of an address in a map of aliases or users, for an address of a local domain. */
static unsigned flags_of_use(uint32_t use)
{
	bool full = (use & (AR_USE_LOCAL_DOMAINS | AR_USE_ALL_DOMAINS)) != 0;
	bool word = (use & AR_USE_LOCALPART) != 0 || !full;
	unsigned flags = (use & AR_USE_IMPLICIT_DETAIL) != 0 ? AR_KEYS_IMPLICIT_DETAIL : 0U;

	if (word)
		flags |= full ? AR_KEYS_LOCALPART : AR_KEYS_LOCALPART_ONLY;
	return flags;
}

/* The order that the map's users have. */
static unsigned flags_of(const struct ar *ar, struct sm_str name, enum ar_ctl_as as,
                         struct sm_str tag)
{
	if (as == AR_AS_DOMAIN)
		return of_domains(name) ? AR_KEYS_DEFAULT : 0;
	if (as != AR_AS_ADDRESS)
		return 0;
	if (sm_str_caseeq(name, SM_STR("aliases")))
		return flags_of_use(ar->conf->aliases.use.flags);
	if (sm_str_caseeq(name, SM_STR("local_user_map")))
		return flags_of_use(ar->conf->local_user_map.flags);
	if (sm_str_eq(tag, SM_STR("protectedrcpt:")))
		return AR_KEYS_LOCALPART | AR_KEYS_IMPLICIT_DETAIL;
	return AR_KEYS_LOCALPART;
}

/* False: the key is none of that kind. */
static bool keys_of(struct ar_ctl *c, struct sm_str key, enum ar_ctl_as as, struct ar_keys *out)
{
	unsigned flags = flags_of(&c->ar, c->words.word[0], as, c->words.tag);
	struct ar_parts parts;
	struct sm_sa sa;

	switch (as) {
	case AR_AS_DOMAIN:
		ar_keys_domain(out, c->words.tag, key, flags);
		return true;
	case AR_AS_IP:
		if (sm_sa_ip(&sa, key, 0) != 0)
			return false;
		ar_keys_ip(out, c->words.tag, &sa, flags);
		return true;
	case AR_AS_ADDRESS:
		ar_parts_of(key, c->ar.conf->address_delimiter.p[0], &parts);
		ar_keys_address(out, c->words.tag, &parts, flags);
		return true;
	case AR_AS_WORD:
	case AR_AS_ANY:
		break;
	}
	ar_keys_word(out, c->words.tag, key);
	return true;
}

static int look_up(struct ar_ctl *c, struct ar_map *map, struct ar_keys *keys)
{
	const struct ar_mt_entry *e;
	struct sm_str value;
	int rc;

	if (map != NULL)
		return ar_map_find(map, &c->ctx, keys, &value);
	/* The mailertable's file. */
	rc = ar_mt_lookup(&c->ar, &c->ctx, keys->parts.domain, &e);
	return rc == 0 && e == NULL ? SM_E_NOTFOUND : rc;
}

uint8_t ar_ctl_lookup(struct ar_ctl *c, const char **why)
{
	struct sm_str name = c->words.word[0], key = sm_arena_lower(&c->arena, c->words.word[1]);
	struct ar_map *map = map_of(&c->ar, name);
	enum ar_ctl_as as = c->words.as;
	struct ar_keys keys;
	int rc;

	if (as == AR_AS_ANY)
		as = guess(name, key);
	if (map == NULL && !(sm_str_caseeq(name, SM_STR("mailertable")) && c->ar.mt != NULL)) {
		*why = "there is no such map; status lists them";
		return SM_CTL_USAGE;
	}
	if (map == NULL && (as != AR_AS_DOMAIN || c->words.tag.n > 0)) {
		*why = "the mailertable is asked for domains, without a tag";
		return SM_CTL_USAGE;
	}
	if (!keys_of(c, key, as, &keys)) {
		*why = "that is no address of a host";
		return SM_CTL_USAGE;
	}
	c->keeps_found = true;
	rc = look_up(c, map, &keys);
	if (rc == SM_E_NOTFOUND)
		return SM_CTL_NOTHING;
	if (rc != 0) {
		*why = sm_diag();
		return SM_CTL_LATER;
	}
	sm_ctl_begin(&c->out, "found");
	sm_ctl_str(&c->out, "map", c->found_map);
	sm_ctl_str(&c->out, "key", c->found_key);
	sm_ctl_str(&c->out, "value", c->found_value);
	sm_ctl_line(&c->out);
	return SM_CTL_OK;
}

/* ---- dns ---- */

static const struct {
	struct sm_str name;
	uint16_t type;
} types[] = {
    {SM_STR("mx"), AR_DNS_MX},
    {SM_STR("a"), AR_DNS_A},
    {SM_STR("aaaa"), AR_DNS_AAAA},
    {SM_STR("ptr"), AR_DNS_PTR},
};
enum { ASKED_FOR_NAMES = 3 }; /* without a type: the first ones */

static uint8_t dns_result(const struct ar_answer *a)
{
	return a->status == AR_DNS_OK     ? SM_CTL_OK
	       : a->status == AR_DNS_TEMP ? SM_CTL_LATER
	                                  : SM_CTL_NOTHING;
}

static uint8_t ask_one(struct ar_ctl *c, struct sm_str name, uint16_t type)
{
	struct ar_answer *a = ar_ask(&c->ctx, name, type);
	uint8_t status = dns_result(a);

	ar_answer_put(&a);
	return status;
}

/* Something was found; else something had no answer; else there is nothing. */
static uint8_t ask_all(struct ar_ctl *c, struct sm_str name)
{
	uint8_t status = SM_CTL_NOTHING;

	for (size_t i = 0; i < ASKED_FOR_NAMES; i++) {
		uint8_t one = ask_one(c, name, types[i].type);

		if (one == SM_CTL_OK || (one == SM_CTL_LATER && status == SM_CTL_NOTHING))
			status = one;
	}
	return status;
}

uint8_t ar_ctl_dns(struct ar_ctl *c, const char **why)
{
	struct sm_str name = sm_arena_lower(&c->arena, c->words.word[0]);
	struct sm_str wanted =
	    sm_arena_lower(&c->arena, c->words.count > 1 ? c->words.word[1] : SM_STR(""));
	char reverse[AR_DNS_NAME_MAX + 1];
	struct sm_sa sa;

	if (name.n > 1 && name.p[name.n - 1] == '.')
		name.n--;
	if (wanted.n == 0 && sm_sa_ip(&sa, name, 0) == 0 &&
	    ar_reverse_name(&sa, SM_STR("in-addr.arpa"), SM_STR("ip6.arpa"), reverse))
		return ask_one(c, sm_str(reverse), AR_DNS_PTR);
	if (!sm_domain_valid_utf8(name, true) || sm_domain_ascii_in(&c->arena, name, &name) != 0) {
		*why = "that is no name of a domain or host";
		return SM_CTL_USAGE;
	}
	if (wanted.n == 0)
		return ask_all(c, name);
	for (size_t i = 0; i < SM_ARRAY_SIZE(types); i++)
		if (sm_str_eq(types[i].name, wanted))
			return ask_one(c, name, types[i].type);
	*why = "types are MX, A, AAAA and PTR";
	return SM_CTL_USAGE;
}

/* ---- status, reload ---- */

static void put_map(void *arg, const struct ar_map_info *info)
{
	struct ar_ctl *c = arg;

	sm_ctl_begin(&c->out, "map");
	sm_ctl_str(&c->out, "name", sm_str(info->name));
	sm_ctl_str(&c->out, "kind", sm_str(info->type));
	sm_ctl_str(&c->out, "file", info->file.p != NULL ? info->file : SM_STR(""));
	if (info->entries == SIZE_MAX)
		sm_ctl_null(&c->out, "entries");
	else
		sm_ctl_num(&c->out, "entries", (int64_t)info->entries);
	sm_ctl_line(&c->out);
}

static void put_maps(struct ar_ctl *c)
{
	(void)ar_maps_each(c->ar.maps, put_map, c);
	if (c->ar.mt == NULL)
		return;
	put_map(c, &(struct ar_map_info){.name = "mailertable",
	                                 .type = "routes",
	                                 .file = c->ar.conf->mailertable.file,
	                                 .entries = c->ar.mt->by_domain.count});
}

static void put_greylist(struct ar_ctl *c)
{
	struct ar_greylist_stats s = ar_greylist_stats(c->ar.grey);

	sm_ctl_begin(&c->out, "greylist");
	sm_ctl_bool(&c->out, "usable", s.usable);
	sm_ctl_num(&c->out, "entries", (int64_t)s.entries);
	sm_ctl_num(&c->out, "refused", (int64_t)s.refused);
	sm_ctl_num(&c->out, "confirmed", (int64_t)s.confirmed);
	sm_ctl_num(&c->out, "accepted", (int64_t)s.accepted);
	sm_ctl_num(&c->out, "unchecked", (int64_t)s.unchecked);
	sm_ctl_line(&c->out);
}

uint8_t ar_ctl_status(struct ar_ctl *c, const char **why SM_UNUSED)
{
	struct ar_cache_stats s = ar_cache_stats();
	const struct {
		const char *key;
		uint64_t n;
	} figures[] = {
	    {"schema", SCHEMA},
	    {"uptime_s", (uint64_t)(sm_loop_now_ms() - ar_control_since_ms()) / 1000},
	    {"waiting_requests", ar_handlers_waiting(c->handlers)},
	    {"dns_questions", s.queries},
	    {"dns_asked", s.asked},
	    {"cache_entries", s.entries},
	    {"cache_bytes", s.bytes},
	    {"cache_hits", s.hits},
	    {"cache_misses", s.misses},
	    {"reloads_refused", ar_reload_refused()},
	};

	sm_ctl_begin(&c->out, "status");
	for (size_t i = 0; i < SM_ARRAY_SIZE(figures); i++)
		sm_ctl_num(&c->out, figures[i].key, (int64_t)figures[i].n);
	sm_ctl_line(&c->out);
	put_maps(c);
	if (c->ar.grey != NULL)
		put_greylist(c);
	return SM_CTL_OK;
}

uint8_t ar_ctl_reload(struct ar_ctl *c, const char **why)
{
	int rc = ar_reload_wait(sm_now_ms() + RELOAD_MS);

	if (rc != 0) {
		*why = sm_diag();
		return rc == SM_E_TIMEOUT || rc == SM_E_CANCEL ? SM_CTL_LATER : SM_CTL_NOTHING;
	}
	/* What this request held is the former set. */
	ar_release(&c->ar);
	c->ar = ar_hold(ar_control_now());
	put_maps(c);
	return SM_CTL_OK;
}
