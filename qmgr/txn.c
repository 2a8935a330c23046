/*
 * The table of transactions and the state changes of recipients. Loop thread only.
 *
 * Invariant: txn->busy, txn->open and txn->owed count the states of its recipients; table->rcpts is
 * the sum of all rcpt_count.
 */
#include "qmgr/txn.h"

#define ARENA_FIRST_BYTES 1024
#define CURSOR_BYTES      320
/* A full transaction: recipients with the longest addresses, and notes of many tries. */
#define ARENA_CAP_BYTES (16 * 1024 * 1024)

static bool txn_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct qm_txn, node)->id, *(const struct sm_id *)key);
}

void qm_txn_table_init(struct qm_txn_table *t)
{
	sm_hash_init(&t->by_id);
	qm_contents_init(&t->contents);
	sm_list_init(&t->active);
	t->rcpts = 0;
}

void qm_txn_table_fini(struct qm_txn_table *t)
{
	SM_LIST_FOR_SAFE (txn, &t->active, struct qm_txn, link) {
		struct qm_txn *p = txn;

		qm_txn_free(t, &p);
	}
	sm_hash_fini(&t->by_id);
	qm_contents_fini(&t->contents);
}

/* Sizes are bounded by the coders, and the arena's cap is above their sum. */
static struct sm_str keep(struct qm_txn *txn, struct sm_str s)
{
	return s.n ? sm_arena_str(&txn->arena, s) : SM_STR("");
}

void qm_client_keep(struct qm_txn *txn, const struct qm_client *c)
{
	txn->client = (struct qm_client){
	    .sa = c->sa,
	    .name = keep(txn, c->name),
	    .helo = keep(txn, c->helo),
	    .proto = keep(txn, c->proto),
	    .xid = keep(txn, c->xid),
	};
}

struct qm_txn *qm_txn_new(struct qm_txn_table *t, struct sm_id id, size_t rcpts)
{
	struct qm_txn *txn = sm_calloc(1, sizeof(*txn));

	sm_assert(qm_txn_find(t, id) == NULL);
	sm_arena_init(&txn->arena, "txn", ARENA_FIRST_BYTES, ARENA_CAP_BYTES);
	txn->id = id;
	txn->rcpt_count = (uint16_t)rcpts;
	txn->rcpts = sm_arena_must(&txn->arena, rcpts * sizeof(*txn->rcpts));
	txn->busy = txn->open = (unsigned)rcpts;
	for (size_t i = 0; i < rcpts; i++) {
		txn->rcpts[i].txn = txn;
		txn->rcpts[i].index = (uint16_t)i;
		sm_list_init(&txn->rcpts[i].link);
	}
	qm_client_keep(txn, &(struct qm_client){0});
	txn->route = txn->msgid = SM_STR("");
	sm_hash_insert(&t->by_id, &txn->node, sm_id_hash(id));
	sm_list_push(&t->active, &txn->link);
	sm_list_init(&txn->held);
	sm_list_init(&txn->hold);
	t->rcpts += rcpts;
	return txn;
}

struct qm_txn *qm_txn_find(const struct qm_txn_table *t, struct sm_id id)
{
	struct sm_hash_node *n = sm_hash_find(&t->by_id, sm_id_hash(id), txn_eq, &id);

	return n ? SM_CONTAINER_OF(n, struct qm_txn, node) : NULL;
}

void qm_txn_free(struct qm_txn_table *t, struct qm_txn **txnp)
{
	struct qm_txn *txn = *txnp;

	for (unsigned i = 0; i < txn->rcpt_count; i++)
		sm_assert(!sm_list_linked(&txn->rcpts[i].link));
	sm_hash_remove(&t->by_id, &txn->node);
	sm_list_remove(&txn->link);
	t->rcpts -= txn->rcpt_count;
	sm_arena_fini(&txn->arena);
	SM_FREE(*txnp);
}

/* As an operator would; the reason stands where that of a failed try does. */
static void hold(struct qm_txn *txn, struct sm_str why)
{
	struct sm_str text;

	if (sm_str_empty(why))
		return;
	text = sm_arena_printf(&txn->arena, "4.7.1 held by a filter: %.*s", SM_STR_ARG(why));
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		txn->rcpts[i].flags |= QM_RCPT_HELD;
		qm_rcpt_note(&txn->rcpts[i], 451, text, SM_STR(""), 0);
	}
}

struct qm_txn *qm_txn_from_commit(struct qm_txn_table *t, const struct sm_msg_ta_commit *m)
{
	struct qm_txn *txn = qm_txn_new(t, m->ta, m->rcpts_count);

	txn->content = m->content;
	txn->content_offset = m->content_offset;
	txn->size = m->size;
	txn->sender = keep(txn, m->sender);
	txn->envid = keep(txn, m->envid);
	txn->auth = keep(txn, m->auth);
	qm_client_keep(txn,
	               &(struct qm_client){m->client, m->client_name, m->helo, m->proto, m->xid});
	txn->route = keep(txn, m->route);
	txn->deliver = m->deliver;
	txn->msgid = keep(txn, m->msgid);
	txn->received_s = txn->queued_s = m->received_s;
	txn->body = m->body;
	txn->ret = m->ret;
	txn->utf8 = m->utf8;
	for (uint32_t i = 0; i < m->rcpts_count; i++) {
		txn->rcpts[i].addr = keep(txn, m->rcpts[i].addr);
		txn->rcpts[i].orcpt = keep(txn, m->rcpts[i].orcpt);
		txn->rcpts[i].notify = m->rcpts[i].notify;
	}
	hold(txn, m->hold);
	return txn;
}

/* Of a record. What is open wants a route. */
static enum qm_rcpt_state state_of(uint8_t rec_state)
{
	switch (rec_state) {
	case QM_REC_DONE:
		return QM_RCPT_SETTLED;
	case QM_REC_FAILED:
		return QM_RCPT_FAILED;
	case QM_REC_DELIVERED:
		return QM_RCPT_DELIVERED;
	case QM_REC_RELAYED:
		return QM_RCPT_RELAYED;
	case QM_REC_EXPANDED:
		return QM_RCPT_EXPANDED;
	default:
		return QM_RCPT_NEW;
	}
}

uint8_t qm_rcpt_rec_state(const struct qm_rcpt *r)
{
	switch (r->state) {
	case QM_RCPT_SETTLED:
		return QM_REC_DONE;
	case QM_RCPT_FAILED:
		return QM_REC_FAILED;
	case QM_RCPT_DELIVERED:
		return QM_REC_DELIVERED;
	case QM_RCPT_RELAYED:
		return QM_REC_RELAYED;
	case QM_RCPT_EXPANDED:
		return QM_REC_EXPANDED;
	default:
		return QM_REC_OPEN;
	}
}

struct qm_txn *qm_txn_from_rec(struct qm_txn_table *t, const struct qm_rec_txn *rec)
{
	struct qm_txn *txn = qm_txn_new(t, rec->ta, rec->rcpts_count);

	txn->content = rec->content;
	txn->content_offset = rec->content_offset;
	txn->size = rec->size;
	txn->sender = keep(txn, rec->sender);
	txn->envid = keep(txn, rec->envid);
	txn->auth = keep(txn, rec->auth);
	qm_client_keep(txn, &(struct qm_client){rec->client, rec->client_name, rec->helo,
	                                        rec->proto, rec->xid});
	txn->route = keep(txn, rec->route);
	txn->deliver = rec->deliver;
	txn->msgid = keep(txn, rec->msgid);
	txn->received_s = rec->received_s;
	txn->queued_s = rec->queued_s;
	txn->body = rec->body;
	txn->ret = rec->ret;
	txn->utf8 = rec->utf8;
	txn->flags = rec->flags;
	txn->act = rec->act;
	txn->level = rec->level;
	txn->child_of = rec->child_of;
	for (uint32_t i = 0; i < rec->rcpts_count; i++) {
		const struct qm_rec_rcpt *from = &rec->rcpts[i];
		struct qm_rcpt *r = &txn->rcpts[i];

		r->index = from->index;
		r->addr = keep(txn, from->addr);
		r->orcpt = keep(txn, from->orcpt);
		r->notify = from->notify;
		r->tries = from->tries;
		r->next_try_s = from->next_try_s;
		r->code = from->code;
		r->text = keep(txn, from->text);
		r->host = keep(txn, from->host);
		r->last_try_s = from->last_try_s;
		r->flags = from->flags;
		qm_rcpt_set(r, state_of(from->state));
	}
	for (uint32_t i = 0; i < rec->ways_count; i++) {
		struct qm_rcpt *r = qm_txn_rcpt(txn, rec->ways[i].index);

		if (r)
			r->tls = keep(txn, rec->ways[i].tls);
	}
	for (uint32_t i = 0; i < rec->cursors_count; i++) {
		struct qm_rcpt *r = qm_txn_rcpt(txn, rec->cursors[i].index);

		if (r)
			qm_rcpt_cursor(r, rec->cursors[i].after);
	}
	txn->dsn_kind = rec->dsn_kind;
	txn->dsn_of = rec->dsn_of;
	txn->dsn_sender = keep(txn, rec->dsn_sender);
	txn->dsn_received_s = rec->dsn_received_s;
	txn->dsn_until_s = rec->dsn_until_s;
	txn->dsn_count = rec->dsn_rcpts_count;
	txn->dsn_rcpts = sm_arena_must(&txn->arena, rec->dsn_rcpts_count * sizeof(*txn->dsn_rcpts));
	for (uint32_t i = 0; i < rec->dsn_rcpts_count; i++) {
		const struct qm_rec_dsn_item *from = &rec->dsn_rcpts[i];

		txn->dsn_rcpts[i] = (struct sm_msg_dsn_rcpt){
		    .addr = keep(txn, from->addr),
		    .orcpt = keep(txn, from->orcpt),
		    .action = from->action,
		    .code = from->code,
		    .text = keep(txn, from->text),
		    .host = keep(txn, from->host),
		    .last_try_s = from->last_try_s,
		};
	}
	return txn;
}

/* Of one that is over nobody asks how far it was. */
static bool has_cursor(const struct qm_rcpt *r)
{
	return r->after.n > 0 && qm_rcpt_rec_state(r) == QM_REC_OPEN;
}

unsigned qm_txn_cursors(const struct qm_txn *txn)
{
	unsigned n = 0;

	for (unsigned i = 0; i < txn->rcpt_count; i++)
		n += has_cursor(&txn->rcpts[i]);
	return n;
}

struct qm_rec_rcpt qm_rcpt_to_rec(const struct qm_rcpt *r)
{
	return (struct qm_rec_rcpt){
	    .index = r->index,
	    .addr = r->addr,
	    .orcpt = r->orcpt,
	    .notify = r->notify,
	    .state = qm_rcpt_rec_state(r),
	    .tries = r->tries,
	    .next_try_s = r->next_try_s,
	    .code = r->code,
	    .text = r->text,
	    .host = r->host,
	    .last_try_s = r->last_try_s,
	    .flags = r->flags,
	};
}

void qm_txn_to_rec(const struct qm_txn *txn, struct sm_arena *a, struct qm_rec_txn *rec)
{
	*rec = (struct qm_rec_txn){
	    .ta = txn->id,
	    .sender = txn->sender,
	    .content = txn->content,
	    .content_offset = txn->content_offset,
	    .size = txn->size,
	    .body = txn->body,
	    .ret = txn->ret,
	    .utf8 = txn->utf8,
	    .envid = txn->envid,
	    .auth = txn->auth,
	    .client = txn->client.sa,
	    .client_name = txn->client.name,
	    .helo = txn->client.helo,
	    .proto = txn->client.proto,
	    .xid = txn->client.xid,
	    .route = txn->route,
	    .deliver = txn->deliver,
	    .msgid = txn->msgid,
	    .received_s = txn->received_s,
	    .queued_s = txn->queued_s,
	    .flags = txn->flags,
	    .act = txn->act,
	    .level = txn->level,
	    .child_of = txn->child_of,
	    .dsn_kind = txn->dsn_kind,
	    .dsn_of = txn->dsn_of,
	    .dsn_sender = txn->dsn_sender,
	    .dsn_received_s = txn->dsn_received_s,
	    .dsn_until_s = txn->dsn_until_s,
	};
	rec->rcpts = sm_arena_must(a, txn->open * sizeof(*rec->rcpts));
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		const struct qm_rcpt *r = &txn->rcpts[i];

		if (r->state == QM_RCPT_SETTLED)
			continue;
		rec->rcpts[rec->rcpts_count++] = qm_rcpt_to_rec(r);
	}
	rec->ways = sm_arena_must(a, (txn->open + 1) * sizeof(*rec->ways));
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		const struct qm_rcpt *r = &txn->rcpts[i];

		if (r->state != QM_RCPT_SETTLED && r->tls.n > 0)
			rec->ways[rec->ways_count++] = (struct qm_rec_way){r->index, r->tls};
	}
	rec->cursors = sm_arena_must(a, QM_CURSORS_MAX * sizeof(*rec->cursors));
	for (unsigned i = 0; i < txn->rcpt_count; i++)
		if (has_cursor(&txn->rcpts[i]) && rec->cursors_count < QM_CURSORS_MAX)
			rec->cursors[rec->cursors_count++] =
			    (struct qm_rec_cursor){txn->rcpts[i].index, txn->rcpts[i].after};
	rec->dsn_rcpts = sm_arena_must(a, txn->dsn_count * sizeof(*rec->dsn_rcpts));
	rec->dsn_rcpts_count = txn->dsn_count;
	for (uint32_t i = 0; i < txn->dsn_count; i++) {
		const struct sm_msg_dsn_rcpt *from = &txn->dsn_rcpts[i];

		rec->dsn_rcpts[i] = (struct qm_rec_dsn_item){
		    .addr = from->addr,
		    .orcpt = from->orcpt,
		    .action = from->action,
		    .code = from->code,
		    .text = from->text,
		    .host = from->host,
		    .last_try_s = from->last_try_s,
		};
	}
}

struct qm_rcpt *qm_txn_rcpt(struct qm_txn *txn, uint16_t index)
{
	if (index < txn->rcpt_count && txn->rcpts[index].index == index)
		return &txn->rcpts[index]; /* nothing was settled before it: the usual case */
	for (unsigned i = 0; i < txn->rcpt_count; i++)
		if (txn->rcpts[i].index == index)
			return &txn->rcpts[i];
	return NULL;
}

void qm_txn_apply(struct qm_txn *txn, const struct qm_rec_rcpt_change *c)
{
	struct qm_rcpt *r = qm_txn_rcpt(txn, c->index);

	if (r == NULL || r->state == QM_RCPT_SETTLED)
		return;
	r->tries = c->tries;
	r->next_try_s = c->next_try_s;
	r->code = c->code;
	r->text = keep(txn, c->text);
	r->host = keep(txn, c->host);
	r->tls = keep(txn, c->tls);
	r->last_try_s = c->last_try_s;
	r->flags = c->flags;
	if (c->state != QM_REC_OPEN)
		qm_rcpt_set(r, state_of(c->state));
}

static bool is_busy(enum qm_rcpt_state s)
{
	return s == QM_RCPT_NEW || s == QM_RCPT_ROUTING || s == QM_RCPT_EXPANDING ||
	       s == QM_RCPT_READY || s == QM_RCPT_DELIVERING;
}

static bool is_owed(enum qm_rcpt_state s)
{
	return s == QM_RCPT_FAILED || s == QM_RCPT_DELIVERED || s == QM_RCPT_RELAYED ||
	       s == QM_RCPT_EXPANDED;
}

void qm_rcpt_set(struct qm_rcpt *r, enum qm_rcpt_state state)
{
	struct qm_txn *txn = r->txn;

	txn->owed += (unsigned)is_owed(state) - (unsigned)is_owed(r->state);

	if (is_busy(r->state))
		txn->busy--;
	if (is_busy(state))
		txn->busy++;
	if (r->state != QM_RCPT_SETTLED && state == QM_RCPT_SETTLED)
		txn->open--;
	sm_assert(r->state != QM_RCPT_SETTLED || state == QM_RCPT_SETTLED);
	if (is_owed(state))
		r->flags &= (uint8_t)~QM_RCPT_HELD; /* mail is held, a DSN that is owed is not */
	if (is_owed(state) || state == QM_RCPT_SETTLED) {
		txn->changed = true;
		r->mark = QM_MARK_NONE; /* it came too late */
	}
	r->state = state;
}

void qm_txn_reported(struct qm_txn *txn, uint8_t kind, const struct qm_rec_index_item *items,
                     uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		struct qm_rcpt *r = qm_txn_rcpt(txn, items[i].index);

		if (r == NULL)
			continue;
		if (kind == SM_DSN_DELAYED)
			r->flags |= QM_RCPT_DELAY_TOLD;
		else
			qm_rcpt_set(r, QM_RCPT_SETTLED);
		r->late = false;
		txn->changed = true;
	}
	if (kind == SM_DSN_FAILED)
		txn->flags |= QM_TXN_RETURNED;
}

/* A list of a hundred thousand has a hundred cursors, one after the other, in one place. */
void qm_rcpt_cursor(struct qm_rcpt *r, struct sm_str after)
{
	if (after.n == 0)
		return;
	sm_assert(after.n <= CURSOR_BYTES);
	if (r->cursor == NULL)
		r->cursor = sm_arena_must(&r->txn->arena, CURSOR_BYTES);
	memmove(r->cursor, after.p, after.n);
	r->after = sm_str_n(r->cursor, after.n);
	r->txn->changed = true;
}

void qm_txn_expanded(struct qm_txn *txn, const struct qm_rec_expand *e)
{
	struct qm_rcpt *r = qm_txn_rcpt(txn, e->index);

	if (r == NULL || r->state == QM_RCPT_SETTLED)
		return;
	qm_rcpt_cursor(r, e->after);
	if (e->state == QM_REC_OPEN)
		return;
	qm_rcpt_set(r, state_of(e->state));
	r->code = e->code;
	r->text = keep(txn, e->text);
}

bool qm_rcpt_owed(const struct qm_rcpt *r)
{
	return is_owed(r->state);
}

int64_t qm_txn_due_s(const struct qm_txn *txn)
{
	int64_t due = INT64_MAX;

	for (unsigned i = 0; i < txn->rcpt_count; i++)
		if (txn->rcpts[i].state != QM_RCPT_SETTLED && !(txn->rcpts[i].flags & QM_RCPT_HELD))
			due = SM_MIN(due, txn->rcpts[i].next_try_s);
	return due;
}

bool qm_txn_act_waits(const struct qm_txn *txn)
{
	for (unsigned i = 0; i < txn->rcpt_count; i++)
		if (txn->rcpts[i].mark != QM_MARK_NONE)
			return true;
	return false;
}

/* A note that says what the one before said, or that of the recipient before, takes no further
 * room: a server says the same of all. */
static struct sm_str renote(struct qm_txn *txn, struct sm_str old, struct sm_str beside,
                            struct sm_str s, size_t max)
{
	s = sm_str_head(s, max);
	if (s.n == 0)
		return SM_STR("");
	if (sm_str_eq(beside, s))
		return beside;
	if (sm_str_eq(old, s))
		return old;
	struct sm_str copy = sm_arena_str(&txn->arena, s);

	return copy.p ? copy : SM_STR("");
}

/* The recipient before it; the first one has itself. */
static const struct qm_rcpt *before(const struct qm_rcpt *r)
{
	return r > r->txn->rcpts ? r - 1 : r;
}

void qm_rcpt_note(struct qm_rcpt *r, uint16_t code, struct sm_str text, struct sm_str host,
                  int64_t now_s)
{
	r->code = code;
	r->text = renote(r->txn, r->text, before(r)->text, text, 512);
	r->host = renote(r->txn, r->host, before(r)->host, host, 256);
	r->last_try_s = now_s;
}

void qm_rcpt_note_tls(struct qm_rcpt *r, struct sm_str tls)
{
	r->tls = renote(r->txn, r->tls, before(r)->tls, tls, 160);
}
