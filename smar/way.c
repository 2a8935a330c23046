/*
 * Right hand sides of the mailertable to ways, and which of these a mail takes. Invariant: of ways
 * that were parsed the last one fits every mail, so there is always one. Pure; any thread.
 */
#include "smar/way.h"

#include "libsm/addr.h"
#include "libsm/buf.h"
#include "libsm/conf.h"
#include "libsm/def.h"
#include "libsm/err.h"
#include "libsm/utf8.h"

enum { SMTP_PORT = 25, RCPTS_MAX = 1000000, KEY_MAX = 500 /* longer ones are hashed */ };

struct hosts {
	size_t count, sockets;
	struct ar_way_host v[AR_WAY_HOSTS_MAX];
};

static int too_long(void)
{
	return sm_fail(SM_E_TOOBIG, "the right hand side is too long");
}

/* ---- the mailer ---- */

static bool is_literal(struct sm_str s)
{
	return s.n > 0 && s.p[0] == '[';
}

static int parse_port(struct ar_way *y, struct sm_str *w)
{
	ptrdiff_t hat = is_literal(*w) ? -1 : sm_str_chr(*w, '^');
	uint64_t port;

	if (hat < 0)
		return 0;
	if (sm_str_u64(sm_str_head(*w, (size_t)hat), 10, UINT16_MAX, &port) != 0 || port == 0)
		return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is no port",
		               SM_STR_ARG(sm_str_head(*w, (size_t)hat)));
	y->port = (uint16_t)port;
	*w = sm_str_from(*w, (size_t)hat + 1);
	return 0;
}

static int parse_mailer(struct ar_way *y, struct sm_str *w)
{
	ptrdiff_t colon = is_literal(*w) ? -1 : sm_str_chr(*w, ':');
	struct sm_str mailer;

	if (colon < 0)
		return 0;
	mailer = sm_str_head(*w, (size_t)colon + 1);
	if (sm_str_caseeq(mailer, SM_STR("lmtp:")))
		y->agent = SM_AGENT_LMTP;
	else if (sm_str_caseeq(mailer, SM_STR("mx:")))
		y->by_dns = true;
	else if (!sm_str_caseeq(mailer, SM_STR("esmtp:")))
		return sm_fail(SM_E_SYNTAX,
		               "unknown mailer \"" SM_STR_FMT "\" (esmtp:, lmtp: or mx:)",
		               SM_STR_ARG(mailer));
	*w = sm_str_from(*w, (size_t)colon + 1);
	return 0;
}

/* ---- hosts ---- */

/* "[host.name]": not a domain whose last label is a number, that was meant to be an address. */
static bool is_bracketed_host(struct sm_str inner)
{
	struct sm_str last = sm_str_from(inner, (size_t)(sm_str_rchr(inner, '.') + 1));
	uint64_t number;

	return sm_domain_valid(inner, true) && sm_str_u64(last, 10, UINT64_MAX, &number) != 0;
}

/* Unlike names a path keeps its case. The place where it is looked up is smtpc's, so it has to
 * begin at the root. */
static int parse_socket(struct sm_arena *a, struct ar_way_host *h, struct sm_str w)
{
	static const struct sm_str unix_tag = SM_STR("[unix:");
	struct sm_str path;

	if (w.p[w.n - 1] != ']' || w.p[unix_tag.n] != '/')
		return sm_fail(SM_E_SYNTAX,
		               "\"" SM_STR_FMT "\" is no socket: [unix:/path/of/the/socket]",
		               SM_STR_ARG(sm_str_head(w, 120)));
	path = sm_str_n(w.p + unix_tag.n, w.n - unix_tag.n - 1);
	h->name = sm_arena_str(a, path);
	h->text = sm_arena_printf(a, "[unix:" SM_STR_FMT "]", SM_STR_ARG(path));
	if (h->name.p == NULL || h->text.p == NULL)
		return too_long();
	return sm_sa_unix(&h->sa, path) == 0 ? 0 : sm_fail_in(SM_E_SYNTAX, "[unix:]");
}

static int parse_host(struct sm_arena *a, const struct ar_way *y, struct ar_way_host *h,
                      struct sm_str w)
{
	int rc = sm_domain_ascii_in(a, w, &w);

	if (rc != 0)
		return rc;
	h->text = h->name = sm_arena_lower(a, w);
	if (!is_literal(w))
		return sm_domain_valid(w, true)
		           ? 0
		           : sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is no host",
		                     SM_STR_ARG(sm_str_head(w, 100)));
	if (w.p[w.n - 1] == ']' && is_bracketed_host(sm_str_n(w.p + 1, w.n - 2))) {
		h->name = sm_str_n(h->text.p + 1, w.n - 2);
		h->no_mx = true;
		return 0;
	}
	if (!sm_domain_literal_valid(w) || sm_sa_ip(&h->sa, w, y->port) != 0)
		return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is no address",
		               SM_STR_ARG(sm_str_head(w, 100)));
	if (sm_sa_is_bogus(&h->sa))
		return sm_fail(SM_E_SYNTAX, "nothing can be sent to " SM_STR_FMT, SM_STR_ARG(w));
	return 0;
}

/* One word: hosts of equal preference. */
static int parse_hosts(struct sm_arena *a, const struct ar_way *y, struct sm_str word,
                       uint16_t pref, struct hosts *to)
{
	struct sm_str rest = word;
	int rc;

	do {
		struct sm_str w = sm_str_split(rest, ',', &rest);
		bool socket = sm_str_has_caseprefix(w, SM_STR("[unix:"));
		struct ar_way_host *h = &to->v[to->count];

		if (y->by_dns)
			return sm_fail(SM_E_SYNTAX, "mx: has no hosts: DNS says where");
		if (to->count == AR_WAY_HOSTS_MAX)
			return sm_fail(SM_E_SYNTAX, "more than %d hosts", AR_WAY_HOSTS_MAX);
		if (!socket && y->port == 0)
			return sm_fail(SM_E_SYNTAX, "LMTP to a host needs a port (port^lmtp:host)");
		*h = (struct ar_way_host){.pref = pref};
		rc = socket ? parse_socket(a, h, w) : parse_host(a, y, h, w);
		if (rc != 0)
			return rc;
		to->count++;
		to->sockets += socket;
	} while (rest.p != NULL);
	return 0;
}

static struct sm_str key_of(struct sm_arena *a, const struct ar_way *y)
{
	struct sm_str copy;
	struct sm_buf key;

	sm_buf_init(&key, 65536);
	sm_buf_cstr(&key, y->agent == SM_AGENT_LMTP ? "lmtp:" : y->by_dns ? "mx:" : "smtp:");
	if (y->port != 0)
		sm_buf_printf(&key, "%u:", y->port);
	for (size_t i = 0; i < y->count; i++) {
		const char *before = "";

		if (i > 0)
			before = y->hosts[i].pref == y->hosts[i - 1].pref ? "," : " ";
		sm_buf_printf(&key, "%s" SM_STR_FMT, before, SM_STR_ARG(y->hosts[i].text));
	}
	if (key.len > KEY_MAX)
		copy =
		    sm_arena_printf(a, "%s#%016llx", y->agent == SM_AGENT_LMTP ? "lmtp:" : "smtp:",
		                    (unsigned long long)sm_def_hash(sm_buf_view(&key).p, key.len));
	else
		copy = sm_arena_str(a, sm_buf_view(&key));
	sm_buf_fini(&key);
	return copy;
}

static int take_hosts(struct sm_arena *a, struct ar_way *y, const struct hosts *hosts,
                      bool own_port)
{
	if (y->by_dns && own_port)
		return sm_fail(SM_E_SYNTAX, "mx: has no port: DNS says where");
	if (hosts->count == 0 && y->agent == SM_AGENT_SMTP && !y->by_dns)
		return sm_fail(SM_E_SYNTAX, "no host");
	if (hosts->count == 0 && own_port)
		return sm_fail(SM_E_SYNTAX, "a port, but no host");
	if (hosts->count > 0 && hosts->count == hosts->sockets) {
		if (own_port)
			return sm_fail(SM_E_SYNTAX, "a Unix socket has no port");
		y->port = 0;
	}
	y->count = hosts->count;
	y->hosts = sm_arena_alloc(a, y->count * sizeof(hosts->v[0]));
	if (y->hosts == NULL)
		return too_long();
	memcpy(y->hosts, hosts->v, y->count * sizeof(hosts->v[0]));
	y->key = key_of(a, y);
	return y->key.p != NULL ? 0 : too_long();
}

/* ---- conditions ---- */

/* "recipients >= 5": of both bounds each may be said once. */
static int parse_bound(struct sm_str name, bool size, struct sm_str c, struct ar_way *y)
{
	struct sm_str sign = sm_str_trim(sm_str_from(c, name.n));
	struct sm_str value = sm_str_trim(sm_str_from(sign, 2));
	bool least = sm_str_has_prefix(sign, SM_STR(">="));
	int64_t n;

	if ((!least && !sm_str_has_prefix(sign, SM_STR("<="))) || value.n == 0)
		return sm_fail(SM_E_SYNTAX, SM_STR_FMT " is compared with >= or <= and a number",
		               SM_STR_ARG(name));
	if (size) {
		uint64_t *to = least ? &y->min_bytes : &y->max_bytes;
		int rc = sm_conf_size(value, false, &n);

		if (rc != 0)
			return sm_fail_in(rc, "size");
		if (*to != (least ? 0 : UINT64_MAX))
			return sm_fail(SM_E_SYNTAX, "size has two bounds of one kind");
		*to = (uint64_t)n;
	} else {
		uint32_t *to = least ? &y->min_rcpts : &y->max_rcpts;
		uint64_t number;

		if (sm_str_u64(value, 10, RCPTS_MAX, &number) != 0 || number == 0)
			return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is no number of recipients",
			               SM_STR_ARG(sm_str_head(value, 100)));
		if (*to != (least ? 0 : UINT32_MAX))
			return sm_fail(SM_E_SYNTAX, "recipients has two bounds of one kind");
		*to = (uint32_t)number;
	}
	return 0;
}

static int parse_condition(struct sm_str c, struct ar_way *y)
{
	static const struct sm_str rcpts = SM_STR("recipients"), size = SM_STR("size");

	if (sm_str_has_caseprefix(c, rcpts))
		return parse_bound(rcpts, false, c, y);
	if (sm_str_has_caseprefix(c, size))
		return parse_bound(size, true, c, y);
	if (sm_str_caseeq(c, SM_STR("first")))
		y->first = true;
	else if (sm_str_caseeq(c, SM_STR("only")))
		y->only = true;
	else
		return sm_fail(SM_E_SYNTAX,
		               "\"" SM_STR_FMT "\" is no condition (recipients, size, first, only)",
		               SM_STR_ARG(sm_str_head(c, 100)));
	return 0;
}

/* `text` begins with "{"; *rest is what follows the "}". */
static int parse_conditions(struct sm_arena *a, struct sm_str text, struct sm_str *rest,
                            struct ar_way *y)
{
	ptrdiff_t end = sm_str_chr(text, '}');
	struct sm_str inner;
	int rc;

	if (end < 0)
		return sm_fail(SM_E_SYNTAX, "conditions without a \"}\" at their end");
	inner = sm_str_trim(sm_str_n(text.p + 1, (size_t)end - 1));
	y->when = sm_arena_str(a, inner);
	if (y->when.p == NULL)
		return too_long();
	*rest = sm_str_from(text, (size_t)end + 1);
	do {
		rc = parse_condition(sm_str_trim(sm_str_split(inner, ',', &inner)), y);
		if (rc != 0)
			return rc;
	} while (inner.p != NULL);
	if (y->min_rcpts > y->max_rcpts || y->min_bytes > y->max_bytes)
		return sm_fail(SM_E_SYNTAX, "no mail can fulfil {" SM_STR_FMT "}",
		               SM_STR_ARG(y->when));
	return 0;
}

static bool has_conditions(const struct ar_way *y)
{
	return y->first || y->min_rcpts > 0 || y->max_rcpts < UINT32_MAX || y->min_bytes > 0 ||
	       y->max_bytes < UINT64_MAX;
}

/* ---- ways ---- */

static struct sm_str without_comment(struct sm_str s)
{
	for (size_t i = 0; i < s.n; i++)
		if (s.p[i] == '#' && (i == 0 || s.p[i - 1] == ' ' || s.p[i - 1] == '\t'))
			return sm_str_head(s, i);
	return s;
}

static bool is_else(struct sm_str w)
{
	return sm_str_caseeq(w, SM_STR("else"));
}

/* Up to its end: *last, or the next one is in *rest. */
static int parse_way(struct sm_str *rest, struct sm_arena *a, struct ar_way *y, bool *last)
{
	struct sm_str w = sm_str_word(rest), at;
	struct hosts hosts = {0};
	uint16_t pref = 0;
	bool own_port;
	int rc;

	*y = (struct ar_way){.max_rcpts = UINT32_MAX, .max_bytes = UINT64_MAX, .when = SM_STR("")};
	if (w.n == 0 || is_else(w) || w.p[0] == '{')
		return sm_fail(SM_E_SYNTAX, "no host");
	rc = parse_port(y, &w);
	own_port = y->port != 0;
	if (rc == 0)
		rc = parse_mailer(y, &w);
	if (y->agent == SM_AGENT_SMTP && !y->by_dns && y->port == 0)
		y->port = SMTP_PORT;
	if (rc == 0 && w.n > 0)
		rc = parse_hosts(a, y, w, pref++, &hosts);
	while (rc == 0) {
		at = *rest;
		w = sm_str_word(rest);
		if (w.n == 0 || is_else(w) || w.p[0] == '{')
			break;
		rc = parse_hosts(a, y, w, pref++, &hosts);
	}
	if (rc == 0)
		rc = take_hosts(a, y, &hosts, own_port);
	if (rc == 0 && w.n > 0 && w.p[0] == '{') {
		rc = parse_conditions(a, sm_str_trim(at), rest, y);
		w = sm_str_word(rest);
		if (rc == 0 && w.n > 0 && !is_else(w))
			rc = sm_fail(SM_E_SYNTAX,
			             "\"" SM_STR_FMT "\" behind conditions: only else can follow",
			             SM_STR_ARG(sm_str_head(w, 100)));
	}
	*last = w.n == 0;
	return rc;
}

int ar_ways_parse(struct sm_str rhs, struct sm_arena *a, struct ar_ways *out)
{
	struct ar_way v[AR_WAYS_MAX];
	struct sm_str rest = without_comment(rhs);
	size_t n = 0;
	bool last;
	int rc;

	do {
		if (n == AR_WAYS_MAX)
			return sm_fail(SM_E_SYNTAX, "more than %d ways", AR_WAYS_MAX);
		rc = parse_way(&rest, a, &v[n], &last);
		if (rc != 0)
			return rc;
		if (last && v[n].when.n > 0)
			return sm_fail(SM_E_SYNTAX,
			               "the last way can have no conditions: every mail needs one");
		if (!last && v[n].only && !has_conditions(&v[n]))
			return sm_fail(SM_E_SYNTAX, "what stands behind {only} is never used");
		n++;
	} while (!last);
	out->count = n;
	out->v = sm_arena_alloc(a, n * sizeof(v[0]));
	if (out->v == NULL)
		return too_long();
	memcpy(out->v, v, n * sizeof(v[0]));
	return 0;
}

bool ar_way_fits(const struct ar_way *w, const struct ar_way_mail *m)
{
	return m->rcpts >= w->min_rcpts && m->rcpts <= w->max_rcpts && m->bytes >= w->min_bytes &&
	       m->bytes <= w->max_bytes && !(w->first && m->again);
}

size_t ar_ways_pick(const struct ar_ways *w, size_t from, const struct ar_way_mail *m)
{
	for (size_t i = from; i + 1 < w->count; i++)
		if (ar_way_fits(&w->v[i], m))
			return i;
	return w->count - 1;
}
