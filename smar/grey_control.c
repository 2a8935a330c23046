/*
 * Operators' questions about the greylist. An answer is made some hundred entries at a time, the
 * next ones when those are sent. Invariant: a job belongs to its peer until that is closed, and is
 * freed when neither the peer nor the greylist knows of it any more. Thread: the loop's.
 */
#include "smar/grey_control.h"

#include <stdio.h>

#include "libsm/ctl.h"
#include "libsm/rpc.h"
#include "smar/grey_row.h"
#include "smar/greylist.h"

enum { SOCKET_UMASK = 0077, MAX_PEERS = 8, UNSENT_BYTES = 256 * 1024 };

struct ar_grey_control {
	const struct ar *ar;
	struct sm_rpc_server *server;
	char path[AR_PATH_BYTES];
};

struct job {
	struct ar_grey_control *c;
	struct sm_peer *peer; /* NULL: gone */
	uint64_t tag;
	bool walking; /* the greylist has `walk` */
	size_t shown;
	struct ar_greylist_walk walk;
};

static void free_job(struct job *j)
{
	if (j->peer != NULL)
		sm_peer_set_data(j->peer, NULL);
	sm_free(j);
}

static void next_walk(struct job *j)
{
	j->walking = true;
	ar_greylist_walk(j->c->ar->grey, &j->walk);
}

static void drained(struct sm_peer *p SM_UNUSED, void *arg)
{
	next_walk(arg);
}

static void send_rows(struct job *j)
{
	struct sm_buf b;

	sm_buf_init(&b, 4 * SM_CTL_PIECE_BYTES);
	for (size_t i = 0; i < j->walk.count; i++) {
		ar_grey_row_put(&b, &j->walk.rows[i].key, &j->walk.rows[i].entry, j->walk.shift_s);
		if (b.len > SM_CTL_PIECE_BYTES)
			sm_ctl_send(j->peer, j->tag, &b);
	}
	if (b.len > 0)
		sm_ctl_send(j->peer, j->tag, &b);
	sm_buf_fini(&b);
}

static void walked(struct ar_greylist_walk *w, void *arg)
{
	struct job *j = arg;

	j->walking = false;
	if (j->peer == NULL) {
		sm_free(j);
		return;
	}
	if (w->rc != 0) {
		sm_ctl_end(j->peer, j->tag, SM_CTL_LATER, "the greylist cannot be used now");
		free_job(j);
		return;
	}
	send_rows(j);
	j->shown += w->count;
	if (!w->more || w->count == 0) {
		sm_ctl_end(j->peer, j->tag, j->shown > 0 ? SM_CTL_OK : SM_CTL_NOTHING, "");
		free_job(j);
		return;
	}
	w->after = w->rows[w->count - 1].key;
	if (sm_peer_unsent(j->peer) > UNSENT_BYTES)
		sm_peer_on_drain(j->peer, UNSENT_BYTES, drained, j);
	else
		next_walk(j);
}

static void start(struct ar_grey_control *c, struct sm_peer *p, uint64_t tag,
                  const struct sm_msg_ctl_request *m)
{
	bool remove = sm_str_eq(m->verb, SM_STR("remove"));
	struct sm_str net = m->args_count > 0 ? m->args[0].text : SM_STR("");
	struct job *j;

	if ((!remove && !sm_str_eq(m->verb, SM_STR("list"))) || m->args_count > 1 ||
	    (remove && net.n == 0)) {
		sm_ctl_end(p, tag, SM_CTL_USAGE, "no such verb, or not so many words");
		return;
	}
	if (c->ar->grey == NULL || sm_peer_data(p) != NULL) {
		sm_ctl_end(p, tag, SM_CTL_LATER, "one question at a time");
		return;
	}
	j = sm_calloc(1, sizeof(*j));
	j->c = c;
	j->tag = tag;
	j->walk.remove = remove;
	j->walk.done = walked;
	j->walk.arg = j;
	if (ar_grey_net_parse(net, &c->ar->conf->greylisting, &j->walk.net, &j->walk.bits) != 0) {
		sm_ctl_end(p, tag, SM_CTL_USAGE, sm_diag());
		sm_free(j);
		return;
	}
	j->peer = p;
	sm_peer_set_data(p, j);
	next_walk(j);
}

static int on_frame(struct sm_peer *p, const struct sm_frame *f, void *arg)
{
	struct sm_msg_ctl_request m;
	struct sm_arena a;
	int rc;

	if (f->type != SM_MSG_ctl_request || f->tag == 0)
		return sm_fail(SM_E_PROTO, "not a question of an operator");
	sm_arena_init(&a, "question", 4096, 1 << 20);
	rc = sm_msg_ctl_request_decode(f->body, &a, &m);
	if (rc == 0)
		start(arg, p, f->tag, &m);
	sm_arena_fini(&a);
	return rc;
}

static void on_close(struct sm_peer *p, void *arg SM_UNUSED)
{
	struct job *j = sm_peer_data(p);

	if (j == NULL)
		return;
	j->peer = NULL;
	if (!j->walking)
		sm_free(j);
}

int ar_grey_control_open(const struct ar *ar, struct ar_grey_control **out)
{
	struct ar_grey_control *c = sm_calloc(1, sizeof(*c));
	struct sm_rpc_server_conf conf = {
	    .path = c->path,
	    .umask = SOCKET_UMASK,
	    .read_gid = (gid_t)-1,
	    .roles = 1U << SM_ROLE_CTL,
	    .max_peers = MAX_PEERS,
	    .on_close = on_close,
	    .on_frame = on_frame,
	    .arg = c,
	};
	int rc;

	c->ar = ar;
	snprintf(c->path, sizeof(c->path), SM_STR_FMT "/ctl",
	         SM_STR_ARG(ar->conf->greylisting.directory));
	rc = sm_rpc_listen(&conf, &c->server);
	if (rc != 0)
		sm_free(c);
	*out = rc == 0 ? c : NULL;
	return rc;
}

void ar_grey_control_free(struct ar_grey_control **cp)
{
	struct ar_grey_control *c = *cp;

	*cp = NULL;
	if (c == NULL)
		return;
	sm_rpc_server_free(&c->server);
	sm_free(c);
}
