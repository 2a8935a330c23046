/*
 * The side of qmgr that smtpc processes talk to: tasks out, results in.
 *
 * A task is one transaction with the recipients that share a route. While it is out its recipients
 * are DELIVERING. An smtpc that goes away leaves them undecided: they are tried again, and that is
 * the only way a recipient gets a mail twice. The log names each of them (`qm.undecided`), and on
 * level 13 each that is handed out (`qm.give`), written before smtpc can have it: so what may come
 * twice after a crash can be told from the log, and tests hold it against what did.
 */
#include "qmgr/now.h"

#include "libsm/time.h"

#define LOST_MAX 2 /* a recipient whose smtpc died so often waits for its retry time */
/* So does one for which a living host had no session so often. */
#define CROWDED_MAX 10
#define RELIEF_S    10 /* so often destinations that only fill the active queue are looked for */

struct task {
	struct sm_call call;
	struct sm_list link; /* in delivery.tasks */
	struct qm *q;
	struct qm_route *route;
	struct qm_host *host;
	struct qm_agent *agent;
	struct qm_txn *txn;
	struct sm_list rcpts; /* DELIVERING */
	uint64_t number;
	int64_t begun_ms;
	uint32_t hop_count; /* of the route, with those that are dead now */
	uint32_t address_count;
	struct sm_sa address[]; /* of its hosts, as smtpc numbers them */
};

struct qm_delivery {
	struct sm_rpc_server *rpc;
	struct sm_hook hook;
	struct sm_list tasks;
	size_t count;
	uint64_t last_number;
	struct sm_timer relief;
	struct sm_timer wake;     /* the message rate of a host lets it on */
	struct sm_timer patience; /* while no smtpc is there */
	struct sm_arena arena;
};

/* ---- results ---- */

static void task_free(struct qm *q, struct task *t)
{
	sm_list_remove(&t->link);
	q->delivery->count--;
	sm_free(t);
}

static struct qm_rcpt *take(struct task *t, uint16_t index)
{
	SM_LIST_FOR (r, &t->rcpts, struct qm_rcpt, link) {
		if (r->index == index) {
			sm_list_remove(&r->link);
			return r;
		}
	}
	return NULL;
}

/* The smtpc died or answered nonsense: at once again, but not for ever. */
static void undecided(struct qm *q, struct qm_rcpt *r)
{
	struct qm_try t = {.outcome = SM_OUTCOME_TEMP,
	                   .code = 451,
	                   .text = SM_STR("4.3.0 delivery agent went away"),
	                   .host = SM_STR(""),
	                   .unsure = true};

	sm_log(SM_WARN, "qm.undecided", "ss_ta=%I xid=%?S rcpt=<%S> rcpt_idx=%u", r->txn->id,
	       r->txn->client.xid, r->addr, r->index);
	if (r->lost < UINT8_MAX)
		r->lost++;
	/* At the end nothing is written about it: it is open in the log, and due at the next start.
	 */
	if ((r->lost >= LOST_MAX || r->txn->now != NULL) && !q->stopping)
		qm_settle_rcpt(q, r, &t);
	else
		qm_rcpt_set(r, QM_RCPT_NEW);
}

/* What ends a session once it is under way may be the fault of the message; only 421 speaks of the
 * host then. */
void qm_delivery_learn(struct qm *q, const struct sm_sa *address, uint32_t count,
                       const struct sm_msg_task_result *m)
{
	for (uint32_t i = 0; i < m->tried_count; i++) {
		const struct sm_msg_host_try *x = &m->tried[i];
		enum sm_reach reach = (enum sm_reach)x->reach;

		if (x->host >= count)
			continue;
		if (reach == SM_REACH_BUSY && sm_stage_is_early(x->stage))
			reach = SM_REACH_REFUSED;
		else if (reach == SM_REACH_REFUSED && !sm_stage_is_early(x->stage))
			reach = SM_REACH_NONE;
		if (qm_sched_reached(&q->sched, &address[x->host], reach, x->code, x->text,
		                     sm_loop_now_ms()))
			sm_log(SM_NOTICE, "qm.host", "address=%A stat=dead reply=%u text=%S",
			       &address[x->host], x->code, x->text);
	}
}

/* The host lives and takes mail, only not over one more connection: no try, and no reason to wait
 * for a retry time. It waits for room there, in a window that has become smaller. */
static bool crowded_out(struct qm *q, struct qm_route *route, struct qm_rcpt *r,
                        const struct sm_msg_rcpt_result *res)
{
	if (res->outcome != SM_OUTCOME_TEMP || res->stage < SM_STAGE_CONNECT ||
	    res->stage > SM_STAGE_HELO || r->crowded_out >= CROWDED_MAX || q->stopping ||
	    r->mark != QM_MARK_NONE || (r->flags & QM_RCPT_HELD) || qm_now_over(r) ||
	    qm_route_dead(&q->sched, route, sm_loop_now_ms()) != NULL)
		return false;
	r->crowded_out++;
	if (qm_suspends_any(qm_store_suspends(q->store)))
		qm_rcpt_set(r, QM_RCPT_NEW); /* maybe this way is meanwhile */
	else
		qm_sched_add(&q->sched, route, r);
	return true;
}

/* That no server does what is required can be said when all were asked: not while one of them is
 * dead, or there was no time for it. */
static enum sm_outcome outcome_of(const struct task *t, const struct sm_msg_task_result *m,
                                  const struct sm_msg_rcpt_result *res)
{
	bool no_server = res->stage == SM_STAGE_TLS || res->stage == SM_STAGE_AUTH;

	return no_server && res->outcome == SM_OUTCOME_PERM && m->tried_count < t->hop_count
	           ? SM_OUTCOME_TEMP
	           : (enum sm_outcome)res->outcome;
}

static void settle(struct qm *q, struct task *t, const struct sm_msg_task_result *m, bool died)
{
	struct sm_list unsaid = SM_LIST_INIT(unsaid);
	struct sm_list *e;

	for (uint32_t i = 0; i < m->results_count; i++) {
		const struct sm_msg_rcpt_result *res = &m->results[i];
		struct qm_rcpt *r = take(t, res->index);

		if (r == NULL || crowded_out(q, t->route, r, res))
			continue;
		if (res->outcome > SM_OUTCOME_PERM) {
			undecided(q, r);
			continue;
		}
		const struct qm_try last = {.outcome = outcome_of(t, m, res),
		                            .code = res->code,
		                            .text = res->text,
		                            .host = res->host,
		                            .tls = res->tls,
		                            .local = res->local,
		                            .unsure = res->stage == SM_STAGE_EOD && res->code == 0,
		                            .dsn_passed = res->dsn_passed,
		                            .final = t->route->agent == SM_AGENT_LMTP,
		                            .took_ms = sm_loop_now_ms() - t->begun_ms};

		if (qm_settle_unsaid(q, r, &last))
			sm_list_push(&unsaid, &r->link);
	}
	while ((e = sm_list_shift(&t->rcpts)) != NULL) {
		struct qm_rcpt *r = SM_LIST_ENTRY(e, struct qm_rcpt, link);

		if (died)
			qm_suspect(q, r, SM_STR("4.3.0 delivery agent crashed with it"));
		else
			undecided(q, r);
	}
	/* When nothing is open any more `end` follows, and says it of all of them. */
	while ((e = sm_list_shift(&unsaid)) != NULL)
		if (t->txn->open > 0)
			qm_store_rcpt(q->store, SM_LIST_ENTRY(e, struct qm_rcpt, link));
}

static void finished(int err, const struct sm_frame *f, void *arg)
{
	struct task *t = arg;
	struct qm *q = t->q;
	struct qm_txn *txn = t->txn;
	struct qm_route *route = t->route;
	struct sm_msg_task_result m = {0};
	bool more;

	sm_arena_reset(&q->delivery->arena);
	if (err == 0)
		err = f->type == SM_MSG_task_result
		          ? sm_msg_task_result_decode(f->body, &q->delivery->arena, &m)
		          : SM_E_PROTO;
	if (err != 0) {
		m = (struct sm_msg_task_result){0};
		sm_log(SM_WARN, "qm.task", "ss_ta=%I task=%llu error=%s", txn->id,
		       (unsigned long long)t->number, sm_strerr(err));
	}
	qm_sched_done(&q->sched, route, t->host, t->agent, m.session_kept ? &m.host : NULL,
	              sm_loop_now_ms());
	qm_delivery_learn(q, t->address, t->address_count, &m);
	settle(q, t, &m, err == SM_E_DIED);
	qm_sched_release(&q->sched, txn);
	task_free(q, t);
	if (route->waiting > 0 && qm_route_dead(&q->sched, route, sm_loop_now_ms()) != NULL)
		qm_put_off_dead(q, route);
	more = txn->busy > 0;
	qm_progress(q, txn); /* without more it may be gone */
	if (more)
		qm_resolve(q, txn);
	if (q->stopping && q->delivery->count == 0)
		sm_loop_stop(SM_EXIT_OK);
}

/* ---- tasks ---- */

static void send_task(struct qm *q, const struct qm_pick *pick, struct sm_list *rcpts)
{
	uint32_t most = pick->route->hop_count;
	struct task *t = sm_calloc(1, sizeof(*t) + most * sizeof(t->address[0]));
	const struct qm_txn *txn = pick->txn;
	struct sm_msg_task m = {
	    .task = ++q->delivery->last_number,
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
	    .within_ms = qm_now_within_ms(txn),
	    .agent = pick->route->agent,
	    .key = pick->route->key,
	    .conf = pick->route->conf,
	    .received_s = txn->received_s,
	    .dsn_kind = txn->dsn_kind,
	    .dsn_of = txn->dsn_of,
	    .dsn_sender = txn->dsn_sender,
	    .dsn_received_s = txn->dsn_received_s,
	    .dsn_until_s = txn->dsn_until_s,
	    .dsn_max_bytes = (uint64_t)q->conf->dsn.max_bytes,
	    .dsn_rcpts_count = txn->dsn_count,
	    .dsn_rcpts = txn->dsn_rcpts,
	};

	sm_arena_reset(&q->delivery->arena);
	m.hosts = sm_arena_must(&q->delivery->arena, most * sizeof(*m.hosts));
	m.hosts_count = qm_pick_hosts(&q->sched, pick, sm_loop_now_ms(), m.hosts);
	for (uint32_t i = 0; i < m.hosts_count; i++)
		t->address[t->address_count++] = m.hosts[i].sa;
	t->q = q;
	t->route = pick->route;
	t->host = pick->host;
	t->agent = pick->agent;
	t->txn = pick->txn;
	t->hop_count = most;
	t->number = m.task;
	t->begun_ms = sm_loop_now_ms();
	sm_list_init(&t->rcpts);
	sm_list_splice(&t->rcpts, rcpts);
	sm_list_push(&q->delivery->tasks, &t->link);
	q->delivery->count++;
	q->stats.tasks++;
	m.rcpts = sm_arena_must(&q->delivery->arena, pick->count * sizeof(*m.rcpts));
	SM_LIST_FOR (r, &t->rcpts, struct qm_rcpt, link) {
		m.rcpts[m.rcpts_count++] =
		    (struct sm_msg_rcpt_task){r->index, r->addr, r->orcpt, r->notify};
		qm_rcpt_set(r, QM_RCPT_DELIVERING);
		sm_log(SM_DEBUG, "qm.give", "ss_ta=%I xid=%?S task=%llu rcpt=<%S> rcpt_idx=%u",
		       txn->id, txn->client.xid, (unsigned long long)t->number, r->addr, r->index);
	}
	m.transcript_bytes = qm_transcript_wanted(q, txn, &m);
	sm_call(&t->call, pick->agent->peer, SM_MSG_task, &m, SM_NEVER, finished, t);
}

/* That it wakes the loop is all: dispatch comes at the end of each turn. */
static void on_wake(void *arg)
{
	(void)arg;
}

/* Once a turn, when all that this turn made ready has gathered. */
static bool dispatch(void *arg)
{
	struct qm *q = arg;
	int64_t now_ms = sm_loop_now_ms(), wake_ms;
	struct qm_pick pick;
	struct sm_list rcpts;
	enum qm_step step;
	bool any = false;

	if (q->stopping || qm_halt_all(q))
		return false;
	if (q->crowded) {
		q->crowded = false;
		qm_put_off_much(q);
	}
	sm_list_init(&rcpts);
	(void)qm_sched_wake(&q->sched, now_ms);
	while ((step = qm_sched_next(&q->sched, now_ms, &pick, &rcpts)) != QM_STEP_NONE) {
		if (step == QM_STEP_TASK)
			send_task(q, &pick, &rcpts);
		else
			qm_put_off_dead(q, pick.route);
		any = true;
	}
	wake_ms = qm_sched_wake(&q->sched, now_ms);
	if (wake_ms < INT64_MAX)
		sm_timer_set(&q->delivery->wake, wake_ms, on_wake, q);
	/* The frames leave after this hook, the log would be written after the frames. */
	if (any && sm_log_on(SM_DEBUG))
		sm_log_flush();
	return any;
}

/* ---- agents ---- */

static void wait_for_agent(struct qm *q);

static bool any_agent(const struct qm *q)
{
	for (unsigned i = 0; i < QM_AGENTS_MAX; i++)
		if (q->sched.agents[i])
			return true;
	return false;
}

/* No smtpc came back in time. */
static void lost_patience(void *arg)
{
	struct qm *q = arg;

	qm_put_off_all(q);
	if (!any_agent(q))
		wait_for_agent(q);
}

static void wait_for_agent(struct qm *q)
{
	sm_timer_set(&q->delivery->patience,
	             sm_loop_now_ms() + SM_MAX(1000, q->conf->wait_for_client_ms), lost_patience,
	             q);
}

static void relieve(void *arg)
{
	struct qm *q = arg;

	qm_put_off_slow(q, RELIEF_S);
	sm_timer_set(&q->delivery->relief, sm_loop_now_ms() + RELIEF_S * 1000, relieve, q);
}

static int do_start(struct qm *q, struct sm_peer *peer, const struct sm_frame *f)
{
	struct sm_msg_sc_start m;
	struct sm_msg_verdict v = {.text = SM_STR("")};
	struct qm_agent *a;
	int err = sm_msg_sc_start_decode(f->body, &q->delivery->arena, &m);

	if (err != 0)
		return err;
	if (f->tag == 0)
		return sm_fail(SM_E_PROTO, "sc_start without a tag");
	if (sm_peer_data(peer))
		return sm_fail(SM_E_PROTO, "sc_start twice");
	if (m.max_tasks == 0 || m.max_tasks > 100000)
		return sm_fail(SM_E_PROTO, "max_tasks %u", m.max_tasks);
	a = qm_agent_add(&q->sched, m.max_tasks);
	if (a == NULL) {
		v.code = 421;
		v.text = SM_STR("4.3.2 too many delivery agents");
	} else {
		a->peer = peer;
		sm_peer_set_data(peer, a);
		sm_timer_cancel(&q->delivery->patience);
		sm_log(SM_INFO, "qm.smtpc", "peer_proc=%u peer_pid=%d stat=connected max_tasks=%u",
		       sm_peer_proc(peer), (int)sm_peer_pid(peer), m.max_tasks);
	}
	sm_peer_reply(peer, f->tag, 0, SM_MSG_verdict, &v);
	return 0;
}

static int do_session_gone(struct qm *q, struct sm_peer *peer, const struct sm_frame *f)
{
	struct sm_msg_session_gone m;
	struct qm_agent *a = sm_peer_data(peer);
	struct qm_route *r;
	int err = sm_msg_session_gone_decode(f->body, &q->delivery->arena, &m);

	if (err == 0 && a && (r = qm_route_find(&q->sched, m.key)) != NULL)
		qm_route_session_gone(r, a, &m.host);
	return err;
}

static int do_transcript(struct qm *q, struct sm_peer *peer, const struct sm_frame *f)
{
	const struct qm_agent *a = sm_peer_data(peer);
	struct sm_msg_transcript m;
	int err = sm_msg_transcript_decode(f->body, &q->delivery->arena, &m);

	if (err != 0)
		return err;
	SM_LIST_FOR (t, &q->delivery->tasks, struct task, link) {
		if (t->number == m.task && t->agent == a) {
			qm_transcript_keep(q, t->txn->id, &t->rcpts, f->body);
			break;
		}
	}
	return 0;
}

static int on_frame(struct sm_peer *peer, const struct sm_frame *f, void *arg)
{
	struct qm *q = arg;

	sm_arena_reset(&q->delivery->arena);
	switch (f->type) {
	case SM_MSG_sc_start:
		return do_start(q, peer, f);
	case SM_MSG_transcript:
		return do_transcript(q, peer, f);
	case SM_MSG_session_gone:
		return do_session_gone(q, peer, f);
	default:
		return sm_fail(SM_E_PROTO, "message %u is not for qmgr", f->type);
	}
}

/* The calls that were out have had their SM_E_PEER before this, so nothing runs there any more. */
static void on_close(struct sm_peer *peer, void *arg)
{
	struct qm *q = arg;
	struct qm_agent *a = sm_peer_data(peer);

	if (a == NULL)
		return;
	sm_peer_set_data(peer, NULL);
	sm_log(SM_NOTICE, "qm.smtpc", "peer_proc=%u peer_pid=%d stat=gone", sm_peer_proc(peer),
	       (int)sm_peer_pid(peer));
	qm_agent_remove(&q->sched, &a);
	if (!any_agent(q) && !q->stopping)
		wait_for_agent(q);
}

size_t qm_delivery_tasks(const struct qm *q)
{
	return q->delivery->count;
}

int qm_delivery_open(struct qm *q)
{
	struct qm_delivery *d = sm_calloc(1, sizeof(*d));
	char path[108];
	int err;

	q->delivery = d;
	sm_list_init(&d->tasks);
	sm_arena_init(&d->arena, "delivery", 16 * 1024, 8 * SM_FRAME_MAX);
	sm_loop_before_sleep(&d->hook, dispatch, q);
	sm_timer_set(&d->relief, sm_loop_now_ms() + RELIEF_S * 1000, relieve, q);
	wait_for_agent(q);
	if ((err = sm_str_copy(q->proc->global.smtpc_socket, path, sizeof(path))) != 0)
		return err;

	struct sm_rpc_server_conf conf = {
	    .path = path,
	    .umask = 0007,
	    .uids = q->smtpc_users.v,
	    .uid_count = q->smtpc_users.count,
	    .read_gid = (gid_t)-1,
	    .roles = 1u << SM_ROLE_SMTPC,
	    .max_peers = QM_AGENTS_MAX,
	    .on_close = on_close,
	    .on_frame = on_frame,
	    .arg = q,
	};
	return sm_rpc_listen(&conf, &d->rpc);
}

void qm_delivery_close(struct qm *q)
{
	struct qm_delivery *d = q->delivery;

	if (d == NULL)
		return;
	sm_hook_remove(&d->hook);
	sm_rpc_server_free(&d->rpc);
	sm_timer_cancel(&d->patience);
	sm_timer_cancel(&d->relief);
	sm_timer_cancel(&d->wake);
	SM_LIST_FOR_SAFE (t, &d->tasks, struct task, link) {
		while (sm_list_shift(&t->rcpts))
			;
		task_free(q, t);
	}
	sm_arena_fini(&d->arena);
	SM_FREE(q->delivery);
}
