/*
 * The table of memory.h. Invariants: an entry either has an owner or is in the list of what was
 * delivered, which is in the order of its times; what has an owner is never dropped for room,
 * because the active queue bounds it. Loop thread.
 */
#include "qmgr/memory.h"

enum { TEXT_MAX = 512 };

struct qm_memory *qm_memory_new(size_t max, int64_t keep_ms)
{
	struct qm_memory *m = sm_calloc(1, sizeof(*m));

	sm_hash_init(&m->entries);
	sm_list_init(&m->delivered);
	m->max = max;
	m->keep_ms = keep_ms;
	return m;
}

static uint64_t hash_of(const struct qm_memory_key *k)
{
	/* Ids of mails differ, senders and recipients of one client often do not. */
	return sm_hash_str(k->xid) ^ (sm_hash_str(k->rcpt) * 3);
}

static bool entry_eq(const struct sm_hash_node *n, const void *key)
{
	const struct qm_memory_key *a = &SM_CONTAINER_OF(n, struct qm_memory_entry, node)->key;
	const struct qm_memory_key *b = key;

	return sm_str_eq(a->xid, b->xid) && sm_str_eq(a->msgid, b->msgid) &&
	       sm_str_eq(a->rcpt, b->rcpt) && sm_str_eq(a->sender, b->sender);
}

static struct sm_str put(char **at, struct sm_str s)
{
	char *p = *at;

	if (s.n > 0)
		memcpy(p, s.p, s.n);
	*at += s.n;
	return sm_str_n(p, s.n);
}

void qm_memory_forget(struct qm_memory *m, struct qm_memory_entry *e)
{
	sm_assert(sm_list_empty(&e->waiting));
	if (e->owner == NULL)
		m->delivered_count--;
	sm_hash_remove(&m->entries, &e->node);
	sm_list_remove(&e->link);
	sm_free(e->strings);
	sm_free(e->reply);
	sm_free(e);
}

void qm_memory_free(struct qm_memory **mp)
{
	struct qm_memory *m = *mp;

	if (m == NULL)
		return;
	for (struct sm_hash_node *n = sm_hash_next(&m->entries, NULL), *next; n; n = next) {
		next = sm_hash_next(&m->entries, n);
		qm_memory_forget(m, SM_CONTAINER_OF(n, struct qm_memory_entry, node));
	}
	sm_hash_fini(&m->entries);
	SM_FREE(*mp);
}

/* The oldest of what was delivered, until those that are left are few enough and new enough. */
static void expire(struct qm_memory *m, int64_t now_ms)
{
	while (!sm_list_empty(&m->delivered)) {
		struct qm_memory_entry *e =
		    SM_LIST_FIRST(&m->delivered, struct qm_memory_entry, link);

		if (e->until_ms > now_ms && m->delivered_count <= m->max)
			break;
		qm_memory_forget(m, e);
	}
}

struct qm_memory_entry *qm_memory_find(struct qm_memory *m, const struct qm_memory_key *key,
                                       int64_t now_ms)
{
	struct sm_hash_node *n;

	expire(m, now_ms);
	n = sm_hash_find(&m->entries, hash_of(key), entry_eq, key);
	return n ? SM_CONTAINER_OF(n, struct qm_memory_entry, node) : NULL;
}

struct qm_memory_entry *qm_memory_add(struct qm_memory *m, const struct qm_memory_key *key,
                                      struct qm_rcpt *owner)
{
	struct qm_memory_entry *e = sm_calloc(1, sizeof(*e));
	char *p = e->strings =
	    sm_malloc(key->xid.n + key->msgid.n + key->sender.n + key->rcpt.n + 1);

	sm_list_init(&e->link);
	sm_list_init(&e->waiting);
	e->owner = owner;
	e->key.xid = put(&p, key->xid);
	e->key.msgid = put(&p, key->msgid);
	e->key.sender = put(&p, key->sender);
	e->key.rcpt = put(&p, key->rcpt);
	sm_hash_insert(&m->entries, &e->node, hash_of(key));
	return e;
}

void qm_memory_delivered(struct qm_memory *m, struct qm_memory_entry *e, uint16_t code,
                         struct sm_str text, int64_t now_ms)
{
	char *p;

	text = sm_str_head(text, TEXT_MAX);
	p = e->reply = sm_malloc(text.n + 1);
	e->text = put(&p, text);
	e->code = code;
	e->owner = NULL;
	e->until_ms = now_ms + m->keep_ms;
	sm_list_push(&m->delivered, &e->link);
	m->delivered_count++;
	expire(m, now_ms);
}
