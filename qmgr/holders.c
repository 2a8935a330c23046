/*
 * Sets of ids: what smtps processes still need, and what is over but may still be asked for.
 */
#include "qmgr/holders.h"

#include "libcdb/cdb.h"

struct open_id {
	struct sm_hash_node node;
	struct sm_id id;
};

struct taken_id {
	struct sm_hash_node node;
	struct sm_list link;
	struct sm_id id;
	int64_t until_ms;
};

static bool open_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct open_id, node)->id, *(const struct sm_id *)key);
}

static bool taken_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct taken_id, node)->id, *(const struct sm_id *)key);
}

/* ---- holders ---- */

static void forget_all(struct qm_holder *h)
{
	for (struct sm_hash_node *n = sm_hash_next(&h->open, NULL), *next; n; n = next) {
		next = sm_hash_next(&h->open, n);
		sm_hash_remove(&h->open, n);
		sm_free(SM_CONTAINER_OF(n, struct open_id, node));
	}
}

void qm_holders_init(struct qm_holders *h, int64_t now_ms)
{
	for (size_t i = 0; i < QM_HOLDERS; i++) {
		h->v[i] = (struct qm_holder){.left_ms = now_ms};
		sm_hash_init(&h->v[i].open);
	}
}

void qm_holders_fini(struct qm_holders *h)
{
	for (size_t i = 0; i < QM_HOLDERS; i++) {
		forget_all(&h->v[i]);
		sm_hash_fini(&h->v[i].open);
	}
}

void qm_holder_start(struct qm_holders *h, uint8_t proc, uint64_t next_counter)
{
	forget_all(&h->v[proc]);
	h->v[proc].known = h->v[proc].here = true;
	h->v[proc].gone = false;
	h->v[proc].next_counter = next_counter;
}

void qm_holder_open(struct qm_holders *h, uint8_t proc, struct sm_id id)
{
	struct open_id *o = sm_calloc(1, sizeof(*o));

	o->id = id;
	sm_hash_insert(&h->v[proc].open, &o->node, sm_id_hash(id));
}

void qm_holder_left(struct qm_holders *h, uint8_t proc, int64_t now_ms)
{
	h->v[proc].here = false;
	h->v[proc].left_ms = now_ms;
}

bool qm_holders_look(struct qm_holders *hs, int64_t now_ms)
{
	bool any = false;

	for (size_t i = 0; i < QM_HOLDERS; i++) {
		struct qm_holder *h = &hs->v[i];

		if (h->here || h->gone || now_ms - h->left_ms < QM_HOLDER_AWAY_MS)
			continue;
		h->gone = any = true;
	}
	return any;
}

bool qm_holder_is_gone(const struct qm_holders *h, uint8_t proc)
{
	return h->v[proc].gone;
}

void qm_holder_taken(struct qm_holders *h, struct sm_id id)
{
	struct sm_hash *open = &h->v[id.proc].open;
	struct sm_hash_node *n;

	while ((n = sm_hash_find(open, sm_id_hash(id), open_eq, &id)) != NULL) {
		sm_hash_remove(open, n);
		sm_free(SM_CONTAINER_OF(n, struct open_id, node));
	}
}

bool qm_holder_gave_up(const struct qm_holders *hs, struct sm_id id)
{
	const struct qm_holder *h = &hs->v[id.proc];

	if (id.proc == SM_ID_PROC_QMGR)
		return true; /* qmgr's own have no content */
	if (h->gone && cdb_is_segment(id))
		return true;
	/* A holder that never came since qmgr started may still live, with content that it is about
	 * to commit. */
	return h->known && cdb_counter(id) < h->next_counter &&
	       !sm_hash_find(&h->open, sm_id_hash(id), open_eq, &id);
}

/* ---- taken ---- */

void qm_taken_init(struct qm_taken *t, size_t max, int64_t keep_ms)
{
	sm_hash_init(&t->ids);
	sm_list_init(&t->order);
	t->max = max;
	t->keep_ms = keep_ms;
}

static void forget(struct qm_taken *t, struct taken_id *x)
{
	sm_hash_remove(&t->ids, &x->node);
	sm_list_remove(&x->link);
	sm_free(x);
}

void qm_taken_fini(struct qm_taken *t)
{
	while (!sm_list_empty(&t->order))
		forget(t, SM_LIST_FIRST(&t->order, struct taken_id, link));
	sm_hash_fini(&t->ids);
}

void qm_taken_add(struct qm_taken *t, struct sm_id id, int64_t now_ms)
{
	struct taken_id *x;

	if (qm_taken_has(t, id))
		return;
	while (!sm_list_empty(&t->order)) {
		x = SM_LIST_FIRST(&t->order, struct taken_id, link);
		if (x->until_ms > now_ms && t->ids.count < t->max)
			break;
		forget(t, x);
	}
	x = sm_calloc(1, sizeof(*x));
	x->id = id;
	x->until_ms = now_ms + t->keep_ms;
	sm_hash_insert(&t->ids, &x->node, sm_id_hash(id));
	sm_list_push(&t->order, &x->link);
}

bool qm_taken_has(const struct qm_taken *t, struct sm_id id)
{
	return sm_hash_find(&t->ids, sm_id_hash(id), taken_eq, &id) != NULL;
}
