/*
 * The control socket: who may ask, which verb that is (control_words.c sorts what follows it), and
 * how an answer gets to its reader. Loop thread.
 *
 * Root, the queue's own user and smxq may act; the socket's group may read. A client has one
 * request at a time. Long answers are made in slices, each request in its turn; one whose reader is
 * behind waits until that has caught up, so that a queue of a million stalls nobody.
 */
#include "qmgr/control.h"

#include <stdlib.h>
#include "libsm/time.h"

#define UNSENT_BYTES  (128u * 1024)
#define UNSENT_MAX    (1024u * 1024)
#define LINE_MAX      (16u * 1024 * 1024) /* a mail with 1000 recipients, each byte escaped */
#define REQUEST_BYTES (64u * 1024 * 1024)
#define SLICE_US      250
#define PAUSE_MS      1 /* from the end of a slice: mail goes first */
#define SLICE_STEP    4 /* so many between two looks at the clock */

struct qm_control {
	struct sm_rpc_server *rpc;
	struct sm_timer timer; /* the next slice */
	struct sm_arena frame, view;
	struct sm_list requests; /* the next turn first */
	struct qm_ctl *stepping; /* NULL: it has ended */
	uint32_t *which;
	uint32_t which_count;
};

static const struct qm_ctl_verb verbs[] = {
    {"status", false, 0, qm_ctl_status},
    {"list", false, QM_CTL_FILTER | QM_CTL_LIMIT | QM_CTL_AFTER, qm_ctl_list},
    {"summary", false, QM_CTL_FILTER | QM_CTL_LIMIT | QM_CTL_BY, qm_ctl_summary},
    {"show", false, QM_CTL_FILTER, qm_ctl_show},
    {"why", false, QM_CTL_WORDS, qm_ctl_why},
    {"dest", false, QM_CTL_WORDS, qm_ctl_dest},
    {"hold", true, QM_CTL_FILTER | QM_CTL_WORDS | QM_CTL_REASON | QM_CTL_DRY_RUN, qm_ctl_mark},
    {"release", true, QM_CTL_FILTER | QM_CTL_WORDS | QM_CTL_REASON | QM_CTL_DRY_RUN, qm_ctl_mark},
    {"remove", true, QM_CTL_FILTER | QM_CTL_WORDS | QM_CTL_REASON | QM_CTL_DRY_RUN, qm_ctl_mark},
    {"bounce", true, QM_CTL_FILTER | QM_CTL_WORDS | QM_CTL_REASON | QM_CTL_DRY_RUN, qm_ctl_mark},
    {"requeue", true, QM_CTL_FILTER | QM_CTL_WORDS | QM_CTL_REASON | QM_CTL_DRY_RUN, qm_ctl_mark},
    {"flush", true, QM_CTL_FILTER | QM_CTL_WORDS | QM_CTL_DRY_RUN, qm_ctl_flush},
    {"run", true, QM_CTL_WORDS, qm_ctl_run},
    {"suspend", true, QM_CTL_WORDS | QM_CTL_FOR | QM_CTL_REASON, qm_ctl_suspend},
    {"resume", true, QM_CTL_WORDS, qm_ctl_resume},
    {"stop", true, QM_CTL_WORDS | QM_CTL_FOR | QM_CTL_REASON, qm_ctl_stop},
    {"start", true, QM_CTL_WORDS, qm_ctl_start},
    {"reload", true, 0, qm_ctl_reload},
    {"loglevel", true, QM_CTL_WORDS, qm_ctl_loglevel},
    {"forget", true, QM_CTL_WORDS, qm_ctl_forget},
    {"orphans", false, QM_CTL_WORDS, qm_ctl_orphans},
    {"transcript", false, QM_CTL_FILTER | QM_CTL_WORDS | QM_CTL_FOR, qm_ctl_transcript},
    {"users", false, QM_CTL_WORDS | QM_CTL_LIMIT, qm_ctl_users},
};

/* ---- answers ---- */

static void send_out(struct qm_ctl *c)
{
	sm_ctl_send(c->peer, c->tag, &c->out);
}

void qm_ctl_line(struct qm_ctl *c)
{
	sm_ctl_line(&c->out);
	if (c->out.len >= SM_CTL_PIECE_BYTES)
		send_out(c);
}

void qm_ctl_id(struct qm_ctl *c, const char *key, struct sm_id id)
{
	char text[SM_ID_SIZE];

	if (sm_id_none(id))
		qm_ctl_null(c, key);
	else
		qm_ctl_str(c, key, sm_str(sm_id_text(id, text)));
}

void qm_ctl_time(struct qm_ctl *c, const char *key, int64_t wall_s)
{
	if (wall_s <= 0 || wall_s >= QM_EDBC_NEVER)
		qm_ctl_null(c, key);
	else
		qm_ctl_num(c, key, wall_s);
}

void qm_ctl_mono(struct qm_ctl *c, const char *key, int64_t ms)
{
	if (ms <= 0)
		qm_ctl_null(c, key);
	else
		qm_ctl_num(c, key, (sm_wall_ms() + ms - sm_loop_now_ms()) / 1000);
}

static void request_free(struct qm_ctl *c)
{
	if (c->q->control->stepping == c)
		c->q->control->stepping = NULL;
	sm_list_remove(&c->link);
	if (c->fini)
		c->fini(c);
	qm_filter_free(&c->filter);
	sm_buf_fini(&c->out);
	sm_arena_fini(&c->arena);
	sm_free(c);
}

void qm_ctl_end(struct qm_ctl *c, uint8_t status, const char *why)
{
	send_out(c);
	sm_ctl_end(c->peer, c->tag, status, why);
	request_free(c);
}

void qm_ctl_fail(struct qm_ctl *c, uint8_t status)
{
	qm_ctl_end(c, status, sm_diag());
}

/* ---- slices ---- */

static void turn(void *arg);

static bool wants_turn(const struct qm_ctl *c)
{
	return c->step != NULL && !c->behind;
}

static void next_turn(struct qm *q)
{
	if (sm_timer_is_set(&q->control->timer))
		return;
	SM_LIST_FOR (c, &q->control->requests, struct qm_ctl, link) {
		if (wants_turn(c)) {
			sm_timer_set(&q->control->timer, sm_now_ms() + PAUSE_MS, turn, q);
			return;
		}
	}
}

void qm_ctl_go_on(struct qm_ctl *c, bool (*step)(struct qm_ctl *c))
{
	c->step = step;
	next_turn(c->q);
}

static void caught_up(struct sm_peer *peer, void *arg)
{
	struct qm *q = arg;

	SM_LIST_FOR (c, &q->control->requests, struct qm_ctl, link)
		if (c->peer == peer)
			c->behind = false;
	next_turn(q);
}

static void slice(struct qm *q, struct qm_ctl *c)
{
	int64_t until_us = sm_now_us() + SLICE_US;
	bool more = true;

	q->control->stepping = c;
	do {
		for (unsigned i = 0; i < SLICE_STEP && more; i++)
			more = c->step(c) && q->control->stepping == c &&
			       sm_peer_unsent(c->peer) < UNSENT_BYTES;
	} while (more && sm_now_us() < until_us);
	if (q->control->stepping == NULL)
		return; /* it has ended */
	q->control->stepping = NULL;
	send_out(c);
	if (sm_peer_unsent(c->peer) >= UNSENT_BYTES) {
		c->behind = true;
		sm_peer_on_drain(c->peer, UNSENT_BYTES / 2, caught_up, q);
	}
}

/* One slice, of the next in turn. */
static void turn(void *arg)
{
	struct qm *q = arg;

	SM_LIST_FOR_SAFE (c, &q->control->requests, struct qm_ctl, link) {
		if (!wants_turn(c))
			continue;
		sm_list_remove(&c->link);
		sm_list_push(&q->control->requests, &c->link);
		slice(q, c);
		break;
	}
	next_turn(q);
}

/* ---- requests ---- */

static const struct qm_ctl_verb *verb_of(struct sm_str name)
{
	for (size_t i = 0; i < SM_ARRAY_SIZE(verbs); i++)
		if (sm_str_eq(name, sm_str(verbs[i].name)))
			return &verbs[i];
	return NULL;
}

static void begin(struct qm *q, struct sm_peer *peer, uint64_t tag, const struct qm_ctl_verb *verb,
                  const struct sm_msg_ctl_request *m)
{
	struct qm_ctl *c = sm_calloc(1, sizeof(*c));

	c->q = q;
	c->peer = peer;
	c->tag = tag;
	c->verb = verb;
	sm_arena_init(&c->arena, "request", 4096, REQUEST_BYTES);
	sm_buf_init(&c->out, LINE_MAX);
	sm_list_push(&q->control->requests, &c->link);
	q->control->stepping = c;
	if (qm_ctl_take_words(c, m) != 0)
		qm_ctl_fail(c, QM_CTL_USAGE);
	else
		verb->begin(c);
	if (q->control->stepping)
		send_out(c);
	q->control->stepping = NULL;
	next_turn(q);
}

static int on_frame(struct sm_peer *peer, const struct sm_frame *f, void *arg)
{
	struct qm *q = arg;
	const struct qm_ctl_verb *verb;
	struct sm_msg_ctl_request m;
	int err;

	sm_arena_reset(&q->control->frame);
	if (sm_peer_unsent(peer) > UNSENT_MAX)
		return sm_fail(SM_E_TOOBIG, "it asks and does not read");
	if (f->type != SM_MSG_ctl_request)
		return sm_fail(SM_E_PROTO, "message %u is not for the control socket", f->type);
	if (f->tag == 0)
		return sm_fail(SM_E_PROTO, "request without a tag");
	if ((err = sm_msg_ctl_request_decode(f->body, &q->control->frame, &m)) != 0)
		return err;
	SM_LIST_FOR (c, &q->control->requests, struct qm_ctl, link) {
		if (c->peer == peer) {
			sm_ctl_end(peer, f->tag, QM_CTL_LATER, "one request at a time");
			return 0;
		}
	}
	if ((verb = verb_of(m.verb)) == NULL)
		sm_ctl_end(peer, f->tag, QM_CTL_USAGE, "there is no such verb");
	else if (verb->act && !sm_peer_trusted(peer))
		sm_ctl_end(peer, f->tag, QM_CTL_NOPERM, QM_CTL_LOOK_ONLY);
	else
		begin(q, peer, f->tag, verb, &m);
	return 0;
}

static void on_close(struct sm_peer *peer, void *arg)
{
	struct qm *q = arg;

	SM_LIST_FOR_SAFE (c, &q->control->requests, struct qm_ctl, link)
		if (c->peer == peer)
			qm_ctl_end(c, QM_CTL_LATER, "the client is gone"); /* lets the peer go */
}

/* ---- for the verbs ---- */

struct sm_arena *qm_ctl_view_arena(struct qm *q)
{
	return &q->control->view;
}

uint32_t *qm_ctl_which(struct qm *q, uint32_t count)
{
	struct qm_control *c = q->control;

	if (count > c->which_count) {
		c->which_count = count;
		c->which = sm_realloc(c->which, count, sizeof(*c->which));
	}
	return c->which;
}

/* ---- life ---- */

int qm_control_open(struct qm *q)
{
	struct qm_control *c = sm_calloc(1, sizeof(*c));
	char path[108];
	int err;

	q->control = c;
	sm_list_init(&c->requests);
	sm_arena_init(&c->frame, "control", 4096, 4 * SM_FRAME_MAX);
	sm_arena_init(&c->view, "control view", 16 * 1024, 4 * 1024 * 1024);
	if (q->conf->control_socket.n == 0)
		return 0;
	if ((err = sm_str_copy(q->conf->control_socket, path, sizeof(path))) != 0)
		return err;

	struct sm_rpc_server_conf conf = {
	    .path = path,
	    .umask = 0007,
	    .read_gid = q->gid_control,
	    .roles = 1u << SM_ROLE_CTL,
	    .max_peers = 32,
	    .on_close = on_close,
	    .on_frame = on_frame,
	    .arg = q,
	};
	return sm_rpc_listen(&conf, &c->rpc);
}

void qm_control_close(struct qm *q)
{
	struct qm_control *c = q->control;

	if (c == NULL)
		return;
	sm_rpc_server_free(&c->rpc);
	SM_LIST_FOR_SAFE (r, &c->requests, struct qm_ctl, link)
		request_free(r);
	sm_timer_cancel(&c->timer);
	sm_free(c->which);
	sm_arena_fini(&c->view);
	sm_arena_fini(&c->frame);
	SM_FREE(q->control);
}
