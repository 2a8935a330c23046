/*
 * The table of blocked domains. Loop thread; pure.
 *
 * Invariant: each entry is in both the hash and the list, and never more than `max` of them are.
 */
#include "qmgr/blocked.h"

#define WHY_MAX 128

struct entry {
	struct sm_hash_node node;
	struct sm_list link;
	enum qm_block kind;
	int64_t until_ms;
	char why[WHY_MAX];
	size_t n;
	char domain[];
};

static bool entry_eq(const struct sm_hash_node *n, const void *key)
{
	const struct entry *e = SM_CONTAINER_OF(n, struct entry, node);

	return sm_str_caseeq(sm_str_n(e->domain, e->n), *(const struct sm_str *)key);
}

static struct entry *find(const struct qm_blocked *b, struct sm_str domain)
{
	struct sm_hash_node *n =
	    sm_hash_find(&b->by_domain, sm_hash_case(domain), entry_eq, &domain);

	return n ? SM_CONTAINER_OF(n, struct entry, node) : NULL;
}

static void forget(struct qm_blocked *b, struct entry *e)
{
	sm_hash_remove(&b->by_domain, &e->node);
	sm_list_remove(&e->link);
	sm_free(e);
}

void qm_blocked_init(struct qm_blocked *b, size_t max)
{
	*b = (struct qm_blocked){.max = max};
	sm_hash_init(&b->by_domain);
	sm_list_init(&b->all);
}

void qm_blocked_clear(struct qm_blocked *b)
{
	while (!sm_list_empty(&b->all))
		forget(b, SM_LIST_FIRST(&b->all, struct entry, link));
}

void qm_blocked_forget(struct qm_blocked *b, struct sm_str domain)
{
	struct entry *e = find(b, domain);

	if (e)
		forget(b, e);
}

void qm_blocked_fini(struct qm_blocked *b)
{
	qm_blocked_clear(b);
	sm_hash_fini(&b->by_domain);
}

void qm_blocked_put(struct qm_blocked *b, struct sm_str domain, enum qm_block kind,
                    int64_t until_ms, struct sm_str why, int64_t now_ms)
{
	struct entry *e = find(b, domain);

	if (e != NULL) {
		sm_list_remove(&e->link);
	} else {
		while (!sm_list_empty(&b->all)) {
			struct entry *old = SM_LIST_FIRST(&b->all, struct entry, link);

			if (b->by_domain.count < b->max && old->until_ms > now_ms)
				break;
			forget(b, old);
		}
		e = sm_calloc(1, sizeof(*e) + domain.n);
		memcpy(e->domain, domain.p, domain.n);
		e->n = domain.n;
		sm_hash_insert(&b->by_domain, &e->node, sm_hash_case(domain));
	}
	e->kind = kind;
	e->until_ms = until_ms;
	sm_str_cut(why, e->why, sizeof(e->why));
	sm_list_push(&b->all, &e->link);
}

int64_t qm_blocked_until(const struct qm_blocked *b, struct sm_str domain, bool old, int64_t now_ms,
                         struct sm_str *why)
{
	const struct entry *e = b->by_domain.count > 0 ? find(b, domain) : NULL;

	if (e == NULL || e->until_ms <= now_ms || (old && e->kind == QM_BLOCK_DEAD))
		return 0;
	if (why)
		*why = sm_str(e->why);
	return e->until_ms;
}
