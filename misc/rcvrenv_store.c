/*
 * What is in the content store, and who needs it: mails, their children, and what qmgr has.
 *
 * Invariants: a content counts the mails that need it, a segment the contents in it that somebody
 * needs: such a mail, or something in qmgr's queue, and then it is not ours. Where a head in a
 * segment says one thing and the log of the mail another, the log is right: heads are beside bytes
 * that strangers sent.
 */
#include "misc/rcvrenv.h"

#include <string.h>

void rcv_store_init(struct rcv *r)
{
	sm_hash_init(&r->segments);
	sm_hash_init(&r->places);
}

void rcv_store_fini(struct rcv *r)
{
	for (struct sm_hash_node *n = sm_hash_next(&r->places, NULL), *next; n; n = next) {
		next = sm_hash_next(&r->places, n);
		sm_hash_remove(&r->places, n);
		sm_free(SM_CONTAINER_OF(n, struct rcv_place, node));
	}
	for (struct sm_hash_node *n = sm_hash_next(&r->segments, NULL), *next; n; n = next) {
		next = sm_hash_next(&r->segments, n);
		sm_hash_remove(&r->segments, n);
		sm_free(SM_CONTAINER_OF(n, struct rcv_segment, node));
	}
	sm_hash_fini(&r->places);
	sm_hash_fini(&r->segments);
}

/* ---- what there is ---- */

static bool segment_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct rcv_segment, node)->id,
	                *(const struct sm_id *)key);
}

static struct rcv_segment *segment_find(const struct rcv *r, struct sm_id id)
{
	struct sm_hash_node *n = sm_hash_find(&r->segments, sm_id_hash(id), segment_eq, &id);

	return n ? SM_CONTAINER_OF(n, struct rcv_segment, node) : NULL;
}

static struct rcv_segment *segment(struct rcv *r, struct sm_id id)
{
	struct rcv_segment *seg = segment_find(r, id);

	if (seg != NULL)
		return seg;
	seg = sm_calloc(1, sizeof(*seg));
	seg->id = id;
	sm_hash_insert(&r->segments, &seg->node, sm_id_hash(id));
	return seg;
}

/* No two contents begin at one place. */
static bool place_eq(const struct sm_hash_node *n, const void *key)
{
	const struct cdb_place *a = &SM_CONTAINER_OF(n, struct rcv_place, node)->at, *b = key;

	return sm_id_eq(a->content, b->content) && a->offset == b->offset;
}

static uint64_t place_hash(const struct cdb_place *at)
{
	return sm_id_hash(at->content) ^ at->offset * UINT64_C(0x9E3779B97F4A7C15);
}

static struct rcv_place *place_find(const struct rcv *r, const struct cdb_place *at)
{
	struct sm_hash_node *n = sm_hash_find(&r->places, place_hash(at), place_eq, at);

	return n ? SM_CONTAINER_OF(n, struct rcv_place, node) : NULL;
}

void rcv_add(struct rcv *r, struct sm_id id, const struct cdb_place *at)
{
	struct rcv_mail *m = rcv_mail(r, id);
	struct rcv_place *p;

	if (at == NULL) {
		m->file = true;
		return;
	}
	p = sm_calloc(1, sizeof(*p));
	p->at = *at;
	p->segment = segment(r, at->content);
	p->mail = m;
	p->next = m->places;
	m->places = p;
	sm_hash_insert(&r->places, &p->node, place_hash(at));
}

void rcv_hold(struct rcv *r, struct sm_id id)
{
	segment(r, id)->users++;
}

void rcv_kept(struct rcv *r, struct sm_str line)
{
	struct cdb_place at;
	struct sm_str offset;
	uint64_t n;
	struct rcv_place *p;
	struct rcv_mail *m;

	if (sm_id_parse(sm_str_split(line, ' ', &offset), &at.content) != 0)
		return;
	if (sm_str_u64(offset, 10, UINT32_MAX, &n) == 0) {
		at.offset = (uint32_t)n;
		segment(r, at.content)->users++;
		if ((p = place_find(r, &at)) != NULL)
			p->needed = true;
	} else if (cdb_is_segment(at.content)) {
		segment(r, at.content)->kept = true;
	} else if ((m = rcv_find(r, at.content)) != NULL) {
		m->kept = true;
	}
}

bool rcv_is_stored(const struct rcv_mail *m)
{
	return m->file || m->places != NULL;
}

bool rcv_is_mail(const struct rcv_mail *m)
{
	return rcv_is_stored(m) || m->owner != NULL;
}

struct rcv_mail *rcv_content_of(const struct rcv_mail *m)
{
	return m->owner ? m->owner : (struct rcv_mail *)(uintptr_t)m;
}

struct rcv_place *rcv_place_of(const struct rcv_mail *m)
{
	const struct rcv_mail *c = rcv_content_of(m);

	for (struct rcv_place *p = c->places; p != NULL; p = p->next)
		if (sm_id_eq(p->at.content, c->at.content) && p->at.offset == c->at.offset &&
		    p->at.size == c->at.size)
			return p;
	return NULL;
}

bool rcv_is_ours(const struct rcv_mail *m)
{
	const struct rcv_place *p = rcv_place_of(m);

	return p ? p->segment->kept && !p->needed : rcv_content_of(m)->kept;
}

/* ---- who needs it ---- */

/* Of a child, as its own line says; NULL: there is none, or the content is gone. */
static struct rcv_mail *owner_of(const struct rcv *r, const struct rcv_mail *m)
{
	const struct cdb_place at = {.content = m->content, .offset = m->at.offset};
	struct rcv_mail *owner;
	struct rcv_place *p;

	if (sm_id_none(m->content))
		return NULL;
	if (cdb_is_segment(m->content))
		return (p = place_find(r, &at)) != NULL ? p->mail : NULL;
	owner = rcv_find(r, m->content);
	return owner != NULL && owner->file ? owner : NULL;
}

static void join_child(struct rcv *r, struct rcv_mail *m)
{
	struct rcv_mail *owner = owner_of(r, m);

	if (owner == NULL)
		return;
	m->owner = owner;
	m->has_final = owner->has_final;
	m->at = owner->at;
	m->body = owner->body;
}

static void count_user(struct rcv_mail *m)
{
	enum rcv_state state = rcv_state(m);

	if (state != RCV_SETTLED && state != RCV_REFUSED)
		rcv_content_of(m)->users++;
}

static struct rcv_mail *next_mail(const struct rcv *r, struct rcv_mail *prev)
{
	struct sm_hash_node *n = sm_hash_next(&r->mails, prev ? &prev->node : NULL);

	return n ? SM_CONTAINER_OF(n, struct rcv_mail, node) : NULL;
}

void rcv_join(struct rcv *r)
{
	for (struct rcv_mail *m = NULL; (m = next_mail(r, m)) != NULL;)
		rcv_take_final(m);
	for (struct rcv_mail *m = NULL; (m = next_mail(r, m)) != NULL;)
		join_child(r, m);
	for (struct rcv_mail *m = NULL; (m = next_mail(r, m)) != NULL;)
		if (rcv_is_mail(m))
			count_user(m);
	for (struct rcv_mail *m = NULL; (m = next_mail(r, m)) != NULL;)
		for (struct rcv_place *p = m->places; p != NULL; p = p->next)
			p->segment->users += m->users > 0 && !p->needed;
}
