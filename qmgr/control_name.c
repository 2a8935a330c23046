/*
 * What operators call a destination, and what that is to qmgr: a domain of mail, the name of a
 * host, or an address. Loop thread.
 *
 * A word is brought into one form, so that every verb takes every way to write it: names without a
 * dot at the end, addresses as literals (RFC 5321 4.1.3). Which hosts it means is found in the
 * routes: those that have the name or the address, and those that share an address with them under
 * another name, because replies are kept under names.
 */
#include "qmgr/control.h"

#define HOPS_MAX 64

static bool has_address(const struct qm_ctl_dest *d, const struct sm_sa *sa)
{
	return sa->len > 0 && d->sa.len > 0 &&
	       (sm_sa_port(&d->sa) ? sm_sa_eq(&d->sa, sa) : sm_sa_eq_host(&d->sa, sa));
}

/* 192.0.2.1, [192.0.2.1], 2001:db8::1, [IPv6:2001:db8::1]; with a port as in 192.0.2.1:25 and
 * [2001:db8::1]:25. */
static bool take_address(struct sm_str word, struct sm_sa *sa)
{
	ptrdiff_t colon = sm_str_rchr(word, ':');
	uint64_t port;

	if (sm_sa_ip(sa, word, 0) == 0)
		return true;
	return colon > 0 &&
	       sm_str_u64(sm_str_from(word, (size_t)colon + 1), 10, 65535, &port) == 0 &&
	       port > 0 && sm_sa_ip(sa, sm_str_head(word, (size_t)colon), (uint16_t)port) == 0;
}

static int check_name(struct sm_str s)
{
	if (sm_str_chr(s, '@') >= 0)
		return sm_fail(SM_E_SYNTAX,
		               "\"" SM_STR_FMT "\" is a mailbox; a destination is what stands "
		               "behind its @, a host, or an address",
		               SM_STR_ARG(sm_str_head(s, 100)));
	if (s.n == 0 || s.n > 255)
		return sm_fail(SM_E_SYNTAX, "the name of a destination has 1 to 255 bytes");
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] <= ' ' || s.p[i] > '~' || s.p[i] == '*' || s.p[i] == '?' ||
		    s.p[i] == ',')
			return sm_fail(SM_E_SYNTAX,
			               "a destination is one domain, host, or address as "
			               "192.0.2.1, without * and ?");
	if (s.p[0] == '.')
		return sm_fail(SM_E_SYNTAX,
		               "a destination is one domain; all below one is for conditions: "
		               "domain=" SM_STR_FMT,
		               SM_STR_ARG(sm_str_head(s, 100)));
	if (s.p[0] == '[')
		return sm_fail(SM_E_SYNTAX,
		               SM_STR_FMT " is no address: [192.0.2.1] or [IPv6:2001:db8::1]",
		               SM_STR_ARG(sm_str_head(s, 100)));
	return 0;
}

int qm_ctl_dest_of(struct qm_ctl *c, struct sm_str word, struct qm_ctl_dest *d)
{
	char literal[SM_SA_TEXT];

	*d = (struct qm_ctl_dest){0};
	if (take_address(word, &d->sa)) {
		d->text = sm_arena_str(&c->arena, sm_str(sm_sa_literal(&d->sa, literal)));
		return 0;
	}
	d->sa.len = 0;
	if (word.n > 1 && word.p[word.n - 1] == '.')
		word.n--;
	d->text = word;
	return check_name(word);
}

bool qm_ctl_dest_is_host(const struct qm_ctl_dest *d, const struct sm_msg_host *h)
{
	return has_address(d, &h->sa) || sm_str_caseeq(d->text, h->name);
}

/* ---- in the routes ---- */

static void add_name(struct qm_ctl *c, struct qm_ctl_dest *d, struct sm_str name)
{
	for (unsigned i = 0; i < d->name_count; i++)
		if (sm_str_caseeq(d->names[i], name))
			return;
	if (name.n > 0 && d->name_count < QM_CTL_NAMES_MAX)
		d->names[d->name_count++] = sm_arena_str(&c->arena, name);
}

static void add_hop(struct qm_ctl *c, struct qm_ctl_dest *d, struct sm_str key, unsigned waiting,
                    const struct sm_msg_host *h)
{
	add_name(c, d, h->name);
	for (unsigned i = 0; i < d->hop_count; i++) {
		if (sm_sa_eq(&d->hops[i].host.sa, &h->sa)) {
			d->hops[i].waiting += waiting;
			return;
		}
	}
	if (d->hop_count == HOPS_MAX)
		return;
	d->hops[d->hop_count++] = (struct qm_ctl_hop){
	    .host = *h, .key = sm_arena_str(&c->arena, key), .waiting = waiting};
	d->hops[d->hop_count - 1].host.name = sm_arena_str(&c->arena, h->name);
}

/* Hosts that are remembered although no route has them now. */
static void add_remembered(struct qm_ctl *c, struct qm_ctl_dest *d)
{
	const struct qm_hosts *hosts = &c->q->sched.hosts;

	for (struct qm_host *x = qm_host_next(hosts, NULL); x; x = qm_host_next(hosts, x))
		if (has_address(d, &x->sa))
			add_hop(c, d, SM_STR(""), 0,
			        &(struct sm_msg_host){.name = d->text, .sa = x->sa});
}

void qm_ctl_dest_hops(struct qm_ctl *c, struct qm_ctl_dest *d)
{
	const struct sm_hash *routes = &c->q->sched.routes;

	d->hops = sm_arena_must(&c->arena, HOPS_MAX * sizeof(*d->hops));
	d->names = sm_arena_must(&c->arena, QM_CTL_NAMES_MAX * sizeof(*d->names));
	add_name(c, d, d->text);
	for (struct sm_hash_node *n = sm_hash_next(routes, NULL); n; n = sm_hash_next(routes, n)) {
		const struct qm_route *r = SM_CONTAINER_OF(n, struct qm_route, node);

		for (uint32_t i = 0; i < r->hop_count; i++)
			if (qm_ctl_dest_is_host(d, &r->hops[i].target))
				add_hop(c, d, r->key, r->waiting, &r->hops[i].target);
	}
	if (d->sa.len > 0)
		add_remembered(c, d);
}

bool qm_ctl_dest_is_domain(const struct qm_ctl_dest *d, struct sm_str domain)
{
	return sm_str_caseeq(domain, d->text);
}

bool qm_ctl_dest_has_name(const struct qm_ctl_dest *d, struct sm_str host)
{
	for (unsigned i = 0; i < d->name_count; i++)
		if (sm_str_caseeq(host, d->names[i]))
			return true;
	return false;
}
