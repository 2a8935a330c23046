/* Where TLS failed. Invariant: what is in the hash is in the list and counted. Loop's thread. */
#include "smtpc/tls_memory.h"

#include "libsm/base.h"

struct entry {
	struct sm_hash_node node;
	struct sm_list link;
	struct sm_sa sa;
	int64_t until_ms;
};

static struct entry *entry_of(const struct sm_hash_node *n)
{
	return SM_CONTAINER_OF((struct sm_hash_node *)(uintptr_t)n, struct entry, node);
}

static bool same_host(const struct sm_hash_node *n, const void *key)
{
	return sm_sa_eq_host(&entry_of(n)->sa, key);
}

void sc_tls_memory_init(struct sc_tls_memory *m)
{
	*m = (struct sc_tls_memory){0};
	sm_hash_init(&m->by_host);
	sm_list_init(&m->all);
}

static void forget(struct sc_tls_memory *m, struct entry *e)
{
	sm_hash_remove(&m->by_host, &e->node);
	sm_list_remove(&e->link);
	m->count--;
	sm_free(e);
}

void sc_tls_memory_fini(struct sc_tls_memory *m)
{
	while (!sm_list_empty(&m->all))
		forget(m, SM_LIST_FIRST(&m->all, struct entry, link));
	sm_hash_fini(&m->by_host);
}

static struct entry *find(struct sc_tls_memory *m, const struct sm_sa *sa)
{
	struct sm_hash_node *n = sm_hash_find(&m->by_host, sm_sa_hash_host(sa), same_host, sa);

	return n != NULL ? entry_of(n) : NULL;
}

void sc_tls_memory_add(struct sc_tls_memory *m, const struct sm_sa *sa, int64_t now_ms,
                       int64_t until_ms, size_t max)
{
	struct entry *e = find(m, sa);

	if (e != NULL)
		forget(m, e);
	while (m->count > 0 &&
	       (m->count >= max || SM_LIST_FIRST(&m->all, struct entry, link)->until_ms <= now_ms))
		forget(m, SM_LIST_FIRST(&m->all, struct entry, link));
	if (max == 0 || until_ms <= now_ms)
		return;
	e = sm_calloc(1, sizeof(*e));
	e->sa = *sa;
	e->until_ms = until_ms;
	sm_hash_insert(&m->by_host, &e->node, sm_sa_hash_host(sa));
	sm_list_push(&m->all, &e->link);
	m->count++;
}

bool sc_tls_memory_has(struct sc_tls_memory *m, const struct sm_sa *sa, int64_t now_ms)
{
	struct entry *e = find(m, sa);

	if (e != NULL && e->until_ms <= now_ms) {
		forget(m, e);
		e = NULL;
	}
	return e != NULL;
}
