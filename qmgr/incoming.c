/*
 * The side of qmgr that smtps processes talk to: who is there, id blocks, credit, sessions and
 * their limits. What becomes of the mail they bring is in incoming_commit.c.
 */
#include "qmgr/incoming_int.h"
#include "qmgr/now.h"

#include <unistd.h>
#include "libsm/time.h"

#define ID_BLOCK      65536u
#define TAKEN_MAX     200000
#define TAKEN_KEEP_MS (3600 * 1000LL) /* longer than any smtps asks */

struct session {
	struct sm_hash_node node;
	struct sm_id id;
	struct qm_client *client;
};

#define SPANS_MAX  65536 /* as content_keep */
#define WAITING_MS 1000  /* so often smtps hears how much waits, when nothing else is new */

/* ---- ids ---- */

static uint64_t reserve_block(struct qm *q, uint8_t proc, pid_t pid, uint64_t *first)
{
	struct qm_incoming *in = q->in;
	uint64_t floor = (uint64_t)sm_wall_s() << QM_COUNTER_SHIFT;

	if (in->next_counter < floor)
		in->next_counter = floor;
	*first = in->next_counter;
	in->next_counter += ID_BLOCK;
	return qm_store_id_block(q->store, *first, ID_BLOCK, proc, pid);
}

static void own_block_durable(void *arg)
{
	struct qm_in_pending *p = arg;
	struct qm_incoming *in = p->q->in;

	in->own.next = p->block.first;
	in->own.end = p->block.first + p->block.count;
	in->own_coming = false;
	sm_free(p);
}

static void own_block_get(struct qm *q)
{
	struct qm_in_pending *p;
	uint64_t lsn;

	if (q->in->own_coming)
		return;
	q->in->own_coming = true;
	p = sm_calloc(1, sizeof(*p));
	p->q = q;
	p->block.count = ID_BLOCK;
	lsn = reserve_block(q, SM_ID_PROC_QMGR, getpid(), &p->block.first);
	qm_store_after(q->store, qm_store_ibdb(q->store), lsn, &p->wait, own_block_durable, p);
}

bool qm_incoming_own_id(struct qm *q, struct sm_id *id)
{
	struct qm_incoming *in = q->in;

	/* The next block is asked for in time: nobody has to wait for it but the very first. */
	if (in->own.end - in->own.next <= ID_BLOCK / 2)
		own_block_get(q);
	if (in->own.next >= in->own.end)
		return false;
	*id = (struct sm_id){in->own.next++, SM_ID_PROC_QMGR};
	return true;
}

/* ---- servers ---- */

static void server_free(struct qm_in_server *s)
{
	sm_list_remove(&s->link);
	sm_hash_fini(&s->sessions);
	sm_free(s);
}

static void send_credit(struct qm *q, struct qm_in_server *s)
{
	struct sm_msg_credit c;

	qm_credit(q, q->in->told, qm_incoming_servers(q), &c);
	sm_peer_send(s->peer, SM_MSG_credit, &c);
}

bool qm_incoming_keep(struct qm *q, struct sm_id segment, const struct cdb_span *keep, size_t count)
{
	struct sm_msg_content_keep m = {.content = segment};
	struct qm_in_server *to = NULL;
	struct sm_msg_content_span *spans;

	SM_LIST_FOR (s, &q->in->servers, struct qm_in_server, link)
		if (s->peer != NULL && s->started && (to == NULL || s->proc == segment.proc))
			to = s;
	if (to == NULL || count > SPANS_MAX)
		return false;
	spans = sm_calloc(count + 1, sizeof(*spans));
	for (size_t i = 0; i < count; i++)
		spans[i] = (struct sm_msg_content_span){keep[i].offset, keep[i].size};
	m.keep = spans;
	m.keep_count = (uint32_t)count;
	sm_peer_send(to->peer, SM_MSG_content_keep, &m);
	sm_free(spans);
	return true;
}

void qm_incoming_certs(struct qm *q, uint32_t uid)
{
	struct sm_msg_certs_reload m = {.uid = uid};

	SM_LIST_FOR (s, &q->in->servers, struct qm_in_server, link)
		if (s->peer != NULL)
			sm_peer_send(s->peer, SM_MSG_certs_reload, &m);
}

static void send_credits(struct qm *q)
{
	SM_LIST_FOR (s, &q->in->servers, struct qm_in_server, link)
		send_credit(q, s);
}

/* Whatever changed in this turn, disk, logs, index or state: an smtps never sits on an old refusal.
 */
static bool before_sleep(void *arg)
{
	struct qm *q = arg;
	bool moved = qm_credit_measure(q, q->in->committing);
	enum qm_refusal now = qm_credit_refusal(q);
	/* It always moves. The look at the space wakes us often enough for the last of it. */
	bool waiting = qm_credit_waiting(q) != q->in->told_waiting &&
	               sm_loop_now_ms() - q->in->told_ms >= WAITING_MS;

	if (now == q->in->told && !moved && !waiting)
		return false;
	q->in->told = now;
	q->in->told_waiting = qm_credit_waiting(q);
	q->in->told_ms = sm_loop_now_ms();
	send_credits(q);
	return true;
}

static void user_limits(struct qm *q)
{
	q->users.max_messages = (uint64_t)q->conf->smtps.user_max_messages;
	q->users.max_rcpts = (uint64_t)q->conf->smtps.user_max_rcpts;
	q->users.period_ms = q->conf->smtps.user_period_ms;
	q->users.max_entries = (size_t)q->conf->smtps.user_max_entries;
}

void qm_incoming_reload(struct qm *q)
{
	q->in->clients.max_open = (unsigned)q->conf->smtps.max_connections;
	q->in->clients.max_rate = (unsigned)q->conf->smtps.max_connection_rate;
	q->in->clients.limits = q->limits;
	user_limits(q);
	send_credits(q);
}

static void on_open(struct sm_peer *peer, void *arg)
{
	struct qm *q = arg;
	struct qm_in_server *s = sm_calloc(1, sizeof(*s));

	s->peer = peer;
	s->proc = sm_peer_proc(peer);
	sm_hash_init(&s->sessions);
	sm_list_push(&q->in->servers, &s->link);
	sm_peer_set_data(peer, s);
	sm_log(SM_INFO, "qm.smtps", "peer_proc=%u peer_pid=%d stat=connected", s->proc,
	       (int)sm_peer_pid(peer));
	send_credits(q); /* they share what there is */
}

/* While others are open a commit may wait for them, if max_commit_delay says so. */
static void expect_company(struct qm *q)
{
	size_t open;

	if (q->conf->ibdb.max_commit_delay_us == 0)
		return;
	open = qm_incoming_sessions(q);
	qm_log_expect(qm_store_ibdb(q->store), open > 1 ? (unsigned)open - 1 : 0);
}

static void session_close(struct qm *q, struct qm_in_server *s, struct session *se)
{
	qm_now_gone(q, se->id);
	qm_client_close(&q->in->clients, se->client);
	sm_hash_remove(&s->sessions, &se->node);
	sm_free(se);
	expect_company(q);
}

static void on_close(struct sm_peer *peer, void *arg)
{
	struct qm *q = arg;
	struct qm_in_server *s = sm_peer_data(peer);

	if (s == NULL)
		return;
	sm_log(SM_NOTICE, "qm.smtps", "peer_proc=%u peer_pid=%d stat=gone sessions=%zu", s->proc,
	       (int)sm_peer_pid(peer), s->sessions.count);
	for (struct sm_hash_node *n = sm_hash_next(&s->sessions, NULL), *next; n; n = next) {
		next = sm_hash_next(&s->sessions, n);
		session_close(q, s, SM_CONTAINER_OF(n, struct session, node));
	}
	if (s->started)
		qm_holder_left(&q->in->holders, s->proc, sm_loop_now_ms());
	server_free(s);
	send_credits(q);
}

static void block_durable(void *arg)
{
	struct qm_in_pending *p = arg;

	sm_peer_reply(p->peer, p->tag, 0, SM_MSG_id_block, &p->block);
	sm_free(p);
}

static void give_block(struct qm *q, struct qm_in_server *s, uint64_t tag)
{
	struct qm_in_pending *p = sm_calloc(1, sizeof(*p));
	uint64_t lsn;

	p->q = q;
	p->peer = s->peer;
	p->tag = tag;
	p->block.count = ID_BLOCK;
	lsn = reserve_block(q, s->proc, sm_peer_pid(s->peer), &p->block.first);
	qm_store_after(q->store, qm_store_ibdb(q->store), lsn, &p->wait, block_durable, p);
}

static const struct qm_in_server *same_index(const struct qm *q, const struct qm_in_server *s)
{
	const struct qm_in_server *same = NULL;

	SM_LIST_FOR (o, &q->in->servers, struct qm_in_server, link)
		if (o != s && o->peer != NULL && o->started && o->proc == s->proc)
			same = o;
	return same;
}

static bool given_up(void *arg, struct sm_id content)
{
	return qm_incoming_abandoned(arg, content);
}

static void content_unused(void *arg, struct sm_id content)
{
	qm_content_remove(arg, content);
}

void qm_incoming_look(struct qm *q)
{
	if (qm_holders_look(&q->in->holders, sm_loop_now_ms()))
		qm_content_seal_all(&q->txns.contents, given_up, content_unused, q);
}

static int do_sealed(struct qm *q, struct qm_in_server *s, const struct sm_frame *f)
{
	struct sm_msg_content_sealed m;
	int err = sm_msg_content_sealed_decode(f->body, &q->in->arena, &m);

	if (err != 0)
		return err;
	if (!cdb_is_segment(m.content) || m.content.proc != s->proc)
		return sm_fail(SM_E_PROTO, "no segment of that process");
	qm_holder_taken(&q->in->holders, m.content);
	if (qm_content_seal(&q->txns.contents, m.content))
		qm_content_remove(q, m.content);
	return 0;
}

/* One that was taken for gone: its segments may be, too. It tries again, and has done with them
 * when nobody of theirs waits for an answer any more. */
static bool comes_too_late(const struct qm *q, const struct qm_in_server *s,
                           const struct sm_msg_ss_start *m)
{
	if (!qm_holder_is_gone(&q->in->holders, s->proc))
		return false;
	for (uint32_t i = 0; i < m->open_count; i++)
		if (cdb_is_segment(m->open[i].id))
			return true;
	return false;
}

static int do_start(struct qm *q, struct qm_in_server *s, const struct sm_frame *f)
{
	const struct qm_in_server *other;
	struct sm_msg_ss_start m;
	int err = sm_msg_ss_start_decode(f->body, &q->in->arena, &m);

	if (err != 0)
		return err;
	if (s->proc == SM_ID_PROC_QMGR)
		return sm_fail(SM_E_PROTO, "process index %u is qmgr's own", s->proc);
	/* Otherwise the contents of one would be orphans by the word of the other. A process that
	 * died is gone before its successor has tried twice. */
	other = same_index(q, s);
	if (other != NULL)
		return sm_fail(SM_E_PROTO,
		               "process index %u is that of process %d already: option id", s->proc,
		               (int)sm_peer_pid(other->peer));
	if (comes_too_late(q, s, &m))
		return sm_fail(SM_E_PROTO, "it comes too late to go on with its segments");
	s->started = true;
	qm_holder_start(&q->in->holders, s->proc,
	                m.next_counter ? m.next_counter : q->in->next_counter);
	for (uint32_t i = 0; i < m.open_count; i++)
		qm_holder_open(&q->in->holders, s->proc, m.open[i].id);
	qm_content_seal_all(&q->txns.contents, given_up, content_unused, q);
	give_block(q, s, f->tag);
	qm_content_search_soon(q);
	return 0;
}

/* ---- sessions ---- */

static bool session_eq(const struct sm_hash_node *n, const void *key)
{
	return sm_id_eq(SM_CONTAINER_OF(n, struct session, node)->id, *(const struct sm_id *)key);
}

static struct session *session_find(const struct qm_in_server *s, struct sm_id id)
{
	struct sm_hash_node *n = sm_hash_find(&s->sessions, sm_id_hash(id), session_eq, &id);

	return n ? SM_CONTAINER_OF(n, struct session, node) : NULL;
}

static int do_sess_open(struct qm *q, struct qm_in_server *s, const struct sm_frame *f)
{
	struct sm_msg_sess_open m;
	struct qm_client *client;
	struct session *se;
	int err = sm_msg_sess_open_decode(f->body, &q->in->arena, &m);

	if (err != 0)
		return err;
	if (session_find(s, m.sess))
		return sm_fail(SM_E_PROTO, "session is open already");
	if (s->sessions.count >= (size_t)q->conf->smtps.max_sessions) {
		qm_in_verdict(s->peer, f->tag, 421, SM_STR("4.3.2 too many sessions"));
		return 0;
	}
	switch (qm_client_open(&q->in->clients, &m.client, sm_loop_now_ms(), &client)) {
	case QM_CLIENT_TOO_MANY:
		qm_in_verdict(s->peer, f->tag, 421,
		              SM_STR("4.7.0 too many open connections from your address"));
		return 0;
	case QM_CLIENT_TOO_FAST:
		qm_in_verdict(s->peer, f->tag, 421,
		              SM_STR("4.7.0 too many connections from your address, slow down"));
		return 0;
	case QM_CLIENT_OK:
		break;
	}
	se = sm_calloc(1, sizeof(*se));
	se->id = m.sess;
	se->client = client;
	sm_hash_insert(&s->sessions, &se->node, sm_id_hash(se->id));
	expect_company(q);
	qm_in_verdict(s->peer, f->tag, 0, SM_STR(""));
	return 0;
}

static int do_sess_close(struct qm *q, struct qm_in_server *s, const struct sm_frame *f)
{
	struct sm_msg_sess_close m;
	struct session *se;
	int err = sm_msg_sess_close_decode(f->body, &q->in->arena, &m);

	if (err == 0 && (se = session_find(s, m.sess)) != NULL)
		session_close(q, s, se);
	return err;
}

static int on_frame(struct sm_peer *peer, const struct sm_frame *f, void *arg)
{
	static const struct {
		uint16_t type;
		int (*handle)(struct qm *, struct qm_in_server *, const struct sm_frame *);
	} handlers[] = {
	    {SM_MSG_ta_commit, qm_in_commit},   {SM_MSG_sess_open, do_sess_open},
	    {SM_MSG_sess_close, do_sess_close}, {SM_MSG_ta_query, qm_in_query},
	    {SM_MSG_ss_start, do_start},        {SM_MSG_content_sealed, do_sealed},
	};
	struct qm *q = arg;
	struct qm_in_server *s = sm_peer_data(peer);

	sm_arena_reset(&q->in->arena);
	if (f->tag == 0 && f->type != SM_MSG_sess_close && f->type != SM_MSG_content_sealed)
		return sm_fail(SM_E_PROTO, "message %u without a tag", f->type);
	if (f->type == SM_MSG_id_block_get) {
		give_block(q, s, f->tag);
		return 0;
	}
	if (f->type == SM_MSG_rcpt_verify)
		return qm_verify_ask(q, peer, f);
	if (f->type == SM_MSG_ta_wait)
		return qm_now_wait(q, peer, f);
	if (f->type == SM_MSG_etrn)
		return qm_etrn_ask(q, peer, f);
	for (size_t i = 0; i < SM_ARRAY_SIZE(handlers); i++)
		if (handlers[i].type == f->type)
			return handlers[i].handle(q, s, f);
	return sm_fail(SM_E_PROTO, "message %u is not for qmgr", f->type);
}

bool qm_incoming_abandoned(const struct qm *q, struct sm_id id)
{
	return qm_holder_gave_up(&q->in->holders, id);
}

size_t qm_incoming_sessions(const struct qm *q)
{
	size_t n = 0;

	SM_LIST_FOR (s, &q->in->servers, struct qm_in_server, link)
		n += s->sessions.count;
	return n;
}

size_t qm_incoming_servers(const struct qm *q)
{
	size_t n = 0;

	SM_LIST_FOR (s, &q->in->servers, struct qm_in_server, link)
		n++;
	return n;
}

int qm_incoming_open(struct qm *q, const struct qm_recovered *found)
{
	struct qm_incoming *in = sm_calloc(1, sizeof(*in));
	char path[108];
	int err;

	q->in = in;
	in->next_counter = found->next_counter;
	in->told = QM_NOT_READY;
	sm_list_init(&in->servers);
	qm_taken_init(&in->taken, TAKEN_MAX, TAKEN_KEEP_MS);
	qm_holders_init(&in->holders, sm_loop_now_ms());
	sm_arena_init(&in->arena, "incoming", 16 * 1024, 8 * SM_FRAME_MAX);
	qm_clients_init(&in->clients, (unsigned)q->conf->smtps.max_connections,
	                (unsigned)q->conf->smtps.max_connection_rate);
	in->clients.limits = q->limits;
	qm_users_init(&q->users);
	user_limits(q);
	if ((err = sm_str_copy(q->proc->global.smtps_socket, path, sizeof(path))) != 0)
		return err;
	for (size_t i = 0; i < found->ended_count; i++)
		qm_incoming_taken(q, found->ended[i]);
	own_block_get(q);
	sm_loop_before_sleep(&in->hook, before_sleep, q);

	struct sm_rpc_server_conf conf = {
	    .path = path,
	    .umask = 0007,
	    .uids = q->smtps_users.v,
	    .uid_count = q->smtps_users.count,
	    .read_gid = (gid_t)-1,
	    .roles = 1u << SM_ROLE_SMTPS,
	    .max_peers = 256,
	    .on_open = on_open,
	    .on_close = on_close,
	    .on_frame = on_frame,
	    .arg = q,
	};
	return sm_rpc_listen(&conf, &in->rpc);
}

void qm_incoming_close(struct qm *q)
{
	struct qm_incoming *in = q->in;

	if (in == NULL)
		return;
	if (in->hook.cb)
		sm_hook_remove(&in->hook);
	sm_rpc_server_free(&in->rpc);
	SM_LIST_FOR_SAFE (s, &in->servers, struct qm_in_server, link)
		server_free(s);
	qm_taken_fini(&in->taken);
	qm_holders_fini(&in->holders);
	qm_clients_fini(&in->clients);
	qm_users_fini(&q->users);
	sm_arena_fini(&in->arena);
	SM_FREE(q->in);
}
