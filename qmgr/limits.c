/*
 * The table of limits: entries by kind and the bytes of their prefix, found from the longest prefix
 * of an address to the empty one. Pure.
 *
 * Invariant: a struct prefix has no padding, it is its own key; an IPv4 address, also one mapped
 * into IPv6, has a prefix of 0 to 4 octets; an IPv6 address one of 0 to 16, an even number.
 */
#include "qmgr/limits.h"

#include <arpa/inet.h>

#include "libsm/conf.h"
#include "libsm/err.h"
#include "libsm/hash.h"

#define VALUE_MAX   1000000
#define OMR_MAX     60000 /* one in a millisecond: a spacing has no finer grain */
#define ENTRIES_MAX 1000000
#define OCTO_MAX_MS (30 * 24 * 3600 * 1000LL)

struct prefix {
	uint8_t kind, family, size; /* family: 4 or 6; size in octets */
	uint8_t octet[16];
	uint8_t port[2]; /* 0: any; only behind a whole address */
};

struct entry {
	struct sm_hash_node node;
	struct prefix prefix;
	unsigned value;
};

struct qm_limits {
	struct sm_hash by_prefix;
	int64_t octo_ms; /* -1: not said */
	bool absent;
};

static bool entry_eq(const struct sm_hash_node *n, const void *key)
{
	return memcmp(&SM_CONTAINER_OF(n, struct entry, node)->prefix, key,
	              sizeof(struct prefix)) == 0;
}

static struct entry *find(const struct qm_limits *l, const struct prefix *p)
{
	struct sm_hash_node *n =
	    sm_hash_find(&l->by_prefix, sm_hash_str(sm_str_n(p, sizeof(*p))), entry_eq, p);

	return n ? SM_CONTAINER_OF(n, struct entry, node) : NULL;
}

struct qm_limits *qm_limits_new(void)
{
	struct qm_limits *l = sm_calloc(1, sizeof(*l));

	sm_hash_init(&l->by_prefix);
	l->octo_ms = -1;
	return l;
}

void qm_limits_free(struct qm_limits **lp)
{
	struct qm_limits *l = *lp;

	if (l == NULL)
		return;
	for (struct sm_hash_node *n = sm_hash_next(&l->by_prefix, NULL), *next; n; n = next) {
		next = sm_hash_next(&l->by_prefix, n);
		sm_hash_remove(&l->by_prefix, n);
		sm_free(SM_CONTAINER_OF(n, struct entry, node));
	}
	sm_hash_fini(&l->by_prefix);
	SM_FREE(*lp);
}

bool qm_limits_absent(const struct qm_limits *l)
{
	return l->absent;
}

void qm_limits_set_absent(struct qm_limits *l)
{
	l->absent = true;
}

size_t qm_limits_count(const struct qm_limits *l)
{
	return l->by_prefix.count + (l->octo_ms >= 0);
}

/* ---- keys ---- */

static void prefix_of(const struct sm_sa *sa, struct prefix *p)
{
	if (sa->len == 0 || sa->u.sa.sa_family == AF_UNIX)
		return;
	if (sa->u.sa.sa_family == AF_INET) {
		p->family = p->size = 4;
		memcpy(p->octet, &sa->u.in4.sin_addr, 4);
	} else if (IN6_IS_ADDR_V4MAPPED(&sa->u.in6.sin6_addr)) {
		p->family = p->size = 4;
		memcpy(p->octet, sa->u.in6.sin6_addr.s6_addr + 12, 4);
	} else {
		p->family = 6;
		p->size = 16;
		memcpy(p->octet, &sa->u.in6.sin6_addr, 16);
	}
}

static int parse_octets(struct sm_str s, struct prefix *p)
{
	struct sm_str rest = s;

	p->family = 4;
	while (rest.p != NULL && rest.n > 0) {
		struct sm_str part = sm_str_split(rest, '.', &rest);
		uint64_t v;

		/* 010 is 8 to some programs. */
		if (p->size == 4 || (part.n > 1 && part.p[0] == '0') ||
		    sm_str_u64(part, 10, 255, &v) != 0)
			return SM_E_SYNTAX;
		p->octet[p->size++] = (uint8_t)v;
	}
	return 0;
}

static int parse_groups(struct sm_str s, struct prefix *p)
{
	struct sm_str rest = s;
	struct sm_sa sa;

	if (s.n == 0)
		return SM_E_SYNTAX; /* of all IPv6 addresses nothing can be said at once */
	if (sm_sa_ip(&sa, s, 0) == 0 && sa.u.sa.sa_family == AF_INET6) {
		prefix_of(&sa, p);
		return 0;
	}
	p->family = 6;
	while (rest.p != NULL && rest.n > 0) {
		struct sm_str part = sm_str_split(rest, ':', &rest);
		uint64_t v;

		if (p->size == 16 || part.n > 4 || sm_str_u64(part, 16, 0xffff, &v) != 0)
			return SM_E_SYNTAX;
		p->octet[p->size++] = (uint8_t)(v >> 8);
		p->octet[p->size++] = (uint8_t)v;
	}
	return 0;
}

static void set_port(struct prefix *p, unsigned port)
{
	p->port[0] = (uint8_t)(port >> 8);
	p->port[1] = (uint8_t)port;
}

/* "1.2.3.4:25", "[::1]:25", "[1.2.3.4]:25" */
static int parse_server(struct sm_str s, struct prefix *p)
{
	ptrdiff_t colon = sm_str_rchr(s, ':');
	struct sm_str host = sm_str_head(s, (size_t)colon);
	struct sm_sa sa;
	uint64_t port;

	if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
		host = sm_str_n(host.p + 1, host.n - 2);
	if (sm_str_u64(sm_str_from(s, (size_t)colon + 1), 10, 65535, &port) != 0 || port == 0 ||
	    sm_sa_ip(&sa, host, 0) != 0)
		return SM_E_SYNTAX;
	prefix_of(&sa, p);
	set_port(p, (unsigned)port);
	return 0;
}

/* An empty prefix has no family: it is looked for last, whatever the address is. */
static int parse_prefix(struct sm_str s, struct prefix *p)
{
	ptrdiff_t colon = sm_str_chr(s, ':'), dot = sm_str_chr(s, '.');

	if (s.n == 0)
		return 0;
	if ((s.p[0] == '[' && colon > 0) || (dot >= 0 && colon > dot))
		return parse_server(s, p);
	if (sm_str_has_caseprefix(s, SM_STR("IPv6:")))
		return parse_groups(sm_str_from(s, 5), p);
	return sm_str_chr(s, ':') >= 0 ? parse_groups(s, p) : parse_octets(s, p);
}

static int kind_of(struct sm_str word)
{
	static const char *const words[QM_LIMIT_KINDS] = {
	    [QM_LIMIT_OCI] = "oci", [QM_LIMIT_OCM] = "ocm", [QM_LIMIT_OMR] = "omr",
	    [QM_LIMIT_ICR] = "icr", [QM_LIMIT_ICM] = "icm",
	};

	for (int i = 0; i < QM_LIMIT_KINDS; i++)
		if (sm_str_caseeq(word, sm_str(words[i])))
			return i;
	return -1;
}

static int bounded(struct sm_str value, int kind, unsigned *out)
{
	unsigned least = kind == QM_LIMIT_OCI || kind == QM_LIMIT_OCM ? 1 : 0;
	unsigned most = kind == QM_LIMIT_OMR ? OMR_MAX : VALUE_MAX;
	uint64_t v;
	int err = sm_str_u64(value, 10, most, &v);

	if (err == SM_E_SYNTAX)
		return sm_fail(err, "\"" SM_STR_FMT "\" is no number", SM_STR_ARG(value));
	if (err != 0 || v < least)
		return sm_fail(SM_E_RANGE, SM_STR_FMT " is out of range: %u to %u",
		               SM_STR_ARG(value), least, most);
	*out = (unsigned)v;
	return 0;
}

int qm_limits_add(struct qm_limits *l, struct sm_str key, struct sm_str value)
{
	struct prefix p = {0};
	struct sm_str prefix, word = sm_str_split(key, ':', &prefix);
	struct entry *e;
	unsigned v = 0;
	int kind, err;

	/* The colon of a word alone is the end of the key to createmap, which leaves it out. */
	if (prefix.n == 0 && sm_str_caseeq(word, SM_STR("octo"))) {
		int64_t ms;

		if (sm_conf_time(value, false, &ms) != 0)
			return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is no time",
			               SM_STR_ARG(value));
		if (ms < 1000 || ms > OCTO_MAX_MS)
			return sm_fail(SM_E_RANGE, "octo is out of range: 1s to 30d");
		l->octo_ms = ms;
		return 0;
	}
	kind = kind_of(word);
	if (kind < 0)
		return sm_fail(SM_E_SYNTAX,
		               "\"" SM_STR_FMT "\" is none of oci: ocm: omr: icr: icm: octo:",
		               SM_STR_ARG(key));
	if (parse_prefix(prefix, &p) != 0)
		return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" names no address or net",
		               SM_STR_ARG(key));
	if ((p.port[0] | p.port[1]) != 0 && (kind == QM_LIMIT_ICR || kind == QM_LIMIT_ICM))
		return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\": clients have no port",
		               SM_STR_ARG(key));
	if ((err = bounded(value, kind, &v)) != 0)
		return err;
	p.kind = (uint8_t)kind;
	if ((e = find(l, &p)) == NULL) {
		if (l->by_prefix.count >= ENTRIES_MAX)
			return sm_fail(SM_E_TOOBIG, "more than %d entries", ENTRIES_MAX);
		e = sm_calloc(1, sizeof(*e));
		e->prefix = p;
		sm_hash_insert(&l->by_prefix, &e->node, sm_hash_str(sm_str_n(&p, sizeof(p))));
	}
	e->value = v;
	return 0;
}

/* ---- questions ---- */

unsigned qm_limits_get(const struct qm_limits *l, enum qm_limit kind, const struct sm_sa *sa,
                       unsigned otherwise)
{
	struct prefix p = {.kind = (uint8_t)kind};
	const struct entry *e;
	unsigned step;

	if (l == NULL || l->by_prefix.count == 0)
		return otherwise;
	prefix_of(sa, &p);
	step = p.family == 6 ? 2 : 1;
	if (p.size > 0 && kind != QM_LIMIT_ICR && kind != QM_LIMIT_ICM) {
		set_port(&p, sm_sa_port(sa));
		if ((e = find(l, &p)) != NULL)
			return e->value;
		set_port(&p, 0);
	}
	for (;;) {
		if (p.size == 0)
			p.family = 0;
		if ((e = find(l, &p)) != NULL)
			return e->value;
		if (p.size == 0)
			return otherwise;
		for (unsigned i = 0; i < step; i++)
			p.octet[--p.size] = 0;
	}
}

int64_t qm_limits_octo_ms(const struct qm_limits *l, int64_t otherwise_ms)
{
	return l != NULL && l->octo_ms >= 0 ? l->octo_ms : otherwise_ms;
}

/* ---- text ---- */

int qm_limits_parse(struct qm_limits *l, const char *name, struct sm_str text)
{
	struct sm_str rest = text;

	for (int line = 1; rest.p != NULL && rest.n > 0; line++) {
		struct sm_str s = sm_str_split(rest, '\n', &rest);
		size_t n = 0;
		int err;

		if (s.n > 0 && s.p[s.n - 1] == '\r')
			s.n--;
		s = sm_str_trim(s);

		if (s.n == 0 || s.p[0] == '#')
			continue;
		while (n < s.n && s.p[n] != ' ' && s.p[n] != '\t')
			n++;
		err = qm_limits_add(l, sm_str_head(s, n), sm_str_trim(sm_str_from(s, n)));
		if (err != 0)
			return sm_fail_in(err, "%s:%d", name, line);
	}
	return 0;
}
