/*
 * Entries for contents that more than one transaction may use.
 *
 * Invariant: an entry exists while somebody is in it, and, of a segment, while that is not sealed;
 * a segment's file goes only when it is sealed and nobody is in it.
 */
#include "qmgr/contents.h"

#include "libcdb/cdb.h"

struct content {
	struct sm_hash_node node;
	struct sm_id id;
	struct sm_list dsns, others; /* children */
	size_t members;              /* of a segment: mails */
	bool owner_open;             /* of a file of its own */
	bool sealed;
};

static bool content_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct content, node)->id, *(const struct sm_id *)key);
}

static bool child_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct qm_content_child, node)->id,
	                *(const struct sm_id *)key);
}

static void child_free(struct qm_contents *t, struct qm_content_child *child)
{
	sm_hash_remove(&t->children, &child->node);
	sm_list_remove(&child->link);
	sm_free(child);
}

static void content_free(struct qm_contents *t, struct content *c)
{
	SM_LIST_FOR_SAFE (child, &c->dsns, struct qm_content_child, link)
		child_free(t, child);
	SM_LIST_FOR_SAFE (child, &c->others, struct qm_content_child, link)
		child_free(t, child);
	sm_hash_remove(&t->by_id, &c->node);
	sm_free(c);
}

void qm_contents_init(struct qm_contents *t)
{
	sm_hash_init(&t->by_id);
	sm_hash_init(&t->children);
}

void qm_contents_fini(struct qm_contents *t)
{
	for (struct sm_hash_node *n = sm_hash_next(&t->by_id, NULL), *next; n; n = next) {
		next = sm_hash_next(&t->by_id, n);
		content_free(t, SM_CONTAINER_OF(n, struct content, node));
	}
	sm_hash_fini(&t->by_id);
	sm_hash_fini(&t->children);
}

static struct content *find(const struct qm_contents *t, struct sm_id id)
{
	struct sm_hash_node *n = sm_hash_find(&t->by_id, sm_id_hash(id), content_eq, &id);

	return n ? SM_CONTAINER_OF(n, struct content, node) : NULL;
}

static struct content *entry(struct qm_contents *t, struct sm_id id)
{
	struct content *c = find(t, id);

	if (c != NULL)
		return c;
	c = sm_calloc(1, sizeof(*c));
	c->id = id;
	c->sealed = !cdb_is_segment(id);
	sm_list_init(&c->dsns);
	sm_list_init(&c->others);
	sm_hash_insert(&t->by_id, &c->node, sm_id_hash(id));
	return c;
}

void qm_content_child(struct qm_contents *t, struct sm_id content, struct sm_id id, struct sm_id of,
                      bool dsn, bool owner_open)
{
	bool known = find(t, content) != NULL;
	struct content *c = entry(t, content);
	struct qm_content_child *child = sm_calloc(1, sizeof(*child));

	if (!known)
		c->owner_open = owner_open && !cdb_is_segment(content);
	child->id = id;
	child->of = of;
	sm_hash_insert(&t->children, &child->node, sm_id_hash(id));
	sm_list_push(dsn ? &c->dsns : &c->others, &child->link);
}

void qm_content_member(struct qm_contents *t, struct sm_id segment)
{
	entry(t, segment)->members++;
}

static bool unused(const struct content *c)
{
	return sm_list_empty(&c->dsns) && sm_list_empty(&c->others) && c->members == 0;
}

bool qm_content_end(struct qm_contents *t, struct sm_id content, struct sm_id id)
{
	struct content *c = find(t, content);
	struct sm_hash_node *n = sm_hash_find(&t->children, sm_id_hash(id), child_eq, &id);
	bool last;

	if (c == NULL)
		return true;
	if (sm_id_eq(id, content)) {
		c->owner_open = false;
	} else if (n != NULL) {
		child_free(t, SM_CONTAINER_OF(n, struct qm_content_child, node));
	} else {
		sm_assert(c->members > 0);
		c->members--;
	}
	if (!unused(c) || !c->sealed)
		return false;
	last = !c->owner_open;
	content_free(t, c);
	return last;
}

bool qm_content_seal(struct qm_contents *t, struct sm_id segment)
{
	struct content *c = find(t, segment);

	if (c == NULL)
		return true;
	c->sealed = true;
	if (!unused(c))
		return false;
	content_free(t, c);
	return true;
}

void qm_content_seal_all(struct qm_contents *t, bool (*over)(void *arg, struct sm_id segment),
                         void (*gone)(void *arg, struct sm_id segment), void *arg)
{
	for (struct sm_hash_node *n = sm_hash_next(&t->by_id, NULL), *next; n; n = next) {
		const struct content *c = SM_CONTAINER_OF(n, struct content, node);
		struct sm_id id = c->id;

		next = sm_hash_next(&t->by_id, n);
		if (!c->sealed && over(arg, id) && qm_content_seal(t, id))
			gone(arg, id);
	}
}

bool qm_content_known(const struct qm_contents *t, struct sm_id content)
{
	return find(t, content) != NULL;
}

const struct qm_content_child *qm_content_next(const struct qm_contents *t, struct sm_id content,
                                               bool dsns, const struct qm_content_child *prev)
{
	const struct content *c = find(t, content);
	const struct sm_list *list, *e;

	if (c == NULL)
		return NULL;
	list = dsns ? &c->dsns : &c->others;
	e = prev ? prev->link.next : list->next;
	return e == list ? NULL : SM_LIST_ENTRY(e, struct qm_content_child, link);
}
