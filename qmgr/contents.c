/*
 * Entries for contents that more than one transaction may use.
 *
 * Invariant: an entry exists while somebody is in it, and, of a segment, while that is not sealed;
 * a segment's file goes only when it is sealed and nobody is in it. `spans` has what each member
 * needs; that of a member that has ended stays while it has children of its own, no longer: a DSN
 * that nobody takes must not hold the room of all that came with its mail.
 */
#include "qmgr/contents.h"

#include <string.h>

#define RELEASE_LEAST ((uint64_t)128 * 1024) /* bytes that are worth the work */

struct span {
	uint32_t offset, size;
	uint32_t children : 31;
	uint32_t ended : 1; /* its mail has, or is not known */
};

struct content {
	struct sm_hash_node node;
	struct sm_id id;
	struct sm_list dsns, others; /* children */
	bool owner_open;             /* of a file of its own */
	bool sealed;
	/* Of a segment. */
	struct sm_list worth; /* in qm_contents.worth */
	bool rested;          /* there already when qm_contents_release came the last time */
	size_t members;       /* mails */
	struct span *spans;   /* what is needed, in order */
	size_t span_count, span_cap;
	uint64_t ended_bytes; /* that were needed and are not any more, since the last release */
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

static bool of_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct qm_content_child, by_of)->of,
	                *(const struct sm_id *)key);
}

static void child_free(struct qm_contents *t, struct qm_content_child *child)
{
	sm_hash_remove(&t->children, &child->node);
	if (child->dsn)
		sm_hash_remove(&t->dsns, &child->by_of);
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
	sm_list_remove(&c->worth);
	sm_free(c->spans);
	sm_free(c);
}

void qm_contents_init(struct qm_contents *t)
{
	sm_hash_init(&t->by_id);
	sm_hash_init(&t->children);
	sm_hash_init(&t->dsns);
	sm_list_init(&t->worth);
}

void qm_contents_fini(struct qm_contents *t)
{
	for (struct sm_hash_node *n = sm_hash_next(&t->by_id, NULL), *next; n; n = next) {
		next = sm_hash_next(&t->by_id, n);
		content_free(t, SM_CONTAINER_OF(n, struct content, node));
	}
	sm_hash_fini(&t->by_id);
	sm_hash_fini(&t->children);
	sm_hash_fini(&t->dsns);
}

/* ---- what is needed of a segment ---- */

/* Index of the first span at this offset or behind it. */
static size_t span_at(const struct content *c, uint32_t offset)
{
	size_t lo = 0, hi = c->span_count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (c->spans[mid].offset < offset)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static struct span *find_span(const struct content *c, const struct cdb_place *at)
{
	size_t i = span_at(c, at->offset);

	return i < c->span_count && c->spans[i].offset == at->offset ? &c->spans[i] : NULL;
}

static struct span *need(struct content *c, const struct cdb_place *at)
{
	size_t i = span_at(c, at->offset);

	if (i < c->span_count && c->spans[i].offset == at->offset)
		return &c->spans[i];
	if (c->span_count == c->span_cap) {
		c->span_cap = c->span_cap ? c->span_cap * 2 : 16;
		c->spans = sm_realloc(c->spans, c->span_cap, sizeof(*c->spans));
	}
	memmove(c->spans + i + 1, c->spans + i, (c->span_count - i) * sizeof(*c->spans));
	c->spans[i] = (struct span){.offset = at->offset, .size = at->size & INT32_MAX};
	c->span_count++;
	return &c->spans[i];
}

static void drop_span(struct content *c, struct span *sp)
{
	c->ended_bytes += sp->size;
	c->span_count--;
	memmove(sp, sp + 1, (size_t)(c->spans + c->span_count - sp) * sizeof(*sp));
}

static void drop_if_over(struct content *c, struct span *sp)
{
	if (sp->ended && sp->children == 0)
		drop_span(c, sp);
}

static void member_ended(struct content *c, const struct cdb_place *at)
{
	struct span *sp = find_span(c, at);

	sm_assert(c->members > 0 && sp != NULL);
	c->members--;
	sp->ended = 1;
	drop_if_over(c, sp);
}

static void child_ended(struct content *c, const struct cdb_place *at)
{
	struct span *sp = find_span(c, at);

	sm_assert(sp != NULL && sp->children > 0);
	sp->children--;
	drop_if_over(c, sp);
}

/* ---- who uses it ---- */

static struct content *find(const struct qm_contents *t, struct sm_id id)
{
	struct sm_hash_node *n = sm_hash_find(&t->by_id, sm_id_hash(id), content_eq, &id);

	return n ? SM_CONTAINER_OF(n, struct content, node) : NULL;
}

static struct content *entry(struct qm_contents *t, struct sm_id id, bool owner_open)
{
	struct content *c = find(t, id);

	if (c != NULL)
		return c;
	c = sm_calloc(1, sizeof(*c));
	c->id = id;
	c->sealed = !cdb_is_segment(id);
	c->owner_open = owner_open && c->sealed;
	sm_list_init(&c->dsns);
	sm_list_init(&c->others);
	sm_list_init(&c->worth);
	sm_hash_insert(&t->by_id, &c->node, sm_id_hash(id));
	return c;
}

void qm_content_child(struct qm_contents *t, const struct cdb_place *at, struct sm_id id,
                      struct sm_id of, bool dsn, bool owner_open)
{
	struct content *c = entry(t, at->content, owner_open);
	struct qm_content_child *child = sm_calloc(1, sizeof(*child));

	if (cdb_is_segment(at->content)) {
		bool first = find_span(c, at) == NULL;
		struct span *sp = need(c, at);

		sp->ended |= first; /* after a restart the mail may be over */
		sp->children++;
	}
	child->id = id;
	child->of = of;
	child->uses = c;
	child->dsn = dsn;
	sm_hash_insert(&t->children, &child->node, sm_id_hash(id));
	if (dsn)
		sm_hash_insert(&t->dsns, &child->by_of, sm_id_hash(of));
	sm_list_push(dsn ? &c->dsns : &c->others, &child->link);
}

bool qm_content_is_free(const struct qm_contents *t, const struct cdb_place *at)
{
	const struct content *c = find(t, at->content);
	size_t i;

	if (at->size > INT32_MAX)
		return false;
	if (c == NULL)
		return true;
	i = span_at(c, at->offset);
	if (i > 0 && (uint64_t)c->spans[i - 1].offset + c->spans[i - 1].size > at->offset)
		return false;
	return i == c->span_count ||
	       (c->spans[i].offset > at->offset && c->spans[i].offset >= at->offset + at->size);
}

void qm_content_member(struct qm_contents *t, const struct cdb_place *at)
{
	struct content *c = entry(t, at->content, false);

	need(c, at)->ended = 0;
	c->members++;
}

static void note_worth(struct qm_contents *t, struct content *c)
{
	if (c->sealed && cdb_is_segment(c->id) && c->ended_bytes >= RELEASE_LEAST &&
	    !sm_list_linked(&c->worth))
		sm_list_push(&t->worth, &c->worth);
}

static bool unused(const struct content *c)
{
	return sm_list_empty(&c->dsns) && sm_list_empty(&c->others) && c->members == 0;
}

bool qm_content_end(struct qm_contents *t, const struct cdb_place *at, struct sm_id id)
{
	struct content *c = find(t, at->content);
	struct sm_hash_node *n = sm_hash_find(&t->children, sm_id_hash(id), child_eq, &id);
	bool last;

	/* A segment without one is nobody's affair but that of who looks for orphans. */
	if (c == NULL)
		return !cdb_is_segment(at->content);
	if (n != NULL)
		child_free(t, SM_CONTAINER_OF(n, struct qm_content_child, node));
	if (sm_id_eq(id, at->content))
		c->owner_open = false;
	else if (n == NULL)
		member_ended(c, at);
	else if (cdb_is_segment(at->content))
		child_ended(c, at);
	if (!unused(c) || !c->sealed) {
		note_worth(t, c);
		return false;
	}
	last = !c->owner_open;
	content_free(t, c);
	return last;
}

void qm_content_recovered(struct qm_contents *t)
{
	for (struct sm_hash_node *n = sm_hash_next(&t->by_id, NULL); n;
	     n = sm_hash_next(&t->by_id, n)) {
		struct content *c = SM_CONTAINER_OF(n, struct content, node);

		c->ended_bytes = RELEASE_LEAST;
		note_worth(t, c);
	}
}

bool qm_content_seal(struct qm_contents *t, struct sm_id segment)
{
	struct content *c = find(t, segment);

	if (c == NULL)
		return true;
	c->sealed = true;
	if (!unused(c)) {
		note_worth(t, c);
		return false;
	}
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

bool qm_contents_release(struct qm_contents *t, size_t most,
                         bool (*tell)(void *arg, struct sm_id segment, const struct cdb_span *keep,
                                      size_t count),
                         void *arg)
{
	const struct content *failed = NULL; /* the first: all behind it were tried */
	size_t done = 0;

	SM_LIST_FOR_SAFE (c, &t->worth, struct content, worth) {
		bool rested = c->rested;
		struct cdb_span *keep;

		c->rested = true;
		if (!rested)
			continue;
		if (most-- == 0 || c == failed)
			break;
		keep = sm_calloc(c->span_count + 1, sizeof(*keep));
		for (size_t i = 0; i < c->span_count; i++)
			keep[i] = (struct cdb_span){c->spans[i].offset, c->spans[i].size};
		sm_list_remove(&c->worth);
		if (tell(arg, c->id, keep, c->span_count)) {
			c->ended_bytes = 0;
			done++;
		} else {
			sm_list_push(&t->worth, &c->worth);
			failed = failed != NULL ? failed : c;
		}
		sm_free(keep);
	}
	return done > 0 && !sm_list_empty(&t->worth);
}

bool qm_content_needed(const struct qm_contents *t, struct sm_id segment, size_t *at,
                       struct cdb_span *out)
{
	const struct content *c = find(t, segment);

	if (c == NULL || *at >= c->span_count)
		return false;
	*out = (struct cdb_span){c->spans[*at].offset, c->spans[*at].size};
	(*at)++;
	return true;
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

struct sm_id qm_content_of_dsns(const struct qm_contents *t, struct sm_id of)
{
	struct sm_hash_node *n = sm_hash_find(&t->dsns, sm_id_hash(of), of_eq, &of);

	return n ? SM_CONTAINER_OF(n, struct qm_content_child, by_of)->uses->id : (struct sm_id){0};
}
