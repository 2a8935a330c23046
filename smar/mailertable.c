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
#include "smar/lookup.h"

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

bool ar_mt_is_local(const struct ar_mt_entry *e)
{
	for (size_t i = 0; i < e->ways.count; i++)
		if (e->ways.v[i].agent != SM_AGENT_LMTP)
			return false;
	return !sm_str_eq(e->domain, SM_STR("."));
}

bool ar_mt_is_routed(const struct ar_mt_entry *e)
{
	return e->ways.count > 1 || !e->ways.v[0].by_dns;
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

/* A single recipient, as it is looked up. */
static int parse_address(struct ar_mt *mt, struct ar_mt_entry *e, struct sm_str w)
{
	struct sm_addr addr;

	if (sm_addr_mailbox(w, &mt->arena, &addr) != 0 || addr.domain.n == 0)
		return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is neither domain nor address",
		               SM_STR_ARG(sm_str_head(w, 100)));
	e->domain = ar_address_key(&mt->arena, addr.mailbox);
	mt->addresses++;
	return 0;
}

static int parse_lhs(struct ar_mt *mt, struct ar_mt_entry *e, struct sm_str w)
{
	struct sm_str bare = w.n > 1 && w.p[0] == '.' ? sm_str_from(w, 1) : w;

	if (sm_str_chr(w, '@') >= 0)
		return parse_address(mt, e, w);
	if (!sm_str_eq(w, SM_STR(".")) &&
	    !(is_literal(w) ? sm_domain_literal_valid(w) : sm_domain_valid_utf8(bare, true)))
		return sm_fail(SM_E_SYNTAX, "\"" SM_STR_FMT "\" is no domain",
		               SM_STR_ARG(sm_str_head(w, 100)));
	return sm_domain_ascii_in(&mt->arena, sm_arena_lower(&mt->arena, w), &e->domain);
}

static int parse_line(struct ar_mt *mt, struct sm_str line, int number)
{
	struct sm_str lhs = next_word(&line), rhs = line;
	const struct ar_mt_entry *before;
	struct ar_mt_entry *e;
	int rc;

	if (lhs.n == 0)
		return 0;
	if (lhs.n > (sm_str_chr(lhs, '@') < 0 ? SM_DOMAIN_MAX + 1 : SM_MAILBOX_MAX))
		return sm_fail(SM_E_SYNTAX, "domain too long");
	if (next_word(&line).n == 0)
		return sm_fail(SM_E_SYNTAX, "nothing behind \"" SM_STR_FMT "\"",
		               SM_STR_ARG(sm_str_head(lhs, 100)));
	e = SM_ARENA_NEW(&mt->arena, struct ar_mt_entry);
	e->line = number;
	rc = parse_lhs(mt, e, lhs);
	if (rc == 0)
		rc = ar_ways_parse(rhs, &mt->arena, &e->ways);
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
