/*
 * From a recipient to a list of addresses.
 *
 * A route is built target by target: a target is a domain (with its mail exchangers), a host, or an
 * address. What fails for one target or host is noted and passed over; only when no address is left
 * does the note become the answer. So a permanent answer needs a permanent reason for each target,
 * and one temporary failure among them makes it temporary: no DSN ever comes from a name server's
 * bad day. Thread: the loop's; coroutine when it may wait.
 */
#include "smar/route.h"

#include <stdlib.h>

#include "libsm/addr.h"
#include "libsm/buf.h"
#include "libsm/log.h"
#include "libsm/rand.h"
#include "smar/ask.h"
#include "smar/mx.h"
#include "smar/own.h"

enum {
	SMTP_PORT = 25,
	LITERAL_TTL_S = 300,
	FAILED_TTL_S = 60,
	ROUTE_HOSTS_MAX = 100,
	HOSTS_FIRST = 4, /* most routes have no more */
	KEY_MAX = 600
};

/* Why an address or a target is not in the list; the greatest that was seen tells. */
enum note {
	NOTE_NONE,
	NOTE_NO_HOST,    /* the domain does not exist, or has neither MX nor address */
	NOTE_NO_ADDRESS, /* its mail exchangers have no address */
	NOTE_NULL_MX,
	NOTE_LOOP, /* what is left is this host, or an address that is none */
	NOTE_TEMP
};

struct build {
	const struct ar *ar;
	const struct ar_ctx *ctx;
	struct sm_arena *a;
	struct sm_msg_route *out;
	bool missing; /* without may_wait: something has to be asked first */
	bool told;    /* the mailertable names this very host: it may be this one */
	uint32_t max_hosts, hosts_cap; /* at most; that there is room for */
	uint16_t port;
	enum note note;
	const char *what, *why; /* of a temporary failure */
	struct sm_str who;
	struct sm_msg_host *hosts;
};

static void note(struct build *b, enum note n)
{
	b->note = SM_MAX(b->note, n);
}

static void note_temp(struct build *b, const char *what, struct sm_str who, const char *why)
{
	if (b->note == NOTE_TEMP)
		return;
	b->note = NOTE_TEMP;
	b->what = what;
	b->who = sm_arena_str(b->a, sm_str_head(who, SM_DOMAIN_MAX));
	b->why = why;
}

/* NULL: not here yet, and it may not wait. */
static struct ar_answer *dns(struct build *b, struct sm_str name, uint16_t type)
{
	struct ar_answer *a = ar_ask(b->ctx, name, type);

	if (a == NULL)
		b->missing = true;
	else
		b->out->ttl_s = SM_MIN(b->out->ttl_s, ar_answer_ttl_s(a));
	return a;
}

/* ---- addresses ---- */

static void more_room(struct build *b)
{
	uint32_t cap = b->hosts_cap > 0 ? 2 * b->hosts_cap : HOSTS_FIRST;
	struct sm_msg_host *v = sm_arena_must(b->a, cap * sizeof(*v));

	if (b->hosts_cap > 0)
		memcpy(v, b->hosts, b->hosts_cap * sizeof(*v));
	b->hosts = v;
	b->hosts_cap = cap;
}

static void add(struct build *b, struct sm_str name, const struct sm_sa *sa, uint16_t pref)
{
	if (b->out->hosts_count == b->max_hosts)
		return;
	if (b->out->hosts_count == b->hosts_cap)
		more_room(b);
	b->hosts[b->out->hosts_count++] =
	    (struct sm_msg_host){.name = sm_arena_str(b->a, name), .sa = *sa, .pref = pref};
}

/* DNS may not send mail to this host or to nowhere. */
static bool forbidden(const struct ar *ar, const struct sm_sa *sa)
{
	return sm_sa_is_bogus(sa) || (sm_sa_is_loopback(sa) && !ar->loopback_ok);
}

static size_t families(const struct ar *ar, uint16_t types[2])
{
	switch ((enum ar_family)ar->conf->address_family) {
	case AR_FAMILY_IPV4:
		types[0] = AR_DNS_A;
		return 1;
	case AR_FAMILY_IPV6:
		types[0] = AR_DNS_AAAA;
		return 1;
	case AR_FAMILY_PREFER_IPV6:
		types[0] = AR_DNS_AAAA;
		types[1] = AR_DNS_A;
		return 2;
	case AR_FAMILY_ANY:
		if (sm_rand_below(2) != 0) {
			types[0] = AR_DNS_AAAA;
			types[1] = AR_DNS_A;
			return 2;
		}
		break;
	case AR_FAMILY_PREFER_IPV4:
		break;
	}
	types[0] = AR_DNS_A;
	types[1] = AR_DNS_AAAA;
	return 2;
}

/* Ask for the addresses of a host, so that the answers come while others are waited for. */
static void prefetch(struct build *b, struct sm_str host)
{
	uint16_t types[2];
	size_t n = families(b->ar, types);

	for (size_t i = 0; i < n; i++) {
		struct ar_answer *a = ar_cache_get(host, types[i]);

		ar_answer_put(&a);
	}
}

/* Add the addresses of a host. False: one of them is ours, or its name is. */
static bool add_host(struct build *b, struct sm_str host, uint16_t pref, enum note when_none)
{
	uint32_t before = b->out->hosts_count;
	size_t found = 0;
	uint16_t types[2];
	size_t n = families(b->ar, types);

	for (size_t i = 0; i < n; i++) {
		struct ar_answer *a = dns(b, host, types[i]);
		size_t start;

		if (a == NULL)
			continue;
		if (a->status == AR_DNS_TEMP)
			note_temp(b, types[i] == AR_DNS_A ? "A" : "AAAA", host, a->why);
		found += a->count;
		start = a->count > 0 ? sm_rand_below(a->count) : 0;
		for (size_t k = 0; k < a->count; k++) {
			struct sm_sa sa = ar_rr_sa(&a->rr[(start + k) % a->count], types[i]);

			sm_sa_set_port(&sa, b->port);
			if (!b->told && ar_own_addr(&sa)) {
				b->out->hosts_count = before;
				note(b, NOTE_LOOP);
				ar_answer_put(&a);
				return false;
			}
			if (b->told ? sm_sa_is_bogus(&sa) : forbidden(b->ar, &sa))
				note(b, NOTE_LOOP);
			else
				add(b, host, &sa, pref);
		}
		ar_answer_put(&a);
	}
	if (found == 0 && !b->missing)
		note(b, when_none);
	return true;
}

/* ---- domains ---- */

/* The sorted, usable exchangers of an answer; all strings are its. */
static size_t exchangers(struct build *b, const struct ar_answer *answer,
                         struct ar_mx v[AR_DNS_RR_MAX])
{
	size_t n = answer->count;

	for (size_t i = 0; i < n; i++)
		v[i] = (struct ar_mx){answer->rr[i].pref, answer->rr[i].name};
	if (ar_mx_is_null(v, n)) {
		note(b, NOTE_NULL_MX);
		return 0;
	}
	ar_mx_sort(v, n);
	n = ar_mx_unique(v, n);
	for (size_t i = 0; i < n; i++) {
		if (ar_own_name(v[i].name)) {
			note(b, NOTE_LOOP);
			return ar_mx_cut(v, n, v[i].pref);
		}
	}
	return n;
}

static void add_exchangers(struct build *b, const struct ar_answer *answer)
{
	uint32_t first = b->out->hosts_count;
	struct ar_mx v[AR_DNS_RR_MAX];
	size_t n = exchangers(b, answer, v);

	for (size_t i = 0; i < n && i < b->max_hosts; i++)
		prefetch(b, v[i].name);
	for (size_t i = 0; i < n && b->out->hosts_count < b->max_hosts; i++) {
		if (add_host(b, v[i].name, v[i].pref, NOTE_NO_ADDRESS))
			continue;
		/* It is this host: only better ones remain, and equal ones before it go too. */
		while (b->out->hosts_count > first &&
		       b->hosts[b->out->hosts_count - 1].pref >= v[i].pref)
			b->out->hosts_count--;
		return;
	}
}

static void add_domain(struct build *b, struct sm_str domain)
{
	struct ar_answer *a = dns(b, domain, AR_DNS_MX);

	if (a == NULL)
		return;
	switch (a->status) {
	case AR_DNS_OK:
		add_exchangers(b, a);
		break;
	case AR_DNS_NODATA:
		/* RFC 5321 5.1: the domain itself is its exchanger. */
		if (ar_own_name(domain))
			note(b, NOTE_LOOP);
		else
			(void)add_host(b, domain, 0, NOTE_NO_HOST);
		break;
	case AR_DNS_NXDOMAIN:
		note(b, NOTE_NO_HOST);
		break;
	case AR_DNS_TEMP:
	case AR_DNS_ALIAS:
		note_temp(b, "MX", domain, a->why);
		break;
	}
	ar_answer_put(&a);
}

static void add_literal(struct build *b, struct sm_str domain)
{
	struct sm_sa sa;

	b->out->ttl_s = LITERAL_TTL_S;
	if (sm_sa_ip(&sa, domain, b->port) != 0)
		note(b, NOTE_NO_HOST);
	else if (forbidden(b->ar, &sa) || ar_own_addr(&sa))
		note(b, NOTE_LOOP);
	else
		add(b, domain, &sa, 0);
}

static void add_target(struct build *b, const struct ar_way_host *h)
{
	uint32_t before = b->out->hosts_count;

	b->told = h->no_mx || b->out->agent == SM_AGENT_LMTP;
	if (h->sa.len > 0)
		add(b, h->name, &h->sa, 0);
	else if (b->told)
		(void)add_host(b, h->name, 0, NOTE_NO_HOST);
	else
		add_domain(b, h->name);
	b->told = false;
	for (uint32_t k = before; k < b->out->hosts_count; k++)
		b->hosts[k].pref = h->pref;
	if (b->note == NOTE_NO_HOST || b->note == NOTE_NO_ADDRESS || b->note == NOTE_NULL_MX)
		note_temp(b, "mailertable", h->name, "no such host");
}

/* What the mailertable names goes where it says, to this host too. */
static void add_hosts(struct build *b, const struct ar_way *w)
{
	const struct ar_way_host *order[AR_WAY_HOSTS_MAX];
	size_t from = 0;

	b->out->agent = (uint8_t)w->agent;
	b->out->ttl_s = LITERAL_TTL_S;
	b->port = w->port;
	if (w->count == 0)
		add(b, SM_STR(""), &(struct sm_sa){0}, 0);
	for (size_t i = 0; i < w->count; i++) {
		size_t k;

		order[i] = &w->hosts[i];
		if (i > 0 && w->hosts[i].pref != w->hosts[i - 1].pref)
			from = i;
		/* Equal ones change places. */
		k = from + sm_rand_below(i - from + 1);
		order[i] = order[k];
		order[k] = &w->hosts[i];
	}
	for (size_t i = 0; i < w->count; i++)
		add_target(b, order[i]);
}

/* ---- the key ---- */

static int by_name(const void *a, const void *b)
{
	return sm_str_cmp(*(const struct sm_str *)a, *(const struct sm_str *)b);
}

/*
 * Domains with the same exchangers in the same order share a transaction, so the key is made of
 * these and not of the domain: the names of each preference sorted, a "|" before each worse
 * preference. A list that is too long for that stays the domain's own.
 */
static void key_of_hosts(struct build *b)
{
	struct sm_str names[ROUTE_HOSTS_MAX];
	struct sm_buf key;

	sm_buf_init(&key, KEY_MAX);
	sm_buf_printf(&key, "smtp:%u:", b->port);
	for (size_t i = 0, n = 0; i < b->out->hosts_count; i++) {
		bool last =
		    i + 1 == b->out->hosts_count || b->hosts[i + 1].pref != b->hosts[i].pref;

		names[n++] = b->hosts[i].name;
		if (!last)
			continue;
		qsort(names, n, sizeof(names[0]), by_name);
		for (size_t k = 0; k < n; k++) {
			if (k > 0 && sm_str_eq(names[k], names[k - 1]))
				continue;
			sm_buf_printf(&key, "%s" SM_STR_FMT, k > 0 ? " " : "",
			              SM_STR_ARG(names[k]));
		}
		if (i + 1 < b->out->hosts_count)
			sm_buf_char(&key, '|');
		n = 0;
	}
	if (key.err == 0)
		b->out->key = sm_arena_str(b->a, sm_buf_view(&key));
	sm_buf_fini(&key);
}

/* ---- the answer ---- */

static void refuse(struct build *b, enum sm_route_status status, uint16_t code, const char *text)
{
	b->out->status = (uint8_t)status;
	b->out->code = code;
	b->out->text = sm_str(text);
	b->out->hosts_count = 0;
	b->out->ttl_s = SM_MIN(b->out->ttl_s, FAILED_TTL_S);
}

static void conclude(struct build *b)
{
	if (b->out->hosts_count > 0) {
		/* Some of it is missing: soon ask again. */
		if (b->note == NOTE_TEMP)
			b->out->ttl_s = SM_MIN(b->out->ttl_s, FAILED_TTL_S);
		b->out->hosts = b->hosts;
		return;
	}
	switch (b->note) {
	case NOTE_NULL_MX:
		refuse(b, SM_ROUTE_PERM, 556,
		       "5.1.10 the recipient's domain takes no mail (null MX)");
		break;
	case NOTE_LOOP:
		refuse(b, SM_ROUTE_PERM, 550,
		       "5.4.6 mail for this domain would come back to this host");
		break;
	case NOTE_NO_HOST:
		refuse(b, SM_ROUTE_PERM, 550, "5.1.2 the recipient's domain does not exist");
		break;
	case NOTE_NO_ADDRESS:
		refuse(b, SM_ROUTE_PERM, 550,
		       "5.4.4 no mail exchanger of the domain has an address");
		break;
	case NOTE_TEMP:
		refuse(b, SM_ROUTE_TEMP, 451, "");
		b->out->text = sm_arena_printf(b->a, "4.4.3 DNS: %s of " SM_STR_FMT ": %s", b->what,
		                               SM_STR_ARG(b->who), b->why);
		break;
	case NOTE_NONE:
		refuse(b, SM_ROUTE_TEMP, 451, "4.4.3 no address found");
		break;
	}
}

static struct build *begin(const struct ar *ar, const struct ar_ctx *ctx, struct sm_msg_route *out)
{
	struct build *b = sm_arena_must(ctx->a, sizeof(*b));

	b->ar = ar;
	b->ctx = ctx;
	b->a = ctx->a;
	b->out = out;
	b->max_hosts = (uint32_t)SM_MIN(ar->conf->max_hosts, ROUTE_HOSTS_MAX);
	b->port = SMTP_PORT;
	*out = (struct sm_msg_route){
	    .status = SM_ROUTE_OK, .agent = SM_AGENT_SMTP, .ttl_s = AR_DNS_TTL_MAX};
	return b;
}

static int go_by_dns(struct build *b, struct sm_str domain)
{
	b->out->key = sm_arena_printf(b->a, "smtp:%u:@" SM_STR_FMT, SMTP_PORT, SM_STR_ARG(domain));
	if (domain.n > 0 && domain.p[0] == '[')
		add_literal(b, domain);
	else
		add_domain(b, domain);
	if (b->missing)
		return SM_E_AGAIN;
	if (b->out->hosts_count > 0)
		key_of_hosts(b);
	conclude(b);
	return 0;
}

static int go_way(struct build *b, const struct ar_way *w, struct sm_str domain)
{
	if (w->by_dns)
		return go_by_dns(b, domain);
	b->out->key = sm_arena_str(b->a, w->key);
	add_hosts(b, w);
	if (b->missing)
		return SM_E_AGAIN;
	conclude(b);
	return 0;
}

/* Whoever asks is told of each way: taken, or passed over. */
static void trace_ways(const struct ar_ctx *ctx, const struct ar_ways *w, size_t from, size_t taken)
{
	if (ctx->trace == NULL || w->count == 1)
		return;
	for (size_t i = from; i <= taken; i++)
		ctx->trace->tried(ctx->trace->arg, "way", w->v[i].key,
		                  i < taken ? SM_E_NOTFOUND : 0,
		                  w->v[i].when.n > 0 ? w->v[i].when : SM_STR("no conditions"));
}

/* One for which nobody can be found for now leads to the next one, as one where nobody takes the
 * mail does (qmgr). */
static int go(const struct ar *ar, const struct ar_ctx *ctx, const struct ar_ways *ways,
              const struct sm_msg_route_get *m, struct sm_str domain, struct sm_msg_route *out)
{
	const struct ar_way_mail mail = {
	    .rcpts = m->rcpts, .bytes = m->size, .again = (m->flags & SM_ROUTE_AGAIN) != 0};
	size_t from = m->way;

	for (;;) {
		size_t at = ar_ways_pick(ways, from, &mail);
		const struct ar_way *w = &ways->v[at];
		int rc = go_way(begin(ar, ctx, out), w, domain);

		if (rc != 0)
			return rc;
		trace_ways(ctx, ways, from, at);
		out->way = (uint8_t)at;
		out->ways = (uint8_t)ways->count;
		out->other_way = !w->only && at + 1 < ways->count;
		if (out->status != SM_ROUTE_TEMP || !out->other_way)
			return 0;
		from = at + 1;
	}
}

static int trouble(struct sm_msg_route *out, const char *text)
{
	out->status = SM_ROUTE_TEMP;
	out->code = 451;
	out->text = sm_str(text);
	out->ttl_s = FAILED_TTL_S;
	return 0;
}

/* By what the table says of the recipient, or of the domain. */
static int go_listed(const struct ar *ar, const struct ar_ctx *ctx,
                     const struct sm_msg_route_get *m, const struct ar_address *rcpt,
                     struct sm_msg_route *out)
{
	const struct ar_mt_entry *e;
	int rc = ar_mt_lookup_rcpt(ar, ctx, rcpt->key, rcpt->parts.domain, &e);

	if (rc == 0)
		return e != NULL ? go(ar, ctx, &e->ways, m, rcpt->domain, out)
		                 : go_by_dns(begin(ar, ctx, out), rcpt->domain);
	if (rc == SM_E_AGAIN)
		return rc;
	sm_log(SM_WARN, "ar.mailertable", "rcpt=<%S> error=%E", m->rcpt, rc);
	ar_trace_failed(ctx, rcpt->domain, sm_diag());
	return trouble(out, "4.3.0 the table of routes cannot be read");
}

/* By what its listener says, whoever it is for. */
static int go_told(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_route_get *m,
                   struct sm_str domain, struct sm_msg_route *out)
{
	struct ar_ways ways;
	int rc = ar_ways_parse(m->route, ctx->a, &ways);

	if (rc == 0)
		return go(ar, ctx, &ways, m, domain, out);
	sm_log(SM_ERROR, "ar.mailertable", "route=%S error=%E", m->route, rc);
	ar_trace_failed(ctx, m->route, sm_diag());
	return trouble(out, "4.3.5 the way that this mail is to go cannot be understood");
}

int ar_route(const struct ar *ar, const struct ar_ctx *ctx, const struct sm_msg_route_get *m,
             const struct ar_address *rcpt, struct sm_msg_route *out)
{
	return sm_str_empty(m->route) ? go_listed(ar, ctx, m, rcpt, out)
	                              : go_told(ar, ctx, m, rcpt->domain, out);
}
