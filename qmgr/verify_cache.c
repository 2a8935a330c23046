/*
 * The memory of verified recipients. Invariant: each entry is in the hash and in one of the
 * lists; there are never more than max. Loop thread; pure.
 */
#include "qmgr/verify_cache.h"

#include "libsm/utf8.h"

enum { OTHERS_PART = 4 };

struct entry {
	struct sm_hash_node node;
	struct sm_list lru;
	int64_t until_ms;   /* forgotten then */
	int64_t recheck_ms; /* old from then on */
	enum qm_known known;
	uint16_t code;
	struct sm_str addr, text;
	char memory[]; /* of both */
};

/* ---- addresses ---- */

static struct sm_str local_of(struct sm_str addr)
{
	ptrdiff_t at = sm_str_rchr(addr, '@');

	return at < 0 ? addr : sm_str_head(addr, (size_t)at);
}

static struct sm_str domain_of(struct sm_str addr)
{
	return sm_str_from(addr, (size_t)(sm_str_rchr(addr, '@') + 1));
}

uint64_t qm_verify_hash(struct sm_str addr)
{
	return sm_hash_u64(sm_hash_str(local_of(addr)) ^ sm_hash_case(domain_of(addr)));
}

bool qm_verify_eq(struct sm_str a, struct sm_str b)
{
	return sm_str_eq(local_of(a), local_of(b)) && sm_str_caseeq(domain_of(a), domain_of(b));
}

static bool entry_eq(const struct sm_hash_node *n, const void *key)
{
	return qm_verify_eq(SM_CONTAINER_OF(n, struct entry, node)->addr,
	                    *(const struct sm_str *)key);
}

/* ---- entries ---- */

static struct entry *find(const struct qm_verify_cache *c, struct sm_str addr)
{
	struct sm_hash_node *n = sm_hash_find(&c->by_addr, qm_verify_hash(addr), entry_eq, &addr);

	return n ? SM_CONTAINER_OF(n, struct entry, node) : NULL;
}

static void forget(struct qm_verify_cache *c, struct entry *e)
{
	c->other_count -= e->known != QM_KNOWN;
	sm_hash_remove(&c->by_addr, &e->node);
	sm_list_remove(&e->lru);
	sm_free(e);
}

static void used(struct qm_verify_cache *c, struct entry *e)
{
	sm_list_remove(&e->lru);
	sm_list_push(e->known == QM_KNOWN ? &c->known : &c->others, &e->lru);
}

/* So that there are no more than `max`, when so many that are not known come in addition. */
static void keep_within(struct qm_verify_cache *c, size_t max, size_t coming)
{
	while (c->by_addr.count > max) {
		bool other = c->other_count + coming > c->max / OTHERS_PART;

		if (c->other_count == 0 || c->other_count == c->by_addr.count)
			other = c->other_count > 0;
		forget(c, SM_LIST_FIRST(other ? &c->others : &c->known, struct entry, lru));
	}
}

void qm_verify_cache_init(struct qm_verify_cache *c, size_t max,
                          const struct qm_verify_times *times)
{
	*c = (struct qm_verify_cache){.times = *times, .max = max};
	sm_hash_init(&c->by_addr);
	sm_list_init(&c->known);
	sm_list_init(&c->others);
}

void qm_verify_cache_fini(struct qm_verify_cache *c)
{
	keep_within(c, 0, 0);
	sm_hash_fini(&c->by_addr);
}

void qm_verify_cache_reload(struct qm_verify_cache *c, size_t max,
                            const struct qm_verify_times *times)
{
	c->times = *times;
	c->max = max;
	keep_within(c, max, 0);
}

bool qm_verify_cache_find(struct qm_verify_cache *c, struct sm_str addr, int64_t now_ms,
                          struct qm_verified *out)
{
	struct entry *e = find(c, addr);

	if (e != NULL && e->until_ms <= now_ms) {
		forget(c, e);
		e = NULL;
	}
	if (e == NULL) {
		c->misses++;
		return false;
	}
	c->hits++;
	used(c, e);
	*out = (struct qm_verified){.known = e->known,
	                            .code = e->code,
	                            .text = e->text,
	                            .old = e->known == QM_KNOWN && e->recheck_ms <= now_ms};
	return true;
}

static struct entry *entry_new(struct sm_str addr, struct sm_str text)
{
	struct entry *e = sm_calloc(1, sizeof(*e) + addr.n + text.n);

	if (addr.n > 0)
		memcpy(e->memory, addr.p, addr.n);
	if (text.n > 0)
		memcpy(e->memory + addr.n, text.p, text.n);
	e->addr = sm_str_n(e->memory, addr.n);
	e->text = sm_str_n(e->memory + addr.n, text.n);
	sm_list_init(&e->lru);
	return e;
}

void qm_verify_cache_put(struct qm_verify_cache *c, struct sm_str addr, const struct qm_verified *v,
                         int64_t now_ms)
{
	const int64_t keep_ms[] = {[QM_KNOWN] = c->times.known_ms,
	                           [QM_UNKNOWN] = c->times.unknown_ms,
	                           [QM_NOT_TOLD] = c->times.not_told_ms};
	struct entry *e = find(c, addr);

	if (e != NULL && v->known == QM_NOT_TOLD && e->known != QM_NOT_TOLD &&
	    e->until_ms > now_ms) {
		/* It was asked about again and nothing came of it: not at once once more. */
		e->recheck_ms = now_ms + c->times.not_told_ms;
		return;
	}
	if (e != NULL)
		forget(c, e);
	if (c->max == 0 || keep_ms[v->known] == 0)
		return;
	keep_within(c, c->max - 1, v->known != QM_KNOWN);
	e = entry_new(addr, sm_str_head(v->text, QM_VERIFY_TEXT));
	e->known = v->known;
	e->code = v->code;
	e->until_ms = now_ms + keep_ms[v->known];
	e->recheck_ms = now_ms + c->times.recheck_ms;
	sm_hash_insert(&c->by_addr, &e->node, qm_verify_hash(addr));
	used(c, e);
	c->other_count += e->known != QM_KNOWN;
}

static size_t drop_from(struct qm_verify_cache *c, struct sm_list *lru, struct sm_str which)
{
	bool domain = which.n > 0 && which.p[0] == '@';
	size_t n = 0;

	SM_LIST_FOR_SAFE (e, lru, struct entry, lru) {
		if (which.n > 0 &&
		    !(domain ? sm_domain_eq(domain_of(e->addr), sm_str_from(which, 1))
		             : qm_verify_eq(e->addr, which)))
			continue;
		forget(c, e);
		n++;
	}
	return n;
}

size_t qm_verify_cache_drop(struct qm_verify_cache *c, struct sm_str which)
{
	return drop_from(c, &c->known, which) + drop_from(c, &c->others, which);
}

size_t qm_verify_cache_count(const struct qm_verify_cache *c)
{
	return c->by_addr.count;
}
