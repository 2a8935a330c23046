/*
 * The listening side: who may connect, how many, and the end of it.
 *
 * Invariant: a connection is in `peers` from accept until its down(), whether its hello has come or
 * not; so `count` bounds them all. Nothing is read from a process before the kernel has said who it
 * is. Thread: the loop's.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libsm/log.h"
#include "libsm/rpc_int.h"

enum {
	BACKLOG = 256,
	ACCEPT_AGAIN_MS = 100, /* after running out of descriptors or memory */
	GROUPS_MAX = 256
};

struct sm_rpc_server {
	struct sm_rpc_server_conf conf;
	char *path;
	uid_t *uids;
	struct sm_fd f;
	struct sm_timer again;
	struct sm_list peers;
	size_t count;
};

static bool in_group(int fd, gid_t primary, gid_t wanted)
{
	gid_t groups[GROUPS_MAX];
	socklen_t len = sizeof(groups);

	if (wanted == (gid_t)-1)
		return false;
	if (primary == wanted)
		return true;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len) != 0)
		return false;
	for (size_t i = 0; i < len / sizeof(groups[0]); i++)
		if (groups[i] == wanted)
			return true;
	return false;
}

bool sm_rpc_uid_ok(uid_t uid, const uid_t *uids, size_t count)
{
	if (uid == 0 || uid == geteuid())
		return true;
	for (size_t i = 0; i < count; i++)
		if (uids[i] == uid)
			return true;
	return false;
}

/* ---- what a connection tells ---- */

static int on_hello(struct sm_peer *p, void *owner)
{
	const struct sm_rpc_server *s = owner;

	if ((unsigned)p->role >= 32 || (s->conf.roles & 1U << p->role) == 0)
		return sm_fail(SM_E_DENIED, "role %d is not wanted here", (int)p->role);
	return 0;
}

static void on_up(struct sm_peer *p, void *owner)
{
	const struct sm_rpc_server *s = owner;

	if (s->conf.on_open != NULL)
		s->conf.on_open(p, s->conf.arg);
}

static int on_frame(struct sm_peer *p, const struct sm_frame *f, void *owner)
{
	const struct sm_rpc_server *s = owner;

	return s->conf.on_frame(p, f, s->conf.arg);
}

static void on_down(struct sm_peer *p, void *owner)
{
	struct sm_rpc_server *s = owner;

	s->count--;
	if (p->was_up && s->conf.on_close != NULL)
		s->conf.on_close(p, s->conf.arg);
}

static const struct rpc_owner ops = {on_hello, on_up, on_frame, on_down, .tells = false};

/* ---- accepting ---- */

static void admit(struct sm_rpc_server *s, int fd)
{
	struct sm_peer *p;
	pid_t pid;
	uid_t uid;
	gid_t gid;
	bool trusted;

	if (sm_net_peercred(fd, &pid, &uid, &gid) != 0) {
		close(fd);
		return;
	}
	trusted = sm_rpc_uid_ok(uid, s->uids, s->conf.uid_count);
	if (!trusted && !in_group(fd, gid, s->conf.read_gid)) {
		sm_log(SM_WARN, "rpc.refused", "path=%s uid=%u peer_pid=%d why=user", s->path,
		       (unsigned)uid, (int)pid);
		close(fd);
		return;
	}
	if (s->count >= s->conf.max_peers) {
		sm_log(SM_WARN, "rpc.refused", "path=%s uid=%u peer_pid=%d why=max_peers", s->path,
		       (unsigned)uid, (int)pid);
		close(fd);
		return;
	}
	p = sm_peer_new(fd, &ops, s);
	if (p == NULL)
		return;
	p->trusted = trusted;
	sm_list_push(&s->peers, &p->siblings);
	s->count++;
}

static void accept_all(struct sm_rpc_server *s);

static void accept_again(void *arg)
{
	accept_all(arg);
}

static void accept_all(struct sm_rpc_server *s)
{
	for (;;) {
		int fd = accept4(s->f.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			admit(s, fd);
		} else if (errno == EAGAIN) {
			sm_fd_drained(&s->f, SM_RD);
			return;
		} else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
		           errno == ENOMEM) {
			/* The connection stays in the queue, and no edge will come for it again. */
			sm_log(SM_ERROR, "rpc.accept", "path=%s error=%s", s->path,
			       strerror(errno));
			sm_timer_set(&s->again, sm_now_ms() + ACCEPT_AGAIN_MS, accept_again, s);
			return;
		}
	}
}

static void on_event(struct sm_fd *f SM_UNUSED, unsigned events SM_UNUSED, void *arg)
{
	accept_all(arg);
}

int sm_rpc_listen(const struct sm_rpc_server_conf *conf, struct sm_rpc_server **out)
{
	struct sm_rpc_server *s;
	struct sm_sa at;
	int rc, fd;

	rc = sm_sa_unix(&at, sm_str(conf->path));
	if (rc != 0)
		return rc;
	fd = sm_net_listen(&at, BACKLOG, conf->umask);
	if (fd < 0)
		return fd;
	s = sm_calloc(1, sizeof(*s));
	s->conf = *conf;
	s->path = sm_strdup(conf->path);
	s->uids = sm_calloc(conf->uid_count + 1, sizeof(s->uids[0]));
	for (size_t i = 0; i < conf->uid_count; i++)
		s->uids[i] = conf->uids[i];
	sm_list_init(&s->peers);
	rc = sm_fd_open(&s->f, fd, on_event, s);
	if (rc != 0) {
		sm_free(s->uids);
		sm_free(s->path);
		sm_free(s);
		return rc;
	}
	sm_rpc_use();
	*out = s;
	return 0;
}

void sm_rpc_server_free(struct sm_rpc_server **sp)
{
	struct sm_rpc_server *s = *sp;
	struct sm_peer *p;

	if (s == NULL)
		return;
	*sp = NULL;
	/* The path first: who looks for us finds nothing rather than a socket that nobody serves.
	 */
	(void)unlink(s->path);
	sm_fd_close(&s->f);
	sm_timer_cancel(&s->again);
	while ((p = SM_LIST_FIRST(&s->peers, struct sm_peer, siblings)) != NULL)
		sm_peer_end(p);
	sm_free(s->uids);
	sm_free(s->path);
	sm_free(s);
	sm_rpc_unuse();
}
