/*
 * The mailertable. Its file is parsed once into a table that never changes; a reload makes a new
 * one or none at all, so that no answer ever comes from half a file. Where a map is the
 * mailertable, each value is parsed when it is found, by the same grammar. Any thread, but lookups
 * in maps.
 */
#include "smar/mailertable.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libsm/addr.h"
#include "libsm/buf.h"
#include "libsm/err.h"
#include "libsm/utf8.h"
#include "smar/ar.h"

enum { SMTP_PORT = 25 };

static bool domain_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_str_eq(SM_CONTAINER_OF(n, const struct ar_mt_entry, node)->domain,
	                 *(const struct sm_str *)key);
}

const struct ar_mt_entry *ar_mt_get(const struct ar_mt *mt, struct sm_str key)
{
	struct sm_hash_node *n = sm_hash_find(&mt->by_domain, sm_hash_str(key), domain_eq, &key);

	return n != NULL ? SM_CONTAINER_OF(n, struct ar_mt_entry, node) : NULL;
}

/* ---- a line ---- */

/* The next word; a comment ends the line. */
static struct sm_str next_word(struct sm_str *line)
{
	struct sm_str w = sm_str_word(line);

	if (w.n > 0 && w.p[0] == '#')
		return SM_STR("");
	return w;
}

static bool is_literal(struct sm_str s)
{
	return s.n > 0 && s.p[0] == '[';
}

static int parse_lhs(struct ar_mt *mt, struct ar_mt_entry *e, struct sm_str w)
{
	struct sm_str bare = w.n > 1 && w.p[0] == '.' ? sm_str_from(w, 1) : w;

	if (!sm_str_eq(w, SM_STR(".")) &&
	    !(is_literal(w) ? sm_domain_literal_valid(w) : sm_domain_valid_utf8(bare, true)))
		return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is no domain",
		               SM_STR_ARG(sm_str_head(w, 100)));
	return sm_domain_ascii_in(&mt->arena, sm_arena_lower(&mt->arena, w), &e->domain);
}

static int parse_port(struct ar_mt_entry *e, struct sm_str *w)
{
	ptrdiff_t hat = sm_str_chr(*w, '^');
	uint64_t port;

	if (hat < 0)
		return 0;
	if (sm_str_u64(sm_str_head(*w, (size_t)hat), 10, UINT16_MAX, &port) != 0 || port == 0)
		return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is no port",
		               SM_STR_ARG(sm_str_head(*w, (size_t)hat)));
	e->port = (uint16_t)port;
	*w = sm_str_from(*w, (size_t)hat + 1);
	return 0;
}

static int parse_mailer(struct ar_mt_entry *e, struct sm_str *w)
{
	static const struct sm_str esmtp = SM_STR("esmtp:"), lmtp = SM_STR("lmtp:");
	ptrdiff_t colon = is_literal(*w) ? -1 : sm_str_chr(*w, ':');

	if (colon < 0)
		return 0;
	if (sm_str_has_caseprefix(*w, lmtp))
		e->agent = SM_AGENT_LMTP;
	else if (!sm_str_has_caseprefix(*w, esmtp))
		return sm_fail(SM_E_SYNTAX, "unknown mailer \"" SM_STR_FMT "\" (esmtp: or lmtp:)",
		               SM_STR_ARG(sm_str_head(*w, (size_t)colon + 1)));
	*w = sm_str_from(*w, (size_t)colon + 1);
	return 0;
}

/* "[host.name]": not a domain whose last label is a number, that was meant to be an address. */
static bool is_bracketed_host(struct sm_str inner)
{
	struct sm_str last = sm_str_from(inner, (size_t)(sm_str_rchr(inner, '.') + 1));
	uint64_t number;

	return sm_domain_valid(inner, true) && sm_str_u64(last, 10, UINT64_MAX, &number) != 0;
}

static int parse_host(struct sm_arena *a, const struct ar_mt_entry *e, struct ar_mt_host *h,
                      struct sm_str w)
{
	int rc = sm_domain_ascii_in(a, w, &w);

	if (rc != 0)
		return rc;
	*h = (struct ar_mt_host){.text = sm_arena_lower(a, w)};
	h->name = h->text;
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
	if (!sm_domain_literal_valid(w) || sm_sa_ip(&h->sa, w, e->port) != 0)
		return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is no address",
		               SM_STR_ARG(sm_str_head(w, 100)));
	if (sm_sa_is_bogus(&h->sa))
		return sm_fail(SM_E_SYNTAX, "nothing can be sent to " SM_STR_FMT, SM_STR_ARG(w));
	return 0;
}

struct hosts {
	size_t count;
	struct ar_mt_host v[AR_MT_HOSTS_MAX];
};

/* One word: hosts of equal preference. */
static int parse_hosts(struct sm_arena *a, const struct ar_mt_entry *e, struct sm_str word,
                       uint16_t pref, struct hosts *to)
{
	struct sm_str rest = word;

	do {
		struct sm_str w = sm_str_split(rest, ',', &rest);
		int rc;

		if (to->count == AR_MT_HOSTS_MAX)
			return sm_fail(SM_E_SYNTAX, "more than %d hosts", AR_MT_HOSTS_MAX);
		if (e->port == 0)
			return sm_fail(SM_E_SYNTAX, "LMTP to a host needs a port (port^lmtp:host)");
		rc = parse_host(a, e, &to->v[to->count], w);
		if (rc != 0)
			return rc;
		to->v[to->count++].pref = pref;
	} while (rest.p != NULL);
	return 0;
}

static struct sm_str key_of(struct sm_arena *a, const struct ar_mt_entry *e)
{
	struct sm_str copy;
	struct sm_buf key;

	sm_buf_init(&key, 65536);
	sm_buf_cstr(&key, e->agent == SM_AGENT_LMTP ? "lmtp:" : "smtp:");
	if (e->port != 0)
		sm_buf_printf(&key, "%u:", e->port);
	for (size_t i = 0; i < e->count; i++) {
		const char *before = "";

		if (i > 0)
			before = e->hosts[i].pref == e->hosts[i - 1].pref ? "," : " ";
		sm_buf_printf(&key, "%s" SM_STR_FMT, before, SM_STR_ARG(e->hosts[i].text));
	}
	copy = sm_arena_str(a, sm_buf_view(&key));
	sm_buf_fini(&key);
	return copy;
}

int ar_mt_parse_rhs(struct sm_str rhs, struct sm_arena *a, struct ar_mt_entry *e)
{
	struct sm_str w = next_word(&rhs);
	struct hosts hosts = {0};
	uint16_t pref = 0;
	int rc;

	rc = parse_port(e, &w);
	if (rc == 0)
		rc = parse_mailer(e, &w);
	if (rc != 0)
		return rc;
	if (e->agent == SM_AGENT_SMTP && e->port == 0)
		e->port = SMTP_PORT;
	if (w.n == 0)
		w = next_word(&rhs);
	for (; w.n > 0; w = next_word(&rhs)) {
		rc = parse_hosts(a, e, w, pref++, &hosts);
		if (rc != 0)
			return rc;
	}
	if (hosts.count == 0 && e->agent == SM_AGENT_SMTP)
		return sm_fail(SM_E_SYNTAX, "no host");
	if (hosts.count == 0 && e->port != 0)
		return sm_fail(SM_E_SYNTAX, "a port, but no host");
	e->count = hosts.count;
	e->hosts = sm_arena_alloc(a, e->count * sizeof(hosts.v[0]));
	if (e->hosts == NULL)
		return sm_fail(SM_E_TOOBIG, "the right hand side is too long");
	memcpy(e->hosts, hosts.v, e->count * sizeof(hosts.v[0]));
	e->key = key_of(a, e);
	return e->key.p != NULL ? 0 : sm_fail(SM_E_TOOBIG, "the right hand side is too long");
}

static int parse_line(struct ar_mt *mt, struct sm_str line, int number)
{
	struct sm_str lhs = next_word(&line), rhs = line;
	const struct ar_mt_entry *before;
	struct ar_mt_entry *e;
	int rc;

	if (lhs.n == 0)
		return 0;
	if (lhs.n > SM_DOMAIN_MAX + 1)
		return sm_fail(SM_E_SYNTAX, "domain too long");
	if (next_word(&line).n == 0)
		return sm_fail(SM_E_SYNTAX, "nothing behind \"" SM_STR_FMT "\"",
		               SM_STR_ARG(sm_str_head(lhs, 100)));
	e = SM_ARENA_NEW(&mt->arena, struct ar_mt_entry);
	e->line = number;
	rc = parse_lhs(mt, e, lhs);
	if (rc == 0)
		rc = ar_mt_parse_rhs(rhs, &mt->arena, e);
	if (rc != 0)
		return rc;
	before = ar_mt_get(mt, e->domain);
	if (before != NULL)
		return sm_fail(SM_E_SYNTAX, SM_STR_FMT " is in line %d already",
		               SM_STR_ARG(e->domain), before->line);
	sm_hash_insert(&mt->by_domain, &e->node, sm_hash_str(e->domain));
	return 0;
}

/* ---- the file ---- */

int ar_mt_parse(const char *path, struct sm_str text, struct ar_mt **out)
{
	struct ar_mt *mt = sm_calloc(1, sizeof(*mt));
	struct sm_str line;
	int number = 0, rc;

	/* Every line takes less than a fixed sum and a multiple of its length; the file's size is
	 * bounded. */
	sm_arena_init(&mt->arena, "mailertable", 4096, SIZE_MAX / 8);
	sm_hash_init(&mt->by_domain);
	mt->refs = 1;
	while (text.p != NULL && text.n > 0) {
		line = sm_str_split(text, '\n', &text);
		number++;
		if (line.n > 0 && line.p[line.n - 1] == '\r')
			line.n--;
		if (line.n > AR_MT_LINE_MAX)
			rc = sm_fail(SM_E_SYNTAX, "line too long");
		else
			rc = parse_line(mt, line, number);
		if (rc != 0) {
			ar_mt_unref(&mt);
			return sm_fail_in(rc, "%s:%d", path, number);
		}
	}
	*out = mt;
	return 0;
}

int ar_mt_load(const char *path, struct ar_mt **out)
{
	struct sm_buf text;
	int rc = 0, fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	ssize_t n;

	if (fd < 0)
		return sm_fail_sys(errno, "%s", path);
	sm_buf_init(&text, AR_MT_FILE_MAX);
	do {
		char *to = sm_buf_reserve(&text, 65536);

		if (to == NULL) {
			rc = sm_fail(SM_E_TOOBIG, "%s: larger than %d MiB", path,
			             AR_MT_FILE_MAX >> 20);
			break;
		}
		n = read(fd, to, 65536);
		if (n > 0)
			sm_buf_commit(&text, (size_t)n);
		else if (n < 0 && errno != EINTR)
			rc = sm_fail_sys(errno, "%s", path);
	} while (rc == 0 && n != 0);
	close(fd);
	if (rc == 0)
		rc = ar_mt_parse(path, sm_buf_view(&text), out);
	sm_buf_fini(&text);
	return rc;
}

struct ar_mt *ar_mt_ref(struct ar_mt *mt)
{
	mt->refs++;
	return mt;
}

void ar_mt_unref(struct ar_mt **mtp)
{
	struct ar_mt *mt = *mtp;

	*mtp = NULL;
	if (mt == NULL || --mt->refs > 0)
		return;
	sm_hash_fini(&mt->by_domain);
	sm_arena_fini(&mt->arena);
	sm_free(mt);
}
