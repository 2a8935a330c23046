/*
 * Aliases: the members of one become recipients of child transactions, a chunk of at most a
 * thousand at a time, in the order of their bytes. Loop thread.
 *
 * The record that makes a child also says how far the alias is expanded (its cursor), or that it is
 * done. So a member that is in a child is never asked for again, and none is left out, whenever
 * qmgr dies. The next chunk is asked for when the one before is durable and the active queue is not
 * more than half full: members of a list of any length come as fast as they go out. While it is
 * fuller a chunk comes now and then, as long as it is not full; such members may have to wait in
 * DEFEDB.
 *
 * What goes on to the members is RFC 3461 5.2.7: an alias passes on who is to be told what; for a
 * list with an owner, this is a new mail, and the owner is told.
 */
#include "qmgr/now.h"

#include "libsm/smtp_cmd.h"
#include "libsm/time.h"

#define MEMBERS_MAX     1000 /* recipients of one child */
#define MEMBERS_DSN_MAX 100  /* of a DSN, whose record also has what it reports */
#define LEVELS_MAX      50   /* more than smar may be configured to: it would be smar's fault */
#define WAIT_MS         50   /* between looks for room in the active queue */
#define PATIENCE_MS     1000 /* between chunks when there is little */
#define RESUME_MAX      8    /* expansions that go on at a time: each brings a chunk */
#define FULL_RETRY_S    60
#define CURSOR_RETRY_S  5

struct qm_expand {
	struct sm_list waiting; /* recipients EXPANDING, for room */
	struct sm_timer timer;
	int64_t last_ms; /* when a chunk was taken, of any list */
};

/* The next chunk of a recipient, when the last one is durable. */
struct step {
	struct qm_wait wait;
	struct qm *q;
	struct qm_rcpt *r;
};

/* ---- from chunk to chunk ---- */

static bool has_room(const struct qm *q)
{
	size_t max = (size_t)q->conf->aq_max_entries;

	return q->txns.rcpts <= max / 2 ||
	       (q->txns.rcpts <= max && sm_loop_now_ms() - q->expand->last_ms >= PATIENCE_MS);
}

static void look(void *arg);

static void wait_for_room(struct qm *q, struct qm_rcpt *r)
{
	qm_rcpt_set(r, QM_RCPT_EXPANDING);
	sm_list_push(&q->expand->waiting, &r->link);
	if (!sm_timer_is_set(&q->expand->timer))
		sm_timer_set(&q->expand->timer, sm_loop_now_ms() + WAIT_MS, look, q);
}

/* Ask for the next members, unless an operator wants something else by now. */
static void go_on(struct qm *q, struct qm_rcpt *r)
{
	struct qm_txn *txn = r->txn;

	if (qm_bulk_caught(q, r)) {
		qm_progress(q, txn);
	} else if (!has_room(q)) {
		wait_for_room(q, r);
	} else {
		qm_rcpt_set(r, QM_RCPT_NEW);
		qm_resolve(q, txn);
	}
}

static void look(void *arg)
{
	struct qm *q = arg;
	struct qm_expand *x = q->expand;

	for (unsigned n = 0; n < RESUME_MAX && has_room(q) && !sm_list_empty(&x->waiting); n++) {
		struct sm_list *e = sm_list_shift(&x->waiting);

		go_on(q, SM_LIST_ENTRY(e, struct qm_rcpt, link));
	}
	if (!sm_list_empty(&x->waiting))
		sm_timer_set(&x->timer, sm_loop_now_ms() + WAIT_MS, look, q);
}

static void chunk_durable(void *arg)
{
	struct step *s = arg;
	struct qm *q = s->q;
	struct qm_rcpt *r = s->r;

	sm_free(s);
	go_on(q, r);
}

/* ---- what a member inherits ---- */

static struct sm_str keep(struct qm_txn *txn, struct sm_str s)
{
	return s.n ? sm_arena_str(&txn->arena, s) : SM_STR("");
}

/* RFC 3461 5.2.1: who was meant, for who gets no such word from the client. Empty when it is too
 * long to be passed on. */
static struct sm_str original(struct qm_txn *child, const struct qm_rcpt *r)
{
	static const char hex[] = "0123456789ABCDEF";
	struct sm_str type = SM_STR("rfc822;");
	char text[600];
	size_t n = type.n;

	if (r->orcpt.n > 0)
		return keep(child, r->orcpt);
	if (!sm_str_is_ascii(r->addr)) {
		struct sm_str out;
		struct sm_buf b;

		sm_buf_init(&b, sizeof(text));
		sm_buf_cstr(&b, "utf-8;"); /* RFC 6533 3 */
		sm_unitext_put(&b, r->addr);
		out = sm_buf_err(&b) == 0 ? keep(child, sm_buf_view(&b)) : SM_STR("");
		sm_buf_fini(&b);
		return out;
	}
	memcpy(text, type.p, type.n);
	for (size_t i = 0; i < r->addr.n; i++) {
		unsigned char c = (unsigned char)r->addr.p[i];

		if (n + 3 > sizeof(text))
			return SM_STR("");
		if (c > ' ' && c < 0x7f && c != '+' && c != '=') {
			text[n++] = (char)c;
			continue;
		}
		text[n++] = '+';
		text[n++] = hex[c >> 4];
		text[n++] = hex[c & 15];
	}
	return keep(child, sm_str_n(text, n));
}

/* Of several members none stands for the alias: that it was expanded is told instead. */
static uint8_t notify_of(const struct qm_rcpt *r, bool list, bool several)
{
	uint8_t n = r->notify;

	if (r->txn->dsn_kind)
		return SM_NOTIFY_NEVER;
	if (list)
		return 0;
	if (!several || (n & SM_NOTIFY_SUCCESS) == 0)
		return n;
	n &= (uint8_t)~SM_NOTIFY_SUCCESS;
	return n ? n : SM_NOTIFY_NEVER;
}

static void inherit_dsn(struct qm_txn *child, const struct qm_txn *parent)
{
	child->dsn_kind = parent->dsn_kind;
	child->dsn_of = parent->dsn_of;
	child->dsn_sender = keep(child, parent->dsn_sender);
	child->dsn_received_s = parent->dsn_received_s;
	child->dsn_until_s = parent->dsn_until_s;
	child->dsn_count = parent->dsn_count;
	child->dsn_rcpts =
	    sm_arena_must(&child->arena, parent->dsn_count * sizeof(*child->dsn_rcpts));
	for (uint32_t i = 0; i < parent->dsn_count; i++) {
		struct sm_msg_dsn_rcpt *d = &child->dsn_rcpts[i];

		*d = parent->dsn_rcpts[i];
		d->addr = keep(child, d->addr);
		d->orcpt = keep(child, d->orcpt);
		d->text = keep(child, d->text);
		d->host = keep(child, d->host);
	}
}

static struct qm_txn *make_child(struct qm *q, struct sm_id id, const struct qm_rcpt *r,
                                 const struct sm_msg_alias_item *v, uint32_t count, bool several)
{
	const struct qm_txn *parent = r->txn;
	struct qm_txn *child = qm_child_new(q, id, parent, count);
	/* A DSN stays one: nobody may be told of its failure but the postmaster. */
	bool list = (v[0].flags & SM_ALIAS_LIST) != 0 && parent->dsn_kind == SM_DSN_NONE;
	struct sm_str orcpt = SM_STR("");

	child->child_of = parent->id;
	child->level = (uint8_t)(parent->level + 1);
	child->received_s = parent->received_s;
	child->queued_s = list ? sm_wall_s() : parent->queued_s;
	child->sender = keep(child, list && v[0].sender.n > 0 ? v[0].sender : parent->sender);
	qm_client_keep(child, &parent->client);
	child->deliver = parent->deliver;
	if (parent->dsn_kind) {
		child->envid = keep(child, parent->envid);
		child->ret = parent->ret;
		inherit_dsn(child, parent);
	} else if (!list) {
		child->envid = keep(child, parent->envid);
		child->auth = keep(child, parent->auth);
		child->ret = parent->ret;
		orcpt = original(child, r);
	}
	for (uint32_t i = 0; i < count; i++) {
		struct qm_rcpt *to = &child->rcpts[i];

		to->addr = keep(child, v[i].addr);
		to->orcpt = orcpt;
		to->notify = notify_of(r, list, several);
		to->flags = (v[i].flags & SM_ALIAS_FINAL ? QM_RCPT_FINAL : 0) |
		            qm_run_inherited(r, child->deliver);
	}
	return child;
}

/* ---- a chunk ---- */

/* Members rise, from behind those that were there: else an expansion might have no end. */
static bool is_sound(const struct qm_rcpt *r, const struct sm_msg_route *m)
{
	struct sm_str before = r->after;

	for (uint32_t i = 0; i < m->aliases_count; i++) {
		if (m->aliases[i].addr.n == 0 || sm_str_cmp(m->aliases[i].addr, before) <= 0)
			return false;
		before = m->aliases[i].addr;
	}
	/* A list may have become shorter since. */
	return m->aliases_count > 0 || (r->after.n > 0 && !m->more);
}

/* How many from v[0] on go into one child: they have one sender. */
static uint32_t together(const struct qm_txn *parent, const struct sm_msg_alias_item *v,
                         uint32_t count)
{
	uint32_t n = 1;

	count = SM_MIN(count, (uint32_t)(parent->dsn_kind ? MEMBERS_DSN_MAX : MEMBERS_MAX));
	while (n < count &&
	       (parent->dsn_kind || (sm_str_eq(v[n].sender, v[0].sender) &&
	                             ((v[n].flags ^ v[0].flags) & SM_ALIAS_LIST) == 0)))
		n++;
	return n;
}

/* The last members are in a child: it is over, or its sender is to be told. */
static void complete(struct qm_rcpt *r, bool list, bool several)
{
	const struct sm_str text =
	    list ? SM_STR("2.1.5 mailing list") : SM_STR("2.1.5 alias expanded");
	int64_t now_s = sm_wall_s();

	qm_rcpt_note(r, 250, text, SM_STR(""), now_s);
	r->next_try_s = now_s;
	qm_rcpt_set(r, qm_dsn_expanded(r, list, several));
}

/* On both ids: who looks for one finds the other. */
static void log_child(const struct qm_rcpt *r, const struct qm_txn *child)
{
	bool more = qm_rcpt_rec_state(r) == QM_REC_OPEN;

	sm_log(SM_INFO, "qm.expand",
	       "ss_ta=%I child_ta=%I rcpt=<%S> rcpt_idx=%u members=%u more=%u", r->txn->id,
	       child->id, r->addr, r->index, child->rcpt_count, more);
	sm_log(SM_INFO, "qm.child",
	       "ss_ta=%I child_of=%I dsn_of=%?I content=%I offset=%?u mail=<%S> envid=%?S "
	       "ret=%?u utf8=%?u body=%?u rcpts=%u",
	       child->id, r->txn->id, child->dsn_of, child->content, child->content_offset,
	       child->sender, child->envid, child->ret, (unsigned)child->utf8,
	       (unsigned)child->body, child->rcpt_count);
	for (unsigned i = 0; i < child->rcpt_count; i++) {
		const struct qm_rcpt *to = &child->rcpts[i];

		sm_log(SM_INFO, "qm.member", "ss_ta=%I rcpt=<%S> rcpt_idx=%u orcpt=%?S notify=%?u",
		       child->id, to->addr, to->index, to->orcpt, to->notify);
	}
}

/* Children for the members of an answer, as far as there are ids for them. */
static void take(struct qm *q, struct qm_rcpt *r, const struct sm_msg_route *m)
{
	struct qm_txn *parent = r->txn;
	bool several = m->aliases_count > 1 || m->more || r->after.n > 0;
	struct qm_txn *child = NULL;
	struct step *s;
	struct sm_id id;

	q->expand->last_ms = sm_loop_now_ms();
	(void)qm_store_take_over(q->store, parent); /* as it is before anything is changed */
	for (uint32_t at = 0; at < m->aliases_count;) {
		const struct sm_msg_alias_item *v = &m->aliases[at];
		uint32_t n = together(parent, v, m->aliases_count - at);

		if (!qm_incoming_own_id(q, &id))
			break;
		at += n;
		child = make_child(q, id, r, v, n, several);
		qm_rcpt_cursor(r, v[n - 1].addr);
		if (at == m->aliases_count && !m->more)
			complete(r, (v[0].flags & SM_ALIAS_LIST) != 0, several);
		qm_store_expand(q->store, r, child);
		log_child(r, child);
		qm_child_begin(q, child, parent);
	}
	if (qm_rcpt_rec_state(r) != QM_REC_OPEN)
		return;
	if (child == NULL) {
		wait_for_room(q, r); /* for an id */
		return;
	}
	qm_rcpt_set(r, QM_RCPT_EXPANDING);
	s = sm_calloc(1, sizeof(*s));
	s->q = q;
	s->r = r;
	qm_store_after(q->store, parent->log, child->last_lsn, &s->wait, chunk_durable, s);
}

/* ---- an answer ---- */

static void put_off(struct qm *q, struct qm_rcpt *r, const char *text, int64_t retry_in_s)
{
	const struct qm_try t = {.outcome = SM_OUTCOME_TEMP,
	                         .code = 451,
	                         .text = sm_str(text),
	                         .host = SM_STR(""),
	                         .local = true,
	                         .retry_in_s = retry_in_s};

	qm_settle_rcpt(q, r, &t);
}

/* Its client waits: the alias becomes a mail of its own, and that is expanded as any. So nobody has
 * to wait for a long list, nor to give up in the middle of one. */
static void hand_over(struct qm *q, struct qm_rcpt *r)
{
	const struct sm_msg_alias_item same = {.addr = r->addr, .sender = SM_STR("")};
	const struct qm_try taken = {.outcome = SM_OUTCOME_DONE,
	                             .code = 250,
	                             .text = SM_STR("2.1.5 alias, taken for its members"),
	                             .host = SM_STR("")};
	struct qm_txn *child;
	struct sm_id id;

	if (!qm_incoming_own_id(q, &id)) {
		put_off(q, r, "4.3.0 no id at hand, try again", CURSOR_RETRY_S);
		return;
	}
	child = make_child(q, id, r, &same, 1, false);
	child->level = r->txn->level;
	child->deliver = SM_DELIVER_BACKGROUND;
	qm_rcpt_note(r, taken.code, taken.text, taken.host, sm_wall_s());
	qm_rcpt_set(r, QM_RCPT_EXPANDED);
	qm_store_expand(q->store, r, child);
	log_child(r, child);
	qm_child_begin(q, child, r->txn);
	qm_now_known(q, r, &taken);
}

void qm_expand(struct qm *q, struct qm_rcpt *r, const struct sm_msg_route *m)
{
	const struct qm_try too_deep = {.outcome = SM_OUTCOME_PERM,
	                                .code = 550,
	                                .text = SM_STR("5.4.6 aliases are nested too deep"),
	                                .host = SM_STR("")};

	if (!is_sound(r, m)) {
		sm_log(SM_ERROR, "qm.route", "ss_ta=%I rcpt=<%S> error=%s", r->txn->id, r->addr,
		       sm_strerr(SM_E_PROTO));
		put_off(q, r, "4.3.0 address resolver did not answer", FULL_RETRY_S);
	} else if (r->txn->level >= LEVELS_MAX) {
		qm_settle_rcpt(q, r, &too_deep);
	} else if (qm_edbc_count(q->edbc) >= (size_t)q->conf->edbc_max_entries) {
		put_off(q, r, "4.3.1 the deferred queue is full", FULL_RETRY_S);
	} else if (r->txn->now != NULL) {
		hand_over(q, r);
	} else if (!has_room(q)) {
		wait_for_room(q, r);
	} else if (m->aliases_count == 0) {
		(void)qm_store_take_over(q->store, r->txn);
		complete(r, false, true);
		qm_store_expand(q->store, r, NULL);
	} else if (r->after.n == 0 && (m->more || m->aliases_count > 1) &&
	           qm_txn_cursors(r->txn) >= QM_CURSORS_MAX) {
		put_off(q, r, "4.5.3 other lists of this mail come first", CURSOR_RETRY_S);
	} else {
		take(q, r, m);
	}
}

void qm_expand_open(struct qm *q)
{
	q->expand = sm_calloc(1, sizeof(*q->expand));
	sm_list_init(&q->expand->waiting);
}

void qm_expand_close(struct qm *q)
{
	if (q->expand == NULL)
		return;
	sm_timer_cancel(&q->expand->timer);
	while (sm_list_shift(&q->expand->waiting))
		;
	SM_FREE(q->expand);
}
