/*
 * The cache of DNS answers, and the only one who asks.
 *
 * The callback of c-ares stores the packet and puts the entry into `done`; the hook before the loop
 * sleeps parses it, asks again for the end of a CNAME chain, and wakes who waits. Invariants: an
 * entry is pending (a question is out, or its packet is in `done`), or has an answer; only entries
 * with an answer and without waiters are in `lru` order for eviction, so neither table nor
 * questions grow beyond their limits. Thread: the loop's.
 */
#include "smar/dns_cache.h"

#include "libsm/addr.h"
#include "libsm/hash.h"
#include "libsm/list.h"
#include "libsm/loop.h"
#include "libsm/sync.h"
#include "smar/dns.h"

enum { TEMP_S = 15 }; /* a failure is believed so long: RFC 2308 7 allows five minutes */

struct entry {
	struct sm_hash_node node;
	struct sm_list lru, done;
	uint16_t type;
	bool pending;
	unsigned waiters;
	struct sm_cond cond;
	struct ar_answer *answer; /* NULL while there has never been one */

	/* The question that is out. */
	struct sm_str packet; /* owned */
	struct ar_dns_trouble trouble;
	unsigned links;                   /* CNAME chains followed beyond one answer */
	uint32_t ttl_s;                   /* least of the chain so far */
	bool ad;                          /* each link of it was validated */
	char asking[AR_DNS_NAME_MAX + 1]; /* the end of the chain so far */

	size_t name_len;
	char name[];
};
struct key {
	struct sm_str name;
	uint16_t type;
};

static struct {
	struct ar_cache_conf conf;
	struct sm_hash table;
	struct sm_list lru; /* longest unused first */
	struct sm_list done;
	struct sm_hook hook;
	size_t bytes; /* of the answers in the table */
	size_t queries;
	uint64_t hits, misses, asked;
} c;

/* ---- answers ---- */

static struct ar_answer *ref(struct ar_answer *a)
{
	a->refs++;
	return a;
}

void ar_answer_put(struct ar_answer **a)
{
	if (*a != NULL && --(*a)->refs == 0)
		sm_free(*a);
	*a = NULL;
}

uint32_t ar_answer_ttl_s(const struct ar_answer *a)
{
	int64_t left_s = (a->expires_ms - sm_loop_now_ms()) / 1000;

	return left_s < 1 ? 1 : (uint32_t)left_s;
}

/* The records in one piece of memory, no larger than needed. */
static struct ar_answer *make_answer(const struct ar_dns_msg *m, uint32_t ttl_s)
{
	size_t names = 0;
	struct ar_answer *a;
	size_t bytes;
	char *p;

	for (size_t i = 0; i < m->count; i++)
		names += strlen(m->rr[i].name);
	bytes = sizeof(*a) + m->count * sizeof(a->rr[0]) + names;
	a = sm_malloc(bytes);
	*a = (struct ar_answer){.refs = 1,
	                        .status = m->status,
	                        .why = m->why,
	                        .refused = m->refused,
	                        .ad = m->ad,
	                        .expires_ms = sm_now_ms() + (int64_t)ttl_s * 1000,
	                        .bytes = bytes,
	                        .count = m->count};
	p = (char *)&a->rr[m->count];
	for (size_t i = 0; i < m->count; i++) {
		size_t n = strlen(m->rr[i].name);

		a->rr[i].pref = m->rr[i].pref;
		memcpy(a->rr[i].addr, m->rr[i].addr, sizeof(a->rr[i].addr));
		memcpy(p, m->rr[i].name, n);
		a->rr[i].name = sm_str_n(p, n);
		p += n;
	}
	return a;
}

static struct ar_answer *temp_answer(const char *why)
{
	struct ar_answer *a = sm_calloc(1, sizeof(*a));

	*a = (struct ar_answer){.refs = 1,
	                        .status = AR_DNS_TEMP,
	                        .why = why,
	                        .expires_ms = sm_now_ms() + TEMP_S * 1000};
	return a;
}

/* ---- entries ---- */

static uint64_t hash(const struct key *k)
{
	return sm_hash_str(k->name) + k->type;
}

static bool entry_eq(const struct sm_hash_node *n, const void *key)
{
	const struct entry *e = SM_CONTAINER_OF(n, const struct entry, node);
	const struct key *k = key;

	return e->type == k->type && sm_str_eq(sm_str_n(e->name, e->name_len), k->name);
}

static void drop_answer(struct entry *e)
{
	if (e->answer != NULL)
		c.bytes -= e->answer->bytes;
	ar_answer_put(&e->answer);
}

static void forget(struct entry *e)
{
	sm_assert(!e->pending && e->waiters == 0);
	sm_hash_remove(&c.table, &e->node);
	sm_list_remove(&e->lru);
	drop_answer(e);
	sm_free(e);
}

static void make_room(void)
{
	struct entry *e;

	while ((c.table.count >= c.conf.max_entries || c.bytes > c.conf.max_entries * 1024) &&
	       (e = SM_LIST_FIRST(&c.lru, struct entry, lru)) != NULL)
		forget(e);
}

static struct entry *new_entry(const struct key *k)
{
	struct entry *e;

	make_room();
	e = sm_calloc(1, sizeof(*e) + k->name.n + 1);
	e->type = k->type;
	e->name_len = k->name.n;
	memcpy(e->name, k->name.p, k->name.n);
	sm_list_init(&e->lru);
	sm_list_init(&e->done);
	sm_cond_init(&e->cond);
	sm_hash_insert(&c.table, &e->node, hash(k));
	return e;
}

/* Last in line for eviction, unless somebody holds on to it. */
static void touch(struct entry *e)
{
	sm_list_remove(&e->lru);
	if (!e->pending && e->waiters == 0)
		sm_list_push(&c.lru, &e->lru);
}

/* ---- asking ---- */

static void on_packet(struct sm_str packet, struct ar_dns_trouble trouble, void *arg)
{
	struct entry *e = arg;
	char *copy = sm_malloc(packet.n + 1);

	memcpy(copy, packet.p, packet.n);
	e->packet = sm_str_n(copy, packet.n);
	e->trouble = trouble;
	sm_list_push(&c.done, &e->done);
}

static void ask(struct entry *e)
{
	c.queries++;
	c.asked++;
	e->pending = true;
	sm_list_remove(&e->lru);
	ar_dns_ask(e->asking, e->type, on_packet, e);
}

static void first_ask(struct entry *e)
{
	e->links = 0;
	e->ttl_s = AR_DNS_TTL_MAX;
	e->ad = true;
	memcpy(e->asking, e->name, e->name_len + 1);
	ask(e);
}

static void settle(struct entry *e, struct ar_dns_msg *m)
{
	uint32_t ttl_s = m->status == AR_DNS_TEMP ? TEMP_S : SM_MIN(m->ttl_s, e->ttl_s);

	m->ad = m->ad && e->ad;
	drop_answer(e);
	e->answer = make_answer(m, ttl_s);
	c.bytes += e->answer->bytes;
	e->pending = false;
	touch(e);
	sm_cond_broadcast(&e->cond);
}

static void take_packet(struct entry *e)
{
	struct ar_dns_msg m;

	c.queries--;
	if (e->trouble.why != NULL) {
		m.status = AR_DNS_TEMP;
		m.ad = false;
		m.why = e->trouble.why;
		m.refused = e->trouble.refused;
		m.count = 0;
	} else {
		ar_dns_parse(e->packet, sm_str(e->asking), e->type, &m);
	}
	sm_free((void *)(uintptr_t)e->packet.p);
	e->packet = SM_STR_NONE;
	if (m.status == AR_DNS_ALIAS) {
		e->ttl_s = SM_MIN(e->ttl_s, m.ttl_s);
		e->ad = e->ad && m.ad;
		if (++e->links <= AR_DNS_CNAME_MAX) {
			memcpy(e->asking, m.alias, sizeof(e->asking));
			ask(e);
			return;
		}
		m.status = AR_DNS_TEMP;
		m.ad = false;
		m.why = "CNAME loop, or too many";
		m.refused = false;
	}
	settle(e, &m);
}

static bool before_sleep(void *arg SM_UNUSED)
{
	struct sm_list now = SM_LIST_INIT(now);
	struct sm_list *l;
	bool work = !sm_list_empty(&c.done);

	sm_list_splice(&now, &c.done);
	while ((l = sm_list_shift(&now)) != NULL)
		take_packet(SM_LIST_ENTRY(l, struct entry, done));
	return work;
}

/* ---- what others call ---- */

void ar_cache_init(const struct ar_cache_conf *conf)
{
	memset(&c, 0, sizeof(c));
	c.conf = *conf;
	sm_hash_init(&c.table);
	sm_list_init(&c.lru);
	sm_list_init(&c.done);
	sm_loop_before_sleep(&c.hook, before_sleep, NULL);
}

void ar_cache_fini(void)
{
	struct sm_hash_node *n, *next;

	sm_hook_remove(&c.hook);
	for (n = sm_hash_next(&c.table, NULL); n != NULL; n = next) {
		struct entry *e = SM_CONTAINER_OF(n, struct entry, node);

		next = sm_hash_next(&c.table, n);
		sm_list_remove(&e->done);
		sm_free((void *)(uintptr_t)e->packet.p);
		e->pending = false;
		forget(e);
	}
	sm_hash_fini(&c.table);
}

static struct entry *find(struct sm_str name, uint16_t type)
{
	struct key k = {name, type};
	struct sm_hash_node *n = sm_hash_find(&c.table, hash(&k), entry_eq, &k);

	return n != NULL ? SM_CONTAINER_OF(n, struct entry, node) : NULL;
}

static bool good(const struct entry *e)
{
	return e != NULL && !e->pending && e->answer->expires_ms > sm_loop_now_ms();
}

bool ar_cache_has(struct sm_str name, uint16_t type)
{
	return good(find(name, type));
}

/* The entry, with an answer that is good or a question on its way; NULL: too many questions. */
static struct entry *look_up(struct sm_str name, uint16_t type)
{
	struct entry *e = find(name, type);

	sm_assert(name.n <= AR_DNS_NAME_MAX);
	if (good(e)) {
		c.hits++;
		touch(e);
		return e;
	}
	c.misses++;
	if (e != NULL && e->pending)
		return e;
	if (c.queries >= c.conf.max_queries)
		return NULL;
	if (e == NULL)
		e = new_entry(&(struct key){name, type});
	first_ask(e);
	return e;
}

struct ar_answer *ar_cache_get(struct sm_str name, uint16_t type)
{
	struct entry *e = look_up(name, type);

	if (e == NULL)
		return temp_answer("too many questions at a time");
	return e->pending ? NULL : ref(e->answer);
}

struct ar_answer *ar_cache_wait(struct sm_str name, uint16_t type, int64_t deadline_ms)
{
	struct entry *e = look_up(name, type);
	struct ar_answer *a;
	int rc = 0;

	if (e == NULL)
		return temp_answer("too many questions at a time");
	e->waiters++;
	sm_list_remove(&e->lru);
	while (e->pending && rc == 0)
		rc = sm_cond_wait(&e->cond, "DNS", deadline_ms);
	a = e->pending ? temp_answer("no answer in time") : ref(e->answer);
	e->waiters--;
	touch(e);
	return a;
}

struct ar_cache_stats ar_cache_stats(void)
{
	return (struct ar_cache_stats){c.table.count, c.bytes,  c.queries,
	                               c.hits,        c.misses, c.asked};
}
