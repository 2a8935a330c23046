/*
 * The side of qmgr that smtpc processes talk to: tasks out, results in.
 *
 * A task is one transaction with the recipients that share a route. While it is out its recipients
 * are DELIVERING. An smtpc that goes away leaves them undecided: they are tried again, and that is
 * the only way a recipient gets a mail twice. The log names each of them (`qm.undecided`), and on
 * level 13 each that is handed out (`qm.give`), written before smtpc can have it: so what may come
 * twice after a crash can be told from the log, and tests hold it against what did.
 */
#include "qmgr/qm.h"

#include "libsm/rand.h"
#include "libsm/time.h"

#define DEAD_MS  60000LL /* a next hop that could not be reached is left alone so long */
#define LOST_MAX 2       /* a recipient whose smtpc died so often waits for its retry time */
#define RELIEF_S                                                                        \
	10 /* so often the active queue is looked at for destinations that only fill it \
	    */

struct task {
	struct sm_call call;
	struct sm_list link; /* in delivery.tasks */
	struct qm *q;
	struct qm_route *route;
	struct qm_agent *agent;
	struct qm_txn *txn;
	struct sm_list rcpts; /* DELIVERING */
	uint64_t number;
};

struct qm_delivery {
	struct sm_rpc_server *rpc;
	struct sm_hook hook;
	struct sm_list tasks;
	size_t count;
	uint64_t last_number;
	struct sm_timer relief;
	struct sm_timer patience; /* while no smtpc is there */
	struct sm_arena arena;
};

/* ---- results
 * ---------------------------------------------------------------------------------------------------------
 */

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

/* All that waits behind a route gets this outcome. */
static void put_off(struct qm *q, struct qm_route *route, const struct qm_try *t)
{
	struct sm_list waiting, *e;

	sm_list_init(&waiting);
	qm_sched_drain(&q->sched, route, &waiting);
	while ((e = sm_list_shift(&waiting)) != NULL) {
		struct qm_rcpt *r = SM_LIST_ENTRY(e, struct qm_rcpt, link);
		struct qm_txn *txn = r->txn;

		qm_settle_rcpt(q, r, t);
		qm_progress(q, txn);
	}
}

/* Nobody of the route answered: what waits behind it need not find out one by one. */
static void route_dead(struct qm *q, struct qm_route *route, const struct qm_try *why)
{
	struct qm_try t = *why;

	route->dead_until_ms = sm_loop_now_ms() + SM_MIN(DEAD_MS, q->conf->retry_min_ms);
	t.no_try = true;
	put_off(q, route, &t);
}

/* The smtpc died or answered nonsense: at once again, but not for ever. */
static void undecided(struct qm *q, struct qm_rcpt *r)
{
	struct qm_try t = {.outcome = SM_OUTCOME_TEMP,
	                   .code = 451,
	                   .text = SM_STR("4.3.0 delivery agent went away"),
	                   .host = SM_STR("")};

	sm_log(SM_WARN, "qm.undecided", "ss_ta=%I rcpt=<%S> rcpt_idx=%u", r->txn->id, r->addr,
	       r->index);
	if (r->lost < UINT8_MAX)
		r->lost++;
	/* At the end nothing is written about it: it is open in the log, and due at the next start.
	 */
	if (r->lost >= LOST_MAX && !q->stopping)
		qm_settle_rcpt(q, r, &t);
	else
		qm_rcpt_set(r, QM_RCPT_NEW);
}

static void finished(int err, const struct sm_frame *f, void *arg)
{
	struct task *t = arg;
	struct qm *q = t->q;
	struct qm_txn *txn = t->txn;
	struct qm_route *route = t->route;
	struct sm_msg_task_result m = {.reach = SM_REACH_NONE};
	struct qm_try last = {0};
	struct sm_list *e;
	bool connected = false;

	sm_arena_reset(&q->delivery->arena);
	if (err == 0)
		err = f->type == SM_MSG_task_result
		          ? sm_msg_task_result_decode(f->body, &q->delivery->arena, &m)
		          : SM_E_PROTO;
	if (err != 0) {
		m = (struct sm_msg_task_result){.reach = SM_REACH_NONE};
		sm_log(SM_WARN, "qm.task", "ss_ta=%I task=%llu error=%s", txn->id,
		       (unsigned long long)t->number, sm_strerr(err));
	}
	qm_sched_done(&q->sched, route, t->agent, m.reach, m.session_kept);
	for (uint32_t i = 0; i < m.results_count; i++) {
		const struct sm_msg_rcpt_result *res = &m.results[i];
		struct qm_rcpt *r = take(t, res->index);

		if (r == NULL)
			continue;
		if (res->outcome > SM_OUTCOME_PERM) {
			undecided(q, r);
			continue;
		}
		last = (struct qm_try){.outcome = res->outcome,
		                       .code = res->code,
		                       .text = res->text,
		                       .host = res->host};
		connected =
		    connected || res->outcome != SM_OUTCOME_TEMP || res->stage > SM_STAGE_CONNECT;
		qm_settle_rcpt(q, r, &last);
	}
	while ((e = sm_list_shift(&t->rcpts)) != NULL)
		undecided(q, SM_LIST_ENTRY(e, struct qm_rcpt, link));
	task_free(q, t);
	if (m.reach == SM_REACH_REFUSED && m.results_count > 0 && !connected)
		route_dead(q, route, &last);
	else if (m.reach == SM_REACH_OK)
		route->dead_until_ms = 0;
	if (txn->busy > 0)
		qm_resolve(q, txn);
	else
		qm_progress(q, txn);
	if (q->stopping && q->delivery->count == 0)
		sm_loop_stop(SM_EXIT_OK);
}

/* ---- tasks
 * -----------------------------------------------------------------------------------------------------------
 */

static void send_task(struct qm *q, const struct qm_pick *pick, struct sm_list *rcpts)
{
	struct task *t = sm_calloc(1, sizeof(*t));
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
	    .envid = txn->envid,
	    .agent = pick->route->agent,
	    .key = pick->route->key,
	    .received_s = txn->received_s,
	    .hosts_count = pick->route->host_count,
	    .hosts = pick->route->hosts,
	    .dsn_kind = txn->dsn_kind,
	    .dsn_of = txn->dsn_of,
	    .dsn_sender = txn->dsn_sender,
	    .dsn_received_s = txn->dsn_received_s,
	    .dsn_rcpts_count = txn->dsn_count,
	    .dsn_rcpts = txn->dsn_rcpts,
	};

	t->q = q;
	t->route = pick->route;
	t->agent = pick->agent;
	t->txn = pick->txn;
	t->number = m.task;
	sm_list_init(&t->rcpts);
	sm_list_splice(&t->rcpts, rcpts);
	sm_list_push(&q->delivery->tasks, &t->link);
	q->delivery->count++;
	q->stats.tasks++;
	sm_arena_reset(&q->delivery->arena);
	m.rcpts = sm_arena_must(&q->delivery->arena, pick->count * sizeof(*m.rcpts));
	SM_LIST_FOR (r, &t->rcpts, struct qm_rcpt, link) {
		m.rcpts[m.rcpts_count++] =
		    (struct sm_msg_rcpt_task){r->index, r->addr, r->orcpt, r->notify};
		qm_rcpt_set(r, QM_RCPT_DELIVERING);
		sm_log(SM_DEBUG, "qm.give", "ss_ta=%I task=%llu rcpt=<%S> rcpt_idx=%u", txn->id,
		       (unsigned long long)t->number, r->addr, r->index);
	}
	sm_call(&t->call, pick->agent->peer, SM_MSG_task, &m, SM_NEVER, finished, t);
}

/* Once a turn, when all that this turn made ready has gathered. */
static bool dispatch(void *arg)
{
	struct qm *q = arg;
	struct qm_pick pick;
	struct sm_list rcpts;
	bool any = false;

	sm_list_init(&rcpts);
	while (!q->stopping && qm_sched_next(&q->sched, &pick, &rcpts)) {
		send_task(q, &pick, &rcpts);
		any = true;
	}
	/* The frames leave after this hook, the log would be written after the frames. */
	if (any && sm_log_on(SM_DEBUG))
		sm_log_flush();
	return any;
}

/* ---- agents
 * ----------------------------------------------------------------------------------------------------------
 */

static void wait_for_agent(struct qm *q);

static bool any_agent(const struct qm *q)
{
	for (unsigned i = 0; i < QM_AGENTS_MAX; i++)
		if (q->sched.agents[i])
			return true;
	return false;
}

/* No smtpc came back in time: what waits for one goes to DEFEDB, the active queue is for what can
 * move. */
static void lost_patience(void *arg)
{
	struct qm *q = arg;
	struct qm_try t = {.outcome = SM_OUTCOME_TEMP,
	                   .code = 451,
	                   .text = SM_STR("4.3.0 no delivery agent"),
	                   .host = SM_STR(""),
	                   .local = true,
	                   .retry_in_s = 30};

	while (!sm_list_empty(&q->sched.ready))
		put_off(q, SM_LIST_FIRST(&q->sched.ready, struct qm_route, link), &t);
	if (!any_agent(q))
		wait_for_agent(q);
}

static void wait_for_agent(struct qm *q)
{
	sm_timer_set(&q->delivery->patience,
	             sm_loop_now_ms() + SM_MAX(1000, q->conf->wait_for_client_ms), lost_patience,
	             q);
}

/*
 * A destination that is not dead but slow would fill the active queue, and nothing else would be
 * read back from DEFEDB any more. What it cannot take within a minute goes there instead, when room
 * is short.
 */
static void relieve(void *arg)
{
	struct qm *q = arg;
	size_t max = (size_t)q->conf->aq_max_entries;
	const struct qm_try t = {.outcome = SM_OUTCOME_TEMP,
	                         .code = 451,
	                         .text =
	                             SM_STR("4.4.5 destination is slow and has much mail waiting"),
	                         .host = SM_STR(""),
	                         .local = true,
	                         .retry_in_s = 60 + (int64_t)(sm_rand_u64() % 60)};

	for (struct sm_hash_node *n = sm_hash_next(&q->sched.routes, NULL); n;
	     n = sm_hash_next(&q->sched.routes, n)) {
		struct qm_route *r = SM_CONTAINER_OF(n, struct qm_route, node);

		if (q->txns.rcpts >= max / 2 && r->waiting >= max / 4 &&
		    r->left * (60 / RELIEF_S) < r->waiting)
			put_off(q, r, &t);
		r->left = 0;
	}
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
		sm_log(SM_INFO, "qm.smtpc", "proc=%u pid=%d stat=connected max_tasks=%u",
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
		qm_sched_session_gone(r, a);
	return err;
}

static int on_frame(struct sm_peer *peer, const struct sm_frame *f, void *arg)
{
	struct qm *q = arg;

	sm_arena_reset(&q->delivery->arena);
	switch (f->type) {
	case SM_MSG_sc_start:
		return do_start(q, peer, f);
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
	sm_log(SM_NOTICE, "qm.smtpc", "proc=%u pid=%d stat=gone", sm_peer_proc(peer),
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
	SM_LIST_FOR_SAFE (t, &d->tasks, struct task, link) {
		while (sm_list_shift(&t->rcpts))
			;
		task_free(q, t);
	}
	sm_arena_fini(&d->arena);
	SM_FREE(q->delivery);
}
