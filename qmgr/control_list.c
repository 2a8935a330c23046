/*
 * list and summary: all mail, or what a filter chooses of it, in steps of one mail. Loop thread.
 *
 * A list that fits is in the order in which mail came, which is the order of ids: the steps gather
 * the first ones of it before they show them. A longer one without --limit comes as the tables have
 * it.
 */
#include "qmgr/control.h"

#include <stdlib.h>
#include "libsm/time.h"

#define SORTED_MAX 10000 /* mails that are put in order without being asked for */
#define ROWS_MAX   50000 /* different keys of a summary; the rest is one row */
#define ROWS_SHOWN 20
#define REST       "(other)"

/* ---- the walk ---- */

bool qm_walk_find(const struct qm *q, struct sm_id id, struct qm_walked *out)
{
	*out = (struct qm_walked){.id = id, .txn = qm_txn_find(&q->txns, id)};
	if (out->txn)
		return out->txn->state != QM_TXN_COMMITTING && out->txn->state != QM_TXN_ENDING &&
		       out->txn->open > 0;
	return (out->entry = qm_edbc_find(q->edbc, id)) != NULL;
}

void qm_walk_begin(struct qm *q, const struct qm_filter *f, struct sm_arena *a, struct qm_walk *w)
{
	size_t count = 0;
	const struct sm_id *ids = f ? qm_filter_ids(f, &count) : NULL;

	*w = (struct qm_walk){.named = ids != NULL};
	if (!w->named)
		count = q->txns.by_id.count;
	w->ids = sm_arena_must(a, count * sizeof(*w->ids) + 1);
	if (w->named) {
		memcpy(w->ids, ids, count * sizeof(*ids));
		w->count = count;
		return;
	}
	SM_LIST_FOR (txn, &q->txns.active, struct qm_txn, link)
		if (w->count < count)
			w->ids[w->count++] = txn->id;
}

bool qm_walk_next(struct qm *q, struct qm_walk *w, struct qm_walked *out)
{
	while (w->at < w->count) {
		size_t i = w->at++;

		/* The filter sorted them: the same one twice stands side by side. */
		if (i > 0 && sm_id_eq(w->ids[i], w->ids[i - 1]))
			continue;
		if (qm_walk_find(q, w->ids[i], out))
			return true;
	}
	if (w->named)
		return false;
	*out = (struct qm_walked){.entry = qm_edbc_walk(q->edbc, &w->cursor)};
	if (out->entry)
		out->id = qm_edbc_id(out->entry);
	return out->entry != NULL;
}

void qm_walk_view(const struct qm *q, const struct qm_walked *x, struct sm_arena *a,
                  struct qm_view *v)
{
	if (x->txn)
		qm_view_of_txn(x->txn, a, v);
	else
		qm_view_of_entry(q->edbc, x->entry, a, v);
}

/* The view of a mail that the filter chooses; gives how many of its recipients, their places in
 * *which. */
static unsigned matches(struct qm_ctl *c, const struct qm_walked *x, struct qm_view *v,
                        uint32_t **which)
{
	struct sm_arena *a = qm_ctl_view_arena(c->q);

	sm_arena_reset(a);
	qm_walk_view(c->q, x, a, v);
	*which = qm_ctl_which(c->q, v->rcpt_count);
	return qm_filter_match(c->filter, v, *which);
}

/* ---- list ---- */

struct list {
	struct qm_walk walk;
	size_t mails;
	/* A list in order: */
	struct sm_id *ids; /* room for twice `max` */
	size_t count, max, at;
	bool full; /* the last of ids[max - 1] is the last one that may be shown */
};

static int id_cmp(const void *a, const void *b)
{
	const struct sm_id *x = a, *y = b;

	if (x->counter != y->counter)
		return x->counter < y->counter ? -1 : 1;
	return (int)x->proc - (int)y->proc;
}

static void rcpt_line(struct qm_ctl *c, const struct qm_view_rcpt *r)
{
	char addr[700];
	size_t n = 0;

	if (r->local.n + 1 + r->domain.n <= sizeof(addr)) {
		memcpy(addr, r->local.p ? r->local.p : "", r->local.n);
		n = r->local.n;
		if (r->domain.n) {
			addr[n++] = '@';
			memcpy(addr + n, r->domain.p, r->domain.n);
			n += r->domain.n;
		}
	}
	qm_ctl_open(c);
	qm_ctl_num(c, "index", r->index);
	qm_ctl_str(c, "rcpt", sm_str_n(addr, n));
	qm_ctl_str(c, "state", sm_str(qm_view_state_word(r->state)));
	qm_ctl_num(c, "tries", r->tries);
	qm_ctl_num(c, "code", r->code);
	qm_ctl_str(c, "host", r->host);
	qm_ctl_str(c, "reason", r->reason);
	qm_ctl_close(c);
}

static void mail_line(struct qm_ctl *c, const struct qm_view *v, const uint32_t *which, unsigned n)
{
	qm_ctl_begin(c, "mail");
	qm_ctl_id(c, "id", v->id);
	qm_ctl_str(c, "queue", v->active ? SM_STR("active") : SM_STR("deferred"));
	qm_ctl_str(c, "sender", v->sender);
	qm_ctl_num(c, "size", (int64_t)v->size);
	qm_ctl_time(c, "received_s", v->received_s);
	qm_ctl_num(c, "age_s", SM_MAX(0, sm_wall_s() - v->received_s));
	qm_ctl_time(c, "next_try_s", v->next_try_s);
	qm_ctl_num(c, "rcpt_count", v->rcpt_count);
	qm_ctl_array(c, "rcpts");
	for (unsigned i = 0; i < n; i++)
		rcpt_line(c, &v->rcpts[which[i]]);
	qm_ctl_array_end(c);
	qm_ctl_line(c);
}

static void list_end(struct qm_ctl *c, const struct list *l)
{
	qm_ctl_end(c, l->mails ? QM_CTL_OK : QM_CTL_NOTHING, "");
}

static void show_one(struct qm_ctl *c, struct list *l, const struct qm_walked *x)
{
	uint32_t *which;
	struct qm_view v;
	unsigned n = matches(c, x, &v, &which);

	if (n == 0)
		return;
	mail_line(c, &v, which, n);
	l->mails++;
}

/* As they come. */
static bool stream(struct qm_ctl *c)
{
	struct list *l = c->work;
	struct qm_walked x;

	if (!qm_walk_next(c->q, &l->walk, &x)) {
		list_end(c, l);
		return false;
	}
	show_one(c, l, &x);
	return true;
}

static bool show_next(struct qm_ctl *c)
{
	struct list *l = c->work;
	struct qm_walked x;

	if (l->at == l->count) {
		list_end(c, l);
		return false;
	}
	if (qm_walk_find(c->q, l->ids[l->at++], &x))
		show_one(c, l, &x);
	return true;
}

static void keep_first(struct list *l)
{
	size_t left = 0;

	qsort(l->ids, l->count, sizeof(*l->ids), id_cmp);
	for (size_t i = 0; i < l->count && left < l->max; i++)
		if (left == 0 || !sm_id_eq(l->ids[left - 1], l->ids[i]))
			l->ids[left++] = l->ids[i];
	l->full = left == l->max;
	l->count = left;
}

static bool gather(struct qm_ctl *c)
{
	struct list *l = c->work;
	struct qm_walked x;
	struct qm_view v;
	uint32_t *which;

	if (!qm_walk_next(c->q, &l->walk, &x)) {
		keep_first(l);
		c->step = show_next;
		return true;
	}
	if (id_cmp(&x.id, &c->after) <= 0 || (l->full && id_cmp(&x.id, &l->ids[l->max - 1]) >= 0))
		return true;
	if (!qm_filter_empty(c->filter) && matches(c, &x, &v, &which) == 0)
		return true;
	l->ids[l->count++] = x.id;
	if (l->count == 2 * l->max)
		keep_first(l);
	return true;
}

void qm_ctl_list(struct qm_ctl *c)
{
	struct qm *q = c->q;
	struct list *l = sm_arena_must(&c->arena, sizeof(*l));
	size_t all = q->txns.by_id.count + qm_edbc_count(q->edbc);

	c->work = l;
	qm_walk_begin(q, c->filter, &c->arena, &l->walk);
	if (c->limit == 0 && sm_id_none(c->after) && all > SORTED_MAX && !l->walk.named) {
		c->step = stream;
		return;
	}
	l->max = c->limit ? (size_t)c->limit : l->walk.named ? l->walk.count : SORTED_MAX;
	l->ids = sm_arena_must(&c->arena, 2 * l->max * sizeof(*l->ids) + 1);
	c->step = gather;
}

/* ---- summary ---- */

struct row {
	struct sm_hash_node node;
	struct sm_str key;
	uint64_t mails, rcpts, held, bytes;
	int64_t oldest_s, next_try_s; /* wall; 0: none */
	struct sm_id last;            /* the mail counted last: one with many recipients is one */
};

struct by_atom {
	struct row *row;
	uint32_t stamp;
};

enum by { BY_DOMAIN, BY_HOST, BY_REASON, BY_SENDER, BY_AGE, BY_STATE };

struct summary {
	struct qm_walk walk;
	enum by by;
	struct sm_hash rows;
	struct row *rest;
	struct row total;
	struct by_atom *by_atom; /* rows of strings of the index, by number */
	uint32_t by_atom_count;
	/* The rows to be shown, while they are picked a heap with the last of them on top: */
	struct row **top;
	size_t most, shown, shown_at, keys;
	struct sm_hash_node *picked_at;
};

static const char *const by_words[] = {"domain", "host", "reason", "sender", "age", "state"};

static const struct {
	int64_t below_s;
	const char *word;
} ages[] = {{300, "under 5m"},       {1800, "5m to 30m"},   {7200, "30m to 2h"},
            {28800, "2h to 8h"},     {86400, "8h to 1d"},   {3 * 86400, "1d to 3d"},
            {7 * 86400, "3d to 1w"}, {INT64_MAX, "over 1w"}};

static struct sm_str age_of(int64_t received_s)
{
	int64_t age_s = sm_wall_s() - received_s;
	size_t i = 0;

	while (age_s >= ages[i].below_s)
		i++;
	return sm_str(ages[i].word);
}

static bool row_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_str_caseeq(SM_CONTAINER_OF(n, struct row, node)->key,
	                     *(const struct sm_str *)key);
}

static struct row *row_of(struct qm_ctl *c, struct summary *s, struct sm_str key)
{
	uint64_t hash = sm_hash_case(key);
	struct sm_hash_node *n = sm_hash_find(&s->rows, hash, row_eq, &key);
	struct row *r;

	if (n)
		return SM_CONTAINER_OF(n, struct row, node);
	if (s->rows.count >= ROWS_MAX) {
		if (s->rest == NULL) {
			s->rest = sm_arena_must(&c->arena, sizeof(*r));
			s->rest->key = SM_STR(REST);
		}
		return s->rest;
	}
	r = sm_arena_must(&c->arena, sizeof(*r));
	r->key = sm_arena_str(&c->arena, key);
	sm_hash_insert(&s->rows, &r->node, hash);
	return r;
}

/* The same, for a string that the index may have a number for. */
static struct row *row_of_atom(struct qm_ctl *c, struct summary *s, struct qm_view_atom atom,
                               struct sm_str key)
{
	struct by_atom *known;

	if (atom.number == 0)
		return row_of(c, s, key);
	if (atom.number >= s->by_atom_count) {
		uint32_t count = atom.number + atom.number / 2 + 1024;

		s->by_atom = sm_realloc(s->by_atom, count, sizeof(*s->by_atom));
		memset(s->by_atom + s->by_atom_count, 0,
		       (count - s->by_atom_count) * sizeof(*s->by_atom));
		s->by_atom_count = count;
	}
	known = &s->by_atom[atom.number];
	if (known->row == NULL || known->stamp != atom.stamp)
		*known = (struct by_atom){row_of(c, s, key), atom.stamp};
	return known->row;
}

static struct row *row_for(struct qm_ctl *c, struct summary *s, const struct qm_view *v,
                           const struct qm_view_rcpt *r)
{
	switch (s->by) {
	case BY_DOMAIN:
		return row_of_atom(c, s, r->domain_atom, r->domain);
	case BY_HOST:
		return row_of_atom(c, s, r->host_atom, r->host);
	case BY_REASON:
		return row_of_atom(c, s, r->reason_atom, r->reason);
	case BY_SENDER:
		return row_of_atom(c, s, v->sender_atom, v->sender);
	case BY_AGE:
		return row_of(c, s, age_of(v->received_s));
	case BY_STATE:
		break;
	}
	return row_of(c, s, sm_str(qm_view_state_word(r->state)));
}

static void count(struct row *row, const struct qm_view *v, const struct qm_view_rcpt *r)
{
	row->rcpts++;
	row->held += r->state == QM_VIEW_HELD;
	if (sm_id_eq(row->last, v->id))
		return;
	row->last = v->id;
	row->mails++;
	row->bytes += v->size;
	if (row->oldest_s == 0 || v->received_s < row->oldest_s)
		row->oldest_s = v->received_s;
	if (v->next_try_s > 0 && v->next_try_s != QM_EDBC_NEVER &&
	    (row->next_try_s == 0 || v->next_try_s < row->next_try_s))
		row->next_try_s = v->next_try_s;
}

static void row_line(struct qm_ctl *c, const char *type, const char *by, const struct row *r)
{
	qm_ctl_begin(c, type);
	qm_ctl_str(c, "by", sm_str(by));
	if (r->key.p)
		qm_ctl_str(c, "key", r->key);
	qm_ctl_num(c, "mails", (int64_t)r->mails);
	qm_ctl_num(c, "rcpts", (int64_t)r->rcpts);
	qm_ctl_num(c, "held", (int64_t)r->held);
	qm_ctl_num(c, "bytes", (int64_t)r->bytes);
	qm_ctl_time(c, "oldest_s", r->oldest_s);
	qm_ctl_time(c, "next_try_s", r->next_try_s);
}

/* Most recipients first; ages by age. */
static int row_cmp(const void *a, const void *b)
{
	const struct row *x = *(struct row *const *)a, *y = *(struct row *const *)b;

	if (x->rcpts != y->rcpts)
		return x->rcpts > y->rcpts ? -1 : 1;
	return sm_str_cmp(x->key, y->key);
}

static int age_cmp(const void *a, const void *b)
{
	const struct row *x = *(struct row *const *)a, *y = *(struct row *const *)b;

	return x->oldest_s > y->oldest_s ? -1 : x->oldest_s < y->oldest_s;
}

static int by_order(const struct summary *s, struct row *a, struct row *b)
{
	return s->by == BY_AGE ? age_cmp(&a, &b) : row_cmp(&a, &b);
}

/* Put r where the heap has a hole at its top. */
static void settle(struct summary *s, struct row *r)
{
	size_t at = 0, child;

	while ((child = 2 * at + 1) < s->shown) {
		if (child + 1 < s->shown && by_order(s, s->top[child + 1], s->top[child]) > 0)
			child++;
		if (by_order(s, s->top[child], r) <= 0)
			break;
		s->top[at] = s->top[child];
		at = child;
	}
	s->top[at] = r;
}

static void pick(struct summary *s, struct row *r)
{
	size_t at = s->shown;

	s->keys++;
	if (s->shown == s->most) {
		if (by_order(s, r, s->top[0]) < 0)
			settle(s, r);
		return;
	}
	for (s->shown++; at > 0 && by_order(s, r, s->top[(at - 1) / 2]) > 0; at = (at - 1) / 2)
		s->top[at] = s->top[(at - 1) / 2];
	s->top[at] = r;
}

static bool show_row(struct qm_ctl *c)
{
	struct summary *s = c->work;

	if (s->shown_at < s->shown) {
		row_line(c, "row", by_words[s->by], s->top[s->shown_at++]);
		qm_ctl_line(c);
		return true;
	}
	row_line(c, "total", by_words[s->by], &s->total);
	qm_ctl_num(c, "keys", (int64_t)s->keys);
	qm_ctl_num(c, "shown", (int64_t)s->shown);
	qm_ctl_line(c);
	qm_ctl_end(c, s->keys ? QM_CTL_OK : QM_CTL_NOTHING, "");
	return false;
}

/* Ten thousands of rows are sorted by nobody: the few that are shown are picked, a row a step. */
static bool pick_next(struct qm_ctl *c)
{
	struct summary *s = c->work;

	s->picked_at = sm_hash_next(&s->rows, s->picked_at);
	if (s->picked_at) {
		pick(s, SM_CONTAINER_OF(s->picked_at, struct row, node));
		return true;
	}
	if (s->rest)
		pick(s, s->rest);
	qsort(s->top, s->shown, sizeof(struct row *), s->by == BY_AGE ? age_cmp : row_cmp);
	c->step = show_row;
	return true;
}

static void summary_end(struct qm_ctl *c, struct summary *s)
{
	s->most = c->limit ? (size_t)c->limit : ROWS_SHOWN;
	s->most = SM_MIN(s->most, s->rows.count + 1);
	s->top = sm_arena_must(&c->arena, s->most * sizeof(struct row *));
	c->step = pick_next;
}

static bool summarize(struct qm_ctl *c)
{
	struct summary *s = c->work;
	struct qm_walked x;
	struct qm_view v;
	uint32_t *which;
	unsigned n;

	if (!qm_walk_next(c->q, &s->walk, &x)) {
		summary_end(c, s);
		return true;
	}
	n = matches(c, &x, &v, &which);
	for (unsigned i = 0; i < n; i++) {
		const struct qm_view_rcpt *r = &v.rcpts[which[i]];

		count(row_for(c, s, &v, r), &v, r);
		count(&s->total, &v, r);
	}
	return true;
}

static void summary_fini(struct qm_ctl *c)
{
	struct summary *s = c->work;

	sm_hash_fini(&s->rows);
	sm_free(s->by_atom);
}

void qm_ctl_summary(struct qm_ctl *c)
{
	struct sm_str by = c->by.n ? c->by : SM_STR("domain");
	struct summary *s;
	unsigned i = 0;

	while (i < SM_ARRAY_SIZE(by_words) && !sm_str_eq(by, sm_str(by_words[i])))
		i++;
	if (i == SM_ARRAY_SIZE(by_words)) {
		qm_ctl_end(c, QM_CTL_USAGE,
		           "--by takes domain, host, reason, sender, age or state");
		return;
	}
	c->work = s = sm_arena_must(&c->arena, sizeof(*s));
	s->by = (enum by)i;
	sm_hash_init(&s->rows);
	c->fini = summary_fini;
	qm_walk_begin(c->q, c->filter, &c->arena, &s->walk);
	c->step = summarize;
}
