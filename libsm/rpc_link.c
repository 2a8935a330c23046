/*
 * The connecting side: a link to one other process that comes back by itself, however often that
 * process goes away.
 *
 * Invariant: a link has a connection, or its timer is set; never both, never none. Thread: the
 * loop's.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsm/log.h"
#include "libsm/rpc_int.h"
#include "libsm/sync.h"

enum {
	BACKOFF_FIRST_MS = 10,
	BACKOFF_MOST_MS = 1000,
	STEADY_MS =
	    1000, /* up for so long: the next failure begins with the shortest pause again */
};

struct sm_link {
	struct sm_link_conf conf;
	struct sm_sa to;
	char *path;
	uid_t *uids;
	struct sm_peer *peer; /* from connect to its end */
	struct sm_timer timer;
	int64_t backoff_ms, up_since_ms;
	bool freed, impatient;
	struct sm_cond up;
	bool was_up;
	char trouble[RPC_WHY_MAX + 32];
};

static void try_connect(void *arg);

static void retry_later(struct sm_link *l, const char *what, const char *why)
{
	char trouble[sizeof(l->trouble)];

	snprintf(trouble, sizeof(trouble), "%s%s", what, why);
	if (strcmp(trouble, l->trouble) != 0)
		/* That another one is not there yet is how a start goes. */
		sm_log(l->was_up ? SM_NOTICE : SM_INFO, "rpc.link", "peer=%s path=%s trouble=%s",
		       sm_role_name(l->conf.role), l->path, trouble);
	memcpy(l->trouble, trouble, sizeof(trouble));
	sm_timer_set(&l->timer, sm_now_ms() + l->backoff_ms, try_connect, l);
	l->backoff_ms = SM_MIN(2 * l->backoff_ms, BACKOFF_MOST_MS);
}

/* ---- what the connection tells ---- */

static int on_hello(struct sm_peer *p, void *owner)
{
	const struct sm_link *l = owner;

	if (p->role != l->conf.role)
		return sm_fail(SM_E_DENIED, "%s listens there", sm_role_name(p->role));
	return 0;
}

static void on_up(struct sm_peer *p, void *owner)
{
	struct sm_link *l = owner;

	l->was_up = true;
	l->up_since_ms = sm_now_ms();
	l->trouble[0] = '\0';
	sm_cond_broadcast(&l->up);
	if (l->conf.on_up != NULL)
		l->conf.on_up(p, l->conf.arg);
}

static int on_frame(struct sm_peer *p, const struct sm_frame *f, void *owner)
{
	const struct sm_link *l = owner;

	if (l->conf.on_frame == NULL)
		return sm_fail(SM_E_PROTO, "nothing is expected from there");
	return l->conf.on_frame(p, f, l->conf.arg);
}

static void on_down(struct sm_peer *p, void *owner)
{
	struct sm_link *l = owner;

	l->peer = NULL;
	if (p->was_up && sm_now_ms() - l->up_since_ms >= STEADY_MS)
		l->backoff_ms = BACKOFF_FIRST_MS;
	if (p->was_up && l->conf.on_down != NULL)
		l->conf.on_down(p, l->conf.arg);
	if (!l->freed)
		retry_later(l, "", p->why);
}

static const struct rpc_owner ops = {on_hello, on_up, on_frame, on_down, .tells = true};

/* ---- connecting ---- */

static void try_connect(void *arg)
{
	struct sm_link *l = arg;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0) {
		retry_later(l, "socket: ", strerror(errno));
		return;
	}
	/* A Unix socket is connected at once or not at all; EAGAIN: its queue is full. */
	if (connect(fd, &l->to.u.sa, l->to.len) != 0) {
		retry_later(l, "connect: ", strerror(errno));
		close(fd);
		return;
	}
	l->peer = sm_peer_new(fd, &ops, l);
	if (l->peer == NULL) {
		retry_later(l, "connect: ", sm_diag());
		return;
	}
	l->peer->trusted = sm_rpc_uid_ok(l->peer->uid, l->uids, l->conf.uid_count);
	if (!l->peer->trusted)
		sm_peer_close(l->peer, "a wrong user listens there");
}

struct sm_link *sm_link_open(const struct sm_link_conf *conf)
{
	struct sm_link *l = sm_calloc(1, sizeof(*l));

	l->conf = *conf;
	l->path = sm_strdup(conf->path);
	l->uids = sm_calloc(conf->uid_count + 1, sizeof(l->uids[0]));
	for (size_t i = 0; i < conf->uid_count; i++)
		l->uids[i] = conf->uids[i];
	l->backoff_ms = BACKOFF_FIRST_MS;
	sm_cond_init(&l->up);
	sm_rpc_use();
	if (sm_sa_unix(&l->to, sm_str(conf->path)) != 0)
		retry_later(l, "connect: ", sm_diag());
	else
		sm_timer_set(&l->timer, sm_now_ms(), try_connect, l);
	return l;
}

void sm_link_free(struct sm_link **lp)
{
	struct sm_link *l = *lp;

	if (l == NULL)
		return;
	*lp = NULL;
	sm_assert(sm_list_empty(&l->up.waiters));
	l->freed = true;
	if (l->peer != NULL)
		sm_peer_end(l->peer);
	sm_timer_cancel(&l->timer);
	sm_free(l->uids);
	sm_free(l->path);
	sm_free(l);
	sm_rpc_unuse();
}

struct sm_peer *sm_link_peer(struct sm_link *l)
{
	return l->peer != NULL && l->peer->state == RPC_UP ? l->peer : NULL;
}

int sm_link_wait(struct sm_link *l, int64_t deadline_ms)
{
	while (sm_link_peer(l) == NULL) {
		int rc = l->impatient ? SM_E_CANCEL : sm_cond_wait(&l->up, "link", deadline_ms);

		if (rc != 0)
			return sm_fail_in(rc, "%s: %s", l->path, l->trouble);
	}
	return 0;
}

void sm_link_wait_no_more(struct sm_link *l)
{
	l->impatient = true;
	sm_cond_broadcast(&l->up);
}

int sm_link_rpc(struct sm_link *l, uint16_t type, const void *m, uint16_t reply_type,
                struct sm_arena *a, void *reply, int64_t deadline_ms)
{
	int rc;

	do {
		rc = sm_link_wait(l, deadline_ms);
		if (rc == 0)
			rc = sm_rpc(sm_link_peer(l), type, m, reply_type, a, reply, deadline_ms);
	} while (rc == SM_E_PEER);
	return rc;
}

const char *sm_link_trouble(struct sm_link *l)
{
	return l->trouble;
}
