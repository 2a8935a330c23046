/*
 * Calls: which request an answer belongs to, and what becomes of those that never get one.
 *
 * Invariant: a call is in its connection's table and list, or in `failed`, or its callback has been
 * called for the last time. The deadlines of a connection share one timer: set when an earlier
 * deadline comes, otherwise left alone. A call that is answered in time, nearly every one, costs no
 * heap operation. Thread: the loop's.
 */
#include "libsm/rpc_int.h"

static struct sm_list failed = SM_LIST_INIT(failed);

static bool tag_eq(const struct sm_hash_node *n, const void *key)
{
	return SM_CONTAINER_OF(n, const struct sm_call, node)->tag == *(const uint64_t *)key;
}

static void take_out(struct sm_call *c)
{
	if (c->peer != NULL)
		sm_hash_remove(&c->peer->calls, &c->node);
	c->peer = NULL;
	sm_list_remove(&c->link);
}

static void fail(struct sm_call *c, int err)
{
	take_out(c);
	c->err = err;
	sm_list_push(&failed, &c->link);
}

static void on_timer(void *arg)
{
	struct sm_peer *p = arg;

	p->timer_ms = SM_NEVER;
	sm_calls_timer(p);
}

static void need_timer(struct sm_peer *p, int64_t deadline_ms)
{
	if (deadline_ms >= p->timer_ms)
		return;
	p->timer_ms = deadline_ms;
	sm_timer_set(&p->timer, deadline_ms, on_timer, p);
}

void sm_call(struct sm_call *c, struct sm_peer *p, uint16_t type, const void *m,
             int64_t deadline_ms, void (*cb)(int err, const struct sm_frame *f, void *arg),
             void *arg)
{
	int rc;

	*c = (struct sm_call){.deadline_ms = deadline_ms, .cb = cb, .arg = arg};
	sm_list_init(&c->link);
	if (p == NULL || p->state != RPC_UP) {
		fail(c, SM_E_PEER);
		return;
	}
	c->tag = ++p->last_tag;
	rc = sm_peer_put(p, type, 0, c->tag, m);
	if (rc != 0) {
		fail(c, rc);
		sm_peer_todo(p);
		return;
	}
	c->peer = p;
	sm_hash_insert(&p->calls, &c->node, c->tag);
	sm_list_push(&p->calls_in_order, &c->link);
	need_timer(p, deadline_ms);
}

void sm_call_cancel(struct sm_call *c)
{
	/* Zeroed memory: it was never asked. */
	if (c->link.next != NULL)
		take_out(c);
}

void sm_calls_answer(struct sm_peer *p, const struct sm_frame *f)
{
	struct sm_hash_node *n = sm_hash_find(&p->calls, f->tag, tag_eq, &f->tag);
	struct sm_call *c;

	/* Nobody waits any more: cancelled, or past its deadline. */
	if (n == NULL)
		return;
	c = SM_CONTAINER_OF(n, struct sm_call, node);
	if ((f->flags & SM_FRAME_MORE) == 0)
		take_out(c);
	if (f->type == SM_MSG_died)
		c->cb(SM_E_DIED, NULL, c->arg);
	else
		c->cb(0, f, c->arg);
}

bool sm_calls_run_failed(void)
{
	struct sm_list now = SM_LIST_INIT(now);
	struct sm_list *e;

	/* A callback may ask again, and fail again: that is for the next turn. */
	sm_list_splice(&now, &failed);
	while ((e = sm_list_shift(&now)) != NULL) {
		struct sm_call *c = SM_LIST_ENTRY(e, struct sm_call, link);

		c->cb(c->err, NULL, c->arg);
	}
	return !sm_list_empty(&failed);
}

void sm_calls_fail(struct sm_peer *p, int err)
{
	SM_LIST_FOR_SAFE (c, &p->calls_in_order, struct sm_call, link)
		fail(c, err);
	(void)sm_calls_run_failed();
}

void sm_calls_timer(struct sm_peer *p)
{
	int64_t now_ms = sm_now_ms();
	int64_t next_ms = SM_NEVER;

	SM_LIST_FOR_SAFE (c, &p->calls_in_order, struct sm_call, link) {
		if (c->deadline_ms <= now_ms)
			fail(c, SM_E_TIMEOUT);
		else
			next_ms = SM_MIN(next_ms, c->deadline_ms);
	}
	need_timer(p, next_ms);
	(void)sm_calls_run_failed();
}

/* ---- from a coroutine ---- */

struct ask {
	struct sm_call call;
	struct sm_co *co;
	struct sm_peer *peer;
	const struct sm_def_info *info;
	struct sm_arena *arena;
	void *reply;
	bool done;
	int err;
};

/* The strings of the decoded answer point into a copy of its body that lives as long as the caller
 * wants. */
static int take_answer(struct ask *a, const struct sm_frame *f)
{
	struct sm_str body;
	int rc;

	if (f->type != a->info->type || (f->flags & SM_FRAME_MORE) != 0)
		return sm_fail(SM_E_PROTO, "answer of type %#x instead of %s", f->type,
		               a->info->name);
	body = sm_arena_str(a->arena, f->body);
	if (body.p == NULL)
		return sm_fail(SM_E_TOOBIG, "no room for an answer of %zu bytes", f->body.n);
	rc = a->info->decode(body, a->arena, a->reply);
	return rc == 0 ? 0 : sm_fail(SM_E_PROTO, "malformed answer %s", a->info->name);
}

static void on_answer(int err, const struct sm_frame *f, void *arg)
{
	struct ask *a = arg;

	if (err == 0) {
		err = take_answer(a, f);
		if (err == SM_E_PROTO)
			sm_peer_close(a->peer, sm_diag());
		if (f->flags & SM_FRAME_MORE)
			sm_call_cancel(&a->call);
	}
	a->err = err;
	a->done = true;
	sm_co_wake(a->co);
}

int sm_rpc(struct sm_peer *p, uint16_t type, const void *m, uint16_t reply_type, struct sm_arena *a,
           void *reply, int64_t deadline_ms)
{
	struct ask ask = {.co = sm_co_self(),
	                  .peer = p,
	                  .info = sm_msg_info(reply_type),
	                  .arena = a,
	                  .reply = reply};

	sm_assert(ask.co != NULL && ask.info != NULL);
	if (p == NULL)
		return sm_fail(SM_E_PEER, "message %s: the process to ask is away",
		               sm_msg_info(type)->name);
	sm_call(&ask.call, p, type, m, deadline_ms, on_answer, &ask);
	while (!ask.done) {
		int rc = sm_co_park(sm_msg_info(type)->name, SM_NEVER);

		if (rc != 0 && !ask.done) {
			sm_call_cancel(&ask.call);
			return rc;
		}
	}
	if (ask.err != 0)
		return sm_fail(ask.err, "message %s: %s", sm_msg_info(type)->name,
		               sm_strerr(ask.err));
	return 0;
}
