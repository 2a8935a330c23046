/*
 * status and show: figures of the whole, and all that is known of single mails. Loop thread; what
 * is in DEFEDB only is read by a helper.
 *
 * What is shown of a deferred mail is its snapshot, with what operators did to it since.
 */
#include "qmgr/control.h"

#include "libsm/msg_words.h"
#include "libsm/offload.h"
#include "libsm/time.h"
#include "qmgr/marks.h"
#include "qmgr/schedule.h"

#define RECORD_ARENA (16 * QM_LOG_RECORD_MAX)

/* ---- status ---- */

static const char *scarcest_of(const struct qm_resources *r)
{
	return r->credit < 100 ? qm_resource_name(r->scarcest) : NULL;
}

static void resources(struct qm_ctl *c, const struct qm_resources *r)
{
	qm_ctl_num(c, "credit_percent", r->credit);
	if (scarcest_of(r))
		qm_ctl_str(c, "scarcest", sm_str(scarcest_of(r)));
	else
		qm_ctl_null(c, "scarcest");
	qm_ctl_array(c, "resources");
	for (unsigned i = 0; i < QM_RESOURCES; i++) {
		qm_ctl_open(c);
		qm_ctl_str(c, "name", sm_str(qm_resource_name((enum qm_resource)i)));
		qm_ctl_num(c, "used_percent", r->v[i].percent);
		qm_ctl_bool(c, "full", r->v[i].full);
		qm_ctl_close(c);
	}
	qm_ctl_array_end(c);
}

static void logs(struct qm_ctl *c)
{
	struct qm_log_stat ib, de;

	qm_log_stat(qm_store_ibdb(c->q->store), &ib);
	qm_log_stat(qm_store_defedb(c->q->store), &de);
	qm_ctl_num(c, "ibdb_records", (int64_t)ib.records);
	qm_ctl_num(c, "ibdb_syncs", (int64_t)ib.syncs);
	qm_ctl_num(c, "ibdb_segments", (int64_t)ib.segments);
	qm_ctl_num(c, "defedb_records", (int64_t)de.records);
	qm_ctl_num(c, "defedb_syncs", (int64_t)de.syncs);
	qm_ctl_num(c, "defedb_segments", (int64_t)de.segments);
}

static void counters(struct qm_ctl *c, const struct qm_stats *s)
{
	qm_ctl_num(c, "accepted", (int64_t)s->accepted);
	qm_ctl_num(c, "accepted_recipients", (int64_t)s->accepted_rcpts);
	qm_ctl_num(c, "refused", (int64_t)s->refused);
	qm_ctl_num(c, "delivered_recipients", (int64_t)s->delivered);
	qm_ctl_num(c, "deferrals", (int64_t)s->deferred);
	qm_ctl_num(c, "failed_recipients", (int64_t)s->failed);
	qm_ctl_num(c, "dsns", (int64_t)s->dsns);
	qm_ctl_num(c, "double_bounces", (int64_t)s->double_bounces);
	qm_ctl_num(c, "ended", (int64_t)s->ended);
	qm_ctl_num(c, "orphans_removed", (int64_t)s->orphans);
}

static void verified(struct qm_ctl *c)
{
	struct qm_verify_stat v;

	qm_verify_stat(c->q, &v);
	qm_ctl_num(c, "verify_cached", (int64_t)v.cached);
	qm_ctl_num(c, "verify_hits", (int64_t)v.hits);
	qm_ctl_num(c, "verify_misses", (int64_t)v.misses);
	qm_ctl_num(c, "verify_waiting", (int64_t)v.waiting);
	qm_ctl_num(c, "verify_probes", (int64_t)v.probes);
	qm_ctl_num(c, "verify_known", (int64_t)v.known);
	qm_ctl_num(c, "verify_unknown", (int64_t)v.unknown);
	qm_ctl_num(c, "verify_not_told", (int64_t)v.not_told);
}

static unsigned agents(const struct qm *q)
{
	unsigned n = 0;

	for (unsigned i = 0; i < QM_AGENTS_MAX; i++)
		n += q->sched.agents[i] != NULL;
	return n;
}

static bool accepting(const struct qm *q)
{
	return q->running && !q->stopping && q->resources.credit > 0 && !qm_store_low(q->store) &&
	       qm_halt_accepting(q);
}

void qm_ctl_status(struct qm_ctl *c)
{
	struct qm *q = c->q;

	qm_ctl_begin(c, "status");
	qm_ctl_num(c, "schema", 1);
	qm_ctl_time(c, "now_s", sm_wall_s());
	qm_ctl_num(c, "uptime_s", sm_wall_s() - q->started_s);
	qm_ctl_bool(c, "accepting", accepting(q));
	qm_ctl_bool(c, "delivering", q->running && !q->stopping && !qm_halt_all(q));
	qm_ctl_num(c, "smtps_processes", (int64_t)qm_incoming_servers(q));
	qm_ctl_num(c, "smtps_sessions", (int64_t)qm_incoming_sessions(q));
	qm_ctl_num(c, "smtpc_processes", agents(q));
	qm_ctl_num(c, "smar_processes", qm_resolver_peer(q) != NULL);
	qm_ctl_num(c, "active_transactions", (int64_t)q->txns.by_id.count);
	qm_ctl_num(c, "active_recipients", (int64_t)q->txns.rcpts);
	qm_ctl_num(c, "deferred_transactions", (int64_t)qm_edbc_count(q->edbc));
	qm_ctl_num(c, "deferred_recipients", (int64_t)qm_edbc_rcpt_count(q->edbc));
	qm_ctl_num(c, "held_recipients", (int64_t)qm_edbc_held_count(q->edbc));
	qm_ctl_num(c, "queued_recipients", (int64_t)qm_edbc_wait_count(q->edbc, SM_WAIT_RUN));
	qm_ctl_num(c, "on_demand_recipients", (int64_t)qm_edbc_wait_count(q->edbc, SM_WAIT_ASKED));
	qm_ctl_time(c, "next_run_s", qm_run_next_s(q) == QM_NO_RUN ? 0 : qm_run_next_s(q));
	qm_ctl_time(c, "last_run_s", qm_run_last_s(q));
	qm_ctl_num(c, "standing_marks", (int64_t)qm_store_marks(q->store)->count);
	qm_ctl_num(c, "tasks_running", (int64_t)qm_delivery_tasks(q));
	qm_ctl_num(c, "routes_known", (int64_t)q->sched.routes.count);
	qm_ctl_num(c, "suspended_destinations",
	           (int64_t)qm_store_suspends(q->store)->by_dest.count);
	counters(c, &q->stats);
	verified(c);
	qm_ctl_num(c, "users_counted", (int64_t)qm_users_count(&q->users));
	qm_ctl_num(c, "users_over", (int64_t)q->users.over_count);
	qm_ctl_num(c, "users_refused", (int64_t)q->users.refused);
	qm_ctl_num(c, "orphans_kept", (int64_t)qm_content_kept(q));
	qm_ctl_num(c, "disk_free_bytes", (int64_t)qm_space_free_bytes(q));
	qm_ctl_num(c, "memory_bytes", (int64_t)qm_space_memory_bytes(q));
	qm_ctl_num(c, "index_bytes", (int64_t)qm_edbc_bytes(q->edbc));
	qm_ctl_num(c, "log_level", sm_log_level_now());
	logs(c);
	resources(c, &q->resources);
	qm_ctl_line(c);
	(void)qm_ctl_suspensions(c, NULL);
	qm_ctl_end(c, QM_CTL_OK, "");
}

/* ---- show ---- */

struct show {
	const struct sm_id *ids;
	size_t count, at, missing;
	struct reading *reading;
};

/* A deferred mail being read; apart from the request, which may be gone before it has come. */
struct reading {
	struct sm_offload_job job;
	struct qm_ctl *c; /* NULL: nobody waits */
	const struct qm_log *log;
	struct sm_id id;
	struct qm_loc loc;
	struct sm_buf body;
	struct sm_arena arena;
	struct qm_rec_txn rec;
};

/* What is known of a mail, wherever it is. */
struct envelope {
	struct sm_id id, content, dsn_of, child_of;
	const char *queue;
	struct sm_str xid; /* its id at the client */
	uint8_t deliver;   /* SM_DELIVER_* */
	struct sm_str sender, envid;
	uint8_t utf8, body;
	uint64_t size;
	int64_t received_s, queued_s, next_try_s;
	uint8_t dsn_kind;
	size_t rcpt_count;
	uint32_t content_offset;
};

struct recipient {
	uint16_t index, tries, code;
	struct sm_str addr, orcpt, text, host, tls;
	const char *state;
	bool held;
	uint8_t notify;
	int64_t last_try_s, next_try_s;
	struct sm_str route;    /* where it waits; empty: nowhere */
	unsigned way;           /* which one of its right hand side that is; 0: there is only one */
	enum sm_wait wait;      /* for what, beside its time */
	enum qm_mark_verb mark; /* what an operator wants to happen */
};

static const char *dsn_word(uint8_t kind)
{
	static const char *const words[] = {"",        "failure",  "delay",        "delivered",
	                                    "relayed", "expanded", "double_bounce"};

	return kind < SM_ARRAY_SIZE(words) ? words[kind] : "other";
}

/* DSNs about this transaction that are under way. */
static void dsns(struct qm_ctl *c, struct sm_id id, struct sm_id content)
{
	const struct qm_contents *t = &c->q->txns.contents;

	qm_ctl_array(c, "dsns");
	for (const struct qm_content_child *dsn = NULL;
	     (dsn = qm_content_next(t, content, true, dsn)) != NULL;) {
		if (!sm_id_eq(dsn->of, id))
			continue;
		qm_ctl_open(c);
		qm_ctl_id(c, "id", dsn->id);
		qm_ctl_close(c);
	}
	qm_ctl_array_end(c);
}

/* Of its aliases, what is still under way. */
static int64_t children(const struct qm_contents *t, struct sm_id id, struct sm_id content)
{
	int64_t n = 0;

	for (const struct qm_content_child *child = NULL;
	     (child = qm_content_next(t, content, false, child)) != NULL;)
		n += sm_id_eq(child->of, id);
	return n;
}

/* Does another transaction use its content? Neighbours in a segment do not. */
static bool is_shared(const struct qm_contents *t, const struct envelope *e)
{
	if (!cdb_is_segment(e->content))
		return qm_content_known(t, e->content);
	if (!sm_id_none(e->dsn_of) || !sm_id_none(e->child_of))
		return true;
	for (int dsns = 0; dsns < 2; dsns++) {
		for (const struct qm_content_child *child = NULL;
		     (child = qm_content_next(t, e->content, dsns != 0, child)) != NULL;)
			if (sm_id_eq(child->of, e->id))
				return true;
	}
	return false;
}

/* What not every server takes; "" otherwise. Addresses speak for themselves. */
static const char *needs_word(const struct envelope *e)
{
	if (e->dsn_kind != SM_DSN_NONE)
		return "";
	if (e->body == SM_BODY_BINARYMIME)
		return e->utf8 & SM_UTF8_HEADER ? "BINARYMIME SMTPUTF8" : "BINARYMIME";
	return e->utf8 & SM_UTF8_HEADER ? "SMTPUTF8" : "";
}

static int64_t transcripts(const struct qm_transcripts *t, struct sm_id id)
{
	int64_t n = 0;

	for (const struct qm_said *s = NULL; (s = qm_transcripts_next(t, id, s)) != NULL;)
		n++;
	return n;
}

static const char *deliver_word(uint8_t deliver)
{
	static const char *const words[] = {[SM_DELIVER_BACKGROUND] = "background",
	                                    [SM_DELIVER_NOW] = "now",
	                                    [SM_DELIVER_QUEUE] = "queue",
	                                    [SM_DELIVER_HOLD] = "hold"};

	return deliver < SM_ARRAY_SIZE(words) ? words[deliver] : "other";
}

static void envelope_line(struct qm_ctl *c, const struct envelope *e)
{
	qm_ctl_begin(c, "envelope");
	qm_ctl_id(c, "id", e->id);
	qm_ctl_str(c, "queue", sm_str(e->queue));
	qm_ctl_str(c, "sender", e->sender);
	qm_ctl_str(c, "envid", e->envid);
	qm_ctl_str(c, "xid", e->xid);
	qm_ctl_str(c, "deliver", sm_str(deliver_word(e->deliver)));
	qm_ctl_str(c, "needs", sm_str(needs_word(e)));
	qm_ctl_num(c, "size", (int64_t)e->size);
	qm_ctl_id(c, "content", e->content);
	qm_ctl_num(c, "content_offset", e->content_offset);
	qm_ctl_time(c, "received_s", e->received_s);
	qm_ctl_num(c, "age_s", SM_MAX(0, sm_wall_s() - e->received_s));
	qm_ctl_time(c, "requeued_s", e->queued_s > e->received_s ? e->queued_s : 0);
	qm_ctl_time(c, "next_try_s", e->next_try_s);
	qm_ctl_str(c, "dsn", sm_str(dsn_word(e->dsn_kind)));
	qm_ctl_id(c, "dsn_of", e->dsn_of);
	dsns(c, e->id, e->content);
	qm_ctl_id(c, "child_of", e->child_of);
	qm_ctl_num(c, "children", children(&c->q->txns.contents, e->id, e->content));
	qm_ctl_bool(c, "content_shared", is_shared(&c->q->txns.contents, e));
	qm_ctl_num(c, "rcpt_count", (int64_t)e->rcpt_count);
	qm_ctl_num(c, "transcripts", transcripts(&c->q->transcripts, e->id));
	qm_ctl_line(c);
}

static void recipient_line(struct qm_ctl *c, struct sm_id ta, const struct recipient *r)
{
	qm_ctl_begin(c, "rcpt");
	qm_ctl_id(c, "id", ta);
	qm_ctl_num(c, "index", r->index);
	qm_ctl_str(c, "rcpt", r->addr);
	qm_ctl_str(c, "orcpt", r->orcpt);
	qm_ctl_str(c, "state", sm_str(r->state));
	qm_ctl_bool(c, "held", r->held);
	qm_ctl_num(c, "tries", r->tries);
	qm_ctl_num(c, "code", r->code);
	qm_ctl_str(c, "text", r->text);
	qm_ctl_str(c, "host", r->host);
	qm_ctl_str(c, "tls", r->tls);
	qm_ctl_time(c, "last_try_s", r->last_try_s);
	qm_ctl_time(c, "next_try_s", r->held || r->wait != SM_WAIT_NO ? 0 : r->next_try_s);
	qm_ctl_num(c, "notify", r->notify);
	qm_ctl_str(c, "route", r->route);
	if (r->way > 0)
		qm_ctl_num(c, "way", r->way);
	qm_ctl_str(c, "waits_for", sm_str(sm_word_of(sm_wait_words, r->wait)));
	qm_ctl_str(c, "wanted",
	           r->mark == QM_MARK_NONE ? SM_STR("") : sm_str(qm_mark_word(r->mark)));
	qm_ctl_line(c);
}

/* What stands in its record. */
static struct recipient recipient_of(const struct qm_rec_rcpt *r, const char *state)
{
	return (struct recipient){.index = r->index,
	                          .tries = r->tries,
	                          .code = r->code,
	                          .addr = r->addr,
	                          .orcpt = r->orcpt,
	                          .text = r->text,
	                          .host = r->host,
	                          .state = state,
	                          .notify = r->notify,
	                          .last_try_s = r->last_try_s,
	                          .next_try_s = r->next_try_s};
}

/* What operators did that newer snapshots do not have yet, to indexes below `count`; NULL: nothing.
 * To be freed. */
static struct qm_marks_of *acts_on(struct qm_ctl *c, struct sm_id ta, size_t count)
{
	const struct qm_marks *m = qm_store_marks(c->q->store);
	struct qm_marks_of *of;

	if (m->count == 0 || count == 0)
		return NULL;
	of = sm_calloc(count, sizeof(*of));
	qm_marks_of_txn(m, ta, of, count);
	return of;
}

/* ... to this recipient. */
static void acts(struct qm_ctl *c, struct sm_id ta, const struct qm_marks_of *of, uint16_t index)
{
	for (int verb = QM_MARK_HOLD; of != NULL && verb <= QM_MARK_REQUEUE; verb++) {
		const struct qm_act *act = of[index].act[verb];

		if (act == NULL)
			continue;
		qm_ctl_begin(c, "history");
		qm_ctl_id(c, "id", ta);
		qm_ctl_num(c, "index", index);
		qm_ctl_str(c, "verb", sm_str(qm_mark_word(act->verb)));
		qm_ctl_num(c, "act", (int64_t)act->number);
		qm_ctl_time(c, "at_s", act->at_s);
		qm_ctl_num(c, "uid", act->uid);
		qm_ctl_str(c, "reason", act->reason);
		qm_ctl_line(c);
	}
}

/* ---- in the active queue ---- */

static const char *active_state(const struct qm_rcpt *r)
{
	static const char *const words[] = {"new",        "routing",   "expanding", "waiting",
	                                    "delivering", "deferred",  "failed",    "delivered",
	                                    "delivered",  "delivered", "settled"};

	return words[r->state];
}

static void show_txn(struct qm_ctl *c, const struct qm_txn *txn)
{
	const struct envelope e = {.id = txn->id,
	                           .content = txn->content,
	                           .content_offset = txn->content_offset,
	                           .dsn_of = txn->dsn_of,
	                           .child_of = txn->child_of,
	                           .queue = "active",
	                           .sender = txn->sender,
	                           .envid = txn->envid,
	                           .xid = txn->client.xid,
	                           .deliver = txn->deliver,
	                           .utf8 = txn->utf8,
	                           .body = txn->body,
	                           .size = txn->size,
	                           .received_s = txn->received_s,
	                           .queued_s = txn->queued_s,
	                           .dsn_kind = txn->dsn_kind,
	                           .rcpt_count = txn->open};
	struct qm_marks_of *of;
	size_t count = 0;

	for (unsigned i = 0; i < txn->rcpt_count; i++)
		count = SM_MAX(count, txn->rcpts[i].index + 1U);
	of = acts_on(c, txn->id, count);
	envelope_line(c, &e);
	for (unsigned i = 0; i < txn->rcpt_count; i++) {
		const struct qm_rcpt *r = &txn->rcpts[i];
		const struct qm_rec_rcpt rec = qm_rcpt_to_rec(r);
		struct recipient x = recipient_of(&rec, active_state(r));

		if (r->state == QM_RCPT_SETTLED)
			continue;
		x.held = (r->flags & QM_RCPT_HELD) != 0;
		x.tls = r->tls;
		x.mark = (enum qm_mark_verb)r->mark;
		if (r->state != QM_RCPT_DEFERRED)
			x.next_try_s = 0;
		x.wait = qm_rcpt_waits(r) ? qm_wait_of(r->flags) : SM_WAIT_NO;
		if (r->state == QM_RCPT_READY && r->group)
			x.route = r->group->route->key;
		if (r->way > 0 || r->other_way)
			x.way = r->way + 1U;
		recipient_line(c, txn->id, &x);
		acts(c, txn->id, of, r->index);
	}
	sm_free(of);
}

/* ---- in DEFEDB ---- */

static const char *deferred_state(const struct qm_rec_rcpt *r)
{
	return r->state == QM_REC_OPEN     ? "deferred"
	       : r->state == QM_REC_FAILED ? "failed"
	                                   : "delivered";
}

static void show_rec(struct qm_ctl *c, const struct qm_rec_txn *rec, const struct qm_edbc_entry *x)
{
	const struct envelope e = {.id = rec->ta,
	                           .content = rec->content,
	                           .content_offset = rec->content_offset,
	                           .dsn_of = rec->dsn_of,
	                           .child_of = rec->child_of,
	                           .queue = "deferred",
	                           .sender = rec->sender,
	                           .envid = rec->envid,
	                           .xid = rec->xid,
	                           .deliver = rec->deliver,
	                           .utf8 = rec->utf8,
	                           .body = rec->body,
	                           .size = rec->size,
	                           .received_s = rec->received_s,
	                           .queued_s = rec->queued_s,
	                           .next_try_s = qm_edbc_all_waits(x) ? 0 : qm_edbc_next_try(x),
	                           .dsn_kind = rec->dsn_kind,
	                           .rcpt_count = rec->rcpts_count};
	struct qm_marks_of *of;
	size_t count = 0;

	for (uint32_t i = 0; i < rec->rcpts_count; i++)
		count = SM_MAX(count, rec->rcpts[i].index + 1U);
	of = acts_on(c, rec->ta, count);
	envelope_line(c, &e);
	for (uint32_t i = 0; i < rec->rcpts_count; i++) {
		const struct qm_rec_rcpt *r = &rec->rcpts[i];
		struct recipient out = recipient_of(r, deferred_state(r));

		for (uint32_t k = 0; k < rec->ways_count; k++)
			if (rec->ways[k].index == r->index)
				out.tls = rec->ways[k].tls;

		out.mark = qm_edbc_marked(c->q->edbc, x, r->index, &out.held);
		out.wait = qm_edbc_waiting(c->q->edbc, x, r->index);
		recipient_line(c, rec->ta, &out);
		acts(c, rec->ta, of, r->index);
	}
	sm_free(of);
}

static int read_job(void *arg)
{
	struct reading *r = arg;

	return qm_store_decode_at(r->log, r->loc, &r->body, &r->arena, &r->rec);
}

static bool show_next(struct qm_ctl *c);

static void read_done(int rc, void *arg)
{
	struct reading *r = arg;
	struct qm_ctl *c = r->c;
	const struct qm_edbc_entry *x;

	if (c) {
		struct show *s = c->work;

		s->reading = NULL;
		x = qm_edbc_find(c->q->edbc, r->id);
		qm_ctl_go_on(c, show_next);
		/* It was tried, or copied forward, meanwhile: once more, wherever it is now. */
		if (x == NULL || qm_edbc_loc(x).seq != r->loc.seq ||
		    qm_edbc_loc(x).block != r->loc.block || qm_edbc_loc(x).at != r->loc.at)
			s->at--;
		else if (rc == 0)
			show_rec(c, &r->rec, x);
		else
			qm_ctl_end(c, QM_CTL_LATER, r->job.diag);
	}
	sm_buf_fini(&r->body);
	sm_arena_fini(&r->arena);
	sm_free(r);
}

static void begin_reading(struct qm_ctl *c, const struct qm_edbc_entry *x)
{
	struct show *s = c->work;
	struct reading *r = sm_calloc(1, sizeof(*r));

	r->c = c;
	r->log = qm_store_defedb(c->q->store);
	r->id = qm_edbc_id(x);
	r->loc = qm_edbc_loc(x);
	sm_buf_init(&r->body, QM_LOG_RECORD_MAX);
	sm_arena_init(&r->arena, "show", 1024, RECORD_ARENA);
	s->reading = r;
	c->step = NULL;
	sm_offload_async(&r->job, read_job, read_done, r);
}

static bool show_next(struct qm_ctl *c)
{
	struct show *s = c->work;
	struct qm_walked x;
	char text[SM_ID_SIZE];
	struct sm_id id;

	if (s->at == s->count) {
		qm_ctl_end(c, s->missing ? QM_CTL_NOTHING : QM_CTL_OK, "");
		return false;
	}
	id = s->ids[s->at++];
	if (!qm_walk_find(c->q, id, &x)) {
		s->missing++;
		qm_ctl_begin(c, "missing");
		qm_ctl_str(c, "id", sm_str(sm_id_text(id, text)));
		/* A mail whose last recipient was reported is gone before its DSN. */
		dsns(c, id, qm_content_of_dsns(&c->q->txns.contents, id));
		qm_ctl_line(c);
	} else if (x.txn) {
		show_txn(c, x.txn);
	} else {
		begin_reading(c, x.entry);
	}
	return c->step != NULL;
}

static void show_fini(struct qm_ctl *c)
{
	struct show *s = c->work;

	if (s->reading)
		s->reading->c = NULL;
}

void qm_ctl_show(struct qm_ctl *c)
{
	struct show *s;
	size_t count;
	const struct sm_id *ids = qm_filter_ids(c->filter, &count);

	if (ids == NULL || c->condition_count > 1) {
		qm_ctl_end(c, QM_CTL_USAGE,
		           "show takes transaction ids: S and 18 hex digits; list and the log have "
		           "them");
		return;
	}
	c->work = s = sm_arena_must(&c->arena, sizeof(*s));
	s->ids = ids;
	s->count = count;
	c->fini = show_fini;
	c->step = show_next;
}
