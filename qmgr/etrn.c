/*
 * etrn: a client asks for the mail that waits for a node (RFC 1985). Whether it may was smtps' to
 * find out; how often, is decided here, where all servers meet.
 *
 * Invariant: every question gets exactly one answer: when its run has gone through what waits, at
 * the latest ANSWER_MS after it came; the run goes on all the same. Loop thread.
 */
#include "qmgr/qm.h"

#include <stdio.h>
#include <string.h>

#include "qmgr/run.h"

#define ANSWER_MS 5000

struct asker {
	struct sm_list link;
	struct qm *q;
	struct sm_peer *peer;
	uint64_t tag;
	struct sm_id sess;
	struct sm_sa client;
	struct sm_timer timer;
	char node[257];
};

struct qm_etrn {
	struct sm_list askers;
	struct qm_users clients, nodes; /* how often each has asked, and was asked for */
	struct sm_arena arena;
};

/* ---- answers ---- */

static void answer(struct asker *a, uint16_t code, const char *text, size_t rcpts)
{
	const struct sm_msg_verdict m = {.code = code, .text = sm_str(text)};

	sm_log(SM_INFO, "qm.etrn",
	       "ss_sess=%I client=%A destination=%s recipients=%zu stat=%u text=%s", a->sess,
	       &a->client, a->node, rcpts, code, text);
	sm_peer_reply(a->peer, a->tag, 0, SM_MSG_verdict, &m);
	sm_timer_cancel(&a->timer);
	sm_list_remove(&a->link);
	sm_free(a);
}

/* What a run came to, as RFC 1985 5.3 has it. */
static void on_done(void *arg, const struct qm_run_done *done)
{
	struct asker *a = arg;
	char text[400];

	if (done->mails > 0) {
		(void)snprintf(text, sizeof(text),
		               "2.0.0 OK, %zu pending messages for node %s started", done->mails,
		               a->node);
		answer(a, 253, text, done->rcpts);
	} else if (done->waited) {
		/* What there is has had its turn by another run, or is held. */
		(void)snprintf(text, sizeof(text), "2.0.0 OK, pending messages for node %s started",
		               a->node);
		answer(a, 252, text, 0);
	} else if (done->ours == QM_RUN_OURS || a->node[0] == '@') {
		(void)snprintf(text, sizeof(text), "2.0.0 OK, no messages waiting for node %s",
		               a->node);
		answer(a, 251, text, 0);
	} else if (done->ours == QM_RUN_UNKNOWN) {
		(void)snprintf(
		    text, sizeof(text),
		    "4.3.0 Unable to queue messages for node %s: address resolver is away",
		    a->node);
		answer(a, 458, text, 0);
	} else {
		(void)snprintf(text, sizeof(text),
		               "4.7.1 Node %s not allowed: no mail is kept here for it", a->node);
		answer(a, 459, text, 0);
	}
}

/* The run is a long one, or others are before it. */
static void on_time(void *arg)
{
	struct asker *a = arg;
	char text[400];

	qm_run_forget(a->q, a);
	(void)snprintf(text, sizeof(text), "2.0.0 OK, queuing for node %s started", a->node);
	answer(a, 250, text, 0);
}

/* ---- questions ---- */

static void limits(struct qm *q)
{
	struct qm_etrn *e = q->etrn;

	e->clients.max_messages = (uint64_t)q->conf->etrn.max_client;
	e->nodes.max_messages = (uint64_t)q->conf->etrn.max_node;
	e->clients.period_ms = e->nodes.period_ms = q->conf->etrn.period_ms;
	e->clients.max_entries = e->nodes.max_entries = (size_t)q->conf->etrn.max_entries;
}

/* Has it asked too often, or was it asked for too often? Programs of this host are trusted. */
static bool too_often(struct qm_etrn *e, const struct asker *a)
{
	char host[SM_SA_TEXT];
	bool inet = a->client.len > 0 && a->client.u.sa.sa_family != AF_UNIX;

	if (inet && qm_users_take(&e->clients, sm_str(sm_sa_host_text(&a->client, host)), 0,
	                          sm_loop_now_ms()) != QM_USER_OK)
		return true;
	return qm_users_take(&e->nodes, sm_str(a->node), 0, sm_loop_now_ms()) != QM_USER_OK;
}

static void begin(struct asker *a)
{
	const struct qm_run_ask ask = {
	    .dest = sm_str(a->node), .asked_for = true, .by = "client", .cb = on_done, .arg = a};
	int err;

	if (too_often(a->q->etrn, a)) {
		answer(a, 458,
		       "4.7.1 Unable to queue messages: asked for too often, try again later", 0);
		return;
	}
	err = qm_run(a->q, &ask);
	if (err == SM_E_SYNTAX)
		answer(a, 501, "5.5.4 Syntax: ETRN domain, or @domain for all below it as well", 0);
	else if (err != 0)
		answer(a, 458, "4.3.2 Unable to queue messages: too many ask, try again later", 0);
	else
		sm_timer_set(&a->timer, sm_loop_now_ms() + ANSWER_MS, on_time, a);
}

int qm_etrn_ask(struct qm *q, struct sm_peer *peer, const struct sm_frame *f)
{
	struct qm_etrn *e = q->etrn;
	struct sm_msg_etrn m;
	struct asker *a;
	int err;

	sm_arena_reset(&e->arena);
	if (f->tag == 0)
		return sm_fail(SM_E_PROTO, "etrn without a tag");
	if ((err = sm_msg_etrn_decode(f->body, &e->arena, &m)) != 0)
		return err;
	a = sm_calloc(1, sizeof(*a));
	a->q = q;
	a->peer = peer;
	a->tag = f->tag;
	a->sess = m.sess;
	a->client = m.client;
	sm_str_cut(m.node, a->node, sizeof(a->node));
	sm_list_push(&e->askers, &a->link);
	if (q->stopping || !q->running)
		answer(a, 458, "4.3.2 Unable to queue messages now, try again later", 0);
	else if (m.node.n == 0)
		/* For qm_run this would be everybody's. */
		answer(a, 501, "5.5.4 Syntax: ETRN domain", 0);
	else
		begin(a);
	return 0;
}

/* ---- life ---- */

void qm_etrn_open(struct qm *q)
{
	struct qm_etrn *e = q->etrn = sm_calloc(1, sizeof(*e));

	sm_list_init(&e->askers);
	qm_users_init(&e->clients);
	qm_users_init(&e->nodes);
	sm_arena_init(&e->arena, "etrn", 1024, SM_FRAME_MAX);
	limits(q);
}

void qm_etrn_reload(struct qm *q)
{
	limits(q);
}

void qm_etrn_close(struct qm *q)
{
	struct qm_etrn *e = q->etrn;

	if (e == NULL)
		return;
	while (!sm_list_empty(&e->askers)) {
		struct asker *a = SM_LIST_FIRST(&e->askers, struct asker, link);

		qm_run_forget(q, a);
		answer(a, 458, "4.3.2 Unable to queue messages now, try again later", 0);
	}
	qm_users_fini(&e->clients);
	qm_users_fini(&e->nodes);
	sm_arena_fini(&e->arena);
	SM_FREE(q->etrn);
}
